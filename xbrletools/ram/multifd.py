"""multifd channels: the pages of a migration's extra connections, placed among the records of its main channel.

Facts: formats/README.md, "multifd". A SYNC packet on every channel pairs with a point of the main channel; between two
of these points, an epoch, packets follow their numbers. The pages are unpacked into a spool that lies behind the main
channel's bytes, so that a channel's record has an offset like any other.
"""

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import multifd
from ..formats.multifd import Flag, Method
from ..formats.ram import Flag as RecordFlag
from ..formats.ram import Kind
from ..source.opening import Openable, open_source
from ..source.packing import zstd_decoder
from ..source.sources import MappedSource, mapped
from ..table.columns import DTYPES, NO_BLOCK, Columns, join

PIECE = 1 << 20  # bytes that are unpacked at once
ZSTD_PIECE = 1 << 10  # packed bytes that go in at once: they come to no more than 32 MiB, blocks being 128 KiB
_OFFSET = np.dtype(">u8")
_HEADER = dtype_of(multifd.PacketHeader)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a channel: its header stands at ``offset`` of that channel's file, its data at ``data``.

    ``first_page`` counts the pages of the packets before it on this channel; ``stop`` is where the next packet begins.
    """

    offset: int
    number: int
    epoch: int
    sync: bool
    method: int
    block: bytes
    normal: NDArray[np.uint64]
    zero: NDArray[np.uint64]
    data: int
    stop: int
    first_page: int


@dataclass(frozen=True, slots=True)
class Channel:
    """One connection's packets; ``damage`` says why the last of them is not its end, and at which offset."""

    name: str
    id: int
    packets: tuple[Packet, ...]
    damage: tuple[int, str] | None

    @property
    def epochs(self) -> int:
        """How many SYNCs there are."""
        return sum(p.sync for p in self.packets)

    @property
    def pages(self) -> int:
        """How many pages with content there are."""
        return sum(len(p.normal) for p in self.packets)

    @property
    def zeros(self) -> int:
        """How many pages of zeros there are."""
        return sum(len(p.zero) for p in self.packets)

    @property
    def packed(self) -> int:
        """The bytes that the pages take on the wire."""
        return sum(p.stop - p.data for p in self.packets)

    @property
    def size(self) -> int:
        """The bytes of the channel, as far as it was read."""
        return self.packets[-1].stop if self.packets else multifd.Init.sizeof()

    @property
    def method(self) -> str:
        """How its pages are packed: none, zlib or zstd."""
        number = max((p.method for p in self.packets if len(p.normal)), default=int(Method.NONE))
        return Method(number).name.lower() if number in set(Method) else str(number)


def read(source: MappedSource, page_size: int) -> Channel:
    """The packets of one channel, their pages not yet unpacked.

    Raises:
        XbrleError: this is no multifd channel.
    """
    try:
        init = multifd.Init.parse(source.view[: multifd.Init.sizeof()])
    except ConstructError:
        raise XbrleError(f"{source.name}: is no multifd channel") from None
    at, epoch, pages = multifd.Init.sizeof(), 0, 0
    packets: list[Packet] = []
    damage = None
    while at < source.size:
        found = _packet(source, at, epoch, pages, page_size)
        if isinstance(found, str):
            damage = (at, found)
            break
        packets.append(found)
        epoch += found.sync
        pages += len(found.normal)
        at = found.stop
    return Channel(source.name, init.id[0], tuple(packets), damage or _source_damage(source))


def _source_damage(source: MappedSource) -> tuple[int, str] | None:
    return (source.size, source.damage) if source.damage else None


def _packet(source: MappedSource, at: int, epoch: int, pages: int, page_size: int) -> Packet | str:
    """The packet at ``at``, or why there is none."""
    start = at + _HEADER.itemsize
    if start > source.size:
        return "the channel ends inside a packet's header"
    header = np.frombuffer(source.view[at:start], _HEADER)[0]
    if header["magic"] != multifd.MAGIC or header["version"] != multifd.VERSION:
        return "no packet begins here"
    allocated, normal, zero = (int(header[n]) for n in ("pages_allocated", "normal_pages", "zero_pages"))
    data = start + allocated * _OFFSET.itemsize
    if normal + zero > allocated:
        return f"a packet of {normal} pages and {zero} zero pages, where {allocated} is its most"
    if data > source.size:
        return "the channel ends inside a packet's offsets"
    method = (int(header["flags"]) & multifd.METHOD_MASK) >> multifd.METHOD_SHIFT
    size = int(header["next_packet_size"]) if normal else 0
    if normal and method == Method.NONE and size != normal * page_size:
        return f"{normal} pages in {size} bytes"
    if data + size > source.size:
        return "the channel ends inside a packet's pages"
    offsets = np.frombuffer(source.view[start:data], _OFFSET).astype(np.uint64)
    return Packet(
        offset=at,
        number=int(header["packet_number"]),
        epoch=epoch,
        sync=bool(header["flags"] & Flag.SYNC),
        method=method,
        block=header["ramblock"].tobytes().split(b"\0", 1)[0],
        normal=offsets[:normal],
        zero=offsets[normal : normal + zero],
        data=data,
        stop=data + size,
        first_page=pages,
    )


class _Payloads:
    """The packed bytes of a channel's packets, one after the other."""

    def __init__(self, source: MappedSource, packets: Sequence[Packet]) -> None:
        self._pieces = iter([source.view[p.data : p.stop] for p in packets if len(p.normal)])
        self._piece = memoryview(b"")

    def read(self, count: int) -> bytes:
        """No more than ``count`` bytes; none at the end."""
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return b""
            self._piece = following
        out, self._piece = self._piece[:count], self._piece[count:]
        return bytes(out)


def _unpacked(method: int, payloads: _Payloads, total: int) -> Iterator[bytes]:
    """``total`` bytes of pages, in pieces, or fewer where the packed bytes are damaged; never more."""
    if method == Method.ZLIB:
        yield from _inflated(payloads, total)
        return
    decode = bytes if method == Method.NONE else zstd_decoder()
    step = PIECE if method == Method.NONE else ZSTD_PIECE
    while total and (packed := payloads.read(step)):
        try:
            piece = decode(packed)[:total]
        except (EOFError, ValueError):
            return
        except Exception as error:  # zstandard's own error type is not known without importing it
            if type(error).__name__ != "ZstdError":
                raise
            return
        total -= len(piece)
        yield piece


def _inflated(payloads: _Payloads, total: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    while total:
        packed = inflater.unconsumed_tail or payloads.read(PIECE)
        if not packed or inflater.eof:
            return
        try:
            piece = inflater.decompress(packed, min(PIECE, total))
        except zlib.error:
            return
        total -= len(piece)
        yield piece


@dataclass(frozen=True, slots=True)
class Spool:
    """The main channel's bytes and after them every channel's pages, and what is known of the channels.

    ``columns`` are the records of the channels' pages; ``channel``, ``packet`` (its place on its channel), ``epoch``
    and ``number`` are those of each, (n,) int64. ``main_size`` is where the channels' pages begin.
    """

    source: MappedSource
    main_size: int
    channels: tuple[Channel, ...]
    columns: Columns
    channel: NDArray[np.int64]
    packet: NDArray[np.int64]
    epoch: NDArray[np.int64]
    number: NDArray[np.int64]

    def complaints(self, main: Columns) -> list[str]:
        """What is wrong with the channels, and where they do not go with the main channel's records."""
        points = int(np.count_nonzero(_syncs(main)))
        said = [f"{c.name}: {c.damage[1]} (at its offset {c.damage[0]:#x})" for c in self.channels if c.damage]
        said += [
            f"{c.name}: {c.epochs} synchronisations, and the main channel has {points}"
            for c in self.channels
            if c.epochs != points
        ]
        return said

    def places(self, offsets: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where records came from: the index of the channel and the offset of the packet in its file, (n,) int64 each.

        -1 for the main channel's records, with their own offsets.
        """
        channel, at = np.full(len(offsets), -1), offsets.astype(np.int64)
        others = np.flatnonzero(offsets >= np.uint64(self.main_size))
        rows = np.searchsorted(self.columns.offset, offsets[others], side="right") - 1
        channel[others] = self.channel[rows]
        starts = [np.array([p.offset for p in c.packets], np.int64) for c in self.channels]
        for i, mine in enumerate(starts):
            chosen = channel[others] == i
            at[others[chosen]] = mine[self.packet[rows[chosen]]]
        return channel, at

    def broken(self, columns: Columns) -> int | None:
        """The first row of ``columns``, which are all records in their order, that need not stand where it does.

        From there on a channel's packets are lost, or its epochs and the main channel's do not go together. None where
        all is well.
        """
        points = np.flatnonzero(_syncs(columns))
        ends = [c.epochs for c in self.channels if c.damage or c.epochs != len(points)]
        if not ends:
            return None
        epoch = min(*ends, len(points))
        return int(points[epoch - 1]) + 1 if epoch else 0


def spool(main: MappedSource, openables: Sequence[Openable], page_size: int, blocks: dict[bytes, int]) -> Spool:
    """Unpack all channels behind the main channel's bytes.

    ``blocks`` are the indexes of the main channel's RAM blocks, by name.

    Raises:
        XbrleError: one of them is no multifd channel, or is one twice.
    """
    sources = [open_source(o).spool() for o in openables]
    channels: list[Channel] = []
    columns: list[Columns] = []
    keys: list[tuple[NDArray[np.int64], ...]] = []
    with tempfile.TemporaryFile() as file:
        file.write(main.view)
        at = main.size
        for i, source in enumerate(sources):
            channel = read(source, page_size)
            if any(c.id == channel.id for c in channels):
                raise XbrleError(f"{source.name}: channel {channel.id} was given already")
            pages, packets, damage = _pages(source, channel, page_size, file, at, blocks)
            at += int(pages.length.sum())
            if damage is not None and channel.damage is None:
                channel = Channel(channel.name, channel.id, channel.packets, damage)
            channels.append(channel)
            columns.append(pages)
            epochs = np.array([p.epoch for p in channel.packets] or [0], np.int64)
            numbers = np.array([p.number & 0x7FFF_FFFF_FFFF_FFFF for p in channel.packets] or [0], np.int64)
            keys.append((np.full(len(pages), i), packets, epochs[packets], numbers[packets]))
        file.flush()
        joined = MappedSource(main.name, mapped(file), main.wrapper)
    channel_of, packet, epoch, number = (np.concatenate([np.empty(0, np.int64), *k]) for k in zip(*keys, strict=True))
    return Spool(joined, main.size, tuple(channels), join(columns), channel_of, packet, epoch, number)


def _pages(
    source: MappedSource, channel: Channel, page_size: int, file: BinaryIO, at: int, blocks: dict[bytes, int]
) -> tuple[Columns, NDArray[np.int64], tuple[int, str] | None]:
    """Write a channel's pages to ``file``, whose end is offset ``at``; gives their records, packets and any damage."""
    methods = {p.method for p in channel.packets if len(p.normal)}
    damage = None
    method = min(methods, default=int(Method.NONE))
    if len(methods) > 1 or method not in set(Method):
        raise XbrleError(
            f"{channel.name}: packs its pages in ways {sorted(methods)}, known are 0, 1 and 2, one a channel"
        )
    total = channel.pages * page_size
    written = 0
    for piece in _unpacked(method, _Payloads(source, channel.packets), total):
        file.write(piece)
        written += len(piece)
    whole = written // page_size
    file.seek(at + whole * page_size)
    file.truncate()
    if whole < channel.pages:
        lost = next(p for p in channel.packets if p.first_page + len(p.normal) > whole)
        damage = (lost.offset, "this packet's pages cannot be unpacked, nor any after it")
    at += whole * page_size
    zeros = sum(len(p.zero) for p in channel.packets)
    file.write(bytes(zeros))
    pieces: list[Columns] = []
    packets: list[NDArray[np.int64]] = []
    for i, packet in enumerate(channel.packets):
        block = blocks.get(packet.block, NO_BLOCK)
        count = min(len(packet.normal), max(0, whole - packet.first_page))
        first = at - (whole - packet.first_page) * page_size
        pieces.append(_records(Kind.PAGE, packet.normal[:count], block, first, page_size))
        packets.append(np.full(count, i))
    zero_at = at
    for i, packet in enumerate(channel.packets):
        if len(packet.zero):
            pieces.append(_records(Kind.DUP, packet.zero, blocks.get(packet.block, NO_BLOCK), zero_at, 1))
            packets.append(np.full(len(packet.zero), i))
            zero_at += len(packet.zero)
    return join(pieces), np.concatenate([np.empty(0, np.int64), *packets]), damage


def _records(kind: Kind, addresses: NDArray[np.uint64], block: int, at: int, length: int) -> Columns:
    """The records of one packet's pages, which lie one after the other from offset ``at``."""
    count = len(addresses)
    flag = RecordFlag.PAGE if kind is Kind.PAGE else RecordFlag.COMPRESS
    values = {
        "offset": at + length * np.arange(count),
        "address": addresses,
        "length": np.full(count, length),
        "flags": np.full(count, flag),
        "block": np.full(count, block),
        "kind": np.full(count, kind),
    }
    return Columns(**{n: values.get(n, np.zeros(count)).astype(t) for n, t in DTYPES.items()})


def _syncs(main: Columns) -> NDArray[np.bool_]:
    """The records that a SYNC on every channel pairs with: FLUSH where there are any [Q], else EOS [C]."""
    kind = Kind.FLUSH if bool((main.kind == Kind.FLUSH).any()) else Kind.EOS
    return np.asarray(main.kind == kind)


def order(main: Columns, pages: Spool) -> NDArray[np.int64]:
    """How main records and, after them, the channels' records follow each other in time, (n,) int64.

    A receiver takes an epoch's records in no fixed order, but each side's in its own: they are merged by the sweeps
    over the blocks that each side makes, and by address.
    """
    at_sync = _syncs(main)
    epoch = np.concatenate([np.cumsum(at_sync) - at_sync, pages.epoch])
    own = np.lexsort((np.arange(len(pages.columns)), pages.number, pages.epoch))
    sides = [(np.arange(len(main)), main), (own + len(main), pages.columns.take(own))]
    step, place = np.zeros(len(epoch), np.int64), np.zeros(len(epoch), np.int64)
    address = np.zeros(len(epoch), np.uint64)
    for rows, columns in sides:
        if not len(rows):
            continue
        paged = np.flatnonzero(columns.block != NO_BLOCK)
        begins = np.zeros(len(rows), bool)
        begins[paged[1:]] = (columns.block[paged][1:] != columns.block[paged][:-1]) | (
            columns.address[paged][1:] < columns.address[paged][:-1]
        )
        sweep = np.cumsum(begins)
        within = epoch[rows]
        first = np.searchsorted(within, within)  # the first of its epoch
        step[rows] = sweep - sweep[first]
        address[rows] = np.where(columns.block != NO_BLOCK, columns.address, 0)
        place[rows] = np.arange(len(rows))
    is_sync = np.concatenate([at_sync, np.zeros(len(pages.columns), bool)])
    return np.lexsort((place, address, step, is_sync, epoch))
