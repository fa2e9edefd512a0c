"""The line on top says where the user is. The line at the foot names the screens."""

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.message import Message

from .lines import Caption, fit


class TopBar(Caption):
    """One line: the capture, how far it is read, the chosen record."""

    DEFAULT_CSS = """
    TopBar { height: 1; background: $panel; color: $foreground; }
    """

    def show_sides(self, left: str, right: str) -> None:
        """Show what was opened on the left, and the moment on the right."""
        width = self.size.width or 80
        self.show_line([(fit(f" {left}", max(0, width - len(right) - 1)), "strong"), (right + " ", "")])


class Entry(NamedTuple):
    """A screen as the bar names it: the key that leads there, its mode, its title."""

    key: str
    mode: str
    title: str


class NavBar(Caption):
    """One line: the screens by their keys, the current one in brackets."""

    DEFAULT_CSS = """
    NavBar { height: 1; background: $panel; color: $foreground; }
    """
    HELP_ITEM = "help"
    QUIT_ITEM = "quit"

    class Pressed(Message):
        """An item was clicked: ``item`` is a screen's mode, `HELP_ITEM` or `QUIT_ITEM`."""

        def __init__(self, item: str) -> None:
            super().__init__()
            self.item = item

    def __init__(self, entries: Sequence[Entry], current: str) -> None:
        super().__init__()
        self._items: list[tuple[str, str, str]] = []  # item, text, style
        for key, mode, title in entries:
            here = mode == current
            text = f"[{key} {title}]" if here else f" {key} {title} "
            self._items.append((mode, text, "reverse" if here else ""))
        self._items.append((self.HELP_ITEM, " ? Keys ", "strong"))
        self._items.append((self.QUIT_ITEM, "q Quit", "strong"))

    def on_mount(self) -> None:
        """Draw it once."""
        self.show_line([(text, style) for _, text, style in self._items])

    def on_click(self, event: events.Click) -> None:
        """Tell which item lies under the mouse."""
        end = 0
        for item, text, _ in self._items:
            end += len(text)
            if event.x < end:
                self.post_message(self.Pressed(item))
                return
