"""multifd: the extra connections of a migration, each with packets of pages.

Facts: README.md, "multifd". A connection opens with `Init`. Then come packets: a header, the offsets of its pages in
one block, and the pages, either plain or as one unterminated zlib or zstd stream a connection.
"""

from enum import IntEnum, IntFlag

from construct import Array, Bytes, Const, Int32ub, Int64ub, Padding, Struct, this

from . import Grammar

MAGIC = 0x11223344
VERSION = 1
BLOCK_NAME_MAX = 256
METHOD_SHIFT = 1
METHOD_MASK = 0x7 << METHOD_SHIFT


class Flag(IntFlag):
    """The flags of a packet. The method stands in `METHOD_MASK`."""

    SYNC = 0x01


class Method(IntEnum):
    """How a packet's pages are packed. Packets without pages carry 0 whatever the method."""

    NONE = 0
    ZLIB = 1
    ZSTD = 2


#: The 64 bytes that a connection opens with.
Init: Grammar = Struct(
    "magic" / Const(MAGIC, Int32ub),
    "version" / Int32ub,
    "uuid" / Bytes(16),
    "id" / Bytes(1),
    Padding(39),
)

#: The fixed part of a packet. Where ``normal_pages`` is 0 no data follows, and size, block and offsets are left over.
PacketHeader: Grammar = Struct(
    "magic" / Const(MAGIC, Int32ub),
    "version" / Int32ub,
    "flags" / Int32ub,
    "pages_allocated" / Int32ub,
    "normal_pages" / Int32ub,
    "next_packet_size" / Int32ub,
    "packet_number" / Int64ub,
    "zero_pages" / Int32ub,  # newer versions; reserved before [Q]
    "reserved" / Bytes(28),
    "ramblock" / Bytes(BLOCK_NAME_MAX),
)

#: Of a page, in bytes within the block.
Offset: Grammar = Int64ub

#: The offsets after the header: normal pages first, then zero pages where there are any [Q].
Packet: Grammar = Struct("header" / PacketHeader, "offsets" / Array(this.header.pages_allocated, Offset))
