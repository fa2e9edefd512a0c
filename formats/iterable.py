"""Iterable sections beside `ram` and `block`, whose data is records of their own.

Facts: README.md, "Iterable sections". dirty-bitmap and s390-storage_attributes were seen in captures [C]. spapr/htab
and the attributes' records with data were not [Q].
"""

from enum import IntFlag
from typing import Any

from construct import Array, Byte, Bytes, If, Int16ub, Int32ub, Int64ub, RepeatUntil, Struct, this

from . import Grammar, block
from .qevm import IdStr


class BitmapFlag(IntFlag):
    """The byte that opens a dirty-bitmap record."""

    EOS = 0x01
    ZEROES = 0x02
    BITMAP_NAME = 0x04
    NODE_NAME = 0x08
    START = 0x10
    COMPLETE = 0x20
    BITS = 0x40


def _has(flag: int) -> Any:
    return lambda c: bool(c.flags & flag)


BitmapRecord: Grammar = Struct(
    "flags" / Byte,
    "node" / If(_has(BitmapFlag.NODE_NAME), IdStr),
    "bitmap" / If(_has(BitmapFlag.BITMAP_NAME), IdStr),
    "granularity" / If(_has(BitmapFlag.START), Int32ub),
    "start_flags" / If(_has(BitmapFlag.START), Byte),
    "first_sector" / If(_has(BitmapFlag.BITS), Int64ub),
    "sectors" / If(_has(BitmapFlag.BITS), Int32ub),
    "size" / If(lambda c: c.flags & BitmapFlag.BITS and not c.flags & BitmapFlag.ZEROES, Int64ub),
    "bits" / If(lambda c: c.size is not None, Bytes(this.size)),
)
DirtyBitmap: Grammar = RepeatUntil(lambda r, _seen, _c: bool(r.flags & BitmapFlag.EOS), BitmapRecord)


class AttributeFlag(IntFlag):
    """The low bits of a storage attributes word."""

    EOS = 0x01
    MORE = 0x02
    ERROR = 0x04
    DONE = 0x08


AttributeRecord: Grammar = Struct(
    "word" / Int64ub,
    "count" / If(lambda c: bool(c.word & AttributeFlag.MORE), Int64ub),
    "attributes" / If(lambda c: c.count is not None, Bytes(this.count)),
)
StorageAttributes: Grammar = RepeatUntil(lambda r, _seen, _c: bool(r.word & AttributeFlag.EOS), AttributeRecord)

HTAB_ABSENT = 0xFFFFFFFF
HPTE_SIZE = 16  # bytes of a hash page table entry

HtabChunk: Grammar = Struct(
    "index" / Int32ub,
    "valid" / Int16ub,
    "invalid" / Int16ub,
    "entries" / Array(this.valid, Bytes(HPTE_SIZE)),
)
#: The first section states the table's size as a power of two. Later ones have 0, then chunks up to an empty one.
Htab: Grammar = Struct(
    "shift" / Int32ub,
    "chunks"
    / If(this.shift == 0, RepeatUntil(lambda c, _seen, _ctx: not (c.index or c.valid or c.invalid), HtabChunk)),
)

#: Disk data, up to the EOS.
Disk: Grammar = RepeatUntil(lambda r, _seen, _c: bool(r.word & block.Flag.EOS), block.Record)

#: The data of an iterable section, by its idstr.
SECTIONS: dict[bytes, Grammar] = {
    b"dirty-bitmap": Struct("records" / DirtyBitmap),
    b"s390-storage_attributes": Struct("records" / StorageAttributes),
    b"spapr/htab": Htab,
    block.IDSTR: Struct("records" / Disk),
}

#: The flags in an iterable section's fields, by its idstr and the field's name, and the bits that hold them.
FLAGS: dict[bytes, dict[str, tuple[type[IntFlag], int]]] = {
    b"dirty-bitmap": {"flags": (BitmapFlag, 0xFF)},
    b"s390-storage_attributes": {"word": (AttributeFlag, 0xF)},
    block.IDSTR: {"word": (block.Flag, (1 << block.SECTOR_BITS) - 1)},
}
