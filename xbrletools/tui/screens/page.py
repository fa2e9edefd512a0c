"""One page as of the chosen record: its bytes old and new, what the delta says, and its whole story."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from ...capture import Capture
from ...codec import checksum
from ...codec.runs import Run, runs
from ...errors import XbrleError
from ...formats.ram import DELTA_KINDS
from ...memory.history import Content, PageHistory, stated_sum
from ...memory.replay import View
from ...memory.values import values
from ...table.growing import Record
from ...text import pattern, shown
from ..widgets.hexview import HexView, Mark, Mask
from ..widgets.lines import Line, Lines, Text, fit
from .base import KIND_LETTER, KIND_STYLE, CaptureScreen, kind_word, stage_word
from .records import SEVERITY_MARK

WIDE = 120  # columns from which the side panel stands beside the bytes
_VERSIONS_SEARCHED = 20_000
_VALUE_BYTES = 16


class Mode(Enum):
    """What of the page is shown."""

    NEW = "new"
    OLD = "old"
    DELTA = "delta"
    BOTH = "side by side"


@dataclass(frozen=True, slots=True)
class Moment:
    """A page at a moment: the history, and the version in force, by place; -1 before the first.

    ``record`` is that version's, or 0; ``at`` is the record just after which it is looked at, None for the end: pages
    can be discarded after the last record that gave them.
    """

    capture: Capture
    history: PageHistory
    block: int
    address: int
    version: int
    record: int
    at: int | None

    def content(self, view: View) -> Content:
        """The page at the moment."""
        return self.history.at(self.at, view)

    def old(self, view: View) -> Content:
        """The page before the version's record; for a delta, what it was applied to."""
        if self.version < 0:
            return self.history.at(0, view)
        columns = self.capture.records.columns
        if int(columns.kind[self.history.rows[self.version]]) in DELTA_KINDS:
            return self.history.before(self.record, view)
        return self.history.at(int(self.history.numbers[self.version - 1]) if self.version else 0, view)

    def runs(self) -> list[Run]:
        """The runs of the version's delta; none where it is no delta."""
        if self.version < 0 or self.capture.dialect is None:
            return []
        row = int(self.history.rows[self.version])
        table = self.capture.records
        if int(table.columns.kind[row]) not in DELTA_KINDS:
            return []
        at = int(table.columns.offset[row]) + int(table.columns.head[row])
        payload = self.capture.data[at : at + int(table.columns.length[row])]
        return runs(self.capture.dialect.encoding, payload, self.history.page_size)

    def sums(self, content: Content) -> tuple[int | None, int | None]:
        """The sum that the version's record states, and that of ``content``."""
        stated = None
        if self.version >= 0:
            row = int(self.history.rows[self.version])
            columns = self.capture.records.columns.take(slice(row, row + 1))
            stated = stated_sum(columns, self.capture.dialect)
        computed = int(checksum.byte_sum(content.data[None, :])[0]) if content.known.all() else None
        return stated, computed


class RunList(Lines):
    """The runs of a delta."""

    def __init__(self) -> None:
        super().__init__(id="runs")
        self.runs: list[Run] = []
        self.none = ""

    def count(self) -> int:
        """How many there are."""
        return len(self.runs) or 1

    def line(self, row: int, width: int) -> Line:
        """Where in the page, how long, and of what."""
        if not self.runs:
            return [(f" {self.none}", "dim")]
        run = self.runs[row]
        what = f"{run.value[:8].hex(' ')}{' ..' if len(run.value) > 8 else ''}" if run.value else "unchanged"
        place = "" if run.offset is None else f"+{run.offset:<4x} "
        return [
            (f" {place}", "dim"),
            (f"{run.start:03x} ", "strong" if run.value else "dim"),
            (f"{run.length:4}x ", "" if run.value else "dim"),
            (what, "changed" if run.value else "dim"),
        ]

    def holding(self, at: int) -> int | None:
        """The run that a byte of the page lies in."""
        for i, run in enumerate(self.runs):
            if run.start <= at < run.start + run.length:
                return i
        return None


class Timeline(Text):
    """The versions of the page, a letter each; the one in force stands in brackets."""

    can_focus = False
    DEFAULT_CSS = """
    Timeline { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="timeline")
        self.first = 0

    def tell(self, screen: "PageScreen", moment: Moment) -> None:
        """Show as many versions around the current one as fit."""
        total, current = len(moment.history), moment.version
        label = f" version {current + 1} of {total} "
        room = max(1, (self.size.width - len(label) - 2) // 4)
        self.first = max(0, min(current - room // 2, total - room))
        line: list[tuple[str, str]] = [(label, "strong"), ("<" if self.first else " ", "dim")]
        for i in range(self.first, min(total, self.first + room)):
            row = int(moment.history.rows[i])
            record = screen.session.record(row)
            if record is None:
                continue
            severity = screen.session.severity(row)
            letter = KIND_LETTER[record.kind] + (SEVERITY_MARK[severity] if severity else "")
            here = i == current
            line.append((f"[{letter}]".ljust(4) if here else f" {letter}".ljust(4), KIND_STYLE.get(record.kind, "")))
            if here:
                line[-1] = (line[-1][0], "reverse")
        line.append((">" if self.first + room < total else " ", "dim"))
        self.label = len(label) + 1
        self.show([line])

    def on_click(self, event: events.Click) -> None:
        """Go to the version under the mouse."""
        screen = self.screen
        if isinstance(screen, PageScreen) and event.x >= self.label:
            screen.walk_to(self.first + (event.x - self.label) // 4)


class PageScreen(CaptureScreen):
    """The bytes, and beside or below them the runs and the values under the cursor."""

    MODE = "page"
    DEFAULT_CSS = """
    PageScreen #what, PageScreen #sums, PageScreen #said { height: 1; }
    PageScreen #said { background: $surface; }
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
    PageScreen Input { display: none; }
    PageScreen.asking Input { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,right_square_bracket", "walk(1)", "next version", show=False),
        Binding("left,left_square_bracket", "walk(-1)", "version before", show=False),
        Binding("o", "mode", "show new, old, delta, side by side", show=False),
        Binding("v", "view", "receiver's view or sender's", show=False),
        Binding("d", "changed(1)", "next changed or differing bytes", show=False),
        Binding("D", "changed(-1)", "changed or differing bytes before", show=False),
        Binding("slash", "search", 'search: "text" or hexadecimal', show=False, key_display="/"),
        Binding("n", "found(1)", "next place in this version", show=False),
        Binding("N", "found(-1)", "place before in this version", show=False),
        Binding("s", "found_version(1)", "next version that has it", show=False),
        Binding("S", "found_version(-1)", "version before that has it", show=False),
        Binding("tab", "other", "to the runs and back", show=False),
        Binding("f", "fields", "fields of this version's record", show=False),
        Binding("escape", "clear", "leave or clear the search", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.mode = Mode.NEW
        self.moment: Moment | None = None
        self.content: Content | None = None
        self.needle = b""
        self._places: list[int] = []
        self._base_marks = np.zeros(0, np.uint8)

    def body(self) -> ComposeResult:
        """What page and moment, its versions, its bytes, its runs and values."""
        for name in ("what", "sums"):
            text = Text(id=name)
            text.can_focus = False
            yield text
        yield Timeline()
        with Vertical(id="main"):
            yield HexView(id="bytes")
            with Horizontal(id="below"):
                table = Text(id="values")
                table.can_focus = False
                yield table
                yield RunList()
        said = Text(id="said")
        said.can_focus = False
        yield said
        yield Input(placeholder='"text" or de ad be ef', select_on_focus=False)

    @property
    def bytes(self) -> HexView:
        """The bytes."""
        return self.query_one("#bytes", HexView)

    def on_mount(self) -> None:
        """The bytes have the keys."""
        self.bytes.focus()

    def on_resize(self) -> None:
        """Beside where there is room, else below."""
        super().on_resize()
        self.set_class(self.size.width >= WIDE, "wide")
        self.call_after_refresh(self.follow)

    def grow(self) -> None:
        """Findings came; or the page has more versions."""
        if self.moment is None or len(self.moment.capture.records) < len(self.session):
            self.follow()
        else:
            self.query_one(Timeline).tell(self, self.moment)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Show the page of the session's record, as of that record."""
        try:
            self.moment = self._moment()
        except XbrleError as error:
            self.moment, self.content = None, None
            self.query_one("#what", Text).show([[(f" {error}", "warning")]])
            self.query_one("#sums", Text).show([])
            self.query_one(Timeline).show([])
            self.bytes.show(np.zeros(0, np.uint8))
            self._list_runs([], "no page")
            self._tell_values()
            return
        self._draw(self.moment)

    def _moment(self) -> Moment:
        session = self.session
        capture = session.known()
        record = session.record()
        if record is None:
            raise XbrleError("no record was read yet")
        if session.page is None:
            if record.number is None:
                found = session.next_page(session.row, -1)
                found = session.next_page(session.row, 1) if found is None else found
                near = session.record(found) if found is not None else None
                if near is None:
                    raise XbrleError("no record of this capture carries a page")
                session.row, record = near.row, near
                self.tell()
            if record.block is None:
                raise XbrleError("this record names no block")
            session.page = (record.block, record.address)
        block, address = session.page
        last = self.moment
        if last is not None and last.capture is capture and (last.block, last.address) == (block, address):
            history = last.history
        else:
            history = capture.page(capture.space.blocks[block].name, address)
        version = int(np.searchsorted(history.rows, session.row, side="right")) - 1
        number = int(history.numbers[version]) if version >= 0 else 0
        return Moment(capture, history, block, history.address, version, number, session.moment())

    def _draw(self, moment: Moment) -> None:
        session = self.session
        content = self.content = moment.content(session.view)
        old = moment.old(session.view)
        changed = content.differs(old) & old.known
        marks = np.where(changed, np.uint8(Mark.CHANGED), np.uint8(Mark.NONE))
        differs = None
        if moment.history.forgets_dups:
            other = View.SENDER if session.view is View.RECEIVER else View.RECEIVER
            differs = content.differs(moment.content(other))
            marks[differs] = Mark.DIFFERS
        self._base_marks = marks
        base = moment.address
        if self.mode is Mode.NEW:
            self.bytes.show(content.data, content.known, marks, base)
        elif self.mode is Mode.OLD:
            self.bytes.show(old.data, old.known, marks, base)
        elif self.mode is Mode.DELTA:
            self.bytes.show(old.data ^ content.data, old.known & content.known, marks, base, silent=True)
        else:
            self.bytes.show(content.data, content.known, marks, base, left=(old.data, old.known))
        self._search()
        given = int(np.count_nonzero(content.known & ~old.known))
        self._tell(moment, content, (int(np.count_nonzero(changed)), given), differs)
        self.query_one(Timeline).tell(self, moment)
        self._list_runs(moment.runs(), self._no_runs(moment))
        self._tell_values()

    def _no_runs(self, moment: Moment) -> str:
        if moment.version < 0:
            return "not sent yet"
        record = self.session.record(int(moment.history.rows[moment.version]))
        if record is None or record.kind in DELTA_KINDS:
            return "the delta cannot be read"
        return f"{kind_word(record.kind)}: the whole page"

    def _tell(self, moment: Moment, content: Content, counts: tuple[int, int], differs: Mask | None) -> None:
        name = shown(moment.capture.space.blocks[moment.block].name)
        record = self._record(moment)
        width = self.size.width
        what = f" {fit(name, min(len(name), max(8, width // 4)))}:{moment.address:#x}"
        if record is None:
            what += " before its first record"
        else:
            what += f" record {record.number} {kind_word(record.kind)}"
        view = self.session.view.value
        right = f"{self.mode.value} · {view} view "
        line = [(fit(what, max(1, width - len(right))), "strong"), (right, "")]
        self.query_one("#what", Text).show([line])
        stated, computed = moment.sums(content)
        sums: list[tuple[str, str]] = []
        if stated is None:
            sums.append((f" sum {computed:#x}" if computed is not None else " sum unknown", "dim"))
        elif computed is None:
            sums.append((f" sum stated {stated:#x}, page not wholly known", "warning"))
        elif stated == computed:
            sums.append((f" sum {stated:#x} ok", "good"))
        else:
            sums.append((f" sum WRONG: stated {stated:#x}, computed {computed:#x}", "error"))
        unknown = int(np.count_nonzero(~content.known))
        changed, given = counts
        sums.append((f" · {changed} changed", "changed" if changed else ""))
        if given:
            sums.append((f" · {given} first given", ""))
        if unknown:
            sums.append((f" · {unknown} unknown", "warning"))
        if differs is not None and differs.any():
            sums.append((f" · {{{int(np.count_nonzero(differs))} differ}}", "differs"))
        if record is not None:
            sums.append((f" · pass {record.pass_} {stage_word(record.stage)} @{record.offset:#x}", "dim"))
        self.query_one("#sums", Text).show([sums])

    def _record(self, moment: Moment) -> Record | None:
        return self.session.record(int(moment.history.rows[moment.version])) if moment.version >= 0 else None

    def _list_runs(self, found: list[Run], none: str) -> None:
        listed = self.query_one(RunList)
        listed.runs, listed.none = found, none
        listed.cursor = 0
        listed.renew()
        at = listed.holding(self.bytes.at)
        if at is not None:
            listed.jump(at)
        self._link()

    def _link(self) -> None:
        """Mark the bytes of the run under the cursor, where it says something."""
        listed, view = self.query_one(RunList), self.bytes
        marks = self._base_marks.copy()
        if listed.runs and len(marks):
            run = listed.runs[listed.cursor]
            if run.value:
                mine = marks[run.start : run.start + run.length]
                mine[mine <= Mark.LINKED] = Mark.LINKED
        for place in self._places:
            marks[place : place + len(self.needle)] = Mark.FOUND
        if len(marks) == len(view.data):
            view.marks = marks
            view.renew()

    def _tell_values(self) -> None:
        view = self.bytes
        table = self.query_one("#values", Text)
        if self.content is None or not len(view.data):
            table.show([])
            return
        here = slice(view.at, min(view.at + _VALUE_BYTES, len(view.data)))
        known = view.known[here]
        count = int(np.argmin(known)) if not known.all() else len(known)
        found = values(view.data[here][:count].tobytes())
        if not count:
            table.show([[(f" at {view.at:#05x}: unknown", "warning")]])
            return
        lines: list[Line] = [[(f" at {view.at:#05x}", "title")]]
        for name, text in found:
            lines.append([(f" {name:6}", "strong"), (text, "")])
        if not self.has_class("wide"):
            order = ("u8", "u16le", "u32le", "u64le", "text")
            by_name = dict(found)
            lines = [
                [(f" {view.at:03x} {n:6}" if n == "u8" else f"     {n:6}", "strong"), (by_name[n], "")]
                for n in order
                if n in by_name
            ]
        table.show(lines)

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_hex_view_at(self, event: HexView.At) -> None:
        """The run that holds the byte, and its values."""
        listed = self.query_one(RunList)
        found = listed.holding(event.at)
        if found is not None and found != listed.cursor:
            listed.jump(found)
            self._link()
        self._tell_values()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """The bytes that the run stands for."""
        listed = self.query_one(RunList)
        if event.lines is listed and listed.runs:
            run = listed.runs[min(event.row, len(listed.runs) - 1)]
            if not run.start <= self.bytes.at < run.start + max(1, run.length):
                self.bytes.move(run.start, tell=False)
            self._link()
            self._tell_values()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """From a run to its bytes."""
        if isinstance(event.lines, RunList):
            self.bytes.focus()

    def walk_to(self, version: int) -> None:
        """Make a version of this page the moment."""
        if self.moment is None or not 0 <= version < len(self.moment.history):
            return
        self.browser.go(int(self.moment.history.rows[version]), (self.moment.block, self.moment.address))

    def action_walk(self, step: int) -> None:
        """The next version of this page."""
        if self.moment is not None:
            self.walk_to(self.moment.version + step)

    def action_mode(self) -> None:
        """What is shown of it, in turn."""
        order = list(Mode)
        self.mode = order[(order.index(self.mode) + 1) % len(order)]
        self.follow()

    def action_view(self) -> None:
        """Whose memory."""
        self.session.view = View.SENDER if self.session.view is View.RECEIVER else View.RECEIVER
        self.follow()

    def action_changed(self, step: int) -> None:
        """To the next bytes that are marked."""
        marked = self._base_marks != Mark.NONE
        starts = np.flatnonzero(marked & ~np.concatenate([[False], marked[:-1]]))
        onward = starts[starts > self.bytes.at] if step > 0 else starts[starts < self.bytes.at][::-1]
        if len(onward):
            self.bytes.move(int(onward[0]))
        else:
            self.browser.say("no more changed bytes", "warning")

    def action_other(self) -> None:
        """Between bytes and runs."""
        (self.query_one(RunList) if self.focused is self.bytes else self.bytes).focus()

    def action_fields(self) -> None:
        """The grammar's view of the record."""
        if self.moment is not None and self.moment.version >= 0:
            self.browser.go(int(self.moment.history.rows[self.moment.version]), self.session.page)
        self.app.switch_mode("fields")

    # -- search ------------------------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Type what to look for."""
        self.add_class("asking")
        self.query_one(Input).focus()

    def action_clear(self) -> None:
        """Out of the input, then out of the search."""
        if self.has_class("asking"):
            self.remove_class("asking")
            self.bytes.focus()
        else:
            self.query_one(Input).value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look for it as it is typed."""
        try:
            self.needle = pattern(event.value) if event.value.strip() else b""
        except XbrleError as error:
            self.needle = b""
            self._search()
            self.query_one("#said", Text).show([[(f" ! {error}", "error")]])
            return
        self._search()
        self._link()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go to the first place."""
        self.action_clear()
        if self._places and self.bytes.at not in self._places:
            self.action_found(1)

    def _search(self) -> None:
        """The places of the needle in what is shown."""
        self._places = []
        said: Line = [(" [changed] {differs between views} <found> (run) · o mode · v view · ? keys", "dim")]
        if self.needle and self.content is not None:
            self._places = _places(self.content, self.needle)
            count = len(self._places)
            said = [
                (f" {self.needle[:12].hex(' ')}: {count} place{'' if count == 1 else 's'} here", "strong"),
                (" · n next · s next version · Escape clears", "dim"),
            ]
        self.query_one("#said", Text).show([said])

    def action_found(self, step: int) -> None:
        """To the next place."""
        places = self._places if step > 0 else self._places[::-1]
        onward = [p for p in places if (p > self.bytes.at if step > 0 else p < self.bytes.at)]
        if onward or places:
            self.bytes.move((onward or places)[0])
        else:
            self.browser.say("not in this version", "warning")

    def action_found_version(self, step: int) -> None:
        """To the next version that has it."""
        moment = self.moment
        if moment is None or not self.needle:
            self.browser.say("search for something first: /", "warning")
            return
        end = len(moment.history) if step > 0 else -1
        for version in list(range(moment.version + step, end, step))[:_VERSIONS_SEARCHED]:
            content = moment.history.at(int(moment.history.numbers[version]), self.session.view)
            places = _places(content, self.needle)
            if places:
                self.walk_to(version)
                self.bytes.move(places[0])
                return
        self.browser.say("in no further version", "warning")

    def copied(self) -> str | None:
        """The bytes of the page that are shown, in hexadecimal, unknown ones as question marks."""
        view = self.bytes
        if self.content is None:
            return None
        return " ".join(f"{b:02x}" if k else "??" for b, k in zip(view.data.tolist(), view.known.tolist(), strict=True))


def _places(content: Content, needle: bytes) -> list[int]:
    """Where known bytes of a page are those of ``needle``."""
    data, out = content.data.tobytes(), []
    at = data.find(needle)
    while at >= 0:
        if content.known[at : at + len(needle)].all():
            out.append(at)
        at = data.find(needle, at + 1)
    return out
