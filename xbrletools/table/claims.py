"""What records claim of their pages: the byte sums in the headers of deltas and, in some trees, before a PAGE's data.

Facts: formats/README.md, "XBRLE".
"""

import numpy as np
from numpy.typing import NDArray

from ..formats.dialects import Checksum, Dialect
from ..formats.ram import Kind
from ..formats.xbrle import HeaderFlag
from .columns import ALL, Columns
from .kinds import IS_DELTA

Sums = NDArray[np.uint32]


def states_sums(dialect: Dialect | None) -> bool:
    """Whether deltas of this dialect can state the sum of their page."""
    return dialect is not None and dialect.checksum is not Checksum.NONE


def stated(
    columns: Columns, dialect: Dialect | None, rows: NDArray[np.integer] | slice = ALL
) -> tuple[NDArray[np.bool_], Sums]:
    """Which of these records, by default all, state the byte sum of their page, (n,) bool, and that sum, (n,) uint32.

    The sum of a record that states none means nothing. A PAGE whose sum is 0 states none: a page of zeros goes as a
    dup page.
    """
    kind, sums = columns.kind[rows], columns.checksum[rows]
    states = (kind == Kind.PAGE) & (sums != 0)
    if dialect is None or dialect.checksum is Checksum.NONE:
        return states, sums
    of_delta = IS_DELTA[kind]
    if dialect.checksum is Checksum.COMPLEMENT:
        sums = np.where(of_delta, ~sums, sums)
    elif dialect.checksum is Checksum.FLAGGED:
        of_delta &= (columns.header_flags[rows] & HeaderFlag.CHECKSUM) != 0
    return states | of_delta, sums


def for_loops(dialect: Dialect) -> tuple[int, int]:
    """What `stated` says of deltas, as the loops in C take it: a flag, and the bits of the checksum that are inverted.

    The flag is that of the header which says that a sum is stated. It is 0 where each delta states one, -1 where none
    does.
    """
    flag = {Checksum.NONE: -1, Checksum.FLAGGED: int(HeaderFlag.CHECKSUM)}.get(dialect.checksum, 0)
    return flag, 0xFFFFFFFF if dialect.checksum is Checksum.COMPLEMENT else 0


def stated_sum(columns: Columns, dialect: Dialect | None) -> int | None:
    """The byte sum that the first of these records states of its page, or None where it states none."""
    states, sums = stated(columns, dialect, slice(0, 1))
    return int(sums[0]) if states[0] else None


def field_of(sums: Sums, dialect: Dialect) -> Sums:
    """What a delta's header holds for each page sum, (n,) uint32."""
    return ~sums if dialect.checksum is Checksum.COMPLEMENT else sums
