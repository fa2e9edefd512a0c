"""The list of records, one line each."""

from collections.abc import Callable

from ...table.growing import Record
from ...text import shown
from ..selection import Selection
from ..session import Session
from ..words import KIND_STYLE, SEVERITY_MARK, SEVERITY_STYLE, kind_word, stage_word
from .lines import Line, Lines, fit

_NAME_LEAST, _NAME_MOST = 12, 40  # cells of a block's name
_NAMES = 64  # names among which the longest is looked for
_FIXED = 71  # cells of a line beside the block's name


class RecordList(Lines):
    """Every record, or those that a filter lets through."""

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="records")
        self._session = session
        self.selection: Selection | None = None

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

    def line(self, row: int, width: int) -> Line:
        """Marks, then the columns of `heads`."""
        session, row = self.session, self.row(row)
        record = session.record(row)
        if record is None:
            return []
        severity = session.findings.severity(row)
        mark = "B" if record.offset in session.bookmarks else "+" if row in session.marks else " "
        room = _name_room(session, width)
        paged = record.number is not None
        page = f"{fit(shown(record.name), room)} {record.address:#11x}" if paged else " " * (room + 12)
        return [
            ((">" if row == session.row else " ") + mark, "strong"),
            (SEVERITY_MARK[severity] if severity else " ", SEVERITY_STYLE[severity] if severity else ""),
            (f"{record.number if paged else '-':>9}", "strong" if paged else "dim"),
            (f" {record.offset:#11x} ", "dim"),
            (f"{stage_word(record.stage):5} {record.pass_ if paged else '-':>4} ", ""),
            (f"{kind_word(record.kind):9}", KIND_STYLE.get(record.kind, "dim")),
            (f"{page} {record.length:6} ", ""),
            _sum_word(session, record),
        ]

    def heads(self) -> Line:
        """The names of the columns."""
        name = fit("block", _name_room(self.session, self.scrollable_content_region.width))
        columns = (
            f"{'record':>9} {'offset':>11} {'stage':5} {'pass':>4} {'kind':8} {name} {'page':>11} {'length':>6} sum"
        )
        return [("   " + columns, "title")]


def _sum_word(session: Session, record: Record) -> tuple[str, str]:
    """What is known of the checksum that a record states."""
    row = record.row
    if record.channel is not None:
        return f"channel {record.channel}" + ("" if record.packet is None else f", packet {record.packet}"), "dim"
    if not session.states_sum(record):
        return "-", "dim"
    if session.findings.sum_is_wrong(row):
        return "WRONG", "error"
    if not session.verified:
        return "...", "dim"
    return ("ok", "good") if session.findings.sum_was_checked(row, record) else ("?", "warning")


def _name_room(session: Session, width: int) -> int:
    """The cells of a block's name in lines of ``width``: those of the longest name, where there are so many."""
    blocks = session.facts.blocks[:_NAMES] if session.facts is not None else ()
    longest = max((len(shown(b.name)) for b in blocks), default=0)
    return max(4, min(max(_NAME_LEAST, longest), _NAME_MOST, width - _FIXED))
