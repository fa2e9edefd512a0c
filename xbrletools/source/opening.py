"""Opens a capture: a path, standard input, a file object or bytes, plain or compressed or inside another file."""

import io
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import XbrleError
from ..formats import libvirt
from ..formats.libvirt import Format
from ..text import shown
from .packing import MAGIC_MAX, READERS, packing_of
from .sources import MappedSource, Origin, PipeSource, Source, mapped
from .wrappers import Qcow2Snapshot, is_libvirt, is_qcow2, libvirt_save, qcow2_state

_HEAD = max(MAGIC_MAX, len(libvirt.MAGIC))  # bytes that show what a file is

Openable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


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
        head = file.read(_HEAD)
        file.seek(0)
    except OSError as error:
        raise XbrleError(f"{path}: {error.strerror}") from error
    if (packing := packing_of(head)) is not None:
        return _inside(READERS[packing](file), str(path), packing, file, snapshot)
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
        return MappedSource(str(path), buffer, origin=Origin.of(path, now))


def _open_stream(raw: BinaryIO, name: str, snapshot: str | None, file: BinaryIO | None = None) -> Source:
    if not hasattr(raw, "peek"):
        raw = cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", raw)))
    head: bytes = raw.peek(_HEAD)[:_HEAD]  # type: ignore[attr-defined]
    if (packing := packing_of(head)) is not None:
        return _inside(READERS[packing](raw), name, packing, file, snapshot)
    return _inside(raw, name, None, file, snapshot)


def _inside(raw: BinaryIO, name: str, wrapper: str | None, file: BinaryIO | None, snapshot: str | None) -> Source:
    """A source for what ``raw`` gives, which may itself be a file around a stream."""
    if not hasattr(raw, "peek"):
        raw = cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", raw)))
    try:
        head: bytes = raw.peek(_HEAD)[:_HEAD]  # type: ignore[attr-defined]
    except Exception:  # damage: reading will meet it again, and report it
        head = b""
    if is_libvirt(head):
        return _saved(raw, name, file)
    found = PipeSource(name, raw, wrapper, file)
    return _snapshot(found.spool().view, name, snapshot) if is_qcow2(head) else found


def _saved(raw: BinaryIO, name: str, file: BinaryIO | None) -> Source:
    """A source for the stream in a libvirt save file. ``file`` was opened for it and is closed where this fails."""
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
    if save.packed not in READERS:
        raise XbrleError(f"{name}: is a libvirt save file whose stream is packed as {save.packed}, which is not read")
    return PipeSource(name, READERS[save.packed](raw), save.packed, file, save)


def _snapshot(view: memoryview, name: str, snapshot: str | None) -> MappedSource:
    """A source for the VM state of an internal snapshot: the last one, or the one called ``snapshot``."""
    state, about, damage = qcow2_state(view, name, snapshot)
    with state:
        state.flush()
        found = MappedSource(name, mapped(state), None, wrapping=about)
    found.damage = damage
    return found


def _name_of(file: BinaryIO) -> str:
    """The name of a file object. One that was made of a descriptor has the descriptor's number for a name."""
    name = getattr(file, "name", None)
    if isinstance(name, int):
        return f"file descriptor {name}"
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else "file object"


def open_source(what: "Openable | MappedSource", snapshot: str | None = None) -> Source:
    """A source for a path, a file object, bytes, or ``-`` for standard input. A source comes back as it is.

    xz, gzip, bzip2, zstd and lzop are known by their magic and undone on the way. The stream in a libvirt save file is
    found. So is the one in a qcow2 image: in the last internal snapshot with VM state, or in the one whose name or id
    is ``snapshot``.

    Raises:
        XbrleError: the file does not exist, or cannot be read.
    """
    found = _opened(what, snapshot)
    if snapshot is not None and not isinstance(found.wrapping, Qcow2Snapshot):
        found.close()
        raise XbrleError(
            f"{found.name}: is not a qcow2 image, so it does not have a snapshot {shown(os.fsencode(snapshot))}"
        )
    return found


def _opened(what: "Openable | MappedSource", snapshot: str | None) -> Source:
    if isinstance(what, bytes | bytearray | memoryview):
        data = bytes(what)
        if (packing := packing_of(data[:_HEAD])) is not None:
            return _inside(READERS[packing](cast("BinaryIO", io.BytesIO(data))), "bytes", packing, None, snapshot)
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
