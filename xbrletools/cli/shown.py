"""How far long work is, as a line on a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..progress import listening
from .writer import clear_progress, progress_line, warn

_REDRAWN = 0.1  # seconds between two states of the line
_OTHER = 2.0  # seconds after which work whose end is not known may be shown instead of other work


class Shown:
    """What a terminal is shown of long work: what it is and how far, in one line of standard error.

    It comes when the command has taken a second, and goes when something else is printed.
    """

    def __init__(self) -> None:
        self._next = time.monotonic() + 1
        self._measured = 0.0  # the time at which something was last told whose total is known

    def tells(self, what: str, done: int, total: int | None, unit: str) -> None:
        """Show how far the work is. Work whose end is known goes before work whose end is not."""
        now = time.monotonic()
        if total is not None:
            self._measured = now
        if now < self._next or (total is None and now - self._measured < _OTHER):
            return
        self._next = now + _REDRAWN
        progress_line(f"{what}: {_far(done, total, unit)}")


def _far(done: int, total: int | None, unit: str) -> str:
    """How much is done, for a person."""
    if unit != "bytes":
        return f"{done:,} {unit}" if total is None else f"{done:,} of {total:,} {unit} ({_share(done, total)})"
    if total is None:
        return f"{done >> 20:,} MiB"
    return f"{done >> 20:,} of {total >> 20:,} MiB ({_share(done, total)})"


def _share(done: int, total: int) -> str:
    return f"{min(100, 100 * done // max(1, total))} %"


@contextmanager
def telling() -> Iterator[None]:
    """Show on a terminal how far long work is. What must be known before it is said everywhere."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    with listening(Shown().tells if on_terminal else None, warn):
        try:
            yield
        finally:
            clear_progress()
