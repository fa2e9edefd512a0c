"""Which kinds of record carry a page and how: lookup tables by a record's kind, (256,) bool each."""

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import DELTA_KINDS, PAGE_KINDS, Kind


def _of(kinds: tuple[Kind, ...]) -> NDArray[np.bool_]:
    table = np.zeros(256, bool)
    table[list(kinds)] = True
    return table


IS_PAGE = _of(PAGE_KINDS)  # carries a page, in whatever form
IS_DELTA = _of(DELTA_KINDS)  # carries a page as a delta over what it held
IS_FULL = IS_PAGE & ~IS_DELTA  # gives a page anew, whatever it held
_FIRST, _LAST = np.uint8(min(PAGE_KINDS)), np.uint8(max(PAGE_KINDS))


def are_pages(kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """`IS_PAGE` of each kind, (n,) bool: a fifteenth of the time, for long columns."""
    return kind - _FIRST <= _LAST - _FIRST
