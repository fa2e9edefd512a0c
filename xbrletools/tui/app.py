"""The app: shows one capture on its screens, moves all of them along, and writes what the user exports."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import AwaitMount

from ..capture import Capture
from ..errors import XbrleError
from ..memory.moments import memory_of
from ..table.record import Record
from . import preferences
from .comparison import choose_side
from .goto import HINT, goto
from .idle import IdleApp, give_way
from .newfiles import file_names, free, new_file, page_file, write_new, written
from .screens import names
from .screens.base import CaptureScreen
from .screens.dialogs import BookmarkList, KeyList, Question
from .screens.names import FURTHER, SCREENS
from .session import TICK, PagePlace, Session
from .terminal import INTERRUPTED, on_signals
from .themes import FAINT, THEME_NAMES, THEMES, use_few_colours
from .widgets.bars import Entry
from .widgets.lines import LINE_CLASSES, LINE_CSS
from .words import counted, escaped, key_text

UNREADABLE = 2  # the exit status that every command has for it
_SAID_FOR = 4  # seconds that a message stays
_NO_SUCH_RECORD = "there is no such record"


def _module_of(name: names.Named) -> ModuleType:
    """Import the module that has a screen."""
    return import_module(f".screens.{name.module}", __package__)


class Browser(IdleApp):
    """Browses one capture. With ``read_only`` it writes no file but the user's bookmarks.

    ``other`` is a capture to compare it with.

    With ``follow`` it waits for more to be written whenever it has read all.
    """

    TITLE = "xbrle"
    CSS = (
        """
    Screen { background: $background; color: $foreground; }
    Input, Input:focus { border: none; height: 1; padding: 0 1; background: $panel; }
    Input > .input--placeholder { color: $faint; }
    """
        + LINE_CSS
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = LINE_CLASSES
    DEFAULT_MODE = names.OVERVIEW.mode
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(s.key, f"switch_mode('{s.mode}')", f"{s.title}: {s.help}", show=False) for s in (*SCREENS, *FURTHER)),
        Binding("full_stop", "next_record(1)", "next record with a page", show=False, key_display="."),
        Binding("comma", "next_record(-1)", "previous record with a page", show=False, key_display=","),
        Binding("colon", "goto", "go to a record, @offset or BLOCK:page", show=False, key_display=":"),
        Binding("slash", "search", "search memory", show=False, key_display="/"),
        Binding("b", "bookmark", "bookmark with a note (an empty note removes it)", show=False),
        Binding("B", "bookmarks", "list of bookmarks", show=False),
        Binding("y", "copy", "copy", show=False),
        Binding("a", "compare(0)", "compare from this moment (A) to the end", show=False),
        Binding("A", "compare(1)", "compare up to this moment (B)", show=False),
        Binding("e", "export_page", "export this page's bytes to a file", show=False),
        Binding("E", "export_memory", "export memory at this moment to a folder", show=False),
        Binding("t", "theme", "next theme: dark, light, high contrast", show=False),
        Binding("question_mark", "keys", "keys of this screen", show=False, key_display="?"),
        Binding("ctrl+p", "command_palette", "command palette", show=False),
        Binding("ctrl+z", "suspend_process", "suspend; the shell's fg comes back", show=False, priority=True),
        Binding("q", "leave", "quit", show=False),
        Binding("ctrl+q", "leave", "quit", show=False, priority=True),
    ]

    def __init__(
        self, capture: Capture, read_only: bool = False, follow: bool = False, other: Capture | None = None
    ) -> None:
        super().__init__()
        self.other = other
        self.read_only = read_only
        self.following = follow
        self.session = Session(capture)
        self._before: Session | None = None  # what was shown before it was read in another way
        self.came_from = names.OVERVIEW.mode  # the mode of the screen that was shown before this one
        self.failure: str | None = None
        self.fault: Exception | None = None  # what this program did wrong
        self.left = threading.Event()
        self.entries = tuple(Entry(s.key, s.mode, s.title, s.short or s.title) for s in SCREENS)
        for screen in (*SCREENS, *FURTHER):
            self.add_mode(screen.mode, partial(self._made, screen))
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = preferences.theme(THEME_NAMES) or THEME_NAMES[preferences.is_light()]

    def watch_theme(self) -> None:
        """Have the screen that is shown drawn anew once its styles are the theme's. Others follow when shown."""
        for screen in (s for stack in self._screen_stacks.values() for s in stack if isinstance(s, CaptureScreen)):
            if screen.is_current:
                self.call_after_refresh(screen.recolour)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give the variables that Textual's own themes do not have."""
        return {FAINT: "#888888"}

    def _made(self, name: names.Named) -> CaptureScreen:
        """Make a screen, the first time that it is shown."""
        screen: CaptureScreen = getattr(_module_of(name), name.kind)(self)
        screen._css_update_count = self._css_update_count  # else Textual reads all style sheets three times anew
        return screen

    # -- reading, in a thread beside ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Start to read, once something is on the screen."""
        use_few_colours(self, self.plain)
        self._end_on_signals()
        self.app_resume_signal.subscribe(self, self._draw_anew)
        self.call_after_refresh(self._read)
        self.call_after_refresh(self.begin_to_idle)

    def _read(self) -> None:
        """Read the capture of the session, in a thread."""
        self._ticker = self.set_interval(TICK, self.tick)
        threading.Thread(target=self._read_beside, daemon=True).start()

    def _read_beside(self) -> None:
        """Import what was left out to have something on the terminal soon, and read: the thread's work."""
        give_way()
        for name in (*SCREENS, *FURTHER):
            _module_of(name)
            self.imported.append(name.mode)
        from . import reader

        reader.read(self)

    def reread(self, salvage: bool | None = None, channels: Sequence[str] | None = None) -> None:
        """Read the capture anew, with salvage or with other channels. Where that fails, all stays as it was."""
        if not self.settled.is_set() or self.following:
            self.say("wait until all is read", "warning")
            return
        session = Session(self.session.capture.reread(salvage, channels))
        session.take_over(self.session)
        self._before, self.session = self.session, session
        self.settled.clear()
        self._read()

    def action_salvage(self) -> None:
        """Read on after damage."""
        self.reread(salvage=True)

    def action_channels(self) -> None:
        """Ask for the files of missing channels, and read with them."""

        def check(text: str) -> None:
            for name in file_names(text):
                if not Path(name).is_file():
                    raise XbrleError(f"there is no file {name}")

        def act(text: str) -> None:
            self.reread(channels=file_names(text))

        self.push_screen(Question("Files of the missing channels", "one or more, blanks between", "", check, act))

    def on_unmount(self) -> None:
        """Tell the threads that nobody waits for them any longer."""
        self.left.set()
        self.end_to_idle()

    def post(self, what: Callable[..., None], *arguments: object) -> None:
        """Have the thread that draws call something. Nothing happens where the user has left."""
        if not self.left.is_set():
            with suppress(RuntimeError):
                self.call_from_thread(what, *arguments)

    def grow(self) -> None:
        """Show what was added since."""
        for screen in self.screen_stack:
            if isinstance(screen, CaptureScreen):
                with suppress(NoMatches):  # while a screen opens or closes, some of its widgets are missing
                    screen.renew_top_bar()
                    screen.grow()

    def succeed(self, session: Session) -> None:
        """Show this session instead of the one before."""
        session.take_over(self.session)
        self.session = session
        self.grow()

    def stop_growing(self) -> None:
        """Look no longer at what was added."""
        self._ticker.stop()

    def end_unreadable(self, message: str) -> None:
        """End, because the capture cannot be read."""
        if self._before is not None:
            self.session, self._before = self._before, None
            self.stop_growing()
            self.settled.set()
            self.grow()
            self.say(message, "error")
            return
        self.failure = message
        self.exit(UNREADABLE)

    def end_failed(self, error: Exception) -> None:
        """End, because of a fault of this program."""
        self._handle_exception(error)

    def _end_on_signals(self) -> None:
        """Have SIGINT, SIGTERM and SIGHUP end the browser as `q` does."""
        if self.is_headless or self.is_web:
            return
        loop = asyncio.get_running_loop()
        on_signals(lambda: loop.call_soon_threadsafe(self.exit, INTERRUPTED))

    def _draw_anew(self, _: object) -> None:
        """Draw everything: the terminal was the shell's meanwhile."""
        self.refresh(layout=True)
        self.screen.refresh(layout=True)
        for widget in self.screen.walk_children():
            widget.refresh()

    async def _dispatch_message(self, message: Message) -> None:
        """Handle a message, as screens do: what cannot be read is said, and the browser stays."""
        try:
            await super()._dispatch_message(message)
        except XbrleError as error:
            self.say(str(error), "error")

    def _handle_exception(self, error: Exception) -> None:
        """End because of an error that nothing caught. Whoever started the browser says what it was."""
        if self.fault is None:
            self.fault = error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Close all. Textual would put every local variable in words, which takes long, and can itself fail."""
        self._close_messages_no_wait()

    def described(self) -> str:
        """Give the capture's name, and how far it is read."""
        session = self.session
        name = escaped(Path(session.capture.name).name)
        size = session.capture.source.size
        if self.following:
            state = "read, verifying" if session.complete and not session.verified else f"{size or 0:,} bytes"
            return f"{name} · following, {state if size else 'nothing there yet'}"
        if session.complete:
            state = " · damaged" if session.capture.damage is not None else ""
            return f"{name}{state}" + ("" if session.verified else " · verifying")
        if session.table is None or not size:
            return f"{name} · reading"
        return f"{name} · reading {100 * session.reached // size}%, {counted(len(session), 'row')}"

    # -- moving ------------------------------------------------------------------------------------------------------

    @property
    def theme_name(self) -> str:
        """The name of the theme."""
        return self.theme

    @property
    def plain(self) -> bool:
        """Whether colours are not to be had, or too few of them. In a test all are."""
        few = self.console.color_system in ("standard", "windows", None)
        return self.no_color or (few and not self.is_headless)

    @property
    def shown_screen(self) -> CaptureScreen | None:
        """The screen that the user is on, under any dialog."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, CaptureScreen)), None)

    def switch_mode(self, mode: str) -> AwaitMount:
        """Show a screen, and note which one was shown before."""
        if mode != self.current_mode:
            self.came_from = self.current_mode
        return super().switch_mode(mode)

    def go(self, row: int | None, page: PagePlace | None = None, missing: str = _NO_SUCH_RECORD) -> None:
        """Make ``row`` the moment and show it, or say what is ``missing`` where it is None."""
        if row is None:
            self.say(missing, "warning")
            return
        self.session.row, self.session.moved = row, True
        self.session.page = page
        screen = self.shown_screen
        if screen is not None:
            screen.renew_top_bar()
            screen.follow()

    def open_record(self, record: Record | None, otherwise: str) -> None:
        """Switch to the page of ``record``, or where it carries none to the screen with the mode ``otherwise``."""
        if record is None or (record.number is None and otherwise == names.DEVICES.mode):
            self.open_fields()
        else:
            self.switch_mode(names.PAGE.mode if record.number is not None else otherwise)

    def open_fields(self) -> None:
        """Switch to the fields of the chosen record."""
        self.session.of_record = True
        self.switch_mode(names.DEVICES.mode)

    def action_search(self) -> None:
        """Ask what to search for in memory."""
        self.switch_mode(names.SEARCH.mode)
        self.call_after_refresh(self.run_action, "ask", self.screen)

    def say(self, message: str, severity: str = "information") -> None:
        """Show a message for a moment."""
        self.notify(message, severity=severity, timeout=_SAID_FOR, markup=False)  # type: ignore[arg-type]

    def action_next_record(self, step: int) -> None:
        """Go to the next record that carries a page."""
        self.go(self.session.next_page(self.session.row, step), missing="no more records in this direction")

    def action_compare(self, which: int) -> None:
        """Make this moment A (0) or B (1), and show what differs between the two."""
        choose_side(self.session, self.other, which)
        if self.current_mode == names.COMPARE.mode and self.shown_screen is not None:
            self.shown_screen.follow()
        else:
            self.switch_mode(names.COMPARE.mode)

    def action_goto(self) -> None:
        """Ask where to go."""

        def arrive(text: str | None) -> None:
            if text:
                self.go(*goto(self.session, text))

        self.push_screen(Question("Go to", HINT, check=lambda text: goto(self.session, text)), arrive)

    # -- bookmarks ---------------------------------------------------------------------------------------------------

    def action_bookmark(self) -> None:
        """Ask for a note to the chosen record."""
        record = self.session.record()
        if record is None:
            return
        old = self.session.bookmarks.get(record.offset)

        def save(note: str | None) -> None:
            if note is None:
                return
            try:
                self.session.bookmark(record, note or None)
            except XbrleError as error:
                self.say(str(error), "error")
            else:
                self.say("bookmark saved" if note else "bookmark removed")
            self.go(self.session.row, self.session.page)

        name = f"record {record.number}" if record.number is not None else f"offset {record.offset:#x}"
        hint = "an empty note removes the bookmark"
        self.push_screen(Question(f"Note to {name}", hint, old.note if old else ""), save)

    def action_bookmarks(self) -> None:
        """List the bookmarks."""
        bookmarks = self.session.bookmarks

        def arrive(offset: int | None) -> None:
            if offset is not None and self.session.table is not None:
                self.go(self.session.table.at(offset))

        self.push_screen(BookmarkList([bookmarks[o] for o in sorted(bookmarks)]), arrive)

    # -- copies and exports ------------------------------------------------------------------------------------------

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
        """Ask for the name of a new file, and write the bytes of the chosen page to it."""
        record = self.session.record()
        if not self._may_write() or record is None:
            return
        try:
            content = self.session.content()
        except XbrleError as error:
            self.say(str(error), "warning")
            return

        def write(name: str) -> None:
            write_new(Path(name), content.data.tobytes())
            self.say(f"wrote {name}")

        unknown = int((~content.recovered).sum())
        hint = f"{unknown:,} unknown bytes become zeros" if unknown else "a new file"
        self.push_screen(Question("Write this page to", hint, free(page_file(self.session, record)), new_file, write))

    def action_export_memory(self) -> None:
        """Ask for a folder, and write all memory as of the chosen record to it: in a thread, since it can be much."""
        session = self.session
        record = session.record()
        if record is None or not self._may_write():
            return
        number = record.number
        if number is None:
            before = session.record(session.next_page(record.row, -1) or 0)
            number = before.number if before is not None else None
        if number is None:
            self.say("no page was sent before this record", "warning")
            return

        def write(name: str | None) -> None:
            if name:
                self.say(f"writing memory after record {number}")
                threading.Thread(target=self._export, args=(number, Path(name)), daemon=True).start()

        heading = f"Write memory after record {number} to folder"
        hint = f"{session.view.value} view, unknown bytes become zeros"
        self.push_screen(Question(heading, hint, free(f"memory-{number}"), new_file), write)

    def _export(self, number: int, folder: Path) -> None:
        """Write memory as of a record to a folder: a thread's work."""
        from ..export.raw import write_folder

        def work() -> None:
            stream, view = self.session.stream(), self.session.view
            image = memory_of(stream, number, view)
            write_folder(image, folder, view=view.value, at=number, page_size=stream.page_size)

        self.post(self.say, *written(str(folder), work))

    def _may_write(self) -> bool:
        if self.read_only:
            self.say("nothing can be exported from here: this browser is read-only", "warning")
        return not self.read_only

    # -- the rest ----------------------------------------------------------------------------------------------------

    def action_theme(self) -> None:
        """Switch to the next of the three themes."""
        names = [t.name for t in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names) if self.theme in names else 0]
        preferences.keep_theme(self.theme)
        self.say(self.theme)

    def action_keys(self) -> None:
        """List the keys that work here."""
        screen = self.shown_screen
        if screen is not None and self.screen is screen:
            about = screen.ABOUT or f"{screen.HELP[0].upper()}{screen.HELP[1:]}."
            self.push_screen(KeyList(screen.TITLE, about, screen.active_bindings.values()))

    def action_leave(self) -> None:
        """Quit."""
        self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Give the command palette every key of the screen as a command, once each, and what no key does.

        Textual's own commands are left out: they say the same again, and one of them writes files.
        """
        given: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            shown = isinstance(screen, CaptureScreen) and binding.description and active.node in (self, screen)
            if not shown or binding.description in given:
                continue
            given.add(binding.description)

            async def run(action: str = binding.action, node: object = active.node) -> None:
                await self.run_action(action, node)  # type: ignore[arg-type]

            title = binding.description[0].upper() + binding.description[1:]
            yield SystemCommand(title, f"key {key_text(binding.key, binding.key_display)}", run)
        yield SystemCommand("Read on after damage", "as --salvage does", self.action_salvage)
        yield SystemCommand("Name missing channels", "as --channel does", self.action_channels)
