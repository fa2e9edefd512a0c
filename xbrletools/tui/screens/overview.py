"""The overview: what the capture is, what it holds, and how much of it is wrong."""

from collections import Counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import BindingType

from ...formats.ram import PAGE_KINDS, Kind
from ...text import shown
from ..widgets.lines import Line, Text, fit
from .base import KIND_LETTER, KIND_STYLE, CaptureScreen, kind_word
from .findings import wrapped
from .records import SEVERITY_MARK, SEVERITY_STYLE

_BLOCKS = 16  # blocks that are listed; a stream can claim tens of thousands
_PASSES = 64  # passes that are drawn
_LABEL = 11


def bar(counts: NDArray[np.int64], most: int, width: int) -> Line:
    """A bar of letters, P for PAGE and so on, as long as ``counts`` (kinds,) are of ``most``."""
    line: list[tuple[str, str]] = []
    for kind in PAGE_KINDS:
        if counts[kind]:
            cells = max(1, round(int(counts[kind]) * width / most))
            line.append((KIND_LETTER[kind] * cells, KIND_STYLE[kind]))
    return line


class OverviewScreen(CaptureScreen):
    """One page to read."""

    MODE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = []

    def body(self) -> ComposeResult:
        """The page."""
        yield Text(id="overview")

    def on_mount(self) -> None:
        """It has the keys."""
        self.query_one("#overview").focus()

    def follow(self) -> None:
        """Write it anew."""
        self.grow()

    def on_resize(self) -> None:
        """The bars follow the width."""
        super().on_resize()
        self.call_after_refresh(self.grow)

    def grow(self) -> None:
        """Write it anew, from what is there by now."""
        text = self.query_one("#overview", Text)
        width = text.scrollable_content_region.width
        lines: list[Line] = []
        for label, part in self._parts(width - _LABEL - 1):
            for i, line in enumerate(part):
                lines.append([(f" {label if i == 0 else '':{_LABEL - 1}}", "strong"), *line])
        text.show(lines)

    def _parts(self, width: int) -> list[tuple[str, list[Line]]]:
        session = self.session
        if session.table is None:
            return [("reading", [[(shown(session.capture.name.encode("utf-8", "surrogateescape")), "")]])]
        return [
            ("capture", self._capture(width)),
            ("dialect", self._dialect(width)),
            ("findings", self._findings()),
            ("records", self._records(width)),
            ("passes", self._passes(width)),
            ("blocks", self._blocks(width)),
            *self._sender(width),
        ]

    def _capture(self, width: int) -> list[Line]:
        session, scanner = self.session, self.session.capture.found if self.session.table is not None else None
        assert scanner is not None
        size = session.capture.source.size or 0
        name = shown(session.capture.name.encode("utf-8", "surrogateescape"))
        lines: list[Line] = [[(text, "strong")] for text in wrapped(name, width, "")]
        packed = f", packed as {session.capture.source.wrapper}" if session.capture.source.wrapper else ""
        lines.append([(f"{size} bytes{packed}; {scanner.reading.page_size}-byte pages", "")])
        version = "no RAM section yet" if scanner.ram_version is None else f"RAM section version {scanner.ram_version}"
        footers = "" if scanner.footers is None else ", footers" if scanner.footers else ", no footers"
        machine = "" if scanner.machine is None else f", machine {shown(scanner.machine)}"
        text = f"QEVM version {scanner.file_version}, {version}{footers}{machine}; {len(scanner.sections)} sections"
        lines += [[(t, "")] for t in wrapped(text, width, "")]
        if session.complete:
            damage = session.capture.damage
            if damage is None:
                lines.append([("complete", "good") if scanner.complete else ("not complete", "warning")])
            else:
                lines += [
                    [(t, "error")] for t in wrapped(f"damaged at {damage.offset:#x}: {damage.message}", width, "")
                ]
        else:
            lines.append([(f"reading, {session.reached} bytes so far", "warning")])
        return lines

    def _dialect(self, width: int) -> list[Line]:
        assert self.session.table is not None
        evidence = self.session.capture.found.reading.evidence
        if evidence.name is None:
            text = f"no delta shows it; it can be any of {', '.join(evidence.candidates) or 'none'}"
            return [[(t, "")] for t in wrapped(text, width, "")]
        how = " (forced)" if evidence.forced else ""
        lines: list[Line] = [[(f"{evidence.name}{how}", "strong"), (f", {evidence.endian}-endian host", "")]]
        for reason in evidence.reasons:
            lines += [[(t, "dim")] for t in wrapped(f"- {reason}", width, "")]
        return lines

    def _findings(self) -> list[Line]:
        session = self.session
        line: list[tuple[str, str]] = []
        for severity, count in session.counts.items():
            style = SEVERITY_STYLE[severity] if count else "dim"
            line.append((f"{SEVERITY_MARK[severity]} {count} {severity.value}{'' if count == 1 else 's'}   ", style))
        if not session.verified:
            line.append(("verifying", "warning"))
        elif session.trouble:
            line.append((session.trouble, "warning"))
        rules = Counter(f.rule for f in session.findings)
        return [line, *([(f"{count:7} {rule}", "")] for rule, count in rules.most_common(5))]

    def _records(self, width: int) -> list[Line]:
        stats = self.session.stats
        total = max(1, int(stats.total.wire.sum()))
        lines: list[Line] = [[(fit(f"{'kind':10} {'records':>10} {'bytes':>14} {'share':>6}", width), "title")]]
        for kind in Kind:
            count, size = int(stats.total.records[kind]), int(stats.total.wire[kind])
            if count:
                text = f" {count:10} {size:14} {100 * size / total:5.1f}%"
                lines.append([(fit(kind_word(kind), 10), KIND_STYLE.get(kind, "")), (text, "")])
        return lines

    def _passes(self, width: int) -> list[Line]:
        stats, table = self.session.stats, self.session.table
        assert table is not None
        if not stats.passes:
            return [[("none yet", "dim")]]
        letters = ", ".join(f"{KIND_LETTER[k]} {kind_word(k)}" for k in PAGE_KINDS if stats.total.records[k])
        main = max(stats.blocks(), key=lambda b: stats.blocks()[b].pages)
        name = shown(table.names[main]) if main < len(table.names) else "no block"
        mine = {number: sums for (block, number), sums in stats.passes.items() if block == main}
        most = max(sums.pages for sums in mine.values())
        lines: list[Line] = [[(fit(f"of {name}; {letters}", width), "dim")]]
        for number in sorted(mine)[:_PASSES]:
            sums = mine[number]
            lines.append(
                [(f"{number:4} ", "strong"), (f"{sums.pages:9} ", ""), *bar(sums.records, most, max(10, width - 20))]
            )
        if len(mine) > _PASSES:
            lines.append([(f"and {len(mine) - _PASSES} more", "dim")])
        return lines

    def _blocks(self, width: int) -> list[Line]:
        assert self.session.table is not None
        blocks = self.session.capture.found.blocks
        lines: list[Line] = []
        for block in blocks[:_BLOCKS]:
            length = f"{block.length:#14x}" if block.declared else "  not declared"
            lines.append([(fit(shown(block.name), max(8, width - 16)), ""), (length, "dim")])
        if len(blocks) > _BLOCKS:
            lines.append([(f"and {len(blocks) - _BLOCKS} more", "dim")])
        return lines or [[("none yet", "dim")]]

    def _sender(self, width: int) -> list[tuple[str, list[Line]]]:
        found = self.session.fingerprint
        if found is None:
            return [("sender", [[(t, "dim")] for t in wrapped(self.session.no_fingerprint, width, "")])]
        build = f"{found.build} build" if found.build is not None else "build not shown"
        lines: list[Line] = [[(f"{build}, policy {found.policy.value}", "")]]
        text = f"the model predicts {found.predicted} of {found.choices} choices"
        text += "" if found.first_miss is None else f"; the first that it does not is record {found.first_miss}"
        lines += [[(t, "")] for t in wrapped(text, width, "")]
        most = "" if found.cache_max is None else f", at most {found.cache_max}"
        lines.append([(f"cache at least {found.cache_min} bytes{most}", "")])
        return [("sender", lines)]

    def copied(self) -> str | None:
        """All of it."""
        text = self.query_one("#overview", Text)
        return "\n".join("".join(t for t, _ in text.line(i, 80)).rstrip() for i in range(text.count()))
