"""What deltas and compressed pages would take, for every record of a capture: what does not depend on a cache.

A page that a sender's cache holds is held as it was last sent, whatever the cache's size. So one measure of each record
does for all senders and all sizes: its page over what the page was last, and over the last that was not a dup page.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, Values, reserve
from ..codec import deltas, native
from ..formats.dialects import Encoding
from ..memory.image import PageSpace
from ..sender.copies import previous
from ..sender.policy import Dups, Rules
from ..sender.sent import SentPages, SentRecords

_ROOM = 1 << 24  # bytes of pages that are gone through together; what they were before takes as much
_THREAD_PAGES = 64  # to compress, that are worth a thread
LEVEL = 1  # of zlib and zstd: QEMU's default

_FILL = 1 << 8  # the page was last sent as a dup page of the byte in the bits below
_PAGE = 1 << 9  # it was sent as another page before

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Pages = NDArray[np.uint8]
Sizes = NDArray[np.uint32]
#: Gives a function that compresses a page. Each thread has one of its own.
Packer = Callable[[], Callable[[bytes], bytes]]


@dataclass(frozen=True, eq=False)
class Deltas:
    """The deltas of n records. ``lengths`` (n,) uint32 is one more than the bytes of each one's payload, 0 for none.

    ``keeps_byte_0`` (n,) bool: byte 0 of the page did not change.
    """

    lengths: Sizes
    keeps_byte_0: Mask

    @classmethod
    def of(cls, count: int) -> "Deltas":
        """None as yet, of so many records."""
        return cls(reserve((count,), np.uint32), reserve((count,), bool))

    def put(self, places: Ints, encoding: Encoding, old: Pages, new: Pages, limit: int | None) -> None:
        """Measure the deltas of the records at ``places`` (k,), from ``old`` to ``new``, (k, page_size) uint8 each."""
        if len(places):
            self.lengths[places] = deltas.encode(encoding, old, new, limit)[1] + 1
            self.keeps_byte_0[places] = old[:, 0] == new[:, 0]

    def only(self, which: Mask) -> "Deltas":
        """Those of the chosen records, (n,) bool."""
        return Deltas(self.lengths[which], self.keeps_byte_0[which])

    def copy(self, places: Ints, other: "Deltas") -> None:
        """Take the deltas of the records at ``places`` (k,) from another."""
        self.lengths[places] = other.lengths[places]
        self.keeps_byte_0[places] = other.keeps_byte_0[places]


class Measured:
    """The sizes of all that could have been sent for each record whose page is known, (k,) each.

    ``known`` (n,) bool says which records of ``sent`` these are. The others are not sent, and are not a base.
    ``packed`` has the bytes of each page under the name of a compressor, 0 for dup pages. ``limit`` is the most bytes
    that any sender lets an XBRLE delta take. None: as many as the encoding does by itself.
    """

    def __init__(self, sent: SentRecords, limit: int | None) -> None:
        count = len(sent)
        self.known: Mask = reserve((count,), bool)
        self.packed: dict[str, Sizes] = {name: reserve((count,), np.uint32) for name in PACKERS}
        self._limit = limit
        self._over_last, self._over_page, self._runs = (Deltas.of(count) for _ in range(3))
        places = sent.space.places(sent.stream.records.columns)
        for part in sent.parts(_ROOM):
            before = _Before(sent.space, places)
            for batch in part:
                if not batch.known.all():
                    batch = batch.take(batch.known)
                self._add(np.searchsorted(sent.rows, batch.rows), batch, before)
        if not self.known.all():
            self.packed = {name: sizes[self.known] for name, sizes in self.packed.items()}
            every = self._over_last, self._over_page, self._runs
            self._over_last, self._over_page, self._runs = (d.only(self.known) for d in every)

    def deltas(self, rules: Rules) -> Deltas:
        """The deltas of a sender with these rules, whose cache holds every page."""
        if rules.encoding is Encoding.ZRUN:
            return self._runs
        return self._over_page if rules.dups is Dups.POSTED else self._over_last

    def _add(self, at: Ints, batch: SentPages, before: "_Before") -> None:
        """Measure the records of a batch, all known, which are at ``at`` (k,) among the n."""
        self.known[at] = True
        for name, packer in PACKERS.items():
            self.packed[name][at] = _packed_sizes(packer, batch)
        wanted = np.flatnonzero(~batch.is_dup)
        has_page, old, fill = before.take(batch, wanted)
        at, new = at[wanted], batch.contents[wanted]

        places, old, its_new = at[has_page], _chosen(old, has_page), _chosen(new, has_page)
        self._over_page.put(places, Encoding.RLE, old, its_new, self._limit)
        last = fill[has_page] < 0
        self._over_last.copy(places[last], self._over_page)
        self._runs.put(places[last], Encoding.ZRUN, _chosen(old, last), _chosen(its_new, last), None)

        filled = np.flatnonzero(fill >= 0)
        if len(filled):
            places, new = at[filled], new[filled]
            old = np.repeat(fill[filled, None].astype(np.uint8), new.shape[1], axis=1)
            self._over_last.put(places, Encoding.RLE, old, new, self._limit)
            self._runs.put(places, Encoding.ZRUN, old, new, None)


def _chosen(pages: Pages, which: Mask) -> Pages:
    """The chosen pages, without a copy where these are all."""
    return pages if which.all() else pages[which]


class _Before:
    """What pages were, for the records of one part of memory, which come a batch after the other."""

    def __init__(self, space: PageSpace, places: Places) -> None:
        self._pages: Pages = reserve((len(space), space.page_size), np.uint8)  # as last sent, but for dup pages
        self._marks = Values(places, np.uint16)

    def take(self, batch: SentPages, wanted: Ints) -> tuple[Mask, Pages, NDArray[np.int16]]:
        """What the pages of the ``wanted`` (k,) records of a batch were before each. Then the batch is what they are.

        Gives whether the page was sent as other than a dup page before, (k,) bool, what it was when it last was,
        (k, page_size) uint8, and the byte of the dup page that came since, (k,) int16, -1 where none did.
        """
        pages, contents, is_dup = batch.pages, batch.contents, batch.is_dup
        marks = self._marks[pages[wanted]]
        last_page = previous(pages, ~is_dup)[wanted]
        last = previous(pages, np.ones(len(pages), bool))[wanted] if is_dup.any() else last_page
        here = last_page >= 0
        has_page = here | (marks & _PAGE != 0)
        old = contents[np.maximum(last_page, 0)]
        earlier = np.flatnonzero(has_page & ~here)
        old[earlier] = self._pages[pages[wanted[earlier]]]
        stored = np.where(marks & _FILL != 0, (marks & (_FILL - 1)).astype(np.int16), np.int16(-1))
        given = np.where(is_dup[last], contents[last, 0].astype(np.int16), np.int16(-1))
        self._keep(batch)
        return has_page, old, np.where(last >= 0, given, stored)

    def _keep(self, batch: SentPages) -> None:
        pages, is_dup = batch.pages, batch.is_dup
        now, turned = np.unique(pages[::-1], return_index=True)  # each page's last record
        last = len(pages) - 1 - turned
        fills = np.where(is_dup[last], batch.contents[last, 0].astype(np.uint16) | _FILL, np.uint16(0))
        self._marks[now] = (self._marks[now] & _PAGE) | fills
        others = np.flatnonzero(~is_dup)
        now, turned = np.unique(pages[others][::-1], return_index=True)
        self._pages[now] = batch.contents[others[len(others) - 1 - turned]]
        self._marks[now] |= np.uint16(_PAGE)


def _packed_sizes(packer: Packer, batch: SentPages) -> Ints:
    """The bytes of each page compressed by itself, (n,) int64. It is 0 for dup pages.

    All cores share the work, each with a function of its own that ``packer`` gives.
    """
    sizes = np.zeros(len(batch), np.int64)
    places = np.flatnonzero(~batch.is_dup)

    def part(first: int, end: int) -> None:
        pack = packer()
        for place in places[first:end].tolist():
            sizes[place] = len(pack(batch.contents[place].tobytes()))

    threads = max(1, min(native.THREADS, len(places) // _THREAD_PAGES))
    native.in_threads(part, [len(places) * k // threads for k in range(threads + 1)])
    return sizes


def _zlib() -> Callable[[bytes], bytes]:
    return lambda page: zlib.compress(page, LEVEL)


def _zstd() -> Callable[[bytes], bytes]:
    try:
        import zstandard
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14 and later

        return lambda page: bytes(zstd.compress(page, LEVEL))
    return zstandard.ZstdCompressor(level=LEVEL).compress


PACKERS: dict[str, Packer] = {"zlib": _zlib, "zstd": _zstd}
