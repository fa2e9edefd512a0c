"""Who gets into what `serve` serves, how many, and what they are told. The sessions here are small stand-ins."""

import asyncio
import html.parser
import re
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.conftest import ROOT, SAMPLES
from xbrletools.errors import XbrleError
from xbrletools.tui import web_server, web_session
from xbrletools.tui.serve import serve
from xbrletools.tui.served import Served
from xbrletools.tui.web_server import FAILED, REFUSED, TAKEN, Server, is_own_name

from .driving import drives

HANGS = 120
POSTED = SAMPLES / "posted-8m.bin"
PROGRAM = """
import os, sys, time
def show(text):
    os.write(1, b"D" + len(text).to_bytes(4, "big") + text)
if "stillborn" in sys.argv:
    sys.exit("xbrle: S cannot be read: no such thing, and " + "x" * 400)
os.write(1, b"__GANGLION__\\n")
show(b"pid %d in %s x %s" % (os.getpid(), os.environb[b"COLUMNS"], os.environb[b"ROWS"]))
os.write(1, b"M" + (2).to_bytes(4, "big") + b"{}")
if "modes" in sys.argv:
    show(b"\\x1b[?1049h")
while True:
    kind, length = sys.stdin.buffer.read(1), int.from_bytes(sys.stdin.buffer.read(4), "big")
    content = sys.stdin.buffer.read(length)
    if kind == b"D" and content == b"fail":
        sys.exit("no such \\x1b[2J thing")
    if b"quit" in content and "deaf" not in sys.argv:
        break
    show(kind + content)
    while "deaf" in sys.argv:
        time.sleep(1)
"""
STAND_IN = [sys.executable, "-S", "-E", "-c", PROGRAM]


class Client:
    """Asks a running server, as a browser would."""

    def __init__(self, client: aiohttp.ClientSession, token: str, port: int, errors: list[str]) -> None:
        self.client = client
        self.token = token
        self.root = f"http://127.0.0.1:{port}"
        self.home = f"{self.root}/{token}/"
        self.host = f"127.0.0.1:{port}"
        self.errors = errors

    async def get(self, address: str, **headers: str) -> tuple[int, str, "aiohttp.typedefs.LooseHeaders"]:
        async with self.client.get(address, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text(), answer.headers

    async def connect(self, query: str = "", tab: str = "", **headers: str) -> aiohttp.ClientWebSocketResponse:
        headers.setdefault("Origin", self.root)
        place = f"ws/{tab}" if tab else "ws"
        return await self.client.ws_connect(f"{self.home}{place}{query}", headers=headers, heartbeat=None)


@asynccontextmanager
async def serving(
    *more: str, name: str = "S", sessions: int = 2, check: Callable[[], None] = lambda: None
) -> AsyncIterator[Client]:
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(str(context)))
    server = Server(Served([*STAND_IN, *more], name, check, sessions), "127.0.0.1")
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with asyncio.timeout(HANGS), aiohttp.ClientSession() as client:
            yield Client(client, server.token, runner.addresses[0][1], errors)
    finally:
        await runner.cleanup()
    assert errors == []


async def pid_of(connection: aiohttp.ClientWebSocketResponse) -> int:
    match = re.match(rb"pid (\d+)", (await connection.receive_bytes()))
    assert match
    return int(match[1])


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.01)


async def connected(client: Client) -> aiohttp.ClientWebSocketResponse:
    """A connection, once there is room: the server forgets a session a moment after its process has ended."""
    while True:
        try:
            return await client.connect()
        except aiohttp.WSServerHandshakeError as error:
            assert error.status == 503
            await asyncio.sleep(0.01)


async def refused(client: Client, address: str, **headers: str) -> int:
    """The status with which a connection is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await client.client.ws_connect(address, headers=headers)
    return error.value.status


class TestWhoGetsIn:
    @drives
    async def test_nothing_is_served_without_the_secret(self):
        async with serving() as client:
            wrong = "x" * len(client.token)
            for path in (
                "/",
                "/ws",
                "/static/js/textual.js",
                "/icon.svg",
                f"/{wrong}/",
                "/%ff%00/",
                f"//{client.token}/",
            ):
                status, text, headers = await client.get(client.root + path)
                assert (status, client.token in text) == (404, False), path
                assert "Content-Security-Policy" in headers
            assert await refused(client, f"{client.root}/ws", Origin=client.root) == 404
            assert await refused(client, f"{client.root}/{wrong}/ws", Origin=client.root) == 404

    @drives
    async def test_an_address_without_its_last_slash_leads_to_the_page(self):
        """It gave "404: Not Found", with the right secret."""
        async with serving() as client:
            status, _, headers = await client.get(client.home.removesuffix("/") + "?fontsize=20")
            assert (status, headers["Location"]) == (302, f"/{client.token}/?fontsize=20")
            assert "Content-Security-Policy" in headers

    def test_the_secret_is_new_each_time_and_too_long_to_guess(self):
        tokens = {Server(Served([], "S", lambda: None, 1), "127.0.0.1").token for _ in range(50)}
        assert len(tokens) == 50
        assert min(map(len, tokens)) >= 32

    @drives
    async def test_a_foreign_name_that_was_made_to_lead_here_is_refused(self):
        async with serving() as client:
            port = client.host.rpartition(":")[2]
            for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "[", ""):
                status, _, _ = await client.get(client.home, Host=f"{name}:{port}")
                assert status == 403, name
            evil = f"evil.example:{port}"
            assert await refused(client, f"{client.home}ws", Host=evil, Origin=f"http://{evil}") == 403

    @drives
    async def test_names_of_this_machine_are_taken(self):
        async with serving() as client:
            port = client.host.rpartition(":")[2]
            for name in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", "localhost", "localhost:9000"):
                status, text, _ = await client.get(client.home, Host=name)
                assert status == 200, (name, text)
            async with await client.connect(Host="localhost:9000", Origin="http://localhost:9000") as connection:
                assert await pid_of(connection)

    @pytest.mark.parametrize(
        ("asked", "host", "expected"),
        [
            ("192.0.2.7:8000", "0.0.0.0", True),
            ("evil.example:8000", "0.0.0.0", False),
            ("box.example:8000", "box.example", True),
            ("192.0.2.7:8000", "127.0.0.1", False),
            ("localhost:8000", "localhost", True),
        ],
    )
    def test_where_it_listens_to_others_an_address_is_enough_and_a_foreign_name_is_not(self, asked, host, expected):
        assert is_own_name(asked, host) is expected

    @drives
    async def test_a_page_from_elsewhere_gets_no_connection(self):
        async with serving() as client:
            for origin in ("http://evil.example", "http://127.0.0.1:1", "http://localhost", "null", "", "file://"):
                assert await refused(client, f"{client.home}ws", Origin=origin) == 403, origin
                assert (await client.get(client.home, Origin=origin))[0] == 403, origin

    @drives
    async def test_its_own_page_does(self):
        async with serving() as client, await client.connect("?width=100&height=30") as connection:
            assert (await connection.receive_bytes()).endswith(b" in 100 x 30")
            await connection.send_json(["stdin", "j"])
            assert await connection.receive_bytes() == b"Dj"
            await connection.send_json(["ping", "77"])
            assert await connection.receive_json() == ["pong", "77"]

    @drives
    async def test_a_page_that_anyone_else_shows_in_a_frame_is_forbidden(self):
        async with serving() as client:
            _, _, headers = await client.get(client.home)
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")

    @drives
    async def test_a_name_cannot_say_more_than_a_name_in_the_headers(self):
        async with serving() as client:
            for name in (
                "localhost; script-src *",
                "localhost:1 evil.example",
                "localhost/x",
                "a@localhost",
                "localhost:x",
            ):
                status, _, headers = await client.get(client.home, Host=name)
                assert (status, "evil" in str(headers), "*" in str(headers)) == (403, False, False), name


class TestSessions:
    @drives
    async def test_there_are_no_more_than_the_cap_and_the_page_is_told_so(self):
        async with serving(sessions=2) as client:
            one, two = await client.connect(), await client.connect()
            assert await refused(client, f"{client.home}ws", Origin=client.root) == 503
            told = await (await client.connect(tab="f" * 32)).receive()
            assert (told.data, "2 sessions are open already" in told.extra) == (REFUSED, True)
            pid = await pid_of(one)
            await one.close()
            await gone(pid)
            three = await connected(client)
            assert await pid_of(three)
            await two.close()

    @drives
    async def test_many_at_the_same_moment_do_not_slip_past_the_cap(self):
        async with serving(sessions=2) as client:
            came = await asyncio.gather(*(client.connect() for _ in range(12)), return_exceptions=True)
            assert sum(not isinstance(one, Exception) for one in came) == 2

    @drives
    async def test_a_session_ends_with_its_connection_however_that_ends(self):
        async with serving() as client:
            connection = await client.connect()
            pid = await pid_of(connection)
            connection._response.connection.transport.abort()  # as a browser does that is killed
            await gone(pid)

    @drives
    async def test_one_that_does_not_want_to_end_is_made_to(self, monkeypatch):
        monkeypatch.setattr(web_session, "GRACE", 0.1)
        async with serving("deaf") as client:
            connection = await client.connect()
            pid = await pid_of(connection)
            await connection.send_json(["stdin", "x" * 100_000])
            await connection.close()
            await gone(pid)

    @drives
    async def test_a_connection_ends_with_its_process_and_says_what_that_said(self):
        async with serving() as client, await client.connect() as connection:
            pid = await pid_of(connection)
            await connection.send_json(["stdin", "fail"])
            text = await connection.receive_bytes()
            assert b"no such \\x1b[2J thing" in text
            assert (await connection.receive()).type is aiohttp.WSMsgType.CLOSE
            await gone(pid)

    @drives
    async def test_one_whose_process_does_not_begin_ends_with_what_that_said(self):
        async with serving("stillborn") as client:
            connection = await client.connect(tab="a" * 32)
            while (told := await connection.receive()).type is aiohttp.WSMsgType.BINARY:
                pass
            assert (told.data, told.extra) == (FAILED, "S cannot be read: no such thing, and " + "x" * 80 + "\u2026")

    @drives
    async def test_nonsense_from_a_page_is_passed_over(self):
        async with serving() as client, await client.connect("?width=-5&height=1e9") as connection:
            assert (await connection.receive_bytes()).endswith(b" in 1 x 24")
            for text in ("", "{", "7", "[]", '["stdin"]', '["stdin", 7]', '["resize", []]', "[" * 200_000, '["quit"]'):
                await connection.send_str(text)
            await connection.send_bytes(b"\0\1")
            await connection.send_json(["resize", {"width": 10**30, "height": "x"}])
            assert await connection.receive_bytes() == b'M{"type": "resize", "width": 1000, "height": 24}'
            await connection.send_str('["stdin", "\\ud800"]')
            assert await connection.receive_bytes() == b"D?"

    @drives
    async def test_a_terminal_that_was_small_for_a_moment_is_drawn_anew(self):
        """The page's terminal is 2 x 1 in between, and forgets what it showed. The process would not know."""
        async with serving() as client, await client.connect("?width=90&height=20") as connection:
            await pid_of(connection)
            for width, height in ((2, 1), (90, 20)):
                await connection.send_json(["resize", {"width": width, "height": height}])
            told = [await connection.receive_bytes()]
            while told[-1] != b'M{"type": "resize", "width": 90, "height": 20}':
                told.append(await connection.receive_bytes())
            assert len(told) == 2  # of another size before: 90 x 19, or on a busy machine 2 x 1
            await connection.send_json(["resize", {"width": 70, "height": 20}])
            assert await connection.receive_bytes() == b'M{"type": "resize", "width": 70, "height": 20}'

    @drives
    async def test_stopping_the_server_ends_the_sessions(self):
        async with serving() as client:
            pid = await pid_of(await client.connect())
        await asyncio.wait_for(gone(pid), HANGS)

    @drives
    async def test_a_server_that_is_killed_takes_its_sessions_along(self, tmp_path):
        code = (
            "import sys; from xbrletools.tui.serve import serve; from xbrletools.tui.served import Served\n"
            "serve(Served(sys.argv[1:], 'S', lambda: None, 2), '127.0.0.1', 0, lambda a: print(a, flush=True))"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *STAND_IN, "deaf", stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        async with (
            asyncio.timeout(HANGS),
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{address}ws") as connection,
        ):
            pid = await pid_of(connection)
            process.kill()
            await process.wait()
            await gone(pid)


TAB = "0123456789abcdef" * 2


class TestComingBack:
    """A page that is loaded anew, or whose connection was lost, finds its session as it was."""

    @drives
    async def test_the_same_tab_gets_the_same_process_and_has_its_screen_drawn_again(self):
        async with serving("modes") as client:
            first = await client.connect("?width=100&height=30", tab=TAB)
            pid = await pid_of(first)
            await first.receive_bytes()  # until it has switched its mode on
            await first.close()
            async with await client.connect("?width=90&height=20", tab=TAB) as second:
                told = [await second.receive_bytes() for _ in range(3)]
                assert told[0] == b"\x1b[?1049h"
                assert told[1:] == [b'M{"type": "resize", "width": 90, "height": %d}' % n for n in (19, 20)]
                await second.send_json(["stdin", "j"])
                assert await second.receive_bytes() == b"Dj"
                assert Path(f"/proc/{pid}").exists()

    @drives
    async def test_a_lost_connection_is_as_good_as_a_closed_one(self):
        async with serving() as client:
            connection = await client.connect(tab=TAB)
            pid = await pid_of(connection)
            connection._response.connection.transport.abort()
            async with await client.connect(tab=TAB) as second:
                while await second.receive_bytes() != b'M{"type": "resize", "width": 80, "height": 24}':
                    pass
            assert Path(f"/proc/{pid}").exists()

    @drives
    async def test_another_tab_has_another_session(self):
        async with serving() as client:
            one, two = await client.connect(tab="a" * 32), await client.connect(tab="b" * 32)
            assert await pid_of(one) != await pid_of(two)

    @drives
    async def test_a_session_that_nobody_comes_back_to_ends(self, monkeypatch):
        monkeypatch.setattr(web_server, "LINGER", 0.1)
        async with serving() as client:
            connection = await client.connect(tab=TAB)
            pid = await pid_of(connection)
            await connection.close()
            await gone(pid)

    @drives
    async def test_the_one_that_comes_last_has_it_and_the_other_is_told(self):
        async with serving() as client:
            first = await client.connect(tab=TAB)
            pid = await pid_of(first)
            second = await client.connect(tab=TAB)
            told = await first.receive()
            while told.type is aiohttp.WSMsgType.BINARY:
                told = await first.receive()
            assert (told.data, told.extra) == (TAKEN, "This session goes on elsewhere.")
            assert await second.receive_bytes()
            assert Path(f"/proc/{pid}").exists()

    @drives
    async def test_one_that_nobody_looks_at_makes_room_and_an_open_one_does_not(self):
        async with serving(sessions=1) as client:
            first = await client.connect(tab="a" * 32)
            pid = await pid_of(first)
            told = await (await client.connect(tab="b" * 32)).receive()
            assert told.data == REFUSED
            await first.close()
            while (await (await client.connect(tab="c" * 32)).receive()).type is not aiohttp.WSMsgType.BINARY:
                await asyncio.sleep(0.01)
            await gone(pid)

    @drives
    async def test_one_whose_process_ended_is_begun_anew(self):
        async with serving() as client:
            first = await client.connect(tab=TAB)
            pid = await pid_of(first)
            await first.send_json(["stdin", "fail"])
            while (await first.receive()).type is aiohttp.WSMsgType.BINARY:
                pass
            assert first.close_code == 1000
            async with await client.connect(tab=TAB) as second:
                assert await pid_of(second) != pid

    @pytest.mark.parametrize("tab", ["x", "A" * 32, "0" * 31, "0" * 33])
    @drives
    async def test_a_tab_s_name_is_only_what_our_page_makes(self, tab):
        async with serving() as client:
            assert await refused(client, f"{client.home}ws/{tab}", Origin=client.root) == 404

    @drives
    async def test_sessions_that_wait_end_with_the_server(self):
        async with serving() as client:
            connection = await client.connect(tab=TAB)
            pid = await pid_of(connection)
            await connection.close()
        await asyncio.wait_for(gone(pid), HANGS)


class Links(html.parser.HTMLParser):
    """What a page names of other places, its title and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("href", "src", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


class TestPages:
    @drives
    async def test_the_page_asks_no_other_host_for_anything(self):
        async with serving() as client:
            status, text, headers = await client.get(client.home)
            assert status == 200
            assert "//" not in text.replace("<!DOCTYPE html>", "").replace("// ", "")
            for address in Links(text).addresses:
                parts = urllib.parse.urlsplit(urllib.parse.urljoin(client.home, address))
                assert parts.netloc == client.host
                assert (await client.get(parts.geturl()))[0] == 200, address
            policy = headers["Content-Security-Policy"].split("; ")
            assert policy[0] == "default-src 'none'"
            named = {word for rule in policy for word in rule.split()[1:]}
            own = {"'none'", "'self'", "'unsafe-inline'", "data:", f"ws://{client.host}", f"wss://{client.host}"}
            assert {word for word in named if not word.startswith("'nonce-")} == own
            assert not [rule for rule in policy if rule.startswith("script-src") and "unsafe" in rule]

    @drives
    async def test_it_has_the_captures_name_as_its_title_and_an_icon(self):
        async with serving(name="posted-8m.bin") as client:
            status, text, _ = await client.get(client.home)
            assert status == 200
            assert "<title>posted-8m.bin - xbrle</title>" in text
            assert 'rel="icon"' in text
            status, icon, headers = await client.get(f"{client.home}icon.svg")
            assert (status, headers["Content-Type"].split(";")[0], icon[:4]) == (200, "image/svg+xml", "<svg")

    @drives
    async def test_a_capture_that_cannot_be_opened_any_more_is_said_with_the_reason(self):
        def check() -> None:
            raise XbrleError("S: No such file or directory")

        async with serving(check=check) as client:
            status, text, headers = await client.get(client.home)
        assert (status, headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert "S cannot be opened" in Links(text).text
        assert "S: No such file or directory" in Links(text).text

    @pytest.mark.parametrize(
        "name", ["<script>alert(1)</script>", '"><img src=//evil.example>', "[bold]&lt;b&gt;", "a\x1b[2J\u202eb\udcff"]
    )
    @drives
    async def test_no_name_and_no_reason_is_markup(self, name):
        def check() -> None:
            raise OSError(2, "No such file", name)

        async with serving(name=name) as fine, serving(name=name, check=check) as failing:
            pages = [(await client.get(client.home))[1] for client in (fine, failing)]
        plain = ["html", "head", "meta", "title", "link", "style"]
        assert Links(pages[0]).tags == [
            *plain,
            "link",
            "script",
            "script",
            "body",
            "div",
            "div",
            "span",
            "a",
            "noscript",
        ]
        assert Links(pages[1]).tags == [*plain, "body", "main", "h1", "pre", "p", "a"]
        for page in pages:
            assert not re.search("[\x1b\u202e\udcff]", page)
        if name.isprintable():
            assert f"{name} - xbrle" in Links(pages[0]).text

    @drives
    async def test_a_fault_of_the_program_is_a_page_too(self):
        def check() -> None:
            raise RuntimeError("<b>unforeseen</b>")

        async with serving(check=check) as client:
            status, text, _ = await client.get(client.home)
        assert (status, "<b>" in text) == (503, False)


class TestTheCommand:
    @drives
    async def test_it_listens_on_the_loopback_prints_its_address_and_a_signal_ends_it(self, tmp_path):
        words = [sys.executable, "-m", "xbrletools", "serve", str(POSTED), "--port", "0"]
        process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(HANGS), aiohttp.ClientSession() as client:
            address = (await process.stdout.readline()).decode().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/", address)
            async with client.get(address) as answer:
                assert "posted-8m.bin - xbrle" in await answer.text()
            async with client.ws_connect(f"{address}ws") as connection:
                assert (await connection.receive()).type is aiohttp.WSMsgType.BINARY
                process.send_signal(signal.SIGTERM)
                out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")

    @drives
    async def test_a_capture_that_goes_away_gives_the_reason_in_the_page(self, tmp_path):
        capture = tmp_path / "<b>S.bin"
        capture.write_bytes(POSTED.read_bytes())
        words = [sys.executable, "-m", "xbrletools", "serve", str(capture), "--port", "0"]
        process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(HANGS), aiohttp.ClientSession() as client:
            address = (await process.stdout.readline()).decode().strip()
            capture.unlink()
            async with client.get(address) as answer:
                text = await answer.text()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert (answer.status, "&lt;b&gt;S.bin cannot be opened" in text, "<b>" in text) == (503, True, False)
        assert "No such file or directory" in text

    def test_a_port_that_is_taken_is_one_error(self):
        import socket

        taken = r"cannot listen at [\d.:]+: Address already in use; --port 0 takes a free one$"
        with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(XbrleError, match=taken):
            serve(Served([], "S", lambda: None, 1), "127.0.0.1", other.getsockname()[1], lambda _: None)

    @pytest.mark.parametrize("head", [b"hello, world", b"\x16\x03\x01\x02\x00\x01", b""])
    def test_what_is_no_capture_is_said_before_an_address_is_printed(self, tmp_path, head):
        """A page came of it with a black screen, and "This session has ended."."""
        (tmp_path / "s").write_bytes(head)
        words = [sys.executable, "-m", "xbrletools", "serve", str(tmp_path / "s"), "--port", "0"]
        found = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=HANGS)
        assert (found.returncode, found.stdout, found.stderr.count(b"\n")) == (2, b"", 1)

    @pytest.mark.parametrize(
        "options",
        [
            ("--offset", "0"),
            ("--dialect", "posted", "--endian", "little", "--page-size", "4096"),
            ("--no-beside", "--no-cache"),
            ("--stream", "1"),
            ("--snapshot", "x"),
        ],
    )
    def test_how_to_read_is_said_to_each_session_and_to_its_page(self, monkeypatch, options):
        """--offset and --stream were not."""
        from xbrletools.cli import main
        from xbrletools.cli import options as cli_options

        opened: list[dict] = []
        real = cli_options.opening

        def opening(given, **more):
            opened.append(dict(given))
            return real(dict(given) | {"stream": None, "snapshot": None}, **more)

        kept: list[Served] = []
        monkeypatch.setattr("xbrletools.cli.options.opening", opening)
        monkeypatch.setattr("xbrletools.cli.serve.opening", opening)
        monkeypatch.setattr("xbrletools.tui.serve.serve", lambda served, *_: kept.append(served))
        assert main(["serve", str(POSTED), *options]) == 0
        words = list(kept[0].words)
        assert words[words.index("tui") :][: 3 + len(options)] == ["tui", "--read-only", str(POSTED), *options]
        kept[0].check()
        one, two = opened
        assert one.items() >= {k: v for k, v in two.items() if k != "no_beside"}.items()

    @pytest.mark.parametrize(
        "options", [("--port", "70000"), ("--port", "-1"), ("--sessions", "0"), ("--host", "a..b")]
    )
    def test_nonsense_is_status_2_and_no_traceback(self, options, capsys):
        from xbrletools.cli import main

        assert main(["serve", str(POSTED), *options]) == 2
        assert "Traceback" not in capsys.readouterr().err
