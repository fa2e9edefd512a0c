"""A capture's bytes: mapped from a file, held in memory, or read once from a pipe.

A source hands out windows at rising offsets. A scan needs no more, so it reads a pipe in constant memory. Replay and
verification need every byte at hand: a mapped source has them as ``data``, and ``spool`` turns a pipe into such a one.
"""

import errno
import io
import mmap
import os
import select
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..progress import note, tell
from .ahead import Ahead
from .changed import SHRUNK
from .packing import content_size, is_damage
from .wrappers import Wrapping

MARGIN = (1 << 17) + (1 << 12)  # bytes that a scan looks ahead: the zlib stream of a 64 KiB page may have twice that
WINDOW = 32 << 20  # bytes of a mapped file that a scan looks at before it drops them
PIPE_WINDOW = 1 << 20  # bytes of a pipe that are held in memory
PIPE_BEFORE = 1 << 16  # and before those
_TAKES_ROOM = "needs more room there. To put it elsewhere, set TMPDIR to a folder with more room"
_GIVES_BACK = hasattr(mmap, "MADV_DONTNEED")  # Windows does not have it


class Origin(NamedTuple):
    """A file that is one whole capture, as it was when it was opened.

    ``identity`` is what the kernel says of it: device, inode, size in bytes, and the times when its content and its
    inode last changed, in ns since the epoch. A program can set the first of these times, but not the second.
    ``done``: nobody writes to it any more.
    """

    path: Path
    identity: tuple[int, int, int, int, int]
    done: bool = False

    @classmethod
    def of(cls, path: Path, state: os.stat_result, done: bool = False) -> "Origin":
        """The file at ``path`` in this state."""
        return cls(path, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns), done)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.identity[2]

    def is_settled(self, seconds: float) -> bool:
        """Whether the file is as it was, and did not change within the last ``seconds``.

        Raises:
            OSError: the file is gone.
        """
        now = self.path.stat()
        changed = max(now.st_mtime, now.st_ctime)
        settled = self.done or time.time() - changed > seconds
        return Origin.of(self.path, now).identity == self.identity and settled


class MappedFile(mmap.mmap):
    """A file, mapped. It remembers the file, to ask where its holes are. ``descriptor`` is its own."""

    descriptor: int

    def __reduce__(self) -> NoReturn:
        """Refuse: what is mapped is in this process alone.

        Raises:
            TypeError: always.
        """
        raise TypeError("a capture cannot be pickled or copied: give the other process its path, and open it there")

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges of bytes [start, stop) that are not holes, in rising order, as far as the file system tells."""
        if not hasattr(os, "SEEK_DATA"):  # Windows
            yield start, stop
            return
        while start < stop:
            try:
                low = os.lseek(self.descriptor, start, os.SEEK_DATA)
                high = os.lseek(self.descriptor, low, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: only a hole follows
                    yield start, stop
                return
            if low < stop:
                yield low, min(high, stop)
            start = high


class MappedSource:
    """A capture whose every byte is at hand.

    ``data`` is the whole file, (size,) uint8, read-only, in which the stream begins at offset ``start``. All offsets
    count from the beginning of the file. ``wrapper`` names the compression that was undone. ``wrapping`` describes what
    the file is around the stream. ``origin`` is the file. It is None where the bytes do not stand in one as they are
    here. ``given`` is the path or URL that was opened, None where it was neither. It can hold secrets: `name` is shown.
    ``grows``: it is still being written, so that ``size`` is what is there by now.
    """

    grows = False

    def __init__(
        self,
        name: str,
        buffer: mmap.mmap | bytes | memoryview,
        wrapper: str | None = None,
        start: int = 0,
        wrapping: Wrapping | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.name = name
        self.wrapper = wrapper
        self.wrapping = wrapping
        self.origin = origin
        self.given: str | None = None
        self.damage: str | None = None
        self.rebuilt: Rebuilt | None = None
        self.start = start
        self._buffer = buffer
        self.view = memoryview(buffer)
        self.data: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)
        self.size = len(self.data)
        self._dropped = 0

    def check(self) -> None:
        """Make sure that the mapped file did not shrink. Reading bytes that are gone would end the process.

        Raises:
            XbrleError: the file has shrunk.
        """
        if isinstance(self._buffer, mmap.mmap):
            now, was = self._buffer.size(), len(self._buffer)
            if now < was:
                raise XbrleError(f"{self.name}: {SHRUNK} It has {now:,} bytes, and had {was:,}")

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges of bytes [start, stop) that can hold something, in rising order. All else is holes, so zeros."""
        stop = min(stop, self.size)
        if isinstance(self._buffer, MappedFile):
            yield from self._buffer.extents(start, stop)
        elif start < stop:
            yield start, stop

    def window(self, offset: int, least: int) -> tuple[memoryview, bool]:
        """The bytes from ``offset``, at least ``least`` of them unless the capture ends, and whether it does."""
        self.check()
        tell("reading", offset, self.size)
        limit = self.hole_after(offset)[0]
        end = min(limit, offset + max(least, WINDOW))
        self._drop(offset)
        return self.view[offset:end], end == limit

    def hole_after(self, offset: int) -> tuple[int, int]:
        """The first range of bytes [start, end) that are missing and do not end before ``offset``. Or the end, twice.

        A scan does not read across it. Only a stream that was put together of packets, and is salvaged, has any.
        """
        if self.rebuilt is None or self.rebuilt.whole is not self:
            return self.size, self.size
        holes = self.rebuilt.holes
        at = int(np.searchsorted(holes[:, 1], offset, side="right"))
        return (int(holes[at, 0]), int(holes[at, 1])) if at < len(holes) else (self.size, self.size)

    def read(self, salvage: bool) -> "MappedSource":
        """The source up to the first bytes that are missing, or to ``salvage`` it with what follows them."""
        if self.rebuilt is None:
            return self
        return self.rebuilt.whole if salvage else self.rebuilt.before

    def held(self, first: int, end: int) -> tuple[memoryview, int]:
        """The bytes from ``first`` to ``end``, as far as they are at hand, and the offset of the first of them."""
        return self.view[first:end], first

    def until(self, end: int, start: int | None = None) -> "MappedSource":
        """The source without what stands from ``end`` on. ``start``: it begins there."""
        part = MappedSource(self.name, self.view[:end], self.wrapper, self.start if start is None else start)
        part.wrapping, part.given = self.wrapping, self.given
        return part

    def _drop(self, offset: int) -> None:
        """Give back to the kernel what a scan has passed, so that a large file does not fill memory."""
        if _GIVES_BACK and isinstance(self._buffer, mmap.mmap) and offset - self._dropped >= WINDOW:
            upto = offset & ~(mmap.PAGESIZE - 1)
            self._buffer.madvise(mmap.MADV_DONTNEED, self._dropped, upto - self._dropped)
            self._dropped = upto

    def let_go(self) -> None:
        """Give back to the kernel all of a mapped file that was read, so that a large file does not fill memory."""
        if _GIVES_BACK and isinstance(self._buffer, mmap.mmap):
            self._buffer.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Do nothing. The map goes when its last array goes."""

    def spool(self) -> "MappedSource":
        """The source itself: every byte is at hand already."""
        return self


class Oddity(NamedTuple):
    """What is odd about where a stream came from. ``rule`` and the rest are as in `model.Problem`."""

    rule: str
    offset: int
    message: str
    lost: bool = False


@dataclass(slots=True, eq=False)
class Rebuilt:
    """What goes with a stream that was put together of packets.

    ``before`` is the stream up to the first bytes that are missing, ``whole`` all of it, with zeros for them. ``holes``
    are the bytes [start, end) that are missing, (n, 2) int64, rising. ``back`` is what came back over the connection.
    Bytes before ``times[i, 0]`` had come at ``times[i, 1]``, in nanoseconds since 1970 UTC: (n, 2) int64, both rising.
    """

    before: MappedSource
    whole: MappedSource
    holes: NDArray[np.int64]
    oddities: tuple[Oddity, ...]
    times: NDArray[np.int64]
    channels: tuple[MappedSource, ...] = ()
    back: MappedSource | None = None


class PipeSource:
    """A capture that can be read once, in order: from standard input, a FIFO or a decompressor.

    ``file`` is what was opened for it. It is closed when all of it was read, or with `close`. ``wrapping`` describes
    what the file is around the stream, which begins at offset ``start``. Offsets count from the beginning of the file,
    of which ``read`` bytes were read before. ``given`` is as in `MappedSource`.
    """

    def __init__(
        self,
        name: str,
        raw: BinaryIO | Ahead,
        wrapper: str | None = None,
        file: BinaryIO | None = None,
        wrapping: Wrapping | None = None,
        start: int = 0,
        read: int = 0,
    ) -> None:
        self.name = name
        self.wrapper = wrapper
        self.wrapping = wrapping
        self.start = start
        self.origin: Origin | None = None
        self.given: str | None = None
        self.damage: str | None = None
        self.size: int | None = None
        self._raw = raw if isinstance(raw, Ahead) else Ahead(raw)
        self._file = file
        self._held = bytearray()
        self.first = self._base = read

    def head(self, count: int) -> bytes:
        """The first bytes, as far as there are so many. No window was given yet. All that is read for it is held."""
        while len(self._held) < count and self._pull():
            pass
        return bytes(self._held[:count]) if self._base == self.first else b""

    def begins_with(self, magic: bytes) -> bool:
        """Whether the capture begins with these bytes. As `head`."""
        return self.head(len(magic)) == magic

    def window(self, offset: int, least: int) -> tuple[memoryview, bool]:
        """The bytes from ``offset``, at least ``least`` of them unless the capture ends, and whether it does.

        ``offset`` may not fall behind that of an earlier call.
        """
        self._pass(offset)
        while self._end < offset and self._pull():  # the scan skipped these bytes
            self._pass(offset)
        tell("reading", offset, self.size)
        while self._end < offset + max(least, PIPE_WINDOW) and self._pull():
            pass
        view = memoryview(self._held)[offset - self._base :]  # not written to from now on, so not a copy
        return view, self.size is not None

    def held(self, first: int, end: int) -> tuple[memoryview, int]:
        """As `MappedSource.held`. A little before the last window is at hand, and all that is still to come is read."""
        if self._end < end and self.size is None:
            self._held = self._held[:]  # windows show the old one
            while self._end < end and self._pull():
                pass
        first = max(first, self._base)
        return memoryview(self._held)[first - self._base : max(0, end - self._base)], first

    @property
    def _end(self) -> int:
        """The offset of the first byte that was not read yet."""
        return self._base + len(self._held)

    def _pass(self, offset: int) -> None:
        """Let go of what is held well before ``offset``. The rest is held anew: windows still show the old one."""
        gone = max(0, min(len(self._held), offset - PIPE_BEFORE - self._base))
        self._held = self._held[gone:]
        self._base += gone

    def _pull(self) -> bool:
        if self.size is not None:  # the end was seen, and the file let go
            return False
        piece = self._read(PIPE_WINDOW)
        self._held += piece
        if not piece:
            self.size = self._end
            self.close()
        return bool(piece)

    def close(self) -> None:
        """Close the file, if it was opened for this source."""
        if self._file is not None:
            self._raw.close()
            self._file.close()

    def _read(self, count: int) -> bytes:
        try:
            return self._raw.read1(count)  # one step at a time: what stands before damage comes out
        except Exception as error:
            if not is_damage(error):
                raise
            self.damage = str(error) if self.wrapper else f"the input cannot be read on: {error}"
        return b""

    def pieces(self) -> Iterator[bytes]:
        """The whole capture, in pieces as they come."""
        if self._base > self.first:
            raise XbrleError(f"{self.name}: read past its beginning already")
        if self._held:
            yield bytes(self._held)
        while piece := self._read(PIPE_WINDOW):
            yield piece
        self.close()

    def _say_whether_it_fits(self, folder: str, content: int | None) -> None:
        """Say before the work that a packed file may not fit where it is unpacked to."""
        if content is None or not hasattr(os, "statvfs"):
            return
        state = os.statvfs(folder)
        free = state.f_bavail * state.f_frsize
        if content > free:
            note(
                f"{self.name} unpacks to {content:,} bytes, and {folder} has {free:,} bytes free. It may fit all the "
                "same, since zeros take no room. To unpack it elsewhere, set TMPDIR to another folder"
            )

    def wait(self) -> None:
        """Wait until more comes, or the end. A read would hold a lock meanwhile, and the program could not exit."""
        with suppress(OSError, ValueError, AttributeError):
            select.select([self._raw.fileno()], [], [])

    def spool(self) -> MappedSource:
        """The whole capture as a mapped source, over an unnamed temporary file. This takes disk, not memory.

        The file is in the folder that TMPDIR names, by default /tmp.

        Raises:
            XbrleError: it does not fit there.
        """
        import tempfile

        folder = tempfile.gettempdir()
        what = f"{'reading' if self.wrapper is None else 'unpacking'} {os.path.basename(self.name)} into {folder}"  # noqa: PTH119
        content = None if self._file is None or self._file.closed else content_size(self._file.fileno())
        self._say_whether_it_fits(folder, content)
        with tempfile.TemporaryFile() as file:
            file.seek(self.first)  # what was read before is a hole
            try:
                for piece in self.pieces():
                    if piece.count(0) < len(piece):
                        file.write(piece)
                    else:  # a hole: much packed into little takes no disk
                        file.seek(len(piece), os.SEEK_CUR)
                    tell(what, file.tell(), content)
                file.truncate()
                file.flush()
            except OSError as error:
                raise XbrleError(f"{folder}: {error.strerror}: {self.name} {_TAKES_ROOM}") from error
            spooled = MappedSource(self.name, mapped(file), self.wrapper, self.start, self.wrapping)
        spooled.damage, spooled.given = self.damage, self.given
        return spooled


Source = MappedSource | PipeSource


def mapped(file: BinaryIO | io.BufferedRandom, size: int | None = None) -> mmap.mmap | bytes:
    """The file's bytes, or its first ``size`` bytes, mapped. Nothing cannot be mapped, and gives plain empty bytes.

    Raises:
        OSError: it cannot be mapped.
        MemoryError: the address space does not have so much room.
    """
    size = os.fstat(file.fileno()).st_size if size is None else size
    if not size:
        return b""
    try:
        found = MappedFile(file.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise MemoryError(f"its {size:,} bytes do not fit into the address space") from error
    found.descriptor = os.dup(file.fileno())
    weakref.finalize(found, os.close, found.descriptor)
    return found
