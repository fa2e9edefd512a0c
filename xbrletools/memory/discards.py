"""RAM_DISCARD: pages that the destination was told to forget, each with its place among the records.

Facts: formats/README.md, "Postcopy". A discarded page is unknown until a later record gives it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stream.commands import Discard
from ..stream.records import RecordTable
from .image import Image, PageSpace


@dataclass(frozen=True, slots=True)
class Discards:
    """Ranges of pages ``[first, stop)``, (d,) int64 each, forgotten just before the table's row ``row``, ascending."""

    row: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def upto(self, row: int) -> "Discards":
        """Those that happened before what stands at ``row``."""
        count = int(np.searchsorted(self.row, row, side="right"))
        return Discards(self.row[:count], self.first[:count], self.stop[:count])

    def among(self, rows: NDArray[np.int64]) -> "Discards":
        """The same with places in ``rows``, (n,) ascending rows of the table, for rows."""
        return Discards(np.searchsorted(rows, self.row).astype(np.int64), self.first, self.stop)

    def last_rows(self, pages: int) -> NDArray[np.int64]:
        """The row before which each page was last forgotten, (pages,) int64; -1 where it never was."""
        last = np.full(pages, -1, np.int64)
        for row, first, stop in self._ranges():
            last[first:stop] = row
        return last

    def pieces(self, rows: int, chunk: int) -> Iterator[tuple[int, int, "Discards"]]:
        """``[start, end)`` of no more than ``chunk`` rows each, and what is forgotten before each."""
        if not rows:
            return
        starts = np.union1d(np.arange(0, rows, chunk), self.row[self.row < rows])
        for start, end in zip(starts.tolist(), np.append(starts[1:], rows).tolist(), strict=True):
            mine = self.row == start
            yield start, end, Discards(self.row[mine], self.first[mine], self.stop[mine])

    def forget(self, image: Image) -> None:
        """Make their pages unknown."""
        for _, first, stop in self._ranges():
            image.set_unknown(np.arange(first, stop))

    def _ranges(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.row.tolist(), self.first.tolist(), self.stop.tolist(), strict=True)


NONE = Discards(*(np.empty(0, np.int64) for _ in range(3)))


def place(found: Sequence[Discard], table: RecordTable, space: PageSpace) -> Discards:
    """The discards of a capture among its records and pages; ranges of unknown blocks, or outside, say nothing."""
    if not found:
        return NONE
    index = {block.name: i for i, block in enumerate(space.blocks)}
    known = [d for d in found if d.block in index]
    main = table.main_rows
    among = np.searchsorted(table.columns.offset[main], np.array([d.offset for d in known], np.uint64))
    rows = np.append(main, len(table))[among]
    blocks = [space.slice(index[d.block]) for d in known]
    size = space.page_size
    first = [min(b.start + d.start // size, b.stop) for b, d in zip(blocks, known, strict=True)]
    stop = [min(b.start + -(-(d.start + d.length) // size), b.stop) for b, d in zip(blocks, known, strict=True)]
    return Discards(rows.astype(np.int64), np.array(first, np.int64), np.array(stop, np.int64))
