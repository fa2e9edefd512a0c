"""What the page screen says in words: which bytes it shows, sums, counts, and the values at the cursor."""

from collections.abc import Sequence
from enum import Enum

import numpy as np

from ..formats.ram import Kind
from ..memory.replay import View
from ..memory.values import values
from ..table.record import Record
from ..text import shown
from .pagemoment import PageMoment
from .session import Session
from .widgets.hexview import Bytes, Mask
from .widgets.lines import Line, fit
from .widgets.times import Step
from .words import KIND_GLYPH, KIND_LETTER, KIND_STYLE, SEVERITY_MARK, SEVERITY_STYLE, counted, kind_word, stage_word

_VALUE_BYTES = 16
_NARROW_VALUES = ("u8", "u16le", "u32le", "u64le", "text")  # where there is no room for all


class PageShows(Enum):
    """Which bytes of the page are shown."""

    NEW = "new"
    DELTA = "delta"
    OLD = "old"
    BOTH = "old | new"
    SIDES = "A | B"

    @property
    def is_two(self) -> bool:
        """Whether bytes stand side by side."""
        return self in (PageShows.BOTH, PageShows.SIDES)


def bytes_of(moment: PageMoment, shows: PageShows, end: View) -> tuple[Bytes, Mask]:
    """What is shown of a view: its bytes, and which of them are known."""
    if shows is PageShows.NEW:
        new = moment.content(end)
        return new.data, new.recovered
    if shows is PageShows.OLD:
        old = moment.old_content(end)
        return old.data, old.recovered
    old, new = moment.old_content(end), moment.content(end)
    return old.data ^ new.data, old.recovered & new.recovered


def heading(moment: PageMoment, record: Record | None, shows: PageShows, view: View | None, width: int) -> Line:
    """The page, its record, and what is shown of it: in one view, or in both where that is None."""
    what = f"{shows.value} · {'receiver | sender' if view is None else f'{view.value} view'} "
    name = shown(moment.name)
    text = f" {fit(name, min(len(name), max(8, width // 4)))}:{moment.history.address:#x}"
    text += f" record {record.number} {kind_word(record.kind)}" if record else f" {moment.without}"
    return [(fit(text, max(1, width - len(what))), "strong"), (what, "")]


def match_words(needle: bytes, count: int) -> Line:
    """What was searched for, and how often it is in the page."""
    found = f" {needle[:12].hex(' ')}: {counted(count, 'place')} here"
    return [(found, "strong"), (" · n next · s next version · Escape clears", "dim")]


def sum_words(stated: int | None, computed: int | None) -> tuple[str, str]:
    """The sum that a record states, and whether it is the page's."""
    if stated is None:
        return (f" sum {computed:#x}" if computed is not None else " sum unknown", "dim")
    if computed is None:
        return (f" sum stated {stated:#x}, page not fully known", "warning")
    if stated == computed:
        return (f" sum {stated:#x} ok", "good")
    return (f" sum WRONG: stated {stated:#x}, computed {computed:#x}", "error")


def sums_of_both(ends: Sequence[tuple[str, tuple[int | None, int | None]]]) -> Line:
    """The sum that the record states, and for each of the ends whether its page has that."""
    stated = ends[0][1][0]
    out: list[tuple[str, str]] = [(" no sum stated" if stated is None else f" sum {stated:#x}", "dim")]
    for name, (_, computed) in ends:
        if stated is None or computed is None:
            word, shade = "unknown" if computed is None else f"{computed:#x}", "dim"
        elif stated == computed:
            word, shade = "ok", "good"
        else:
            word, shade = f"WRONG {computed:#x}", "error"
        out += [(f" · {name} ", "dim"), (word, shade)]
    return out


def count_words(changed: Mask, first_given: Mask, unknown: Mask, differs: Mask) -> Line:
    """How many bytes are changed, known for the first time, unknown, and not the same in both views."""
    count = int(np.count_nonzero(changed))
    words: list[tuple[str, str]] = [(" · ", "dim"), (f"{count:,} changed", "changed" if count else "")]
    if first_given.any():
        words.append((f" · {int(np.count_nonzero(first_given)):,} first given", ""))
    if unknown.any():
        words.append((f" · {int(np.count_nonzero(unknown)):,} unknown", "warning"))
    if differs.any():
        words += [(" · ", "dim"), (f"{{{int(np.count_nonzero(differs)):,} differ}}", "differs")]
    return words


def value_lines(data: Bytes, known: Mask, at: int, wide: bool) -> list[Line]:
    """The numbers and the text that begin at a byte of a page, as far as its bytes are known. ``wide``: all of them."""
    here = slice(at, min(at + _VALUE_BYTES, len(data)))
    held = known[here]
    count = int(np.argmin(held)) if not held.all() else len(held)
    if not count:
        return [[(f" at {at:#05x}: unknown", "warning")]]
    texts = values(data[here][:count].tobytes())
    if wide:
        lines: list[Line] = [[(f" {name:6}", "strong"), (text, "")] for name, text in texts]
        return [[(f" at {at:#05x}", "title")], *lines]
    by_name = {n: text if n == "text" else text.replace(" ", " · ", 1) for n, text in texts}  # clauses: none is cut
    names = [n for n in _NARROW_VALUES if n in by_name]
    heads = [f" {at:03x} {n:6}" if n == "u8" else f"     {n:6}" for n in names]
    return [[(head, "strong"), (by_name[n], "")] for head, n in zip(heads, names, strict=True)]


def step_of(session: Session, moment: PageMoment, version: int) -> Step:
    """A version of a page as the timeline shows it."""
    history = moment.history
    kind, severity = Kind(int(history.kinds[version])), session.findings.severity(int(history.rows[version]))
    mark, mark_style = (SEVERITY_MARK[severity], SEVERITY_STYLE[severity]) if severity else ("", "dim")
    letter, shade, glyph = KIND_LETTER[kind], KIND_STYLE.get(kind, ""), KIND_GLYPH[kind]
    return Step(letter, mark, shade, mark_style, int(history.numbers[version]), glyph)


def place_words(record: Record | None) -> Line:
    """In which pass, in which stage and where in the file a record stands."""
    if record is None:
        return []
    return [(f" · pass {record.pass_} {stage_word(record.stage)} @{record.offset:#x}", "dim")]


def why_no_runs(record: Record | None, moment: PageMoment) -> str:
    """Why the page's record does not have runs."""
    if record is None:
        return "no record: zero by the bitmap" if moment.history.is_zero else "not sent yet"
    return "the delta cannot be read" if moment.is_delta else f"{kind_word(record.kind)}: the whole page"
