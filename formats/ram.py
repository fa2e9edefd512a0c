"""The RAM section, versions 3 and 4: record words, their flags, and what follows each.

Facts: README.md, "The RAM section". A record is a be64 word (page address | flags), then what its flags ask for. The
order in which a receiver tests the flags is part of the format: MEM_SIZE first, then one of COMPRESS, PAGE and the
delta, in that order, then EOS [P].
"""

from enum import IntEnum, IntFlag
from functools import cache, reduce
from operator import or_
from typing import Any

from construct import (
    Byte,
    Bytes,
    Computed,
    If,
    Int32ub,
    Int64ub,
    Struct,
    Switch,
    obj_,
    this,
)

from . import Grammar
from .declared import FirstFlag, IfNext, Remainder, UntilSum, is_set
from .dialects import Dialect, Encoding
from .qevm import IdStr

PAGE_SIZE = 4096  # x86; for other targets CONFIGURATION or vmdesc states it
MIN_PAGE_SIZE = 1024  # the smallest target page of QEMU (32-bit Arm); flags must fit below it

MAX_BLOCK_PAGE = 1 << 30  # the largest page size that blocks of today's guests have
VERSION_FLAT = 3  # addresses are global ram_addr, records carry no names
VERSION_NAMED = 4  # addresses are offsets in named blocks

IDSTR = b"ram"


class Flag(IntFlag):
    """The low bits of a record word."""

    FULL = 0x01  # v3, obsolete
    COMPRESS = 0x02  # ZERO today
    MEM_SIZE = 0x04
    PAGE = 0x08
    EOS = 0x10
    CONTINUE = 0x20  # v4; in the v3 trees of 2010 this bit marks a delta
    XBRLE = 0x40  # v4, XBZRLE since 2012
    HOOK = 0x80
    COMPRESS_PAGE = 0x100
    MULTIFD_FLUSH = 0x200


class Kind(IntEnum):
    """What a record is. The names in lower case are the words that scripts see."""

    NOOP = 0  # a word that names no kind of record: receivers pass over it
    MEM_SIZE = 1
    PAGE = 2
    DUP = 3
    XBRLE = 4
    XBZRLE = 5
    COMPRESSED = 6
    HOOK = 7
    FLUSH = 8
    EOS = 9


#: Kinds that carry the content of one page. Record numbers count these alone.
PAGE_KINDS = (Kind.PAGE, Kind.DUP, Kind.XBRLE, Kind.XBZRLE, Kind.COMPRESSED)
DELTA_KINDS = (Kind.XBRLE, Kind.XBZRLE)


def delta_flag(version: int) -> Flag:
    """The flag that marks a delta: 0x20 in v3, 0x40 in v4. The section's version decides [C]."""
    return Flag.CONTINUE if version == VERSION_FLAT else Flag.XBRLE


def known_flags(version: int) -> Flag:
    """Every flag that has a meaning in a section of this version."""
    if version == VERSION_FLAT:
        return Flag.FULL | Flag.COMPRESS | Flag.MEM_SIZE | Flag.PAGE | Flag.EOS | Flag.CONTINUE
    return ~Flag.FULL & Flag(0x3FF)


FLAG_VALUES = 2 * int(max(Flag))  # how many values the flags of a word can take


def kind_order(version: int, delta: Kind = Kind.XBRLE) -> tuple[tuple[Flag, Kind], ...]:
    """The flags that make a record's kind, in the order in which receivers test them [P]: the first one set decides.

    ``delta`` says which of the two delta kinds the stream's dialect writes.
    """
    order = [(Flag.COMPRESS, Kind.DUP), (Flag.PAGE, Kind.PAGE), (delta_flag(version), delta)]
    if version != VERSION_FLAT:
        order.append((Flag.COMPRESS_PAGE, Kind.COMPRESSED))
    order.append((Flag.MEM_SIZE, Kind.MEM_SIZE))
    if version != VERSION_FLAT:
        order += [(Flag.MULTIFD_FLUSH, Kind.FLUSH), (Flag.HOOK, Kind.HOOK)]
    return (*order, (Flag.EOS, Kind.EOS))


@cache
def kind_table(version: int, delta: Kind = Kind.XBRLE) -> tuple[Kind, ...]:
    """The kind for each value of the flags. ``delta`` is as in `kind_order`."""
    first = FirstFlag(this.flags, kind_order(version, delta), Kind.NOOP)
    return tuple(map(first.of, range(FLAG_VALUES)))


def kind_of(flags: int, version: int, delta: Kind = Kind.XBRLE) -> Kind:
    """The kind of a record with these flags. Bits above the known ones do not count."""
    return kind_table(version, delta)[flags % FLAG_VALUES]


_NAMED = frozenset(PAGE_KINDS)
_CONTINUE = int(Flag.CONTINUE)


def is_named(flags: int, version: int, kind: Kind) -> bool:
    """Whether a block name follows the word: in v4, for a kind that carries a page, where CONTINUE is not set."""
    return version != VERSION_FLAT and kind in _NAMED and not flags & _CONTINUE


Word: Grammar = Int64ub
Fill: Grammar = Byte

#: Behind the word: the byte sum before a page, and the length of a zlib stream.
Number = Int32ub

_IS_PAGE_SIZE = (obj_ >= MIN_PAGE_SIZE) & (obj_ <= MAX_BLOCK_PAGE) & ((obj_ & (obj_ - 1)) == 0)
_PAGE_SIZES = frozenset(size for size in (1 << i for i in range(Int64ub.sizeof() * 8)) if _IS_PAGE_SIZE(size))


def is_page_size(size: Any) -> bool:
    """Whether a be64 after a block's length can be its page size: a power of two that is not a record's word."""
    return size in _PAGE_SIZES


def _added(grammar: Grammar, wanted: Any) -> Grammar:
    if isinstance(wanted, bool):
        return grammar if wanted else Computed(None)
    return If(wanted, grammar)


def block_entry(address: Any = False, page_size: Any = False) -> Grammar:
    """One entry of the v4 block list.

    Two capabilities of today's sender add fields to it, and nothing in the bytes says so. postcopy adds the block's
    page size where it is not the target's [Q]. After it x-ignore-shared adds the block's guest-physical ``address``.
    Both are a bool, or an expression that decides while a list is read.
    """
    return Struct(
        "idstr" / IdStr,
        "length" / Int64ub,
        "page_size" / _added(IfNext(_IS_PAGE_SIZE, Int64ub), page_size),
        "address" / _added(Int64ub, address),
    )


BlockEntry: Grammar = Struct("idstr" / IdStr, "length" / Int64ub)


def block_list(total: int, entry: Grammar = BlockEntry) -> Grammar:
    """The v4 block list: entries until their lengths add up to ``total`` bytes, the word's address part.

    ``entry`` is what `block_entry` gives, for the capabilities that add to the entries.
    """
    if not total:
        return Bytes(0)
    return Struct("total" / Computed(total), "entries" / UntilSum("length", this.total, entry))


ZLIB_METHOD = 0x0F  # the bits of a zlib stream's first byte that name its method (RFC 1950)
ZLIB_DEFLATE = 8
ZLIB_PAGES_MAX = 2  # pages that a page's zlib stream may take; senders reserve little more than one

#: COMPRESS_PAGE: be32 length and a zlib stream.
CompressedPage: Grammar = Struct("length" / Number, "data" / Bytes(this.length))


def delta(dialect: Dialect, endian: str) -> Grammar:
    """A delta's header in this dialect and byte order, and the bytes of its payload."""
    length, uncounted = this.header.length, dialect.length_counts
    return Struct(
        "header" / dialect.header(endian),
        "payload" / Bytes(Remainder(length, uncounted) if uncounted else length),
    )


def page(dialect: Dialect | None, page_size: int = PAGE_SIZE) -> Grammar:
    """A full page. The debug trees of November 2010 put its be32 byte sum before it."""
    if dialect is not None and dialect.page_sum:
        return Struct("checksum" / Number, "data" / Bytes(page_size))
    return Struct("data" / Bytes(page_size))


def record(
    version: int,
    dialect: Dialect | None = None,
    endian: str = "little",
    page_size: int = PAGE_SIZE,
    entry: Grammar = BlockEntry,
) -> Grammar:
    """One record of a RAM section, from its word to its last byte.

    Parsing gives ``word``, ``blocks`` (the list after MEM_SIZE in v4), ``name`` (bytes, or None with CONTINUE) and
    ``body``. Building takes the same. ``dialect`` says how a delta reads. Without one only deltas fail. ``entry`` is
    the grammar of a block list's entries.
    """
    kind = Kind.XBZRLE if dialect is not None and dialect.encoding is Encoding.ZRUN else Kind.XBRLE

    bodies: dict[Kind, Grammar] = {
        Kind.DUP: Struct("fill" / Fill),
        Kind.PAGE: page(dialect, page_size),
        Kind.COMPRESSED: CompressedPage,
    }
    if dialect is not None:
        bodies[kind] = delta(dialect, endian)
    return record_of(version, kind_order(version, kind), bodies, page_size, entry)


def record_of(
    version: int, order: tuple[tuple[Flag, Kind], ...], bodies: dict[Kind, Grammar], page_size: Any, entry: Grammar
) -> Grammar:
    """One record whose kinds have these ``bodies``. ``page_size`` is a number, or an expression."""
    pages = reduce(or_, (flag for flag, kind in order if kind in _NAMED))
    flags = this.word & (page_size - 1)
    named = is_set(flags, pages) & ((flags & _CONTINUE) == 0)
    total = this._.word - (this._.word & (page_size - 1))
    blocks = Struct("total" / Computed(total), "entries" / If(this.total != 0, UntilSum("length", this.total, entry)))
    has_names = version != VERSION_FLAT
    return Struct(
        "word" / Word,
        "blocks" / If(is_set(flags, Flag.MEM_SIZE) if has_names else False, blocks),
        "name" / If(named if has_names else False, IdStr),
        "body" / Switch(FirstFlag(flags, order, Kind.NOOP), bodies),
    )
