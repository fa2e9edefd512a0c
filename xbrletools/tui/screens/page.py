"""One page as of the chosen record: its bytes old and new, what its delta says, and its whole story."""

from enum import Enum
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from ...errors import XbrleError
from ...memory.history import Content
from ...memory.replay import View
from ...memory.values import values
from ...table.growing import Record
from ...text import pattern, shown
from ..pagemoment import PageMoment, chosen_moment, places_of
from ..widgets.hexview import ByteMark, HexView, Mask
from ..widgets.lines import Caption, Line, Lines, fit
from ..widgets.runlist import RunList
from ..widgets.times import Step, Timeline
from ..words import KIND_LETTER, KIND_STYLE, SEVERITY_MARK, SEVERITY_STYLE, counted, kind_word, stage_word, wrapped
from .base import CaptureScreen, Host

WIDE = 120  # columns from which on the side panel stands beside the bytes
_WIDER = 188  # and where those are shown side by side
_VALUE_BYTES = 16
_NARROW_VALUES = ("u8", "u16le", "u32le", "u64le", "text")  # where there is no room for all
_HINT = " [changed] {differs between the ends} «both» <found> (run)"


class PageShows(Enum):
    """Which bytes of the page are shown."""

    NEW = "new"
    ENDS = "receiver | sender"
    DELTA = "delta"
    OLD = "old"
    BOTH = "old | new"

    @property
    def is_two(self) -> bool:
        """Whether bytes are shown side by side."""
        return self in (PageShows.ENDS, PageShows.BOTH)


class PageScreen(CaptureScreen):
    """The bytes, and beside or below them the runs and the values under the cursor."""

    MODE = "page"
    KEY = "3"
    TITLE = "Page"
    HELP = "a page's bytes, deltas and versions"
    DEFAULT_CSS = """
    PageScreen #what, PageScreen #sums, PageScreen #status { height: 1; }
    PageScreen #status { background: $surface; }
    PageScreen #special { height: auto; max-height: 2; }
    PageScreen #bytes { height: 1fr; }
    PageScreen #below { height: 6; border-top: solid $primary; }
    PageScreen #values { width: 3fr; }
    PageScreen #runs { width: 2fr; }
    PageScreen.wide #main { layout: horizontal; }
    PageScreen.wide #bytes { width: 1fr; min-width: 80; max-width: 144; }
    PageScreen.wide #below { width: 1fr; min-width: 42; height: 100%; layout: vertical; }
    PageScreen.wide #below { border-top: none; border-left: solid $primary; }
    PageScreen.wide #values { height: 13; width: 100%; }
    PageScreen.wide #runs { height: 1fr; width: 100%; border-top: solid $primary; }
    """
    KEYS = (
        ("[ ]", "version"),
        ("o", "new, old, delta"),
        ("v", "view"),
        ("d", "next changed"),
        ("/", "search"),
        ("f", "fields"),
        ("e", "export"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,right_square_bracket", "walk(1)", "next version", show=False),
        Binding("left,left_square_bracket", "walk(-1)", "previous version", show=False),
        Binding("o", "shows", "show new, old, delta, side by side", show=False),
        Binding("v", "view", "receiver's view or sender's", show=False),
        Binding("d", "changed(1)", "next changed or differing bytes", show=False),
        Binding("D", "changed(-1)", "previous changed or differing bytes", show=False),
        Binding("slash", "search", 'search: "text" or hexadecimal', show=False, key_display="/"),
        Binding("n", "match(1)", "next match in this version", show=False),
        Binding("N", "match(-1)", "previous match in this version", show=False),
        Binding("s", "matching_version(1)", "next version with a match", show=False),
        Binding("S", "matching_version(-1)", "previous version with a match", show=False),
        Binding("tab", "other", "to the runs and back", show=False),
        Binding("f", "fields", "fields of this version's record", show=False),
        Binding("escape", "clear", "leave or clear the search", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.shows = PageShows.NEW
        self.moment: PageMoment | None = None
        self.content: Content | None = None
        self.needle = b""
        self._places: list[int] = []  # where the needle is
        self._page_marks = np.zeros(0, np.uint8)  # changed and differing bytes

    def body(self) -> ComposeResult:
        """Give what page and moment it is, its versions, its bytes, its runs and values."""
        yield Caption(id="what")
        yield Caption(id="sums")
        yield Caption(id="special")
        yield Timeline()
        with Vertical(id="main"):
            yield HexView(id="bytes")
            with Horizontal(id="below"):
                yield Caption(id="values")
                yield RunList()
        yield Caption(id="status")
        yield Input(placeholder='"text" or de ad be ef', select_on_focus=False)

    @property
    def hex_view(self) -> HexView:
        """The bytes."""
        return self.query_one("#bytes", HexView)

    @property
    def run_list(self) -> RunList:
        """The runs."""
        return self.query_one(RunList)

    def on_mount(self) -> None:
        """Give the keys to the bytes."""
        self.hex_view.focus()

    def on_resize(self) -> None:
        """Put the panel beside the bytes where there is room, else below."""
        super().on_resize()
        self._lay_out()
        self.call_after_refresh(self.follow)

    def _lay_out(self) -> None:
        """Put the panel where there is room for it."""
        self.set_class(self.size.width >= (_WIDER if self.shows.is_two else WIDE), "wide")

    def grow(self) -> None:
        """Show findings that came, and further versions of the page."""
        if self.moment is None or len(self.moment.stream.records) < len(self.session):
            self.follow()
        else:
            self._show_versions(self.moment)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Show the page of the session's record, as of that record."""
        row = self.session.row
        try:
            self.moment = chosen_moment(self.session, self.moment)
            self._show(self.moment)
        except XbrleError as error:
            self.moment = None
            self._show_nothing(self.session.reason(error))
        if self.session.row != row:
            self.renew_top_bar()

    def _show_nothing(self, why: str) -> None:
        self.content = None
        self.query_one("#what", Caption).show_line([(f" {why}", "warning")])
        self.query_one("#sums", Caption).show([])
        self.query_one("#special", Caption).show([])
        self.query_one(Timeline).show([])
        self.hex_view.show_bytes(np.zeros(0, np.uint8))
        self._show_runs("no page")
        self._show_values()

    def _show(self, moment: PageMoment) -> None:
        view = self.session.view
        content = self.content = moment.content(view)
        old = moment.old_content(view)
        changed = content.differs(old) & old.recovered
        other = moment.content(View.SENDER if view is View.RECEIVER else View.RECEIVER)
        differs = content.differs(other)
        marks = np.where(changed, np.uint8(ByteMark.CHANGED), np.uint8(ByteMark.NONE))
        if self.shows is not PageShows.DELTA:  # a delta says nothing of what the ends have
            marks[differs] = np.where(changed[differs], ByteMark.BOTH, ByteMark.DIFFERS)
        self._page_marks = marks
        self.hex_view.tint(None if self.host.plain else self.colours)
        self._show_bytes(moment.history.address, old, content, other)
        self._search()
        self.query_one("#what", Caption).show_line(self._heading(moment))
        self.query_one("#sums", Caption).show_line(
            [
                _sum_words(*moment.sums(content)),
                *_count_words(changed, content.recovered & ~old.recovered, ~content.recovered, differs),
                *self._record_words(moment),
            ]
        )
        self.query_one("#special", Caption).show(self._special(moment))
        self._show_versions(moment)
        self._show_runs(self._why_no_runs(moment))
        self._show_values()

    def _show_bytes(self, base: int, old: Content, new: Content, other: Content) -> None:
        view, marks = self.hex_view, self._page_marks
        if self.shows is PageShows.NEW:
            view.show_bytes(new.data, new.recovered, marks, base)
        elif self.shows is PageShows.OLD:
            view.show_bytes(old.data, old.recovered, marks, base)
        elif self.shows is PageShows.DELTA:
            view.show_bytes(old.data ^ new.data, old.recovered & new.recovered, marks, base, only_marked=True)
        elif self.shows is PageShows.BOTH:
            view.show_bytes(new.data, new.recovered, marks, base, left=(old.data, old.recovered))
        else:
            ends = (new, other) if self.session.view is View.RECEIVER else (other, new)
            receiver, sender = ends
            view.show_bytes(sender.data, sender.recovered, marks, base, left=(receiver.data, receiver.recovered))

    def _heading(self, moment: PageMoment) -> Line:
        """The page, its record, and what is shown of it."""
        name, width = shown(moment.name), self.size.width
        text = f" {fit(name, min(len(name), max(8, width // 4)))}:{moment.history.address:#x}"
        record = self._record(moment)
        text += f" record {record.number} {kind_word(record.kind)}" if record else " before its first record"
        view = "" if self.shows is PageShows.ENDS else f" · {self.session.view.value} view"
        right = f"{self.shows.value}{view} "
        return [(fit(text, max(1, width - len(right))), "strong"), (right, "")]

    def _special(self, moment: PageMoment) -> list[Line]:
        """What findings say of this version, or nothing."""
        found = self.session.findings.worst(moment.row) if moment.row is not None else None
        if found is None:
            return []
        text = f"{SEVERITY_MARK[found.severity]} {found.rule}: {found.message}"
        lines: list[Line] = [[(line, SEVERITY_STYLE[found.severity])] for line in wrapped(text, self.size.width - 1)]
        return lines[:2]

    def _record(self, moment: PageMoment) -> Record | None:
        return self.session.record(moment.row) if moment.row is not None else None

    def _record_words(self, moment: PageMoment) -> Line:
        record = self._record(moment)
        if record is None:
            return []
        return [(f" · pass {record.pass_} {stage_word(record.stage)} @{record.offset:#x}", "dim")]

    def _show_versions(self, moment: PageMoment) -> None:
        session = self.session

        def step(version: int) -> Step | None:
            row = int(moment.history.rows[version])
            record = session.record(row)
            if record is None:
                return None
            severity = session.findings.severity(row)
            letter = KIND_LETTER[record.kind] + (SEVERITY_MARK[severity] if severity else "")
            return Step(letter, KIND_STYLE.get(record.kind, ""))

        self.query_one(Timeline).show_versions(len(moment.history), moment.version, step)

    def _why_no_runs(self, moment: PageMoment) -> str:
        record = self._record(moment)
        if record is None:
            return "not sent yet"
        return "the delta cannot be read" if moment.is_delta else f"{kind_word(record.kind)}: the whole page"

    def _show_runs(self, why_none: str) -> None:
        run_list = self.run_list
        run_list.show_runs(self.moment.runs() if self.moment is not None else [], why_none)
        place = run_list.holding(self.hex_view.at)
        if place is not None:
            run_list.jump(place)
        self._mark()

    def _mark(self) -> None:
        """ByteMark the bytes of the run under the cursor, where it gives some, and those that were searched for."""
        run, view = self.run_list.chosen, self.hex_view
        marks = self._page_marks.copy()
        if run is not None and run.value and len(marks):
            run_marks = marks[run.start : run.start + run.length]
            run_marks[run_marks <= ByteMark.LINKED] = ByteMark.LINKED
        for place in self._places:
            marks[place : place + len(self.needle)] = ByteMark.FOUND
        if len(marks) == len(view.data):
            view.marks = marks
            view.renew()

    def _show_values(self) -> None:
        """Show what numbers and text begin at the cursor."""
        view, caption = self.hex_view, self.query_one("#values", Caption)
        if self.content is None or not len(view.data):
            caption.show([])
            return
        here = slice(view.at, min(view.at + _VALUE_BYTES, len(view.data)))
        known = view.known[here]
        count = int(np.argmin(known)) if not known.all() else len(known)
        if not count:
            caption.show_line([(f" at {view.at:#05x}: unknown", "warning")])
            return
        texts = values(view.data[here][:count].tobytes())
        if self.has_class("wide"):
            lines: list[Line] = [[(f" {name:6}", "strong"), (text, "")] for name, text in texts]
            caption.show([[(f" at {view.at:#05x}", "title")], *lines])
            return
        by_name = dict(texts)
        names = [n for n in _NARROW_VALUES if n in by_name]
        heads = [f" {view.at:03x} {n:6}" if n == "u8" else f"     {n:6}" for n in names]
        caption.show([[(head, "strong"), (by_name[n], "")] for head, n in zip(heads, names, strict=True)])

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_hex_view_byte_moved(self, event: HexView.ByteMoved) -> None:
        """Choose the run that holds the byte, and show the byte's values."""
        place = self.run_list.holding(event.at)
        if place is not None and place != self.run_list.cursor:
            self.run_list.jump(place)
            self._mark()
        self._show_values()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Go to the bytes that the run stands for."""
        run = self.run_list.chosen
        if event.lines is self.run_list and run is not None:
            if not run.start <= self.hex_view.at < run.start + max(1, run.length):
                self.hex_view.move(run.start, post=False)
            self._mark()
            self._show_values()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Give the keys to the bytes of a run."""
        if isinstance(event.lines, RunList):
            self.hex_view.focus()

    def on_timeline_pressed(self, event: Timeline.Pressed) -> None:
        """Go to the version that was clicked."""
        self._walk_to(event.version)

    def _walk_to(self, version: int) -> None:
        """Make a version of this page the moment."""
        if self.moment is not None and 0 <= version < len(self.moment.history):
            self.host.go(int(self.moment.history.rows[version]), self.moment.place)

    def action_walk(self, step: int) -> None:
        """Go to the next version of this page."""
        if self.moment is not None:
            self._walk_to(self.moment.version + step)

    def action_shows(self) -> None:
        """Show other bytes of it, in turn."""
        order = list(PageShows)
        self.shows = order[(order.index(self.shows) + 1) % len(order)]
        self._lay_out()
        self.call_after_refresh(self.follow)

    def action_view(self) -> None:
        """Switch between the receiver's memory and the sender's."""
        self.session.view = View.SENDER if self.session.view is View.RECEIVER else View.RECEIVER
        self.follow()

    def action_changed(self, step: int) -> None:
        """Go to the next bytes that are changed or differ."""
        marked = self._page_marks != ByteMark.NONE
        starts = np.flatnonzero(marked & ~np.concatenate([[False], marked[:-1]]))
        at = self.hex_view.at
        onward = starts[starts > at] if step > 0 else starts[starts < at][::-1]
        if len(onward):
            self.hex_view.move(int(onward[0]))
        else:
            self.host.say("no more changed bytes", "warning")

    def action_other(self) -> None:
        """Switch the keys between bytes and runs."""
        (self.run_list if self.focused is self.hex_view else self.hex_view).focus()

    def action_fields(self) -> None:
        """Show the fields of this version's record."""
        if self.moment is not None and self.moment.row is not None:
            self.host.go(self.moment.row, self.session.page)
        self.app.switch_mode("fields")

    # -- search ------------------------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Ask what to search for."""
        self.ask()

    def action_clear(self) -> None:
        """Leave the input, or else the search."""
        if not self.stop_asking(self.hex_view):
            self.query_one(Input).value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed."""
        try:
            self.needle = pattern(event.value) if event.value.strip() else b""
        except XbrleError as error:
            self.needle = b""
            self._search()
            self.query_one("#status", Caption).show_line([(f" ! {error}", "error")])
            return
        self._search()
        self._mark()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go to the first match."""
        self.action_clear()
        if self._places and self.hex_view.at not in self._places:
            self.action_match(1)

    def _search(self) -> None:
        """Find the needle in the page as it is at the moment, and say how often it is there."""
        self._places = []
        status: Line = [(_HINT, "dim")]
        if self.needle and self.content is not None:
            self._places = places_of(self.needle, self.content)
            status = [
                (f" {self.needle[:12].hex(' ')}: {counted(len(self._places), 'place')} here", "strong"),
                (" · n next · s next version · Escape clears", "dim"),
            ]
        self.query_one("#status", Caption).show_line(status)

    def action_match(self, step: int) -> None:
        """Go to the next match in this version, after the last one to the first."""
        at, places = self.hex_view.at, self._places[::step]
        onward = [p for p in places if (p > at if step > 0 else p < at)]
        if places:
            self.hex_view.move((onward or places)[0])
        else:
            self.host.say("no match in this version", "warning")

    def action_matching_version(self, step: int) -> None:
        """Go to the next version with a match."""
        if self.moment is None or not self.needle:
            self.host.say("press / first, and enter what to search for", "warning")
            return
        for version, places in self.moment.matching_versions(self.needle, step, self.session.view):
            self._walk_to(version)
            self.hex_view.move(places[0])
            return
        self.host.say(f"no match in {'later' if step > 0 else 'earlier'} versions", "warning")

    def copied(self) -> str | None:
        """Give the bytes that are shown, in hexadecimal, unknown ones as question marks."""
        view = self.hex_view
        if self.content is None:
            return None
        return " ".join(f"{b:02x}" if k else "??" for b, k in zip(view.data.tolist(), view.known.tolist(), strict=True))


def _sum_words(stated: int | None, computed: int | None) -> tuple[str, str]:
    """The sum that a record states, and whether it is the page's."""
    if stated is None:
        return (f" sum {computed:#x}" if computed is not None else " sum unknown", "dim")
    if computed is None:
        return (f" sum stated {stated:#x}, page not fully known", "warning")
    if stated == computed:
        return (f" sum {stated:#x} ok", "good")
    return (f" sum WRONG: stated {stated:#x}, computed {computed:#x}", "error")


def _count_words(changed: Mask, first_given: Mask, unknown: Mask, differs: Mask) -> Line:
    """How many bytes are changed, known for the first time, unknown, and not the same in both views."""
    count = int(np.count_nonzero(changed))
    words: list[tuple[str, str]] = [(f" · {count} changed", "changed" if count else "")]
    if first_given.any():
        words.append((f" · {int(np.count_nonzero(first_given))} first given", ""))
    if unknown.any():
        words.append((f" · {int(np.count_nonzero(unknown))} unknown", "warning"))
    if differs.any():
        words.append((f" · {{{int(np.count_nonzero(differs))} differ}}", "differs"))
    return words
