"""The values that everything above shares: what a scan finds, and the scanned stream."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .formats import ram
from .formats.dialects import Dialect
from .table.commands import Commands, Discard
from .table.packets import Packets
from .table.payloads import Payloads
from .table.sections import Sections
from .table.table import RecordTable
from .table.windows import Framing

ANY_BLOCK = -1
SPACE_MAX = 1 << 44  # bytes of all blocks together: more than any guest has


@dataclass(frozen=True, slots=True)
class Block:
    """A RAM block. ``length`` is in bytes. It is 0 with ``declared`` false where only a record names the block.

    ``address`` is its offset in the region that holds it, which is *not* guest-physical, and ``page_size`` its own page
    size, where the list says so.
    """

    name: bytes
    length: int
    declared: bool = True
    address: int | None = None
    page_size: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something the scan met that should not be there. `verify` makes a finding of it.

    ``fatal``: the scan could not go on after it. ``lost``: a part of the migration is missing or cannot be read.
    """

    rule: str
    offset: int
    message: str
    fatal: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The verdict on a capture's dialect.

    ``name`` is None where nothing shows it. ``candidates`` are then the dialects that fit. ``reasons`` are for a
    person. ``offset`` is that of the first record which showed it, ``decoded`` how many deltas from there on come to a
    page each. ``cut``: the first delta is not there to its end.
    """

    name: str | None
    endian: str | None
    candidates: tuple[str, ...]
    offset: int | None = None
    forced: bool = False
    cut: bool = False
    reasons: tuple[str, ...] = ()
    decoded: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """How the RAM sections of a capture read, as far as it is known. ``page_size`` is in bytes.

    ``page_sum``: whether a PAGE of version 3 has its byte sum before its data, or None until a PAGE was met.
    ``configured``: the stream begins with CONFIGURATION, as those of QEMU 2.4 and later do.
    """

    version: int = ram.VERSION_NAMED
    dialect: Dialect | None = None
    endian: str = "little"
    page_size: int = ram.PAGE_SIZE
    page_sum: bool | None = None
    configured: bool = False
    evidence: Evidence = field(default_factory=lambda: Evidence(None, None, ()))


class Certainty(Enum):
    """How sure it is that the capture reads on where a gap ends. With `NONE`, nothing that can be believed follows."""

    NEAR_CERTAIN = "near certain"
    LIKELY = "likely"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of the capture that was skipped: ``[start, end)`` in bytes, empty where records are missing between two.

    ``row`` is that of the first record after it. ``in_place``: the skipped bytes fill exactly the place of the records
    that were lost, so none is missing beside those. ``evidence`` is for a person. ``left_out`` are the pages of records
    that were read and not believed, as (block, address). The block is -1 where it cannot be told. ``may_hold_records``
    is false where RAM had ended before it, or where the capture simply ends inside a record.
    """

    start: int
    end: int
    reason: str
    certainty: Certainty
    row: int
    in_place: bool = False
    evidence: str = ""
    left_out: tuple[tuple[int, int], ...] = ()
    may_hold_records: bool = True

    @property
    def told(self) -> str:
        """What a person wants to know of it first."""
        return f"{self.end - self.start:,} bytes were skipped: {self.reason}; reading on is {self.certainty.value}"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A block of a mapped-ram file, by its index. Its bitmap begins at offset ``bitmap`` of the capture, its pages at
    ``pages``. ``marked`` counts the pages that the bitmap marks. Both offsets are None where the pages were left out.
    """

    block: int
    bitmap: int | None
    pages: int | None
    marked: int


@dataclass(frozen=True, slots=True)
class ConfigurationSubsection:
    """One subsection: ``offset`` of its 0x05 in the capture, its data in ``[data, end)``.

    ``value`` is what its grammar gives: page bits, capability names or the UUID's bytes. It is None where the name is
    unknown, and then ``end`` was searched for.
    """

    name: bytes
    version: int
    offset: int
    data: int
    end: int
    value: int | tuple[bytes, ...] | bytes | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """The machine's name, the subsections, and where it all ends. ``cut``: the bytes ended first."""

    machine: bytes
    subsections: tuple[ConfigurationSubsection, ...]
    end: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a scan found beside the records. While the scan goes on: what it has found by then.

    ``disks`` has, by a disk's name, the bytes up to the end of its highest chunk. ``vmdesc`` is the VM description as
    (offset, length) and ``device_tail`` device state without footers as (start, end), in bytes of the capture.
    ``footers`` is None until a section showed whether sections have one. ``complete``: the container's EOF was reached.
    ``start`` is the offset at which the stream begins, and ``end`` the one that the scan came to. ``ram_ended``: RAM's
    END was read. ``mapped`` has the blocks of a mapped-ram file, as far as their bitmaps were read. After salvage,
    ``gaps`` are the ranges that were skipped, ``has_start`` tells whether the stream's own block list was read, and
    ``lost_names`` counts the records that were left out because their block cannot be told.
    """

    reading: Reading
    sections: Sections
    blocks: tuple[Block, ...] = ()
    problems: tuple[Problem, ...] = ()
    file_version: int = 0
    ram_version: int | None = None
    machine: bytes | None = None
    capabilities: tuple[bytes, ...] = ()
    configuration: Configuration | None = None
    commands: Commands = field(default_factory=Commands)
    mapped: tuple[Mapped, ...] = ()
    ram_ended: bool = False
    disks: Mapping[bytes, int] = field(default_factory=dict)
    vmdesc: tuple[int, int] | None = None
    device_tail: tuple[int, int] | None = None
    footers: bool | None = None
    complete: bool = False
    start: int = 0
    end: int = 0
    gaps: tuple[Gap, ...] = ()
    has_start: bool = True
    lost_names: int = 0

    @property
    def names(self) -> tuple[bytes, ...]:
        """The name of each RAM block, by its index."""
        return tuple(b.name for b in self.blocks)

    @property
    def mapped_ram(self) -> bool:
        """Whether this is a mapped-ram file."""
        return bool(self.mapped)

    @property
    def whole(self) -> bool:
        """Whether the stream was read to its last byte, and no channel of the migration is missing or damaged."""
        return self.complete and self.damage is None and not any(p.lost for p in self.problems)

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""
        return self.reading.page_size

    @property
    def damage(self) -> Problem | None:
        """Where and why the scan could not go on, or None if it came to the end."""
        return next((p for p in self.problems if p.fatal), None)

    @property
    def discards(self) -> Iterator[Discard]:
        """The ranges of pages that RAM_DISCARD commands name, in file order."""
        return self.commands.discards()

    @property
    def skipped(self) -> list[tuple[int, int]]:
        """The bytes [start, end) that salvage skipped, in rising order. Where gaps overlap, they stand once."""
        ranges: list[tuple[int, int]] = []
        for start, end in sorted((g.start, g.end) for g in self.gaps if g.start < g.end):
            if ranges and start <= ranges[-1][1]:
                ranges[-1] = ranges[-1][0], max(end, ranges[-1][1])
            else:
                ranges.append((start, end))
        return ranges


class Found(Framing, Protocol):
    """What a scan has found, while it goes on as well as in its `Facts`."""

    @property
    def reading(self) -> Reading:
        """How its RAM sections read."""

    @property
    def blocks(self) -> Sequence[Block]:
        """The RAM blocks."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What the scan met that should not be there."""

    @property
    def ram_version(self) -> int | None:
        """The version of the RAM section."""

    @property
    def machine(self) -> bytes | None:
        """The machine's name, where CONFIGURATION says it."""

    @property
    def configuration(self) -> Configuration | None:
        """The CONFIGURATION section."""

    @property
    def commands(self) -> Commands:
        """The COMMANDs, in file order."""


class Held(Protocol):
    """A capture's bytes, all at hand: ``data`` (size,) uint8, what was opened, and the compression that was undone.

    ``name`` is shown. ``given`` is the path or URL, which can hold secrets, or None where it was neither.
    """

    name: str
    given: str | None
    wrapper: str | None
    data: NDArray[np.uint8]

    def check(self) -> None:
        """Raise XbrleError where the file is shorter than it was: bytes that are gone cannot be read."""

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges of bytes [start, stop) that can hold something, in rising order. All else is holes, so zeros."""


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """Pages that a channel carried and that cannot be read. From just before row ``row`` on each is unknown.

    ``row``, ``block`` (its index) and ``address`` are (n,) int64. Rows do not fall. ``reason`` is for a person.
    """

    row: NDArray[np.int64]
    block: NDArray[np.int64]
    address: NDArray[np.int64]
    reason: str = ""

    def __len__(self) -> int:
        return len(self.row)


_NONE: NDArray[np.int64] = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A scanned capture, which everything above `memory` takes: its facts, its records and its bytes.

    ``forced`` are the dialect and the byte order that the user gave. ``salvaged``: it was read on after damage.
    ``channels`` counts the channels beside the main one. ``packets`` are those of multifd, in the order of the records.
    ``broken`` is the row from which on nothing is sure, since channels are missing, damaged or foreign. It is None
    where they go together. ``lost`` are pages that came on channels and cannot be read. ``files`` are the main channel
    and the others as they were opened, empty where ``source`` is the only one. ``derived`` keeps what `once` worked
    out.
    """

    source: Held
    facts: Facts
    records: RecordTable
    forced: tuple[str | None, str | None] = (None, None)
    salvaged: bool = False
    channels: int = 0
    broken: int | None = None
    lost: Lost = field(default_factory=lambda: Lost(_NONE, _NONE, _NONE))
    packets: Packets | None = None
    files: tuple[Held, ...] = ()
    derived: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What was opened, for messages."""
        return self.source.name

    @property
    def data(self) -> NDArray[np.uint8]:
        """The capture's bytes, (size,) uint8, read-only. The pages of multifd channels lie behind the main channel.

        Raises:
            XbrleError: the file has shrunk since it was opened.
        """
        self.source.check()
        return self.source.data

    @property
    def payloads(self) -> Payloads:
        """The records with all that it takes to decode them.

        Raises:
            XbrleError: the file has shrunk since it was opened.
        """
        return Payloads(self.records.columns, self.data, self.dialect)

    @property
    def sections(self) -> Sections:
        """The sections, in file order."""
        return self.facts.sections

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The RAM blocks, in the order of the block list. Last come those that only records name."""
        return self.facts.blocks

    @property
    def reading(self) -> Reading:
        """How its RAM sections read."""
        return self.facts.reading

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the deltas, or None where no delta shows it."""
        return self.facts.reading.dialect

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""
        return self.facts.reading.page_size


T = TypeVar("T")
P = ParamSpec("P")


def once(work: Callable[Concatenate[Stream, P], T]) -> Callable[Concatenate[Stream, P], T]:
    """Work something out of a stream at most once for each set of arguments, which must be hashable."""
    defaults = tuple(p.default for p in signature(work).parameters.values())[1:]

    @wraps(work)
    def remembered(stream: Stream, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (work, args + defaults[len(args) :], tuple(kwargs.items()))
        if key not in stream.derived:
            stream.derived[key] = work(stream, *args, **kwargs)
        found: T = stream.derived[key]
        return found

    return cast("Callable[Concatenate[Stream, P], T]", remembered)
