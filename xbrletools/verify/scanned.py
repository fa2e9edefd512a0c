"""What the problems that a scan met amount to, and the cause that a rule names by itself."""

from ..model import Facts, Problem
from . import rules
from .cause import CauseName
from .rules import RULES, Rule, Severity

#: Causes that leave out a part of the migration, and change nothing of the rest.
MISSING = (
    CauseName.TRUNCATED,
    CauseName.HEAD_MISSING,
    CauseName.CHANNEL_MISSING,
    CauseName.FOREIGN_CHANNEL,
    CauseName.FORCED_READING,
)

#: The cause that a rule names by itself.
NAMES: dict[Rule, CauseName] = {
    rules.STALE_BASE: CauseName.STALE_BASE,
    rules.CHECKSUM_COLLISION: CauseName.STALE_BASE,
    rules.TRUNCATED: CauseName.TRUNCATED,
    rules.UNFINISHED_BITMAP: CauseName.TRUNCATED,
    rules.DEVICE_MISSING: CauseName.BYTES_MISSING,
    rules.DEVICE_NAME: CauseName.SECTION_FRAMING,
    rules.MAPPED_LAYOUT: CauseName.SECTION_FRAMING,
    rules.MISSING_PACKETS: CauseName.BYTES_MISSING,
    rules.DUMP_CUT: CauseName.TRUNCATED,
    rules.CHANNEL_MISSING: CauseName.CHANNEL_MISSING,
    rules.MULTIFD_CHANNEL: CauseName.CHANNEL_DAMAGED,
    rules.FOREIGN_CHANNEL: CauseName.FOREIGN_CHANNEL,
    rules.BASE_WRONG: CauseName.BASE_WRONG,
}


def first_error(facts: Facts) -> tuple[Problem, bool] | None:
    """The first problem that counts, and whether the capture only lacks parts. None where no problem is an error.

    Where bytes were changed or lost on the way, a problem that shows that comes first.
    """
    errors = [p for p in facts.problems if RULES[p.rule].severity is Severity.ERROR]
    if not errors:
        return None
    named = [_named(facts, problem) for problem in errors]
    missing = (*MISSING, *(() if facts.complete else (CauseName.CHANNEL_DAMAGED,)))
    damage = next((p for p, n in zip(errors, named, strict=True) if n not in missing), None)
    return (errors[0], True) if damage is None else (damage, False)


def _named(facts: Facts, problem: Problem) -> CauseName:
    """The cause that a problem's rule names."""
    rule = RULES[problem.rule]
    if rule is rules.SKIPPED and problem.offset == facts.start and not facts.has_start:
        return CauseName.HEAD_MISSING
    return NAMES.get(rule, CauseName.UNKNOWN)
