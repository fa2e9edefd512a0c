"""Pages of one repeated byte, which a sender sends as dup pages.

Facts: formats/README.md, "The RAM section", COMPRESS.
"""

import numpy as np
import numpy.typing as npt

from . import native
from .batches import Bytes, Ints, as_span, page_size_of

NOT_UNIFORM = -1

_PROBE_BATCH = 1 << 12  # pages that are probed at a time
_BATCH = 1 << 20  # bytes of pages that are compared in full at a time
_BYTE = np.uint64(0xFF)
_REPEAT = np.uint64(0x0101010101010101)


def fills(pages: Bytes, rows: Ints | None = None) -> npt.NDArray[np.int16]:
    """Give the fill byte of each page that is one repeated byte, and -1 for all others.

    ``pages`` (m, page_size) uint8, C-contiguous. ``rows`` (n,) int64 picks pages, by default all in order. Returns (n,)
    int16. Raises ValueError for other shapes.
    """
    page_size = page_size_of(pages)
    count = len(pages) if rows is None else len(rows)
    found = np.full(count, NOT_UNIFORM, np.int16)
    if native.loops is not None:
        wanted = np.require(np.arange(count) if rows is None else rows, np.int64, ["C", "A"])
        native.loops.fills(pages, wanted, found)  # no threads: the first bytes of most pages decide
        return found
    words = pages.view(np.uint64)
    step = max(1, _BATCH // page_size)
    for first in range(0, count, _PROBE_BATCH):
        part = slice(first, min(first + _PROBE_BATCH, count))
        batch = np.arange(part.start, part.stop) if rows is None else rows[part]
        begin = words[part if rows is None else batch, 0].copy()
        left = np.flatnonzero(begin == (begin & _BYTE) * _REPEAT)
        for probe in (-1, words.shape[1] // 2):
            left = left[words[batch[left], probe] == begin[left]]
        for at in range(0, len(left), step):
            likely = left[at : at + step]
            full = pages[as_span(batch[likely])]
            top = full.max(axis=1)  # a page whose smallest byte is its greatest consists of that byte
            uniform = full.min(axis=1) == top
            found[first + likely[uniform]] = top[uniform]
    return found
