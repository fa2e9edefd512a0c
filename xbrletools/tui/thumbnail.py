"""The main block as a map of a few cells: how often its parts were sent, and where pages are wrong."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from ..memory.moments import space_of
from ..model import Stream
from ..table.kinds import IS_PAGE
from ..table.windows import slices
from .charts import merged
from .palette import STEPS, Palette, style
from .widgets.lines import Line

COLUMNS, LINES = 32, 8  # of characters, each of which has two cells, one above the other
_CELLS = COLUMNS * LINES * 2


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """The block at ``index``, called ``name``, in equal parts.

    ``sent`` (cells,) int64 counts the records of each. ``full`` (cells,) float64 has those that are not dup pages,
    divided by the pages of a part. ``odd`` and ``wrong`` (cells,) bool are the parts with a
    record that errors or warnings are about, and those with a page that is wrong at the end.
    """

    index: int
    name: bytes
    sent: NDArray[np.int64]
    full: NDArray[np.float64]
    odd: NDArray[np.bool_]
    wrong: NDArray[np.bool_]

    def lines(self, colours: Palette) -> list[Line]:
        """It in `LINES` lines of `COLUMNS` characters. A cell shows the worst that it has."""
        height = np.log2(1.0 + self.full)
        level = np.rint(height / max(1.0, height.max()) * (STEPS - 1)).astype(int)
        shades = np.where(self.full > 0, 2 + level, self.sent > 0)
        shades[self.odd], shades[self.wrong] = STEPS + 2, STEPS + 3
        looks = (colours.never, colours.once, *colours.ramp, colours.calm(colours.healed), colours.calm(colours.wrong))
        rows = shades.reshape(2 * LINES, COLUMNS).tolist()
        marks = {STEPS + 2: "h", STEPS + 3: "!"} if colours.plain else {}

        def cell(above: int, below: int) -> tuple[str, object]:
            mark = marks.get(max(above, below))
            return (mark, "strong") if mark else ("▀", style(looks[above], looks[below]))

        return [
            merged([cell(above, below) for above, below in zip(*pair, strict=True)])
            for pair in zip(rows[::2], rows[1::2], strict=True)
        ]


def thumbnail(stream: Stream) -> Thumbnail | None:
    """The main block, None where there is none or its length is not known. A thread's work."""
    space = space_of(stream)
    if not space.blocks or not space.pages[space.main]:
        return None
    main, length = space.main, space.blocks[space.main].length
    sent, full = np.zeros(_CELLS, np.int64), np.zeros(_CELLS, np.int64)
    for window in slices(stream.records):
        columns = window.columns
        of_it = IS_PAGE[columns.kind] & (columns.block == main)
        sent += _cells(columns.address[of_it].astype(np.int64), length)
        of_it &= columns.kind != Kind.DUP
        full += _cells(columns.address[of_it].astype(np.int64), length)
    none = np.zeros(_CELLS, bool)
    each = max(1.0, int(space.pages[main]) / _CELLS)
    return Thumbnail(main, space.blocks[main].name, sent, full / each, none, none)


def with_trouble(what: Thumbnail, stream: Stream, suspect: NDArray[np.int64], wrong: NDArray[np.int64]) -> Thumbnail:
    """It with what is wrong: ``suspect`` rows that findings are about, and pages ``wrong`` at the end, by number."""
    space, columns = space_of(stream), stream.records.columns
    length, first = space.blocks[what.index].length, int(space.first[what.index])
    rows = suspect[columns.block[suspect] == what.index]
    inside = wrong[(wrong >= first) & (wrong < first + int(space.pages[what.index]))] - first
    odd = _cells(columns.address[rows].astype(np.int64), length) > 0
    return replace(what, odd=odd, wrong=_cells(inside * space.page_size, length) > 0)


def _cells(addresses: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """How many of the addresses lie in each cell of a block, (cells,) int64."""
    known = addresses[(addresses >= 0) & (addresses < length)]
    return np.bincount((known / length * _CELLS).astype(np.int64), minlength=_CELLS)[:_CELLS]
