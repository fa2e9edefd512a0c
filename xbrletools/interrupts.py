"""SIGINT, SIGTERM and SIGHUP: they end the work as Ctrl-C does, so that what is half done is put in order first."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
GRACE = 2.0  # seconds after a signal in which further ones are passed over: a shell and the kernel both send SIGHUP

#: What puts things in order where the process has to end at once and nothing unwinds.
LAST_ACTS: list[Callable[[], None]] = []


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP came. It unwinds as Ctrl-C does, so that what is half done is removed."""


class _Signals:
    """What came, and whether it has to wait."""

    holds = 0  # how many `uninterrupted` blocks the main thread is in
    waiting = False
    first = -GRACE  # the time at which the last one was raised, on the monotonic clock


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise `Interrupted`, as a signal's handler: not within `GRACE` seconds of the last, nor in an `uninterrupted`."""
    if _Signals.holds:
        _Signals.waiting = True
    elif time.monotonic() - _Signals.first >= GRACE:
        _Signals.first = time.monotonic()
        raise Interrupted


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP raise `Interrupted` in the block. What is ignored, as with nohup, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Signals.first = -GRACE
    before = {s: signal.getsignal(s) for s in SIGNALS}
    before = {s: handler for s, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold signals back in the block, which is short. What came is raised at its end, unless it raises itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Signals.holds += 1
    try:
        yield
    finally:
        _Signals.holds -= 1
        if not _Signals.holds and _Signals.waiting:
            _Signals.waiting = False
            interrupt(0, None)
