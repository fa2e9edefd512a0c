"""A filter on findings: which of them are about what it chooses."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..table.table import RecordTable
from ..table.windows import slices
from ..text import called
from .conditions import AnyOf, Filter, Located, Not, Term
from .words import ALL_FINDINGS


class About(Located, Protocol):
    """What a filter needs to know of a finding to choose it."""

    @property
    def block(self) -> bytes | None:
        """The name of the RAM block that it is about."""


Test = Callable[[About], bool]


def about(chosen: Filter, table: RecordTable) -> Test:
    """A function that says whether a finding is about what a filter chooses.

    The term ``finding:`` looks at its rule. All other terms look at its record. Where it does not have one, they look
    at the section that it lies in, and ``block:`` at the block that it names.
    """
    if isinstance(chosen, Term):
        return _term(chosen, table)
    if isinstance(chosen, Not):
        part = about(chosen.part, table)
        return lambda finding: not part(finding)
    tests = [about(part, table) for part in getattr(chosen, "parts", ())]
    if isinstance(chosen, AnyOf):
        return lambda finding: any(test(finding) for test in tests)
    return lambda finding: all(test(finding) for test in tests)


def _term(term: Term, table: RecordTable) -> Test:
    """The test of one term."""
    if term.field == "finding":
        return lambda finding: (ALL_FINDINGS in term.rules or finding.rule in term.rules) != term.negated
    masks: list[NDArray[np.bool_]] = []  # made when the first finding with a record comes

    def test(finding: About) -> bool:
        if finding.record is not None:
            if not masks:
                masks.append(np.concatenate([np.empty(0, bool), *(term.mask(w) for w in slices(table))]))
            return bool(masks[0][table.row(finding.record)])
        if term.field == "block":
            block = finding.block
            return block is not None and any(called([block], n) for n in term.block_names) != term.negated
        if finding.offset is None or not len(table.sections):
            return False
        section = table.sections.of(np.array([finding.offset], np.uint64))
        return bool(term.sections(table.sections, section)[0])

    return test
