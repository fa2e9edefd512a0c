"""The whole stream as one line: what was sent when, where the passes begin, and where records are wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..formats.ram import Kind
from ..memory.blockstate import State, block_records
from ..memory.moments import space_of
from ..model import Stream
from ..table.kinds import IS_DELTA, IS_PAGE
from ..table.windows import slices

BINS = 2048  # parts that the stream is divided into. A narrower line adds them up
CLASSES = ("page", "dup", "delta")


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A stream in ``bins`` equal parts of its ``rows``.

    ``size`` (bins, 3) int64 are the bytes on the wire of each part's records, by `CLASSES`. ``passes`` are the first
    rows of passes over the block with most records, (number, row) each, in rising order.
    """

    rows: int
    size: NDArray[np.int64]
    passes: tuple[tuple[int, int], ...]

    def across(self, width: int) -> NDArray[np.int64]:
        """The bytes in ``width`` equal parts, (width, 3) int64. Parts narrower than a bin repeat what it has."""
        bins = len(self.size)
        starts = np.arange(width) * bins // width
        if width >= bins:
            return self.size[starts]
        return np.add.reduceat(self.size, starts, axis=0)

    def place(self, row: int, width: int) -> int:
        """Which of ``width`` equal parts a row stands in."""
        return min(width - 1, row * width // max(1, self.rows))


def film(stream: Stream) -> Film:
    """Sum a stream up along its length."""
    rows = len(stream.records)
    bins = max(1, min(BINS, rows))
    size = np.zeros((bins, len(CLASSES)), np.int64)
    counts = np.zeros(len(stream.blocks) + 1, np.int64)
    first: dict[tuple[int, int], int] = {}
    start = 0
    for window in slices(stream.records):
        columns = window.columns
        carried = np.flatnonzero(IS_PAGE[columns.kind])
        kind, block = columns.kind[carried], columns.block[carried].astype(np.int64)
        group = np.where(IS_DELTA[kind], 2, np.where(kind == Kind.DUP, 1, 0))
        part = (carried + start) * bins // rows
        wire = columns.length[carried].astype(np.float64) + columns.head[carried]  # exact: below 2^53
        summed = np.bincount(part * len(CLASSES) + group, wire, bins * len(CLASSES))
        size += summed.reshape(size.shape).astype(np.int64)
        counts += np.bincount(np.maximum(block, -1) + 1, minlength=len(counts))[: len(counts)]
        number = window.pass_[carried].astype(np.int64)
        for i in np.flatnonzero((np.diff(block, prepend=-2) != 0) | (np.diff(number, prepend=-1) != 0)).tolist():
            first.setdefault((int(block[i]), int(number[i])), int(carried[i]) + start)
        start += len(columns)
    main = int(counts.argmax()) - 1
    passes = sorted((n, row) for (block, n), row in first.items() if block == main)
    return Film(rows, size, tuple(passes))


def lives(
    stream: Stream, pages: NDArray[np.int64], parts: int, suspect: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each of some pages was sent in each of ``parts`` equal parts of a stream.

    ``pages`` (n,) int64 are different pages by their numbers in the whole space. Gives (n, parts, 3) int64, by
    `CLASSES`, and (n, parts) int64: how many of those records are among ``suspect``, rows that findings call wrong.
    """
    order = np.argsort(pages)
    rising, rows, start = pages[order], max(1, len(stream.records)), 0
    sent = np.zeros((len(pages), parts, len(CLASSES)), np.int64)
    wrong = np.zeros((len(pages), parts), np.int64)
    for window in slices(stream.records) if len(pages) else ():
        of = space_of(stream).pages_of(window.columns)
        place = np.minimum(np.searchsorted(rising, of), len(pages) - 1)
        found = np.flatnonzero(rising[place] == of)
        line, part = order[place[found]], (found + start) * parts // rows
        kind = window.columns.kind[found]
        group = np.where(IS_DELTA[kind], 2, np.where(kind == Kind.DUP, 1, 0))
        np.add.at(sent, (line, part, group), 1)
        bad = np.isin(found + start, suspect)
        np.add.at(wrong, (line[bad], part[bad]), 1)
        start += len(window)
    return sent, wrong


def wrong_over_time(stream: Stream, suspect: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pages are wrong at once in each part of a stream, the most in each, (bins,) int64.

    ``suspect`` (k,) int64 are the rows that findings call wrong. A page stays so until a record gives it in full.
    """
    rows = len(stream.records)
    bins = max(1, min(BINS, rows))
    change = np.zeros(rows + 1, np.int64)
    columns = stream.records.columns
    for block in distinct(columns.block[suspect]).tolist():
        if not 0 <= block < len(stream.blocks):
            continue
        records = block_records(columns, space_of(stream), block)
        is_wrong = records.states(suspect) == State.WRONG
        was_wrong = is_wrong[records.before[:-1]]  # the record before the first of a page is the last element: never
        change[records.rows] += is_wrong[:-1].astype(np.int64) - was_wrong
    level = np.cumsum(change[:rows])
    starts = np.arange(bins) * rows // bins
    return np.maximum.reduceat(level, starts) if rows else np.zeros(bins, np.int64)
