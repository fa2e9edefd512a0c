"""The hottest pages: what `xbrle top` prints, with a line of when each page was sent."""

from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ...analysis.film import lives
from ...analysis.top import Order, top
from ...errors import XbrleError
from ...memory.moments import space_of
from ...model import Stream
from ...text import shown
from ..session import Session
from ..widgets.hotlist import LISTED, PARTS, HotList, HotPages
from ..widgets.lines import Caption, Line, Lines
from ..words import counted
from . import names
from .base import CaptureScreen, Host

_SAID = {
    Order.RESENDS: "resends",
    Order.BYTES: "bytes of all their records",
    Order.RESENT: "bytes of resends",
    Order.PASSES: "passes",
    Order.DELTA: "deltas that save least",
    Order.ADDRESS: "address",
}


class HotScreen(CaptureScreen):
    """One line a page, those that the guest kept writing first."""

    KEY, MODE, TITLE, SHORT, HELP = names.HOT[:5]
    ABOUT = "Lists the pages that were sent most often, and when each was: what the guest wrote while it was migrated."
    KEYS = (("Enter", "page"), ("o", "order"), ("Escape", "back"), ("1", "overview"), ("y", "copy"))
    DEFAULT_CSS = """
    HotScreen #what, HotScreen #heads { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "order", "by resends, bytes, bytes of resends, passes, deltas, address", show=False),
        Binding("escape", "back", "back to the screen before", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.order = Order.RESENDS
        self._of: object = None  # what is listed, or worked out

    def body(self) -> ComposeResult:
        """Give what all of them come to, the names of the columns, and the list."""
        yield Caption(id="what")
        yield Caption(id="heads")
        yield HotList(lambda: self.session, self.colours)

    @property
    def hot_list(self) -> HotList:
        """The list."""
        return self.query_one(HotList)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.hot_list.focus()

    def on_resize(self) -> None:
        """Lay it out anew."""
        self.call_after_refresh(self._draw)

    def grow(self) -> None:
        """Count anew where more was read."""
        self.follow()

    def follow(self) -> None:
        """Count, unless that was done."""
        session = self.session
        of = session, len(session), self.order, session.findings.total
        if session.complete and of != self._of:
            self._of = of
            self.run_worker(partial(self._count, of), thread=True, exclusive=True, group="hot", exit_on_error=False)
        self._draw()

    def _count(self, of: tuple[Session, int, Order, int]) -> None:
        """Count what was sent of each page, and when. This is a thread's work."""
        session, _, order, _ = of
        try:
            stream = session.stream()
            found = _hottest(stream, order)
            self.app.call_from_thread(self._take, of, found)
            numbers = found.top.numbers(space_of(stream).first)
            sent, wrong = lives(stream, numbers, PARTS, session.findings.suspect_rows())
            self.app.call_from_thread(self._take, of, replace(found, sent=sent, wrong=wrong))
        except XbrleError as error:
            self.app.call_from_thread(self._say, [(f" {error}", "warning")])

    def _take(self, of: object, found: HotPages) -> None:
        """Show what was counted."""
        if of == self._of:
            self.hot_list.hot = found
            self._draw()

    def _say(self, line: Line) -> None:
        self.query_one("#what", Caption).show_line(line)

    def _draw(self) -> None:
        """Show all of it."""
        listed = self.hot_list
        listed.palette, listed.plain = self.colours, self.host.plain
        hot = listed.hot
        if hot is None:
            self._say(
                [(" counting" if self.session.complete else " reading: counting needs all of the capture", "dim")]
            )
        else:
            clauses = [
                f"{counted(hot.pages, 'page')} came, {hot.again:,} of them again, in {counted(hot.resends, 'resend')}",
                f"by {_SAID[hot.order]}",
                f"resends take {hot.resent:,} of {hot.whole:,} bytes ({hot.resent / max(1, hot.whole):.1%})",
                *([f"the first {LISTED:,}"] if hot.pages > LISTED else []),
            ]
            clauses = clauses if hot.pages else ["no page was sent"]
            text = clauses[0]
            for clause in clauses[1:]:
                text += f" · {clause}" if len(text) + len(clause) + 4 <= self.size.width else ""
            self._say([(f" {text}", "strong")])
        listed.renew()
        self.query_one("#heads", Caption).show_line(listed.heads())

    # -- keys --------------------------------------------------------------------------------------------------------

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the page."""
        if event.lines is self.hot_list:
            self.open_page(self.hot_list.place(event.row))

    def action_order(self) -> None:
        """List them in another order."""
        order = list(Order)
        self.order = order[(order.index(self.order) + 1) % len(order)]
        self.hot_list.cursor = 0
        self.follow()

    def action_back(self) -> None:
        """Go back to the screen from which this one was opened."""
        self.app.switch_mode(self.host.came_from)

    def copied(self) -> str | None:
        """Give the pages that are listed, with their resends and bytes."""
        hot, facts = self.hot_list.hot, self.session.facts
        if hot is None or facts is None:
            return None
        rows = zip(*(c.tolist() for c in (hot.top.block, hot.top.address, hot.top.resends, hot.top.bytes)), strict=True)
        return "\n".join(f"{shown(facts.names[b])}:{a:#x} {resends} {size}" for b, a, resends, size in rows)


def _hottest(stream: Stream, order: Order) -> HotPages:
    """The pages that come first, and what all come to."""
    every = top(stream)
    return HotPages(
        order,
        every.sorted(order, LISTED),
        len(every),
        int((every.resends > 0).sum()),
        int(every.resends.sum()),
        int(every.resent_bytes.sum()),
        int(every.bytes.sum()),
    )
