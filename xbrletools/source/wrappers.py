"""Files that hold a migration stream among other things: libvirt's save files, internal snapshots in qcow2.

Facts: formats/README.md, "Wrappers". No memory is sized by a header's claim: what it claims is read piece by piece.
"""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from construct import ConstructError

from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import libvirt, qcow2
from ..formats.libvirt import Format
from ..text import shown
from .ahead import Ahead

_READ = 1 << 16  # bytes that are read at once, more than any header here has
XML_MAX = 16 << 20  # bytes of a domain's XML that are kept
SNAPSHOTS_MAX = 1 << 16  # as many as the format allows
_ENTRIES = dtype_of(qcow2.Entry)

_NAME = re.compile(rb"<name>([^<]*)</name>")


@dataclass(frozen=True, slots=True)
class LibvirtSave:
    """A libvirt save file's header. ``xml`` is the domain's; the stream begins ``start`` bytes into the file."""

    xml: bytes
    cookie: bytes
    running: bool
    format: int
    start: int
    unfinished: bool

    @property
    def domain(self) -> bytes:
        """The domain's name in its XML; empty where the XML does not say it."""
        found = _NAME.search(self.xml)
        return found[1] if found else b""

    @property
    def packed(self) -> str:
        """How the stream is packed, as one word."""
        return Format(self.format).name.lower() if self.format in set(Format) else f"format {self.format}"

    def __str__(self) -> str:
        return f"libvirt save file, {self.packed}" + (", unfinished" if self.unfinished else "")


@dataclass(frozen=True, slots=True)
class Qcow2Snapshot:
    """The internal snapshot whose VM state was opened, and the names of all snapshots that have one."""

    id: bytes
    name: bytes
    disk_size: int
    vm_state_size: int
    names: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"qcow2 internal snapshot, one of {len(self.names)}"


Wrapping = LibvirtSave | Qcow2Snapshot


def is_libvirt(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a libvirt save file."""
    return head.startswith((libvirt.MAGIC, libvirt.MAGIC_UNFINISHED))


def is_qcow2(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a qcow2 image."""
    return head.startswith(qcow2.MAGIC)


def libvirt_save(raw: Ahead, name: str) -> LibvirtSave:
    """Read a save file up to where its stream begins.

    Raises:
        XbrleError: the file ends before that, or its version is unknown.
    """
    size = libvirt.header("little").sizeof()
    head = raw.read(size)
    if len(head) < size:
        raise XbrleError(f"{name}: ends inside the libvirt header", len(head))
    parsed = libvirt.header("little").parse(head)
    if parsed.version > libvirt.VERSION:
        parsed = libvirt.header("big").parse(head)
    if parsed.version > libvirt.VERSION:
        raise XbrleError(
            f"{name}: is a libvirt save file of version {parsed.version}; this reads version {libvirt.VERSION}"
        )
    kept = bytearray()
    left = parsed.data_length
    while left:
        piece = raw.read(min(_READ, left))
        if not piece:
            end = size + parsed.data_length - left
            raise XbrleError(f"{name}: ends inside the domain's XML, of {parsed.data_length} bytes", end)
        left -= len(piece)
        kept += piece[: max(0, XML_MAX - len(kept))]
    xml = bytes(kept[: parsed.cookie_offset] if parsed.cookie_offset else kept).split(b"\0", 1)[0]
    cookie = bytes(kept[parsed.cookie_offset :]).split(b"\0", 1)[0] if parsed.cookie_offset else b""
    return LibvirtSave(
        xml,
        cookie,
        bool(parsed.was_running),
        parsed.format,
        size + parsed.data_length,
        parsed.magic == libvirt.MAGIC_UNFINISHED,
    )


def qcow2_state(view: memoryview, name: str, wanted: str | None = None) -> tuple[BinaryIO, Qcow2Snapshot, str | None]:
    """The VM state of one of an image's snapshots, in an unnamed temporary file; what it is; and any damage.

    ``wanted`` is the snapshot's name, or else its id. By default it is the last one that has VM state.

    Raises:
        XbrleError: no such snapshot has VM state, or the image is of a kind that is not read.
    """
    try:
        header = qcow2.Header.parse(view[:_READ])
    except ConstructError:
        raise XbrleError(f"{name}: ends inside the qcow2 header") from None
    if header.cluster_bits not in qcow2.CLUSTER_BITS:
        raise XbrleError(f"{name}: clusters of 2^{header.cluster_bits} bytes, which qcow2 does not allow")
    features = header.incompatible_features or 0
    if header.crypt_method or features & (qcow2.INCOMPATIBLE_DATA_FILE | qcow2.INCOMPATIBLE_EXTENDED_L2):
        raise XbrleError(f"{name}: encrypted images, external data files and extended L2 entries are not read")
    having = [s for s in _snapshots(view, header, name) if _state_size(s)]
    if not having:
        raise XbrleError(f"{name}: is a qcow2 image without an internal snapshot that has VM state")
    chosen = having[-1] if wanted is None else _called(having, os.fsencode(wanted), name)
    disk = chosen.extra.disk_size if chosen.extra else header.size
    about = Qcow2Snapshot(chosen.id, chosen.name, disk, _state_size(chosen), tuple(s.name for s in having))
    import tempfile

    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller maps and closes it
    damage = None
    try:
        for at, cluster in _clusters(view, chosen, disk, header.cluster_bits):
            file.seek(at)
            file.write(cluster[: about.vm_state_size - at])
    except _Damage as error:
        damage = str(error)
    file.seek(0, io.SEEK_END)
    if damage is None and file.tell() < about.vm_state_size:
        damage = "the snapshot's VM state ends early"
    return file, about, damage


def _called(snapshots: list[Any], wanted: bytes, name: str) -> Any:
    """The snapshot of this name, or else of this id."""
    for key in ("name", "id"):
        found = [s for s in snapshots if s[key] == wanted or shown(s[key]).encode() == wanted]
        if found:
            return found[-1]
    names = ", ".join(f"{shown(s.name)} (id {shown(s.id)})" for s in snapshots)
    raise XbrleError(f"{name}: does not have a snapshot {shown(wanted)} with VM state; it has {names}")


class _Damage(Exception):  # noqa: N818 - not an error: what was read before it counts
    """The image ends too early, or points outside itself."""


def _state_size(snapshot: Any) -> int:
    return int(snapshot.extra.vm_state_size if snapshot.extra else snapshot.vm_state_size)


def _snapshots(view: memoryview, header: Any, name: str) -> list[Any]:
    """The image's snapshot table."""
    out: list[Any] = []
    at = int(header.snapshots_offset)
    for _ in range(min(int(header.snapshots), SNAPSHOTS_MAX)):
        try:
            parsed = qcow2.Snapshot.parse(view[at : at + 4 * _READ])
        except ConstructError:
            raise XbrleError(f"{name}: ends inside the snapshot table", min(at, len(view))) from None
        out.append(parsed)
        size = len(qcow2.Snapshot.build(parsed))
        at += size + -size % qcow2.SNAPSHOT_ALIGNMENT
    return out


def _clusters(view: memoryview, snapshot: Any, disk: int, bits: int) -> Iterator[tuple[int, memoryview]]:
    """Every cluster of the VM state that is not zeros, with its place in the state."""
    cluster = 1 << bits
    per_table = cluster // qcow2.Entry.sizeof()
    first = -(-disk // (cluster * per_table))
    left = _state_size(snapshot)
    l1 = int(snapshot.l1_table_offset)
    for i in range(first, int(snapshot.l1_size)):
        at = (i - first) * per_table * cluster
        if at >= left:
            return
        table = _at(view, l1 + i * qcow2.Entry.sizeof(), qcow2.Entry.sizeof())
        offset = int(qcow2.Entry.parse(table)) & qcow2.OFFSET_MASK
        if not offset:
            continue
        for j, entry in enumerate(np.frombuffer(_at(view, offset, cluster), _ENTRIES).tolist()):
            if at + j * cluster >= left:
                return
            if entry & qcow2.COMPRESSED:
                raise _Damage(f"the VM state has a compressed cluster, entry {entry:#x}, which QEMU never writes")
            if entry & qcow2.OFFSET_MASK and not entry & qcow2.ZERO:
                yield at + j * cluster, _at(view, entry & qcow2.OFFSET_MASK, cluster, least=1)


def _at(view: memoryview, offset: int, size: int, least: int | None = None) -> memoryview:
    """``size`` bytes of the image, or ``least`` at least: its last cluster may be cut short."""
    found = view[offset : offset + size]
    if len(found) < (size if least is None else least):
        raise _Damage(f"the image points at offset {offset:#x}, which lies past its end")
    return found
