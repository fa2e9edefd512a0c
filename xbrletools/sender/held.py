"""What the sender's copies of pages hold: the base of a page's next delta.

A page that is found in the cache is found with the content last entered, so one copy a page is enough, whatever the
cache's size; which pages are found is the cache's matter.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..memory.image import Image, PageSpace

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Pages = NDArray[np.uint8]

_NO_FILL = -1


class Held(Protocol):
    """Where the bases of a batch of records come from."""

    def bases(self, rows: Ints, contents: Pages, is_dup: Mask, enters: Mask, wanted: Ints) -> Pages:
        """Give the content last entered of the page of each ``wanted`` record, (k, page_size) uint8, then enter.

        ``rows`` (n,) are the records' pages, in their order; ``contents`` (n, page_size), of which ``is_dup`` (n,) are
        dup pages; ``enters`` (n,) bool says which of them enter; ``wanted`` (k,) places among them, whose pages were
        entered before.
        """
        ...


def previous(rows: Ints, enters: Mask) -> Ints:
    """The last place before each with the same row that enters, (n,) int64; -1 where there is none."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.ones(len(rows), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    start = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    latest = np.maximum.accumulate(np.where(enters[order], np.arange(len(rows)), -1))
    before = np.concatenate([[-1], latest[:-1]])[: len(rows)]
    out = np.empty(len(rows), np.int64)
    out[order] = np.where(before >= start, order[before], -1)
    return out


class Copies:
    """A copy of each page as it was last entered. Memory is taken for pages that were, a byte for a dup page."""

    def __init__(self, space: PageSpace) -> None:
        self._pages = Image(space).pages
        self._fill = np.full(len(space), _NO_FILL, np.int16)

    def bases(self, rows: Ints, contents: Pages, is_dup: Mask, enters: Mask, wanted: Ints) -> Pages:
        """As `Held` has it."""
        before = previous(rows, enters)[wanted]
        inside = before >= 0
        out = np.empty((len(wanted), contents.shape[1]), np.uint8)
        out[inside] = contents[before[inside]]
        earlier = rows[wanted[~inside]]
        fill = self._fill[earlier]
        out[~inside] = np.where((fill == _NO_FILL)[:, None], self._pages[earlier], fill.astype(np.uint8)[:, None])
        entered = np.flatnonzero(enters)[::-1]
        _, latest = np.unique(rows[entered], return_index=True)
        last = entered[latest]
        self._fill[rows[last]] = np.where(is_dup[last], contents[last, 0].astype(np.int16), _NO_FILL)
        last = last[~is_dup[last]]
        self._pages[rows[last]] = contents[last]
        return out
