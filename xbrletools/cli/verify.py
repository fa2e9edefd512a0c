"""`xbrle verify`: findings, and whether a receiver loads the stream."""

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..text import shown
from . import EXIT_FINDINGS, warn
from .options import before, examples, giving_blocks, json_lines, reading
from .writer import is_terminal, say, write

if TYPE_CHECKING:
    from ..capture import Capture

PER_RULE = 20  # findings of a rule that are shown


def _usage(as_json: bool, sarif: bool) -> None:
    if as_json and sarif:
        raise click.UsageError("--json and --sarif exclude each other")


@click.command(
    epilog=examples(
        "verify samples/posted-8m.bin",
        "verify samples/posted-8m.bin --explain device-tail-unchecked",
        "verify samples/xbzrle-16m.bin --receiver today --json",
    )
)
@before(_usage)
@reading
@json_lines
@click.option("--sarif", is_flag=True, help="Print one SARIF 2.1.0 document.")
@click.option(
    "--limit", default=PER_RULE, show_default=True, metavar="N", help="Findings to show of each rule; 0 for all."
)
@click.option(
    "--receiver",
    type=click.Choice(["vanilla", "default", "debug", "today"]),
    help="Exit with this receiver's verdict. vanilla: QEMU before the XBRLE patch of 2011; default: QEMU with that "
    "patch; debug: its debug build; today: QEMU today.",
)
@click.option(
    "--explain", metavar="RULE[@RECORD]", help="Show one finding with all the records behind it, and their first bytes."
)
@click.option("--sender-log", metavar="FILE", help="Compare with this mig.log, written by the sender's debug build.")
@click.option(
    "--receiver-log", metavar="FILE", help="Compare with this mig.log, written by the receiver's debug build."
)
@click.option(
    "--salvage", is_flag=True, help="Skip damaged ranges; pages they may have affected are treated as unknown."
)
@giving_blocks("RAM blocks that the destination has. With --salvage also those of S, if its own list is lost.")
def command(
    opened: "Capture",
    capture: str,
    as_json: bool,
    sarif: bool,
    limit: int,
    receiver: str | None,
    explain: str | None,
    sender_log: str | None,
    receiver_log: str | None,
    blocks: tuple[tuple[bytes, int], ...] | None,
) -> int:
    """Report what is wrong with S. Each finding has a rule, a severity, an offset, a record and its evidence.

    A record is one page as it was sent. Records are numbered from 1. An error means that memory is lost or wrong, or
    that a receiver stops. A warning is suspicious. A note is for information.

    With --sender-log or --receiver-log, the first page on which the two logs disagree is a finding. A log that is not
    given is computed from S. With --salvage, log lines whose record was not read are only notes.

    Exit status: 0 no errors, 1 errors were found, 2 S cannot be read. With --receiver: 0 that receiver loads the
    stream, 1 it does not.
    """
    from ..verify.receiver import outcome
    from ..verify.rules import Receiver, Severity

    destination = dict(blocks) if blocks else None
    findings = opened.verify(destination)
    if sender_log or receiver_log:
        from ..analysis.ends import disagreements

        findings = _among(findings, disagreements(opened.stream, sender_log, receiver_log), len(opened.data))
    seen: Counter[Severity] = Counter()
    findings = _counted(findings, seen)
    if explain:
        findings = _explain(opened, findings, explain)
    elif as_json:
        findings = _print_json(findings)
    elif sarif:
        findings = _print_sarif(capture, findings)
    else:
        findings = _print(findings, limit)
    if receiver is None:
        for _ in findings:  # each is printed as it comes: there can be millions
            pass
        return EXIT_FINDINGS if seen[Severity.ERROR] else 0
    return _say_whether_it_loads(receiver, outcome(opened.stream, findings, Receiver(receiver), destination))


def _say_whether_it_loads(receiver: str, verdict: Any) -> int:
    """Say what a receiver makes of the stream. Returns the exit status."""
    if verdict.loads:
        warn(f"a {receiver} receiver loads this stream")
        return 0
    place = f"offset {verdict.offset:#x}" if verdict.offset is not None else "the end"
    if verdict.record is not None:
        place += f", record {verdict.record}"
    warn(f"a {receiver} receiver does not load this stream; it stops at {place}: {verdict.reason}")
    return EXIT_FINDINGS


def as_object(finding: Any) -> dict[str, Any]:
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


# -- each of these prints findings as they come, and passes them on ---------------------------------------------------


def _among(findings: Iterable[Any], more: list[Any], end: int) -> Iterator[Any]:
    """``findings`` and ``more`` by offset, at equal ones ``findings`` first. ``end`` is used for those without."""

    def place(finding: Any) -> int:
        return end if finding.offset is None else int(finding.offset)

    return merge(findings, sorted(more, key=place), key=place)


def _counted(findings: Iterable[Any], seen: "Counter[Any]") -> Iterator[Any]:
    """Count severities."""
    for finding in findings:
        seen[finding.severity] += 1
        yield finding


def _print_json(findings: Iterable[Any]) -> Iterator[Any]:
    """An object a line."""
    for finding in findings:
        write(json.dumps(as_object(finding)) + "\n")
        yield finding


def _explain(capture: "Capture", findings: Iterable[Any], wanted: str) -> Iterator[Any]:
    """One finding, what it amounts to, and the records behind it with their first bytes."""
    from ..verify.explain import chain, conclusion, find, names

    named: list[Any] = []
    for each in findings:
        if not named and names(wanted, each):
            named.append(each)
        yield each
    finding = find(named, wanted)
    _print_one(finding)
    if concluded := conclusion(capture.stream, finding):
        _indented(concluded)
    if finding.evidence:
        _indented(", ".join(f"{name} {'none' if value is None else value}" for name, value in finding.evidence.items()))
    links = chain(capture.stream, finding)
    if links:
        _print_chain(links, finding.record)
    elif finding.offset is not None:
        _print_bytes(capture, finding.offset)


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
        sums = " ".join(f"{'-' if s is None else hex(s):>8}" for s in (link.stated, link.receiver, link.sender))
        mark = ">" if version.record == record else " "
        kind = Kind(version.kind).name.lower()
        say(f"{mark}{version.record:6} {version.pass_:4} {kind:6} {sums}  {link.part}".rstrip())
        say(f"        {version.offset:#x}: {link.wire.hex(' ')}")


def _indented(text: str) -> None:
    """Print an indented text: wrapped on a terminal, in one line for other programs."""
    indent = " " * 8
    width = 79 if is_terminal() else sys.maxsize
    say(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))


def _print_one(finding: Any) -> None:
    """Two lines, for a person."""
    where = "-" if finding.offset is None else f"{finding.offset:#x}"
    if finding.record is not None:
        where += f" record {finding.record}"
    if finding.block is not None:
        where += f" {shown(finding.block)}"
        where += "" if finding.page is None else f":{finding.page:#x}"
    say(f"{finding.severity.value:7} {finding.rule:22} {where}")
    _indented(finding.message)


def _print(findings: Iterable[Any], limit: int) -> Iterator[Any]:
    """Two lines a finding, at most ``limit`` findings of a rule. Then a count of each rule."""
    seen: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = (finding.severity.value, finding.rule)
        seen[key] += 1
        if not limit or seen[key] <= limit:
            _print_one(finding)
        yield finding
    if not seen:
        say("no findings")
    for (severity, rule), count in seen.items():
        more = f", {limit} shown (--limit 0 shows all)" if limit and count > limit else ""
        say(f"{count} {severity} {rule}{more}")


def _print_sarif(capture: str, findings: Iterable[Any]) -> Iterator[Any]:
    """The findings as a SARIF 2.1.0 log (OASIS). The place of each is a byte offset."""
    from ..verify.rules import RULES

    rules = [{"id": r.id, "shortDescription": {"text": r.sentence}} for r in RULES.values()]
    driver = {"name": "xbrle", "version": __version__, "rules": rules}
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": []}],
    }
    head, _, tail = json.dumps(log, indent=1).rpartition("[]")
    separator = head + "["
    for finding in findings:
        write(separator + "\n    " + json.dumps(_sarif_result(capture, finding)))
        separator = ","
        yield finding
    write((separator if separator != "," else "") + "]" + tail + "\n")


def _sarif_result(capture: str, finding: Any) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": capture.replace("\\", "/")}}
    if finding.offset is not None:
        place["region"] = {"byteOffset": finding.offset}
    return {
        "ruleId": finding.rule,
        "level": finding.severity.value,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
        "properties": as_object(finding),
    }
