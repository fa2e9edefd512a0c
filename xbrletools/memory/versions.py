"""All versions of all pages, in the order of their records, a batch at a time.

Where `replay` gives memory at one moment, this gives every moment, and holds no more than one batch beside the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..formats.dialects import Dialect
from ..formats.ram import Kind
from ..stream.records import Columns
from .image import Image, PageSpace, State
from .replay import Layer, View, apply
from .reserve import reserve

BATCH = 1 << 22  # bytes of versions in a batch; what their pages held before can be as much again

_FILLED = 256  # marks a fill that is there: 0 stands for none
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Pages at moments: first what each page of a batch held before it, then a version for each of its records.

    ``pages`` (n,) int64 are page numbers, ``places`` (n,) int64 the record's place in the columns, -1 before the batch.
    ``data`` is (n, page_size) uint8, 0 where unknown, ``state`` (n,) a `State` each, with the known bytes of those that
    are partly known in ``partly``.
    """

    pages: Ints
    places: Ints
    data: NDArray[np.uint8]
    state: NDArray[np.uint8]
    partly: dict[int, NDArray[np.bool_]]


class Batch:
    """A batch's entries, and where to find a page's latest one."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self._count = len(entries.pages)
        self._order = np.argsort(entries.pages, kind="stable")
        self._keys = entries.pages[self._order] * self._count + self._order

    @cached_property
    def versions(self) -> Ints:
        """The entries that records left, in record order."""
        return np.flatnonzero(self.entries.places >= 0)

    def latest(self, pages: Ints, moments: Ints) -> Ints:
        """For each page the last entry up to entry ``moments``, (n,) int64; -1 where the batch has none of it."""
        if not self._count:
            return np.full(len(pages), -1, np.int64)
        found = np.searchsorted(self._keys, pages * self._count + moments, side="right") - 1
        entry = self._order[np.maximum(found, 0)]
        return np.where((found >= 0) & (self.entries.pages[entry] == pages), entry, -1)


class Versions:
    """Iterating gives `Batch` after `Batch`; the memory here is then as it is at that batch's end.

    ``data`` is the capture, (size,) uint8. In the sender's view a dup page that the sender did not cache is a version
    like any other, and no base for what follows.
    """

    def __init__(
        self,
        space: PageSpace,
        data: NDArray[np.uint8],
        columns: Columns,
        dialect: Dialect | None,
        view: View = View.RECEIVER,
    ) -> None:
        self.space = space
        self._data = data
        self._columns = columns
        self._dialect = dialect
        self._forgets = view is View.SENDER and dialect is not None and not dialect.caches_dup
        self._image = Image(space)
        self._fills = reserve((len(space) if self._forgets else 0,), np.uint16)

    def __iter__(self) -> Iterator[Batch]:
        step = max(1, BATCH // self.space.page_size)
        for start in range(0, len(self._columns), step):
            columns = self._columns.take(slice(start, start + step))
            pages = self.space.rows(columns)
            there = np.flatnonzero(pages >= 0)
            if len(there):
                yield Batch(self._entries(columns.take(there), pages[there], start + there))

    def _entries(self, columns: Columns, pages: Ints, places: Ints) -> Entries:
        """Apply the records; gives what their pages held before, and after each."""
        distinct = np.unique(pages)
        first, count = len(distinct), len(distinct) + len(pages)
        data = np.empty((count, self.space.page_size), np.uint8)
        state = np.empty(count, np.uint8)
        partly: dict[int, NDArray[np.bool_]] = {}
        data[:first] = self.data(distinct, 0, self.space.page_size)
        state[:first] = self.state(distinct)
        for i in np.flatnonzero(state[:first] == State.PARTLY).tolist():
            partly[i] = self._image.known_bytes(int(distinct[i]))

        is_dup = columns.kind == Kind.DUP
        applied = np.flatnonzero(~is_dup) if self._forgets else np.arange(len(pages))

        def keep(layer: Layer) -> None:
            entries = first + applied[layer.places]
            data[entries] = self._image.pages[layer.rows]
            state[entries] = self._image.state[layer.rows]
            for entry in entries[state[entries] == State.PARTLY].tolist():
                partly[entry] = self._image.known_bytes(int(pages[entry - first])).copy()

        apply(self._image, self._data, columns.take(applied), self._dialect, keep)
        if self._forgets:
            dups = np.flatnonzero(is_dup)
            fills = self._data[columns.offset[dups].astype(np.int64) + columns.head[dups]]
            data[first + dups] = fills[:, None]
            state[first + dups] = State.KNOWN
            last = np.zeros(first, np.int64)
            last[np.searchsorted(distinct, pages)] = np.arange(len(pages))
            self._fills[distinct] = np.where(is_dup[last], data[first + last, 0].astype(np.uint16) | _FILLED, 0)
        all_places = np.concatenate([np.full(first, -1, np.int64), places])
        return Entries(np.concatenate([distinct, pages]), all_places, data, state, partly)

    def data(self, pages: Ints, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes [start, stop) of each page as it is now, (n, stop - start) uint8."""
        data: NDArray[np.uint8] = self._image.pages[pages, start:stop]
        if self._forgets:
            fills = self._fills[pages]
            filled = np.flatnonzero(fills)
            data[filled] = fills[filled, None].astype(np.uint8)
        return data

    def state(self, pages: Ints) -> NDArray[np.uint8]:
        """The `State` of each page now, (n,) uint8."""
        state: NDArray[np.uint8] = self._image.state[pages]
        if self._forgets:
            state[self._fills[pages] != 0] = State.KNOWN
        return state

    def known_bytes(self, page: int) -> NDArray[np.bool_]:
        """Which bytes of a page are known now, (page_size,) bool."""
        return self._image.known_bytes(page)
