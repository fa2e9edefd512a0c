"""The records: one line each, ten million as easily as a hundred; filter, marks, and ways from one to the next."""

import time
from bisect import bisect_right
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input
from textual.worker import get_current_worker

from ...errors import XbrleError
from ...filters import Filter, FilterError, parse
from ...table.growing import Record
from ...text import shown
from ...verify.rules import RULES, Severity
from ..session import Session
from ..widgets.lines import Line, Lines, Text, fit
from .base import KIND_STYLE, CaptureScreen, kind_word, stage_word

SEVERITY_MARK = {Severity.ERROR: "!", Severity.WARNING: "~", Severity.NOTE: "i"}
SEVERITY_STYLE = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}

_WAIT = 0.05  # seconds until a filter that has caught up looks for more records
_NAME_LEAST, _NAME_MAX = 12, 40  # cells of a block's name
_NAMES = 64  # names that are looked at for the longest
_FIXED = 71  # cells of a line beside the block's name


class Selection:
    """The rows of a session that a filter lets through, growing: one thread adds, others read."""

    def __init__(self, text: str, chosen: Filter, session: Session) -> None:
        self.text = text
        self.filter = chosen
        self.session = session
        self._pieces: list[NDArray[np.int64]] = []
        self._starts: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: NDArray[np.int64]) -> None:
        """Append rows, in order."""
        if len(rows):
            self._pieces.append(rows)
            self._starts.append(self._count)
            self._count += len(rows)

    def row(self, line: int) -> int:
        """The row on a line of the list."""
        piece = bisect_right(self._starts, line, hi=len(self._pieces)) - 1
        return int(self._pieces[piece][line - self._starts[piece]])

    def line(self, row: int) -> int:
        """The line of ``row``, or of the next row that is let through."""
        for start, rows in zip(self._starts, self._pieces, strict=False):
            if rows[-1] >= row:
                return start + int(np.searchsorted(rows, row))
        return max(0, self._count - 1)


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
        """All rows that were read, or the chosen ones."""
        return len(self.session) if self.selection is None else len(self.selection)

    def row(self, line: int) -> int:
        """The table's row on a line."""
        return line if self.selection is None else self.selection.row(line)

    def verdict(self, record: Record) -> tuple[str, str]:
        """What is known of the checksum that a record states."""
        session, row = self.session, record.row
        if not session.states_sum(record):
            return "-", "dim"
        if session.sum_is_wrong(row):
            return "WRONG", "error"
        if not session.verified:
            return "...", "dim"
        return ("ok", "good") if session.sum_was_checked(row, record) else ("?", "warning")

    def line(self, row: int, width: int) -> Line:
        """Marks, then the columns of `HEADS`."""
        row = self.row(row)
        record = self.session.record(row)
        if record is None:
            return []
        session = self.session
        severity = session.severity(row)
        mark = "B" if record.offset in session.bookmarks else "+" if row in session.marks else " "
        room = name_room(session, width)
        paged = record.number is not None
        where = f"{fit(shown(record.name), room)} {record.address:#11x}" if paged else " " * (room + 12)
        return [
            ((">" if row == session.row else " ") + mark, "strong"),
            (SEVERITY_MARK[severity] if severity else " ", SEVERITY_STYLE[severity] if severity else ""),
            (f"{record.number if paged else '-':>9}", "strong" if paged else "dim"),
            (f" {record.offset:#11x} ", "dim"),
            (f"{stage_word(record.stage):5} {record.pass_ if paged else '-':>4} ", ""),
            (f"{kind_word(record.kind):9}", KIND_STYLE.get(record.kind, "dim")),
            (f"{where} {record.length:6} ", ""),
            self.verdict(record),
        ]


def name_room(session: Session, width: int) -> int:
    """The cells of a block's name in lines of ``width``: the longest name's, where there are so many."""
    names = session.capture.found.blocks[:_NAMES]
    longest = max((len(shown(b.name)) for b in names), default=0)
    return max(4, min(max(_NAME_LEAST, longest), _NAME_MAX, width - _FIXED))


def heads(session: Session, width: int) -> Line:
    """The names of the columns."""
    name = fit("block", name_room(session, width))
    return [
        (
            f"   {'record':>9} {'offset':>11} {'stage':5} {'pass':>4} {'kind':8} {name} {'page':>11} {'length':>6} sum",
            "title",
        )
    ]


class RecordsScreen(CaptureScreen):
    """The list, with the filter under it."""

    MODE = "records"
    DEFAULT_CSS = """
    RecordsScreen #heads { height: 1; }
    RecordsScreen #said { height: 1; background: $surface; }
    RecordsScreen Input { display: none; }
    RecordsScreen.asking Input { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "finding(1)", "next finding", show=False),
        Binding("N", "finding(-1)", "finding before", show=False),
        Binding("c", "change(1)", "next change of this page", show=False),
        Binding("C", "change(-1)", "change of this page before", show=False),
        Binding("x", "kind(1)", "next change of kind", show=False),
        Binding("X", "kind(-1)", "change of kind before", show=False),
        Binding("slash", "filter", "filter records", show=False, key_display="/"),
        Binding("escape", "clear", "leave or clear the filter", show=False),
        Binding("m", "mark", "mark or unmark", show=False),
        Binding("apostrophe", "marked(1)", "next mark or bookmark", show=False, key_display="'"),
        Binding("quotation_mark", "marked(-1)", "mark or bookmark before", show=False, key_display='"'),
        Binding("f", "fields", "fields of this record", show=False),
    ]

    def body(self) -> ComposeResult:
        """Names of the columns, the list, what is said of the filter, the filter."""
        heading = Text(id="heads")
        heading.can_focus = False
        yield heading
        yield RecordList(lambda: self.session)
        said = Text(id="said")
        said.can_focus = False
        yield said
        yield Input(placeholder="kind:xbrle page:0x300000-0x33f000 len>1000", select_on_focus=False)

    @property
    def records(self) -> RecordList:
        """The list."""
        return self.query_one(RecordList)

    def on_mount(self) -> None:
        """The list has the keys."""
        self.records.renew()
        self.records.focus()

    def on_resize(self) -> None:
        """The columns' names follow the width."""
        super().on_resize()
        self.call_after_refresh(self._head)

    def _head(self) -> None:
        self.query_one("#heads", Text).show([heads(self.session, self.records.scrollable_content_region.width)])
        self._say()

    def follow(self) -> None:
        """Stand on the chosen record; a filter that hides it is dropped."""
        records = self.records
        records.renew()
        line = self.session.row
        if records.selection is not None and len(records.selection):
            line = records.selection.line(self.session.row)
            if records.selection.row(line) != self.session.row:
                self._drop("the filter hid this record and was dropped")
                line = self.session.row
        records.jump(line)
        self._head()

    def grow(self) -> None:
        """More records, or verdicts on them. A cursor at the end of all that is followed stays there."""
        records, selection = self.records, self.records.selection
        at_end = self.browser.following and selection is None and 0 < records.shown == records.cursor + 1
        if selection is not None and selection.session is not self.session:  # there is more of the capture
            self._start(selection.text, selection.filter)
        records.renew(forget=self.session.complete)
        if not self.session.complete:  # a block with a longer name may have come
            self._head()
        if at_end:
            records.cursor = records.shown - 1
        self._say()

    def _say(self, error: str | None = None) -> None:
        records, session = self.records, self.session
        said: Line
        if error is not None:
            said = [(f" ! {error}", "error")]
        elif records.selection is not None:
            said = [
                (f" filter {records.selection.text}", "strong"),
                (f" · {len(records.selection)} of {len(session)} rows · Escape clears it", "dim"),
            ]
        else:
            row = records.row(records.cursor) if records.count() else 0
            finding, here = session.finding(row), session.record(row)
            kept = session.bookmarks.get(here.offset) if here is not None else None
            if finding is not None:
                said = [(f" {finding.severity.value} {finding.rule}: ", "strong"), (finding.message, "")]
            elif kept is not None:
                said = [(f" bookmark: {kept.note}", "")]
            else:
                said = [(f" {len(session)} rows · / filter · n next finding · Enter opens the page · ? keys", "dim")]
        self.query_one("#said", Text).show([said])

    # -- the filter --------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter."""
        self.add_class("asking")
        self.query_one(Input).focus()

    def action_clear(self) -> None:
        """Out of the input first, then out of the filter."""
        if self.has_class("asking"):
            self.remove_class("asking")
            self.records.focus()
            self._say()
        elif self.records.selection is not None:
            self._drop(None)
            self.follow()

    def _drop(self, why: str | None) -> None:
        self.workers.cancel_group(self, "filter")
        self.records.selection = None
        self.query_one(Input).value = ""
        self.records.renew()
        if why is not None:
            self.browser.say(why)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what is wrong with it as it is typed, and show what it lets through."""
        text = event.value.strip()
        if not text:
            if self.records.selection is not None:
                self._drop(None)
                self.follow()
            return
        try:
            chosen = parse(text, RULES)
        except FilterError as error:
            where = f"character {error.position + 1}"
            self._say(f"{where}: " + str(error).removeprefix(f"{where} of filter {text!r}: "))
            return
        self._start(text, chosen)
        self._say()

    def _start(self, text: str, chosen: Filter) -> None:
        """Look for the rows that a filter lets through, from the first on."""
        selection = Selection(text, chosen, self.session)
        self.records.selection = selection
        self.records.renew()
        self.run_worker(lambda: self._choose(selection), thread=True, group="filter", exclusive=True)

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Back to the list."""
        self.remove_class("asking")
        self.records.focus()
        self._say()

    def _choose(self, selection: Selection) -> None:
        """Put every row through the filter, a piece at a time, as long as the table grows."""
        worker, session = get_current_worker(), selection.session
        piece, shown_at = 0, 0.0
        while not worker.is_cancelled:
            complete, table = session.complete, session.table
            if table is None or piece >= table.pieces:
                if complete:
                    break
                time.sleep(_WAIT)
                continue
            try:
                mask = selection.filter.mask(table.derive(piece), session.findings)
            except XbrleError as error:
                self.app.call_from_thread(self._say, str(error))
                return
            selection.add(np.flatnonzero(mask) + table.first(piece))
            piece += 1
            if time.monotonic() - shown_at > _WAIT:
                shown_at = time.monotonic()
                self.app.call_from_thread(self._chosen, selection)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._chosen, selection)

    def _chosen(self, selection: Selection) -> None:
        records = self.records
        if records.selection is not selection:
            return
        at = self.session.row
        records.renew()
        if len(selection) and selection.row(records.cursor) < at:
            records.jump(selection.line(at))
        self._say()

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """The cursor is the moment."""
        records = self.records
        if event.lines is not records or not records.count():
            return
        old, self.session.row = self.session.row, records.row(event.row)
        self.session.page = None
        for row in (old, self.session.row):
            records.forget(records.selection.line(row) if records.selection is not None else row)
        self.tell()
        self._say()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Enter opens the record's page, or its fields where it has none."""
        self.session.row, self.session.page = self.records.row(event.row), None
        record = self.session.record()
        self.app.switch_mode("page" if record is not None and record.number is not None else "fields")

    def action_finding(self, step: int) -> None:
        """To the next finding."""
        self.browser.go(self.session.next_finding(self.session.row, step))

    def action_change(self, step: int) -> None:
        """To the next record of this page."""
        self.browser.go(self.session.next_of_page(self.session.row, step))

    def action_kind(self, step: int) -> None:
        """To the next record of another kind."""
        self.browser.go(self.session.next_kind(self.session.row, step))

    def action_mark(self) -> None:
        """Mark this record for this session."""
        self.session.marks ^= {self.session.row}
        self.records.renew()

    def action_marked(self, step: int) -> None:
        """To the next mark."""
        self.browser.go(self.session.next_mark(self.session.row, step))

    def action_fields(self) -> None:
        """The grammar's view of it."""
        self.app.switch_mode("fields")

    def copied(self) -> str | None:
        """The line."""
        if not self.records.count():
            return None
        return "".join(text for text, _ in self.records.line(self.records.cursor, 120)).strip(" >+B")
