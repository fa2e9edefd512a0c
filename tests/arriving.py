"""Captures with arrival times beside them, as the tap writes them."""

import zlib
from collections.abc import Iterable
from pathlib import Path

from xbrletools.formats import times

STARTED = 1_700_000_000 * times.NANOSECONDS


def written(path: Path, data: bytes, entries: Iterable[tuple[int, int]], started: int = STARTED) -> Path:
    """The times ``entries``, (offset, nanoseconds) each, beside a capture with these bytes."""
    raw = times.Header.build({"version": times.VERSION, "reserved": 0, "started": started})
    for offset, elapsed in entries:
        crc = zlib.crc32(data[max(0, offset - times.CHECKED) : offset])
        raw += times.Entry.build({"offset": offset, "elapsed": elapsed, "crc": crc})
    beside = path.with_name(path.name + ".times")
    beside.write_bytes(raw)
    return beside


def even(data: bytes, seconds: float = 10.0, pieces: int = 1000) -> list[tuple[int, int]]:
    """Entries of a capture that came evenly."""
    return [(len(data) * i // pieces, int(seconds * 1e9 * i / pieces)) for i in range(1, pieces + 1)]
