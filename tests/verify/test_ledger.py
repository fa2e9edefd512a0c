"""Findings by the million lie in files, and come out as they would from memory."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.damages import KINDS, damage
from tests.siege.test_scratch import taken
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.formats.ram import Kind
from xbrletools.table.numbers import Numbers
from xbrletools.verify import checker, found, ledger, observed, replayed
from xbrletools.verify import corrupt as corrupt_module
from xbrletools.verify.ledger import Ledger


def stale_stream(rounds: int, flags: int = 1) -> bytes:
    """Deltas against bases that dup pages took from the receiver, over and over."""
    pages = [noise(i) for i in range(4)]
    stream = StreamBuilder(flags=flags)
    for i, page in enumerate(pages):
        stream.page(i * PAGE, page)
    stream.part()
    for turn in range(rounds):
        for i, page in enumerate(pages):
            new = page.copy()
            new[turn % PAGE] ^= 1
            stream.dup(i * PAGE, turn & 0xFF)
            stream.delta(i * PAGE, page, new)
            pages[i] = new
            if turn % 7 == i:
                stream.page(i * PAGE, new)
    return stream.end().bytes()


def test_columns_come_out_of_a_file_as_they_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "HELD", 100)
    made = Ledger()
    rows = np.arange(1000)
    names = np.array(["good", "bad"])[rows % 2]
    for start in range(0, 1000, 37):
        made.add({"rows": rows[start : start + 37], "names": names[start : start + 37]})
    assert np.array_equal(made.columns()["rows"], rows)
    assert np.array_equal(made.columns()["names"], names)
    assert made.columns()["rows"].base is not None


SAMPLE = (SAMPLES / "posted-big-debug.bin").read_bytes()


def corrupt(data: bytes) -> bytes:
    """A capture with a byte changed in every fifth PAGE, so that the sums of deltas hold in no view."""
    made = bytearray(data)
    columns = xbrletools.open(data).records.columns
    pages = np.flatnonzero(columns.kind == Kind.PAGE)[::5]
    for at in (columns.offset[pages] + columns.head[pages]).tolist():
        made[at + 99] ^= 0x40
    return bytes(made)


def undecoded(data: bytes) -> bytes:
    """A capture in which the first run of every fifth delta is one longer or shorter."""
    made = bytearray(data)
    columns = xbrletools.open(data).records.columns
    deltas = np.flatnonzero(columns.kind == Kind.XBRLE)[::5]
    for at in (columns.offset[deltas] + columns.head[deltas]).tolist():
        made[at] ^= 0x1
    return bytes(made)


CASES = {
    "stale": (stale_stream(30), {"stale-base"}),
    "stale, with sums": (stale_stream(30, flags=3), {"stale-base", "checksum-mismatch"}),
    "sample": (SAMPLE, set()),
    "corrupt": (corrupt(SAMPLE), {"corrupt-page", "checksum-mismatch"}),
    "undecoded": (undecoded(SAMPLE), {"delta-size"}),
} | {
    f"{kind}-{seed}": (damage(SAMPLE, kind, seed).data, set()) for kind in KINDS if kind != "head" for seed in range(2)
}


@pytest.mark.parametrize("case", CASES)
def test_findings_are_the_same_from_files_and_from_pieces_of_any_size(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, rules = CASES[case]
    with xbrletools.open(data) as capture:
        expected = list(capture.verify())
        assert rules <= {finding.rule for finding in expected}
        monkeypatch.setattr(ledger, "HELD", 1)
        capture.stream.derived.clear()
        assert list(capture.verify()) == expected
        monkeypatch.setattr(ledger, "PIECE", 7)
        monkeypatch.setattr(replayed, "PIECE", 7)
        monkeypatch.setattr(observed, "PIECE", 7)
        monkeypatch.setattr(observed, "CHUNK", 13)
        monkeypatch.setattr(corrupt_module, "AT_ONCE", 5)
        monkeypatch.setattr(checker, "PIECE", 5)
        monkeypatch.setattr(found, "AT_ONCE", 3)
        capture.stream.derived.clear()
        assert list(capture.verify()) == expected
    assert expected


def test_the_number_of_any_row_is_that_of_the_table() -> None:
    with xbrletools.open(SAMPLES / "posted-8m.bin") as capture:
        table = capture.records
        rows = np.random.default_rng(1).integers(0, len(table), 5000)
        assert np.array_equal(Numbers(table.columns.kind).of(rows), table.number[rows])


def test_sarif_json_and_lines_tell_of_the_same_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stale.bin"
    path.write_bytes(stale_stream(5))
    status, lines, _ = run(capsys, "verify", path, "--limit", "0")
    objects = [json.loads(line) for line in run(capsys, "verify", path, "--json")[1].splitlines()]
    rules = [about["rule"] for about in objects[:-1]]
    log = json.loads(run(capsys, "verify", path, "--sarif")[1])
    assert status == 1
    assert [r["ruleId"] for r in log["runs"][0]["results"]] == rules
    assert {"format": 1, **log["runs"][0]["properties"]["verdict"]} == objects[-1]
    assert [r["properties"]["cause"] for r in log["runs"][0]["results"]] == [about["cause"] for about in objects[:-1]]
    assert sum(line.startswith(("error", "warning", "note")) for line in lines.splitlines()) == len(rules)


def test_a_sarif_log_without_findings_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clean.bin"
    path.write_bytes(StreamBuilder({b"pc.ram": PAGE}).page(0, noise(0)).part().end().bytes())
    log = json.loads(run(capsys, "verify", path, "--sarif")[1])
    assert log["runs"][0]["results"] == []


def test_what_the_disk_cannot_take_is_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ledger, "HELD", 1)
    monkeypatch.setattr(os, "posix_fallocate", full)
    numbers = ledger.room(1000, np.int32)
    numbers[::2] = 7
    assert numbers.sum() == 3500


def test_a_claim_costs_nothing_where_a_sum_does_not_hold() -> None:
    page, new = noise(1), noise(1)
    new[5] ^= 1
    stream = StreamBuilder({b"pc.ram": 1 << 36}, flags=3).page(0, page).delta(0, page, new, checksum=7).bytes()
    with xbrletools.open(stream) as capture:
        assert len(capture.records) > 2
        rules: set[str] = set()
        assert taken(lambda: rules.update(finding.rule for finding in capture.verify())) < 8 << 20
    assert "corrupt-page" in rules
