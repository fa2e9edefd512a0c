"""The pages of a block at any moment, a few numbers each: how often it was sent, how it came last, whether it is wrong.

Nothing is replayed for it. It follows from the record table, and from the rows that findings are about. What is true
after each record of a page is worked out once. A moment is then the last record of each page.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from ..table.columns import Columns
from ..table.kinds import IS_DELTA, IS_PAGE
from .image import PageSpace

NEVER = -1  # the index of the record before the first of a page


class State(IntEnum):
    """Whether findings call a page wrong. `HEALED`: one did, and a full record of the page came after it."""

    FINE = 0
    HEALED = 1
    WRONG = 2


@dataclass(frozen=True, slots=True, eq=False)
class BlockRecords:
    """The records of a block's ``pages`` pages, n of them in file order, and what is true just after each.

    ``rows`` (n,) int64 are their rows in the table and ``page`` (n,) int32 the pages' numbers. The other columns are
    (n + 1,): the last element is for `NEVER`, so for a page that was not sent yet. ``kind`` uint8 is the record's kind,
    ``versions`` int32 counts the page's records so far, ``before`` int32 is the page's record before, and ``full``
    int32 its last record that gives the page in full. Those two are indices of these columns, or `NEVER`.
    """

    pages: int
    rows: NDArray[np.int64]
    page: NDArray[np.int32]
    kind: NDArray[np.uint8]
    versions: NDArray[np.int32]
    before: NDArray[np.int32]
    full: NDArray[np.int32]
    _order: NDArray[np.int64]  # (n,) the records by page, and by time within one

    def __len__(self) -> int:
        return len(self.rows)

    def upto(self, row: int) -> int:
        """How many of the records stand up to a row of the table, that one included."""
        return int(np.searchsorted(self.rows, row, "right"))

    def states(self, suspect: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The `State` of a page after each record, (n + 1,) uint8. ``suspect`` (k,) int64 are rows called wrong."""
        out = np.full(len(self) + 1, State.FINE, np.uint8)
        if not len(suspect) or not len(self):
            return out
        at = np.minimum(np.searchsorted(self.rows, suspect), len(self) - 1)
        bad = np.zeros(len(self), bool)
        bad[at[self.rows[at] == suspect]] = True
        place = np.arange(len(self), dtype=np.int64)
        first = place - self.versions[self._order] + 1  # where the page's records begin
        newest = np.maximum.accumulate(np.where(bad[self._order], place, -1))
        whole = np.maximum.accumulate(np.where(~IS_DELTA[self.kind[self._order]], place, -1))
        found = np.where(newest >= first, State.HEALED, State.FINE)
        found[(newest >= first) & (newest >= whole)] = State.WRONG
        out[self._order] = found
        return out


def block_records(columns: Columns, space: PageSpace, block: int) -> BlockRecords:
    """The records of block number ``block`` of ``space``, out of a stream's ``columns``."""
    pages = int(space.pages[block])
    rows = np.flatnonzero((columns.block == block) & IS_PAGE[columns.kind])
    place_in = columns.address[rows] // np.uint64(space.page_size)
    inside = place_in < np.uint64(pages)
    rows, page = rows[inside], place_in[inside].astype(np.int32)
    count = len(rows)
    order = np.argsort(page, kind="stable")
    place = np.arange(count, dtype=np.int64)
    again = np.zeros(count, bool)
    again[1:] = page[order[1:]] == page[order[:-1]]
    first = np.maximum.accumulate(np.where(again, 0, place))
    kind = np.full(count + 1, Kind.NOOP, np.uint8)
    kind[:-1] = columns.kind[rows]
    whole = np.maximum.accumulate(np.where(~IS_DELTA[kind[order]], place, -1))

    def column(sorted_values: NDArray[np.int64], never: int) -> NDArray[np.int32]:
        out = np.full(count + 1, never, np.int32)
        out[order] = sorted_values
        return out

    return BlockRecords(
        pages,
        rows,
        page,
        kind,
        column(place - first + 1, 0),
        column(np.where(again, order[place - 1], NEVER), NEVER),
        column(np.where(whole >= first, order[whole], NEVER), NEVER),
        order,
    )


class Playhead:
    """A moment in a block's records, which can be moved. ``last`` (pages,) int32 is the last record of each page.

    The elements of ``last`` are indices of the records' columns, or `NEVER`.
    """

    def __init__(self, records: BlockRecords) -> None:
        self.records = records
        self.at = 0  # records before the moment
        self.last = np.full(records.pages, NEVER, np.int32)

    def seek(self, count: int) -> None:
        """Go to the moment after the first ``count`` records. This costs as much as there are records on the way."""
        count = max(0, min(count, len(self.records)))
        if count < self.at - count:
            self.last.fill(NEVER)
            self.at = 0
        way = slice(min(count, self.at), max(count, self.at))
        pages = self.records.page[way]
        if count > self.at:
            np.maximum.at(self.last, pages, np.arange(way.start, way.stop, dtype=np.int32))
        else:
            np.minimum.at(self.last, pages, self.records.before[way])
        self.at = count

    def based(self, sure: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Whether each page can be recovered, (pages,): one of its records gives it in full.

        ``sure`` (pages,) int64 is the first row of each page that counts, where something before it was discarded or is
        in doubt.
        """
        full = self.records.full[self.last]
        given: NDArray[np.bool_] = full != NEVER
        if sure is not None and len(self.records):
            given &= self.records.rows[full] >= sure
        return given
