"""The TCP segments in packets: who sent how many bytes to whom, and where in the dump these stand.

All of it is arrays over many packets. Facts: formats/README.md, "Packet dumps".
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arrays import distinct
from ...codec.layout import dtype_of
from ...formats import packets
from ...formats.packets import Ethertype, Link, Protocol
from .files import Packets

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DEPTH_MAX = 8  # tags in a frame, and extension headers in a packet
FRAGMENTS_MAX = 1 << 12  # fragments that wait for the first one of their packet, whose head says where they belong
ENDPOINT = 18  # bytes: an address of 16, and a port

#: A segment. ``key`` has both endpoints, the smaller first. ``back``: the greater one sent it. ``full`` bytes were sent
#: from sequence number ``seq`` on, of which ``have`` stand at ``at`` in the dump.
SEGMENT = np.dtype(
    [
        ("back", "u1"),
        ("flags", "u1"),
        ("seq", "u4"),
        ("ack", "u4"),
        ("at", "i8"),
        ("full", "u4"),
        ("have", "u4"),
        ("time", "i8"),
    ]
)
_V4_PREFIX = np.array([0] * 10 + [0xFF] * 2, np.uint8)  # an IPv4 address as one of IPv6


@dataclass(slots=True)
class _Network:
    """IP packets: ``at`` is where what they carry begins, ``end`` where it ends on the wire, ``there`` in the dump.

    ``endpoints`` has both addresses, (n, 2, 16) uint8. ``place`` is the place of a fragment in its packet in bytes, and
    ``more`` whether others follow it. ``identity`` tells packets apart whose fragments these are.
    """

    row: Ints
    at: Ints
    end: Ints
    there: Ints
    protocol: Ints
    endpoints: NDArray[np.uint8]
    place: Ints
    more: Bools
    identity: Ints


@dataclass(slots=True)
class Frames:
    """Takes packets and gives segments. ``unread`` counts the packets that it cannot read, by the reason."""

    data: NDArray[np.uint8]
    unread: Counter[str] = field(default_factory=Counter)
    _firsts: dict[bytes, tuple[bytes, Any]] = field(default_factory=dict)
    _waiting: dict[bytes, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    leftover: int = 0  # fragments that wait for the first one of their packet

    def segments(self, found: Packets) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """The segments of these packets, in their order: the keys, (n, 36) uint8, and the rest, (n,) `SEGMENT`.

        Segments without data are left out, but for those that open or close a connection.
        """
        row, at, kind = self._payloads(found)
        there = found.at + found.captured
        parts = [
            self._ipv4(found, row[kind == Ethertype.IPV4], at[kind == Ethertype.IPV4], there),
            self._ipv6(found, row[kind == Ethertype.IPV6], at[kind == Ethertype.IPV6], there),
        ]
        other = int(np.count_nonzero((kind != Ethertype.IPV4) & (kind != Ethertype.IPV6)))
        if other:
            self.unread["are not IP"] += other
        keys, rows, order = zip(*(self._tcp(found, part) for part in parts), strict=True)
        place = np.argsort(np.concatenate(order), kind="stable")
        return np.concatenate(keys)[place], np.concatenate(rows)[place]

    def _gather(self, at: Ints, form: np.dtype[Any]) -> NDArray[Any]:
        """The structures of ``form`` that begin at ``at``."""
        picked: NDArray[Any] = self.data[at[:, None] + np.arange(form.itemsize)].view(form)
        return picked[:, 0]

    # -- the link ------------------------------------------------------------------------------------------------------

    def _payloads(self, found: Packets) -> tuple[Ints, Ints, Ints]:
        """Which packets hold something, where that begins, and its `Ethertype`."""
        at, kind = found.at.copy(), np.zeros(len(found), np.int64)
        end = found.at + found.captured
        usable = np.zeros(len(found), bool)
        for link in distinct(found.link).tolist():
            of_link = np.flatnonzero(found.link == link)
            if link in packets.WITH_PROTOCOL:
                form = dtype_of(packets.WITH_PROTOCOL[Link(link)])
                whole = of_link[end[of_link] - at[of_link] >= form.itemsize]
                kind[whole] = self._gather(at[whole], form)["protocol"]
                at[whole] += form.itemsize
            elif link in packets.IP_BEHIND:
                at[of_link] += packets.IP_BEHIND[Link(link)]
                whole = of_link[end[of_link] > at[of_link]]
                version = self.data[at[whole]] >> 4
                kind[whole] = np.select([version == 4, version == 6], [Ethertype.IPV4, Ethertype.IPV6], 0)
            else:
                self.unread[f"are of link type {link}"] += len(of_link)
                continue
            usable[whole] = True
            if len(whole) < len(of_link):
                self.unread["are cut before their TCP header ends"] += len(of_link) - len(whole)
        self._untag(at, end, kind, usable)
        rows = np.flatnonzero(usable)
        return rows, at[rows], kind[rows]

    def _untag(self, at: Ints, end: Ints, kind: Ints, usable: Bools) -> None:
        """Step over VLAN tags."""
        form = dtype_of(packets.Tag)
        for _ in range(DEPTH_MAX):
            tagged = np.flatnonzero(usable & np.isin(kind, packets.TAGS) & (end - at >= form.itemsize))
            if not len(tagged):
                return
            kind[tagged] = self._gather(at[tagged], form)["protocol"]
            at[tagged] += form.itemsize

    # -- IP ------------------------------------------------------------------------------------------------------------

    def _whole(self, row: Ints, at: Ints, there: Ints, size: int) -> tuple[Ints, Ints]:
        """Those of which ``size`` bytes are there."""
        fits = there[row] - at >= size
        if not fits.all():
            self.unread["are cut before their TCP header ends"] += int(np.count_nonzero(~fits))
        return row[fits], at[fits]

    def _ipv4(self, found: Packets, row: Ints, at: Ints, there: Ints) -> _Network:
        form = dtype_of(packets.Ipv4)
        row, at = self._whole(row, at, there, form.itemsize)
        header = self._gather(at, form)
        words = header["version_and_words"].astype(np.int64)
        size = (words & 15) * 4
        total = header["total"].astype(np.int64)
        to_end = found.at[row] + found.length[row] - at
        end = at + np.where(total == 0, to_end, np.minimum(total, to_end))
        good = (words >> 4 == 4) & (size >= form.itemsize) & (end >= at + size)
        row, at, size, end, header = row[good], at[good], size[good], end[good], header[good]
        endpoints = np.zeros((len(row), 2, 16), np.uint8)
        endpoints[:, :, : len(_V4_PREFIX)] = _V4_PREFIX
        endpoints[:, 0, len(_V4_PREFIX) :] = header["source"]
        endpoints[:, 1, len(_V4_PREFIX) :] = header["destination"]
        fragment = header["fragment"].astype(np.int64)
        return _Network(
            row,
            at + size,
            end,
            np.minimum(there[row], end),
            header["protocol"].astype(np.int64),
            endpoints,
            (fragment & packets.FRAGMENT_PLACE) * 8,
            fragment & packets.FRAGMENT_MORE != 0,
            header["identification"].astype(np.int64),
        )

    def _ipv6(self, found: Packets, row: Ints, at: Ints, there: Ints) -> _Network:
        form = dtype_of(packets.Ipv6)
        row, at = self._whole(row, at, there, form.itemsize)
        header = self._gather(at, form)
        payload = header["payload"].astype(np.int64)
        to_end = found.at[row] + found.length[row] - at - form.itemsize
        net = _Network(
            row,
            at + form.itemsize,
            at + form.itemsize + np.where(payload == 0, to_end, np.minimum(payload, to_end)),
            there[row],
            header["next"].astype(np.int64),
            np.stack([header["source"], header["destination"]], axis=1),
            np.zeros(len(row), np.int64),
            np.zeros(len(row), bool),
            np.zeros(len(row), np.int64),
        )
        np.minimum(net.there, net.end, out=net.there)
        for _ in range(DEPTH_MAX):
            if not self._extended(net):
                break
        return net

    def _extended(self, net: _Network) -> bool:
        """Step over the extension header that comes next. Returns whether any packet had one."""
        is_extension = np.isin(net.protocol, (*packets.EXTENSIONS, Protocol.AUTHENTICATION, Protocol.FRAGMENT))
        form = dtype_of(packets.Fragment6)  # every extension header has as many bytes at least
        here = np.flatnonzero(is_extension & (net.there - net.at >= form.itemsize) & (net.place == 0))
        if not len(here):
            return False
        kind = net.protocol[here]
        header = self._gather(net.at[here], form)
        words = self._gather(net.at[here], dtype_of(packets.Extension))["words"].astype(np.int64)
        of_fragment = kind == Protocol.FRAGMENT
        place = header["place"].astype(np.int64)
        net.place[here[of_fragment]] = (place & packets.FRAGMENT6_PLACE)[of_fragment]
        net.more[here[of_fragment]] = (place & packets.FRAGMENT6_MORE != 0)[of_fragment]
        net.identity[here[of_fragment]] = header["identification"][of_fragment]
        steps = np.where(kind == Protocol.AUTHENTICATION, (words + 2) * 4, (words + 1) * 8)
        net.at[here] += np.where(of_fragment, form.itemsize, steps)
        net.protocol[here] = header["next"]
        return True

    # -- TCP -----------------------------------------------------------------------------------------------------------

    def _tcp(self, found: Packets, net: _Network) -> tuple[NDArray[np.uint8], NDArray[Any], Ints]:
        """The segments of IP packets: keys, rows, and which packet each is of."""
        of_tcp = net.protocol == Protocol.TCP
        if not of_tcp.all():
            self.unread["are not TCP"] += int(np.count_nonzero(~of_tcp))
        form = dtype_of(packets.Tcp)
        first = of_tcp & (net.place == 0)
        whole = first & (net.there - net.at >= form.itemsize)
        if (first & ~whole).any():
            self.unread["are cut before their TCP header ends"] += int(np.count_nonzero(first & ~whole))
        pick = np.flatnonzero(whole)
        header = self._gather(net.at[pick], form)
        size = (header["words"].astype(np.int64) >> 4) * 4
        full = net.end[pick] - net.at[pick] - size
        size_fits = (size >= form.itemsize) & (full >= 0)
        pick, header, size, full = pick[size_fits], header[size_fits], size[size_fits], full[size_fits]
        rows = np.zeros(len(pick), SEGMENT)
        rows["flags"], rows["seq"], rows["ack"] = header["flags"], header["sequence"], header["acknowledged"]
        rows["at"] = net.at[pick] + size
        rows["full"] = full
        rows["have"] = np.clip(net.there[pick] - rows["at"], 0, full)
        rows["time"] = found.time[net.row[pick]]
        keys = np.zeros((len(pick), 2, ENDPOINT), np.uint8)
        keys[:, :, :16] = net.endpoints[pick]
        keys[:, 0, 16:] = header["source"].astype(">u2")[:, None].view(np.uint8).reshape(-1, 2)
        keys[:, 1, 16:] = header["destination"].astype(">u2")[:, None].view(np.uint8).reshape(-1, 2)
        turn(keys, rows)
        order = net.row[pick]
        flat = keys.reshape(-1, 2 * ENDPOINT)
        in_pieces = np.flatnonzero(of_tcp & ((net.place > 0) | net.more))
        if len(in_pieces):
            firsts = dict(zip(pick.tolist(), range(len(pick)), strict=True))
            more = self._fragments(found, net, in_pieces, firsts, flat, rows, size)
            flat = np.concatenate([flat, more[0]])
            rows = np.concatenate([rows, more[1]])
            order = np.concatenate([order, more[2]])
        opening = rows["flags"] & (packets.TcpFlag.SYN | packets.TcpFlag.FIN | packets.TcpFlag.RST) != 0
        kept = opening | (rows["full"] > 0)
        return flat[kept], rows[kept], order[kept]

    def _fragments(
        self,
        found: Packets,
        net: _Network,
        pieces: Ints,
        firsts: dict[int, int],
        keys: NDArray[np.uint8],
        rows: NDArray[Any],
        size: Ints,
    ) -> tuple[NDArray[np.uint8], NDArray[Any], Ints]:
        """The segments that the later fragments of packets are, whose first fragments have the TCP header.

        A fragment may come before the first one of its packet. ``firsts`` has the row of each first fragment.
        """
        out_keys: list[bytes] = []
        out: list[tuple[Any, ...]] = []
        order: list[int] = []

        def place(first: tuple[bytes, Any], piece: tuple[int, int, int, int], row: int) -> None:
            key, (back, seq, head) = first
            offset, at, full, have = piece
            out_keys.append(key)
            out.append((back, 0, (seq + offset - head) % (1 << 32), 0, at, full, have, int(found.time[row])))
            order.append(row)

        for i in pieces.tolist():
            packet, row = net.endpoints[i].tobytes() + int(net.identity[i]).to_bytes(4, "big"), int(net.row[i])
            if i in firsts:
                j = firsts[i]
                first = keys[j].tobytes(), (int(rows["back"][j]), int(rows["seq"][j]), int(size[j]))
                if len(self._firsts) >= FRAGMENTS_MAX:
                    self._firsts.pop(next(iter(self._firsts)))
                self._firsts[packet] = first
                waiting = self._waiting.pop(packet, ())
                self.leftover -= len(waiting)
                for piece in waiting:
                    place(first, piece, row)
            elif net.place[i]:
                at, full = int(net.at[i]), int(net.end[i] - net.at[i])
                piece = int(net.place[i]), at, full, max(0, min(int(net.there[i]) - at, full))
                known = self._firsts.get(packet)
                if known is not None:
                    place(known, piece, row)
                elif self.leftover < FRAGMENTS_MAX:
                    self._waiting.setdefault(packet, []).append(piece)
                    self.leftover += 1
                else:
                    self.unread["are fragments without the first one of their packet"] += 1
        flat = np.frombuffer(b"".join(out_keys), np.uint8).reshape(-1, 2 * ENDPOINT)
        return flat, np.array(out, SEGMENT), np.array(order, np.int64)


def turn(keys: NDArray[np.uint8], rows: NDArray[Any]) -> None:
    """Put the smaller endpoint of each key, (n, 2, 18) uint8, first, and note in ``rows`` where that was the sender."""
    differs = keys[:, 0] != keys[:, 1]
    place = np.argmax(differs, axis=1)
    which = np.arange(len(keys))
    back = keys[which, 0, place] > keys[which, 1, place]
    keys[back] = keys[back][:, ::-1]
    rows["back"] = back
