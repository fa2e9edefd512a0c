"""The map: a block's pages as cells, at the chosen moment, and a slider through time."""

from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ...errors import XbrleError
from ...memory.blockstate import BlockState, block_state
from ...memory.moments import lapses_of, space_of
from ...memory.replay import View
from ...model import Stream
from ...text import shown
from ..widgets.cells import Cells, CellsShow
from ..widgets.lines import Caption, Line, Lines, fit
from ..widgets.times import Slider
from ..words import counted, kind_word
from .base import CaptureScreen, Host

_LEGENDS = {
    CellsShow.KIND: " P page  D dup  X xbrle  Z xbzrle  C compressed  . not sent  ! wrong  ? unknown",
    CellsShow.VERSIONS: " 1-9 versions, + more  . not sent  ! wrong  ? unknown",
    CellsShow.AGE: " 9 changed last .. 0 long ago  . not sent  ! wrong  ? unknown",
}


class MapScreen(CaptureScreen):
    """The cells, what the chosen one is, and the slider."""

    MODE = "map"
    KEY = "4"
    TITLE = "Map"
    HELP = "a block's pages as cells"
    DEFAULT_CSS = """
    MapScreen #what, MapScreen #cell, MapScreen #legend { height: 1; }
    MapScreen #cell { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(-1)", "zoom in", show=False, key_display="+"),
        Binding("minus", "zoom(1)", "zoom out", show=False, key_display="-"),
        Binding("0", "fit", "zoom so that the block fits", show=False),
        Binding("o", "shows", "cells show kind, versions, age of the last change", show=False),
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
        self._fitted = False

    def body(self) -> ComposeResult:
        """Give what block it is, its cells, the chosen one, what letters mean, and the slider."""
        yield Caption(id="what")
        yield Cells()
        yield Caption(id="cell")
        yield Caption(id="legend")
        yield Slider()

    @property
    def cells(self) -> Cells:
        """The cells."""
        return self.query_one(Cells)

    def on_mount(self) -> None:
        """Give the keys to the cells."""
        self.cells.focus()

    def on_resize(self) -> None:
        """Make rows of another length."""
        super().on_resize()
        self.call_after_refresh(self.follow)

    def grow(self) -> None:
        """Show more records, or findings about them."""
        self.follow()

    def follow(self) -> None:
        """Show the block of the chosen record as of that record."""
        cells = self.cells
        if not cells.size.height:  # not laid out yet
            return
        try:
            stream = self.session.stream()
            record = self.session.record()
            if self.block is None:
                self.block = record.block if record is not None and record.block is not None else 0
            space = space_of(stream)
            if self.block >= len(space.blocks):
                raise XbrleError("this capture does not have a block list")
        except XbrleError as error:
            self.query_one("#what", Caption).show_line([(f" {error}", "warning")])
            return
        if record is not None and record.block == self.block and record.number is not None:
            cells.page = record.address // stream.page_size
        if not self._fitted:
            cells.zoom = cells.fitted(int(space.pages[self.block]))
            self._fitted = True
        cells.show_map(self._map(stream, self.block), stream.page_size)
        cells.show_page()
        self._describe()

    def _map(self, stream: Stream, block: int) -> BlockState:
        """The pages of a block as of the chosen row."""
        row, space = self.session.row, space_of(stream)
        pages = int(space.pages[block])
        suspect = np.array(self.session.findings.suspect_rows(), np.int64)
        lapses = lapses_of(stream, View.RECEIVER).upto(row)
        sure = lapses.sure_rows(np.arange(pages) + int(space.first[block])) if len(lapses) else None
        return block_state(stream.records.columns.take(slice(0, row + 1)), space, block, suspect, sure)

    # -- what is said of it ------------------------------------------------------------------------------------------

    def _describe(self) -> None:
        """Say what block this is, what the chosen cell is, and where the moment is among all records."""
        session, cells = self.session, self.cells
        record, pages = session.record(), cells.map
        if record is None or pages is None:
            return
        self.query_one("#what", Caption).show_line(self._heading())
        if cells.pages:
            self.query_one("#cell", Caption).show_line(self._cell(pages, cells.page))
        else:
            self.query_one("#cell", Caption).show_line([(" this block does not have pages", "warning")])
        self.query_one("#legend", Caption).show_line([(_LEGENDS[cells.shows], "dim")])
        label = f" record {record.number}" if record.number is not None else f" @{record.offset:#x}"
        label += f" pass {record.pass_} " if record.pass_ is not None else " "
        self.query_one(Slider).show_place(label, session.row, len(session))

    def _heading(self) -> Line:
        """The block, how many pages it has, and what cells show."""
        assert self.block is not None
        cells, width = self.cells, self.size.width
        blocks = space_of(self.session.stream()).blocks
        step = 1 << cells.zoom
        scale = "1 page a cell" if step == 1 else f"{step} pages a cell"
        right = f"{cells.pages} pages, {scale}, cells show {cells.shows.value} "
        name = f" {shown(blocks[self.block].name)} ({self.block + 1} of {len(blocks)})"
        return [(fit(name, max(1, width - len(right))), "strong"), (right, "")]

    def _cell(self, pages: BlockState, page: int) -> Line:
        """The chosen cell's page."""
        row = int(pages.last[page])
        last = self.session.record(row) if row >= 0 else None
        address = f" page {page * self.cells.page_size:#x}: "
        if last is None:
            return [(address, "strong"), ("not sent until now", "dim")]
        versions = counted(int(pages.versions[page]), "version")
        line: list[tuple[str, str]] = [
            (address, "strong"),
            (f"{versions}, last by record {last.number} {kind_word(last.kind)}", ""),
        ]
        if pages.wrong[page]:
            line.append((" ! wrong", "error"))
        if not pages.based[page]:
            line.append((" ? unknown", "warning"))
        return [*line, (" · Enter opens it", "dim")]

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Describe another cell."""
        if isinstance(event.lines, Cells):
            self._describe()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the page, at this moment."""
        cells = self.cells
        if event.lines is cells and self.block is not None and cells.map is not None:
            self.session.page = (self.block, cells.page * cells.page_size)
            self.app.switch_mode("page")

    def on_slider_pressed(self, event: Slider.Pressed) -> None:
        """Go to that moment."""
        rows = len(self.session)
        self._go(min(rows - 1, event.place * rows // event.room))

    def _go(self, row: int | None) -> None:
        """Make a row the moment, and stay on this page."""
        page, block = self.cells.page, self.block
        self.host.go(row, missing="no more passes over this block in this direction")
        if self.block == block:
            self.cells.move_to(page)

    def action_zoom(self, step: int) -> None:
        """Show fewer pages a cell, or more."""
        if self.cells.zoom_by(step):
            self._describe()

    def action_fit(self) -> None:
        """Show all of the block on the screen."""
        cells = self.cells
        if cells.map is not None:
            self.action_zoom(cells.fitted(cells.pages) - cells.zoom)

    def action_shows(self) -> None:
        """Have the cells show something else, in turn."""
        self.cells.show_next()
        self._describe()

    def action_block(self, step: int) -> None:
        """Show another block."""
        try:
            blocks = len(space_of(self.session.stream()).blocks)
        except XbrleError as error:
            self.host.say(str(error), "warning")
            return
        if blocks:
            self.block = ((self.block or 0) + step) % blocks
            self._fitted = False
            self.cells.page = 0
            self.follow()

    def action_pass(self, step: int) -> None:
        """Go to the end of the next pass over this block, or of the one before."""
        record = self.session.record()
        if record is None:
            return
        ends = [r for r in self._pass_ends(self.block or 0) if (r > record.row if step > 0 else r < record.row)]
        self._go(ends[0 if step > 0 else -1] if ends else None)

    def _pass_ends(self, block: int) -> list[int]:
        """The last row of each pass over a block."""
        table = self.session.stream().records
        rows = np.flatnonzero((table.columns.block == block) & table.is_page)
        passes = table.pass_[rows]
        last = np.flatnonzero(np.diff(passes, append=passes[-1:] + 1)) if len(rows) else np.zeros(0, np.int64)
        ends: list[int] = rows[last].tolist()
        return ends

    def action_wrong(self, step: int) -> None:
        """Go to the next wrong page."""
        cells = self.cells
        if cells.map is None:
            return
        wrong = np.flatnonzero(cells.map.wrong)
        onward = wrong[wrong > cells.page] if step > 0 else wrong[wrong < cells.page][::-1]
        if len(onward):
            cells.move_to(int(onward[0]))
        else:
            self.host.say("no more wrong pages here", "warning")

    def copied(self) -> str | None:
        """Give what is said of the chosen cell."""
        pages = self.cells.map
        return "".join(t for t, _ in self._cell(pages, self.cells.page)).strip() if pages is not None else None
