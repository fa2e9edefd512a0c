"""What a scan has noted by now, and what every scan offers to those who iterate it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ..formats import ram
from ..formats.dialects import Dialect
from ..model import SPACE_MAX, Block, Configuration, Facts, Found, Gap, Mapped, Problem, Reading
from ..ram.named import dialect_named
from ..source.sources import MappedSource, Source
from ..table.columns import Columns
from ..table.commands import Commands
from ..table.sections import Owner, Sections
from ..text import shown

BLOCKS_MAX = 1 << 14  # RAM blocks that are read; a guest has some hundreds at most, and each takes a KiB in all


class Notes:
    """The `Facts` of a scan that still goes on, under the same names, and what only the scan itself needs.

    ``forced`` and ``forced_endian`` are what the user gave. ``page_size_known``: nothing needs to be tried. ``owners``
    has the sections that START announced by their id, ``block_index`` the blocks by their name. ``has_list``: a block
    list was read or given. ``ram_ended``: the END of RAM was read.
    """

    def __init__(self, dialect: str | None = None, endian: str | None = None, page_size: int | None = None) -> None:
        self.reading = Reading(page_size=page_size or ram.PAGE_SIZE)
        self.sections = Sections()
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self.file_version = 0
        self.ram_version: int | None = None
        self.machine: bytes | None = None
        self.capabilities: tuple[bytes, ...] = ()
        self.configuration: Configuration | None = None
        self.commands = Commands()
        self.mapped: list[Mapped] = []
        self.disks: dict[bytes, int] = {}
        self.vmdesc: tuple[int, int] | None = None
        self.device_tail: tuple[int, int] | None = None
        self.footers: bool | None = None
        self.complete = False
        self.start = 0
        self.end = 0
        self.gaps: list[Gap] = []
        self.has_start = True
        self.has_list = False
        self.lost_names = 0

        self.forced: Dialect | None = None if dialect is None else dialect_named(dialect)
        self.forced_endian = endian
        self.page_size_known = page_size is not None
        self.owners: dict[int, Owner] = {}
        self.block_index: dict[bytes, int] = {}
        self.ram_ended = False
        self._measured = 0, -1  # blocks that `longest` looked at, and what it found

    @property
    def longest(self) -> int | None:
        """The bytes of the longest block that a list declares, or None where none does. It is asked for each record."""
        count, most = self._measured
        if count < len(self.blocks):
            most = max((b.length for b in islice(self.blocks, count, None) if b.declared), default=-1)
            most = max(most, self._measured[1])
            self._measured = len(self.blocks), most
        return None if most < 0 else most

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
        """What was found by now."""
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
            commands=self.commands,
            mapped=tuple(self.mapped),
            ram_ended=self.ram_ended,
            disks=dict(self.disks),
            vmdesc=self.vmdesc,
            device_tail=self.device_tail,
            footers=self.footers,
            complete=self.complete,
            start=self.start,
            end=self.end,
            gaps=tuple(self.gaps),
            has_start=self.has_start,
            lost_names=self.lost_names,
        )

    def complain(self, rule: str, offset: int, message: str) -> None:
        """Note a problem after which the scan goes on."""
        self.problems.append(Problem(rule, offset, message))

    def note_packets(self, source: Source) -> None:
        """Note what is odd about a stream that was put together of packets."""
        if isinstance(source, MappedSource) and source.rebuilt is not None:
            self.problems += [Problem(o.rule, o.offset, o.message, lost=o.lost) for o in source.rebuilt.oddities]

    def take_back(self, at: int, first: int) -> None:
        """Forget what was read from ``at`` on, and what was met from ``first`` on."""
        self.sections.truncate(at)
        if len(self.sections) and self.sections[-1].data > at:  # its header is cut
            self.sections.truncate(self.sections[-1].offset)
        self.problems = [p for p in self.problems if p.offset < first and not p.fatal]
        self.vmdesc = None if self.vmdesc is not None and self.vmdesc[0] >= at else self.vmdesc
        self.end = at

    def settle_mapped(self) -> None:
        """At the scan's end: say of a mapped-ram file without RAM's END that it is short.

        Where a block's header sent the scan to another place, nothing tells that.
        """
        begun = [m for m in self.mapped if m.bitmap is not None]
        if self.ram_ended or not begun or any(p.rule == "mapped-layout" for p in self.problems):
            return
        pages = sum(-(-self.blocks[m.block].length // self.page_size) - m.marked for m in begun)
        message = f"RAM's END is missing, and the sender writes the bitmaps just before it: {pages:,} pages that no bit"
        self.complain("unfinished-bitmap", begun[0].bitmap or 0, f"{message} marks are unknown, not zero")

    def forget_blocks(self) -> None:
        """Drop the RAM blocks."""
        self.blocks.clear()
        self.block_index.clear()
        self.has_list = False
        self._measured = 0, -1

    def replace_block(self, index: int, block: Block) -> None:
        """Put another block in the place of one."""
        self.blocks[index] = block
        self.has_list |= block.declared
        self._measured = 0, -1

    def declare(self, blocks: Sequence[Block], at: int) -> None:
        """Add RAM blocks, which the list at offset ``at`` has."""
        room = max(0, BLOCKS_MAX - len(self.blocks))
        if len(blocks) > room:
            message = f"the list has {len(blocks)} blocks; only the first {room} are read: no guest has more"
            self.complain("block-list", at, message)
        claimed = sum(b.length for b in self.blocks if b.declared)
        for block in blocks[:room]:
            if claimed + block.length > SPACE_MAX:
                message = f"block {shown(block.name)} claims {block.length:#x} bytes, more than any guest has"
                self.complain("block-list", at, message)
                block = replace(block, length=0, declared=False)
            claimed += block.length
            if block.name in self.block_index:
                agrees = self.blocks[self.block_index[block.name]].length == block.length
                rule = "block-list-form" if agrees else "block-list"
                self.complain(rule, at, f"two blocks of one name, of {'one' if agrees else 'two'} lengths")
            self.block_index.setdefault(block.name, len(self.blocks))
            self.blocks.append(block)
            self.has_list |= block.declared


class Scan(ABC):
    """A scan of ``source``. Iterating it gives the records, a `Columns` a window. All else is known at the end.

    ``columns`` are all records at once where an earlier scan found them, else None.
    """

    columns: Columns | None = None

    def __init__(self, source: Source, found: Found) -> None:
        self.source = source
        self._found = found

    @abstractmethod
    def __iter__(self) -> Iterator[Columns]: ...

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """What was found by now, all of it when the scan has been iterated."""

    @property
    def reading(self) -> Reading:
        """How the RAM sections read, as far as it is known."""
        return self._found.reading

    @property
    def sections(self) -> Sections:
        """The sections so far."""
        return self._found.sections

    @property
    def blocks(self) -> Sequence[Block]:
        """The RAM blocks so far."""
        return self._found.blocks

    @property
    def names(self) -> tuple[bytes, ...]:
        """The name of each RAM block so far, by its index."""
        return self._found.names

    @property
    def page_size(self) -> int:
        """The target's page size in bytes, as far as it is known."""
        return self._found.page_size

    @property
    def problems(self) -> Sequence[Problem]:
        """What was met so far that should not be there."""
        return self._found.problems

    @property
    def ram_version(self) -> int | None:
        """The version of the RAM section."""
        return self._found.ram_version

    @property
    def machine(self) -> bytes | None:
        """The machine's name, where CONFIGURATION says it."""
        return self._found.machine

    @property
    def configuration(self) -> Configuration | None:
        """The CONFIGURATION section."""
        return self._found.configuration

    @property
    def commands(self) -> Commands:
        """The COMMANDs so far, in file order."""
        return self._found.commands
