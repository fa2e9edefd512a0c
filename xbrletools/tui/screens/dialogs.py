"""What opens over a screen: a question, the keys, the bookmarks."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical
from textual.keys import format_key
from textual.screen import ModalScreen
from textual.widgets import Input

from ...errors import XbrleError
from ..bookmarks import Bookmark
from ..widgets.lines import Line, Lines, Text, fit


class Ask(ModalScreen[str | None]):
    """One line of text; what is wrong with it is said as it is typed. Gives None where it was cancelled."""

    DEFAULT_CSS = """
    Ask { align: center top; }
    Ask > Vertical { margin-top: 3; width: 72; max-width: 96%; height: 6; border: round $primary; }
    Ask > Vertical { background: $surface; }
    Ask Text { height: 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", show=False)]

    def __init__(self, title: str, hint: str, value: str = "", check: Callable[[str], object] | None = None) -> None:
        super().__init__()
        self._texts = (title, hint)
        self._value = value
        self._check = check

    def compose(self) -> ComposeResult:
        """A title, the line, and what is wrong with it or may be written."""
        with Vertical():
            yield Text(id="title")
            yield Input(self._value, select_on_focus=False)
            yield Text(id="said")
            yield Text(id="keys")

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one("#title", Text).show([[(" " + self._texts[0], "strong")]])
        self.query_one("#said", Text).show([[(" " + self._texts[1], "dim")]])
        self.query_one("#keys", Text).show([[(" Enter accepts, Escape cancels", "dim")]])
        for text in self.query(Text):
            text.can_focus = False
        self.query_one(Input).focus()

    def _wrong(self, value: str) -> str | None:
        try:
            if self._check is not None and value:
                self._check(value)
        except XbrleError as error:
            return str(error)
        return None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong."""
        wrong = self._wrong(event.value)
        said: Line = [(f" ! {wrong}", "error")] if wrong else [(" " + self._texts[1], "dim")]
        self.query_one("#said", Text).show([said])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, unless something is wrong with it."""
        if self._wrong(event.value) is None:
            self.dismiss(event.value)


class Keys(ModalScreen[None]):
    """The keys of a screen."""

    DEFAULT_CSS = """
    Keys { align: center middle; }
    Keys > Text { width: 74; max-width: 96%; height: 90%; border: round $primary; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss(None)", "close")]

    def __init__(self, title: str, bindings: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._heading = title
        self._listed = list(bindings)

    def compose(self) -> ComposeResult:
        """One list."""
        yield Text()

    def on_mount(self) -> None:
        """The screen's own keys first, then those of every list, then those of the whole program."""
        text = self.query_one(Text)
        text.border_title = f"keys: {self._heading}"
        text.border_subtitle = "Escape closes"
        groups: dict[str, dict[str, list[str]]] = {}
        for active in self._listed:
            binding = active.binding
            if not binding.description or not active.enabled:
                continue
            owner = active.node
            group = "everywhere" if owner is self.app else "lists" if isinstance(owner, Lines) else "this screen"
            keys = groups.setdefault(group, {}).setdefault(binding.description, [])
            key = binding.key_display or format_key(binding.key)
            if key not in keys:
                keys.append(key)
        lines: list[Line] = []
        for group in ("this screen", "lists", "everywhere"):
            if group in groups:
                lines += [[(f" {group}", "title")]]
                lines += [
                    [("   " + fit(" ".join(keys), 24), "strong"), (description, "")]
                    for description, keys in groups[group].items()
                ]
        text.show(lines)
        text.focus()


class _Kept(Lines):
    """The list of bookmarks."""

    def __init__(self, marks: Sequence[Bookmark]) -> None:
        super().__init__()
        self.marks = list(marks)

    def count(self) -> int:
        """How many there are."""
        return len(self.marks)

    def line(self, row: int, width: int) -> Line:
        """The record and the note."""
        mark = self.marks[row]
        name = f"record {mark.record}" if mark.record is not None else "no page"
        return [(f" {mark.offset:#012x} ", "dim"), (fit(name, 17), "strong"), (" " + mark.note, "")]


class Bookmarks(ModalScreen[int | None]):
    """The bookmarks of this capture; gives the file offset of the one to go to."""

    DEFAULT_CSS = """
    Bookmarks { align: center middle; }
    Bookmarks > _Kept { width: 74; max-width: 96%; height: 70%; border: round $primary; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "close")]

    def __init__(self, marks: Sequence[Bookmark]) -> None:
        super().__init__()
        self._marks = marks

    def compose(self) -> ComposeResult:
        """One list."""
        yield _Kept(self._marks)

    def on_mount(self) -> None:
        """Ready to choose."""
        kept = self.query_one(_Kept)
        kept.border_title = "bookmarks"
        kept.border_subtitle = "Enter goes there, Escape closes"
        kept.renew()
        kept.focus()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go there."""
        self.dismiss(self._marks[event.row].offset)
