"""When the bytes of a recording came: the file beside it, written as they come.

Its form is `formats.times`. Pieces that come within a millisecond share an entry. What goes wrong here never touches
the recording: the times end there.
"""

import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..formats import times

APART = 1_000_000  # nanoseconds between two entries, at least


def now() -> int:
    """The moment, in nanoseconds, by a clock that is never set."""
    return time.monotonic_ns()


class Times:
    """Writes the times of the file ``path``, whose first byte came at ``moment``, as `now` gave it.

    ``open_file`` opens the file for them. Without it nothing is written.
    """

    def __init__(self, open_file: Callable[[Path], int] | None, path: Path, moment: int) -> None:
        self._began, started = moment, time.time_ns() - (now() - moment)
        self._size, self._tail = 0, b""
        self._pending: tuple[int, int, bytes] | None = None
        self._last = -APART  # when the bytes of the last entry had come
        self._descriptor: int | None = None
        with suppress(OSError):
            self._descriptor = None if open_file is None else open_file(path)
        self._write(times.Header.build({"version": times.VERSION, "reserved": 0, "started": started}))

    def add(self, piece: bytes, moment: int) -> None:
        """The bytes ``piece``, which are in the recorded file now, came at ``moment``, as `now` gave it."""
        if self._descriptor is None:
            return
        elapsed = max(0, moment - self._began)
        if elapsed - self._last >= APART:
            self._flush()
        self._size += len(piece)
        self._tail = (self._tail + piece[-times.CHECKED :])[-times.CHECKED :]
        self._pending = self._size, elapsed, self._tail

    def close(self) -> None:
        """Write the last entry."""
        self._flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _flush(self) -> None:
        if self._pending is not None:
            offset, self._last, tail = self._pending
            entry = {"offset": offset, "elapsed": self._last, "crc": zlib.crc32(tail)}
            self._write(times.Entry.build(entry))
            self._pending = None

    def _write(self, data: bytes) -> None:
        """Write all of ``data``. Where that fails, no more is written."""
        if self._descriptor is None:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.close(self._descriptor)
            self._descriptor = None
