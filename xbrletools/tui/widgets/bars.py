"""The line on top, which says where the user is, and the line at the foot, which names the screens."""

from typing import ClassVar

from textual import events
from textual.message import Message

from .lines import Line, Text, fit


class TopBar(Text):
    """One line: the capture, how far it is read, the chosen record."""

    DEFAULT_CSS = """
    TopBar { height: 1; background: $panel; color: $foreground; }
    """
    can_focus = False

    def tell(self, left: str, right: str) -> None:
        """Show what was opened on the left, and the moment on the right."""
        width = self.size.width or 80
        self.show([[(fit(f" {left}", max(0, width - len(right) - 1)), "strong"), (right + " ", "")]])


class NavBar(Text):
    """One line: the screens by their number keys, the current one in brackets."""

    DEFAULT_CSS = """
    NavBar { height: 1; background: $panel; color: $foreground; }
    """
    can_focus = False
    SCREENS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("overview", "Overview"),
        ("records", "Records"),
        ("page", "Page"),
        ("map", "Map"),
        ("findings", "Findings"),
        ("fields", "Fields"),
    )

    class Pressed(Message):
        """A name was clicked."""

        def __init__(self, what: str) -> None:
            super().__init__()
            self.what = what

    def __init__(self, current: str) -> None:
        super().__init__()
        self.current = current

    def on_mount(self) -> None:
        """Draw it once."""
        self.show([self._line()])

    def _items(self) -> list[tuple[str, str, str]]:
        items = []
        for i, (name, title) in enumerate(self.SCREENS, 1):
            here = name == self.current
            items.append((name, f"[{i} {title}]" if here else f" {i} {title} ", "reverse" if here else ""))
        items.append(("help", " ? Keys ", "strong"))
        items.append(("quit", "q Quit", "strong"))
        return items

    def _line(self) -> Line:
        return [(text, style) for _, text, style in self._items()]

    def on_click(self, event: events.Click) -> None:
        """Which name lies under the mouse."""
        at = 0
        for what, text, _ in self._items():
            at += len(text)
            if event.x < at:
                self.post_message(self.Pressed(what))
                return
