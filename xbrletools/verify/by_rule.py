"""Which cause explains which finding, as far as the rules alone tell. What they cannot name is `CauseName.UNKNOWN`.

Each finding has a share: the index of the cause that explains it, or `NOBODY`. Shares are columns beside the marks, so
that millions of findings cost two bytes each.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..formats import qevm
from . import rules
from .cause import Cause, CauseName
from .found import LOOSE, Found, every
from .ledger import pieces, room
from .marks import Ints, Mark
from .refused import SIGNS
from .rules import RULES, Finding, Rule, Severity
from .scanned import NAMES

NOBODY = -1  # the share of findings that need no cause
Share = NDArray[np.int16]

#: Those among `rules.PAGE_RULES` after which it cannot be told what the page is, or only that it may be wrong.
OPEN_RULES = (
    rules.BASE_WRONG,
    rules.DELTA_SIZE,
    rules.DELTA_WITHOUT_BASE,
    rules.REPLAYED_SPAN,
    rules.DROPPED_SPAN,
)

#: Causes that make what is found about pages a mere consequence, the strongest first.
_LOSES_PAGES = (
    CauseName.FORCED_READING,
    CauseName.FOREIGN_CHANNEL,
    CauseName.CHANNEL_MISSING,
    CauseName.CHANNEL_DAMAGED,
    CauseName.HEAD_MISSING,
)


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Which cause explains each finding of ``found``.

    ``names`` are the causes, by their index. ``marks`` has the share of each row of each mark, (rows,) int16, and
    ``loose`` that of each finding without a record, (n,) int16. ``causes`` has what hypotheses say of each, None where
    its rules name it.
    """

    found: Found
    names: tuple[CauseName, ...]
    marks: tuple[Share, ...]
    loose: Share
    causes: tuple[Cause | None, ...]

    def parts(self, number: int, index: int) -> Iterator[Ints]:
        """The places in mark ``number`` of the findings that a cause explains, rising, some at a time, never none."""
        share = self.marks[number]
        for part in pieces(len(share)):
            places = np.flatnonzero(share[part] == index)
            if len(places):
                yield places + part.start

    def numbers(self, index: int, *among: Rule) -> list[int]:
        """The marks that have findings of a cause, by default of any rule."""
        rules_of = ((i, mark.rule) for i, mark in enumerate(self.found.marks))
        return [
            i for i, rule in rules_of if (not among or rule in among) and next(self.parts(i, index), None) is not None
        ]

    def explains(self, index: int) -> Counter[str]:
        """How many findings a cause explains, by rule."""
        counts = Counter(self.found.loose[i].rule for i in np.flatnonzero(self.loose == index).tolist())
        for i, mark in enumerate(self.found.marks):
            counts[mark.rule.id] += sum(len(places) for places in self.parts(i, index))
        return +counts

    def __iter__(self) -> Iterator[tuple[Finding, int]]:
        """Every finding by offset, each with the index of its cause, or `NOBODY`."""
        found = self.found
        for finding, mark, place in found.placed(every, range(len(found.loose))):
            yield finding, int(self.loose[place] if mark == LOOSE else self.marks[mark][place])

    def of(self, index: int) -> Iterator[Finding]:
        """The findings that a cause explains: those that last to the end first, each by offset."""
        errors = [mark.errors for mark in self.found.marks]

        def lasting(i: int, part: slice) -> NDArray[np.bool_]:
            lasts = errors[i]
            return np.zeros(part.stop - part.start, bool) if lasts is None else lasts[part] & self._is(index, i, part)

        def others(i: int, part: slice) -> NDArray[np.bool_]:
            lasts = errors[i]
            return self._is(index, i, part) if lasts is None else ~lasts[part] & self._is(index, i, part)

        yield from (finding for finding, _, _ in self.found.placed(lasting, ()))
        loose = np.flatnonzero(self.loose == index).tolist()
        yield from (finding for finding, _, _ in self.found.placed(others, loose))

    def _is(self, index: int, i: int, part: slice) -> NDArray[np.bool_]:
        is_its: NDArray[np.bool_] = self.marks[i][part] == index
        return is_its

    def in_order(self, order: Sequence[int]) -> "Shared":
        """The same, with the causes in another order: ``order`` has their indices as they are now.

        Causes that are left out explain nothing.
        """
        new = np.full(len(self.names) + 1, NOBODY, np.int16)  # the last is for `NOBODY`
        new[list(order)] = np.arange(len(order))
        marks = []
        for share in self.marks:
            changed = room(len(share), np.int16)
            for part in pieces(len(share)):
                changed[part] = new[share[part]]
            marks.append(changed)
        names, causes = tuple(self.names[i] for i in order), tuple(self.causes[i] for i in order)
        return Shared(self.found, names, tuple(marks), new[self.loose], causes)


class _Names:
    """The causes that are needed, in the order in which they came.

    What is `UNKNOWN` of pages is one cause, and what is of all else another.
    """

    def __init__(self) -> None:
        self.keys: list[tuple[CauseName, bool]] = []

    def index(self, name: CauseName, of_page: bool = False) -> int:
        """The share of a cause's findings."""
        key = (name, of_page and name is CauseName.UNKNOWN)
        if key not in self.keys:
            self.keys.append(key)
        return self.keys.index(key)


def shared(found: Found) -> Shared:
    """Give each finding to the cause that its rule names, or that makes it a consequence, else to `UNKNOWN`.

    Notes, and warnings about what does no harm, need no cause.
    """
    names = _Names()
    is_forced = any(f.rule == rules.FORCED_READING.id for f in found.loose) and bool(_errors(found))
    loose = np.full(len(found.loose), NOBODY, np.int16)
    for i, finding in enumerate(found.loose):
        name = _name_of(found, finding, is_forced)
        if name is not None:
            loose[i] = names.index(name)
    stronger = next((name for name in _LOSES_PAGES if (name, False) in names.keys), None)
    if stronger is not None:
        never_sent = [i for i, f in enumerate(found.loose) if f.rule == rules.PAGE_NEVER_SENT.id]
        loose[never_sent] = names.index(stronger)
    stale = [m.rows for m in found.marks if m.rule is rules.STALE_BASE]
    marks = tuple(_share(mark, names, stronger, stale) for mark in found.marks)
    _give_signs(found, loose, marks)
    return Shared(found, tuple(name for name, _ in names.keys), marks, loose, (None,) * len(names.keys))


def _give_signs(found: Found, loose: Share, marks: Sequence[Share]) -> None:
    """Give what was noted of the very place that every receiver refuses to the cause of the refusal."""
    for i, finding in enumerate(found.loose):
        if finding.rule != rules.REFUSED_BY_ALL.id:
            continue
        for number, place in _signs(found, finding):
            marks[number][place] = loose[i]
        section = found.stream.sections.at(finding.offset or 0)
        for j, other in enumerate(found.loose):
            same = other.offset is not None and found.stream.sections.at(other.offset) == section
            if same and loose[j] == NOBODY and other.severity is Severity.WARNING:
                loose[j] = loose[i]


def _signs(found: Found, refusal: Finding) -> Iterator[tuple[int, int]]:
    """The findings of `SIGNS` about the record that every receiver refuses: their marks, and their places there."""
    row = -1 if refusal.record is None else found.stream.records.row(refusal.record)
    for number, mark in enumerate(found.marks):
        place = int(np.searchsorted(mark.rows, row))
        if mark.rule in SIGNS and place < len(mark.rows) and mark.rows[place] == row:
            yield number, place


def _errors(found: Found) -> int:
    return sum(count for (_, severity), count in found.counts().items() if severity is Severity.ERROR)


def _share(mark: Mark, names: _Names, stronger: CauseName | None, stale: list[Ints]) -> Share:
    """The shares of a mark's findings. ``stronger`` makes them consequences. ``stale`` are the rows of stale bases."""
    share: Share = room(len(mark.rows), np.int16)
    name = NAMES.get(mark.rule, CauseName.UNKNOWN)
    if mark.rule.severity is not Severity.ERROR and mark.errors is None:
        share[:] = NOBODY
    elif stronger is CauseName.FORCED_READING or (stronger is not None and name is CauseName.UNKNOWN):
        share[:] = names.index(stronger)
    elif mark.rule is rules.CHECKSUM_MISMATCH and stale:
        for part in pieces(len(mark.rows)):
            folded = _are_among(mark.rows[part], stale)
            share[part][folded] = names.index(CauseName.STALE_BASE) if folded.any() else NOBODY
            share[part][~folded] = NOBODY if folded.all() else names.index(CauseName.UNKNOWN, of_page=True)
    else:
        share[:] = names.index(name, of_page=mark.rule in rules.PAGE_RULES)
    return share


def _name_of(found: Found, finding: Finding, is_forced: bool) -> CauseName | None:
    """The cause that explains a finding without a record, None where it needs none."""
    rule, facts = RULES[finding.rule], found.stream.facts
    if is_forced and (finding.severity is Severity.ERROR or rule is rules.FORCED_READING):
        return CauseName.FORCED_READING
    if rule is rules.SKIPPED and finding.offset == facts.start and not facts.has_start:
        return CauseName.HEAD_MISSING
    if finding.severity is not Severity.ERROR or rule is rules.DESTINATION_BLOCKS:
        return None
    if rule is rules.REFUSED_BY_ALL:
        signs = (SIGNS[found.marks[number].rule] for number, _ in _signs(found, finding))
        return next(signs, CauseName.UNKNOWN)
    if rule is rules.UNKNOWN_OWNER and any(p.rule == rule.id and p.offset == finding.offset for p in facts.problems):
        return CauseName.SECTION_FRAMING  # the scan read it as RAM, by its data
    if rule is rules.BAD_FOOTER and _is_of_another(found, finding):
        return CauseName.SECTION_FRAMING
    return NAMES.get(rule, CauseName.UNKNOWN)


def _is_of_another(found: Found, finding: Finding) -> bool:
    """Whether a footer with another id stands where a section's own footer should."""
    at = finding.offset or 0
    try:
        qevm.Footer.parse(found.stream.data[at : at + qevm.Footer.sizeof()].tobytes())
    except ConstructError:
        return False
    return True


def _are_among(rows: Ints, others: list[Ints]) -> NDArray[np.bool_]:
    """Which of these rising rows are in one of the others, which rise as well, (n,) bool."""
    among = np.zeros(len(rows), bool)
    for other in others if len(rows) else ():
        near = other[slice(*np.searchsorted(other, (rows[0], rows[-1] + 1)))]
        among |= np.isin(rows, near, assume_unique=True)
    return among
