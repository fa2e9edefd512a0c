"""VMDESCRIPTION: JSON in which a sender says what its device sections hold, field by field.

Facts: README.md, "vmdesc". There is one entry for each FULL section, in stream order. A field has a name, a type, the
size of one element in bytes, and ``array_len`` where it is an array of equal elements. Structs nest. Subsections follow
the fields.
"""

from construct import Byte, Flag, Int8sb, Int16sb, Int16ub, Int32sb, Int32ub, Int64sb, Int64ub

from . import Grammar

STRUCT = "struct"
TMP = "tmp"  # the field itself carries vmsd_name, version and fields
NULL_POINTER = 0x30  # stands for a null element of an array of pointers

#: Types that are one number. A suffix (`int32 le`, `uint8 equal`) is a test that the receiver makes.
NUMBERS: dict[str, Grammar] = {
    "bool": Flag,
    "int8": Int8sb,
    "int16": Int16sb,
    "int32": Int32sb,
    "int64": Int64sb,
    "uint8": Byte,
    "uint16": Int16ub,
    "uint32": Int32ub,
    "uint64": Int64ub,
    "timer": Int64ub,
    "cpsr": Int32ub,
    "fpscr": Int32ub,
    "psw": Int32ub,
    "powered_off": Flag,
    "nullptr": Byte,
}


#: Types that are several numbers in a row.
ROWS: dict[str, Grammar] = {"pci irq state": Int32sb}

#: Types of which a sender writes these bytes alone, each element being one of them [Q]. Unused bytes are zeros.
VALUES: dict[str, tuple[bytes, ...]] = {
    "bool": (b"\0", b"\1"),
    "powered_off": (b"\0", b"\1"),
    "nullptr": (bytes([NULL_POINTER]),),
    "pci irq state": (bytes(4), bytes(3) + b"\1"),
    "unused_buffer": (b"\0",),
}


def misfit(name: str, raw: bytes) -> int | None:
    """Where the bytes of a field of this type first are none that a sender writes, or None where they fit.

    Types without a range of their own fit always.
    """
    allowed = VALUES.get(name, ())
    width = len(allowed[0]) if allowed else 0
    return next((i for i in range(0, len(raw), width) if raw[i : i + width] not in allowed), None) if allowed else None


def numbers(name: str, size: int) -> "tuple[Grammar | None, bool]":
    """The grammar of a type of ``size`` bytes that is one number or a row of them, and whether it is a row.

    Numbers are big-endian whatever the guest. The grammar is None for other types.
    """
    grammar, repeated = ROWS.get(name), name in ROWS
    if grammar is None:
        grammar = NUMBERS.get(name) or NUMBERS.get(name.split(" ", 1)[0])
    if grammar is None or not size or size % grammar.sizeof() or (not repeated and size != grammar.sizeof()):
        return None, False
    return grammar, repeated
