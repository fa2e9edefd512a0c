"""Bytes in hexadecimal and ASCII, in one column or two, with a cursor on a byte.

Brackets around a byte say what it is, so that no colour is needed: [changed], {differs}, «both», <found>, (linked).
Bytes without a mark are tinted by their class where there is colour, and zeros are dim.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from ..palette import Palette, mixed, style
from .lines import Line, Lines, fit

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class ByteMark(IntEnum):
    """What a byte is, beside its value. The higher mark hides the lower."""

    NONE = 0
    CHANGED = 1
    LINKED = 2
    DIFFERS = 3
    BOTH = 4  # changed, and it differs
    FOUND = 5


_OPEN = " [({«<"
_CLOSE = " ])}»>"
_STYLE = ("", "changed", "linked", "differs", "differs", "found")
_ASCII = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in range(256))
_HEX = tuple(f"{b:02x}" for b in range(256))


#: The style of each of the 256 bytes, by its mark.
Tints = Sequence[Sequence[str | Style]]

_PLAIN: Tints = [[name] * 256 for name in _STYLE]


@lru_cache(maxsize=8)
def _tints(colours: Palette) -> Tints:
    """Bytes in the colours of their classes, over a ground that tells their mark."""
    shades = [_class_of(byte, colours) for byte in range(256)]
    grounds = {
        ByteMark.CHANGED: mixed(colours.delta, colours.ground, 0.78),
        ByteMark.DIFFERS: mixed(colours.wrong, colours.ground, 0.82),
        ByteMark.BOTH: mixed(colours.healed, colours.ground, 0.65),
        ByteMark.FOUND: mixed(colours.healed, colours.ground, 0.65),
    }
    out: list[Sequence[str | Style]] = []
    for mark in ByteMark:
        if mark is ByteMark.NONE:
            out.append([style(colours.byte(shade, colours.ground)) for shade in shades])
        elif mark in grounds:
            out.append([style(colours.byte(shade, grounds[mark]), grounds[mark]) for shade in shades])
        else:
            out.append(_PLAIN[mark])
    return out


@lru_cache(maxsize=8)
def _brackets(colours: Palette) -> Sequence[str | Style]:
    """The style of a bracket for each mark."""
    bright = {ByteMark.CHANGED: colours.delta, ByteMark.DIFFERS: colours.wrong, ByteMark.BOTH: colours.healed}
    return [style(bright[mark], None, True) if mark in bright else _STYLE[mark] for mark in ByteMark]


def tinted(raw: bytes, colours: Palette | None) -> Line:
    """Bytes in hexadecimal, each in the colour of its class, or without colours. Zeros are dim."""
    if colours is None:
        return [(raw.hex(" "), "")]
    shades = _tints(colours)[ByteMark.NONE]
    return [(_HEX[byte] + " ", shades[byte]) for byte in raw]


def _class_of(byte: int, colours: Palette) -> str:
    """The colour of a byte by what it can be."""
    if byte == 0:
        return colours.zero
    if byte in b" \t\n\r\x0b\x0c":
        return colours.blank
    if byte == 0xFF:
        return colours.ones
    if byte < 0x20 or byte == 0x7F:
        return colours.control
    return colours.printable if byte < 0x7F else colours.high


def hexadecimal(data: Bytes, known: Mask) -> str:
    """Bytes in hexadecimal, unknown ones as question marks."""
    return " ".join(f"{b:02x}" if k else "??" for b, k in zip(data.tolist(), known.tolist(), strict=True))


class HexView(Lines):
    """A row of bytes, given to `show_bytes`. ``at`` is the place of the byte under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move_row(1)", "next row", show=False),
        Binding("up,k", "move_row(-1)", "previous row", show=False),
        Binding("l", "move_byte(1)", "next byte", show=False),
        Binding("h", "move_byte(-1)", "previous byte", show=False),
        Binding("pagedown,ctrl+f", "move_leaf(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "move_leaf(-1)", "page up", show=False),
        Binding("home,g", "edge(-1)", "first byte", show=False),
        Binding("end,G", "edge(1)", "last byte", show=False),
    ]
    has_cursor = False

    class ByteMoved(Message):
        """The cursor stands on another byte."""

        def __init__(self, view: "HexView", at: int) -> None:
            super().__init__()
            self.view = view
            self.at = at

    class Scrolled(Message):
        """Other bytes are in sight."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.at = 0
        self.base = 0
        self.data: Bytes = np.zeros(0, np.uint8)
        self.known: Mask = np.zeros(0, bool)
        self.marks: Bytes = np.zeros(0, np.uint8)
        self.left: tuple[Bytes, Mask] | None = None
        self.left_marks: Bytes | None = None
        self.only_marked = False
        self.locked = True  # whether both columns scroll together
        self.lag = 0  # lines by which the left column lies above the right one, while they do not
        self._tints = _PLAIN
        self._brackets: Sequence[str | Style] = _STYLE

    def tint(self, colours: Palette | None) -> None:
        """Tint bytes by their class in these colours, or not at all."""
        tints = _PLAIN if colours is None else _tints(colours)
        if tints != self._tints:
            self._tints, self._brackets = tints, _STYLE if colours is None else _brackets(colours)
            self.renew()

    def show_bytes(
        self,
        data: Bytes,
        known: Mask | None = None,
        marks: Bytes | None = None,
        base: int = 0,
        left: tuple[Bytes, Mask] | None = None,
        only_marked: bool = False,
        left_marks: Bytes | None = None,
    ) -> None:
        """Show ``data`` (n,) uint8. Its first byte has the address ``base``.

        ``known`` (n,) bool says which bytes are known. ``marks`` (n,) uint8 holds each one's `ByteMark`. ``left`` are
        other bytes, with the mask of those that are known, to show to the left of these. They have the same marks, or
        ``left_marks``. With ``only_marked``, bytes without a mark are shown as dots.
        """
        self.data, self.base, self.left, self.only_marked = data, base, left, only_marked
        self.known = np.ones(len(data), bool) if known is None else known
        self.marks = np.zeros(len(data), np.uint8) if marks is None else marks
        self.left_marks = left_marks
        self.at = max(0, min(self.at, len(data) - 1))
        self.renew()

    @property
    def digits(self) -> int:
        """Digits of an address. Two columns leave room only for the place in the page."""
        if self.left is not None:
            return 4
        return 8 if self.base + len(self.data) <= 1 << 32 else 12

    @property
    def halfway(self) -> int:
        """The cell at which the right of two columns begins."""
        return self.digits + 4 * self.per_row + 6

    @property
    def per_row(self) -> int:
        """Bytes on a line: 4, 8, 16 or 32, as many as fit."""
        room = self.scrollable_content_region.width - self.digits
        sides = 2 if self.left is not None else 1
        for count in (32, 16, 8):
            if sides * (4 * count + 4) + 2 * (sides - 1) <= room and count * sides <= 32:
                return count
        return 4

    @property
    def sight(self) -> tuple[int, int]:
        """The bytes in sight: the first, and the one after the last."""
        top, height = self.scroll_offset.y, max(1, self.scrollable_content_region.height)
        return top * self.per_row, (top + height) * self.per_row

    def scroll_together(self, locked: bool) -> None:
        """Have both columns scroll together, or the left one stay where it is."""
        self.locked, self.lag = locked, 0
        self.renew()

    def heads(self, left: str, right: str) -> Line:
        """The names of the columns, where they begin, and what the left one does when the right one scrolls."""
        away = "before" if self.lag > 0 else "after"
        stays = "" if self.locked else f" (stays, {abs(self.lag) * self.per_row:,} bytes {away})"
        return [(" " * (self.digits + 1) + fit(left + stays, 4 * self.per_row + 5) + right, "strong")]

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Leave the left column where it is, where it is not locked to the right one."""
        if self.left is not None and not self.locked:
            self.lag += round(new_value) - round(old_value)
            self.renew()
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Scrolled())

    def count(self) -> int:
        """How many lines the bytes take."""
        return -(-len(self.data) // self.per_row)

    def line(self, row: int, width: int) -> Line:
        """An address, bytes in hexadecimal, and the same bytes as text."""
        per = self.per_row
        start = row * per
        line: list[tuple[str, str | Style]] = [
            (f"{start if self.left is not None else self.base + start:0{self.digits}x}", "dim")
        ]
        if self.left is not None:
            line += self._side(
                (row - self.lag) * per, per, *self.left, self.marks if self.left_marks is None else self.left_marks
            )
            line += [(" ", ""), (":", "dim") if self.lag else self._bar(start, per)]
        line += self._side(start, per, self.data, self.known, self.marks)
        return line

    def _bar(self, start: int, per: int) -> tuple[str, str | Style]:
        """What stands between the columns: a bar where their bytes differ, a bright one where many do."""
        assert self.left is not None
        part = slice(start, start + per)
        count = int(np.count_nonzero((self.data[part] != self.left[0][part]) & self.known[part] & self.left[1][part]))
        if not count:
            return ":", "dim"
        return "▐", "error" if count > 8 or 2 * count > per else "warning"

    def _side(self, start: int, per: int, data: Bytes, known: Mask, all_marks: Bytes) -> list[tuple[str, str | Style]]:
        part = slice(max(0, start), max(0, start + per))
        values, knowns, marks = data[part].tolist(), known[part].tolist(), all_marks[part].tolist()
        cursor = self.at - start
        line: list[tuple[str, str | Style]] = []
        text: list[tuple[str, str | Style]] = []
        before = ByteMark.NONE
        for i, (value, is_known, mark) in enumerate(zip(values, knowns, marks, strict=True)):
            if mark != before:
                line.append((_OPEN[mark] if mark else _CLOSE[before], self._brackets[mark or before]))
            else:
                shade = self._tints[mark][0]
                line.append((" ", shade if isinstance(shade, Style) and mark else ""))
            before = mark
            plain = self.only_marked and not mark
            usual = self._tints[mark][value]
            shade = "reverse" if i == cursor else "dim" if plain or not is_known else usual
            line.append(("??" if not is_known else ".." if plain else _HEX[value], shade))
            text.append(("?" if not is_known else " " if plain else _ASCII[value], shade))
        gap = per - len(values)
        line.append((_CLOSE[before], self._brackets[before]))
        line.append(("   " * gap, ""))
        return [*line, (" |", "dim"), *text, (" " * gap + "|", "dim")]

    # -- the cursor ------------------------------------------------------------------------------------------------

    def move(self, at: int, post: bool = True) -> None:
        """Put the cursor on a byte, and with ``post`` post `ByteMoved`."""
        at = max(0, min(at, len(self.data) - 1))
        if at == self.at:
            return
        old, self.at = self.at, at
        self.forget(old // self.per_row)
        self.forget(at // self.per_row)
        self.show_row(at // self.per_row, middle=True)
        if post:
            self.post_message(self.ByteMoved(self, at))

    def action_move_row(self, count: int) -> None:
        """Move by some rows."""
        if 0 <= self.at + count * self.per_row < len(self.data):
            self.move(self.at + count * self.per_row)

    def action_move_byte(self, count: int) -> None:
        """Move by some bytes."""
        self.move(self.at + count)

    def action_move_leaf(self, pages: int) -> None:
        """Move by a page."""
        rows = max(1, self.scrollable_content_region.height - 1) * pages
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False)
        self.move(self.at + rows * self.per_row)

    def action_edge(self, which: int) -> None:
        """Go to the first byte (-1) or the last (1)."""
        self.move(0 if which < 0 else len(self.data) - 1)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the byte under the mouse, in either column, in hexadecimal or text."""
        per = self.per_row
        side = 4 * per + 4
        x = event.x - self.digits
        if self.left is not None and x >= side + 2:
            x -= side + 2
        if 0 <= x < 3 * per:
            place = x // 3
        elif 3 * per + 3 <= x < 4 * per + 3:
            place = x - 3 * per - 3
        else:
            return
        self.move((event.y + self.scroll_offset.y) * per + min(place, per - 1))
