"""One session of `serve`: a process of its own with the browser of captures, spoken to as Textual's web driver is.

Both ways go packets: a byte that says what it is (D what a terminal gets or sends, M an object of JSON), a be32 length,
and that many bytes. The process begins with a line of its own.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence

from ..text import inert

GRACE = 2.0  # seconds that a process may take to end when it is asked to
SAID_MAX = 1 << 14  # bytes of its standard error that are shown
STILL = 0.05  # seconds after which a terminal has its size
SETTLING = 0.3  # seconds between two sizes, so that the process sees both
_BEGIN = b"__GANGLION__\n"
_MODES = re.compile(rb"\x1b\[\?(\d+)([hl])")  # what switches the terminal's modes
# Becomes the command in its arguments, which the kernel then kills (PR_SET_PDEATHSIG, SIGKILL) when the server is gone.
_BECOME = (  # the process that it becomes ends with ours, where there is a prctl, which macOS does not have
    "import ctypes, os, sys; c = ctypes.CDLL(None); hasattr(c, 'prctl') and c.prctl(1, 9); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_UNTIL_PARENT_ENDS = (sys.executable, "-I", "-S", "-c", _BECOME)


Send = Callable[[bytes], Awaitable[None]]


class WebSession:
    """The process of one session. What its terminal gets goes to the connection that it has, else nowhere."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._send: Send | None = None
        self._modes: dict[bytes, bytes] = {}
        self._process: Process | None = None
        self._said = b""
        self._began = False
        self._size = self._wanted = (0, 0)  # what the process knows, and what the terminal has
        self._fitting: asyncio.Task[None] | None = None

    async def run(self, width: int, height: int) -> None:
        """Start the process and pass on what it shows until it ends by itself. What it said last is shown too."""
        self._size = self._wanted = (width, height)
        environment = {
            **os.environ,
            "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver",
            "TEXTUAL_COLOR_SYSTEM": "truecolor",
            "COLUMNS": str(width),
            "ROWS": str(height),
        }
        self._process = process = await asyncio.create_subprocess_exec(
            *_UNTIL_PARENT_ENDS,
            *self._words,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        listening = asyncio.create_task(self._listen(process))
        try:
            while (line := await process.stdout.readline()) not in (_BEGIN, b""):
                pass
            self._began = line == _BEGIN
            with contextlib.suppress(asyncio.IncompleteReadError):
                await self._show(process.stdout)
            await listening
        finally:
            listening.cancel()
        if self._said:
            text = inert(self._said.decode(errors="backslashreplace")).replace("\n", "\r\n")
            await self._give(b"\x1b[?1049l\r\n" + text.encode(errors="backslashreplace"))

    @property
    def failure(self) -> str:
        """What a process said last that ended before it began, else nothing."""
        lines = [] if self._began else inert(self._said.decode(errors="backslashreplace")).split("\n")
        said = [line for line in lines if line.strip()]
        return said[-1].removeprefix("xbrle: ") if said else ""

    def attach(self, send: Send) -> None:
        """Give what the terminal gets to ``send`` from now on."""
        self._send = send

    def detach(self) -> None:
        """Have no terminal, until another one is attached."""
        self._send = None

    def resize(self, width: int, height: int) -> None:
        """Fit to a terminal of another size, once that stands still.

        A terminal that had another size in between, as a page's has for a moment, may have lost what it showed. Then
        all is drawn again, which a process that hears of the same size as before does not do.
        """
        self._wanted = (width, height)
        if self._fitting is None or self._fitting.done():
            self._fitting = asyncio.create_task(self._fit())

    async def _fit(self) -> None:
        fitted = None
        with contextlib.suppress(OSError, TimeoutError):  # its process is about to end
            while fitted != self._wanted:
                wanted = self._wanted
                await asyncio.sleep(STILL)
                if wanted != self._wanted:
                    continue
                fitted = wanted
                if wanted == self._size:
                    await self.redraw(*wanted)
                else:
                    self._size = wanted
                    await self.tell(type="resize", width=wanted[0], height=wanted[1])

    async def redraw(self, width: int, height: int) -> None:
        """Have all of the screen drawn again, for a terminal that has seen nothing of it."""
        self._size = (width, height)
        for mode in self._modes.items():
            await self._give(b"\x1b[?%s%s" % mode)
        for lines in (max(1, height - 1), height):  # only another size has everything drawn
            await self.tell(type="resize", width=width, height=lines)
            await asyncio.sleep(SETTLING)

    async def type(self, text: str) -> None:
        """What the user typed."""
        await self._tell(b"D", text.encode(errors="replace"))

    async def tell(self, **what: object) -> None:
        """Something else about the terminal."""
        await self._tell(b"M", json.dumps(what).encode())

    async def stop(self) -> None:
        """Have the process end, by force if it does not."""
        process = self._process
        if self._fitting is not None:
            self._fitting.cancel()
        if process is None or process.returncode is not None:
            return
        assert process.stdout is not None
        emptying = asyncio.create_task(_empty(process.stdout))  # it may wait to have its output taken
        for how in (None, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, OSError, TimeoutError):
                if how is None:
                    await self.tell(type="quit")
                else:
                    os.killpg(process.pid, how)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE)
                break
        emptying.cancel()

    async def _show(self, output: asyncio.StreamReader) -> None:
        """Pass on what is for the terminal. Files and addresses to open are not passed on: nothing leaves from here."""
        while True:
            kind, length = await output.readexactly(1), await output.readexactly(4)
            content = await output.readexactly(int.from_bytes(length, "big"))
            if kind == b"D":
                self._modes.update(_MODES.findall(content))
                await self._give(content)

    async def _give(self, content: bytes) -> None:
        if self._send is not None:
            with contextlib.suppress(ConnectionError):  # the other side is gone
                await self._send(content)

    async def _listen(self, process: Process) -> None:
        assert process.stderr is not None
        while piece := await process.stderr.read(1 << 12):
            self._said = (self._said + piece)[-SAID_MAX:]

    async def _tell(self, kind: bytes, content: bytes) -> None:
        """Send a packet.

        Raises:
            OSError: the process is gone.
            TimeoutError: it does not take it.
        """
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.write(kind + len(content).to_bytes(4, "big") + content)
        await asyncio.wait_for(self._process.stdin.drain(), GRACE)


async def _empty(output: asyncio.StreamReader) -> None:
    while await output.read(1 << 16):
        pass
