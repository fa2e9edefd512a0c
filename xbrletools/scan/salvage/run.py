"""The scan that reads on after damage: run after run of records, with the gap between each two."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ...errors import XbrleError
from ...formats import qevm, ram
from ...formats.qevm import SectionType
from ...model import Block, Certainty, Facts, Gap, Problem
from ...source.sources import MappedSource
from ...table.columns import NO_BLOCK, Columns, join
from ...table.sections import STAGE_OF, Boundary, Owner
from ..another import Another, say
from ..buffer import Buffer, Stop
from ..container_reader import ContainerReader
from ..notes import Notes, Scan
from ..ram_reader import RamReader
from ..strict import Scanner, alone_in
from .attribute import attributed
from .gaps import RECORD_MAX, believed, end_of, leave_out, place_filled, without_last
from .resync import ENOUGH, Resync
from .skeptic import Skeptic, checked, ram_ids, ram_owner
from .sweep import infer_lengths, split_at_jumps

_HOLE = "missing-packets"
GAPS_MAX = 1 << 13  # ranges that are skipped: each takes some KiB in all
_TOO_MANY = f"more than {GAPS_MAX:,} ranges are damaged, and what follows is not read"


class Salvager(Scan):
    """A scan that reads on after damage. The gaps are complete when it has been iterated.

    ``blocks`` are the RAM blocks where the user knows them, as (name, length in bytes). Where this stream is cut off
    and another one begins, what comes from there on is not read. ``alone``: it does not look for such.

    Raises:
        XbrleError: there is no such dialect or, while it is iterated, nothing in the source can be believed.
    """

    source: MappedSource

    def __init__(
        self,
        source: MappedSource,
        dialect: str | None = None,
        endian: str | None = None,
        page_size: int | None = None,
        blocks: Sequence[tuple[bytes, int]] = (),
        alone: bool = False,
    ) -> None:
        self._options, self._given = (dialect, endian, page_size), blocks
        self._another = None if alone else Another(source, alone_in)
        self._sound: Facts | None = None
        self._notes = Notes(dialect, endian, page_size)
        super().__init__(source, self._notes)
        self._notes.has_start = False
        self._notes.declare([Block(name, length) for name, length in blocks], 0)
        self._data = source.data
        self._judge = Skeptic(self._notes, bool(blocks), source.view)
        self._buffer = Buffer(source)
        self._ram = RamReader(self._buffer, self._notes, self._judge)
        self._container = ContainerReader(self._buffer, self._notes, self._judge, self._ram)
        self._container.another = self._another
        self._resync = Resync(source, self._notes, self._judge)

    @property
    def facts(self) -> Facts:
        """What was found by now, with what was skipped."""
        return self._notes.facts if self._sound is None else self._sound

    def __iter__(self) -> Iterator[Columns]:
        source, notes = self.source, self._notes
        if not len(self._data):
            raise XbrleError(f"{source.name}: {source.damage or 'is empty'}")
        notes.note_packets(source)
        pieces = self._pieces()
        self._buffer.forget()
        if self._another is not None and self._another.cut is not None:
            yield from self._up_to(self._another, self._another.cut)
            return
        if not any(len(p) for p in pieces) and not notes.complete:  # a complete one can have devices alone
            yield self._as_it_stands()
            return
        if source.damage:
            notes.problems.append(Problem("truncated", len(self._data), source.damage, fatal=True))
        infer_lengths(pieces, notes)
        columns = split_at_jumps(join(pieces), notes)
        for gap in notes.gaps:
            if gap.certainty is not Certainty.NONE:
                notes.complain("skipped", gap.start, gap.told)
        notes.settle_mapped()
        yield columns

    def _look_behind(self, records: int) -> None:
        """Look for another stream behind the last record, which ends at ``records``."""
        if self._another is not None:
            self._another.behind(records, self._notes)

    def _up_to(self, another: Another, at: int) -> Iterator[Columns]:
        """Salvage anew, up to another stream that begins at ``at``."""
        dialect, endian, page_size = self._options
        inner = Salvager(another.without(), dialect, endian, page_size, self._given, alone=True)
        try:
            yield from inner
        except XbrleError as error:
            raise XbrleError(f"{error}. Another stream begins at {at:#x}: --offset {at:#x}") from None
        if inner._sound is None:
            say(inner._notes, at)
        self._sound, self._found, self.source = inner.facts, inner, inner.source

    def _as_it_stands(self) -> Columns:
        """The records of a stream that is whole, though there is too little of it to be believed by itself.

        Raises:
            XbrleError: it is not whole.
        """
        strict = Scanner(self.source, *self._options)
        with suppress(XbrleError):
            columns = join(list(strict))
            of_packets = 0 if self.source.rebuilt is None else len(self.source.rebuilt.oddities)
            if strict.facts.complete and len(strict.facts.problems) == of_packets:
                self._sound, self._found = strict.facts, strict
                return columns
        raise XbrleError(f"{self.source.name}: nothing in it can be believed to be a migration stream")

    def _pieces(self) -> list[Columns]:
        """The believed records of every run. The gaps between the runs are noted."""
        notes = self._notes
        pieces: list[Columns] = []
        rows = begun = searched = 0
        try:
            run = self._container.read(self._container.open())
        except XbrleError:
            run = _not_a_stream(self._buffer.source.start)
        while True:
            columns, problem = self._run(run)
            columns = believed(columns, begun, notes.gaps)
            columns, problem = checked(columns, problem, self._data, notes)
            columns, problem = self._up_to_hole(columns, problem)
            columns = attributed(columns, pieces, notes)
            if problem is None:
                self._look_behind(end_of(columns) if len(columns) else begun)
                return [*pieces, columns]
            if self._another is not None and self._another.hidden(notes, problem.offset) is not None:
                return pieces
            kept, start = without_last(columns, begun)
            if problem.rule == _HOLE:  # it is known where it begins, so that the last record before it stands
                kept, start = columns, max(begun, end_of(columns)) if len(columns) else begun
            pieces.append(kept)
            rows += len(kept)
            following = None
            if not self._judge.no_more_ram and len(notes.gaps) < GAPS_MAX:
                past = self.source.hole_after(problem.offset)[1] if problem.rule == _HOLE else 0
                following = self._resync.find(max(start + (len(kept) < len(columns)), searched, past))
            notes.sections.truncate(start)
            notes.complete = False
            gap, run_next = self._bridge(start, problem, following, rows, columns, kept)
            notes.gaps.append(gap)
            last = columns.take(slice(len(kept), None))
            leave_out(notes.gaps, list(zip(last.block.tolist(), last.address.tolist(), strict=True)))
            if run_next is None:
                return pieces
            run, begun = run_next, gap.end
            searched = 1 + (gap.end if following is None else following)

    def _run(self, run: Iterator[Columns]) -> tuple[Columns, Problem | None]:
        """All records up to the next damage."""
        pieces: list[Columns] = []
        problem = None
        try:
            pieces.extend(run)
        except Stop as stop:
            problem = stop.problem
        self._ram.gather()
        pieces.extend(self._ram.drain())
        return join(pieces), problem

    def _up_to_hole(self, columns: Columns, problem: Problem | None) -> tuple[Columns, Problem | None]:
        """The records of a run, without one that has bytes missing. ``problem`` is why it ended: there, if it did."""
        hole, end = self.source.hole_after(self._buffer.base)
        ended = problem.rule == "truncated" if problem is not None else self._buffer.end == hole
        if hole == end or not ended:
            return columns, problem
        whole = columns.end(np.arange(len(columns))) <= hole
        return columns.take(whole), Problem(
            _HOLE, hole, f"{end - hole:,} bytes are missing: their packets are not there"
        )

    # -- the way across a gap ----------------------------------------------------------------------------------------

    def _bridge(
        self,
        start: int,
        problem: Problem,
        following: int | None,
        row: int,
        parsed: Columns,
        kept: Columns,
    ) -> tuple[Gap, Iterator[Columns] | None]:
        """The gap that begins at ``start``, and the run that comes after it, or None where none does."""
        if following is None:
            return self._to_tail(start, start if len(kept) < len(parsed) else problem.offset, problem, row)
        notes = self._notes
        chain = self._resync.chain(following)
        notes.reading = chain.reading
        end = following
        header = self._resync.header_before(following, start)
        first_end = self._resync.first_end(following)
        how = place_filled(start, following, parsed, kept, self._data, notes.reading)
        evidence = f"{chain.records} records in a row that agree" + (f"; {how}" if how else "")
        certainty = Certainty.NEAR_CERTAIN if chain.score >= ENOUGH else Certainty.LIKELY
        if header is None and first_end is not None:  # the first record may be spliced from two
            end = first_end
        gap = Gap(start, end, problem.message, certainty, row, how is not None, evidence)
        return gap, self._resume(following if header is None else header, header is not None)

    def _to_tail(self, start: int, searched: int, problem: Problem, row: int) -> tuple[Gap, Iterator[Columns] | None]:
        """The gap that begins at ``start`` where no more records come, and the run of device sections after it.

        They are looked for from ``searched`` on: a last record that is not believed can reach over some of them.
        """
        notes, size = self._notes, len(self._data)
        if len(notes.gaps) >= GAPS_MAX:
            notes.end = start
            notes.problems.append(Problem("skipped", start, _TOO_MANY, fatal=True))
            return Gap(start, size, _TOO_MANY, Certainty.NONE, row), None
        tail = None if notes.ram_ended else self._resync.find_tail(searched)
        if tail is None:
            notes.end = start
            notes.problems.append(replace(problem, fatal=True))
            simply_ends = problem.rule == "truncated" and size - start <= RECORD_MAX
            holds = not notes.ram_ended and not simply_ends
            return Gap(start, size, problem.message, Certainty.NONE, row, may_hold_records=holds), None
        self._judge.no_more_ram = True
        gap = Gap(start, tail, problem.message, Certainty.LIKELY, row, evidence="a device section's header")
        return gap, self._resume(tail)

    def _resume(self, at: int, framed: bool = True) -> Iterator[Columns]:
        """The records from ``at`` on: a section's header stands there, or (not ``framed``) a record."""
        notes = self._notes
        self._ram.restart(NO_BLOCK if notes.reading.version != ram.VERSION_FLAT else 0)
        self._buffer.load(at, 0)
        if not framed:
            owner = next((o for o in notes.owners.values() if o.idstr == ram.IDSTR), None) or ram_owner(notes, 0)
            last = notes.sections[-1].type if len(notes.sections) else SectionType.PART
            kind = last if last in STAGE_OF else SectionType.PART
            section = notes.sections.add(kind, owner, at, at)
            yield from self._ram.read(owner, at)
            notes.sections.close(section, notes.end, Boundary.PARSED)
            if kind is SectionType.END:
                notes.ram_ended = True
            at = self._footer_after(owner, notes.end)
        yield from self._container.read(at)

    def _footer_after(self, owner: Owner, at: int) -> int:
        """Past the footer of a section whose header is lost. The footer says the section's id."""
        notes = self._notes
        size = qevm.Footer.sizeof()
        if notes.footers is not False and not ram_ids(notes):
            found = bytes(self._data[at : at + size])
            if len(found) == size and found[0] == SectionType.FOOTER:
                number = int(qevm.Footer.parse(found).section_id)
                owner = notes.owners[number] = replace(owner, section_id=number)
        return self._container.footer(owner, at)


def _not_a_stream(start: int) -> Iterator[Columns]:
    """A run without records, of a capture that begins with damage at offset ``start``."""
    raise Stop("not-a-stream", start, "the capture does not begin as a migration stream")
    yield  # pragma: no cover
