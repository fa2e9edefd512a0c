"""`xbrle grep`: what its user sees, and how it can be stopped."""

import json
from pathlib import Path

import pytest

import xbrletools.analysis.search as search_module
from tests.posted import PAGE, delta, dup, page, stream
from xbrletools.cli import main

A = bytes(range(256)) * 16
T = A[: PAGE - 5] + b"Hello"
U = b", World" + A[7:]
W = "Größe".encode("utf-16-le")

SLOW = "(a+)+$"  # takes for ever on a long run of a that is not at a line's end

ALL = """\
address            appeared vanished  match
pc.ram:0x00000ffb         2        3  |Hello, World|
pc.ram:0x00000ffb         4        -  |Hello, World|
"""


@pytest.fixture
def built(tmp_path: Path) -> str:
    path = tmp_path / "built.bin"
    records = [page(0, T), page(PAGE, U), dup(PAGE, 0), page(PAGE, U), page(2 * PAGE, A[:50] + W + A[50 + len(W) :])]
    path.write_bytes(stream([*records, delta(2 * PAGE, A, A)]))
    return str(path)


def test_a_string_across_two_pages_is_found_with_its_lives(capsys, built):
    assert main(["grep", built, "Hello, World", "--all"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (ALL, "")
    assert max(map(len, out.splitlines())) <= 80


def test_without_all_memory_at_one_moment_is_searched(capsys, built):
    assert main(["grep", built, "Hello, World"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "pc.ram:0x00000ffb  |Hello, World|"
    assert main(["grep", built, "Hello, World", "--at", "3"]) == 1
    assert capsys.readouterr().out == ""
    assert main(["grep", built, "Hello, World", "--at", "3", "--all"]) == 0
    assert "       2        3  |" in capsys.readouterr().out


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
    expected = {"block": "pc.ram", "offset": offset, "length": len(content), "bytes": content.hex(), "view": "receiver"}
    assert found == expected


def test_json_of_lives_has_both_records(capsys, built):
    assert main(["grep", built, "World", "--all", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(f["appeared"], f["vanished"]) for f in found] == [(2, 3), (4, None)]


def test_what_is_not_there_exits_1_and_prints_nothing(capsys, built):
    assert main(["grep", built, "nowhere", "--all"]) == 1
    assert capsys.readouterr() == ("", "")
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
