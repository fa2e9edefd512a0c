"""COMPRESS_PAGE: a page as a zlib stream of its own. No more than one page is ever inflated.

Facts: formats/README.md, "The RAM section". A race in some senders damaged a stream. A later record of the page then
repaired the page.
"""

import zlib

import numpy as np

from .batches import Bytes, Ints
from .verdict import Verdict


def apply(data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints) -> Bytes:
    """Inflate stream k into ``pages[rows[k]]``, in place.

    ``data`` (N,) uint8, ``offsets`` and ``lengths`` (n,) int64 in bytes, ``pages`` (m, page_size) uint8, ``rows``
    (n,) int64. Returns verdicts (n,) uint8. Pages whose verdict is not OK stay as they were.
    """
    size = pages.shape[1]
    verdicts = np.zeros(len(offsets), np.uint8)
    for k, (at, length, row) in enumerate(zip(offsets.tolist(), lengths.tolist(), rows.tolist(), strict=True)):
        page, verdicts[k] = _inflate(data[at : at + length], size)
        if verdicts[k] == Verdict.OK:
            pages[row] = np.frombuffer(page, np.uint8)
    return verdicts


def _inflate(stream: Bytes, size: int) -> tuple[bytes, Verdict]:
    """Inflate one zlib stream, to one byte more than ``size`` at most."""
    inflater = zlib.decompressobj()
    try:
        page = inflater.decompress(stream.tobytes(), size)
        more = inflater.decompress(inflater.unconsumed_tail, 1)  # reads the trailer, and shows a longer page
    except zlib.error:
        return b"", Verdict.DAMAGED
    if more:
        return b"", Verdict.LONG
    if not inflater.eof:
        return b"", Verdict.CUT
    return (page, Verdict.OK) if len(page) == size else (b"", Verdict.SHORT)
