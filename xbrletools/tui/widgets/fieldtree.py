"""A tree of fields, a line each: name, offset, size, what the bytes mean, the bytes."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from rich.style import Style
from textual import events

from ...container.fields import Field, Named, flag_words
from ...text import bytes_of, shown
from ..fieldrows import FieldPath, FieldRow, FieldRows, name_of
from ..palette import Palette, style
from ..words import counted, escaped
from .hexview import tinted
from .lines import Line, Lines, fit

_VALUE_MAX = 64  # characters of a value
_DECIMAL = 1 << 24  # numbers from which on only hexadecimal is of use
_BYTES_MAX = 16  # bytes of a field that are shown
_OFFSET, _SIZE = 11, 8  # cells
NOTHING = Field("nothing", 0, 0, None, b"")


def text_of(value: Any) -> str:
    """A value in few words."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        if -10 < value < 10:
            return str(int(value))
        return f"{int(value):#x} = {int(value)}" if abs(value) < _DECIMAL else f"{int(value):#x}"
    if isinstance(value, tuple):
        return f"{len(value):,} numbers"
    if isinstance(value, bytes):
        head = value[:_VALUE_MAX]
        is_text = head.isascii() and head.decode().isprintable() and head
        return f'"{shown(head)}"' if is_text else counted(len(value), "byte")
    return shown(bytes_of(str(value)[:_VALUE_MAX]))


class FieldTree(Lines):
    """The fields of one thing. Those below a folded one are left out. ``others`` are values that another capture has.

    ``colours`` gives the theme's, None where there are not enough of them.
    """

    def __init__(self, colours: Callable[[], Palette | None]) -> None:
        super().__init__(id="tree")
        self._colours = colours
        self.rows = FieldRows(NOTHING)
        self.named: Named = {}
        self.others: Mapping[str, str] = {}

    @property
    def root(self) -> Field:
        """What the fields are of."""
        return self.rows.root

    def show_root(
        self, root: Field, named: Named, folded: Collection[str] = (), others: Mapping[str, str] | None = None
    ) -> None:
        """Show a tree, with its long lists and those called as in ``folded`` folded.

        ``named`` has the names of flags, ``others`` what another capture has in fields that differ, by their names.
        """
        self.rows = FieldRows(root, folded)
        self.named, self.others = named, others or {}
        with self.prevent(self.Moved):
            self.cursor = 0
        self.renew()

    def count(self) -> int:
        """How many fields are not left out."""
        return len(self.rows)

    def on_resize(self, _event: events.Resize) -> None:
        """Tell that there is other room: the names of the columns stand over them."""
        self.post_message(self.Narrowed())

    def watch_show_vertical_scrollbar(self, shows: bool) -> None:
        """Tell it too where a scroll bar goes."""
        self.post_message(self.Narrowed())

    def _cells(self, width: int) -> tuple[int, int, int]:
        """Cells for the name and for the value, and how many bytes have room."""
        name = min(34, max(18, width * 3 // 10))
        left = max(10, width - name - _OFFSET - _SIZE - 1)
        count = min(_BYTES_MAX, max(0, (left - 18) // 3))
        count = 0 if self.others else count - count % 4  # what another capture has needs their room
        return name, left - 3 * count, count

    def words(self, row: FieldRow) -> str:
        """What a field means, with the names of its flags."""
        if row.field.children:
            return counted(len(row.field.children), "field")
        flags = flag_words(row.field, self.named)
        if flags is not None:
            return f"{row.field.value:#x} {flags}".rstrip()
        return text_of(row.field.value)

    def line(self, row: int, width: int) -> Line:
        """Name, offset, size, value, bytes."""
        at = self.rows.at(row)
        field, colours = at.field, self._colours()
        name_cells, value_cells, count = self._cells(width)
        mark = "  " if at.is_open is None else "▾ " if at.is_open else "▸ "
        is_zero = not field.children and not any(field.raw)
        other = self.others.get(name_of(self.root, at.path)) if self.others else None
        value, shade = self.words(at), "dim" if field.children or is_zero else self._data_style(colours)
        if other is not None:
            value, shade = f"≠ {value}; {other} there", "warning"
        raw = tinted(field.raw[:count], colours) if count else []
        return [
            (fit(" " * (2 * at.depth) + mark + escaped(field.name), name_cells), "dim" if is_zero else "strong"),
            (f"{field.offset:>#{_OFFSET - 1}x} ", "dim"),
            (f"{field.size:>{_SIZE - 1},}  ", "dim"),
            (fit(value, value_cells - 1) + " ", shade),
            *raw,
        ]

    @staticmethod
    def _data_style(colours: Palette | None) -> str | Style:
        return "" if colours is None else style(colours.text(colours.page))

    def heads(self) -> Line:
        """The names of the columns."""
        name, value, count = self._cells(self.scrollable_content_region.width)
        text = f"{'  field':{name}}{'offset':>{_OFFSET - 1}} {'size':>{_SIZE - 1}}  {'value':{value - 1}} "
        return [(text + ("bytes" if count else ""), "title")]

    @property
    def chosen(self) -> FieldRow | None:
        """The line under the cursor."""
        return self.rows.at(self.cursor) if len(self.rows) else None

    def said(self) -> Line:
        """All of the chosen field: its whole name, its value, what another capture has, its size."""
        row = self.chosen
        if row is None:
            return []
        name = name_of(self.root, row.path)
        other = self.others.get(name)
        differs = [(f" ≠ {other} there", "warning")] if other is not None else []
        words = [(f" {escaped(name)}", "strong"), (f" = {self.words(row)}", ""), *differs]
        return [*words, (f" · {counted(row.field.size, 'byte')}", "dim")]

    def choose(self, path: FieldPath) -> None:
        """Put the cursor on a field, and open what it lies in."""
        row = self.rows.show(path)
        self.renew()
        self.jump(row)

    def choose_at(self, offset: int) -> bool:
        """Put the cursor on the smallest field that holds the byte at a file offset. Gives false where none does."""
        path = self.rows.holding(offset)
        if path is not None:
            self.jump(self.rows.show(path))
        return path is not None

    def fold(self, row: int) -> None:
        """Fold or unfold."""
        self.rows.turn(row)
        self.renew()
