"""How a verdict is printed: as a JSON object, and as lines for a person."""

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..text import counted

if TYPE_CHECKING:
    from ..verify.cause import Cause
    from ..verify.verdict import Verdict

WIDTH = 80  # columns of a line, on a terminal and in a pipe
LABEL = 9  # columns of a line's label at least
FORMAT = 1  # of JSON objects


def as_object(verdict: "Verdict") -> dict[str, Any]:
    """A verdict as the last object of ``verify --json``."""
    return {
        "type": "verdict",
        "format": FORMAT,
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
    head = verdict.status.value.replace("-", " ").upper()
    parts = [(head, verdict.summary)]
    for i, cause in enumerate(verdict.causes):
        parts.append(("Cause" if i == 0 else "and", f"{cause.sentence} {_how_sure(cause)}"))
        if cause.refuted or cause.candidates:
            parts.append(("Shown by", "; ".join(cause.evidence) + "."))
        if cause.repair is not None:
            parts.append(("Repair", f"inferred: {cause.repair.why}"))
    if verdict.receivers:
        alike = groupby(verdict.receivers.items(), key=lambda item: _loads(item[1]))
        parts.append(("Loads?", "  ".join(f"{', '.join(name for name, _ in who)}: {does}." for does, who in alike)))
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


def cause_lines(cause: "Cause") -> Iterator[str]:
    """A cause with all that speaks for and against it: a line each."""
    yield f"Cause: {cause.sentence} {_how_sure(cause)}"
    yield from (f"Shown by: {text}" for text in cause.evidence)
    yield from (f"Not {name.value}: {why}" for name, why in cause.refuted)
    if cause.repair is not None:
        replaced = counted(cause.repair.replaced, "byte")
        what = f"{replaced} at {cause.repair.offset:#x} become {cause.repair.data.hex(' ')}"
        yield f"Repair, inferred: {what}: {cause.repair.why}"


def _how_sure(cause: "Cause") -> str:
    if cause.candidates:
        return f"One of: {', '.join(name.value for name in cause.candidates)}."
    words = {
        "certain": "This is certain.",
        "likely": "This is likely.",
        "one-of": "",
        "unknown": "Its cause is unknown.",
    }
    return words[cause.sure.value]


def _loads(load: Any) -> str:
    if load.loads:
        plural = "" if load.wrong_pages == 1 else "s"
        return f"loads, with {load.wrong_pages:,} wrong page{plural}" if load.wrong_pages else "loads"
    if load.loads is None:
        return "cannot be told"
    if load.goes_on:
        return "complains and goes on"
    if load.stops_at is not None:
        return f"stops at record {load.stops_at}"
    return f"stops at {load.offset:#x}" if load.offset is not None else "does not load"
