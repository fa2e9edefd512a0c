"""XBZRLE: the delta that QEMU merged in 2012 and writes to this day.

Facts: README.md, "XBZRLE". The payload alternates: the length of a run of unchanged bytes, then the length of a run of
changed bytes and their new values. Lengths are ULEB128 numbers of at most two bytes.
"""

from construct import (
    Byte,
    Bytes,
    GreedyRange,
    Int16ub,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)

from . import Grammar, declared

HEADER_FLAG = 0x01  # ENCODING_FLAG_XBZRLE

ULEB_BITS = declared.Uleb128.BITS
ULEB_MORE = declared.Uleb128.MORE
ULEB_BYTES_MAX = 2
ULEB_MAX = (1 << ULEB_BITS * ULEB_BYTES_MAX) - 1


def header(_endian: str = "big") -> Grammar:
    """u8 = 1 and a be16 length."""
    return Struct("flags" / Byte, "length" / Int16ub)


def header_rfc(_endian: str = "big") -> Grammar:
    """The form of the May 2012 RFC: a be32 checksum follows, always 0."""
    return Struct("flags" / Byte, "length" / Int16ub, "checksum" / Int32ub)


#: An unsigned number, 7 bits a byte, least significant first; receivers accept two bytes at most.
Uleb128: Grammar = declared.Uleb128(ULEB_BYTES_MAX)

#: ``zrun`` bytes stay as they are, then ``nzrun`` bytes take the values in ``data``.
Run: Grammar = Struct(
    "zrun" / Uleb128,
    "nzrun" / Rebuild(Uleb128, len_(this.data)),
    "data" / Bytes(this.nzrun),
)

Runs: Grammar = GreedyRange(Run)
