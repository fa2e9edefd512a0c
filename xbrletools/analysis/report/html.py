"""The report's page: its head, what the capture is, and the other parts in their order."""

import os
from collections import Counter
from collections.abc import Mapping

from ...formats.ram import PAGE_KINDS, Kind
from ...table.sections import CERTAINTY, STAGE_OF
from ...text import shown
from ...verify.rules import Severity
from .. import arrivals
from ..facts import Overview, SectionGroup, dialect_words
from ..stats import Stats
from .findings import PER_RULE, findings_section
from .gather import Report
from .guest import guest_section
from .maps import maps_section
from .markup import (
    ROWS,
    Markup,
    clipped,
    code,
    joined,
    lines,
    more,
    note,
    pairs,
    section,
    share,
    size_words,
    table,
    tag,
)
from .passes import passes_section
from .sender import sender_section
from .style import STYLE

CAUSES = 4  # causes that the head has


def page(report: Report, digests: Mapping[str, str], tool: str) -> str:
    """The HTML page. ``digests`` are those of the input, by what was digested. ``tool`` is the program that made it."""
    name = shown(os.fsencode(str(report.stream.name)))
    parts = (
        _head(report, name, digests),
        _what_it_is(report),
        guest_section(report),
        findings_section(report),
        passes_section(report),
        maps_section(report),
        sender_section(report),
        _sections(report.overview),
        tag("footer", f"Made by {tool}. Offsets are bytes in the capture, after decompression."),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=tool),
        tag("title", f"{_base(name)} - migration stream report"),
        tag("style", Markup(STYLE)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *parts)), lang="en") + "\n"


def _base(name: str) -> str:
    """The file's name without its folder. ``name`` is a text as it is shown, which may not be a path."""
    return os.path.basename(name)  # noqa: PTH119


def _head(report: Report, name: str, digests: Mapping[str, str]) -> Markup:
    """The title, the verdict, and a few numbers."""
    stream, sums = report.stream, report.sums
    counts = Counter(f.severity for f in report.findings or [])
    words = [f"{counts[s]:,} {s.value}{'s' if counts[s] != 1 else ''}" for s in Severity if counts[s]]
    saved = sums.saved(sums.total)
    tiles = (
        ("size", size_words(sums.size)),
        ("records with a page", f"{sums.total.pages:,}"),
        ("dialect", stream.dialect.name if stream.dialect else "no delta shows it"),
        (
            "deltas save",
            f"{size_words(saved)}, {share(saved, sums.plain(sums.total))}" if sums.total.deltas else "no delta",
        ),
        ("findings", ", ".join(words) or ("not known" if report.findings is None else "none")),
    )
    return tag(
        "header",
        tag("p", "Migration stream report", class_="over"),
        tag("h1", _base(name)),
        _verdict(report),
        tag("dl", *(tag("div", tag("dt", label), tag("dd", value)) for label, value in tiles), class_="tiles"),
        pairs([("capture", name), *((f"SHA-256 {what}", code(digest)) for what, digest in digests.items())]),
    )


def _verdict(report: Report) -> Markup:
    """The verdict: the conclusion, and its causes in the order of their weight."""
    css = "verdict bad" if report.is_bad else "verdict"
    if report.verdict is None:
        return tag("p", clipped(f"The stream could not be verified: {report.failures['verdict']}."), class_=css)
    status = report.verdict.status.value.replace("-", " ").upper()
    damage = report.stream.facts.damage
    where = (
        "" if damage is None else f"Damaged at offset {damage.offset:#x}: {damage.message}. This is what can be read."
    )
    causes = [note(clipped(where))] if where else []
    causes += [note("Cause: ", clipped(cause.sentence)) for cause in report.verdict.causes[:CAUSES]]
    return joined([tag("p", clipped(f"{status}. {report.verdict.summary}"), class_=css), *causes])


def _what_it_is(report: Report) -> Markup:
    """What `xbrle info` answers."""
    facts = report.overview.facts
    wrapper = f", inside {report.stream.source.wrapper}" if report.stream.source.wrapper else ""
    rows: list[tuple[object, object]] = [("container", f"QEVM, file version {facts.file_version}{wrapper}")]
    if facts.start:
        rows.append(("begins", f"at {facts.start:#x}; offsets count from the beginning of the file"))
    if report.arrivals is not None:
        rows.append(("arrived", arrivals.words(arrivals.as_json(report.arrivals))))
    elif "arrivals" in report.failures:
        rows.append(("arrived", clipped(report.failures["arrivals"])))
    if facts.machine is not None:
        rows.append(("machine", shown(facts.machine)))
    if facts.capabilities:
        rows.append(("capabilities", clipped(", ".join(map(shown, facts.capabilities)))))
    if facts.ram_version is not None:
        rows.append(("RAM section", f"version {facts.ram_version}, pages of {facts.page_size:,} bytes"))
        reasons = map(clipped, facts.reading.evidence.reasons)
        rows.append(("dialect", lines([dialect_words(facts.reading), *reasons])))
    if facts.vmdesc is not None:
        rows.append(("VM description", f"{facts.vmdesc[1]:,} bytes at {facts.vmdesc[0]:#x}"))
    rows.append(("complete", "yes" if facts.complete else "no"))
    problems = [f"{p.rule} at {p.offset:#x}: {clipped(p.message)}" for p in facts.problems[:PER_RULE]]
    if len(facts.problems) > PER_RULE:
        problems.append(f"and {len(facts.problems) - PER_RULE:,} more")
    rows.append(("problems", lines(problems or ["none"])))
    if report.stream.channels:
        rows.append(("channels", "given; the numbers of records and passes are those of the main channel"))
    return section("What it is", pairs(rows), tag("h3", "RAM blocks"), _blocks(report.overview), *_kinds(report.sums))


def _blocks(overview: Overview) -> Markup:
    """The RAM blocks with what was sent of them."""
    rows = [
        (
            code(shown(use.block.name)),
            f"{use.block.length:,}" if use.block.declared else "not listed",
            f"{use.records:,}",
            use.passes,
        )
        for use in overview.blocks[:ROWS]
    ]
    heads = ("block", "bytes", "records", "passes")
    return joined([table(heads, rows, 3), *more(len(overview.blocks), ROWS, "blocks")])


def _kinds(sums: Stats) -> list[Markup]:
    """What `xbrle stats` answers about the whole capture."""
    total = sums.total
    rows = [
        (
            kind.name.lower(),
            f"{int(total.records[kind]):,}",
            share(int(total.records[kind]), total.pages) if kind in PAGE_KINDS else "",
            f"{int(total.wire[kind]):,}",
            f"{int(total.payload[kind]):,}",
        )
        for kind in Kind
        if total.records[kind]
    ]
    heads = ("kind", "records", "share", "bytes on the wire", "payload")
    out = [tag("h3", "Records by kind"), table(heads, rows, 4)]
    if total.deltas:
        plain, saved = sums.plain(total), sums.saved(total)
        out.append(
            note(
                f"Deltas take {sums.shortest:,} to {sums.longest:,} bytes, on average "
                f"{total.delta_payload / total.deltas:,.1f}. With each delta as a full page the records would take "
                f"{plain:,} bytes; deltas save {saved:,}, {share(saved, plain)}."
            )
        )
    stages = ", ".join(f"{k.name.lower()} {int(sums.stages[stage]):,}" for k, stage in STAGE_OF.items())
    out.append(note(f"Records with a page by stage: {stages}."))
    return out


def _sections(overview: Overview) -> Markup:
    """Who wrote sections, how many of each type, and how their ends were found."""
    groups = overview.section_groups
    heads = ("section", "id", "types", "end found", "first at", "bytes")
    rows = [_section_row(group) for group in groups[:ROWS]]
    return section("Sections", table(heads, rows, 1), *more(len(groups), ROWS, "kinds of section"))


def _section_row(group: SectionGroup) -> tuple[object, ...]:
    types = ", ".join(f"{count:,} {type_.name}" for type_, count in group.types.items())
    owner = group.owner
    return (
        ", ".join(type_.name for type_ in group.types) if owner is None else code(shown(owner.idstr)),
        "" if owner is None else f"{owner.section_id}, version {owner.version_id}",
        types,
        CERTAINTY[group.found_by],
        code(f"{group.offset:#x}"),
        f"{group.length:,}",
    )
