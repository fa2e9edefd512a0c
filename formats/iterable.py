"""Iterable sections beside `ram` and `block`, whose data is records of their own.

Facts: README.md, "Iterable sections". dirty-bitmap and s390-storage_attributes were seen in captures [C]. spapr/htab
and the attributes' records with data were not [Q].
"""

from enum import IntFlag

from construct import Array, Byte, Bytes, If, Int16ub, Int32ub, Int64ub, RepeatUntil, Struct, obj_, this

from . import Grammar, block
from .declared import is_set
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


#: Data follows unless the flag says that it is zeros.
_HAS_DATA = (this.flags & int(BitmapFlag.BITS | BitmapFlag.ZEROES)) == int(BitmapFlag.BITS)

BitmapRecord: Grammar = Struct(
    "flags" / Byte,
    "node" / If(is_set(this.flags, BitmapFlag.NODE_NAME), IdStr),
    "bitmap" / If(is_set(this.flags, BitmapFlag.BITMAP_NAME), IdStr),
    "granularity" / If(is_set(this.flags, BitmapFlag.START), Int32ub),
    "start_flags" / If(is_set(this.flags, BitmapFlag.START), Byte),
    "first_sector" / If(is_set(this.flags, BitmapFlag.BITS), Int64ub),
    "sectors" / If(is_set(this.flags, BitmapFlag.BITS), Int32ub),
    "size" / If(_HAS_DATA, Int64ub),
    "bits" / If(_HAS_DATA, Bytes(this.size)),
)
DirtyBitmap: Grammar = RepeatUntil(is_set(obj_.flags, BitmapFlag.EOS), BitmapRecord)


class AttributeFlag(IntFlag):
    """The low bits of a storage attributes word."""

    EOS = 0x01
    MORE = 0x02
    ERROR = 0x04
    DONE = 0x08


AttributeRecord: Grammar = Struct(
    "word" / Int64ub,
    "count" / If(is_set(this.word, AttributeFlag.MORE), Int64ub),
    "attributes" / If(is_set(this.word, AttributeFlag.MORE), Bytes(this.count)),
)
StorageAttributes: Grammar = RepeatUntil(is_set(obj_.word, AttributeFlag.EOS), AttributeRecord)

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
    "chunks" / If(this.shift == 0, RepeatUntil((obj_.index | obj_.valid | obj_.invalid) == 0, HtabChunk)),
)

#: Disk data, up to the EOS.
Disk: Grammar = RepeatUntil(is_set(obj_.word, block.Flag.EOS), block.Record)

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
