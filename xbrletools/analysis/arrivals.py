"""When the bytes of a capture came, where `xbrle capture` noted it: times of records, and records at times.

The times lie in a file beside the capture, whose form is `formats.times`. It is bound to the capture by checksums of
what stands before its entries. A file that does not fit is refused, and never believed in part.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..arrays import distinct
from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import times
from ..model import Held, Stream
from ..source.beside import content, times_beside
from ..source.sources import MappedSource
from ..urls import without_secrets

Ints = NDArray[np.int64]

PROBES = 64  # entries whose checksums are tried
_ENTRY = dtype_of(times.Entry)
_SECONDS = re.compile(r"\+?(\d+(?:\.\d+)?)s?")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Moments, as entries in the order of offsets: all bytes before ``offset`` had come after ``elapsed`` nanoseconds.

    Both are (n,) int64, and n is at least 1. ``started`` is the wall clock's time when the first byte came, in
    nanoseconds since 1970 UTC. ``path`` is where the times are from. ``whole``: they reach the last byte.

    ``places`` gives, for offsets of a capture with other channels, the channel that each is of (-1: the main one) and
    the offset in that one's file. ``channels`` has the other channels' times, by their ids.
    """

    path: str
    started: int
    offset: Ints
    elapsed: Ints
    whole: bool = True
    channels: Mapping[int, "Arrivals"] = field(default_factory=dict)
    places: Callable[[NDArray[np.uint64]], tuple[Ints, Ints]] | None = None

    def of(self, offsets: NDArray[np.integer]) -> Ints:
        """How many nanoseconds after the first byte the bytes at these offsets came, (n,) int64. -1: not known."""
        if self.places is None:
            at = np.searchsorted(self.offset, offsets.astype(np.int64), side="right")
            return np.append(self.elapsed, -1)[at]
        channel, place = self.places(offsets.astype(np.uint64))
        out = np.full(len(offsets), -1, np.int64)
        for number in distinct(channel).tolist():
            one = replace(self, places=None) if number < 0 else self.channels.get(number)
            if one is not None:
                of_channel = channel == number
                elapsed = one.of(place[of_channel])
                out[of_channel] = np.where(elapsed < 0, -1, np.maximum(elapsed + one.started - self.started, 0))
        return out

    def upto(self, elapsed: int) -> int:
        """The offset up to which all bytes had come after so many nanoseconds."""
        at = int(np.searchsorted(self.elapsed, elapsed, side="right"))
        return int(self.offset[at - 1]) if at else 0

    @property
    def seconds(self) -> float:
        """The time from the first byte to the last that is known."""
        return int(self.elapsed[-1]) / times.NANOSECONDS

    @property
    def rate(self) -> float | None:
        """Bytes a second over all. None where they came at once."""
        return float(self.offset[-1]) / self.seconds if self.seconds else None

    def clock(self, elapsed: int) -> str:
        """The wall clock's time, in UTC, so many nanoseconds after the first byte: 2026-11-26T07:40:01.123Z."""
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=(self.started + elapsed) // 1000)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_packets(source: Held) -> Arrivals | None:
    """The times of a stream that was put together of packets, or None where it was not, or where these lack times."""
    if not isinstance(source, MappedSource) or source.rebuilt is None:
        return None
    offset, moment = source.rebuilt.times.T
    there = int(np.searchsorted(offset, source.size, side="right"))
    offset = np.append(offset[:there], source.size if len(offset) > there else offset[:0])
    if not len(offset):
        return None
    started = int(moment[0])
    whole = int(offset[-1]) == source.size
    return Arrivals(source.name, started, offset.astype(np.int64), moment[: len(offset)] - started, whole)


def beside(source: Held) -> Arrivals | None:
    """The times of what was opened, or None where neither a file beside it nor the packets that it came in have any.

    Raises:
        XbrleError: there are some, and they are damaged or another capture's.
    """
    if (packets := of_packets(source)) is not None:
        return packets
    found = None if source.given is None else times_beside(source.given, source.wrapper is not None)
    return None if found is None else read(found, source.data)


def read(path: str, data: NDArray[np.uint8]) -> Arrivals | None:
    """The times in the file ``path``, which must be those of the capture whose bytes are ``data`` (size,) uint8.

    None: the recording ended before there was any.

    Raises:
        XbrleError: the file cannot be read, is damaged, or is another capture's.
    """
    try:
        raw = content(path)
    except OSError as error:
        raise XbrleError(f"{path}: {error.strerror or error}") from error
    path = without_secrets(path)
    try:
        header = times.Header.parse(raw)
    except ConstructError:
        raise XbrleError(f"{path}: is not a file of arrival times") from None
    if header.version != times.VERSION:
        raise XbrleError(f"{path}: arrival times of version {header.version}, and only {times.VERSION} is known")
    start = times.Header.sizeof()
    entries = np.frombuffer(raw, _ENTRY, (len(raw) - start) // _ENTRY.itemsize, start)
    if not len(entries):
        return None
    if (entries["offset"] >> np.uint64(63)).any() or (entries["elapsed"] >> np.uint64(63)).any():
        raise XbrleError(f"{path}: is damaged: a number is too large")
    offset, elapsed = entries["offset"].astype(np.int64), entries["elapsed"].astype(np.int64)
    if offset[0] < 1 or (np.diff(offset) < 0).any() or (np.diff(elapsed) < 0).any() or header.started >> 62:
        raise XbrleError(f"{path}: is damaged: its times or its offsets fall")
    if offset[-1] > len(data):
        raise XbrleError(f"{path}: is another capture's, or this one was cut: it has times up to {int(offset[-1]):#x}")
    for i in distinct(np.linspace(0, len(entries) - 1, PROBES).astype(np.int64)).tolist():
        end = int(offset[i])
        if zlib.crc32(data[max(0, end - times.CHECKED) : end].data) != int(entries["crc"][i]):
            raise XbrleError(f"{path}: is another capture's: the bytes before {end:#x} are not those it was made with")
    return Arrivals(path, int(header.started), offset, elapsed, int(offset[-1]) == len(data))


def as_json(when: Arrivals) -> dict[str, Any]:
    """When a capture came, how long it took and how fast it was, as JSON has it. Seconds count from the first byte."""
    return {
        "started": when.clock(0),
        "ended": when.clock(int(when.elapsed[-1])),
        "seconds": when.seconds,
        "bytes": int(when.offset[-1]),
        "bytes_per_second": when.rate,
    }


def words(arrival: Mapping[str, Any]) -> str:
    """What `as_json` gives, in one line for a person."""
    line = f"{arrival['started']} to {arrival['ended']}, {arrival['seconds']:.3f} s"
    speed = arrival["bytes_per_second"]
    return line if speed is None else f"{line}, {rate(speed)}"


def rate(count: float) -> str:
    """Bytes a second, for a person: 117.3 MB/s."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}/s"
    return f"{count:.0f} B/s"


def record_at(stream: Stream, arrivals: Arrivals, text: str) -> int:
    """The last record that had come at a time: seconds after the first byte (12.5s), or a clock time in UTC.

    A clock time is ISO 8601, with or without its date: 2026-11-26T07:40:01.5 or 07:40:01.5, which is then of the day on
    which recording began, or of the next.

    Raises:
        XbrleError: it is not a time, it lies outside the recording, or no record had come by then.
    """
    elapsed = _elapsed(arrivals, text)
    if not 0 <= elapsed <= int(arrivals.elapsed[-1]):
        end = arrivals.clock(int(arrivals.elapsed[-1]))
        raise XbrleError(
            f"{text} lies outside this recording: it began at {arrivals.clock(0)} and lasted {arrivals.seconds:.3f} s, "
            f"to {end}"
        )
    columns, rows = stream.records.columns, stream.records.main_rows
    ends = columns.end(rows)
    row = int(np.searchsorted(ends, arrivals.upto(elapsed), side="right")) - 1
    carrying = stream.records.is_page[rows[: row + 1]].nonzero()[0]
    if not len(carrying):
        raise XbrleError(f"no record had come at {text}: the first one came later")
    return int(stream.records.numbers_of(rows[carrying[-1:]])[0])


def _elapsed(arrivals: Arrivals, text: str) -> int:
    """Nanoseconds after the first byte."""
    if match := _SECONDS.fullmatch(text):
        whole, _, part = match[1].partition(".")
        return int(whole[:12]) * times.NANOSECONDS + int(part[:9].ljust(9, "0") or 0)
    began = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=arrivals.started // 1000)
    try:
        if re.match(r"\d\d:", text):
            moment = datetime.fromisoformat(f"{began.date().isoformat()}T{text}")
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            if moment < began - timedelta(milliseconds=1):
                moment += timedelta(days=1)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        since = moment - datetime.fromtimestamp(0, UTC)
    except (ValueError, OverflowError):
        raise XbrleError(
            f"invalid time {text!r}: use seconds after the first byte such as 12.5s, or UTC such as 07:40:01.5"
        ) from None
    micro = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    return max(micro * 1000 - arrivals.started, -1 if micro * 1000 < arrivals.started - 1_000_000 else 0)
