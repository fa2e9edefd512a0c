"""What a log line of a migration means, which record or device of a capture it is about, and what to do."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np

from ..formats.ram import Kind
from ..model import Stream
from ..table.kinds import IS_PAGE
from ..text import called, shown
from .checker import found_in
from .messages import Message, begun, matches
from .receivers import Outcome, outcomes

PLACES_MAX = 8  # places of one message that are named


@dataclass(frozen=True, slots=True)
class Explained:
    """A message that a line holds: ``values`` are what stands for each {} of its template."""

    message: Message
    values: tuple[str, ...]

    @property
    def is_part(self) -> bool:
        """Whether the line has only the beginning of the message."""
        return len(self.values) < self.message.template.count("{}")

    @property
    def text(self) -> str:
        """The message with its values."""
        first, *others = self.message.template.strip().split("{}")
        values = chain(self.values, repeat("..."))
        return first + "".join(value + part for value, part in zip(values, others, strict=False))


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the capture that a line is about: ``what`` in words, its offset and its record's number, if any."""

    what: str
    offset: int | None = None
    record: int | None = None


def explained(line: str) -> list[Explained]:
    """Every message that is known in a line, in the order in which they stand there.

    Where none is there whole, those that begin with the line, without values.
    """
    found = [Explained(message, values) for message, values in matches(line)]
    return found or [Explained(message, ()) for message in begun(line)]


def lines_of(log: Iterable[str]) -> Iterator[tuple[int, str, list[Explained]]]:
    """The lines of a log that hold something known, each text once, with the number of its first line from 1."""
    seen = set[str]()
    for number, line in enumerate(log, 1):
        found = explained(line)
        key = "\n".join(f"{one.message.template}\t{one.values}" for one in found)
        if found and key not in seen:
            seen.add(key)
            yield number, line, found


class Places:
    """Finds what lines are about in one capture. What the receivers say of it is asked once."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._outcomes: dict[str, Outcome] | None = None

    def of(self, line: str, one: Explained) -> list[Place]:
        """The places that a message of ``line`` is about, the likeliest first."""
        if one.is_part:
            return [*self._stops(line.strip(), in_full=False)][:PLACES_MAX]
        return [*self._stops(line), *self._by_values(one)][:PLACES_MAX]

    def _stops(self, line: str, in_full: bool = True) -> Iterator[Place]:
        """Where a receiver that prints this very line stops, or one whose words hold it where it is not ``in_full``."""
        if self._outcomes is None:
            self._outcomes = outcomes(self.stream, found_in(self.stream))
        places: dict[tuple[int | None, int | None], list[str]] = {}
        for name, outcome in self._outcomes.items():
            printed = outcome.said[: -1 if len(outcome.said) > 1 else None]
            if any(said and (said in line if in_full else line in said) for said in printed):
                places.setdefault((outcome.offset, outcome.record), []).append(name)
        for (offset, record), names in places.items():
            yield Place(f"where {', '.join(names)} would stop and print this", offset, record)

    def _by_values(self, one: Explained) -> Iterator[Place]:
        template, values = one.message.template, one.values
        if template.startswith("Machine type received"):
            machine = self.stream.facts.machine
            if machine is not None:
                yield Place(f"the stream's machine is {shown(machine)}", self.stream.facts.start)
        elif "XBZRLE page at" in template or template.startswith("Illegal RAM offset"):
            yield from self._pages(int(values[0], 16) if _is_hex(values[0]) else None)
        elif template.startswith("Unknown combination"):
            yield from self._flagged(values[0])
        elif template.startswith("Found a zero page"):
            yield from self._filled(values[0])
        elif (
            "ramblock" in template or "mismatch: " in template or "too large: " in template or "find block" in template
        ):
            yield from self._blocks(values[0])
        elif "instance" in template or "footer for" in template or "unsupported version" in template:
            yield from self._devices(values)

    def _pages(self, address: int | None) -> Iterator[Place]:
        """The records of pages at an address, deltas first."""
        if address is None:
            return
        columns = self.stream.records.columns
        rows = np.flatnonzero((columns.address == np.uint64(address)) & IS_PAGE[columns.kind])
        deltas = np.isin(columns.kind[rows], (Kind.XBRLE, Kind.XBZRLE))
        for row in [*rows[deltas].tolist(), *rows[~deltas].tolist()][:PLACES_MAX]:
            yield self._record(row, "a record of a page at this address")

    def _flagged(self, flags: str) -> Iterator[Place]:
        """Records with these flags."""
        if not _is_hex(flags.removeprefix("0x")):
            return
        wanted = int(flags, 16)
        columns = self.stream.records.columns
        rows = np.flatnonzero(columns.flags == np.uint16(wanted & 0xFFFF)) if wanted <= 0xFFFF else ()
        for row in rows[:PLACES_MAX]:
            yield self._record(int(row), f"a record with the flags {flags}")

    def _filled(self, value: str) -> Iterator[Place]:
        """Dup pages of this byte."""
        columns, data = self.stream.records.columns, self.stream.data
        rows = np.flatnonzero(columns.kind == Kind.DUP)
        fill = data[np.minimum(columns.payload(rows), len(data) - 1)]
        for row in rows[fill == (int(value) & 0xFF if value.isdigit() else 0)][:PLACES_MAX]:
            yield self._record(int(row), f"a dup page of the byte {value}")

    def _blocks(self, name: str) -> Iterator[Place]:
        names = [b.name for b in self.stream.blocks]
        for i in called(names, name)[:1]:
            block = self.stream.blocks[i]
            what = "listed" if block.declared else "named by records, and not listed"
            yield Place(f"RAM block {shown(block.name)} is {what}, with {block.length:#x} bytes")

    def _devices(self, values: tuple[str, ...]) -> Iterator[Place]:
        """Sections whose owner has a name among the values."""
        for section in self.stream.sections:
            owner = section.owner
            if owner is not None and shown(owner.idstr) in values:
                what = f"the section of {shown(owner.idstr)}, instance {owner.instance_id}, version {owner.version_id}"
                yield Place(what, section.offset)
                return

    def _record(self, row: int, what: str) -> Place:
        records = self.stream.records
        number = int(records.numbers.of(np.array([row]))[0]) or None
        return Place(what, int(records.columns.offset[row]), number)


def _is_hex(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{1,16}", text) is not None
