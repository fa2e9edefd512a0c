"""The stream as a film strip to click and drag on: what was sent when, where records are wrong, and the moment."""

import numpy as np
from textual import events
from textual.message import Message

from ...analysis.film import CLASSES, Film
from ..palette import Palette, style
from ..rowfindings import RowFindings
from ..session import Session
from .lines import Caption, Line

_HEIGHTS = "▁▂▃▄▅▆▇"  # full blocks would grow together with the line above
_BAD = "!"  # where records are wrong, on a terminal without colours, or with few
_LABEL = 3  # cells before the strip
_TALL = 36  # lines of a terminal from which on there is room for the passes


class FilmBar(Caption):
    """One line, and a second with the passes where there is room: height is the bytes sent, by their logarithm."""

    DEFAULT_CSS = """
    FilmBar { height: 1; }
    FilmBar.tall { height: 2; }
    """

    class Pressed(Message):
        """A place on the film was clicked, or the head was dragged there: ``place`` of ``room``, from the left."""

        def __init__(self, place: int, room: int) -> None:
            super().__init__()
            self.place = place
            self.room = room

    def __init__(self) -> None:
        super().__init__(id="film")
        self._dragged = False
        self._strip_of: tuple[tuple[object, ...], tuple[list[str], list[str], list[bool]]] | None = None

    @property
    def room(self) -> int:
        """The cells of the strip."""
        return max(1, self.size.width - _LABEL - 1)

    def show_film(self, session: Session, colours: Palette, playing: bool) -> None:
        """Show the film and the moment on it. Before there is a film: only how far the moment is among all rows."""
        film, row, rows = session.film, session.row, len(session)
        room = self.room
        at = min(room - 1, row * room // max(1, rows))
        label = " ‖ " if playing else " ▶ "
        if film is None:
            line: Line = [
                (label, style(colours.accent)),
                ("━" * at, ""),
                ("┃", "strong"),
                ("─" * (room - at - 1), "dim"),
            ]
            self.show([line, []])
            return
        heights, shades, bad = self._cells(film, session.findings, room, colours)
        strip: list[tuple[str, object]] = [(label, style(colours.accent, bold=True))]
        marks = self._marks(session, room, colours)
        for x in range(room):
            look = style(colours.line if x > at and session.moved and not bad[x] else shades[x])
            if x == at:
                strip.append(("┃", style(colours.bright, bold=True)))
            elif x in marks:
                strip.append(marks[x])
            elif len(strip) > 1 and strip[-1][1] == look:
                strip[-1] = (str(strip[-1][0]) + heights[x], look)
            else:
                strip.append((heights[x], look))
        self.show([strip, [(" " * _LABEL, ""), (self._ticks(film, room), "dim")]])  # type: ignore[list-item]

    def _cells(
        self, film: Film, findings: RowFindings, room: int, colours: Palette
    ) -> tuple[list[str], list[str], list[bool]]:
        """For each cell of the strip its block, its colour, and whether records in it are wrong."""
        made_of = film, room, findings.total, colours
        if self._strip_of is None or self._strip_of[0] != made_of:
            parts = film.across(room)
            total = parts.sum(1)
            level = np.log1p(total) / max(1e-9, float(np.log1p(total.max())))
            heights = np.minimum(len(_HEIGHTS) - 1, (level * len(_HEIGHTS)).astype(int)).tolist()
            suspects = findings.suspect_rows() * room // max(1, film.rows)
            bad = (np.bincount(np.minimum(room - 1, suspects), minlength=room) > 0).tolist()
            calm = [colours.calm(getattr(colours, name)) for name in CLASSES]
            kinds = [calm[k] if some else colours.line for k, some in zip(parts.argmax(1), total, strict=True)]
            wrong = colours.calm(colours.wrong)
            shades = [wrong if b else k for b, k in zip(bad, kinds, strict=True)]
            blocks = [_BAD if b and colours.plain else _HEIGHTS[h] for h, b in zip(heights, bad, strict=True)]
            self._strip_of = made_of, (blocks, shades, bad)
        return self._strip_of[1]

    def _marks(self, session: Session, room: int, colours: Palette) -> dict[int, tuple[str, object]]:
        """The moments A and B by the cells in which they stand, where the user has chosen them."""
        marks: dict[int, tuple[str, object]] = {}
        grounds = colours.page, colours.delta
        for name, side, ground in zip("AB", session.sides or (), grounds, strict=False):
            if not side.other:
                place = min(room - 1, side.row * room // max(1, len(session)))
                marks[place] = name, "reverse" if colours.plain else style(colours.ground, ground, True)
        return marks

    @staticmethod
    def _ticks(film: Film, room: int) -> str:
        """The passes, as many of them as there is room for."""
        cells, free = [" "] * room, 0
        for number, row in film.passes:
            place, text = film.place(row, room), f"╵{number}"
            if place >= free and place + len(text) <= room:
                cells[place : place + len(text)] = text
                free = place + len(text) + 1
        return "".join(cells)

    def on_resize(self, _event: events.Resize) -> None:
        """Show passes where the screen is tall."""
        self.set_class(self.app.size.height >= _TALL, "tall")

    def _point(self, x: int) -> None:
        place = x - _LABEL
        if 0 <= place < self.room:
            self.post_message(self.Pressed(place, self.room))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag the moment."""
        self._dragged = True
        self.capture_mouse()
        self._point(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag it."""
        if self._dragged:
            self._point(event.x)

    def on_mouse_up(self, _event: events.MouseUp) -> None:
        """Let it go."""
        self._dragged = False
        self.release_mouse()
