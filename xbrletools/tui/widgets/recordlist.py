"""The list of records, one line each. What is worth least is left out first where it is narrow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from textual.message import Message

from ...table.record import Record
from ...text import shown
from ..selection import Selection
from ..session import Session
from ..words import KIND_STYLE, SEVERITY_MARK, SEVERITY_STYLE, kind_word, stage_word
from .lines import Line, Lines, fit

_MARKS = 3  # cells before the columns
_NAME_LEAST, _NAME_MOST = 6, 40  # cells of a block's name
_NAMES = 64  # names among which the longest is looked for
_SAID = 18  # cells of what findings say
_WAY = 24  # cells of a channel and a packet


@dataclass(frozen=True, slots=True)
class _Column:
    """A column. ``worth`` says which is left out first where not all fit: the lowest."""

    head: str
    width: int
    worth: int
    right: bool
    piece: Callable[[Session, Record], tuple[str, str]]  # its text in a row, and the style of that


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the columns depend on: the ``width`` of a line, the digits of record numbers and of file offsets, the
    longest name of a block, and whether there are findings and channels.
    """

    width: int
    digits: int
    offset: int
    longest: int
    has_findings: bool
    has_channels: bool


class RecordList(Lines):
    """Every record, or those that a filter lets through."""

    class LaidOut(Message):
        """There are other columns than before."""

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="records")
        self._session = session
        self.selection: Selection | None = None
        self._layout = _Layout(0, 0, 0, 0, False, False)
        self._columns: Sequence[_Column] = ()

    @property
    def session(self) -> Session:
        """What all screens share."""
        return self._session()

    def count(self) -> int:
        """How many rows were read, or let through."""
        return len(self.session) if self.selection is None else len(self.selection)

    def row(self, line: int) -> int:
        """The table's row on a line."""
        return line if self.selection is None else self.selection.row(line)

    def line_of(self, row: int) -> int:
        """The line of a row of the table, or of the next row that is let through."""
        return row if self.selection is None else self.selection.line(row)

    def rows_in_sight(self) -> tuple[int, int]:
        """The first and the last of the table's rows that are in sight."""
        top, count = self.scroll_offset.y, self.count()
        last = min(count, top + max(1, self.scrollable_content_region.height)) - 1
        return (self.row(min(top, last)), self.row(last)) if count else (0, 0)

    def renew(self, forget: bool = True) -> None:
        """Show what has changed. With other columns, that is every line."""
        layout = self._laid_out()
        if layout != self._layout:
            self._layout, self._columns, forget = layout, _fitting(layout), True
            self.post_message(self.LaidOut())
        super().renew(forget)

    def _laid_out(self) -> "_Layout":
        """What the columns depend on."""
        session, width = self.session, self.scrollable_content_region.width
        table, facts = session.table, session.facts
        blocks = facts.blocks[:_NAMES] if facts is not None else ()
        return _Layout(
            width,
            max(6, len(str(table.records if table is not None else 0))),
            max(8, len(f"{session.capture.source.size or 0:#x}")),
            max((len(shown(b.name)) for b in blocks), default=0),
            bool(session.findings.listed),
            session.capture.channels is not None,
        )

    def line(self, row: int, width: int) -> Line:
        """Marks, then the columns of `heads`."""
        session, row = self.session, self.row(row)
        record = session.record(row)
        if record is None:
            return []
        severity = session.findings.severity(row)
        mark = "B" if record.offset in session.bookmarks else "+" if row in session.marks else " "
        out: list[tuple[str, str]] = [
            ((">" if row == session.row else " ") + mark, "strong"),
            (SEVERITY_MARK[severity] if severity else " ", SEVERITY_STYLE[severity] if severity else ""),
        ]
        columns = self._columns if width == self._layout.width else _fitting(replace(self._layout, width=width))
        for column in columns:
            text, style = column.piece(session, record)
            out.append((fit(text, column.width, column.right) + " ", style))
        return out

    def heads(self) -> Line:
        """The names of the columns."""
        return [(" " * _MARKS + " ".join(fit(c.head, c.width, c.right) for c in self._columns), "title")]


def _fitting(layout: _Layout) -> list[_Column]:
    """The columns that fit, in their order. That of the block's name takes what the others leave."""
    columns = _every(layout)
    room, chosen = layout.width - _MARKS, set[str]()
    for column in sorted(columns, key=lambda c: -c.worth):
        if column.width + 1 <= room:
            chosen.add(column.head)
            room -= column.width + 1
    longer = max(0, min(room, min(layout.longest, _NAME_MOST) - _NAME_LEAST))
    return [replace(c, width=c.width + longer * (c.head == "block")) for c in columns if c.head in chosen]


def _every(layout: _Layout) -> list[_Column]:
    """All columns in their order."""
    columns = [
        _Column("record", layout.digits, 10, True, lambda s, r: (_number(r.number), "strong" if r.number else "dim")),
        _Column("offset", layout.offset, 2, True, lambda s, r: (f"{r.offset:#x}", "dim")),
        _Column("stage", 5, 0, False, lambda s, r: (stage_word(r.stage), "")),
        _Column("pass", 4, 4, True, lambda s, r: (_number(r.pass_ if r.number is not None else None), "")),
        _Column("kind", 8, 9, False, lambda s, r: (kind_word(r.kind), KIND_STYLE.get(r.kind, "dim"))),
        _Column("block", _NAME_LEAST, 3, False, lambda s, r: (shown(r.name) if r.number is not None else "", "")),
        _Column("page", 11, 8, True, lambda s, r: (f"{r.address:#x}" if r.number is not None else "", "")),
        _Column("bytes", 6, 5, True, lambda s, r: (f"{r.length:,}", "")),
        _Column("sum", 5, 6, False, _sum_word),
    ]
    if layout.has_findings:
        columns.append(_Column("finding", _SAID, 7, False, _finding_word))
    if layout.has_channels:
        columns.append(_Column("came over", _WAY, 1, False, _way_word))
    return columns


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _finding_word(session: Session, record: Record) -> tuple[str, str]:
    """The rule of the finding that weighs most about a record."""
    found = session.findings.worst(record.row)
    return ("", "") if found is None else (found.rule, SEVERITY_STYLE[found.severity])


def _way_word(session: Session, record: Record) -> tuple[str, str]:
    """The channel that a record came over."""
    if record.channel is None:
        return "", ""
    return f"channel {record.channel}" + ("" if record.packet is None else f", packet {record.packet}"), "dim"


def _sum_word(session: Session, record: Record) -> tuple[str, str]:
    """What is known of the checksum that a record states."""
    row = record.row
    if record.channel is not None or not session.states_sum(record):
        return "-", "dim"
    if session.findings.sum_is_wrong(row):
        return "WRONG", "error"
    if not session.verified:
        return "...", "dim"
    return ("ok", "good") if session.findings.sum_was_checked(row, record) else ("?", "warning")
