"""What works everywhere: keys, themes, bookmarks, copies, exports, hostile and damaged input, quitting."""

import json
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.widgets import Input

import xbrletools
from tests.conftest import ROOT
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.memory.replay import View
from xbrletools.source import sources
from xbrletools.text import label
from xbrletools.tui.app import Browser
from xbrletools.tui.bookmarks import digest
from xbrletools.tui.screens.names import SCREENS
from xbrletools.tui.widgets.lines import fit

from .driving import EVERY, POSTED, XBZRLE, browsing, drives, stale

HOSTILE = b"\x1b]0;x\x07[bold red]x[/]\xe2\x80\xae\xff[@click=app.exit]" + b"A" * 210


@drives
async def test_every_screen_lists_its_keys_and_number_keys_reach_it() -> None:
    async with browsing(POSTED, (100, 80)) as d:
        assert len({s.key for s in SCREENS}) == len({s.mode for s in SCREENS}) == len(SCREENS)
        for screen in SCREENS:
            name, item = screen.mode, f"[{screen.key} {screen.title}]"
            text = await d.press(screen.key)
            assert d.app.current_mode == name
            assert type(d.app.screen).__name__ == screen.kind
            assert item in text
            text = await d.press("question_mark")
            assert f"keys: {screen.title}" in text
            for words in ("next record with a page", "command palette", "bookmark", "quit"):
                assert words in text, name
            assert all(f"{s.title}: {s.help}" in text for s in SCREENS)
            await d.press("escape")
            assert item in d.text


@drives
async def test_the_command_palette_has_every_key_of_the_screen_as_a_command() -> None:
    async with browsing(POSTED) as d:
        await d.press("2")
        commands = {c.title: c.callback for c in d.app.get_system_commands(d.app.screen)}
        assert {"Next finding", "Filter records", "Bookmark with a note (an empty note removes it)"} < set(commands)
        await commands["Next record with a page"]()
        assert d.record == 1
        await commands["Next finding"]()
        assert d.record is None
        await d.press("ctrl+p")
        assert d.app.screen.is_modal


@drives
async def test_themes_go_round_and_each_draws_every_screen() -> None:
    async with browsing(POSTED) as d:
        seen = []
        for _ in range(3):
            await d.press("t")
            seen.append(d.app.theme)
            for i in EVERY:
                await d.press(i)
                assert d.screen_key == i
        assert seen == ["xbrle-light", "xbrle-contrast", "xbrle-dark"]


@drives
async def test_bookmarks_and_notes_are_kept_beside_the_capture_s_digest(state_home: Path) -> None:
    async with browsing(POSTED) as d:
        await d.fill("colon", "600")
        await d.press("2")
        await d.fill("b", "odd [bold]page[/]")
        assert "bookmark: odd [bold]page[/]" in d.text
        assert next(line for line in d.text.splitlines()[2:] if " 600 " in line)[:2] == ">B"
    (file,) = (state_home / "xbrletools" / "bookmarks").iterdir()
    assert file.stem == digest(np.fromfile(POSTED, np.uint8))
    assert json.loads(file.read_text())[0]["note"] == "odd [bold]page[/]"
    async with browsing(POSTED) as d:
        text = await d.press("B")
        assert "odd [bold]page[/]" in text
        await d.press("enter")
        assert d.record == 600
        await d.fill("b", "")
    assert json.loads(file.read_text()) == []


@drives
async def test_bookmarks_that_cannot_be_read_are_left_alone(state_home: Path) -> None:
    folder = state_home / "xbrletools" / "bookmarks"
    folder.mkdir(parents=True)
    file = folder / f"{digest(np.fromfile(POSTED, np.uint8))}.json"
    file.write_text("[{")
    async with browsing(POSTED) as d:
        assert any("cannot read the bookmarks" in message for message in d.messages)
        await d.fill("colon", "600")
        await d.fill("b", "note")
    assert file.read_text() == "[{"


@drives
async def test_every_screen_copies_what_it_shows() -> None:
    async with browsing(POSTED) as d:
        await d.fill("colon", "1")
        page = xbrletools.open(POSTED).page("pc.ram", 0).at(1).data.tobytes()
        for key, expected in [
            ("1", "posted, little-endian, seen at 0x2830a"),
            ("2", "START"),
            ("3", page.hex(" ")),
            ("4", "page 0x0: 1 version ·"),
            ("5", "device-tail-unchecked"),
            ("6", "04"),
        ]:
            await d.press(key, "y")
            assert expected in d.app.clipboard, key


@drives
async def test_the_page_is_exported_to_a_new_file_only(tmp_path: Path) -> None:
    target = tmp_path / "page.bin"
    async with browsing(POSTED) as d:
        await d.fill("colon", "2300")
        await d.press("3")
        await d.fill("e", str(target))
        assert target.read_bytes() == xbrletools.open(POSTED).page("pc.ram", 0x280000).at(2300).data.tobytes()
        target.write_bytes(b"mine")
        await d.fill("e", str(target))
        assert target.read_bytes() == b"mine"
        assert "exists already, enter another name" in d.text
        await d.press("escape")


@drives
async def test_the_file_of_a_page_is_named_by_the_page_and_the_record() -> None:
    async with browsing(POSTED) as d:
        await d.fill("colon", "2097")
        await d.press("3", "e")
        assert d.app.screen.query_one(Input).value == "pc.ram-0x209000-r2097.bin"
        await d.press("escape")


@drives
async def test_nothing_is_exported_where_writing_is_off() -> None:
    async with browsing(POSTED, read_only=True) as d:
        await d.press("full_stop", "3", "e", "E")
        assert d.messages == ["nothing can be exported from here: this browser is read-only"] * 2
        assert not d.app.screen.is_modal


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (20, 5)])
@drives
async def test_every_screen_draws_in_any_size_and_keeps_its_place(size: tuple[int, int]) -> None:
    async with browsing(POSTED) as d:
        await d.fill("colon", "2300")
        for i in EVERY:
            await d.press(i)
            await d.pilot.resize_terminal(*size)
            await d.settle()
            assert d.record == 2300
            assert len(d.text.splitlines()) == size[1]
            await d.pilot.resize_terminal(80, 24)
            await d.settle()
            assert d.screen_key == i


def hostile() -> bytes:
    """A stream whose names and idstrs try a terminal and a markup parser."""
    names = {HOSTILE[:255]: 2 * PAGE, b"\r\n\x9b31m[/]": PAGE, b"[": PAGE}
    b = StreamBuilder(names)
    for name in names:
        b.page(0, noise(1), block=name)
    b.page(0, noise(2), block=b"\x1b[2Jundeclared[/nope]")
    return b.bytes(tail=b"\x04\0\0\0\x07\x0b\x1b[31m[bold]x\0\0\0\0\0\0\0\0\0\0")


@drives
async def test_hostile_names_are_inert_on_every_screen() -> None:
    async with browsing(hostile(), (100, 40)) as d:
        for record in (1, 2, 3, 4):
            await d.fill("colon", str(record))
            for i in EVERY:
                text = await d.press(i)
                assert d.screen_key == i
                bad = {c for c in text if not c.isprintable() and c != "\n"}
                assert not bad, (i, bad)
                await d.press("y")
                assert all(c.isprintable() or c == "\n" for c in d.app.clipboard)
        assert "\\x0d\\x0a\\x9b31m[/]:0x0 " in await d.press("H")
        assert "\\x1b]0;x" in await d.press("2")
        await d.fill("colon", "1")
        text = await d.press("3")
        assert "\\x1b]0;x" in text
        await d.press("6", "s", *["left_square_bracket"] * 9)
        for _ in range(12):
            text = await d.press("right_square_bracket")
            assert all(c.isprintable() or c == "\n" for c in text)


@drives
async def test_a_hostile_file_name_is_inert(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31m[bold]x[b]\u202e.bin"
    path.write_bytes(StreamBuilder().page(0, noise(1)).bytes())
    async with browsing(path, (160, 50)) as d:
        assert "\\x1b[31m[bold]x[b]\\u202e.bin" in d.text
        assert all(c.isprintable() or c == "\n" for c in d.text)


@pytest.mark.parametrize("seed", range(6))
@drives
async def test_a_damaged_capture_opens_on_every_screen(seed: int) -> None:
    random = np.random.default_rng(seed)
    data = np.fromfile(POSTED, np.uint8)[: int(random.integers(9, 400_000))]
    for _ in range(seed):
        data[random.integers(8, len(data), 20)] = random.integers(0, 256, 20)
    async with browsing(data.tobytes()) as d:
        await d.press("full_stop")
        for i in EVERY:
            text = await d.press(i, "end", "y", "comma")
            assert d.screen_key == i
        text = await d.press("5")
        assert " error" in text
        assert not text.split("\n")[1].startswith(" 0 errors")


@pytest.mark.parametrize("data", [b"", b"no capture at all", b"QEVM"])
def test_what_is_no_capture_ends_with_a_message(data: bytes) -> None:
    import asyncio

    async def run() -> Browser:
        app = Browser(xbrletools.open(data))
        async with app.run_test() as pilot:
            while app.failure is None:
                await pilot.pause(0.01)
        return app

    app = asyncio.run(run())
    assert app.failure
    assert app.return_value == 2


class _Held(sources.MappedSource):
    """A capture that is there only as far as it was let go."""

    def __init__(self, data: bytes) -> None:
        import threading

        super().__init__("held", data)
        self.turns, self.asked = threading.Semaphore(0), threading.Semaphore(0)

    def window(self, offset: int, least: int) -> tuple[memoryview, bool]:
        self.asked.release()
        self.turns.acquire()
        end = min(self.size, offset + max(least, 1 << 17))
        return self.view[offset:end], end == self.size


@drives
async def test_the_list_grows_and_every_screen_works_while_the_scan_goes_on() -> None:
    capture = xbrletools.open(b"QEVM")
    held = _Held(POSTED.read_bytes())
    capture.source = held
    capture._scanner = xbrletools.scan.strict.Scanner(held)
    whole = xbrletools.open(POSTED)
    app = Browser(capture)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        while True:  # until the scan stands with enough to look at
            while not held.asked.acquire(blocking=False):
                await pilot.pause(0.01)
            if len(app.session) >= 500:
                break
            held.turns.release()
        seen = len(app.session)
        assert seen < len(whole.records)
        from .driving import Driver

        driver = Driver(app, pilot)  # type: ignore[arg-type]
        await pilot.press("full_stop")
        for i in EVERY:
            await pilot.press(i)
            await pilot.pause(0.15)
            assert driver.screen_key == i
            assert "reading" in driver.text.splitlines()[0]
        await pilot.press("2", "end")
        await pilot.pause()
        assert app.session.row == seen - 1
        held.turns.release(1000)
        await driver.settle()
        text = await driver.press("end")
        assert app.session.row == len(whole.records) - 1
        assert "reading" not in text.splitlines()[0]


def test_text_fits_its_cells_and_never_carries_controls() -> None:
    assert fit("abc", 5) == "abc  "
    assert fit("abcdef", 4) == "abc…"
    assert fit("7", 3, right=True) == "  7"
    assert fit("日本語", 5) == "日本…"
    assert label("a\x1b[0m\n\u202e") == "a\\x1b[0m\\x0a\\u202e"


def in_terminal(
    arguments: list[str], keys: bytes, stdin: bytes | None = None, stays_open: bool = False
) -> tuple[int, bytes]:
    """Run the program in a terminal of its own, press keys once it has drawn. Returns its status and what it wrote."""
    pid, master = pty.fork()
    if pid == 0:
        if stdin is not None:
            reader, writer = os.pipe()
            if stays_open:
                os.write(writer, stdin)
                os.set_inheritable(writer, True)  # by the program itself: it never sees the end
            elif os.fork() == 0:
                os.write(writer, stdin)
                os._exit(0)
            else:
                os.close(writer)
            os.dup2(reader, 0)
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "-m", "xbrletools", *arguments], environment)
    out, pressed, limit = b"", False, time.monotonic() + 60
    while time.monotonic() < limit:
        if not select.select([master], [], [], 0.1)[0]:
            if b"Overview" in out and not pressed:
                os.write(master, keys)
                pressed = True
            continue
        try:
            piece = os.read(master, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        out += piece
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), out


def terminal_is_clean(out: bytes) -> bool:
    """Whether the alternate screen and the mouse are off at the end, and the cursor is there again."""
    return all(
        out.rfind(on) < out.rfind(off)
        for on, off in (
            (b"\x1b[?1049h", b"\x1b[?1049l"),
            (b"\x1b[?1000h", b"\x1b[?1000l"),
            (b"\x1b[?25l", b"\x1b[?25h"),
        )
    )


@pytest.mark.parametrize("keys", [b"q", b"3q", b"5??q"])
def test_quitting_leaves_the_terminal_clean(keys: bytes) -> None:
    status, out = in_terminal(["tui", str(XBZRLE)], keys)
    assert status == 0
    assert terminal_is_clean(out)


def test_no_capture_leaves_the_terminal_clean_with_one_line_of_why(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"no capture")
    status, out = in_terminal(["tui", str(path)], b"")
    assert status == 2
    assert terminal_is_clean(out)
    assert b"not a QEMU migration stream" in out[out.rfind(b"\x1b[?1049l") :]
    assert b"Traceback" not in out


def test_standard_input_is_browsed_with_keys_from_the_terminal() -> None:
    data = StreamBuilder().page(0, noise(1)).bytes()
    status, out = in_terminal(["tui", "-"], b"2q", stdin=data)
    assert status == 0
    assert b"standard input" in out
    assert terminal_is_clean(out)


def test_leaving_while_the_pipe_is_still_open_is_quiet() -> None:
    data = StreamBuilder().page(0, noise(1)).bytes()
    status, out = in_terminal(["tui", "-"], b"2q", stdin=data, stays_open=True)
    assert status == 0
    assert terminal_is_clean(out)
    assert b"Fatal" not in out


def test_without_a_terminal_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from xbrletools.cli import main

    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    assert main(["tui", str(POSTED)]) == 2
    assert "needs a terminal" in capsys.readouterr().err


@drives
async def test_words_typed_into_an_input_are_no_keys() -> None:
    async with browsing(POSTED) as d:
        await d.press("2", "slash", *"q123")
        assert d.app.screen.query_one(Input).value == "q123"
        assert d.app.current_mode == "records"


@drives
async def test_all_of_memory_is_exported_as_of_the_chosen_record_in_the_chosen_view(tmp_path: Path) -> None:
    capture = xbrletools.open(stale())
    async with browsing(stale()) as d:
        await d.fill("colon", "5")
        for view in (View.RECEIVER, View.SENDER):
            target = tmp_path / view.value
            await d.press("3", *["v"] * (d.app.session.view is not view))
            await d.fill("E", str(target))
            while f"wrote {target}" not in d.messages:
                await d.pilot.pause(0.01)
            assert (target / "pc.ram").read_bytes() == capture.memory(5, view)["pc.ram"].tobytes()
            about = json.loads((target / "manifest.json").read_text())
            assert about["blocks"][0]["name"] == "pc.ram"
        receiver, sender = (tmp_path / v.value / "pc.ram" for v in View)
        assert receiver.read_bytes() != sender.read_bytes()
        text = await d.fill("E", str(tmp_path / "receiver"))
        assert "exists already, enter another name" in text
        await d.press("escape")
        assert receiver.read_bytes() == capture.memory(5)["pc.ram"].tobytes()


@drives
async def test_the_page_is_exported_in_the_view_that_is_shown(tmp_path: Path) -> None:
    capture = xbrletools.open(stale())
    async with browsing(stale()) as d:
        await d.fill("colon", "5")
        await d.press("3")
        for view in (View.RECEIVER, View.SENDER):
            target = tmp_path / view.value
            await d.fill("e", str(target))
            assert target.read_bytes() == capture.page("pc.ram", 0).at(5, view).data.tobytes()
            await d.press("v")
        assert (tmp_path / "receiver").read_bytes() != (tmp_path / "sender").read_bytes()
