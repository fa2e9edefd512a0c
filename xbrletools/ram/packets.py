"""Reads the packets of a multifd channel.

Facts: formats/README.md, "multifd". A packet has a fixed part, room for the offsets of its pages, and data. Only the
walk from one packet to the next is a loop, since only a packet says where it ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..arrays import overlapped
from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import multifd
from ..formats.multifd import Flag, Method
from ..source.sources import MappedSource
from ..table.packets import Packets, method_name

Ints = NDArray[np.int64]

_HEADER = dtype_of(multifd.PacketHeader)
_STATE = dtype_of(multifd.DeviceState)
_OFFSET = dtype_of(multifd.Offset)
_NUMBER_MAX = np.uint64(np.iinfo(np.int64).max)  # of a packet: what int64 cannot hold loses its highest bit
_STATE_FLAG = int(Flag.DEVICE_STATE)
_PIECE = 1 << 16  # bytes that are searched at once
_TRIES_MAX = 1 << 16  # places in a channel that are looked at for a packet behind missing bytes
_BEGINS = (("magic", multifd.MAGIC), ("version", multifd.VERSION))


@dataclass(frozen=True, slots=True)
class Channel:
    """One connection's packets. ``damage`` is where and why reading stopped before the connection's end, if it did.

    ``size`` is the bytes of the channel as far as it was read. Where bytes are missing and it was read on behind them,
    ``damage`` is there, and ``sure`` counts the packets before them.
    """

    source: MappedSource
    id: int
    uuid: bytes
    size: int
    packets: Packets
    damage: tuple[int, str] | None = None
    sure: int | None = None

    @property
    def unbroken(self) -> "Channel":
        """The channel as far as nothing is missing."""
        return self if self.sure is None else replace(self, packets=self.packets.take(np.arange(self.sure)), sure=None)

    @property
    def name(self) -> str:
        """What was opened, for messages."""
        return self.source.name

    @property
    def epochs(self) -> int:
        """How many epochs end here: the number of SYNCs."""
        return int(np.count_nonzero(self.packets.is_sync))

    @property
    def pages(self) -> int:
        """How many pages came with their content."""
        return int(self.packets.normal.sum())

    @property
    def zeros(self) -> int:
        """How many pages came as zero pages."""
        return int(self.packets.zero.sum())

    @property
    def packed(self) -> int:
        """The bytes that the pages take on the wire."""
        p = self.packets
        return int((p.stop - p.data)[~p.is_state].sum())

    @property
    def states(self) -> int:
        """How many packets carry device state."""
        return int(np.count_nonzero(self.packets.is_state))

    @property
    def method(self) -> str:
        """How its pages are packed, in lower case: none, zlib, zstd, qpl, uadk or qatzip."""
        p = self.packets
        return method_name(int(p.method[p.normal > 0].max(initial=int(Method.NONE))))


def opening(source: MappedSource) -> Any:
    """What a channel opens with: its version, the guest's UUID and its own id.

    Raises:
        XbrleError: ``source`` is not a multifd channel, or ends before it says which.
    """
    size = multifd.Init.sizeof()
    try:
        return multifd.Init.parse(source.view[:size])
    except ConstructError:
        why = f"ends after {source.size} bytes, inside the {size} that say which channel it is"
        raise XbrleError(f"{source.name}: {why if source.size < size else 'is not a multifd channel'}") from None


def read(source: MappedSource, page_size: int) -> Channel:
    """The packets of one channel. Their pages stay packed.

    Raises:
        XbrleError: ``source`` is not a multifd channel.
    """
    init = opening(source)
    rows: list[tuple[int, int, int]] = []
    at, damage, method, sure = multifd.Init.sizeof(), None, -1, None
    tries = iter(range(_TRIES_MAX))
    while at < source.size:
        extent = _extent(source, at, page_size)
        hole, behind = source.hole_after(at)
        least = extent[1] if isinstance(extent, tuple) else at + _HEADER.itemsize + full_room(page_size)
        if hole < min(least, source.size):
            damage = damage or (at, "bytes of this packet are missing")
            sure = len(rows) if sure is None else sure
            at = _next_packet(source, behind, page_size, tries)
            continue
        if isinstance(extent, str):
            damage = damage or (at, extent)
            break
        data, stop, packed = extent
        if packed >= 0:
            if method not in (-1, packed):
                words = f"a packet is packed as {method_name(packed)}, those before it as {method_name(method)}"
                damage = damage or (at, words)
                break
            method = packed
        rows.append((at, data, stop))
        at = stop
    if damage is None and source.damage:
        damage = (source.size, source.damage)
    return Channel(source, init.id[0], init.uuid, at, _columns(source, init.id[0], rows), damage, sure)


def _next_packet(source: MappedSource, at: int, page_size: int, tries: Iterator[int]) -> int:
    """Where reading goes on behind missing bytes, which end at ``at``: at a packet that another or a hole follows.

    The end of the channel where there is none, or where ``tries`` end: one is taken for each place that looks like one.
    """
    magic = b"".join(n.to_bytes(_HEADER[f].itemsize, "big") for f, n in _BEGINS)
    while at < source.size:
        hole, behind = source.hole_after(at)
        for found in _places(source, magic, at, hole):
            if next(tries, None) is None:
                return source.size
            extent = _extent(source, found, page_size)
            if isinstance(extent, tuple):
                stop = extent[1]
                following = bytes(source.view[stop : min(hole, stop + len(magic))])
                if stop <= hole and magic.startswith(following):  # nothing follows at the hole
                    return found
        at = behind if behind > at else source.size
    return source.size


def _places(source: MappedSource, magic: bytes, at: int, end: int) -> Iterator[int]:
    """Where these bytes stand in [at, end)."""
    for start in range(at, end, _PIECE):
        piece = bytes(source.view[start : min(end, start + _PIECE + len(magic) - 1)])
        found = piece.find(magic)
        while found >= 0:
            yield start + found
            found = piece.find(magic, found + 1)


def _extent(source: MappedSource, at: int, page_size: int) -> tuple[int, int, int] | str:
    """Where the data of the packet at ``at`` begins and ends, and how its pages are packed, or -1 if it has none.

    A text says why no packet can be read there.
    """
    start = at + _HEADER.itemsize
    state_start = at + _STATE.itemsize
    if state_start > source.size:
        return "the channel ends inside a packet's header"
    state = np.frombuffer(source.view[at:state_start], _STATE)[0]
    if state["magic"] != multifd.MAGIC or state["version"] != multifd.VERSION:
        return "no packet begins here"
    if int(state["flags"]) & _STATE_FLAG:
        stop = state_start + int(state["size"])
        return (state_start, stop, -1) if stop <= source.size else "the channel ends inside a device's state"
    if start > source.size:
        return "the channel ends inside a packet's header"
    header = np.frombuffer(source.view[at:start], _HEADER)[0]
    allocated, normal, zero = (int(header[n]) for n in ("pages_allocated", "normal_pages", "zero_pages"))
    if normal + zero > allocated:
        return f"a packet claims {normal} pages and {zero} zero pages, but has room for {allocated}"
    data = start + _room(source, start, allocated, page_size)
    if data > source.size:
        return "the channel ends inside a packet's offsets"
    method = (int(header["flags"]) & multifd.METHOD_MASK) >> multifd.METHOD_SHIFT
    size = int(header["next_packet_size"]) if normal else 0
    if normal and method == Method.NONE and size != normal * page_size:
        return f"a packet claims {normal} pages in {size} bytes"
    if data + size > source.size:
        return "the channel ends inside a packet's pages"
    return data, data + size, method if normal else -1


def _room(source: MappedSource, start: int, allocated: int, page_size: int) -> int:
    """The bytes for offsets that follow a packet's fixed part, which ends at ``start``.

    Since 9.0 a SYNC states that it has room for no page, and has the full length all the same [C].
    """
    if allocated:
        return allocated * _OFFSET.itemsize
    magic = multifd.MAGIC.to_bytes(_HEADER["magic"].itemsize, "big")
    return 0 if source.view[start : start + len(magic)] == magic else full_room(page_size)


def full_room(page_size: int) -> int:
    """The bytes that every packet has for offsets of pages since 9.0 [Q]."""
    return multifd.PACKET_PAGES // page_size * _OFFSET.itemsize


def _columns(source: MappedSource, channel: int, rows: list[tuple[int, int, int]]) -> Packets:
    """The packets at these offsets, each with where its data begins and ends."""
    offset, data, stop = np.array(rows, np.int64).reshape(-1, 3).T
    states = overlapped(source.data, offset, _STATE)
    is_state = (states["flags"] & np.uint32(_STATE_FLAG)) != 0
    header = np.zeros(len(offset), _HEADER)
    header[~is_state] = overlapped(source.data, offset[~is_state], _HEADER)
    names = np.where(is_state[:, None], states["idstr"], header["ramblock"]).view(f"S{multifd.BLOCK_NAME_MAX}")
    kinds, name = np.unique(names, return_inverse=True)
    numbers = (header["packet_number"] & _NUMBER_MAX).astype(np.int64)
    return Packets(
        channel=np.full(len(offset), channel),
        row=np.zeros(len(offset), np.int64),
        offset=offset,
        data=data,
        stop=stop,
        number=np.where(is_state, -1, numbers),
        flags=states["flags"].astype(np.int64),
        allocated=header["pages_allocated"].astype(np.int64),
        normal=header["normal_pages"].astype(np.int64),
        zero=header["zero_pages"].astype(np.int64),
        name=name.reshape(-1).astype(np.int64),
        instance=np.where(is_state, states["instance_id"], 0).astype(np.int64),
        names=tuple(bytes(k).split(b"\0", 1)[0] for k in kinds),
    )


def page_offsets(source: MappedSource, packets: Packets, zero: bool) -> tuple[NDArray[np.uint64], Ints]:
    """The address of each page that came with content, or of each ``zero`` page, and the place of its packet.

    Both (pages,), packet by packet.
    """
    if zero:
        return _offsets(source, packets, packets.normal, packets.zero)
    return _offsets(source, packets, np.zeros_like(packets.normal), packets.normal)


def all_offsets(source: MappedSource, packets: Packets) -> tuple[NDArray[np.uint64], Ints]:
    """As `page_offsets`, of all pages: in each packet those with content, then those of zeros."""
    return _offsets(source, packets, np.zeros_like(packets.normal), packets.normal + packets.zero)


def _offsets(source: MappedSource, packets: Packets, skipped: Ints, count: Ints) -> tuple[NDArray[np.uint64], Ints]:
    """Of each packet ``count`` addresses of pages after the first ``skipped``, and the place of each one's packet."""
    packet = np.repeat(np.arange(len(packets)), count)
    nth = np.arange(len(packet)) - np.repeat(np.cumsum(count) - count, count) + skipped[packet]
    at = packets.offset[packet] + _HEADER.itemsize + nth * _OFFSET.itemsize
    return overlapped(source.data, at, _OFFSET).astype(np.uint64), packet
