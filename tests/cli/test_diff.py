"""`xbrle diff`: what its user sees."""

import json
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.posted import PAGE, delta, dup, page, raw_delta, stream
from xbrletools.analysis.diff import differences
from xbrletools.cli import main

A = bytes(range(256)) * 16
B = A[:100] + b"Migration" + A[109:]

TEXT = """\
vga: in the second only, 0x1000 bytes
pc.ram:0x0  9 bytes differ, at 0x64+9
pc.ram:0x1000  3 pages: 12288 bytes unknown in the second
pc.ram:0x4000  4096 bytes unknown in the first, at 0x0+4096
pc.ram:0x5000  4 bytes differ, at 0x0+1 0x10+1 0x20+1 and 1 more
6 pages: 4096 bytes unknown in the first, 12288 bytes unknown in the second, 13 bytes differ
"""


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    spotted = bytearray(A)
    for at in (0, 0x10, 0x20, 0x30):
        spotted[at] ^= 0xFF
    one = stream([page(0, A), *(dup(i * PAGE, 1) for i in (1, 2, 3)), page(5 * PAGE, A)])
    other = stream(
        [page(0, A), delta(0, A, B), page(4 * PAGE, A), page(5 * PAGE, bytes(spotted))],
        ((b"pc.ram", 8 * PAGE), (b"vga", PAGE)),
    )
    paths = []
    for name, content in (("one.bin", one), ("other.bin", other)):
        (tmp_path / name).write_bytes(content)
        paths.append(str(tmp_path / name))
    return paths


def test_two_captures_differ_in_blocks_pages_and_ranges(capsys, pair):
    assert main(["diff", *pair]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (TEXT, "")


def test_what_does_not_differ_exits_0(capsys, pair):
    assert main(["diff", pair[0], pair[0]]) == 0
    assert capsys.readouterr().out == "nothing differs\n"
    assert main(["diff", pair[0], pair[0], "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_json_has_blocks_and_ranges(capsys, pair):
    assert main(["diff", *pair, "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[0] == {"type": "block", "block": "vga", "first_length": None, "second_length": PAGE}
    assert found[1] == {"type": "range", "block": "pc.ram", "offset": 100, "length": 9, "change": "value"}
    assert [f["change"] for f in found[2:4]] == ["lost", "gained"]


def test_one_capture_can_be_compared_with_itself_at_two_records(capsys, pair):
    assert main(["diff", pair[1], "--at", "1", "--to", "2"]) == 1
    assert capsys.readouterr().out == "pc.ram:0x0  9 bytes differ, at 0x64+9\n1 page: 9 bytes differ\n"
    assert main(["diff", pair[1], "--at", "4"]) == 0
    assert main(["diff", pair[0], pair[1], "--at", "1", "--to", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("vga: in the second only")


def test_a_pass_is_compared_with_memory_before_it(capsys):
    path = SAMPLES / "posted-8m.bin"
    capture = xbrletools.open(path)
    table = capture.records
    found = {}
    for passes in ("1", "2", "3", "2-3"):
        assert main(["diff", str(path), "--pass", passes, "--json"]) == 1
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found[passes] = {(f["block"], (f["offset"] + i) // PAGE) for f in lines for i in range(0, f["length"], PAGE)}
        touched = {
            (capture.blocks[int(table.columns.block[row])].name.decode(), int(table.columns.address[row]) // PAGE)
            for row in table.by_number.tolist()
            if str(table.pass_[row]) in passes.split("-")
        }
        assert found[passes] <= touched
    assert found["2-3"] <= found["2"] | found["3"]
    assert len(found["1"]) > 2000


def test_the_view_is_that_of_both(capsys, tmp_path):
    path = tmp_path / "stale.bin"
    path.write_bytes(stream([page(0, A), dup(0, 7), delta(0, A, B)]))
    assert main(["diff", str(path), "--at", "1", "--view", "sender"]) == 1
    assert "9 bytes differ" in capsys.readouterr().out
    assert main(["diff", str(path), "--at", "1"]) == 1
    assert "1 page: 4080 bytes differ" in capsys.readouterr().out


def test_json_is_what_the_library_gives(capsys):
    path = SAMPLES / "xbzrle-16m.bin"
    capture = xbrletools.open(path)
    assert main(["diff", str(path), "--at", "4300", "--to", "4400", "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = differences(capture.memory(4300), capture.memory(4400))
    assert [(f["block"], f["offset"], f["length"], f["change"]) for f in found] == [
        (d.block.decode(), d.offset, d.length, d.change.value) for d in expected
    ]


def test_bytes_that_were_lost_differ(capsys, tmp_path):
    path = tmp_path / "lost.bin"
    path.write_bytes(stream([page(0, A), raw_delta(0, b"\x01\x02")]))
    assert main(["diff", str(path), "--at", "1", "--dialect", "posted"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 page: 4096 bytes unknown in the second"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "nothing to compare S with"),
        (["--pass", "1", "--at", "1"], "--pass compares S with itself"),
        (["--pass", "0"], "pass 0 does not exist"),
        (["--pass", "3-2"], "pass 3-2 does not exist"),
        (["--pass", "x"], "invalid pass"),
        (["--at", "99"], "there is no record 99"),
        (["nowhere.bin"], "nowhere.bin"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_2(capsys, pair, arguments, reason):
    assert main(["diff", pair[0], *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err


def test_the_two_views_of_one_capture_differ_where_the_receiver_lost_a_base(capsys, tmp_path):
    path = tmp_path / "stale.bin"
    path.write_bytes(stream([page(0, A), page(PAGE, A), dup(0, 9), delta(0, A, B)]))
    assert main(["diff", str(path), "--to-view", "sender"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 page: ")
    assert main(["diff", str(path), "--to-view", "sender", "--at", "2", "--to", "2"]) == 0
    capsys.readouterr()
    assert main(["diff", str(path), "--to-view", "sender", "--pass", "1"]) == 2


def test_the_two_views_of_a_real_capture_differ_in_the_pages_that_the_posted_sender_corrupted(corpus, capsys, tmp_path):
    path = tmp_path / "stale.bin"
    path.write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    assert main(["diff", str(path), "--to-view", "sender"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("32 pages: ")


def test_what_is_of_the_second_capture_needs_one(capsys, pair):
    for option in ("--to-channel", "--to-snapshot"):
        assert main(["diff", pair[0], "--at", "1", option, pair[1]]) == 2
        assert "need S2" in capsys.readouterr().err


def test_salvage_reads_on_in_the_second_capture_too(capsys, tmp_path):
    path, whole = tmp_path / "broken.bin", SAMPLES / "posted-8m.bin"
    data = whole.read_bytes()
    path.write_bytes(data[:400_000] + data[410_000:])
    assert main(["diff", str(whole), str(path)]) == 1
    assert "were skipped" not in capsys.readouterr().err
    assert main(["diff", str(whole), str(path), "--salvage"]) == 1
    out, err = capsys.readouterr()
    assert "were skipped" in err
    assert "bytes differ" not in out  # what is recovered is right, and the rest is unknown
    assert "unknown in the second" in out.splitlines()[-1]


@pytest.mark.parametrize("options", [[], ["--salvage"], ["--no-cache"]])
def test_standard_input_cannot_be_both_captures(options, capsys):
    assert main(["diff", *options, "-", "-"]) == 2
    assert "only one of S and S2 can be -" in capsys.readouterr().err


def test_the_same_damaged_capture_twice_differs_in_nothing(tmp_path, capsys):
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    path = tmp_path / "cut.bin"
    path.write_bytes(data[:600_000] + data[605_000:])
    assert main(["diff", "--salvage", str(path), str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == "nothing differs\n"
    assert "skipped at offset" in err
