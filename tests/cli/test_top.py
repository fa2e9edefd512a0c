"""`xbrle top`: what it prints, and its exit status."""

import json
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.posted import PAGE, dup, page, stream

POSTED = SAMPLES / "posted-8m.bin"
XBZRLE = SAMPLES / "xbzrle-16m.bin"


def objects(capsys, *words):
    status, out, err = run(capsys, "top", *words, "--json")
    return status, [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize("path", [POSTED, XBZRLE])
def test_json_agrees_with_a_count_of_what_dump_lists(capsys, path):
    sends, sizes, passes = Counter(), Counter(), defaultdict(set)
    for line in run(capsys, "dump", path, "--json")[1].splitlines():
        one = json.loads(line)
        if one["type"] == "record" and one["record"] is not None:
            key = one["block"], one["page"]
            sends[key] += 1
            sizes[key] += one["payload"] - one["offset"] + one["length"]
            passes[key].add(one["pass"])
    status, found, _ = objects(capsys, path)
    assert status == 0
    assert {(o["block"], o["page"]): (o["resends"], o["bytes"], o["passes"]) for o in found} == {
        key: (count - 1, sizes[key], sorted(passes[key])) for key, count in sends.items()
    }
    assert [o["resends"] for o in found] == sorted((o["resends"] for o in found), reverse=True)


def test_the_table_has_the_first_rows_and_says_how_many_are_left_out(capsys):
    status, out, err = run(capsys, "top", POSTED, "--limit", "3")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "2112 pages came, 40 of them again, in 445 resends"
    assert lines[4].split() == ["pc.ram:0x287000", "19", "82080", "-", "1-11"]
    assert lines[-1] == "... 2109 more (--limit 2112)"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("by", ["page", "64K", "2M", "block"])
def test_lines_keep_to_80_columns_whatever_a_block_is_called(capsys, tmp_path, by):
    name = b"/machine/peripheral/" + b"x" * 200
    path = tmp_path / "S"
    path.write_bytes(stream([page(0x1000, b"a" * PAGE, name), dup(0x1000, 7, name)], [(name, 8 * PAGE)]))
    status, out, _ = run(capsys, "top", path, "--by", by)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert by == "block" or out.splitlines()[4].split()[0].endswith(":0x1000" if by == "page" else ":0x0")


def test_ranges_have_their_length_and_the_pages_that_came(capsys):
    _, found, _ = objects(capsys, POSTED, "--by", "2M", "--block", "pc.ram")
    assert {o["page"] % (2 << 20) for o in found} == {0}
    assert {o["length"] for o in found} == {2 << 20}
    assert sum(o["resends"] for o in found) == 445
    _, found, _ = objects(capsys, POSTED, "--by", "block")
    assert (found[0]["block"], found[0]["page"], found[0]["length"]) == ("pc.ram", 0, 8 << 20)


def test_wrong_usage_is_refused_and_says_what_to_use(capsys):
    for words, said in {
        ("--by", "1000"): "power of two",
        ("--by", "1K"): "4096 bytes",
        ("--by", "pages"): "invalid size",
        ("--limit", "-1"): "-1",
        ("nonsense",): "expected a term",
    }.items():
        status, _, err = run(capsys, "top", POSTED, *words)
        assert status == 2
        assert said in err


def test_a_block_that_is_not_there_is_said(capsys):
    status, out, err = run(capsys, "top", POSTED, "--block", "vga")
    assert status == 0
    assert out == "no page was sent\n"
    assert "there is no RAM block vga" in err


def test_what_lies_outside_every_block_is_said_and_shows_in_the_status(capsys, tmp_path):
    path = tmp_path / "S"
    path.write_bytes(stream([page(0, b"a" * PAGE), dup(0x100000, 7)]))
    status, _, err = run(capsys, "top", path)
    assert status == 1
    assert "1 record is left out: pages outside every block" in err


def test_a_cut_capture_gives_what_is_there_and_status_1(capsys, tmp_path):
    path = tmp_path / "S"
    path.write_bytes(POSTED.read_bytes()[:600_000])
    status, out, err = run(capsys, "top", path)
    assert status == 1
    assert "truncated" in err
    assert "resends" in out


def test_a_pipe_is_read():
    with POSTED.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "xbrletools", "top", "-", "--limit", "1"],
            stdin=file,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "pc.ram:0x287000" in done.stdout


def test_symbols_need_a_linux_guest(capsys):
    pytest.importorskip("drgn")
    status, _, err = run(capsys, "top", XBZRLE, "--symbols", "vmlinux")
    assert status == 2
    assert "VMCOREINFO" in err
    assert run(capsys, "top", XBZRLE, "--by", "owner")[0] == 2
    assert run(capsys, "top", XBZRLE, "--by", "2M", "--symbols", "vmlinux")[0] == 2


def test_a_map_is_for_owners(capsys, tmp_path):
    (tmp_path / "map").write_text("0 0x1000 nowhere 0\n")
    status, _, err = run(capsys, "top", XBZRLE, "--map", tmp_path / "map")
    assert status == 2 and "--map goes with --symbols" in err
    status, _, err = run(capsys, "top", XBZRLE, "--symbols", "vmlinux", "--map", tmp_path / "map")
    assert status == 2 and "the map names block nowhere" in err
