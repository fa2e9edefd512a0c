"""multifd: the extra connections of a migration, each with packets of pages.

Facts: README.md, "multifd". A connection opens with `Init`. Then come packets. One with pages is a header, the offsets
of its pages in one block, and the pages as its method packs them. A device-state packet has a header of its own.
"""

from enum import IntEnum, IntFlag

from construct import Array, Bytes, Const, Int32ub, Int64ub, Padding, Struct, this

from . import Grammar

MAGIC = 0x11223344
VERSION = 1
BLOCK_NAME_MAX = 256
PACKET_PAGES = 512 << 10  # bytes of pages that a packet has room for, whatever the page size [Q]
METHOD_SHIFT = 1
METHOD_MASK = 0x1F << METHOD_SHIFT


class Flag(IntFlag):
    """The flags of a packet. The method stands in `METHOD_MASK`."""

    SYNC = 0x01
    DEVICE_STATE = 0x40


class Method(IntEnum):
    """How a packet's pages are packed. Before 9.0 packets without pages carry 0 whatever the method [C]."""

    NONE = 0
    ZLIB = 1
    ZSTD = 2
    QPL = 4
    UADK = 8
    QATZIP = 16


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
    "zero_pages" / Int32ub,  # since 9.0, reserved before [C]
    "reserved" / Bytes(28),
    "ramblock" / Bytes(BLOCK_NAME_MAX),
)

#: Of a page, in bytes within the block.
Offset: Grammar = Int64ub

#: Of one page's packed bytes. With QPL and UADK one for each page stands before the pages [Q].
PackedLength: Grammar = Int32ub

#: The offsets after the header: normal pages first, then zero pages [C]. A packet of SYNC alone states that it has
#: room for 0 pages since 9.0, and has room for `PACKET_PAGES` all the same [C].
Packet: Grammar = Struct("header" / PacketHeader, "offsets" / Array(this.header.pages_allocated, Offset))

#: A packet with `Flag.DEVICE_STATE`, before its ``size`` bytes of the state of the device ``idstr`` [Q].
DeviceState: Grammar = Struct(
    "magic" / Const(MAGIC, Int32ub),
    "version" / Int32ub,
    "flags" / Int32ub,
    "idstr" / Bytes(BLOCK_NAME_MAX),
    "instance_id" / Int32ub,
    "size" / Int32ub,
)
