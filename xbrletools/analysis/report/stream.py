"""What the capture is and holds, on the report's page: the file, how it reads, its blocks, records and sections."""

import os
from collections.abc import Mapping

from ...formats.ram import PAGE_KINDS, Kind
from ...table.sections import CERTAINTY, STAGE_OF, Boundary
from ...text import shown
from ..facts import Overview, SectionGroup
from ..stats import Stats
from .gather import Report
from .markup import (
    ROWS,
    Markup,
    clipped,
    code,
    first,
    folded,
    joined,
    lines,
    more,
    note,
    pairs,
    section,
    share,
    size_words,
    table,
)

PROBLEMS = 10  # of the scan, that are shown
_ELSEWHERE = frozenset(("capture", "sections", "devices", "complete", "verdict"))  # lines of `info` that are not here


def stream_section(report: Report, digests: Mapping[str, str]) -> Markup:
    """What `xbrle info` and `xbrle stats` answer. ``digests`` are those of the input, by what was digested."""
    facts = report.overview.facts
    rows: list[tuple[object, object]] = [("capture", shown(os.fsencode(str(report.stream.name))))]
    rows.append(("SHA-256", digest_lines(digests)))
    rows += about_rows(report).items()
    rows.append(("read to its end", clipped(reached(report))))
    problems = [f"{p.rule} at {p.offset:#x}: {clipped(p.message)}" for p in facts.problems[:PROBLEMS]]
    if len(facts.problems) > PROBLEMS:
        problems.append(f"and {len(facts.problems) - PROBLEMS:,} more")
    rows.append(("met on the way", lines(problems or ["nothing wrong"])))
    if report.stream.channels:
        rows.append(("numbers", "records and passes are counted over all channels"))
    return section("stream", "The stream", pairs(rows), _blocks(report.overview), *_kinds(report.sums))


def digest_lines(digests: Mapping[str, str]) -> Markup:
    """The digests, each with what it is of."""
    return lines(joined([code(digest), f" {what}"]) for what, digest in digests.items())


def about_rows(report: Report) -> dict[str, object]:
    """What `xbrle info` says of the capture, by label, without what other parts of the page show."""
    rows: dict[str, list[str]] = {}
    label = ""
    for said, value in report.about or ():
        label = said or label
        if label not in _ELSEWHERE:
            rows.setdefault(label, []).append(clipped(value))
    if "arrivals" in report.failures:
        rows["arrived"] = [clipped(report.failures["arrivals"])]
    if "about" in report.failures:
        rows["not available"] = [clipped(report.failures["about"])]
    return {label: lines(first(ROWS, values)) for label, values in rows.items()}


def size_line(report: Report) -> str:
    """How large the capture is, all its channels counted, and how much was read where that is not all."""
    stream = report.stream
    size = sum(len(held.data) for held in stream.files or (stream.source,))
    words = size_words(size)
    return words if stream.facts.damage is None else f"{words}; read up to {stream.facts.damage.offset:#x}"


def reached(report: Report) -> str:
    """Whether all of the stream was read. That alone says nothing of what it holds."""
    facts = report.stream.facts
    if facts.damage is not None and facts.damage.rule == "truncated":
        return f"no: the capture ends before the stream does, at {facts.damage.offset:#x}"
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
    listed = table("Sections by owner", heads, rows, 1, class_="sections"), *more(len(groups), ROWS, "kinds of section")
    ways = sorted({group.found_by for group in groups[:ROWS]})
    meant = [note(f"{_how(by)}: {why}.") for by in ways if (why := CERTAINTY[by].partition(": ")[2])]
    count = sum(sum(group.types.values()) for group in groups)
    title = f"{count:,} sections by owner, and how their ends were found"
    return section("sections", "Sections", folded(title, *listed, *meant))


def _how(found_by: Boundary) -> str:
    """How certain a section's end is, and by what it was found, which tells ways apart that are equally certain."""
    word, _, why = CERTAINTY[found_by].partition(": ")
    return f"{word} ({found_by.name.lower()})" if why else word


def _section_row(group: SectionGroup) -> tuple[object, ...]:
    types = ", ".join(f"{count:,} {type_.name}" for type_, count in group.types.items())
    owner = group.owner
    return (
        ", ".join(type_.name for type_ in group.types) if owner is None else code(shown(owner.idstr)),
        "" if owner is None else f"{owner.section_id}, version {owner.version_id}",
        types,
        _how(group.found_by),
        code(f"{group.offset:#x}"),
        f"{group.length:,}",
    )
