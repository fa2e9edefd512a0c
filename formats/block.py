"""The block migration section, version 1: disk data beside the RAM.

Facts: README.md, "The block section". A record is a be64 word, (sector << 9) | flags.
"""

from enum import IntFlag

from construct import Bytes, If, Int64ub, Struct, this

from . import Grammar
from .declared import is_set
from .qevm import IdStr

IDSTR = b"block"
VERSION = 1
SECTOR_BITS = 9
CHUNK = 1 << 20  # bytes of data of one DEVICE_BLOCK, even where they reach past the device's end


class Flag(IntFlag):
    """The low bits of a record word."""

    DEVICE_BLOCK = 0x01
    EOS = 0x02
    PROGRESS = 0x04  # percent in the sector's place
    ZERO_BLOCK = 0x08  # with DEVICE_BLOCK: no data follows


Word: Grammar = Int64ub

Record: Grammar = Struct(
    "word" / Word,
    "name" / If(is_set(this.word, Flag.DEVICE_BLOCK), IdStr),
    "data" / If((this.word & int(Flag.DEVICE_BLOCK | Flag.ZERO_BLOCK)) == int(Flag.DEVICE_BLOCK), Bytes(CHUNK)),
)
