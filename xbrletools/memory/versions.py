"""All versions of all pages, in the order of their records, a batch at a time.

`replay` gives memory at one moment. This gives every moment, and holds one batch beside the image at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, Values, distinct
from ..codec.batches import as_span
from ..formats.ram import Kind
from ..model import Stream
from ..table.columns import Columns
from .image import Image, PageSpace, State
from .lapses import NONE, Lapses
from .mapped import begin
from .replay import Layer, View, apply, forgets_dups

BATCH = 1 << 22  # bytes of versions in a batch; what their pages held before it can be as many again

_FILLED = 256  # marks a fill: 0 stands for no fill
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Pages at moments: first what each page of a batch held before it, then a version for each of its records.

    ``pages`` (n,) int64 are page numbers. ``places`` (n,) int64 are the records' places in the columns, -1 before the
    batch. Where a page lapsed it is the place of the next record, whether there is one or not. ``data`` is
    (n, page_size) uint8, 0 where unknown. ``state`` (n,) is a `State` each. ``partly`` has the recovered bytes of those
    that are recovered in part, by their entry.
    """

    pages: Ints
    places: Ints
    data: NDArray[np.uint8]
    state: NDArray[np.uint8]
    partly: dict[int, NDArray[np.bool_]]


class Batch:
    """A batch's entries, and where to find a page's latest one. ``lapsed``: no record left them, their pages lapsed."""

    def __init__(self, entries: Entries, lapsed: bool = False) -> None:
        self.entries = entries
        self.lapsed = lapsed
        self._count = len(entries.pages)
        self._order = np.argsort(entries.pages, kind="stable")
        self._keys = entries.pages[self._order] * self._count + self._order

    @cached_property
    def versions(self) -> Ints:
        """The entries that records left, in record order. In a batch that did not lapse they are its last entries."""
        return np.flatnonzero(self.entries.places >= 0)

    def latest(self, pages: Ints, moments: Ints) -> Ints:
        """For each page the last entry up to entry ``moments``, (n,) int64. It is -1 where the batch has none of it."""
        if not self._count:
            return np.full(len(pages), -1, np.int64)
        place = np.searchsorted(self._keys, pages * self._count + moments, side="right") - 1
        entry = self._order[np.maximum(place, 0)]
        return np.where((place >= 0) & (self.entries.pages[entry] == pages), entry, -1)


class Versions:
    """Iterating gives `Batch` after `Batch`. The memory here is then as it is at that batch's end.

    ``columns`` are the records of the stream whose versions are wanted, ``lapses`` go by places in them. In the
    sender's view a dup page that the sender did not cache is a version like any other, and not a base for what follows.
    Where a page lapses, that it is unknown is a version, too.
    """

    def __init__(
        self,
        stream: Stream,
        space: PageSpace,
        columns: Columns,
        view: View = View.RECEIVER,
        lapses: Lapses = NONE,
    ) -> None:
        self.space = space
        self._stream = stream
        self._columns = columns
        self._lapses = lapses
        self._forgets = forgets_dups(stream.dialect, view)
        self._image = Image(space)
        begin(self._image, stream)
        self._fills = Values(space.places(columns) if self._forgets else Places(0), np.uint16)

    def __iter__(self) -> Iterator[Batch]:
        step = max(1, BATCH // self.space.page_size)
        page_of = self.space.pages_of(self._columns)
        page_of[self._lapses.void(page_of)] = -1
        for start, end, lapsed in self._lapses.pieces(len(self._columns), step):
            yield from self._lapse(lapsed, start, step)
            places = start + np.flatnonzero(page_of[start:end] >= 0)
            if len(places):
                yield Batch(self._entries(self._columns.take(places), page_of[places], places))
        end = len(self._columns)
        yield from self._lapse(self._lapses.take(self._lapses.since >= end), end, step)

    def _lapse(self, lapses: Lapses, place: int, step: int) -> Iterator[Batch]:
        """Forget pages, ``step`` at a time, before the record at ``place``."""
        for _, _, first, stop in lapses:
            pages = self._image.given(slice(first, stop))
            if self._forgets:
                filled = self._fills.nonzero()
                pages = distinct(np.concatenate([pages, filled[(filled >= first) & (filled < stop)]]))
            for start in range(0, len(pages), step):
                batch = pages[start : start + step]
                before = self._before(batch)
                self._image.set_unknown(batch)
                if self._forgets:
                    self._fills[batch] = 0
                yield Batch(
                    Entries(
                        np.concatenate([batch, batch]),
                        np.concatenate([before.places, np.full(len(batch), place)]),
                        np.concatenate([before.data, np.zeros_like(before.data)]),
                        np.concatenate([before.state, np.full_like(before.state, State.UNKNOWN)]),
                        before.partly,
                    ),
                    lapsed=True,
                )

    def _before(self, pages: Ints, data: NDArray[np.uint8] | None = None) -> Entries:
        """What pages hold now. ``data``, (n, page_size) uint8, is written to where it is given."""
        state = self.state(pages)
        partly = {i: self.recovered_bytes(int(pages[i])).copy() for i in np.flatnonzero(state == State.PARTLY).tolist()}
        if data is None:
            data = np.empty((len(pages), self.space.page_size), np.uint8)
        self._copy(pages, data)
        return Entries(pages, np.full(len(pages), -1, np.int64), data, state, partly)

    def _copy(self, pages: Ints, to: NDArray[np.uint8]) -> None:
        """Write pages as they are now to ``to``, (n, page_size) uint8. Those that were never written are not read."""
        written = self._image.touched[pages]
        if written.all():
            _take(self._image.pages, pages, to)
        else:
            to[~written] = 0
            to[written] = self._image.pages[pages[written]]
        if self._forgets:
            fills = self._fills[pages]
            filled = np.flatnonzero(fills)
            to[filled] = fills[filled, None].astype(np.uint8)

    def _entries(self, columns: Columns, pages: Ints, places: Ints) -> Entries:
        """Apply the records. Gives what their pages held before, and after each."""
        touched = distinct(pages)
        first, count = len(touched), len(touched) + len(pages)
        data = np.empty((count, self.space.page_size), np.uint8)
        before = self._before(touched, data[:first])
        partly = before.partly
        state = np.empty(count, np.uint8)
        state[:first] = before.state

        is_dup = columns.kind == Kind.DUP
        applied = np.flatnonzero(~is_dup) if self._forgets else np.arange(len(pages))

        def keep(layer: Layer) -> None:
            entries = first + applied[layer.places]
            span = as_span(entries)
            if isinstance(span, slice):
                _take(self._image.pages, layer.pages, data[span])
            else:
                data[span] = self._image.pages[layer.pages]
            state[entries] = self._image.state[layer.pages]
            for entry in entries[state[entries] == State.PARTLY].tolist():
                partly[entry] = self._image.recovered_bytes(int(pages[entry - first])).copy()

        apply(self._image, replace(self._stream.payloads, columns=columns.take(applied)), keep)
        if self._forgets:
            dups = np.flatnonzero(is_dup)
            fills = self._stream.data[columns.payload(dups)]
            data[first + dups] = fills[:, None]
            state[first + dups] = State.RECOVERED
            last = np.zeros(first, np.int64)
            last[np.searchsorted(touched, pages)] = np.arange(len(pages))
            self._fills[touched] = np.where(is_dup[last], data[first + last, 0].astype(np.uint16) | _FILLED, 0)
        all_places = np.concatenate([before.places, places])
        return Entries(np.concatenate([touched, pages]), all_places, data, state, partly)

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
            state[self._fills[pages] != 0] = State.RECOVERED
        return state

    def recovered_bytes(self, page: int) -> NDArray[np.bool_]:
        """Which bytes of a page are recovered now, (page_size,) bool."""
        return self._image.recovered_bytes(page)


def _take(pages: NDArray[np.uint8], numbers: Ints, to: NDArray[np.uint8]) -> None:
    """Copy pages (m, page_size) of these numbers to ``to``, (n, page_size), without a copy between."""
    np.take(pages, numbers, axis=0, out=to, mode="clip")
