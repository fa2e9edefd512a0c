"""zstd as far as its parts show where they end: frame header, block headers, the frame's sum.

Facts: README.md, "Compressions". Integers are little-endian.
"""

from construct import BytesInteger, Const, Int8ub, Int32ul, Struct

from . import Grammar

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = 0x184D2A50  # and the 15 numbers after it: a frame to pass over
SKIPPABLE_MASK = 0xFFFF_FFF0
BLOCK_MAX = 128 << 10  # bytes of a block, packed or not

#: A frame that holds content.
FrameHead: Grammar = Struct("magic" / Const(MAGIC), "descriptor" / Int8ub)
SINGLE_SEGMENT = 0x20  # a bit of the descriptor: the window's size is not stated
HAS_SUM = 0x04
DICTIONARY_SIZES = (0, 1, 2, 4)  # by its low 2 bits
CONTENT_SIZES = (0, 2, 4, 8)  # by its high 2 bits; the first is 1 in a single segment

#: A block: bit 0 is set in the last one, bits 1 and 2 are its type, the rest is its size.
BlockHead: Grammar = BytesInteger(3, swapped=True)
REPEATED = 1  # a type: one byte stands for all
RESERVED = 3
SUM_SIZE = 4  # bytes after the last block of a frame that has a sum

#: A frame to pass over: its magic, and how many bytes follow.
SkippableHead: Grammar = Struct("magic" / Int32ul, "size" / Int32ul)


def is_skippable(head: bytes) -> bool:
    """Whether a file that goes on with ``head``, 4 bytes or fewer where it ends, goes on with a frame to pass over."""
    return len(head) == len(MAGIC) and int.from_bytes(head, "little") & SKIPPABLE_MASK == SKIPPABLE
