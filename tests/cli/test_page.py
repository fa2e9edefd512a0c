"""`xbrle page`: what its user sees, and what scripts lean on."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.posted import PAGE, delta, dup, encoded, page, raw_delta, stream
from xbrletools.cli import main
from xbrletools.memory.replay import View

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]
STALE = [page(0, A), dup(0, 7), delta(0, A, B)]

STORY = """\
pc.ram:0x0, receiver's view: 3 records
 record pass stage kind   length    base changed check
      1    1 PART  page     4096       -    4096 -
      2    1 PART  dup         1       -    4080 -
      3    1 PART  xbrle      {length}       2       9 WRONG  sender: 4080 differ, ok
"""

DELTA = """\
pc.ram:0x0, sender's view, record 3: old | delta | new
... 96 bytes the same
060 60 61 62 63 64 65 66 67 | .. .. .. .. 29 0c 01 15 | 60 61 62 63*4d*69*67*72
068 68 69 6a 6b 6c 6d 6e 6f | 09 1d 03 04 02 .. .. .. |*61*74*69*6f*6e 6d 6e 6f
... 3984 bytes the same
9 bytes, in 1 range
"""

DIFF = """\
pc.ram:0x0, sender's view: after record 1 | after record 3
... 96 bytes the same
060 60 61 62 63*64*65*66*67 `abcdefg | 60 61 62 63*4d*69*67*72 `abcMigr
068*68*69*6a*6b*6c 6d 6e 6f hijklmno |*61*74*69*6f*6e 6d 6e 6f ationmno
... 3984 bytes the same
9 bytes differ, in 1 range
"""


@pytest.fixture
def stale(tmp_path: Path) -> str:
    path = tmp_path / "stale.bin"
    path.write_bytes(stream(STALE))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["page", *arguments])
    return status, *capsys.readouterr()


def objects(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_the_story_of_a_page_tells_where_the_sender_had_other_bytes(capsys, stale):
    status, out, err = run(capsys, stale, "0x10")
    assert (status, err) == (0, "")
    assert out == STORY.format(length=len(encoded("posted", A, B)))
    assert max(map(len, out.splitlines())) <= 80


def test_old_delta_and_new_stand_side_by_side_in_eighty_columns(capsys, stale):
    status, out, _ = run(capsys, stale, "0x10", "--at", "3", "--delta", "--view", "sender")
    assert (status, out) == (0, DELTA)
    assert max(map(len, out.splitlines())) <= 80


def test_two_versions_stand_side_by_side_with_their_changes_marked_in_text(capsys, stale):
    status, out, _ = run(capsys, stale, "0x10", "--diff", "1", "3", "--view", "sender")
    assert (status, out) == (1, DIFF)
    assert run(capsys, stale, "0x10", "--diff", "1", "1") == (
        0,
        "pc.ram:0x0, receiver's view: after record 1 | after record 1\n... 4096 bytes the same\nno byte differs\n",
        "",
    )


@pytest.mark.parametrize("view", ["receiver", "sender"])
def test_raw_writes_the_page_and_nothing_else(capsysbinary, stale, view):
    for record, content in ((1, A), (2, bytes([7]) * PAGE), (3, B)):
        assert main(["page", stale, "pc.ram:0x0", "--at", str(record), "--raw", "--view", view]) == 0
        said = b""
        if record == 3 and view == "receiver":
            content = bytes(7 ^ a ^ b for a, b in zip(A, B, strict=True))
            said = b"xbrle: the receiver had lost the base of record 3; to see the source's page: --view sender\n"
        assert capsysbinary.readouterr() == (content, said)


def test_raw_says_what_is_unknown_and_exits_1(capsysbinary, stale):
    assert main(["page", stale, "0x1000", "--at", "3", "--raw"]) == 1
    out, err = capsysbinary.readouterr()
    assert out == bytes(PAGE)
    assert err == b"xbrle: 4096 bytes of this page are unknown; they are written as zeros\n"


def test_unknown_bytes_are_shown_as_such(capsys, stale):
    _, out, _ = run(capsys, stale, "0x1000", "--at", "3")
    assert (
        out.splitlines()[1] == "00001000  " + " ".join(["??"] * 8) + "  " + " ".join(["??"] * 8) + " |" + " " * 16 + "|"
    )
    [found] = objects(run(capsys, stale, "0x1000", "--at", "3", "--json")[1])
    assert found["unknown"] == [[0, PAGE]]


def test_a_dump_folds_lines_that_repeat(capsys, stale):
    _, out, _ = run(capsys, stale, "0x0", "--at", "2")
    row = " ".join(["07"] * 8)
    assert out.splitlines()[1:] == [
        f"00000000  {row}  {row} |................|",
        "*",
        f"00000ff0  {row}  {row} |................|",
    ]
    assert max(map(len, out.splitlines())) <= 80


def test_json_has_every_version_with_both_sums(capsys, stale):
    found = objects(run(capsys, stale, "0x0", "--json")[1])
    assert [(f["record"], f["kind"], f["base"], f["changed"]) for f in found] == [
        (1, "page", None, 4096),
        (2, "dup", None, 4080),
        (3, "xbrle", 2, 9),
    ]
    assert found[2]["stated_sum"] == sum(B)
    assert found[2]["sum_holds"] is False
    assert found[2]["differs_from_other_view"] == 4080
    assert (found[2]["stage"], found[2]["pass"], found[2]["page"], found[2]["block"]) == ("part", 1, 0, "pc.ram")
    sent = objects(run(capsys, stale, "0x0", "--json", "--view", "sender")[1])
    assert sent[2]["sum_holds"] is True


def test_json_of_changes_has_the_bytes_of_each_side(capsys, stale):
    [found] = objects(run(capsys, stale, "0", "--at", "3", "--delta", "--view", "sender", "--json")[1])
    change = bytes(a ^ b for a, b in zip(A[100:109], B[100:109], strict=True)).hex()
    assert found["ranges"] == [
        {"offset": 100, "length": 9, "old": A[100:109].hex(), "delta": change, "new": b"Migration".hex()}
    ]
    [found] = objects(run(capsys, stale, "0x1000", "--diff", "1", "3", "--json")[1])
    assert found["ranges"] == []
    [found] = objects(run(capsys, stale, "0", "--diff", "1", "3", "--view", "sender", "--json")[1])
    assert found["ranges"] == [{"offset": 100, "length": 9, "old": A[100:109].hex(), "new": b"Migration".hex()}]


def test_json_of_a_difference_that_is_of_knowing_has_null_on_the_other_side(capsys, tmp_path):
    path = tmp_path / "lost.bin"
    path.write_bytes(stream([page(0, A), raw_delta(0, b"\x01\x02")]))
    status, out, _ = run(capsys, str(path), "0", "--dialect", "posted", "--diff", "1", "2", "--json")
    assert status == 1
    assert objects(out)[0]["ranges"] == [{"offset": 0, "length": PAGE, "old": A.hex(), "new": None}]
    _, out, _ = run(capsys, str(path), "0", "--dialect", "posted")
    assert out.splitlines()[-1].split() == ["2", "1", "PART", "xbrle", "2", "1", "4096", "short", "4096", "unknown"]


def test_the_inspector_reads_numbers_and_text_in_both_orders(capsys, tmp_path):
    content = bytearray(A)
    content[16:32] = bytes.fromhex("fe ff ff 7f 00 00 00 80") + "Größe".encode("utf-16-le")[:8]
    path = tmp_path / "inspect.bin"
    path.write_bytes(stream([page(0, bytes(content))]))
    [found] = objects(run(capsys, str(path), "0", "--inspect", "0x10", "--json")[1])
    values = found["values"]
    assert values["u8"] == {"little": 0xFE, "big": 0xFE}
    assert values["i16"] == {"little": -2, "big": -257}
    assert values["u32"] == {"little": 0x7FFFFFFE, "big": 0xFEFFFF7F}
    assert values["i64"] == {"little": -0x7FFFFFFF80000002, "big": -0x1000080FFFFFF80}
    [found] = objects(run(capsys, str(path), "0", "--inspect", "24", "--json")[1])
    assert found["values"]["utf-16"]["little"].startswith("Größ")
    assert found["values"]["ascii"]["little"] == "G"
    [found] = objects(run(capsys, str(path), "0", "--inspect", str(PAGE - 2), "--json")[1])
    assert found["values"]["u16"] == {"little": 0xFFFE, "big": 0xFEFF}
    assert found["values"]["u32"] == {"little": None, "big": None}
    status, out, _ = run(capsys, str(path), "0", "--inspect", "0x10")
    assert status == 0
    assert ["u32", "2147483646", str(0xFEFFFF7F)] in [line.split() for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    assert run(capsys, str(path), "0", "--inspect", "4096")[0] == 2


def test_floats_that_json_has_not_are_words(capsys, tmp_path):
    path = tmp_path / "nan.bin"
    path.write_bytes(stream([page(0, bytes.fromhex("0000c07f") + A[4:])]))
    [found] = objects(run(capsys, str(path), "0", "--inspect", "0", "--json")[1])
    assert found["values"]["f32"]["little"] == "nan"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["0x0", "--at", "99"], "there is no record 99"),
        (["0x0", "--diff", "1", "99"], "there is no record 99"),
        (["0x0", "--at", "0"], "there is no record 0"),
        (["0x8000"], "pc.ram has 0x8000 bytes"),
        (["nothing:0"], "there is no RAM block nothing"),
        (["0x0", "--delta"], "needs --at"),
        (["0x0", "--delta", "--at-pass", "1"], "needs --at"),
        (["0x0", "--at-pass", "9"], "there is no pass 9; this capture has passes 1 to"),
        (["0x0", "--at-pass", "0"], "there is no pass 0"),
        (["0x0", "--at", "1", "--at-pass", "1"], "--at and --at-pass exclude each other"),
        (["0x0", "--at-pass", "1", "--at", "1"], "--at and --at-pass exclude each other"),
        (["0x0", "--diff", "1", "2", "--at-pass", "1"], "--diff excludes --at and --at-pass"),
        (["0x0", "--at", "1", "--delta"], "record 1 is not a delta"),
        (["0x1000", "--at", "1", "--delta"], "record 1 did not touch this page"),
        (["0x0", "--at", "1", "--raw", "--delta"], "exclude each other"),
        (["0x0", "--inspect", "ten"], "invalid size"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_exit_2(capsys, stale, arguments, reason):
    status, out, err = run(capsys, stale, *arguments)
    assert (status, out) == (2, "")
    assert reason in err


def test_every_version_that_raw_writes_is_that_of_memory(capsysbinary):
    path = SAMPLES / "posted-8m.bin"
    capture = xbrletools.open(path)
    for record in (1, 700, 2300, 2557):
        row = capture.records.row(record)
        address = int(capture.records.columns.address[row])
        name = capture.blocks[int(capture.records.columns.block[row])].name.decode()
        for view in View:
            assert (
                main(["page", str(path), f"{name}:{address:#x}", "--at", str(record), "--raw", "--view", view.value])
                == 0
            )
            out = capsysbinary.readouterr().out
            assert out == capture.memory(record, view)[name].reshape(-1)[address : address + PAGE].tobytes()


def test_a_capture_can_come_through_a_pipe(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stream(STALE))))
    status, out, _ = run(capsys, "-", "0")
    assert status == 0
    assert out.count("\n") == 5
