"""What is worked out beside: it gives way to the thread that draws, and screens are made before they are asked for."""

import asyncio
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
