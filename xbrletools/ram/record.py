"""Where a record ends: the one slow answer, one record at a time, with every size taken from the grammars.

The fast walks over many records (`walk`, in NumPy and in C) give the same. A test compares them, and the grammar of
`formats.ram`, with this. What is made of a record that is cut or that no sender writes is up to the caller.
"""

import struct
from collections.abc import Callable
from enum import Enum
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..codec import deltas
from ..codec.layout import dtype_of
from ..codec.verdict import Verdict
from ..formats import Grammar, ram
from ..formats.dialects import Dialect, Encoding
from ..formats.ram import Flag, Kind
from ..model import Reading
from . import blocklist

WORD = ram.Word.sizeof()
INT = Int32ub.sizeof()  # of a PAGE's own sum, and of the length before a zlib stream
FILL = ram.Fill.sizeof()
ADDRESS_BITS = 52  # more than the address of any record takes
_ZLIB_HEAD = 2  # bytes of a zlib stream's own header (RFC 1950)
_WORD, _INT = struct.Struct(">Q"), struct.Struct(">I")
_MEM_SIZE = int(Flag.MEM_SIZE)


class Ending(Enum):
    """What is known of a record's end."""

    WHOLE = "the record ends at `end`"
    CUT = "the bytes end before the record does"
    UNREAD = "the form of what follows the word is not known: a delta without a dialect, a block list without an entry"
    TOO_LONG = "the delta claims more bytes than any receiver takes"


class Extent(NamedTuple):
    """A record: what its word says, and where it lies. Offsets are those of the view that it was read from.

    ``name`` is the block's name, as far as its bytes are there, or None where the record has none. ``payload`` and
    ``end`` are where the payload begins and ends. Both are what the record claims, also where that is beyond the bytes
    that are there or longer than it may be. Where a length is cut, ``end`` is past the last byte. ``checksum`` is None
    where the record does not state one. A NamedTuple, since trials make very many of these.
    """

    kind: Kind
    flags: int
    address: int
    name: bytes | None
    payload: int
    end: int
    ending: Ending
    header_flags: int = 0
    checksum: int | None = None

    @property
    def length(self) -> int:
        """The payload's bytes."""
        return self.end - self.payload


def delta_kind(dialect: Dialect | None) -> Kind:
    """Which of the two kinds of delta a dialect writes."""
    return Kind.XBZRLE if dialect is not None and dialect.encoding is Encoding.ZRUN else Kind.XBRLE


@lru_cache(32)
def _header(grammar: Callable[[str], Grammar], endian: str) -> np.dtype[Any]:
    return dtype_of(grammar(endian))


@cache
def _words(version: int, is_zrun: bool) -> tuple[tuple[Kind, bool], ...]:
    """For each value of the flags the kind, and whether a block's name follows the word."""
    kinds = ram.kind_table(version, Kind.XBZRLE if is_zrun else Kind.XBRLE)
    return tuple((kind, ram.is_named(flags, version, kind)) for flags, kind in enumerate(kinds))


def header_size(reading: Reading) -> int:
    """The bytes of a delta's header. There must be a dialect."""
    assert reading.dialect is not None
    return _header(reading.dialect.header, reading.endian).itemsize


def extent(
    view: memoryview, at: int, reading: Reading, stop: int | None = None, entry: "Grammar | None" = None
) -> Extent:
    """The record at ``view[at]``, which ends at ``stop`` at the latest, by default at the view's end.

    ``entry`` is the grammar of a block list's entries. Without it a record with a list is `Ending.UNREAD`.
    """
    stop = len(view) if stop is None else stop
    start = at + WORD
    if start > stop:
        return Extent(Kind.NOOP, 0, 0, None, start, start, Ending.CUT)
    (word,) = _WORD.unpack_from(view, at)
    version, dialect = reading.version, reading.dialect
    flags = word & (reading.page_size - 1)
    is_zrun = dialect is not None and dialect.encoding is Encoding.ZRUN
    kind, is_named = _words(version, is_zrun)[flags % ram.FLAG_VALUES]
    address = word - flags
    if flags & _MEM_SIZE and version != ram.VERSION_FLAT:
        if entry is None:
            return Extent(kind, flags, address, None, start, start, Ending.UNREAD)
        listed = blocklist.entries(view[start : min(stop, start + blocklist.LIST_MAX)], address, entry)
        if listed.cut:
            return Extent(kind, flags, address, None, start, stop + 1, Ending.CUT)
        if kind is Kind.MEM_SIZE:
            return Extent(kind, flags, address, None, start, start + listed.size, Ending.WHOLE)
        start += listed.size
    name = None
    if is_named:
        if start >= stop:
            return Extent(kind, flags, address, b"", stop + 1, stop + 1, Ending.CUT)
        size = 1 + view[start]
        name = bytes(view[start + 1 : min(start + size, stop)])
        start += size
    if kind in ram.DELTA_KINDS:
        return _delta(view, Extent(kind, flags, address, name, start, start, Ending.UNREAD), reading, stop)
    payload, end, checksum = start, start, None
    if kind is Kind.DUP:
        end += FILL
    elif kind is Kind.PAGE:
        if reading.page_sum:
            payload += INT
            checksum = _INT.unpack_from(view, start)[0] if payload <= stop else None
        end = payload + reading.page_size
    elif kind is Kind.COMPRESSED:
        payload = start + INT if start + INT <= stop else stop + 1
        end = payload + (_INT.unpack_from(view, start)[0] if payload <= stop else 0)
    ending = Ending.CUT if end > stop else Ending.WHOLE
    return Extent(kind, flags, address, name, payload, end, ending, 0, checksum)


def _delta(view: memoryview, found: Extent, reading: Reading, stop: int) -> Extent:
    """The delta whose header stands where the payload of ``found`` is taken to be."""
    dialect = reading.dialect
    if dialect is None:
        return found
    header = _header(dialect.header, reading.endian)
    payload = found.payload + header.itemsize
    if payload > stop:
        return found._replace(end=stop + 1, ending=Ending.CUT)
    fields = np.frombuffer(view, header, 1, found.payload)[0]
    length = int(fields["length"]) - dialect.length_counts
    ending = Ending.CUT if payload + length > stop else Ending.WHOLE
    if not 0 <= length <= dialect.page_limit * reading.page_size:
        ending = Ending.TOO_LONG
    checksum = int(fields["checksum"]) if "checksum" in (header.names or ()) else None
    return Extent(
        found.kind,
        found.flags,
        found.address,
        found.name,
        payload,
        payload + length,
        ending,
        int(fields["flags"]),
        checksum,
    )


def is_zlib(view: memoryview, found: Extent, page_size: int, stop: int) -> bool:
    """Whether a COMPRESSED record's payload can be the zlib stream of a page. Older receivers do not know the flag."""
    return (
        found.payload + _ZLIB_HEAD <= stop
        and view[found.payload] & ram.ZLIB_METHOD == ram.ZLIB_DEFLATE
        and 0 < found.length <= ram.ZLIB_PAGES_MAX * page_size
    )


def comes_to_a_page(data: NDArray[np.uint8], start: int, end: int, dialect: Dialect, page_size: int) -> bool:
    """Whether ``data[start:end]``, of a capture's bytes (size,) uint8, decodes to exactly one page."""
    blank = np.zeros((1, page_size), np.uint8)
    verdict = deltas.apply(dialect.encoding, data, np.array([start]), np.array([end - start]), blank)
    return bool(verdict[0] == Verdict.OK)
