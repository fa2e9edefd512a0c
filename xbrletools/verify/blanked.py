"""Whether pages of a stream were blanked, so that zeros over a page of zeros show nothing."""

import numpy as np
from numpy.typing import NDArray

from ..codec.batches import positions
from ..formats.ram import Kind
from ..table.columns import Columns
from .ledger import pieces
from .marks import Ints

_BATCH = 1 << 20  # bytes of pages that are looked at together


def has_blanked(columns: Columns, data: NDArray[np.uint8], page_size: int) -> bool:
    """Whether a page of zeros stands in full in ``data`` (bytes,) uint8: blanking leaves such, and senders write a dup.

    ``page_size`` is in bytes. A sender that does not look for zero pages writes them too. Zeros then show as little.
    """
    step = max(1, _BATCH // page_size)
    for part in pieces(len(columns)):
        rows = np.flatnonzero(columns.kind[part] == Kind.PAGE) + part.start
        starts: Ints = columns.payload(rows).astype(np.int64)
        starts = starts[starts + page_size <= len(data)]
        for place in (0, page_size // 2, page_size - 1):
            starts = starts[data[starts + place] == 0]
        for first in range(0, len(starts), step):
            some = starts[first : first + step]
            whole = data[positions(some, np.full(len(some), page_size))].reshape(-1, page_size)
            if not whole.any(axis=1).all():
                return True
    return False
