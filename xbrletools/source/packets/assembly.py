"""One direction of a connection, put together: its bytes in a file, what is missing, what came twice and differs.

What came first counts, as it does to a receiver. Where bytes are missing the file has a hole. It takes no disk there.
"""

import tempfile
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ...formats.packets import WINDOW_MAX
from .connections import Way

Ints = NDArray[np.int64]

HOLES_ROOM = 1 << 30  # bytes of holes that any stream may have
HOLES_TIMES = 16  # times the bytes that are there: what else may be holes. Cut packets have 14 bytes missing to 1
DIFFERENCES_MAX = 1 << 10  # ranges that came twice and differ: those that are kept
_WRAP = 1 << 32
_APART = 1_000_000  # nanoseconds between two times that are kept, at least
_ROUNDS = 8  # in which segments outside of any window are looked for


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """What was put together. ``holes`` are the bytes [start, end) that are not there, (n, 2) int64, rising.

    ``size`` counts the bytes with those of the holes. ``differs`` are ranges [start, end) that were sent more than once
    with different bytes, the first of ``differing``. ``strays`` counts segments that no sender can have sent there.
    ``given_up`` is what is left out behind holes that are too large, None where nothing is. Bytes before
    ``times[i, 0]`` had come at ``times[i, 1]``, in nanoseconds since 1970 UTC: (n, 2) int64, both rising.
    """

    file: BinaryIO
    size: int
    holes: Ints
    differs: Ints
    differing: int
    strays: int
    given_up: str | None
    times: Ints


@dataclass(slots=True, eq=False)
class _Parts:
    """Segments in the order in which they came: the bytes [start, end) of the stream, which stand at ``at``."""

    start: Ints
    end: Ints
    sent: Ints
    at: Ints
    time: Ints

    def take(self, rows: Any) -> "_Parts":
        """The chosen segments."""
        return _Parts(*(c[rows] for c in (self.start, self.end, self.sent, self.at, self.time)))


def assemble(view: memoryview, way: Way) -> Assembled:
    """Put one direction together, whose segments stand in the dump ``view``.

    Raises:
        OSError: the temporary folder cannot take it.
    """
    parts, strays = _inside(way)
    keepalive = parts.end - parts.start == 1
    keepalive &= parts.end == np.append(0, np.maximum.accumulate(parts.end)[:-1])[: len(parts.end)]
    order = np.argsort(parts.start, kind="stable")
    by_place = parts.take(order) if (np.diff(order) < 0).any() else parts
    reached = np.maximum.accumulate(np.append(0, by_place.end))
    before, size = reached[:-1], int(reached[-1])
    fresh = np.maximum(by_place.start, before)
    new = np.flatnonzero(fresh < by_place.end)
    gap = fresh[new] > before[new]
    holes = np.stack([before[new][gap], fresh[new][gap]], axis=1)
    whole = max(size, int(parts.sent.max(initial=0)), _announced(way, size))
    if whole > size:
        holes = np.append(holes, [[size, whole]], axis=0)
    holes, size, given_up = _bounded(holes, whole, int((by_place.end - fresh)[new].sum()))
    new = new[by_place.end[new] <= size]
    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller maps and closes it
    try:
        skip = fresh[new] - by_place.start[new]
        _write(file, view, fresh[new], by_place.at[new] + skip, by_place.end[new])
        file.truncate(size)
        file.flush()
        twice = (by_place.start < before) & ~keepalive[order] & (by_place.end <= size)
        differs, differing = _compared(file, view, by_place, before, np.flatnonzero(twice))
        if differing:
            _first_counts(file, view, parts.take(parts.end <= size))
    except BaseException:
        file.close()
        raise
    return Assembled(file, size, holes, differs, differing, strays, given_up, _times(by_place, new))


def _inside(way: Way) -> tuple[_Parts, int]:
    """The segments that a sender can have sent there, without what lies before the first byte. Counts the others."""
    start, stray = way.places()
    segments, start, strays = way.segments[~stray], start[~stray], int(np.count_nonzero(stray))
    have, full = segments["have"].astype(np.int64), segments["full"].astype(np.int64)
    time = segments["time"].astype(np.int64)
    parts = _Parts(start, start + have, start + full, segments["at"].astype(np.int64), time)
    for _ in range(_ROUNDS):
        edge = np.maximum.accumulate(np.append(0, parts.sent))[:-1]
        stray = (parts.start > edge + WINDOW_MAX) | (parts.start < edge - WINDOW_MAX)
        if not stray.any():
            break
        strays += int(np.count_nonzero(stray))
        parts = parts.take(~stray)
    cut = np.clip(-parts.start, 0, None)
    parts.start, parts.at = parts.start + cut, parts.at + cut
    return parts.take(parts.end > parts.start), strays


def _announced(way: Way, size: int) -> int:
    """Where the stream ends by its FIN, as an offset in it, or 0 where none came. ``size`` bytes are there."""
    if way.end is None:
        return 0
    more = (way.end - way.base - size + _WRAP // 2) % _WRAP - _WRAP // 2
    return size + more if 0 < more <= WINDOW_MAX else 0


def _bounded(holes: Ints, size: int, there: int) -> tuple[Ints, int, str | None]:
    """The holes, up to the one with which they come to more than belongs to the bytes that are there, and the size."""
    total = np.cumsum(holes[:, 1] - holes[:, 0])
    too_many = np.flatnonzero(total > HOLES_ROOM + HOLES_TIMES * there)
    if not len(too_many):
        return holes, size, None
    at = int(holes[too_many[0], 0])
    return holes[: too_many[0]], at, f"more is missing than is there: what follows stream offset {at:#x} is left out"


def _write(file: BinaryIO, view: memoryview, start: Ints, at: Ints, end: Ints) -> None:
    """Write the bytes at ``at`` of the dump to [start, end) of the file."""
    if not len(start):
        return
    jumps = np.flatnonzero(np.append(True, start[1:] != end[:-1]))
    for low, high in zip(jumps.tolist(), [*jumps[1:].tolist(), len(start)], strict=True):
        file.seek(int(start[low]))
        ends = (at[low:high] + (end[low:high] - start[low:high])).tolist()
        file.writelines(view[a:b] for a, b in zip(at[low:high].tolist(), ends, strict=True))


def _compared(file: BinaryIO, view: memoryview, parts: _Parts, before: Ints, rows: Ints) -> tuple[Ints, int]:
    """Where ``rows`` of the segments repeat other bytes than the file has: the first ranges, and how many there are."""
    differs, differing = [], 0
    for start, end, at in zip(
        parts.start[rows].tolist(),
        np.minimum(parts.end, before)[rows].tolist(),
        parts.at[rows].tolist(),
        strict=True,
    ):
        file.seek(start)
        there, again = file.read(end - start), view[at : at + end - start]
        if there == again:
            continue
        differing += 1
        if differing <= DIFFERENCES_MAX:
            unlike = np.flatnonzero(np.frombuffer(there, np.uint8) != np.frombuffer(again, np.uint8))
            differs.append((start + int(unlike[0]), start + int(unlike[-1]) + 1))
    return np.array(sorted(differs), np.int64).reshape(-1, 2), differing


def _first_counts(file: BinaryIO, view: memoryview, parts: _Parts) -> None:
    """Write all segments again, the last one first, so that what came first stands in the end."""
    rows = zip(parts.start.tolist()[::-1], parts.end.tolist()[::-1], parts.at.tolist()[::-1], strict=True)
    for start, end, at in rows:
        file.seek(start)
        file.write(view[at : at + end - start])
    file.flush()


def _times(parts: _Parts, new: Ints) -> Ints:
    """When the bytes had come, about a millisecond apart."""
    if not len(new) or not parts.time[new].any():
        return np.zeros((0, 2), np.int64)
    moment = np.maximum.accumulate(parts.time[new])
    last = np.append(np.diff((moment - moment[0]) // _APART) > 0, True)
    return np.stack([parts.end[new][last], moment[last]], axis=1)
