"""The overview: what the capture is, what it holds, and how much of it is wrong."""

from collections import Counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import BindingType

from ...analysis.facts import dialect_words
from ...formats.ram import PAGE_KINDS, Kind
from ...model import Facts
from ...text import shown
from ..widgets.lines import Line, TextLines, fit
from ..words import (
    KIND_LETTER,
    KIND_STYLE,
    SEVERITY_MARK,
    SEVERITY_STYLE,
    counted,
    escaped,
    kind_word,
    wrapped,
)
from .base import CaptureScreen

_BLOCKS = 16  # blocks that are listed. A stream can claim tens of thousands
_CHANNELS = 8  # channels that are listed
_PASSES = 64  # passes that are drawn
_RULES = 5  # rules that are listed, those with most findings
_LABEL = 11  # cells of a part's label
_COPIED_WIDTH = 80

#: A part of the page: its label and its lines.
Part = tuple[str, list[Line]]


def bar(counts: NDArray[np.int64], most: int, width: int) -> Line:
    """A bar of letters, P for PAGE and so on. ``counts`` (kinds,) that add up to ``most`` fill ``width``."""
    line: list[tuple[str, str]] = []
    for kind in PAGE_KINDS:
        if counts[kind]:
            cells = max(1, round(int(counts[kind]) * width / most))
            line.append((KIND_LETTER[kind] * cells, KIND_STYLE[kind]))
    return line


def _paragraph(text: str, width: int, style: str = "") -> list[Line]:
    return [[(line, style)] for line in wrapped(text, width, "")]


class OverviewScreen(CaptureScreen):
    """One page to read."""

    MODE = "overview"
    KEY = "1"
    TITLE = "Overview"
    HELP = "what the capture is and holds"
    BINDINGS: ClassVar[list[BindingType]] = []

    def body(self) -> ComposeResult:
        """Give the page."""
        yield TextLines(id="overview")

    def on_mount(self) -> None:
        """Give the keys to the page."""
        self.query_one("#overview").focus()

    def follow(self) -> None:
        """Write it anew."""
        self.grow()

    def on_resize(self) -> None:
        """Fit the bars to the new width."""
        super().on_resize()
        self.call_after_refresh(self.grow)

    def grow(self) -> None:
        """Write it anew, from what was read by now."""
        text = self.query_one("#overview", TextLines)
        width = text.scrollable_content_region.width
        lines: list[Line] = []
        for label, part in self._parts(width - _LABEL - 1):
            for i, line in enumerate(part):
                lines.append([(f" {label if i == 0 else '':{_LABEL - 1}}", "strong"), *line])
        text.show(lines)

    def _parts(self, width: int) -> list[Part]:
        facts = self.session.facts
        if facts is None:
            return [("reading", [[(escaped(self.session.capture.name), "")]])]
        return [
            ("capture", self._capture(facts, width)),
            ("dialect", _dialect(facts, width)),
            ("findings", self._findings()),
            ("records", self._records(width)),
            ("passes", self._passes(facts, width)),
            ("blocks", _blocks(facts, width)),
            ("sender", self._sender(width)),
        ]

    def _capture(self, facts: Facts, width: int) -> list[Line]:
        source = self.session.capture.source
        packed = f", packed as {source.wrapper}" if source.wrapper else ""
        packed += f", the stream begins at {facts.start:#x}" if facts.start else ""
        version = "no RAM section yet" if facts.ram_version is None else f"RAM section version {facts.ram_version}"
        footers = "" if facts.footers is None else ", footers" if facts.footers else ", no footers"
        machine = "" if facts.machine is None else f", machine {shown(facts.machine)}"
        text = f"QEVM version {facts.file_version}, {version}{footers}{machine}; {len(facts.sections)} sections"
        return [
            *_paragraph(escaped(source.name), width, "strong"),
            [(f"{source.size or 0} bytes{packed}; {facts.page_size}-byte pages", "")],
            *_paragraph(text, width),
            *self._channels(width),
            *self._state(facts, width),
        ]

    def _channels(self, width: int) -> list[Line]:
        """The other channels, a line each."""
        found = self.session.capture.channels
        if found is None:
            return []
        names = [(c.name, f"{len(c.packets)} packets, {c.pages} pages") for c in found.channels]
        names += [(p.name, f"preempt, {p.pages} pages") for p in found.preempt]
        lines = [f"channel {i}: {escaped(n)}, {w}" for i, (n, w) in zip(found.ids, names, strict=True)]
        more = [f"and {len(lines) - _CHANNELS} more channels"] if len(lines) > _CHANNELS else []
        return [line for text in (*lines[:_CHANNELS], *more) for line in _paragraph(text, width)]

    def _state(self, facts: Facts, width: int) -> list[Line]:
        """How much of the capture was read, and whether that is all of a stream."""
        if not self.session.complete:
            return [[(f"reading, {self.session.reached} bytes so far", "warning")]]
        if facts.damage is not None:
            return _paragraph(f"damaged at {facts.damage.offset:#x}: {facts.damage.message}", width, "error")
        if any(p.lost for p in facts.problems):
            return [[("not complete: channels are missing, damaged or of another migration", "error")]]
        return [[("complete", "good") if facts.complete else ("not complete: its end is missing", "warning")]]

    def _findings(self) -> list[Line]:
        session, line = self.session, list[tuple[str, str]]()
        for severity, count in session.findings.counts.items():
            style = SEVERITY_STYLE[severity] if count else "dim"
            line.append((f"{SEVERITY_MARK[severity]} {counted(count, severity.value)}   ", style))
        if not session.verified:
            line.append(("verifying", "warning"))
        elif session.trouble:
            line.append((session.trouble, "warning"))
        rules = Counter(f.rule for f in session.findings.listed)
        return [line, *([(f"{count:7} {rule}", "")] for rule, count in rules.most_common(_RULES))]

    def _records(self, width: int) -> list[Line]:
        total = self.session.stats.total
        every = max(1, int(total.wire.sum()))
        lines: list[Line] = [[(fit(f"{'kind':10} {'records':>10} {'bytes':>14} {'share':>6}", width), "title")]]
        for kind in Kind:
            count, size = int(total.records[kind]), int(total.wire[kind])
            if count:
                text = f" {count:10} {size:14} {100 * size / every:5.1f}%"
                lines.append([(fit(kind_word(kind), 10), KIND_STYLE.get(kind, "")), (text, "")])
        return lines

    def _passes(self, facts: Facts, width: int) -> list[Line]:
        """The passes over the block with most pages."""
        stats = self.session.stats
        if not stats.passes:
            return [[("none yet", "dim")]]
        letters = ", ".join(f"{KIND_LETTER[k]} {kind_word(k)}" for k in PAGE_KINDS if stats.total.records[k])
        blocks = stats.blocks()
        main = max(blocks, key=lambda b: blocks[b].pages)
        name = shown(facts.names[main]) if main < len(facts.names) else "no block"
        passes = {number: sums for (block, number), sums in stats.passes.items() if block == main}
        most = max(sums.pages for sums in passes.values())
        lines: list[Line] = [[(fit(f"of {name}; {letters}", width), "dim")]]
        for number in sorted(passes)[:_PASSES]:
            sums = passes[number]
            cells = bar(sums.records, most, max(10, width - 20))
            lines.append([(f"{number:4} ", "strong"), (f"{sums.pages:9} ", ""), *cells])
        if len(passes) > _PASSES:
            lines.append([(f"and {len(passes) - _PASSES} more", "dim")])
        return lines

    def _sender(self, width: int) -> list[Line]:
        sender = self.session.fingerprint
        if sender is None:
            return _paragraph(self.session.no_fingerprint, width, "dim")
        build = f"{sender.build} build" if sender.build is not None else "build not shown"
        text = f"the model predicts {sender.predicted} of {sender.choices} choices"
        text += "" if sender.first_miss is None else f"; the first that it misses is record {sender.first_miss}"
        most = "" if sender.cache_max is None else f", at most {sender.cache_max}"
        return [
            [(f"{build}, policy {sender.policy.value}", "")],
            *_paragraph(text, width),
            [(f"cache at least {sender.cache_min} bytes{most}", "")],
        ]

    def copied(self) -> str | None:
        """Give all of it."""
        text = self.query_one("#overview", TextLines)
        lines = (text.line(i, _COPIED_WIDTH) for i in range(text.count()))
        return "\n".join("".join(t for t, _ in line).rstrip() for line in lines)


def _dialect(facts: Facts, width: int) -> list[Line]:
    evidence = facts.reading.evidence
    lines = _paragraph(dialect_words(facts.reading), width, "strong" if evidence.name is not None else "")
    for reason in evidence.reasons if evidence.name is not None else ():
        lines += _paragraph(f"- {reason}", width, "dim")
    return lines


def _blocks(facts: Facts, width: int) -> list[Line]:
    lines: list[Line] = []
    for block in facts.blocks[:_BLOCKS]:
        length = f"{block.length:#14x}" if block.declared else "  not declared"
        lines.append([(fit(shown(block.name), max(8, width - 16)), ""), (length, "dim")])
    if len(facts.blocks) > _BLOCKS:
        lines.append([(f"and {len(facts.blocks) - _BLOCKS} more", "dim")])
    return lines or [[("none yet", "dim")]]
