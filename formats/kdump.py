"""Compressed kdumps of memory: a header, two bitmaps of pages, a descriptor for each page that is there, and the pages.

Facts: README.md, "Memory images"; makedumpfile, IMPLEMENTATION and diskdump_mod.h; QEMU, include/sysemu/dump.h. Of
64-bit guests. All but the flattened form has the guest's byte order.
"""

from typing import Final

from construct import Bytes, Const, Int32ub, Int32ul, Int64sb, Int64ub, Int64ul, Padding, Struct

from . import Grammar

MAGIC: Final = b"KDUMP   "
FLAT_MAGIC: Final = b"makedumpfile\0\0\0\0"
FLAT_AT: Final = 4096  # where the pieces of a flattened file begin
BLOCK_SIZES: Final = (4096, 8192, 16384, 65536)

ZLIB, LZO, SNAPPY, ZSTD = 1, 2, 4, 32  # flags of a page: how it is packed
PACKED: Final = ZLIB | LZO | SNAPPY | ZSTD

#: Before version 6 the number of pages stands in the header, in 32 bits.
WIDE_SINCE: Final = 6


def header(endian: str) -> Grammar:
    """The header, at the beginning."""
    number = Int32ul if endian == "little" else Int32ub
    return Struct(
        "magic" / Const(MAGIC),
        "version" / number,
        "system" / Bytes(6 * 65),
        Padding(22),  # a time, aligned to 8 bytes, 16 bytes long
        "status" / number,
        "block_size" / number,
        "sub_header_blocks" / number,
        "bitmap_blocks" / number,
        "max_mapnr" / number,
    )


def sub_header(endian: str) -> Grammar:
    """The header in the second block."""
    number, wide = (Int32ul, Int64ul) if endian == "little" else (Int32ub, Int64ub)
    return Struct(
        "phys_base" / wide,
        "dump_level" / number,
        "split" / number,
        "places" / Bytes(8 * 8),  # of the first and last page of a part, of VMCOREINFO, of notes, of what was erased
        "start_pfn" / wide,
        "end_pfn" / wide,
        "max_mapnr" / wide,
    )


def page(endian: str) -> Grammar:
    """A descriptor: where a page's bytes stand, how many, how they are packed, and the kernel's flags of the page."""
    number, wide = (Int32ul, Int64ul) if endian == "little" else (Int32ub, Int64ub)
    return Struct("offset" / wide, "size" / number, "flags" / number, "page_flags" / wide)


#: A flattened file's header, then its pieces: where each belongs, and how long it is. The last one lies at -1.
FlatHeader: Grammar = Struct("magic" / Const(FLAT_MAGIC), "type" / Int64ub, "version" / Int64ub)
FlatPiece: Grammar = Struct("offset" / Int64sb, "size" / Int64sb)
