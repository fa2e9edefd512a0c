"""A record table that is read while a scan still fills it, in memory that is reserved at once and never moves.

What a `RecordTable` derives for all rows at once (number, pass, section, stage) is derived here for a piece at a time.
One thread adds rows. Any number of others read those that were added.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .columns import PIECE, Columns, Sweeps
from .kinds import IS_PAGE
from .record import Derived, Record, records_of
from .table import RecordTable
from .windows import Framing, Window, derived

_CACHED = 8  # pieces whose derived columns are kept
_RECORDS = 256  # records that are kept: a page's versions lie in as many pieces, and are asked for again and again


@dataclass(frozen=True, slots=True)
class _Piece:
    columns: Columns
    first: int  # its first row
    records: int  # records with a page before it
    sweeps: Sweeps  # as they were before it


class GrowingTable:
    """The records of a capture as far as a scan has come. Page size, names and sections are the scan's, ``found``."""

    def __init__(self, found: Framing) -> None:
        self.found = found
        self._rows = 0
        self._pieces: list[_Piece] = []
        self._firsts: list[int] = []
        self._numbers: list[int] = []
        self._offsets: list[int] = []
        self._sweeps = Sweeps({})
        self._records = 0
        self._table: RecordTable | None = None  # where records of channels stand among the others
        self.window: Callable[[int], Window] = lru_cache(_CACHED)(self.derive)
        self._kept: Callable[[int], Record] = lru_cache(_RECORDS)(self._record)

    def __len__(self) -> int:
        return self._rows

    @property
    def records(self) -> int:
        """How many of the rows carry a page: the highest record number."""
        return self._records

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return len(self._pieces)

    def add(self, columns: Columns) -> None:
        """Append rows, in file order, as views of where they stay."""
        for start in range(0, len(columns), PIECE):
            self._add(columns.take(slice(start, start + PIECE)))

    def _add(self, columns: Columns) -> None:
        before = Sweeps(dict(self._sweeps.counts), self._sweeps.block, self._sweeps.address)
        self._sweeps.number(columns)
        self._pieces.append(_Piece(columns, self._rows, self._records, before))
        self._firsts.append(self._rows)
        self._numbers.append(self._records)
        self._offsets.append(int(columns.offset[0]))
        self._records += int(np.count_nonzero(IS_PAGE[columns.kind]))
        self._rows += len(columns)  # last: readers look no further than this

    def settle(self, table: RecordTable) -> None:
        """Show ``table`` from now on: the same rows, and those of channels among them."""
        columns = table.columns
        if table.main_size is None:
            self._pieces = [
                _Piece(columns.take(slice(p.first, p.first + len(p.columns))), p.first, p.records, p.sweeps)
                for p in self._pieces
            ]
        else:
            whole = GrowingTable(self.found)
            whole.add(columns)
            self._table = table
            self._pieces, self._firsts, self._numbers = whole._pieces, whole._firsts, whole._numbers
            self._records, self._rows = whole._records, whole._rows
        self.window = lru_cache(_CACHED)(self.derive)
        self._kept = lru_cache(_RECORDS)(self._record)

    def piece(self, row: int) -> int:
        """The piece that holds a row."""
        return bisect_right(self._firsts, row, hi=len(self._pieces)) - 1

    def first(self, piece: int) -> int:
        """The first row of a piece."""
        return self._firsts[piece]

    def derive(self, piece: int) -> Window:
        """A piece with what follows from its columns. `window` is the same, remembered."""
        p = self._pieces[piece]
        sweeps = Sweeps(dict(p.sweeps.counts), p.sweeps.block, p.sweeps.address)
        rows = slice(p.first, p.first + len(p.columns))
        section = None if self._table is None else self._table.section[rows]
        origins = None if self._table is None or self._table.origins is None else self._table.origins.take(rows)
        return derived(p.columns, self.found, p.records, sweeps, section, origins)

    @property
    def names(self) -> tuple[bytes, ...]:
        """The name of each RAM block, by its index."""
        return self.found.names

    def record(self, row: int) -> Record:
        """A row. Raises IndexError if it is not there."""
        if not 0 <= row < self._rows:
            raise IndexError(row)
        return self._kept(row)

    def _record(self, row: int) -> Record:
        piece = self.piece(row)
        w, i = self.window(piece), row - self._firsts[piece]
        one = slice(i, i + 1)
        origins = () if w.origins is None else (w.origins.channel[one], w.origins.packet[one])
        derived = Derived(w.number[one], w.pass_[one], w.section[one], w.stage[one], *origins)
        return next(records_of(row, w.columns.take(one), derived, w.names))

    def row_of(self, number: int) -> int | None:
        """The row of record ``number``, None if there is none."""
        if not 1 <= number <= self._records:
            return None
        piece = bisect_right(self._numbers, number - 1, hi=len(self._pieces)) - 1
        rows = np.flatnonzero(self.window(piece).is_page)
        return self._firsts[piece] + int(rows[number - 1 - self._numbers[piece]])

    def at(self, offset: int) -> int | None:
        """The last row that begins at or before file offset ``offset``, or None if none does."""
        if self._table is not None:  # a channel's records are not in the order of their offsets
            main = self._table.main_rows
            place = int(np.searchsorted(self._table.columns.offset[main], np.uint64(offset), side="right")) - 1
            return int(main[place]) if place >= 0 else None
        piece = bisect_right(self._offsets, offset, hi=len(self._pieces)) - 1
        if piece < 0:
            return None
        offsets = self._pieces[piece].columns.offset
        return self._firsts[piece] + int(np.searchsorted(offsets, np.uint64(offset), side="right")) - 1

    def find(self, row: int, step: int, test: Callable[[Columns], NDArray[np.bool_]]) -> int | None:
        """The nearest row after ``row`` (``step`` 1) or before it (-1) that ``test`` holds for, or None.

        ``test`` gives (n,) bool for the columns of n rows.
        """
        for piece in self._onward(row, step):
            columns, first = self._pieces[piece].columns, self._firsts[piece]
            rows = np.flatnonzero(test(columns)) + first
            rows = rows[rows > row] if step > 0 else rows[rows < row]
            if len(rows):
                return int(rows[0] if step > 0 else rows[-1])
        return None

    def _onward(self, row: int, step: int) -> Iterator[int]:
        if not self._pieces:
            return
        here = max(0, self.piece(row))
        yield from range(here, len(self._pieces)) if step > 0 else range(here, -1, -1)
