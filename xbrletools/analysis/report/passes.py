"""The sender's passes on the report's page: a bar for each, stacked by kind of record. Each block has its own scale."""

import numpy as np
from numpy.typing import NDArray

from ...formats.ram import Kind
from ...table.columns import NO_BLOCK
from ...text import shown
from ...verify.sentences import counted
from ..stats import Stats, Tally
from .gather import Report
from .markup import Markup, code, joined, legend, more, note, section, size_words, tag, wide

BARS = 48  # bars of a block; where it has more passes, a bar is several
CHARTED = 16  # blocks that have bars
OVER = 2  # how often the longest bar must be longer than the next, to run over

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
        return section("passes", "Passes", note("No record carries a page."))
    names = {i: shown(b.name) for i, b in enumerate(report.stream.blocks)} | {NO_BLOCK: "(no block)"}
    tallies = sums.blocks()
    charted = sorted(sorted(tallies, key=lambda b: -tallies[b].page_wire)[:CHARTED])
    bodies = [_body(sums, names[block], tallies[block], _bars(sums, block)) for block in charted]
    titles = (("pass", 1, ""), ("records", 2, ""), ("bytes on the wire", 2, ""), ("saved", 1, "n"))
    heads = [tag("th", t, scope="col", **_attributes(span, css)) for t, span, css in titles]
    occurring = [(class_, name) for class_, name, kinds in _STACK if sums.total.records[list(kinds)].any()]
    caption = "What each pass over each block sent"
    return section(
        "passes",
        "Passes",
        tag("p", "A pass is one sweep of the sender over a block. Each block has a scale of its own."),
        legend(occurring),
        wide(caption, tag("caption", caption), tag("thead", tag("tr", *heads)), *bodies, class_="bars"),
        *more(len(tallies) + sums.blocks_left_out, CHARTED, "blocks"),
        *([note(f"{sums.passes_left_out:,} later passes have no bar.")] if sums.passes_left_out else []),
    )


def _attributes(span: int, css: str) -> dict[str, object]:
    return ({"colspan": span} if span > 1 else {}) | ({"class_": css} if css else {})


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


def scale(lengths: list[int]) -> int:
    """The length of a full bar: that of the longest, or of the next where one is so much longer that it runs over."""
    ordered = sorted(lengths, reverse=True)
    return max(1, ordered[1] if len(ordered) > 2 and ordered[0] > OVER * ordered[1] else ordered[0])


def _body(sums: Stats, name: str, tally: Tally, bars: _Bars) -> Markup:
    """The rows of one block under its title, which says how long a full bar is."""
    most, widest = scale([t.pages for _, t in bars]), scale([t.page_wire for _, t in bars])
    title = f"{counted(tally.pages, 'record')}, {size_words(tally.page_wire)}"
    title += f", deltas save {size_words(sums.saved(tally))}" if tally.deltas else ""
    full = f"A full bar: {counted(most, 'record')}, {size_words(widest)}."
    if any(t.pages > most or t.page_wire > widest for _, t in bars):
        full += " A bar that ends in ▸ runs over."
    group = tag("tr", tag("th", code(name), f" {title}. {full}", colspan=6, scope="rowgroup"), class_="group")
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
    """One stacked bar, 1000 units wide for ``most``. What runs over ends in a mark."""
    parts, at, told = [], 0, []
    for class_, name, kinds in _STACK:
        count = int(of_kind[list(kinds)].sum())
        if count:
            x, end = min(1000.0, 1000 * at / most), min(1000.0, 1000 * (at + count) / most)
            told.append(f"{count:,} of kind {name}")
            if end > x:
                parts.append(tag("rect", x=f"{x:.1f}", y=0, width=f"{end - x:.1f}", height=10, class_=class_))
            at += count
    words = f"pass {label}: {', '.join(told) or 'no'} {unit}"
    drawing = tag("svg", *parts, viewBox="0 0 1000 10", preserveAspectRatio="none", role="img", aria_label=words)
    over = [tag("span", "▸", class_="over-mark", aria_hidden="true")] if at > most else []
    return tag("div", joined([drawing, *over]), class_="scaled")
