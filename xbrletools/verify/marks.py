"""Marks: a rule, the rows that broke it, and columns of evidence. Findings are made of them only when given out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..table.kinds import IS_PAGE
from ..table.table import RecordTable
from .rules import BASE_WRONG, Finding, Rule, Severity

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mark:
    """A rule, and the ``rows`` (n,), rising, of records that broke it.

    ``evidence`` has a column beside them for each of its names. In columns of record numbers (names that end in
    ``record``) 0 stands for none. ``errors``, where given, says row by row whether it is an error or a warning.
    ``more``, where given, is asked for further evidence of a row when a finding is made of it.
    """

    rule: Rule
    rows: Ints
    message: str = ""
    evidence: dict[str, NDArray[Any]] = field(default_factory=dict)
    errors: NDArray[np.bool_] | None = None
    more: Callable[[int], dict[str, Any]] | None = None


def _words(rule: Rule, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence as messages word it. ``healed`` says which record healed the page, if one did."""
    words = {name: "none" if value is None else value for name, value in evidence.items()}
    healing = evidence.get("healed_by_record")
    is_sure = rule is not BASE_WRONG or "blank" in evidence  # what another base left out may be alike in both
    never = f"never healed: the page {'is' if is_sure else 'may be'} wrong at the end"
    return words | {"healed": never if healing is None else f"healed by record {healing}"}


def findings(mark: Mark, places: Ints, table: RecordTable) -> list[Finding]:
    """The findings of the rows at ``places`` (n,) among those of a mark."""
    rows = mark.rows[places]
    columns, rule = table.columns.take(rows), mark.rule
    sections = table.sections.of(columns.offset) if table.main_size is None else table.section[rows]
    message = mark.message or rule.sentence
    records = table.numbers.of(rows).tolist()
    evidence: list[dict[str, Any]] = [{} for _ in range(len(rows))]
    for name, column in mark.evidence.items():
        for one, value in zip(evidence, column[places].tolist(), strict=True):
            one[name] = None if name.endswith("record") and not value else value
    if mark.more is not None:
        for one, row in zip(evidence, rows.tolist(), strict=True):
            one |= mark.more(row)
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
                message=message.format(**_words(rule, shows)),
                offset=int(columns.offset[i]),
                record=records[i] or None,
                section=int(sections[i]),
                block=table.names[block] if paged and block < len(table.names) else None,
                page=int(columns.address[i]) if paged else None,
                evidence=shows,
            )
        )
    return out
