"""Which cache sizes fit a sequence of choices: a search over the masks that a number of buckets comes to.

Only a cache's mask shows: it says which pages share a bucket. More mask bits mean fewer pages a bucket. So a page that
a cache with some mask holds is held with every mask that has all its bits. That prunes the search.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cache import held

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WORK_MAX = 40_000_000  # inserts that a search looks at: some seconds


@dataclass(frozen=True, slots=True)
class FittingMasks:
    """The masks that fit.

    ``least`` is the least one, None where none fits. Where the search was cut short it is a lower bound. ``full`` says
    whether the mask with all bits fits. ``count`` is how many of ``of`` masks fit, None where counting them would take
    too long. ``powers`` are the least and the greatest of the form 2^k - 1, if any.
    """

    least: int | None
    full: bool
    count: int | None
    of: int
    powers: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class CacheTrace:
    """What a sender's choices say of its cache.

    ``pages`` (n,) int64 are the inserts in order. ``held`` and ``missing`` are places among them: those whose page the
    cache must have held, and those whose page it cannot have held. ``bits`` is how many bits page numbers have.
    """

    pages: Ints
    held: Ints
    missing: Ints
    bits: int
    ways: int

    def hits(self, mask: int) -> Bools:
        """Which inserts find their page held in a cache with this mask, (n,) bool."""
        return held(self.pages, mask, self.ways)

    def may(self, least: Bools, most: Bools) -> bool:
        """Whether a mask can fit whose hits are at least ``least`` and at most ``most``."""
        return bool(most[self.held].all()) and not least[self.missing].any()

    def must(self, least: Bools, most: Bools) -> bool:
        """Whether every mask fits whose hits are at least ``least`` and at most ``most``."""
        return bool(least[self.held].all()) and not most[self.missing].any()

    def fits(self, mask: int) -> bool:
        """Whether a cache with this mask holds every page that it must hold, and none that it cannot have held."""
        hits = self.hits(mask)
        return self.may(hits, hits)


def fitting_masks(trace: CacheTrace) -> FittingMasks:
    """Find the masks that fit ``trace``."""
    full = (1 << trace.bits) - 1
    powers = [m for m in ((1 << k) - 1 for k in range(trace.bits + 1)) if trace.fits(m)]
    tries = max(64, WORK_MAX // max(1, len(trace.pages)))
    least = _Search(trace, tries).least(0, full, trace.bits)
    count = _Search(trace, tries).count(0, full, trace.bits)
    return FittingMasks(least, trace.fits(full), count, full + 1, (powers[0], powers[-1]) if powers else None)


class _Search:
    """A walk over the masks, bit by bit, that looks at ``tries`` of them at most."""

    def __init__(self, trace: CacheTrace, tries: int) -> None:
        self._trace = trace
        self._tries = tries

    def _spend(self) -> bool:
        self._tries -= 1
        return self._tries >= 0

    def least(self, low: int, high: int, bits: int) -> int | None:
        """The least fitting mask from ``low`` to ``high``, whose ``bits`` low bits are open."""
        if not self._spend():
            return low
        if not self._trace.may(self._trace.hits(low), self._trace.hits(high)):
            return None
        if not bits:
            return low
        bit = 1 << bits - 1
        without = self.least(low, high & ~bit, bits - 1)
        return without if without is not None else self.least(low | bit, high, bits - 1)

    def count(self, low: int, high: int, bits: int) -> int | None:
        """How many masks from ``low`` to ``high`` fit, or None where there are too many to look at."""
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
