"""The findings: a list, what each means, and the records that it is about."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from ...text import shown
from ...verify.rules import RULES, Finding, Severity
from ..session import Session
from ..widgets.lines import Line, Lines, Text, fit
from .base import CaptureScreen
from .records import SEVERITY_MARK, SEVERITY_STYLE

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


class FindingList(Lines):
    """The findings that the words typed let through, and of the chosen severity or worse."""

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="findings")
        self._session = session
        self.words: tuple[str, ...] = ()
        self.least = Severity.NOTE
        self.chosen: list[Finding] = []
        self._seen = 0
        self._of: list[Finding] = []

    def choose(self) -> None:
        """Go through all findings again."""
        self.chosen, self._seen = [], 0
        self.renew()

    def count(self) -> int:
        """How many are shown; looks through those that are new."""
        findings = self._session().findings
        if findings is not self._of:  # those of another session
            self._of, self.chosen, self._seen = findings, [], 0
        new = findings[self._seen :]
        self._seen += len(new)
        self.chosen += [f for f in new if self._wanted(f)]
        return len(self.chosen)

    def _wanted(self, finding: Finding) -> bool:
        text = f"{finding.rule} {finding.message} {shown(finding.block or b'')} {finding.record}".lower()
        return _ORDER[finding.severity] <= _ORDER[self.least] and all(w in text for w in self.words)

    def line(self, row: int, width: int) -> Line:
        """Severity, rule, where, what."""
        f = self.chosen[row]
        where = f"record {f.record}" if f.record is not None else "-" if f.offset is None else f"@{f.offset:#x}"
        return [
            (f" {SEVERITY_MARK[f.severity]} {f.severity.value:8}", SEVERITY_STYLE[f.severity]),
            (fit(f.rule, 22), "strong"),
            (fit(where, 17), ""),
            (f.message, "dim"),
        ]


class Chain(Lines):
    """What a finding means, in lines; those that name a record can be opened."""

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="chain")
        self._session = session
        self.lines_: list[tuple[Line, int | None]] = []
        self.finding: Finding | None = None

    def show(self, finding: Finding | None) -> None:
        """Explain a finding."""
        if finding is not self.finding:
            self.cursor = 0
        self.finding = finding
        self.renew()

    def count(self) -> int:
        """How many lines it takes in this width."""
        session = self._session()
        if self.finding is not None:
            self.lines_ = explained(session, self.finding, max(20, self.size.width - 2))
        else:
            none = "no findings" if session.verified and not session.findings else "nothing to show yet"
            self.lines_ = [([(f" {none}", "dim")], None)]
        return len(self.lines_)

    def line(self, row: int, width: int) -> Line:
        """One of them."""
        return self.lines_[row][0]


def wrapped(text: str, width: int, indent: str = " ") -> list[str]:
    """Text in lines of at most ``width`` cells, broken at blanks where there are some."""
    lines, rest = [], text
    room = max(10, width - len(indent))
    while len(rest) > room:
        at = rest.rfind(" ", 0, room + 1)
        at = at if at > room // 2 else room
        lines.append(indent + rest[:at])
        rest = rest[at:].lstrip(" ")
    return [*lines, indent + rest]


def explained(session: Session, finding: Finding, width: int) -> list[tuple[Line, int | None]]:
    """The lines that explain a finding, each with the row that it leads to, or None."""
    style = SEVERITY_STYLE[finding.severity]
    out: list[tuple[Line, int | None]] = [([(f" {finding.severity.value} {finding.rule}", style)], None)]
    out += [([(text, "strong")], None) for text in wrapped(RULES[finding.rule].meaning, width)]
    if finding.message != RULES[finding.rule].meaning:
        out += [([(text, "")], None) for text in wrapped(finding.message, width)]
    chain = [(finding.record, "this record")]
    for name, value in finding.evidence.items():
        if name.endswith("record") and isinstance(value, int):
            chain.append((value, name.removesuffix("_record").replace("_", " ")))
    rows = sorted(
        (row, what)
        for n, what in chain
        if n and session.table is not None and (row := session.table.row_of(n)) is not None
    )
    for row, what in rows:
        record = session.record(row)
        if record is not None:
            line = f" -> record {record.number}  {record.kind.name.lower():7} {record.address:#x}  {what}"
            out.append(([(line, "linked")], row))
    if finding.record is None and finding.offset is not None and (row_at := session.row_of(finding)) is not None:
        out.append(([(f" -> the record before offset {finding.offset:#x}", "linked")], row_at))
    if finding.block is not None:
        page = "" if finding.page is None else f":{finding.page:#x}"
        out += [([(text, "dim")], None) for text in wrapped(f"page {shown(finding.block)}{page}", width)]
    facts = ", ".join(
        f"{k} {v:#x}" if isinstance(v, int) and v > 9 else f"{k} {v}" for k, v in finding.evidence.items()
    )
    if facts:
        out += [([(text, "dim")], None) for text in wrapped(f"evidence: {facts}", width)]
    return out


class FindingsScreen(CaptureScreen):
    """The list above, the explanation below."""

    MODE = "findings"
    DEFAULT_CSS = """
    FindingsScreen #said { height: 1; background: $surface; }
    FindingsScreen #chain { height: 8; border-top: solid $primary; }
    FindingsScreen Input { display: none; }
    FindingsScreen.asking Input { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter by words", show=False, key_display="/"),
        Binding("s", "severity", "only errors, errors and warnings, all", show=False),
        Binding("tab", "other", "to the explanation and back", show=False),
        Binding("escape", "clear", "leave or clear the filter", show=False),
    ]

    def body(self) -> ComposeResult:
        """The list, the words, the explanation."""
        said = Text(id="said")
        said.can_focus = False
        yield said
        yield FindingList(lambda: self.session)
        yield Input(placeholder="words that a finding must have", select_on_focus=False)
        yield Chain(lambda: self.session)

    def on_mount(self) -> None:
        """The list has the keys."""
        self.query_one(FindingList).focus()

    def follow(self) -> None:
        """Renew all."""
        self.grow()

    def grow(self) -> None:
        """More findings, or the last of them."""
        findings, session = self.query_one(FindingList), self.session
        findings.renew()
        counts = ", ".join(f"{n} {s.value}{'' if n == 1 else 's'}" for s, n in session.counts.items())
        state = "" if session.verified else " · verifying, more may come"
        total = sum(session.counts.values())
        if total > len(session.findings):
            state += f" · the first {len(session.findings)} are listed"
        if session.trouble:
            state += f" · {session.trouble}"
        narrowed = ""
        if findings.words or findings.least is not Severity.NOTE:
            narrowed = f" · {len(findings.chosen)} shown: {findings.least.value} or worse {' '.join(findings.words)}"
        self.query_one("#said", Text).show([[(f" {counts}", "strong"), (state + narrowed, "")]])
        self._explain()

    def _explain(self) -> None:
        findings, chain = self.query_one(FindingList), self.query_one(Chain)
        if findings.chosen:
            chain.show(findings.chosen[min(findings.cursor, len(findings.chosen) - 1)])
        else:
            chain.show(None)

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Explain the one under the cursor."""
        if isinstance(event.lines, FindingList):
            self._explain()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go to the record."""
        if isinstance(event.lines, FindingList):
            row = self.session.row_of(event.lines.chosen[event.row])
        elif isinstance(event.lines, Chain):
            row = event.lines.lines_[event.row][1]
        if row is None:
            self.browser.say("this names no record", "warning")
            return
        self.browser.go(row)
        record = self.session.record(row)
        self.app.switch_mode("page" if record is not None and record.number is not None else "records")

    def action_filter(self) -> None:
        """Type words."""
        self.add_class("asking")
        self.query_one(Input).focus()

    def action_clear(self) -> None:
        """Out of the input first, then out of the filter."""
        if self.has_class("asking"):
            self.remove_class("asking")
            self.query_one(FindingList).focus()
        else:
            self.query_one(Input).value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what has these words."""
        findings = self.query_one(FindingList)
        findings.words = tuple(event.value.lower().split())
        findings.choose()
        self.grow()
        self._explain()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Back to the list."""
        self.action_clear()

    def action_severity(self) -> None:
        """Narrow by severity, in turn."""
        findings = self.query_one(FindingList)
        order = list(_ORDER)
        findings.least = order[(order.index(findings.least) + 1) % len(order)]
        findings.choose()
        self.grow()
        self._explain()

    def action_other(self) -> None:
        """Between the list and the explanation."""
        (self.query_one(Chain) if self.focused is not self.query_one(Chain) else self.query_one(FindingList)).focus()

    def copied(self) -> str | None:
        """The explanation."""
        lines = self.query_one(Chain).lines_
        return "\n".join("".join(text for text, _ in line).strip() for line, _ in lines) if lines else None
