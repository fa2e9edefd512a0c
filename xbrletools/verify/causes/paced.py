"""The law of the pace: a sender of today ends a PART with the first record that takes it over its bandwidth's share.

It sends a tenth of its bandwidth limit, and then waits for the next tenth of a second [Q]. So where a limit rules, a
PART's size tells how many bytes were added to it or lost. A PART that ends a pass is shorter, so the law has
exceptions. It weighs, and excludes nothing.
"""

from dataclasses import dataclass

import numpy as np

from ...formats.ram import Kind
from ...table.kinds import IS_PAGE
from .reading import Ints, Read

_PARTS_LEAST = 8  # PARTs from which on the law can show
_KEPT = 0.75  # share of them that keep it, where it is in force


@dataclass(frozen=True, slots=True)
class Pace:
    """What PARTs of a sender with a bandwidth limit come to.

    ``ends`` (n,) are the rows of their EOS, ``sizes`` (n,) their bytes, ``lasts`` (n,) those of their last record. A
    PART that keeps the law has ``limit`` bytes or more, and without its last record fewer. ``below`` and ``above`` are
    the weights of PARTs with fewer and with more bytes than that.
    """

    ends: Ints
    sizes: Ints
    lasts: Ints
    limit: int
    below: float
    above: float

    def added(self, row: int) -> tuple[int, int] | None:
        """Between how many bytes were added to the PART of ``row``, if it kept the law. None where nothing tells."""
        place = int(np.searchsorted(self.ends, row))
        if place >= len(self.ends) or not 0 < self.sizes[place] < 3 * self.limit // 2:
            return None  # its end was lost as well
        high = int(self.sizes[place]) - self.limit
        return high - int(self.lasts[place]) + 1, high

    def allows(self, row: int) -> tuple[float, float, float]:
        """How likely the size of the PART of ``row`` is if bytes are missing from it, were put in, or neither."""
        added = self.added(row)
        if added is None:
            return 1.0, 1.0, 1.0
        low, high = added
        return (
            1.0 if low < 0 else self.above,
            1.0 if high > 0 else self.below,
            self.above if low > 0 else self.below if high < 0 else 1.0,
        )


def weigh(read: Read) -> Pace | None:
    """Hold the sizes of PARTs against each other. None where no limit shows."""
    rows = read.rows
    ends = np.flatnonzero(rows.kind == Kind.EOS)
    if len(ends) < _PARTS_LEAST:
        return None
    begins = np.append(0, ends[:-1] + 1)
    kept = IS_PAGE[rows.kind[ends - 1]] & IS_PAGE[rows.kind[begins]] & (ends > 0)
    ends, begins = ends[kept][:-1], begins[kept][:-1]  # the last is RAM's END, or what nothing was left for
    if not read.grammar.modern or len(ends) < _PARTS_LEAST:
        return None
    offset = rows.offset.astype(np.int64)
    sizes, lasts = offset[ends] - offset[begins], offset[ends] - offset[ends - 1]
    broken = np.isin(np.arange(len(ends)), [int(np.searchsorted(ends, b.row)) for b in read.breaks])
    whole, last = sizes[~broken], lasts[~broken]
    if len(whole) < _PARTS_LEAST:
        return None
    agree = np.searchsorted(np.sort(whole - last), whole, side="left") - np.searchsorted(np.sort(whole), whole, "left")
    limit = int(whole[agree.argmax()])
    if int(agree.max()) < _KEPT * len(whole):
        return None
    below, above = np.count_nonzero(whole < limit), np.count_nonzero(whole - last >= limit)
    count = len(whole) + 1
    return Pace(ends, sizes, lasts, limit, _share(int(below), count), _share(int(above), count))


def _share(exceptions: int, count: int) -> float:
    """The weight of what an exception to the law explains. Its root, since a damage often hits what is an exception."""
    return float(np.sqrt((exceptions + 0.5) / count))
