"""XBZRLE: the delta that QEMU merged in 2012 and writes to this day.

Facts: README.md, "XBZRLE". The payload alternates: the length of a run of unchanged bytes, then the length of a run of
changed bytes and their new values. Lengths are ULEB128 numbers of at most two bytes.
"""

from typing import Any

from construct import (
    Byte,
    Bytes,
    ExprAdapter,
    GreedyRange,
    Int16ub,
    Int32ub,
    Rebuild,
    RepeatUntil,
    Struct,
    len_,
    this,
)

from . import Grammar

HEADER_FLAG = 0x01  # ENCODING_FLAG_XBZRLE

ULEB_BITS = 7
ULEB_MORE = 0x80
ULEB_BYTES_MAX = 2
ULEB_MAX = (1 << ULEB_BITS * ULEB_BYTES_MAX) - 1


def header(_endian: str = "big") -> Grammar:
    """u8 = 1 and a be16 length."""
    return Struct("flags" / Byte, "length" / Int16ub)


def header_rfc(_endian: str = "big") -> Grammar:
    """The form of the May 2012 RFC: a be32 checksum follows, always 0."""
    return Struct("flags" / Byte, "length" / Int16ub, "checksum" / Int32ub)


def _number(digits: Any, _context: Any) -> int:
    return sum((b & ~ULEB_MORE) << ULEB_BITS * i for i, b in enumerate(digits))


def _digits(number: int, _context: Any) -> list[int]:
    out = []
    while number > ULEB_MORE - 1:
        out.append(number & ULEB_MORE - 1 | ULEB_MORE)
        number >>= ULEB_BITS
    return [*out, number]


#: An unsigned number, 7 bits a byte, least significant first; receivers accept two bytes at most.
Uleb128: Grammar = ExprAdapter(
    RepeatUntil(lambda b, seen, _c: not b & ULEB_MORE or len(seen) == ULEB_BYTES_MAX, Byte),
    _number,
    _digits,
)

#: ``zrun`` bytes stay as they are, then ``nzrun`` bytes take the values in ``data``.
Run: Grammar = Struct(
    "zrun" / Uleb128,
    "nzrun" / Rebuild(Uleb128, len_(this.data)),
    "data" / Bytes(this.nzrun),
)

Runs: Grammar = GreedyRange(Run)
