"""A capture that reads to its end and is damaged all the same: commands that give memory say so, and exit 1."""

from pathlib import Path

import numpy as np
import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import SAMPLES
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
    assert "DAMAGED Records are missing" in err


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
