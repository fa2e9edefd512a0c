"""Finds text and bytes in memory, now or in all versions of all pages, and shows when they came and went."""

from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input
from textual.worker import get_current_worker

from ...analysis.pattern import Form
from ...analysis.search import Hit
from ...errors import XbrleError
from ...memory.replay import View
from ...text import shown
from ..palette import Palette
from ..searching import Found, Scene, Wanted, pattern_of, scene, search
from ..widgets.hexview import ByteMark, HexView
from ..widgets.hitlist import HitList, content_text
from ..widgets.lines import Caption, Line, Lines, fit
from ..widgets.pane import Pane
from ..words import counted, wrapped
from . import names
from .base import CaptureScreen, Host
from .sentparts import hottest

_TEXT_MAX = 1000  # characters that are searched for
_WIDE = 146  # columns from which on the hottest pages stand beside the hits


class SearchScreen(CaptureScreen):
    """What to search for, the hits, and below them the bytes when they came and at the end."""

    KEY, MODE, TITLE, SHORT, HELP = names.SEARCH[:5]
    ABOUT = "Finds text and bytes in memory, now or in all versions of all pages, and tells when they came and went."
    DEFAULT_CSS = """
    SearchScreen #pattern { display: block; }
    SearchScreen #ask { height: 1; background: $panel; }
    SearchScreen #prompt { width: 3; height: 1; background: $panel; }
    SearchScreen #how, SearchScreen #heads, SearchScreen #scene { height: 1; }
    SearchScreen #state { height: auto; max-height: 3; }
    SearchScreen #parts, SearchScreen #hits { height: 1fr; }
    SearchScreen #hottest { display: none; width: 50; }
    SearchScreen.wide #hottest { display: block; }
    SearchScreen #below { height: 8; border-top: solid $panel; }
    SearchScreen.tall #below { height: 1fr; }
    SearchScreen.low #state { max-height: 1; }
    SearchScreen.low #below { height: 4; }
    SearchScreen.lowest #below { display: none; }
    """
    KEYS = (
        ("Enter", "to that record"),
        ("/", "search for"),
        ("o", "text, bytes, regex"),
        ("v", "all versions, now"),
        ("F", "only what went"),
        ("Esc", "stop"),
        ("Tab", "bytes"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask", "what to search for", show=False, key_display="/"),
        Binding("o", "form(1)", "text, bytes, regular expression, UTF-16, file of YARA rules", show=False),
        Binding("down", "form(1)", "the next of them, while you type", show=False),
        Binding("up", "form(-1)", "the one before, while you type", show=False),
        Binding("v", "everything", "all versions of all pages, or memory at this moment", show=False),
        Binding("c", "case", "tell upper from lower case, or not", show=False),
        Binding("s", "block", "search every block, or only that of the chosen record", show=False),
        Binding("F", "gone", "only what was gone before the end", show=False),
        Binding("tab", "other", "to the hits, the bytes, the hottest pages, what to search for", show=False),
        Binding("escape", "stop", "stop the search, or leave the line", show=False),
    ]

    class Came(Message):
        """A search has found this by now."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Failed(Message):
        """A search cannot be made."""

        def __init__(self, wanted: Wanted, why: str) -> None:
            super().__init__()
            self.wanted, self.why = wanted, why

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.wanted = Wanted(Form.TEXT, "", True, False, None, View.RECEIVER, None)
        self._begun: Wanted | None = None  # the search that runs, or was the last to run
        self._stopped = False  # whether the user wants it to end
        self._scene_of: Hit | None = None

    def body(self) -> ComposeResult:
        """Give what to search for and how, the hits, the bytes, and beside them the hottest pages."""
        with Horizontal(id="ask"):
            yield Caption(id="prompt")
            yield Input(id="pattern", placeholder="press / and type what to search for in memory", max_length=_TEXT_MAX)
        yield Caption(id="how")
        yield Caption(id="state")
        with Horizontal(id="parts"):
            with Vertical():
                yield Caption(id="heads")
                yield HitList(self._names, self._tints)
                with Vertical(id="below"):
                    yield Caption(id="scene")
                    yield HexView(id="bytes")
            yield Pane("hottest", "Hottest pages", "H: all of them")

    @property
    def hit_list(self) -> HitList:
        """The hits."""
        return self.query_one(HitList)

    @property
    def hex_view(self) -> HexView:
        """The bytes."""
        return self.query_one("#bytes", HexView)

    def _names(self) -> list[bytes]:
        facts = self.session.facts
        return [b.name for b in facts.blocks] if facts is not None else []

    def _tints(self) -> Palette | None:
        return None if self.host.plain else self.colours

    def on_mount(self) -> None:
        """Give the keys to the list of hits."""
        self.query_one("#prompt", Caption).show_line([(" / ", "note")])
        self.hit_list.focus()

    def on_lines_narrowed(self) -> None:
        """Fit the names of columns to the room that there is."""
        self.call_after_refresh(self._say_all)

    def on_resize(self) -> None:
        """Give the bytes more room on a tall terminal."""
        height = self.size.height
        self.wear(tall=height >= 36, low=height < 20, lowest=height < 14, wide=self.size.width >= _WIDE)
        self.call_after_refresh(self._say_all)

    def follow(self) -> None:
        """Say how it is searched: the moment may be another."""
        self._say_all()

    def grow(self) -> None:
        """Say how far the search is, and which pages are the hottest."""
        self._say_state()
        self._show_hottest()

    # -- how ---------------------------------------------------------------------------------------------------------

    @property
    def _moment(self) -> int | None:
        """The record just after which memory is meant, None for the end. Whoever has not moved yet is there."""
        return self.session.moment() if self.session.moved else None

    def _say_all(self) -> None:
        self.query_one("#how", Caption).show_line(self._how())
        self.query_one("#heads", Caption).show_line(self.hit_list.heads())
        self._say_state()
        self._show_hottest()

    def _show_hottest(self) -> None:
        """Show the hottest pages, where there is room."""
        pane = self.query_one("#hottest", Pane)
        region = pane.scrollable_content_region
        if self.has_class("wide") and region.height > 1:
            pane.show(hottest(self.session, region.width, region.height, self.colours))

    def _how(self) -> Line:
        """The choices there are, those that hold marked."""
        wanted, moment = self.wanted, self._moment
        number = "the end" if moment is None else f"record {moment}"
        groups: list[list[tuple[str, bool]]] = [
            [(form.value, form is wanted.form) for form in Form],
            [("all versions", wanted.everything), (f"now: {number}", not wanted.everything)],
            [("every block", wanted.block is None), ("this block", wanted.block is not None)],
            [("any case", wanted.ignore_case)],
        ]
        if self.size.width < 100:
            short = {"all versions": "all", "every block": "blocks", "this block": "block", "any case": "case"}
            short |= {Form.BYTES.value: "hex", Form.REGEX.value: "re", Form.UTF16.value: "u16"}
            groups = [[(short.get(word, word), on) for word, on in group] for group in groups]
        for i in reversed(range(len(groups))):  # where not all fit, those that are chosen
            if sum(3 + sum(len(word) + 2 for word, _ in group) for group in groups) > self.size.width:
                groups[i] = [choice for choice in groups[i] if choice[1]] or groups[i][:1]
        line: list[tuple[str, str]] = []
        for key, group in zip("ovsc", groups, strict=True):
            line.append((f" {key} ", "dim"))
            line += [(f" {word} ", "tab" if on else "dim") for word, on in group]
        return line

    def _say_state(self) -> None:
        found = self.hit_list.found
        lines = [self._state()]
        if found is not None and found.trouble and found.wanted is self._begun:
            lines += [[(line, "warning")] for line in wrapped(found.trouble, max(20, self.size.width - 1))][:2]
        self.query_one("#state", Caption).show(lines)

    def _state(self) -> Line:
        """What was found, and how far the search is."""
        found = self.hit_list.found
        if self._begun is None or found is None or found.wanted is not self._begun:
            if self._begun is not None:
                return [(" searching", "strong"), (" · Esc stops", "dim")]
            what = "every version of every page" if self.wanted.everything else "memory at this moment"
            return [(f" / asks · Enter searches {what} · ↑ ↓ choose how it is written", "dim")]
        line: list[tuple[str, str]] = []
        if not found.ended:
            line.append((f" searching, {100 * found.share:.0f} %, record {found.upto} · Esc stops ·", "note"))
        line.append((f" {counted(found.total, 'place')}", "strong"))
        if found.wanted.everything:
            line.append((f" · {found.total - found.gone:,} {'at the end' if found.whole else 'there by now'}", "good"))
            line.append((f" · {found.gone:,} gone before it", "warning" if found.gone else "dim"))
        if found.total > len(found.hits):
            line.append((f" · the first {len(found.hits):,} are listed", "warning"))
        if self.hit_list.only_gone:
            line.append((" · F only what went", "note"))
        if not self.session.complete:
            line.append((" · of what was read by then", "warning"))
        return line

    def action_form(self, step: int) -> None:
        """Choose another form."""
        forms = list(Form)
        form = forms[(forms.index(self.wanted.form) + step) % len(forms)]
        self._change(replace(self.wanted, form=form))

    def action_everything(self) -> None:
        """Search all versions, or this moment."""
        self._change(replace(self.wanted, everything=not self.wanted.everything))

    def action_case(self) -> None:
        """Tell case or not."""
        self._change(replace(self.wanted, ignore_case=not self.wanted.ignore_case))

    def action_block(self) -> None:
        """Search one block, or all."""
        record = self.session.record()
        here = record.block if record is not None and record.block is not None else 0
        self._change(replace(self.wanted, block=here if self.wanted.block is None else None))

    def _change(self, wanted: Wanted) -> None:
        """Take over other choices, and search anew where something was searched for."""
        self.wanted = wanted
        self._say_all()
        if self._begun is not None and not isinstance(self.focused, Input):
            self._search()

    # -- searching ---------------------------------------------------------------------------------------------------

    def action_ask(self) -> None:
        """Ask what to search for."""
        self.query_one(Input).focus()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Search."""
        self._search()

    def _search(self) -> None:
        text = self.query_one(Input).value
        if not text:
            return
        session = self.session
        wanted = replace(self.wanted, text=text, view=session.view, at=None if self.wanted.everything else self._moment)
        try:
            if wanted.form is Form.YARA and self.host.read_only:
                raise XbrleError("rules are files here, which others may not have read (xbrle serve)")
            pattern_of(wanted)
        except XbrleError as error:
            self.query_one("#state", Caption).show_line([(f" ! {error}", "error")])
            return
        self._begun, self._stopped, self._scene_of = wanted, False, None
        self.hit_list.searched = True
        self.hit_list.show(None)
        self._show_scene(None)
        self.hit_list.focus()
        self.run_worker(partial(self._run, wanted), thread=True, exclusive=True, group="search")
        self._say_all()

    def _run(self, wanted: Wanted) -> None:
        """Search. This is a thread's work."""
        worker = get_current_worker()

        def stopped() -> bool:
            return worker.is_cancelled or self.left or (self._stopped and self._begun is wanted)

        try:
            for found in search(self.session.stream(), wanted, stopped):
                if worker.is_cancelled or self.left:
                    return
                self.post_message(self.Came(found))
        except XbrleError as error:
            self.post_message(self.Failed(wanted, self.session.reason(error)))

    def on_search_screen_came(self, event: Came) -> None:
        """Show what was found by now."""
        if event.found.wanted is not self._begun:
            return
        self.hit_list.show(event.found)
        self._say_all()
        self._look()

    def on_search_screen_failed(self, event: Failed) -> None:
        """Say why it cannot be searched for."""
        if event.wanted is self._begun:
            self._begun = None
            self.query_one("#state", Caption).show_line([(f" ! {event.why}", "error")])

    def action_stop(self) -> None:
        """Stop the search, or go to the hits."""
        found = self.hit_list.found
        if self._begun is not None and (found is None or not found.ended):
            self._stopped = True
        self.hit_list.focus()

    # -- hits --------------------------------------------------------------------------------------------------------

    def action_gone(self) -> None:
        """List only what was gone before the end, or all."""
        self.hit_list.only_gone = not self.hit_list.only_gone
        self.hit_list.show(self.hit_list.found)
        self._say_all()
        self._look()

    def action_other(self) -> None:
        """Switch the keys between the hits, the bytes, the hottest pages where they are shown, and the line."""
        order: list[Lines | Input] = [self.hit_list, self.hex_view, self.query_one(Input)]
        if self.has_class("wide"):
            order.insert(2, self.query_one("#hottest", Pane))
        place = order.index(self.focused) if isinstance(self.focused, Lines | Input) else -1
        order[(place + 1) % len(order)].focus()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show the bytes of another hit."""
        if isinstance(event.lines, HitList):
            self._look()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go to the page of a hit, at the record that brought it."""
        hit = self.hit_list.at(event.row) if isinstance(event.lines, HitList) else None
        found, session = self.hit_list.found, self.session
        if hit is None or found is None or session.facts is None:
            return
        size = session.facts.page_size
        at = hit.offset % size
        session.look_at = at, hit.content[: size - at]
        came = found.came(self.hit_list.place(event.row))
        row = found.row_of(came) if came is not None else len(session) - 1
        if not found.wanted.everything and found.wanted.at is None:
            row = len(session) - 1
        elif found.wanted.at is not None:
            row = found.row_of(found.wanted.at)
        session.view = found.wanted.view
        self.host.go(row, (hit.block, hit.offset - at))
        self.app.switch_mode("page")

    def on_pane_entered(self, event: Pane.Entered) -> None:
        """Open one of the hottest pages, or the list of them."""
        if event.where.page is not None:
            self.open_page(event.where.page)
        else:
            self.app.switch_mode(event.where.mode)

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Have the bytes of the chosen hit looked up, unless they are shown."""
        hit, found = self.hit_list.chosen, self.hit_list.found
        if hit is None or found is None:
            self._show_scene(None)
        elif hit != self._scene_of:
            self._scene_of = hit
            at, view = found.wanted.at, found.wanted.view
            self.beside("scene", lambda: scene(self.session.stream(), hit, at, view), self._show_scene)

    def _show_scene(self, what: Scene | None) -> None:
        """Show the bytes as they were when the hit came, and at the end."""
        view, caption = self.hex_view, self.query_one("#scene", Caption)
        if what is None:
            caption.show([])
            view.show_bytes(np.zeros(0, np.uint8))
            return
        hit, then, now = what.hit, what.then, what.now
        if hit != self._scene_of:
            return
        at = hit.offset - what.start
        marks = np.where(then.differs(now), np.uint8(ByteMark.CHANGED), np.uint8(ByteMark.NONE))
        then_marks = marks.copy()
        then_marks[at : at + len(hit.content)] = ByteMark.FOUND
        if hit.vanished is None:
            marks[at : at + len(hit.content)] = ByteMark.FOUND
        view.tint(self._tints())
        view.at = at
        view.show_bytes(now.data, now.recovered, marks, what.start, (then.data, then.recovered), left_marks=then_marks)
        view.show_row(view.at // view.per_row, middle=True)
        name = shown(self._names()[hit.block])
        brought = f"with record {hit.appeared}" if hit.appeared is not None else "at this moment"
        left = f" {brought} · {name}:{what.start:#x}"
        line: Line = [(fit(left, view.halfway), "strong"), (" at the end", "strong")]
        if hit.vanished is not None:
            line = [*line, (f" · gone with record {hit.vanished}", "warning")]
        caption.show_line(line)

    def copied(self) -> str | None:
        """Give the chosen hit: where it is, what it is, when it came and went."""
        hit, found = self.hit_list.chosen, self.hit_list.found
        if hit is None or found is None:
            return None
        came = "" if hit.appeared is None else f" came with record {hit.appeared}"
        went = "" if hit.vanished is None else f", went with record {hit.vanished}"
        where = f"{shown(self._names()[hit.block])}:{hit.offset:#x}"
        return f"{where} {found.words(hit)}{content_text(found.wanted.form, hit.content)}{came}{went}"
