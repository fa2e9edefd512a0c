"""`xbrle verify`: findings, and what a receiver makes of the stream."""

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

import click

from .. import __version__
from ..text import shown
from . import EXIT_FINDINGS, giving_blocks, reading, warn

PER_RULE = 20


@click.command()
@reading
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.option("--sarif", is_flag=True, help="One SARIF 2.1.0 document.")
@click.option("--limit", default=PER_RULE, show_default=True, metavar="N", help="Findings shown a rule; 0 for all.")
@click.option(
    "--receiver",
    type=click.Choice(["vanilla", "default", "debug", "today"]),
    help="Exit with this receiver's verdict: QEMU before the patch, the patch as posted, its debug build, today's.",
)
@click.option("--explain", metavar="RULE[@RECORD]", help="Show one finding with the chain of records behind it.")
@click.option("--sender-log", metavar="FILE", help="The sender's mig.log, as evidence.")
@click.option("--receiver-log", metavar="FILE", help="The receiver's.")
@click.option("--salvage", is_flag=True, help="Read on after damage; what it puts in doubt is unknown.")
@giving_blocks("The RAM blocks that the destination has; with --salvage those of S too, where its own list is lost.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    as_json: bool,
    sarif: bool,
    limit: int,
    receiver: str | None,
    explain: str | None,
    sender_log: str | None,
    receiver_log: str | None,
    salvage: bool,
    blocks: tuple[tuple[bytes, int], ...] | None,
) -> int:
    """What is wrong with S: every finding with its rule, offset, record and evidence.

    Of the logs, the first page that the two ends logged differently is a finding, a log that is not given being what
    that end would have written for S. With --salvage, lines that no record came for are notes, and accuse no page.

    Exits 0 where there is no error, 1 where there is one, 2 where S cannot be read; with --receiver, 0 where that
    receiver loads the stream and 1 where it does not.
    """
    from ..capture import open_capture
    from ..verify.receiver import outcome
    from ..verify.rules import Receiver, Severity

    if as_json and sarif:
        raise click.UsageError("--json and --sarif exclude each other")
    opened = open_capture(capture, dialect, endian, page_size, salvage=salvage, blocks=blocks or ())
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
        findings = _print_sarif(str(capture), findings)
    else:
        findings = _print(findings, limit)
    if receiver is None:
        for _ in findings:  # each is printed as it comes: there can be millions
            pass
        return EXIT_FINDINGS if seen[Severity.ERROR] else 0
    verdict = outcome(opened.stream, findings, Receiver(receiver), destination)
    if verdict.loads:
        warn(f"a {receiver} receiver loads this stream")
        return 0
    place = f"offset {verdict.offset:#x}" if verdict.offset is not None else "the end"
    if verdict.record is not None:
        place += f", record {verdict.record}"
    warn(f"a {receiver} receiver does not load this stream; it stops at {place}: {verdict.reason}")
    return EXIT_FINDINGS


def as_object(finding: Any) -> dict[str, Any]:
    """A finding as JSON has it."""
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


# -- each of these prints findings as they come, and gives them on ----------------------------------------------------


def _among(findings: Iterable[Any], more: list[Any], end: int) -> Iterator[Any]:
    """``findings``, and ``more`` at their offsets, after those that are there; ``end`` is that of one without."""

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
        sys.stdout.write(json.dumps(as_object(finding)) + "\n")
        yield finding


def _explain(capture: Any, findings: Iterable[Any], wanted: str) -> Iterator[Any]:
    """One finding, what it amounts to, and the records behind it with their first bytes."""
    import numpy as np

    from ..formats.ram import Kind
    from ..verify.explain import around, chain, conclusion, find, names
    from . import hexview

    named: list[Any] = []
    for each in findings:
        if not named and names(wanted, each):
            named.append(each)
        yield each
    finding = find(named, wanted)
    _print_one(finding)
    if said := conclusion(capture.stream, finding):
        _indented(said)
    if finding.evidence:
        told = ", ".join(f"{name} {'none' if value is None else value}" for name, value in finding.evidence.items())
        _indented(told)
    links = chain(capture.stream, finding)
    if not links and finding.offset is not None:
        start, data = around(capture.stream, finding.offset)
        held = np.frombuffer(data, np.uint8)
        click.echo(f"\nthe capture about {finding.offset:#x}")
        for line in hexview.dump(held, np.ones(len(held), bool), start):
            click.echo(line)
    if links:
        click.echo("\n record pass kind     stated receiver   sender")
    for link in links:
        version = link.version
        sums = " ".join(f"{'-' if s is None else hex(s):>8}" for s in (link.stated, link.receiver, link.sender))
        mark = ">" if version.record == finding.record else " "
        kind = Kind(version.kind).name.lower()
        click.echo(f"{mark}{version.record:6} {version.pass_:4} {kind:6} {sums}  {link.part}".rstrip())
        click.echo(f"        {version.offset:#x}: {link.wire.hex(' ')}")


def _indented(text: str) -> None:
    """A text under what it is about: wrapped for people on a terminal, one line for other programs."""
    indent = " " * 8
    width = 79 if sys.stdout.isatty() else sys.maxsize
    click.echo(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))


def _print_one(finding: Any) -> None:
    """Two lines, for a person."""
    where = "-" if finding.offset is None else f"{finding.offset:#x}"
    if finding.record is not None:
        where += f" record {finding.record}"
    if finding.block is not None:
        where += f" {shown(finding.block)}"
        where += "" if finding.page is None else f":{finding.page:#x}"
    click.echo(f"{finding.severity.value:7} {finding.rule:22} {where}")
    _indented(finding.message)


def _print(findings: Iterable[Any], limit: int) -> Iterator[Any]:
    """Two lines a finding, no more than ``limit`` of a rule; then what there was in all."""
    seen: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = (finding.severity.value, finding.rule)
        seen[key] += 1
        if not limit or seen[key] <= limit:
            _print_one(finding)
        yield finding
    if not seen:
        click.echo("no findings")
    for (severity, rule), count in seen.items():
        more = f", {limit} shown (--limit 0 shows all)" if limit and count > limit else ""
        click.echo(f"{count} {severity} {rule}{more}")


def _print_sarif(capture: str, findings: Iterable[Any]) -> Iterator[Any]:
    """The findings as a SARIF 2.1.0 log (OASIS), a byte offset as each one's place."""
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
        sys.stdout.write(separator + "\n    " + json.dumps(_sarif_result(capture, finding)))
        separator = ","
        yield finding
    sys.stdout.write((separator if separator != "," else "") + "]" + tail + "\n")


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
