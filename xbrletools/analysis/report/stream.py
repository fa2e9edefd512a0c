"""What the capture is and holds, on the report's page: the file, how it reads, its blocks, records and sections."""

import os
from collections.abc import Mapping

from ...formats.ram import PAGE_KINDS, Kind
from ...table.sections import CERTAINTY, STAGE_OF
from ...text import shown
from .. import arrivals
from ..facts import Overview, SectionGroup, dialect_words
from ..stats import Stats
from .gather import Report
from .markup import ROWS, Markup, clipped, code, folded, joined, lines, more, note, pairs, section, share, table

PROBLEMS = 10  # of the scan, that are shown


def stream_section(report: Report, digests: Mapping[str, str]) -> Markup:
    """What `xbrle info` and `xbrle stats` answer. ``digests`` are those of the input, by what was digested."""
    facts, source = report.overview.facts, report.stream.source
    name = shown(os.fsencode(str(report.stream.name)))
    wrapper = f", inside {source.wrapper}" if source.wrapper else ""
    rows: list[tuple[object, object]] = [("capture", name)]
    rows += [(f"SHA-256 {what}", code(digest)) for what, digest in digests.items()]
    rows.append(("container", f"QEVM, file version {facts.file_version}{wrapper}"))
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
    rows.append(("read to its end", clipped(_reached(report))))
    problems = [f"{p.rule} at {p.offset:#x}: {clipped(p.message)}" for p in facts.problems[:PROBLEMS]]
    if len(facts.problems) > PROBLEMS:
        problems.append(f"and {len(facts.problems) - PROBLEMS:,} more")
    rows.append(("met on the way", lines(problems or ["nothing wrong"])))
    if report.stream.channels:
        rows.append(("channels", "given; the numbers of records and passes are those of the main channel"))
    return section("stream", "The stream", pairs(rows), _blocks(report.overview), *_kinds(report.sums))


def _reached(report: Report) -> str:
    """Whether all of the stream was read. That alone says nothing of what it holds."""
    facts = report.stream.facts
    if facts.damage is not None:
        return f"no: it cannot be read on from {facts.damage.offset:#x}"
    if any(p.lost for p in facts.problems):
        return "no: channels are missing, damaged or of another migration"
    if not facts.complete:
        return "no: its end is missing"
    if report.verdict is None or not report.verdict.is_bad:
        return "yes, to the last byte"
    return f"yes, to the last byte; what it holds is {report.verdict.status.words} all the same"


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
    return joined([table("RAM blocks", heads, rows, 3), *more(len(overview.blocks), ROWS, "blocks")])


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
    out = [table("Records by kind", heads, rows, 4)]
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


def sections_section(overview: Overview) -> Markup:
    """Who wrote sections, how many of each type, and how their ends were found."""
    groups = overview.section_groups
    heads = ("section", "id", "types", "end found", "first at", "bytes")
    rows = [_section_row(group) for group in groups[:ROWS]]
    count = sum(sum(group.types.values()) for group in groups)
    listed = table("Sections by owner", heads, rows, 1, class_="sections"), *more(len(groups), ROWS, "kinds of section")
    count = sum(sum(group.types.values()) for group in groups)
    title = f"{count:,} sections by owner, and how their ends were found"
    return section("sections", "Sections", folded(title, *listed))


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
