"""The map: a block's pages as cells, at the chosen moment, and a slider through time."""

from enum import Enum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ...errors import XbrleError
from ...formats.ram import Kind
from ...memory.pagemap import PageMap, page_map
from ...text import shown
from ..widgets.lines import Line, Lines, Text, fit
from .base import KIND_LETTER, KIND_STYLE, CaptureScreen, kind_word

_GUTTER = 13
_AGES = "9876543210"
_ZOOM_MAX = 20  # doublings


class Shows(Enum):
    """What a cell says of its pages."""

    KIND = "kind"
    VERSIONS = "versions"
    AGE = "age"


class Cells(Lines):
    """The pages of a block, ``1 << zoom`` a cell; a cell with several pages shows the most telling of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "move(1, 0)", "next cell", show=False),
        Binding("left,h", "move(-1, 0)", "cell before", show=False),
        Binding("down,j", "move(0, 1)", "row of cells down", show=False),
        Binding("up,k", "move(0, -1)", "row of cells up", show=False),
        Binding("pagedown,ctrl+f", "leaf(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "leaf(-1)", "page up", show=False),
        Binding("home,g", "edge(-1)", "first cell", show=False),
        Binding("end,G", "edge(1)", "last cell", show=False),
    ]
    has_cursor = False

    def __init__(self) -> None:
        super().__init__(id="cells")
        self.map: PageMap | None = None
        self.shows = Shows.KIND
        self.zoom = 0
        self.page = 0
        self.page_size = 0
        self._cells: NDArray[np.str_] = np.zeros(0, "U1")
        self._style: list[str] = []

    @property
    def per_row(self) -> int:
        """Cells on a line: a power of two, so that addresses stay round."""
        room = max(8, self.scrollable_content_region.width - _GUTTER - 1)
        return 1 << (room.bit_length() - 1)

    def fitted(self, pages: int) -> int:
        """The zoom at which a block of so many pages fills the screen and no more."""
        room = self.per_row * max(1, self.size.height)
        return min(_ZOOM_MAX, max(0, (-(-max(1, pages) // room) - 1).bit_length()))

    def tell(self, found: PageMap, page_size: int) -> None:
        """Show another map."""
        self.map, self.page_size = found, page_size
        self.page = max(0, min(self.page, len(found.last) - 1))
        self._make(found)
        self.renew()

    def _make(self, found: PageMap) -> None:
        """A letter for each cell, and a style for each letter."""
        step = 1 << self.zoom
        count = -(-len(found.last) // step)
        padded = count * step - len(found.last)

        def most(values: NDArray[np.integer]) -> NDArray[np.integer]:
            out: NDArray[np.integer] = np.pad(values, (0, padded), constant_values=-1).reshape(count, step).max(1)
            return out

        wrong = most(found.wrong.astype(np.int64)) > 0
        unknown = most(((found.last >= 0) & ~found.based).astype(np.int64)) > 0
        last = most(found.last)
        if self.shows is Shows.KIND:
            letters = np.array(["."] * 256)
            for kind, letter in KIND_LETTER.items():
                letters[kind] = letter
            newest = np.pad(found.last, (0, padded), constant_values=-1).reshape(count, step).argmax(1)
            kinds = np.pad(found.kind, (0, padded)).reshape(count, step)[np.arange(count), newest]
            cells = letters[np.where(last >= 0, kinds, Kind.NOOP)]
        elif self.shows is Shows.VERSIONS:
            versions = most(found.versions)
            digits = np.array([*".123456789", "+"])
            cells = digits[np.minimum(np.maximum(versions, 0), 10)]
        else:
            newest_row = max(1, int(found.last.max(initial=1)))
            age = np.minimum(9, (newest_row - last) * 10 // (newest_row + 1))
            cells = np.where(last >= 0, np.array(list(_AGES))[np.maximum(0, age)], ".")
        self._cells = np.where(wrong, "!", np.where(unknown, "?", cells))

    def count(self) -> int:
        """Rows of cells."""
        return -(-len(self._cells) // self.per_row)

    def line(self, row: int, width: int) -> Line:
        """An address and a row of cells, the chosen one reversed."""
        per = self.per_row
        cells = self._cells[row * per : (row + 1) * per].tolist()
        line: list[tuple[str, str]] = [(f"{(row * per << self.zoom) * self.page_size:#12x} ", "dim")]
        chosen = (self.page >> self.zoom) - row * per
        run, style = "", ""
        for i, cell in enumerate(cells):
            mine = "reverse" if i == chosen else _STYLES.get(cell, "")
            if mine != style and run:
                line.append((run, style))
                run = ""
            run, style = run + cell, mine
        line.append((run, style))
        return line

    def move_to(self, page: int) -> None:
        """Choose a page."""
        if self.map is None:
            return
        old = self.page
        self.page = max(0, min(page, len(self.map.last) - 1))
        per = self.per_row << self.zoom
        self.forget(old // per)
        self.forget(self.page // per)
        self.show_row(self.page // per)
        self.post_message(self.Moved(self, self.page // per))

    def action_move(self, right: int, down: int) -> None:
        """Some cells on."""
        self.move_to(self.page + ((right + down * self.per_row) << self.zoom))

    def action_leaf(self, pages: float) -> None:
        """A page on."""
        rows = int(max(1, self.size.height - 1) * pages)
        self.action_move(0, rows)

    def action_edge(self, which: int) -> None:
        """The first cell or the last."""
        self.move_to(0 if which < 0 or self.map is None else len(self.map.last) - 1)

    def on_click(self, event: events.Click) -> None:
        """Choose the cell under the mouse; twice opens."""
        cell = event.x - _GUTTER
        if 0 <= cell < self.per_row:
            self.move_to(((event.y + self.scroll_offset.y) * self.per_row + cell) << self.zoom)
            if event.chain == 2:
                self.action_choose()


_STYLES = {"!": "error", "?": "warning", ".": "dim"} | {KIND_LETTER[k]: s for k, s in KIND_STYLE.items()}


class Slider(Text):
    """The moment among all records: a bar to click on."""

    can_focus = False
    DEFAULT_CSS = """
    Slider { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="slider")
        self.start = 0
        self.room = 1

    def tell(self, label: str, row: int, rows: int) -> None:
        """Draw it."""
        self.start = len(label) + 1
        self.room = max(1, self.size.width - self.start - 2)
        at = min(self.room - 1, row * self.room // max(1, rows))
        self.show(
            [[(label, "strong"), ("[" + "=" * at, ""), ("|", "reverse"), ("-" * (self.room - at - 1) + "]", "dim")]]
        )

    def on_click(self, event: events.Click) -> None:
        """Go to that moment."""
        screen = self.screen
        place = event.x - self.start
        if isinstance(screen, MapScreen) and 0 <= place < self.room:
            rows = len(screen.session)
            screen.to_row(min(rows - 1, place * rows // self.room))


class MapScreen(CaptureScreen):
    """The cells, what the chosen one is, and the slider."""

    MODE = "map"
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
        Binding("left_square_bracket", "block(-1)", "block before", show=False, key_display="["),
        Binding("greater_than_sign", "pass(1)", "a pass on in time", show=False, key_display=">"),
        Binding("less_than_sign", "pass(-1)", "a pass back in time", show=False, key_display="<"),
        Binding("w", "wrong(1)", "next wrong page", show=False),
        Binding("W", "wrong(-1)", "wrong page before", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.block: int | None = None
        self._fitted = False
        self._drawn: tuple[int, int, int] | None = None

    def body(self) -> ComposeResult:
        """What block, its cells, the chosen one, the slider, what letters mean."""
        for name in ("what",):
            text = Text(id=name)
            text.can_focus = False
            yield text
        yield Cells()
        for name in ("cell", "legend"):
            text = Text(id=name)
            text.can_focus = False
            yield text
        yield Slider()

    @property
    def cells(self) -> Cells:
        """The cells."""
        return self.query_one(Cells)

    def on_mount(self) -> None:
        """The cells have the keys."""
        self.cells.focus()

    def on_resize(self) -> None:
        """The rows get longer or shorter."""
        super().on_resize()
        self._drawn = None
        self.call_after_refresh(self.follow)

    def grow(self) -> None:
        """More records, or findings about them."""
        self._drawn = None
        self.follow()

    def follow(self) -> None:
        """Show the block of the chosen record as of that record."""
        session = self.session
        if not self.cells.size.height:  # not laid out yet
            return
        try:
            capture = session.known()
            space = capture.space
            record = session.record()
            if self.block is None:
                self.block = record.block if record is not None and record.block is not None else 0
            if self.block >= len(space.blocks):
                raise XbrleError("this capture has no block list")
        except XbrleError as error:
            self.query_one("#what", Text).show([[(f" {error}", "warning")]])
            return
        pages = int(space.pages[self.block])
        cells = self.cells
        if record is not None and record.block == self.block and record.number is not None:
            cells.page = record.address // capture.page_size
        if not self._fitted:
            cells.zoom = cells.fitted(pages)
            self._fitted = True
        suspect = np.array(session.suspect_rows(), np.int64)
        lapses = capture.lapses().upto(session.row)
        sure = lapses.sure_rows(np.arange(pages) + int(space.first[self.block])) if len(lapses) else None
        found = page_map(capture.records.columns, self.block, pages, capture.page_size, session.row, suspect, sure)
        cells.tell(found, capture.page_size)
        per = cells.per_row << cells.zoom
        cells.show_row(cells.page // per)
        self._tell()

    def _tell(self) -> None:
        session, cells = self.session, self.cells
        capture = session.known()
        record = session.record()
        assert self.block is not None
        block = capture.space.blocks[self.block]
        found = cells.map
        if record is None or found is None:
            return
        width = self.size.width
        step = 1 << cells.zoom
        scale = "1 page a cell" if step == 1 else f"{step} pages a cell"
        right = f"{len(found.last)} pages, {scale}, cells show {cells.shows.value} "
        name = f" {shown(block.name)} ({self.block + 1} of {len(capture.space.blocks)})"
        self.query_one("#what", Text).show([[(fit(name, max(1, width - len(right))), "strong"), (right, "")]])
        if not len(found.last):
            self.query_one("#cell", Text).show([[(" this block has no pages", "warning")]])
        else:
            self.query_one("#cell", Text).show([self._cell(found, cells.page)])
        legend = {
            "kind": " P page  D dup  X xbrle  Z xbzrle  C compressed  . not sent  ! wrong  ? unknown",
            "versions": " 1-9 versions, + more  . not sent  ! wrong  ? unknown",
            "age": " 9 changed last .. 0 long ago  . not sent  ! wrong  ? unknown",
        }[cells.shows.value]
        self.query_one("#legend", Text).show([[(legend, "dim")]])
        label = f" record {record.number}" if record.number is not None else f" @{record.offset:#x}"
        near = record.pass_
        label += f" pass {near} " if near is not None else " "
        self.query_one(Slider).tell(label, session.row, len(session))

    def _cell(self, found: PageMap, page: int) -> Line:
        row = int(found.last[page])
        last = self.session.record(row) if row >= 0 else None
        what = f" page {page * self.cells.page_size:#x}: "
        if last is None:
            return [(what, "strong"), ("not sent until now", "dim")]
        count = int(found.versions[page])
        line: list[tuple[str, str]] = [
            (what, "strong"),
            (f"{count} version{'' if count == 1 else 's'}, last by record {last.number} {kind_word(last.kind)}", ""),
        ]
        if found.wrong[page]:
            line.append((" ! wrong", "error"))
        if not found.based[page]:
            line.append((" ? unknown", "warning"))
        return [*line, (" · Enter opens it", "dim")]

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Another cell."""
        if isinstance(event.lines, Cells):
            self._tell()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the page, at this moment."""
        if isinstance(event.lines, Cells) and self.block is not None and event.lines.map is not None:
            self.session.page = (self.block, event.lines.page * event.lines.page_size)
            self.app.switch_mode("page")

    def to_row(self, row: int | None) -> None:
        """Make a row the moment, and stay on this page."""
        page, block = self.cells.page, self.block
        self.browser.go(row)
        if self.block == block:
            self.cells.move_to(page)

    def action_zoom(self, step: int) -> None:
        """Fewer pages a cell, or more."""
        cells = self.cells
        zoom = max(0, min(_ZOOM_MAX, cells.zoom + step))
        if zoom != cells.zoom and cells.map is not None:
            cells.zoom = zoom
            page = cells.page
            cells.tell(cells.map, cells.page_size)
            cells.move_to(page)
            self._tell()

    def action_fit(self) -> None:
        """All of the block on the screen."""
        cells = self.cells
        if cells.map is not None:
            self.action_zoom(cells.fitted(len(cells.map.last)) - cells.zoom)

    def action_shows(self) -> None:
        """What the cells show, in turn."""
        cells = self.cells
        order = list(Shows)
        cells.shows = order[(order.index(cells.shows) + 1) % len(order)]
        if cells.map is not None:
            cells.tell(cells.map, cells.page_size)
            self._tell()

    def action_block(self, step: int) -> None:
        """Another block."""
        blocks = len(self.session.known().space.blocks)
        if blocks:
            self.block = ((self.block or 0) + step) % blocks
            self._fitted = False
            self.cells.page = 0
            self.follow()

    def action_pass(self, step: int) -> None:
        """To the end of the next pass over this block, or of the one before."""
        block = self.block or 0
        here = self.session.record()
        if here is None:
            return
        ends = [r for r in self._ends(block) if (r > here.row if step > 0 else r < here.row)]
        self.to_row(ends[0 if step > 0 else -1] if ends else None)

    def _ends(self, block: int) -> list[int]:
        """The last row of each pass over a block."""
        table = self.session.known().records
        rows = np.flatnonzero((table.columns.block == block) & table.is_page)
        passes = table.pass_[rows]
        last = np.flatnonzero(np.diff(passes, append=passes[-1:] + 1)) if len(rows) else np.zeros(0, np.int64)
        ends: list[int] = rows[last].tolist()
        return ends

    def action_wrong(self, step: int) -> None:
        """To the next wrong page."""
        cells = self.cells
        if cells.map is None:
            return
        wrong = np.flatnonzero(cells.map.wrong)
        onward = wrong[wrong > cells.page] if step > 0 else wrong[wrong < cells.page][::-1]
        if len(onward):
            cells.move_to(int(onward[0]))
        else:
            self.browser.say("no more wrong pages here", "warning")

    def copied(self) -> str | None:
        """What is said of the chosen cell."""
        return (
            "".join(t for t, _ in self._cell(self.cells.map, self.cells.page)).strip()
            if self.cells.map is not None
            else None
        )
