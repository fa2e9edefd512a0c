"""The RecordTable: every record of a capture's RAM sections as NumPy columns, 32 bytes a record.

What follows from a column by lookup (record number, section, stage, pass, name) is computed when asked for.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import NoRowError, XbrleError
from ..formats.dialects import Dialect
from ..formats.ram import PAGE_SIZE, Kind
from ..text import shown
from .columns import PIECE, Columns, Sweeps, kind_counts
from .kinds import IS_PAGE, are_pages
from .numbers import Numbers, numbered
from .record import Derived, Record, records_of
from .sections import Sections, Stage

if TYPE_CHECKING:
    from ..arrow.tables import ArrowTable


class Origins(NamedTuple):
    """Which channel each record came over, and the number of its packet, (n,) int64 each, -1 for none.

    ``at`` (n,) int64 is the offset in its own file: the packet's for a record that came in one.
    """

    channel: NDArray[np.int64]
    packet: NDArray[np.int64]
    at: NDArray[np.int64]

    def take(self, index: slice) -> "Origins":
        """Those of some records."""
        return Origins(self.channel[index], self.packet[index], self.at[index])


class RecordTable:
    """All records of a capture, with what follows from them by lookup.

    A row is a record of the RAM section, also one that does not carry a page. ``table[i]`` is row i as a `Record`, and
    iterating gives all. The columns are faster: each is an array with a value for every row. Record N, as commands
    number the records that carry a page, is ``table[table.row(N)]``.

    Records at offsets from ``main_size`` on came over other channels. They are not in the order of their offsets.
    ``origins`` tells which. It is None where there are no other channels. ``dialect`` is that of the deltas.

    duckdb, polars, pyarrow and everything else that takes the Arrow PyCapsule interface reads the table as it is.
    `table.arrow.FIELDS` lists the columns that they see.
    """

    def __init__(
        self,
        columns: Columns,
        sections: Sections,
        blocks: Iterable[bytes],
        page_size: int = PAGE_SIZE,
        main_size: int | None = None,
        origins: Origins | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        self.columns = columns
        self.main_size = main_size
        self.origins = origins
        self.sections = sections
        self.names = tuple(blocks)
        self.page_size = page_size
        self.dialect = dialect

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts().items()) or "none"
        return f"<RecordTable of {len(self)} rows: {kinds}>"

    def __iter__(self) -> Iterator[Record]:
        for start in range(0, len(self), PIECE):
            yield from self._records(start, min(start + PIECE, len(self)))

    @overload
    def __getitem__(self, wanted: int) -> Record: ...
    @overload
    def __getitem__(self, wanted: slice | NDArray[np.integer | np.bool_]) -> list[Record]: ...
    def __getitem__(self, wanted: int | slice | NDArray[np.integer | np.bool_]) -> Record | list[Record]:
        """A row, or the rows of a slice, of an array of rows or of a mask. Negative indices count from the end.

        Examples:
            >>> [record.number for record in capture.records[capture.chosen("kind:xbrle pass:2-3")]][:3]
            [2085, 2086, 2089]

        Raises:
            NoRowError: there is no such row.
            TypeError: this is not a row. A column is had by `to_dict`.
        """
        if isinstance(wanted, slice):
            start, stop, step = wanted.indices(len(self))
            return [self[i] for i in range(start, stop, step)] if step != 1 else list(self._records(start, stop))
        if isinstance(wanted, np.ndarray) and wanted.ndim == 1:
            if wanted.dtype == bool and len(wanted) != len(self):
                raise NoRowError(f"the mask has {len(wanted)} rows; this table has {len(self)}")
            return [self[i] for i in (np.flatnonzero(wanted) if wanted.dtype == bool else wanted).tolist()]
        try:
            place = index(wanted)
        except TypeError:
            kind = type(wanted).__name__
            raise TypeError(f"rows are chosen by a number, a slice or an array, not by {kind}; see to_dict()") from None
        row = place + len(self) if place < 0 else place
        if not 0 <= row < len(self):
            raise NoRowError(f"there is no row {place}; this table has {len(self)}")
        return next(self._records(row, row + 1))

    def _records(self, start: int, stop: int) -> Iterator[Record]:
        """The rows [start, stop) as values."""
        rows = slice(start, max(start, stop))
        columns = self.columns.take(rows)
        section = self.sections.of(columns.offset) if self.main_size is None else self.section[rows]
        origins = () if self.origins is None else (self.origins.channel[rows], self.origins.packet[rows])
        number = self.numbers.of(np.arange(start, rows.stop))
        derived = Derived(number, self.pass_[rows], section, self.sections.stages(section), *origins)
        return records_of(start, columns, derived, self.names)

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """Every column by its name, (n,) each, a value for every row.

        ``record`` is the record's number (uint32, 0 where the row does not carry a page), ``kind``, ``block`` and
        ``stage`` are text, ``page`` is the address in the block, ``pass`` the sweep from 1 (0 for none). ``offset``
        and ``payload`` are places in the capture and ``length`` is the payload's size, in bytes. ``section`` is an
        index. ``flags`` and ``checksum`` are as the record has them.
        """
        c = self.columns
        kinds = np.array([kind.name.lower() for kind in Kind])
        blocks = np.array([*map(shown, self.names), ""])
        stages = np.array(["", *(stage.name.lower() for stage in Stage)])
        block = np.where(self.is_page, np.minimum(c.block, len(self.names)), len(self.names))
        return {
            "record": self.number,
            "kind": kinds[c.kind],
            "block": blocks[block],
            "page": c.address,
            "pass": self.pass_,
            "stage": stages[self.stage],
            "section": self.section,
            "offset": c.offset,
            "payload": self.payload,
            "length": c.length,
            "flags": c.flags,
            "checksum": c.checksum,
        }

    @cached_property
    def is_page(self) -> NDArray[np.bool_]:
        """Whether each record carries a page, (n,) bool."""
        return are_pages(self.columns.kind)

    @cached_property
    def number(self) -> NDArray[np.uint32]:
        """Each record's number, (n,) uint32: from 1 over the records that carry a page, 0 for the others."""
        return numbered(self.is_page)

    @cached_property
    def numbers(self) -> Numbers:
        """The number of any row and the row of any number, without a column for all of them."""
        return Numbers(self.columns.kind)

    @cached_property
    def by_number(self) -> NDArray[np.int64]:
        """The row of record ``i + 1``, (records,) int64."""
        return np.flatnonzero(self.is_page)

    @cached_property
    def pass_(self) -> NDArray[np.uint32]:
        """The sweep that each record belongs to, (n,) uint32 from 1. It is 0 for records that do not carry a page."""
        sweeps, out = Sweeps({}), np.empty(len(self), np.uint32)
        for start in range(0, len(self), PIECE):
            out[start : start + PIECE] = sweeps.number(self.columns.take(slice(start, start + PIECE)))
        return out

    @cached_property
    def section(self) -> NDArray[np.int64]:
        """The index of each record's section, (n,) int64."""
        section = self.sections.of(self.columns.offset)
        if self.main_size is not None:
            main = self.main_rows
            others = np.flatnonzero(self.columns.offset >= np.uint64(self.main_size))
            if len(main):  # a channel's records belong to the section that the main channel was in
                section[others] = section[main[np.minimum(np.searchsorted(main, others), len(main) - 1)]]
        return section

    @cached_property
    def main_rows(self) -> NDArray[np.int64]:
        """The rows of records of the main channel, which are in the order of their offsets, (m,) int64."""
        if self.main_size is None:
            return np.arange(len(self))
        return np.flatnonzero(self.columns.offset < np.uint64(self.main_size))

    @property
    def stage(self) -> NDArray[np.uint8]:
        """The stage that each record was sent in, (n,) uint8: 1 START, 2 PART, 3 END."""
        if self.main_size is None:
            return self.sections.stages_at(self.columns.offset)
        return self.sections.stages(self.section)

    @property
    def payload(self) -> NDArray[np.int64]:
        """The file offset of each record's payload, (n,) int64."""
        return self.columns.payload()

    def rows_of(self, block: int, address: int) -> NDArray[np.int64]:
        """The rows that carry the page at ``address`` of ``block``, in file order."""
        rows = [np.empty(0, np.int64)]
        for start, c in self._pieces():
            found = np.flatnonzero(c.address == np.uint64(address))  # few, which then take no time
            rows.append(start + found[(c.block[found] == block) & IS_PAGE[c.kind[found]]])
        return np.concatenate(rows)

    # -- of some rows, without a column for all of them ----------------------------------------------------------------

    def _pieces(self) -> Iterator[tuple[int, Columns]]:
        """The table a piece at a time, each with its first row."""
        return ((start, self.columns.take(slice(start, start + PIECE))) for start in range(0, len(self), PIECE))

    def numbers_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of rows that carry pages, (n,) int64."""
        return self.numbers.of(rows)

    def passes_of(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The passes of rising rows, (n,) uint32, as `pass_` has them."""
        out, sweeps = np.zeros(len(rows), np.uint32), Sweeps({})
        bounds = {piece: (start, end) for piece, start, end in _by_piece(rows)}
        for first, c in self._pieces() if len(rows) else ():
            passes = sweeps.number(c)
            start, end = bounds.get(first // PIECE, (0, 0))
            out[start:end] = passes[rows[start:end] - first]
        return out

    def row_of(self, number: int) -> int | None:
        """The row of record ``number``, or None if there is no such record."""
        if not 1 <= number <= self.numbers.last:
            return None
        return int(self.numbers.rows(np.array([number]))[0])

    def row(self, number: int) -> int:
        """The row of record ``number``.

        Raises:
            XbrleError: there is no such record.
            TypeError: it is not a whole number.
        """
        row = self.row_of(index(number))
        if row is None:
            raise XbrleError(f"there is no record {number}; this capture has 1 to {self.last_number}")
        return row

    @property
    def last_number(self) -> int:
        """The number of the last record, or 0 where none carries a page."""
        return self.numbers.last

    def counts(self) -> dict[str, int]:
        """How many records there are of each kind that occurs."""
        return kind_counts(self.columns)

    # -- for others ----------------------------------------------------------------------------------------------------

    @property
    def arrow(self) -> "ArrowTable":
        """The records in Arrow's form, with the logical columns of `table.arrow.FIELDS`."""
        from . import arrow

        origins = self.origins
        placed = None if origins is None else arrow.Placed(self.section, origins.channel, origins.packet, origins.at)
        return arrow.records(self.columns, self.sections, self.names, self.dialect, placed)

    def __arrow_c_schema__(self) -> Any:
        """The schema, as a PyCapsule."""
        return self.arrow.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The rows, as a PyCapsule."""
        return self.arrow.__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``. Raises XbrleError where pyarrow is not installed."""
        return self.arrow.to_arrow()

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``. Raises XbrleError where pandas or pyarrow is not installed."""
        return self.arrow.to_pandas()

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``. Raises XbrleError where polars is not installed."""
        return self.arrow.to_polars()


def _by_piece(rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """For each piece that has some of these rising rows: the piece, and their places, ``[start, end)``."""
    pieces, starts = np.unique(rows // PIECE, return_index=True)
    ends = np.append(starts[1:], len(rows))[: len(starts)]
    return zip(pieces.tolist(), starts.tolist(), ends.tolist(), strict=True)
