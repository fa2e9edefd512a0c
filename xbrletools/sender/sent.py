"""What a capture's sender sent, record by record, as page contents.

Contents are the sender's. Where a dialect's sender did not cache dup pages, its next delta is against the content last
sent in full or as a delta. Only over that content does the delta give what the source really held.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..formats.ram import Kind
from ..memory.image import Image, PageSpace, State
from ..memory.moments import discards_of, space_of
from ..memory.replay import apply, forgets_dups, ranks
from ..model import Stream
from ..progress import tell
from ..table.columns import PIECE, Columns
from ..table.sections import Stage

BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class SentPages:
    """A batch of n records in their order, each with a page.

    ``rows`` (n,) int64 are the records' rows in the record table, ``pages`` (n,) int64 their pages in the capture's
    page space. ``contents`` (n, page_size) uint8 is what the sender sent, ``known`` (n,) bool whether that can be told.
    ``is_dup`` (n,) bool marks dup pages. ``stage`` (n,) uint8 is each record's `Stage`. ``sweep`` (n,) int64 counts the
    sender's sweeps over memory that were done before. It is 0 once postcopy began.
    """

    rows: NDArray[np.int64]
    pages: NDArray[np.int64]
    contents: NDArray[np.uint8]
    is_dup: NDArray[np.bool_]
    known: NDArray[np.bool_]
    stage: NDArray[np.uint8]
    sweep: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: NDArray[np.bool_]) -> "SentPages":
        """The chosen records."""
        return SentPages(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class SentRecords:
    """Every record with a page of a block that the capture declares, in order.

    ``rows``, ``pages`` and ``sweep`` (n,) int64 and ``stage`` (n,) uint8 are as in `SentPages`.
    """

    stream: Stream
    space: PageSpace
    rows: NDArray[np.int64]
    pages: NDArray[np.int64]
    stage: NDArray[np.uint8]
    sweep: NDArray[np.int64]

    @classmethod
    def of(cls, stream: Stream) -> "SentRecords":
        """Those of a capture."""
        space = space_of(stream)
        rows, pages = _carried(stream.records.columns, space)
        stage, sweep = stream.records.stage, _sweeps(stream, rows)
        discards = discards_of(stream)
        if len(discards):  # what a postcopy destination forgot is not a base, and no sender writes deltas after that
            since = int(discards.since.min())
            stage[since:] = Stage.END
            sweep[np.searchsorted(rows, since) :] = 0
        return cls(stream, space, rows, pages, stage[rows], sweep)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[SentPages]:
        """All of them, a few MiB of pages at a time."""
        return self._batches(None, 0, len(self))

    def parts(self, room: int) -> Iterator[Iterator[SentPages]]:
        """All of them, one part of memory after the other, so that each needs about ``room`` bytes for its pages.

        All records of a page are in one part, in their order. Where the sender goes by address, each part's pages stand
        together in the file.
        """
        if not len(self):
            return
        is_dup = self.stream.records.columns.kind[self.rows] == Kind.DUP
        held = distinct(self.pages[~is_dup])  # a dup page alone takes little
        firsts = held[:: max(1, room // self.space.page_size)][1:]
        part = np.searchsorted(firsts, self.pages, side="right").astype(np.min_scalar_type(len(firsts)))
        order = np.argsort(part, kind="stable")
        counts = np.bincount(part)
        del part, held, is_dup
        done = 0
        for count in counts.tolist():
            yield self._batches(order[done : done + count], done, len(self))
            done += count

    def _batches(self, places: NDArray[np.int64] | None, done: int, total: int) -> Iterator[SentPages]:
        """The records at these places, None for all. All records of their pages before them are among them."""
        image = Image(self.space)
        step = max(1, BATCH_BYTES // self.space.page_size)
        for start in range(0, total if places is None else len(places), step):
            tell("going through what was sent", done + start, total, "records")
            chosen = slice(start, start + step) if places is None else places[start : start + step]
            rows, pages = self.rows[chosen], self.pages[chosen]
            contents, is_dup, known = _contents(self.stream, image, rows, pages)
            yield SentPages(rows, pages, contents, is_dup, known, self.stage[chosen], self.sweep[chosen])


def sent_pages(stream: Stream) -> Iterator[SentPages]:
    """Every record with a page of a block that the capture declares, in order, a few MiB at a time."""
    return SentRecords.of(stream).batches()


def _carried(columns: Columns, space: PageSpace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that carry a page of a declared block, and those pages, (n,) int64 each."""
    rows, pages = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(columns), PIECE):
        found = space.pages_of(columns.take(slice(start, start + PIECE)))
        rows.append(np.flatnonzero(found >= 0) + start)
        pages.append(found[found >= 0])
    return np.concatenate(rows), np.concatenate(pages)


def _sweeps(stream: Stream, page_rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many sweeps over memory the sender had done before each record, (n,) int64.

    A sweep ends where the sender steps back, in the order of the block list and, within a block, of addresses [C].
    """
    columns = stream.records.columns
    block, address = columns.block[page_rows], columns.address[page_rows]
    back = np.zeros(len(page_rows), bool)
    back[1:] = (block[1:] < block[:-1]) | (block[1:] == block[:-1]) & (address[1:] < address[:-1])
    sweeps: NDArray[np.int64] = np.cumsum(back, dtype=np.int64)
    return sweeps


def _contents(
    stream: Stream, image: Image, rows: NDArray[np.int64], pages: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """What records give, whether they are dup pages, and whether what they give is known."""
    columns, dialect, data = stream.records.columns, stream.dialect, stream.data
    kind = columns.kind[rows]
    is_dup = kind == Kind.DUP
    contents = np.empty((len(rows), stream.page_size), np.uint8)
    known = np.zeros(len(rows), bool)
    fills = data[columns.payload(rows[is_dup])]
    contents[is_dup] = fills[:, None]
    known[is_dup] = True
    replayed = np.flatnonzero(~is_dup) if forgets_dups(dialect) else np.arange(len(rows))
    rank = ranks(pages[replayed])
    order = replayed[np.argsort(rank, kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rank))]).tolist() if len(rank) else [0]
    for start, end in pairwise(bounds):
        layer = order[start:end]
        apply(image, stream.payloads.take(rows[layer]))
        for place in layer[kind[layer] == Kind.COMPRESSED].tolist():
            _inflate(stream, image, int(rows[place]), int(pages[place]))
        contents[layer] = image.pages[pages[layer]]
        known[layer] = image.state[pages[layer]] == State.RECOVERED
    return contents, is_dup, known


def _inflate(stream: Stream, image: Image, row: int, page: int) -> None:
    """Decompress one COMPRESS_PAGE. A corrupt one leaves its page unknown."""
    columns = stream.records.columns
    start = int(columns.offset[row]) + int(columns.head[row])
    packed = stream.data[start : start + int(columns.length[row])]
    try:
        inflated = zlib.decompressobj().decompress(packed.tobytes(), stream.page_size)
    except zlib.error:
        inflated = b""
    if len(inflated) == stream.page_size:
        image.pages[page] = np.frombuffer(inflated, np.uint8)
        image.set_recovered(np.array([page]))
    else:
        image.set_unknown(np.array([page]))
