"""Dumps of a guest's memory: raw files, ELF cores, LiME images, kdumps, and folders that `xbrle extract` wrote.

A dump is read through its map, never whole. What its headers claim is believed only as far as bytes are there: a part
that ends early is cut and said, two contents for one address are refused. Facts: formats/README.md, "Memory images".
"""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
from construct import ConstError, ConstructError, StreamError

from ..codec.layout import dtype_of
from ..errors import XbrleError, unopened
from ..formats import elf, kdump, lime
from ..text import shown
from . import kdump as kdumps
from . import manifest
from .sources import MappedSource, mapped

ZEROS = 1 << 22  # bytes that are compared with zero at once
PARTS_MAX = 1 << 16  # ranges of memory in one dump: more than any guest's dump has


class Form(Enum):
    """How memory lies in a dump."""

    RAW = "raw"
    ELF = "elf"
    LIME = "lime"
    KDUMP = "kdump"
    FOLDER = "folder"


class Space(Enum):
    """What the places in a dump are."""

    BLOCK = "block"
    PHYSICAL = "physical"


@dataclass(frozen=True, slots=True)
class Part:
    """``length`` bytes of memory from ``start`` on, which stand at ``position`` of ``source``.

    ``start`` is an offset in ``block``, or a guest-physical address where that is None.
    """

    source: MappedSource
    position: int
    length: int
    start: int
    block: bytes | None = None

    @property
    def end(self) -> int:
        """The place after the last byte."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Unknown:
    """The places ``[start, end)`` that a dump itself says it does not know, though bytes stand there."""

    start: int
    end: int
    block: bytes | None = None


@dataclass(frozen=True, slots=True)
class Dump:
    """Memory in files. ``parts`` rise by block and start, and do not overlap.

    ``space`` says what its places are: offsets in blocks, or guest-physical addresses. It is None for a raw file that
    nothing is known of. ``missing`` says in words what the dump claims to have and does not. ``notes`` say what else
    was found out.
    """

    name: str
    form: Form
    parts: tuple[Part, ...]
    space: Space | None
    unknown: tuple[Unknown, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_one_block(self) -> bool:
        """Whether it is of one block by its nature, and does not speak of others."""
        return self.form is Form.RAW

    def holds(self, length: int, position: int) -> bool:
        """Whether ``length`` bytes at ``position`` of its file are memory: in a raw file, zeros can be a gap.

        Nothing tells a gap of a raw file by addresses from memory that is zero. All else says where it has memory.
        """
        if self.form is not Form.RAW:
            return True
        source = self.parts[0].source
        for start, stop in source.extents(position, position + length):
            for at in range(start, stop, ZEROS):
                if source.data[at : min(at + ZEROS, stop)].any():
                    return True
            source.let_go()
        return False


def form_of(head: bytes) -> Form | None:
    """What a file is that begins with ``head``, or None where that does not show: raw memory begins with anything."""
    if head.startswith(elf.MAGIC):
        return Form.ELF
    if head.startswith((kdump.MAGIC, kdump.FLAT_MAGIC)):
        return Form.KDUMP
    return Form.LIME if head.startswith(lime.MAGIC.to_bytes(4, "little")) else None


def open_dump(path: str, source: MappedSource, form: Form) -> Dump:
    """The dump in a file, whose bytes are ``source``. A sidecar beside the file says which bytes are not known.

    A raw file is one part at place 0, of the block that its sidecar names, and else of None.

    Raises:
        XbrleError: it is empty, or not a dump of this form.
    """
    if not source.size:
        raise XbrleError(f"{source.name}: is empty")
    if form is Form.ELF:
        found = _elf(source)
    elif form is Form.LIME:
        found = _lime(source)
    elif form is Form.KDUMP:
        found = _kdump(source)
    else:
        found = Dump(source.name, form, (Part(source, 0, source.size, 0),), None)
    if source.damage:
        found = replace(found, missing=(*found.missing, source.damage))
    return _with_sidecar(found, path)


def raw_at(dump: Dump, start: int, block: bytes | None) -> Dump:
    """A raw dump as memory from ``start`` on: an offset in ``block``, or a guest-physical address where it is None.

    Raises:
        XbrleError: its end would lie beyond all addresses.
    """
    (part,) = dump.parts
    if start + part.length > 1 << 64:
        raise XbrleError(f"{dump.name}: {part.length:#x} bytes from {start:#x} on go beyond the last address")
    unknown = tuple(Unknown(start + u.start, start + u.end, block) for u in dump.unknown)
    space = Space.PHYSICAL if block is None else Space.BLOCK
    return replace(dump, parts=(replace(part, start=start, block=block),), space=space, unknown=unknown)


def _with_sidecar(dump: Dump, path: str) -> Dump:
    """The dump with what its sidecar says. One that does not fit the file is not believed, and that is said."""
    try:
        about = manifest.sidecar(path)
    except XbrleError as error:
        return replace(dump, missing=(*dump.missing, f"what {dump.name} does not know: {error}"))
    if about is None:
        return dump
    if about.form != dump.form.value or about.end != max(p.end for p in dump.parts):
        return replace(dump, notes=(*dump.notes, f"{dump.name}.json is not of this file and is not used"))
    unknown = tuple(Unknown(start, end, about.block) for start, end in about.unknown)
    space = Space.PHYSICAL if about.block is None else Space.BLOCK
    if dump.form is not Form.RAW:
        return replace(dump, unknown=unknown) if space is dump.space else dump
    return replace(dump, parts=tuple(replace(p, block=about.block) for p in dump.parts), space=space, unknown=unknown)


# -- ELF --------------------------------------------------------------------------------------------------------------


def _elf(source: MappedSource) -> Dump:
    """The PT_LOADs of a core, by their physical addresses."""
    head = bytes(source.view[:64])
    class_, data = (*head[4:6], 0, 0)[:2]
    endian = next((e for e, byte in elf.DATA.items() if byte == data), None)
    if endian is None or class_ not in (elf.CLASS_32, elf.CLASS_64):
        raise XbrleError(f"{source.name}: is an ELF file of an unknown class or byte order")
    try:
        header = elf.header(endian, class_).parse(head)
    except StreamError:
        raise XbrleError(f"{source.name}: ends inside the ELF header", len(head)) from None
    except ConstructError:
        raise XbrleError(f"{source.name}: is an ELF file of an unknown version") from None
    if header.type != elf.TYPE_CORE:
        raise XbrleError(f"{source.name}: is an ELF file of type {header.type}, not a core of memory (type 4)")
    layout = dtype_of(elf.program_header(endian, class_))
    count = header.phnum
    if count == elf.SEGMENTS_ELSEWHERE:
        count = _segments_elsewhere(source, header.shoff, endian, class_)
    if header.phentsize != layout.itemsize or not count:
        raise XbrleError(f"{source.name}: has no program headers of {layout.itemsize} bytes, so it holds no memory")
    if count > PARTS_MAX:
        raise XbrleError(f"{source.name}: claims {count} program headers; a core of a guest has at most {PARTS_MAX}")
    end = header.phoff + count * layout.itemsize
    if end > source.size:
        raise XbrleError(f"{source.name}: ends inside the program headers, at {source.size:#x} of {end:#x}")
    table = np.frombuffer(source.view[header.phoff : end], layout)
    loads = table[table["type"] == elf.SEGMENT_LOAD]
    columns = [loads[name].tolist() for name in ("offset", "filesz", "paddr", "memsz")]
    parts = [Part(source, at, length, start) for at, length, start, _ in zip(*columns, strict=True) if length]
    left_out = sum(max(0, whole - length) for _, length, _, whole in zip(*columns, strict=True))
    notes = (f"{left_out:#x} bytes of its segments were left out when it was written",) if left_out else ()
    return _dump(source, Form.ELF, parts, notes)


def _segments_elsewhere(source: MappedSource, at: int, endian: str, class_: int) -> int:
    """The number of program headers that the first section header states."""
    grammar = elf.section_header(endian, class_)
    try:
        return int(grammar.parse(bytes(source.view[at : at + grammar.sizeof()])).info) if at else 0
    except ConstructError:
        raise XbrleError(f"{source.name}: ends before the section header that counts its segments") from None


# -- LiME -------------------------------------------------------------------------------------------------------------


def _lime(source: MappedSource) -> Dump:
    """The ranges of a LiME image, one header after the other."""
    at, size = 0, lime.Header.sizeof()
    parts: list[Part] = []
    while at < source.size:
        raw = bytes(source.view[at : at + size])
        try:
            header = lime.Header.parse(raw)
        except StreamError:
            return _dump(source, Form.LIME, parts, missing=(f"it ends inside a LiME header at offset {at:#x}",))
        except ConstError:
            missing = (f"what stands at offset {at:#x} is not a LiME header of version {lime.VERSION}",)
            return _dump(source, Form.LIME, parts, missing=missing)
        if header.version != lime.VERSION:
            raise XbrleError(
                f"{source.name}: is a LiME image of version {header.version}; this reads {lime.VERSION}", at
            )
        if header.end < header.start:
            missing = (f"the LiME header at offset {at:#x} ends at {header.end:#x}, before its start",)
            return _dump(source, Form.LIME, parts, missing=missing)
        if len(parts) == PARTS_MAX:
            raise XbrleError(f"{source.name}: has more than {PARTS_MAX} ranges", at)
        at += size
        parts.append(Part(source, at, header.end - header.start + 1, header.start))
        at += parts[-1].length
    return _dump(source, Form.LIME, parts)


# -- kdump ------------------------------------------------------------------------------------------------------------


def _kdump(source: MappedSource) -> Dump:
    """The pages of a kdump, by their addresses."""
    unpacked, size, runs, missing, notes = kdumps.pages(source)
    parts = [Part(unpacked, at, count * size, frame * size) for frame, at, count in runs]
    return _dump(unpacked, Form.KDUMP, parts, tuple(notes), tuple(missing))


# -- parts ------------------------------------------------------------------------------------------------------------


def _dump(
    source: MappedSource,
    form: Form,
    parts: Sequence[Part],
    notes: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
) -> Dump:
    """A dump of these parts, as far as their bytes are there."""
    there, cut = [], []
    for part in parts:
        if part.end > 1 << 64:
            raise XbrleError(f"{source.name}: claims memory beyond the last address, from {part.start:#x} on")
        length = min(part.length, max(0, source.size - part.position))
        if length < part.length:
            cut.append(part.length - length)
        if length:
            there.append(replace(part, length=length))
    if cut:
        missing = (*missing, f"it ends before {sum(cut):#x} of the bytes that its headers name, in {len(cut)} ranges")
    if not there:
        raise XbrleError(f"{source.name}: holds no memory" + "".join(f"; {m}" for m in missing))
    return Dump(source.name, form, tuple(_apart(source.name, there)), Space.PHYSICAL, (), missing, notes)


def _apart(name: str, parts: Iterable[Part]) -> list[Part]:
    """The parts by their places. Those that say the same twice are one.

    Raises:
        XbrleError: two parts have different bytes for one place.
    """
    out: list[Part] = []
    for part in sorted(parts, key=lambda p: (p.start, -p.length)):
        last = out[-1] if out else None
        if last is None or last.end < part.start:
            out.append(part)
        elif last.position - last.start == part.position - part.start:
            out[-1] = replace(last, length=max(last.end, part.end) - last.start)
        elif last.end == part.start:
            out.append(part)
        else:
            raise XbrleError(
                f"{name}: has two contents for address {part.start:#x}, at offsets "
                f"{last.position + part.start - last.start:#x} and {part.position:#x}: not a dump of one guest's memory"
            )
    return out


# -- folders ----------------------------------------------------------------------------------------------------------


def open_folder(folder: str) -> Dump:
    """The blocks in a folder that `xbrle extract` wrote.

    Raises:
        XbrleError: it does not have a manifest, or the manifest cannot be read or names no block.
    """
    parts, unknown, missing = [], [], []
    for entry in manifest.entries(Path(folder)):
        name = shown(entry.name)
        try:
            source = _file(Path(folder) / entry.file)
        except XbrleError as error:
            missing.append(f"block {name}: {error}")
            continue
        if source.size != entry.length:
            missing.append(
                f"block {name}: {entry.file} has {source.size:#x} bytes, the manifest says {entry.length:#x}"
            )
        length = min(source.size, entry.length)
        if length:
            parts.append(Part(source, 0, length, 0, entry.name))
        unknown += [Unknown(start, end, entry.name) for start, end in entry.unknown]
    if not parts:
        raise XbrleError(f"{folder}: holds no memory" + "".join(f"; {m}" for m in missing))
    return Dump(folder, Form.FOLDER, tuple(parts), Space.BLOCK, tuple(unknown), tuple(missing))


def _file(path: Path) -> MappedSource:
    """A file of a folder. A FIFO or a device is refused: nothing but a file was written there.

    Raises:
        XbrleError: it is not a file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise XbrleError(f"{path}: is not a file")
        with path.open("rb") as file:
            return MappedSource(str(path), mapped(file))
    except OSError as error:
        raise unopened(path, error) from error
