"""Hostile names through every output: nothing that a terminal, a path, HTML, JSON or markup acts on comes out."""

import contextlib
import html.parser
import io
import json
import os
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import xbrletools
from tests.codec.wire import noise
from tests.siege.bounds import no_hang
from tests.siege.hostile import FORGED, NAMES, PAGE, captured, channel, saved
from tests.tui.driving import browsing, drives
from xbrletools import cli
from xbrletools.export.raw import file_name
from xbrletools.text import shown
from xbrletools.tui.screens.names import SCREENS

CAPTURE = captured()
BENIGN = captured([b"block%d" % i for i in range(len(NAMES))])
SAFE_FILE = re.compile(r"[A-Za-z0-9%._+@=,~-]+")


def _inert(text: str) -> None:
    wrong = [(i, c) for i, c in enumerate(text) if c != "\n" and not c.isprintable()]
    assert not wrong, (wrong[:3], text[max(0, wrong[0][0] - 80) : wrong[0][0] + 80])


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [s for k, v in value.items() for s in (k, *_strings(v))]
    if isinstance(value, list):
        return [s for v in value for s in _strings(v)]
    return [value] if isinstance(value, str) else []


class Out:
    """The commands, in a folder of their own. Whatever they print is looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "capture.bin"
        self.path.write_bytes(CAPTURE)
        self.files = {self.path}

    def __call__(self, command: str, *arguments: object, statuses: tuple[int, ...] = (0, 1), json_: bool = False):
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
        words = [command, *map(str, arguments)]
        with no_hang(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(words)
        text = out.buffer.getvalue().decode()
        assert status in statuses, (words, status, err.getvalue()[:500])
        assert "Traceback" not in err.getvalue()
        _inert(err.getvalue())
        _inert(text)
        if json_:
            lines = [text] if text.startswith("{\n") else text.splitlines()
            for value in map(json.loads, lines):
                for string in _strings(value):
                    _inert(string)
        return text

    def nothing_else_was_written(self) -> None:
        there = {p for p in self.folder.rglob("*") if p.is_file()}
        assert there == self.files, there ^ self.files
        assert not FORGED.exists()


@pytest.fixture
def out(tmp_path):
    yield (runner := Out(tmp_path / "in" / "its" / "own" / "folder"))
    runner.nothing_else_was_written()


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    (tmp_path / "in" / "its" / "own" / "folder").mkdir(parents=True)


def test_every_name_is_there_to_be_shown():
    capture = xbrletools.open(CAPTURE)
    assert [b.name for b in capture.blocks] == NAMES
    assert {s.owner.idstr for s in capture.sections if s.owner is not None} >= set(NAMES)
    assert len(capture.devices) > 3
    assert {f.rule for f in capture.verify()} >= {"checksum-mismatch", "stale-base"}


def test_text_and_json_of_what_is_in_a_capture(out):
    for name in NAMES:
        assert shown(name).isprintable()
    info = out("info", out.path)
    assert "[bold red]" in info and "[@click=app.quit]" in info  # shown, not interpreted
    out("info", out.path, "--json", json_=True)
    for options in ((), ("--fields", "--runs", "--hex"), ("finding:any",), (f"block:'{shown(NAMES[1])}'",)):
        out("dump", out.path, *options)
        out("dump", out.path, *options, "--json", json_=True)
    out("stats", out.path)
    out("stats", out.path, "--json", json_=True)
    out("stats", out.path, "--posted", statuses=(0, 1, 2))


def test_findings_and_their_explanations(out):
    out("verify", out.path, "--limit", 0)
    out("verify", out.path, "--json", json_=True)
    sarif = json.loads(out("verify", out.path, "--sarif"))
    for string in _strings(sarif):
        _inert(string)
    for finding in xbrletools.open(CAPTURE).verify():
        _inert(finding.message)
        out("verify", out.path, "--explain", f"{finding.rule}@{finding.record}", statuses=(0, 1, 2))
    for receiver in ("vanilla", "default", "debug", "today"):
        out("verify", out.path, "--receiver", receiver)
        out("verify", out.path, "--receiver", receiver, "--blocks", "other=1M")


def test_pages_and_searches(out):
    for name in NAMES:
        place = f"{shown(name)}:0x0"
        out("page", out.path, place)
        out("page", out.path, place, "--json", json_=True)
        out("blame", out.path, f"{place}+16")
        out("blame", out.path, f"{place}+16", "--json", json_=True)
        out("grep", out.path, "--block", shown(name), "--hex", "00 00", "--json", json_=True)
    out("page", out.path, "nowhere:0x0", statuses=(2,))
    out("page", out.path, f"{shown(NAMES[0])}:0xfff000", statuses=(2,))
    out("grep", out.path, "--all", "--hex", noise(1, PAGE, 5)[0, :4].tobytes().hex(" "))
    out("diff", out.path, "--at", 1)
    out("diff", out.path, "--at", 1, "--json", json_=True)


def test_senders_and_logs(out):
    log = out.folder / "mig.log"
    log.write_bytes(b"[seq 1 addr 0x0 cksum 0x0] NORMAL page\n" + b"\n".join(NAMES) + b"\n")
    out.files.add(log)
    for end in ("sender", "receiver"):
        out("log", out.path, "--end", end)
        out("log", out.path, "--end", end, "--check", log, statuses=(0, 1, 2))
    out("sender", out.path)
    out("sender", out.path, "--json", json_=True)
    out("whatif", out.path, "--cache", "1M")
    out("whatif", out.path, "--cache", "1M", "--json", json_=True)


def test_files_that_are_written_stay_where_they_were_asked_for(out):
    folder = out.folder / "extracted"
    out("extract", out.path, "-o", folder)
    names = {p.name for p in folder.iterdir()}
    assert len(names) == len(NAMES) + 1  # and the manifest
    assert all(SAFE_FILE.fullmatch(n) and not n.startswith(".") and len(n) < 256 for n in names)
    manifest = json.loads((folder / "manifest.json").read_text())
    for string in _strings(manifest):
        _inert(string)
    out.files |= set(folder.iterdir())
    for name in NAMES[:3]:
        one = out.folder / f"one-{file_name(name, set())[:40]}"
        out("extract", out.path, "--block", shown(name), "-o", one, "--unknown", "mask-file")
        out.files |= {p for p in out.folder.iterdir() if p.name.startswith(one.name)}
    for form in ("elf", "lime"):
        made = out.folder / f"memory.{form}"
        out("extract", out.path, "--format", form, "-o", made, statuses=(0, 1, 2))
        beside = {p for p in out.folder.iterdir() if p.name.startswith(made.name)}
        for path in beside:
            if path.suffix == ".json":
                _inert(path.read_text())
        out.files |= beside
    clean, other = out.folder / "clean.bin", out.folder / "other.bin"
    out("salvage", out.path, "--json", "-o", clean, json_=True)
    out("salvage", out.path)
    out("transcode", out.path, "--policy", "none", "-o", other)
    out.files |= {clean, other}


class Tags(html.parser.HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.found |= {(tag, name) for name, _ in attrs} | {(tag, "")}
        assert not any((value or "").strip().lower().startswith("javascript:") for _, value in attrs)


def test_a_report_has_no_element_of_a_capture_s_making(out):
    pages = []
    for name, data in (("hostile", CAPTURE), ("benign", BENIGN)):
        path, made = out.folder / f"{name}.bin", out.folder / f"{name}.html"
        path.write_bytes(data)
        out("report", path, "-o", made)
        out.files |= {path, made}
        pages.append(made.read_text("utf-8"))
    _inert(pages[0])
    hostile, benign = map(Tags, pages)
    assert hostile.found == benign.found
    assert hostile.scripts == benign.scripts
    assert "&lt;script&gt;alert(1)" in pages[0]


def test_what_is_around_and_beside_a_stream(out):
    for name, data in saved(NAMES).items():
        path = out.folder / name
        path.write_bytes(data)
        out.files.add(path)
        for command in (("info",), ("info", "--json"), ("dump", "--fields"), ("verify", "--json")):
            out(command[0], path, *command[1:], statuses=(0, 1, 2))
    side = out.folder / "channel.bin"
    for name in NAMES:
        side.write_bytes(channel(name))
        out.files.add(side)
        out("verify", out.path, "--channel", side, "--json", json_=True)
        out("info", side, statuses=(1,))


FILES = ["\x1b[31mred", "\u202etxt.exe", "[bold]x[@click=app.quit]", "<b>x", "new\nline", "\udcff\udcfe"]


@pytest.mark.parametrize("name", FILES)
def test_a_capture_s_own_file_name(tmp_path, name):
    runner = Out(tmp_path)
    path = tmp_path / name
    path.write_bytes(CAPTURE)
    broken = tmp_path / f"{name}2"
    broken.write_bytes(b"no capture")
    for command in ("info", "dump", "verify", "stats", "salvage"):
        runner(command, path)
        runner(command, broken, statuses=(2,))
        runner(command, tmp_path / f"{name}3", statuses=(2,))
    assert json.loads(runner("info", path, "--json"))["name"] == str(path)  # for scripts, who open it again
    runner("extract", path, "-o", tmp_path / f"{name}-out")


@drives
async def test_screens_show_names_as_they_are_shown_elsewhere(tmp_path) -> None:
    path = tmp_path / "capture.bin"
    path.write_bytes(CAPTURE)
    async with browsing(path, (200, 60)) as d:
        for screen in SCREENS:
            _inert(await d.press(screen.key))
            for key in ("j", "j", "enter", "escape", "end", "question_mark", "escape", "tab", "slash", "escape"):
                _inert(await d.press(key))
        await d.press("2")
        for name in NAMES:
            _inert(await d.fill("slash", f"block:'{shown(name)}'"))
            _inert(await d.fill("g", f"{shown(name)}:0x0"))
        for message in d.messages:
            _inert(message)
        assert d.app.is_running


def test_no_path_of_a_name_is_ever_opened(tmp_path):
    """Even the names that are absolute paths or climb out of a folder."""
    opened = []
    real = os.open

    def watching(path, *rest, **more):
        opened.append(os.fspath(path))
        return real(path, *rest, **more)

    with mock.patch("os.open", watching):
        image = xbrletools.open(CAPTURE).memory()
        xbrletools.export.raw.write_folder(image, tmp_path / "out")
    assert np.array([b"etc" not in os.fsencode(p) for p in opened if isinstance(p, str | bytes)]).all()
    assert sorted(p.parent.name for p in (tmp_path / "out").iterdir()) == ["out"] * (len(NAMES) + 1)
