"""The same in a web browser: a real one, driven over its DevTools protocol."""

import asyncio
import base64
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.conftest import ROOT

from .driving import POSTED, drives

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HANGS = 300  # seconds after which nothing will come
SEQUENCE = re.compile(rb"\x1b\[[0-9;?>=]*[ -/]*[@-~]")


@asynccontextmanager
async def process(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs until it is not needed any longer."""
    running = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


class Page:
    """What a page's terminal was sent, as text, and its keyboard and mouse."""

    def __init__(self, tools: aiohttp.ClientWebSocketResponse) -> None:
        self.tools = tools
        self.sent = b""
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._calls = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        async for message in self.tools:
            event = message.json()
            if event.get("method") == "Network.webSocketFrameReceived":
                frame = event["params"]["response"]
                self.sent += base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else b""
            elif event.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                self.asked.append(event["params"].get("url") or event["params"]["request"]["url"])
            elif event.get("method") == "Log.entryAdded":
                self.complaints.append(event["params"]["entry"]["text"])
            elif "id" in event:
                self._answers.pop(event["id"]).set_result(event)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._calls += 1
        number = self._calls
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.tools.send_json({"id": number, "method": method, "params": parameters})
        return await answer

    async def press(self, key: str) -> None:
        self.sent = b""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def shows(self, text: str) -> None:
        """Wait until the terminal was sent ``text``."""
        while text not in SEQUENCE.sub(b"", self.sent).decode(errors="replace"):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def page_of(address: str) -> AsyncIterator[Page]:
    """A headless browser's page at an address."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1100,700"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        there = Path(profile) / "DevToolsActivePort"
        async with (
            process(CHROMIUM, *options, f"--user-data-dir={profile}", "about:blank"),
            aiohttp.ClientSession() as client,
        ):
            while not there.exists() or not there.read_text():
                await asyncio.sleep(0.05)
            port = there.read_text().split()[0]
            async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(t for t in await answer.json() if t["type"] == "page")
            async with client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as tools:
                page = Page(tools)
                listening = asyncio.create_task(page.listen())
                await page.call("Network.enable")
                await page.call("Log.enable")
                await page.call("Page.navigate", url=address)
                yield page
                await tools.close()
                await listening


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
    asked = {urlsplit(a).netloc for a in page.asked if urlsplit(a).scheme not in ("data", "about")}
    assert asked == {urlsplit(address).netloc}
    assert [c for c in page.complaints if "WebGL" not in c] == []
