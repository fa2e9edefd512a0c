"""What opens over a screen: a question, the list of keys, the list of bookmarks."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from ...errors import XbrleError
from ..bookmarks import Bookmark
from ..widgets.lines import Caption, Line, Lines, TextLines, fit
from ..words import KIND_LETTER, SEVERITY_MARK, key_text, kind_word, wrapped

_MARKS = " · ".join(
    [f"{letter} {kind_word(kind)}" for kind, letter in KIND_LETTER.items()]
    + [f"{mark} {severity.value}" for severity, mark in SEVERITY_MARK.items()]
)
_KEY_CELLS = 24  # cells for the keys that do the same


class Question(ModalScreen[str | None]):
    """Asks for one line of text, and says what is wrong with it as it is typed. Gives None where it was cancelled.

    ``check`` raises where a text is wrong. ``act`` does what the text is for, and stays open where that raises.
    """

    DEFAULT_CSS = """
    Question { align: center top; }
    Question > Vertical { margin-top: 3; width: 72; max-width: 96%; height: 6; border: round $primary; }
    Question > Vertical { background: $surface; }
    Question TextLines { height: 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", show=False)]

    def __init__(
        self,
        title: str,
        hint: str,
        value: str = "",
        check: Callable[[str], object] | None = None,
        act: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__()
        self._heading, self._hint, self._value = title, hint, value
        self._check, self._act = check, act

    def compose(self) -> ComposeResult:
        """Give a title, the line, and a hint or what is wrong."""
        with Vertical():
            yield Caption(id="title")
            yield Input(self._value, select_on_focus=False)
            yield Caption(id="hint")
            yield Caption(id="keys")

    def on_mount(self) -> None:
        """Give the keys to the line."""
        self.query_one("#title", Caption).show_line([(f" {self._heading}", "strong")])
        self.query_one("#hint", Caption).show_line([(f" {self._hint}", "dim")])
        self.query_one("#keys", Caption).show_line([(" Enter accepts, Escape cancels", "dim")])
        self.query_one(Input).focus()

    @staticmethod
    def _wrong(what: Callable[[str], object] | None, value: str) -> str | None:
        """What is wrong with a text, by what is to be done with it."""
        try:
            if what is not None and value:
                what(value)
        except XbrleError as error:
            return str(error)
        return None

    def _say(self, wrong: str | None) -> None:
        hint: Line = [(f" ! {wrong}", "error")] if wrong else [(f" {self._hint}", "dim")]
        self.query_one("#hint", Caption).show_line(hint)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong."""
        self._say(self._wrong(self._check, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, unless something is wrong with it."""
        wrong = self._wrong(self._check, event.value) or self._wrong(self._act, event.value)
        if wrong is None:
            self.dismiss(event.value)
        else:
            self._say(wrong)


class KeyList(ModalScreen[None]):
    """Says what a screen is for, and lists its keys."""

    DEFAULT_CSS = """
    KeyList { align: center middle; }
    KeyList > TextLines { width: 92; max-width: 96%; height: 90%; border: round $primary; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss(None)", "close")]
    _GROUPS = ("this screen", "lists", "everywhere")

    def __init__(self, title: str, about: str, bindings: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._heading, self._about = title, about
        self._listed = [b for b in bindings if b.binding.description and b.enabled]

    def compose(self) -> ComposeResult:
        """Give one list."""
        yield TextLines()

    def on_mount(self) -> None:
        """List the screen's own keys first, then those of every list, then those of the whole program."""
        text = self.query_one(TextLines)
        text.border_title = f"keys: {self._heading}"
        text.border_subtitle = "Escape closes"
        room = min(92, self.app.size.width * 96 // 100) - 4  # the frame, and a scroll bar
        cells = min(_KEY_CELLS, max(8, room // 3))
        lines: list[Line] = [[(line, "")] for line in wrapped(self._about, room)]
        lines.append([])
        for group in self._GROUPS:
            keys = self._keys_of(group)
            if keys:
                lines.append([(f" {group}", "title")])
            for what, pressed in keys.items():
                heads = [fit(" ".join(pressed), cells), *[" " * cells] * len(what)]
                says = wrapped(what, room - cells - 3, "")
                lines += [[(f"   {head}", "strong"), (line, "")] for head, line in zip(heads, says, strict=False)]
        lines += [[(" letters and marks", "title")], *([(f"   {line}", "")] for line in wrapped(_MARKS, room - 3, ""))]
        text.show(lines)
        text.focus()

    def _keys_of(self, group: str) -> dict[str, list[str]]:
        """The keys of a group, by what they do."""
        out: dict[str, list[str]] = {}
        for active in self._listed:
            if self._group(active) == group:
                key = key_text(active.binding.key, active.binding.key_display)
                keys = out.setdefault(active.binding.description, [])
                if key not in keys:
                    keys.append(key)
        return out

    def _group(self, active: ActiveBinding) -> str:
        if active.node is self.app:
            return "everywhere"
        return "lists" if isinstance(active.node, Lines) else "this screen"


class BookmarkLines(Lines):
    """Bookmarks, one line each."""

    def __init__(self, bookmarks: Sequence[Bookmark]) -> None:
        super().__init__()
        self.bookmarks = bookmarks

    def count(self) -> int:
        """How many there are."""
        return len(self.bookmarks)

    def line(self, row: int, width: int) -> Line:
        """The offset, the record and the note."""
        mark = self.bookmarks[row]
        name = f"record {mark.record}" if mark.record is not None else "no page"
        return [(f" {mark.offset:#012x} ", "dim"), (fit(name, 17), "strong"), (" " + mark.note, "")]


class BookmarkList(ModalScreen[int | None]):
    """Lists the bookmarks of this capture, and gives the file offset of the one to go to."""

    DEFAULT_CSS = """
    BookmarkList { align: center middle; }
    BookmarkList > BookmarkLines { width: 74; max-width: 96%; height: 70%; }
    BookmarkList > BookmarkLines { border: round $primary; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "close")]

    def __init__(self, bookmarks: Sequence[Bookmark]) -> None:
        super().__init__()
        self._bookmarks = bookmarks

    def compose(self) -> ComposeResult:
        """Give one list."""
        yield BookmarkLines(self._bookmarks)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        lines = self.query_one(BookmarkLines)
        lines.border_title = "bookmarks"
        lines.border_subtitle = "Enter goes there, Escape closes"
        lines.renew()
        lines.focus()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go there."""
        self.dismiss(self._bookmarks[event.row].offset)
