"""The VM state of an internal snapshot in a qcow2 image, copied into an unnamed temporary file.

Facts: formats/README.md, "Wrappers". Nothing is sized by what the image claims. A cluster counts once, and holes are
bounded, so what is written does not grow beyond what the image holds.
"""

import io
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import qcow2
from ..text import shown
from .ahead import Ahead
from .chunks import zstd_pieces
from .packing import zstd_decoder
from .wrappers import Qcow2Snapshot

HEADER_MAX = 1 << 16  # bytes of a header with its extensions: it stands in one cluster, at most 2 MiB, mostly zeros
SNAPSHOTS_MAX = 1 << 16  # as many as the format allows
SNAPSHOT_MAX = 1 << 18  # bytes of one entry: an id and a name of 64 KiB each, and what is extra
HOLE_MAX = 64 << 20  # bytes of the VM state that may be holes, all together: QEMU writes all of it
_ENTRY = qcow2.Entry.sizeof()
_ENTRIES = dtype_of(qcow2.Entry)
_EXTENDED = dtype_of(qcow2.ExtendedEntry)


class _Damage(Exception):  # noqa: N818 - not an error: what was read before it counts
    """The image ends too early, points outside itself, or points at one place twice."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image: its bytes, its header, and the bytes that its data clusters stand in."""

    view: memoryview
    header: Any
    rest: Any
    data: memoryview

    @property
    def bits(self) -> int:
        """A cluster has 1 << bits bytes."""
        return int(self.header.cluster_bits)

    @property
    def extended(self) -> bool:
        """Whether L2 entries have subclusters."""
        return bool(self.features & qcow2.INCOMPATIBLE_EXTENDED_L2)

    @property
    def features(self) -> int:
        """What a reader must know of."""
        return int(self.header.incompatible_features or 0)


def qcow2_state(
    view: memoryview, name: str, wanted: str | None = None, open_beside: Callable[[str], memoryview] | None = None
) -> tuple[BinaryIO, Qcow2Snapshot, str | None]:
    """The VM state of one of an image's snapshots, in an unnamed temporary file, with what it is and any damage.

    ``wanted`` is the snapshot's name, or else its id. By default it is the last one that has VM state. ``open_beside``
    gives the bytes of a file in the image's folder by its name. ``open_beside`` is None where the image does not have a
    folder.

    Raises:
        XbrleError: no such snapshot has VM state, or the image is of a kind that is not read.
    """
    image = _image(view, name, open_beside)
    snapshots = _snapshots(view, image.header, name)
    having = [s for s in snapshots if _state_size(s)]
    if not having:
        which = f"; its snapshots, {_listed(snapshots)}, are of the disk alone" if snapshots else ""
        raise XbrleError(
            f"{name}: is a qcow2 image without an internal snapshot that has VM state{which}. "
            f"QEMU writes one with: savevm NAME"
        )
    chosen = having[-1] if wanted is None else _called(having, os.fsencode(wanted), name)
    disk = int(chosen.extra.disk_size if chosen.extra else image.header.size)
    about = Qcow2Snapshot(
        chosen.id,
        chosen.name,
        disk,
        _state_size(chosen),
        tuple(s.name for s in having),
        bool(image.header.backing_file_offset),
    )
    import tempfile

    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller maps and closes it
    damage, end, holes = None, 0, 0
    try:
        for at, piece in _pieces(image, chosen, disk):
            holes += at - end
            if holes > HOLE_MAX:
                raise _Damage(
                    f"the VM state has holes of {holes} bytes before its offset {at:#x}, which QEMU never leaves"
                )
            file.seek(at)
            file.write(piece[: about.vm_state_size - at])
            end = at + len(piece)
    except _Damage as error:
        damage = str(error)
    file.seek(0, io.SEEK_END)
    if damage is None and file.tell() < about.vm_state_size:
        damage = f"the snapshot's VM state ends early: it has {file.tell()} of {about.vm_state_size} bytes"
    return file, about, damage


# -- the header -------------------------------------------------------------------------------------------------------


def _image(view: memoryview, name: str, open_beside: Callable[[str], memoryview] | None) -> _Image:
    try:
        header = qcow2.Header.parse(view[:HEADER_MAX])
        size = len(qcow2.Header.build(header))
        rest = qcow2.HeaderRest.parse(view[size:HEADER_MAX]) if size > qcow2.HEADER_V2 else None
    except ConstructError:
        raise XbrleError(f"{name}: ends inside the qcow2 header") from None
    if header.cluster_bits not in qcow2.CLUSTER_BITS:
        raise XbrleError(f"{name}: clusters of 2^{header.cluster_bits} bytes, which qcow2 does not allow")
    image = _Image(view, header, rest, view)
    if header.crypt_method:
        raise XbrleError(f"{name}: is an encrypted qcow2 image; decrypt it first, with: qemu-img convert")
    if image.features & ~qcow2.INCOMPATIBLE_KNOWN:
        raise XbrleError(f"{name}: is a qcow2 image with features that are not known, {image.features:#x}")
    if not image.features & qcow2.INCOMPATIBLE_DATA_FILE:
        return image
    beside = _data_file(view, qcow2.HEADER_V2 if rest is None else int(rest.header_length))
    if beside is None:
        raise XbrleError(f"{name}: is a qcow2 image whose clusters are in another file, which it does not name")
    if open_beside is None or Path(beside).name != beside or beside in ("", ".", ".."):
        raise XbrleError(
            f"{name}: its clusters are in the file {shown(os.fsencode(beside))}, which is not opened, since it does "
            f"not lie beside the image: give both files one folder, and change the name with qemu-img amend"
        )
    return _Image(view, header, rest, open_beside(beside))


def _data_file(view: memoryview, at: int) -> str | None:
    """The name of the file with the clusters, as the header's extensions have it, which begin at offset ``at``."""
    size = qcow2.ExtensionHead.sizeof()
    while at + size <= HEADER_MAX:
        try:
            head = qcow2.ExtensionHead.parse(view[at : at + size])
        except ConstructError:
            return None
        if head.type == qcow2.EXTENSION_END:
            return None
        if head.type == qcow2.EXTENSION_DATA_FILE:
            return os.fsdecode(bytes(view[at + size : at + size + min(int(head.length), HEADER_MAX)]))
        at += size + int(head.length) + -int(head.length) % qcow2.EXTENSION_ALIGNMENT
    return None


# -- snapshots --------------------------------------------------------------------------------------------------------


def _called(snapshots: list[Any], wanted: bytes, name: str) -> Any:
    """The snapshot of this name, or else of this id."""
    for key in ("name", "id"):
        found = [s for s in snapshots if s[key] == wanted or shown(s[key]).encode() == wanted]
        if found:
            return found[-1]
    raise XbrleError(f"{name}: does not have a snapshot {shown(wanted)} with VM state; it has {_listed(snapshots)}")


def _listed(snapshots: list[Any]) -> str:
    return ", ".join(f"{shown(s.name)} (id {shown(s.id)})" for s in snapshots)


def _state_size(snapshot: Any) -> int:
    return int(snapshot.extra.vm_state_size if snapshot.extra else snapshot.vm_state_size)


def _snapshots(view: memoryview, header: Any, name: str) -> list[Any]:
    """The image's snapshot table."""
    out: list[Any] = []
    at = int(header.snapshots_offset)
    for _ in range(min(int(header.snapshots), SNAPSHOTS_MAX)):
        try:
            parsed = qcow2.Snapshot.parse(view[at : at + SNAPSHOT_MAX])
        except ConstructError:
            raise XbrleError(f"{name}: ends inside the snapshot table", min(at, len(view))) from None
        out.append(parsed)
        size = len(qcow2.Snapshot.build(parsed))
        at += size + -size % qcow2.SNAPSHOT_ALIGNMENT
    return out


# -- clusters ---------------------------------------------------------------------------------------------------------


def _pieces(image: _Image, snapshot: Any, disk: int) -> Iterator[tuple[int, bytes | memoryview]]:
    """All of the VM state that is not zeros, piece after piece, with the place of each in the state."""
    cluster = 1 << image.bits
    per_table = cluster // (_EXTENDED.itemsize if image.extended else _ENTRIES.itemsize)
    span = per_table * cluster
    first = -(-disk // span)
    left = _state_size(snapshot)
    begin = int(snapshot.l1_table_offset) + first * _ENTRY
    count = min(max(0, int(snapshot.l1_size) - first), -(-left // span))
    there = min(max(0, len(image.view) - begin), qcow2.L1_MAX) // _ENTRY
    tables = np.frombuffer(image.view[begin : begin + min(count, there) * _ENTRY], _ENTRIES).astype(np.uint64)
    tables_used = _Used(len(image.view), image.bits)
    data_used = tables_used if image.data is image.view else _Used(len(image.data), image.bits)
    packed_used: set[int] = set()
    for i in np.flatnonzero(tables & np.uint64(qcow2.OFFSET_MASK)).tolist():
        offset = int(tables[i]) & qcow2.OFFSET_MASK
        tables_used.add(offset, "table")
        table = _at(image.view, offset, cluster)
        entries, allocated, zeros = _entries(table, image.extended)
        for j in np.flatnonzero(entries).tolist():
            at = i * span + j * cluster
            if at >= left:
                return
            entry = int(entries[j])
            if entry & qcow2.COMPRESSED:
                if image.data is not image.view:
                    raise _Damage(f"an image with a data file has a compressed cluster, entry {entry:#x}")
                if entry in packed_used:
                    raise _Damage(f"the image's map points twice at one compressed cluster, entry {entry:#x}")
                packed_used.add(entry)
                yield at, _uncompressed(image, entry)
            elif entry & qcow2.OFFSET_MASK and not entry & qcow2.ZERO:
                data_used.add(entry & qcow2.OFFSET_MASK, "cluster")
                found = _at(image.data, entry & qcow2.OFFSET_MASK, cluster, least=1)
                yield at, found if not image.extended else _subclusters(found, allocated[j], zeros[j], cluster)
    if there < count:
        raise _Damage(f"the snapshot's table of tables, of {count} entries, is cut after {there}")


class _Used:
    """The clusters of a file of ``size`` bytes that a map points at.

    A map that points at one of them twice would make much of little, or never end.
    """

    def __init__(self, size: int, bits: int) -> None:
        self._bits = bits
        self._seen = bytearray((size >> bits) // 8 + 1)  # a bit for each cluster

    def add(self, offset: int, what: str) -> None:
        """Note one more. Raises _Damage where it was noted before, or does not lie in the file."""
        byte, bit = divmod(offset >> self._bits, 8)
        if offset & (1 << self._bits) - 1:
            raise _Damage(f"the image's map has a {what} at offset {offset:#x}, where no cluster begins")
        if byte >= len(self._seen):
            raise _Damage(f"the image points at offset {offset:#x}, which lies past its end")
        if self._seen[byte] >> bit & 1:
            raise _Damage(f"the image's map points twice at the cluster at offset {offset:#x}")
        self._seen[byte] |= 1 << bit


def _entries(table: memoryview, extended: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The entries of an L2 table, and for each which subclusters are allocated and which are zeros."""
    if not extended:
        entries = np.frombuffer(table, _ENTRIES).astype(np.uint64)
        return entries, entries, entries
    found = np.frombuffer(table, _EXTENDED)
    return found["entry"].astype(np.uint64), found["allocated"], found["zeros"]


def _subclusters(data: memoryview, allocated: Any, zeros: Any, cluster: int) -> bytes:
    """A cluster whose subclusters are stored, or read as zeros."""
    number = np.arange(qcow2.SUBCLUSTERS)
    stored = (int(allocated) & ~int(zeros)) >> number & 1
    whole = np.frombuffer(bytes(data).ljust(cluster, b"\0"), np.uint8).reshape(qcow2.SUBCLUSTERS, -1)
    return bytes((whole * stored[:, None].astype(np.uint8)).tobytes())


def _uncompressed(image: _Image, entry: int) -> bytes:
    """The content of a compressed cluster."""
    bits = qcow2.compressed_offset_bits(image.bits)
    offset = entry & (1 << bits) - 1
    sectors = (entry & (1 << qcow2.COMPRESSED_BITS) - 1) >> bits
    size = (sectors + 1) * qcow2.SECTOR - offset % qcow2.SECTOR
    packed = bytes(_at(image.view, offset, size, least=1))
    cluster = 1 << image.bits
    try:
        if image.rest is not None and image.rest.compression == qcow2.COMPRESSION_ZSTD:
            found = _of_zstd(packed, cluster)
        else:
            found = zlib.decompressobj(-12).decompress(packed, cluster)
    except Exception as error:  # of a library, each with an error of its own
        raise _Damage(f"a compressed cluster at offset {offset:#x} cannot be unpacked: {error}") from None
    if len(found) != cluster:
        raise _Damage(f"a compressed cluster at offset {offset:#x} does not hold {cluster} bytes")
    return found


def _of_zstd(packed: bytes, size: int) -> bytes:
    """The first ``size`` bytes of a zstd frame's content. What follows the frame is not looked at."""
    out = b""
    for piece in zstd_pieces(Ahead(cast("BinaryIO", io.BytesIO(packed))), zstd_decoder):
        out += piece
        if len(out) >= size:
            break
    return out


def _at(view: memoryview, offset: int, size: int, least: int | None = None) -> memoryview:
    """``size`` bytes of a file, or ``least`` at least: its last cluster may be cut short."""
    found = view[offset : offset + size]
    if len(found) < (size if least is None else least):
        raise _Damage(f"the image points at offset {offset:#x}, which lies past its end")
    return found
