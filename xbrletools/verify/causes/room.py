"""How many bytes a hole in the records held before: what the grid, the first sends and the sizes of records leave open.

A small number of bytes that are missing or were put in is taken to be as likely as a large one, in proportion. A hole
held one record, two, or more, of sizes as the stream has them.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...ram.record import FILL, WORD
from ...table.kinds import IS_PAGE
from .grid import BUFFER, fits
from .reading import Read

MOST = 30000  # bytes that a damage loses or puts in, for the weight of a number of bytes
LOST_MAX = 1 << 20  # bytes of records that are missing between two PARTs
RECORD = WORD + FILL  # bytes of the smallest record
_ONE, _TWO, _MORE = 0.5, 0.25, 0.25  # how often a hole held so many records
_LOG = math.log(MOST)
_AGAIN = 0.02  # how often pages are sent again amid the first sweep

Floats = NDArray[np.float64]


def sizes(read: Read) -> Floats:
    """How likely a hole held so many bytes, (MOST + 1,) float64."""
    rows = read.rows
    carriers = np.flatnonzero(IS_PAGE[rows.kind])
    size = rows.head[carriers].astype(np.int64) + rows.length[carriers]
    most = 3 * read.page_size
    one = np.bincount(np.minimum(size, most), minlength=most + 1) / max(1, len(size))
    two = np.fft.irfft(np.fft.rfft(one, 2 * (most + 1)) ** 2).clip(0)
    out = np.zeros((2, MOST + 1))
    out[1, RECORD:] = _MORE / max(float(size.mean()) if len(size) else 1, 1)
    for line, (part, weight) in enumerate(((one, _ONE), (two, _TWO))):
        count = min(len(part), MOST + 1)
        out[line, :count] += weight * part[:count]
    return out


def lost(read: Read, low: int, high: int) -> float:
    """How likely records that are missing come to between ``low`` and ``high`` bytes added, modulo the grid."""
    rows = read.rows
    carriers = np.flatnonzero(IS_PAGE[rows.kind])
    size = rows.head[carriers].astype(np.int64) + rows.length[carriers]
    most = 2 * read.page_size
    one = np.bincount(np.minimum(size, most), minlength=most + 1) / max(1, len(size))
    two = np.fft.irfft(np.fft.rfft(one, 2 * (most + 1)) ** 2).clip(0)
    number = np.arange(1, LOST_MAX + 1)
    likely = np.where(number > 2 * RECORD, _MORE / number / math.log(LOST_MAX), 0.0)
    for part, weight in ((one, _ONE), (two, _TWO)):
        likely[: len(part) - 1] += weight * part[1:]
    middle = (low + high) / 2
    turn = np.round((middle + number) / BUFFER) * BUFFER
    return float(likely[(turn - number >= low) & (turn - number <= high)].sum())


@dataclass(frozen=True, eq=False)
class Room:
    """What can have become of a hole of ``hole`` bytes.

    By the grid between ``low`` and ``high`` bytes were added, modulo its size. ``exact``: where first sends say so,
    just these numbers. ``behind`` a PAGE of so many bytes all of the hole can have been put in, at any place of the
    PAGE. It is 0 where none ends there. ``sizes`` is what `sizes` gives.
    """

    low: int
    high: int
    exact: frozenset[int] | None
    hole: int
    behind: int
    sizes: Floats

    @property
    def width(self) -> int:
        """The bytes that the grid leaves open."""
        return self.high - self.low + 1

    def allows(self, added: int) -> bool:
        """Whether this number of bytes can have been added."""
        return fits(self.low, self.high, added) and (self.exact is None or added in self.exact)

    @property
    def _general(self) -> "Room":
        """The room without what first sends say."""
        return replace(self, exact=None)

    @cached_property
    def _grid(self) -> NDArray[np.bool_]:
        """Which numbers of bytes, from -MOST to MOST, the grid allows to have been added."""
        numbers = np.arange(-MOST, MOST + 1)
        turn = np.round(((self.low + self.high) / 2 - numbers) / BUFFER) * BUFFER
        return np.asarray((numbers + turn >= self.low) & (numbers + turn <= self.high))

    def missing(self) -> float:
        """How likely the hole is, if bytes are missing."""
        if self.exact is not None:
            exact = sum(1 / -n for n in self.exact if n < 0 and self.allows(n)) / _LOG / len(self.exact)
            return exact + _AGAIN * self._general.missing()
        count = np.arange(1, MOST + 1 - self.hole) if self.hole < MOST else np.empty(0, np.int64)
        likely = self.held[self.hole + count] * self._grid[MOST - count] / count
        if self.behind:  # the loss reaches behind its end, and leaves the end of one record
            likely *= (np.minimum(count, self.behind) + WORD) / (self.behind + WORD) * (self.hole <= self.behind)
        return float(likely.sum() / _LOG)

    @cached_property
    def held(self) -> Floats:
        """How likely a hole held so many bytes, (MOST + 1,) float64."""
        return np.asarray(self.sizes.sum(axis=0))

    def put_in(self) -> float:
        """How likely it is, if bytes were put in."""
        inside = 1 / self.hole / _LOG if self.behind and self.allows(self.hole) else 0.0
        if self.exact is not None:
            exact = sum(1 / n for n in self.exact if n > 0 and self.allows(n)) / _LOG / len(self.exact)
            return inside + exact * self._in_head + _AGAIN * self._general.put_in()
        count = np.arange(1, min(MOST, self.hole - RECORD) + 1)
        allowed = self._grid[MOST + count]
        in_head = (self.held[(self.hole - count).clip(0, MOST)] * allowed / count).sum() / _LOG
        return inside + float(in_head) * self._in_head

    @property
    def _in_head(self) -> float:
        """Of the places at which bytes can be put in, the share in the word at the hole, if a PAGE ends there."""
        return WORD / (self.behind + WORD) if self.behind else 1.0

    def copied(self) -> float:
        """How likely bytes were put in that hold records by themselves, of which one begins where the walk goes on."""
        count = np.arange(1, MOST + 1)
        return float((self._grid[MOST + count] / count).sum() / _LOG * self.sizes[1, -1])

    def in_place(self) -> float:
        """How likely it is, if bytes were overwritten."""
        if not fits(self.low, self.high, 0):
            return 0.0
        if self.exact is not None:
            return (0 in self.exact) / len(self.exact) + _AGAIN * self._general.in_place()
        alone, more = self.sizes[:, min(self.hole, MOST)]
        likely = float(alone + more * math.log(MOST / min(max(self.hole, 1), MOST)) / _LOG)  # all heads were hit
        return likely * min(1.0, (self.hole + self.behind) / self.behind / _LOG) if self.behind else likely

    def anything(self) -> float:
        """How likely it is, if what follows is of elsewhere."""
        return float(self.sizes[1, -1]) * min(1.0, self.width / BUFFER)
