"""The list of findings: a tree of causes, or one line each in the order of the capture."""

from collections.abc import Callable

from rich.style import Style

from ...text import shown
from ...verify.rules import Finding, Severity
from ...verify.verdict import Verdict
from ..conclusion import shortened
from ..findingtree import Branch, Key, Node, branches, lines
from ..palette import Palette, style
from ..session import Session
from ..story import chain, in_line, over_stream
from ..words import SEVERITY_MARK, SEVERITY_RANK, SEVERITY_STYLE
from .lines import Line, Lines, fit

_BRANCH = ("strong", "warning", "note", "")  # the style of a branch, by its depth
_SAID = 50  # cells before what a finding says
_SAID_LEAST = 24  # cells of that, from which on it may be cut
_TEXT_CELLS = 62  # cells of a branch's text, from which on it leaves room for a line over the stream
_SPAN_LEAST = 16  # cells of that line


class FindingList(Lines):
    """The findings with the words that were typed, of the chosen severity or worse."""

    def __init__(self, session: Callable[[], Session], colours: Callable[[], Palette]) -> None:
        super().__init__(id="findings")
        self._session, self._colours = session, colours
        self.words: tuple[str, ...] = ()
        self.mildest = Severity.NOTE
        self.chosen: list[Finding] = []  # those in a row of the list, or the first below a row of the tree
        self.as_tree = True
        self.only_lasting = False
        self.turned: set[Key] = set()  # branches that were folded or unfolded
        self._branches: list[Branch] | None = None
        self._tree: list[Node] | None = None  # its lines, once all findings are there
        self._source: list[Finding] = []
        self._looked_at = 0  # findings of the source

    @property
    def shown(self) -> int:
        """How many findings are shown, folded branches among them."""
        if self._tree is not None and self._branches is not None:
            return sum(len(branch.findings) for branch in self._branches)
        return sum(self._wanted(f) for f in self._session().findings.listed)

    @property
    def narrowed(self) -> bool:
        """Whether some findings may be left out."""
        return bool(self.words) or self.mildest is not Severity.NOTE or (self.only_lasting and self.as_tree)

    def choose(self) -> None:
        """Go through all findings again."""
        self.chosen, self._looked_at, self._tree, self._branches = [], 0, None, None
        self.renew()

    def count(self) -> int:
        """How many lines are shown, for findings that came since among them. One says it where there is none."""
        session = self._session()
        if self.as_tree and session.verified and session.verdict is not None:
            self._renew_tree(session, session.verdict)
        else:
            self._renew_list(session.findings.listed)
        return len(self.chosen) or 1

    def _renew_tree(self, session: Session, verdict: Verdict) -> None:
        if self._tree is not None and self._source is session.findings.listed:
            return
        if self._branches is None or self._source is not session.findings.listed:
            self._source = session.findings.listed
            listed = zip(session.findings.listed, session.findings.causes, strict=True)
            made = None if self.narrowed else session.branches
            self._branches = branches(verdict, listed, self._wanted, self.only_lasting) if made is None else made
        self._tree = lines(self._branches, self.turned)
        self.chosen = [node.finding for node in self._tree]

    def _renew_list(self, findings: list[Finding]) -> None:
        if self._tree is not None:
            self._tree, self._source = None, []
        if findings is not self._source:  # those of another session
            self._source, self.chosen, self._looked_at = findings, [], 0
        new = findings[self._looked_at :]
        self._looked_at += len(new)
        self.chosen += [f for f in new if self._wanted(f)]

    def _wanted(self, finding: Finding) -> bool:
        if not self.words and self.mildest is Severity.NOTE:
            return True
        text = f"{finding.rule} {finding.message} {shown(finding.block or b'')} {finding.record}".lower()
        bad_enough = SEVERITY_RANK[finding.severity] <= SEVERITY_RANK[self.mildest]
        return bad_enough and all(word in text for word in self.words)

    def turn(self, row: int) -> None:
        """Fold or unfold a branch."""
        if self._tree and self._tree[row].is_open is not None:
            self.turned ^= {self._tree[row].key}
            self._tree = None
            self.renew()

    def line(self, row: int, width: int) -> Line:
        """Severity, rule, place, message. In the tree, branches say what is below them."""
        if not self.chosen:
            return [(f" {self._none()}", "dim")]
        node = self._tree[row] if self._tree is not None else None
        if node is None:
            return self._leaf(row, width)
        if node.branch is None:
            return [(" " * (2 * node.depth + 1), ""), *self._link(node.finding, row, width - 2 * node.depth - 1)]
        return self._branch(node, node.branch, width)

    def _branch(self, node: Node, branch: Branch, width: int) -> Line:
        """A branch: what is below it, and where there is room when that was over the stream."""
        colours = self._colours()
        shade: str | Style = _BRANCH[min(node.depth, len(_BRANCH) - 1)]
        if node.depth == 1:
            shade = style(colours.text(colours.wrong if branch.lasts else colours.healed), None, True)
        head: Line = [(f" {'  ' * node.depth}{'-' if node.is_open else '+'} ", "dim")]
        session = self._session()
        last = session.table.records if session.table is not None else 0
        room = min(40, width - _TEXT_CELLS)
        if room < _SPAN_LEAST or not len(branch.spans) or not branch.pages:
            return [*head, (shortened(node.text, width - 2 * node.depth - 3), shade)]
        cells = width - room - 2 * node.depth - 5
        text = fit(shortened(node.text, cells), cells)
        return [*head, (text, shade), (" ", ""), *over_stream(branch.spans, last, room, colours)]

    def _link(self, finding: Finding, row: int, width: int) -> Line:
        """A record of the tree: the chain that led to it, where there is one."""
        links = chain(finding)
        return in_line(links, self._colours()) if links else self._leaf(row, width)

    def _none(self) -> str:
        """Why there is nothing to show."""
        session = self._session()
        if not session.verified:
            return "verifying: nothing was found yet"
        if session.findings.listed and self.only_lasting and not self.words:
            return "no finding lasts to the end: F shows all"
        if session.findings.listed:
            return "no finding has these words and this severity: Escape clears the words, s shows milder ones"
        return "no findings: nothing that the rules look for is wrong or odd here"

    def _leaf(self, row: int, width: int) -> Line:
        """A finding. What it says ends with a whole part of its sentence."""
        f = self.chosen[row]
        room = width - _SAID
        said = shortened(f.message, room)
        where = f"record {f.record}" if f.record is not None else "-" if f.offset is None else f"@{f.offset:#x}"
        return [
            (f" {SEVERITY_MARK[f.severity]} {f.severity.value:8}", SEVERITY_STYLE[f.severity]),
            (fit(f.rule, 22), "strong"),
            (fit(where, 17), ""),
            (said if said == f.message or room >= _SAID_LEAST else "", "dim"),
        ]
