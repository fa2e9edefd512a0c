"""File names are evidence too: whatever one holds, a terminal shows it and does not act on it, in one line."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CORPUS, SAMPLES
from xbrletools.cli import COMMANDS, main

NAME = "a\nxbrle: all is well\x1b[2J\x1b]0;pwn\x07[bold red]x\u202eevil\udcff\r\x9b.bin"
FORGED = "xbrle: all is well"


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # colours and weights, by which a name can do no harm


def _ran(words: list[str], terminal: bool = False) -> tuple[int, str, str]:
    """The status, and what came on standard output and standard error."""
    kind = _Terminal if terminal else io.TextIOWrapper
    out, err = (kind(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, *(s.buffer.getvalue().decode(errors="replace") for s in (out, err))  # type: ignore[attr-defined]


def _check(words: list[str], terminal: bool = False) -> int:
    status, out, err = _ran(words, terminal)
    shown = out + err
    if terminal:
        shown = _STYLE.sub("", shown)
    wrong = {c for c in shown if c not in "\n\t" and not c.isprintable()}
    assert not wrong, (words, wrong, shown[:2000])
    assert not any(line.startswith(FORGED) for line in shown.split("\n")), (words, shown[:2000])
    assert "Traceback" not in err
    return status


def _commands(path: str, missing: str, folder: Path) -> Iterator[list[str]]:
    """Every command, on a file that is there, on one that is not, and with each of its files so called."""
    for s in (path, missing, str(folder)):
        for command in ("info", "dump", "verify", "stats", "top", "sender", "whatif", "salvage", "tui"):
            yield [command, s]
        for command in ("info", "dump", "verify", "stats", "top", "sender", "whatif", "salvage"):
            yield [command, s, "--json"]
        yield ["verify", s, "--sarif"]
        yield ["page", s, "0x0"]
        yield ["converge", s, "--link", "1G"]
        yield ["blame", s, "0x0+16"]
        yield ["grep", s, "mig"]
        yield ["yara", str(SAMPLES / "rules.yar"), s]
        yield ["yara", s, path]
        yield ["diff", path, s]
        yield ["diff", s, path, "--json"]
        yield ["diff", path, s, "--as", "raw"]
        yield ["diff", s, path, "--as", "raw", "--space", "physical", "--json"]
        yield ["diff", path, s, "--as", "raw", "--space", "physical", "--map", s]
        yield ["log", path, "--end", "receiver", "--check", s]
        yield ["describe", s]
        yield ["describe", "--qmp", s]
        yield ["describe", "--dump-vmstate", s]
        yield ["check", s, "--on", path]
        yield ["check", path, "--on", s]
        yield ["why", s]
        yield ["why", "Getting RAM address failed", s]
        yield ["why", f"Can't find block {NAME}", path]
        yield ["verify", path, "--sender-log", s]
        yield ["info", path, "--channel", s]
        yield ["info", s, "--snapshot", NAME]
        yield ["simulate", s]
        yield ["simulate", "--capture", s]
        yield ["vectors", "check", s]
        yield ["query", s, f"SELECT '{NAME}', * FROM captures"]
        yield ["query", s, f'SELECT count(*) AS "{NAME}" FROM records', "--csv"]
        yield ["query", path, f"SELECT * FROM '{NAME}'", "--jsonl"]
        yield ["query", path, "SELECT 1", "--with", f"t={s}"]
        yield ["tables", s, path, "-o", str(folder / "tables"), "--json"]
        yield ["tables", "--manifest", s, "-o", str(folder / "tables"), "--partition", f"{NAME}={NAME}"]
        yield ["serve", s, "--port", "99999"]
        yield ["extract", path, "--space", "physical", "--map", s, "-o", str(folder / "m")]
        yield ["encode", path, "--layout", s, "-o", str(folder / "e")]
        yield ["encode", s, "--block", "r=32K", "-o", str(folder / "e2")]
        yield ["encode", path, "--block", "r=32K", "--device-tail", s, "-o", str(folder / "e3")]
        yield ["capture", "tcp:nowhere.invalid:1", "-o", s]
        yield ["capture", "--from-pcap", s, "-o", str(folder / "p")]
        yield ["extract", path, "--disk", NAME, "-o", s]
        yield ["extract", path, "--block", NAME, "-o", s]
        for out in (s, f"{missing}/x"):
            yield ["extract", path, "-o", out]
            yield ["extract", path, "-o", out, "--block", "pc.ram"]
            yield ["extract", path, "-o", out, "--format", "elf"]
            yield ["salvage", path, "-o", out]
            yield ["transcode", path, "-o", out]
            yield ["report", path, "-o", out]
            yield ["report", path, path, "-o", out]
            yield ["whatif", path, "--image", f"{out}.png"]
            yield ["vectors", "write", out]
            yield ["tables", path, "-o", out]
            yield ["query", path, "SELECT 1", "-o", f"{out}.parquet"]
    yield [NAME]
    yield ["info", path, NAME]
    yield ["info", f"--{NAME}", path]
    yield ["samples", "-o", missing]
    yield ["grammars", "ksy", "-o", missing]


def test_no_command_prints_a_file_s_name_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes((SAMPLES / "posted-little-default.bin").read_bytes())
    tried = set()
    for i, words in enumerate(_commands(str(path), str(tmp_path / "no" / NAME), tmp_path)):
        tried.add(words[0])
        assert _check(words) in (0, 1, 2), words
        if words[0] not in ("vectors", "tui", "serve") and not i % 3:
            _check(words, terminal=True)
    assert tried >= set(COMMANDS)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real captures is absent")
def test_hostile_names_in_a_hostile_file(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes((CORPUS / "cases" / "damage" / "hostile.bin").read_bytes())
    for words in _commands(str(path), str(tmp_path / "no" / NAME), tmp_path):
        if str(path) in words:
            assert _check(words) in (0, 1, 2), words
            if words[0] in ("info", "dump", "stats", "diff", "log"):
                _check(words, terminal=True)


def test_a_terminal_does_not_get_raw_bytes(tmp_path: Path) -> None:
    sample = str(SAMPLES / "posted-little-default.bin")
    for words in (["page", sample, "0x0", "--at", "20", "--raw"], ["transcode", sample, "-o", "-"]):
        status, out, err = _ran(words, terminal=True)
        assert (status, out) == (2, "")
        assert "terminal" in err
        assert _ran(words)[0] in (0, 1)
