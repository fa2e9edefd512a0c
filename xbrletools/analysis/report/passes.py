"""The sender's passes on the report's page: a bar for each, stacked by kind of record."""

import numpy as np
from numpy.typing import NDArray

from ...formats.ram import Kind
from ...table.columns import NO_BLOCK
from ...text import shown
from ..stats import Stats, Tally
from .gather import Report
from .markup import Markup, code, legend, more, note, section, size_words, tag

BARS = 48  # bars of a block; where it has more passes, a bar is several
CHARTED = 16  # blocks that have bars

#: What a bar is made of, from the left: its class, its name, its kinds.
_STACK = (
    ("page", "page", (Kind.PAGE,)),
    ("compressed", "compressed", (Kind.COMPRESSED,)),
    ("delta", "delta", (Kind.XBRLE, Kind.XBZRLE)),
    ("dup", "dup", (Kind.DUP,)),
)

_Bars = list[tuple[str, Tally]]


def passes_section(report: Report) -> Markup:
    """A bar for each pass over a block, stacked by kind: of records, and of bytes on the wire."""
    sums = report.sums
    if not sums.passes:
        return section("Passes", note("No record carries a page."))
    names = {i: shown(b.name) for i, b in enumerate(report.stream.blocks)} | {NO_BLOCK: "(no block)"}
    tallies = sums.blocks()
    charted = sorted(sorted(tallies, key=lambda b: -tallies[b].page_wire)[:CHARTED])
    bars = {block: _bars(sums, block) for block in charted}
    most = max(tally.pages for of_block in bars.values() for _, tally in of_block)
    widest = max(tally.page_wire for of_block in bars.values() for _, tally in of_block)
    bodies = [_body(sums, names[block], tallies[block], bars[block], most, widest) for block in charted]
    heads = tag(
        "tr",
        tag("th", "pass"),
        tag("th", "records", colspan=2),
        tag("th", "bytes on the wire", colspan=2),
        tag("th", "saved", class_="n"),
    )
    occurring = [(class_, name) for class_, name, kinds in _STACK if sums.total.records[list(kinds)].any()]
    return section(
        "Passes",
        legend(occurring),
        tag("div", tag("table", tag("thead", heads), *bodies, class_="bars"), class_="wide"),
        *more(len(tallies), CHARTED, "blocks"),
        note("A pass is one sweep of the sender over a block. All bars of a column have one scale."),
    )


def _bars(sums: Stats, block: int) -> _Bars:
    """A block's passes in order with their labels. Where there are more than `BARS`, neighbours are summed up."""
    passes = sorted((number, tally) for (of, number), tally in sums.passes.items() if of == block)
    step = -(-len(passes) // BARS)
    out = []
    for start in range(0, len(passes), step):
        neighbours = passes[start : start + step]
        total = Tally()
        for _, tally in neighbours:
            total.add(tally)
        first, last = neighbours[0][0], neighbours[-1][0]
        out.append((f"{first}" if first == last else f"{first}-{last}", total))
    return out


def _body(sums: Stats, name: str, tally: Tally, bars: _Bars, most: int, widest: int) -> Markup:
    """The rows of one block under its title."""
    title = f"{tally.pages:,} records, {size_words(tally.page_wire)}"
    title += f", deltas save {size_words(sums.saved(tally))}" if tally.deltas else ""
    group = tag("tr", tag("th", code(name), f" {title}", colspan=6), class_="group")
    return tag("tbody", group, *(_row(sums, label, of_bar, most, widest) for label, of_bar in bars))


def _row(sums: Stats, label: str, tally: Tally, most: int, widest: int) -> Markup:
    return tag(
        "tr",
        tag("td", label, class_="n"),
        tag("td", _bar(label, "records", tally.records, most), class_="bar"),
        tag("td", f"{tally.pages:,}", class_="n"),
        tag("td", _bar(label, "bytes", tally.wire, widest), class_="bar"),
        tag("td", f"{tally.page_wire:,}", class_="n"),
        tag("td", f"{sums.saved(tally):,}" if tally.deltas else "", class_="n"),
    )


def _bar(label: str, unit: str, of_kind: NDArray[np.int64], most: int) -> Markup:
    """One stacked bar, 1000 units wide for ``most``."""
    parts, at = [], 0
    for class_, name, kinds in _STACK:
        count = int(of_kind[list(kinds)].sum())
        if count:
            x, width = 1000 * at / most, 1000 * count / most
            title = tag("title", f"pass {label}: {count:,} {unit} of kind {name}")
            parts.append(tag("rect", title, x=f"{x:.1f}", y=0, width=f"{width:.1f}", height=10, class_=class_))
            at += count
    return tag("svg", *parts, viewBox="0 0 1000 10", preserveAspectRatio="none", role="img")
