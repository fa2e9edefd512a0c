"""Captures that are still being written, browsed all the same."""

import asyncio
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import cast

import pytest
from textual._context import active_app
from textual.pilot import Pilot

import xbrletools
from tests.source.test_slow_pipe import Slow
from xbrletools.source import following
from xbrletools.tui import reader
from xbrletools.tui.app import Browser
from xbrletools.tui.conclusion import badge
from xbrletools.tui.idle import IdleApp
from xbrletools.tui.widgets.recordlist import RecordList

from .driving import EVERY, POSTED, Driver, browsing_capture, drives

DATA = POSTED.read_bytes()
HALF = 700_000


@pytest.fixture(autouse=True)
def soon_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "STILL", 0.3)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for it, as long as the app runs. What never comes fails, and does not hang."""
    app = active_app.get()
    async with asyncio.timeout(300):
        while not holds():
            assert app.is_running and app._exception is None
            await asyncio.sleep(0.01)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@drives
async def test_records_appear_while_the_capture_is_written_and_findings_once_it_stands_still(tmp_path: Path) -> None:
    whole = xbrletools.open(POSTED)
    path = tmp_path / "growing.bin"
    append(path, DATA[:HALF])
    app = Browser(xbrletools.open(path, follow=True), follow=True)
    async with app.run_test(size=(80, 24)) as pilot:
        d = Driver(app, cast("Pilot[int]", pilot))
        await until(lambda: app.session.complete and app.session.verified)
        await d.settle()
        first = len(app.session)
        assert 1000 < first < len(whole.records)
        assert "· following" in d.text.splitlines()[0]
        assert "so far: more may be written" in d.text
        text = await d.press("5")
        assert "truncated" in text
        assert "note · so far" in text or "notes · so far" in text
        await d.press("2")
        await d.fill("colon", "600")
        await d.fill("b", "seen early")
        await d.fill("slash", "kind:dup")
        append(path, DATA[HALF:900_000])
        await until(lambda: len(app.session) > first)
        append(path, DATA[900_000:])
        await until(lambda: len(app.session) == len(whole.records) and app.session.verified)
        await d.settle()
        assert d.record == 600
        kinds = whole.records.columns.kind
        assert d.widget(RecordList).count() == int((kinds == 3).sum())
        assert [b.note for b in app.session.bookmarks.values()] == ["seen early"]
        assert app.session.findings.listed == list(whole.verify())
        assert "truncated" not in await d.press("5")


@drives
async def test_a_list_that_stands_at_its_end_goes_along(tmp_path: Path) -> None:
    path = tmp_path / "growing.bin"
    append(path, DATA[:HALF])
    app = Browser(xbrletools.open(path, follow=True), follow=True)
    async with app.run_test(size=(80, 24)) as pilot:
        d = Driver(app, cast("Pilot[int]", pilot))
        await until(lambda: app.session.complete)
        await d.press("2", "end")
        append(path, DATA[HALF:])
        total = len(xbrletools.open(POSTED).records)
        await until(lambda: len(app.session) == total)
        await until(lambda: app.session.row == total - 1)


@drives
async def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "later.bin"
    app = Browser(xbrletools.open(path, follow=True), follow=True)
    async with app.run_test(size=(80, 24)) as pilot:
        d = Driver(app, cast("Pilot[int]", pilot))
        for i in EVERY:
            await d_text(d, i)
            assert d.screen_key == i
        assert "nothing there yet" in d.text.splitlines()[0]
        append(path, b"")
        append(path, DATA)
        await until(lambda: app.session.verified)
        assert len(app.session) == len(xbrletools.open(POSTED).records)


async def d_text(d: Driver, key: str) -> str:
    await d.pilot.press(key)
    await d.pilot.pause()
    return d.text


@drives
async def test_what_comes_through_a_pipe_is_shown_as_it_comes() -> None:
    reader, writer = os.pipe()

    def write(data: bytes) -> threading.Thread:
        thread = threading.Thread(target=lambda: os.write(writer, data))
        thread.start()
        return thread

    first = write(DATA[:HALF])
    with os.fdopen(reader, "rb") as pipe:
        app = Browser(xbrletools.open(pipe))
        async with app.run_test(size=(80, 24)) as pilot:
            d = Driver(app, cast("Pilot[int]", pilot))
            await until(lambda: len(app.session) > 0)
            assert not app.session.complete
            assert "reading" in (await d_text(d, "2")).splitlines()[0]
            first.join()
            write(DATA[HALF:]).join()
            os.close(writer)
            await d.settle()
            assert len(app.session) == len(xbrletools.open(POSTED).records)


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(xbrletools.XbrleError, match="is not a file, so it cannot be followed"):
        xbrletools.open(tmp_path, follow=True)
    with pytest.raises(xbrletools.XbrleError, match="only a file is followed"):
        xbrletools.open(POSTED, follow=True, channels=[b""])


def test_a_packed_file_that_is_followed_ends_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "x.xz"
    path.write_bytes(b"\xfd7zXZ\x00" + bytes(100))
    app = Browser(xbrletools.open(path, follow=True), follow=True)

    async def run() -> None:
        async with app.run_test() as pilot:
            while app.failure is None:
                await pilot.pause(0.01)

    asyncio.run(run())
    assert "not a QEMU migration stream" in str(app.failure)


def test_what_was_added_is_shown_less_often_while_keys_are_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    app = IdleApp()
    monkeypatch.setattr(app, "grow", lambda: shown.append(tick))
    for tick in range(20):
        app._pressed = monotonic() if tick >= 10 else 0.0
        app.tick()
    assert shown == [*range(10), 14, 19]


@pytest.mark.parametrize("name", ["qemu-10/pc16-mapped.bin", "cases/damage/mapped-killed-10.0.bin"])
@drives
async def test_a_mapped_ram_file_that_comes_slowly_is_judged_as_the_whole(
    name: str, corpus: Callable[[str], bytes]
) -> None:
    data = corpus(name)
    async with browsing_capture(xbrletools.open(io.BufferedReader(Slow(data, 1)), name="pipe")) as d:
        found = xbrletools.open(data).verdict()
        assert d.app.session.verdict is not None
        assert d.app.session.verdict.summary == found.summary
        assert badge(found) in d.text.splitlines()[0]


@drives
async def test_a_stream_that_breaks_early_is_judged_once_the_pipe_has_ended() -> None:
    damaged = DATA[:5000] + bytes(64) + DATA[5064:]
    async with browsing_capture(xbrletools.open(io.BufferedReader(Slow(damaged, 2)), name="pipe")) as d:
        found = xbrletools.open(damaged).verdict()
        assert d.app.session.verdict is not None
        assert d.app.session.verdict.summary == found.summary


@drives
async def test_a_fault_of_the_thread_that_reads_ends_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of this program")

    monkeypatch.setattr(reader, "_scan", fail)
    with pytest.raises(RuntimeError, match="a fault of this program"):
        async with browsing_capture(xbrletools.open(POSTED)):
            pass
