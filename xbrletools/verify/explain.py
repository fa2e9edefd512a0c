"""Why something is a finding: its page's records, from the base that the sender used to the one that healed it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import XbrleError
from ..memory.history import Content, Version
from ..memory.moments import page_of
from ..memory.replay import View
from ..model import Stream
from ..table.claims import states_sums
from .rules import ANY, RULES, STATES_SUMS, Finding, Program, Rule

WIRE_BYTES = 20  # of each record, shown from its word on
LINE = 16  # bytes of a line of a dump
AROUND = 64  # bytes from an offset's line on
LINKS_MAX = 4096  # records of a chain that are listed: as many from its beginning as from its end
_NOT_HELD = Content(np.empty(0, np.uint8), np.empty(0, bool))  # a page of each record would be much


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One record of the chain: its part in it, its first bytes on the wire, and the page's sum after it in each view.

    ``stated`` is the sum that the record's header states, None where it states none. ``receiver`` and ``sender`` are
    the sums of the page that each end has, None where a byte of it is unknown. ``left_out`` records of the chain are
    not listed before this one. The version does not hold the page's content.
    """

    version: Version
    part: str
    wire: bytes
    stated: int | None
    receiver: int | None
    sender: int | None
    left_out: int = 0


def find(findings: Iterable[Finding], wanted: str) -> Finding:
    """The first finding that ``wanted`` names, see `names`.

    Raises:
        XbrleError: there is no such finding.
    """
    finding = next((f for f in findings if names(wanted, f)), None)
    if finding is not None:
        return finding
    rule, _, place = wanted.partition("@")
    rule_of(rule)
    if not place:
        raise XbrleError(f"this capture does not have a finding of rule {rule}")
    raise XbrleError(f"there is no finding {wanted!r}; write RULE@RECORD or RULE@0xOFFSET, as verify lists them")


def rule_of(name: str) -> Rule:
    """The rule of this id.

    Raises:
        XbrleError: there is none.
    """
    if name not in RULES:
        raise XbrleError(f"there is no rule {name!r}; the rules are {', '.join(RULES)}")
    return RULES[name]


def names(wanted: str, finding: Finding) -> bool:
    """Whether ``wanted`` names a finding: ``RULE@RECORD``, or ``RULE@0xOFFSET``, or ``RULE`` for any of it."""
    rule, _, place = wanted.partition("@")
    at = finding.offset if place.startswith("0x") else finding.record
    return finding.rule == rule and (not place or (at is not None and _number(place) == at))


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def chain(stream: Stream, finding: Finding) -> list[ChainLink]:
    """The records behind a finding that is about a page, in order, `LINKS_MAX` at most. Empty for the others."""
    if finding.record is None or finding.block is None or finding.page is None:
        return []
    try:
        history = page_of(stream, finding.block, finding.page)
    except XbrleError:  # the finding is that there is no such page
        return []
    parts = {
        finding.evidence.get("base_record"): "the sender's base",
        finding.evidence.get("earliest_record"): "the earliest that can be damaged",
        finding.evidence.get("dup_record"): "forgotten by the sender",
        finding.evidence.get("healed_by_record"): "heals the page",
        finding.evidence.get("superseded_by_record"): "gives the page again",
        finding.evidence.get("of_first_record"): "what it repeats",
        finding.record: "this finding",
    }
    first = min(n for n in parts if n is not None)
    if first == finding.record:  # nothing earlier is named: the page's last full record began it
        for version in history.versions(View.RECEIVER):
            if version.record >= finding.record:
                break
            first = version.record if version.base is None else first
    last = finding.evidence.get("healed_by_record") or finding.record
    columns = stream.records.columns
    begun, ending, count = list[ChainLink](), deque[ChainLink](maxlen=LINKS_MAX // 2), 0
    for version, sent in zip(history.versions(View.RECEIVER), history.versions(View.SENDER), strict=True):
        if version.record > last:
            break
        if version.record < first:
            continue
        end = version.offset + int(columns.head[version.row]) + version.length
        wire = stream.data[version.offset : min(end, version.offset + WIRE_BYTES)].tobytes()
        held, part = replace(version, content=_NOT_HELD), parts.get(version.record, "")
        link = ChainLink(held, part, wire, version.stated, version.computed, sent.computed)
        count += 1
        (begun if len(begun) < LINKS_MAX // 2 else ending).append(link)
    if ending:
        ending[0] = replace(ending[0], left_out=count - len(begun) - len(ending))
    return [*begun, *ending]


def meant(stream: Stream, finding: Finding) -> str:
    """What the evidence of a finding amounts to, in a sentence or two, empty where its message says all."""
    rule, dialect = RULES[finding.rule], stream.dialect
    for case in (str(finding.evidence.get("certainty")), STATES_SUMS if states_sums(dialect) else ANY, ANY):
        if case in rule.conclusions:
            return rule.conclusions[case].format(dialect=dialect.name if dialect else "this")
    return ""


def conclusion(stream: Stream, finding: Finding) -> str:
    """What the evidence of a finding amounts to, else which receivers its rule stops."""
    found = meant(stream, finding)
    if found:
        return found
    stops = [r.value for r in Program if r in RULES[finding.rule].stops]
    return f"Receivers that stop at it: {', '.join(stops)}." if stops else "No receiver stops at it."


def around(stream: Stream, offset: int) -> tuple[int, bytes]:
    """The capture's bytes about an offset, whole lines of 16, and where they begin."""
    start = max(0, offset // LINE * LINE - LINE)
    return start, stream.data[start : offset // LINE * LINE + AROUND].tobytes()
