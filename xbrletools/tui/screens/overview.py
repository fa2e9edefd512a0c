"""The overview: what the capture is, what it holds, and how much of it is wrong. Every part leads further."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from ..palette import Palette
from ..session import Session
from ..widgets.pane import Entry, Goto, Pane
from . import names, parts, sentparts
from .base import CaptureScreen, Host

_WIDE = 120  # columns from which on the parts stand side by side
_TALL = 36  # and lines
_COPIED = 80, 8  # the size in which parts are copied

#: What draws a part, from the session, for a width and a height.
Painter = Callable[[Session, int, int, Palette], list[Entry]]
PARTS: dict[str, tuple[str, Painter]] = {
    "verdict": ("Verdict", parts.verdict),
    "stream": ("Stream", parts.stream),
    "kinds": ("Records", sentparts.records),
    "passes": ("Passes", sentparts.passes),
    "hottest": ("Hottest pages", sentparts.hottest),
    "wrong": ("Over the stream", sentparts.wrong_over_time),
    "blocks": ("Blocks", sentparts.blocks),
    "devices": ("Devices", sentparts.devices),
}
#: Where a line leads that does something instead of showing another screen.
_ACTS: dict[str, Callable[[Host], None]] = {
    "salvage": lambda host: host.action_salvage(),
    "channels": lambda host: host.action_channels(),
}
_IN_ONE = ("verdict", "passes", "kinds", "stream", "wrong", "hottest", "blocks", "devices")  # in one column
_HEIGHTS = {"passes": 6, "hottest": 6, "wrong": 6}  # lines of parts that fill what they get, in one column


def _alike(old: tuple[object, ...], new: tuple[object, ...]) -> bool:
    """Whether the first, which are numbers, are equal and all others are the same objects."""
    return old[0] == new[0] and all(a is b for a, b in zip(old[1:], new[1:], strict=True))


class OverviewScreen(CaptureScreen):
    """Panes on a wide terminal, one list on a narrow one."""

    KEY, MODE, TITLE, SHORT, HELP = names.OVERVIEW[:5]
    ABOUT = "Tells in one look whether the capture is sound, why not, who loads it, and what it holds. Enter leads on."
    KEYS = (
        ("Enter", "go there"),
        ("Tab", "next pane"),
        ("n", "first wrong record"),
        ("H", "hottest pages"),
        (":", "go to"),
        ("e", "export page"),
        ("E", "export memory"),
        ("t", "theme"),
        ("y", "copy"),
    )
    DEFAULT_CSS = """
    OverviewScreen #panes { display: none; }
    OverviewScreen.wide #panes { display: block; }
    OverviewScreen.wide #all { display: none; }
    OverviewScreen #upper { height: 10fr; }
    OverviewScreen #middle { height: 9fr; }
    OverviewScreen #lower { height: 7fr; }
    OverviewScreen #verdict, OverviewScreen #passes { width: 3fr; }
    OverviewScreen #stream, OverviewScreen #hottest { width: 2fr; }
    OverviewScreen #wrong, OverviewScreen #blocks { width: 3fr; }
    OverviewScreen #kinds, OverviewScreen #devices { width: 2fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "pane(1)", "next pane", show=False),
        Binding("shift+tab", "pane(-1)", "previous pane", show=False),
        Binding("n", "first_wrong", "to the first record that leaves a page wrong", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._drawn: dict[str, tuple[object, ...]] = {}  # what each pane was made of

    def body(self) -> ComposeResult:
        """Give the panes, and the list that takes their place where it is narrow."""
        with Vertical(id="panes"):
            for name, members in (
                ("upper", ("verdict", "stream")),
                ("middle", ("passes", "hottest")),
                ("lower", ("wrong", "blocks", "kinds", "devices")),
            ):
                with Horizontal(id=name):
                    for part in members:
                        yield Pane(part, PARTS[part][0])
        everything = Pane("all")
        everything.add_class("bare")
        yield everything

    @property
    def panes(self) -> list[Pane]:
        """Those that are shown."""
        return [p for p in self.query(Pane) if (p.id == "all") is not self.has_class("wide")]

    def on_mount(self) -> None:
        """Give the keys to the first pane."""
        self.panes[0].focus()

    def follow(self) -> None:
        """Write it anew."""
        self.grow()

    def on_lines_narrowed(self) -> None:
        """Make lines anew for the room that there is."""
        self.call_after_refresh(self.grow)

    def on_resize(self) -> None:
        """Show panes or a list, by the new size."""
        self.set_class(self.size.width >= _WIDE and self.size.height >= _TALL, "wide")
        if self.focused is None or self.focused not in self.panes:
            self.panes[0].focus()
        self.call_after_refresh(self.grow)

    def grow(self) -> None:
        """Write anew the parts of which something was read or found since."""
        for pane in self.panes:
            region = pane.scrollable_content_region
            if not region.width or pane.id is None:
                continue
            width = region.width + pane.scrollbar_size_vertical  # without a scroll bar
            made_of = self._made_of(pane.id, width, region.height)
            if (old := self._drawn.get(pane.id)) and _alike(old, made_of):
                continue
            self._drawn[pane.id] = made_of
            entries = self._part(pane.id, width, region.height)
            if len(entries) > region.height:  # there will be a scroll bar, and no line is to be cut until it is there
                entries = self._part(pane.id, width - pane.styles.scrollbar_size_vertical, region.height)
            pane.show(entries)

    def _part(self, part: str, width: int, height: int) -> list[Entry]:
        """The lines of a part, or of all in one list."""
        if part == "all":
            return self._everything(width)
        entries = PARTS[part][1](self.session, width, height, self.colours)
        return [*self._so_far(width), *entries] if part == "verdict" else entries

    def _so_far(self, width: int) -> list[Entry]:
        """That what is said is of what is there by now, where more may be written."""
        said = "so far: more may be written, and this is of what is there now"
        return parts.text_lines(said, width, None, "warning") if self.host.following else []

    def _made_of(self, part: str, width: int, height: int) -> tuple[object, ...]:
        """What a part is made of: what is shown now and runs now only matters to the part that says so."""
        s = self.session
        state = (s.running, s.reached, s.complete, len(s.steps), s.no_fingerprint) if part in ("stream", "all") else ()
        size = (width, height, len(s), s.complete, s.trouble, *state)
        found = s.stats, s.facts, s.findings, s.verdict, s.film, s.hot, s.thumbnail, s.level, s.fingerprint, s.about
        return size, s, self.colours, *found

    def _everything(self, width: int) -> list[Entry]:
        """All parts, one below the other."""
        entries: list[Entry] = []
        facts = self.session.facts
        early = ("stream",) if facts is not None and parts.helps(self.session, facts, width) else ()
        for name in dict.fromkeys((_IN_ONE[0], *early, *_IN_ONE)):  # where something would help, it is near the top
            title, paint = PARTS[name]
            entries.append(([(f" {title} ", "note"), ("─" * max(0, width - len(title) - 3), "dim")], None))
            entries += self._so_far(width) if name == "verdict" else []
            entries += paint(self.session, width, _HEIGHTS.get(name, 0), self.colours)
        return entries

    # -- going there -------------------------------------------------------------------------------------------------

    def on_pane_entered(self, event: Pane.Entered) -> None:
        """Go where a line leads."""
        self._enter(event.where)

    def _enter(self, where: Goto) -> None:
        session = self.session
        if where.mode in _ACTS:
            _ACTS[where.mode](self.host)
            return
        if where.page is not None and where.mode == names.PAGE.mode:
            self.open_page(where.page)
            return
        if where.row is not None:
            session.row, session.moved, session.page = where.row, True, None
        if where.page is not None:
            session.page = where.page
        self.app.switch_mode(where.mode)

    def action_pane(self, step: int) -> None:
        """Give the keys to another pane."""
        panes = self.panes
        place = panes.index(self.focused) if self.focused in panes else -step
        panes[(place + step) % len(panes)].focus()

    def action_first_wrong(self) -> None:
        """Go to the first record that leaves a page wrong, else to the first bad one."""
        found = self.session.verdict
        number = None if found is None else found.first_lasting_record or found.first_bad_record
        row = self.session.table.row_of(number) if number is not None and self.session.table is not None else None
        if row is None:
            self.host.say("no record is called wrong" if found is not None else "not verified yet", "warning")
        else:
            self._enter(Goto("page", row))

    def copied(self) -> str | None:
        """Give all of it."""
        lines: list[str] = []
        width, height = _COPIED
        for title, paint in PARTS.values():
            lines.append(title)
            for line, _ in paint(self.session, width, height, self.colours):
                lines.append("".join(text for text, _ in line).rstrip())
        return "\n".join(lines)
