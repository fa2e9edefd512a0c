"""Reads an lzop file block by block, with dissect.util to undo LZO.

Facts: formats/README.md, "lzop". A block that claims more than `lzop.BLOCK_MAX` bytes is refused before any are
allocated.
"""

import io
import zlib
from collections.abc import Callable, Iterator

from construct import ConstructError

from ..errors import XbrleError
from ..formats import lzop
from ..formats.lzop import Flag
from .ahead import Ahead
from .damage import PackedDamage, begins

_HEADER_MAX = 1 << 16  # bytes of a header that are looked at

_Undo = Callable[[bytes, bool, int], bytes]


def lzop_pieces(raw: Ahead) -> Iterator[bytes]:
    """The content of an lzop file, block by block. A block comes out only when its sums hold.

    Raises:
        XbrleError: dissect.util is not installed.
        PackedDamage: what stands here is damaged, or the file ends.
    """
    try:
        from dissect.util.compression import lzo
    except ImportError:
        raise XbrleError("is packed with lzop: unpack it with lzop, or install dissect.util, which does") from None
    return _files(raw, lzo.decompress)


def _files(raw: Ahead, undo: _Undo) -> Iterator[bytes]:
    """The content of each of the files that follow each other."""
    while True:
        begins(raw, lzop.MAGIC, "file of lzop")
        yield from _pieces(raw, undo)
        if not raw.head(1):
            return


def _pieces(raw: Ahead, undo: _Undo) -> Iterator[bytes]:
    head = io.BytesIO(raw.head(_HEADER_MAX))
    try:
        flags = int(lzop.Header.parse_stream(head).flags)
    except ConstructError:
        there = len(head.getvalue())
        raise PackedDamage(raw.at + there, "" if there < _HEADER_MAX else "its header does not end") from None
    raw.read(head.tell())
    while True:
        at = raw.at
        try:
            piece = _block(raw, flags, undo)
        except ValueError as error:
            raise PackedDamage(at, str(error)) from None
        if not piece:
            return
        yield piece


def _take(raw: Ahead, count: int) -> bytes:
    data = raw.read(count)
    if len(data) < count:
        raise PackedDamage(raw.at)
    return data


def _number(raw: Ahead) -> int:
    return int(lzop.Number.parse(_take(raw, lzop.Number.sizeof())))


def unpacked(undo: Callable[[bytes, bool, int], bytes], data: bytes, size: int) -> bytes:
    """What the library makes of LZO that gives ``size`` bytes. Raises ValueError where it is not LZO."""
    try:
        return bytes(undo(data, False, size))
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a panic in the library's native code is not an Exception
        raise ValueError(f"a block that is not LZO: {error}") from None


def _block(raw: Ahead, flags: int, undo: _Undo) -> bytes:
    """The content of the next block. It is empty at the end of the file. Raises ValueError for one that is damaged."""
    size = _number(raw)
    if not size:
        return b""
    packed = _number(raw)
    if size > lzop.BLOCK_MAX or packed > size:
        raise ValueError(f"a block of {packed} bytes for {size}")
    stated = [_number(raw) for f in (Flag.ADLER32, Flag.CRC32) if flags & f]
    if packed < size:
        _ = [_number(raw) for f in (Flag.ADLER32_PACKED, Flag.CRC32_PACKED) if flags & f]
    data = _take(raw, packed)
    if packed < size:
        data = unpacked(undo, data, size)
    sums = [f(data) for f, flag in ((zlib.adler32, Flag.ADLER32), (zlib.crc32, Flag.CRC32)) if flags & flag]
    if len(data) != size or sums != stated:
        raise ValueError("a block does not match its checksum")
    return data
