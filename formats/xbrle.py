"""XBRLE: the delta headers of 2010 and 2011, and the run-length payload over old XOR new.

Facts: README.md, "XBRLE". Most headers are raw C structs in the byte order of the sending host. So they are functions
of ``endian``, "little" or "big".
"""

from enum import IntFlag

from construct import (
    Byte,
    GreedyRange,
    Int16ub,
    Int16ul,
    Int32ub,
    Int32ul,
    Struct,
)

from . import Grammar

RUN_MAX = 255  # the encoder's limit: a run is a u8


class HeaderFlag(IntFlag):
    """xh_flags of the posted header. Earlier trees write 1 and mean "XBRLE"."""

    XBRLE = 0x1
    CHECKSUM = 0x2


def _u16(endian: str) -> Grammar:
    return Int16ul if endian == "little" else Int16ub


def _u32(endian: str) -> Grammar:
    return Int32ul if endian == "little" else Int32ub


def header_3(_endian: str = "big") -> Grammar:
    """2010-09: u8 and a be16 length that counts these 3 bytes. Big-endian on every host."""
    return Struct("flags" / Byte, "length" / Int16ub)


def header_4(endian: str) -> Grammar:
    """2010-09-20 and the lm2 tree: a C struct of u8 and u16, with a byte of padding."""
    return Struct("flags" / Byte, "padding" / Byte, "length" / _u16(endian))


def header_8(endian: str) -> Grammar:
    """XBRLEHeader as posted in May 2011, and most trees before it: u8, padding, u16, u32."""
    return Struct("flags" / Byte, "padding" / Byte, "length" / _u16(endian), "checksum" / _u32(endian))


def header_12(endian: str) -> Grammar:
    """2010-11-03, the second form: XBRLEHeader and a u32 sequence."""
    return Struct(
        "flags" / Byte,
        "padding" / Byte,
        "length" / _u16(endian),
        "checksum" / _u32(endian),
        "sequence" / _u32(endian),
    )


#: One (run, byte) pair: the byte of old XOR new, ``run`` times.
Pair: Grammar = Struct("run" / Byte, "byte" / Byte)

#: A whole payload as a receiver reads it; an odd last byte is left over.
Pairs: Grammar = GreedyRange(Pair)
