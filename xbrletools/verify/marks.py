"""Marks: a rule, the rows that broke it, and columns of evidence; Findings are built from them only when given out."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import ram
from ..stream.records import RecordTable
from .rules import RULES, Finding, Severity

Ints = NDArray[np.int64]

IS_DELTA = np.zeros(256, bool)
IS_DELTA[list(ram.DELTA_KINDS)] = True
CARRIES = np.zeros(256, bool)
CARRIES[list(ram.PAGE_KINDS)] = True


@dataclass(frozen=True, slots=True)
class Mark:
    """A rule that some records broke. ``evidence`` has a column beside ``rows`` for each of its names; in columns of
    record numbers (names that end in ``record``) 0 stands for none. ``errors``, where given, says row by row whether it
    is an error or a warning.
    """

    rule: str
    rows: Ints
    message: str = ""
    evidence: dict[str, NDArray[Any]] = field(default_factory=dict)
    errors: NDArray[np.bool_] | None = None


def finding(mark: Mark, place: int, table: RecordTable) -> Finding:
    """The finding of one row of a mark."""
    row = int(mark.rows[place])
    columns = table.columns
    rule = RULES[mark.rule]
    block = int(columns.block[row])
    paged = bool(CARRIES[columns.kind[row]])
    evidence = {}
    for name, column in mark.evidence.items():
        value = column[place].item()
        evidence[name] = None if name.endswith("record") and not value else value
    severity = rule.severity
    if mark.errors is not None:
        severity = Severity.ERROR if mark.errors[place] else Severity.WARNING
    return Finding(
        rule=mark.rule,
        severity=severity,
        message=(mark.message or rule.meaning).format(**{k: "none" if v is None else v for k, v in evidence.items()}),
        offset=int(columns.offset[row]),
        record=int(table.number[row]) or None,
        section=int(table.section[row]),
        block=table.names[block] if paged and block < len(table.names) else None,
        page=int(columns.address[row]) if paged else None,
        evidence=evidence,
    )
