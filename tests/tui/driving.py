"""Drives the app without a terminal: opens, waits until all is read, and reads the screen as text."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from textual.pilot import Pilot
from textual.widgets import Input

import xbrletools
from tests.conftest import SAMPLES
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.capture import Capture
from xbrletools.tui.app import Browser
from xbrletools.tui.screens.base import CaptureScreen

POSTED = SAMPLES / "posted-8m.bin"
XBZRLE = SAMPLES / "xbzrle-16m.bin"
EVERY = "12345678H"  # the keys of all screens


class Driver:
    """One running app."""

    def __init__(self, app: Browser, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def settle(self) -> None:
        """Wait until everything is read and drawn."""
        while not self.app.settled.is_set():
            if self.app.fault is not None:
                raise self.app.fault
            await asyncio.sleep(0.005)
        await self.app.workers.wait_for_complete()
        await self.pilot.pause()

    async def press(self, *keys: str) -> str:
        """Press keys. Returns what the screen shows then."""
        await self.pilot.press(*keys)
        await self.settle()
        return self.text

    async def fill(self, key: str, text: str) -> str:
        """Press a key that asks for text, and enter that."""
        await self.pilot.press(key)
        await self.pilot.pause()
        self.app.screen.query_one(Input).value = text
        await self.pilot.pause()
        return await self.press("enter")

    @property
    def text(self) -> str:
        """The screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    @property
    def screen_key(self) -> str:
        """The key of the screen that is shown."""
        assert isinstance(self.app.screen, CaptureScreen)
        return self.app.screen.KEY

    @property
    def messages(self) -> list[str]:
        """The messages that were shown for a moment, oldest first."""
        return [n.message for n in self.app._notifications]

    @property
    def record(self) -> int | None:
        """The chosen record's number."""
        record = self.app.session.record()
        return None if record is None else record.number

    def widget(self, kind: type[Any], query: str | None = None) -> Any:
        """A widget of the screen."""
        return self.app.screen.query_one(query, kind) if query else self.app.screen.query_one(kind)


@asynccontextmanager
async def browsing(what: Any, size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[Driver]:
    """The app over a capture, all read."""
    async with browsing_capture(xbrletools.open(what), size, **options) as driver:
        yield driver


@asynccontextmanager
async def browsing_capture(capture: Capture, size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[Driver]:
    """The same over one that was opened already."""
    app = Browser(capture, **options)
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, cast("Pilot[int]", pilot))
        await driver.settle()
        yield driver


def changed(page: np.ndarray, at: int = 1000, count: int = 8) -> np.ndarray:
    """The same page with a few bytes flipped: something that a delta can say."""
    new = page.copy()
    new[at : at + count] ^= 0xFF
    return new


def stale() -> bytes:
    """A page that the receiver loses to a dup page, and one that a later PAGE heals."""
    first, healed = noise(1), noise(2)
    b = StreamBuilder(flags=3).page(0, first).page(PAGE, healed).part()
    b.dup(0).dup(PAGE).delta(0, first, changed(first)).delta(PAGE, healed, changed(healed)).page(PAGE, healed)
    return b.end().bytes()


def drives(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""
    import functools

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run
