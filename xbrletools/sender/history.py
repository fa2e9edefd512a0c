"""The history of a capture's pages: what the sender sent, record by record, as page contents.

Contents are the sender's: where a dialect's sender did not cache dup pages, its next delta is against the content last
sent in full or as a delta, and only over that does it give what the source really held.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from ..memory.image import Image, State
from ..memory.moments import discards_of, space_of
from ..memory.replay import apply, forgets_dups, ranks
from ..model import Stream
from ..table.sections import Stage

BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in their order, each with a page.

    ``at`` (n,) int64 are their rows in the record table, ``rows`` (n,) their pages' numbers in the capture's space,
    ``contents`` (n, page_size) uint8 what the sender sent, ``known`` (n,) bool whether that can be told; ``is_dup``
    (n,) bool. ``stage`` (n,) uint8, and ``swept`` (n,) bool: the sender had gone over all memory before.
    """

    at: NDArray[np.int64]
    rows: NDArray[np.int64]
    contents: NDArray[np.uint8]
    is_dup: NDArray[np.bool_]
    known: NDArray[np.bool_]
    stage: NDArray[np.uint8]
    swept: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.at)

    def take(self, which: NDArray[np.bool_]) -> "Batch":
        """The chosen records."""
        return Batch(*(getattr(self, f.name)[which] for f in fields(self)))


def history(stream: Stream) -> Iterator[Batch]:
    """Every record with a page of a block that the capture declares, in order, a few MiB at a time."""
    columns = stream.records.columns
    of = space_of(stream).rows(columns)
    at = np.flatnonzero(of >= 0)
    image = Image(space_of(stream))
    stage, swept = stream.records.stage, at >= _second_sweep(stream, at)
    if len(
        discards_of(stream)
    ):  # what a postcopy destination forgot is no base, and no sender writes deltas after that
        stage[int(discards_of(stream).since.min()) :] = Stage.END
    step = max(1, BATCH_BYTES // stream.page_size)
    for start in range(0, len(at), step):
        some = at[start : start + step]
        rows = of[some]
        contents, is_dup, known = _contents(stream, image, some, rows)
        yield Batch(some, rows, contents, is_dup, known, stage[some], swept[start : start + step])


def _second_sweep(stream: Stream, at: NDArray[np.int64]) -> int:
    """The row of the first record after the sender went round all of memory: the first that steps back, in the order
    of the block list and, within a block, of addresses [C].
    """
    columns = stream.records.columns
    block, address = columns.block[at], columns.address[at]
    back = np.flatnonzero((block[1:] < block[:-1]) | (block[1:] == block[:-1]) & (address[1:] < address[:-1]))
    return int(at[back[0] + 1]) if len(back) else len(columns)


def _contents(
    stream: Stream, image: Image, at: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """What records give, whether they are dup pages, and whether what they give is known."""
    columns, dialect, data = stream.records.columns, stream.dialect, stream.data
    kind = columns.kind[at]
    is_dup = kind == Kind.DUP
    contents = np.empty((len(at), stream.page_size), np.uint8)
    known = np.zeros(len(at), bool)
    fills = data[columns.payload(at[is_dup])]
    contents[is_dup] = fills[:, None]
    known[is_dup] = True
    layered = np.flatnonzero(~is_dup) if forgets_dups(dialect) else np.arange(len(at))
    rank = ranks(rows[layered])
    order = layered[np.argsort(rank, kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rank))]).tolist() if len(rank) else [0]
    for start, end in pairwise(bounds):
        layer = order[start:end]
        apply(image, data, columns.take(at[layer]), dialect)
        for place in layer[kind[layer] == Kind.COMPRESSED].tolist():
            _inflate(stream, image, int(at[place]), int(rows[place]))
        contents[layer] = image.pages[rows[layer]]
        known[layer] = image.state[rows[layer]] == State.RECOVERED
    return contents, is_dup, known


def _inflate(stream: Stream, image: Image, record: int, row: int) -> None:
    """Undo one COMPRESS_PAGE; one that is corrupt leaves its page unknown."""
    columns = stream.records.columns
    start = int(columns.offset[record]) + int(columns.head[record])
    packed = stream.data[start : start + int(columns.length[record])]
    try:
        page = zlib.decompressobj().decompress(packed.tobytes(), stream.page_size)
    except zlib.error:
        page = b""
    if len(page) == stream.page_size:
        image.pages[row] = np.frombuffer(page, np.uint8)
        image.set_recovered(np.array([row]))
    else:
        image.set_unknown(np.array([row]))
