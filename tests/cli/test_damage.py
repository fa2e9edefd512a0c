"""Truncated and wrong input: all that can be had, one line that says what is missing, never a traceback."""

import json
import os
import random

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise


def small() -> bytes:
    a, b = noise(1), noise(1)
    b[9] ^= 1
    stream = StreamBuilder({b"pc.ram": 2 * PAGE, b"vga": PAGE}, flags=3).page(0, a).dup(PAGE).page(0, b, b"vga")
    return stream.part().delta(0, a, b).end().bytes()


SMALL = small()
HEADER = 8


@pytest.mark.parametrize("end", [*range(HEADER, 80), *random.Random(1).sample(range(80, len(SMALL)), 60)])
def test_a_stream_cut_anywhere_gives_what_is_before_and_exits_1(capsys, tmp_path, end):
    path = tmp_path / "cut.bin"
    path.write_bytes(SMALL[:end])
    status, out, err = run(capsys, "info", path, "--json")
    facts = json.loads(out)
    assert (status, facts["truncated"]) == (1, True)
    assert err.startswith("xbrle: truncated at offset 0x")
    status, out, err = run(capsys, "dump", path, "--json")
    assert status == 1
    assert "truncated" in err
    records = [json.loads(line) for line in out.splitlines()]
    (tmp_path / "whole.bin").write_bytes(SMALL)
    whole = [json.loads(line) for line in run(capsys, "dump", tmp_path / "whole.bin", "--json")[1].splitlines()]
    before = [r for r in whole if r["type"] == "record" and r["payload"] + r["length"] <= end]
    assert [r for r in records if r["type"] == "record"][: len(before)] == before
    status, _, err = run(capsys, "extract", path, "-o", tmp_path / "out")
    assert status == (1 if facts["blocks"] else 2)
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [("info",), ("dump",), ("dump", "--fields", "--hex"), ("extract",)])
def test_the_posted_sample_cut_at_many_offsets_never_raises(capsys, tmp_path, command):
    data = (SAMPLES / "posted-8m.bin").read_bytes()
    places = random.Random(2).sample(range(9, 0x1167B6), 6)
    for place in places:
        path = tmp_path / "cut.bin"
        path.write_bytes(data[:place])
        more = ("-o", tmp_path / f"out{place}") if command == ("extract",) else ()
        status, _, err = run(capsys, *command, path, *more)
        assert status == 1, place
        assert "truncated at offset" in err


def test_flipped_bytes_never_raise(capsys, tmp_path):
    choose = random.Random(3)
    path = tmp_path / "flipped.bin"
    for turn in range(60):
        data = bytearray(SMALL)
        for _ in range(choose.randint(1, 3)):
            place = choose.choice([choose.randrange(len(data)), choose.randrange(120)])
            data[place] ^= 1 << choose.randrange(8)
        path.write_bytes(data)
        for command in (("info",), ("info", "--json"), ("dump", "--fields"), ("dump", "--json", "--hex"), ("extract",)):
            more = ("-o", tmp_path / f"out{turn}", "--hash-unknown", "16M") if command == ("extract",) else ()
            status, _, err = run(capsys, *command, path, *more)
            assert status in (0, 1, 2), (turn, command)
            assert status == 0 or err


@pytest.mark.parametrize("command", ["info", "dump", "extract"])
def test_what_is_no_capture_is_one_line_and_exit_2(capsys, tmp_path, command):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello, world")
    (tmp_path / "short").write_bytes(b"QEVM\0")
    (tmp_path / "secret").write_bytes(SMALL)
    (tmp_path / "secret").chmod(0)
    names = ["empty", "text", "short", ".", "absent", *(["secret"] if os.getuid() else [])]
    for name in names:
        more = ("-o", tmp_path / "out") if command == "extract" else ()
        status, out, err = run(capsys, command, tmp_path / name, *more)
        assert (status, out) == (2, ""), name
        assert err.startswith("xbrle: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command", [("info",), ("info", "--json"), ("dump",), ("dump", "--json"), ("stats",), ("stats", "--json")]
)
def test_a_page_that_continues_no_block_is_listed_without_one(capsys, tmp_path, command):
    stream = StreamBuilder()
    stream.selected = b"pc.ram"  # as if a name had come
    path = tmp_path / "x.bin"
    path.write_bytes(stream.page(0, noise(1)).bytes())
    status, out, err = run(capsys, *command, path)
    assert (status, err) == (0, "")
    assert "page" in out


@pytest.mark.parametrize("size", [-4096, 0, 1000, 1 << 20])
def test_no_target_has_pages_of_such_a_size(capsys, size):
    status, out, err = run(capsys, "info", SAMPLES / "posted-8m.bin", "--page-size", size)
    assert (status, out) == (2, "")
    assert "4096" in err and err.count("\n") == 1
