"""Lines on standard error: whole where a program reads them, wrapped at the width of a terminal."""

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest
from rich.table import Table

from tests.conftest import SAMPLES
from xbrletools.cli import main, output, writer

LONG = "the capture ends inside a section's footer, and nothing of what follows it was ever written " * 3


def on_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, act: object, *arguments: object, **more: object) -> str:
    """What an ``act`` writes to a standard error that is a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w") as file, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", file)
        act(*arguments, **more)  # type: ignore[operator]
        file.flush()
        written = os.read(ours, 1 << 16)
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80, 132])
def test_a_terminal_gets_a_message_in_lines_of_its_width(columns, monkeypatch):
    lines = on_terminal(columns, monkeypatch, writer.warn, LONG).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= columns for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == f"xbrle: {' '.join(LONG.split())}"


def test_a_name_that_fills_a_line_does_not_begin_the_next_one(monkeypatch):
    for fill in range(20, 60):
        lines = on_terminal(40, monkeypatch, writer.warn, "A" * fill + "xbrle: all is well").splitlines()
        assert [line.startswith("xbrle:") for line in lines] == [True, *[False] * (len(lines) - 1)]


def test_a_program_gets_every_message_in_one_line(capsys):
    writer.warn(LONG)
    writer.say(LONG, err=True)
    writer.entry("records", LONG, 12, err=True)
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_tables_are_as_wide_as_they_are_but_on_a_terminal(monkeypatch, capsys):
    table = Table.grid()
    table.add_row("x", LONG)
    output.show(table, err=True)
    assert len(capsys.readouterr().err.splitlines()) == 1
    lines = on_terminal(60, monkeypatch, output.show, table, err=True).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize(
    "words", [["info", "--dialect", "nonsense " * 30, "S"], ["verify", "S" * 200, "--no-such-option"]]
)
def test_wrong_usage_is_wrapped_as_well_and_only_there(words, monkeypatch, capsys):
    assert main(words) == 2
    plain = capsys.readouterr().err
    assert max(map(len, plain.splitlines())) > 100 or "--no-such-option" in words
    assert all(len(line) <= 50 for line in on_terminal(50, monkeypatch, main, words).splitlines())


def test_prose_on_standard_output_keeps_its_width(capsys):
    assert main(["salvage", str(SAMPLES / "posted-8m.bin")]) == 0
    assert all(len(line) <= 79 for line in capsys.readouterr().out.splitlines())
