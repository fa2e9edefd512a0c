"""What is worked out beside: it gives way to the thread that draws, and screens are made before they are asked for."""

import asyncio
import gc
import os
import sys
import threading
from typing import Any

import pytest

from xbrletools.tui import reader

from .driving import POSTED, browsing, drives


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads do not have a priority of their own")
@drives
async def test_threads_beside_give_way_to_the_one_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that read, and those that screens have work something out."""
    seen: list[int] = []
    verdict = reader.verdict

    def judged(found: Any) -> Any:
        seen.append(priority())
        return verdict(found)

    monkeypatch.setattr(reader, "verdict", judged)
    before = priority()
    async with browsing(POSTED) as d:
        d.app.screen.beside("test", priority, seen.append)
        await d.settle()
        assert len(seen) == 2
        assert min(seen) > before
        assert priority() == before


@drives
async def test_all_screens_are_made_while_no_key_is_pressed() -> None:
    async with browsing(POSTED) as d:
        d.app._make_screens()
        while len(d.app._screen_stacks) < len(d.app._modes):
            await asyncio.sleep(0.01)
        assert d.app.current_mode == "overview"
        assert "- mem_size" in await d.press("2")


@drives
async def test_garbage_is_looked_for_once_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at all objects halts the keys. While it reads, what there is stays instead."""
    done: list[str] = []
    async with browsing(POSTED) as d:
        await d.settle()
        d.app._thresholds = gc.get_threshold()
        with monkeypatch.context() as patched:
            patched.setattr(gc, "collect", lambda: done.append("collect"))
            patched.setattr(gc, "freeze", lambda: done.append("freeze"))
            patched.setattr(gc, "get_count", lambda: (0, 0, 3))
            d.app.settled.clear()
            d.app._use_lull()
            assert done == ["freeze"]
            d.app.settled.set()
            d.app._use_lull()
            assert done == ["freeze", "collect", "freeze"]
            d.app.following = True
            d.app._use_lull()
            assert done[3:] == ["collect"]
            d.app.following = False
