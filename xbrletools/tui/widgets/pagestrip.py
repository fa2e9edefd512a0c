"""A page's bytes as a strip beside the hexadecimal view: where bytes are changed or differ, and which are in sight."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from textual import events
from textual.message import Message

from ..palette import Palette, style
from .hexview import ByteMark
from .lines import Caption, Line

_ZERO, _DATA, _UNKNOWN = 0, 1, 2  # what bytes without a mark are
_LABELLED = 0x200  # bytes from one label to the next
_LETTERS = " ·?[{«"  # a cell's content without colour


class PageStrip(Caption):
    """A line for each part of the page, and the part in sight marked. A click goes there."""

    DEFAULT_CSS = """
    PageStrip { width: 9; height: 1fr; background: $background; display: none; }
    """

    class Pressed(Message):
        """A part was clicked: ``at`` is the first byte of it."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    def __init__(self) -> None:
        super().__init__(id="strip")
        self._each = 1  # bytes of a line
        self._drawn: tuple[Any, ...] | None = None  # what is shown, to draw it anew for another height

    def show_page(
        self,
        data: NDArray[np.uint8],
        known: NDArray[np.bool_],
        marks: NDArray[np.uint8],
        sight: tuple[int, int],
        colours: Palette | None,
    ) -> None:
        """Show a page's bytes (n,) by their marks. ``sight`` are those in sight. Without ``colours``, as letters."""
        height = max(1, self.size.height)
        self._drawn = data, known, marks, sight, colours
        if not len(data):
            self.show([])
            return
        halves = 2 if colours is not None else 1
        classes = np.where(data != 0, _DATA, _ZERO)
        classes[~known] = _UNKNOWN
        for mark, number in ((ByteMark.CHANGED, 3), (ByteMark.DIFFERS, 4), (ByteMark.BOTH, 5)):
            classes[marks == mark] = number
        cells = np.maximum.reduceat(classes, np.arange(height * halves) * len(data) // (height * halves))
        self._each = max(1, len(data) // height)
        lines: list[Line] = []
        for y in range(height):
            start = y * len(data) // height
            here = sight[0] <= start < sight[1]
            label = ""
            if not y or start // _LABELLED != (y - 1) * len(data) // height // _LABELLED:
                label = f" {start // _LABELLED * _LABELLED:4x}"
            if colours is None:
                lines.append([("|" if here else " ", ""), (_LETTERS[cells[y]] * 2, ""), (label, "dim")])
                continue
            fills = (colours.line, colours.calm(colours.page), colours.unknown, colours.delta)
            shades = (*fills, colours.calm(colours.wrong), colours.healed)
            cell: Style = style(shades[cells[2 * y]], shades[cells[2 * y + 1]])
            window = style(colours.accent) if here else style()
            lines.append([("▐" if here else " ", window), ("▀▀", cell), (label, style(colours.faint))])
        self.show(lines)

    def on_resize(self, _event: events.Resize) -> None:
        """Draw it for the lines that there are now."""
        if self._drawn is not None:
            self.show_page(*self._drawn)

    def on_click(self, event: events.Click) -> None:
        """Tell which part lies under the mouse."""
        self.post_message(self.Pressed(event.y * self._each))
