"""Which cache sizes fit a sequence of choices: a search over the masks that a number of buckets comes to.

A cache is seen through its mask alone: which pages share a bucket. More mask bits mean fewer pages a bucket, so what is
found with a mask is found with every mask that has its bits; that prunes the search.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cache import PageCache

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

WORK_MAX = 40_000_000  # inserts that a search looks at: some seconds


@dataclass(frozen=True, slots=True)
class Fitting:
    """The masks that fit: the least one, whether all bits set fit, how many of ``of`` there are (None where counting
    them would take too long) and the least and greatest of the form 2^k - 1, if any.

    ``least`` is None where none fits; where the search was cut short it is a lower bound.
    """

    least: int | None
    full: bool
    count: int | None
    of: int
    powers: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Trace:
    """What a sender's choices say of its cache: ``pages`` (n,) int64, the inserts in order, and the places among them
    that must have been found, and those that must not. ``bits`` is how many bits page numbers have.
    """

    pages: Ints
    found: Ints
    missing: Ints
    bits: int
    ways: int

    def hits(self, mask: int) -> Mask:
        """Which inserts find their page in a cache with this mask, (n,) bool."""
        return PageCache(mask + 1, 1 << self.bits, self.ways).insert(self.pages)

    def may(self, least: Mask, most: Mask) -> bool:
        """Whether masks can fit that find at least the first hits and at most the second ones."""
        return bool(most[self.found].all()) and not least[self.missing].any()

    def must(self, least: Mask, most: Mask) -> bool:
        """Whether all masks fit that find at least the first hits and at most the second ones."""
        return bool(least[self.found].all()) and not most[self.missing].any()

    def fits(self, mask: int) -> bool:
        """Whether a cache with this mask finds all that must be found, and nothing that must not."""
        hits = self.hits(mask)
        return self.may(hits, hits)


def search(trace: Trace) -> Fitting:
    """Find the masks that fit ``trace``."""
    full = (1 << trace.bits) - 1
    powers = [m for m in ((1 << k) - 1 for k in range(trace.bits + 1)) if trace.fits(m)]
    tries = max(64, WORK_MAX // max(1, len(trace.pages)))
    least = _Search(trace, tries).least(0, full, trace.bits)
    count = _Search(trace, tries).count(0, full, trace.bits)
    return Fitting(least, trace.fits(full), count, full + 1, (powers[0], powers[-1]) if powers else None)


class _Search:
    """A walk over the masks, bit by bit, that may look at so many."""

    def __init__(self, trace: Trace, tries: int) -> None:
        self._trace = trace
        self._tries = tries

    def _spend(self) -> bool:
        self._tries -= 1
        return self._tries >= 0

    def least(self, low: int, high: int, bits: int) -> int | None:
        """The least fitting mask between two, whose ``bits`` low bits are open."""
        if not self._spend():
            return low
        if not self._trace.may(self._trace.hits(low), self._trace.hits(high)):
            return None
        if not bits:
            return low
        bit = 1 << bits - 1
        found = self.least(low, high & ~bit, bits - 1)
        return found if found is not None else self.least(low | bit, high, bits - 1)

    def count(self, low: int, high: int, bits: int) -> int | None:
        """How many masks between two fit."""
        if not self._spend():
            return None
        least, most = self._trace.hits(low), self._trace.hits(high)
        if not self._trace.may(least, most):
            return 0
        if self._trace.must(least, most):
            return 1 << bits
        bit = 1 << bits - 1
        without = self.count(low, high & ~bit, bits - 1)
        with_it = self.count(low | bit, high, bits - 1) if without is not None else None
        return None if without is None or with_it is None else without + with_it
