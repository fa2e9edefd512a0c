"""Where a capture's bytes come from: a mapped file, bytes, or a pipe; plain or compressed.

A source hands out windows at rising offsets, which is all that a scan needs: a pipe is then read in constant memory. A
mapped source also has every byte at hand (`data`), which replay and verification need; `spool` turns a pipe into one.
"""

import io
import mmap
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import libvirt, lzop
from ..formats.libvirt import Format
from ..text import shown
from .lzop import LzopReader
from .wrappers import Qcow2Snapshot, Wrapping, is_libvirt, is_qcow2, libvirt_save, qcow2_state

MARGIN = (1 << 17) + (1 << 12)  # bytes that a scan looks ahead: the zlib stream of a 64 KiB page may have twice that
WINDOW = 32 << 20  # bytes of a mapped file that a scan looks at before it drops them
SHRUNK = "the file has shrunk while it was read."
PIPE_WINDOW = 1 << 20  # bytes that a pipe holds in memory

Openable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def _zstd(raw: BinaryIO) -> BinaryIO:
    try:
        import zstandard
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14 and later

        return cast("BinaryIO", zstd.open(raw))
    return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))


def zstd_decoder() -> Callable[[bytes], bytes]:
    """A function from the bytes of a zstd frame, piece after piece, to what they hold."""
    try:
        import zstandard
    except ImportError:
        from compression import zstd

        return cast("Callable[[bytes], bytes]", zstd.ZstdDecompressor().decompress)
    return zstandard.ZstdDecompressor().decompressobj().decompress


def _xz(raw: BinaryIO) -> BinaryIO:
    import lzma

    return cast("BinaryIO", lzma.open(raw))


def _gzip(raw: BinaryIO) -> BinaryIO:
    import gzip

    return cast("BinaryIO", gzip.open(raw))


def _bzip2(raw: BinaryIO) -> BinaryIO:
    import bz2

    return cast("BinaryIO", bz2.open(raw))


#: The magic of each compression, and what reads it. Decoders raise different errors on damage: see `_DAMAGE`.
_COMPRESSIONS: dict[bytes, tuple[str, Callable[[BinaryIO], BinaryIO]]] = {
    b"\xfd7zXZ\x00": ("xz", _xz),
    b"\x1f\x8b": ("gzip", _gzip),
    b"BZh": ("bzip2", _bzip2),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
    lzop.MAGIC: ("lzop", lambda raw: cast("BinaryIO", io.BufferedReader(LzopReader(raw)))),
}
_DAMAGE = frozenset(("LZMAError", "ZstdError"))
_MAGIC_MAX = max(*map(len, _COMPRESSIONS), len(libvirt.MAGIC))


def _compression(head: bytes) -> tuple[str, Callable[[BinaryIO], BinaryIO]] | None:
    return next((c for magic, c in _COMPRESSIONS.items() if head.startswith(magic)), None)


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that is a capture from its first byte to its last, as it was when it was opened.

    ``size`` in bytes, ``changed`` in ns since the epoch.
    """

    path: Path
    size: int
    changed: int

    def is_settled(self, seconds: float) -> bool:
        """Whether it is still as it was, and was not changed within the last ``seconds``.

        Raises:
            OSError: it is gone.
        """
        now = self.path.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size, self.changed) and time.time() - now.st_mtime > seconds


class MappedSource:
    """A capture whose every byte is at hand.

    ``data`` is the whole capture, (size,) uint8, read-only; ``wrapper`` names a compression that was undone.
    ``wrapping`` tells of a file around it; it begins ``start`` bytes into ``buffer``. ``origin`` is the file that it
    is, None where it is only part of one, or was made.
    """

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
        self.damage: str | None = None
        self._buffer = buffer
        self.view = memoryview(buffer)[start:]
        self.data: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)[start:]
        self.size = len(self.data)
        self._dropped = 0

    def check(self) -> None:
        """See that the mapped file is still as long as it was: bytes that are gone cannot be read, not even as zeros.

        Raises:
            XbrleError: it has shrunk.
        """
        if isinstance(self._buffer, mmap.mmap):
            now, was = self._buffer.size(), len(self._buffer)
            if now < was:
                raise XbrleError(f"{self.name}: {SHRUNK} It has {now} bytes, and had {was}")

    def window(self, offset: int, least: int) -> tuple[memoryview, bool]:
        """The bytes from ``offset``, at least ``least`` of them unless the capture ends; and whether it does."""
        self.check()
        end = min(self.size, offset + max(least, WINDOW))
        self._drop(offset)
        return self.view[offset:end], end == self.size

    def _drop(self, offset: int) -> None:
        """Let the kernel take back what a scan has passed: resident memory stays small on a large file."""
        if isinstance(self._buffer, mmap.mmap) and offset - self._dropped >= WINDOW:
            upto = offset & ~(mmap.PAGESIZE - 1)
            self._buffer.madvise(mmap.MADV_DONTNEED, self._dropped, upto - self._dropped)
            self._dropped = upto

    def close(self) -> None:
        """Nothing: the map goes when its last array does."""

    def spool(self) -> "MappedSource":
        """Itself: every byte is at hand already."""
        return self


class PipeSource:
    """A capture that comes once, in order: standard input, a FIFO, a decompressor.

    ``file`` is what was opened for it, closed when it has been read or with `close`; ``wrapping`` tells of a file
    around it.
    """

    def __init__(
        self,
        name: str,
        raw: BinaryIO,
        wrapper: str | None = None,
        file: BinaryIO | None = None,
        wrapping: Wrapping | None = None,
    ) -> None:
        self.name = name
        self.wrapper = wrapper
        self.wrapping = wrapping
        self.origin: Origin | None = None
        self.damage: str | None = None
        self.size: int | None = None
        self._raw = raw
        self._file = file
        self._held = bytearray()
        self._base = 0

    def window(self, offset: int, least: int) -> tuple[memoryview, bool]:
        """The bytes from ``offset``, at least ``least`` of them unless the capture ends; and whether it does.

        ``offset`` may not fall behind that of an earlier call.
        """
        while offset > self._base + len(self._held) and self._pull():  # passed over without being looked at
            gone = min(len(self._held), offset - self._base)
            self._held = self._held[gone:]
            self._base += gone
        self._held = self._held[offset - self._base :]
        self._base = offset
        while len(self._held) < max(least, PIPE_WINDOW) and self._pull():
            pass
        return memoryview(bytes(self._held)), self.size is not None

    def _pull(self) -> bool:
        if self.size is not None:  # the end was seen, and the file let go
            return False
        piece = self._read(PIPE_WINDOW)
        self._held += piece
        if not piece:
            self.size = self._base + len(self._held)
            self.close()
        return bool(piece)

    def close(self) -> None:
        """Let go of the file, if it was opened here."""
        if self._file is not None:
            self._raw.close()
            self._file.close()

    def _read(self, count: int) -> bytes:
        try:
            # One step at a time, so that what a damaged file gives before it fails is not lost with the failure.
            step: Callable[[int], bytes] = getattr(self._raw, "read1", self._raw.read)
            return step(count)
        except (EOFError, OSError, ValueError) as error:
            self.damage = f"{self.wrapper or 'input'} ends early or is damaged: {error}"
        except Exception as error:  # the decoders' own error types are not known without importing them
            if type(error).__name__ not in _DAMAGE:
                raise
            self.damage = f"{self.wrapper} ends early or is damaged: {error}"
        return b""

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces as they come."""
        if self._base:
            raise XbrleError(f"{self.name}: read past its beginning already")
        if self._held:
            yield bytes(self._held)
        while piece := self._read(PIPE_WINDOW):
            yield piece
        self.close()

    def wait(self) -> None:
        """Wait until there is more, or no more; without the lock of a read, while which no program can end."""
        with suppress(OSError, ValueError, AttributeError):
            select.select([self._raw.fileno()], [], [])

    def spool(self) -> MappedSource:
        """All of it, through an unnamed temporary file: memory stays constant, disk does not."""
        import tempfile

        with tempfile.TemporaryFile() as file:
            for piece in self.pieces():
                file.write(piece)
            file.flush()
            spooled = MappedSource(self.name, mapped(file), self.wrapper, wrapping=self.wrapping)
        spooled.damage = self.damage
        return spooled


Source = MappedSource | PipeSource


def mapped(file: BinaryIO | io.BufferedRandom) -> mmap.mmap | bytes:
    """The file's bytes, mapped; an empty file cannot be mapped."""
    if not os.fstat(file.fileno()).st_size:
        return b""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _open_path(path: Path, snapshot: str | None) -> Source:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise XbrleError(f"{path}: is a directory, not a capture")
        file = path.open("rb")
    except OSError as error:
        raise XbrleError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        return _open_stream(file, str(path), snapshot, file)
    try:
        head = file.read(_MAGIC_MAX)
        file.seek(0)
    except OSError as error:
        raise XbrleError(f"{path}: {error.strerror}") from error
    if (found := _compression(head)) is not None:
        wrapper, reader = found
        return _inside(reader(file), str(path), wrapper, file, snapshot)
    if is_libvirt(head):
        return _saved(file, str(path), file)
    with file:
        try:
            buffer = mapped(file)
        except OSError as error:
            raise XbrleError(f"{path}: {error.strerror}") from error
        if is_qcow2(head):
            return _snapshot(memoryview(buffer), str(path), snapshot)
        now = os.fstat(file.fileno())
        return MappedSource(str(path), buffer, origin=Origin(path, now.st_size, now.st_mtime_ns))


def _open_stream(raw: BinaryIO, name: str, snapshot: str | None, file: BinaryIO | None = None) -> Source:
    if not hasattr(raw, "peek"):
        raw = cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", raw)))
    head: bytes = raw.peek(_MAGIC_MAX)[:_MAGIC_MAX]  # type: ignore[attr-defined]
    if (found := _compression(head)) is not None:
        wrapper, reader = found
        return _inside(reader(raw), name, wrapper, file, snapshot)
    return _inside(raw, name, None, file, snapshot)


def _inside(raw: BinaryIO, name: str, wrapper: str | None, file: BinaryIO | None, snapshot: str | None) -> Source:
    """A source for what ``raw`` gives, itself perhaps a file around a stream."""
    if not hasattr(raw, "peek"):
        raw = cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", raw)))
    try:
        head: bytes = raw.peek(_MAGIC_MAX)[:_MAGIC_MAX]  # type: ignore[attr-defined]
    except Exception:  # damage, which reading will meet again and tell
        head = b""
    if is_libvirt(head):
        return _saved(raw, name, file)
    found = PipeSource(name, raw, wrapper, file)
    return _snapshot(found.spool().view, name, snapshot) if is_qcow2(head) else found


def _saved(raw: BinaryIO, name: str, file: BinaryIO | None) -> Source:
    """A source for the stream in a libvirt save file. ``file`` was opened for it; it is closed where it is no use."""
    try:
        return _in_save(raw, name, file)
    except XbrleError:
        if file is not None:
            raw.close()
            file.close()
        raise


def _in_save(raw: BinaryIO, name: str, file: BinaryIO | None) -> Source:
    save = libvirt_save(raw, name)
    if save.format == Format.RAW:
        if file is None or raw is not file:
            return PipeSource(name, raw, None, file, save)
        with file:
            return MappedSource(name, mapped(file), None, save.start, save)
    magics = dict(_COMPRESSIONS.values())
    packed = Format(save.format).name.lower() if save.format in set(Format) else f"format {save.format}"
    if packed not in magics:
        raise XbrleError(f"{name}: is a libvirt save file whose stream is packed as {packed}, which is not read")
    return PipeSource(name, magics[packed](raw), packed, file, save)


def _snapshot(view: memoryview, name: str, snapshot: str | None) -> MappedSource:
    """A source for the VM state of an internal snapshot, the last one or that called ``snapshot``."""
    state, about, damage = qcow2_state(view, name, snapshot)
    with state:
        state.flush()
        found = MappedSource(name, mapped(state), None, wrapping=about)
    found.damage = damage
    return found


def _name_of(file: BinaryIO) -> str:
    """What a file object calls itself: one that was made of a descriptor has its number for a name."""
    name = getattr(file, "name", None)
    if isinstance(name, int):
        return f"file descriptor {name}"
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else "file object"


def open_source(what: "Openable | MappedSource", snapshot: str | None = None) -> Source:
    """A source for a path, a file object, bytes, or ``-`` for standard input; a source is one already.

    xz, gzip, bzip2, zstd and lzop are known by their magic and undone on the way; the stream in a libvirt save file or
    in a qcow2 image's internal snapshot is found: the last one with VM state, or that of name or id ``snapshot``.

    Raises:
        XbrleError: there is no such file, or it cannot be read.
    """
    found = _opened(what, snapshot)
    if snapshot is not None and not isinstance(found.wrapping, Qcow2Snapshot):
        found.close()
        raise XbrleError(f"{found.name}: is no qcow2 image, so it has no snapshot {shown(os.fsencode(snapshot))}")
    return found


def _opened(what: "Openable | MappedSource", snapshot: str | None) -> Source:
    if isinstance(what, bytes | bytearray | memoryview):
        data = bytes(what)
        if (found := _compression(data[:_MAGIC_MAX])) is not None:
            wrapper, reader = found
            return _inside(reader(cast("BinaryIO", io.BytesIO(data))), "bytes", wrapper, None, snapshot)
        if is_libvirt(data):
            return _saved(cast("BinaryIO", io.BytesIO(data)), "bytes", None)
        return _snapshot(memoryview(data), "bytes", snapshot) if is_qcow2(data) else MappedSource("bytes", data)
    if isinstance(what, str | os.PathLike):
        if os.fspath(what) == "-":
            return _open_stream(cast("BinaryIO", sys.stdin.buffer), "standard input", snapshot)
        return _open_path(Path(what), snapshot)
    if isinstance(what, MappedSource):
        return what
    return _open_stream(what, _name_of(what), snapshot)
