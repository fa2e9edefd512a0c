"""Mutated captures through everything that reads them. ``XBRLE_MUTATIONS`` says how many. The whole siege is 20000."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import traceback

import numpy as np
import pytest

import xbrletools
from tests.siege.bounds import Hang, measured, no_hang
from tests.siege.mutations import Mutation, mutation, seeds
from xbrletools import cli
from xbrletools.analysis.stats import Stats
from xbrletools.capture import Capture
from xbrletools.errors import XbrleError
from xbrletools.export import raw
from xbrletools.export.clean import write_stream
from xbrletools.memory.replay import View
from xbrletools.table.columns import NO_BLOCK
from xbrletools.tui.goto import goto
from xbrletools.tui.session import Session

COUNT = int(os.environ.get("XBRLE_MUTATIONS", "1000"))
SHARDS = 10
COMMANDS = int(os.environ.get("XBRLE_MUTATION_COMMANDS", str(max(1, COUNT // 40))))  # 500 of 20000
PROCESSES = max(4, COUNT // 400)
ROOM = 96 << 20  # bytes that may be resident beside the input: windows, an image of few pages, the list of findings
PAGES = 3  # pages of a capture whose story is told


def _list(path, last: int) -> None:
    """What `info` says, what `dump` lists, and everything that it can show of some records."""
    some = f"record:{max(0, last - 1)}-"
    for arguments in (
        ["info", path], ["dump", path], ["dump", path, "--json"],
        ["dump", path, some, "--fields", "--runs", "--hex"], ["dump", path, some, "--fields", "--json"],
    ):  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert cli.main(list(map(str, arguments))) in (0, 1, 2), arguments


def _verify(capture: Capture) -> None:
    for finding in capture.verify():
        assert finding.message.isprintable(), finding
        assert finding.offset is None or 0 <= finding.offset <= len(capture.data)


def _extract(capture: Capture, folder) -> None:
    if any(b.declared for b in capture.blocks):
        raw.write_folder(capture.memory(), folder / "out", hash_unknown=1 << 20)
        assert all(p.parent == folder / "out" for p in (folder / "out").iterdir())
    capture.memory(view=View.SENDER)


def _page(capture: Capture) -> None:
    columns = capture.records.columns
    rows = np.flatnonzero(capture.records.is_page & (columns.block != NO_BLOCK))
    for row in np.unique(rows[:: max(1, len(rows) // PAGES)])[:PAGES].tolist():
        block, address = capture.blocks[int(columns.block[row])], int(columns.address[row])
        with contextlib.suppress(XbrleError):  # a page that its block does not have
            for view in View:
                for version in capture.page(block.name, address).versions(view):
                    assert len(version.content.data) == capture.page_size


def _salvage(data: bytes, folder) -> None:
    with xbrletools.open(data, salvage=True) as capture:
        _ = capture.gaps, capture.doubts
        capture.memory()
        with contextlib.suppress(XbrleError):
            write_stream(capture.stream, folder / "clean.bin")


def _browse(data: bytes) -> None:
    """What the screens ask: the growing table, the findings, and every way from record to record."""
    with xbrletools.open(data) as capture:
        session = Session(capture)
        for reached in capture.load(session.begin):
            session.reached = reached
            session.read()
        session.read()
        session.finish()
        session.take_findings((finding, -1) for finding in capture.verify())
        for row in (0, 1, len(session) // 2, len(session) - 1, len(session)):
            record = session.record(row)
            for step in (1, -1):
                for way in (session.findings.next_row, session.next_of_page, session.next_kind, session.next_page):
                    found = way(row, step)
                    assert found is None or 0 <= found < len(session)
            if record is not None:
                goto(session, f"@{record.offset:#x}")
                findings = session.findings
                findings.severity(row), findings.sum_is_wrong(row), findings.sum_was_checked(row, record)
        assert isinstance(session.stats, Stats)


def _examine(found: Mutation, folder) -> None:
    """Every reader. The only failure is one that says what is wrong with the input."""
    path = folder / "capture.bin"
    path.write_bytes(found.data)
    last = 0
    for look in (_verify, lambda c: _extract(c, folder), _page):
        with contextlib.suppress(XbrleError), xbrletools.open(found.data) as capture:
            last = int(capture.records.number.max(initial=0))
            look(capture)
    _list(path, last)
    for read in (lambda d: _salvage(d, folder), _browse):
        with contextlib.suppress(XbrleError):
            read(found.data)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_mutated_capture_is_read_or_refused_within_bounds(tmp_path, shard):
    seeds()
    failures = []
    for number in range(shard, COUNT, SHARDS):
        found = mutation(number)
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            with no_hang(), measured() as peak:
                _examine(found, folder)
            assert peak.bytes < ROOM + 40 * len(found.data), peak.bytes
        except (Exception, Hang) as error:
            failures.append((number, found.kind, found.name, traceback.format_exception(error)[-3:]))
        shutil.rmtree(folder)
    assert not failures, failures


def _commands(path, folder) -> list[list[str]]:
    return [
        ["info", str(path)],
        ["info", str(path), "--json"],
        ["dump", str(path), "--fields", "--runs"],
        ["dump", str(path), "--json", "--hex"],
        ["verify", str(path)],
        ["verify", str(path), "--json"],
        ["extract", str(path), "-o", str(folder / "out"), "--hash-unknown", "1M"],
        ["salvage", str(path), "--json", "-o", str(folder / "clean.bin")],
        ["page", str(path), "0x1000"],
        ["stats", str(path)],
    ]


def _check(number: int, arguments: list[str], status: int, out: str, err: str) -> None:
    told = (number, arguments, status, err[-500:])
    assert status in (0, 1, 2), told
    assert "Traceback" not in out + err, told
    assert status != 2 or err.startswith("xbrle: "), told
    for text in (out, err):
        assert all(c == "\n" or c.isprintable() for c in text), told


@pytest.mark.parametrize("shard", range(SHARDS))
def test_commands_on_a_mutated_capture_end_with_a_documented_status(tmp_path, shard):
    for number in range(shard, COMMANDS, SHARDS):
        found = mutation(number * 7 + 3)
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "capture.bin"
        path.write_bytes(found.data)
        commands = _commands(path, folder)
        arguments = commands[(number // SHARDS + shard) % len(commands)]
        out, err = io.StringIO(), io.StringIO()
        with no_hang(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(arguments)
        _check(number, arguments, status, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("number", range(PROCESSES))
def test_so_do_commands_that_are_processes(tmp_path, number):
    found = mutation(number * 11 + 1)
    path = tmp_path / "capture.bin"
    path.write_bytes(found.data)
    commands = _commands(path, tmp_path)
    arguments = commands[number % len(commands)]
    done = subprocess.run([sys.executable, "-m", "xbrletools", *arguments], capture_output=True, check=False)
    _check(number, arguments, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_mutation_s_number_brings_it_back():
    assert [mutation(n) for n in range(20)] == [mutation(n) for n in range(20)]
    assert {mutation(n).kind for n in range(5)} == {"flip", "splice", "truncate", "duplicate", "bomb"}
