"""The sender's page cache: which pages it still holds when they come up again.

Facts: formats/README.md, "The sender's rules". The posted patch has two slots a bucket. An insert replaces the older
one, even where the other holds the same page. So a bucket holds its last two inserts, and whether a page is held
depends on nothing else. A whole batch of inserts is one sort.

QEMU's XBZRLE has one slot a bucket. Since 2.1 a page stays in it while it is young: one that was entered or found in
this sweep over memory or in the one before is not replaced.
"""

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, Values, distinct
from ..errors import XbrleError

WAYS = 2  # slots a bucket
LIFETIME = 2  # sweeps for which QEMU keeps a page: CACHED_PAGE_LIFETIME of migration/page_cache.c [C]
DEFAULT_BYTES = 0x8000000  # of the posted patch; its comment says twice that
XBZRLE_BYTES = 64 << 20  # of QEMU unless set: xbzrle-cache-size [C]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def buckets_of(cache_bytes: int, page_size: int, ways: int = WAYS) -> int:
    """How many buckets a cache of so many bytes has.

    Raises:
        XbrleError: the size is less than one bucket. The original sender aborts on such a size.
    """
    buckets = cache_bytes // (page_size * ways)
    if buckets < 1:
        raise XbrleError(
            f"a page cache of {cache_bytes:,} bytes is too small: one bucket takes {page_size * ways:,} bytes"
        )
    return buckets


def reach(pages: int) -> int:
    """The mask of all bits that the numbers of ``pages`` pages, from 0 on, can have."""
    return (1 << max(0, pages - 1).bit_length()) - 1


def _buckets(mask: int, asked: Ints | None) -> Places:
    """Places for the buckets of a mask. ``asked`` are the only pages that are ever inserted. None: perhaps all."""
    return Places(mask + 1, None if asked is None else distinct(asked & mask))


class PageCache:
    """Which pages the sender's cache holds, by their number in ram_addr space.

    ``pages`` is how many pages there are. Mask bits above their numbers never show. A page's bucket is its number &
    (buckets - 1), even where ``buckets`` is not a power of two: the patch has it so. ``asked`` (n,) int64 are the only
    pages that are ever inserted. None: perhaps all. Memory is taken for their buckets alone.
    """

    def __init__(self, buckets: int, pages: int, ways: int = WAYS, asked: Ints | None = None) -> None:
        self.buckets = buckets
        self.ways = ways
        self._mask = (buckets - 1) & reach(pages)
        places = _buckets(self._mask, asked)
        self._newest = Values(places, np.int64)  # the page, plus one
        self._older = Values(places, np.int64)

    @property
    def max_items(self) -> int:
        """How many slots there are."""
        return self.buckets * self.ways

    @property
    def items(self) -> int:
        """How many slots are occupied. A page that is in both slots of its bucket counts twice."""
        slots = (self._newest, self._older)[: self.ways]
        return sum(int(np.count_nonzero(s.array)) for s in slots)

    def look(self, pages: Ints, sweeps: Ints, enters: Bools) -> Bools:
        """Which pages (n,) int64 are held when they come, (n,) bool. Those that do not enter are not looked up.

        ``sweeps`` do not matter to this cache.
        """
        del sweeps
        held = np.zeros(len(pages), bool)
        held[enters] = self.insert(pages[enters])
        return held

    def insert(self, pages: Ints) -> Bools:
        """Insert pages (n,) int64, one after the other. Gives which of them were held just before, (n,) bool."""
        bucket = pages & self._mask
        order, starts = _by_bucket(bucket)
        used = bucket[order][starts]
        held, newest, older = _held(pages[order] + 1, starts, self._newest[used], self._older[used], self.ways)
        out = np.empty(len(pages), bool)
        out[order] = held
        self._newest[used], self._older[used] = newest, older
        return out


def held(pages: Ints, mask: int, ways: int = WAYS) -> Bools:
    """Which of ``pages`` (n,) int64 a cache with this mask holds when they are inserted one after the other, (n,) bool.

    The cache is empty at first. It takes memory by the number of inserts, and not by its size.
    """
    order, starts = _by_bucket(pages & mask & reach(int(pages.max(initial=0)) + 1))
    nothing = np.zeros(len(starts), np.int64)
    out = np.empty(len(pages), bool)
    out[order], _, _ = _held(pages[order] + 1, starts, nothing, nothing, ways)
    return out


def _by_bucket(bucket: Ints) -> tuple[Ints, Ints]:
    """The order that sorts inserts by bucket, and where in it each bucket's begin."""
    order = np.argsort(bucket, kind="stable")
    return order, np.flatnonzero(np.diff(bucket[order], prepend=-1))


def _held(page: Ints, starts: Ints, newest_before: Ints, older_before: Ints, ways: int) -> tuple[Bools, Ints, Ints]:
    """Which inserts, sorted by bucket, find their page, and what each bucket then holds, newest and older."""
    newest = np.concatenate([page[:1], page[:-1]])
    newest[starts] = newest_before
    older = np.concatenate([newest[:1], newest[:-1]])
    older[starts] = older_before
    is_held: Bools = newest == page
    if ways == WAYS:
        is_held |= older == page
    ends = np.append(starts[1:], len(page))[: len(starts)] - 1
    return is_held, page[ends], newest[ends]


class AgedCache:
    """The cache of QEMU's XBZRLE: one slot a bucket, and a young page is not replaced.

    ``buckets`` is a power of two in QEMU. ``pages`` and ``asked`` are as in `PageCache`.
    """

    def __init__(self, buckets: int, pages: int, asked: Ints | None = None) -> None:
        self._mask = (buckets - 1) & reach(pages)
        places = _buckets(self._mask, asked)
        self._page = Values(places, np.int64)  # plus one
        self._age = Values(places, np.int64)

    def look(self, pages: Ints, sweeps: Ints, enters: Bools) -> Bools:
        """Look pages (n,) int64 up, one after the other, and enter those that ``enters`` (n,) bool says.

        ``sweeps`` (n,) int64, rising, are the numbers of the sweeps in which they come. Gives which were held, (n,)
        bool.
        """
        out = np.zeros(len(pages), bool)
        edges = np.flatnonzero(np.diff(sweeps)) + 1
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(pages)], strict=True):
            if start < stop:
                part = slice(start, stop)
                out[part] = self._sweep(pages[part], int(sweeps[start]), enters[part])
        return out

    def _sweep(self, pages: Ints, sweep: int, enters: Bools) -> Bools:
        """As `look`, within one sweep. There a bucket takes one new page at most: that is young from then on."""
        bucket = pages & self._mask
        page = pages + 1
        keeps = self._page[bucket] > 0
        keeps &= self._age[bucket] + LIFETIME > sweep
        hits = self._page[bucket] == page
        decides = np.flatnonzero(~keeps & (hits | enters))  # the first of these is what its bucket holds from then on
        used, first = np.unique(bucket[decides], return_index=True)
        first = decides[first]
        found: Bools = hits.copy()
        self._page[used] = page[first]
        later = np.flatnonzero(~keeps)
        place = np.searchsorted(used, bucket[later])
        known = np.append(used, -1)[place] == bucket[later]
        later, since = later[known], first[place[known]]
        found[later[later > since]] = (self._page[bucket[later]] == page[later])[later > since]
        self._age[used] = sweep
        self._age[bucket[found]] = sweep
        return found


Cache = PageCache | AgedCache
