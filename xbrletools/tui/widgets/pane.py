"""A framed list on the overview. Some of its lines lead somewhere: the cursor stands only on those."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.message import Message

from ..session import PagePlace
from .lines import Line, Lines


@dataclass(frozen=True, slots=True)
class Goto:
    """Where a line leads: to a screen, by its ``mode``, at a ``row`` or with a ``page`` where it says so."""

    mode: str
    row: int | None = None
    page: PagePlace | None = None


#: A line, and where it leads.
Entry = tuple[Line, Goto | None]


class Pane(Lines):
    """Lines in a frame."""

    DEFAULT_CSS = """
    Pane { border: round $panel; border-title-color: $primary; border-subtitle-color: $faint; }
    Pane:focus { border: round $primary; }
    Pane.bare { border: none; }
    """

    class Entered(Message):
        """A line that leads somewhere was chosen."""

        def __init__(self, where: Goto) -> None:
            super().__init__()
            self.where = where

    def __init__(self, name: str, title: str = "", hint: str = "") -> None:
        super().__init__(id=name)
        self.border_title = title
        self.border_subtitle = hint
        self._entries: Sequence[Entry] = ()
        self._moved = False  # whether the user has moved the cursor: until then it is on the first line that leads on

    def show(self, entries: Sequence[Entry]) -> None:
        """Show these lines. What is the same as before is not drawn anew."""
        moved, old, self._entries = self._moved, self._entries, entries
        if not self.renew_changed([line for line, _ in old], [line for line, _ in entries]):
            self.renew()
        self.has_cursor = any(where is not None for _, where in entries)
        at = min(self.cursor, len(entries) - 1)
        if self.has_cursor and (not self._moved or self._entries[at][1] is None):
            with self.prevent(self.Moved):
                self.cursor = next(i for i, (_, where) in enumerate(entries) if where is not None)
        self._moved = moved

    def watch_cursor(self, old: int, new: int) -> None:
        """Note that the cursor was moved."""
        super().watch_cursor(old, new)
        self._moved = True

    def count(self) -> int:
        """How many lines there are."""
        return len(self._entries)

    def line(self, row: int, width: int) -> Line:
        """One of them."""
        return self._entries[row][0]

    def action_step(self, count: int) -> None:
        """Go to the next line that leads somewhere. Past the last of them, scroll."""
        step = 1 if count > 0 else -1
        row = self.cursor + step
        while 0 <= row < len(self._entries) and self._entries[row][1] is None:
            row += step
        if self.has_cursor and 0 <= row < len(self._entries):
            self.cursor = row
        else:
            self.scroll_to(y=self.scroll_offset.y + step, animate=False)

    def action_leaf(self, pages: float) -> None:
        """Scroll by a page."""
        height = max(1, self.scrollable_content_region.height - 1)
        self.scroll_to(y=self.scroll_offset.y + int(height * pages), animate=False)

    def action_edge(self, which: int) -> None:
        """Scroll to the first line (-1) or the last (1)."""
        self.scroll_to(y=0 if which < 0 else self._count, animate=False)

    def action_choose(self) -> None:
        """Go where the line leads."""
        where = self._entries[self.cursor][1] if self.has_cursor and self._entries else None
        if where is not None:
            self.post_message(self.Entered(where))

    def draws_cursor(self, row: int) -> bool:
        """Whether the cursor is drawn on a row: only where it leads somewhere, and only in the pane with the keys."""
        return self.has_focus and self._entries[row][1] is not None
