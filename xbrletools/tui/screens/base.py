"""What every screen has: the line on top, the names of the screens at the foot, and the moment that it follows."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

from ...formats.ram import Kind
from ...table.growing import Record
from ...table.sections import Stage
from ...text import shown
from ..session import Session
from ..widgets.bars import NavBar, TopBar

if TYPE_CHECKING:
    from ..app import Browser

#: A style for each kind that carries a page; the kind's letter or word always stands with it.
KIND_STYLE = {
    Kind.PAGE: "page",
    Kind.DUP: "dup",
    Kind.XBRLE: "delta",
    Kind.XBZRLE: "delta",
    Kind.COMPRESSED: "page",
}
KIND_LETTER = {Kind.PAGE: "P", Kind.DUP: "D", Kind.XBRLE: "X", Kind.XBZRLE: "Z", Kind.COMPRESSED: "C"}


_KIND_WORDS = {kind: kind.name.lower() for kind in Kind}
_STAGE_WORDS = {0: "-"} | {int(stage): stage.name for stage in Stage}


def kind_word(kind: Kind) -> str:
    """A kind as scripts see it."""
    return _KIND_WORDS[kind]


def stage_word(stage: int) -> str:
    """A stage by its section's type."""
    return _STAGE_WORDS[stage]


def place(record: Record) -> str:
    """A record's page: block and address."""
    return f"{shown(record.name)}:{record.address:#x}" if record.name else f"{record.address:#x}"


class CaptureScreen(Screen[None], inherit_bindings=False):
    """A screen over the session. `follow` shows what the session says; `grow` is called while it is being read."""

    MODE: ClassVar[str]

    @property
    def browser(self) -> "Browser":
        """The app."""
        return cast("Browser", self.app)

    @property
    def session(self) -> Session:
        """What all screens share."""
        return self.browser.session

    def compose(self) -> ComposeResult:
        """The bars, and the screen's own between them."""
        yield TopBar()
        yield from self.body()
        yield NavBar(self.MODE)

    def body(self) -> ComposeResult:
        """What stands between the bars."""
        raise NotImplementedError

    def follow(self) -> None:
        """Show the session's moment."""

    def grow(self) -> None:
        """More was read, or more findings are there."""

    def copied(self) -> str | None:
        """What copying on this screen takes, None where there is nothing."""
        return None

    def tell(self) -> None:
        """Renew the line on top."""
        session = self.session
        record = session.record()
        if record is None:
            moment = "no record yet"
        elif record.number is None:
            moment = f"@{record.offset:#x} {kind_word(record.kind)}"
        else:
            moment = f"record {record.number} of {session.table.records if session.table is not None else 0}"
        self.query_one(TopBar).tell(self.browser.described(), moment)

    def on_screen_resume(self) -> None:
        """The user came (back) to this screen."""
        self.tell()
        self.follow()

    def on_resize(self) -> None:
        """The terminal changed."""
        self.call_after_refresh(self.tell)

    def on_nav_bar_pressed(self, event: NavBar.Pressed) -> None:
        """A name at the foot was clicked."""
        if event.what == "help":
            self.browser.action_keys()
        elif event.what == "quit":
            self.app.exit(0)
        elif event.what != self.MODE:
            self.app.switch_mode(event.what)
