"""From a dialect's encoding to the functions that read and write it.

Which dialect has which encoding: ``xbrletools.formats.dialects``.
"""

from collections.abc import Callable
from typing import NamedTuple

from xbrletools.formats.dialects import Encoding

from . import doubled, xbrle, xbzrle
from .batches import Bytes, Ints, Mask


class _Coding(NamedTuple):
    apply: Callable[[Bytes, Ints, Ints, Bytes, Ints | None], Bytes]
    encode: Callable[[Bytes, Bytes, int | None], tuple[Bytes, Ints]]
    changed: Callable[[Bytes, Ints, Ints, int], tuple[Mask, Bytes]]
    for_loops: tuple[int, int, int] | None = None


_CODINGS = {
    Encoding.RLE: _Coding(xbrle.apply, xbrle.encode, xbrle.changed, (0, *xbrle.LAYOUT)),
    Encoding.DOUBLED: _Coding(doubled.apply_sep10, doubled.encode_sep10, doubled.changed_sep10),
    Encoding.DOUBLED_NEXT: _Coding(doubled.apply_sep20, doubled.encode_sep20, doubled.changed_sep20),
    Encoding.ZRUN: _Coding(xbzrle.apply, xbzrle.encode, xbzrle.changed, (1, *xbzrle.LAYOUT)),
}


def apply(
    encoding: Encoding, data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None = None
) -> Bytes:
    """Apply delta k to ``pages[rows[k]]``, in place, as a receiver of this encoding does.

    ``data`` (N,) uint8, ``offsets`` and ``lengths`` (n,) int64 in bytes, ``pages`` (m, page_size) uint8, C-contiguous,
    ``rows`` (n,) int64, distinct. Returns verdicts (n,) uint8. Pages whose verdict is not OK stay as they were. Raises
    ValueError where the arrays do not fit each other.
    """
    return _CODINGS[encoding].apply(data, offsets, lengths, pages, rows)


def encode(encoding: Encoding, old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """Encode ``old`` to ``new``, (n, page_size) uint8 each, as a sender of this encoding does.

    Returns data (total,) uint8 and lengths (n,) int64. A length is -1 where the encoding would exceed ``limit`` bytes,
    by default the sender's own limit. Raises ValueError where the arrays do not fit each other.
    """
    return _CODINGS[encoding].encode(old, new, limit)


def changed(encoding: Encoding, data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> tuple[Mask, Bytes]:
    """Say which bytes each delta changes. Where it carries new bytes: which ones it determines.

    Returns a mask (n, page_size) bool, all False for a delta that is not OK, and verdicts (n,) uint8.
    """
    return _CODINGS[encoding].changed(data, offsets, lengths, page_size)


def for_loops(encoding: Encoding) -> tuple[int, int, int] | None:
    """How the loops in C over pages take this encoding, None where they do not know it: which one, and its layout."""
    return _CODINGS[encoding].for_loops
