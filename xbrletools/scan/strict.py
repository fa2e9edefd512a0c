"""The scan: a capture's bytes to sections and records, once, in file order.

The container is read section by section; RAM records are walked over in `walk`, and what the walk does not know (names,
block lists, the first delta) is read here, one record at a time. All sizes and offsets come from the grammars.
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from construct import Int16ub, Int32ub

from ..container import boundary, commands, configuration, identify
from ..errors import XbrleError
from ..formats import block as block_format
from ..formats import qevm, ram
from ..formats.dialects import DIALECTS, Dialect
from ..formats.qevm import SectionType
from ..formats.ram import Flag, Kind
from ..model import Block, Command, Configuration, Evidence, Facts, Problem, Reading
from ..ram import blocklist, mapped_ram
from ..ram.detect import detect, likely, pages_carry_sums
from ..ram.walk import PENDING_MAX, WORD, Layout, Pending
from ..source.sources import MARGIN, Source
from ..source.wrappers import LibvirtSave
from ..table.columns import NO_BLOCK, Columns
from ..table.sections import Boundary, Owner, Sections

NAME_MAX = 256  # a length byte and what it can count
HEADER_MAX = 512  # more than any section header takes
TAIL_MAX = 1 << 28  # device state that a search for boundaries will hold at once
DISKS_MAX = 1 << 10  # devices of block sections that are remembered
LIST_MAX = 1 << 20  # bytes of a block list
LOOK_AHEAD = 1 << 18  # what a trial of dialects or page sizes may look at
PAGE_SIZES = (4096, 1024, 2048, 8192, 16384, 32768, 65536)
TRIAL_RECORDS = 8
STRAYS_MAX = 2048  # words without a page kind, one after the other, before framing counts as lost: four pages of them
_PART = 1 + qevm.SectionPart.sizeof()  # bytes before the data of PART and END
_KINDS = tuple(Kind)  # by number, and the flags that every section has, as numbers: looked up much faster
_MEM_SIZE, _EOS = int(Flag.MEM_SIZE), int(Flag.EOS)
_STRAYS = (Kind.NOOP, Kind.HOOK, Kind.FLUSH, Kind.COMPRESSED)


class _Stop(Exception):  # noqa: N818 - an end, not an error
    """The scan cannot go on."""

    def __init__(self, rule: str, offset: int, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(rule, offset, message, fatal=True)


# a capture has a section for every few hundred records, and few ids


@lru_cache(64)
def _section_id(header: bytes) -> int:
    """The section id of PART and END, from their first bytes."""
    return int(qevm.SectionPart.parse(header[1:]).section_id)


@lru_cache(64)
def _footer_of(section_id: int) -> bytes:
    return bytes(qevm.Footer.build({"section_id": section_id}))


class Scanner:
    """One scan of a source. Iterating it gives the records, a `Columns` a window; the rest is known at the end.

    ``dialect``, ``endian`` and ``page_size`` force what would be found by trial.

    Raises:
        XbrleError: the source is no migration stream.
    """

    columns: Columns | None = None  # all records at once, where an earlier scan found them

    def __init__(
        self,
        source: Source,
        dialect: str | None = None,
        endian: str | None = None,
        page_size: int | None = None,
    ) -> None:
        if dialect is not None and dialect not in DIALECTS:
            raise XbrleError(f"no dialect is called {dialect!r}; there are {', '.join(DIALECTS)}")
        self.source = source
        self.sections = Sections()
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self.reading = Reading(page_size=page_size or ram.PAGE_SIZE)
        self.file_version = 0
        self.ram_version: int | None = None
        self.machine: bytes | None = None
        self.capabilities: tuple[bytes, ...] = ()
        self.configuration: Configuration | None = None
        self.commands: list[Command] = []
        self.entry = ram.BlockEntry
        self.mapped_ram = False
        self.disks: dict[bytes, int] = {}  # by name, the bytes up to the end of the highest chunk
        self.vmdesc: tuple[int, int] | None = None
        self.device_tail: tuple[int, int] | None = None
        self.footers: bool | None = None
        self.complete = False
        self.end = 0
        self._forced: Dialect | None = DIALECTS[dialect] if dialect else None
        self._endian = endian
        self._page_size_known = page_size is not None
        self._layout: Layout | None = None
        self._pending = Pending()
        self._block = NO_BLOCK
        self._block_index: dict[bytes, int] = {}
        self._by_id: dict[int, Owner] = {}
        self._view = memoryview(b"")
        self._base = 0
        self._real = 0
        self._final = False
        self._padded = False
        self._strays_end = 0
        self._ready: list[Columns] = []

    @property
    def names(self) -> tuple[bytes, ...]:
        """The name of each RAM block so far, by its index."""
        return tuple(b.name for b in self.blocks)

    @property
    def page_size(self) -> int:
        """The target's page size in bytes, as far as it is known."""
        return self.reading.page_size

    @property
    def facts(self) -> Facts:
        """What was found by now, all of it when the scan has been iterated."""
        return Facts(
            reading=self.reading,
            sections=self.sections,
            blocks=tuple(self.blocks),
            problems=tuple(self.problems),
            file_version=self.file_version,
            ram_version=self.ram_version,
            machine=self.machine,
            capabilities=self.capabilities,
            configuration=self.configuration,
            commands=tuple(self.commands),
            mapped_ram=self.mapped_ram,
            disks=dict(self.disks),
            vmdesc=self.vmdesc,
            device_tail=self.device_tail,
            footers=self.footers,
            complete=self.complete,
            end=self.end,
        )

    # -- the window ------------------------------------------------------------------------------------------------

    def _load(self, at: int, least: int) -> None:
        """Move the window to ``at``. Near the capture's end it is padded, so that the walk needs no bound checks."""
        self._gather()
        least = max(least, 2 * MARGIN)
        view, self._final = self.source.window(at, least)
        self._base, self._real = at, len(view)
        self._padded = self._final and len(view) <= least
        self._view = memoryview(bytes(view) + bytes(MARGIN)) if self._padded else view

    def _reach(self, at: int, count: int) -> int:
        """Have ``count`` bytes from ``at`` in the window, as far as the capture goes; returns how many there are."""
        if at < self._base or (at + count > self._base + self._real and not self._final):
            self._load(at, count)
        return max(0, min(count, self._base + self._real - at))

    def _take(self, at: int, count: int) -> bytes:
        if self._reach(at, count) < count:
            raise _Stop("truncated", self._base + self._real, "the capture ends inside a section header")
        return bytes(self._view[at - self._base : at - self._base + count])

    # -- the container ---------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Columns]:
        at = self._open()
        try:
            yield from self._container(at)
        except _Stop as stop:
            problem, why = stop.problem, self.source.damage
            if why and problem.rule == "truncated":  # one finding for what is one damage
                problem = replace(problem, message=f"{problem.message}: {why}")
            self.problems.append(problem)
            self.end = problem.offset
        self._gather()
        yield from self._drain()
        if self.source.damage and not any(p.rule == "truncated" for p in self.problems):
            self.problems.append(Problem("truncated", self._base + self._real, self.source.damage, fatal=True))

    def _open(self) -> int:
        size = qevm.FileHeader.sizeof()
        there = self._reach(0, size)
        if not there:
            raise XbrleError(self.source.damage or f"{self.source.name}: is empty")
        head = bytes(self._view[:there])
        if head[:4] != struct.pack(">I", qevm.MAGIC)[: len(head)]:
            known = identify.foreign(bytes(self._view[: self._real]))
            raise XbrleError(
                f"{self.source.name}: is no migration stream, it "
                + (known or f"begins with {head[:4].hex(' ')}, not QEVM")
            )
        if there < size:
            raise XbrleError(f"{self.source.name}: ends inside the file header", there)
        wrapping = self.source.wrapping
        if isinstance(wrapping, LibvirtSave) and wrapping.unfinished:
            self.problems.append(Problem("unfinished-save", 0, "libvirt did not finish this save file"))
        self.file_version = int(qevm.FileHeader.parse(head).version)
        if self.file_version != qevm.VERSION:
            self.problems.append(
                Problem(
                    "file-version",
                    4,
                    f"file version {self.file_version}, and only {qevm.VERSION} is ever loaded",
                )
            )
        return size

    def _container(self, at: int) -> Iterator[Columns]:
        while True:
            if not self._reach(at, 1):
                raise _Stop("truncated", at, "the capture ends before the container's EOF")
            kind = self._view[at - self._base]
            if kind == SectionType.EOF:
                self._eof(at)
                return
            if kind in (SectionType.START, SectionType.FULL, SectionType.PART, SectionType.END):
                of = SectionType(kind)
                owner, data = self._header(at, of)
                section = self.sections.add(of, owner, at, data)
                yield from self._data(section, owner, of, data)
                at = self._footer(owner, self.end)
            elif kind == SectionType.CONFIGURATION:
                at = self._configuration(at)
            elif kind == SectionType.COMMAND:
                at = self._command(at)
            else:
                raise _Stop("bad-section-type", at, f"no section can begin with byte {kind:#04x}")

    def _header(self, at: int, kind: SectionType) -> tuple[Owner, int]:
        """The owner of the section whose type byte stands at ``at``, and where its data begins."""
        if kind in (SectionType.START, SectionType.FULL):
            name = self._take(at + 5, 1)[0]
            size = 1 + Int32ub.sizeof() * 3 + 1 + name
            raw = self._take(at, size)
            parsed = qevm.SectionStart.parse(raw[1:])
            owner = Owner(parsed.section_id, parsed.idstr, parsed.instance_id, parsed.version_id)
            if kind is SectionType.START:
                self._by_id[owner.section_id] = owner
            return owner, at + size
        number = _section_id(bytes(self._take(at, _PART)))
        known = self._by_id.get(number)
        if known is None:
            known = self._guess(at, _PART, number)
        return known, at + _PART

    def _guess(self, at: int, size: int, number: int) -> Owner:
        """Whose section this is, when its id was never announced: the data tells RAM and an idle block section."""
        message = f"section id {number} was never announced"
        if self._reach(at, size + WORD) < size + WORD:
            raise _Stop("unknown-section", at, message)
        (word,) = struct.unpack(">Q", self._take(at + size, WORD))
        idstr = block_format.IDSTR if word == block_format.Flag.EOS else ram.IDSTR
        for owner in self._by_id.values():
            if owner.idstr == idstr and (idstr == block_format.IDSTR or self._plausible(word)):
                self.problems.append(Problem("unknown-section", at, message))
                return owner
        raise _Stop("unknown-section", at, message)

    def _plausible(self, word: int) -> bool:
        """Whether a word can begin a record of this capture: known flags, one kind, an address in some block."""
        flags = word & (self.reading.page_size - 1)
        kinds = flags & ~int(Flag.CONTINUE) if self.reading.version != ram.VERSION_FLAT else flags
        longest = max((b.length for b in self.blocks), default=1 << 52)
        return (
            not flags & ~int(ram.known_flags(self.reading.version))
            and kinds.bit_count() == 1
            and word - flags < max(longest, 1)
        )

    def _data(self, section: int, owner: Owner, kind: SectionType, at: int) -> Iterator[Columns]:
        """Read a section's data; sets its end, and returns it through `sections`."""
        if kind is not SectionType.FULL and owner.idstr == ram.IDSTR:
            yield from self._ram(owner, at)
            self.sections.close(section, self.end, Boundary.PARSED)
        elif kind is not SectionType.FULL and owner.idstr == block_format.IDSTR:
            self._block_section(at)
            self.sections.close(section, self.end, Boundary.PARSED)
        else:
            self.end, found_by = self._search(section, owner, kind, at)
            self.sections.close(section, self.end, found_by)

    def _footer(self, owner: Owner, at: int) -> int:
        """Past the section's footer, if it has one. The first section shows whether this capture has any."""
        footer = _footer_of(owner.section_id)
        size = len(footer)
        there = self._reach(at, size)
        found = bytes(self._view[at - self._base : at - self._base + there])
        if self.footers is None:
            self.footers = there > 0 and found[0] == SectionType.FOOTER
        if not self.footers:
            return at
        if found == footer:
            return at + size
        if footer.startswith(found):
            raise _Stop("truncated", at + there, "the capture ends inside a section's footer")
        self.problems.append(Problem("bad-footer", at, f"no footer of section {owner.section_id} stands at its end"))
        return at + size if found[0] == SectionType.FOOTER else at

    def _eof(self, at: int) -> None:
        """The container's EOF and what may follow it."""
        self._packages(at)
        self.complete = True
        self.sections.close(self.sections.add(SectionType.EOF, None, at, at + 1), at + 1, Boundary.PARSED)
        self.end = at + 1
        there = self._reach(self.end, 1)
        if there and self._view[self.end - self._base] == SectionType.VMDESCRIPTION:
            data = self.end + 1 + Int32ub.sizeof()
            raw = self._take(self.end, data - self.end)
            length = int(Int32ub.parse(raw[1:]))
            section = self.sections.add(SectionType.VMDESCRIPTION, None, self.end, data)
            self.end = self._skip(data, length, "the VM description")
            self.sections.close(section, self.end, Boundary.PARSED)
            self.vmdesc = (data, length)
            there = self._reach(self.end, 1)
        if there:
            self.problems.append(Problem("trailing-data", self.end, "bytes follow the end of the stream"))

    def _packages(self, eof: int) -> None:
        """A package holds whole sections: one must begin where it ends, or the container's EOF stand there."""
        for command in self.commands:
            if command.package is None:
                continue
            end = command.package[1]
            if end < eof and self.sections[self.sections.at(end)].offset != end:
                self.problems.append(Problem("bad-package", command.offset, "the package ends inside a section"))

    def _skip(self, at: int, count: int, what: str) -> int:
        """The offset ``count`` bytes on, all of which must be there; holds no more than a window of them."""
        end = at + count
        while at < end:
            there = self._reach(at, min(end - at, MARGIN))
            if not there:
                raise _Stop("truncated", at, f"the capture ends inside {what}")
            at += there
        return end

    def _configuration(self, at: int) -> int:
        length = int(Int32ub.parse(self._take(at + 1, Int32ub.sizeof())))
        there = self._reach(at, length + LIST_MAX if length < LIST_MAX else 0)
        section = self.sections.add(SectionType.CONFIGURATION, None, at, at + 1)
        self.configuration = found = configuration.read(
            self._view[at + 1 - self._base : at + there - self._base], at + 1
        )
        if found.cut:
            raise _Stop("truncated", at + there, "the capture ends inside CONFIGURATION")
        self.machine = found.machine
        self.reading = replace(self.reading, configured=True)
        for sub in found.subsections:
            if isinstance(sub.value, int) and 10 <= sub.value <= 16:
                self._page_size_known = True
                self.reading = replace(self.reading, page_size=1 << sub.value)
            elif isinstance(sub.value, tuple):
                self.capabilities = sub.value
        searched = any(sub.value is None for sub in found.subsections)
        self.sections.close(section, found.end, Boundary.HEADER if searched else Boundary.PARSED)
        return found.end

    def _command(self, at: int) -> int:
        head = self._take(at + 1, 2 * Int16ub.sizeof())
        number, length = int(Int16ub.parse(head[:2])), int(Int16ub.parse(head[2:]))
        start = at + 1 + len(head)
        section = self.sections.add(SectionType.COMMAND, None, at, start)
        if self._reach(start, length) < length:
            raise _Stop("truncated", self._base + self._real, "the capture ends inside a command")
        data = bytes(self._view[start - self._base : start + length - self._base])
        self.commands.append(commands.read(at, number, data, start + length))
        self.sections.close(section, start + length, Boundary.PARSED)
        return start + length

    # -- data of sections without a grammar ------------------------------------------------------------------------

    def _search(self, section: int, owner: Owner, kind: SectionType, at: int) -> tuple[int, Boundary]:
        """Where opaque data that begins at ``at`` ends: by its footer, or by what plausibly follows it."""
        there = self._reach(at, TAIL_MAX)
        tail = self._view[at - self._base : at - self._base + there]
        if self.footers:
            found = boundary.by_footer(tail, owner.section_id)
            if found is None:
                raise _Stop("truncated", at + there, f"section {owner.section_id} has no footer, its data is cut")
            return at + found, Boundary.FOOTER
        if kind is not SectionType.FULL and (end := boundary.by_grammar(tail, owner.idstr)) is not None:
            return at + end, Boundary.PARSED
        if self.device_tail is None:
            self.device_tail = (self.sections[section].offset, at + there)
        found = boundary.by_header(tail, owner.section_id)
        if found is not None:
            return at + found, Boundary.HEADER
        found = boundary.by_eof(tail)
        if found is not None:
            return at + found, Boundary.EOF
        raise _Stop("truncated", at + there, "the capture does not end with the container's EOF")

    def _block_section(self, at: int) -> None:
        """Walk the records of a block migration section to its EOS."""
        while True:
            if self._reach(at, WORD + NAME_MAX) < WORD:
                raise _Stop("truncated", at, "the capture ends inside a block section")
            (word,) = struct.unpack_from(">Q", self._view, at - self._base)
            end = at + WORD
            if word & block_format.Flag.DEVICE_BLOCK:
                name = self._take(end + 1, self._take(end, 1)[0])
                end += 1 + len(name)
                reach = (word >> block_format.SECTOR_BITS << block_format.SECTOR_BITS) + block_format.CHUNK
                if name in self.disks or len(self.disks) < DISKS_MAX:
                    self.disks[name] = max(self.disks.get(name, 0), reach)
                if not word & block_format.Flag.ZERO_BLOCK:
                    end += block_format.CHUNK
                end = self._skip(at, end - at, "a block section's data")
            elif not word & (block_format.Flag.EOS | block_format.Flag.PROGRESS):
                raise _Stop("bad-block-record", at, f"no record of a block section begins with {word:#018x}")
            at = end
            if word & block_format.Flag.EOS:
                self.end = at
                return

    # -- RAM sections ----------------------------------------------------------------------------------------------

    def _ram(self, owner: Owner, at: int) -> Iterator[Columns]:
        """Walk the records of one RAM section to its EOS."""
        self._begin_ram(owner, at)
        while True:
            end = self._base + self._real
            if not self._padded and at >= end - MARGIN:
                self._gather()
                yield from self._drain()  # before more is waited for
                self._load(at, 0)
                end = self._base + self._real
            limit = self._real if self._padded else self._real - MARGIN
            if self._layout is None:
                self._layout = Layout(self.reading)
            here, layout = at - self._base, self._layout
            at = self._base + layout.walk(self._view, self._base, here, limit, self._pending, self._block)
            if at > end:
                raise self._cut(self._pending.last(self._base))
            if len(self._pending) >= PENDING_MAX:
                self._gather()
                yield from self._drain()
                continue
            if at >= self._base + limit:
                if self._padded:
                    raise _Stop("truncated", at, "the capture ends inside a RAM section")
                continue
            at, ended = self._record(at, end)
            if ended:
                self.end = at
                yield from self._drain()
                return

    def _gather(self) -> None:
        """Turn the records walked over so far into columns; the window may move after that."""
        if len(self._pending) and self._layout is not None:
            columns, self._block = self._layout.gather(self._view, self._base, self._real, self._pending, self._block)
            self._ready.append(columns)
        self._pending = Pending()

    def _cut(self, at: int) -> _Stop:
        """The capture ends inside the record at ``at``, which `Layout.gather` keeps with what is there of it."""
        return _Stop("truncated", at, "the capture ends inside this record")

    def _resettle(self) -> None:
        """The settings changed: what was walked over is read as before, what follows in the new way."""
        self._gather()
        self._layout = None

    def _drain(self) -> Iterator[Columns]:
        ready, self._ready = self._ready, []
        yield from ready

    def _begin_ram(self, owner: Owner, at: int) -> None:
        """Settle what the section's version says, at the first RAM section."""
        if self.ram_version is not None:
            return
        self.ram_version = owner.version_id
        named = owner.version_id != ram.VERSION_FLAT
        self.reading = replace(self.reading, version=ram.VERSION_NAMED if named else ram.VERSION_FLAT)
        self.reading = replace(self.reading, page_sum=False if named else None)
        if owner.version_id not in (ram.VERSION_FLAT, ram.VERSION_NAMED):
            message = f"RAM section version {owner.version_id}, known are 3 and 4; read as 4"
            self.problems.append(Problem("ram-version", at, message))
        if self._forced is not None and self._forced.ram_version != self.reading.version:
            raise XbrleError(
                f"dialect {self._forced.name} is of RAM version {self._forced.ram_version}, "
                f"this capture is version {owner.version_id}"
            )
        self.reading = replace(self.reading, evidence=self._open_evidence())

    def _open_evidence(self) -> Evidence:
        """What is known of the dialect before a delta was seen."""
        if self._forced is not None:
            return Evidence(None, self._endian, (self._forced.name,), forced=True)
        return Evidence(None, self._endian, likely(self.reading))

    def _record(self, at: int, end: int) -> tuple[int, bool]:
        """Read the one record at ``at``; returns where the next begins and whether the section has ended.

        ``end`` is the offset of the first byte that is not there.
        """
        assert self._layout is not None
        if at + WORD > end:
            raise _Stop("truncated", at, "the capture ends inside a record's word")
        (word,) = struct.unpack_from(">Q", self._view, at - self._base)
        reading = self.reading
        named = reading.version != ram.VERSION_FLAT
        if named and not self._page_size_known and self._settle_page_size(at - self._base):
            return at, False
        flags = word & (reading.page_size - 1)
        kind = _KINDS[self._layout.kinds[flags & (len(self._layout.kinds) - 1)]]
        if kind in (Kind.NOOP, Kind.HOOK, Kind.COMPRESSED) and not self._belongs(at, end, word, kind):
            raise _Stop("bad-record", at, f"no record begins with the word {word:#018x}")
        if kind is Kind.PAGE and reading.page_sum is None:
            page_sum = pages_carry_sums(self._view, at - self._base, reading.page_size)
            self.reading = replace(reading, page_sum=page_sum)
            self.reading = replace(self.reading, evidence=self._open_evidence())
            self._resettle()
            return at, False
        if kind in ram.DELTA_KINDS and reading.dialect is None:
            self._find_dialect(at)
            return at, False

        after = at + WORD
        special = kind
        lists = bool(flags & _MEM_SIZE)
        if kind is Kind.MEM_SIZE and named and (mapped := self._mapped(at, word - flags)) is not None:
            return mapped, False
        if lists and named:
            after = self._block_list(at, word - flags)
            end = self._base + self._real
            if kind is not Kind.MEM_SIZE and after > at + WORD:
                raise _Stop("bad-record", at, "a block list and a page in one record")
        elif lists:
            self._flat(at, word - flags)
        if kind is Kind.COMPRESSED and not self._is_zlib(at, end):
            special = Kind.NOOP
        if special is not kind or kind is Kind.MEM_SIZE:
            self._pending.special[at - self._base] = (special, after - at - WORD)
        if special in ram.PAGE_KINDS:
            after = self._payload(at, after, end, flags, kind)
        self._pending.at.append(at - self._base)
        if after > end:
            raise self._cut(at)
        return after, bool(flags & _EOS)

    def _payload(self, at: int, after: int, end: int, flags: int, kind: Kind) -> int:
        """Where the record with a page at ``at`` ends; notes the block that it names."""
        layout, reading = self._layout, self.reading
        assert layout is not None
        if ram.is_named(flags, reading.version, kind):
            size = 1 + self._view[after - self._base]
            if after + size > end:
                return end + 1
            name = bytes(self._view[after + 1 - self._base : after + size - self._base])
            self._pending.names.append((at - self._base, self._block_named(name, at)))
            after += size
        if kind is Kind.DUP:
            return after + ram.Fill.sizeof()
        if kind is Kind.PAGE:
            return after + layout.page_head + reading.page_size
        if kind is Kind.COMPRESSED:
            (length,) = struct.unpack_from(">I", self._view, after - self._base)
            return int(after + Int32ub.sizeof() + length)
        assert layout.header is not None
        if after + layout.header.itemsize > end:
            return end + 1
        length = layout.delta_length(self._view, after - self._base)
        if not 0 <= length <= layout.limit:
            message = f"a delta of {length} bytes, where {layout.limit} is the most that a receiver takes"
            raise _Stop("delta-length", at, message)
        return after + layout.header.itemsize + length

    def _belongs(self, at: int, end: int, word: int, kind: Kind) -> bool:
        """Whether a word without a page kind is a record that receivers pass over, or the sign of lost framing.

        Receivers pass over any number of such words: after damage they go on where a word happens to be a record.
        """
        if at < self._strays_end or (kind is Kind.COMPRESSED and self._is_zlib(at, end)):
            return True
        stop = min(at + STRAYS_MAX * WORD, end - WORD + 1)
        for here in range(at + WORD, stop, WORD):
            (following,) = struct.unpack_from(">Q", self._view, here - self._base)
            if self._plausible(following):
                self._strays_end = here
                return True
            if ram.kind_of(following & (self.reading.page_size - 1), self.reading.version) not in _STRAYS:
                return False
        return stop <= at + WORD and not word >> 52

    def _is_zlib(self, at: int, end: int) -> bool:
        """Whether a COMPRESS_PAGE record has a length and a zlib header; older receivers do not know the flag."""
        (word,) = struct.unpack_from(">Q", self._view, at - self._base)
        after = at + WORD
        if not word & Flag.CONTINUE:
            after += 1 + self._view[after - self._base]
        if after + Int32ub.sizeof() + 2 > end:
            return False
        (length,) = struct.unpack_from(">I", self._view, after - self._base)
        first = self._view[after + Int32ub.sizeof() - self._base]
        return first & ram.ZLIB_METHOD == ram.ZLIB_DEFLATE and 0 < length <= ram.ZLIB_PAGES_MAX * self.reading.page_size

    def _find_dialect(self, at: int) -> None:
        """Settle the dialect and byte order at the first delta."""
        reading = self.reading
        if self._base + self._real < at + LOOK_AHEAD and not self._final:
            self._load(at, LOOK_AHEAD)
        evidence = detect(self._view[: self._real], at - self._base, self._base, reading, self._forced, self._endian)
        self.reading = replace(reading, evidence=evidence)
        if evidence.name is None and evidence.cut:
            self._pending.at.append(at - self._base)
            raise self._cut(at)
        if evidence.name is None:
            raise _Stop("unreadable-delta", at, "this delta reads in no dialect: " + evidence.reasons[0])
        self.reading = replace(self.reading, dialect=DIALECTS[evidence.name], endian=evidence.endian or "little")
        self._resettle()

    def _settle_page_size(self, here: int) -> bool:
        """Find the target's page size at the first record that depends on it; true if it is not the one assumed."""
        word = struct.unpack_from(">Q", self._view, here)[0]
        if word & Flag.MEM_SIZE or word & Flag.EOS:
            return False
        self._page_size_known = True
        sums = (0, Int32ub.sizeof()) if self.reading.page_sum is None else (0,)  # before each PAGE's data, perhaps
        fitting = (s for s in PAGE_SIZES for head in sums if self._page_size_fits(here, s, head))
        size = next(fitting, self.reading.page_size)
        if size == self.reading.page_size:
            return False
        self.reading = replace(self.reading, page_size=size)
        self._resettle()
        return True

    def _page_size_fits(self, at: int, size: int, page_head: int) -> bool:
        """Whether the next records are records with pages of ``size`` bytes, ``page_head`` bytes before each."""
        version = self.reading.version
        for _ in range(TRIAL_RECORDS):
            if at + WORD > self._real:
                return True
            (word,) = struct.unpack_from(">Q", self._view, at)
            flags = word & (size - 1)
            kind = ram.kind_of(flags, version)
            if flags & ~int(ram.known_flags(version)) or kind is Kind.NOOP:
                return False
            at += WORD
            if ram.is_named(flags, version, kind):
                at += 1 + self._view[at]
            if kind is Kind.PAGE:
                at += page_head + size
            elif kind is Kind.DUP:
                at += ram.Fill.sizeof()
            else:
                return True
        return True

    def _mapped(self, at: int, total: int) -> int | None:
        """Read a block list of mapped-ram and give its pages as records; where it ends, or None for another list."""

        def take(start: int, count: int) -> bytes:
            there = self._reach(start, count)
            return bytes(self._view[start - self._base : start - self._base + there])

        start = at + WORD
        first = mapped_ram.entry(take(start, mapped_ram.ENTRY_MAX), start, total)
        if first is None or (self.blocks and first.name not in self._block_index):
            return None
        self._pending.special[at - self._base] = (Kind.MEM_SIZE, first.header - start)
        self._pending.at.append(at - self._base)
        self.reading = replace(self.reading, page_size=first.page_size)
        self._page_size_known = True
        self._resettle()
        while total:
            block = mapped_ram.entry(take(start, mapped_ram.ENTRY_MAX), start, total)
            if block is None or block.page_size != first.page_size:
                raise _Stop("truncated", start, "no entry of a mapped-ram block list stands here")
            bitmap = take(block.bitmap, block.bitmap_size)
            if len(bitmap) < block.bitmap_size:
                raise _Stop("truncated", block.bitmap, "the capture ends inside a bitmap of pages")
            if block.name not in self._block_index:
                self._declare([Block(block.name, block.length)], at)
            there = self.source.size
            found = mapped_ram.records(block, self._block_index[block.name], bitmap, there)
            self._ready.append(found)
            total -= block.length
            start = block.stop
            if there is not None and len(found) < block.count:
                raise _Stop("truncated", there, "the capture ends inside the pages of mapped-ram")
        self.mapped_ram = True
        return start

    def _block_list(self, at: int, total: int) -> int:
        """Read the v4 block list after the word at ``at``; returns where it ends."""
        there = self._reach(at, LIST_MAX)
        start = at + WORD - self._base
        found = blocklist.read(self._view[start : at + there - self._base], total, self.capabilities)
        if found.cut:
            raise _Stop("truncated", at, "the capture ends inside the block list")
        self.entry = found.entry
        blocks = [Block(b.name, b.length, True, b.address, b.page_size) for b in found.blocks]
        after = at + WORD + found.size
        if found.total > total:
            self.problems.append(
                Problem("block-list", at, f"the blocks' lengths add up to {found.total:#x}, the list says {total:#x}")
            )
        if not self.blocks:
            self._declare(blocks, at)
        elif total:
            self._compare(blocks, at)
        return after

    def _compare(self, blocks: list[Block], at: int) -> None:
        """A block list after the first: receivers look each entry up, whatever their order and number."""
        first = [b for b in self.blocks if b.declared]
        if not set(blocks) <= set(first):
            self.problems.append(Problem("block-list", at, "a second block list, with blocks that the first has not"))
        elif blocks != first:
            self.problems.append(
                Problem(
                    "block-list-form",
                    at,
                    "a second block list, with not all blocks of the first"
                    if len(blocks) < len(first)
                    else "a second block list, in another order",
                )
            )

    def _flat(self, at: int, total: int) -> None:
        """v3 has one block, the whole ram_addr space."""
        if not self.blocks:
            self._declare([Block(ram.IDSTR, total)], at)
            self._block = 0
            self._pending.select(0)
        elif self.blocks[0].length != total:
            self.problems.append(Problem("block-list", at, "a second MEM_SIZE, and a different one"))

    def _declare(self, blocks: list[Block], at: int) -> None:
        for block in blocks[:NO_BLOCK]:
            if block.name in self._block_index:
                agrees = self.blocks[self._block_index[block.name]].length == block.length
                rule = "block-list-form" if agrees else "block-list"
                self.problems.append(
                    Problem(rule, at, f"two blocks of one name, of {'one' if agrees else 'two'} lengths")
                )
            self._block_index.setdefault(block.name, len(self.blocks))
            self.blocks.append(block)

    def _block_named(self, name: bytes, at: int) -> int:
        """The index of the block called ``name``; one that the list does not have is added, as undeclared."""
        index = self._block_index.get(name)
        if index is None:
            if len(self.blocks) >= NO_BLOCK:
                raise _Stop("bad-record", at, "more blocks than any guest has")
            index = self._block_index[name] = len(self.blocks)
            self.blocks.append(Block(name, 0, declared=False))
        return index
