"""libvirt's save file: a header in the host's byte order, the domain's XML, and a migration stream, packed or not.

Facts: README.md, "Wrappers" [C]. The stream begins ``data_length`` bytes after the header.
"""

from enum import IntEnum

from construct import Array, Bytes, Int32ub, Int32ul, Struct

from . import Grammar

MAGIC = b"LibvirtQemudSave"
MAGIC_UNFINISHED = b"LibvirtQemudPart"  # stands there until the save is complete
VERSION = 2  # a greater number means the other byte order


class Format(IntEnum):
    """How the stream is packed."""

    RAW = 0
    GZIP = 1
    BZIP2 = 2
    XZ = 3
    LZOP = 4
    ZSTD = 5
    SPARSE = 6


def header(endian: str) -> Grammar:
    """The 92 bytes at the beginning, in byte order "little" or "big"."""
    number = Int32ul if endian == "little" else Int32ub
    return Struct(
        "magic" / Bytes(len(MAGIC)),
        "version" / number,
        "data_length" / number,
        "was_running" / number,
        "format" / number,
        "cookie_offset" / number,
        "unused" / Array(14, number),
    )
