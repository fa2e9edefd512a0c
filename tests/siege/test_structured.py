"""Mutants by structure through every command, and against a receiver that shares nothing with the package.

``XBRLE_MUTANTS`` says how many. The whole siege is 20000.
"""

import contextlib
import io
import os
import resource
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.siege.bounds import Hang, measured, no_hang
from tests.siege.receiver import Received, Receiver
from tests.siege.structured import PAGE, Mutant, mutant
from xbrletools import cli
from xbrletools.errors import XbrleError
from xbrletools.memory.image import Image

COUNT = int(os.environ.get("XBRLE_MUTANTS", "400"))
SHARDS = 8
ROOM = 96 << 20  # bytes that may be resident beside the input
SPACE = 4 << 30  # bytes of address space beside what the process has
OF_RECORDS = {"move_records", "change_record", "claim_blocks"}
COMMANDS: tuple[Callable[[str, str], list[str]], ...] = (
    lambda s, o: ["info", s],
    lambda s, o: ["info", s, "--json"],
    lambda s, o: ["dump", s, "--fields", "--runs"],
    lambda s, o: ["dump", s, "--json", "--hex"],
    lambda s, o: ["dump", s, "--devices"],
    lambda s, o: ["verify", s],
    lambda s, o: ["verify", s, "--json"],
    lambda s, o: ["extract", s, "-o", o, "--hash-unknown", "1M"],
    lambda s, o: ["extract", s, "-o", o, "--format", "elf"],
    lambda s, o: ["extract", s, "-o", o, "--salvage", "--hash-unknown", "1M"],
    lambda s, o: ["salvage", s, "--json", "-o", o],
    lambda s, o: ["page", s, "0x1000"],
    lambda s, o: ["blame", s, "0x1000"],
    lambda s, o: ["stats", s],
    lambda s, o: ["grep", s, "--hex", "6162"],
    lambda s, o: ["diff", s, s],
    lambda s, o: ["sender", s],
    lambda s, o: ["whatif", s],
    lambda s, o: ["simulate", s],
    lambda s, o: ["log", s, "--end", "receiver"],
    lambda s, o: ["transcode", s, "--policy", "none", "-o", o],
    lambda s, o: ["report", s, "-o", o],
    lambda s, o: ["top", s, "--json"],
    lambda s, o: ["converge", s, "--link", "1G"],
    lambda s, o: ["why", "Illegal RAM offset 203000", s],
    lambda s, o: ["salvage", s, "--repair"],
    lambda s, o: ["verify", s, "--receiver", "today", "--receiver", "debug"],
    lambda s, o: ["grep", s, "--hex", "6162", "--context", "16"],
    lambda s, o: ["describe", s, "-o", o],
)
NO_CHANNEL = ("why", "describe")


def run(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(arguments)
    return status, out.getvalue(), err.getvalue()


def check_command(files: list[str], folder: Path, which: int) -> None:
    """One command: a documented status, no traceback, nothing raw, and one line that says why it refused."""
    arguments = COMMANDS[which % len(COMMANDS)](files[0], str(folder / "out"))
    if len(files) > 1 and arguments[0] not in NO_CHANNEL:
        arguments += [word for file in files[1:] for word in ("--channel", file)]
    status, out, err = run(arguments)
    told = (arguments, status, err[-500:])
    assert status in (0, 1, 2), told
    assert "Traceback" not in out + err, told
    assert "internal" not in err, told
    assert status != 2 or err.startswith(("xbrle: ", "Usage: ")), told
    assert all(c == "\n" or c.isprintable() for c in out + err), told


def agrees(image: Image, blocks: list[bytes], got: Received) -> None:
    """No byte that both know differs."""
    for (block, address), mine in got.pages.items():
        if blocks.count(block) != 1 or address >= image.block_bytes(index := blocks.index(block)):
            continue  # a block that claims more than any guest has is read as one of no bytes, and that is said
        page = int(image.space.first[index]) + address // PAGE
        known = image.known_bytes(page)
        theirs = np.array([-1 if b is None else b for b in mine])
        wrong = known & (theirs >= 0) & (theirs != image.pages[page])
        assert not wrong.any(), (block, hex(address), int(np.flatnonzero(wrong)[0]))


def check_memory(found: Mutant) -> bool:
    """Memory against the plain receiver's, as far as that can tell. Gives whether it could."""
    got = Receiver(found.data, found.xbzrle, footers=found.xbzrle).run()
    if not got.records:
        return False
    with xbrletools.open(found.data) as capture:
        name = capture.dialect.name if capture.dialect else None
        if name not in (None, "xbzrle" if found.xbzrle else "posted"):
            return False  # the mutant reads as another dialect, too
        last = capture.records.last_number
        assert last >= got.records, (last, got.records)
        if got.whole and set(found.how) <= OF_RECORDS:  # with others a RAM section may follow the END
            assert last == got.records, (last, got.records)
        agrees(capture.memory(at=got.records), [b.name for b in capture.blocks], got)
    return True


def check_channels(found: Mutant) -> None:
    """No byte called known differs from what was sent. Where a channel is lost, this shows."""
    with xbrletools.open(found.data, channels=found.channels) as capture:
        image, blocks = capture.memory(), [b.name for b in capture.blocks]
        agrees(image, blocks, Received(pages={key: list(page) for key, page in found.truth.items()}))
        if found.lost:
            assert not image.known.all()
            assert any(f.severity.name == "ERROR" for f in capture.verify())


def examine(found: Mutant, folder: Path) -> bool:
    path = folder / "S"
    path.write_bytes(found.data)
    files = [str(path)]
    for i, channel in enumerate(found.channels):
        (folder / f"channel{i}").write_bytes(channel)
        files.append(str(folder / f"channel{i}"))
    told = False
    with contextlib.suppress(XbrleError):
        if found.truth:
            if "flipped" not in found.how[0]:
                check_channels(found)
                told = True
        elif found.plain:
            told = check_memory(found)
    for which in (found.number, 3 * found.number + 7):
        with little_space():
            check_command(files, folder, which)
        for left in folder.glob("out*"):
            left.unlink() if left.is_file() else [f.unlink() for f in left.iterdir()] and left.rmdir()
    return told


@contextlib.contextmanager
def little_space() -> Iterator[None]:
    """So much address space more than the process has, and no more."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPACE, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_mutant_is_read_or_refused_within_bounds_and_its_memory_is_a_receivers(tmp_path, shard):
    failures, told = [], 0
    for number in range(shard, COUNT, SHARDS):
        found = mutant(number)
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            with no_hang(), measured() as peak:
                told += examine(found, folder)
            assert peak.bytes < ROOM + 40 * len(found.data), peak.bytes
        except (Exception, Hang) as error:
            failures.append((number, found.how, traceback.format_exception(error)[-3:]))
    assert not failures, failures
    assert told > COUNT / SHARDS / 3, "the plain receiver could tell too little"


def test_a_mutants_number_brings_it_back():
    assert [mutant(n) for n in range(20)] == [mutant(n) for n in range(20)]
