"""What screens say before it is known: nothing is claimed that only the end of reading or of verifying tells."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from textual.pilot import Pilot

import xbrletools
from xbrletools.capture import Capture
from xbrletools.errors import XbrleError
from xbrletools.tui import reader
from xbrletools.tui.app import Browser
from xbrletools.tui.session import Session

from .driving import EVERY, POSTED, Driver, browsing, drives

#: What only the end tells.
CLAIMS = (
    "no page was sent",
    "no record carries a page",
    "no device section",
    "no page is wrong",
    "no findings",
    "0 errors",
    "0 warnings",
)
STAGES = ("reading", *(name for name, _ in reader._STEPS[:3]))


def hold(stage: str, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have the reader stop at a stage, in the middle of reading or before a step, until the event is set."""
    go_on = threading.Event()
    if stage == "reading":
        load = Capture.load

        def some(self: Capture, *words: Any) -> Iterator[int]:
            for reached in load(self, *words):
                yield reached
                go_on.wait()

        monkeypatch.setattr(Capture, "load", some)
        return go_on

    def late(name: str, work: Any) -> Any:
        def run(session: Session) -> None:
            if name == stage:
                go_on.wait()
            work(session)

        return run

    monkeypatch.setattr(reader, "_STEPS", tuple((name, late(name, work)) for name, work in reader._STEPS))
    return go_on


@asynccontextmanager
async def held(
    stage: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Driver, threading.Event]]:
    """The app over a capture, held at a stage. It goes on once the event is set."""
    go_on = hold(stage, monkeypatch)
    app = Browser(xbrletools.open(POSTED))
    async with app.run_test(size=size) as pilot:
        try:
            driver = Driver(app, cast("Pilot[int]", pilot))
            while not (app.session.complete if stage != "reading" else len(app.session)):
                await asyncio.sleep(0.01)
            while stage != "reading" and (not app.session.steps or app.session.steps[-1][0] != stage):
                await asyncio.sleep(0.01)
            app.grow()
            yield driver, go_on
        finally:
            go_on.set()


async def shown(d: Driver, key: str) -> str:
    """What a screen shows, without waiting for the end of reading."""
    await d.pilot.press(key)
    await asyncio.sleep(0.1)
    await d.app.workers.wait_for_complete()
    d.app.grow()
    await d.pilot.pause()
    return d.text


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
@drives
async def test_no_screen_claims_what_only_the_end_tells(
    stage: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held(stage, size, monkeypatch) as (d, _):
        for key in EVERY:
            if key in "23":
                continue  # they show records, of which each is known once it is read
            text = await shown(d, key)
            assert [claim for claim in CLAIMS if claim in text] == [], (key, text)
            assert "reading" in text if stage == "reading" else "verifying" in text


@drives
async def test_while_it_is_read_the_number_of_records_is_not_said_to_be_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with held("reading", (160, 50), monkeypatch) as (d, go_on):
        d.app.go(1)
        await d.pilot.pause()
        assert " so far" in d.text.splitlines()[1]
        go_on.set()
        await d.settle()
        assert " so far" not in d.text


@drives
async def test_what_could_not_be_worked_out_is_not_waited_for_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise XbrleError("the file has shrunk")

    monkeypatch.setattr(reader, "film", fail)
    monkeypatch.setattr(reader, "found_in", fail)
    async with browsing(POSTED, (160, 50)) as d:
        assert "not known" in d.text
        assert [claim for claim in (*CLAIMS, "none yet") if claim in d.text] == []
        assert "no finding is counted · not verified: the file has shrunk" in await d.press("5")
