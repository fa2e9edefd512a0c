"""A window of records with what follows from them (number, pass, section, stage), carried from window to window.

A window has the derived columns of a `RecordTable` under the same names, for commands that read a pipe in constant
memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .columns import Columns, Sweeps
from .kinds import IS_PAGE
from .numbers import numbered
from .sections import Sections
from .table import Origins, RecordTable

WINDOW_RECORDS = 1 << 14  # records of a window at most: what is made of them stays small, too


class Framing(Protocol):
    """What a scan tells of its records while it goes on and when it is done."""

    @property
    def sections(self) -> Sections:
        """The sections so far."""

    @property
    def names(self) -> tuple[bytes, ...]:
        """The name of each RAM block so far, by its index."""

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""


class Records(Protocol):
    """What a `RecordTable` and a `Window` both offer: the columns of n records, and what follows from them."""

    @property
    def columns(self) -> Columns:
        """The stored columns."""

    @property
    def sections(self) -> Sections:
        """The sections that the records lie in."""

    @property
    def names(self) -> tuple[bytes, ...]:
        """The name of each RAM block, by its index."""

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""

    @property
    def is_page(self) -> NDArray[np.bool_]:
        """Whether each record carries a page, (n,) bool."""

    @property
    def number(self) -> NDArray[np.uint32]:
        """Each record's number from 1, (n,) uint32. It is 0 for records that do not carry a page."""

    @property
    def pass_(self) -> NDArray[np.uint32]:
        """The sweep that each record belongs to, (n,) uint32 from 1. It is 0 for records that do not carry a page."""

    @property
    def section(self) -> NDArray[np.int64]:
        """The index of each record's section, (n,) int64."""

    @property
    def stage(self) -> NDArray[np.uint8]:
        """The stage that each record was sent in, (n,) uint8: 1 START, 2 PART, 3 END."""

    @property
    def origins(self) -> Origins | None:
        """Which channel each record came over, or None where there is the main channel alone."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some records in file order, with what follows from them and from those before."""

    columns: Columns
    sections: Sections
    names: tuple[bytes, ...]
    page_size: int
    is_page: NDArray[np.bool_]
    number: NDArray[np.uint32]
    pass_: NDArray[np.uint32]
    section: NDArray[np.int64]
    stage: NDArray[np.uint8]
    origins: Origins | None = None

    def __len__(self) -> int:
        return len(self.columns)


def derived(
    columns: Columns,
    framing: Framing,
    before: int,
    sweeps: Sweeps,
    section: NDArray[np.int64] | None = None,
    origins: Origins | None = None,
) -> Window:
    """Records with what follows from them: the number, pass, section and stage of each.

    ``before`` counts the records with a page before them. ``sweeps`` are the passes as they were before them, and go
    on. ``section`` (n,) has the records' sections where their offsets do not tell these. ``origins`` are theirs.
    """
    is_page = IS_PAGE[columns.kind]
    sections = framing.sections
    section = sections.of(columns.offset) if section is None else section
    return Window(
        columns,
        sections,
        framing.names,
        framing.page_size,
        is_page,
        numbered(is_page, before),
        sweeps.number(columns),
        section,
        sections.stages(section),
        origins,
    )


def windows(pieces: Iterable[Columns], framing: Framing, sweeps: Sweeps | None = None) -> Iterator[Window]:
    """The windows of a scan with their derived columns.

    ``pieces`` are what the scan ``framing`` gives, or what it gave. ``sweeps`` counts the passes for callers that want
    the counts at the end.
    """
    sweeps = sweeps if sweeps is not None else Sweeps({})
    count = 0
    for piece in pieces:
        for start in range(0, len(piece), WINDOW_RECORDS):
            window = derived(piece.take(slice(start, start + WINDOW_RECORDS)), framing, count, sweeps)
            count += int(np.count_nonzero(window.is_page))
            yield window


def slices(table: RecordTable) -> Iterator[Window]:
    """The windows of a whole table. Records of channels stand where they count."""
    if table.main_size is None:
        yield from windows([table.columns], table)
        return
    sweeps, count = Sweeps({}), 0
    for start in range(0, len(table), WINDOW_RECORDS):
        rows = slice(start, start + WINDOW_RECORDS)
        origins = None if table.origins is None else table.origins.take(rows)
        window = derived(table.columns.take(rows), table, count, sweeps, table.section[rows], origins)
        count += int(np.count_nonzero(window.is_page))
        yield window
