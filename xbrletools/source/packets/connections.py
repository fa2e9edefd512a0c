"""The connections in a dump: which segments are whose, where each direction begins, and what its first bytes are.

Segments lie in an unnamed temporary file, 38 bytes each, and come from there by connection.
"""

import ipaddress
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ...formats.packets import WINDOW_MAX, TcpFlag
from ..sources import mapped
from . import files
from .frames import ENDPOINT, SEGMENT, Frames

Ints = NDArray[np.int64]

CONNECTIONS_MAX = 1 << 15  # pairs of endpoints that are told apart
HEAD = 64  # bytes that show what a direction carries
_HEAD_SEGMENTS = 256  # segments in which these are looked for
_REORDERED = 1 << 20  # bytes after a SYN that may come before it in the dump
_ROW = np.dtype([("connection", "u4"), ("segment", SEGMENT)])
_WRAP = 1 << 32
_STRAY_RUNS = 64  # runs of segments outside of any window: after so many, nothing of the direction is believed


@dataclass(slots=True, eq=False)
class Way:
    """One direction of a connection: its ``segments`` with data in the order of the dump, (n,) `SEGMENT`.

    ``base`` is the sequence number of the first byte. ``begins``: the dump shows it. ``ended``: a FIN or RST came, and
    ``end`` is the sequence number after the last byte where a FIN says it.
    """

    segments: NDArray[Any]
    base: int
    begins: bool
    ended: bool = False
    end: int | None = None
    head: bytes = b""

    def places(self) -> tuple[Ints, NDArray[np.bool_]]:
        """How far from the first byte each segment begins, (n,) int64, and which are strays, (n,) bool.

        Sequence numbers may have wrapped between. A stray is further from the one before than any window reaches.
        """
        seq = self.segments["seq"].astype(np.int64)
        stray = np.zeros(len(seq), bool)
        last, start = self.base, 0
        for _ in range(_STRAY_RUNS):
            steps = _signed(np.diff(seq[start:], prepend=last))
            far = np.abs(steps) > WINDOW_MAX
            if not far.any():
                break
            at = start + int(np.argmax(far))
            last = int(seq[at - 1]) if at > start else last
            near = np.abs(_signed(seq[at:] - last)) <= WINDOW_MAX
            start = at + int(np.argmax(near)) if near.any() else len(seq)
            stray[at:start] = True
        else:
            stray[start:] = True
        places = np.zeros(len(seq), np.int64)
        places[~stray] = np.cumsum(_signed(np.diff(seq[~stray], prepend=self.base)))
        return places, stray


@dataclass(slots=True, eq=False)
class Connection:
    """A connection in the order of the dump's SYNs. ``forth`` is what its client sent, ``back`` what came back.

    Which one is the client is a guess where the dump does not show the beginning.
    """

    client: bytes
    server: bytes
    began: int
    order: int
    forth: Way
    back: Way
    last: int

    @property
    def name(self) -> str:
        """Both endpoints, for a person."""
        return f"{endpoint(self.client)} to {endpoint(self.server)}"


@dataclass(slots=True)
class Index:
    """What the packets of a dump are: their segments by connection, how the dump ends, and what was not read."""

    frames: Frames
    ending: files.Ending = field(default_factory=files.Ending)
    packets: int = 0
    segments: int = 0
    refused: int = 0  # segments of connections beyond `CONNECTIONS_MAX`
    keys: list[bytes] = field(default_factory=list)
    rows: NDArray[Any] = field(default_factory=lambda: np.zeros(0, _ROW))


def _signed(steps: Ints) -> Ints:
    """The shortest way between two sequence numbers, forward or back."""
    return (steps + _WRAP // 2) % _WRAP - _WRAP // 2


def endpoint(key: bytes) -> str:
    """An address and a port, for a person."""
    address: Any = ipaddress.IPv6Address(key[:16])
    address = address.ipv4_mapped or address
    port = int.from_bytes(key[16:], "big")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def index(view: memoryview) -> Index:
    """Find the segments of the dump whose bytes are ``view``.

    Raises:
        OSError: the temporary folder cannot take them.
    """
    frames = Frames(np.frombuffer(view, np.uint8))
    found = Index(frames)
    numbers: dict[bytes, int] = {}
    with tempfile.TemporaryFile() as file:
        for packets in files.read(view, found.ending):
            found.packets += len(packets)
            keys, segments = frames.segments(packets)
            if not len(segments):
                continue
            rows = np.zeros(len(segments), _ROW)
            rows["segment"] = segments
            rows["connection"] = _numbered(keys, numbers)
            kept = rows["connection"] < CONNECTIONS_MAX
            found.refused += int(np.count_nonzero(~kept))
            found.segments += int(np.count_nonzero(kept))
            file.write(rows[kept].tobytes())
        file.flush()
        found.rows = np.frombuffer(mapped(cast("BinaryIO", file)), _ROW)
    found.keys = list(numbers)
    return found


def _numbered(keys: NDArray[np.uint8], numbers: dict[bytes, int]) -> NDArray[np.uint32]:
    """The number of each pair of endpoints, (n,) uint32. `CONNECTIONS_MAX` stands for those that are too many."""
    changes = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]).any(axis=1)))
    out = []
    for key in keys[changes]:
        packed = key.tobytes()
        number = numbers.get(packed)
        if number is None:
            number = len(numbers)
            if number < CONNECTIONS_MAX:
                numbers[packed] = number
        out.append(number)
    return np.repeat(np.array(out, np.uint32), np.diff(np.append(changes, len(keys))))


def connections(found: Index) -> Iterator[Connection]:
    """The connections, each with its first bytes, in no order. Where endpoints were used again, each use is one."""
    number = found.rows["connection"]
    order = np.argsort(number, kind="stable")
    edges = np.searchsorted(number, np.arange(len(found.keys) + 1), sorter=order)
    for i, key in enumerate(found.keys):
        rows = order[edges[i] : edges[i + 1]]
        segments = found.rows["segment"][rows]
        for start, stop in _uses(segments):
            one = _connection(found, key, segments[start:stop], int(rows[start]))
            if one is not None:
                yield one


def _uses(segments: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """The segments of each use of the same endpoints, as [start, stop): each begins with a SYN of another number."""
    opening = np.flatnonzero(segments["flags"] & (TcpFlag.SYN | TcpFlag.ACK) == TcpFlag.SYN)
    start, last = 0, None
    for i in opening.tolist():
        syn = int(segments["back"][i]), int(segments["seq"][i])
        if last is None and i > start:
            before = segments[start:i]
            own = before[(before["back"] == syn[0]) & (before["full"] > 0)]["seq"].astype(np.int64)
            late = ((own - syn[1]) % _WRAP < _REORDERED).all()
            if not late:
                yield start, i
                start = i
        elif last is not None and syn != last and syn[0] == last[0]:
            yield start, i
            start = i
        last = syn if last is None or syn[0] == last[0] else last
    if start < len(segments):
        yield start, len(segments)


def _connection(found: Index, key: bytes, segments: NDArray[Any], order: int) -> Connection | None:
    """The connection that one use of the endpoints in ``key`` is. None where nothing was sent over it."""
    with_data = segments["full"] > 0
    if not with_data.any():
        return None
    flags = segments["flags"]
    syns = np.flatnonzero(flags & TcpFlag.SYN != 0)
    client = None
    bases: dict[int, int] = {}
    for i in syns[:_HEAD_SEGMENTS].tolist():
        side, answers = int(segments["back"][i]), bool(flags[i] & TcpFlag.ACK)
        bases.setdefault(side, (int(segments["seq"][i]) + 1) % _WRAP)
        if answers:  # it says where the other direction begins
            bases.setdefault(1 - side, int(segments["ack"][i]))
        client = (1 - side if answers else side) if client is None else client
    if client is None:
        sent = segments["full"].astype(np.int64)
        client = int(sent[segments["back"] == 1].sum() > sent[segments["back"] == 0].sum())
    ends = key[:ENDPOINT], key[ENDPOINT:]
    of_client = segments["back"] == client
    forth = _way(found, segments[of_client], bases.get(client))
    back = _way(found, segments[~of_client], bases.get(1 - client))
    times = segments["time"]
    return Connection(ends[client], ends[1 - client], int(times[0]), order, forth, back, int(times[-1]))


def _way(found: Index, segments: NDArray[Any], base: int | None) -> Way:
    """One direction, whose first byte has the sequence number ``base`` where the dump says it."""
    flags = segments["flags"]
    after_syn = (flags & TcpFlag.SYN != 0) & (segments["full"] > 0)
    if after_syn.any():
        segments = segments.copy()
        segments["seq"][after_syn] += 1  # the SYN has a number of its own
    closing = np.flatnonzero(flags & (TcpFlag.FIN | TcpFlag.RST) != 0)
    fins = np.flatnonzero(flags & TcpFlag.FIN != 0)
    end = None
    if len(fins):
        fin = segments[fins[-1]]
        end = (int(fin["seq"]) + int(fin["full"])) % _WRAP
    data = segments[segments["full"] > 0]
    begins = base is not None
    if base is None:
        base = int(data["seq"][0]) if len(data) else 0
        lowest = Way(data, base, False).places()[0].min(initial=0)
        base = (base + int(lowest)) % _WRAP if lowest > -_REORDERED else base
    way = Way(data, base, begins, bool(len(closing)), end)
    way.head = _head(found.frames.data, way)
    return way


def _head(data: NDArray[np.uint8], way: Way) -> bytes:
    """The first bytes of a direction, at most `HEAD`, as far as they are in the dump."""
    first = Way(way.segments[:_HEAD_SEGMENTS], way.base, way.begins)
    places, stray = first.places()
    places, rows = places[~stray], first.segments[~stray]
    parts = sorted(zip(places.tolist(), rows["have"].tolist(), rows["at"].tolist(), strict=True))
    head = b""
    for place, have, at in parts:
        if place > len(head) or len(head) >= HEAD:
            break
        if place + have > len(head):
            head += data[at + len(head) - place : at + min(have, HEAD - place)].tobytes()
    return head[:HEAD]
