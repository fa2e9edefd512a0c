"""The records: one line each, ten million as easily as a hundred. Filter, marks, and ways from one to the next."""

import time
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.suggester import Suggester
from textual.widgets import Input
from textual.worker import get_current_worker

from ...errors import XbrleError
from ...filters import FIELDS, Filter, FilterError, completions, parse
from ...table.record import Record
from ...verify.rules import RULES
from ..conclusion import shortened
from ..preview import Look, preview
from ..selection import Selection
from ..session import Session
from ..widgets.lines import Caption, Line, Lines
from ..widgets.minimap import Minimap
from ..widgets.recordlist import RecordList
from ..words import counted
from . import names
from .base import CaptureScreen, Host

_WAIT = 0.05  # seconds until a filter that has caught up with the scan looks for more records
_COPIED_WIDTH = 120  # cells of a line that is copied
_WIDE = 120  # columns from which on a record's preview stands beside the list
_NARROW = 60  # and below which there is no map of findings
_RESTS = 0.08  # seconds that the cursor stands still before a record is looked into


class FilterSuggester(Suggester):
    """Completes a filter's last word."""

    def __init__(self, screen: "RecordsScreen") -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._screen = screen

    async def get_suggestion(self, value: str) -> str | None:
        """What the text can become that is likely first."""
        return next(iter(self._screen.completions(value)), None)


class RecordsScreen(CaptureScreen):
    """The list with the filter under it, and beside it where findings lie and what the chosen record is."""

    KEY, MODE, TITLE, SHORT, HELP = names.RECORDS[:5]
    ABOUT = "Lists all records in the order in which they were sent, and what findings say of each."
    DEFAULT_CSS = """
    RecordsScreen #heads { height: 1; }
    RecordsScreen #status { height: 1; background: $surface; }
    RecordsScreen #preview { display: none; width: 42%; max-width: 64; border-left: vkey $panel; }
    RecordsScreen.wide #preview { display: block; }
    RecordsScreen.narrow Minimap { display: none; }
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
        Binding("tab", "complete", "complete the word of a filter", show=False),
        Binding("m", "mark", "mark or unmark", show=False),
        Binding("apostrophe", "marked(1)", "next mark or bookmark", show=False, key_display="'"),
        Binding("quotation_mark", "marked(-1)", "previous mark or bookmark", show=False, key_display='"'),
        Binding("f", "fields", "fields of this record", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._previewed: object = None  # what the preview is of
        self._invalid: str | None = None  # what is wrong with the filter as it is typed

    def body(self) -> ComposeResult:
        """Give the names of the columns, the list, what is said of a row or of the filter, and the filter."""
        yield Caption(id="heads")
        with Horizontal():
            yield RecordList(lambda: self.session)
            yield Minimap(self.colours)
            yield Caption(id="preview")
        yield Caption(id="status")
        hint = "kind:xbrle page:0x300000-0x33f000 len>1000"
        yield Input(placeholder=hint, select_on_focus=False, suggester=FilterSuggester(self))

    @property
    def records(self) -> RecordList:
        """The list."""
        return self.query_one(RecordList)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.records.renew()
        self.records.focus()
        self.watch(self.records, "scroll_y", self._show_minimap)

    def on_resize(self) -> None:
        """Fit the names of the columns to the new width."""
        self.wear(wide=self.size.width >= _WIDE, narrow=self.size.width < _NARROW)
        self.call_after_refresh(self._show_heads)

    def _show_heads(self) -> None:
        self.query_one("#heads", Caption).show_line(self.records.heads())
        self._show_minimap()
        self._show_status()

    def on_record_list_laid_out(self) -> None:
        """Name the columns that there are now."""
        self._show_heads()

    def _show_minimap(self) -> None:
        """Show where findings lie, and what of the list is in sight."""
        minimap, session = self.query_one(Minimap), self.session
        minimap.palette, minimap.plain = self.colours, self.host.plain
        minimap.show(len(session), session.findings.marked_rows(), self.records.rows_in_sight())

    def on_minimap_pressed(self, event: Minimap.Pressed) -> None:
        """Go to the part that was clicked."""
        rows = len(self.session)
        self.host.go(min(rows - 1, event.place * rows // event.room) if rows else None)

    # -- the preview -------------------------------------------------------------------------------------------------

    def _preview(self) -> None:
        """Look into the chosen record, where there is room to say what it is."""
        if not self.has_class("wide"):
            return
        session, pane = self.session, self.query_one("#preview", Caption)
        record, size = session.record(), pane.scrollable_content_region.size
        of = session, session.row, session.view, session.findings.total, size, self.host.theme_name
        if record is None or of == self._previewed or not size.width:
            return
        self._previewed = of
        look = Look(self.colours, self.host.plain, size.width, size.height)
        work = partial(self._look_into, of, session, record, look)
        self.run_worker(work, thread=True, exclusive=True, group="preview", exit_on_error=False)

    def _look_into(self, of: object, session: Session, record: Record, look: Look) -> None:
        """Find out what a record is, once the cursor stands still. This is a thread's work."""
        time.sleep(_RESTS)
        if of != self._previewed:
            return
        try:
            lines = preview(session, record, look)
        except XbrleError as error:
            lines = [[(f" {session.reason(error)}", "warning")]]
        self.app.call_from_thread(self._show_preview, of, lines)

    def _show_preview(self, of: object, lines: list[Line]) -> None:
        if of == self._previewed:
            self.query_one("#preview", Caption).show(lines)

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
        self._preview()
        self._show_minimap()
        if self.has_class("asking") and self._invalid is not None:
            self._show_error(self._invalid)
        else:
            self.query_one("#status", Caption).show_line(self._status())

    def _status(self) -> Line:
        """What there is to say of the filter, or else of the row under the cursor."""
        records, session = self.records, self.session
        if self.has_class("asking"):
            return self._offers()
        if records.selection is not None:
            return [
                (f" filter {records.selection.text}", "strong"),
                (f" · {len(records.selection):,} of {len(session):,} rows · Escape clears it", "dim"),
            ]
        row = records.row(records.cursor) if records.count() else 0
        finding, record = session.findings.worst(row), session.record(row)
        bookmark = session.bookmarks.get(record.offset) if record is not None else None
        if finding is not None:
            head, width = f" {finding.severity.value} {finding.rule}", self.size.width or 80
            said = f": {shortened(finding.message, width - len(head) - 2)}"
            return [(head, "strong"), (said if len(head) + len(said) <= width else "", "")]
        if bookmark is not None:
            return [(f" bookmark: {bookmark.note}", "")]
        if session.complete and not len(session):
            return [(f" {session.no_record()}", "warning")]
        return [(f" {counted(len(session), 'row')} · / filter · n next finding · Enter opens the page · ? keys", "dim")]

    # -- the filter --------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Ask for a filter."""
        self.ask()
        self._show_status()

    def action_clear(self) -> None:
        """Leave the input, with the last filter that could be read, or else that filter."""
        if self.has_class("asking"):
            selection = self.records.selection
            with self.prevent(Input.Changed):
                self.query_one(Input).value = selection.text if selection is not None else ""
            self._invalid = None
            self.stop_asking(self.records)
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

    def completions(self, text: str) -> list[str]:
        """What the text of a filter can become."""
        facts = self.session.facts
        return completions(text, facts.names if facts is not None else (), RULES)

    def action_complete(self) -> None:
        """Complete the last word, to the first of what it can become."""
        field = self.query_one(Input)
        offered = self.completions(field.value) if self.has_class("asking") else []
        if offered:
            field.value = offered[0]
            field.cursor_position = len(field.value)

    def _offers(self) -> Line:
        """What the filter's last word can become, and how many rows it lets through."""
        text, selection = self.query_one(Input).value, self.records.selection
        through = "" if selection is None else f" {len(selection):,} of {len(self.session):,} rows"
        offered = self.completions(text)
        if not offered:
            words = " ".join(FIELDS) if not text or text.endswith(" ") else ""
            room = self.size.width - len(through) - 1
            kept = words if len(words) <= room else words[: room + 1].rpartition(" ")[0]  # no field is cut
            return [(through, "strong"), (f" {kept}", "dim")]
        begun = max(text.rfind(mark) for mark in " (!:=,<>") + 1
        words = "  ".join(whole[begun:] for whole in offered)
        return [(through, "strong"), (f" Tab: {words}", "dim")]

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what is wrong with a filter as it is typed, and show what it lets through."""
        text = event.value.strip()
        self._invalid = None
        if not text:
            if self.records.selection is not None:
                self._drop(None)
                self.follow()
            self._show_status()
            return
        try:
            row_filter = parse(text, RULES)
        except FilterError as error:
            where = f"character {error.position + 1}"
            self._invalid = f"{where}: " + str(error).removeprefix(f"{where} of filter {text!r}: ")
            self._show_error(self._invalid)
            return
        self._start(text, row_filter)
        self._show_status()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go back to the list. A filter that cannot be read stays, with what is wrong with it."""
        if self._invalid is not None:
            self.query_one("#status", Caption).show_line([(f" ! {self._invalid}", "error")])
            return
        self.stop_asking(self.records)
        self._show_status()

    def _show_error(self, message: str) -> None:
        """Show what is wrong with a filter, after what it can become."""
        offers = self._offers() if self.completions(self.query_one(Input).value) else []
        self.query_one("#status", Caption).show_line([*offers, (f" ! {message}", "error")])

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
        self.host.open_fields()

    def copied(self) -> str | None:
        """Give the line under the cursor."""
        if not self.records.count():
            return None
        return "".join(text for text, _ in self.records.line(self.records.cursor, _COPIED_WIDTH)).strip(" >+B")
