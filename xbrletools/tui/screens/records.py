"""The records: one line each, ten million as easily as a hundred. Filter, marks, and ways from one to the next."""

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input
from textual.worker import get_current_worker

from ...errors import XbrleError
from ...filters import Filter, FilterError, parse
from ...verify.rules import RULES
from ..selection import Selection
from ..widgets.lines import Caption, Line, Lines
from ..widgets.recordlist import RecordList
from .base import CaptureScreen

_WAIT = 0.05  # seconds until a filter that has caught up with the scan looks for more records
_COPIED_WIDTH = 120  # cells of a line that is copied


class RecordsScreen(CaptureScreen):
    """The list, with the filter under it."""

    MODE = "records"
    KEY = "2"
    TITLE = "Records"
    SHORT = "Rec"
    HELP = "every record, one line each"
    DEFAULT_CSS = """
    RecordsScreen #heads { height: 1; }
    RecordsScreen #status { height: 1; background: $surface; }
    """
    KEYS = (
        ("Enter", "page"),
        ("n N", "finding"),
        ("/", "filter"),
        ("c C", "change"),
        ("x", "kind"),
        ("m", "mark"),
        ("f", "fields"),
        (":", "go to"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "finding(1)", "next finding", show=False),
        Binding("N", "finding(-1)", "previous finding", show=False),
        Binding("c", "change(1)", "next change of this page", show=False),
        Binding("C", "change(-1)", "previous change of this page", show=False),
        Binding("x", "kind(1)", "next change of kind", show=False),
        Binding("X", "kind(-1)", "previous change of kind", show=False),
        Binding("slash", "filter", "filter records", show=False, key_display="/"),
        Binding("escape", "clear", "leave or clear the filter", show=False),
        Binding("m", "mark", "mark or unmark", show=False),
        Binding("apostrophe", "marked(1)", "next mark or bookmark", show=False, key_display="'"),
        Binding("quotation_mark", "marked(-1)", "previous mark or bookmark", show=False, key_display='"'),
        Binding("f", "fields", "fields of this record", show=False),
    ]

    def body(self) -> ComposeResult:
        """Give the names of the columns, the list, what is said of a row or of the filter, and the filter."""
        yield Caption(id="heads")
        yield RecordList(lambda: self.session)
        yield Caption(id="status")
        yield Input(placeholder="kind:xbrle page:0x300000-0x33f000 len>1000", select_on_focus=False)

    @property
    def records(self) -> RecordList:
        """The list."""
        return self.query_one(RecordList)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.records.renew()
        self.records.focus()

    def on_resize(self) -> None:
        """Fit the names of the columns to the new width."""
        super().on_resize()
        self.call_after_refresh(self._show_heads)

    def _show_heads(self) -> None:
        self.query_one("#heads", Caption).show_line(self.records.heads())
        self._show_status()

    def follow(self) -> None:
        """Put the cursor on the chosen record. A filter that hides it is dropped."""
        records, row = self.records, self.session.row
        records.renew()
        if records.selection is not None and len(records.selection) and records.row(records.line_of(row)) != row:
            self._drop("the filter hid this record and was dropped")
        records.jump(records.line_of(row) if records.count() else row)
        self._show_heads()

    def grow(self) -> None:
        """Show more records, or verdicts on them. A cursor at the end of a capture that is followed stays there."""
        records, selection = self.records, self.records.selection
        at_end = self.host.following and selection is None and 0 < records.renewed_count == records.cursor + 1
        if selection is not None and selection.session is not self.session:  # more of the capture was written
            self._start(selection.text, selection.filter)
        records.renew(forget=self.session.complete)
        if not self.session.complete:  # a block with a longer name may have come
            self._show_heads()
        if at_end:
            records.cursor = records.renewed_count - 1
        self._show_status()

    def _show_status(self) -> None:
        self.query_one("#status", Caption).show_line(self._status())

    def _status(self) -> Line:
        """What there is to say of the filter, or else of the row under the cursor."""
        records, session = self.records, self.session
        if records.selection is not None:
            return [
                (f" filter {records.selection.text}", "strong"),
                (f" · {len(records.selection)} of {len(session)} rows · Escape clears it", "dim"),
            ]
        row = records.row(records.cursor) if records.count() else 0
        finding, record = session.findings.worst(row), session.record(row)
        bookmark = session.bookmarks.get(record.offset) if record is not None else None
        if finding is not None:
            return [(f" {finding.severity.value} {finding.rule}: ", "strong"), (finding.message, "")]
        if bookmark is not None:
            return [(f" bookmark: {bookmark.note}", "")]
        return [(f" {len(session)} rows · / filter · n next finding · Enter opens the page · ? keys", "dim")]

    # -- the filter --------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Ask for a filter."""
        self.ask()

    def action_clear(self) -> None:
        """Leave the input, or else the filter."""
        if self.stop_asking(self.records):
            self._show_status()
        elif self.records.selection is not None:
            self._drop(None)
            self.follow()

    def _drop(self, why: str | None) -> None:
        self.workers.cancel_group(self, "filter")
        self.records.selection = None
        self.query_one(Input).value = ""
        self.records.renew()
        if why is not None:
            self.host.say(why)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what is wrong with a filter as it is typed, and show what it lets through."""
        text = event.value.strip()
        if not text:
            if self.records.selection is not None:
                self._drop(None)
                self.follow()
            return
        try:
            row_filter = parse(text, RULES)
        except FilterError as error:
            where = f"character {error.position + 1}"
            self._show_error(f"{where}: " + str(error).removeprefix(f"{where} of filter {text!r}: "))
            return
        self._start(text, row_filter)
        self._show_status()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go back to the list."""
        self.stop_asking(self.records)
        self._show_status()

    def _show_error(self, message: str) -> None:
        self.query_one("#status", Caption).show_line([(f" ! {message}", "error")])

    def _start(self, text: str, row_filter: Filter) -> None:
        """Find the rows that a filter lets through, from the first on."""
        selection = Selection(text, row_filter, self.session)
        self.records.selection = selection
        self.records.renew()
        self.run_worker(lambda: self._select(selection), thread=True, group="filter", exclusive=True)

    def _select(self, selection: Selection) -> None:
        """Put every row through the filter, a piece at a time, as long as the table grows: a thread's work."""
        worker, session, shown_at = get_current_worker(), selection.session, 0.0
        while not worker.is_cancelled:
            complete = session.complete
            try:
                searched = selection.search_next()
            except XbrleError as error:
                self.app.call_from_thread(self._show_error, str(error))
                return
            if not searched and complete:
                break
            if not searched:
                time.sleep(_WAIT)
            elif time.monotonic() - shown_at > _WAIT:
                shown_at = time.monotonic()
                self.app.call_from_thread(self._show_selection, selection)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show_selection, selection)

    def _show_selection(self, selection: Selection) -> None:
        """Show what a filter has let through by now."""
        records, row = self.records, self.session.row
        if records.selection is not selection:
            return
        records.renew()
        if len(selection) and selection.row(records.cursor) < row:
            records.jump(selection.line(row))
        self._show_status()

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Make the row under the cursor the moment."""
        records = self.records
        if event.lines is not records or not records.count():
            return
        old, self.session.row = self.session.row, records.row(event.row)
        self.session.page = None
        for row in (old, self.session.row):
            records.forget(records.line_of(row))
        self.renew_top_bar()
        self._show_status()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the record's page, or its fields where it does not carry one."""
        self.session.row, self.session.page = self.records.row(event.row), None
        self.host.open_record(self.session.record(), otherwise="fields")

    def action_finding(self, step: int) -> None:
        """Go to the next finding."""
        self.host.go(
            self.session.findings.next_row(self.session.row, step), missing="no more findings in this direction"
        )

    def action_change(self, step: int) -> None:
        """Go to the next record of this page."""
        self.host.go(
            self.session.next_of_page(self.session.row, step), missing="no more changes of this page in this direction"
        )

    def action_kind(self, step: int) -> None:
        """Go to the next record of another kind."""
        self.host.go(
            self.session.next_kind(self.session.row, step), missing="no record of another kind in this direction"
        )

    def action_mark(self) -> None:
        """Mark or unmark this record, until the program ends."""
        self.session.marks ^= {self.session.row}
        self.records.renew()

    def action_marked(self, step: int) -> None:
        """Go to the next mark or bookmark."""
        self.host.go(self.session.next_mark(self.session.row, step), missing="no more marks in this direction")

    def action_fields(self) -> None:
        """Show the fields of this record."""
        self.app.switch_mode("fields")

    def copied(self) -> str | None:
        """Give the line under the cursor."""
        if not self.records.count():
            return None
        return "".join(text for text, _ in self.records.line(self.records.cursor, _COPIED_WIDTH)).strip(" >+B")
