"""The pages of a multifd channel, unpacked. Each way to pack them is undone here, or said to be opaque.

Facts: formats/README.md, "multifd". With zlib and zstd all pages of a channel are one stream. With QPL and UADK each
page is packed by itself, and one that does not shrink goes as it is. With QATzip each packet is a row of gzip members.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..formats import multifd
from ..formats.multifd import Method
from ..source.packing import is_damage, zstd_decoder
from ..source.sources import MappedSource
from .packets import Channel

_UNPACKED_MAX = 1 << 20  # bytes of pages that are unpacked at once
_ZSTD_MAX = 1 << 10  # packed bytes that go into zstd at once: at most 32 MiB come out, since a block has 128 KiB
_QATZIP_MAX = 2 * multifd.PACKET_PAGES  # bytes of a QATzip packet that a receiver takes [Q]
_MEMBERS_MAX = 1 << 10  # gzip members of a packet; QATzip makes one of 64 KiB or more
_LENGTH = dtype_of(multifd.PackedLength)
_RAW, _ZLIB, _GZIP = -zlib.MAX_WBITS, zlib.MAX_WBITS, 16 + zlib.MAX_WBITS  # what may stand around a deflate stream

Mask = NDArray[np.bool_]


def unpack(source: MappedSource, channel: Channel, page_size: int, file: BinaryIO) -> Mask:
    """Append the pages with content to ``file``, in their order. A page that cannot be unpacked is left out.

    Returns which could be, (pages,) bool.
    """
    packets, total = channel.packets, channel.pages
    carrying = np.flatnonzero(packets.normal)
    if not total:
        return np.zeros(0, bool)
    method = int(packets.method[carrying[0]])
    if method in (Method.NONE, Method.ZLIB, Method.ZSTD):
        if method != Method.NONE and channel.sure is not None:  # one stream: nothing behind missing bytes can be read
            carrying = carrying[carrying < channel.sure]
        pieces = [source.view[int(packets.data[i]) : int(packets.stop[i])] for i in carrying.tolist()]
        count = _stream(method, pieces, total, page_size, file)
        return np.arange(total) < count
    unpacked = _OF_A_PACKET.get(method, _opaque)
    masks = []
    for i in carrying.tolist():
        data = source.view[int(packets.data[i]) : int(packets.stop[i])]
        pages, mask = unpacked(data, int(packets.normal[i]), page_size)
        file.write(pages)
        masks.append(mask)
    return np.concatenate(masks)


# -- one stream a channel ----------------------------------------------------------------------------------------------


class _Payloads:
    """The packed bytes of a channel's packets, one packet after the other."""

    def __init__(self, pieces: Sequence[memoryview]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def read(self, count: int) -> bytes:
        """The next bytes, ``count`` at most. There are none at the end."""
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return b""
            self._piece = following
        out, self._piece = self._piece[:count], self._piece[count:]
        return bytes(out)


def _stream(method: int, pieces: Sequence[memoryview], total: int, page_size: int, file: BinaryIO) -> int:
    """Append the pages of one stream to ``file``. Returns how many whole ones there are."""
    start = file.tell()
    written = 0
    for piece in _unpacked(method, _Payloads(pieces), total * page_size):
        file.write(piece)
        written += len(piece)
    pages = written // page_size
    file.seek(start + pages * page_size)
    file.truncate()
    return pages


def _unpacked(method: int, payloads: _Payloads, total: int) -> Iterator[bytes]:
    """``total`` bytes of pages, in pieces. There are fewer where the packed bytes are damaged, and never more."""
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


# -- each packet by itself ---------------------------------------------------------------------------------------------


def _each_page(data: memoryview, count: int, page_size: int) -> tuple[bytes, Mask]:
    """The pages of a packet that packs each by itself, be32 lengths first, and which could be unpacked.

    UADK writes zlib streams, QPL bare deflate [Q].
    """
    head = count * _LENGTH.itemsize
    if head > len(data):
        return _opaque(data, count, page_size)
    lengths = np.frombuffer(data[:head], _LENGTH).astype(np.int64)
    ends = head + np.cumsum(lengths)
    if int(ends[-1]) != len(data):
        return _opaque(data, count, page_size)
    pages = [
        bytes(data[end - length : end])
        if length == page_size
        else _whole(data[end - length : end], page_size, _ZLIB) or _whole(data[end - length : end], page_size, _RAW)
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    ]
    return b"".join(p for p in pages if p is not None), np.array([p is not None for p in pages], bool)


def _gzip_members(data: memoryview, count: int, page_size: int) -> tuple[bytes, Mask]:
    """The pages of a packet that QATzip packed: gzip members, one after the other [Q]."""
    out, rest, total = [], bytes(data[:_QATZIP_MAX]), count * page_size
    for _ in range(_MEMBERS_MAX):
        if not rest or not total:
            break
        inflater = zlib.decompressobj(_GZIP)
        try:
            piece = inflater.decompress(rest, total)
        except zlib.error:
            break
        if not inflater.eof or not piece:
            break
        out.append(piece)
        total -= len(piece)
        rest = inflater.unused_data
    if rest or total or len(data) > _QATZIP_MAX:
        return _opaque(data, count, page_size)
    return b"".join(out), np.ones(count, bool)


def _whole(data: memoryview, page_size: int, wrapping: int) -> bytes | None:
    """The page that ``data`` is the whole deflate stream of, or None if it is not one."""
    inflater = zlib.decompressobj(wrapping)
    try:
        page = inflater.decompress(data, page_size + 1)
    except zlib.error:
        return None
    return page if len(page) == page_size and inflater.eof and not inflater.unused_data else None


def _opaque(_data: memoryview, count: int, _page_size: int) -> tuple[bytes, Mask]:
    """No page: what packed them is not known here."""
    return b"", np.zeros(count, bool)


_OF_A_PACKET: dict[int, Callable[[memoryview, int, int], tuple[bytes, Mask]]] = {
    Method.QPL: _each_page,
    Method.UADK: _each_page,
    Method.QATZIP: _gzip_members,
}
