"""Marks: a rule, the rows that broke it, and columns of evidence; Findings are built from them only when given out."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..table.columns import PIECE
from ..table.kinds import IS_PAGE
from ..table.table import RecordTable
from .rules import Finding, Rule, Severity

Ints = NDArray[np.int64]


_WORD = 64  # rows of a word of bits


@dataclass(frozen=True, slots=True)
class Mark:
    """A rule that some records broke: ``rows`` (n,), rising.

    ``evidence`` has a column beside them for each of its names; in columns of record numbers (names that end in
    ``record``) 0 stands for none. ``errors``, where given, says row by row whether it is an error or a warning.
    """

    rule: Rule
    rows: Ints
    message: str = ""
    evidence: dict[str, NDArray[Any]] = field(default_factory=dict)
    errors: NDArray[np.bool_] | None = None


class Numbers:
    """The record number of any row, and the row of any number, from a bit a row and a count every 64 rows."""

    def __init__(self, kind: NDArray[np.uint8]) -> None:
        words = -(-len(kind) // _WORD)
        bits = np.zeros(words * 8, np.uint8)
        for start in range(0, len(kind), PIECE):  # PIECE rows are whole words
            packed = np.packbits(IS_PAGE[kind[start : start + PIECE]], bitorder="little")
            bits[start // 8 : start // 8 + len(packed)] = packed
        self._bits = bits.view("<u8")
        self._before = np.zeros(words + 1, np.uint32)
        np.cumsum(np.bitwise_count(self._bits), out=self._before[1:])

    def of(self, rows: Ints) -> Ints:
        """The number of each row, (n,) int64; 0 for rows that carry no page."""
        word, place = rows // _WORD, (rows % _WORD).astype(np.uint64)
        bits = self._bits[word]
        upto = bits & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(_WORD - 1) - place))
        carries = ((bits >> place) & np.uint64(1)).astype(np.int64)
        numbers: Ints = (self._before[word].astype(np.int64) + np.bitwise_count(upto)) * carries
        return numbers

    @property
    def last(self) -> int:
        """The number of the last record; 0 where none carries a page."""
        return int(self._before[-1])

    def rows(self, numbers: Ints) -> Ints:
        """The row of each record, (n,) int64, by its number from 1 to `last`."""
        word = np.searchsorted(self._before, numbers.astype(np.uint32)) - 1
        bits = np.unpackbits(self._bits[word].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        upto = np.cumsum(bits, axis=1, dtype=np.uint8)
        upto -= (numbers - self._before[word]).astype(np.uint8)[:, None]
        rows: Ints = word * _WORD + np.argmin(upto != 0, axis=1)
        return rows


def findings(mark: Mark, places: Ints, table: RecordTable, numbers: Numbers) -> list[Finding]:
    """The findings of some rows of a mark, ``places`` (n,) among them."""
    rows = mark.rows[places]
    columns, rule = table.columns.take(rows), mark.rule
    sections = table.sections.of(columns.offset) if table.main_size is None else table.section[rows]
    message = mark.message or rule.sentence
    records = numbers.of(rows).tolist()
    evidence: list[dict[str, Any]] = [{} for _ in range(len(rows))]
    for name, column in mark.evidence.items():
        for one, value in zip(evidence, column[places].tolist(), strict=True):
            one[name] = None if name.endswith("record") and not value else value
    severities = [rule.severity] * len(rows)
    if mark.errors is not None:
        severities = [Severity.ERROR if e else Severity.WARNING for e in mark.errors[places].tolist()]
    out = []
    for i, (severity, shows) in enumerate(zip(severities, evidence, strict=True)):
        block = int(columns.block[i])
        paged = bool(IS_PAGE[columns.kind[i]])
        out.append(
            Finding(
                rule=rule.id,
                severity=severity,
                message=message.format(**{k: "none" if v is None else v for k, v in shows.items()}),
                offset=int(columns.offset[i]),
                record=records[i] or None,
                section=int(sections[i]),
                block=table.names[block] if paged and block < len(table.names) else None,
                page=int(columns.address[i]) if paged else None,
                evidence=shows,
            )
        )
    return out
