"""Numbers that are too large for 64 bits, of a stream and of its user, are refused or answered, and never a crash."""

from pathlib import Path

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.siege.bombs import delta, dup, page, stream
from tests.streams import PAGE
from xbrletools.cli import main

HUGE, DIGITS = str(10**30), "9" * 5000
STREAMS = {
    "a block of 2^63 bytes": stream([(b"pc.ram", 1 << 63)], page(0)),
    "blocks of 3 x 2^62 bytes": stream([(n, 1 << 62) for n in (b"a", b"b", b"c")], page(0, b"c")),
    "addresses at the end of 64 bits": stream(
        [(b"pc.ram", 1 << 20)], page((1 << 64) - PAGE) + dup(1 << 63) + delta((1 << 64) - PAGE)
    ),
    "no block at all": stream([], dup(0, b"")),
}
COMMANDS = [
    ["log", "S", "--end", "sender"], ["log", "S", "--end", "receiver"], ["sender", "S"], ["whatif", "S"],
    ["transcode", "S", "--policy", "none", "-o", "OUT"], ["verify", "S"], ["stats", "S"], ["blame", "S", "0x0+16"],
    ["grep", "S", "text"], ["simulate", "--capture", "S"],
]  # fmt: skip
OPTIONS = [
    ["page", "S", "0x0", "--at", HUGE], ["page", "S", DIGITS], ["blame", "S", f"0x0+{HUGE}"],
    ["grep", "S", "a", "--at", HUGE], ["diff", "S", "--pass", DIGITS], ["sender", "S", "--cache", HUGE],
    ["sender", "S", "--cache", DIGITS], ["whatif", "S", "--cache", HUGE], ["log", "S", "--end", "sender", "--base",
    f"pc.ram={HUGE}"], ["sender", "S", "--base", "pc.ram=0x7ffffffffffff000"],
    ["transcode", "S", "--policy", "intended", "--seed", "-1", "-o", "OUT"],
    ["transcode", "S", "--policy", "xbzrle", "--cache", HUGE, "-o", "OUT"],
    ["transcode", "S", "--redact", f"page=0x0-{HUGE}", "-o", "OUT"], ["simulate", "--capture", "S", "--cache", HUGE],
    ["simulate", "--capture", "S", "--bandwidth", "nan"], ["simulate", "--capture", "S", "--seed", "-1"],
]  # fmt: skip


def check(words: list[str], data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "S").write_bytes(data)
    places = {"S": str(tmp_path / "S"), "OUT": str(tmp_path / "T")}
    assert main([places.get(word, word) for word in words]) in (0, 1, 2)
    err = capsys.readouterr().err
    assert "internal error" not in err and "Traceback" not in err


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_s_numbers_are_refused_or_answered(name, tmp_path, capsys):
    for words in COMMANDS:
        (tmp_path / "T").unlink(missing_ok=True)
        check(words, STREAMS[name], tmp_path, capsys)


@pytest.mark.parametrize("words", OPTIONS, ids=lambda words: " ".join(words)[:60])
def test_a_user_s_numbers_are_refused_or_answered(words, tmp_path, capsys):
    check(words, stream([(b"pc.ram", 1 << 20)], page(0) + delta(0), stages=2), tmp_path, capsys)


def test_the_log_of_a_stream_that_lists_no_block_is_written(corpus, tmp_path, capsys):
    (tmp_path / "S").write_bytes(corpus("cases/logs/log_overflow.bin"))
    assert main(["log", str(tmp_path / "S"), "--end", "sender"]) == 1
    assert "internal error" not in capsys.readouterr().err


def test_a_number_of_five_thousand_digits_is_refused_in_one_line(capsys):
    status, _, err = run(capsys, "stats", SAMPLES / "posted-8m.bin", "--posted", "--cache", "9" * 5000)
    assert status == 2
    assert "invalid size" in err


def test_json_that_is_nested_too_deeply_is_not_a_layout_or_a_map(tmp_path, capsys):
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    sample = SAMPLES / "posted-8m.bin"
    status, _, err = run(capsys, "extract", sample, "--format", "elf", "--map", deep, "-o", tmp_path / "core")
    assert (status, "cannot be read" in err) == (2, True)
    deep.write_text('{"blocks": [{"name": "\\ud800", "length": 4096}]}')
    (tmp_path / "snap").write_bytes(bytes(4096))
    status, _, err = run(capsys, "encode", tmp_path / "snap", "--layout", deep, "-o", tmp_path / "S")
    assert (status, "not a list of blocks" in err) == (2, True)


@pytest.mark.parametrize("content", [b"", b"null"])
def test_a_log_without_a_whole_line_is_not_taken_for_one_that_agrees(content, tmp_path, capsys):
    (tmp_path / "mig.log").write_bytes(content)
    status, _, err = run(capsys, "verify", SAMPLES / "posted-8m.bin", "--sender-log", tmp_path / "mig.log")
    assert (status, "does not hold a whole line" in err) == (2, True)
