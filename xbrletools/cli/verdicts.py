"""How a verdict is printed: as a JSON object, and as lines for a person."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .writer import painted

if TYPE_CHECKING:
    from ..verify.cause import Cause
    from ..verify.receivers import Outcome
    from ..verify.verdict import Verdict

WIDTH = 80  # columns of a line, on a terminal and in a pipe
LABEL = 9  # columns of a line's label at least


def as_object(verdict: "Verdict") -> dict[str, Any]:
    """A verdict as the last object of ``verify --json``."""
    return {
        "type": "verdict",
        "status": verdict.status.value,
        "summary": verdict.summary,
        "first_bad_record": verdict.first_bad_record,
        "first_lasting_record": verdict.first_lasting_record,
        "pages_wrong": verdict.pages_wrong,
        "causes": [cause_object(cause) for cause in verdict.causes],
        "receivers": {name: load.as_object() for name, load in verdict.receivers.items()},
        "next": list(verdict.next),
        "without_cause": dict(verdict.others),
    }


def cause_object(cause: "Cause") -> dict[str, Any]:
    """A cause as JSON has it."""
    repair = cause.repair
    return {
        "cause": cause.name.value,
        "certainty": cause.sure.value,
        "candidates": [name.value for name in cause.candidates],
        "began": asdict(cause.began),
        "refuted": [{"cause": name.value, "why": why} for name, why in cause.refuted],
        "repair": None if repair is None else {**asdict(repair), "data": repair.data.hex()},
        "records": cause.records,
        "lasting": cause.lasting,
        "first_record": cause.first_record,
        "first_offset": cause.first_offset,
        "sentence": cause.sentence,
        "evidence": list(cause.evidence),
        "explains": dict(cause.explains),
    }


def lines(verdict: "Verdict") -> Iterator[str]:
    """The verdict for a person, at 80 columns: the conclusion, each cause, who loads it, and what to do next."""
    from ..verify.sentences import repaired

    head = verdict.status.value.replace("-", " ").upper()
    parts = [(head, verdict.summary)]
    for i, cause in enumerate(verdict.causes):
        parts.append(("Cause" if i == 0 else "and", _cause_text(cause, verdict.summary)))
        if cause.repair is not None:
            parts.append(("Repair", f"inferred: {repaired(cause.repair)}: {cause.repair.why}"))
    parts += [("Loads?" if i == 0 else "", text) for i, text in enumerate(_who_loads(verdict))]
    parts += [("Next" if i == 0 else "", command) for i, command in enumerate(verdict.next)]
    indent = max(LABEL, len(head) + 2)
    for label, text in parts:
        yield textwrap.fill(
            text,
            WIDTH - 1,
            initial_indent=f"{label:{indent}}",
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
            break_long_words=False,
        )


def painted_head(verdict: "Verdict", line: str) -> str:
    """The first of `lines` with its word in the colour of what it means."""
    from ..verify.status import Status

    head = verdict.status.value.replace("-", " ").upper()
    meaning = {Status.NO_FAULT: "good", Status.HEALED: "warning", Status.INCOMPLETE: "warning"}
    return painted(head, meaning.get(verdict.status, "error")) + line.removeprefix(head)


def cause_lines(cause: "Cause") -> Iterator[str]:
    """A cause with all that speaks for and against it: a line each."""
    from ..verify.sentences import how_sure, repaired

    yield f"Cause: {cause.sentence} {how_sure(cause)}"
    yield from (f"Shown by: {text}" for text in cause.evidence)
    yield from (f"Not {name.value}: {why}" for name, why in cause.refuted)
    if cause.repair is not None:
        yield f"Repair, inferred: {repaired(cause.repair)}: {cause.repair.why}"


def _cause_text(cause: "Cause", summary: str) -> str:
    """A cause on its line. What the conclusion above it says already is not said again."""
    from ..verify.sentences import how_sure, in_short, shown_by

    if summary.startswith(cause.sentence.removesuffix(".")):
        return in_short(cause)
    why = shown_by(cause)
    shown = f" {why[:1].upper()}{why[1:]}." if why else ""
    return cause.sentence + ("" if cause.candidates else f" {how_sure(cause)}") + shown


def _who_loads(verdict: "Verdict") -> Iterator[str]:
    """What each receiver does: those that the stream was made for first, with why they stop, then all others."""
    from ..verify.refused import family
    from ..verify.sentences import loads

    assert verdict.shared is not None or not verdict.receivers
    own = [r.name for r in family(verdict.shared.found.stream)] if verdict.shared is not None else []
    told = [(name, verdict.receivers[name]) for name in own if name in verdict.receivers]
    for does, group in groupby(told, key=lambda item: loads(item[1])):
        who = [*group]
        yield f"{', '.join(name for name, _ in who)}: {_many(does, who)}{_why(who[-1][1])}"
    others = [item for item in verdict.receivers.items() if item[0] not in own]
    said = [(does, [*group]) for does, group in groupby(others, key=lambda item: loads(item[1]))]
    if said:
        yield "  ".join(f"{', '.join(name for name, _ in who)}: {_many(does, who)}." for does, who in said)


def _many(does: str, who: "Sequence[tuple[str, Outcome]]") -> str:
    verb, space, rest = does.partition(" ")
    return f"{_PLURAL.get(verb, verb)}{space}{rest}" if len(who) > 1 else does


def _why(outcome: "Outcome") -> str:
    """Why a receiver does not load the stream, in its own words as far as they say it."""
    if outcome.loads or outcome.reason is None:
        return ""
    if outcome.needs:
        return f" without the capability {' and '.join(outcome.needs)}"
    return f": {_FAILED.sub('', outcome.reason).removesuffix(_SETUP)}"


_FAILED = re.compile(r"^load of migration failed: [^:]*: ")
_SETUP = ". Make sure that your current VM setup matches your saved VM setup, including any hotplugged devices"
_PLURAL = {"loads": "load", "loads,": "load,", "stops": "stop", "complains": "complain", "does": "do"}
