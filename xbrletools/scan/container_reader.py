"""The container, section by section: one reader for each type of section, and one for each owner whose data is known.

Facts: formats/README.md, "The container". All sizes come from the grammars.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

import numpy as np
from construct import ConstructError, Int32ub
from numpy.typing import NDArray

from ..container import boundary, configuration, devices, identify
from ..container.boundary import End
from ..container.devices import Matcher
from ..errors import XbrleError
from ..formats import block as block_format
from ..formats import qevm, ram
from ..formats.qevm import Command, SectionType
from ..model import Problem
from ..ram.blocklist import LIST_MAX
from ..ram.record import WORD
from ..source.sources import MARGIN, MappedSource
from ..source.wrappers import LibvirtSave
from ..table.columns import Columns
from ..table.sections import Boundary, Owner
from ..text import shown
from . import ends, renamed
from .another import Another
from .buffer import Buffer, Stop
from .judge import Judge
from .notes import Notes
from .ram_reader import RamReader

NAME_MAX = 256  # a length byte and what it can count
TAIL_MAX = 1 << 26  # device state without footers that a search for boundaries will hold at once
DISKS_MAX = 1 << 10  # devices of block sections that are remembered
STARTS_MAX = 1 << 14  # sections that a START may announce
ALIKE = 1 << 20  # bytes of sections that are compared at once
PAGE_BITS = range(10, 17)  # that a target can have
_TYPE = 1  # bytes of a section's type
_PART = _TYPE + qevm.SectionPart.sizeof()  # bytes before the data of PART and END
_HEAD = qevm.DataHead.sizeof()
_NOTHING: tuple[Columns, ...] = ()


# a capture has a section for every few hundred records, and few ids


@lru_cache(64)
def _section_id(header: bytes) -> int:
    """The section id of PART and END, from their first bytes."""
    return int(qevm.SectionPart.parse(header[_TYPE:]).section_id)


@lru_cache(64)
def _command_head(head: bytes) -> tuple[int, int]:
    """The number of a COMMAND and the length of its data."""
    parsed = qevm.DataHead.parse(head)
    return int(parsed.number), int(parsed.length)


def _is_footer(found: bytes, own: bytes) -> bool:
    """Whether these bytes are a footer, if a wrong one: its type is right, or else only its type is wrong."""
    if not found or found[0] == SectionType.FOOTER:
        return bool(found)
    return found[1:] == own[1:] and found[0] not in set(SectionType)


class ContainerReader:
    """Reads sections and notes them. ``ram_reader`` reads what the RAM sections hold.

    ``another`` looks for another stream, where it is to be looked for.
    """

    another: Another | None = None

    def __init__(self, buffer: Buffer, notes: Notes, judge: Judge, ram_reader: RamReader) -> None:
        self._buffer = buffer
        self._notes = notes
        self._judge = judge
        self._ram_reader = ram_reader
        self._at = 0
        self._skip: int | None = None
        self._lowest: int | None = None  # the lowest id of a FULL section
        self._matcher: Matcher | None = None
        readers: dict[SectionType, Callable[[int, SectionType], Iterable[Columns]]] = {
            SectionType.EOF: self._eof,
            SectionType.START: self._section,
            SectionType.PART: self._section,
            SectionType.END: self._section,
            SectionType.FULL: self._section,
            SectionType.CONFIGURATION: self._configuration,
            SectionType.COMMAND: self._command,
        }
        self._types = {
            int(kind): (kind, reader) for kind, reader in readers.items()
        }  # by number: looked up much faster
        self._iterable: dict[bytes, Callable[[Owner, SectionType, int], Iterable[Columns]]] = {
            ram.IDSTR: self._ram,
            block_format.IDSTR: self._disks,
        }

    def open(self) -> int:
        """Read the file header. Returns where the first section begins.

        Raises:
            XbrleError: the source is not a migration stream.
        """
        buffer, notes = self._buffer, self._notes
        source = buffer.source
        size = qevm.FileHeader.sizeof()
        at = source.start
        head = bytes(buffer.part(at, size))
        if not head:
            raise XbrleError(f"{source.name}: {source.damage or (f'ends before offset {at:#x}' if at else 'is empty')}")
        if head[:4] != struct.pack(">I", qevm.MAGIC)[: len(head)]:
            at = self._searched(at, head)
            head = bytes(buffer.part(at, size))
        notes.start = at
        if len(head) < size:
            raise XbrleError(f"{source.name}: ends inside the file header", len(head))
        wrapping = source.wrapping
        if isinstance(wrapping, LibvirtSave) and wrapping.unfinished:
            notes.complain("unfinished-save", at, "libvirt did not finish this save file")
        notes.file_version = int(qevm.FileHeader.parse(head).version)
        if notes.file_version != qevm.VERSION:
            message = f"unsupported file version {notes.file_version} (QEMU loads only {qevm.VERSION})"
            notes.complain("file-version", at + 4, message)
        return at + size

    def _searched(self, at: int, head: bytes) -> int:
        """Where the stream begins that does not begin at offset ``at``, where ``head`` stands.

        Raises:
            XbrleError: the source is something else, or there is none near its beginning.
        """
        buffer, source = self._buffer, self._buffer.source
        starts = f"starts with {head[:4].hex(' ')}, not with QEVM"
        if at:
            what = f"no migration stream begins at offset {at:#x}: what stands there {starts}"
            hint = (
                "without --offset it is searched for" if source.wrapping is None else "the file's header puts it there"
            )
            raise XbrleError(f"{source.name}: {what}; {hint}")
        known = identify.foreign(bytes(buffer.part(0, identify.HEAD)))
        if known is not None:
            raise XbrleError(f"{source.name}: not a QEMU migration stream: it {known}")
        found = identify.stream_in(buffer.part(0, identify.SEARCHED))
        if found is None:
            raise XbrleError(f"{source.name}: not a QEMU migration stream ({starts})")
        return found

    def read(self, at: int) -> Iterator[Columns]:
        """Read sections from offset ``at`` to the container's EOF. Raises `Stop` where it cannot go on."""
        buffer, notes = self._buffer, self._notes
        self._at = at
        while not notes.complete:
            at = self._at
            if not buffer.reach(at, 1):
                raise Stop("truncated", at, "the capture ends before the container's EOF")
            byte = buffer.byte(at)
            if byte not in self._types:
                raise Stop("bad-section-type", at, f"no section can begin with byte {byte:#04x}")
            kind, reader = self._types[byte]
            self._judge.section_type(buffer, at, kind)
            yield from reader(at, kind)

    # -- one reader for each type of section -------------------------------------------------------------------------

    def _section(self, at: int, kind: SectionType) -> Iterator[Columns]:
        """A section with an owner: its header, its data, its footer."""
        owner, data = self._header(at, kind)
        section = self._notes.sections.add(kind, owner, at, data)
        yield from self._data(section, owner, kind, data)
        self._at = self.footer(owner, self._notes.end)
        if kind is SectionType.PART and self._notes.end - data == WORD and owner.idstr == ram.IDSTR:
            yield from self._repeats(at)

    def _repeats(self, at: int) -> Iterator[Columns]:
        """The empty RAM sections that follow the one at ``at`` and are the same to the byte. There can be millions."""
        buffer, size = self._buffer, self._at - at
        if at < buffer.base:  # a pipe does not go back; the next empty section will do
            return
        for offsets, _ in self._alike(size, bytes(buffer.part(at, size))):
            self._notes.sections.repeat(len(offsets), size)
            yield from self._ram_reader.ends(offsets + np.uint64(_PART))
            self._notes.end = int(offsets[-1]) + size

    def _alike(self, size: int, head: bytes) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint8]]]:
        """The sections of ``size`` bytes that follow here and begin with ``head``: their offsets and bytes.

        These are (n,) and (n, size), as many as are at hand, again and again. There can be millions.
        """
        buffer, wanted = self._buffer, np.frombuffer(head, np.uint8)
        while buffer.reach(self._at, size) == size and buffer.part(self._at, len(head)) == head:
            at = self._at
            part = buffer.part(at, max(size, min(ALIKE, buffer.end - at)))
            rows = np.frombuffer(part[: len(part) // size * size], np.uint8).reshape(-1, size)
            same = (rows[:, : len(head)] == wanted).all(axis=1)
            count = len(same) if same.all() else int(same.argmin())
            self._at += count * size
            yield np.uint64(at) + np.arange(count, dtype=np.uint64) * np.uint64(size), rows[:count]

    def _eof(self, at: int, _kind: SectionType) -> Iterable[Columns]:
        """The container's EOF and what may follow it."""
        buffer, notes = self._buffer, self._notes
        self._packages(at)
        notes.complete = True
        notes.sections.close(notes.sections.add(SectionType.EOF, None, at, at + _TYPE), at + _TYPE, Boundary.PARSED)
        notes.end = at + _TYPE
        there = buffer.reach(notes.end, _TYPE)
        if there and buffer.byte(notes.end) == SectionType.VMDESCRIPTION:
            data = notes.end + _TYPE + Int32ub.sizeof()
            length = int(Int32ub.parse(buffer.take(notes.end, data - notes.end)[_TYPE:]))
            section = notes.sections.add(SectionType.VMDESCRIPTION, None, notes.end, data)
            try:
                notes.end = buffer.skip(data, length, "the VM description")
            except Stop as stop:  # what is there of it says something of the devices that it describes
                notes.vmdesc = (data, stop.problem.offset - data)
                raise
            notes.sections.close(section, notes.end, Boundary.PARSED)
            notes.vmdesc = (data, length)
            there = buffer.reach(notes.end, 1)
        if there:
            found = identify.stream_in(buffer.part(notes.end, identify.HEAD))
            if found != 0 and self.another is not None:  # a zero of the other's file header can be taken for an EOF
                self.another.near(notes.end, before=True)
            more = "" if found is None else f"; another one begins at {notes.end + found:#x}, which --offset reads"
            notes.complain("trailing-data", notes.end, f"bytes follow the end of the stream{more}")
        return _NOTHING

    def _packages(self, eof: int) -> None:
        """A package holds whole sections: one must begin where it ends, or the container's EOF stand there."""
        notes = self._notes
        for command in notes.commands.packages():
            end = command.package[1] if command.package is not None else eof
            if end < eof and notes.sections[notes.sections.at(end)].offset != end:
                notes.complain("bad-package", command.offset, "the package ends inside a section")

    def _configuration(self, at: int, _kind: SectionType) -> Iterable[Columns]:
        buffer, notes = self._buffer, self._notes
        start = at + _TYPE
        length = int(Int32ub.parse(buffer.take(start, Int32ub.sizeof())))
        for most in (MARGIN, length + LIST_MAX):  # a pipe that is slow need not bring more than the section
            part = buffer.part(at, most if length < LIST_MAX else 0)
            found = configuration.read(part[_TYPE:], start)
            if not found.cut and found.end < at + len(part):
                break
        section = notes.sections.add(SectionType.CONFIGURATION, None, at, start)
        notes.configuration = found
        if found.cut:
            raise Stop("truncated", at + len(part), "the capture ends inside CONFIGURATION")
        notes.machine = found.machine
        if not identify.NAME.fullmatch(found.machine or b"none"):
            self._cut_off(at, found.end, "inside CONFIGURATION")
        notes.reading = replace(notes.reading, configured=True)
        for sub in found.subsections:
            if isinstance(sub.value, int) and sub.value in PAGE_BITS:
                notes.page_size_known = True
                notes.reading = replace(notes.reading, page_size=1 << sub.value)
            elif isinstance(sub.value, tuple):
                notes.capabilities = sub.value
        searched = any(sub.value is None for sub in found.subsections)
        notes.sections.close(section, found.end, Boundary.HEADER if searched else Boundary.PARSED)
        self._at = found.end
        return _NOTHING

    def _command(self, at: int, _kind: SectionType) -> Iterable[Columns]:
        buffer, notes = self._buffer, self._notes
        head = buffer.take(at, _TYPE + _HEAD)
        number, length = _command_head(head[_TYPE:])
        start = at + len(head)
        section = notes.sections.add(SectionType.COMMAND, None, at, start)
        data = bytes(buffer.part(start, length))
        if len(data) < length:
            raise Stop("truncated", buffer.end, "the capture ends inside a command")
        notes.commands.append(at, number, data)
        notes.sections.close(section, start + length, Boundary.PARSED)
        self._at = start + length
        size = len(head) + length
        for offsets, rows in () if number == Command.PACKAGED else self._alike(size, head):
            notes.sections.repeat(len(offsets), size)
            notes.commands.extend(offsets, number, rows[:, len(head) :])
        return _NOTHING

    # -- the parts of a section with an owner ------------------------------------------------------------------------

    def _header(self, at: int, kind: SectionType) -> tuple[Owner, int]:
        """The owner of the section whose type byte stands at ``at``, and where its data begins."""
        buffer, owners = self._buffer, self._notes.owners
        if kind in (SectionType.START, SectionType.FULL):
            name = buffer.take(at + _TYPE + Int32ub.sizeof(), 1)[0]
            size = _TYPE + Int32ub.sizeof() * 3 + 1 + name
            parsed = qevm.section_starts().parse(buffer.take(at, size)[_TYPE:])
            owner = Owner(parsed.section_id, parsed.idstr, parsed.instance_id, parsed.version_id)
            if kind is SectionType.START and self._notes.ram_version is None:
                owner, size = self._renamed(at, owner, size)
            if kind is SectionType.START and owner.idstr in {known.idstr for known in owners.values()}:
                self._begins_again(at)
            self._judge.section(at, kind, owner)
            if kind is SectionType.START:
                if len(owners) >= STARTS_MAX:
                    raise Stop("bad-section-type", at, f"more than {STARTS_MAX} live sections, which no guest has")
                owners[owner.section_id] = owner
            else:
                self._lowest = min(owner.section_id, owner.section_id if self._lowest is None else self._lowest)
            return owner, at + size
        number = _section_id(buffer.take(at, _PART))
        known = owners.get(number)
        if self._notes.ram_ended and known is not None and known.idstr == ram.IDSTR:
            self._begins_again(at)
        if known is None:
            there = buffer.reach(at, _PART + WORD) == _PART + WORD
            known = self._judge.unannounced(at, number, buffer.word(at + _PART) if there else None)
        return known, at + _PART

    def _begins_again(self, at: int) -> None:
        """A section that has begun does not begin again in one stream, and RAM that has ended does not go on."""
        self._cut_off(at, at, "before this section")

    def _cut_off(self, at: int, place: int, where: str) -> None:
        """Stop at ``at``, ``where`` the stream is cut off, if another begins shortly before ``place``."""
        if self.another is not None and self.another.near(place, before=True) is not None:
            raise Stop("truncated", at, f"the capture ends {where}")

    def _renamed(self, at: int, owner: Owner, size: int) -> tuple[Owner, int]:
        """The owner of a START and the size of its header. RAM is read under a damaged name too, and that is said."""
        found, header = renamed.ram_header(self._buffer, at + _TYPE, owner, size - _TYPE, self._notes.capabilities)
        if found is not owner:
            why = "begins as RAM does: its name was changed, and it is read as RAM"
            self._notes.complain("unknown-owner", at, f"a section called {shown(owner.idstr)} {why}")
        return found, header + _TYPE

    def _data(self, section: int, owner: Owner, kind: SectionType, at: int) -> Iterator[Columns]:
        """Read a section's data and close the section."""
        notes = self._notes
        found_by = Boundary.PARSED
        reader = None if kind is SectionType.FULL else self._iterable.get(owner.idstr)
        if reader is not None:
            yield from reader(owner, kind, at)
        else:
            notes.end, found_by = self._search(section, owner, kind, at)
        notes.sections.close(section, notes.end, found_by)

    def _ram(self, owner: Owner, kind: SectionType, at: int) -> Iterator[Columns]:
        yield from self._ram_reader.read(owner, at)
        if kind is SectionType.END:
            self._notes.ram_ended = True

    def _disks(self, _owner: Owner, _kind: SectionType, at: int) -> Iterable[Columns]:
        """Walk the records of a block migration section to its EOS."""
        buffer, disks = self._buffer, self._notes.disks
        while True:
            if buffer.reach(at, WORD + NAME_MAX) < WORD:
                raise Stop("truncated", at, "the capture ends inside a block section")
            word = buffer.word(at)
            end = at + WORD
            if word & block_format.Flag.DEVICE_BLOCK:
                name = buffer.take(end + 1, buffer.take(end, 1)[0])
                end += 1 + len(name)
                reach = (word >> block_format.SECTOR_BITS << block_format.SECTOR_BITS) + block_format.CHUNK
                if name in disks or len(disks) < DISKS_MAX:
                    disks[name] = max(disks.get(name, 0), reach)
                if not word & block_format.Flag.ZERO_BLOCK:
                    end += block_format.CHUNK
                end = buffer.skip(at, end - at, "a block section's data")
            elif not word & (block_format.Flag.EOS | block_format.Flag.PROGRESS):
                raise Stop("bad-block-record", at, f"no record of a block section begins with {word:#018x}")
            at = end
            if word & block_format.Flag.EOS:
                self._notes.end = at
                return _NOTHING

    def _search(self, section: int, owner: Owner, kind: SectionType, at: int) -> tuple[int, Boundary]:
        """Where opaque data that begins at ``at`` ends: by its footer, or by what plausibly follows it."""
        notes = self._notes
        described = self._described(owner) if kind is SectionType.FULL else None
        if notes.footers is not False:
            unknown = notes.footers is None and not notes.reading.configured  # whether sections have any
            found = ends.footer(self._buffer, at, owner.section_id, notes.owners, described, unknown)
            if found is not None:
                notes.footers = True
                return self._found(owner, found)
            if notes.footers:
                message = f"section {owner.section_id} does not have a footer: its data is cut"
                raise Stop("truncated", self._buffer.end, message)
            notes.footers = False
        return self._search_header(section, owner, kind, at)

    def _found(self, owner: Owner, found: End) -> tuple[int, Boundary]:
        if found.own:
            return found.at, Boundary.FOOTER
        self._complain_of_footer(owner, found.at)
        self._skip = found.skip
        return found.at, Boundary.HEADER

    def _search_header(self, section: int, owner: Owner, kind: SectionType, at: int) -> tuple[int, Boundary]:
        """Where opaque data without a footer ends."""
        notes = self._notes
        tail = self._buffer.part(at, TAIL_MAX)
        if kind is not SectionType.FULL and (size := boundary.by_grammar(tail, owner.idstr)) is not None:
            return at + size, Boundary.PARSED
        if notes.device_tail is None:
            notes.device_tail = (notes.sections[section].offset, at + len(tail))
        found = boundary.by_header(tail, owner.section_id, self._lowest or 0)
        if found is not None:
            return at + found, Boundary.HEADER
        found = boundary.by_eof(tail) if len(tail) < TAIL_MAX else None
        if found is not None:
            return at + found, Boundary.EOF
        raise Stop("truncated", at + len(tail), "the capture does not end with the container's EOF")

    def _described(self, owner: Owner) -> int | None:
        """The size of this FULL section's data by the VM description, or None where that is not at hand or is silent.

        A pipe cannot be read at its end before its middle.
        """
        source = self._buffer.source
        if self._matcher is None:
            view = source.view if type(source) is MappedSource else memoryview(b"")
            start, length = boundary.description(view) or (0, 0)
            text = view[start : start + length]
            with suppress(XbrleError):
                self._matcher = Matcher(devices.load(text))
            self._matcher = self._matcher or Matcher(None)
        device = self._matcher.entry_of(owner)
        return None if device is None else devices.described_size(device)

    def footer(self, owner: Owner, at: int) -> int:
        """Past the section's footer, if it has one. The first section shows whether this capture has any."""
        notes = self._notes
        if self._skip is not None:  # the footer was found wrong when the data's end was searched for
            skip, self._skip = self._skip, None
            return at + skip
        footer = boundary.footer_of(owner.section_id)
        found = bytes(self._buffer.part(at, len(footer)))
        if notes.footers is None:
            notes.footers = _is_footer(found, footer)
        if not notes.footers:
            return at
        if found == footer:
            return at + len(footer)
        if footer.startswith(found):
            raise Stop("truncated", at + len(found), "the capture ends inside a section's footer")
        self._complain_of_footer(owner, at)
        return at + len(footer) if _is_footer(found, footer) else at

    def _complain_of_footer(self, owner: Owner, at: int) -> None:
        """Note that a section does not end with its footer at ``at``, and whose footer stands there instead, if any."""
        message = f"no footer of section {owner.section_id} ({shown(owner.idstr)}) stands at its end"
        found = bytes(self._buffer.part(at, qevm.Footer.sizeof()))
        with suppress(ConstructError):
            message += f", but one of section {qevm.Footer.parse(found).section_id}"
        self._notes.problems.append(Problem("bad-footer", at, message))
