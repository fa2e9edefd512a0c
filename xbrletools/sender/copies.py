"""What the sender's copies of pages hold: the base of a page's next delta.

A page that the cache holds is held with the content last entered. So one copy a page is enough, whatever the cache's
size. Which pages are held is the cache's matter.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, Values
from ..memory.image import Image, PageSpace

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Pages = NDArray[np.uint8]

_FILLED = 256  # marks a fill: 0 stands for no fill


class DeltaBases(Protocol):
    """Where the bases of a batch of records come from."""

    def bases(self, pages: Ints, contents: Pages, is_dup: Bools, enters: Bools, wanted: Ints) -> Pages:
        """Give the content last entered of the page of each ``wanted`` record, (k, page_size) uint8. Then enter the
        batch.

        ``pages`` (n,) are the records' pages, in their order. ``contents`` is (n, page_size), and ``is_dup`` (n,) marks
        the dup pages in it. ``enters`` (n,) bool says which records enter. ``wanted`` (k,) are places among the n whose
        pages were entered before.
        """
        ...


def previous(pages: Ints, enters: Bools) -> Ints:
    """The last place before each with the same page that enters, (n,) int64. It is -1 where there is none."""
    order = np.argsort(pages, kind="stable")
    ordered = pages[order]
    first = np.ones(len(pages), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    start = np.maximum.accumulate(np.where(first, np.arange(len(pages)), 0))
    latest = np.maximum.accumulate(np.where(enters[order], np.arange(len(pages)), -1))
    before = np.concatenate([[-1], latest[:-1]])[: len(pages)]
    out = np.empty(len(pages), np.int64)
    out[order] = np.where(before >= start, order[before], -1)
    return out


class Copies:
    """A copy of each page as it was last entered. Only entered pages take memory. A dup page takes two bytes.

    ``sent`` (n,) int64 are the only pages that ever come, rising. None: perhaps all.
    """

    def __init__(self, space: PageSpace, sent: Ints | None = None) -> None:
        self._pages = Image(space).pages
        self._fill = Values(Places(len(space), sent), np.uint16)

    def bases(self, pages: Ints, contents: Pages, is_dup: Bools, enters: Bools, wanted: Ints) -> Pages:
        """As in `DeltaBases`."""
        before = previous(pages, enters)[wanted]
        in_batch = before >= 0
        out = np.empty((len(wanted), contents.shape[1]), np.uint8)
        out[in_batch] = contents[before[in_batch]]
        earlier = pages[wanted[~in_batch]]
        fill = self._fill[earlier]
        out[~in_batch] = np.where((fill == 0)[:, None], self._pages[earlier], fill.astype(np.uint8)[:, None])
        entered = np.flatnonzero(enters)[::-1]
        _, latest = np.unique(pages[entered], return_index=True)
        last = entered[latest]
        self._fill[pages[last]] = np.where(is_dup[last], contents[last, 0].astype(np.uint16) | _FILLED, 0)
        last = last[~is_dup[last]]
        self._pages[pages[last]] = contents[last]
        return out
