"""Another stream that begins where this one is cut off, as where two were written into one file."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..container import boundary
from ..container.identify import FIRST_MAX, beginnings
from ..errors import XbrleError
from ..formats import qevm, ram
from ..formats.qevm import SectionType
from ..formats.ram import Kind
from ..model import Problem
from ..source.sources import PIPE_BEFORE, MappedSource, PipeSource, Source
from ..table.kinds import IS_PAGE
from .notes import Notes, Scan

BEFORE = 1 << 18  # bytes before a place that cannot be read in which another stream is searched for
AFTER = 1 << 24  # and behind it
_TRIED = 1 << 20  # bytes of such a stream that are read to believe it
_HEADER = qevm.FileHeader.sizeof()
_ASTRIDE = _HEADER - 1  # bytes of a file header that can stand before a place in it
_TRIES = 8  # places that are tried
_RECORDS = 16  # pages that a stream which goes on must have


class Another:
    """The search of one scan. ``cut`` is where it found another stream. ``scan`` reads one strictly, and alone."""

    cut: int | None = None

    def __init__(self, source: Source, scan: Callable[[MappedSource], Scan]) -> None:
        self._scan = scan
        plain = type(source) is MappedSource and source.rebuilt is None
        self._source = source if plain or isinstance(source, PipeSource) else None
        self._after = AFTER if plain else PIPE_BEFORE
        self._looked = 0
        self._tries = _TRIES

    def near(self, place: int, before: bool = False) -> int | None:
        """Where a stream of its own begins near ``place``, where this one cannot be read, or None where none does.

        It reads well up to behind ``place``. ``before``: only one that begins before that counts. No byte is searched
        twice.
        """
        first = max(place - BEFORE, self._looked)
        self._looked = max(self._looked, place if before else place + self._after)
        return self._within(first, self._looked, place)

    def hidden(self, notes: Notes, place: int) -> int | None:
        """As `near`, and in the section in which the scan stopped at ``place``, where that does not hold RAM."""
        last = notes.sections[-1] if len(notes.sections) else None
        if last is not None and (last.owner is None or last.owner.idstr != ram.IDSTR):
            self._within(last.offset, min(place, last.offset + AFTER), place - 1)
        return self.cut if self.cut is not None else self.near(place)

    def behind(self, records: int, notes: Notes) -> int | None:
        """Where a stream of its own begins in what stands behind the last record, at ``records``, and hides in it."""
        if not notes.complete or notes.mapped:
            return None
        return self._within(records, min(notes.end, records + AFTER), notes.end - 1)

    def _within(self, first: int, last: int, past: int) -> int | None:
        """Where a stream begins at ``first`` or later, before ``last``, and reads well up to behind ``past``."""
        source = self._source
        if source is None:
            return None
        view, base = source.held(max(first, source.start + _HEADER), last + _ASTRIDE + FIRST_MAX)
        for found in beginnings(view):
            at = base + found
            self._tries -= at < last
            if self.cut is not None or self._tries < 0 or at >= last:
                break
            if self._goes_on(source, at, past):
                self.cut = at
        return self.cut

    def _goes_on(self, source: Source, at: int, past: int) -> bool:
        """Whether a stream that is read from ``at`` on reads well, up to behind the byte at ``past``."""
        scan = self._scan(MappedSource(source.name, source.held(at, max(at, past) + _TRIED)[0]))
        pages = 0
        try:
            for columns in scan:
                if (columns.kind == Kind.NOOP).any():
                    return False
                pages += int(np.count_nonzero(IS_PAGE[columns.kind]))
        except XbrleError:
            return False
        facts = scan.facts
        well = facts.damage is None or facts.damage.rule == "truncated"
        return well and at + facts.end > past and (facts.complete or pages >= _RECORDS)

    def leaves_whole(self, notes: Notes) -> bool:
        """Whether the device section in which the other stream was found ends before it with the container's EOF."""
        assert self._source is not None and self.cut is not None
        last = next((s.data for s in reversed(notes.sections) if s.owner is not None), self.cut)
        return boundary.by_eof(self._source.held(last, self.cut)[0]) is not None

    def without(self) -> MappedSource:
        """The source up to the other stream."""
        assert isinstance(self._source, MappedSource) and self.cut is not None
        return self._source.until(self.cut)


def take_back(notes: Notes, at: int, whole: bool) -> None:
    """Of a pipe, which is not read anew: forget what was read of the other stream, which begins at ``at``, and say so.

    ``whole``: this one is.
    """
    notes.take_back(at, at - _ASTRIDE)
    last = notes.sections[-1].type if len(notes.sections) else None
    notes.complete = whole or last in (SectionType.EOF, SectionType.VMDESCRIPTION)
    if not whole:
        message = "the capture ends here, as was seen when some of what follows was read (of a file it is not)"
        notes.problems.append(Problem("truncated", at, message, fatal=True))
    say(notes, at)


def say(notes: Notes, at: int) -> None:
    """Say of a stream that was read up to ``at`` that another one begins there."""
    what = f"another stream begins at {at:#x}, which --offset reads"
    for i, problem in enumerate(notes.problems):
        if problem.rule == "truncated":
            notes.problems[i] = replace(problem, message=f"{problem.message}: {what}")
            return
    notes.complain("trailing-data", at, what)
