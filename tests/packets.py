"""Packet dumps made up for tests: streams sent over TCP, with every edit that a network or a tcpdump makes.

It writes bytes with `struct` alone, so that no layout of `formats` proves itself.
"""

import random
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

SYN, FIN, RST, ACK = 2, 1, 4, 16
HERE, THERE = b"\x0a\0\0\1", b"\x0a\0\0\2"
START = 1_700_000_000_000_000_000  # ns


@dataclass(frozen=True)
class Segment:
    """A segment of a connection from ``port`` to ``server_port``. ``back``: the server sent it."""

    seq: int
    data: bytes = b""
    flags: int = ACK
    port: int = 50000
    server_port: int = 4444
    back: bool = False
    ack: int = 10
    cut: int | None = None  # bytes of the packet that are in the dump
    fragments: int = 0  # bytes of each fragment, 0 for a whole packet
    after: int = 10_000  # ns after the one before


def connection(
    data: bytes,
    port: int = 50000,
    isn: int = 1000,
    size: int = 1448,
    syn: bool = True,
    fin: bool = True,
    back: bytes = b"",
    server_port: int = 4444,
) -> list[Segment]:
    """All segments of a connection that carries ``data``, and ``back`` the other way."""
    common = {"port": port, "server_port": server_port}
    out = []
    if syn:
        out = [
            Segment(isn, flags=SYN, **common),
            Segment(9, flags=SYN | ACK, back=True, ack=(isn + 1) % 2**32, **common),
            Segment(isn + 1, **common),
        ]
    out += [Segment(isn + 1 + p, data[p : p + size], **common) for p in range(0, len(data), size)]
    out += [Segment(10 + p, back[p : p + size], back=True, **common) for p in range(0, len(back), size)]
    if fin:
        out += [
            Segment(isn + 1 + len(data), flags=FIN | ACK, **common),
            Segment(10 + len(back), flags=FIN | ACK, back=True, **common),
        ]
    return out


def with_data(segments: Sequence[Segment]) -> list[int]:
    """The places of those that the client sent with data."""
    return [i for i, s in enumerate(segments) if s.data and not s.back]


def reordered(segments: Sequence[Segment], every: int = 3) -> list[Segment]:
    """Every so many data segments change places with the next one."""
    out = list(segments)
    for i in with_data(segments)[::every]:
        if i + 1 < len(out) and out[i + 1].data:
            out[i], out[i + 1] = out[i + 1], out[i]
    return out


def repeated(segments: Sequence[Segment], every: int = 3, change: Callable[[bytes], bytes] = bytes) -> list[Segment]:
    """Every so many data segments come again, a few later, ``change``d."""
    out = list(segments)
    for i in reversed(with_data(segments)[::every]):
        out.insert(min(i + 3, len(out)), replace(segments[i], data=change(segments[i].data)))
    return out


def overlapping(segments: Sequence[Segment], every: int = 3) -> list[Segment]:
    """Before every so many data segments one comes with the end of the one before and the beginning of this one."""
    out = list(segments)
    places = with_data(segments)
    for i, j in reversed(list(pairwise(places))[::every]):
        a, b = segments[i].data[-100:], segments[j].data[:200]
        if segments[i].seq + len(segments[i].data) != segments[j].seq:
            continue  # they are not neighbours in the stream
        out.insert(j, replace(segments[j], seq=segments[j].seq - len(a), data=a + b))
    return out


def without(segments: Sequence[Segment], *lost: int) -> list[Segment]:
    """Without these data segments, by their number among those with data."""
    places = with_data(segments)
    gone = {places[n] for n in lost}
    return [s for i, s in enumerate(segments) if i not in gone]


def interleaved(*connections: Sequence[Segment], seed: int = 1) -> list[Segment]:
    """Several connections at once."""
    chance, left, out = random.Random(seed), [list(c) for c in connections], []
    while any(left):
        out.append(chance.choice([c for c in left if c]).pop(0))
    return out


# -- frames -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wire:
    """How segments become packets, and packets a dump."""

    link: int = 1
    v6: bool = False
    tags: tuple[int, ...] = ()
    extensions: tuple[int, ...] = ()
    no_total: bool = False  # the IP header's length is 0, as where a network card cuts packets up
    snap: int = 262144
    order: str = "<"
    nano: bool = False
    ng: bool = False
    modified: bool = False
    padding: int = 0  # bytes after the IP packet, as in short Ethernet frames
    drops: int = 0
    start: int = START
    more: list[bytes] = field(default_factory=list)  # frames before all others


def _tcp(s: Segment) -> bytes:
    ports = (s.server_port, s.port) if s.back else (s.port, s.server_port)
    return struct.pack(">HHIIBBHHH", *ports, s.seq % 2**32, s.ack % 2**32, 5 << 4, s.flags, 65535, 0, 0) + s.data


def _ip(wire: Wire, s: Segment, identity: int) -> Iterable[bytes]:
    tcp = _tcp(s)
    a, b = (THERE, HERE) if s.back else (HERE, THERE)
    size = s.fragments or len(tcp)
    for place in range(0, len(tcp), size):
        piece = tcp[place : place + size]
        more = place + size < len(tcp)
        if not wire.v6:
            total = 0 if wire.no_total else 20 + len(piece)
            head = 0x45, 0, total, identity, more << 13 | place // 8, 64, 6, 0, a, b
            yield struct.pack(">BBHHHBBH4s4s", *head) + piece
            continue
        body, kind = piece, 6
        if s.fragments:
            body, kind = struct.pack(">BBHI", kind, 0, place | more, identity) + body, 44
        for extension in reversed(wire.extensions):
            body = bytes((kind, 2 if extension == 51 else 1)) + bytes(14) + body
            kind = extension
        addresses = b"\xfd" + bytes(11) + a + b"\xfd" + bytes(11) + b
        yield struct.pack(">IHBB", 6 << 28, 0 if wire.no_total else len(body), kind, 64) + addresses + body


def frames(wire: Wire, segments: Sequence[Segment]) -> Iterable[tuple[Segment, bytes]]:
    """The packets of all segments."""
    for i, s in enumerate(segments):
        for ip in _ip(wire, s, i % 65536):
            protocol = b"\x86\xdd" if wire.v6 else b"\x08\0"
            tags = b"".join(struct.pack(">HH", tag, 5) for tag in wire.tags)
            ip += bytes(wire.padding)
            if wire.link == 1:
                yield s, b"\2\0\0\0\0\1\2\0\0\0\0\2" + tags + protocol + ip
            elif wire.link == 113:
                yield s, struct.pack(">HHH8s", 0, 1, 6, b"") + tags + protocol + ip
            elif wire.link == 276:
                rest = tags[2:] + protocol * bool(tags)
                yield s, (tags + protocol)[:2] + struct.pack(">HIHBB8s", 0, 1, 1, 0, 6, b"") + rest + ip
            elif wire.link in (0, 108):
                family = 30 if wire.v6 else 2
                yield s, struct.pack(wire.order + "I" if wire.link == 0 else ">I", family) + ip
            else:
                yield s, ip


# -- files ------------------------------------------------------------------------------------------------------------


def dump(segments: Sequence[Segment], wire: Wire = Wire()) -> bytes:
    """A packet dump of these segments."""
    order, now = wire.order, wire.start
    out = []
    for s, packet in [*((Segment(0), f) for f in wire.more), *frames(wire, segments)]:
        now += s.after
        there = packet[: min(wire.snap, len(packet) if s.cut is None else s.cut)]
        if wire.ng:
            unit = now if wire.nano else now // 1000
            body = struct.pack(order + "IIIII", 0, unit >> 32, unit & 0xFFFFFFFF, len(there), len(packet)) + there
            out.append(block(6, body + bytes(-len(body) % 4), order))
        else:
            fraction = now % 10**9 // (1 if wire.nano else 1000)
            extra = bytes(8) if wire.modified else b""
            out.append(struct.pack(order + "IIII", now // 10**9, fraction, len(there), len(packet)) + extra + there)
    return head(wire) + b"".join(out) + (statistics(wire) if wire.ng and wire.drops else b"")


def head(wire: Wire) -> bytes:
    """What stands before the packets."""
    if wire.ng:
        options = struct.pack(wire.order + "HHB3xI", 9, 1, 9, 0) if wire.nano else b""
        section = block(0x0A0D0D0A, struct.pack(wire.order + "IHHq", 0x1A2B3C4D, 1, 0, -1), wire.order)
        return section + block(1, struct.pack(wire.order + "HHI", wire.link, 0, wire.snap) + options, wire.order)
    magic = 0xA1B2CD34 if wire.modified else 0xA1B23C4D if wire.nano else 0xA1B2C3D4
    return struct.pack(wire.order + "IHHiIII", magic, 2, 4, 0, 0, wire.snap, wire.link)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of a pcapng."""
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def statistics(wire: Wire) -> bytes:
    """A block that says how many packets were dropped."""
    return block(5, struct.pack(wire.order + "IIIHHQI", 0, 0, 0, 7, 8, wire.drops, 0), wire.order)
