"""The lines of the frame: the verdict on top, the names of the screens below it, the keys of the screen at the foot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.style import Style
from textual import events
from textual.message import Message

from ..conclusion import badge, clauses, colour_of
from ..palette import Palette, mixed, style
from .lines import Caption, fit

if TYPE_CHECKING:
    from ...verify.verdict import Verdict

_WIDE = 120  # columns from which on the capture's name stands beside the verdict
_FULL = 100  # columns from which on the screens have their whole names
_FEWER = (4, 3, 1, 0)  # letters of a name where there is less room


class TopBar(Caption):
    """One line: the verdict, or how far the capture is read until there is one, and the capture's name."""

    DEFAULT_CSS = """
    TopBar { height: 1; background: $panel; color: $foreground; }
    """

    def show_verdict(self, verdict: "Verdict | None", described: str, colours: Palette, plain: bool) -> None:
        """Show the verdict. ``described`` is the capture's name and how far it is read."""
        width = self.size.width or 80
        if verdict is None:
            self.show_line([(fit(f" … {described}", width), "strong")])
            return
        colour = colour_of(verdict.status, colours)
        ground = mixed(colour, colours.ground, 0.8)
        word = f" {badge(verdict)} "
        bright = Style(bold=True, reverse=True) if plain else style(colours.on(colour), colour, True)
        text = Style(bold=True) if plain else style(colours.ink, ground, True)
        rest = Style() if plain else style(colours.ink, ground)
        line: list[tuple[str, str | Style]] = [(word, bright)]
        name = f" {described} " if width >= _WIDE else ""
        free = width - len(word) - len(name)
        for i, clause in enumerate(clauses(verdict, free - 1)):
            piece = f" {clause}" if i == 0 else f" · {clause}"
            if i == 0 or len(piece) <= free:
                piece = fit(piece, free) if len(piece) > free else piece
                line.append((piece, rest if i else text))
                free -= len(piece)
        self.show_line([*line, (" " * max(0, free), rest), (name, rest)])


class Entry(NamedTuple):
    """A screen as the bar names it: the key that leads there, its mode, its title, and that for a narrow terminal."""

    key: str
    mode: str
    title: str
    short: str


class NavBar(Caption):
    """One line: the screens by their keys, the current one in brackets, and the chosen record."""

    DEFAULT_CSS = """
    NavBar { height: 1; background: $panel; color: $foreground; }
    """

    class Pressed(Message):
        """An item was clicked: ``item`` is a screen's mode."""

        def __init__(self, item: str) -> None:
            super().__init__()
            self.item = item

    def __init__(self, entries: Sequence[Entry], current: str) -> None:
        super().__init__()
        self._entries, self._current = entries, current
        self._ends: list[tuple[int, str]] = []

    def show_moment(self, moment: str, brief: str) -> None:
        """Show the screens, and on the right where the user is, in ``brief`` where there is less room."""
        width = self.size.width or 80
        line: list[tuple[str, str]] = []
        used, self._ends = 0, []
        names = [e.title if width >= _FULL else e.short for e in self._entries]
        for letters in _FEWER:  # where not even the short ones fit
            if sum(len(name) + 4 for name in names) <= width:
                break
            names = [name[:letters] for name in names]
        free = width - sum(len(name) + 4 for name in names) - 1
        moment = next((text for text in (moment, brief) if len(text) <= free), "")
        for (key, mode, _, _), name in zip(self._entries, names, strict=True):
            here = mode == self._current
            text = f"{key} {name}".rstrip()
            text = f"[{text}]" if here else f" {text} "
            used += len(text)
            self._ends.append((used, mode))
            line.append((text, "tab" if here else ""))
        self.show_line([*line, (f"{moment} ".rjust(width - used) if used < width else "", "")])

    def on_click(self, event: events.Click) -> None:
        """Tell which item lies under the mouse."""
        for end, item in self._ends:
            if event.x < end:
                self.post_message(self.Pressed(item))
                return


class KeyBar(Caption):
    """One line: the keys that matter on this screen, as many as fit, and at the right the one that lists all."""

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $panel; color: $foreground; }
    """
    HELP, QUIT = "?", "q"

    class Pressed(Message):
        """A key was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys
        self._ends: list[tuple[int, str]] = []

    def on_mount(self) -> None:
        """Draw it."""
        self._write()

    def on_resize(self, _event: events.Resize) -> None:
        """Show as many as fit now."""
        self._write()

    def _write(self) -> None:
        width = self.size.width or 80
        last = [(self.HELP, "keys"), (self.QUIT, "quit")]
        room = width - sum(len(k) + len(w) + 3 for k, w in last)
        line: list[tuple[str, str]] = []
        used, self._ends = 0, []
        for key, words in self._keys:
            need = len(key) + len(words) + 4
            if used + need > room:
                break
            line += [(f" {key}", "strong"), (f" {words}  ", "dim")]
            used += need
            self._ends.append((used, key))
        line.append((" " * max(0, room - used), ""))
        used = max(used, room)
        for key, words in last:
            line += [(f" {key}", "strong"), (f" {words} ", "dim")]
            used += len(key) + len(words) + 3
            self._ends.append((used, key))
        self.show_line(line)

    def on_click(self, event: events.Click) -> None:
        """Tell which key lies under the mouse."""
        for end, key in self._ends:
            if event.x < end:
                self.post_message(self.Pressed(key))
                return
