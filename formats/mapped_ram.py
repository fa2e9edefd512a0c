"""mapped-ram: RAM pages at fixed places of the file, a bitmap saying which are there.

Facts: README.md, "mapped-ram", from the source alone [Q]: we have not seen a file that QEMU wrote. Offsets count from
the file's beginning. The next entry of the block list stands after the pages of the one before.
"""

from construct import Const, Int32ub, Int64ub, Struct

from . import Grammar
from .qevm import IdStr

VERSION = 1
CAPABILITY = b"mapped-ram"

#: After a block's length in the block list.
Header: Grammar = Struct(
    "version" / Const(VERSION, Int32ub),
    "page_size" / Int64ub,
    "bitmap_offset" / Int64ub,
    "pages_offset" / Int64ub,
)

#: One entry of the block list. The bitmap has one bit a page, lowest first. A clear bit is a page of zeros.
Entry: Grammar = Struct("idstr" / IdStr, "length" / Int64ub, "header" / Header)
