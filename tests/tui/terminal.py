"""A terminal of its own for the real program: what it draws, what keys it gets, and how it leaves the terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.conftest import ROOT

_USUAL = {"TERM": "xterm-256color", "COLORFGBG": "15;0", "COLUMNS": "", "LINES": ""}
WAITED = 60.0  # seconds for something to appear
ENTER, LEAVE, HIDE, SHOW = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25l", b"\x1b[?25h"
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?<>=$]*[a-zA-Z~]|\][^\x07]*\x07|.)")


class Terminal:
    """The program on a pseudo-terminal of 80 columns and 24 lines. ``drawn`` is all that it wrote."""

    def __init__(self, *words: str, environment: Mapping[str, str]) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._theirs)
        self.drawn = b""

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                signal.signal(number, signal.SIG_DFL)

        self.process = subprocess.Popen(
            [sys.executable, *words],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            preexec_fn=take_terminal,
            cwd=ROOT,
            env={**os.environ, **_USUAL, **environment},
        )

    def read(self, seconds: float = 0.1) -> None:
        """Take in what is drawn."""
        while select.select([self._ours], [], [], seconds)[0]:
            try:
                piece = os.read(self._ours, 1 << 16)
            except OSError:
                return
            if not piece:
                return
            self.drawn += piece

    def wait_for(self, what: bytes, since: int = 0) -> int:
        """Wait until ``what`` was drawn after ``since``. Gives where all that was drawn ends."""
        end = time.monotonic() + WAITED
        while what not in _plain(self.drawn[since:]) and what not in self.drawn[since:]:
            assert time.monotonic() < end, (what, self.text[-3000:])
            assert self.process.poll() is None, (what, self.process.returncode, self.text[-3000:])
            self.read()
        return len(self.drawn)

    def press(self, keys: bytes) -> int:
        """Press keys. Gives where what is drawn from now on begins."""
        self.read(0)
        os.write(self._ours, keys)
        return len(self.drawn)

    def end(self) -> int:
        """Wait for the end. Gives the exit status."""
        limit = time.monotonic() + WAITED
        while self.process.poll() is None:
            assert time.monotonic() < limit, self.text[-3000:]
            self.read(0.02)
        self.read()
        return self.process.returncode

    @property
    def attributes(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self._theirs)

    @property
    def text(self) -> str:
        """What was drawn, without what moves and colours it."""
        return _plain(self.drawn).decode(errors="replace")

    @property
    def last_line(self) -> str:
        """What stands after the program has left its screen. A message that was wrapped is joined again."""
        left = _plain(self.drawn[self.drawn.rfind(LEAVE) :]).decode(errors="replace").strip()
        return re.sub(r"\r?\n  (?=\S)", " ", left)

    def is_restored(self) -> bool:
        """Whether it is as it was before."""
        left = self.drawn.rfind(LEAVE) >= self.drawn.rfind(ENTER) and self.drawn.rfind(SHOW) > self.drawn.rfind(HIDE)
        return left and self.attributes == self.before

    def hang_up(self) -> None:
        """Take the terminal away, as a closed window or a lost connection does."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        """Let go of everything."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._ours, self._theirs):
            if descriptor >= 0:
                os.close(descriptor)


def _plain(drawn: bytes) -> bytes:
    return _SEQUENCE.sub(b"", drawn)


@contextmanager
def terminal(*words: str, **environment: str) -> Iterator[Terminal]:
    """`xbrle` with these words on a terminal."""
    found = Terminal(*(words if words[0] == "-c" else ("-m", "xbrletools", *words)), environment=environment)
    try:
        yield found
    finally:
        found.close()
