"""multifd channels: the pages of a migration's extra connections, placed among the records of its main channel.

Facts: formats/README.md, "multifd". A SYNC packet on every channel pairs with one record of the main channel. What lies
between two of these is an epoch; in it packets follow their numbers. The pages are unpacked into a spool behind the
main channel's bytes, so that a channel's record has an offset like any other.
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
from ..source.packing import is_damage, zstd_decoder
from ..source.sources import MappedSource, mapped
from ..table.columns import DTYPES, NO_BLOCK, Columns, join

_UNPACKED_MAX = 1 << 20  # bytes of pages that are unpacked at once
_ZSTD_MAX = 1 << 10  # packed bytes that go into zstd at once: at most 32 MiB come out, since a block has 128 KiB
_NUMBER_MAX = np.iinfo(np.int64).max  # of a packet: what int64 cannot hold loses its highest bit
_OFFSET = dtype_of(multifd.Offset)
_HEADER = dtype_of(multifd.PacketHeader)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a channel. Its header stands at ``offset`` of the channel's file, its data at ``data``.

    ``normal`` and ``zero`` are offsets of pages in the block. ``first_page`` counts the normal pages of the packets
    before this one. The next packet begins at ``stop``.
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
    """One connection's packets. ``damage`` is where and why reading stopped before the connection's end, if it did."""

    name: str
    id: int
    packets: tuple[Packet, ...]
    damage: tuple[int, str] | None

    @property
    def epochs(self) -> int:
        """How many epochs end here: the number of SYNCs."""
        return sum(p.sync for p in self.packets)

    @property
    def pages(self) -> int:
        """How many pages came with their content."""
        return sum(len(p.normal) for p in self.packets)

    @property
    def zeros(self) -> int:
        """How many pages came as zero pages."""
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
    """The packets of one channel. Their pages stay packed.

    Raises:
        XbrleError: ``source`` is not a multifd channel.
    """
    try:
        init = multifd.Init.parse(source.view[: multifd.Init.sizeof()])
    except ConstructError:
        raise XbrleError(f"{source.name}: is not a multifd channel") from None
    at, epoch, pages = multifd.Init.sizeof(), 0, 0
    packets: list[Packet] = []
    damage = None
    while at < source.size:
        packet = _packet(source, at, epoch, pages, page_size)
        if isinstance(packet, str):
            damage = (at, packet)
            break
        packets.append(packet)
        epoch += packet.sync
        pages += len(packet.normal)
        at = packet.stop
    return Channel(source.name, init.id[0], tuple(packets), damage or _source_damage(source))


def _source_damage(source: MappedSource) -> tuple[int, str] | None:
    return (source.size, source.damage) if source.damage else None


def _packet(source: MappedSource, at: int, epoch: int, pages: int, page_size: int) -> Packet | str:
    """The packet at ``at``, or why none can be read there."""
    start = at + _HEADER.itemsize
    if start > source.size:
        return "the channel ends inside a packet's header"
    header = np.frombuffer(source.view[at:start], _HEADER)[0]
    if header["magic"] != multifd.MAGIC or header["version"] != multifd.VERSION:
        return "no packet begins here"
    allocated, normal, zero = (int(header[n]) for n in ("pages_allocated", "normal_pages", "zero_pages"))
    data = start + allocated * _OFFSET.itemsize
    if normal + zero > allocated:
        return f"a packet claims {normal} pages and {zero} zero pages, but has room for {allocated}"
    if data > source.size:
        return "the channel ends inside a packet's offsets"
    method = (int(header["flags"]) & multifd.METHOD_MASK) >> multifd.METHOD_SHIFT
    size = int(header["next_packet_size"]) if normal else 0
    if normal and method == Method.NONE and size != normal * page_size:
        return f"a packet claims {normal} pages in {size} bytes"
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
    """The packed bytes of a channel's packets, one packet after the other."""

    def __init__(self, source: MappedSource, packets: Sequence[Packet]) -> None:
        self._pieces = iter([source.view[p.data : p.stop] for p in packets if len(p.normal)])
        self._piece = memoryview(b"")

    def read(self, count: int) -> bytes:
        """The next bytes, ``count`` at most; none at the end."""
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return b""
            self._piece = following
        out, self._piece = self._piece[:count], self._piece[count:]
        return bytes(out)


def _unpacked(method: int, payloads: _Payloads, total: int) -> Iterator[bytes]:
    """``total`` bytes of pages, in pieces; fewer where the packed bytes are damaged, and never more."""
    if method == Method.ZLIB:
        yield from _inflated(payloads, total)
        return
    decode = bytes if method == Method.NONE else zstd_decoder()
    step = _UNPACKED_MAX if method == Method.NONE else _ZSTD_MAX
    while total and (packed := payloads.read(step)):
        try:
            piece = decode(packed)[:total]
        except Exception as error:
            if not is_damage(error):
                raise
            return
        total -= len(piece)
        yield piece


def _inflated(payloads: _Payloads, total: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    while total:
        packed = inflater.unconsumed_tail or payloads.read(_UNPACKED_MAX)
        if not packed or inflater.eof:
            return
        try:
            piece = inflater.decompress(packed, min(_UNPACKED_MAX, total))
        except zlib.error:
            return
        total -= len(piece)
        yield piece


@dataclass(frozen=True, slots=True)
class Spool:
    """The main channel's bytes, after them the pages of every channel, and what is known of the channels.

    The channels' pages begin at ``main_size``; ``columns`` are their records. ``channel``, ``packet``, ``epoch`` and
    ``number`` are those of each record, (n,) int64: index of the channel, index of the packet on it, its epoch, and the
    number that the packet states.
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
        """What is wrong with the channels, and which of them do not match the main channel's records."""
        syncs = int(np.count_nonzero(_syncs(main)))
        damaged = [f"{c.name}: {c.damage[1]} (at its offset {c.damage[0]:#x})" for c in self.channels if c.damage]
        unequal = [c for c in self.channels if c.epochs != syncs]
        return [
            *damaged,
            *(f"{c.name}: has {c.epochs} synchronisations, but the main channel has {syncs}" for c in unequal),
        ]

    def places(self, offsets: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where records came from: the index of the channel and the offset of the packet in its file, (n,) int64 each.

        The main channel's records have -1 and their own offsets.
        """
        channel, at = np.full(len(offsets), -1), offsets.astype(np.int64)
        of_channels = np.flatnonzero(offsets >= np.uint64(self.main_size))
        rows = np.searchsorted(self.columns.offset, offsets[of_channels], side="right") - 1
        channel[of_channels] = self.channel[rows]
        for i, c in enumerate(self.channels):
            packet_offsets = np.array([p.offset for p in c.packets], np.int64)
            of_this = channel[of_channels] == i
            at[of_channels[of_this]] = packet_offsets[self.packet[rows[of_this]]]
        return channel, at

    def broken(self, columns: Columns) -> int | None:
        """The first row whose place among the others is not certain; None where all are.

        ``columns`` are all records in their order. From that row on a channel's packets are lost, or the epochs of a
        channel and of the main channel do not match.
        """
        sync_rows = np.flatnonzero(_syncs(columns))
        ends = [c.epochs for c in self.channels if c.damage or c.epochs != len(sync_rows)]
        if not ends:
            return None
        epoch = min(*ends, len(sync_rows))
        return int(sync_rows[epoch - 1]) + 1 if epoch else 0


def spool(main: MappedSource, openables: Sequence[Openable], page_size: int, blocks: dict[bytes, int]) -> Spool:
    """Unpack all channels behind the main channel's bytes.

    ``blocks`` has the index of each of the main channel's RAM blocks, by name.

    Raises:
        XbrleError: one of ``openables`` is not a multifd channel, or two are the same channel.
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
                raise XbrleError(f"{source.name}: channel {channel.id} is given twice")
            pages, packets, damage = _pages(source, channel, page_size, file, at, blocks)
            at += int(pages.length.sum())
            if damage is not None and channel.damage is None:
                channel = Channel(channel.name, channel.id, channel.packets, damage)
            channels.append(channel)
            columns.append(pages)
            epochs = np.array([p.epoch for p in channel.packets] or [0], np.int64)
            numbers = np.array([p.number & _NUMBER_MAX for p in channel.packets] or [0], np.int64)
            keys.append((np.full(len(pages), i), packets, epochs[packets], numbers[packets]))
        file.flush()
        joined = MappedSource(main.name, mapped(file), main.wrapper)
    channel_of, packet, epoch, number = (np.concatenate([np.empty(0, np.int64), *k]) for k in zip(*keys, strict=True))
    return Spool(joined, main.size, tuple(channels), join(columns), channel_of, packet, epoch, number)


def _pages(
    source: MappedSource, channel: Channel, page_size: int, file: BinaryIO, at: int, blocks: dict[bytes, int]
) -> tuple[Columns, NDArray[np.int64], tuple[int, str] | None]:
    """Write a channel's pages to ``file``, whose end is offset ``at``; gives their records, packets and any damage.

    A zero page takes one byte there, its fill.
    """
    unpacked = _unpack(source, channel, page_size, file, at)
    damage = None
    if unpacked < channel.pages:
        lost = next(p for p in channel.packets if p.first_page + len(p.normal) > unpacked)
        damage = (lost.offset, "this packet's pages cannot be unpacked, nor can any after it")
    file.write(bytes(channel.zeros))
    pieces: list[Columns] = []
    packets: list[NDArray[np.int64]] = []
    for i, packet in enumerate(channel.packets):
        count = min(len(packet.normal), max(0, unpacked - packet.first_page))
        block, first = blocks.get(packet.block, NO_BLOCK), at + packet.first_page * page_size
        pieces.append(_records(Kind.PAGE, packet.normal[:count], block, first, page_size))
        packets.append(np.full(count, i))
    zero_at = at + unpacked * page_size
    for i, packet in enumerate(channel.packets):
        if len(packet.zero):
            pieces.append(_records(Kind.DUP, packet.zero, blocks.get(packet.block, NO_BLOCK), zero_at, 1))
            packets.append(np.full(len(packet.zero), i))
            zero_at += len(packet.zero)
    return join(pieces), np.concatenate([np.empty(0, np.int64), *packets]), damage


def _unpack(source: MappedSource, channel: Channel, page_size: int, file: BinaryIO, at: int) -> int:
    """Write a channel's normal pages to ``file``, whose end is offset ``at``; returns how many could be unpacked."""
    methods = {p.method for p in channel.packets if len(p.normal)}
    method = min(methods, default=int(Method.NONE))
    if len(methods) > 1 or method not in set(Method):
        raise XbrleError(
            f"{channel.name}: its packets name compressions {sorted(methods)}; this reads 0, 1 and 2, one a channel"
        )
    written = 0
    for piece in _unpacked(method, _Payloads(source, channel.packets), channel.pages * page_size):
        file.write(piece)
        written += len(piece)
    pages = written // page_size
    file.seek(at + pages * page_size)
    file.truncate()
    return pages


def _records(kind: Kind, addresses: NDArray[np.uint64], block: int, at: int, length: int) -> Columns:
    """The records of one packet's pages, whose bytes stand one after the other from offset ``at`` on."""
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
    """Which records a SYNC on every channel pairs with: each FLUSH if there are any [Q], else each EOS [C]."""
    kind = Kind.FLUSH if bool((main.kind == Kind.FLUSH).any()) else Kind.EOS
    return np.asarray(main.kind == kind)


def order(main: Columns, pages: Spool) -> NDArray[np.int64]:
    """The order in time of the main channel's records and, numbered after them, the channels' records, (n,) int64.

    A receiver takes the records of the two sides in one epoch in any order, but those of one side in their own. They
    are merged by the sweeps over the blocks that each side makes, and by address.
    """
    ends_epoch = _syncs(main)
    epoch = np.concatenate([np.cumsum(ends_epoch) - ends_epoch, pages.epoch])
    by_number = np.lexsort((np.arange(len(pages.columns)), pages.number, pages.epoch))
    sides = [(np.arange(len(main)), main), (by_number + len(main), pages.columns.take(by_number))]
    sweeps, place = np.zeros(len(epoch), np.int64), np.zeros(len(epoch), np.int64)
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
        first = np.searchsorted(within, within)  # the first record of each record's epoch
        sweeps[rows] = sweep - sweep[first]
        address[rows] = np.where(columns.block != NO_BLOCK, columns.address, 0)
        place[rows] = np.arange(len(rows))
    is_sync = np.concatenate([ends_epoch, np.zeros(len(pages.columns), bool)])
    return np.lexsort((place, address, sweeps, is_sync, epoch))
