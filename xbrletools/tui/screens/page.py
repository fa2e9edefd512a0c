"""One page as of the chosen record: its bytes old and new, what its delta says, and its whole story."""

from functools import partial
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from ...errors import XbrleError
from ...memory.history import Content
from ...memory.replay import View
from ...table.record import Record
from ...text import pattern
from ..comparison import contents, side_words, sides_of
from ..pagemoment import PageMoment, chosen_moment, places_of
from ..pagewords import (
    PageShows,
    bytes_of,
    count_words,
    heading,
    match_words,
    place_words,
    step_of,
    sum_words,
    sums_of_both,
    value_lines,
    why_no_runs,
)
from ..special import special_lines
from ..widgets.hexview import ByteMark, HexView, hexadecimal
from ..widgets.lines import Caption, Line, Lines
from ..widgets.pagestrip import PageStrip
from ..widgets.runlist import RunList
from ..widgets.times import Timeline
from . import names
from .base import CaptureScreen, Host

WIDE = 120  # columns from which on the side panel stands beside the bytes
_WIDER = 196  # and where those are shown side by side
_ROOMY = 100  # columns from which on a strip of the page stands beside the bytes
_PANELLED = 30  # lines from which on values and runs stand below two sides, unless the user says otherwise
_LOW = 23  # and below one side
_TALL = 36  # lines from which on the versions have three
_HINT = " [changed] {differs between the ends} «both» <found> (run)"


class PageScreen(CaptureScreen):
    """The bytes, and beside or below them the runs and the values under the cursor."""

    KEY, MODE, TITLE, SHORT, HELP = names.PAGE[:5]
    ABOUT = "Shows a page just after the chosen record, as the receiver and the sender had it, and all its versions."
    DEFAULT_CSS = """
    PageScreen #what, PageScreen #sums, PageScreen #status, PageScreen #heads { height: 1; }
    PageScreen #status { background: $surface; }
    PageScreen #special { height: auto; max-height: 3; }
    PageScreen #page { height: 1fr; }
    PageScreen #below { height: 6; border-top: solid $primary; }
    PageScreen #values { width: 3fr; }
    PageScreen #runs { width: 2fr; }
    PageScreen #main.wide { layout: horizontal; }
    PageScreen #main.wide #page { width: 1fr; min-width: 90; max-width: 153; }
    PageScreen #main.wide #below { width: 1fr; min-width: 42; height: 100%; layout: vertical; }
    PageScreen #main.wide #below { border-top: none; border-left: solid $primary; }
    PageScreen #main.wide #values { height: 13; width: 100%; }
    PageScreen #main.wide #runs { height: 1fr; width: 100%; border-top: solid $primary; }
    """
    KEYS = (
        ("[ ]", "version"),
        ("v", "view"),
        ("o", "delta, old"),
        ("d", "change"),
        ("/", "search"),
        ("L", "lock"),
        ("i", "values"),
        ("e", "export"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,right_square_bracket", "walk(1)", "next version", show=False),
        Binding("left,left_square_bracket", "walk(-1)", "previous version", show=False),
        Binding("v", "view", "receiver's view, sender's, or both side by side", show=False),
        Binding("o", "shows", "show new bytes, delta, old bytes, old beside new, or A beside B", show=False),
        Binding("L", "lock", "both sides scroll together, or the left one stays", show=False),
        Binding("i", "panel", "show or hide the values at the cursor and the delta's runs", show=False),
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
        self._compared: object = None  # the moment and the page that Compare led to
        self.panel: bool | None = None  # whether values and runs are shown, None by the room there is
        self.wide = False  # whether they stand beside the bytes
        self.both = False  # whether the receiver's bytes and the sender's stand side by side
        self.moment: PageMoment | None = None
        self.content: Content | None = None
        self.needle = b""
        self._places: list[int] = []  # where the needle is
        self._pair: tuple[Content | None, Content | None] = None, None  # the page at A and at B, and of what
        self._pair_of: object = None
        self._page_marks = np.zeros(0, np.uint8)  # changed and differing bytes

    def body(self) -> ComposeResult:
        """Give what page and moment it is, its versions, its bytes, its runs and values."""
        yield Caption(id="what")
        yield Caption(id="sums")
        yield Caption(id="special")
        yield Timeline()
        yield Caption(id="heads")
        with Vertical(id="main"):
            with Horizontal(id="page"):
                yield HexView(id="bytes")
                yield PageStrip()
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
        self._lay_out()
        self.call_after_refresh(self.follow if self.is_current else self._lay_out)  # made ahead, it moves no moment

    @property
    def is_two(self) -> bool:
        """Whether bytes are shown side by side."""
        return self.both or self.shows.is_two

    def _lay_out(self) -> None:
        """Put the panel where there is room for it, and the strip and more of the versions where there is some."""
        two, width, height = self.is_two, self.size.width, self.size.height
        self.wide = width >= (_WIDER if two else WIDE)
        panel = self.panel if self.panel is not None else height >= (_PANELLED if two else _LOW) or self.wide
        self.query_one("#main").set_class(self.wide, "wide")  # styles only what is in there
        self.query_one("#heads").display = two
        self.query_one("#below").display = panel
        self.query_one(PageStrip).display = width >= _ROOMY
        self.query_one(Timeline).set_class(height >= _TALL and width >= _ROOMY, "tall")

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
            self._mind_sides()
            self._show(self.moment)
        except XbrleError as error:
            self.moment = None
            self._show_nothing(self.session.reason(error))
        if self.session.row != row:
            self.renew_top_bar()
        self._look_at()

    def _mind_sides(self) -> None:
        """Show the page at A and at B where Compare leads here, and as usual once there is another moment."""
        here, wanted = (self.session.row, self.session.page), self.session.of_sides
        if wanted or self._compared not in (None, here):
            self.session.of_sides, self._compared = False, here if wanted else None
            self.shows, self.both = PageShows.SIDES if wanted else PageShows.NEW, False
            self._change_sides()

    def _look_at(self) -> None:
        """Go to the byte that another screen leads to, and mark what it found there."""
        where, self.session.look_at = self.session.look_at, None
        if where is not None and self.moment is not None:
            self.needle = where[1]
            self._search()
            self._mark()
            self.hex_view.move(where[0])

    def _show_nothing(self, why: str) -> None:
        self.content = None
        self.query_one("#what", Caption).show_line([(f" {why}", "warning")])
        for about in (self.query_one("#sums", Caption), self.query_one("#special", Caption), self.query_one(Timeline)):
            about.show([])
        self.hex_view.show_bytes(np.zeros(0, np.uint8))
        self._show_runs("no page")
        self._show_values()

    def _show(self, moment: PageMoment) -> None:
        view = self.session.view
        sides = self._sides(moment) if self.shows is PageShows.SIDES else None
        old, content = sides or (moment.old_content(view), moment.content(view))
        self.content = content
        changed = content.differs(old) & old.recovered
        other = moment.content(View.SENDER if view is View.RECEIVER else View.RECEIVER)
        differs = content.differs(other) if sides is None else np.zeros_like(changed)
        marks = np.where(changed, np.uint8(ByteMark.CHANGED), np.uint8(ByteMark.NONE))
        if self.shows in (PageShows.NEW, PageShows.OLD):  # a delta says nothing of what the ends have
            marks[differs] = np.where(changed[differs], ByteMark.BOTH, ByteMark.DIFFERS)
        self._page_marks = marks
        self.hex_view.tint(None if self.host.plain else self.colours)
        self._show_bytes(moment, old, content)
        self._search()
        what = heading(moment, self._record(moment), self.shows, None if self.both else view, self.size.width)
        self.query_one("#what", Caption).show_line(what)
        counts = count_words(changed, content.recovered & ~old.recovered, ~content.recovered, differs)
        self.query_one("#sums", Caption).show_line(self._sums(moment, content, counts))
        self.query_one("#special", Caption).show(special_lines(self.session, moment, content, self.size.width - 1))
        self._show_versions(moment)
        self._show_runs(why_no_runs(self._record(moment), moment))
        self._show_values()

    def _show_bytes(self, moment: PageMoment, old: Content, new: Content) -> None:
        view, marks, base = self.hex_view, self._page_marks, moment.history.address
        if self.shows.is_two:
            view.show_bytes(new.data, new.recovered, marks, base, left=(old.data, old.recovered))
        elif self.both:
            left, right = (bytes_of(moment, self.shows, end) for end in (View.RECEIVER, View.SENDER))
            view.show_bytes(*right, marks, base, left=left, only_marked=self.shows is PageShows.DELTA)
        else:
            shown_bytes = bytes_of(moment, self.shows, self.session.view)
            view.show_bytes(*shown_bytes, marks, base, only_marked=self.shows is PageShows.DELTA)
        self._show_heads()
        self._show_strip()

    def _show_heads(self) -> None:
        names = self.shows.value.split(" | ") if self.shows.is_two else ("receiver", "sender")
        self.query_one("#heads", Caption).show_line(self.hex_view.heads(*names))

    def _show_strip(self) -> None:
        view = self.hex_view
        colours = None if self.host.plain else self.colours
        self.query_one(PageStrip).show_page(view.data, view.known, self._page_marks, view.sight, colours)

    def _sums(self, moment: PageMoment, content: Content, counts: Line) -> Line:
        """What A and B are, or the sum that the record states, and whether it is the page's, at both ends where both
        are shown. Then how many bytes changed, and where the record stands.
        """
        if self.shows is PageShows.SIDES:
            return [*side_words(self.session, self.host.other), *counts]
        if self.both:
            ends = [(end.value, moment.sums(moment.content(end))) for end in (View.RECEIVER, View.SENDER)]
            return [*sums_of_both(ends), *counts, *place_words(self._record(moment))]
        return [sum_words(*moment.sums(content)), *counts, *place_words(self._record(moment))]

    def _sides(self, moment: PageMoment) -> tuple[Content, Content]:
        """The page at A and at B. That of another capture is read beside, and unknown until it was."""
        session, other = self.session, self.host.other
        sides = sides_of(session, other)
        if not any(side.other for side in sides):
            return moment.history.at(sides[0].number, session.view), moment.history.at(sides[1].number, session.view)
        of = session, moment.place, sides, session.view
        size = moment.history.page_size
        unknown = Content(np.zeros(size, np.uint8), np.zeros(size, bool))
        if of != self._pair_of:
            self._pair_of, self._pair = of, (None, None)
            work = partial(contents, session, other, sides, session.view, moment.place)
            self.beside("sides", work, self._take_sides)
        return self._pair[0] or unknown, self._pair[1] or unknown

    def _take_sides(self, pair: tuple[Content | None, Content | None]) -> None:
        self._pair = pair
        self.follow()

    def _record(self, moment: PageMoment) -> Record | None:
        return self.session.record(moment.row) if moment.row is not None else None

    def _show_versions(self, moment: PageMoment) -> None:
        versions = len(moment.history)
        self.query_one(Timeline).show_versions(versions, moment.version, lambda v: step_of(self.session, moment, v))

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
        view = self.hex_view
        nothing = self.content is None or not len(view.data)
        lines = (
            [] if nothing else value_lines(view.data, view.known, view.at, self.query_one("#main").has_class("wide"))
        )
        self.query_one("#values", Caption).show(lines)

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
        self.shows, self._compared = order[(order.index(self.shows) + 1) % len(order)], None
        if self.shows.is_two:
            self.both = False
        self._change_sides()

    def action_view(self) -> None:
        """Switch from the receiver's memory to the sender's, to both, and back."""
        if self.both:
            self.both, self.session.view = False, View.RECEIVER
        elif self.session.view is View.RECEIVER:
            self.session.view = View.SENDER
        elif self.shows.is_two:
            self.session.view = View.RECEIVER
        else:
            self.both = True
        self._change_sides()

    def _change_sides(self) -> None:
        self.hex_view.scroll_together(True)
        self._lay_out()
        self.call_after_refresh(self.follow if self.is_current else self._lay_out)  # made ahead, it moves no moment

    def action_lock(self) -> None:
        """Have the two sides scroll together, or leave the left one where it is."""
        if not self.is_two:
            self.host.say("one side is shown: press v for both views", "warning")
            return
        self.hex_view.scroll_together(not self.hex_view.locked)
        self._show_heads()

    def action_panel(self) -> None:
        """Show or hide the values and the runs."""
        self.panel = not self.query_one("#below").display
        self._lay_out()
        self.call_after_refresh(self.follow if self.is_current else self._lay_out)  # made ahead, it moves no moment

    def on_hex_view_scrolled(self) -> None:
        """Mark on the strip what is in sight."""
        self._show_strip()
        if not self.hex_view.locked:
            self._show_heads()

    def on_page_strip_pressed(self, event: PageStrip.Pressed) -> None:
        """Go to that part of the page."""
        self.hex_view.move(event.at)

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
        self.host.open_fields()

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
            status = match_words(self.needle, len(self._places))
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
        return None if self.content is None else hexadecimal(view.data, view.known)
