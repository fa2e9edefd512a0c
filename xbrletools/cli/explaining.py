"""What `xbrle verify` says of one finding, of one rule, and of all rules: for a person, and as JSON objects."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..text import shown
from . import verdicts, warn
from .writer import painted, say, say_object

if TYPE_CHECKING:
    from ..capture import Capture
    from ..verify.explain import ChainLink
    from ..verify.rules import Finding, Rule
    from ..verify.verdict import Verdict


def print_rules(as_json: bool) -> None:
    """Print every rule with its severity and what it means."""
    from ..verify.rules import RULES

    for rule in RULES.values():
        if as_json:
            say_object(rule_object(rule))
            continue
        say(f"{rule.id:27} {painted(rule.severity.value, rule.severity.value)}")
        _indented(rule.sentence)


def print_meaning(name: str, as_json: bool) -> None:
    """Print what a rule means, whatever a capture holds.

    Raises:
        XbrleError: there is no such rule.
    """
    from ..verify.explain import rule_of
    from ..verify.reference import meaning

    rule = rule_of(name)
    if as_json:
        say_object(rule_object(rule))
        return
    say(f"{rule.id}")
    for title, text in meaning(rule):
        say(f"\n{title}")
        _indented(text)


def rule_object(rule: "Rule") -> dict[str, Any]:
    """A rule as a JSON object. ``stops`` are the kinds of programs that stop at it."""
    from ..verify.reference import ADVICE

    advice = ADVICE[rule]
    return {
        "type": "rule",
        "rule": rule.id,
        "severity": rule.severity.value,
        "sentence": rule.sentence,
        "evidence": advice.evidence,
        "to_do": advice.to_do,
        "stops": sorted(program.value for program in rule.stops),
        "messages": list(rule.messages),
    }


def as_object(finding: "Finding") -> dict[str, Any]:
    """A finding as a JSON object."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "offset": finding.offset,
        "record": finding.record,
        "section": finding.section,
        "block": None if finding.block is None else shown(finding.block),
        "page": finding.page,
        "message": finding.message,
        "evidence": finding.evidence,
    }


def explain(capture: "Capture", verdict: "Verdict", wanted: str, as_json: bool) -> None:
    """One finding, what it amounts to, its cause, and the records behind it with their first bytes.

    Raises:
        XbrleError: there is no such rule, or no such finding.
    """
    from ..verify.explain import chain, conclusion, find, names

    assert verdict.shared is not None
    finding, cause = next(((f, c) for f, c in verdict.shared if names(wanted, f)), (None, -1))
    if finding is None and "@" not in wanted:
        print_meaning(wanted, as_json)
        warn(f"this capture does not have a finding of rule {wanted}")
        return
    if finding is None:
        finding = find((), wanted)  # says what is wrong with it
    concluded, links = conclusion(capture.stream, finding), chain(capture.stream, finding)
    if as_json:
        _write_explained(capture, finding, concluded, None if cause < 0 else verdict.causes[cause], links)
        return
    print_one(finding)
    if concluded:
        _indented(concluded)
    if finding.evidence:
        _indented(", ".join(f"{name} {'none' if value is None else value}" for name, value in finding.evidence.items()))
    if cause >= 0:
        for line in verdicts.cause_lines(verdict.causes[cause]):
            _indented(line)
    if links:
        _print_chain(links, finding.record)
    elif finding.offset is not None:
        _print_bytes(capture, finding.offset)


def _write_explained(
    capture: "Capture", finding: "Finding", concluded: str, cause: Any, links: "Iterable[ChainLink]"
) -> None:
    """One JSON object: the finding, its cause, and the records behind it, or else the bytes about its offset."""
    from ..formats.ram import Kind
    from ..verify.explain import around

    chain = [
        {
            "record": link.version.record,
            "pass": link.version.pass_,
            "kind": Kind(link.version.kind).name.lower(),
            "offset": link.version.offset,
            "part": link.part,
            "stated": link.stated,
            "receiver": link.receiver,
            "sender": link.sender,
            "wire": link.wire.hex(),
            "left_out": link.left_out,
        }
        for link in links
    ]
    about = None
    if not chain and finding.offset is not None:
        start, data = around(capture.stream, finding.offset)
        about = {"offset": start, "data": data.hex()}
    told = {
        "type": "explanation",
        "finding": as_object(finding),
        "conclusion": concluded,
        "cause": None if cause is None else verdicts.cause_object(cause),
        "chain": chain,
        "bytes": about,
    }
    say_object(told)


def _print_bytes(capture: "Capture", offset: int) -> None:
    """The capture's bytes around an offset."""
    import numpy as np

    from ..verify.explain import around
    from . import hexview

    start, data = around(capture.stream, offset)
    held = np.frombuffer(data, np.uint8)
    say(f"\nthe capture about {offset:#x}")
    for line in hexview.dump(held, np.ones(len(held), bool), start):
        say(line)


def _print_chain(links: Iterable[Any], record: int | None) -> None:
    """The records behind a finding, each with its sums and its first bytes."""
    from ..formats.ram import Kind

    say("\n record pass kind     stated receiver   sender")
    for link in links:
        version = link.version
        if link.left_out:
            say(f"        {link.left_out:,} more records are left out here")
        sums = " ".join(f"{'-' if s is None else hex(s):>8}" for s in (link.stated, link.receiver, link.sender))
        mark = ">" if version.record == record else " "
        kind = Kind(version.kind).name.lower()
        say(f"{mark}{version.record:6} {version.pass_:4} {kind:6} {sums}  {link.part}".rstrip())
        say(f"        {version.offset:#x}: {link.wire.hex(' ')}")


def print_one(finding: "Finding") -> None:
    """Two lines, for a person."""
    where = "-" if finding.offset is None else f"{finding.offset:#x}"
    if finding.record is not None:
        where += f" record {finding.record}"
    if finding.block is not None:
        where += f" {shown(finding.block)}"
        where += "" if finding.page is None else f":{finding.page:#x}"
    severity = finding.severity.value
    say(f"{painted(severity, severity)}{'':{7 - len(severity)}} {finding.rule:22} {where}")
    _indented(finding.message)


def _indented(text: str) -> None:
    """Print an indented text, wrapped."""
    indent = " " * 8
    width = verdicts.WIDTH - 1
    say(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))
