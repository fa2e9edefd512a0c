"""A strict walk over a few records: every law of the framing, and where the first one breaks.

Trials call it for bytes with a bit flipped or left out, so it goes one record at a time. Where a record ends is
`ram.record`'s answer. The laws are those of formats/README.md, "The RAM section", as senders keep them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from ...codec.layout import dtype_of
from ...container.boundary import by_grammar, is_version
from ...formats import block as disk
from ...formats import qevm, ram
from ...formats.dialects import Encoding
from ...formats.qevm import SectionType
from ...formats.ram import Flag, Kind
from ...formats.xbrle import HeaderFlag, Pair
from ...model import Block, Reading
from ...ram.record import WORD, Ending, Extent, comes_to_a_page, extent, is_zlib
from ...table.columns import DTYPES, NO_BLOCK, Columns

ANY = -1  # the block that is selected is not known
NOTHING = -2  # no block is selected yet
ID = qevm.SectionPart.sizeof()
FOOTER = qevm.Footer.sizeof()
COMMAND_HEAD = qevm.DataHead.sizeof()
_PAIR = Pair.sizeof()
_COMMANDS = frozenset(map(int, qevm.Command))
_OTHER_MAX = 1 << 16  # bytes of a section of another owner that are taken apart


class State(Enum):
    """What stands at a place of the walk."""

    SECTION = "the head of a section"
    RECORD = "a record of RAM"
    DISK = "a record of a block section"


class Why(Enum):
    """The law that broke."""

    ENDS = "the bytes end"
    SECTION = "no section begins so"
    OWNER = "the section's id was not announced"
    FOOTER = "no footer of the section stands there"
    DISK = "no record of a block section begins so"
    FLAGS = "no sender writes these flags"
    EOS = "an EOS with an address"
    NAME = "the name is not one of the block list"
    CONTINUE = "CONTINUE before a block was named, or the block named again"
    ADDRESS = "the address is beyond the block"
    HEADER = "the delta's header has other flags than all others"
    PADDING = "the delta's padding is not 0"
    LENGTH = "the delta is longer than any receiver takes, or empty"
    RUNS = "the delta does not come to one page"


class Spot(NamedTuple):
    """Where a walk can begin. ``block`` is selected: an index, `ANY` or `NOTHING`.

    ``last``: RAM's END has begun. It is None where that is not known. ``footer`` is the id of the section whose footer
    is to stand there, None where none is. ``beside`` is the type of the block section right before, None for none.
    """

    offset: int
    state: State
    block: int = ANY
    last: bool | None = None
    footer: int | None = None
    beside: int | None = None


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a walk needs to know of a stream.

    ``owners``: by the id of an announced section its name. ``footers``: whether sections have them. ``header_flags`` is
    what all delta headers hold, or None where that is not known. ``pads``: padding is always 0. ``any_name``: blocks of
    other names than the list's are let pass.
    """

    reading: Reading
    blocks: tuple[Block, ...]
    owners: Mapping[int, bytes]
    footers: bool
    header_flags: int | None = None
    pads: bool = False
    any_name: bool = False

    @property
    def modern(self) -> bool:
        """Whether QEMU since 2012 wrote it, as far as that shows: the trees before announce a block section too [C]."""
        dialect = self.reading.dialect
        if self.footers or self.reading.configured or (dialect is not None and dialect.encoding is Encoding.ZRUN):
            return True
        return dialect is None and not self.flat and disk.IDSTR not in self.owners.values()

    @property
    def flat(self) -> bool:
        """Whether records do not name blocks."""
        return self.reading.version == ram.VERSION_FLAT

    @property
    def delta(self) -> Kind:
        """The kind of its deltas."""
        zrun = self.reading.dialect is not None and self.reading.dialect.encoding is Encoding.ZRUN
        return Kind.XBZRLE if zrun else Kind.XBRLE

    @property
    def padding(self) -> int | None:
        """How far before a delta's payload its padding stands, in bytes, or None where it has none."""
        if self.reading.dialect is None:
            return None
        header = dtype_of(self.reading.dialect.header(self.reading.endian))
        fields: Mapping[str, Any] = header.fields or {}
        return header.itemsize - int(fields["padding"][1]) if "padding" in fields else None

    def kinds(self) -> tuple[int, ...]:
        """The flags that records of pages can have, CONTINUE aside."""
        flags = [Flag.COMPRESS, Flag.PAGE, ram.delta_flag(self.reading.version)]
        return tuple(int(f) for f in flags + [Flag.COMPRESS_PAGE] * self.modern)


Row = tuple[int, int, int, int, int, int, int, int, int]  # in the order of `table.columns.DTYPES`


@dataclass(slots=True)
class Walk:
    """What came of a walk: its ``rows``, the ``spot`` that it came to, and ``why`` it broke there.

    ``ended``: RAM ended there as it should, or what follows cannot be walked.
    """

    rows: list[Row]
    spot: Spot
    why: Why | None = None
    ended: bool = False

    @property
    def whole(self) -> bool:
        """Whether no law broke."""
        return self.why is None


class _Broken(Exception):  # noqa: N818 - an end, not an error
    def __init__(self, why: Why) -> None:
        self.why = why


class _Ended(Exception):  # noqa: N818 - the same
    pass


class Walker:
    """Walks over ``view`` by the laws of ``grammar``. Offsets are those of the view, plus ``base``.

    Without ``decodes`` it does not look at the payloads of deltas.
    """

    def __init__(self, view: memoryview, grammar: Grammar, base: int = 0, decodes: bool = True) -> None:
        self._decodes = decodes
        self.view = view
        self.grammar = grammar
        self._base = base
        self._data = np.frombuffer(view, np.uint8)
        self._names = {b.name: i for i, b in enumerate(grammar.blocks) if b.declared}
        self._longest = max((b.length for b in grammar.blocks), default=0)
        self._page_flags = frozenset(
            f | c for f in grammar.kinds() for c in (0, Flag.CONTINUE) if c == 0 or not grammar.flat
        )
        self._padding = grammar.padding if grammar.pads else None
        self.rows: list[Row] = []
        #: The ids of the sections that were entered.
        self.entered: list[int] = []

    def walk(self, spot: Spot, limit: int | None = None, stop: int | None = None) -> Walk:
        """Walk on from ``spot`` until a law breaks, RAM ends, ``limit`` records are there, or ``stop`` is reached."""
        rows: list[Row] = []
        self.rows = rows
        while True:
            if (limit is not None and len(rows) >= limit) or (stop is not None and spot.offset >= stop):
                return Walk(rows, spot)
            try:
                spot = self._step(spot)
            except _Broken as broken:
                return Walk(rows, spot, broken.why)
            except _Ended:
                return Walk(rows, spot, ended=True)

    def _step(self, spot: Spot) -> Spot:
        if spot.state is State.RECORD:
            return self._record(spot)
        return self._section(spot) if spot.state is State.SECTION else self._disk(spot)

    def _take(self, at: int, count: int) -> bytes:
        """The ``count`` bytes at offset ``at``, all of which must be there."""
        part = bytes(self.view[at - self._base : at - self._base + count])
        if len(part) < count:
            raise _Broken(Why.ENDS)
        return part

    # -- sections ------------------------------------------------------------------------------------------------------

    def _section(self, spot: Spot) -> Spot:
        at, grammar = spot.offset, self.grammar
        if spot.footer is not None:
            if self._take(at, FOOTER) != qevm.Footer.build({"section_id": spot.footer}):
                raise _Broken(Why.FOOTER)
            return spot._replace(offset=at + FOOTER, footer=None)
        kind = self._take(at, 1)[0]
        if kind in (SectionType.PART, SectionType.END):
            number = int.from_bytes(self._take(at + 1, ID))
            if number not in grammar.owners:
                raise _Broken(Why.OWNER)
            is_ram = grammar.owners[number] == ram.IDSTR
            if spot.last and is_ram:
                raise _Broken(Why.SECTION)
            return self._into(spot, grammar.owners[number], number, at + 1 + ID, kind)
        if kind == SectionType.START:
            name, number, end = self._start(at)
            if name != grammar.owners.get(number):
                raise _Broken(Why.OWNER)
            return self._into(spot, name, number, end, kind)
        if kind == SectionType.COMMAND and grammar.modern:
            number, length = np.frombuffer(self._take(at + 1, COMMAND_HEAD), ">u2").tolist()
            if number not in _COMMANDS:
                raise _Broken(Why.SECTION)
            if number == qevm.Command.PACKAGED:
                raise _Ended
            return spot._replace(offset=at + 1 + COMMAND_HEAD + length)
        if kind == SectionType.FULL and (spot.last is not False or grammar.modern):
            self._start(at)
            raise _Ended
        if kind == SectionType.EOF and spot.last is not False:
            raise _Ended
        raise _Broken(Why.SECTION)

    def _start(self, at: int) -> tuple[bytes, int, int]:
        """The name and id that the head of a START or FULL section at ``at`` says, and where its data begins."""
        number = int.from_bytes(self._take(at + 1, ID))
        size = self._take(at + 1 + ID, 1)[0]
        name = self._take(at + 2 + ID, size)
        end = at + 2 + ID + size + 2 * ID
        version = int.from_bytes(self._take(end - ID, ID))
        if len(name) < 2 or not all(0x21 <= c < 0x7F for c in name) or not is_version(version):
            raise _Broken(Why.SECTION)
        return name, number, end

    def _into(self, spot: Spot, name: bytes, number: int, data: int, kind: int) -> Spot:
        """The spot at the data of an announced section."""
        footer = number if self.grammar.footers else None
        self.entered.append(number)
        if name == ram.IDSTR:
            if not self.grammar.modern and spot.beside not in (None, kind):
                raise _Broken(Why.SECTION)  # the sections of one round are of one type
            return Spot(data, State.RECORD, spot.block, kind == SectionType.END, footer)
        if name == disk.IDSTR:
            return spot._replace(offset=data, state=State.DISK, footer=footer, beside=kind)
        size = by_grammar(self.view[data - self._base : data - self._base + _OTHER_MAX], name)
        if size is None:
            raise _Ended
        return spot._replace(offset=data + size, footer=footer)

    def _disk(self, spot: Spot) -> Spot:
        at = spot.offset
        word = int.from_bytes(self._take(at, WORD))
        flags = word & ((1 << disk.SECTOR_BITS) - 1)
        if flags == disk.Flag.EOS and word == flags:
            return spot._replace(offset=at + WORD, state=State.SECTION)
        if flags == disk.Flag.PROGRESS:
            return spot._replace(offset=at + WORD)
        if flags not in (disk.Flag.DEVICE_BLOCK, disk.Flag.DEVICE_BLOCK | disk.Flag.ZERO_BLOCK):
            raise _Broken(Why.DISK)
        end = at + WORD + 1 + self._take(at + WORD, 1)[0]
        end += 0 if flags & disk.Flag.ZERO_BLOCK else disk.CHUNK
        if end - self._base > len(self.view):
            raise _Broken(Why.ENDS)
        return spot._replace(offset=end)

    # -- records -------------------------------------------------------------------------------------------------------

    def _record(self, spot: Spot) -> Spot:
        found = extent(self.view, spot.offset - self._base, self.grammar.reading)
        if found.flags == Flag.EOS:
            if found.address:
                raise _Broken(Why.EOS)
            self._add(spot.offset, found, NO_BLOCK, WORD)
            return Spot(spot.offset + WORD, State.SECTION, spot.block, spot.last, spot.footer)
        if found.flags in (Flag.MULTIFD_FLUSH, Flag.HOOK) and self.grammar.modern and not found.address:
            self._add(spot.offset, found, NO_BLOCK, WORD)
            return spot._replace(offset=spot.offset + WORD)
        if found.flags not in self._page_flags:
            raise _Broken(Why.ENDS if found.ending is Ending.CUT and found.kind is Kind.NOOP else Why.FLAGS)
        if found.payload > len(self.view):
            raise _Broken(Why.ENDS)  # inside the name
        block = self._block(spot.block, found)
        if found.address >= (self.grammar.blocks[block].length if block >= 0 else self._longest):
            raise _Broken(Why.ADDRESS)
        if found.kind in ram.DELTA_KINDS:
            self._delta(spot.offset, found)
        if found.kind is Kind.COMPRESSED and not is_zlib(
            self.view, found, self.grammar.reading.page_size, len(self.view)
        ):
            raise _Broken(Why.LENGTH)
        if found.ending is Ending.CUT:
            raise _Broken(Why.ENDS)
        self._add(spot.offset, found, block, found.payload + self._base - spot.offset)
        return spot._replace(offset=found.end + self._base, block=block)

    def _block(self, selected: int, found: Extent) -> int:
        """The block of a record, where ``selected`` is the one of the record before."""
        if self.grammar.flat:
            return 0
        if found.name is None:
            if selected == NOTHING:
                raise _Broken(Why.CONTINUE)
            return selected
        block = self._names.get(found.name)
        if block is None and self.grammar.any_name and found.name and all(0x21 <= c < 0x7F for c in found.name):
            return ANY
        if block is None:
            raise _Broken(Why.NAME)
        if block == selected and not self.grammar.modern:
            raise _Broken(Why.CONTINUE)
        return block

    def _delta(self, at: int, found: Extent) -> None:
        grammar, reading = self.grammar, self.grammar.reading
        if found.ending is Ending.UNREAD:
            raise _Broken(Why.HEADER)
        if found.ending is Ending.CUT and not found.header_flags:  # inside the header, of which nothing was read
            raise _Broken(Why.ENDS)
        if not found.header_flags & HeaderFlag.XBRLE or found.header_flags > 3:
            raise _Broken(Why.HEADER)
        if grammar.header_flags is not None and found.header_flags != grammar.header_flags:
            raise _Broken(Why.HEADER)
        if found.ending is Ending.TOO_LONG or found.length <= 0:
            raise _Broken(Why.LENGTH)
        assert reading.dialect is not None
        if found.ending is Ending.CUT:
            raise _Broken(Why.ENDS)
        if self._padding is not None and self.view[found.payload - self._padding]:
            raise _Broken(Why.PADDING)
        if not self._decodes:
            return
        if reading.dialect.encoding is Encoding.RLE:
            if found.length % _PAIR or sum(self.view[found.payload : found.end : _PAIR]) != reading.page_size:
                raise _Broken(Why.RUNS)
        elif not comes_to_a_page(self._data, found.payload, found.end, reading.dialect, reading.page_size):
            raise _Broken(Why.RUNS)

    def _add(self, at: int, found: Extent, block: int, head: int) -> None:
        number = NO_BLOCK if block < 0 else block
        row = (at, found.address, found.length, found.checksum or 0, found.flags, number, head, int(found.kind))
        self.rows.append((*row, found.header_flags))


def columns_of(rows: list[Row]) -> Columns:
    """The rows of a walk as columns."""
    values = zip(*rows, strict=True) if rows else [()] * len(DTYPES)
    return Columns(*(np.array(v, dtype) for v, dtype in zip(values, DTYPES.values(), strict=True)))
