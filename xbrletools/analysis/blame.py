"""Which record last wrote each byte of memory.

A record that carries a whole page writes all of its bytes, whether their values change or not. A delta writes the
bytes that it changes or, in XBZRLE, carries. In the sender's view, a byte that a delta leaves alone belongs to the
record that wrote it in the delta's base.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values
from ..codec.verdict import Verdict
from ..errors import XbrleError
from ..formats.ram import Kind
from ..memory.image import Image, State
from ..memory.moments import lapses_of, space_of
from ..memory.replay import Layer, View, apply, needed
from ..model import Stream
from ..table.columns import PIECE
from ..text import shown

BATCH = 1 << 20  # bytes of pages that are looked at together
_NO_RECORD, _LAPSED = 0, (1 << 32) - 1  # instead of a record's number


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a block, by its index, that one record wrote last. ``record`` is None where no record wrote them.

    ``unknown`` is true where that record was a delta over unknown bytes, or a delta that does not decode. ``lapsed`` is
    true where the bytes were written, but the page was discarded or came into doubt afterwards.
    """

    block: int
    offset: int
    length: int
    record: int | None
    unknown: bool
    lapsed: bool = False


class Writers:
    """The record that last wrote each page, as memory is just after record ``at``, by default at the end.

    It is the page's last record, also where that is a delta which changes a few bytes, or none. `blame` says who wrote
    each byte. ``sweep`` leaves out the records of later passes, each block's own. 8 bytes are kept for each page that
    records carry.

    Raises:
        XbrleError: there is no such record.
    """

    def __init__(self, stream: Stream, at: int | None = None, sweep: int | None = None) -> None:
        space = space_of(stream)
        columns = stream.records.columns
        if at is not None:
            columns = columns.take(slice(0, stream.records.row(at) + 1))
        self._last = Values(space.places(columns), np.int64)  # the row plus one
        for start in range(0, len(columns), PIECE):
            pages = space.pages_of(columns.take(slice(start, start + PIECE)))
            if sweep is not None:
                pages[stream.records.pass_[start : start + PIECE] > sweep] = -1
            of_pages = np.flatnonzero(pages >= 0)
            self._last[pages[of_pages]] = start + of_pages + 1  # of several of one page, the last counts
        self._last.array[-1] = 0  # what pages without a record share

    def rows(self, pages: NDArray[np.int64]) -> NDArray[np.int64]:
        """The table's row of the last record of each of ``pages``, (n,) int64, -1 where there is none."""
        rows: NDArray[np.int64] = self._last[pages] - 1
        return rows


def blame(
    stream: Stream, block: int, offset: int, length: int, at: int | None = None, view: View = View.RECEIVER
) -> Iterator[Span]:
    """The spans of ``length`` bytes from ``offset`` of a block, in order, as memory is just after record ``at``.

    Raises:
        XbrleError: the bytes are not all in the block, or there is no such record.
    """
    space, size = space_of(stream), stream.page_size
    name, block_length = space.blocks[block].name, space.blocks[block].length
    if length < 1 or offset < 0 or offset + length > block_length:
        asked = f"{offset:#x}+{length:#x}"
        raise XbrleError(f"{shown(name)} has {block_length:#x} bytes; {asked} is not a range of them")
    end = len(stream.records) if at is None else stream.records.row(at) + 1
    first, last = offset // size, (offset + length - 1) // size
    c = stream.records.columns
    in_range = (c.block[:end] == block) & (c.address[:end] >= first * size) & (c.address[:end] <= last * size)
    rows = np.flatnonzero(in_range)
    lapses = lapses_of(stream, view).upto(end if at is None else end - 1).among(rows)
    rows = rows[needed(space, stream.payloads.take(rows), view, lapses)]
    page = (c.address[rows] // np.uint64(size)).astype(np.int64)
    image = Image(space)
    pending: Span | None = None
    step = max(1, BATCH // size)
    for start in range(first, last + 1, step):
        stop = min(start + step, last + 1)
        batch_rows = rows[(page >= start) & (page < stop)]
        lapsed = lapses.sure_rows(np.arange(start, stop) + int(space.first[block])) > 0
        authors = _authors(stream, image, block, start, np.where(lapsed, _LAPSED, _NO_RECORD), batch_rows)
        unknown = _unknown(image, int(space.first[block]), start, stop)
        low, high = max(offset, start * size), min(offset + length, stop * size)
        inside = slice(low - start * size, high - start * size)
        for span in _spans(block, low, authors.reshape(-1)[inside], unknown.reshape(-1)[inside]):
            if pending is not None and replace(pending, offset=span.offset, length=span.length) == span:
                pending = replace(pending, length=pending.length + span.length)
                continue
            if pending is not None:
                yield pending
            pending = span
    if pending is not None:
        yield pending


def _authors(
    stream: Stream, image: Image, block: int, start: int, before: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """The number of the record that last wrote each byte of pages from ``start`` on, (pages, page_size) uint32.

    ``before`` (pages,) is what a byte has that no record wrote. The records at ``rows`` are replayed into ``image``.
    """
    size, records = stream.page_size, stream.payloads.take(rows)
    authors = np.repeat(before.astype(np.uint32)[:, None], size, axis=1)
    number = stream.records.numbers.of(rows).astype(np.uint32)
    length = records.columns.length
    first = int(image.space.first[block]) + start

    def write(layer: Layer) -> None:
        whole = np.ones(len(layer.places), bool)
        whole[layer.deltas] = False
        cut = whole & (layer.kind == Kind.PAGE) & (length[layer.places] < size)
        for i in np.flatnonzero(cut).tolist():
            authors[layer.pages[i] - first, : length[layer.places[i]]] = number[layer.places[i]]
        whole[layer.deltas[layer.verdicts != Verdict.OK]] = True  # the whole page is unknown after it
        whole &= ~cut
        authors[layer.pages[whole] - first] = number[layer.places[whole], None]
        good = layer.places[layer.deltas[layer.verdicts == Verdict.OK]]
        if len(good):
            changed = records.changed(good, size)
            pages = layer.pages[layer.deltas[layer.verdicts == Verdict.OK]] - first
            authors[pages] = np.where(changed, number[good, None], authors[pages])

    apply(image, records, write)
    return authors


def _unknown(image: Image, first: int, start: int, stop: int) -> NDArray[np.bool_]:
    """Which bytes of the pages [start, stop) of a block are unknown, (pages, page_size) bool."""
    recovered = image.state[first + start : first + stop] == State.RECOVERED
    unknown = np.repeat(~recovered[:, None], image.space.page_size, axis=1)
    for row, given in image.partly.items():
        if first + start <= row < first + stop:
            unknown[row - first - start] = ~given
    return unknown


def _spans(block: int, offset: int, authors: NDArray[np.uint32], unknown: NDArray[np.bool_]) -> Iterator[Span]:
    """Runs of bytes of one author that are all unknown, or all not. ``offset`` is that of the first byte."""
    differs = (authors[1:] != authors[:-1]) | (unknown[1:] != unknown[:-1])
    starts = np.concatenate([[0], np.flatnonzero(differs) + 1])
    lengths = np.diff(starts, append=len(authors))
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        author, lapsed = int(authors[start]), bool(authors[start] == _LAPSED)
        yield Span(block, offset + start, length, None if lapsed else author or None, bool(unknown[start]), lapsed)
