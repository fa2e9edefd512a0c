"""What a comparison found: the pages that differ, one on a line, and the lines of one page that do."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.binding import Binding, BindingType

from ...analysis.diff import PARTS
from ...arrays import distinct
from ...text import shown
from ..charts import merged
from ..comparison import Comparison
from ..palette import STEPS, Palette, style
from ..session import PagePlace
from .hexview import HexView
from .lines import Line, Lines, fit

_NAME = 14  # cells of a block's name
_SHADES = "·:░▒▓"  # where there is no colour


class ChangeList(Lines):
    """The pages that differ: those first of which most bytes changed that both memories have, or by their addresses."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="changes")
        self.palette = palette
        self.plain = False
        self.by_count = True
        self.found: Comparison | None = None
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._line_of: NDArray[np.int64] = np.zeros(0, np.int64)
        self._named = False

    def show(self, found: Comparison | None) -> None:
        """Show what was found."""
        self.found = found
        count = 0 if found is None else len(found)
        self._order = np.arange(count)
        if found is not None:
            self._named = len(distinct(found.block)) > 1
            if self.by_count:
                self._order = np.lexsort((-found.count, found.one_sided - found.count))
        self._line_of = np.empty(count, np.int64)
        self._line_of[self._order] = np.arange(count)
        self.renew()

    def count(self) -> int:
        """How many pages differ."""
        return len(self._order)

    def place(self, line: int) -> PagePlace:
        """The page on a line."""
        assert self.found is not None
        row = self._order[line]
        return int(self.found.block[row]), int(self.found.address[row])

    def line_of(self, place: PagePlace) -> int | None:
        """The line of a page, None where that does not differ."""
        row = None if self.found is None else self.found.row_of(place)
        return None if row is None else int(self._line_of[row])

    def heads(self) -> Line:
        """The names of the columns."""
        name = f"{'block':<{_NAME}}" if self._named else ""
        room = self.scrollable_content_region.width - len(name) - 21
        where = "where in the page" if room >= 17 else "where"
        return [(f" {name}{'page':>11} {'bytes':>6}  {where}", "dim")]

    def line(self, row: int, width: int) -> Line:
        """A page, how many of its bytes differ, and where in it those are."""
        found = self.found
        if found is None:
            return []
        block, address = self.place(row)
        at = self._order[row]
        name = fit(shown(found.space.blocks[block].name), _NAME - 1) + " " if self._named else ""
        one_sided = " ?" if 2 * int(found.one_sided[at]) > int(found.count[at]) else "  "
        room = max(8, min(PARTS, width - len(name) - 21))
        share = found.places(self._order[row : row + 1], room)[0]
        level = np.minimum(STEPS - 1, np.ceil(share * STEPS).astype(int) - 1)
        cells: list[tuple[str, object]] = []
        for step in level.tolist():
            if self.plain:
                cells.append((" " if step < 0 else _SHADES[step * len(_SHADES) // STEPS], ""))
            else:
                cells.append(("·", "dim") if step < 0 else ("▄", style(self.palette.ramp[step])))
        text = [
            (f" {name}", ""),
            (f"{address:#11x}", ""),
            (f" {int(found.count[at]):>6,}", "strong"),
            (one_sided, "note"),
        ]
        return [*text, *merged(cells)]


class ChangedLines(HexView, inherit_bindings=False):
    """The lines of a page that differ between A, on the left, and B."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "step(1)", "next line", show=False),
        Binding("up,k", "step(-1)", "previous line", show=False),
        Binding("pagedown,ctrl+f", "leaf(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "leaf(-1)", "page up", show=False),
        Binding("home,g", "edge(-1)", "first line", show=False),
        Binding("end,G", "edge(1)", "last line", show=False),
    ]

    def _changed(self) -> list[int]:
        """The lines with a byte that is marked."""
        per = self.per_row
        filled = np.zeros(-(-len(self.marks) // per) * per, np.uint8)
        filled[: len(self.marks)] = self.marks
        return np.flatnonzero(filled.reshape(-1, per).any(1)).tolist()

    def count(self) -> int:
        """How many lines differ."""
        self.at = -1  # there is no cursor on a byte
        self._rows = self._changed() if len(self.marks) else []
        return len(self._rows)

    def line(self, row: int, width: int) -> Line:
        """One of them."""
        return super().line(self._rows[row], width)

    def action_edge(self, which: int) -> None:
        """Go to the first line (-1) or the last (1)."""
        self.scroll_to(y=0 if which < 0 else self.renewed_count, animate=False)
