"""The grammar's tree of the chosen record or its section, and the bytes of the field under the cursor."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from ...container.fields import Field, expanded, header_tree, record_tree, section_tree
from ...model import Found
from ...table.growing import Record
from ...text import shown
from ..widgets.hexview import HexView, Mark
from ..widgets.lines import Line, Lines, Text, fit
from .base import CaptureScreen, kind_word

WIDE = 140
_BYTES_MAX = 1 << 16  # bytes of the whole that are shown beside the tree
_ROOMY, _RAW_WIDE, _RAW = 100, 27, 15  # from which width on how many cells are for a field's bytes
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


class Tree(Lines):
    """A tree of fields, a line each; what is folded is not there."""

    def __init__(self) -> None:
        super().__init__(id="tree")
        self.root: Field | None = None
        self.folded: set[tuple[int, ...]] = set()
        self.rows: list[tuple[tuple[int, ...], Field]] = []

    def tell(self, root: Field) -> None:
        """Show a tree, long lists of it folded."""
        self.root = root
        self.folded = {path for path, field in _walk(root, (), set()) if path and len(field.children) > 16}
        self._lay()
        self.cursor = 0

    def _lay(self) -> None:
        self.rows = list(_walk(self.root, (), self.folded)) if self.root is not None else []
        self.renew()

    def count(self) -> int:
        """Lines of what is unfolded."""
        return len(self.rows)

    def line(self, row: int, width: int) -> Line:
        """Name, offset, size, bytes, value."""
        path, field = self.rows[row]
        fold = ("+ " if path in self.folded else "- ") if field.children else "  "
        name = " " * (2 * len(path)) + fold + shown(field.name.encode("utf-8", "surrogateescape"))
        most = 8 if width > _ROOMY else 4
        raw = field.raw[:most].hex(" ") + (" .." if len(field.raw) > most else "") if not field.children else ""
        count = len(field.children)
        what = f"{count} field{'' if count == 1 else 's'}" if count else text_of(field.value)
        return [
            (fit(name, 20), "strong"),
            (f"{field.offset:#11x} ", "dim"),
            (f"{field.size:6} ", ""),
            (fit(raw, _RAW_WIDE if width > _ROOMY else _RAW), "dim"),
            (what, "dim" if field.children else ""),
        ]

    def fold(self, row: int) -> None:
        """Fold or unfold."""
        path, field = self.rows[row]
        if field.children:
            self.folded ^= {path}
            self._lay()


def _walk(field: Field, path: tuple[int, ...], folded: set[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], Field]]:
    yield path, field
    if path not in folded:
        for i, child in enumerate(field.children):
            yield from _walk(child, (*path, i), folded)


class FieldsScreen(CaptureScreen):
    """The tree, and the bytes beside or below."""

    MODE = "fields"
    DEFAULT_CSS = """
    FieldsScreen #what, FieldsScreen #heads { height: 1; }
    FieldsScreen #tree { height: 1fr; }
    FieldsScreen #bytes { height: 8; border-top: solid $primary; }
    FieldsScreen.wide #main { layout: horizontal; }
    FieldsScreen.wide #tree { height: 100%; width: 1fr; }
    FieldsScreen.wide #bytes { height: 100%; width: 79; border-top: none; border-left: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "whole", "the record, its section, the file header", show=False),
        Binding("tab", "other", "to the bytes and back", show=False),
        Binding("right_square_bracket", "next_section(1)", "next section", show=False, key_display="]"),
        Binding("left_square_bracket", "next_section(-1)", "section before", show=False, key_display="["),
        Binding("space", "fold", "fold or unfold", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.whole = "record"
        self.section: int | None = None
        self._shown: tuple[str, int | None, int] | None = None

    def body(self) -> ComposeResult:
        """What it is, the tree, its bytes."""
        for name in ("what", "heads"):
            text = Text(id=name)
            text.can_focus = False
            yield text
        with Vertical(id="main"):
            yield Tree()
            yield HexView(id="bytes")

    def on_mount(self) -> None:
        """The tree has the keys."""
        self.query_one(Tree).focus()

    def on_resize(self) -> None:
        """Beside where there is room, else below."""
        super().on_resize()
        self.set_class(self.size.width >= WIDE, "wide")
        self.call_after_refresh(self._head)

    def _head(self) -> None:
        width = self.query_one(Tree).scrollable_content_region.width
        raw = fit("bytes", _RAW_WIDE if width > _ROOMY else _RAW)
        self.query_one("#heads", Text).show([[(f"{'  field':20}{'offset':>11} {'size':>6} {raw}value", "title")]])

    def follow(self) -> None:
        """Show the chosen record, or what it lies in."""
        session = self.session
        record = session.record()
        key = (self.whole, self.section, session.row)
        if record is None or session.table is None or key == self._shown:
            return
        self._shown = key
        data = session.bytes
        scanner = session.capture.found
        if self.whole == "header":
            root = header_tree(data)
            what = " file header"
        elif self.whole == "section":
            index = record.section if self.section is None else self.section
            section = scanner.sections[index]
            root = section_tree(section, data)
            owner = "" if section.owner is None else f" of {shown(section.owner.idstr)}"
            found_by = section.found_by.name.lower()
            what = f" section {index} of {len(scanner.sections)}: {section.type.name}{owner}, end {found_by}"
        else:
            root = self._record_tree(record, data, scanner)
            number = f"record {record.number}" if record.number is not None else "a record without a page"
            what = f" {number}: {kind_word(record.kind)}"
        self.query_one("#what", Text).show([[(what, "strong"), (" · s record, section, header", "dim")]])
        self._data = data[root.offset : root.offset + min(root.size, _BYTES_MAX)]
        self.query_one(Tree).tell(root)
        self.query_one("#bytes", HexView).at = 0
        self._mark()
        self._head()

    def _record_tree(self, record: Record, data: NDArray[np.uint8], scanner: Found) -> Field:
        settings = scanner.reading
        raw = data[record.offset : record.end].tobytes()
        if record.payload == record.offset:  # from a channel, or at its own place in the file: nothing stands before it
            return Field("page", record.offset, len(raw), raw, raw)
        version = scanner.ram_version or settings.version
        root = record_tree(raw, record.offset, version, settings.dialect, settings.endian, settings.page_size)
        return expanded(root, settings.dialect) if settings.dialect is not None else root

    def _mark(self) -> None:
        tree, view = self.query_one(Tree), self.query_one("#bytes", HexView)
        if tree.root is None or not tree.rows:
            return
        _, field = tree.rows[tree.cursor]
        start = field.offset - tree.root.offset
        marks = np.zeros(len(self._data), np.uint8)
        if field is not tree.root:
            marks[max(0, start) : max(0, start + field.size)] = Mark.CHANGED
        view.show(self._data, marks=marks, base=tree.root.offset)
        if start < len(self._data):
            view.move(start, tell=False)

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Mark the field's bytes."""
        if isinstance(event.lines, Tree):
            self._mark()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Fold or unfold."""
        if isinstance(event.lines, Tree):
            event.lines.fold(event.row)

    def action_fold(self) -> None:
        """The same, on the space bar."""
        tree = self.query_one(Tree)
        tree.fold(tree.cursor)

    def on_hex_view_at(self, event: HexView.At) -> None:
        """The smallest field in sight that holds the byte."""
        tree = self.query_one(Tree)
        if tree.root is None or self.focused is not event.view:
            return
        at = tree.root.offset + event.at
        holding = [i for i, (_, f) in enumerate(tree.rows) if f.offset <= at < f.offset + f.size]
        if holding:
            tree.jump(min(holding, key=lambda i: tree.rows[i][1].size))
            _, field = tree.rows[tree.cursor]
            start = field.offset - tree.root.offset
            marks = np.zeros(len(self._data), np.uint8)
            marks[start : start + field.size] = Mark.CHANGED
            event.view.marks = marks
            event.view.renew()

    def action_whole(self) -> None:
        """The record, its section, the header, in turn."""
        order = ("record", "section", "header")
        self.whole = order[(order.index(self.whole) + 1) % len(order)]
        self.section = None
        self.follow()

    def action_next_section(self, step: int) -> None:
        """Another section."""
        record, table = self.session.record(), self.session.table
        if record is None or table is None:
            return
        here = record.section if self.section is None else self.section
        self.whole = "section"
        self.section = max(0, min(len(self.session.capture.found.sections) - 1, here + step))
        self.follow()

    def action_other(self) -> None:
        """Between the tree and the bytes."""
        tree, view = self.query_one(Tree), self.query_one("#bytes", HexView)
        (view if self.focused is tree else tree).focus()

    def copied(self) -> str | None:
        """The field's bytes, in hexadecimal."""
        tree = self.query_one(Tree)
        return tree.rows[tree.cursor][1].raw.hex(" ") if tree.rows else None
