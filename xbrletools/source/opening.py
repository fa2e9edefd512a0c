"""Opens a capture: a path, standard input, a file object or bytes, plain or compressed or inside another file."""

import io
import mmap
import os
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from ..errors import XbrleError, unopened
from ..formats import libvirt, qevm
from ..formats.libvirt import Format
from ..outputs import protect
from ..text import shown
from ..urls import is_url, without_secrets
from .ahead import Ahead
from .changed import reads
from .given import Told
from .packets.magic import is_dump
from .packing import MAGIC_MAX, UNDOES, is_read, packing_of, unpacked
from .sources import MappedSource, Origin, PipeSource, Source, mapped
from .wrappers import LibvirtSave, PacketDump, Qcow2Snapshot, is_libvirt, is_qcow2, libvirt_save

_HEAD = max(MAGIC_MAX, len(libvirt.MAGIC))  # bytes that show what a file is
_PLAIN = (Format.RAW, Format.SPARSE)  # a save file in which the stream stands as it is
#: A link is not followed, and a FIFO does not wait. Windows does not have these, nor FIFOs.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_MAGIC = struct.pack(">I", qevm.MAGIC)

Openable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


class _Wanted(NamedTuple):
    """What the user says of a file: the ``snapshot``'s name or id, and the ``offset`` at which the stream begins.

    ``name`` is what a file object is called. ``keep``: what is fetched for a URL may be kept.
    ``stream`` is the number of the migration in a packet dump.
    """

    snapshot: str | None
    offset: int | None
    name: str | None = None
    keep: bool = True
    stream: int | None = None


def _open_url(url: str, wanted: _Wanted) -> Source:
    from . import remote

    with remote.at_hand(url, wanted.keep) as path:
        return _open_path(path, wanted, url)


def _open_path(path: Path, wanted: _Wanted, url: str | None = None) -> Source:
    """A source for a file. ``url`` is where it was fetched from: it is called so, and what is beside it lies there."""
    name = str(path) if url is None else without_secrets(url)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise XbrleError(f"{name}: is a directory, not a capture")
        file = path.open("rb")
    except OSError as error:
        raise unopened(name, error) from error
    if not stat.S_ISREG(mode):
        return _open_stream(file, name, wanted, file)
    with ExitStack() as closing:
        closing.enter_context(file)
        if url is None:
            reads(path, os.fstat(file.fileno()))
        try:
            head = _head(file, wanted)
            save = libvirt_save(Ahead(file), name) if is_libvirt(head) else None
            file.seek(0)
            if packing_of(head) is None and (save is None or save.format in _PLAIN):
                if is_qcow2(head):
                    beside = partial(_beside, path) if url is None else partial(_beside_url, url)
                    return _snapshot(memoryview(mapped(file)), name, wanted, beside)
                if is_dump(head):
                    return _dumped(memoryview(mapped(file)), name, wanted)
                origin = Origin.of(path, os.fstat(file.fileno()), url is not None)
                return _mapped(name, mapped(file), wanted, save, origin)
        except OSError as error:
            raise unopened(name, error) from error
        closing.pop_all()
    return _open_stream(file, name, wanted, file)


def _head(file: BinaryIO, wanted: _Wanted) -> bytes:
    """The bytes that show what a file is. Where a stream begins at the offset that the user says, it is not asked."""
    if wanted.offset is not None:
        file.seek(wanted.offset)
        if file.read(len(_MAGIC)) == _MAGIC:
            file.seek(0)
            return b""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _mapped(
    name: str,
    buffer: mmap.mmap | bytes,
    wanted: _Wanted,
    save: LibvirtSave | None = None,
    origin: Origin | None = None,
) -> MappedSource:
    """A source for bytes that are all at hand and not packed. ``save`` is the save file that they are."""
    return MappedSource(name, buffer, start=_start(wanted, save), wrapping=save, origin=origin)


def _start(wanted: _Wanted, save: LibvirtSave | None = None) -> int:
    """The offset at which the stream is to begin."""
    if wanted.offset is not None:
        return wanted.offset
    return 0 if save is None else save.start


def _open_stream(
    raw: BinaryIO, name: str, wanted: _Wanted, file: BinaryIO | None = None, of_caller: bool = False
) -> Source:
    """A source for what ``raw`` gives. ``file`` was opened for it and is closed where this fails."""
    try:
        ahead = Ahead(Told(raw, name, of_caller))
        packing = packing_of(ahead.head(_HEAD))
        if packing is None:
            return _inside(ahead, name, None, file, wanted)
        return _inside(_unpacked(ahead, packing, name), name, packing, file, wanted)
    except XbrleError:
        if file is not None:
            file.close()
        raise


def _unpacked(raw: Ahead, packing: str, name: str) -> Ahead:
    try:
        return unpacked(raw, packing)
    except XbrleError as error:
        raise XbrleError(f"{name}: {error}") from None


def _inside(raw: Ahead, name: str, wrapper: str | None, file: BinaryIO | None, wanted: _Wanted) -> Source:
    """A source for what ``raw`` gives, which may itself be a file around a stream."""
    head = raw.head(_HEAD)
    inner = packing_of(head)
    if wrapper is not None and inner is not None and wanted.offset is None:
        undone = f"undo the outer one: {UNDOES[wrapper]} S | xbrle info -"
        raise XbrleError(f"{name}: is packed twice, {inner} inside {wrapper}; {undone}")
    if is_libvirt(head):
        return _saved(raw, name, wrapper, file, wanted)
    if is_qcow2(head):
        return _snapshot(PipeSource(name, raw, wrapper, file).spool().view, name, wanted)
    if is_dump(head):
        spooled = PipeSource(name, raw, wrapper, file).spool()
        return _dumped(spooled.view, name, wanted, wrapper, spooled.damage)
    return PipeSource(name, raw, wrapper, file, start=_start(wanted))


def _dumped(
    view: memoryview, name: str, wanted: _Wanted, wrapper: str | None = None, damage: str | None = None
) -> MappedSource:
    """A source for the migration in a packet dump, or for the one that is wanted. ``damage`` is that of its packing."""
    from .packets.streams import packet_dump

    try:
        found = packet_dump(view, name, wanted.stream, wrapper, damage)
    except OSError as error:
        raise XbrleError(f"{name}: the temporary folder cannot take its streams: {error.strerror or error}") from error
    found.start = _start(wanted)
    return found


def _saved(raw: Ahead, name: str, wrapper: str | None, file: BinaryIO | None, wanted: _Wanted) -> Source:
    """A source for the stream in a libvirt save file."""
    save = libvirt_save(raw, name)
    if save.format in _PLAIN:
        return PipeSource(name, raw, wrapper, file, save, _start(wanted, save), save.start)
    if not is_read(save.packed):
        raise XbrleError(f"{name}: is a libvirt save file whose stream is packed as {save.packed}, which is not read")
    return PipeSource(name, _unpacked(raw, save.packed, name), save.packed, file, save, _start(wanted))


def _beside(path: Path, name: str) -> memoryview:
    """The bytes of the file called ``name`` in the folder of ``path``. It may not be a link, which could lead away."""
    beside = path.parent / name
    protect(beside)
    try:
        file = os.fdopen(os.open(beside, os.O_RDONLY | _NO_LINK), "rb")
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise XbrleError(f"{beside}: is not a file; the clusters of {path} should be in it")
            return memoryview(mapped(file))
    except OSError as error:
        raise XbrleError(f"{beside}: {error.strerror}; the clusters of {path} are in it") from error


def _beside_url(url: str, name: str) -> memoryview:
    """The bytes of the object called ``name`` beside the one at ``url``."""
    from . import remote

    with remote.at_hand(f"{url.rpartition('/')[0]}/{name}") as path, path.open("rb") as file:
        return memoryview(mapped(file))


def _snapshot(
    view: memoryview, name: str, wanted: _Wanted, beside: Callable[[str], memoryview] | None = None
) -> MappedSource:
    """A source for the VM state of an internal snapshot: the last one, or the one that is wanted."""
    from .snapshots import qcow2_state

    state, about, damage = qcow2_state(view, name, wanted.snapshot, beside)
    with state:
        state.flush()
        found = MappedSource(name, mapped(state), None, _start(wanted), about)
    found.damage = damage
    return found


def _name_of(file: BinaryIO) -> str:
    """The name of a file object. One that was made of a descriptor has the descriptor's number for a name."""
    name = getattr(file, "name", None)
    if isinstance(name, int):
        return f"file descriptor {name}"
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else "file object"


def open_source(
    what: "Openable | MappedSource",
    snapshot: str | None = None,
    offset: int | None = None,
    name: str | None = None,
    keep: bool = True,
    stream: int | None = None,
) -> Source:
    """A source for a path, a URL, a file object, bytes, or ``-`` for standard input. A source comes back as it is.

    xz, gzip, bzip2, zstd and lzop are known by their magic and undone on the way. The stream in a libvirt save file is
    found. So is the one in a qcow2 image: in the last internal snapshot with VM state, or in the one whose name or id
    is ``snapshot``. ``offset`` is where the stream begins: in the file if it stands there, else in what was unpacked.
    ``stream`` is which migration of a packet dump. ``name`` is what messages call a file object or bytes. ``keep``:
    what is fetched for a URL may stay in the cache.

    Raises:
        TransportError: what is behind a URL or a file object cannot be had.
        XbrleError: the file does not exist, or cannot be read.
    """
    if offset is not None and offset < 0:
        raise XbrleError(f"offset {offset} is negative: a stream begins at 0 or later")
    if isinstance(what, str | os.PathLike) and "\0" in os.fsdecode(what):
        raise XbrleError(f"{os.fsdecode(what)!r}: is not a path: it holds a NUL character")
    found = _opened(what, _Wanted(snapshot, offset, name, keep, stream))
    if isinstance(what, str | os.PathLike) and os.fspath(what) != "-":
        found.given = os.fspath(what)
        if isinstance(found, MappedSource) and found.rebuilt is not None:
            found.rebuilt.whole.given = found.given
    if stream is not None and not isinstance(found.wrapping, PacketDump):
        found.close()
        raise XbrleError(f"{found.name}: is not a packet dump, so it does not have a stream {stream}")
    if snapshot is not None and not isinstance(found.wrapping, Qcow2Snapshot):
        found.close()
        raise XbrleError(
            f"{found.name}: is not a qcow2 image, so it does not have a snapshot {shown(os.fsencode(snapshot))}"
        )
    return found


def _opened(what: "Openable | MappedSource", wanted: _Wanted) -> Source:
    if isinstance(what, bytes | bytearray | memoryview):
        data = bytes(what)
        head = _head(cast("BinaryIO", io.BytesIO(data)), wanted)
        name = wanted.name or "bytes"
        if packing_of(head) is None and is_qcow2(head):
            return _snapshot(memoryview(data), name, wanted)
        if is_dump(head):
            return _dumped(memoryview(data), name, wanted)
        if packing_of(head) is None and not is_libvirt(head):
            return _mapped(name, data, wanted)
        return _open_stream(cast("BinaryIO", io.BytesIO(data)), name, wanted)
    if isinstance(what, str | os.PathLike):
        if os.fspath(what) == "-":
            return _open_stream(cast("BinaryIO", sys.stdin.buffer), "standard input", wanted)
        if is_url(os.fspath(what)):
            return _open_url(os.fspath(what), wanted)
        return _open_path(Path(what), wanted)
    if isinstance(what, MappedSource):
        return what
    return _open_stream(what, wanted.name or _name_of(what), wanted, of_caller=True)
