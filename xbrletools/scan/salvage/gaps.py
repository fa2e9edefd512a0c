"""What is skipped: where belief ends before a gap, and whether the skipped bytes are exactly one record's."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...model import ANY_BLOCK, Gap, Reading
from ...ram.record import FILL, INT, WORD, comes_to_a_page, header_size
from ...table.columns import Columns
from ...table.kinds import IS_PAGE

RECORD_MAX = 1 << 13  # bytes: more than a record of a 4 KiB page


def end_of(columns: Columns) -> int:
    """The offset after the last record."""
    return int(columns.offset[-1]) + int(columns.head[-1]) + int(columns.length[-1])


def without_last(columns: Columns, begun: int) -> tuple[Columns, int]:
    """The records but the last before damage, which may be what is damaged, and the offset where belief ends.

    ``begun`` is where reading began, for a run without records.
    """
    if not len(columns):
        return columns, begun
    if IS_PAGE[columns.kind[-1]]:
        return columns.take(slice(-1)), int(columns.offset[-1])
    return columns, end_of(columns)


def believed(columns: Columns, begun: int, gaps: list[Gap]) -> Columns:
    """Without the first record after a gap, which ends at ``begun``: it may be spliced from two."""
    before = (columns.offset < np.uint64(begun)) & IS_PAGE[columns.kind]
    if before.any():
        leave_out(gaps, [(ANY_BLOCK, a) for a in columns.address[before].tolist()])
    return columns.take(~before)


def leave_out(gaps: list[Gap], pages: Sequence[tuple[int, int]]) -> None:
    """Note with the last gap that records of these pages, as (block, address), are not believed."""
    if gaps and pages:
        gaps[-1] = replace(gaps[-1], left_out=(*gaps[-1].left_out, *pages))


def place_filled(
    start: int, end: int, parsed: Columns, kept: Columns, data: NDArray[np.uint8], reading: Reading
) -> str | None:
    """Which one record the bytes [start, end) are exactly: nothing was cut out there or put in. None for any other.

    Of the records ``parsed`` before the gap only ``kept`` are believed. ``data`` is the capture, (size,) uint8.
    """
    starts = {start} if len(kept) == len(parsed) else {start, end_of(parsed)}
    page = WORD + (INT if reading.page_sum else 0) + reading.page_size
    dialect = reading.dialect
    for at in starts:
        if end - at == page:
            return "the skipped bytes are exactly one page record's"
        if end - at == WORD + FILL:
            return "the skipped bytes are exactly one dup record's"
        if dialect is None:
            continue
        payload = at + WORD + header_size(reading)
        fits = payload < end <= payload + dialect.page_limit * reading.page_size
        if fits and comes_to_a_page(data, payload, end, dialect, reading.page_size):
            return "the skipped bytes are exactly one delta's"
    return None
