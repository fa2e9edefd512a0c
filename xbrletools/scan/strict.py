"""The plain scan: a capture's bytes to sections and records, once, in file order, up to the first damage.

It believes what a receiver would read.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..formats import block as block_format
from ..formats import ram
from ..formats.qevm import SectionType
from ..formats.ram import Kind
from ..model import Facts, Problem
from ..ram.walk import Pending
from ..source.sources import MappedSource, PipeSource, Source
from ..table.columns import Columns
from ..table.sections import Owner
from .another import Another, say, take_back
from .buffer import Buffer, Stop
from .container_reader import ContainerReader
from .notes import Notes, Scan
from .ram_reader import RamReader, plausible


class Trusting:
    """The judge of a plain scan: whatever can be read may stand there."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def section_type(self, buffer: Buffer, at: int, kind: SectionType) -> None:
        """Any."""

    def section(self, at: int, kind: SectionType, owner: Owner) -> None:
        """Any."""

    def unannounced(self, at: int, number: int, word: int | None) -> Owner:
        """An announced section that such data fits: the data tells RAM and an idle block section."""
        message = f"section id {number} was never announced"
        if word is not None:
            idstr = block_format.IDSTR if word == block_format.Flag.EOS else ram.IDSTR
            for owner in self._notes.owners.values():
                if owner.idstr == idstr and (idstr == block_format.IDSTR or plausible(self._notes, word)):
                    self._notes.complain("unknown-section", at, message)
                    return owner
        raise Stop("unknown-section", at, message)

    def word(self, at: int, word: int) -> None:
        """Any."""

    def may_try_page_size(self, pending: Pending, base: int) -> bool:
        """Always."""
        return True

    def block_list(self, at: int, total: int) -> None:
        """Any."""

    def block_name(self, at: int, name: bytes) -> None:
        """Any."""


class Scanner(Scan):
    """A scan that ends at damage.

    ``dialect``, ``endian`` and ``page_size`` force what would be found by trial. Where this stream is cut off and
    another one begins, the scan ends there. ``alone``: it does not look for such.

    Raises:
        XbrleError: there is no such dialect or, while it is iterated, the source is not a migration stream.
    """

    def __init__(
        self,
        source: Source,
        dialect: str | None = None,
        endian: str | None = None,
        page_size: int | None = None,
        alone: bool = False,
    ) -> None:
        self._options = (dialect, endian, page_size)
        self._another = None if alone else Another(source, alone_in)
        self._notes = Notes(dialect, endian, page_size)
        super().__init__(source, self._notes)
        judge = Trusting(self._notes)
        self._buffer = Buffer(source)
        self._ram = RamReader(self._buffer, self._notes, judge)
        self._container = ContainerReader(self._buffer, self._notes, judge, self._ram)
        self._container.another = self._another

    @property
    def facts(self) -> Facts:
        """What was found by now, all of it when the scan has been iterated."""
        return self._notes.facts

    def __iter__(self) -> Iterator[Columns]:
        another, given, ended = self._another, 0, self.source.start
        for columns in self._read():
            self._taken_for_nothing(columns)
            if another is not None and another.cut is not None and isinstance(self.source, PipeSource):
                own = columns.take(columns.end() <= another.cut)
                yield own
                if len(own) < len(columns):
                    break
            elif another is not None and another.cut is not None and another.cut >= ended:
                yield from self._up_to(another, given)
                return
            else:
                given += len(columns)
                ended = int(columns.end(slice(-1, None))[0]) if len(columns) else ended
                yield columns
        cut_off = another is not None and another.cut is not None
        if another is None or (another.cut or another.behind(ended, self._notes)) is None:
            return
        if another.cut is not None and isinstance(self.source, PipeSource):
            take_back(self._notes, another.cut, not cut_off and another.leaves_whole(self._notes))
        elif another.cut is not None and another.cut >= ended:
            yield from self._up_to(another, given)
        elif another.cut is not None:
            say(self._notes, another.cut)

    def _taken_for_nothing(self, columns: Columns) -> None:
        """Look for another stream where words of no kind stand: old receivers read them, and damage hides in them."""
        words = np.flatnonzero(columns.kind == Kind.NOOP)
        if self._another is not None and len(words):
            self._another.near(int(columns.offset[words[0]]), before=True)

    def _up_to(self, another: Another, given: int) -> Iterator[Columns]:
        """Scan anew, up to the other stream, and give the records that come after the ``given`` ones."""
        inner = Scanner(another.without(), *self._options, alone=True)
        self._notes = self._found = inner._notes
        self.source = inner.source
        for columns in inner:
            yield columns.take(slice(min(given, len(columns)), None))
            given -= min(given, len(columns))
        if another.cut is not None:
            say(self._notes, another.cut)

    def _read(self) -> Iterator[Columns]:
        notes, source = self._notes, self.source
        at = self._container.open()
        notes.note_packets(source)
        try:
            yield from self._container.read(at)
        except Stop as stop:
            problem, damage = stop.problem, source.damage
            if damage and problem.rule == "truncated":  # one finding for what is one damage
                problem = replace(problem, message=f"{problem.message}: {damage}")
            notes.problems.append(problem)
            notes.end = problem.offset
            if self._another is not None and self._another.cut is None:
                self._another.hidden(notes, problem.offset)
        self._ram.gather()
        yield from self._ram.drain()
        self._buffer.forget()
        if source.damage and not any(p.rule == "truncated" for p in notes.problems):
            notes.problems.append(Problem("truncated", self._buffer.end, source.damage, fatal=True))
        notes.settle_mapped()


def alone_in(source: MappedSource) -> Scanner:
    """A scan that does not look for another stream."""
    return Scanner(source, alone=True)
