"""`xbrle verify`: findings, and what a receiver makes of the stream."""

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from .. import __version__
from ..errors import XbrleError
from ..text import shown, size
from . import EXIT_FINDINGS, reading, salvaging, warn

PER_RULE = 20


@click.command()
@reading
@salvaging
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
@click.option("--blocks", metavar="NAME=SIZE,...", help="The RAM blocks that the destination has.")
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
    blocks: str | None,
) -> int:
    """What is wrong with S: every finding with its rule, offset, record and evidence.

    Exits 0 where there is no error, 1 where there is one, 2 where S cannot be read; with --receiver, 0 where that
    receiver loads the stream and 1 where it does not.
    """
    from ..capture import open_capture
    from ..verify.receiver import outcome
    from ..verify.rules import Receiver, Severity

    if as_json and sarif:
        raise click.UsageError("--json and --sarif exclude each other")
    opened = open_capture(capture, dialect, endian, page_size)
    destination = _blocks(blocks) if blocks else None
    findings = list(opened.verify(destination))
    if sender_log or receiver_log:
        from ..analysis.ends import disagreement

        found = disagreement(opened, sender_log, receiver_log)
        findings += [found] if found is not None else []
        findings.sort(key=lambda f: f.offset if f.offset is not None else len(opened.data))
    if explain:
        _explain(opened, findings, explain)
    elif as_json:
        for finding in findings:
            click.echo(json.dumps(as_object(finding)))
    elif sarif:
        click.echo(json.dumps(_sarif(str(capture), findings), indent=1))
    else:
        _print(findings, limit)
    errors = any(f.severity is Severity.ERROR for f in findings)
    if receiver is None:
        return EXIT_FINDINGS if errors else 0
    verdict = outcome(opened, findings, Receiver(receiver), destination)
    if verdict.loads:
        warn(f"a {receiver} receiver loads this stream")
        return 0
    place = f"offset {verdict.offset:#x}" if verdict.offset is not None else "the end"
    if verdict.record is not None:
        place += f", record {verdict.record}"
    warn(f"a {receiver} receiver does not load this stream; it stops at {place}: {verdict.reason}")
    return EXIT_FINDINGS


def _blocks(text: str) -> dict[bytes, int]:
    """``NAME=SIZE,...`` as names and bytes."""
    blocks = {}
    for entry in text.split(","):
        name, equals, length = entry.rpartition("=")
        if not equals or not name:
            raise XbrleError(f"{entry!r} is no block; write pc.ram=8M")
        blocks[name.encode("utf-8", "surrogateescape")] = size(length)
    return blocks


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


def _explain(capture: Any, findings: list[Any], wanted: str) -> None:
    """One finding, what it amounts to, and the records behind it with their first bytes."""
    import numpy as np

    from ..formats.ram import Kind
    from ..verify.explain import around, chain, conclusion, find
    from . import hexview

    finding = find(findings, wanted)
    _print([finding], 1, summary=False)
    if said := conclusion(capture, finding):
        _indented(said)
    if finding.evidence:
        told = ", ".join(f"{name} {'none' if value is None else value}" for name, value in finding.evidence.items())
        _indented(told)
    links = chain(capture, finding)
    if not links and finding.offset is not None:
        start, data = around(capture, finding.offset)
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


def _print(findings: Iterable[Any], limit: int, summary: bool = True) -> None:
    """Two lines a finding, no more than ``limit`` of a rule; then what there was in all."""
    seen: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = (finding.severity.value, finding.rule)
        seen[key] += 1
        if limit and seen[key] > limit:
            continue
        where = "-" if finding.offset is None else f"{finding.offset:#x}"
        if finding.record is not None:
            where += f" record {finding.record}"
        if finding.block is not None:
            where += f" {shown(finding.block)}"
            where += "" if finding.page is None else f":{finding.page:#x}"
        click.echo(f"{finding.severity.value:7} {finding.rule:22} {where}")
        _indented(finding.message)
    if not summary:
        return
    if not seen:
        click.echo("no findings")
    for (severity, rule), count in seen.items():
        more = f", {limit} shown (--limit 0 shows all)" if limit and count > limit else ""
        click.echo(f"{count} {severity} {rule}{more}")


def _sarif(capture: str, findings: Iterable[Any]) -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log (OASIS), a byte offset as each one's place."""
    from ..verify.rules import RULES

    results = []
    for finding in findings:
        place: dict[str, Any] = {"artifactLocation": {"uri": capture.replace("\\", "/")}}
        if finding.offset is not None:
            place["region"] = {"byteOffset": finding.offset}
        results.append(
            {
                "ruleId": finding.rule,
                "level": finding.severity.value,
                "message": {"text": finding.message},
                "locations": [{"physicalLocation": place}],
                "properties": as_object(finding),
            }
        )
    rules = [{"id": r.id, "shortDescription": {"text": r.meaning}} for r in RULES.values()]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "xbrle", "version": __version__, "rules": rules}},
                "results": results,
            }
        ],
    }
