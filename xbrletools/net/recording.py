"""One direction of a connection on its way to a file. A thread of its own writes: a slow disk holds nothing up."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .kinds import Kind
from .times import Times, now

HOLD_MAX = 256 << 20  # bytes that a recording may be behind what passed


@dataclass(slots=True)
class Recording:
    """One direction of one connection: the file it went to (none before its first byte), and how it ended.

    ``error`` says why it broke off, None where it was closed in order.
    """

    connection: int
    reverse: bool
    kind: Kind | None = None
    path: Path | None = None
    size: int = 0
    error: str | None = None

    @property
    def main(self) -> bool:
        """Whether it is of the migration's main channel."""
        return self.kind is Kind.MAIN


class Writer:
    """Writes one recording. What ``open_file`` opens, when the first byte is there, takes it.

    A ``patient`` one lets who brings the bytes wait for the disk. Any other gives up when it is more than `HOLD_MAX`
    bytes behind. ``open_times`` opens the file for the times beside the recorded one. None: there is none.
    """

    def __init__(
        self,
        recording: Recording,
        open_file: Callable[[], tuple[int, Path]],
        patient: bool,
        open_times: Callable[[Path], int] | None = None,
    ) -> None:
        self._recording, self._open_file, self._patient = recording, open_file, patient
        self._open_times = open_times
        self._held: deque[tuple[bytes, int]] = deque()
        self._behind = 0
        self._open = True
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Whether no more is written."""
        return self._recording.error is not None

    def put(self, piece: bytes) -> None:
        """Have these bytes written, which came now."""
        moment = now()
        with self._change:
            while self._patient and self._behind > HOLD_MAX and not self._recording.error:
                self._change.wait()
            if self._recording.error:
                return
            if self._behind > HOLD_MAX:
                behind = self._behind >> 20
                self._recording.error = f"the disk is {behind} MiB behind: recording ended, and the file is cut"
                return
            self._held.append((piece, moment))
            self._behind += len(piece)
            self._change.notify_all()

    def close(self) -> None:
        """Wait until all is written."""
        with self._change:
            self._open = False
            self._change.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            piece, moment = self._next()
            if not piece:
                return
            descriptor, path = self._open_file()
            self._recording.path = path
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
                times = Times(self._open_times, path, moment)
                with closing(times):
                    while piece:
                        self._write(file.write, piece)
                        times.add(piece, moment)
                        piece, moment = self._next()
        except OSError as error:
            with self._change:
                size = self._recording.size
                why = error.strerror or str(error)
                self._recording.error = f"{why}: recording ended, and the file is cut" if size else why
                self._held.clear()
                self._behind = 0
                self._change.notify_all()

    def _write(self, write: Callable[[memoryview], int | None], piece: bytes) -> None:
        """Write all of ``piece`` to an unbuffered file. Where that fails, what was written before counts."""
        left = memoryview(piece)
        while left:
            count = written(write, left)
            self._recording.size += count
            left = left[count:]

    def _next(self) -> tuple[bytes, int]:
        """What is to be written next, and when it came. Nothing at the end."""
        with self._change:
            while not self._held and self._open:
                self._change.wait()
            piece, moment = self._held.popleft() if self._held else (b"", 0)
            self._behind -= len(piece)
            self._change.notify_all()
            return piece, moment


def written(write: Callable[[memoryview], int | None], piece: memoryview) -> int:
    """Write ``piece`` or some of it, and give how much."""
    return write(piece) or 0
