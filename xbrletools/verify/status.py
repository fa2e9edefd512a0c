"""The word for a capture, and what a scan alone shows of it. Nothing is imported for it that a scan does not need."""

from enum import StrEnum

from ..model import Facts, Problem
from . import rules
from .cause import CauseName
from .rules import RULES, Rule, Severity


class Status(StrEnum):
    """What is to be said of a capture in a word, from the best to the worst."""

    NO_FAULT = "no-fault"  # nothing shows a fault
    HEALED = "healed"  # pages were wrong, and later records gave them anew
    INCOMPLETE = "incomplete"  # channels, the tail or pages are missing
    DAMAGED = "damaged"  # bytes were changed or lost on the way
    CORRUPT = "corrupt"  # pages are wrong at the end
    UNREADABLE = "unreadable"  # nothing of it reads as a stream

    @property
    def words(self) -> str:
        """The word as a person reads it."""
        return self.value.replace("-", " ").upper()

    @property
    def mark(self) -> str:
        """A mark for it. It always stands with the word."""
        return {Status.NO_FAULT: "✓", Status.HEALED: "●", Status.INCOMPLETE: "?"}.get(self, "✗")


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


def of_scan(facts: Facts) -> tuple[Status | None, str]:
    """What a scan alone shows: the status, and why. None where it met nothing wrong, which says nothing of memory."""
    errors = [p for p in facts.problems if RULES[p.rule].severity is Severity.ERROR]
    if not errors:
        return None, "the scan met nothing wrong; to check memory, use: xbrle verify S"
    named = [_named(facts, problem) for problem in errors]
    missing = (*MISSING, *(() if facts.complete else (CauseName.CHANNEL_DAMAGED,)))
    status = Status.DAMAGED if set(named) - set(missing) else Status.INCOMPLETE
    shown = [p for p, n in zip(errors, named, strict=True) if status is Status.INCOMPLETE or n not in missing]
    return status, f"{shown[0].message} ({shown[0].rule} at {shown[0].offset:#x})"


def _named(facts: Facts, problem: Problem) -> CauseName:
    """The cause that a problem's rule names."""
    rule = RULES[problem.rule]
    if rule is rules.SKIPPED and problem.offset == facts.start and not facts.has_start:
        return CauseName.HEAD_MISSING
    return NAMES.get(rule, CauseName.UNKNOWN)
