"""xz as far as its parts show where they end: stream header, block header, the chunks of LZMA2.

Facts: README.md, "Compressions".
"""

from construct import Bytes, Const, Int8ub, Int16ub, Int32ul, PrefixedArray, Struct

from . import Grammar
from .declared import Uleb128

MAGIC = b"\xfd7zXZ\0"
CHECK_SIZES = (0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64)  # of a block's sum, by the number of its kind
INDEX = 0  # the first byte of the index, which stands where a block could begin
FILTERS = 0x03  # of a block's flags: filters besides the last one, which is LZMA2
ALIGNMENT = 4  # of a block and of what follows a stream

#: What a stream begins with.
StreamHeader: Grammar = Struct("magic" / Const(MAGIC), "reserved" / Int8ub, "check" / Int8ub, "crc" / Int32ul)

#: The first two bytes of a block. Its header has 4 * (size + 1) bytes.
BlockHead: Grammar = Struct("size" / Int8ub, "flags" / Int8ub)

CHUNK_END = 0x00
CHUNK_STORED = (0x01, 0x02)
CHUNK_PACKED = 0x80  # from this control byte on
CHUNK_SIZE = 0x1F  # the bits of such a control byte that are the highest of the content's size
CHUNK_NEW_PROPERTIES = 0xC0  # from this control byte on, a byte of properties follows

#: A stored chunk: what follows the control byte. All sizes are less 1.
StoredChunk: Grammar = Struct("size" / Int16ub)

#: A packed chunk: what follows the control byte.
PackedChunk: Grammar = Struct("size" / Int16ub, "packed" / Int16ub)

#: What a stream ends with. The index before it has 4 * (backward + 1) bytes.
StreamFooter: Grammar = Struct("crc" / Int32ul, "backward" / Int32ul, "flags" / Bytes(2), "magic" / Const(b"YZ"))

_INTEGER = Uleb128(9)  # a multibyte integer of the .xz format

#: The index: of each block the bytes that it takes, and those of its content.
Index: Grammar = Struct(
    "indicator" / Const(INDEX, Int8ub),
    "blocks" / PrefixedArray(_INTEGER, Struct("packed" / _INTEGER, "content" / _INTEGER)),
)
