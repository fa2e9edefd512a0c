"""Beside a list: where in all of it findings lie, two parts to a character, and which part of it is in sight."""

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from ..palette import Palette, mixed, style

WIDTH = 3  # characters: what is in sight, and two of the map
_ODD, _BAD, _WORST = 1, 2, 3  # what a part holds: a warning, an error, and more than half as many as any part does
_LETTERS = "·~!!"
_SIGHT = " ▗▝▐"  # by whether the upper (2) and the lower half (1) is in sight


class Minimap(Widget):
    """Marks of ``rows`` rows, of which some are in sight."""

    DEFAULT_CSS = f"""
    Minimap {{ width: {WIDTH}; height: 1fr; background: $background; }}
    """

    class Pressed(Message):
        """A part was clicked: ``place`` of ``room``, from the top."""

        def __init__(self, place: int, room: int) -> None:
            super().__init__()
            self.place = place
            self.room = room

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="minimap")
        self.palette = palette
        self.plain = False
        self._parts: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._sight: tuple[int, int] = (0, 0)
        self._of: object = None

    def show(self, rows: int, marks: tuple[NDArray[np.int64], NDArray[np.int64]], sight: tuple[int, int]) -> None:
        """Show ``marks``, rows with a warning and rows with an error, rising, out of ``rows``.

        ``sight`` are the first and the last row in sight.
        """
        room = 2 * max(1, self.size.height)
        of = rows, room, *map(len, marks)
        if of != self._of:
            self._parts = np.zeros(room, np.uint8)
            odd, bad = (np.bincount(np.minimum(room - 1, m * room // max(1, rows)), minlength=room) for m in marks)
            self._parts[odd > 0] = _ODD
            self._parts[bad > 0] = _BAD
            self._parts[2 * bad > max(1, int(bad.max()))] = _WORST
            self._of = of
        first, last = (min(room - 1, row * room // max(1, rows)) for row in sight)
        self._sight = first, max(first, last)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Give one line of the terminal."""
        if 2 * y + 1 >= len(self._parts):
            return Strip.blank(self.size.width, style(None, self.palette.ground))
        colours, (first, last) = self.palette, self._sight
        upper, lower = self._parts[2 * y : 2 * y + 2].tolist()
        sight = 2 * (first <= 2 * y <= last) + (first <= 2 * y + 1 <= last)
        if self.plain:
            return Strip([Segment(_SIGHT[sight] + _LETTERS[max(upper, lower)] + " ", style())])
        bad = colours.calm(colours.wrong)
        shades = (colours.panel, colours.calm(colours.healed), mixed(bad, colours.panel, 0.35), bad)
        mark = Segment(_SIGHT[sight], style(colours.accent, colours.ground))
        return Strip([mark, Segment("▀▀", style(shades[upper], shades[lower]))])

    def on_click(self, event: events.Click) -> None:
        """Tell which part was clicked."""
        self.post_message(self.Pressed(event.y, max(1, self.size.height)))
