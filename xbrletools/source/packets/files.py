"""Where the packets stand in a pcap or a pcapng, many at a time.

Facts: formats/README.md, "Packet dumps". What a header claims is believed only as far as the file has bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codec.layout import dtype_of
from ...formats import Grammar, packets
from ...formats.packets import BLOCK_ALIGN, BLOCK_LENGTH_LEAST, Block, Option

BATCH = 1 << 15  # packets that are given at once
INTERFACES_MAX = 1 << 16  # of one section
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_DECIMAL_MAX = 18  # of a resolution: 10**-18 s
_BINARY_MAX = 60


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets in the order of the dump, each column (n,) int64.

    ``link`` says what a packet begins with (`formats.packets.Link`). ``at`` is the offset of its first byte in the
    dump, ``captured`` how many of its bytes are there, and ``length`` how many there were. ``time`` counts nanoseconds
    since 1970 UTC. It is 0 where the dump does not have times.
    """

    link: NDArray[np.int64]
    at: NDArray[np.int64]
    captured: NDArray[np.int64]
    length: NDArray[np.int64]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)


@dataclass(slots=True)
class Ending:
    """How a dump ends: ``damage`` says what is wrong and where, None where it ends in order.

    ``dropped`` is how many packets the dump itself says were not recorded.
    """

    damage: str | None = None
    dropped: int = 0


def read(view: memoryview, ending: Ending) -> Iterator[Packets]:
    """The packets of the dump whose bytes are ``view``. ``ending`` is complete when all were given."""
    rows: list[tuple[int, int, int, int, int]] = []
    every = _pcap(view, ending) if view[:4] != packets.PCAPNG_MAGIC else _pcapng(view, ending)
    for row in every:
        rows.append(row)
        if len(rows) >= BATCH:
            yield _columns(rows)
            rows = []
    yield _columns(rows)


def _columns(rows: list[tuple[int, int, int, int, int]]) -> Packets:
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Packets(*(np.ascontiguousarray(table[:, i]) for i in range(5)))


def _struct(grammar: Grammar, endian: str) -> struct.Struct:
    """The numbers of a grammar as `struct` reads them, which for one at a time is many times as fast."""
    kinds = [dtype for dtype, *_ in (dtype_of(grammar).fields or {}).values()]
    letters = (f"{k.itemsize}s" if k.subdtype else _LETTERS[k.itemsize] for k in kinds)
    return struct.Struct(("<" if endian == "little" else ">") + "".join(letters))


# -- pcap -------------------------------------------------------------------------------------------------------------


def _pcap(view: memoryview, ending: Ending) -> Iterator[tuple[int, int, int, int, int]]:
    kind = packets.PCAP_MAGICS[bytes(view[:4])]
    header = packets.pcap_header(kind.endian)
    start, size = header.sizeof(), len(view)
    if size < start:
        ending.damage = "the dump ends inside its header"
        return
    link = int(header.parse(view[:start]).link) & packets.LINK_MASK
    record = _struct(packets.pcap_record(kind.endian, kind.modified), kind.endian)
    unpack, length_of, fractions = record.unpack_from, record.size, kind.fractions
    unit = packets.NANO // fractions
    at = start
    while at < size:
        data = at + length_of
        if data > size:
            ending.damage = f"the dump ends inside a packet's header, at its offset {at:#x}"
            return
        seconds, fraction, captured, length = unpack(view, at)[:4]
        if captured > packets.CAPTURED_MAX or fraction >= fractions:
            ending.damage = f"the dump is damaged at its offset {at:#x}: no packet's header stands there"
            return
        time = seconds * packets.NANO + fraction * unit
        if data + captured > size:
            ending.damage = f"the dump ends inside a packet, at its offset {at:#x}"
            yield link, data, size - data, max(length, captured), time
            return
        yield link, data, captured, max(length, captured), time
        at = data + captured


# -- pcapng -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Interface:
    """What packets of an interface begin with, and how their times count: ``units`` a second, from ``offset`` on."""

    link: int
    snaplen: int
    units: int
    offset: int

    def time(self, high: int, low: int) -> int:
        """Nanoseconds since 1970 UTC. A time that no clock shows is 0."""
        found = (high << 32 | low) * packets.NANO // self.units + self.offset * packets.NANO
        return found if 0 <= found < 1 << 62 else 0


class _Section:
    """The forms of blocks in a section of one byte order."""

    def __init__(self, endian: str) -> None:
        self.endian = endian
        self.interfaces: list[_Interface] = []
        self.head = _struct(packets.block_head(endian), endian)
        self.word = struct.Struct("<I" if endian == "little" else ">I")
        self.enhanced = _struct(packets.enhanced_body(endian), endian)
        self.packet = _struct(packets.packet_body(endian), endian)
        self.simple = _struct(packets.simple_body(endian), endian)
        self.option = _struct(packets.option_head(endian), endian)
        self.interface = packets.interface_body(endian)

    def options(self, view: memoryview, at: int, end: int) -> Iterator[tuple[int, memoryview]]:
        """The options in [at, end), each with its code and value."""
        while at + self.option.size <= end:
            code, length = self.option.unpack_from(view, at)
            at += self.option.size
            if code == Option.END or at + length > end:
                return
            yield code, view[at : at + length]
            at += length + -length % BLOCK_ALIGN

    def enter(self, view: memoryview, at: int, end: int) -> None:
        """Note the interface whose block has its body in [at, end)."""
        size = self.interface.sizeof()
        if end - at < size or len(self.interfaces) >= INTERFACES_MAX:
            return
        body = self.interface.parse(view[at : at + size])
        units, offset = 10**packets.RESOLUTION_DEFAULT, 0
        for code, value in self.options(view, at + size, end):
            if code == Option.RESOLUTION and len(value) == 1:
                power = value[0] & ~packets.RESOLUTION_BINARY
                binary = value[0] & packets.RESOLUTION_BINARY
                units = 1 << min(power, _BINARY_MAX) if binary else 10 ** min(power, _DECIMAL_MAX)
            elif code == Option.TIME_OFFSET and len(value) == 8:
                offset = int.from_bytes(value, "little" if self.endian == "little" else "big", signed=True)
        self.interfaces.append(_Interface(int(body.link), int(body.snaplen), units, offset))

    def dropped(self, view: memoryview, at: int, end: int) -> int:
        """How many packets were dropped, by the statistics whose block has its body in [at, end)."""
        order: Any = "little" if self.endian == "little" else "big"
        counts = (Option.DROPPED_BY_INTERFACE, Option.DROPPED_BY_SYSTEM)
        start = at + 12  # an interface and a time
        return sum(int.from_bytes(v, order) for c, v in self.options(view, start, end) if c in counts and len(v) == 8)


def _pcapng(view: memoryview, ending: Ending) -> Iterator[tuple[int, int, int, int, int]]:
    at, size = 0, len(view)
    section: _Section | None = None
    dropped: dict[int, int] = {}
    while at < size:
        if bytes(view[at : at + 4]) == packets.PCAPNG_MAGIC:
            section = _Section("big" if view[at + 8 : at + 12] == packets.BYTE_ORDER else "little")
        if section is None or size - at < BLOCK_LENGTH_LEAST:
            ending.damage = f"the dump ends inside a block, at its offset {at:#x}"
            return
        kind, length = section.head.unpack_from(view, at)
        body, end = at + section.head.size, at + length - section.word.size
        if length < BLOCK_LENGTH_LEAST or length % BLOCK_ALIGN:
            ending.damage = f"the dump is damaged at its offset {at:#x}: a block of {length} bytes"
            return
        cut = end + section.word.size > size
        if not cut and section.word.unpack_from(view, end)[0] != length:
            ending.damage = f"the dump is damaged at its offset {at:#x}: a block's two lengths differ"
            return
        if kind == Block.INTERFACE:
            section.enter(view, body, min(end, size))
        elif kind == Block.STATISTICS and not cut:
            dropped[len(dropped) % INTERFACES_MAX] = section.dropped(view, body, end)
            ending.dropped = sum(dropped.values())
        elif kind in (Block.ENHANCED, Block.PACKET, Block.SIMPLE):
            row = _packet(section, kind, view, body, min(end, size))
            if row is not None:
                yield row
            elif not cut:
                ending.damage = f"the dump is damaged at its offset {at:#x}: a packet of no interface, or of no length"
                return
        if cut:
            ending.damage = f"the dump ends inside a block, at its offset {at:#x}"
            return
        at += length


def _packet(section: _Section, kind: int, view: memoryview, at: int, end: int) -> tuple[int, int, int, int, int] | None:
    """The packet of the block of this ``kind`` whose body stands in [at, end). None where that cannot be one."""
    form = {Block.ENHANCED: section.enhanced, Block.PACKET: section.packet}.get(Block(kind), section.simple)
    if end - at < form.size:
        return None
    data = at + form.size
    fields = form.unpack_from(view, at)
    if kind == Block.SIMPLE:
        number, time, length = 0, None, fields[0]
        if not section.interfaces:
            return None
        captured = min(length, section.interfaces[0].snaplen or length, end - data)
    else:
        number, high, low = fields[0], fields[-4], fields[-3]
        captured, length = fields[-2:]
        time = (high, low)
    if number >= len(section.interfaces) or captured > packets.CAPTURED_MAX:
        return None
    interface = section.interfaces[number]
    moment = 0 if time is None else interface.time(*time)
    return interface.link, data, min(captured, end - data), max(length, captured), moment
