"""The findings of a capture in the order they come, and the rows of the record table that they are about.

They are gathered in a thread before a screen has them: 100,000 take longer than a key may wait.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..table.record import Record
from ..verify.rules import CHECKSUM_MISMATCH, PAGE_RULES, Finding, Severity
from .words import SEVERITY_RANK

#: Rows with a warning and rows with an error.
Marked = tuple[NDArray[np.int64], NDArray[np.int64]]
_ABOUT_PAGES = {rule.id for rule in PAGE_RULES}
LISTED_MAX = 100_000  # findings that are listed. More are only counted


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(slots=True, eq=False)
class RowFindings:
    """The findings of one reading, which are equal to themselves alone.

    ``listed`` are the findings, ``counts`` how many there are of each severity, listed or not.

    ``causes`` has for each that is listed the index of its cause, -1 for none. ``rules`` counts those by their rules.
    """

    listed: list[Finding] = field(default_factory=list)
    causes: list[int] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    counts: dict[Severity, int] = field(default_factory=lambda: dict.fromkeys(Severity, 0))
    _severity: dict[int, Severity] = field(default_factory=dict)  # the worst severity of each row with a finding
    _weighty: dict[int, Finding] = field(default_factory=dict)  # the finding that says most of each of those rows
    _wrong_sums: set[int] = field(default_factory=set)
    _suspect: set[int] = field(default_factory=set)
    _doubtful: dict[tuple[bytes | None, int], int] = field(default_factory=dict)  # page -> the row of its first error
    _rows: NDArray[np.int64] = field(default_factory=_none)  # rows with a finding, rising
    _marked: Marked = field(default_factory=lambda: (_none(), _none()))
    _suspects: NDArray[np.int64] = field(default_factory=_none)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def add(self, finding: Finding, cause: int) -> None:
        """Take one more, in the order of offsets. Of too many, the last are only counted."""
        self.counts[finding.severity] += 1
        if len(self.listed) < LISTED_MAX:
            self.listed.append(finding)
            self.causes.append(cause)
            self.rules[finding.rule] += 1

    def place(self, rows: NDArray[np.int64]) -> None:
        """Say which row each of those that are listed is about: (k,) int64, -1 for one about the whole capture."""
        for finding, row in zip(self.listed, rows.tolist(), strict=True):
            if row >= 0:
                self._place(finding, row)
        self._rows = np.array(sorted(self._severity), np.int64)
        levels = [self._severity[row] for row in self._rows.tolist()]
        warning, error = (np.array([x is s for x in levels], bool) for s in (Severity.WARNING, Severity.ERROR))
        self._marked = self._rows[warning], self._rows[error]
        self._suspects = np.array(sorted(self._suspect), np.int64)

    def _place(self, finding: Finding, row: int) -> None:
        if row not in self._severity:
            self._severity[row], self._weighty[row] = finding.severity, finding
        else:
            self._severity[row] = min(self._severity[row], finding.severity, key=lambda s: SEVERITY_RANK[s])
            if self._weighs_more(finding, self._weighty[row]):
                self._weighty[row] = finding
        if finding.rule in _ABOUT_PAGES and finding.severity is not Severity.NOTE:
            self._suspect.add(row)
        if finding.rule == CHECKSUM_MISMATCH.id:
            self._wrong_sums.add(row)
        elif finding.severity is Severity.ERROR and finding.page is not None:
            self._doubtful.setdefault((finding.block, finding.page), row)

    @staticmethod
    def _weighs_more(finding: Finding, other: Finding) -> bool:
        """Whether a finding about a row weighs more than another. Of two alike the worse does.

        A sum that fails is a symptom of whatever is not a note.
        """
        ranks = [
            (f.severity is Severity.NOTE, f.rule == CHECKSUM_MISMATCH.id, SEVERITY_RANK[f.severity])
            for f in (finding, other)
        ]
        return ranks[0] < ranks[1]

    def worst(self, row: int) -> Finding | None:
        """The finding that weighs most about a row: the cause before its symptom, then the worse, then the earlier."""
        return self._weighty.get(row)

    def severity(self, row: int) -> Severity | None:
        """The severity of the worst finding about a row."""
        return self._severity.get(row)

    def sum_is_wrong(self, row: int) -> bool:
        """Whether a finding says that the sum which this row states is wrong."""
        return row in self._wrong_sums

    def sum_was_checked(self, row: int, record: Record) -> bool:
        """Whether verification surely compared this row's sum. An earlier error on the page may have prevented it."""
        if self.total > len(self.listed):
            return False
        since = self._doubtful.get((record.name, record.address))
        return since is None or row < since

    def marked_rows(self) -> Marked:
        """The rows whose worst finding is a warning, and those where it is an error, rising, (k,) int64 each."""
        return self._marked

    def suspect_rows(self) -> NDArray[np.int64]:
        """The rows after which the receiver's page is not the sender's, or may not be, rising, (k,) int64."""
        return self._suspects

    def next_row(self, row: int, step: int) -> int | None:
        """The nearest row with a finding, after (``step`` 1) or before (-1) ``row``."""
        place = np.searchsorted(self._rows, row, "right") if step > 0 else np.searchsorted(self._rows, row) - 1
        return int(self._rows[place]) if 0 <= place < len(self._rows) else None
