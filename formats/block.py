"""The block migration section, version 1: disk data beside the RAM.

Facts: README.md, "The block section". A record is a be64 word, (sector << 9) | flags.
"""

from enum import IntFlag
from typing import Any

from construct import Bytes, If, Int64ub, Struct

from . import Grammar
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


def _has_name(context: Any) -> bool:
    return bool(context.word & Flag.DEVICE_BLOCK)


def _has_data(context: Any) -> bool:
    return bool(context.word & Flag.DEVICE_BLOCK) and not context.word & Flag.ZERO_BLOCK


Word: Grammar = Int64ub

Record: Grammar = Struct(
    "word" / Word,
    "name" / If(_has_name, IdStr),
    "data" / If(_has_data, Bytes(CHUNK)),
)
