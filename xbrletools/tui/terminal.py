"""The terminal under the browser: when the browser ends, it is as it was, however the end comes."""

import os
import re
import select
import signal
import sys
import threading
import time
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

#: Asks for the background (xterm's OSC 11), then what the terminal is (DA1). Every terminal answers that, in order.
_ASKS = b"\x1b]11;?\x07\x1b[c"
_BACKGROUND = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
_ANSWERED = re.compile(rb"\x1b\[\?[0-9;]*c")
_MUTE = {"", "dumb", "linux"}  # kinds of terminal that are not asked: they would print the question
_ANSWER = 1.0  # seconds. What came later would be taken for keys


def brightness() -> float | None:
    """How bright the terminal says its background is, from 0 to 1. None where it does not say it within a second."""
    if termios is None or os.environ.get("TERM", "") in _MUTE:
        return None
    if not os.isatty(0) or sys.__stderr__ is None or not sys.__stderr__.isatty():  # which Textual draws on
        return None
    answer, end = b"", time.monotonic() + _ANSWER
    try:
        before = termios.tcgetattr(0)
    except termios.error:
        return None
    try:
        quiet = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
        termios.tcsetattr(0, termios.TCSANOW, quiet)
        os.write(sys.__stderr__.fileno(), _ASKS)
        while not _ANSWERED.search(answer) and select.select([0], [], [], max(0.0, end - time.monotonic()))[0]:
            answer += os.read(0, 1024) or b"\x1b[?c"  # nothing more comes from a terminal that is gone
    except (OSError, termios.error):
        return None
    finally:
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, before)
    found = _BACKGROUND.search(answer)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / float(16 ** len(part) - 1) for part in found.groups())
    return 0.299 * red + 0.587 * green + 0.114 * blue


def on_signals(end: Callable[[], object]) -> None:
    """Have ``end`` called when SIGINT, SIGTERM or SIGHUP comes. What is ignored, as with nohup, stays so.

    Where the process does not end within `ENDING` seconds, as when it waits for a terminal that is gone, it is ended.
    """
    asked = (
        False  # not an Event: a second signal that comes while the first one sets it would wait for its lock forever
    )

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
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
