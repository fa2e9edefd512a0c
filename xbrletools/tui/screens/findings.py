"""The findings: a list, and for each what it means and which records it is about."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from ...text import shown
from ...verify.rules import RULES, Finding, Severity
from ..findingtree import Key, Node, tree
from ..session import Session
from ..widgets.lines import Caption, Line, Lines, fit
from ..words import SEVERITY_MARK, SEVERITY_RANK, SEVERITY_STYLE, counted, kind_word, wrapped
from .base import CaptureScreen

_BRANCH = ("strong", "warning", "note")  # the style of a branch, by its depth
#: A line of an explanation, and the row that it leads to.
Explained = tuple[Line, int | None]


class FindingList(Lines):
    """The findings with the words that were typed, of the chosen severity or worse."""

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="findings")
        self._session = session
        self.words: tuple[str, ...] = ()
        self.mildest = Severity.NOTE
        self.chosen: list[Finding] = []  # those in a row of the list, or the first below a row of the tree
        self.as_tree = True
        self.turned: set[Key] = set()  # branches that were folded or unfolded
        self._tree: list[Node] | None = None  # the tree, once all are there
        self._source: list[Finding] = []
        self._looked_at = 0  # findings of the source

    @property
    def shown(self) -> int:
        """How many findings are shown, folded ones among them."""
        return sum(self._wanted(f) for f in self._session().findings.listed)

    @property
    def narrowed(self) -> bool:
        """Whether some findings may be left out."""
        return bool(self.words) or self.mildest is not Severity.NOTE

    def choose(self) -> None:
        """Go through all findings again."""
        self.chosen, self._looked_at, self._tree = [], 0, None
        self.renew()

    def count(self) -> int:
        """How many lines are shown, for findings that came since among them."""
        session = self._session()
        if self.as_tree and session.verified and session.verdict is not None:
            if self._tree is None or self._source is not session.findings.listed:
                self._source = session.findings.listed
                listed = zip(session.findings.listed, session.findings.causes, strict=True)
                self._tree = tree(session.verdict, listed, self._wanted, self.turned)
                self.chosen = [node.finding for node in self._tree]
            return len(self._tree)
        if self._tree is not None:
            self._tree, self._source = None, []
        findings = session.findings.listed
        if findings is not self._source:  # those of another session
            self._source, self.chosen, self._looked_at = findings, [], 0
        new = findings[self._looked_at :]
        self._looked_at += len(new)
        self.chosen += [f for f in new if self._wanted(f)]
        return len(self.chosen)

    def _wanted(self, finding: Finding) -> bool:
        text = f"{finding.rule} {finding.message} {shown(finding.block or b'')} {finding.record}".lower()
        bad_enough = SEVERITY_RANK[finding.severity] <= SEVERITY_RANK[self.mildest]
        return bad_enough and all(word in text for word in self.words)

    def turn(self, row: int) -> None:
        """Fold or unfold a branch."""
        if self._tree is not None and self._tree[row].is_open is not None:
            self.turned ^= {self._tree[row].key}
            self._tree = None
            self.renew()

    def line(self, row: int, width: int) -> Line:
        """Severity, rule, place, message. In the tree, branches say what is below them."""
        node = self._tree[row] if self._tree is not None else None
        if node is not None and node.is_open is not None:
            return [(f" {'  ' * node.depth}{'-' if node.is_open else '+'} ", "dim"), (node.text, _BRANCH[node.depth])]
        return [(" " * (2 * node.depth + 1), ""), *self._leaf(row)] if node is not None else self._leaf(row)

    def _leaf(self, row: int) -> list[tuple[str, str]]:
        """A finding."""
        f = self.chosen[row]
        where = f"record {f.record}" if f.record is not None else "-" if f.offset is None else f"@{f.offset:#x}"
        return [
            (f" {SEVERITY_MARK[f.severity]} {f.severity.value:8}", SEVERITY_STYLE[f.severity]),
            (fit(f.rule, 22), "strong"),
            (fit(where, 17), ""),
            (f.message, "dim"),
        ]


class Explanation(Lines):
    """What a finding means. Lines that name a record can be opened."""

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="explanation")
        self._session = session
        self.explained: list[Explained] = []
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
            self.explained = explained(session, self.finding, max(20, self.size.width - 2))
        else:
            none = "nothing to show yet"
            if session.verified:
                none = "no finding has these words and this severity" if session.findings.listed else "no findings"
            self.explained = [([(f" {none}", "dim")], None)]
        return len(self.explained)

    def line(self, row: int, width: int) -> Line:
        """One of them."""
        return self.explained[row][0]


def explained(session: Session, finding: Finding, width: int) -> list[Explained]:
    """The lines that explain a finding."""
    style = SEVERITY_STYLE[finding.severity]
    sentence = RULES[finding.rule].sentence
    out: list[Explained] = [([(f" {finding.severity.value} {finding.rule}", style)], None)]
    out += _paragraph(sentence, width, "strong")
    if finding.message != sentence:
        out += _paragraph(finding.message, width, "")
    out += _chain(session, finding)
    if finding.block is not None:
        page = "" if finding.page is None else f":{finding.page:#x}"
        out += _paragraph(f"page {shown(finding.block)}{page}", width, "dim")
    evidence = ", ".join(
        f"{k} {v:#x}" if isinstance(v, int) and v > 9 else f"{k} {v}" for k, v in finding.evidence.items()
    )
    return out + (_paragraph(f"evidence: {evidence}", width, "dim") if evidence else [])


def _paragraph(text: str, width: int, style: str) -> list[Explained]:
    return [([(line, style)], None) for line in wrapped(text, width)]


def _chain(session: Session, finding: Finding) -> list[Explained]:
    """The records that a finding is about, in their order."""
    table, out = session.table, list[Explained]()
    numbers = [(finding.record, "this record")]
    for name, value in finding.evidence.items():
        if name.endswith("record") and isinstance(value, int):
            numbers.append((value, name.removesuffix("_record").replace("_", " ")))
    rows = sorted(
        (row, role) for n, role in numbers if n and table is not None and (row := table.row_of(n)) is not None
    )
    for row, role in rows:
        record = session.record(row)
        if record is not None:
            line = f" -> record {record.number}  {kind_word(record.kind):7} {record.address:#x}  {role}"
            out.append(([(line, "linked")], row))
    if finding.record is None and finding.offset is not None and (row_at := session.row_of(finding)) is not None:
        out.append(([(f" -> the record before offset {finding.offset:#x}", "linked")], row_at))
    return out


class FindingsScreen(CaptureScreen):
    """The list above, the explanation below."""

    MODE = "findings"
    KEY = "5"
    TITLE = "Findings"
    SHORT = "Find"
    HELP = "what is wrong, and why"
    DEFAULT_CSS = """
    FindingsScreen #status { height: 1; background: $surface; }
    FindingsScreen #explanation { height: 8; border-top: solid $primary; }
    """
    KEYS = (
        ("Enter", "page"),
        ("space", "fold"),
        ("o", "by cause, by place"),
        ("/", "filter"),
        ("s", "severity"),
        ("Tab", "why"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter by words", show=False, key_display="/"),
        Binding("space", "fold", "fold or unfold", show=False),
        Binding("o", "order", "by cause, or in the order of the capture", show=False),
        Binding("s", "severity", "only errors, errors and warnings, all", show=False),
        Binding("tab", "other", "to the explanation and back", show=False),
        Binding("escape", "clear", "leave or clear the filter", show=False),
    ]

    def body(self) -> ComposeResult:
        """Give the counts, the list, the filter, the explanation."""
        yield Caption(id="status")
        yield FindingList(lambda: self.session)
        yield Input(placeholder="words that a finding must have", select_on_focus=False)
        yield Explanation(lambda: self.session)

    @property
    def finding_list(self) -> FindingList:
        """The list."""
        return self.query_one(FindingList)

    @property
    def explanation(self) -> Explanation:
        """What the chosen finding means."""
        return self.query_one(Explanation)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.finding_list.focus()

    def follow(self) -> None:
        """Show all findings."""
        self.grow()

    def grow(self) -> None:
        """Show more findings, or that these are all."""
        self.finding_list.renew()
        self.query_one("#status", Caption).show_line(self._status())
        self._explain()

    def _status(self) -> Line:
        """How many there are, and which of them are shown."""
        session, findings = self.session, self.finding_list
        counts = ", ".join(counted(n, severity.value) for severity, n in session.findings.counts.items())
        state = "" if session.verified else " · verifying, more may come"
        if session.findings.total > len(session.findings.listed):
            state += f" · the first {len(session.findings.listed)} are listed"
        if session.trouble:
            state += f" · {session.trouble}"
        if findings.narrowed:
            state += f" · {findings.shown} shown: {findings.mildest.value} or worse {' '.join(findings.words)}"
        return [(f" {counts}", "strong"), (state, "")]

    def _explain(self) -> None:
        chosen = self.finding_list.chosen
        self.explanation.show(chosen[min(self.finding_list.cursor, len(chosen) - 1)] if chosen else None)

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Explain the finding under the cursor."""
        if isinstance(event.lines, FindingList):
            self._explain()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go to the record."""
        if isinstance(event.lines, FindingList):
            row = self.session.row_of(event.lines.chosen[event.row])
        else:
            row = self.explanation.explained[event.row][1]
        if row is None:
            self.host.say("this line does not lead to a record", "warning")
            return
        self.host.go(row)
        self.host.open_record(self.session.record(row), otherwise="records")

    def action_filter(self) -> None:
        """Ask for words."""
        self.ask()

    def action_clear(self) -> None:
        """Leave the input, or else the filter."""
        if not self.stop_asking(self.finding_list):
            self.query_one(Input).value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the findings with these words."""
        self.finding_list.words = tuple(event.value.lower().split())
        self.finding_list.choose()
        self.grow()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go back to the list."""
        self.action_clear()

    def action_severity(self) -> None:
        """Narrow by severity, in turn."""
        order = sorted(SEVERITY_RANK, key=lambda s: SEVERITY_RANK[s])
        self.finding_list.mildest = order[(order.index(self.finding_list.mildest) + 1) % len(order)]
        self.finding_list.choose()
        self.grow()

    def action_fold(self) -> None:
        """Fold or unfold a branch of the tree."""
        listed = self.finding_list
        if listed.chosen:
            listed.turn(listed.cursor)

    def action_order(self) -> None:
        """Show findings by their causes, or in the order of the capture."""
        self.finding_list.as_tree = not self.finding_list.as_tree
        self.finding_list.choose()
        self.grow()

    def action_other(self) -> None:
        """Switch the keys between the list and the explanation."""
        (self.finding_list if self.focused is self.explanation else self.explanation).focus()

    def copied(self) -> str | None:
        """Give the explanation."""
        lines = self.explanation.explained
        return "\n".join("".join(text for text, _ in line).strip() for line, _ in lines) if lines else None
