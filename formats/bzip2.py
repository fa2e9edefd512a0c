"""bzip2: blocks of bits, each with a magic and a sum of its own, in which one damaged block leaves the others whole.

Facts: README.md, "Compressions". Bits are numbered from the highest of each byte on.
"""

MAGIC = b"BZh"  # then the block size, a digit from 1 to 9
HEADER_SIZE = len(MAGIC) + 1
BLOCK = 0x314159265359  # before each block; a 32-bit sum of the block's content follows
END = 0x177245385090  # after the last block; a 32-bit sum of the blocks' sums follows, and zero bits up to a whole byte
MAGIC_BITS = 48
SUM_BITS = 32
BLOCK_MAX = 2 << 20  # bytes of one packed block, at most: 900,000 bytes of content, each in 17 bits
