"""The same in a web browser: a real one, driven over its DevTools protocol."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.browser import CHROMIUM, Page, page_of, process

from .driving import POSTED, drives

HANGS = 120  # seconds after which nothing will come
STATE = "document.querySelector('#state').innerText"
#: Whether the terminal ends within the window.
INSIDE = (
    "(b => b.bottom <= innerHeight && b.right <= innerWidth)"
    "(document.querySelector('.xterm-screen').getBoundingClientRect())"
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@asynccontextmanager
async def browsing(*options: str) -> AsyncIterator[tuple[Page, str, asyncio.subprocess.Process]]:
    """A page on a served sample whose overview is drawn, its address, and the server."""
    words = [sys.executable, "-m", "xbrletools", "serve", str(POSTED), "--port", "0", *options]
    async with asyncio.timeout(HANGS), process(*words) as served:
        assert served.stdout is not None
        address = (await served.stdout.readline()).decode().strip()
        async with page_of(address) as page:
            await page.shows("Overview")
            await page.shows("NO FAULT")
            yield page, address, served


def sizes(page: Page) -> list[tuple[int, int]]:
    """The sizes of the terminal that the page told the server, oldest first."""
    told = [json.loads(t) for t in page.typed if t.startswith('["resize"')]
    return [(size["width"], size["height"]) for _, size in told]


@drives
async def test_the_record_list_appears_in_a_web_browser_and_answers_keys() -> None:
    """No click is needed first, and no request leaves the address that was printed."""
    async with browsing() as (page, address, _):
        await page.press("2")
        await page.shows("- mem_size")
        await page.press("j")
        await page.shows("record 1 of ")
        await page.press("e")
        await page.shows("nothing can be exported from here")
        assert await page.run("document.title") == "posted-8m.bin - xbrle"
        assert await page.run("fetch(document.querySelector('link[rel=icon]').href).then(a => a.status)") == 200
    assert page.hosts() == {urlsplit(address).netloc}
    assert urlsplit(address).hostname == "127.0.0.1"
    assert [c for c in page.complaints if "WebGL" not in c] == []


@drives
async def test_it_is_drawn_for_the_new_size_when_the_window_changes() -> None:
    """All of it, down to the foot: only the line on top was drawn. The foot is in the window: lines were counted in the
    height of another font, before the page's own was there."""
    async with browsing() as (page, _, _):
        await page.shows("? keys")
        await asyncio.sleep(2)  # nothing else has it drawn
        for width, height in ((700, 500), (1000, 640), (700, 500)):
            before = sizes(page)[-1]
            page.sent = b""
            await page.resize(width, height)
            while sizes(page)[-1] in (before, (2, 1)):
                await asyncio.sleep(0.05)
            for text in ("NO FAULT", "Verdict", "? keys"):
                await page.shows(text)
            assert await page.run(INSIDE), (width, height)


@drives
async def test_a_page_that_is_loaded_anew_is_where_it_was() -> None:
    async with browsing("--sessions", "1") as (page, _, _):
        await page.press("2")
        await page.shows("- mem_size")
        await page.call("Page.reload")
        await page.connected(2)
        await page.shows("- mem_size")
        await page.press("j")
        await page.shows("record 1 of ")


class Wire:
    """What lies between a browser and a server, and can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_cut = False
        self._ends: list[asyncio.StreamWriter] = []

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes both ways."""
        if self.is_cut:
            writer.transport.abort()
            return
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._ends += [writer, to_writer]
        await asyncio.gather(self._carry(reader, to_writer), self._carry(to_reader, writer))

    async def _carry(self, source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(1 << 16):
                drain.write(piece)
        drain.transport.abort()

    def cut(self) -> None:
        """Lose all connections, and take no more."""
        self.is_cut = True
        for end in self._ends:
            end.transport.abort()


@drives
async def test_a_connection_that_is_lost_comes_back_by_itself_and_is_where_it_was() -> None:
    words = [sys.executable, "-m", "xbrletools", "serve", str(POSTED), "--port", "0"]
    async with asyncio.timeout(HANGS), process(*words) as served:
        assert served.stdout is not None
        printed = urlsplit((await served.stdout.readline()).decode().strip())
        wire = Wire(printed.port or 0)
        async with await asyncio.start_server(wire.join, "127.0.0.1", 0) as between:
            port = between.sockets[0].getsockname()[1]
            async with page_of(f"http://127.0.0.1:{port}{printed.path}") as page:
                await page.shows("NO FAULT")
                await page.press("2")
                await page.shows("- mem_size")
                wire.cut()
                while "The connection was lost" not in await page.run(STATE):
                    await asyncio.sleep(0.05)
                wire.is_cut = False
                await page.connected(2)
                await page.shows("- mem_size")
                await page.press("j")
                await page.shows("record 1 of ")


@drives
async def test_the_page_says_that_the_session_or_the_server_has_ended() -> None:
    async with browsing() as (page, _, served):
        await page.press("q")
        while "This session has ended. Start another" not in await page.run(STATE):
            await asyncio.sleep(0.05)
        page.sent = b""
        await page.run("document.querySelector('#state a').click()")
        await page.shows("NO FAULT")
        served.terminate()
        while "The server has ended" not in await page.run(STATE):
            await asyncio.sleep(0.05)


@drives
async def test_a_tab_for_which_there_is_no_room_says_so() -> None:
    async with browsing("--sessions", "1") as (_, address, _), page_of(address) as other:
        while not (told := await other.run(f"document.querySelector('#state') && {STATE}.trim() || ''")):
            await asyncio.sleep(0.05)
        assert told == "1 session is open already. Close one, or serve with a larger --sessions. Try again"


@drives
async def test_a_page_from_another_origin_gets_neither_the_page_nor_a_connection() -> None:
    async def empty(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    elsewhere = web.Application()
    elsewhere.add_routes([web.get("/", empty)])
    runner = web.AppRunner(elsewhere)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with browsing() as (_, address, _), page_of(f"http://127.0.0.1:{runner.addresses[0][1]}/") as page:
            await page.loaded()
            opened = f"new WebSocket('{address.replace('http', 'ws')}ws')"
            ending = "s.onopen = () => done('open'); s.onclose = () => done('refused')"
            assert await page.run(f"new Promise(done => {{ const s = {opened}; {ending} }})") == "refused"
            asking = f"fetch('{address}').then(() => 'read', () => 'refused')"
            assert await page.run(asking) == "refused"
            frame = f"const f = document.createElement('iframe'); f.src = '{address}'; f.onload = () => done(f)"
            within = f"new Promise(done => {{ {frame}; document.body.append(f) }}).then(f => f.contentDocument)"
            assert await page.run(f"{within}.then(d => d === null)")
    finally:
        await runner.cleanup()
