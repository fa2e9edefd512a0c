"""The map: a block's pages as a heat map at the chosen moment, and the stream as a film that can be played."""

from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.worker import get_current_worker

from ...arrays import distinct
from ...errors import XbrleError
from ...memory.blockstate import NEVER, Playhead, State, block_records
from ...memory.moments import lapses_of, memory_of, space_of
from ...memory.replay import View
from ...text import shown
from ..mapvalues import BlockMap, Moment, Shows, block_map, entropy, is_open, scale, values, zero_pages
from ..waterfall import drawn
from ..widgets.filmbar import FilmBar
from ..widgets.heat import Heat
from ..widgets.lines import Caption, Line, TextLines, fit
from ..words import counted, kind_word
from . import names
from .base import CaptureScreen, Host
from .mapside import Look, legend, side

_WIDE = 120  # columns from which on there is a pane beside the map
_FRAME = 0.1  # seconds
_SPEEDS = (8, 20, 60)  # seconds that the whole stream takes to play
_NUMBERS = 256  # that a page can show
_BELOW = "", ", below: what each pass sent"
_STALE = 1.25  # how many times longer the table gets until the map is made anew


class MapScreen(CaptureScreen):
    """The map, what it means, what the chosen page is, and the film."""

    KEY, MODE, TITLE, SHORT, HELP = names.MAP[:5]
    ABOUT = "Shows every page of a block as a cell, as of any moment, and plays how memory was sent."
    KEYS = (
        ("space", "play"),
        ("< >", "pass"),
        ("o", "colours"),
        ("w", "next wrong"),
        ("Enter", "page"),
        ("+ -", "zoom"),
        ("[ ]", "block"),
        ("{ }", "speed"),
        ("y", "copy"),
    )
    DEFAULT_CSS = """
    MapScreen #what, MapScreen #cell, MapScreen #legend { height: 1; }
    MapScreen #cell { background: $surface; }
    MapScreen #side { width: 44; display: none; border-left: vkey $panel; }
    MapScreen.wide #side { display: block; }
    MapScreen.wide #cell, MapScreen.wide #legend { display: none; }
    MapScreen #above { height: 2fr; }
    MapScreen #fall { height: 3fr; display: none; border-top: solid $panel; }
    MapScreen.falls #fall { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "play", "play the migration, or pause", show=False),
        Binding("right_curly_bracket", "speed(1)", "play faster", show=False, key_display="}"),
        Binding("left_curly_bracket", "speed(-1)", "play more slowly", show=False, key_display="{"),
        Binding("plus,equals_sign", "zoom(-1)", "zoom in", show=False, key_display="+"),
        Binding("minus", "zoom(1)", "zoom out", show=False, key_display="-"),
        Binding("0", "fit", "zoom so that the block fits", show=False),
        Binding(
            "o",
            "shows",
            "cells show versions, kind, age, entropy; or what each pass sent",
            show=False,
        ),
        Binding("right_square_bracket", "block(1)", "next block", show=False, key_display="]"),
        Binding("left_square_bracket", "block(-1)", "previous block", show=False, key_display="["),
        Binding("greater_than_sign", "pass(1)", "forward to the end of a pass", show=False, key_display=">"),
        Binding("less_than_sign", "pass(-1)", "back to the end of a pass", show=False, key_display="<"),
        Binding("w", "wrong(1)", "next wrong page", show=False),
        Binding("W", "wrong(-1)", "previous wrong page", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.block: int | None = None
        self.shows = Shows.VERSIONS
        self._map: BlockMap | None = None
        self._head: Playhead | None = None
        self._bits: NDArray[np.float32] | None = None
        self._bits_of: tuple[int, int] | None = None  # the block and the row that they are of
        self._reading: tuple[int, int, int] | None = None
        self._timer: Timer | None = None
        self._speed = 1
        self._stays = False  # whether the cursor stays on its page where another moment is chosen

    def body(self) -> ComposeResult:
        """Give what block it is, the map with a pane beside it, the chosen page, and what colours mean."""
        yield Caption(id="what")
        with Horizontal(id="above"):
            yield Heat(self.colours)
            yield TextLines(id="side")
        yield Caption(id="fall")
        yield Caption(id="cell")
        yield Caption(id="legend")

    @property
    def playing(self) -> bool:
        """Whether the map plays."""
        return self._timer is not None

    @property
    def _look(self) -> Look:
        zero = self._map is not None and self._map.zero is not None
        return Look(self.shows.cells, self.colours, self.heat.plain, zero, self.session.knows_wrong)

    @property
    def heat(self) -> Heat:
        """The map itself."""
        return self.query_one(Heat)

    def on_mount(self) -> None:
        """Give the keys to the map."""
        self.heat.focus()

    def on_lines_narrowed(self) -> None:
        """Make lines anew for the room that there is."""
        self.call_after_refresh(self.grow)

    def on_resize(self) -> None:
        """Lay it out anew."""
        self.set_class(self.size.width >= _WIDE, "wide")
        self.call_after_refresh(self._draw)

    def on_screen_suspend(self) -> None:
        """Stop to play where another screen is shown."""
        self._stop()

    def grow(self) -> None:
        """Show more records, or findings about them."""
        self._work_out()

    def follow(self) -> None:
        """Show the block of the chosen record as of that record. Whoever has not moved yet sees the end."""
        session = self.session
        if not session.row and session.complete and not session.moved:
            session.row = max(0, len(session) - 1)
            self.renew_top_bar()
        record = session.record()
        if self.block is None:
            self.block = self._main_block()
            if session.moved and record is not None and record.block is not None:
                self.block = record.block
        self._work_out()
        if session.moved and record is not None and record.block == self.block and record.number is not None:
            with self.heat.prevent(Heat.Moved):  # what the page is, is said below
                self.heat.page = self.heat.page if self._stays else record.address // max(1, self.heat.page_size)
        self._draw()

    def _main_block(self) -> int:
        """The block with most pages in the stream."""
        blocks = self.session.stats.blocks()
        named = [b for b in blocks if b >= 0]
        return max(named, key=lambda b: blocks[b].pages) if named else 0

    # -- working it out, in a thread beside --------------------------------------------------------------------------

    def _work_out(self) -> None:
        """Make the map anew where the block is another one, or much was read or found since."""
        session = self.session
        if self.block is None or not len(session):
            return
        suspects = (
            self._map.suspects
            if self._map is not None and not session.verified
            else len(session.findings.suspect_rows())
        )
        now = self.block, len(session), suspects
        old = self._map
        if old is not None and old.block == self.block and old.suspects == suspects:
            grown = old.rows != len(session) if session.complete else len(session) > _STALE * old.rows
            if not grown:
                return
        if now != self._reading:
            self._reading = now
            self.run_worker(partial(self._read, *now), thread=True, exclusive=True, group="map", exit_on_error=False)

    def _read(self, block: int, _rows: int, _suspects: int) -> None:
        """Make a block's map. This is a thread's work."""
        session = self.session
        try:
            stream = session.stream()
            space = space_of(stream)
            if block >= len(space.blocks):
                raise XbrleError("this capture does not have a block list")
            suspect = session.findings.suspect_rows()
            records = block_records(stream.records.columns, space, block)
            rows, lapses, first = len(stream.records), lapses_of(stream, View.RECEIVER), int(space.first[block])
            passes, zero = stream.records.passes_of(records.rows), zero_pages(stream, block)
            made = block_map(
                records, block, space.page_size, rows, suspect, lapses, first, passes, zero, is_open(stream, block)
            )
            head = Playhead(records)
            head.seek(records.upto(session.row))
        except XbrleError as error:
            self.app.call_from_thread(self._say, str(error))
            return
        self.app.call_from_thread(self._take, made, head)

    def _say(self, trouble: str) -> None:
        self.query_one("#what", Caption).show_line([(f" {trouble}", "warning")])

    def _take(self, made: BlockMap, head: Playhead) -> None:
        """Show what was worked out."""
        if made.block != self.block:
            return
        self._map, self._head = made, head
        self.heat.page_size = made.page_size
        record = self.session.record()
        self._draw()
        if self.session.moved and record is not None and record.block == made.block and record.number is not None:
            self.heat.move_to(record.address // made.page_size)
        elif len(wrong := self._wrong()):
            self.heat.move_to(int(wrong[0]))

    # -- showing it --------------------------------------------------------------------------------------------------

    def _draw(self, glow: NDArray[np.int64] | None = None) -> None:
        """Show the moment."""
        what, head, heat, session = self._map, self._head, self.heat, self.session
        heat.palette, heat.plain = self.colours, self.host.plain
        if what is None or head is None or what.block != self.block:
            none = session.complete and not len(session)
            self._say(str(session.no_record()) if none else "working out the map")
            return
        head.seek(what.records.upto(session.row))
        if self.shows is Shows.ENTROPY:
            self._ask_for_entropy()
        meaning = scale(self.shows.cells, self.colours, what.zero is not None)
        heat.show(values(self.shows.cells, Moment(what, head, session.row), self._bits), meaning, heat.page_size, glow)
        self._describe()
        if self.shows is Shows.PASSES:
            self.call_after_refresh(self._draw_fall)

    def _draw_fall(self) -> None:
        """Show what each pass sent."""
        what, pane, record = self._map, self.query_one("#fall", Caption), self.session.record()
        size = pane.scrollable_content_region.size
        if what is None or not size.width:
            return
        needed = -(-len(what.fall.first) // (1 if self.host.plain else 2)) + 2  # with the axis and the border
        pane.styles.max_height = needed  # what passes do not need is for the map
        now = record.pass_ if record is not None and record.pass_ is not None else 0
        pane.show(drawn(what.fall, what.page_size, (size.width, size.height), self.colours, self.host.plain, now))

    def _ask_for_entropy(self) -> None:
        """Have the entropy of each page worked out at this moment, unless it was."""
        assert self.block is not None
        wanted = self.block, self.session.row
        if self._bits_of == wanted or self._timer is not None:
            return
        self._bits, self._bits_of = None, wanted
        self.run_worker(partial(self._measure, *wanted), thread=True, exclusive=True, group="entropy")

    def _measure(self, block: int, row: int) -> None:
        """Work out the entropy of a block's pages. This is a thread's work."""
        worker = get_current_worker()

        def wanted() -> bool:
            return not (worker.is_cancelled or self.left)

        try:
            stream = self.session.stream()
            image = memory_of(stream, self.session.moment())
            bits = entropy(image.pages[space_of(stream).slice(block)], wanted)
        except XbrleError as error:
            self.app.call_from_thread(self._say, str(error))
            return
        if wanted():
            self.app.call_from_thread(self._take_entropy, (block, row), bits)

    def _take_entropy(self, of: tuple[int, int], bits: NDArray[np.float32]) -> None:
        if self._bits_of == of:
            self._bits = bits
            self._draw()

    def _moment(self) -> Moment | None:
        """What is shown, or None before there is something."""
        if self._map is None or self._head is None:
            return None
        return Moment(self._map, self._head, self.session.row)

    def _wrong(self) -> NDArray[np.int64]:
        """The pages that are wrong at the moment."""
        moment = self._moment()
        return np.zeros(0, np.int64) if moment is None else np.flatnonzero(moment.states == State.WRONG)

    def _describe(self) -> None:
        """Say what block this is, what the chosen page is, and where the moment is among all records."""
        session, moment = self.session, self._moment()
        if moment is None:
            return
        what = moment.what
        self.query_one("#what", Caption).show_line(self._heading(what))
        if self.has_class("wide"):
            pane = self.query_one("#side", TextLines)
            width, height = pane.scrollable_content_region.width, pane.size.height
            pane.show(side(moment, self.heat.page, self._look, self._under(moment), (width, height)))
        else:
            self.query_one("#cell", Caption).show_line(self._under(moment))
            counts = np.bincount(self.heat.values, minlength=_NUMBERS)  # before a first look there are none
            self.query_one("#legend", Caption).show_line(legend(what, self._look, self.size.width, counts))
        self.query_one(FilmBar).show_film(session, self.colours, self.playing)

    def _heading(self, what: BlockMap) -> Line:
        """The block, how many pages it has, and what cells show."""
        pages, grid = what.records.pages, self.heat.grid
        blocks = space_of(self.session.stream()).blocks
        scale_ = "1 page a cell" if grid.pages == 1 else f"{grid.pages:,} pages a cell"
        playing = f"playing in {_SPEEDS[self._speed]} s · " if self._timer is not None else ""
        name = f" {shown(blocks[what.block].name)} ({what.block + 1} of {len(blocks)})"
        clauses = [
            counted(pages, "page"),
            scale_,
            f"cells show {self.shows.cells.value}{_BELOW[self.shows is Shows.PASSES]}",
        ]
        while clauses and len(name) + len(playing) + len(right := ", ".join(clauses)) + 2 > self.size.width:
            clauses.pop(0)  # what does not fit is left out whole
        right = f"{playing}{right if clauses else ''} "
        return [(fit(name, max(1, self.size.width - len(right))), "strong"), (right, "")]

    def _under(self, moment: Moment) -> Line:
        """The page under the cursor."""
        what, head = moment.what, moment.head
        if not what.records.pages:
            return [(" this block does not have pages", "warning")]
        page = self.heat.page
        last = int(head.last[page])
        address = f" page {page * self.heat.page_size:#x}: "
        if last == NEVER and what.zero is not None and what.zero[page]:
            return [(address, "strong"), ("zero by the bitmap: the file does not hold it", "")]
        if last == NEVER and what.open:
            return [(address, "strong"), ("? unknown: the bitmap is unfinished", "warning")]
        if last == NEVER:
            return [(address, "strong"), ("not sent until now", "dim")]
        record = self.session.record(int(what.records.rows[last]))
        versions = counted(int(what.records.versions[last]), "version")
        line: list[tuple[str, str]] = [(address, "strong")]
        line.append((versions, ""))
        state = what.states[last]
        if state == State.WRONG:
            line.append((" · ! wrong" if self.session.knows_wrong else " · ! maybe wrong", "error"))
        elif state == State.HEALED:
            line.append((" · h healed", "warning"))
        if moment.unknown[page]:
            line.append((" · ? unknown", "warning"))
        if record is not None:
            line.append((f" · last by record {record.number} {kind_word(record.kind)}", ""))
        return [*line, (" · Enter opens it", "dim")]

    # -- playing -----------------------------------------------------------------------------------------------------

    def action_play(self) -> None:
        """Play from here, from the begin where this is the end. Or pause."""
        if self._timer is not None:
            self._stop()
            self._draw()
            return
        if self._map is None:
            return
        if self.session.row >= len(self.session) - 1:
            self.session.row = 0
        self.session.moved = True
        self._timer = self.set_interval(_FRAME, self._step)
        self._draw()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _step(self) -> None:
        """Show the next frame."""
        session, what, head = self.session, self._map, self._head
        if what is None or head is None:
            return
        rows = len(session)
        session.row = min(rows - 1, session.row + max(1, int(rows * _FRAME / _SPEEDS[self._speed])))
        session.page = None
        before, after = head.at, what.records.upto(session.row)
        if session.row >= rows - 1:
            self._stop()
        self._draw(distinct(what.records.page[before:after]).astype(np.int64))
        self.renew_top_bar()

    def action_speed(self, step: int) -> None:
        """Play faster, or more slowly."""
        self._speed = max(0, min(len(_SPEEDS) - 1, self._speed - step))
        self._describe()

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_heat_moved(self) -> None:
        """Describe another page."""
        self._describe()

    def on_heat_chosen(self) -> None:
        """Open the page, at this moment."""
        if self.block is not None and self._map is not None:
            self.session.page = (self.block, self.heat.page * self.heat.page_size)
            self.app.switch_mode("page")

    def on_film_bar_pressed(self, event: FilmBar.Pressed) -> None:
        """Go to that moment, and stay on this page."""
        event.prevent_default()  # else Textual has every screen's way of it follow
        rows = len(self.session)
        if rows:
            self._go(min(rows - 1, event.place * rows // event.room))

    def _go(self, row: int | None) -> None:
        """Make a row the moment, and stay on this page."""
        self._stays = True
        self.host.go(row, missing="no more passes over this block in this direction")
        self._stays = False

    def action_zoom(self, step: int) -> None:
        """Show fewer pages a cell, or more."""
        if self.heat.zoom_by(step):
            self._describe()

    def action_fit(self) -> None:
        """Show all of the block on the screen."""
        self.heat.fit()
        self._describe()

    def action_shows(self) -> None:
        """Have the cells show something else, in turn."""
        order = list(Shows)
        self.shows = order[(order.index(self.shows) + 1) % len(order)]
        self.workers.cancel_group(self, "entropy")
        self._bits_of = None if self._bits is None else self._bits_of
        self.set_class(self.shows is Shows.PASSES, "falls")
        self._draw()

    def action_block(self, step: int) -> None:
        """Show another block."""
        try:
            blocks = len(space_of(self.session.stream()).blocks)
        except XbrleError as error:
            self.host.say(str(error), "warning")
            return
        if blocks:
            self._stop()
            self.block = ((self.block or 0) + step) % blocks
            self.heat.zoom, self.heat.top, self.heat.page = None, 0, 0
            self._work_out()
            self._draw()

    def action_pass(self, step: int) -> None:
        """Go to the end of the next pass over this block, or of the one before."""
        if self._map is None or self._map.block != self.block:
            return
        ends, row = self._map.ends, self.session.row
        place = int(np.searchsorted(ends, row, "right")) if step > 0 else int(np.searchsorted(ends, row)) - 1
        self._go(int(ends[place]) if 0 <= place < len(ends) else None)

    def action_wrong(self, step: int) -> None:
        """Go to the next wrong page."""
        wrong, page = self._wrong(), self.heat.page
        onward = wrong[wrong > page] if step > 0 else wrong[wrong < page][::-1]
        if len(onward):
            self.heat.move_to(int(onward[0]))
        else:
            self.host.say("no more wrong pages here", "warning")

    def copied(self) -> str | None:
        """Give what is said of the chosen page."""
        moment = self._moment()
        return None if moment is None else "".join(t for t, _ in self._under(moment)).strip()
