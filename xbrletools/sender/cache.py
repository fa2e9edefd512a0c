"""The sender's page cache: which pages it still holds when they come up again.

Facts: formats/README.md, "The sender's rules". The posted patch has two slots a bucket. An insert replaces the older
one, even where the other holds the same page. So a bucket holds its last two inserts, and whether a page is held
depends on nothing else. A whole batch of inserts is one sort.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError

WAYS = 2  # slots a bucket
DEFAULT_BYTES = 0x8000000  # of the posted patch; its comment says twice that

_EMPTY = -1


def buckets_of(cache_bytes: int, page_size: int, ways: int = WAYS) -> int:
    """How many buckets a cache of so many bytes has.

    Raises:
        XbrleError: the size is less than one bucket. The original sender aborts on such a size.
    """
    buckets = cache_bytes // (page_size * ways)
    if buckets < 1:
        raise XbrleError(f"a page cache of {cache_bytes} bytes is too small: one bucket takes {page_size * ways} bytes")
    return buckets


def reach(pages: int) -> int:
    """The mask of all bits that the numbers of ``pages`` pages, from 0 on, can have."""
    return (1 << max(0, pages - 1).bit_length()) - 1


class PageCache:
    """Which pages the sender's cache holds, by their number in ram_addr space.

    ``pages`` is how many pages there are. Mask bits above their numbers never show. A page's bucket is its number
    & (buckets - 1), even where ``buckets`` is not a power of two: the patch has it so.
    """

    def __init__(self, buckets: int, pages: int, ways: int = WAYS) -> None:
        self.buckets = buckets
        self.ways = ways
        self._mask = (buckets - 1) & reach(pages)
        self._newest = np.full(self._mask + 1, _EMPTY, np.int64)
        self._older = np.full(self._mask + 1, _EMPTY, np.int64)

    @property
    def max_items(self) -> int:
        """How many slots there are."""
        return self.buckets * self.ways

    @property
    def items(self) -> int:
        """How many slots are occupied. A page that is in both slots of its bucket counts twice."""
        slots = (self._newest, self._older)[: self.ways]
        return sum(int(np.count_nonzero(s != _EMPTY)) for s in slots)

    def insert(self, pages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Insert pages (n,) int64, one after the other. Gives which of them were held just before, (n,) bool."""
        held = np.zeros(len(pages), bool)
        if not len(pages):
            return held
        bucket = pages & self._mask
        order = np.argsort(bucket, kind="stable")
        page, bucket = pages[order], bucket[order]
        first = np.ones(len(page), bool)
        np.not_equal(bucket[1:], bucket[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        used = bucket[starts]
        newest = np.concatenate([page[:1], page[:-1]])
        newest[starts] = self._newest[used]
        older = np.concatenate([newest[:1], newest[:-1]])
        older[starts] = self._older[used]
        is_held = newest == page
        if self.ways == WAYS:
            is_held |= older == page
        held[order] = is_held
        ends = np.append(starts[1:], len(page)) - 1
        self._newest[used] = page[ends]
        self._older[used] = newest[ends]
        return held
