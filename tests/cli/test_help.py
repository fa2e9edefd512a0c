"""What help shows: examples that run, and the names that there are."""

import importlib
import shlex
import subprocess

import click
import pytest

from tests.conftest import ROOT
from xbrletools.cli import COMMANDS, EXIT_FINDINGS, main
from xbrletools.cli.options import DIALECT_NAMES
from xbrletools.formats.dialects import DIALECTS

WAITS = {"capture", "serve", "tui"}  # commands that end when a user or another machine ends them
SLOW = {"simulate", "vectors write", "vectors check"}  # their own tests run them


def commands() -> dict[str, click.Command]:
    """Every command, and those in groups, by what is typed for them."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = importlib.import_module(f"xbrletools.cli.{name}").command
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {n}": c for n, c in inner.items()} or {name: command}
    return found


def examples(command: click.Command) -> list[str]:
    """The command lines at the end of a command's help."""
    lines = (command.epilog or "").splitlines()
    return [line.strip() for line in lines[lines.index("Examples:") + 1 :]] if "Examples:" in lines else []


@pytest.mark.parametrize("name", sorted(set(commands()) - WAITS - SLOW))
def test_every_example_runs_on_the_samples(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("samples", "docs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for line in examples(commands()[name]):
        here = line.replace("/tmp/", "")
        if line.startswith("xbrle "):
            assert main(shlex.split(here)[1:]) in (0, EXIT_FINDINGS), capsys.readouterr().err
        else:
            subprocess.run(here, shell=True, check=True)


@pytest.mark.parametrize("name", sorted(set(commands()) - {"tui", "serve", "info", "stats", "report"}))
def test_every_help_ends_with_examples_of_its_command(name):
    assert any(line.startswith(f"xbrle {name} ") for line in examples(commands()[name]))


def test_the_dialects_that_help_lists_are_those_there_are():
    assert sorted(DIALECT_NAMES.split(", ")) == sorted(DIALECTS)
