"""The fields of the chosen record or its section as the grammar reads them, and the bytes of each."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from ...container.fields import Field, expanded, header_tree, record_tree, section_tree
from ...errors import XbrleError
from ...model import Facts
from ...table.growing import Record
from ...text import shown
from ..widgets.hexview import ByteMark, HexView
from ..widgets.lines import Caption, Line, Lines, fit
from ..words import counted, escaped, kind_word
from .base import CaptureScreen, Host

WIDE = 140  # columns from which on the bytes stand beside the tree
_BYTES_MAX = 1 << 16  # bytes of a record, section or header that are shown
_ROOMY = 100  # columns from which on a line has room for 8 bytes of a field, else for 4
_RAW_CELLS = {True: 27, False: 15}  # cells for a field's bytes, by whether the line is roomy
_FOLDED = 16  # fields of a list from which on it is folded at first
_VALUE_MAX = 64  # characters of a value


def text_of(value: Any) -> str:
    """A value in few words."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{int(value)}" if -10 < value < 10 else f"{int(value):#x} = {int(value)}"
    if isinstance(value, bytes):
        head = value[:_VALUE_MAX]
        return f'"{shown(head)}"' if head.isascii() and head.decode().isprintable() and head else f"{len(value)} bytes"
    return shown(str(value)[:_VALUE_MAX].encode("utf-8", "surrogateescape"))


#: The way from the root to a field: the place of a child, at each level.
FieldPath = tuple[int, ...]


class FieldTree(Lines):
    """A tree of fields, one line each. The fields below a folded one are left out."""

    def __init__(self) -> None:
        super().__init__(id="tree")
        self.root: Field | None = None
        self.folded: set[FieldPath] = set()
        self.rows: list[tuple[FieldPath, Field]] = []

    def show_root(self, root: Field) -> None:
        """Show a tree, with its long lists folded."""
        self.root = root
        self.folded = {path for path, field in _walk(root, (), set()) if path and len(field.children) > _FOLDED}
        self._unfold()
        self.cursor = 0

    def _unfold(self) -> None:
        self.rows = list(_walk(self.root, (), self.folded)) if self.root is not None else []
        self.renew()

    def count(self) -> int:
        """How many fields are not left out."""
        return len(self.rows)

    def line(self, row: int, width: int) -> Line:
        """Name, offset, size, bytes, value."""
        path, field = self.rows[row]
        fold = ("+ " if path in self.folded else "- ") if field.children else "  "
        name = " " * (2 * len(path)) + fold + escaped(field.name)
        most = 8 if width > _ROOMY else 4
        raw = field.raw[:most].hex(" ") + (" .." if len(field.raw) > most else "") if not field.children else ""
        value = counted(len(field.children), "field") if field.children else text_of(field.value)
        return [
            (fit(name, 20), "strong"),
            (f"{field.offset:#11x} ", "dim"),
            (f"{field.size:6} ", ""),
            (fit(raw, _RAW_CELLS[width > _ROOMY]), "dim"),
            (value, "dim" if field.children else ""),
        ]

    def heads(self) -> Line:
        """The names of the columns."""
        raw = fit("bytes", _RAW_CELLS[self.scrollable_content_region.width > _ROOMY])
        return [(f"{'  field':20}{'offset':>11} {'size':>6} {raw}value", "title")]

    @property
    def chosen(self) -> Field | None:
        """The field under the cursor."""
        return self.rows[self.cursor][1] if self.rows else None

    def choose_at(self, offset: int) -> bool:
        """Put the cursor on the smallest field that holds the byte at a file offset. Gives false where none does."""
        holding = [i for i, (_, f) in enumerate(self.rows) if f.offset <= offset < f.offset + f.size]
        if holding:
            self.jump(min(holding, key=lambda i: self.rows[i][1].size))
        return bool(holding)

    def fold(self, row: int) -> None:
        """Fold or unfold."""
        path, field = self.rows[row]
        if field.children:
            self.folded ^= {path}
            self._unfold()


def _walk(field: Field, path: FieldPath, folded: set[FieldPath]) -> Iterator[tuple[FieldPath, Field]]:
    """A field and all below it that are not left out, each with its path."""
    yield path, field
    if path not in folded:
        for i, child in enumerate(field.children):
            yield from _walk(child, (*path, i), folded)


class FieldsOf(Enum):
    """What the fields are of."""

    RECORD = "record"
    SECTION = "section"
    HEADER = "header"


class FieldsScreen(CaptureScreen):
    """The tree, and the bytes beside it or below."""

    MODE = "fields"
    KEY = "6"
    TITLE = "Fields"
    HELP = "every field, and its bytes"
    DEFAULT_CSS = """
    FieldsScreen #what, FieldsScreen #heads { height: 1; }
    FieldsScreen #tree { height: 1fr; }
    FieldsScreen #bytes { height: 8; border-top: solid $primary; }
    FieldsScreen.wide #main { layout: horizontal; }
    FieldsScreen.wide #tree { height: 100%; width: 1fr; }
    FieldsScreen.wide #bytes { height: 100%; width: 79; border-top: none; border-left: solid $primary; }
    """
    KEYS = (("s", "record, section"), ("[ ]", "section"), ("space", "fold"), ("Tab", "bytes"), ("y", "copy"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "next_of", "the record, its section, the file header", show=False),
        Binding("tab", "other", "to the bytes and back", show=False),
        Binding("right_square_bracket", "next_section(1)", "next section", show=False, key_display="]"),
        Binding("left_square_bracket", "next_section(-1)", "previous section", show=False, key_display="["),
        Binding("space", "fold", "fold or unfold", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.fields_of = FieldsOf.RECORD
        self.section: int | None = None  # None: the section of the chosen record
        self._shown: tuple[FieldsOf, int | None, int] | None = None
        self._data = np.zeros(0, np.uint8)

    def body(self) -> ComposeResult:
        """Give what the fields are of, the tree, its bytes."""
        yield Caption(id="what")
        yield Caption(id="heads")
        with Vertical(id="main"):
            yield FieldTree()
            yield HexView(id="bytes")

    @property
    def field_tree(self) -> FieldTree:
        """The fields."""
        return self.query_one(FieldTree)

    @property
    def hex_view(self) -> HexView:
        """The bytes."""
        return self.query_one("#bytes", HexView)

    def on_mount(self) -> None:
        """Give the keys to the tree."""
        self.field_tree.focus()

    def on_resize(self) -> None:
        """Put the bytes beside the tree where there is room, else below."""
        super().on_resize()
        self.set_class(self.size.width >= WIDE, "wide")
        self.call_after_refresh(self._show_heads)

    def _show_heads(self) -> None:
        self.query_one("#heads", Caption).show_line(self.field_tree.heads())

    def follow(self) -> None:
        """Show the chosen record, or what it lies in."""
        session = self.session
        record, facts = session.record(), session.facts
        key = (self.fields_of, self.section, session.row)
        if record is None or facts is None or key == self._shown:
            return
        self._shown = key
        try:
            root, what = self._root(record, facts, session.data)
            data = session.data[root.offset : root.offset + min(root.size, _BYTES_MAX)].copy()
        except XbrleError as error:
            self._show_nothing(session.reason(error))
            return
        self.query_one("#what", Caption).show_line([(what, "strong"), (" · s record, section, header", "dim")])
        self._data = data  # a copy: the file may shrink while this is shown
        self.field_tree.show_root(root)
        self.hex_view.at = 0
        self._show_bytes()
        self._show_heads()

    def _show_nothing(self, why: str) -> None:
        self.query_one("#what", Caption).show_line([(f" {why}", "warning")])
        self._data = np.zeros(0, np.uint8)
        self.field_tree.show_root(Field("nothing", 0, 0, None, b""))
        self.hex_view.show_bytes(self._data)

    def _root(self, record: Record, facts: Facts, data: NDArray[np.uint8]) -> tuple[Field, str]:
        """The tree to show, and what it is the tree of."""
        if self.fields_of is FieldsOf.HEADER:
            return header_tree(data, facts.start), " file header"
        if self.fields_of is FieldsOf.SECTION:
            index = record.section if self.section is None else self.section
            section = facts.sections[index]
            owner = "" if section.owner is None else f" of {shown(section.owner.idstr)}"
            found_by = section.found_by.name.lower()
            what = f" section {index} of {len(facts.sections)}: {section.type.name}{owner}, end {found_by}"
            return section_tree(section, data), what
        number = f"record {record.number}" if record.number is not None else "a record without a page"
        return _record_root(record, facts, data), f" {number}: {kind_word(record.kind)}"

    def _show_bytes(self) -> None:
        """Show the bytes of the whole tree, with those of the chosen field marked, and the cursor at their start."""
        root, field = self.field_tree.root, self.field_tree.chosen
        if root is None or field is None:
            return
        self.hex_view.show_bytes(self._data, marks=self._marks(root, field), base=root.offset)
        start = field.offset - root.offset
        if start < len(self._data):
            self.hex_view.move(start, post=False)

    def _marks(self, root: Field, field: Field) -> NDArray[np.uint8]:
        """Marks on a field's bytes, or no marks for the whole tree."""
        marks = np.zeros(len(self._data), np.uint8)
        start = field.offset - root.offset
        if field is not root:
            marks[max(0, start) : max(0, start + field.size)] = ByteMark.CHANGED
        return marks

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """ByteMark the bytes of another field."""
        if isinstance(event.lines, FieldTree):
            self._show_bytes()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Fold or unfold."""
        if isinstance(event.lines, FieldTree):
            event.lines.fold(event.row)

    def action_fold(self) -> None:
        """Fold or unfold the field under the cursor."""
        self.field_tree.fold(self.field_tree.cursor)

    def on_hex_view_byte_moved(self, event: HexView.ByteMoved) -> None:
        """Choose the field that holds the byte, and mark its bytes."""
        root = self.field_tree.root
        if root is None or self.focused is not event.view or not self.field_tree.choose_at(root.offset + event.at):
            return
        field = self.field_tree.chosen
        if field is not None:
            event.view.marks = self._marks(root, field)
            event.view.renew()

    def action_next_of(self) -> None:
        """Show the record, its section, the header, in turn."""
        order = list(FieldsOf)
        self.fields_of = order[(order.index(self.fields_of) + 1) % len(order)]
        self.section = None
        self.follow()

    def action_next_section(self, step: int) -> None:
        """Show another section."""
        record, facts = self.session.record(), self.session.facts
        if record is None or facts is None:
            return
        index = record.section if self.section is None else self.section
        self.fields_of = FieldsOf.SECTION
        self.section = max(0, min(len(facts.sections) - 1, index + step))
        self.follow()

    def action_other(self) -> None:
        """Switch the keys between the tree and the bytes."""
        (self.hex_view if self.focused is self.field_tree else self.field_tree).focus()

    def copied(self) -> str | None:
        """Give the field's bytes, in hexadecimal."""
        field = self.field_tree.chosen
        return field.raw.hex(" ") if field is not None else None


def _record_root(record: Record, facts: Facts, data: NDArray[np.uint8]) -> Field:
    """The fields of a record, with those of its delta where the dialect is known."""
    reading = facts.reading
    raw = data[record.offset : record.end].tobytes()
    if record.payload == record.offset:  # from a channel, or at its own place in the file: there is only the page
        return Field("page", record.offset, len(raw), raw, raw)
    version = facts.ram_version or reading.version
    root = record_tree(raw, record.offset, version, reading.dialect, reading.endian, reading.page_size)
    return expanded(root, reading.dialect) if reading.dialect is not None else root
