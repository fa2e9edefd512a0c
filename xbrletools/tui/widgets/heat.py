"""Pages as a heat map: two cells to a character where there is colour, else one letter or shade a cell."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from ..palette import Palette, pairs, style

GUTTER = 11  # characters of an address and a blank
#: Pages a cell, from the finest zoom to the widest.
ZOOMS = (1, 2, 3, 4, 6, *(1 << k for k in range(3, 40)), *(3 << k for k in range(2, 40)))
_LABELLED = 4  # lines from one address in the gutter to the next
#: Cells on a line: only these, so that the addresses in the gutter are round.
_COLUMNS = (8, *(16 << k for k in range(12)), *(24 << k for k in range(12)))


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What the numbers of a map mean: a ``colour`` and a ``letter`` each, both by the number. A cell shows its highest.

    A name in ``words`` is for the legend. The numbers without one have none of their own there.
    """

    colours: tuple[str, ...]
    letters: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """How a map lies on the screen: ``columns`` cells on a line of cells, ``pages`` pages a cell, ``wide`` characters.

    ``halves`` lines of cells share a line of the screen.
    """

    columns: int
    pages: int
    wide: int
    halves: int

    @property
    def line(self) -> int:
        """Pages on a line of the screen."""
        return self.columns * self.pages * self.halves


def fitted(count: int, width: int, height: int, halves: int, zoom: int | None = None) -> Grid:
    """The grid with the fewest pages a cell that shows ``count`` pages at once, or with ``zoom`` pages a cell.

    A small map is drawn with wide cells.
    """
    columns = max(c for c in _COLUMNS if c <= max(_COLUMNS[0], width))
    for pages in sorted(ZOOMS) if zoom is None else (zoom,):
        cells = -(-count // pages)
        if cells <= columns * height * halves or zoom is not None:
            break
    wide = 1
    while pages == 1 and wide < 4 and columns // 2 in _COLUMNS and cells <= (columns // 2) * height * halves:
        columns, wide = columns // 2, wide * 2
    return Grid(columns, pages, wide, halves)


class Heat(Widget, can_focus=True, inherit_bindings=False):
    """A map of pages with a cursor on one of them. ``values`` (pages,) uint8 are numbers of a `Scale`."""

    DEFAULT_CSS = """
    Heat { width: 1fr; height: 1fr; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "move(1, 0)", "next cell", show=False),
        Binding("left,h", "move(-1, 0)", "previous cell", show=False),
        Binding("down,j", "move(0, 1)", "a row of cells down", show=False),
        Binding("up,k", "move(0, -1)", "a row of cells up", show=False),
        Binding("pagedown,ctrl+f", "leaf(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "leaf(-1)", "page up", show=False),
        Binding("home,g", "edge(-1)", "first cell", show=False),
        Binding("end,G", "edge(1)", "last cell", show=False),
        Binding("enter", "choose", "open", show=False),
    ]

    page: reactive[int] = reactive(0, init=False)

    class Moved(Message):
        """The cursor stands on another page."""

    class Chosen(Message):
        """Enter was pressed, or a cell was clicked twice."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="heat")
        self.palette = palette
        self.plain = False  # letters and no colours
        self.values: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.scale = Scale((palette.never,), " ", ("",))
        self.page_size = 1
        self.zoom: int | None = None  # pages a cell, None to fit
        self.top = 0  # the first line of the screen that is shown, counted from the block's begin
        self._glow: NDArray[np.int64] = np.zeros(0, np.int64)
        self._codes: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._strips: list[Strip] = []
        self._drawn: object = None  # with what the strips were drawn: scale, colours, letters or not, the grid

    # -- what is shown -----------------------------------------------------------------------------------------------

    @property
    def grid(self) -> Grid:
        """How it lies on the screen."""
        width, height = max(1, self.size.width - GUTTER), max(1, self.size.height)
        return fitted(len(self.values), width, height, 1 if self.plain else 2, self.zoom)

    @property
    def lines(self) -> int:
        """Lines of the screen that all pages take."""
        return -(-len(self.values) // self.grid.line)

    def show(
        self, values: NDArray[np.uint8], scale: Scale, page_size: int, glow: NDArray[np.int64] | None = None
    ) -> None:
        """Show these numbers. ``glow`` are pages that have just changed."""
        self.values, self.scale, self.page_size = values, scale, page_size
        self._glow = np.zeros(0, np.int64) if glow is None else glow
        with self.prevent(self.Moved):
            self.page = max(0, min(self.page, len(values) - 1))
        self._paint()

    def zoom_by(self, step: int) -> bool:
        """Show more pages a cell (``step`` above 0) or fewer, around the same page. False where nothing changes."""
        zooms = sorted(ZOOMS)
        place = zooms.index(self.grid.pages) + step
        if not 0 <= place < len(zooms) or not len(self.values):
            return False
        if step > 0 and self.lines <= 1:
            return False
        self.zoom = zooms[place]
        self._keep_in_sight()
        self._paint()
        return True

    def fit(self) -> None:
        """Show all pages at once."""
        self.zoom, self.top = None, 0
        self._paint()

    def _keep_in_sight(self) -> bool:
        """Scroll to the cursor. Gives whether that was needed."""
        line, height, old = self.page // self.grid.line, max(1, self.size.height), self.top
        if not self.top <= line < self.top + height:
            self.top = line - height // 2
        self.top = max(0, min(self.top, self.lines - height))
        return self.top != old

    def _cells(self, grid: Grid) -> NDArray[np.int32]:
        """The number of each cell in sight, (lines of cells, columns), with -1 beyond the last page."""
        height = max(1, self.size.height)
        start = self.top * grid.line
        seen = self.values[start : start + height * grid.line]
        cells = -(-len(seen) // grid.pages)
        out = np.full(height * grid.halves * grid.columns, -1, np.int32)
        if cells:
            whole = len(seen) // grid.pages * grid.pages
            out[: whole // grid.pages] = seen[:whole].reshape(-1, grid.pages).max(1)
            if whole < len(seen):
                out[cells - 1] = seen[whole:].max()
        glowing = self._glow[(self._glow >= start) & (self._glow < start + len(seen))] - start
        out[glowing // grid.pages] = len(self.scale.colours)
        return out.reshape(-1, grid.columns)

    def _paint(self) -> None:
        """Draw anew the lines that look another way than before."""
        if not self.size.height:
            return
        grid = self.grid
        cells = self._cells(grid)
        colours = (*self.scale.colours, self.palette.bright, self.palette.ground)  # all, then glow, then beyond the end
        cells = np.where(cells < 0, len(colours) - 1, cells)
        here = self.page // grid.pages - self.top * grid.columns * grid.halves
        if len(self.values) and 0 <= here < cells.size:
            cursor = len(colours)
            colours = (*colours, self.palette.bright)
            cells.reshape(-1)[here] = cursor
        codes = cells if self.plain else cells[0::2] * len(colours) + cells[1::2]
        # a line also changes with its address, which is bold where the cursor stands
        label = np.arange(len(codes))[:, None] + self.top
        label = np.where(label == self.page // grid.line, -1 - label, label).astype(np.int32)
        codes = np.hstack([codes, label])
        drawn = self.scale.letters, colours, self.plain, grid, self.page_size
        same = codes.shape == self._codes.shape and drawn == self._drawn
        self._drawn = drawn
        dirty = np.flatnonzero((codes != self._codes).any(1)) if same else np.arange(len(codes))
        if not same:
            self._strips = [self._blank()] * len(codes)
        self._codes = codes
        for y in dirty.tolist():
            self._strips[y] = self._strip(codes[y, :-1], int(codes[y, -1]), grid, colours)
        if len(dirty):
            width = self.size.width
            self.refresh(*(Region(0, y, width, 1) for y in dirty.tolist()))

    def _strip(self, codes: NDArray[np.int32], label: int, grid: Grid, colours: tuple[str, ...]) -> Strip:
        """One line of the screen. ``label`` is its number, and -1 less that where the cursor stands on it."""
        line = label if label >= 0 else -1 - label
        text = " " * GUTTER
        if line * grid.line < len(self.values) and (label < 0 or line % _LABELLED == 0):
            text = f"{line * grid.line * self.page_size:>#{GUTTER - 1}x} "
        here = style(self.palette.accent, self.palette.ground, True)
        segments = [Segment(text, here if label < 0 else style(self.palette.faint, self.palette.ground))]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        lengths = np.diff(np.append(starts, len(codes)))
        if self.plain:
            letters = self.scale.letters + "* "
            usual = style(self.palette.ink, self.palette.ground)
            for code, length in zip(codes[starts].tolist(), lengths.tolist(), strict=True):
                if code < len(letters):
                    segments.append(Segment(letters[code] * (length * grid.wide), usual))
                else:
                    segments.append(Segment(self._under_cursor(grid) * grid.wide, usual + Style(reverse=True)))
        else:
            styles = pairs(colours)
            for code, length in zip(codes[starts].tolist(), lengths.tolist(), strict=True):
                segments.append(Segment("▀" * (length * grid.wide), styles[code]))
        return Strip(segments).adjust_cell_length(self.size.width, style(None, self.palette.ground))

    def _under_cursor(self, grid: Grid) -> str:
        """The letter of the cell that the cursor covers."""
        first = self.page // grid.pages * grid.pages
        return self.scale.letters[int(self.values[first : first + grid.pages].max())]

    def render_line(self, y: int) -> Strip:
        """Give one line of the terminal."""
        return self._strips[y] if y < len(self._strips) else self._blank()

    def _blank(self) -> Strip:
        """A line with nothing on it. It has a style: Textual's filter for NO_COLOR cannot do without."""
        return Strip.blank(self.size.width, style(None, self.palette.ground))

    def on_resize(self, _event: events.Resize) -> None:
        """Lay the pages out anew."""
        self._codes = np.zeros((0, 0), np.int32)
        self._keep_in_sight()
        self._paint()

    # -- moving ------------------------------------------------------------------------------------------------------

    def move_to(self, page: int) -> None:
        """Put the cursor on a page."""
        self.page = max(0, min(page, len(self.values) - 1))

    def watch_page(self) -> None:
        """Show the cursor where it is now, and post `Moved`."""
        self._keep_in_sight()
        self._paint()
        self.post_message(self.Moved())

    def action_move(self, right: int, down: int) -> None:
        """Move by some cells."""
        grid = self.grid
        page = self.page + (right + down * grid.columns) * grid.pages
        if 0 <= page < len(self.values):
            self.move_to(page // grid.pages * grid.pages)

    def action_leaf(self, screens: int) -> None:
        """Move by a screenful."""
        self.move_to(self.page + screens * max(1, self.size.height - 1) * self.grid.line)

    def action_edge(self, which: int) -> None:
        """Go to the first cell (-1) or the last (1)."""
        self.move_to(0 if which < 0 else len(self.values) - 1)

    def action_choose(self) -> None:
        """Post `Chosen` for the page under the cursor."""
        if len(self.values):
            self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        """Choose the cell under the mouse: of the two in a character, the one that has more to tell."""
        grid = self.grid
        column, line = (event.x - GUTTER) // grid.wide, event.y + self.top
        if not 0 <= column < grid.columns:
            return
        firsts = [(line * grid.halves + half) * grid.columns + column for half in range(grid.halves)]
        there = [c * grid.pages for c in firsts if c * grid.pages < len(self.values)]
        if there:
            self.move_to(max(there, key=lambda p: int(self.values[p : p + grid.pages].max())))
            if event.chain == 2:
                self.action_choose()
