"""`xbrle grep`: what its user sees, and how it can be stopped."""

import json
from pathlib import Path

import pytest

import xbrletools
import xbrletools.analysis.search as search_module
from tests.conftest import SAMPLES
from tests.posted import PAGE, delta, dup, page, stream
from xbrletools.cli import main

A = bytes(range(256)) * 16
T = A[: PAGE - 5] + b"Hello"
U = b", World" + A[7:]
W = "Größe".encode("utf-16-le")

SLOW = "(a+)+$"  # takes for ever on a long run of a that is not at a line's end

ALL = """\
address            appeared pass vanished  match
pc.ram:0x00000ffb         2    1        3  |Hello, World|
pc.ram:0x00000ffb         4    1        -  |Hello, World|
"""


@pytest.fixture
def built(tmp_path: Path) -> str:
    path = tmp_path / "built.bin"
    records = [page(0, T), page(PAGE, U), dup(PAGE, 0), page(PAGE, U), page(2 * PAGE, A[:50] + W + A[50 + len(W) :])]
    path.write_bytes(stream([*records, delta(2 * PAGE, A, A)]))
    return str(path)


def test_a_string_across_two_pages_is_found_with_its_lives(capsys, built):
    assert main(["grep", built, "Hello, World", "--all"]) == 0
    out = capsys.readouterr().out
    assert out == ALL
    assert max(map(len, out.splitlines())) <= 80


def test_without_all_memory_at_one_moment_is_searched(capsys, built):
    assert main(["grep", built, "Hello, World"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "pc.ram:0x00000ffb         4    1  |Hello, World|"
    assert main(["grep", built, "Hello, World", "--at", "3"]) == 1
    assert capsys.readouterr().out == ""
    assert main(["grep", built, "Hello, World", "--at", "3", "--all"]) == 0
    assert "        2    1        3  |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "offset", "content"),
    [
        (["hELLO, wORLD", "-i"], PAGE - 5, b"Hello, World"),
        (["--regex", "W[a-z]{3}d"], PAGE + 2, b"World"),
        (["--hex", "48 65-6c:6c,6F 2c"], PAGE - 5, b"Hello,"),
        (["--hex", "0x576f726C"], PAGE + 2, b"Worl"),
        (["--utf16", "Größe"], 2 * PAGE + 50, W),
        (["--utf16", "-i", "gRÖßE"], 2 * PAGE + 50, W),
    ],
)
def test_patterns_are_text_bytes_or_expressions(capsys, built, arguments, offset, content):
    assert main(["grep", built, *arguments, "--json"]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    place = {"block": "pc.ram", "offset": offset, "length": len(content), "bytes": content.hex(), "view": "receiver"}
    assert found.items() >= place.items()
    assert (found["record"], found["pass"]) == ((6, 1) if offset > PAGE * 2 else (4, 1))


def test_json_of_lives_has_both_records(capsys, built):
    assert main(["grep", built, "World", "--all", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(f["appeared"], f["vanished"]) for f in found] == [(2, 3), (4, None)]


def test_what_is_not_there_exits_1_and_prints_nothing(capsys, built):
    assert main(["grep", built, "nowhere", "--all"]) == 1
    assert capsys.readouterr().out == ""
    assert main(["grep", built, "Hello", "--block", "pc.ram"]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--hex", "xy"], "invalid bytes"),
        (["--hex", ""], "empty pattern"),
        ([""], "empty pattern"),
        (["--regex", "("], "not a regular expression"),
        (["--regex", "--hex", "00"], "exclude each other"),
        (["--hex", "-i", "00"], "exclude each other"),
        (["x", "--at", "77"], "there is no record 77"),
        (["x", "--at", "77", "--all"], "there is no record 77"),
        (["x", "--block", "vga"], "there is no RAM block vga"),
        (["x", "--at", "1", "--at-pass", "1"], "exclude each other"),
        (["x", "--at-pass", "7", "--all"], "there is no pass 7"),
        (["x", "--count", "--limit", "1"], "--count excludes"),
        (["x", "--count", "-C", "1"], "--count excludes"),
        (["x", "--limit", "-1"], "limit"),
        (["x", "-C", "-1"], "invalid size"),
    ],
)
def test_what_cannot_be_searched_for_is_one_line_and_exit_2(capsys, built, arguments, reason):
    assert main(["grep", built, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err


@pytest.mark.parametrize("knobs", [[], ["--all"], ["-i"]])
def test_an_expression_that_never_ends_on_some_bytes_is_given_up_with_the_page_and_a_way_on(
    knobs, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(search_module, "REGEX_SECONDS", 0.05)
    path = tmp_path / "slow.bin"
    path.write_bytes(stream([page(0, b"begin aa" + A[8:]), page(3 * PAGE, b"a" * (PAGE - 1) + b"!")]))
    assert main(["grep", str(path), "--regex", SLOW, *knobs]) == 2
    err = capsys.readouterr().err
    assert SLOW in err and "pc.ram:0x3000" in err and "--hex" in err and "Traceback" not in err
    assert main(["grep", str(path), "--regex", "(?=begin)b[a-z]+"]) == 0


def test_a_broken_expression_is_one_line(capsys, built):
    for broken in ("(", "[", "*a", "a{99999999999999999999}", "(" * 3000 + ")" * 3000):
        assert main(["grep", built, "--regex", broken]) == 2
        out, err = capsys.readouterr()
        assert out == "" and "is not a regular expression" in err and "Traceback" not in err


def test_the_record_of_a_match_is_the_last_that_wrote_a_page_of_it(capsys, built):
    naive = {}
    capture = xbrletools.open(built)
    for row in capture.records.by_number.tolist():
        naive[int(capture.records.columns.address[row])] = int(capture.records.number[row])
    assert main(["grep", built, "--hex", "48 65", "--json"]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found["record"] == naive[0] == 1
    assert main(["grep", built, "Hello, World", "--json"]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found["record"] == max(naive[0], naive[PAGE]) == 4


def test_the_pass_of_a_life_is_that_of_the_record_at_which_it_appeared(capsys):
    path = str(SAMPLES / "posted-8m.bin")
    capture = xbrletools.open(path)
    assert main(["grep", path, "--regex", "[A-Za-z]{12,}", "--all", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({f["pass"] for f in found}) > 3
    for f in found:
        assert f["record"] == f["appeared"]
        assert f["pass"] == capture.records.pass_[capture.records.row(f["appeared"])]


@pytest.mark.parametrize("knobs", [[], ["--all"]])
def test_context_is_memory_around_the_match_also_in_the_next_page(capsys, built, knobs):
    assert main(["grep", built, "Hello, World", "-C", "20", "--json", *knobs]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    expected = (T + U)[PAGE - 25 : PAGE + 27]
    assert found["context"] == {"offset": PAGE - 25, "bytes": expected.hex(), "unknown": []}
    assert main(["grep", built, "Hello, World", "-C", "4", *knobs]) == 0
    out = capsys.readouterr().out
    assert "    00000ff7  f7 f8 f9 fa 48 65 6c 6c  6f 2c 20 57 6f 72 6c 64 |....Hello, World|" in out


@pytest.mark.parametrize("knobs", [[], ["--all"]])
def test_context_stops_at_the_ends_of_the_block_and_marks_what_is_unknown(capsys, tmp_path, knobs):
    path = tmp_path / "edge.bin"
    path.write_bytes(stream([page(0, b"Begin" + A[5:]), page(7 * PAGE, A[:-3] + b"End")]))
    assert main(["grep", str(path), "Begin", "-C", "8", "--json", *knobs]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found["context"]["offset"], len(found["context"]["bytes"])) == (0, 2 * 13)
    assert main(["grep", str(path), "End", "-C", str(PAGE), "--json", *knobs]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found["context"]["offset"] == 7 * PAGE - 3
    assert found["context"]["unknown"] == [[0, 3]]
    assert main(["grep", str(path), "End", "-C", str(PAGE), *knobs]) == 0
    assert "00006ffd  ?? ?? ?? 00 01" in capsys.readouterr().out


def test_context_of_a_life_is_that_of_the_moment_at_which_it_appeared(capsys, tmp_path):
    path = tmp_path / "before.bin"
    later = A[:200] + b"changed" + A[207:]
    start = A[:190] + b"needle" + A[196:]
    path.write_bytes(stream([page(0, start), page(0, start[:200] + later[200:])]))
    assert main(["grep", str(path), "needle", "-C", "16", "--json", "--all"]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found["context"]["bytes"] == start[190 - 16 : 196 + 16].hex()
    assert main(["grep", str(path), "needle", "-C", "16", "--json"]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert b"changed" in bytes.fromhex(found["context"]["bytes"])


def test_count_and_limit(capsys, built):
    assert main(["grep", built, "World", "--all", "--count"]) == 0
    assert capsys.readouterr().out == "2\n"
    assert main(["grep", built, "World", "--all", "--count", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"format": 1, "count": 2, "view": "receiver"}
    assert main(["grep", built, "nowhere", "--count"]) == 1
    assert capsys.readouterr().out == "0\n"
    assert main(["grep", built, "World", "--all", "--limit", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 and "stopped after 1 match (--limit)" in err
    assert main(["grep", built, "World", "--all", "--limit", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and "--limit" not in err


def test_memory_is_searched_as_it_was_after_the_last_record_of_a_pass(capsys):
    path = str(SAMPLES / "posted-8m.bin")
    passes = xbrletools.open(path).records.pass_
    numbers = passes[passes > 0].tolist()
    found = set()
    for number in (1, 4, 7):
        record = len(numbers) - numbers[::-1].index(number)
        outs = []
        for moment in (["--at", str(record)], ["--at-pass", str(number)]):
            assert main(["grep", path, "--regex", "[A-Za-z]{6,}", *moment]) == 0
            outs.append(capsys.readouterr().out)
        assert outs[0] == outs[1]
        found.add(outs[0])
    assert len(found) == 3


def test_a_pass_that_a_block_ends_after_the_main_one_is_said(capsys):
    path = str(SAMPLES / "posted-8m.bin")
    assert main(["grep", path, "--hex", "55aa", "--count", "--at-pass", "1"]) == 0
    said = "pass 1 ends at record 2158, in pc.rom; of pc.ram it ended at record 2052 (--at 2052)"
    assert said in capsys.readouterr().err
    assert main(["grep", path, "--hex", "55aa", "--count", "--at-pass", "2"]) == 0
    assert capsys.readouterr().err == "xbrle: 131072 bytes are unknown, and no match has any of them\n"
