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
6 pages of pc.ram differ: 4,096 bytes unknown in the first, 12,288 bytes
unknown in the second, 13 bytes differ
vga: in the second only, 4,096 bytes
pc.ram:0x0  record 1 (pass 1, page, offset 0x3d) |
    record 2 (pass 1, xbrle, offset 0x1058)
    9 bytes differ, at 0x64+9
    64 65 66 67 68 69 6a 6b 6c | 4d 69 67 72 61 74 69 6f 6e
pc.ram:0x1000  3 pages: 12,288 bytes unknown in the second
pc.ram:0x4000  no record | record 3 (pass 1, page, offset 0x10a3)
    4,096 bytes unknown in the first, at 0x0+4096
pc.ram:0x5000  record 5 (pass 1, page, offset 0x107c) |
    record 4 (pass 1, page, offset 0x20b2)
    4 bytes differ, at 0x0+1 0x10+1 0x20+1 and 1 more: 00 | ff
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
    assert out == TEXT
    assert err.startswith("xbrle: DAMAGED") and err.endswith("xbrle verify S\n") and err.count("\n") == 1


def test_what_does_not_differ_exits_0(capsys, tmp_path):
    path = tmp_path / "whole"
    path.write_bytes(stream([page(0, A), page(PAGE, B)], ((b"pc.ram", 2 * PAGE),)))
    assert main(["diff", str(path), str(path)]) == 0
    assert capsys.readouterr() == ("nothing differs\n", "")
    assert main(["diff", str(path), str(path), "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_json_has_an_object_for_each_block_and_each_page_with_the_records_that_wrote_it(capsys, pair):
    assert main(["diff", *pair, "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[0] == {"format": 1, "type": "block", "block": "vga", "first_length": None, "second_length": PAGE}
    pages = {f["page"]: f for f in found[1:]}
    assert list(pages) == [0, PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 5 * PAGE]
    assert {(f["type"], f["block"]) for f in found[1:]} == {("page", "pc.ram")}
    assert [(f["record"], f["second_record"]) for f in found[1:]] == [
        (1, 2), (2, None), (3, None), (4, None), (None, 3), (5, 4)
    ]  # fmt: skip
    assert (pages[0]["kind"], pages[0]["second_kind"], pages[0]["pass"]) == ("page", "xbrle", 1)
    assert pages[0]["ranges"] == [[100, 9, "value"]]
    assert pages[2 * PAGE]["ranges"] == [[0, PAGE, "lost"]]
    assert pages[4 * PAGE]["ranges"] == [[0, PAGE, "gained"]]
    assert (pages[5 * PAGE]["bytes"], len(pages[5 * PAGE]["ranges"])) == (4, 4)


def test_the_record_of_a_page_is_its_last_at_the_moment_of_each_side(capsys):
    path = SAMPLES / "posted-8m.bin"
    capture = xbrletools.open(path)
    table = capture.records
    for moments in ((2000, 2500), (2126, 2557)):
        naive: list[dict[tuple[str, int], int]] = [{}, {}]
        for row in table.by_number.tolist():
            where = capture.blocks[int(table.columns.block[row])].name.decode(), int(table.columns.address[row])
            for last, moment in zip(naive, moments, strict=True):
                if table.number[row] <= moment:
                    last[where] = int(table.number[row])
        assert main(["diff", str(path), "--at", str(moments[0]), "--to", str(moments[1]), "--json"]) == 1
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for f in found:
            where = f["block"], f["page"]
            assert (f["record"], f["second_record"]) == tuple(last.get(where) for last in naive)
            assert f["offset"] == (None if f["record"] is None else table.columns.offset[table.row(f["record"])])


def test_one_block_can_be_compared_and_the_pages_that_are_shown_limited(capsys, pair):
    assert main(["diff", *pair, "--block", "vga"]) == 1
    assert capsys.readouterr().out == (
        "the RAM blocks differ; every byte that both have is equal\nvga: in the second only, 4,096 bytes\n"
    )
    assert main(["diff", *pair, "--block", "nowhere"]) == 2
    assert "there is no RAM block nowhere" in capsys.readouterr().err
    assert main(["diff", *pair, "--block", "pc.ram", "--limit", "3", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["page"] for line in out.splitlines()] == [0, PAGE, 2 * PAGE]
    assert "3 more pages differ (--limit)" in err
    assert main(["diff", *pair, "--block", "pc.ram", "--limit", "3"]) == 1
    assert "pc.ram:0x1000  2 pages: 8,192 bytes unknown in the second" in capsys.readouterr().out


def test_one_capture_can_be_compared_with_itself_at_two_records(capsys, pair):
    assert main(["diff", pair[1], "--at", "1", "--to", "2"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "1 page of pc.ram differs: 9 bytes differ"
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
        found[passes] = {(f["block"], f["page"] // PAGE) for f in lines}
        assert all(f["second_pass"] <= int(passes[-1]) for f in lines)
        assert all(f["pass"] is None or f["pass"] < int(passes[0]) for f in lines)
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
    assert "1 page of pc.ram differs: 4,080 bytes differ" in capsys.readouterr().out


def test_json_is_what_the_library_gives(capsys):
    path = SAMPLES / "xbzrle-16m.bin"
    capture = xbrletools.open(path)
    assert main(["diff", str(path), "--at", "4300", "--to", "4400", "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = differences(capture.memory(4300), capture.memory(4400))
    bytes_of = {"page": {}, "range": {}}
    for f in found:
        for start, length, change in f["ranges"]:
            bytes_of["page"] |= {(f["block"], f["page"] + start + i): change for i in range(length)}
        assert f["bytes"] == sum(length for _, length, _ in f["ranges"])
    for d in expected:
        bytes_of["range"] |= {(d.block.decode(), d.offset + i): d.change.value for i in range(d.length)}
    assert bytes_of["page"] == bytes_of["range"]


def test_bytes_that_were_lost_differ(capsys, tmp_path):
    path = tmp_path / "lost.bin"
    path.write_bytes(stream([page(0, A), raw_delta(0, b"\x01\x02")]))
    assert main(["diff", str(path), "--at", "1", "--dialect", "posted"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == ("1 page of pc.ram differs: 4,096 bytes unknown in the second")


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
    assert capsys.readouterr().out.splitlines()[0].startswith("1 page of pc.ram differs: ")
    assert main(["diff", str(path), "--to-view", "sender", "--at", "2", "--to", "2"]) == 0
    capsys.readouterr()
    assert main(["diff", str(path), "--to-view", "sender", "--pass", "1"]) == 2


def test_the_two_views_of_a_real_capture_differ_in_the_pages_that_the_posted_sender_corrupted(corpus, capsys, tmp_path):
    path = tmp_path / "stale.bin"
    path.write_bytes(corpus("qemu-2011-posted/dbg-stale-reject.bin"))
    assert main(["diff", str(path), "--to-view", "sender"]) == 1
    assert capsys.readouterr().out.splitlines()[0].startswith("32 pages of pc.ram differ: ")


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
    assert "unknown in the second" in out.splitlines()[0]


@pytest.mark.parametrize("options", [[], ["--salvage"], ["--no-cache"]])
def test_standard_input_cannot_be_both_captures(options, capsys):
    assert main(["diff", *options, "-", "-"]) == 2
    assert "only one of S and S2 can be -" in capsys.readouterr().err


def test_the_same_damaged_capture_twice_differs_in_nothing(tmp_path, capsys):
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    path = tmp_path / "cut.bin"
    path.write_bytes(data[:600_000] + data[605_000:])
    assert main(["diff", "--salvage", str(path), str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "nothing differs in what could be read\n"
    assert "skipped at offset" in err
