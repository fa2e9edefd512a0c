"""What every screen has: the line on top, the names of the screens at the foot, and the moment that it follows."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual.app import ComposeResult
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from ...errors import XbrleError
from ...table.growing import Record
from ..session import PagePlace, Session
from ..widgets.bars import Entry, NavBar, TopBar
from ..words import kind_word


class Host(Protocol):
    """What a screen needs of the app that shows it."""

    @property
    def session(self) -> Session:
        """What the screens share. It is replaced whenever a capture that is followed was read anew."""

    @property
    def following(self) -> bool:
        """Whether the capture may still be written."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All screens, for the line at the foot."""

    @property
    def theme_name(self) -> str:
        """The name of the theme, by which `themes.palette_of` knows its colours."""

    @property
    def plain(self) -> bool:
        """Whether colours are not to be had, or too few of them."""

    def described(self) -> str:
        """The capture's name, and how far it is read."""

    def go(self, row: int | None, page: PagePlace | None = None, missing: str = "") -> None:
        """Make ``row`` the moment and show it, or say what is ``missing`` where it is None."""

    def open_record(self, record: Record | None, otherwise: str) -> None:
        """Switch to the page of ``record``, or where it carries none to the screen with the mode ``otherwise``."""

    def say(self, message: str, severity: str = "information") -> None:
        """Show a message for a moment."""

    def action_keys(self) -> None:
        """List the keys that work here."""

    def action_leave(self) -> None:
        """Quit."""


class CaptureScreen(Screen[None], inherit_bindings=False):
    """A screen over the session. `follow` shows the session's moment, and `grow` is called while the capture is read.

    A screen declares `MODE`, by which it is switched to, `KEY`, which leads there, its `TITLE`, and its `HELP` in a few
    words. One with an `Input` shows that only while the user is asked for something.
    """

    DEFAULT_CSS = """
    CaptureScreen Input { display: none; }
    CaptureScreen.asking Input { display: block; }
    """
    MODE: ClassVar[str]
    KEY: ClassVar[str]
    TITLE: ClassVar[str]
    HELP: ClassVar[str]

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    async def _dispatch_message(self, message: Message) -> None:
        """Handle a message. What cannot be read, as of a file that has shrunk, is said, and the screen stays."""
        try:
            await super()._dispatch_message(message)
        except XbrleError as error:
            self.host.say(str(error), "error")

    @property
    def session(self) -> Session:
        """What all screens share."""
        return self.host.session

    def compose(self) -> ComposeResult:
        """Put the screen's own widgets between the bars."""
        yield TopBar()
        yield from self.body()
        yield NavBar(self.host.entries, self.MODE)

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

    def renew_top_bar(self) -> None:
        """Show the chosen record, and how far the capture is read."""
        session = self.session
        record = session.record()
        if record is None:
            moment = "no record yet"
        elif record.number is None:
            moment = f"@{record.offset:#x} {kind_word(record.kind)}"
        else:
            moment = f"record {record.number} of {session.table.records if session.table is not None else 0}"
        self.query_one(TopBar).show_sides(self.host.described(), moment)

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

    def on_screen_resume(self) -> None:
        """The user came (back) to this screen."""
        self.renew_top_bar()
        self.follow()

    def on_resize(self) -> None:
        """Fit the line on top to the new width."""
        self.call_after_refresh(self.renew_top_bar)

    def on_nav_bar_pressed(self, event: NavBar.Pressed) -> None:
        """Do what was clicked at the foot."""
        if event.item == NavBar.HELP_ITEM:
            self.host.action_keys()
        elif event.item == NavBar.QUIT_ITEM:
            self.host.action_leave()
        elif event.item != self.MODE:
            self.app.switch_mode(event.item)
