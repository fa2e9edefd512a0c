"""The devices with their fields and bytes, and everything else that has fields: the chosen record, other sections."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input

from ...analysis.devices import DeviceDifference
from ...analysis.locate import Place, locate
from ...capture import Capture
from ...container.fields import Field
from ...errors import XbrleError
from ..palette import Palette
from ..sectionrows import Item, Part, SectionRows, section_rows
from ..session import Session
from ..taken import (
    HEADS,
    Taken,
    as_a_whole,
    by_name,
    bytes_at,
    counts,
    differences_to,
    find,
    head_of,
    in_words,
    take,
)
from ..taken import Place as FieldPlace
from ..widgets.devicecard import DeviceCard, address_of
from ..widgets.fieldtree import NOTHING, FieldTree
from ..widgets.hexview import ByteMark, Bytes, HexView
from ..widgets.lines import Caption, Lines
from ..widgets.sectionlist import SectionList
from ..words import escaped
from . import names
from .base import CaptureScreen, Host
from .dialogs import Question

WIDE = 120  # columns from which on list, tree and bytes stand side by side
_WIDER = 150  # and the registers beside the bytes
_COUNTED = 1 << 14  # devices whose fields are counted


class DevicesScreen(CaptureScreen):
    """The list, the tree of what was chosen, and below it registers and bytes. Where it is narrow, one of them."""

    KEY, MODE, TITLE, SHORT, HELP = names.DEVICES[:5]
    ABOUT = "Takes apart each section's bytes, and the chosen record's: fields, flags, and a processor's registers."
    DEFAULT_CSS = """
    DevicesScreen #heads, DevicesScreen #listheads, DevicesScreen #what, DevicesScreen #chosen { height: 1; }
    DevicesScreen #chosen { background: $surface; }
    DevicesScreen #right, DevicesScreen #lower { display: none; }
    DevicesScreen #bytes, DevicesScreen #card { border: round $panel; border-title-color: $primary; }
    DevicesScreen #bytes:focus, DevicesScreen #card:focus { border: round $primary; }
    DevicesScreen.tree #left { display: none; }
    DevicesScreen.tree #right { display: block; width: 1fr; }
    DevicesScreen.hex #lower { display: block; height: 1fr; }
    DevicesScreen.hex #upper { display: none; }
    DevicesScreen #card { display: none; }
    DevicesScreen.cpu #card { display: block; width: 1fr; }
    DevicesScreen.cpu #bytes { display: none; }
    DevicesScreen.cpu.hex #card { display: none; }
    DevicesScreen.cpu.hex #bytes { display: block; }
    DevicesScreen.wide #left { display: block; width: 42; border-right: solid $panel; }
    DevicesScreen.wide #right { display: block; width: 1fr; }
    DevicesScreen.wide #lower { display: block; height: 2fr; }
    DevicesScreen.wide #upper { height: 3fr; }
    DevicesScreen.wide.hex #upper { display: block; height: 1fr; }
    DevicesScreen.wide.hex #lower { height: 4fr; }
    DevicesScreen.wider.cpu #bytes, DevicesScreen.wider.cpu #card { display: block; width: 1fr; }
    DevicesScreen.wider.cpu.hex #card { display: none; }
    """
    KEYS = (
        ("Enter", "open"),
        ("/", "find a field"),
        ("x", "bytes"),
        ("i", "memory there"),
        ("Tab", "next part"),
        ("s", "record"),
        ("[ ]", "section"),
        ("d", "compare"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "find a field of any device by words in its name", show=False, key_display="/"),
        Binding("n", "again", "the next field with these words", show=False),
        Binding("x", "hex", "bytes, and back", show=False),
        Binding("i", "memory", "memory at the address in this register or field", show=False),
        Binding("s", "next_of", "the record, its section, the file header", show=False),
        Binding("tab", "other(1)", "to the next part of the screen", show=False),
        Binding("shift+tab", "other(-1)", "to the part before", show=False),
        Binding("right_square_bracket", "next_section(1)", "next section of the file", show=False, key_display="]"),
        Binding("left_square_bracket", "next_section(-1)", "previous section", show=False, key_display="["),
        Binding("space", "fold", "fold or unfold", show=False),
        Binding("d", "compare", "show what differs in another capture", show=False),
        Binding("escape", "back", "back to the list", show=False),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.taken: Taken | None = None
        self.differences: list[DeviceDifference] = []
        self._wanted: tuple[Item, int] | None = None  # what is being taken apart, and the row of the record then
        self._place: FieldPlace | None = None  # the field to go to once it is
        self._listed: tuple[Capture, int, bool] | None = None  # what the list was made of
        self._data, self._base = np.zeros(0, np.uint8), 0
        self._words = ""
        self._was_complete = False

    def body(self) -> ComposeResult:
        """Give the list, the tree, the registers and the bytes."""
        with Horizontal():
            with Vertical(id="left"):
                yield Caption(id="listheads")
                yield SectionList(lambda: self.session)
            with Vertical(id="right"):
                yield Caption(id="what")
                with Vertical(id="upper"):
                    yield Caption(id="heads")
                    yield FieldTree(self._tints)
                with Horizontal(id="lower"):
                    yield DeviceCard(self._tints)
                    yield HexView(id="bytes")
        yield Caption(id="chosen")
        yield Input(placeholder="words in a field's name, such as: cpu eip", select_on_focus=True)

    @property
    def section_list(self) -> SectionList:
        """The list."""
        return self.query_one(SectionList)

    @property
    def field_tree(self) -> FieldTree:
        """The fields."""
        return self.query_one(FieldTree)

    @property
    def card(self) -> DeviceCard:
        """The registers."""
        return self.query_one(DeviceCard)

    @property
    def hex_view(self) -> HexView:
        """The bytes."""
        return self.query_one("#bytes", HexView)

    def _tints(self) -> Palette | None:
        return None if self.host.plain else self.colours

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.hex_view.border_title = "Bytes"
        self.section_list.focus()

    def on_lines_narrowed(self) -> None:
        """Fit the names of columns to the room."""
        self.call_after_refresh(self._show_heads)

    def on_resize(self) -> None:
        """Show parts side by side where there is room."""
        self.wear(wide=self.size.width >= WIDE, wider=self.size.width >= _WIDER)
        self._fit()
        self.call_after_refresh(self._show_heads)

    def _show_heads(self) -> None:
        self.query_one("#heads", Caption).show_line(self.field_tree.heads())
        self.query_one("#listheads", Caption).show_line(self.section_list.heads())

    # -- the list ----------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Show the moment: the chosen record, where that is what is shown."""
        if self.session.of_record:
            self.session.of_record = False
            self._choose(Item(Part.RECORD))
            self._open_tree()
        self.section_list.forget(0)
        self.grow()

    def grow(self) -> None:
        """List the sections that were read since, and devices once all were."""
        session = self.session
        if session.facts is None:
            return
        now = session.capture, len(session.facts.sections), session.complete
        if now != self._listed:
            self._listed = now
            if session.complete:
                self.run_worker(partial(self._list, session), thread=True, exclusive=True, group="list")
            else:
                self._take_rows(SectionRows(np.zeros(0, np.int64), now[1]))
        self._take()

    def _list(self, session: Session) -> None:
        """Find the devices, count their fields, then compare them with the capture that was given. A thread's work."""
        stream = session.capture.stream
        rows = section_rows(stream.sections)
        self.app.call_from_thread(self._take_rows, rows)
        try:
            for found in counts(stream, rows.devices[:_COUNTED].tolist(), lambda: self.left):
                self.app.call_from_thread(self._take_counts, found)
            if self.host.other is not None and not self.left:
                differences = differences_to(session, self.host.other, lambda: self.left)
                self.app.call_from_thread(self._take_differences, differences)
        except XbrleError as error:
            self.app.call_from_thread(self.host.say, str(error), "warning")

    def _take_rows(self, rows: SectionRows) -> None:
        listed = self.section_list
        old, had = listed.chosen, len(listed.rows.devices)
        listed.rows = rows
        listed.renew()
        if len(rows.devices) and not had and old.part is Part.RECORD and not self.has_class("tree"):
            listed.jump(rows.begin(self.session.capture.stream.sections))
        elif old in (Item(Part.RECORD), Item(Part.HEADER)) or old.section < rows.total:
            listed.jump(rows.row_of(old))
        self._take()

    def _take_counts(self, found: dict[int, int | None]) -> None:
        self.section_list.counts.update(found)
        self.section_list.renew()

    def _choose(self, item: Item) -> None:
        """Put the list's cursor on an item."""
        listed = self.section_list
        row = listed.rows.row_of(item)
        if row < len(listed.rows):
            listed.jump(row)

    # -- what was chosen ---------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Take apart what the list's cursor stands on, unless it was."""
        item = self.section_list.chosen
        wanted = item, self.session.row if item.part is Part.RECORD else -1
        is_old = self._wanted == wanted and (self.taken is None or self.taken.count is not None or self._was_complete)
        if is_old or self.session.facts is None:
            return
        self._wanted, self._was_complete = wanted, self.session.complete
        self.run_worker(partial(self._take_apart, wanted), thread=True, exclusive=True, group="take")

    def _take_apart(self, wanted: tuple[Item, int]) -> None:
        """Take something apart. This is a thread's work."""
        try:
            taken = take(self.session, wanted[0])
            data, base = bytes_at(self.session, taken.root, taken.root.offset)
        except XbrleError as error:
            self.app.call_from_thread(self._show_nothing, wanted, self.session.reason(error))
            return
        self.app.call_from_thread(self._show, wanted, taken, data, base)

    def _show_nothing(self, wanted: tuple[Item, int], why: str) -> None:
        if wanted != self._wanted:
            return
        self.taken = None
        self._data = np.zeros(0, np.uint8)
        self.query_one("#what", Caption).show_line([(f" {why}", "warning")])
        self.field_tree.show_root(NOTHING, {})
        self.card.show(None)
        self.hex_view.show_bytes(self._data)

    def _show(self, wanted: tuple[Item, int], taken: Taken, data: Bytes, base: int) -> None:
        """Show what was taken apart."""
        if wanted != self._wanted:
            return
        self.taken, self._data, self._base = taken, data, base
        self.set_class(taken.cpu is not None, "cpu")
        others, whole = by_name(self.differences, taken.owner), as_a_whole(self.differences, taken.owner)
        self.query_one("#what", Caption).show_line(head_of(taken, "title", whole and f"≠ {whole}"))
        self.field_tree.show_root(taken.root, taken.named, HEADS if taken.count is not None else (), others)
        self.card.show(taken.cpu)
        self.hex_view.at = 0
        self.hex_view.tint(self._tints())
        place, self._place = self._place, None
        if place is not None and place.item == taken.item:
            self.field_tree.choose(place.path)
        elif taken.count is not None and len(self.field_tree.rows) > 1:
            self.field_tree.jump(1)  # the first field of the device
        self._fit()
        self._show_bytes()
        self.call_after_refresh(self._show_heads)

    def _fit(self) -> None:
        """Leave to the bytes what few fields do not need."""
        self.query_one("#upper").styles.max_height = len(self.field_tree.rows) + 2 if self.has_class("wide") else None

    def _show_bytes(self) -> None:
        """Show the bytes, with those of the chosen field marked, and say all of that field."""
        taken, row = self.taken, self.field_tree.chosen
        if taken is None or row is None:
            return
        field = row.field
        if not self._base <= field.offset < self._base + max(1, len(self._data)):
            self._data, self._base = bytes_at(self.session, taken.root, field.offset)
        start = max(0, field.offset - self._base)
        self.hex_view.show_bytes(self._data, marks=self._marks(field), base=self._base)
        if start < len(self._data):
            self.hex_view.move(start, post=False)
        self._say_field()

    def _marks(self, field: Field) -> Bytes:
        """Mark the bytes of a field."""
        marks = np.zeros(len(self._data), np.uint8)
        start = field.offset - self._base
        marks[max(0, start) : max(0, start + field.size)] = ByteMark.CHANGED
        return marks

    def _say_field(self) -> None:
        """Say all of the chosen field, or what was chosen in the list where only that is in sight."""
        if self.taken is not None and self.field_tree.chosen is not None:
            fields = self.has_class("wide") or self.has_class("tree")
            self.query_one("#chosen", Caption).show_line(self.field_tree.said() if fields else head_of(self.taken, ""))

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Take something else apart, or mark the bytes of another field."""
        if isinstance(event.lines, SectionList):
            self._take()
        elif isinstance(event.lines, FieldTree):
            self._show_bytes()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go to the tree, or fold or unfold in it."""
        if isinstance(event.lines, SectionList):
            self._open_tree()
        elif isinstance(event.lines, FieldTree):
            self.action_fold()
        elif isinstance(event.lines, DeviceCard):
            self.action_memory()

    def _open_tree(self) -> None:
        self.add_class("tree")
        self.field_tree.focus()
        self.call_after_refresh(self._show_anew)

    def action_back(self) -> None:
        """Leave the question, the bytes, then the tree."""
        if self.stop_asking(self.field_tree if self.has_class("tree") else self.section_list):
            return
        if self.has_class("hex"):
            self.action_hex()
        else:
            self.remove_class("tree")
            self.section_list.focus()
            self.call_after_refresh(self._show_anew)

    def action_fold(self) -> None:
        """Fold or unfold the field under the cursor."""
        self.field_tree.fold(self.field_tree.cursor)
        self._fit()

    def action_hex(self) -> None:
        """Show bytes, or more of them."""
        if not self.has_class("hex"):
            self.add_class("tree", "hex")
            self.hex_view.focus()
        else:
            self.remove_class("hex")
            self.field_tree.focus()
        self.call_after_refresh(self._show_anew)

    def _show_anew(self) -> None:
        """Show what depends on the room, once it is known."""
        self._show_heads()
        self._show_bytes()

    def action_other(self, step: int) -> None:
        """Give the keys to another part."""
        parts: list[Widget] = [self.section_list, self.field_tree, self.card, self.hex_view]
        shown = [p for p in parts if p.display and all(a.display for a in p.ancestors if isinstance(a, Widget))]
        if not self.has_class("wide"):
            self.action_back() if self.has_class("tree") else self._open_tree()
        elif shown:
            place = shown.index(self.focused) if self.focused in shown else -step
            shown[(place + step) % len(shown)].focus()

    def on_hex_view_byte_moved(self, event: HexView.ByteMoved) -> None:
        """Choose the field that holds the byte, and mark its bytes."""
        if self.focused is not event.view or not self.field_tree.choose_at(self._base + event.at):
            return
        row = self.field_tree.chosen
        if row is not None:
            event.view.marks = self._marks(row.field)
            event.view.renew()
            self._say_field()

    def action_next_of(self) -> None:
        """Show the record, its section, the header, in turn."""
        record, item = self.session.record(), self.section_list.chosen
        if record is None:
            return
        order = [Item(Part.RECORD), Item(Part.SECTION, record.section), Item(Part.HEADER)]
        self._choose(order[(order.index(item) + 1) % len(order) if item in order else 0])
        self._take()

    def action_next_section(self, step: int) -> None:
        """Show another section, in the order of the file."""
        record, facts, item = self.session.record(), self.session.facts, self.section_list.chosen
        if record is None or facts is None:
            return
        index = item.section if item.part is Part.SECTION else record.section
        self._choose(Item(Part.SECTION, max(0, min(len(facts.sections) - 1, index + step))))
        self._take()

    # -- finding a field ---------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Ask for words."""
        self.ask()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the first field with these words."""
        self.stop_asking(self.field_tree if self.has_class("tree") else self.section_list)
        self._words = event.value
        self.action_again()

    def action_again(self) -> None:
        """Go to the next field with the words."""
        row = self.field_tree.chosen
        if not self._words.strip():
            self.host.say("press / first, and enter words in a field's name", "warning")
            return
        start = self.section_list.chosen, row.path if row is not None else ()
        indices = self.section_list.rows.devices[:_COUNTED].tolist()
        self.beside("find", lambda: find(self.session, self._words, start, indices, lambda: self.left), self._go_to)

    def _go_to(self, found: FieldPlace | None) -> None:
        """Show a field that was found."""
        if found is None:
            self.host.say(f"no field has the words: {self._words}", "warning")
            return
        self._open_tree()
        self._wanted, self._place = None, found
        self._choose(found.item)
        self._take()

    # -- memory ------------------------------------------------------------------------------------------------------

    def action_memory(self) -> None:
        """Go to the memory that the chosen register or field points to."""
        address = self._address()
        if address is None:
            self.host.say("choose a register, or a field that holds one number", "warning")
            return
        cpu = self.taken.cpu.number if self.taken is not None and self.taken.cpu is not None else None
        self.beside("locate", lambda: locate(self.session.stream(), address, cpu), self._open_memory)

    def _address(self) -> str | None:
        """The address in what the cursor stands on."""
        register = self.card.chosen if self.focused is self.card else None
        if register is not None:
            return address_of(register.name, register.value)
        row = self.field_tree.chosen
        value = row.field.value if row is not None else None
        return address_of(row.field.name, value) if row is not None and type(value) is int else None

    def _open_memory(self, place: Place) -> None:
        """Show the page at the end, since registers are those of the end."""
        session = self.session
        size = session.facts.page_size if session.facts is not None else 1
        session.look_at = place.offset % size, b""
        self.host.go(len(session) - 1, (place.block, place.offset // size * size))
        self.host.say(place.said if place.sure else f"{place.said} (assumed)")
        self.app.switch_mode("page")

    # -- another capture ---------------------------------------------------------------------------------------------

    def action_compare(self) -> None:
        """Ask for another capture, and show in what its devices differ."""
        if self.host.read_only:
            self.host.say("other files cannot be opened from here", "warning")
            return

        def compare(name: str | None) -> None:
            if name:
                self.host.say(f"reading {escaped(name)}")
                work = partial(differences_to, self.session, Path(name), lambda: self.left)
                self.beside("compare", work, self._take_differences)

        self.app.push_screen(Question("Compare devices with", "another capture: the name of its file"), compare)

    def _take_differences(self, differences: list[DeviceDifference]) -> None:
        self.differences = differences
        found = self.section_list.differing = {(d.section, d.instance) for d in differences if d.section is not None}
        self.section_list.renew()
        self.host.say(in_words(differences, len(found)))
        self._wanted = None
        self._take()

    def copied(self) -> str | None:
        """Give the field's bytes, in hexadecimal."""
        return row.field.raw.hex(" ") if (row := self.field_tree.chosen) is not None else None
