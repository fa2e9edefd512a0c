"""Records in the order of their pages, for the loops in C: all of one page while it stays in the processor's cache.

Pages are independent of each other, so this gives what records in the order of the stream do.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, distinct, reserve
from ..codec import deltas, native
from ..codec.batches import positions
from ..formats.dialects import Encoding
from ..formats.ram import Kind
from ..progress import tell
from ..table.columns import DTYPES, PIECE
from ..table.kinds import IS_DELTA, IS_FULL
from ..table.payloads import Payloads
from .image import Image, PageSpace

Ints = NDArray[np.int64]
Numbers = NDArray[np.uint32]

CHUNK = 1 << 22  # records that are put in the order of their pages at once
FEW = 64  # records for which it is not worth it
_HELD = 1 << 20  # records whose pages are remembered while they are put in order
_SPARSE = 4  # times as many pages as records may all have a place
_MEMORY = 1 << 32  # bytes that a machine has which does not say it
_SHARE = 4  # what is read at random is at most this part of the machine's memory
_SPANS = 4  # for each thread: none waits long for the others

_LEFT, _WHOLE, _FILL, _CHANGE, _LEFT_WHOLE = range(5)  # the `Doing` of _native.c

_in_order = attrgetter(*DTYPES)


@dataclass(frozen=True)
class ByPage:
    """The rows of ``records`` by page. Those of place p are ``order[starts[p] : starts[p + 1]]``, as they stand.

    ``places`` says which place each page has. ``starts`` is (pages + 1,) and ``order`` (n,) uint32.
    """

    records: Payloads
    places: Places
    page_size: int
    starts: Numbers
    order: Numbers

    @cached_property
    def arguments(self) -> tuple[tuple[NDArray[np.generic], ...], tuple[NDArray[np.generic], ...]]:
        """What all loops take first: the capture, what to do with each kind, the order; and the columns."""
        doing = np.zeros(256, np.uint8)
        doing[IS_FULL] = _LEFT_WHOLE
        doing[[Kind.PAGE, Kind.DUP]] = _WHOLE, _FILL
        if self.coding is not None:
            doing[IS_DELTA] = _CHANGE
        columns = tuple(np.require(c, requirements=["C", "A"]) for c in _in_order(self.records.columns))
        return (self.records.data, doing, self.starts, self.order), columns

    @property
    def coding(self) -> tuple[int, int, int] | None:
        """How the loops take the deltas of these records, None where they leave them."""
        dialect = self.records.dialect
        return None if dialect is None else deltas.for_loops(dialect.encoding)

    def in_threads(self, part: Callable[[int, int], None], most: int) -> None:
        """Call ``part`` for spans of places, of about ``most`` records each, on all cores where there are many."""
        count, done, lock = len(self.order), 0, Lock()

        def along(first: int, end: int) -> None:
            nonlocal done
            part(first, end)
            with lock:
                done += int(self.starts[end] - self.starts[first])
                tell("replaying", done, count, "records")

        tell("replaying", 0, count, "records")
        cores = max(1, min(native.THREADS, count * self.page_size // native.THREAD_BYTES))
        spans = max(-(-count // max(1, most)), cores * _SPANS if cores > 1 else 1)
        shares = np.arange(1, spans) * count // spans
        cuts = distinct(np.searchsorted(self.starts[1:], shares.astype(np.uint32), side="right"))
        native.in_threads(along, [0, *cuts[cuts > 0].tolist(), len(self.starts) - 1])


def fits(records: Payloads) -> bool:
    """Whether the loops in C can take these records by page: whether they know their deltas and memory holds all."""
    if native.loops is None or not FEW <= len(records) < np.iinfo(np.uint32).max:
        return False
    if records.dialect is not None and deltas.for_loops(records.dialect.encoding) is None:
        return False
    return int(records.columns.length.sum(dtype=np.int64)) <= _memory() // _SHARE


def _memory() -> int:
    """Bytes of the machine's memory."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return _MEMORY
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def by_page(records: Payloads, space: PageSpace, room: Callable[[int], Numbers] | None = None) -> ByPage:
    """Put records in the order of their pages. ``room`` gives memory for the order, by default plain memory."""
    assert native.loops is not None
    columns = records.columns
    places = Places(len(space)) if len(space) <= _SPARSE * len(columns) else space.places(columns)
    held: dict[int, Ints] = {}

    def places_of(first: int) -> Ints:
        if first not in held:
            found = places.of(space.pages_of(columns.take(slice(first, first + PIECE))))
            if len(columns) > _HELD:
                return found
            held[first] = found
        return held[first]

    starts = reserve((len(places),), np.uint32)  # the last place is for records without a page: its end
    for first in range(0, len(columns), PIECE):
        native.loops.count_pages(places_of(first), starts[1:])
    np.cumsum(starts, out=starts, dtype=np.uint32)
    count, ends = int(starts[-1]), starts[:-1].copy()
    order = np.empty(count, np.uint32) if room is None else room(count)
    for first in range(0, len(columns), PIECE):
        native.loops.order_pages(places_of(first), first, ends, order)
    return ByPage(records, places, space.page_size, starts, order)


def fill(image: Image, records: Payloads, end_only: bool = False) -> Ints:
    """Bring ``image`` to what it is after ``records``, as far as the loops know how: see `fits`.

    Returns the rows of records that are still to be applied, rising, (n,) int64. They follow all others of their pages.
    With ``end_only`` what the end does not depend on is passed over.
    """
    assert native.loops is not None
    loop, ordered = native.loops.fill_pages, by_page(records, image.space)
    done = reserve((len(ordered.starts) - 1,), np.uint32)
    numbers = np.empty(0, np.int64) if ordered.places.used is None else ordered.places.used
    chains, columns = ordered.arguments

    def part(first: int, end: int) -> None:
        span = (first, end, ordered.page_size)
        coding = ordered.coding or deltas.for_loops(Encoding.RLE)
        loop(chains, columns, span, coding, image.pages, image.state, image.touched, numbers, done, end_only)

    ordered.in_threads(part, len(ordered.order))
    begins, ends = ordered.starts[:-1], ordered.starts[1:]
    image.set_filled(ordered.places.numbers(np.flatnonzero(begins < ends)))
    left = np.flatnonzero(done < ends)
    rest = ordered.order[positions(done[left].astype(np.int64), (ends - done)[left].astype(np.int64))]
    return np.sort(rest).astype(np.int64)
