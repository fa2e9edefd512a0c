"""lzop: a file of LZO blocks. libvirt packs save files with it where it is configured to.

Facts: README.md, "lzop", from files that lzop wrote [C]. All integers are big-endian.
"""

from enum import IntFlag

from construct import Byte, Bytes, Const, If, Int16ub, Int32ub, Struct, this

from . import Grammar
from .declared import is_set
from .qevm import IdStr

MAGIC = b"\x89LZO\0\r\n\x1a\n"
LEVELS_SINCE = 0x0940  # from this version on a header has all fields
BLOCK_MAX = 64 << 20  # bytes of one block


class Flag(IntFlag):
    """Which sums a block carries, and which optional fields the header has."""

    ADLER32 = 0x001  # of a block's content
    ADLER32_PACKED = 0x002  # of a block as it is stored
    EXTRA = 0x040
    CRC32 = 0x100
    CRC32_PACKED = 0x200
    FILTER = 0x800


_newer = this.version >= LEVELS_SINCE
_has_extra = is_set(this.flags, Flag.EXTRA)


#: A block's size, its packed size, and each of its sums.
Number: Grammar = Int32ub

#: What a file begins with. Blocks follow.
Header: Grammar = Struct(
    "magic" / Const(MAGIC),
    "version" / Int16ub,
    "library_version" / Int16ub,
    "needed_version" / If(_newer, Int16ub),
    "method" / Byte,
    "level" / If(_newer, Byte),
    "flags" / Int32ub,
    "filter" / If(is_set(this.flags, Flag.FILTER), Int32ub),
    "mode" / Int32ub,
    "mtime_low" / Int32ub,
    "mtime_high" / If(_newer, Int32ub),
    "name" / IdStr,
    "checksum" / Int32ub,
    "extra_length" / If(_has_extra, Int32ub),
    "extra" / If(_has_extra, Bytes(this.extra_length)),
    "extra_checksum" / If(_has_extra, Int32ub),
)
