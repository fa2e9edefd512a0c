"""The terminal under the browser: when the browser ends, it is as it was, however the end comes."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

try:
    import termios
except ImportError:  # Windows, where Textual alone leaves the terminal as it was
    termios = None  # type: ignore[assignment]

from ..interrupts import LAST_ACTS, SIGNALS

INTERRUPTED = 130  # the exit status that every command has for it
ENDING = 5.0  # seconds in which the browser ends by itself

#: Ends bracketed paste, mouse, focus events and the keyboard protocol. Wraps lines, leaves the other screen, shows the
#: cursor. This is what Textual switches on (xterm's control sequences, and kitty's for the keyboard).
_LEAVE = (
    b"\x1b[?2004l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l\x1b[?2048l\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h"
)


def on_signals(end: Callable[[], object]) -> None:
    """Have ``end`` called when SIGINT, SIGTERM or SIGHUP comes. What is ignored, as with nohup, stays so.

    Where the process does not end within `ENDING` seconds, as when it waits for a terminal that is gone, it is ended.
    """
    asked = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            timer = threading.Timer(ENDING, _end_at_once)
            timer.daemon = True
            timer.start()
        end()

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _end_at_once() -> None:
    for act in LAST_ACTS:
        with suppress(Exception):
            act()
    os._exit(INTERRUPTED)


@contextmanager
def kept() -> Iterator[None]:
    """Have the terminal as it was after the block, and also where the process has to end at once within it."""
    if termios is None:
        yield
        return
    try:
        before = termios.tcgetattr(0)
    except termios.error:  # there is none: the browser is shown elsewhere
        yield
        return

    def leave() -> None:
        if sys.__stderr__ is not None:
            os.write(sys.__stderr__.fileno(), _LEAVE)
        termios.tcsetattr(0, termios.TCSANOW, before)

    LAST_ACTS.append(leave)
    try:
        yield
    finally:
        LAST_ACTS.remove(leave)
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, before)
