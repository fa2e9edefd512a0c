"""Guest-physical addresses as places in the row of all pages, and back, for many at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..memory.image import PageSpace
from .layout import PhysicalMap

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Addresses:
    """The ranges of a map: ``starts`` and ``ends`` are guest-physical, ``places`` bytes from the first page of a space.

    All are (n,) int64, in rising order of the starts. The place of a page is its number times the page size.
    """

    starts: Ints
    ends: Ints
    places: Ints

    def places_of(self, addresses: Ints, length: int) -> Ints:
        """Where the ``length`` bytes from each address on stand, (n,) int64. It is -1 if they are not in one range."""
        if not len(self.starts):
            return np.full(len(addresses), -1, np.int64)
        of = np.maximum(np.searchsorted(self.starts, addresses, side="right") - 1, 0)
        inside = (addresses >= self.starts[of]) & (addresses + length <= self.ends[of])
        return np.where(inside, addresses - self.starts[of] + self.places[of], -1)

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts [low, high) of the guest-physical addresses from ``start`` to ``end`` that the ranges have."""
        first, last = np.searchsorted(self.ends, start, side="right"), np.searchsorted(self.starts, end)
        spans = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return [(max(start, low), min(end, high)) for low, high in spans]

    def addresses_of(self, places: Ints) -> tuple[Ints, Ints]:
        """Every address at which bytes at these places stand: the index of the place, and the address, (m,) int64 each.

        The guest may see a place at several addresses, or at none.
        """
        which, where = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start, end, place in zip(self.starts.tolist(), self.ends.tolist(), self.places.tolist(), strict=True):
            inside = np.flatnonzero((places >= place) & (places < place + end - start))
            which.append(inside)
            where.append(places[inside] - place + start)
        return np.concatenate(which), np.concatenate(where)


def addresses_in(space: PageSpace, where: PhysicalMap) -> Addresses:
    """The addresses of a map in a space of the same stream."""
    ranges = [
        (r.start, r.end, int(space.first[space.index(r.block)]) * space.page_size + r.offset) for r in where.ranges
    ]
    columns = np.array(ranges, np.int64).reshape(-1, 3)
    return Addresses(*(columns[:, i].copy() for i in range(3)))
