"""The same in a web browser: a real one, driven over its DevTools protocol."""

import asyncio
import sys
from urllib.parse import urlsplit

import pytest

from tests.browser import CHROMIUM, page_of, process

from .driving import POSTED, drives

HANGS = 300  # seconds after which nothing will come


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@drives
async def test_the_record_list_appears_in_a_web_browser_and_answers_keys() -> None:
    words = [sys.executable, "-m", "xbrletools", "serve", str(POSTED), "--port", "0"]
    async with asyncio.timeout(HANGS), process(*words) as served:
        assert served.stdout is not None
        address = (await served.stdout.readline()).decode().strip()
        async with page_of(address) as page:
            await page.shows("[1 Overview]")
            for kind in ("mousePressed", "mouseReleased"):  # a click on the terminal, which gives it the keys
                await page.call("Input.dispatchMouseEvent", type=kind, x=400, y=300, button="left", clickCount=1)
            await page.press("2")
            await page.shows("[2 Records]")
            await page.shows("0x34 START    - mem_size")
            await page.press("j")
            await page.shows("record 1 of ")
            await page.press("e")
            await page.shows("nothing can be exported from here")
    assert page.hosts() == {urlsplit(address).netloc}
    assert [c for c in page.complaints if "WebGL" not in c] == []
