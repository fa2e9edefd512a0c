"""The versions of one page, as a line to click on."""

from collections.abc import Callable
from typing import NamedTuple

from textual import events
from textual.message import Message

from .lines import Caption

_CELLS = 4  # a version's letter, its mark, and brackets


class Step(NamedTuple):
    """A version as the timeline shows it: its letter with any mark, and a style."""

    letter: str
    style: str


class Timeline(Caption):
    """The versions of a page, a letter each. The version in force stands in brackets."""

    DEFAULT_CSS = """
    Timeline { height: 1; }
    """

    class Pressed(Message):
        """A version was clicked, by its place among all versions."""

        def __init__(self, version: int) -> None:
            super().__init__()
            self.version = version

    def __init__(self) -> None:
        super().__init__(id="timeline")
        self.first = 0
        self.start = 0

    def show_versions(self, total: int, current: int, step: Callable[[int], Step | None]) -> None:
        """Show as many of ``total`` versions around the ``current`` one as fit.

        ``step`` says how a version is shown, or that it is not.
        """
        label = f" version {current + 1} of {total} "
        room = max(1, (self.size.width - len(label) - 2) // _CELLS)
        self.first = max(0, min(current - room // 2, total - room))
        self.start = len(label) + 1
        line: list[tuple[str, str]] = [(label, "strong"), ("<" if self.first else " ", "dim")]
        for version in range(self.first, min(total, self.first + room)):
            shown = step(version)
            if shown is None:
                continue
            if version == current:
                line.append((f"[{shown.letter}]".ljust(_CELLS), "reverse"))
            else:
                line.append((f" {shown.letter}".ljust(_CELLS), shown.style))
        line.append((">" if self.first + room < total else " ", "dim"))
        self.show_line(line)

    def on_click(self, event: events.Click) -> None:
        """Tell which version lies under the mouse."""
        if event.x >= self.start:
            self.post_message(self.Pressed(self.first + (event.x - self.start) // _CELLS))
