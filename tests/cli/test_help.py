"""What help shows: examples that run, and the names that there are."""

import importlib
import re
import shlex
import subprocess

import click
import pytest

from tests.conftest import ROOT
from xbrletools.cli import COMMANDS, EXIT_FINDINGS, EXIT_UNREADABLE, main
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


@pytest.mark.parametrize("name", sorted({*commands()} - WAITS - SLOW | {"capture"}))
def test_every_example_runs_on_the_samples(name, tmp_path, monkeypatch, capsys):
    extras = {"tables": ("pyarrow", "distributed"), "query": ("duckdb",), "yara": ("yara_x",)}
    for package in extras.get(name, ()):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(ROOT / "samples")  # as `xbrle samples -o samples` makes it: nothing of a clone
    every = examples(commands()[name])
    for line in every if name not in WAITS else [line for line in every if "--from-pcap" in line]:
        here = line.replace("/tmp/", "")
        if line.startswith("xbrle "):
            assert main(shlex.split(here)[1:]) in (0, EXIT_FINDINGS), capsys.readouterr().err
        else:
            subprocess.run(here, shell=True, check=True)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_help_ends_with_examples_of_its_command(name):
    assert any(line.startswith(f"xbrle {name} ") for line in examples(commands()[name]))


@pytest.mark.parametrize("name", ["", "vectors", *sorted(commands())])
def test_help_is_laid_out_and_its_examples_fit_into_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "\\b" not in text  # click's mark of a paragraph that it does not wrap
    _, _, shown = text.partition("Examples:\n")
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_the_document_lists_the_commands_as_help_does():
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    rows = re.findall(r"^\| `xbrle (\w+)` \| (.*) \|$", text, re.MULTILINE)
    assert rows == list(COMMANDS.items())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_that_reads_a_capture_chooses_a_migration_of_a_dump(name):
    parameters = {p.name for p in commands()[name].params}
    assert ("stream" in parameters) == bool(parameters & {"capture", "sources", "from_pcap"})


def test_explain_tells_an_unknown_rule_from_one_without_findings(capsys):
    sample = str(ROOT / "samples" / "m115-big.bin")
    assert main(["verify", sample, "--explain", "nonsense"]) == EXIT_UNREADABLE
    assert "there is no rule 'nonsense'; the rules are " in capsys.readouterr().err
    assert main(["verify", sample, "--explain", "ends-disagree"]) == 0
    out, err = capsys.readouterr()
    assert "this capture does not have a finding of rule ends-disagree" in err
    assert "The two ends logged different sums of a page." in out


def test_the_dialects_that_help_lists_are_those_there_are():
    assert sorted(DIALECT_NAMES.split(", ")) == sorted(DIALECTS)
