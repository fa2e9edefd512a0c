"""What every screen has: the verdict on top, the names of the screens, the stream as a film, and keys at the foot."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, cast

from textual import events
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import ResultType, Worker, WorkType, get_current_worker

from ...capture import Capture
from ...errors import XbrleError
from ...table.record import Record
from ..palette import Palette, with_marks, without_colour
from ..session import PagePlace, Session
from ..themes import palette_of
from ..widgets.bars import Entry, KeyBar, NavBar, TopBar
from ..widgets.filmbar import FilmBar
from ..widgets.hexview import HexView
from ..words import KEY_NAMES, kind_word
from . import names

T = TypeVar("T")
_PAINTED = 0.1  # seconds in which a screen is painted that is painted at all
_WIDE = 120  # columns from which on the pass stands beside the record


class Host(Protocol):
    """What a screen needs of the app that shows it."""

    @property
    def session(self) -> Session:
        """What the screens share. It is replaced whenever a capture that is followed was read anew."""

    @property
    def following(self) -> bool:
        """Whether the capture may still be written."""

    @property
    def read_only(self) -> bool:
        """Whether the user can neither write files nor open others."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All screens, for the line at the foot."""

    @property
    def came_from(self) -> str:
        """The mode of the screen that was shown before this one."""

    @property
    def theme_name(self) -> str:
        """The name of the theme, by which `themes.palette_of` knows its colours."""

    @property
    def plain(self) -> bool:
        """Whether colours are not to be had, or too few of them."""

    @property
    def other(self) -> Capture | None:
        """Another capture to compare with, where one was given."""

    def described(self) -> str:
        """The capture's name, and how far it is read."""

    def go(self, row: int | None, page: PagePlace | None = None, missing: str = "") -> None:
        """Make ``row`` the moment and show it, or say what is ``missing`` where it is None."""

    def open_record(self, record: Record | None, otherwise: str) -> None:
        """Switch to the page of ``record``, or where it carries none to the screen with the mode ``otherwise``."""

    def open_fields(self) -> None:
        """Switch to the fields of the chosen record."""

    def say(self, message: str, severity: str = "information") -> None:
        """Show a message for a moment."""

    def action_salvage(self) -> None:
        """Read on after damage."""

    def action_channels(self) -> None:
        """Ask for the files of missing channels, and read with them."""

    def action_keys(self) -> None:
        """List the keys that work here."""

    def action_leave(self) -> None:
        """Quit."""


class CaptureScreen(Screen[None], inherit_bindings=False):
    """A screen over the session. `follow` shows the session's moment, and `grow` is called while the capture is read.

    A screen declares `MODE`, by which it is switched to, `KEY`, which leads there, its `TITLE`, its `HELP` in a few
    words, and in `ABOUT` a sentence on what it is for. One with an `Input` shows that only while the user is asked for
    something.
    """

    DEFAULT_CSS = """
    CaptureScreen { overflow: hidden; }
    CaptureScreen Input { display: none; }
    CaptureScreen.asking Input { display: block; }
    """
    MODE: ClassVar[str]
    KEY: ClassVar[str]
    TITLE: ClassVar[str]
    HELP: ClassVar[str]
    SHORT: ClassVar[str] = ""  # the title on a narrow terminal, where it is another
    ABOUT: ClassVar[str] = ""
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()  # those at the foot, in the order of use

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.left = False  # whether the user has left
        self._styled: tuple[object, ...] = ()  # with what it was styled when it was last shown

    def _styling(self) -> tuple[object, ...]:
        """What the styles of all widgets depend on: the theme comes first."""
        return self.host.theme_name, self.app._css_update_count, self.app.app_focus

    def on_mount(self) -> None:
        """Note with what it was styled. Textual calls this also where a screen has its own `on_mount`."""
        self._styled = self._styling()

    async def _dispatch_message(self, message: Message) -> None:
        """Handle a message. What cannot be read, as of a file that has shrunk, is said, and the screen stays."""
        try:
            await super()._dispatch_message(message)
        except XbrleError as error:
            self.host.say(str(error), "error")
        except NoMatches:
            if not self.app._exit:  # else it ends while it is made, and widgets of it are missing
                raise

    def on_unmount(self) -> None:
        """Have the threads beside end."""
        self.left = True

    def run_worker(
        self,
        work: WorkType[ResultType],
        name: str | None = "",
        group: str = "default",
        description: str = "",
        exit_on_error: bool = True,
        start: bool = True,
        exclusive: bool = False,
        thread: bool = False,
    ) -> Worker[ResultType]:
        """Run work beside. It is described by its group: else Textual puts all that it works on in words.

        A thread begins once what the key changed is painted: else the two take turns, and the key waits for the work.
        """
        return super().run_worker(
            self._once_painted(work) if thread else work,
            name,
            group,
            description or group,
            exit_on_error,
            start=start,
            exclusive=exclusive,
            thread=thread,
        )

    def _once_painted(self, work: WorkType[ResultType]) -> WorkType[ResultType]:
        """The same work, begun once the screen is painted."""
        painted = threading.Event()
        self.call_after_refresh(painted.set)

        def late() -> Any:
            painted.wait(_PAINTED)
            return cast("Callable[[], Any]", work)()

        return late

    def wear(self, **classes: bool) -> None:
        """Put classes on and take them off, and style the screen once, where that changes any."""
        old = self.classes
        for name, on in classes.items():
            self.set_class(on, name, update=False)
        if self.classes != old:
            self.update_node_styles()

    def beside(self, group: str, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do something in a thread beside, and hand over what it gives. What cannot be done is said.

        A later one of the same ``group`` takes its place.
        """

        def run() -> None:
            worker = get_current_worker()
            try:
                result = work()
            except XbrleError as error:
                if not worker.is_cancelled and not self.left:
                    self.app.call_from_thread(self.host.say, self.session.reason(error), "warning")
                return
            if not worker.is_cancelled and not self.left:
                self.app.call_from_thread(done, result)

        self.run_worker(run, thread=True, exclusive=True, group=group)

    @property
    def session(self) -> Session:
        """What all screens share."""
        return self.host.session

    def compose(self) -> ComposeResult:
        """Put the screen's own widgets between the bars."""
        yield TopBar()
        yield NavBar(self.host.entries, self.MODE)
        yield from self.body()
        yield FilmBar()
        yield KeyBar(self.KEYS)

    @property
    def colours(self) -> Palette:
        """The colours of the theme."""
        colours = palette_of(self.host.theme_name)
        if self.app.no_color:
            return without_colour(colours)
        return with_marks(colours) if self.host.plain else colours

    @property
    def playing(self) -> bool:
        """Whether the moment moves by itself."""
        return False

    def body(self) -> ComposeResult:
        """Give the widgets between the bars."""
        raise NotImplementedError

    def follow(self) -> None:
        """Show the session's moment."""

    def grow(self) -> None:
        """Show what was read, verified or found since."""

    def copied(self) -> str | None:
        """Give what copying on this screen takes, None where there is nothing."""
        return None

    def open_page(self, place: PagePlace) -> None:
        """Show a page that was sent: as it is at the moment, or as it was sent first where that was only later."""
        session = self.session
        rows = session.stream().records.rows_of(*place)
        if len(rows) and rows[0] > session.row:
            session.row, session.moved = int(rows[0]), True
        session.page = place
        self.app.switch_mode(names.PAGE.mode)

    def renew_top_bar(self) -> None:
        """Show the verdict, or how far the capture is read, the chosen record, and where that is on the film."""
        session = self.session
        record = session.record()
        if record is None:
            moment = brief = "no record" if session.complete else "no record yet"
        elif record.number is None:
            brief = f"@{record.offset:#x}"
            moment = f"{brief} {kind_word(record.kind)}"
        else:
            brief = f"record {record.number}"
            moment = f"record {record.number} of {session.table.records if session.table is not None else 0}"
            moment += "" if session.complete else " so far"
        if record is not None and record.pass_ is not None and self.size.width >= _WIDE:
            moment += f", pass {record.pass_}"
        found = None if self.host.following else session.verdict  # what is still written has no end yet
        self.query_one(TopBar).show_verdict(found, self.host.described(), self.colours, self.host.plain)
        self.query_one(NavBar).show_moment(moment, brief)
        self.query_one(FilmBar).show_film(session, self.colours, self.playing)

    def ask(self) -> None:
        """Show the input, and give it the keys."""
        self.add_class("asking")
        self.query_one(Input).focus()

    def stop_asking(self, focus: Widget) -> bool:
        """Hide the input and give the keys to ``focus``. Gives false where it was hidden already."""
        if not self.has_class("asking"):
            return False
        self.remove_class("asking")
        focus.focus()
        return True

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """The user came (back) to this screen. One that was only made shows nothing yet.

        Textual styles all of it anew after this, which takes half of the switch. It need not where the theme and the
        style sheets are as they were.
        """
        old, self._styled = self._styled, self._styling()
        event.refresh_styles = old != self._styled
        if self.is_current:
            self.renew_top_bar()
            self.follow()
            if old[:1] != self._styled[:1]:
                self.recolour()

    def on_resize(self) -> None:
        """Fit the line on top to the new width. Textual calls this also where a screen has its own `on_resize`."""
        self.call_after_refresh(self.renew_top_bar)

    def recolour(self) -> None:
        """Draw it in the colours of another theme: some of its lines keep those they had."""
        self._styled = self._styling()
        for view in self.query(HexView):
            view.tint(None if self.host.plain else self.colours)
        self.renew_top_bar()
        self.follow()
        self.grow()

    def on_nav_bar_pressed(self, event: NavBar.Pressed) -> None:
        """Go to the screen that was clicked."""
        if event.item != self.MODE:
            self.app.switch_mode(event.item)

    def on_key_bar_pressed(self, event: KeyBar.Pressed) -> None:
        """Do what was clicked at the foot."""
        if event.key == KeyBar.HELP:
            self.host.action_keys()
        elif event.key == KeyBar.QUIT:
            self.host.action_leave()
        else:
            self.app.simulate_key(KEY_NAMES.get(event.key, event.key))

    def on_film_bar_pressed(self, event: FilmBar.Pressed) -> None:
        """Go to that moment."""
        rows = len(self.session)
        self.host.go(min(rows - 1, event.place * rows // event.room) if rows else None)
