"""The findings: a list, and for each what it means and which records it is about."""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from ...text import shown
from ...verify.rules import Finding
from ..evidence import Explained, evidence
from ..places import Places, found_places
from ..session import Session
from ..widgets.explanation import Explanation
from ..widgets.findinglist import Chosen, FindingList, choose
from ..widgets.heat import Heat, Scale
from ..widgets.lines import Caption, Line, Lines
from ..words import SEVERITY_RANK, counted
from . import names
from .base import CaptureScreen, Host

_WIDE = 120  # columns from which on the explanation stands beside the list
_PAGES_MAX = 1 << 24  # of a block. Of larger ones, 4 has the map
_TALL = 44  # lines from which on a map below the list shows where findings lie


class FindingsScreen(CaptureScreen):
    """The list, and beside or below it the explanation."""

    KEY, MODE, TITLE, SHORT, HELP = names.FINDINGS[:5]
    ABOUT = "Shows what is wrong by its causes, what lasts to the end first, and the records that led to each."
    DEFAULT_CSS = """
    FindingsScreen #status { height: 1; background: $surface; }
    FindingsScreen #main { height: 1fr; }
    FindingsScreen #explanation { height: 10; border-top: solid $primary; }
    FindingsScreen.wide #main { layout: horizontal; }
    FindingsScreen #left { height: 1fr; }
    FindingsScreen.wide #left { width: 6fr; height: 100%; }
    FindingsScreen #lie {
        display: none; height: 14; border: round $panel; border-title-color: $primary; border-subtitle-color: $faint;
    }
    FindingsScreen.tall #lie { display: block; }
    FindingsScreen.wide #explanation { width: 5fr; height: 100%; border-top: none; border-left: solid $primary; }
    """
    KEYS = (
        ("Enter", "page"),
        ("space", "fold"),
        ("o", "by cause, by place"),
        ("F", "lasting only"),
        ("/", "filter"),
        ("s", "severity"),
        ("Tab", "why"),
        ("y", "copy"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter by words", show=False, key_display="/"),
        Binding("space", "fold", "fold or unfold", show=False),
        Binding("o", "order", "by cause, or in the order of the capture", show=False),
        Binding("F", "lasting", "only what is wrong at the end, or all", show=False),
        Binding("s", "severity", "only errors, errors and warnings, all", show=False),
        Binding("tab", "other", "to the explanation and back", show=False),
        Binding("escape", "clear", "leave or clear the filter", show=False),
    ]

    def body(self) -> ComposeResult:
        """Give the counts, the list, the map of where findings lie, the filter, the explanation."""
        yield Caption(id="status")
        with Vertical(id="main"):
            with Vertical(id="left"):
                yield FindingList(lambda: self.session, lambda: self.colours)
                with Vertical(id="lie"):
                    yield Heat(self.colours)
            yield Explanation(lambda: self.session, lambda: self.colours)
        yield Input(placeholder="words that a finding must have", select_on_focus=False)

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._places: Places | None = None
        self._places_of: object = None
        self._chosen_of: object = None  # what the list was made of, or is being made of

    @property
    def finding_list(self) -> FindingList:
        """The list."""
        return self.query_one(FindingList)

    @property
    def explanation(self) -> Explanation:
        """What the chosen finding means."""
        return self.query_one(Explanation)

    def on_mount(self) -> None:
        """Give the keys to the list."""
        self.query_one(Heat).can_focus = False
        self.finding_list.focus()

    def on_resize(self) -> None:
        """Put the explanation beside the list where there is room, else below."""
        wide = self.size.width >= _WIDE
        self.wear(wide=wide, tall=wide and self.size.height >= _TALL)
        self.call_after_refresh(self._show_place)

    def follow(self) -> None:
        """Show all findings."""
        self.grow()

    def recolour(self) -> None:
        """Look at the page's bytes anew too."""
        self.explanation.show(None)
        super().recolour()

    def grow(self) -> None:
        """Show more findings, or that these are all."""
        self._choose()
        self.query_one("#status", Caption).show_line(self._status())
        self._explain()

    def _choose(self) -> None:
        """List what is wanted, unless that is listed."""
        session, choice = self.session, self.finding_list.choice
        of = session, session.findings, session.verified, choice
        if of == self._chosen_of:
            return
        self._chosen_of = of
        if choice.narrowed:
            self.beside("choose", partial(choose, session, choice), partial(self._take_chosen, of))
        else:
            self.finding_list.show(choose(session, choice))

    def _take_chosen(self, of: object, found: Chosen) -> None:
        if of == self._chosen_of:
            self.finding_list.show(found)
            self.grow()

    def _status(self) -> Line:
        """How many there are, and which of them are shown."""
        session, findings = self.session, self.finding_list
        counts = ", ".join(counted(n, severity.value) for severity, n in session.findings.counts.items())
        if session.verdict is None and not session.findings.total:
            counts = "no finding is counted"
        state = "" if session.verified else f" · {'verifying' if session.complete else 'reading'}, more may come"
        state += " · so far" if session.verified and self.host.following else ""
        if session.findings.total > len(session.findings.listed):
            state += f" · the first {len(session.findings.listed):,} are listed"
        if session.trouble:
            state += f" · {session.trouble}"
        if findings.choice.narrowed:
            state += f" · {findings.found.count:,} shown: {findings.choice.in_words()}"
        return [(f" {counts}", "strong"), (state, "")]

    def _explain(self) -> None:
        finding = self.finding_list.finding(self.finding_list.cursor)
        if finding is not None and finding is not self.explanation.finding and self.session.complete:
            self.run_worker(
                partial(self._look, self.session, finding),
                thread=True,
                exclusive=True,
                group="why",
                exit_on_error=False,
            )
        self.explanation.show(finding)
        self._show_place()

    # -- where they lie ----------------------------------------------------------------------------------------------

    def _show_place(self) -> None:
        """Show where in memory findings lie, and the page of the chosen one."""
        session, finding = self.session, self.explanation.finding
        if not self.has_class("tall") or not session.verified or session.verdict is None:
            return
        of = session, session.findings.total
        if of != self._places_of:
            self._places_of, self._places = of, None
            self.beside("places", partial(found_places, session), self._take_places)
        if self._places is None or not self._places.names:
            return
        heat, box, colours = self.query_one(Heat), self.query_one("#lie"), self.colours
        block, page = self._places.main, None
        if finding is not None and finding.page is not None and finding.block in self._places.names:
            block = self._places.names.index(finding.block)
            page = finding.page // self._places.page_size
        if self._places.space.pages[block] > _PAGES_MAX:
            return
        heat.palette, heat.plain = colours, self.host.plain
        scale = Scale((colours.once, colours.healed, colours.wrong), " h!", ("no finding", "a finding", "wrong"))
        heat.show(self._places.values(block), scale, self._places.page_size)
        if page is not None:
            heat.move_to(page)
        box.border_title = f"Where they lie in {shown(self._places.names[block])}"
        wrong, healed = ("!", "h") if self.host.plain else ("red", "yellow")
        box.border_subtitle = f"{wrong}: wrong at the end · {healed}: right there · 4: map"

    def _take_places(self, places: Places) -> None:
        self._places = places
        self._show_place()

    def on_heat_moved(self) -> None:
        """Leave the map as it is: it follows the list."""

    def _look(self, session: Session, finding: Finding) -> None:
        """Look at the page's bytes: a thread's work."""
        found = evidence(session, finding, self.colours, self.explanation.size.width - 1)
        self.app.call_from_thread(self._show_evidence, finding, found)

    def _show_evidence(self, finding: Finding, found: list[Explained]) -> None:
        if self.explanation.finding is finding:
            self.explanation.evidence = found
            self.explanation.renew()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Explain the finding under the cursor."""
        if isinstance(event.lines, FindingList):
            self._explain()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go to the record."""
        if isinstance(event.lines, FindingList):
            finding = event.lines.finding(event.row)
            row = self.session.row_of(finding) if finding is not None else None
        else:
            row = self.explanation.explained[event.row][1]
        if row is None:
            self.host.say("this line does not lead to a record", "warning")
            return
        self.host.go(row)
        self.host.open_record(self.session.record(row), otherwise="records")

    def action_filter(self) -> None:
        """Ask for words."""
        self.ask()

    def action_clear(self) -> None:
        """Leave the input, or else the filter."""
        if not self.stop_asking(self.finding_list):
            self.query_one(Input).value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the findings with these words."""
        self._want(words=tuple(event.value.lower().split()))

    def _want(self, **changes: Any) -> None:
        """Choose other findings."""
        self.finding_list.choice = replace(self.finding_list.choice, **changes)
        self.grow()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go back to the list."""
        self.action_clear()

    def action_severity(self) -> None:
        """Narrow by severity, in turn."""
        order = sorted(SEVERITY_RANK, key=lambda s: SEVERITY_RANK[s])
        self._want(mildest=order[(order.index(self.finding_list.choice.mildest) + 1) % len(order)])

    def action_fold(self) -> None:
        """Fold or unfold a branch of the tree."""
        self.finding_list.turn(self.finding_list.cursor)

    def action_lasting(self) -> None:
        """Show only pages that are wrong at the end, or all."""
        self._want(only_lasting=not self.finding_list.choice.only_lasting, as_tree=True)

    def action_order(self) -> None:
        """Show findings by their causes, or in the order of the capture."""
        self._want(as_tree=not self.finding_list.choice.as_tree)

    def action_other(self) -> None:
        """Switch the keys between the list and the explanation."""
        (self.finding_list if self.focused is self.explanation else self.explanation).focus()

    def copied(self) -> str | None:
        """Give the explanation."""
        lines = self.explanation.explained
        return "\n".join("".join(text for text, _ in line).strip() for line, _ in lines) if lines else None
