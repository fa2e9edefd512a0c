"""Colours by meaning: severities, bytes that changed, matches; where they are wanted, and nowhere else."""

import re

import pytest

from tests.cli.run import run
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.cli import writer

STALE, POSTED = SAMPLES / "stale-base.bin", SAMPLES / "posted-8m.bin"
PAINTS = re.compile("\x1b\\[(?:[012]|3[1-6])m")
COMMANDS = {
    "verify": ("verify", STALE),
    "rules": ("verify", "--rules"),
    "page": ("page", STALE, "0x1e000", "--diff", "279", "289"),
    "grep": ("grep", POSTED, "-i", "mig", "-C", "8"),
    "dump": ("dump", POSTED, "--limit", "40"),
}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize("name", COMMANDS)
def test_colours_change_nothing_but_colours(name, capsys):
    plain, coloured = (run(capsys, *COMMANDS[name], "--color", when) for when in ("never", "always"))
    assert PAINTS.search(coloured[1])
    assert not PAINTS.search(plain[1])
    assert (coloured[0], PAINTS.sub("", coloured[1])) == (plain[0], plain[1])
    assert "\\x1b" not in coloured[1]


def test_a_severity_a_changed_byte_and_a_match_have_theirs(capsys):
    verify = run(capsys, *COMMANDS["verify"], "--color", "always")[1]
    assert "\x1b[1m\x1b[31mCORRUPT\x1b[0m" in verify
    assert "\x1b[1m\x1b[31merror\x1b[0m   stale-base" in verify
    assert "\x1b[33mwarning\x1b[0m stale-base" in verify
    assert "\x1b[32mNO FAULT\x1b[0m" in run(capsys, "verify", POSTED, "--color", "always")[1]
    assert "\x1b[33m*02\x1b[0m" in run(capsys, *COMMANDS["page"], "--color", "always")[1]
    grep = run(capsys, *COMMANDS["grep"], "--color", "always")[1]
    assert "\x1b[1m\x1b[31m|MIg|\x1b[0m" in grep
    assert grep.count("\x1b[1m\x1b[31m") == 4  # the match, and its three bytes among those around it


@pytest.mark.parametrize(
    ("terminal", "environment", "option", "wanted"),
    [
        (False, {}, "auto", False),
        (True, {}, "auto", True),
        (True, {"NO_COLOR": "1"}, "auto", False),
        (True, {"NO_COLOR": ""}, "auto", True),
        (True, {"TERM": "dumb"}, "auto", False),
        (False, {"CLICOLOR_FORCE": "1"}, "auto", True),
        (False, {"CLICOLOR_FORCE": "0"}, "auto", False),
        (False, {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, "auto", False),
        (False, {"NO_COLOR": "1"}, "always", True),
        (True, {"CLICOLOR_FORCE": "1"}, "never", False),
    ],
)
def test_what_goes_before_what(terminal, environment, option, wanted, monkeypatch):
    monkeypatch.setattr(writer, "is_terminal", lambda: terminal)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    writer.choose_colors(option)
    try:
        assert writer.is_coloured() is wanted
    finally:
        writer.choose_colors("auto")


def test_one_command_s_choice_is_not_the_next_one_s(capsys):
    run(capsys, *COMMANDS["verify"], "--color", "always")
    assert not PAINTS.search(run(capsys, *COMMANDS["verify"])[1])


def test_json_has_no_colours(capsys):
    for words in (("verify", STALE), ("grep", POSTED, "-i", "mig"), ("dump", POSTED)):
        assert "\x1b" not in run(capsys, *words, "--json", "--color", "always")[1]


def test_names_and_memory_cannot_bring_colours_of_their_own(tmp_path, capsys):
    page = noise(1)
    page[:12] = list(b"\x1b[31mred\x1b[0m")
    path = tmp_path / "S"
    path.write_bytes(StreamBuilder({b"a\x1b[31mb": PAGE}).page(0, page, b"a\x1b[31mb").end().bytes())
    for words in (("verify", path), ("dump", path), ("grep", path, "red", "-C", "16"), ("stats", path), ("info", path)):
        out = run(capsys, *words, "--color", "always")[1]
        assert "\x1b[31mb" not in out and "\x1b[31mred" not in out.replace("\x1b[1m\x1b[31m", "")
