"""LiME memory images: a header before each range of physical memory.

Facts: README.md, "Memory images", and the LiME project's README, "LiME Memory Range Header Version 1". All integers are
little-endian. The end address is that of the last byte.
"""

from construct import Bytes, Const, Int32ul, Int64ul, Struct

from . import Grammar

MAGIC = 0x4C694D45
VERSION = 1

Header: Grammar = Struct(
    "magic" / Const(MAGIC, Int32ul),
    "version" / Const(VERSION, Int32ul),
    "start" / Int64ul,
    "end" / Int64ul,
    "reserved" / Const(bytes(8), Bytes(8)),
)
