"""The versions of one page, as a line to click on, or as three where there is room."""

from collections.abc import Callable
from typing import NamedTuple

from textual import events
from textual.message import Message

from .lines import Caption

_CELLS = 4  # a version's letter, its mark, and brackets


class Step(NamedTuple):
    """A version as the timeline shows it.

    Its letter, a mark of what findings say of it, the style of both, its record's number, and a glyph of its kind.
    """

    letter: str
    mark: str
    style: str
    mark_style: str
    number: int
    glyph: str


class Timeline(Caption):
    """The versions of a page, a letter each. The version in force stands in brackets.

    Where it is ``tall``, a line has their kinds, one their states, and one the numbers of their records.
    """

    DEFAULT_CSS = """
    Timeline { height: 1; }
    Timeline.tall { height: 3; }
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
        self.cells = _CELLS

    def show_versions(self, total: int, current: int, step: Callable[[int], Step]) -> None:
        """Show as many of ``total`` versions around the ``current`` one as fit.

        ``step`` says how a version is shown.
        """
        tall = self.has_class("tall")
        last = step(total - 1) if total else None
        self.cells = max(_CELLS + 1, len(str(last.number)) + 2) if tall and last is not None else _CELLS
        label = f" version {current + 1} of {total} "
        room = max(1, (self.size.width - len(label) - 2) // self.cells)
        self.first = max(0, min(current - room // 2, total - room))
        self.start = len(label) + 1
        steps = [step(version) for version in range(self.first, min(total, self.first + room))]
        more = ("<" if self.first else " ", ">" if self.first + room < total else " ")
        if tall:
            self._show_tall(label, more, steps, current - self.first)
            return
        line: list[tuple[str, str]] = [(label, "strong"), (more[0], "dim")]
        for place, shown in enumerate(steps):
            text = shown.letter + shown.mark
            if place == current - self.first:
                line.append((f"[{text}]".ljust(self.cells), "reverse"))
            else:
                line.append((f" {text}".ljust(self.cells), shown.style))
        line.append((more[1], "dim"))
        self.show_line(line)

    def _show_tall(self, label: str, more: tuple[str, str], steps: list[Step], current: int) -> None:
        """Three lines: kinds on a thread, states, records."""
        pad = len(label)
        kinds: list[tuple[str, str]] = [(label, "strong"), (more[0], "dim")]
        states: list[tuple[str, str]] = [("state ".rjust(pad) + " ", "dim")]
        numbers: list[tuple[str, str]] = [("record ".rjust(pad) + " ", "dim")]
        for place, shown in enumerate(steps):
            here = place == current
            thread = " " if place == len(steps) - 1 else "─"
            kinds.append((f"{shown.letter}{shown.glyph}", "reverse" if here else shown.style))
            kinds.append((thread * (self.cells - 3) + " ", "dim"))
            states.append((f"{shown.mark or '·'}".ljust(self.cells), shown.mark_style))
            text = str(shown.number)
            numbers.append((text, "reverse" if here else "dim"))
            numbers.append((" " * (self.cells - len(text)), ""))
        kinds.append((more[1], "dim"))
        self.show([kinds, states, numbers])

    def on_click(self, event: events.Click) -> None:
        """Tell which version lies under the mouse."""
        if event.x >= self.start:
            self.post_message(self.Pressed(self.first + (event.x - self.start) // self.cells))
