"""The byte sum of a page, which XBRLE headers, debug PAGE records and mig.log carry.

Facts: formats/README.md, "XBRLE". It is a plain sum of unsigned bytes modulo 2^32, so a page whose bytes are permuted
passes it.
"""

import numpy as np
import numpy.typing as npt

from . import native
from .batches import Bytes, Ints, page_size_of

_BATCH = 1 << 18  # bytes of pages in a batch
_LANE = 256  # bytes whose sum fits in 16 bits: 256 * 255 = 65280


def byte_sum(pages: Bytes, rows: Ints | None = None) -> npt.NDArray[np.uint32]:
    """Sum each page's bytes modulo 2^32.

    ``pages`` (m, page_size) uint8, C-contiguous, of at most 64 KiB a page. ``rows`` (n,) int64 picks pages, by default
    all in order. Returns (n,) uint32. Raises ValueError for other shapes.
    """
    page_size = page_size_of(pages)
    count = len(pages) if rows is None else len(rows)
    sums = np.empty(count, np.uint32)
    if native.loops is not None:
        native.look(native.loops.sums, pages, rows, sums)
        return sums
    step = max(1, _BATCH // page_size)
    for first in range(0, count, step):
        part = slice(first, first + step)
        batch = pages[part] if rows is None else pages[rows[part]]
        lanes = batch.reshape(len(batch), page_size // _LANE, _LANE)
        sums[part] = np.add.reduce(lanes, axis=2, dtype=np.uint16).sum(axis=1, dtype=np.uint32)
    return sums
