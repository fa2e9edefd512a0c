"""The pages of a block at one moment, a few numbers each: how often it was sent, how it came last, whether it is wrong.

Nothing is replayed for it. It follows from the record table, and from the rows that findings are about.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from ..table.columns import Columns
from ..table.kinds import IS_DELTA, IS_PAGE
from .image import PageSpace


@dataclass(frozen=True, slots=True, eq=False)
class BlockState:
    """The pages of a block just after a row, (pages,) each.

    ``versions`` int64 counts the records of a page until then. ``last`` int64 is the row of the last of them (-1: never
    sent), ``kind`` uint8 its kind. ``based`` bool: one of them gives the page in full, so that the page can be
    recovered. ``wrong`` bool: one of them is suspect, and no full record healed the page after it.
    """

    versions: NDArray[np.int64]
    last: NDArray[np.int64]
    kind: NDArray[np.uint8]
    based: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def block_state(
    columns: Columns,
    space: PageSpace,
    block: int,
    suspect: NDArray[np.int64],
    sure: NDArray[np.int64] | None = None,
) -> BlockState:
    """The pages of block number ``block`` of ``space``, just after the last of ``columns``.

    ``columns`` are a stream's records from the first to the last that counts. ``suspect`` (k,) int64 are the rows that
    findings call wrong. Those of later records do not matter. ``sure`` (pages,) int64 is the first row of each page
    that counts, where something before it was discarded or is in doubt.
    """
    pages = int(space.pages[block])
    rows = np.flatnonzero((columns.block == block) & IS_PAGE[columns.kind])
    place = (columns.address[rows] // np.uint64(space.page_size)).astype(np.int64)
    inside = (place >= 0) & (place < pages)
    rows, place = rows[inside], place[inside]
    last = np.full(pages, -1, np.int64)
    last[place] = rows
    full = np.full(pages, -1, np.int64)
    whole = ~IS_DELTA[columns.kind[rows]]
    full[place[whole]] = rows[whole]
    wrong = np.zeros(pages, bool)
    suspects = np.intersect1d(suspect, rows)
    if len(suspects):
        at = place[np.searchsorted(rows, suspects)]
        wrong[at[suspects >= full[at]]] = True
    return BlockState(
        np.bincount(place, minlength=pages),
        last,
        np.where(last >= 0, columns.kind[last], np.uint8(Kind.NOOP)),
        full >= (0 if sure is None else sure),
        wrong,
    )
