"""What a finding means: its rule, the chain of records that led to it, and what the page's bytes show."""

from collections.abc import Callable

from ...text import shown
from ...verify.rules import RULES, Finding
from ..evidence import Explained
from ..palette import Palette
from ..session import Session
from ..story import chain, in_lines, lanes
from ..words import SEVERITY_STYLE, kind_word, wrapped
from .lines import Line, Lines

_IN_HEX = {"offset", "start", "end", "stated", "computed", "blank", "flags", "padding", "byte"}  # last words of names
_TALL = 16  # lines from which on there is room for a timeline


class Explanation(Lines):
    """What a finding means. Lines that name a record can be opened."""

    def __init__(self, session: Callable[[], Session], colours: Callable[[], Palette]) -> None:
        super().__init__(id="explanation")
        self._session, self._colours = session, colours
        self.evidence: list[Explained] = []  # what the page's bytes show, once they were read
        self.explained: list[Explained] = []
        self.finding: Finding | None = None

    def show(self, finding: Finding | None) -> None:
        """Explain a finding."""
        if finding is not self.finding:
            self.cursor, self.evidence = 0, []
        self.finding = finding
        self.renew()

    def count(self) -> int:
        """How many lines it takes in this width."""
        session = self._session()
        if self.finding is not None:
            width = max(20, self.size.width - 2)
            tall = self.size.height >= _TALL
            self.explained = explained(session, self.finding, width, self._colours(), tall) + self.evidence
        else:
            self.explained = []
        return len(self.explained)

    def line(self, row: int, width: int) -> Line:
        """One of them."""
        return self.explained[row][0]


def explained(session: Session, finding: Finding, width: int, colours: Palette, tall: bool) -> list[Explained]:
    """The lines that explain a finding. The chain of its records takes four of them where there is room for it."""
    style = SEVERITY_STYLE[finding.severity]
    sentence = RULES[finding.rule].sentence
    out: list[Explained] = [([(f" {finding.severity.value} {finding.rule}", style)], None)]
    out += _paragraph(sentence, width, "strong")
    if finding.message != sentence:
        out += _paragraph(finding.message, width, "")
    links = chain(finding)
    if tall:
        out += [(line, None) for line in lanes(links, width, colours)]
    elif links:
        out += [([(" ", ""), *line], None) for line in in_lines(links, width - 1, colours)]
    out += _chain(session, finding)
    if finding.block is not None:
        page = "" if finding.page is None else f":{finding.page:#x}"
        out += _paragraph(f"page {shown(finding.block)}{page}", width, "dim")
    evidence = ", ".join(f"{k.replace('_', ' ')} {_value(k, v)}" for k, v in finding.evidence.items() if v is not None)
    return out + (_paragraph(f"evidence: {evidence}", width, "dim") if evidence else [])


def _value(name: str, value: object) -> str:
    """What evidence says: places and values in hexadecimal, counts and sizes in digits, numbers of records as such."""
    if not isinstance(value, int) or isinstance(value, bool) or name.endswith("record"):
        return str(value)
    return f"{value:#x}" if name.rpartition("_")[2] in _IN_HEX else f"{value:,}"


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
