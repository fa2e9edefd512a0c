"""mapped-ram: RAM pages at fixed places of the file, a bitmap saying which are there.

Facts: README.md, "mapped-ram" [C]. Offsets count from the start of the file, so also from before what stands ahead of
the stream. The sender writes the bitmaps last, just before RAM's END closes. Until then a clear bit says nothing.
"""

from construct import Const, Int32ub, Int64ub, Struct

from . import Grammar
from .ram import block_entry

VERSION = 1
CAPABILITY = b"mapped-ram"
ALIGNMENT = 1 << 20  # pages begin at a multiple of it, counted from the start of the file [C]
BITMAP_UNIT = 8  # a bitmap's size in bytes is rounded up to a multiple of it [C]
BITS = 8  # pages a byte of the bitmap, lowest bit first

#: After a block in the block list. Both offsets are 0 where the block's pages were left out: x-ignore-shared [Q].
Header: Grammar = Struct(
    "version" / Const(VERSION, Int32ub),
    "page_size" / Int64ub,
    "bitmap_offset" / Int64ub,
    "pages_offset" / Int64ub,
)


def entry(address: bool = False, page_size: bool = False) -> Grammar:
    """One entry of the block list: what `ram.block_entry` gives for the same capabilities, and the header.

    The next entry stands after the block's pages, or after the header where the pages were left out.
    """
    return Struct("block" / block_entry(address, page_size), "header" / Header)
