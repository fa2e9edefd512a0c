"""Answers a web browser: a page with a terminal, and a process of its own for each connection from such a page.

The terminal is textual-serve's. Who may have it is decided here. Any page that a user has open, from anywhere, can make
requests to a port of this machine. So the address holds a secret. It must be asked for under a name of this machine,
since a foreign name may be made to lead here. And what asks must have come from here.
"""

import asyncio
import errno
import hmac
import ipaddress
import json
import os
import re
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import textual_serve
from aiohttp import WSCloseCode, WSMsgType, web

from ..errors import XbrleError
from ..interrupts import SIGNALS
from . import web_page
from .served import Served
from .web_session import GRACE, WebSession

HEARTBEAT = 15.0  # seconds after which a connection that does not answer is taken for gone
LINGER = 60.0  # seconds that a session waits for its page to come back
MESSAGE_MAX = 1 << 20
CELLS_MAX = 1000  # of a terminal, in either direction
FONT_SIZES = (6, 40)
TAKEN, FAILED, REFUSED = 4001, 4002, 4003  # why a connection was closed, as its page reads it
REASON_MAX = 120  # bytes of why, of which a connection's end can carry 123
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
STATICS = Path(textual_serve.__path__[0]) / "static"
ENDING = SIGNALS


def run(served: Served, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until a signal ends it.

    Raises:
        XbrleError: it cannot listen there.
    """
    asyncio.run(_run(Server(served, host), host, port, announce))


async def _run(server: "Server", host: str, port: int, announce: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # what nohup has ignored stays ignored
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            raise XbrleError(f"cannot listen at {host}:{port}: {_why(error)}") from error
        announce(f"http://{_reachable(host)}:{runner.addresses[0][1]}/{server.token}/")
        await ended.wait()
    finally:
        await runner.cleanup()


@dataclass(slots=True, eq=False)
class _Held:
    """A session, its work, and the connection that it has. ``leaving`` ends it where it does not have one."""

    session: WebSession
    connection: web.WebSocketResponse | None
    running: asyncio.Task[None] | None = None
    leaving: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether its process has ended."""
        return self.running is not None and self.running.done()


class Server:
    """Answers for one capture. ``token`` is the secret in its address.

    A page's session outlives its connection by `LINGER`. A page that is loaded anew, or whose connection was lost,
    finds it as it was. What connects without the name of a tab has a session only as long as it stays.
    """

    def __init__(self, served: Served, host: str) -> None:
        self.token = secrets.token_urlsafe(24)
        self._served = served
        self._host = host
        self._held: dict[object, _Held] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False

    def application(self) -> web.Application:
        """What answers requests."""
        pages = web.Application()
        pages.add_routes(
            [
                web.get("/", self._page),
                web.get("/icon.svg", self._icon),
                web.get("/ws", self._session),
                web.get("/ws/{tab:[0-9a-f]{32}}", self._session),
                web.static("/static", STATICS),
            ]
        )
        application = web.Application(middlewares=[self._guard])
        application.add_routes([web.get(f"/{self.token}", _with_slash)])
        application.add_subapp(f"/{self.token}/", pages)
        application.on_response_prepare.append(_restrict)
        application.on_shutdown.append(self._close)
        return application

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        asked = request.headers.get("Host", "")
        if not is_own_name(asked, self._host):
            raise web.HTTPForbidden(text="This is not the name of the machine that serves it.")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].casefold() != asked.casefold():
            raise web.HTTPForbidden(text="This was asked for by a page from elsewhere.")
        secret = request.path.split("/")[1]
        if not hmac.compare_digest(secret.encode(errors="replace"), self.token.encode()):
            raise web.HTTPNotFound(text="The address is not complete: it ends in a long secret and a slash.")
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:
            return self._refused("This failed", str(error) or type(error).__name__, 500)

    async def _page(self, request: web.Request) -> web.Response:
        try:
            await asyncio.to_thread(self._served.check)
        except Exception as error:  # whatever it is, the user must see it
            why = str(error) or type(error).__name__
            return self._refused(f"{self._served.name} cannot be opened", why, 503)
        font_size = _bounded(request.query.get("fontsize"), *FONT_SIZES, otherwise=16)
        text, nonce = web_page.terminal(self._served.name, font_size)
        headers = web_page.policy(request.headers["Host"], nonce)
        return web.Response(text=text, content_type="text/html", headers=headers)

    def _refused(self, heading: str, why: str, status: int) -> web.Response:
        page = web_page.refusal(self._served.name, heading, why)
        return web.Response(
            body=page.encode(errors="replace"), status=status, content_type="text/html", charset="utf-8"
        )

    async def _icon(self, _: web.Request) -> web.Response:
        return web.Response(text=web_page.ICON, content_type="image/svg+xml")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        """A connection, and the process of its session, which is there already where the tab had one before."""
        tab = request.match_info.get("tab", "")
        held = self._held.get(tab)
        connection = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MESSAGE_MAX)
        if held is not None and held.is_over:
            held = None
        if held is None and not self._has_room():
            open_ = "1 session is" if len(self._held) == 1 else f"{len(self._held)} sessions are"
            why = f"{open_} open already. Close one, or serve with a larger --sessions."
            if not tab:
                raise web.HTTPServiceUnavailable(text=why)
            await connection.prepare(request)
            await connection.close(code=REFUSED, message=why.encode())
            return connection
        key: object = tab or connection
        held = self._held[key] = held or _Held(WebSession(self._served.words), None)
        before, held.connection = held.connection, connection
        try:
            await connection.prepare(request)
            if before is not None:
                with suppress(Exception):
                    await asyncio.wait_for(before.close(code=TAKEN, message=b"This session goes on elsewhere."), GRACE)
            size = [_bounded(request.query.get(name), 1, CELLS_MAX, n) for name, n in (("width", 80), ("height", 24))]
            await self._converse(held, connection, size)
        finally:
            if held.connection is connection:
                held.connection = None
                await self._left(key, held, lingers=bool(tab))
            with suppress(Exception):  # the other side may be gone
                await connection.close()
        return connection

    async def _converse(self, held: _Held, connection: web.WebSocketResponse, size: Sequence[int]) -> None:
        """Show a session in a connection, until either ends."""
        if held.leaving is not None:
            held.leaving.cancel()
        held.session.attach(connection.send_bytes)
        if held.running is None:
            held.running = asyncio.create_task(held.session.run(*size))
        else:
            with suppress(OSError, TimeoutError):  # its process is about to end
                await held.session.redraw(*size)
        typed = asyncio.create_task(_obey(connection, held.session))
        await asyncio.wait((held.running, typed), return_when=asyncio.FIRST_COMPLETED)
        typed.cancel()
        await asyncio.gather(typed, return_exceptions=True)
        if held.is_over and (why := held.session.failure):
            await connection.close(code=FAILED, message=_cut(why))

    async def _left(self, key: object, held: _Held, lingers: bool) -> None:
        """End a session that does not have a connection any longer, at once or after a while."""
        held.session.detach()
        if lingers and not held.is_over and held.running is not None and not self._closing:
            held.leaving = asyncio.create_task(self._linger(key, held))
        else:
            await self._end(key, held)

    async def _linger(self, key: object, held: _Held) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.wait((held.running,) if held.running else (), timeout=LINGER)
            if held.connection is None:
                await self._end(key, held)

    async def _end(self, key: object, held: _Held) -> None:
        """Have a session's process end, and forget it."""
        try:
            await held.session.stop()
            if held.running is not None:
                held.running.cancel()
                await asyncio.gather(held.running, return_exceptions=True)
        finally:
            if self._held.get(key) is held:
                del self._held[key]

    def _has_room(self) -> bool:
        """Whether one more session may begin. Where there are too many, one that nobody looks at makes room."""
        if len(self._held) < self._served.sessions:
            return True
        waiting = [(k, h) for k, h in self._held.items() if h.leaving is not None and h.connection is None]
        if not waiting:
            return False
        key, held = waiting[0]
        del self._held[key]
        self._ending.add(ending := asyncio.create_task(self._end(key, held)))
        ending.add_done_callback(self._ending.discard)
        return True

    async def _close(self, _: web.Application) -> None:
        self._closing = True
        for key, held in list(self._held.items()):
            with suppress(Exception):
                if held.connection is not None:
                    await held.connection.close(code=WSCloseCode.GOING_AWAY)
                else:
                    await self._end(key, held)


async def _obey(connection: web.WebSocketResponse, session: WebSession) -> None:
    """Do what the page's terminal says, until it is gone. What is not understood is passed over."""
    async for message in connection:
        if message.type is not WSMsgType.TEXT:
            continue
        with suppress(ValueError, RecursionError):
            match json.loads(message.data):
                case ["stdin", str(text)]:
                    await session.type(text)
                case ["resize", {"width": width, "height": height}]:
                    session.resize(_bounded(width, 1, CELLS_MAX, 80), _bounded(height, 1, CELLS_MAX, 24))
                case ["ping", str(text)]:
                    await connection.send_json(["pong", text])
                case ["blur" | "focus" as what]:
                    await session.tell(type=what)


async def _with_slash(request: web.Request) -> web.Response:
    """The page's address is the folder of all that it loads, and so ends in a slash."""
    raise web.HTTPFound(request.rel_url.with_path(f"{request.path}/").with_query(request.rel_url.query))


async def _restrict(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer the headers that keep it to itself."""
    for name, value in web_page.policy().items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


def is_own_name(asked: str, host: str) -> bool:
    """Whether what a request was sent to, ``Host``, is this machine, where it listens at ``host``.

    A name that is not known to be ours may belong to anyone. An address cannot be made to lead elsewhere, but where
    this listens on the loopback alone, only that is asked for.
    """
    if not _HOST.fullmatch(asked):
        return False
    name = asked.rpartition("]")[0].strip("[") or asked.partition(":")[0].casefold()
    literal = _literal(name)
    if literal is not None and (literal.is_loopback or not _is_loopback(host)):
        return True
    own = {"localhost", host.casefold()}
    return name in (own if _is_loopback(host) else {*own, socket.gethostname().casefold()})


def _is_loopback(host: str) -> bool:
    literal = _literal(host)
    return host.casefold() == "localhost" or (literal is not None and literal.is_loopback)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _why(error: OSError | UnicodeError) -> str:
    """Why it cannot listen, without what asyncio says beside it, and what to do where a port is taken."""
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
    if number == errno.EADDRINUSE:
        return f"{os.strerror(number)}; --port 0 takes a free one"
    if number == errno.EACCES:
        return f"{os.strerror(number)}; ports below 1024 are often kept for the system"
    return os.strerror(number) if number else str(getattr(error, "strerror", None) or error)


def _reachable(host: str) -> str:
    """A name to open in a browser, for a host to listen at."""
    literal = _literal(host)
    if literal is not None and literal.is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _cut(text: str) -> bytes:
    """A reason that fits into the end of a connection."""
    data = text.encode(errors="replace")
    begin = data[: REASON_MAX - 3].decode(errors="ignore")
    return data if len(data) <= REASON_MAX else f"{begin}…".encode()


def _bounded(number: Any, low: int, high: int, otherwise: int) -> int:
    """A number that a page sent, within bounds."""
    try:
        return min(max(int(str(number)[:9]), low), high)
    except ValueError:
        return otherwise
