"""The tutorial: every command runs, and prints what the page shows. --update-goldens writes what they print."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.run import run
from tests.conftest import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CUT = re.compile(r"(.*) \| (head|tail) -(\d+)$")


def printed(capsys, command: str, last: int) -> tuple[str, int]:
    """What one line of the page prints, in a shell, and its status. ``last``: that of the command before."""
    if command == "echo $?":
        return f"{last}\n", 0
    cut = CUT.match(command)
    silent = command.endswith(" > /dev/null")
    words = shlex.split(cut[1] if cut else command.removesuffix(" > /dev/null"))
    assert words[0] == "xbrle", f"the tutorial has a command that nothing runs: {command}"
    status, out, err = run(capsys, *words[1:])
    lines = [] if silent else out.splitlines(keepends=True)
    if cut:
        status = 0  # a shell has that of head, or of tail
        lines = lines[: int(cut[3])] if cut[2] == "head" else lines[-int(cut[3]) :]
    return err + "".join(lines), status


def test_every_command_of_the_tutorial_prints_what_the_page_shows(
    capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    page = TUTORIAL.read_text("utf-8")
    status = 0

    def told(block: re.Match[str]) -> str:
        nonlocal status
        out = ""
        for line in block[1].splitlines():
            if line.startswith("$ "):
                text, status = printed(capsys, line[2:], status)
                out += f"{line}\n{text}"
        return f"```console\n{out}```"

    made = BLOCK.sub(told, page)
    if request.config.getoption("--update-goldens"):
        TUTORIAL.write_text(made, "utf-8")
    assert (tmp_path / "samples" / "stale-base.bin").exists(), "no command of the page ran"
    assert made == TUTORIAL.read_text("utf-8")
