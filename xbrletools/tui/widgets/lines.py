"""Lists of any length on a few lines of a terminal. Only the lines in sight are made, and those are remembered.

Nothing is parsed as markup. No control character passes: it is shown as an escape.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...text import label, shown

#: Pieces of one line: a text, and its style or the name of one, which may be empty.
Line = Sequence[tuple[str, str] | tuple[str, Style] | tuple[str, str | Style]]

#: The styles that a line can use. Themes say what they look like. What matters is never told by colour alone.
STYLES = (
    "dim", "strong", "title", "error", "warning", "note", "good", "page", "dup", "delta", "changed", "linked",
    "differs", "found", "reverse", "tab",
)  # fmt: skip

_CLAUSE, _PARTS = " · ", ("; ", ". ")  # what parts clauses, and parts of a sentence
_PIECES = 2048  # pieces of lines whose segments are remembered: the same come again and again
_REMEMBERED = 512  # lines: a few screens. More would slow the garbage collector, since each line is many objects
_GRAINS = 64  # steps of the scrollbar within a cell. 8 of them can be seen


def fit(text: str, width: int, right: bool = False) -> str:
    """Text in exactly ``width`` cells: padded, or cut with an ellipsis."""
    cells = len(text) if text.isascii() else cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - cells) + text if right else text + " " * (width - cells)


def whole(line: Line, width: int) -> Line:
    """A line without the clauses at its end that do not fit into ``width`` cells: none is cut in the middle.

    Clauses are parted by ` · `. Of the first as many parts are given as fit, and where not even one does, all of it.
    """
    text = "".join(piece for piece, _ in line)
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        return line
    places = range(min(len(text), width), 0, -1)
    ends = (at for marks in ((_CLAUSE,), _PARTS) for at in places if text.startswith(marks, at))
    kept = next((at for at in ends if cell_len(text[:at]) <= width), 0)
    if not kept:
        return line
    out: list[tuple[str, str | Style]] = []
    for piece, name in line:
        out.append((piece[:kept], name))
        kept -= len(out[-1][0])
    return out


def tail(name: str, cells: int) -> str:
    """A name in exactly as many cells. Of a long one the end, which tells one block or device from another."""
    while cell_len(name) > cells and len(name) > 1:
        name = "…" + name[2 if name.startswith("…") else 1 :]
    return fit(name, cells)


def page_name(block: bytes, page: int, cells: int) -> str:
    """A page as block and address in exactly as many ``cells``. Of a long block the end is shown."""
    address = f":{page:#x}" if block else f"{page:#x}"
    name = shown(block)
    return fit(f"{tail(name, min(cell_len(name), max(1, cells - len(address)))) if name else ''}{address}", cells)


#: The styles of lines, which the app has once: Textual would style them for each list anew, on every resize and switch.
LINE_CLASSES = {"lines--cursor", "lines--resting", *(f"lines--{s}" for s in STYLES)}
LINE_CSS = """
.lines--cursor { color: $foreground; background: $background; text-style: reverse; }
.lines--resting { text-style: underline; }
.lines--dim { color: $faint; }
.lines--strong { text-style: bold; }
.lines--title { text-style: bold underline; }
.lines--error { color: $text-error; text-style: bold; }
.lines--warning { color: $text-warning; text-style: bold; }
.lines--note { color: $text-accent; }
.lines--good { color: $text-success; }
.lines--page { color: $text-accent; }
.lines--dup { color: $faint; }
.lines--delta { color: $text-secondary; }
.lines--changed { color: $text-secondary; text-style: bold; }
.lines--linked { text-style: bold underline; color: $text-primary; }
.lines--differs { color: $text-error; text-style: bold underline; }
.lines--found { color: $text-success; text-style: bold reverse; }
.lines--reverse { text-style: reverse; }
.lines--tab { color: $background; background: $primary; text-style: bold; }
"""


class Lines(ScrollView, can_focus=True, inherit_bindings=False):
    """A list with a cursor. `count` and `line` say what it shows. Call `renew` when that has changed."""

    DEFAULT_CSS = """
    Lines { height: 1fr; width: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "step(1)", "next line", show=False),
        Binding("up,k", "step(-1)", "previous line", show=False),
        Binding("pagedown,ctrl+f", "leaf(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "leaf(-1)", "page up", show=False),
        Binding("ctrl+d", "leaf(0.5)", "half a page down", show=False),
        Binding("ctrl+u", "leaf(-0.5)", "half a page up", show=False),
        Binding("home,g", "edge(-1)", "first line", show=False),
        Binding("end,G", "edge(1)", "last line", show=False),
        Binding("enter", "choose", "open", show=False),
    ]

    cursor: reactive[int] = reactive(0, init=False)
    has_cursor = True

    class Moved(Message):
        """The cursor stands on another line."""

        def __init__(self, lines: "Lines", row: int) -> None:
            super().__init__()
            self.lines = lines
            self.row = row

        @property
        def control(self) -> "Lines":
            """The list that it happened in."""
            return self.lines

    class Narrowed(Message):
        """A scroll bar has come, which takes a column of what the lines were made for."""

    class Chosen(Moved):
        """Enter was pressed on a line, or it was clicked twice."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._strips: LRUCache[tuple[int, int], Strip] = LRUCache(_REMEMBERED)
        self._styles: dict[str, Style] = {}
        self._looks: LRUCache[Style, Style] = LRUCache(_REMEMBERED)  # of styles that have no name
        self._pieces: dict[tuple[str, str | Style], tuple[Segment, int]] = {}  # with the cells that each takes
        self._look: object = None  # what the styles depend on
        self._count = 0

    @property
    def renewed_count(self) -> int:
        """How many lines there were at the last `renew`."""
        return self._count

    def count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def line(self, row: int, width: int) -> Line:
        """One row, for a width in cells."""
        raise NotImplementedError

    def watch_show_vertical_scrollbar(self, shows: bool) -> None:
        """Tell that there is less room now."""
        if shows:
            self.post_message(self.Narrowed())

    def renew(self, forget: bool = True) -> None:
        """Show what has changed. With ``forget`` false it has only grown."""
        if forget:
            self._strips.clear()
        self._count = self.count()
        size = Size(1, self._count)
        if size != self.virtual_size:
            self.virtual_size = size
        if self.cursor >= self._count:
            with self.prevent(self.Moved):  # the user did not move it. A list that is made anew will be longer soon
                self.cursor = max(0, self._count - 1)
        self.refresh()

    def forget(self, row: int) -> None:
        """Draw one row anew."""
        self._strips.discard((row, self.scrollable_content_region.width))
        place = row - self.scroll_offset.y
        if 0 <= place < self.size.height:
            self.refresh(Region(0, place, self.size.width, 1))

    def renew_changed(self, old: Sequence[object], new: Sequence[object]) -> bool:
        """Draw those rows anew that are not what they were. False where all must be: there are more or fewer."""
        if len(old) != len(new) or self._count != len(new):
            return False
        for row, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                self.forget(row)
        return True

    def draws_cursor(self, row: int) -> bool:
        """Whether the cursor is drawn where it stands."""
        return True

    # -- drawing ---------------------------------------------------------------------------------------------------

    def style(self, name: str | Style) -> Style:
        """The style of that name in the current theme, or a style over the theme's own ground."""
        if isinstance(name, Style):
            found = self._looks.get(name)
            if found is None:
                found = self._looks[name] = self._filtered([self.style("") + name])[0]
            return found
        if not self._styles:
            base = self.rich_style  # walks up the tree, which is too slow for every line
            for style in STYLES:
                self._styles[style] = base + self.app.get_component_styles(f"lines--{style}").partial_rich_style
            for style in ("cursor", "resting"):
                self._styles[style] = self.app.get_component_styles(f"lines--{style}").partial_rich_style
            self._styles[""] = base
            filtered = self._filtered(list(self._styles.values()))  # once a style, not once a line
            self._styles = dict(zip(self._styles, filtered, strict=True))
        return self._styles[name]

    def _filtered(self, styles: list[Style]) -> list[Style]:
        """Styles as a terminal shows them that is not to have colours."""
        segments = [Segment("", style) for style in styles]
        for line_filter in self.get_line_filters():
            segments = line_filter.apply(segments, self.background_colors[1])
        return [segment.style or Style() for segment in segments]

    def notify_style_update(self) -> None:
        """Take over the styles of another theme. Textual also tells whenever a screen is shown again."""
        super().notify_style_update()
        look = self.app.theme, self.rich_style, self.background_colors
        if look != self._look:
            self._look = look
            self._styles.clear()
            self._looks.clear()
            self._pieces.clear()
            self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """Give one line of the terminal."""
        return self._strip(y + self.scroll_offset.y, self.scrollable_content_region.width)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Give the lines of a part of the widget. Without a border they go out as they are remembered."""
        if self.styles.gutter.totals != (0, 0) or crop.x:
            return super().render_lines(crop)
        top, width = self.scroll_offset.y, self.scrollable_content_region.width
        strips = [self._strip(y + top, width) for y in crop.line_range]
        return strips if crop.width >= width else [s.crop(0, crop.width) for s in strips]

    def _strip(self, row: int, width: int) -> Strip:
        """A row in ``width`` cells, with the cursor where it stands there."""
        base = self.style("")
        if row >= self._count:
            return Strip.blank(width, base)
        strip = self._strips.get((row, width))
        if strip is None:
            strip = self._made(row, width)
            self._strips[row, width] = strip
        if self.has_cursor and row == self.cursor and self.draws_cursor(row):
            cursor = self.style("cursor" if self.has_focus else "resting")
            strip = Strip(Segment.apply_style(strip, post_style=cursor), strip.cell_length)
        return strip

    def _made(self, row: int, width: int) -> Strip:
        """The line of a row as segments, cut or filled to ``width`` cells."""
        segments, cells, pieces = [], 0, self._pieces
        if len(pieces) > _PIECES:
            pieces.clear()
        for piece in self.line(row, width):
            found = pieces.get(piece)
            if found is None:
                text = label(piece[0])
                found = Segment(text, self.style(piece[1])), len(text) if text.isascii() else cell_len(text)
                pieces[piece] = found
            if piece[0]:
                segments.append(found[0])
                cells += found[1]
        if cells > width:
            cut = Strip(segments, cells).crop(0, width - 1)
            segments, cells = [*cut, Segment("…", self.style(""))], cut.cell_length + 1
        if cells < width:
            segments.append(Segment(" " * (width - cells), self.style("")))
        return Strip(segments, width)

    # -- moving ----------------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Draw from another row on. The scrollbar is drawn anew only where that can be seen."""
        if self.show_vertical_scrollbar:
            grain = max(1, self.max_scroll_y // max(1, _GRAINS * self.size.height))
            seen = new_value if new_value >= self.max_scroll_y else new_value // grain * grain
            self.vertical_scrollbar.position = seen
        if round(old_value) != round(new_value):
            self.refresh(self.size.region)

    def validate_cursor(self, row: int) -> int:
        """Keep the cursor on a line."""
        return max(0, min(row, self._count - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        """Show the new line, and post `Moved`."""
        top, width = self.scroll_offset.y, self.size.width
        self.show_row(new)
        if self.scroll_offset.y == top:
            self.refresh(Region(0, old - top, width, 1), Region(0, new - top, width, 1))
        self.post_message(self.Moved(self, new))

    def show_row(self, row: int, middle: bool = False) -> None:
        """Scroll until a row is in sight. With ``middle``, one that was out of sight comes to the middle."""
        height = max(1, self.scrollable_content_region.height)
        top = self.scroll_offset.y
        if middle and not top <= row < top + height:
            top = row - height // 2
        elif row < top:
            top = row
        elif row >= top + height:
            top = row - height + 1
        self.scroll_to(y=max(0, top), animate=False, force=True)  # also while the scroll bar has not come yet

    def jump(self, row: int) -> None:
        """Put the cursor on a row, in the middle if it was out of sight, without posting `Moved`."""
        with self.prevent(self.Moved):
            self.show_row(row, middle=True)
            self.cursor = row
        if not self.scrollable_content_region.height:  # its place shows with the next refresh
            self.call_after_refresh(self._centre, row)

    def _centre(self, row: int) -> None:
        height = self.scrollable_content_region.height
        if height and self.cursor == row:
            self.scroll_to(y=max(0, row - height // 2), animate=False, force=True)

    def action_step(self, count: int) -> None:
        """Move the cursor by some lines. Without a cursor, scroll."""
        if self.has_cursor:
            self.cursor += count
        else:
            self.scroll_to(y=self.scroll_offset.y + count, animate=False)

    def action_leaf(self, pages: float) -> None:
        """Move by a page, or by a part of one."""
        count = int(max(1, self.scrollable_content_region.height - 1) * pages)
        top = self.scroll_offset.y + count
        if self.has_cursor and 0 <= top <= self.max_scroll_y:
            self.scroll_to(y=top, animate=False)
        self.action_step(count)

    def action_edge(self, which: int) -> None:
        """Go to the first line (-1) or the last (1)."""
        if self.has_cursor:
            self.cursor = 0 if which < 0 else self._count - 1
        else:
            self.scroll_to(y=0 if which < 0 else self._count, animate=False)

    def action_choose(self) -> None:
        """Post `Chosen` for what the cursor stands on."""
        if self._count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_focus(self, _event: events.Focus) -> None:
        """Show the cursor as one that keys move."""
        self.refresh()

    def on_blur(self, _event: events.Blur) -> None:
        """Show the cursor as one that rests."""
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """Keep the cursor in sight."""
        self.renew()
        if self.has_cursor:
            self.show_row(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the line under the mouse. A double click opens it."""
        row = event.y + self.scroll_offset.y
        if not self.has_cursor or row >= self._count:
            return
        self.cursor = row
        if event.chain == 2:
            self.action_choose()


class TextLines(Lines):
    """Lines to read, without a cursor."""

    has_cursor = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._text: list[Line] = []

    def show(self, text: Sequence[Line]) -> None:
        """Show these lines. What is the same as before is not drawn anew."""
        old, self._text = self._text, list(text)
        if not self.renew_changed(old, self._text):
            self.renew()

    def count(self) -> int:
        """How many lines there are."""
        return len(self._text)

    def line(self, row: int, width: int) -> Line:
        """One of them."""
        return self._text[row]


class Caption(TextLines, can_focus=False):
    """Lines that label something. The keys never go there, and what there is no room for is not shown."""

    DEFAULT_CSS = """
    Caption { overflow-y: hidden; }
    """

    def line(self, row: int, width: int) -> Line:
        """One of them, with the clauses for which there is room."""
        return whole(super().line(row, width), width)

    def show_line(self, line: Line) -> None:
        """Show one line."""
        self.show([line])
