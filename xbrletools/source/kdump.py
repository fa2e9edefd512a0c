"""Reads compressed kdumps, flattened or not: their pages go to a temporary file, which is as large as what is there.

Facts: `formats.kdump`. A page that is left out, cut off or cannot be unpacked is not there, and that is said.
"""

import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import kdump
from .lzop import unpacked
from .packing import is_damage, zstd_decoder
from .sources import MappedSource, mapped

BITS = 1 << 20  # bytes of a bitmap that are looked at together
SUB_HEADER_MAX = 1 << 20  # blocks of the second header
ZSTD_AT_ONCE = 1 << 10  # packed bytes, of which at most 32 MiB come out
DESCRIPTORS = 1 << 16  # that are looked at together

#: What those that undo a packing say of bytes that are not packed so.
_DAMAGE = (ValueError, IndexError, ZeroDivisionError, BufferError, struct.error)

#: Runs of pages, (first page frame, position in the temporary file, pages) each.
Run = tuple[int, int, int]


def pages(source: MappedSource) -> tuple[MappedSource, int, list[Run], list[str], list[str]]:
    """The pages of a dump in a file of their own, the size of one, the runs of them, what is missing, and notes.

    Raises:
        XbrleError: it is not a kdump that can be read.
    """
    if source.size and bytes(source.view[: len(kdump.FLAT_MAGIC)]) == kdump.FLAT_MAGIC:
        source = _unflattened(source)
    head, endian = _header(source)
    size = int(head.block_size)
    bits_at = size * (1 + int(head.sub_header_blocks))
    table_at = bits_at + size * int(head.bitmap_blocks)
    layout = dtype_of(kdump.page(endian))
    held = max(0, source.size - table_at) // layout.itemsize
    frames, count, left_out = _frames(source, bits_at, size * int(head.bitmap_blocks) // 2, held)
    missing = [f"it ends before {count - held} of its pages"] if count > held else []
    notes = [f"{left_out * size:#x} bytes of memory were left out when it was written"] if left_out else []
    with tempfile.TemporaryFile() as file:
        table = np.frombuffer(source.view, layout, len(frames), min(table_at, source.size))
        runs, bad = _copied(source, table, frames, size, file)
        file.flush()
        unpacked = MappedSource(source.name, mapped(file))
    if bad:
        missing.append(f"{bad} of its pages cannot be unpacked")
    return unpacked, size, runs, missing, notes


def _header(source: MappedSource) -> tuple[Any, str]:
    """The header, and the byte order in which its numbers are such as a dump has."""
    for endian in ("little", "big"):
        grammar = kdump.header(endian)
        try:
            head = grammar.parse(bytes(source.view[: grammar.sizeof()]))
        except ConstructError:
            raise XbrleError(f"{source.name}: ends inside the header of a kdump") from None
        bits = head.block_size * head.bitmap_blocks // 2 * 8
        whole = head.bitmap_blocks and not head.bitmap_blocks % 2 and head.sub_header_blocks < SUB_HEADER_MAX
        if head.block_size in kdump.BLOCK_SIZES and whole and head.max_mapnr <= bits:
            return head, endian
    raise XbrleError(f"{source.name}: is a kdump of an unknown layout, such as one of a 32-bit guest; dump it as ELF")


def _frames(source: MappedSource, at: int, half: int, most: int) -> tuple[NDArray[np.int64], int, int]:
    """The first ``most`` page frames that the dump has, rising, how many it claims, and how many were left out."""
    found, count, left_out = [np.empty(0, np.int64)], 0, 0
    for start in range(0, min(half, source.size), BITS):
        length = min(BITS, half - start)
        there, dumped = (
            np.unpackbits(source.data[at + i * half + start :][:length], bitorder="little") for i in range(2)
        )
        frames = np.flatnonzero(dumped)
        found.append(frames[: max(0, most - count)] + start * 8)
        count += len(frames)
        left_out += int(np.count_nonzero(there[: len(dumped)] > dumped[: len(there)]))
    return np.concatenate(found), count, left_out


def _copied(
    source: MappedSource, table: NDArray[np.void], frames: NDArray[np.int64], size: int, file: BinaryIO
) -> tuple[list[Run], int]:
    """Write the pages one after the other. Returns their runs, and how many could not be read."""
    runs: list[Run] = []
    position = bad = 0
    last, content = None, b""
    for start in range(0, len(table), DESCRIPTORS):
        part = table[start : start + DESCRIPTORS]
        columns = [part[name].tolist() for name in ("offset", "size", "flags")]
        for frame, one in zip(frames[start : start + DESCRIPTORS].tolist(), zip(*columns, strict=True), strict=True):
            if one != last:  # pages of zeros share one descriptor's place
                last, content = one, _page(source, one, size)
            if len(content) != size:
                bad += 1
                continue
            if content.count(0) == size:
                file.seek(size, 1)
            else:
                file.write(content)
            before = runs[-1] if runs else None
            if before is not None and before[0] + before[2] == frame:
                runs[-1] = before[0], before[1], before[2] + 1
            else:
                runs.append((frame, position, 1))
            position += size
    file.truncate(position)
    return runs, bad


def _page(source: MappedSource, place: tuple[int, int, int], size: int) -> bytes:
    """The content of the page at ``place`` (offset, length, flags), or nothing where it cannot be read.

    Raises:
        XbrleError: what undoes its packing is not there.
    """
    offset, length, flags = place
    if length > 2 * size or offset + length > source.size:
        return b""
    raw = bytes(source.view[offset : offset + length])
    packing = flags & kdump.PACKED
    if not packing:
        return raw
    undo = _undo(source.name, packing)
    try:
        return undo(raw, size)
    except Exception as error:
        if is_damage(error) or isinstance(error, _DAMAGE):
            return b""
        raise


def _undo(name: str, packing: int) -> Callable[[bytes, int], bytes]:
    """What undoes a packing of pages, given their packed bytes and the size of a page."""
    if packing == kdump.ZLIB:
        return lambda raw, size: zlib.decompressobj().decompress(raw, size)
    if packing == kdump.LZO:
        try:
            from dissect.util.compression import lzo
        except ImportError:
            raise XbrleError(f"{name}: its pages are packed with LZO: install dissect.util, which undoes it") from None
        return lambda raw, size: unpacked(lzo.decompress, raw, size)
    if packing == kdump.ZSTD:
        try:
            zstd_decoder()
        except ImportError:
            raise XbrleError(f"{name}: its pages are packed with zstd: install zstandard, which undoes it") from None
        return _from_zstd
    try:
        from dissect.util.compression import snappy
    except ImportError:
        raise XbrleError(
            f"{name}: its pages are packed with snappy: install dissect.util 3.24, which undoes it"
        ) from None
    return lambda raw, _: bytes(snappy.decompress(raw))


def _from_zstd(raw: bytes, size: int) -> bytes:
    """A frame's content, no more of it than makes clear that it is not a page."""
    decode, out = zstd_decoder(), b""
    for at in range(0, len(raw), ZSTD_AT_ONCE):
        out += decode(raw[at : at + ZSTD_AT_ONCE])
        if len(out) > size:
            break
    return out


def _unflattened(source: MappedSource) -> MappedSource:
    """The file that a flattened one, as QEMU writes it to a pipe, makes: its pieces where they belong."""
    with tempfile.TemporaryFile() as file:
        for offset, piece in _flat_pieces(source):
            file.seek(offset)
            file.write(piece)
        file.flush()
        return MappedSource(source.name, mapped(file))


def _flat_pieces(source: MappedSource) -> Iterator[tuple[int, memoryview]]:
    """The pieces of a flattened file, (where it belongs, bytes), as far as they are there."""
    at, width = kdump.FLAT_AT, kdump.FlatPiece.sizeof()
    while at + width <= source.size:
        piece = kdump.FlatPiece.parse(bytes(source.view[at : at + width]))
        if piece.offset < 0:
            return
        if piece.size <= 0 or piece.offset + piece.size > 2 * source.size:  # a dump does not have holes
            raise XbrleError(f"{source.name}: is damaged at {at:#x}: a piece belongs at {piece.offset:#x}", at)
        at += width
        yield piece.offset, source.view[at : at + piece.size]
        at += piece.size
