"""The bytes that a scan has at hand: a window over its source, which moves on and is padded at the capture's end."""

import struct
from collections.abc import Callable

from ..model import Problem
from ..source.sources import MARGIN, MappedSource, Source

_WORD = struct.Struct(">Q")


class Stop(Exception):  # noqa: N818 - an end, not an error
    """The scan cannot go on."""

    def __init__(self, rule: str, offset: int, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(rule, offset, message, fatal=True)


def _nothing() -> None:
    pass


class Buffer:
    """A window over ``source``: ``view`` begins at offset ``base`` and holds ``real`` bytes of the capture.

    ``final``: the window reaches the capture's end. ``padded``: zeros follow the ``real`` bytes, so that the walk needs
    no bound checks. ``before_move`` is called before the window moves.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.view = memoryview(b"")
        self.base = 0
        self.real = 0
        self.final = False
        self.padded = False
        self.before_move: Callable[[], None] = _nothing

    @property
    def end(self) -> int:
        """The offset of the first byte that is not in the window."""
        return self.base + self.real

    def load(self, at: int, least: int) -> None:
        """Move the window to offset ``at``, with at least ``least`` bytes as far as the capture goes."""
        self.before_move()
        least = max(least, 2 * MARGIN)
        view, self.final = self.source.window(at, least)
        self.base, self.real = at, len(view)
        self.padded = self.final and len(view) <= least
        self.view = memoryview(b"".join((view, bytes(MARGIN)))) if self.padded else view

    def forget(self) -> None:
        """Let go of the window's bytes, when the scan is done."""
        self.view, self.base, self.real = memoryview(b""), self.end, 0

    def reach(self, at: int, count: int) -> int:
        """Have ``count`` bytes from ``at`` in the window, as far as the capture goes. Returns how many there are."""
        if at < self.base or (at + count > self.base + self.real and not self.final):
            self.load(at, count)
        return max(0, min(count, self.base + self.real - at))

    def part(self, at: int, count: int) -> memoryview:
        """The ``count`` bytes from ``at`` on, as far as the capture goes."""
        there = self.reach(at, count)
        return self.view[at - self.base : at - self.base + there]

    def holds(self, at: int) -> bool:
        """Whether the capture has a byte at ``at``. What lies before it is passed over. A hole is not read."""
        if not isinstance(self.source, MappedSource) or self.source.grows:
            return self.reach(at, 1) > 0  # which waits for it
        return at < self.source.hole_after(at)[0]

    def take(self, at: int, count: int) -> bytes:
        """The ``count`` bytes from ``at`` on, all of which must be there."""
        if self.reach(at, count) < count:
            raise Stop("truncated", self.end, "the capture ends inside a section header")
        return bytes(self.view[at - self.base : at - self.base + count])

    def byte(self, at: int) -> int:
        """The byte at ``at``, which the window holds."""
        return self.view[at - self.base]

    def word(self, at: int) -> int:
        """The word at ``at``, which the window holds."""
        word: int = _WORD.unpack_from(self.view, at - self.base)[0]
        return word

    def skip(self, at: int, count: int, what: str) -> int:
        """The offset ``count`` bytes on, all of which must be there. It holds no more than a window of them."""
        end = at + count
        while at < end:
            there = self.reach(at, min(end - at, MARGIN))
            if not there:
                raise Stop("truncated", at, f"the capture ends inside {what}")
            at += there
        return end
