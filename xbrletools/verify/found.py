"""What the rules find in a capture: marks and findings without a record, and the findings that are made of both."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..model import Stream
from .marks import Ints, Mark, findings
from .rules import Finding, Severity

AT_ONCE = 1 << 12  # rows whose findings are made at once
ALIKE = 1 << 17  # rows of a mark that are told apart at once
KINDS_MAX = 1 << 10  # kinds of records of a mark that are told apart

LOOSE = -1  # the mark of findings that have none

#: Which of a mark's rows are meant, (n,) bool: of the mark with this index, the rows at these n places.
Pick = Callable[[int, slice], NDArray[np.bool_]]


def every(_: int, part: slice) -> NDArray[np.bool_]:
    """Take all of a mark."""
    return np.ones(part.stop - part.start, bool)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """All that `checker.verify` tells of a capture, before findings are made of it.

    ``marks`` are in the order of their rules, ``loose`` are the findings that no mark has, by offset. Those without an
    offset come last. Iterating gives every finding, in the order of their offsets.
    """

    stream: Stream
    marks: tuple[Mark, ...]
    loose: tuple[Finding, ...]

    def with_loose(self, more: Iterable[Finding]) -> "Found":
        """The same, with more findings that no mark has."""
        end = self.stream.facts.end
        loose = sorted((*self.loose, *more), key=lambda f: f.offset if f.offset is not None else end)
        return replace(self, loose=tuple(loose))

    def __len__(self) -> int:
        return len(self.loose) + sum(len(mark.rows) for mark in self.marks)

    def __iter__(self) -> Iterator[Finding]:
        """Every finding, by offset."""
        return (finding for finding, _, _ in self.placed(every, range(len(self.loose))))

    def placed(self, pick: Pick, loose: Iterable[int]) -> Iterator[tuple[Finding, int, int]]:
        """Some findings by offset, each with the index of its mark and its place there.

        They are those of marks that ``pick`` takes, and those in `loose` with these rising indices. For these the mark
        is `LOOSE` and the place is the index.
        """
        pending = iter(loose)
        following = next(pending, None)
        for finding, mark, place in self._of_marks(pick):
            while following is not None:
                offset = self.loose[following].offset
                if offset is None or offset > (finding.offset or 0):
                    break
                yield self.loose[following], LOOSE, following
                following = next(pending, None)
            yield finding, mark, place
        while following is not None:
            yield self.loose[following], LOOSE, following
            following = next(pending, None)

    def _of_marks(self, pick: Pick) -> Iterator[tuple[Finding, int, int]]:
        """The findings of marks in the order of their rows, those of a stretch of the table at a time."""
        marks, table = self.marks, self.stream.records
        for start in range(0, len(table) if marks else 0, AT_ONCE):
            made, rows = list[tuple[Finding, int, int]](), list[Ints]()
            for i, mark in enumerate(marks):
                part = slice(*np.searchsorted(mark.rows, (start, start + AT_ONCE)).tolist())
                if part.start < part.stop:
                    places: Ints = np.flatnonzero(pick(i, part)) + part.start
                    made += [(f, i, p) for f, p in zip(findings(mark, places, table), places.tolist(), strict=True)]
                    rows.append(mark.rows[places])
            for i in np.argsort(np.concatenate(rows), kind="stable").tolist() if rows else ():
                yield made[i]

    def counts(self) -> Counter[tuple[str, Severity]]:
        """How many findings there are of each rule and severity."""
        counted = Counter((f.rule, f.severity) for f in self.loose)
        for mark in self.marks:
            errors = len(mark.rows) if mark.errors is None else int(np.count_nonzero(mark.errors))
            if mark.errors is None:
                counted[mark.rule.id, mark.rule.severity] += errors
            else:
                counted[mark.rule.id, Severity.ERROR] += errors
                counted[mark.rule.id, Severity.WARNING] += len(mark.rows) - errors
        return +counted

    @property
    def has_errors(self) -> bool:
        """Whether a finding is an error."""
        return any(severity is Severity.ERROR for _, severity in self.counts())

    def first_of_each(self) -> list[Finding]:
        """Findings that stand for all, in the order of their offsets: those without a record, and of each mark the
        first about a record of each kind, flags and header flags.

        What stops a receiver is told by these alone, so the first place where it stops is among them.
        """
        columns, made = self.stream.records.columns, list[Finding]()
        for mark in self.marks:
            first: dict[int, int] = {}
            for start in range(0, len(mark.rows), ALIKE):
                rows = mark.rows[start : start + ALIKE]
                likeness = columns.kind[rows].astype(np.int64) << 24
                likeness |= columns.flags[rows].astype(np.int64) << 8
                likeness |= columns.header_flags[rows]
                _, places = np.unique(likeness, return_index=True)
                for place in np.sort(places).tolist() if len(first) < KINDS_MAX else ():
                    first.setdefault(int(likeness[place]), place + start)
            chosen: Ints = np.array(sorted(first.values()), np.int64)
            made += findings(mark, chosen, self.stream.records)
        made += self.loose
        return sorted(made, key=lambda f: self.stream.facts.end if f.offset is None else f.offset)
