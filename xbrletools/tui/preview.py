"""What a record is, beside the list of records: why it is a finding or what it changes, and the story of its page."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from ..formats.ram import Kind
from ..memory.history import Content, PageHistory
from ..memory.moments import page_of, space_of
from ..memory.replay import View
from ..table.kinds import IS_DELTA
from ..table.record import Record
from ..text import shown
from ..verify.rules import Finding, Severity
from .pagemoment import PageMoment
from .palette import Palette, mixed, style
from .session import Session
from .widgets.lines import Line, fit
from .words import KIND_STYLE, SEVERITY_STYLE, counted, kind_word, wrapped

#: What records do that a finding names, in the words of its evidence.
_STATIONS = {
    "base_record": "base",
    "earliest_record": "earliest",
    "dup_record": "dup",
    "healed_by_record": "healed",
    "superseded_by_record": "again",
    "of_first_record": "repeated",
}
_STATION = 12  # cells from one to the next
_RUNS = 6
_PER_LINE = 8  # bytes on a line
_BYTE_LINES = 2
_STORY_LEAST = 6  # lines that the page's records need at least


@dataclass(frozen=True, slots=True)
class Look:
    """How it is drawn: in which colours, or ``plain``, without any, in ``width`` cells and ``height`` lines."""

    colours: Palette
    plain: bool
    width: int
    height: int

    def shade(self, colour: str, bold: bool = False, ground: str | None = None) -> Style:
        """A colour's style, none where there is no colour."""
        return style(None, None, bold) if self.plain else style(colour, ground, bold)


def preview(session: Session, record: Record, look: Look) -> list[Line]:
    """The lines about a record. This reads the page, and is a thread's work.

    Raises:
        XbrleError: the capture cannot be read.
    """
    finding = session.findings.worst(record.row)
    if record.number is None or record.block is None:
        lines: list[Line] = [
            [(f" {kind_word(record.kind)}", "strong"), (f"  @{record.offset:#x}", "dim")],
            [(f" {counted(record.length, 'byte')} of payload, not a page", "")],
        ]
        return lines + (_paragraph(finding, look) if finding is not None else [])
    stream = session.stream()
    history = page_of(stream, space_of(stream).blocks[record.block].name, record.address)
    version = int(np.searchsorted(history.rows, record.row, side="right")) - 1
    moment = PageMoment(stream, history, version, record.number)
    new, old = moment.content(session.view), moment.old_content(session.view)
    sender, receiver = moment.content(View.SENDER), moment.content(View.RECEIVER)
    which = f"  record {record.number}  pass {record.pass_}  "
    changes = f"{counted(record.length, 'byte')} change {int(new.differs(old).sum()):,}"
    lines = _fitted(
        [[(f" {shown(record.name)}:{record.address:#x}", "strong"), (which, "dim")], [(changes, "")]], look.width
    )
    lines.append([])
    if finding is not None:
        lines += [*_stations(finding, look), *_paragraph(finding, look), []]
    lines += [*_sums(moment, sender, receiver, look), []]
    differs = receiver.differs(sender)
    if differs.any():
        what = f"first bytes that differ, {int(differs.sum()):,} of {len(differs):,} do"
        lines += _bytes(what, (("receiver", receiver), ("sender", sender)), differs, look.colours.wrong, look)
    else:
        if moment.is_delta:
            lines += _runs(moment, look)
        changed = new.differs(old)
        if changed.any():
            told = (("before", old), ("after", new))
            lines += _bytes("the first bytes that it changes", told, changed, look.colours.delta, look)
    lines.append([])
    return lines + _story(session, history, version, look, max(_STORY_LEAST, look.height - len(lines)))


def _paragraph(finding: Finding, look: Look) -> list[Line]:
    """What a finding says."""
    head: Line = [(f" {finding.severity.value} {finding.rule}", SEVERITY_STYLE[finding.severity])]
    return [head, *([(line, "")] for line in wrapped(finding.message, look.width - 1))]


def _stations(finding: Finding, look: Look) -> list[Line]:
    """The records that a finding names, from left to right."""
    colours = look.colours
    stops = [
        (number, _STATIONS[name])
        for name, number in finding.evidence.items()
        if name in _STATIONS and isinstance(number, int)
    ]
    if finding.record is None or not stops:
        return []
    stops = sorted([*stops, (finding.record, "delta" if "base_record" in finding.evidence else "this")])
    lasts = finding.evidence.get("healed_by_record", 0) is None
    if lasts:
        stops.append((-1, "never healed"))
    shades = {"base": colours.page, "dup": colours.dup, "healed": colours.healed, "again": colours.page}
    marks = {"base": "■", "dup": "□", "healed": "●", "again": "■", "never healed": "…"}
    words, line, numbers = (list[tuple[str, str | Style]]([(" ", "")]) for _ in range(3))
    for i, (number, word) in enumerate(stops):
        bad = number == finding.record or word == "never healed"
        shade = look.shade(colours.text(colours.wrong if bad else shades.get(word, colours.ink)), bad)
        after = look.shade(colours.wrong if number == finding.record else colours.line)
        words.append((fit(word, _STATION), shade))
        line += [(marks.get(word, "✗"), shade), ("─" * (_STATION - 1) if i < len(stops) - 1 else "", after)]
        numbers.append((fit(str(number) if number > 0 else "", _STATION), ""))
    return [words, line, numbers, []]


def _sums(moment: PageMoment, sender: Content, receiver: Content, look: Look) -> list[Line]:
    """The sum that the record states, and those of the page at each end."""
    stated, of_sender = moment.sums(sender)
    of_receiver = moment.sums(receiver)[1]
    parts: list[Line] = [[(" sum  ", "dim")]]
    if stated is not None:
        parts[0] = [(" sum  ", "dim"), ("stated ", "dim"), (f"{stated:#x}  ", "strong")]
    for name, found in (("sender", of_sender), ("receiver", of_receiver)):
        if found is None:
            parts.append([(f"{name} ", "dim"), ("unknown  ", "warning")])
            continue
        fine = stated is None or found == stated
        word = "  " if stated is None else " ok  " if fine else " WRONG  "
        sum_ = (f"{found:#x}", "" if fine else "error")
        parts.append([(f"{name} ", "dim"), sum_, (word, "good" if fine else "error")])
    return _fitted(parts, look.width)


def _fitted(parts: list[Line], width: int) -> list[Line]:
    """Parts on one line, and on the next where they do not fit."""
    lines: list[list[tuple[str, str | Style]]] = [[]]
    used = 0
    for part in parts:
        cells = len("".join(text for text, _ in part).rstrip())
        if used and used + cells > width:
            lines.append([("  ", "")])
            used = 2
        lines[-1] += part
        used += sum(len(text) for text, _ in part)
    return list(lines)


def _bytes(
    what: str, told: tuple[tuple[str, Content], ...], marked: NDArray[np.bool_], colour: str, look: Look
) -> list[Line]:
    """The first bytes that are marked, as each of two has them."""
    start = int(marked.argmax()) // _PER_LINE * _PER_LINE
    ground = mixed(colour, look.colours.ground, 0.8)
    lines: list[Line] = [[(f" {what}", "title")]]
    for name, content in told:
        for i in range(_BYTE_LINES):
            at = start + i * _PER_LINE
            cells: list[tuple[str, str | Style]] = [(f" {name if not i else '':9}", "dim"), (f"{at:3x}", "dim")]
            for place in range(at, min(at + _PER_LINE, len(marked))):
                byte, here = int(content.data[place]), bool(marked[place])
                text = f"{byte:02x}" if content.recovered[place] else "??"
                usual = look.colours.ink if byte else look.colours.zero
                behind = ground if here else look.colours.ground
                shade = look.shade(look.colours.byte(usual, behind), here, behind)
                cells += [("[" if look.plain and here else " ", ""), (text, shade)]
            lines.append(cells)
    return lines


def _runs(moment: PageMoment, look: Look) -> list[Line]:
    """The runs of the delta that give bytes, the first of them."""
    giving = [run for run in moment.runs() if run.value]
    lines: list[Line] = [[(f" {counted(len(giving), 'run')} of bytes in this delta", "title")]]
    for run in giving[:_RUNS]:
        value = run.value[:_PER_LINE].hex(" ") + (" .." if len(run.value) > _PER_LINE else "")
        lines.append([(f" {run.start:03x} ", "strong"), (f"{run.length:5,}x ", ""), (value, "changed")])
    if len(giving) > _RUNS:
        lines.append([(f" and {len(giving) - _RUNS} more", "dim")])
    return [*lines, []]


def _story(session: Session, history: PageHistory, version: int, look: Look, height: int) -> list[Line]:
    """The page's records about the chosen one, and whether each left the page wrong."""
    count, room = len(history), height - 2
    first = max(0, min(version - room // 2, count - room))
    here = slice(first, min(count, first + room))
    states = _states(session, history)
    columns = session.stream().records.columns.take(history.rows[here])
    passes = session.stream().records.passes_of(history.rows[here]).tolist()
    lines: list[Line] = [
        [(f" the page's {counted(count, 'record')}", "title")],
        [(f" {'record':>10} {'pass':>5} {'kind':8}{'bytes':>6}  after it", "dim")],
    ]
    for i, number in enumerate(history.numbers[here].tolist()):
        kind = Kind(int(columns.kind[i]))
        word, colour = states[first + i]
        lines.append(
            [
                (">" if first + i == version else " ", "strong"),
                (f"{number:>10}", "strong" if first + i == version else ""),
                (f" {passes[i]:>5} ", "dim"),
                (f"{kind_word(kind):8}", KIND_STYLE.get(kind, "")),
                (f"{int(columns.length[i]):>6,}  ", ""),
                (word, look.shade(look.colours.text(getattr(look.colours, colour)))),
            ]
        )
    return lines


def _states(session: Session, history: PageHistory) -> list[tuple[str, str]]:
    """What is said of a page after each of its records, with the name of its colour."""
    out, wrong = [], False
    deltas = IS_DELTA[session.stream().records.columns.kind[history.rows]].tolist()
    for row, is_delta in zip(history.rows.tolist(), deltas, strict=True):
        bad = session.findings.severity(row) in (Severity.ERROR, Severity.WARNING)
        healed, wrong = wrong and not bad and not is_delta, bad or (wrong and is_delta)
        out.append(("✗ wrong", "wrong") if wrong else ("● healed", "healed") if healed else ("", "ink"))
    return out
