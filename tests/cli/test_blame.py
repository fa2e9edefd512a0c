"""`xbrle blame`: what its user sees."""

import json
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.posted import PAGE, delta, dup, page, raw_delta, stream
from xbrletools.analysis.blame import blame
from xbrletools.cli import main

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]

TEXT = """\
address             length  record pass stage kind
pc.ram:0x0000005a       10       2    1 PART  dup
pc.ram:0x00000064        9       3    1 PART  xbrle
pc.ram:0x0000006d        1       2    1 PART  dup
"""


@pytest.fixture
def built(tmp_path: Path) -> str:
    path = tmp_path / "built.bin"
    path.write_bytes(stream([page(0, A), dup(0, 7), delta(0, A, B), raw_delta(PAGE, b"\x01\x02")]))
    return str(path)


def test_each_range_has_its_record(capsys, built):
    assert main(["blame", built, "pc.ram:0x5a+20"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (TEXT, "")


def test_at_and_view_choose_whose_memory_and_when(capsys, built):
    assert main(["blame", built, "0x5a+20", "--at", "1"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[1:]] == ["1"]
    assert main(["blame", built, "0x5a+20", "--view", "sender"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[1:]] == ["1", "3", "1"]


def test_bytes_that_were_lost_or_never_written_are_said_to_be(capsys, built):
    assert main(["blame", built, f"{2 * PAGE - 1:#x}+2"]) == 0
    lost, never = capsys.readouterr().out.splitlines()[1:]
    assert lost.split() == ["pc.ram:0x00001fff", "1", "4", "1", "PART", "xbrle", "unknown"]
    assert never.endswith("never written")


def test_json_is_what_the_library_gives(capsys):
    path = SAMPLES / "posted-8m.bin"
    capture = xbrletools.open(path)
    assert main(["blame", str(path), "0xf0000+64K", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = list(blame(capture.stream, 0, 0xF0000, 0x10000))
    assert [(f["offset"], f["length"], f["record"], f["unknown"]) for f in found] == [
        (e.offset, e.length, e.record, e.unknown) for e in expected
    ]
    table = capture.records
    for f in found:
        row = capture.records.row(f["record"])
        assert f["pass"] == table.pass_[row]
        assert f["block"] == "pc.ram"


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ("0x10", "add a length"),
        ("0x10+0", "0x10+0x0 is not a range"),
        ("0x7fff+2", "pc.ram has 0x8000 bytes"),
        ("0+x", "invalid size"),
    ],
)
def test_a_range_that_is_none_is_one_line_and_exit_2(capsys, built, span, reason):
    assert main(["blame", built, span]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
