"""The list of findings: a tree of causes, or one line each in the order of the capture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.style import Style

from ...text import shown
from ...verify.rules import CHECKSUM_MISMATCH, Finding, Severity
from ..conclusion import shortened
from ..findingtree import Branch, Key, Node, Tree, branches
from ..palette import Palette, style
from ..session import Session
from ..story import chain, in_line, over_stream
from ..words import SEVERITY_MARK, SEVERITY_RANK, SEVERITY_STYLE, counted, escaped
from .lines import Line, Lines, fit

_BRANCH = ("strong", "warning", "note", "")  # the style of a branch, by its depth
_WIDE = 90  # cells of a line from which on its columns have room to spare
_SAID_LEAST = 12  # cells of a part of what a finding says that tells something
_TEXT_CELLS = 62  # cells of a branch's text, from which on it leaves room for a line over the stream
_SPAN_LEAST = 16  # cells of that line


@dataclass(frozen=True, slots=True)
class Choice:
    """Which findings are wanted: with these words, of this severity or worse. As a tree, or in their order."""

    words: tuple[str, ...] = ()
    mildest: Severity = Severity.NOTE
    only_lasting: bool = False
    as_tree: bool = True

    @property
    def narrowed(self) -> bool:
        """Whether some findings may be left out."""
        return bool(self.words) or self.mildest is not Severity.NOTE or (self.only_lasting and self.as_tree)

    def in_words(self) -> str:
        """Which are wanted, in words: what leaves some out."""
        parts = []
        if self.only_lasting and self.as_tree:
            parts.append("wrong at the end")
        if self.mildest is not Severity.NOTE:
            parts.append("only errors" if self.mildest is Severity.ERROR else "errors and warnings")
        if self.words:
            parts.append(f"with {escaped(' '.join(self.words))}")
        return ", ".join(parts)

    def wants(self, finding: Finding) -> bool:
        """Whether a finding is wanted."""
        if SEVERITY_RANK[finding.severity] > SEVERITY_RANK[self.mildest]:
            return False
        if not self.words:
            return True
        text = f"{finding.rule} {finding.message} {shown(finding.block or b'')} {finding.record}".lower()
        return all(word in text for word in self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The findings of a choice, and the branches of the tree where it is one. ``count`` of them are shown."""

    findings: Sequence[Finding]
    branches: Sequence[Branch] | None
    count: int


def choose(session: Session, choice: Choice) -> Chosen:
    """The findings that are wanted. Where that leaves some out it takes long for many: a thread's work then."""
    found, concluded = session.findings, session.verdict
    as_tree = choice.as_tree and session.verified and concluded is not None
    if not choice.narrowed:
        return Chosen(found.listed, session.branches if as_tree else None, len(found.listed))
    if as_tree and concluded is not None:
        listed = zip(found.listed, found.causes, strict=True)
        made = branches(concluded, listed, choice.wants, choice.only_lasting)
        return Chosen((), made, sum(len(branch.findings) for branch in made))
    wanted = [f for f in found.listed if choice.wants(f)]
    return Chosen(wanted, None, len(wanted))


class FindingList(Lines):
    """The findings of a choice. `show` takes those that `choose` gives."""

    def __init__(self, session: Callable[[], Session], colours: Callable[[], Palette]) -> None:
        super().__init__(id="findings")
        self._session, self._colours = session, colours
        self.choice = Choice()
        self.found = Chosen((), None, 0)
        self.turned: set[Key] = set()  # branches that were folded or unfolded
        self._tree: Tree | None = None

    def show(self, found: Chosen) -> None:
        """Show other findings."""
        self.found = found
        self._tree = None if found.branches is None else Tree(found.branches, self.turned)
        self.renew()

    def finding(self, row: int) -> Finding | None:
        """The finding in a row, of the tree the first below it. None where there is none."""
        if not 0 <= row < self.rows:
            return None
        return self.found.findings[row] if self._tree is None else self._tree[row].finding

    @property
    def rows(self) -> int:
        """How many rows have a finding."""
        return len(self.found.findings if self._tree is None else self._tree)

    def count(self) -> int:
        """How many lines are shown. A tree ends with how its counts add up. Without findings, one line says so."""
        return self.rows + bool(self._sum()) or 1

    def validate_cursor(self, row: int) -> int:
        """Keep the cursor on a finding, off the line that says how they add up."""
        return max(0, min(row, self.rows - 1))

    def show_row(self, row: int, middle: bool = False) -> None:
        """Scroll until a row is in sight, with the last one also the line below it."""
        super().show_row(self.renewed_count - 1 if row == self.rows - 1 else row, middle)

    def _sum(self) -> str:
        """How the counts of the whole tree add up, nothing where that is plain."""
        found = self._session().findings
        sums, notes = found.rules[CHECKSUM_MISMATCH.id], found.counts[Severity.NOTE]
        if self._tree is None or self.choice.narrowed or not sums or found.total > len(found.listed):
            return ""
        parts = [f"{counted(sums, 'sum')} that {'fail' if sums > 1 else 'fails'}"]
        if why := found.total - sums - notes:
            parts.append(f"{why:,} that {'say' if why > 1 else 'says'} why")
        parts += [counted(notes, "note")] if notes else []
        return f"{counted(found.total, 'finding')} = {' + '.join(parts)}" if len(parts) > 1 else ""

    def turn(self, row: int) -> None:
        """Fold or unfold a branch."""
        if self._tree and row < self.rows and self._tree[row].is_open is not None:
            self.turned ^= {self._tree[row].key}
            self.show(self.found)

    def line(self, row: int, width: int) -> Line:
        """Severity, rule, place, message. In the tree, branches say what is below them."""
        if not self.rows:
            return [(f" {self._none()}", "dim")]
        if row == self.rows:
            return [(f" {self._sum()}", "dim")]
        if self._tree is None:
            return self._leaf(self.found.findings[row], width)
        node = self._tree[row]
        if node.branch is None:
            return [(" " * (2 * node.depth + 1), ""), *self._link(node.finding, width - 2 * node.depth - 1)]
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

    def _link(self, finding: Finding, width: int) -> Line:
        """A record of the tree: the chain that led to it, where there is one."""
        links = chain(finding)
        return in_line(links, width, self._colours()) if links else self._leaf(finding, width, tight=True)

    def _none(self) -> str:
        """Why there is nothing to show."""
        session = self._session()
        if not session.verified:
            return f"{'verifying' if session.complete else 'reading'}: nothing was found yet"
        if not session.findings.listed and session.verdict is None:
            return "not verified, so nothing is known"
        if not session.findings.listed:
            return "no findings: no rule finds anything wrong or odd here"
        choice = self.choice
        if choice.only_lasting and not choice.words and choice.mildest is Severity.NOTE:
            return "no finding lasts to the end: F shows all"
        ways = ["Escape: any words"] if choice.words else []
        ways += ["s: any severity"] if choice.mildest is not Severity.NOTE else []
        ways += ["F: all pages"] if choice.only_lasting else []
        return f"no finding fits · {' · '.join(ways)}"

    def _leaf(self, f: Finding, width: int, tight: bool = False) -> Line:
        """A finding. What it says ends with a whole part of its sentence. Where no part fits, columns may be tight."""
        where = f"record {f.record}" if f.record is not None else "-" if f.offset is None else f"@{f.offset:#x}"
        cells = [8, 22, 17] if width >= _WIDE else [8, 19, 13]
        said = shortened(f.message, width - 3 - sum(cells))
        if tight and len(said) > width - 3 - sum(cells):
            cells = [8, len(f.rule) + 2, len(where) + 2]
            said = shortened(f.message, width - 3 - sum(cells))
        tells = len(said) <= width - 3 - sum(cells) and (said == f.message or len(said) >= _SAID_LEAST)
        return [
            (f" {SEVERITY_MARK[f.severity]} {f.severity.value:{cells[0]}}", SEVERITY_STYLE[f.severity]),
            (fit(f.rule, cells[1]), "strong"),
            (fit(where, cells[2]), ""),
            (said if tells else "", "dim"),  # the pane beside or below says it all
        ]
