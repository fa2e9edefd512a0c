"""A headless Chromium, driven over its DevTools protocol, and axe-core, which finds what keeps people out of a page.

``XBRLE_AXE`` names axe-core's script. By default it is where .ci/install-tools puts it.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.conftest import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(os.environ["XBRLE_AXE"])  # conftest has its place
SEQUENCE = re.compile(rb"\x1b\[[0-9;?>=]*[ -/]*[@-~]")
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--window-size=1100,700",
]


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
    """A page: its keyboard and mouse, what it asked for, what it complained of, and what its terminal was sent."""

    def __init__(self, tools: aiohttp.ClientWebSocketResponse) -> None:
        self.tools = tools
        self.sent = b""
        self.typed: list[str] = []
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.connections = 0
        self._calls = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        async for message in self.tools:
            event = message.json()
            if event.get("method") == "Network.webSocketFrameReceived":
                frame = event["params"]["response"]
                self.sent += base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else b""
            elif event.get("method") == "Network.webSocketFrameSent":
                self.typed.append(event["params"]["response"]["payloadData"])
            elif event.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                if event["method"] == "Network.webSocketCreated":  # what the one before was sent is gone
                    self.sent = b""
                    self.connections += 1
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

    async def run(self, script: str) -> Any:
        """What an expression comes to in the page, also where it is a promise."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer["result"], answer["result"]["exceptionDetails"]
        return answer["result"]["result"].get("value")

    async def press(self, key: str) -> None:
        self.sent = b""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def shows(self, text: str) -> None:
        """Wait until the terminal was sent ``text``."""
        while text not in SEQUENCE.sub(b"", self.sent).decode(errors="replace"):
            await asyncio.sleep(0.05)

    async def connected(self, number: int) -> None:
        """Wait for the page's connection of this number. Before, an old page may be drawn, and hear keys."""
        while self.connections < number:
            await asyncio.sleep(0.05)

    async def loaded(self) -> None:
        """Wait until the page is there."""
        while await self.run("document.readyState") != "complete":
            await asyncio.sleep(0.05)

    async def resize(self, width: int, height: int) -> None:
        """Make the window another size, in pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def picture(self, path: Path) -> None:
        """Draw all of the page into a PNG file."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["result"]["data"]))

    async def faults(self) -> list[str]:
        """What axe-core calls serious or critical, a line each. Chromium runs it whatever the page forbids."""
        await self.run(AXE.read_text(encoding="utf-8") + "\n;0")
        found = json.loads(await self.run("axe.run().then(r => JSON.stringify(r.violations))"))
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        return [f"{v['id']}: {v['help']}: {n['html'][:200]}" for v in serious for n in v["nodes"]]

    def hosts(self) -> set[str]:
        """The hosts that it asked for anything."""
        return {urlsplit(a).netloc for a in self.asked if urlsplit(a).scheme not in ("data", "about", "file")}


@asynccontextmanager
async def page_of(address: str) -> AsyncIterator[Page]:
    """A headless browser's page at an address."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        there = Path(profile) / "DevToolsActivePort"
        async with (
            process(CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"),
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
                await page.call("Page.enable")
                await page.call("Page.navigate", url=address)
                yield page
                await tools.close()
                await listening
