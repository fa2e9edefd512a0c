"""Flattened device trees: how a board without ACPI tells its guest where memory lies.

Facts: README.md, "Where memory lies", and the Devicetree Specification 0.4, chapter 5. All integers are big-endian.
"""

from enum import IntEnum

from construct import Const, Int32ub, Struct

from . import Grammar

MAGIC = 0xD00DFEED
VERSION = 17
ALIGN = 4  # of every token

Header: Grammar = Struct(
    "magic" / Const(MAGIC, Int32ub),
    "total" / Int32ub,
    "structure" / Int32ub,
    "strings" / Int32ub,
    "reserved" / Int32ub,
    "version" / Const(VERSION, Int32ub),
    "last_compatible" / Int32ub,
    "boot_cpu" / Int32ub,
    "strings_size" / Int32ub,
    "structure_size" / Int32ub,
)
Cell: Grammar = Int32ub
Property: Grammar = Struct("length" / Int32ub, "name" / Int32ub)


class Token(IntEnum):
    """What a word of the structure block begins."""

    BEGIN_NODE = 1
    END_NODE = 2
    PROP = 3
    NOP = 4
    END = 9
