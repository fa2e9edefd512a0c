"""The app: opens a capture, reads and verifies it beside the user, and moves all screens along."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen

from ..capture import Capture
from ..errors import XbrleError
from ..memory.history import Content
from ..sender.fingerprint import fingerprint
from ..table.growing import GrowingTable
from ..text import shown
from . import bookmarks
from .screens.base import CaptureScreen
from .screens.dialogs import Ask, Bookmarks, Keys
from .screens.fields import FieldsScreen
from .screens.findings import FindingsScreen
from .screens.overview import OverviewScreen
from .screens.page import PageScreen
from .screens.pagemap import MapScreen
from .screens.records import RecordsScreen
from .session import Session
from .themes import FAINT, THEMES
from .widgets.bars import NavBar

TICK = 0.1  # seconds between two looks at what the reading thread has added
UNREADABLE = 2  # the exit status that every command has for it


class Browser(App[int]):
    """Browses one capture. ``read_only``: no file is written but the user's bookmarks.

    ``follow``: whenever all is read, waits for more to be written.
    """

    TITLE = "xbrle"
    CSS = """
    Screen { background: $background; color: $foreground; }
    Input, Input:focus { border: none; height: 1; padding: 0 1; background: $panel; }
    """
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "overview": OverviewScreen,
        "records": RecordsScreen,
        "page": PageScreen,
        "map": MapScreen,
        "findings": FindingsScreen,
        "fields": FieldsScreen,
    }
    DEFAULT_MODE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(i), f"switch_mode('{name}')", title, show=False)
            for i, (name, title) in enumerate(NavBar.SCREENS, 1)
        ),
        Binding("full_stop", "next_record(1)", "next record, memory follows", show=False, key_display="."),
        Binding("comma", "next_record(-1)", "record before, memory follows", show=False, key_display=","),
        Binding("colon", "goto", "go to a record, @offset or BLOCK:page", show=False, key_display=":"),
        Binding("b", "bookmark", "bookmark with a note; an empty note removes it", show=False),
        Binding("B", "bookmarks", "list of bookmarks", show=False),
        Binding("y", "copy", "copy", show=False),
        Binding("e", "export_page", "export this page's bytes to a file", show=False),
        Binding("E", "export_memory", "export memory at this moment to a folder", show=False),
        Binding("t", "theme", "next theme: dark, light, high contrast", show=False),
        Binding("question_mark", "keys", "keys of this screen", show=False, key_display="?"),
        Binding("ctrl+p", "command_palette", "command palette", show=False),
        Binding("q", "leave", "quit", show=False),
    ]

    def __init__(self, capture: Capture, read_only: bool = False, follow: bool = False) -> None:
        super().__init__()
        self.read_only = read_only
        self.following = follow
        self.session = Session(capture)
        self.failure: str | None = None
        self.settled = threading.Event()  # set when all was read, or reading has failed
        self._left = threading.Event()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What other themes lack."""
        return {FAINT: "#888888"}

    def on_mount(self) -> None:
        """Start to read, once something is on the screen."""
        self._ticker = self.set_interval(TICK, self.grow)
        self.call_after_refresh(threading.Thread(target=self._read, daemon=True).start)

    def on_unmount(self) -> None:
        """Whoever waits for this program need not do so any longer."""
        self._left.set()

    # -- reading, in a thread beside ---------------------------------------------------------------------------------

    def _read(self) -> None:
        """Scan, verify, find the bookmarks: a daemon thread, so that quitting waits for none of it."""
        try:
            self._read_all(self.session)
            while self.following:
                while not self.session.capture.grown():
                    if self._left.wait(TICK):
                        return
                self.settled.clear()
                self._read_all(Session(self.session.capture.again()))
        except XbrleError as error:
            self._tell(self._unreadable, str(error))
        except Exception as error:  # a fault of this program: to be seen, after the terminal is restored
            self._tell(self._raise, error)
        finally:
            self.settled.set()

    def _read_all(self, session: Session) -> None:
        """Read what there is by now; shown once it is no less than what was read before."""
        self._scan(session)
        if not session.capture.grown():  # else this was not the end
            self._verify(session)
            self._take_fingerprint(session)
            self._keep(session)
        self._tell(self.grow)
        if not self.following:
            self._tell(self._ticker.stop)
        self.settled.set()

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Have something done by the thread that draws; nothing where the user has left."""
        if not self._left.is_set():
            with suppress(RuntimeError):
                self.call_from_thread(what, *arguments)

    def _scan(self, session: Session) -> None:
        def begin(table: GrowingTable) -> None:
            session.table = table

        for reached in session.capture.load(begin):
            session.read()
            session.reached = reached
            if len(session) >= len(self.session):
                self._show(session)
        session.read()
        session.finish()
        self._show(session)
        self._tell(self.grow)

    def _show(self, session: Session) -> None:
        if session is not self.session:
            self._tell(self._succeed, session)

    def _succeed(self, session: Session) -> None:
        """Show this session instead of the one before."""
        session.take_over(self.session)
        self.session = session
        self.grow()

    def _verify(self, session: Session) -> None:
        try:
            for finding in session.capture.verify():
                session.add_finding(finding)
        except (XbrleError, OSError) as error:  # OSError: the temporary folder cannot take the findings
            session.trouble = f"not verified: {error}"
        session.verified = True

    def _take_fingerprint(self, session: Session) -> None:
        try:
            session.fingerprint = fingerprint(session.capture.stream)
        except XbrleError as error:
            session.no_fingerprint = str(error)

    def _keep(self, session: Session) -> None:
        """Find the bookmarks that belong to this capture."""
        try:
            session.open_bookmarks(bookmarks.digest(session.capture.data))
        except XbrleError as error:
            self._tell(self.say, str(error), "warning")

    def _unreadable(self, message: str) -> None:
        self.failure = message
        self.exit(UNREADABLE)

    def _raise(self, error: Exception) -> None:
        raise error

    def grow(self) -> None:
        """Show what was added since."""
        for screen in self.screen_stack:
            if isinstance(screen, CaptureScreen):
                with suppress(NoMatches):  # its widgets come, and when it closes go, one by one
                    screen.tell()
                    screen.grow()

    def described(self) -> str:
        """The capture's name, and how far it is read."""
        session = self.session
        name = shown(Path(session.capture.name).name.encode("utf-8", "surrogateescape"))
        size = session.capture.source.size
        if self.following:
            state = "read, verifying" if session.complete and not session.verified else f"{size or 0} bytes"
            return f"{name} · following, {state if size else 'nothing there yet'}"
        if session.complete:
            damage = session.capture.damage
            state = " · damaged" if damage is not None else ""
            return f"{name}{state}" + ("" if session.verified else " · verifying")
        if session.table is None or not size:
            return f"{name} · reading"
        return f"{name} · reading {100 * session.reached // size}%, {len(session)} rows"

    # -- moving ------------------------------------------------------------------------------------------------------

    @property
    def shown_screen(self) -> CaptureScreen | None:
        """The screen that the user is on, under any dialog."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, CaptureScreen)), None)

    def go(self, row: int | None, page: tuple[int, int] | None = None) -> None:
        """Make ``row`` the moment, and show it."""
        if row is None:
            self.say("there is none", "warning")
            return
        self.session.row = row
        self.session.page = page
        screen = self.shown_screen
        if screen is not None:
            screen.tell()
            screen.follow()

    def say(self, message: str, severity: str = "information") -> None:
        """A passing word."""
        self.notify(message, severity=severity, timeout=4, markup=False)  # type: ignore[arg-type]

    def action_next_record(self, step: int) -> None:
        """The next record that carries a page."""
        self.go(self.session.next_page(self.session.row, step))

    def action_goto(self) -> None:
        """Ask where to go."""

        def arrive(text: str | None) -> None:
            if text:
                self.go(*self.session.goto(text))

        hint = "123, @0x1f00 (file offset), 0x315000 or BLOCK:0x315000 (page)"
        self.push_screen(Ask("Go to", hint, check=self.session.goto), arrive)

    def action_bookmark(self) -> None:
        """Ask for a note to the chosen record."""
        record = self.session.record()
        if record is None:
            return
        old = self.session.bookmarks.get(record.offset)

        def keep(note: str | None) -> None:
            if note is None:
                return
            try:
                self.session.bookmark(record, note or None)
            except XbrleError as error:
                self.say(str(error), "error")
            else:
                self.say("bookmark kept" if note else "bookmark removed")
            self.go(self.session.row, self.session.page)

        name = f"record {record.number}" if record.number is not None else f"offset {record.offset:#x}"
        self.push_screen(Ask(f"Note to {name}", "an empty note removes the bookmark", old.note if old else ""), keep)

    def action_bookmarks(self) -> None:
        """List the bookmarks."""
        marks = self.session.bookmarks

        def arrive(offset: int | None) -> None:
            if offset is not None and self.session.table is not None:
                self.go(self.session.table.at(offset))

        self.push_screen(Bookmarks([marks[o] for o in sorted(marks)]), arrive)

    def action_copy(self) -> None:
        """Copy what the screen offers, through the terminal."""
        screen = self.shown_screen
        text = screen.copied() if screen is not None else None
        if text is None:
            self.say("there is nothing to copy here", "warning")
        else:
            self.copy_to_clipboard(text)
            self.say(f"copied {len(text)} characters")

    def action_export_page(self) -> None:
        """Write the bytes of the page that is shown to a new file."""
        record = self.session.record()
        if self._may_write() and record is not None:
            try:
                content = self._content()
            except XbrleError as error:
                self.say(str(error), "warning")
                return

            def write(name: str | None) -> None:
                if name:
                    self._write(lambda: _write_new(Path(name), content.data.tobytes()), name)

            unknown = int((~content.known).sum())
            hint = f"{unknown} unknown bytes become zeros" if unknown else "a new file"
            self.push_screen(Ask("Write this page to", hint, f"page-{record.number or 0}.bin"), write)

    def _content(self) -> Content:
        """The page of the moment, in the chosen view."""
        session = self.session
        capture, record = session.known(), session.record()
        page = session.page
        if page is None and record is not None and record.block is not None:
            page = (record.block, record.address)
        if record is None or page is None:
            raise XbrleError("the chosen record carries no page")
        history = capture.page(capture.space.blocks[page[0]].name, page[1])
        return history.at(session.moment(), session.view)

    def action_export_memory(self) -> None:
        """Write all memory as of the chosen record to a folder: in a thread, it can be much."""
        session = self.session
        record = session.record()
        if record is None or not self._may_write():
            return
        number = record.number
        if number is None:
            before = session.record(session.next_page(record.row, -1) or 0)
            number = before.number if before is not None and before.number is not None else 0
        if not number:
            self.say("no page was sent until here", "warning")
            return

        def write(name: str | None) -> None:
            if name:
                self.say(f"writing memory after record {number}")
                thread = threading.Thread(target=self._export, args=(number, Path(name)), daemon=True)
                thread.start()

        hint = f"{session.view.value} view, unknown bytes become zeros"
        self.push_screen(Ask(f"Write memory after record {number} to folder", hint, f"memory-{number}"), write)

    def _export(self, number: int, folder: Path) -> None:
        from ..export.raw import write_folder

        def work() -> None:
            capture, view = self.session.known(), self.session.view
            image = capture.memory(number, view)
            write_folder(image, folder, view=view.value, at=number, page_size=capture.page_size)

        self._write(work, str(folder), self._tell)

    def _write(self, work: Callable[[], object], name: str, tell: Callable[..., None] | None = None) -> None:
        """Do it, and say how it went."""
        try:
            work()
        except (OSError, XbrleError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            message, severity = f"{name}: {said}", "error"
        else:
            message, severity = f"wrote {name}", "information"
        if tell is not None:
            tell(self.say, message, severity)
        else:
            self.say(message, severity)

    def _may_write(self) -> bool:
        if self.read_only:
            self.say("files are not written from here", "warning")
        return not self.read_only

    def action_theme(self) -> None:
        """The next of the three looks."""
        names = [t.name for t in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names) if self.theme in names else 0]
        self.say(self.theme)

    def action_keys(self) -> None:
        """List the keys that work here."""
        screen = self.shown_screen
        if screen is not None and self.screen is screen:
            self.push_screen(Keys(screen.MODE, screen.active_bindings.values()))

    def action_leave(self) -> None:
        """Quit."""
        self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The command palette: every key of the screen as a command, then Textual's own."""
        for active in screen.active_bindings.values():
            binding = active.binding
            if isinstance(screen, CaptureScreen) and binding.description and active.node in (self, screen):
                action = binding.action

                async def run(action: str = action, node: object = active.node) -> None:
                    await self.run_action(action, node)  # type: ignore[arg-type]

                yield SystemCommand(binding.description.capitalize(), f"key {binding.key}", run)
        yield from super().get_system_commands(screen)


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet."""
    with path.open("xb") as file:
        file.write(data)
