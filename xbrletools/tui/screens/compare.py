"""Two moments, or two captures: a map of the pages that differ, the list of them, and the lines that changed."""

import time
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.worker import get_current_worker

from ...arrays import reserve
from ...errors import XbrleError
from ...memory.history import Content
from ...memory.replay import View
from ...text import shown
from ..comparison import Comparison, compared, contents, sides_of, words_of
from ..mapvalues import levels
from ..palette import STEPS, Palette, mixed, style
from ..session import PagePlace, Side
from ..widgets.changes import ChangedLines, ChangeList
from ..widgets.heat import Heat, Scale
from ..widgets.hexview import ByteMark
from ..widgets.lines import Caption, Line, Lines
from ..words import counted
from . import names
from .base import CaptureScreen, Host

_WIDE, _TALL = 120, 36  # columns and lines from which on the parts stand in frames
_TICK = 0.1  # seconds between two words about how far it is
_SAME, _FIRST, _ONE_SIDED = 0, 1, 1 + STEPS  # what a cell of the map shows
_SHADES = "·:░▒▓"


class CompareScreen(CaptureScreen):
    """A and B on top, then the map and the list, then one page's lines."""

    KEY, MODE, TITLE, SHORT, HELP = names.COMPARE[:5]
    ABOUT = "Shows which pages differ between two moments, A and B, or between two captures, and in which bytes."
    KEYS = (
        ("a A", "A or B here"),
        ("r", "swap"),
        ("Enter", "page"),
        ("n N", "next page"),
        ("o", "order"),
        ("Tab", "map, list, lines"),
        ("v", "view"),
        ("[ ]", "block"),
        ("y", "copy"),
    )
    DEFAULT_CSS = """
    CompareScreen #sides { height: 2; }
    CompareScreen #heads { height: 1; }
    CompareScreen #pages { height: 1fr; }
    CompareScreen #mapped { height: 5fr; }
    CompareScreen #listed { height: 7fr; }
    CompareScreen #changed { height: 6; }
    CompareScreen #which { height: 1; background: $surface; }
    CompareScreen.wide #sides { height: 4; border: round $primary; border-title-color: $primary; }
    CompareScreen.wide #pages { layout: horizontal; }
    CompareScreen.wide #mapped, CompareScreen.wide #listed, CompareScreen.wide #changed {
        border: round $panel; border-title-color: $primary; border-subtitle-color: $faint;
    }
    CompareScreen.wide #mapped:focus-within, CompareScreen.wide #listed:focus-within,
    CompareScreen.wide #changed:focus-within { border: round $primary; }
    CompareScreen.wide #mapped { width: 4fr; height: 100%; }
    CompareScreen.wide #listed { width: 3fr; height: 100%; }
    CompareScreen.wide #changed { height: 13; }
    CompareScreen.wide #which { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "swap", "swap A and B", show=False),
        Binding("n", "onward(1)", "next page that differs", show=False),
        Binding("N", "onward(-1)", "previous page that differs", show=False),
        Binding("o", "order", "by bytes that differ, or by address", show=False),
        Binding("v", "view", "receiver's view or sender's", show=False),
        Binding("tab", "part(1)", "map, list, lines", show=False),
        Binding("shift+tab", "part(-1)", "lines, list, map", show=False),
        Binding("right_square_bracket", "block(1)", "next block", show=False, key_display="]"),
        Binding("left_square_bracket", "block(-1)", "previous block", show=False, key_display="["),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.found: Comparison | None = None
        self.block: int | None = None
        self._of: object = None  # what was compared, or is
        self._place: PagePlace | None = None
        self._trouble: str | None = None
        self._rebuilding = Lock()  # two memories at a time, not those of a comparison that nobody waits for too

    def body(self) -> ComposeResult:
        """Give A and B, the map, the list, and the lines."""
        yield Caption(id="sides")
        with Vertical(id="pages"):
            with Vertical(id="mapped"):
                yield Heat(self.colours)
            with Vertical(id="listed"):
                yield Caption(id="heads")
                yield ChangeList(self.colours)
        yield Caption(id="which")
        with Horizontal(id="changed"):
            yield ChangedLines(id="lines")

    @property
    def heat(self) -> Heat:
        """The map."""
        return self.query_one(Heat)

    @property
    def change_list(self) -> ChangeList:
        """The pages that differ."""
        return self.query_one(ChangeList)

    @property
    def sides(self) -> tuple[Side, Side]:
        """A and B."""
        return sides_of(self.session, self.host.other)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.change_list.focus()

    def on_resize(self) -> None:
        """Lay it out anew."""
        self.set_class(self.size.width >= _WIDE and self.size.height >= _TALL, "wide")
        self.call_after_refresh(self._draw)

    def grow(self) -> None:
        """Compare anew where more was read."""
        self.follow()

    def recolour(self) -> None:
        """Draw the map and the list anew too."""
        super().recolour()
        self._draw()

    def follow(self) -> None:
        """Compare A and B, unless they were."""
        session = self.session
        if not session.complete or (session.film is None and session.trouble is None):
            reading = "reading: what is compared needs all of the capture"
            self._say("adding up, then it is compared" if session.complete else reading)
            return
        of = self.sides, session.view, len(session), session
        if of != self._of:
            self._of, self.found, self._trouble = of, None, None
            self._draw()
            work = partial(self._compare, of, self.sides, session.view)
            self.run_worker(work, thread=True, exclusive=True, group="compare", exit_on_error=False)
        else:
            self._show_sides()

    # -- the work, in a thread beside --------------------------------------------------------------------------------

    def _compare(self, of: object, sides: tuple[Side, Side], view: View) -> None:
        worker, said = get_current_worker(), 0.0

        def progress(what: str, share: float) -> bool:
            nonlocal said
            if time.monotonic() - said > _TICK and not worker.is_cancelled:
                said = time.monotonic()
                self.app.call_from_thread(self._say, f"{what}: {share:.0%}" if share else what)
            return not worker.is_cancelled

        try:
            with self._rebuilding:
                found = None if worker.is_cancelled else compared(self.session, self.host.other, sides, view, progress)
        except XbrleError as error:
            self.app.call_from_thread(self._take, of, None, str(error))
            return
        if found is not None:
            self.app.call_from_thread(self._take, of, found, None)

    def _take(self, of: object, found: Comparison | None, trouble: str | None) -> None:
        """Show what was found."""
        if of != self._of:
            return
        self.found, self._trouble = found, trouble
        if found is not None and (self.block is None or not len(found.address[found.of_block(self.block)])):
            self.block = found.main if found.space.blocks else None
        self._draw()
        if found is not None and len(found):
            kept = self.change_list.line_of(self._place) if self._place is not None else None
            self.change_list.jump(kept or 0)
            self._choose(self.change_list.place(kept or 0), by_user=False)
        else:
            self._show_page(None)

    def _choose(self, place: PagePlace, by_user: bool = True) -> None:
        """Have the map, the list and the lines show one page. The one that the user chose is kept for other screens."""
        self._place = place
        if by_user:
            self.session.page = place
        if place[0] != self.block:
            self.block = place[0]
            self._draw_map()
        heat, line = self.heat, self.change_list.line_of(place)
        with heat.prevent(Heat.Moved):
            heat.move_to(place[1] // max(1, heat.page_size))
        if line is not None and line != self.change_list.cursor:
            self.change_list.jump(line)
        work = partial(self._read, place, self.sides, self.session.view)
        self.run_worker(work, thread=True, exclusive=True, group="lines", exit_on_error=False)

    def _read(self, place: PagePlace, sides: tuple[Side, Side], view: View) -> None:
        try:
            pair = contents(self.session, self.host.other, sides, view, place)
        except XbrleError as error:
            self.app.call_from_thread(self._say, str(error))
            return
        self.app.call_from_thread(self._show_page, place, pair)

    # -- showing it --------------------------------------------------------------------------------------------------

    def _say(self, what: str) -> None:
        self._say_all((what,))

    def _say_all(self, clauses: Sequence[str]) -> None:
        """Show what A and B are, and as many clauses about them as fit."""
        pane = self.query_one("#sides", Caption)
        width, named = pane.scrollable_content_region.width or 80, self._named_sides()
        room = width - sum(len(text) for text, _ in named) - 1 if self.has_class("wide") else width - 1
        text = clauses[0]
        for clause in clauses[1:]:
            text += f" · {clause}" if len(text) + len(clause) + 3 <= room else ""
        if self.has_class("wide"):
            pane.show([[*named, (f" {text}", "")], self._axis()])
        else:
            pane.show([named, [(f" {text}", "")]])

    def _draw(self) -> None:
        """Show all of it."""
        self._show_sides()
        listed, plain = self.change_list, self.host.plain
        listed.palette, listed.plain = self.colours, plain
        listed.show(self.found)
        self.query_one("#heads", Caption).show_line(listed.heads())
        self._draw_map()
        order = "most bytes first" if listed.by_count else "by address"
        box = self.query_one("#listed")
        box.border_title, box.border_subtitle = "Pages that differ", f"o: {order}"
        self.query_one("#sides").border_title = "A → B"

    def _draw_map(self) -> None:
        """Show the map of one block."""
        heat, found = self.heat, self.found
        heat.palette, heat.plain = self.colours, self.host.plain
        box = self.query_one("#mapped")
        if found is None or self.block is None:
            heat.show(np.zeros(0, np.uint8), _scale(self.colours), 1)
            box.border_title, box.border_subtitle = "", ""
            return
        with heat.prevent(Heat.Moved):
            heat.show(_values(found, self.block), _scale(self.colours), found.space.page_size)
        block = found.space.blocks[self.block]
        pages = found.of_block(self.block)
        differ = counted(pages.stop - pages.start, "page")
        box.border_title = f"{shown(block.name)} · {differ} of {int(found.space.pages[self.block]):,} differ"
        ends = "dim to bright" if self.colours.dark else "pale to dark"
        ramp = f"{'light to heavy' if self.host.plain else ends}: 1 to {found.space.page_size:,} bytes, by logarithm"
        box.border_subtitle = ramp if heat.size.width > len(ramp) + 4 else ""

    def _show_sides(self) -> None:
        """Say what A and B are, and how much differs."""
        found = self.found
        if self._trouble is not None:
            self._say(self._trouble)
        elif found is not None:
            self._say_all(_clauses(found, self.session.view))
        else:
            self._say("comparing")

    def _named_sides(self) -> Line:
        """A and B."""
        colours, session = self.colours, self.session
        texts = [words_of(session, side, self.host.other) for side in self.sides]
        badges = [style(colours.on(fill), fill, True) for fill in (colours.page, colours.delta)]
        line: list[tuple[str, object]] = []
        for name, badge, text in zip("AB", badges, texts, strict=True):
            line += [
                (" ", ""),
                (f" {name} ", "reverse" if self.host.plain else badge),
                (f" {text}", "strong"),
                (" ", ""),
            ]
        return line  # type: ignore[return-value]

    def _axis(self) -> Line:
        """Where A and B are in the stream."""
        room, rows = max(8, self.query_one("#sides").scrollable_content_region.width - 2), max(1, len(self.session))
        ends = [None if side.other else min(room - 1, side.row * room // rows) for side in self.sides]
        cells = ["─"] * room
        if None not in ends:
            low, high = sorted(e for e in ends if e is not None)
            cells[low:high] = "━" * (high - low)
        for name, at in zip("BA", reversed(ends), strict=True):
            if at is not None:
                cells[at] = name
        return [(" ", ""), ("".join(cells), style() if self.host.plain else style(self.colours.accent))]

    def _show_page(self, place: PagePlace | None, pair: tuple[Content | None, Content | None] = (None, None)) -> None:
        """Show the lines of a page that differ."""
        if place != self._place and place is not None:
            return
        lines, title = self.query_one(ChangedLines), "A | B · the lines that differ"
        lines.tint(None if self.host.plain else self.colours)
        first, second = pair
        if place is None or self.found is None or first is None or second is None:
            lines.show_bytes(np.zeros(0, np.uint8))
            title += "" if place is None else ": one of the captures does not have this page"
        else:
            differs = first.differs(second)
            marks = np.where(differs, np.uint8(ByteMark.CHANGED), np.uint8(ByteMark.NONE))
            left = first.data, first.recovered
            lines.show_bytes(second.data, second.recovered, marks, place[1], left=left)
            lines.scroll_to(y=0, animate=False)
            name = shown(self.found.space.blocks[place[0]].name)
            title = f"A | B · {name}:{place[1]:#x} · {counted(int(differs.sum()), 'byte')} differ"
        box = self.query_one("#changed")
        box.border_title, box.border_subtitle = title, "Enter: the whole page, A | B"
        self.query_one("#which", Caption).show_line([(f" {title}", "title")])

    # -- keys --------------------------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show the page under the cursor."""
        if event.lines is self.change_list and self.change_list.count():
            self._choose(self.change_list.place(event.row))

    def on_heat_moved(self) -> None:
        """Show the page under the cursor of the map."""
        if self.block is not None and self.found is not None:
            self._choose((self.block, self.heat.page * self.heat.page_size))

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the page."""
        if event.lines is self.change_list:
            self._open()

    def on_heat_chosen(self) -> None:
        """Open the page."""
        self._open()

    def _open(self) -> None:
        """Show the page under the cursor at A and at B."""
        session, side = self.session, next((s for s in reversed(self.sides) if not s.other), None)
        if self._place is None:
            return
        if side is not None:
            session.row, session.moved = side.row, True
        session.page, session.of_sides = self._place, True
        self.app.switch_mode("page")

    def action_swap(self) -> None:
        """Swap A and B."""
        first, second = self.sides
        self.session.sides = second, first
        self.follow()

    def action_onward(self, step: int) -> None:
        """Go to the next page that differs, by address."""
        found, place = self.found, self._place
        if found is None or place is None or not len(found):
            return
        keys = found.block * (1 << 44) + found.address
        here = place[0] * (1 << 44) + place[1]
        at = int(np.searchsorted(keys, here, "right" if step > 0 else "left")) - (0 if step > 0 else 1)
        if 0 <= at < len(found):
            self._choose((int(found.block[at]), int(found.address[at])))
        else:
            self.host.say("no more pages that differ in this direction", "warning")

    def action_order(self) -> None:
        """List the pages by bytes that differ, or by address."""
        listed = self.change_list
        listed.by_count = not listed.by_count
        self._draw()
        if self._place is not None and (line := listed.line_of(self._place)) is not None:
            listed.jump(line)

    def action_view(self) -> None:
        """Switch between the receiver's memory and the sender's."""
        self.session.view = View.SENDER if self.session.view is View.RECEIVER else View.RECEIVER
        self.follow()

    def action_part(self, step: int) -> None:
        """Give the keys to the map, the list or the lines."""
        parts: list[Heat | Lines] = [self.heat, self.change_list, self.query_one(ChangedLines)]
        place = parts.index(self.focused) if self.focused in parts else 0
        parts[(place + step) % len(parts)].focus()

    def action_block(self, step: int) -> None:
        """Show another block."""
        if self.found is not None and self.block is not None:
            self.block = (self.block + step) % len(self.found.space.blocks)
            self.heat.zoom, self.heat.top, self.heat.page = None, 0, 0
            self._draw_map()

    def copied(self) -> str | None:
        """Give the pages that differ, with how many of their bytes do."""
        found = self.found
        if found is None:
            return None
        names = [shown(b.name) for b in found.space.blocks]
        rows = zip(found.block.tolist(), found.address.tolist(), found.count.tolist(), strict=True)
        return "\n".join(f"{names[block]}:{address:#x} {count}" for block, address, count in rows)


def _clauses(found: Comparison, view: View) -> list[str]:
    """How much differs, what weighs most first."""
    one_sided = int(np.count_nonzero(2 * found.one_sided > found.count))
    same = "no page differs" if found.space.pages.any() else "no RAM block to compare"
    out = [f"{counted(len(found) - one_sided, 'page')} changed" if len(found) else same]
    if one_sided:
        out.append(f"{one_sided:,} known in one only")
    if found.lacking:
        out.append(f"not all of the other capture is there: {found.lacking}")
    if found.differ:
        out.append(f"{counted(len(found.differ), 'block')} not alike in both")
    if len(found):
        out.append(f"{counted(int(found.count.sum()), 'byte')} in all")
    return [*out, "in the sender's view"] if view is View.SENDER else out


def _values(found: Comparison, block: int) -> NDArray[np.uint8]:
    """What each page of a block shows, (pages,) uint8: the logarithm of the bytes that differ."""
    out = reserve((int(found.space.pages[block]),), np.uint8)
    pages = found.of_block(block)
    count, one_sided = found.count[pages], found.one_sided[pages]
    value = np.where(2 * one_sided > count, _ONE_SIDED, _FIRST + levels(count, found.space.page_size))
    out[found.address[pages] // found.space.page_size] = value
    return out


def _scale(colours: Palette) -> Scale:
    """What the numbers of `_values` look like."""
    shades = "".join(_SHADES[min(len(_SHADES) - 1, i * len(_SHADES) // STEPS)] for i in range(STEPS))
    words = ("the same", *[""] * STEPS, "known in one only")
    same = mixed(colours.once, colours.ground, 0.3) if colours.dark else colours.once
    return Scale((same, *colours.ramp, colours.unknown), f" {shades}?", words)
