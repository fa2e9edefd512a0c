"""The pages of a block as cells of a few letters."""

from enum import Enum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.binding import Binding, BindingType

from ...formats.ram import Kind
from ...memory.blockstate import BlockState
from ..words import KIND_LETTER, KIND_STYLE
from .lines import Line, Lines

_GUTTER = 13  # characters of an address and a blank
_AGES = "9876543210"
_ZOOM_MAX = 20  # doublings
_STYLES = {"!": "error", "?": "warning", ".": "dim"} | {KIND_LETTER[k]: s for k, s in KIND_STYLE.items()}


class CellsShow(Enum):
    """What a cell tells of its pages."""

    KIND = "kind"
    VERSIONS = "versions"
    AGE = "age"


class Cells(Lines):
    """The pages of a block, ``1 << zoom`` a cell. A cell with several pages shows the most telling of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "move(1, 0)", "next cell", show=False),
        Binding("left,h", "move(-1, 0)", "previous cell", show=False),
        Binding("down,j", "move(0, 1)", "a row of cells down", show=False),
        Binding("up,k", "move(0, -1)", "a row of cells up", show=False),
        Binding("pagedown,ctrl+f", "leaf(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "leaf(-1)", "page up", show=False),
        Binding("home,g", "edge(-1)", "first cell", show=False),
        Binding("end,G", "edge(1)", "last cell", show=False),
    ]
    has_cursor = False

    def __init__(self) -> None:
        super().__init__(id="cells")
        self.map: BlockState | None = None
        self.shows = CellsShow.KIND
        self.zoom = 0
        self.page = 0
        self.page_size = 0
        self._cells: NDArray[np.str_] = np.zeros(0, "U1")

    @property
    def per_row(self) -> int:
        """Cells on a line: a power of two, so that addresses stay round."""
        room = max(8, self.scrollable_content_region.width - _GUTTER - 1)
        return 1 << (room.bit_length() - 1)

    @property
    def pages(self) -> int:
        """How many pages the block has."""
        return len(self.map.last) if self.map is not None else 0

    def show_map(self, pages: BlockState, page_size: int) -> None:
        """Show another map."""
        self.map, self.page_size = pages, page_size
        self.page = max(0, min(self.page, self.pages - 1))
        self._letter(pages)
        self.renew()

    # -- the zoom ----------------------------------------------------------------------------------------------------

    def fitted(self, pages: int) -> int:
        """The zoom at which a block of so many pages fills the screen and no more."""
        room = self.per_row * max(1, self.size.height)
        return min(_ZOOM_MAX, max(0, (-(-max(1, pages) // room) - 1).bit_length()))

    def zoom_by(self, step: int) -> bool:
        """Show more pages a cell (``step`` above 0) or fewer, on the same page. Gives false where nothing changes."""
        zoom = max(0, min(_ZOOM_MAX, self.zoom + step))
        if zoom == self.zoom or self.map is None:
            return False
        self.zoom = zoom
        self.show_map(self.map, self.page_size)
        self.move_to(self.page)
        return True

    def show_next(self) -> None:
        """Have the cells tell something else, in turn."""
        order = list(CellsShow)
        self.shows = order[(order.index(self.shows) + 1) % len(order)]
        if self.map is not None:
            self.show_map(self.map, self.page_size)

    # -- what is drawn -----------------------------------------------------------------------------------------------

    def _letter(self, pages: BlockState) -> None:
        """Make the letter of each cell."""
        step = 1 << self.zoom
        count = -(-len(pages.last) // step)
        padded = count * step - len(pages.last)

        def most(values: NDArray[np.integer]) -> NDArray[np.integer]:
            out: NDArray[np.integer] = np.pad(values, (0, padded), constant_values=-1).reshape(count, step).max(1)
            return out

        wrong = most(pages.wrong.astype(np.int64)) > 0
        unknown = most(((pages.last >= 0) & ~pages.based).astype(np.int64)) > 0
        last = most(pages.last)
        if self.shows is CellsShow.KIND:
            letters = np.array(["."] * 256)
            for kind, letter in KIND_LETTER.items():
                letters[kind] = letter
            newest = np.pad(pages.last, (0, padded), constant_values=-1).reshape(count, step).argmax(1)
            kinds = np.pad(pages.kind, (0, padded)).reshape(count, step)[np.arange(count), newest]
            cells = letters[np.where(last >= 0, kinds, Kind.NOOP)]
        elif self.shows is CellsShow.VERSIONS:
            digits = np.array([*".123456789", "+"])
            cells = digits[np.minimum(np.maximum(most(pages.versions), 0), 10)]
        else:
            newest_row = max(1, int(pages.last.max(initial=1)))
            age = np.minimum(9, (newest_row - last) * 10 // (newest_row + 1))
            cells = np.where(last >= 0, np.array(list(_AGES))[np.maximum(0, age)], ".")
        self._cells = np.where(wrong, "!", np.where(unknown, "?", cells))

    def count(self) -> int:
        """How many rows of cells there are."""
        return -(-len(self._cells) // self.per_row)

    def line(self, row: int, width: int) -> Line:
        """An address and a row of cells, the chosen one reversed."""
        per = self.per_row
        cells = self._cells[row * per : (row + 1) * per].tolist()
        line: list[tuple[str, str]] = [(f"{(row * per << self.zoom) * self.page_size:#12x} ", "dim")]
        chosen = (self.page >> self.zoom) - row * per
        text, style = "", ""
        for i, cell in enumerate(cells):
            cell_style = "reverse" if i == chosen else _STYLES.get(cell, "")
            if cell_style != style and text:
                line.append((text, style))
                text = ""
            text, style = text + cell, cell_style
        line.append((text, style))
        return line

    # -- moving ------------------------------------------------------------------------------------------------------

    def move_to(self, page: int) -> None:
        """Choose a page."""
        if self.map is None:
            return
        old = self.page
        self.page = max(0, min(page, self.pages - 1))
        per = self.per_row << self.zoom
        self.forget(old // per)
        self.forget(self.page // per)
        self.show_row(self.page // per)
        self.post_message(self.Moved(self, self.page // per))

    def show_page(self) -> None:
        """Scroll until the chosen page is in sight."""
        self.show_row(self.page // (self.per_row << self.zoom))

    def action_move(self, right: int, down: int) -> None:
        """Move by some cells."""
        self.move_to(self.page + ((right + down * self.per_row) << self.zoom))

    def action_leaf(self, pages: float) -> None:
        """Move by a screenful."""
        rows = int(max(1, self.size.height - 1) * pages)
        self.action_move(0, rows)

    def action_edge(self, which: int) -> None:
        """Go to the first cell (-1) or the last (1)."""
        self.move_to(0 if which < 0 or self.map is None else self.pages - 1)

    def on_click(self, event: events.Click) -> None:
        """Choose the cell under the mouse. A double click opens it."""
        cell = event.x - _GUTTER
        if 0 <= cell < self.per_row:
            self.move_to(((event.y + self.scroll_offset.y) * self.per_row + cell) << self.zoom)
            if event.chain == 2:
                self.action_choose()
