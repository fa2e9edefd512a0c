"""A capture that reads to its end and is damaged all the same: commands that give memory say so, and exit 1."""

from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import PAGE
from xbrletools.cli import main
from xbrletools.formats.ram import Kind

SNAPSHOT = "qemu-11/pc16-bgsnapshot.bin"
FORMS = (("raw",), ("raw", "--block", "pc.ram"), ("raw", "--space", "physical"), ("lime",), ("elf",))


def without_a_record(data: bytes, kind: Kind, share: float = 0.5) -> bytes:
    """The capture without one record of a kind: that at this share of all of them."""
    columns = xbrletools.open(data).records.columns
    rows = np.flatnonzero(columns.kind == kind)
    row = int(rows[int(len(rows) * share)])
    return data[: int(columns.offset[row])] + data[int(columns.end()[row]) :]


def flipped(data: bytes, kind: Kind) -> bytes:
    """The capture with one bit of the last byte of a record of a kind flipped."""
    columns = xbrletools.open(data).records.columns
    rows = np.flatnonzero(columns.kind == kind)
    at = int(columns.end()[rows[len(rows) // 2]]) - 1
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


@pytest.fixture
def cut(corpus, tmp_path) -> Path:
    """A background snapshot without one of its records. It has an end, so that a scan finds nothing."""
    path = tmp_path / "S"
    path.write_bytes(without_a_record(corpus(SNAPSHOT), Kind.DUP))
    return path


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_a_snapshot_without_one_of_its_records_is_not_whole_memory(capsys, cut, tmp_path, form):
    assert run(capsys, "verify", cut)[0] == 1
    status, _, err = run(capsys, "extract", cut, "-o", tmp_path / "out", "--format", *form)
    assert status == 1
    assert "4096 bytes are unknown" in err
    assert "DAMAGED: Records are missing" in err


def test_the_whole_snapshot_is(capsys, corpus, tmp_path):
    (tmp_path / "S").write_bytes(corpus(SNAPSHOT))
    assert run(capsys, "extract", tmp_path / "S", "-o", tmp_path / "out") == (0, "", "")


def test_what_is_damaged_after_the_moment_does_not_count(capsys, cut, tmp_path):
    first = next(c.began.record for c in xbrletools.open(cut).verdict().causes)
    assert run(capsys, "extract", cut, "--at", first - 1, "-o", tmp_path / "before")[0] == 0
    assert run(capsys, "extract", cut, "--at", first, "-o", tmp_path / "after")[0] == 1


@pytest.mark.parametrize("kind", [Kind.PAGE, Kind.XBRLE])
@pytest.mark.parametrize("view", ["receiver", "sender"])
def test_a_page_whose_stated_sum_does_not_hold_is_said(capsys, tmp_path, kind, view):
    (tmp_path / "S").write_bytes(flipped((SAMPLES / "stale-base.bin").read_bytes(), kind))
    status, _, err = run(capsys, "extract", tmp_path / "S", "--view", view, "-o", tmp_path / "out")
    assert status == 1
    assert "CORRUPT" in err


def test_what_the_receiver_lost_by_its_sender_is_said_and_is_its_memory(capsys, tmp_path):
    """No byte of the capture is wrong, so each view is given exactly."""
    path = SAMPLES / "stale-base.bin"
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "receiver")
    assert status == 0
    assert "CORRUPT" in err
    assert run(capsys, "extract", path, "--view", "sender", "-o", tmp_path / "sender") == (0, "", "")


def test_salvage_of_what_lacks_a_record_is_not_whole(capsys, cut, tmp_path):
    status, out, err = run(capsys, "salvage", cut)
    assert status == 1
    assert "4225 of 4226 recovered" in out
    assert "DAMAGED: Records are missing" in err


@pytest.mark.parametrize("arguments", [(), ("--policy", "none"), ("--redact", "page=0")])
def test_what_is_written_anew_from_damage_is_not_passed_off_as_whole(capsys, tmp_path, arguments):
    """Sums are written anew: nothing in the new stream shows what the old one's showed."""
    (tmp_path / "S").write_bytes(flipped((SAMPLES / "posted-8m.bin").read_bytes(), Kind.XBRLE))
    status, _, err = run(capsys, "transcode", tmp_path / "S", *arguments, "-o", tmp_path / "T")
    assert status == 1
    assert "xbrle verify S" in err


def test_a_stale_base_is_not_in_what_is_written_anew(capsys, tmp_path):
    assert run(capsys, "transcode", SAMPLES / "stale-base.bin", "--policy", "none", "-o", tmp_path / "T") == (0, "", "")


def test_what_is_unknown_in_both_is_not_said_to_be_equal(capsys, cut, tmp_path):
    status, out, err = run(capsys, "diff", cut, cut)
    assert (status, out) == (1, "nothing differs in what could be read\n")
    assert "use: xbrle verify S2" in err


def test_a_search_says_what_it_could_not_search(capsys, cut):
    status, _, err = run(capsys, "grep", cut, "--count", "--hex", "55aa")
    assert status == 0
    assert "4096 bytes are unknown" in err
    assert "DAMAGED: Records are missing" in err


def test_a_pages_bytes_that_a_sum_refutes_are_said(capsys, tmp_path):
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    columns = xbrletools.open(data).records.columns
    deltas = np.flatnonzero(columns.kind == Kind.XBRLE)
    page = int(columns.address[deltas[len(deltas) // 2]])
    (tmp_path / "S").write_bytes(flipped(data, Kind.XBRLE))
    record = xbrletools.open(data).records.numbers.of(deltas[len(deltas) // 2 :][:1])[0]
    said = f"xbrle: the page does not have the sum that record {record} states\n"
    for arguments in ((), ("--inspect", "0")):
        status, _, err = run(capsys, "page", tmp_path / "S", f"{page:#x}", "--at", record, *arguments)
        assert (status, err) == (1, said), arguments
    status, out, err = run(capsys, "page", tmp_path / "S", f"{page:#x}")
    assert (status, "WRONG" in out, err) == (1, True, "")
    before = ("--at", record - 1)
    assert run(capsys, "page", tmp_path / "S", f"{page:#x}", *before)[::2] == (0, "")
    assert run(capsys, "page", SAMPLES / "posted-8m.bin", f"{page:#x}")[::2] == (0, "")


def test_a_page_that_the_receiver_lost_is_said_and_is_its_page(capsys):
    path = SAMPLES / "stale-base.bin"
    wrong = next(f for f in xbrletools.open(path).verify() if f.rule == "stale-base" and f.severity.value == "error")
    said = f"xbrle: the receiver had lost the base of record {wrong.record}; to see the source's page: --view sender\n"
    assert run(capsys, "page", path, f"{wrong.page:#x}", "--at", wrong.record)[::2] == (0, said)
    assert run(capsys, "page", path, f"{wrong.page:#x}")[::2] == (0, "")
    assert run(capsys, "page", path, f"{wrong.page:#x}", "--view", "sender")[::2] == (0, "")


@pytest.mark.parametrize("command", [["extract"], ["transcode"]], ids=" ".join)
def test_pages_made_over_another_base_are_said(capsys, tmp_path, command):
    status, _, err = run(capsys, *command, SAMPLES / "xbzrle-wrong-base.bin", "-o", tmp_path / "out")
    assert status == 1
    assert "CORRUPT: 3 pages of pc.ram may be wrong at the end" in err


def test_a_page_made_over_another_base_is_said(capsys):
    path, said = SAMPLES / "xbzrle-wrong-base.bin", "record 261 was made against another page: it states bytes"
    wrong = next(f for f in xbrletools.open(path).verify() if f.rule == "base-wrong")
    status, out, err = run(capsys, "page", path, f"{wrong.page:#x}")
    assert (status, out.count("other base"), err) == (1, 1, "")
    status, _, err = run(capsys, "page", path, f"{wrong.page:#x}", "--at", wrong.record)
    assert status == 1
    assert said in err
    assert run(capsys, "page", path, f"{wrong.page:#x}", "--at", wrong.record - 1)[::2] == (0, "")


def test_what_is_lost_already_is_not_judged_and_that_is_said(capsys, tmp_path):
    """A capture that is cut and has a wrong page before it: the cut gives the status, verify has the rest."""
    data = flipped((SAMPLES / "posted-8m.bin").read_bytes(), Kind.XBRLE)
    (tmp_path / "S").write_bytes(data[:-90_000])
    status, _, err = run(capsys, "extract", tmp_path / "S", "-o", tmp_path / "out")
    assert status == 1
    assert "truncated" in err
    assert err.count("whether what was read is right was not looked at; to look, use: xbrle verify S\n") == 1


def test_salvage_that_skips_nothing_does_not_hide_what_lacks(capsys, cut, tmp_path):
    status, _, err = run(capsys, "extract", cut, "--salvage", "-o", tmp_path / "out")
    assert status == 1
    assert "DAMAGED: Records are missing" in err


def test_raw_bytes_of_a_page_that_a_sum_refutes_exit_1(capfdbinary, tmp_path):
    data = flipped((SAMPLES / "posted-8m.bin").read_bytes(), Kind.XBRLE)
    (tmp_path / "S").write_bytes(data)
    wrong = next(f for f in xbrletools.open(data).verify() if f.rule == "checksum-mismatch")
    arguments = ["page", str(tmp_path / "S"), f"{wrong.page:#x}", "--at", str(wrong.record), "--raw"]
    assert main(arguments) == 1
    out, err = capfdbinary.readouterr()
    assert len(out) == PAGE
    assert b"does not have the sum" in err
