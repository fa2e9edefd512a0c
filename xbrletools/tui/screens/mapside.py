"""What stands beside the map, or below it where it is narrow: what colours mean, counts, the page under the cursor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from ...formats.ram import Kind
from ...memory.blockstate import NEVER, State
from ...table.kinds import IS_DELTA
from ..mapvalues import BlockMap, Moment, Shows, levels, scale
from ..palette import STEPS, Palette, style
from ..widgets.lines import Line
from ..words import counted

_EDGES = ((1, 1), (2, 2), *((2**k + 1, 2 ** (k + 1)) for k in range(1, 31)))  # versions of a page, by powers of two
_HOT = 12  # hottest pages that are listed
_LINES = "▁▂▃▄▅▆"


@dataclass(frozen=True, slots=True)
class Look:
    """How the map is drawn: what cells show, in which colours. ``plain``: in letters instead.

    ``zero``: some pages are zero by a bitmap. ``known``: the verdict tells which pages are wrong.
    """

    shows: Shows
    colours: Palette
    plain: bool
    zero: bool = False
    known: bool = False

    def shade(self, colour: str, bold: bool = False) -> Style:
        """A colour's style, none where letters have to do."""
        return style(None, None, bold) if self.plain else style(colour, None, bold)


def legend(what: BlockMap, look: Look, width: int, counts: NDArray[np.int64]) -> Line:
    """What the cells mean, in one line: the ramp first, then trouble that there is, then what most pages show.

    ``counts`` (n,) is how many pages show each number of the scale. What does not fit is left out whole.
    """
    meaning = scale(look.shows, look.colours, look.zero)
    ramp = [n for n, word in enumerate(meaning.words) if not word]
    named = [n for n, word in enumerate(meaning.words) if word and word not in meaning.words[:n]]
    line: list[tuple[str, str | Style]] = []
    used = 0

    def put(numbers: list[int], text: str) -> None:
        nonlocal used
        marks = (
            [("".join(meaning.letters[n] for n in numbers)).replace(" ", "blank")]
            if look.plain
            else ["█"] * len(numbers)
        )
        if used + sum(map(len, marks)) + len(text) + 4 <= width:
            line.append(("  ", ""))
            seen = [(m, *_seen(meaning.colours[n], look.colours)) for m, n in zip(marks, numbers, strict=False)]
            line.extend((m if look.plain else mark, look.shade(colour)) for m, mark, colour in seen)
            line.append((f" {text}", "dim"))
            used += sum(map(len, marks)) + len(text) + 3

    if ramp:
        put(ramp[:: 1 if not look.plain else 3], _span(look.shows, what))
    trouble = named[-3:][::-1]
    for number in sorted(trouble + named[:-3], key=lambda n: (not (n in trouble and counts[n]), -counts[n])):
        put([number], meaning.words[number])
    return line


def _seen(colour: str, colours: Palette) -> tuple[str, str]:
    """A mark in a colour, or what stands for it where it could not be seen on the ground."""
    return ("▒", colours.line) if colour in (colours.never, colours.ground) else ("█", colour)


def _span(shows: Shows, what: BlockMap) -> str:
    if shows is Shows.VERSIONS:
        return f"1 to {counted(what.most, 'version')}" if what.most else "no page was sent"
    return "old to new" if shows is Shows.AGE else "0 to 8 bits a byte"


def side(moment: Moment, page: int, look: Look, under: Line, size: tuple[int, int]) -> list[Line]:
    """The pane: the legend, how many pages have how many versions, counts, the page under the cursor, hottest pages."""
    width, height = size[0] - 1, size[1]  # a scroll bar may come
    what = moment.what
    lines: list[Line] = []

    def title(text: str) -> None:
        if lines:
            lines.append([])
        lines.append([(f" {text}", look.shade(look.colours.accent, True))])

    title(f"cells show {look.shows.value}")
    lines += _legend(what, look, width)
    title("how many pages have how many versions")
    lines += _histogram(moment, look, width)
    title("at this moment")
    lines += _counts(moment, look, width)
    title("under the cursor")
    lines += _wrapped(under, width)
    lines += _story(moment, page, look, width)
    if height - len(lines) > 3 and moment.versions.any():
        title("hottest pages until now")
        lines += _hottest(moment, look, width, min(_HOT, height - len(lines)))
    return lines


def _legend(what: BlockMap, look: Look, width: int) -> list[Line]:
    """The ramp with its numbers, and a line for each further meaning."""
    shows, colours, plain = look.shows, look.colours, look.plain
    meaning = scale(shows, colours, look.zero)
    lines: list[Line] = []
    ramp = [n for n, word in enumerate(meaning.words) if not word]
    if ramp:
        wide = 2 if width >= 2 * STEPS + 2 else 1
        cells = [(meaning.letters[n] * wide if plain else "█" * wide, style(meaning.colours[n])) for n in ramp]
        lines.append([(" ", ""), *cells])
        numbers = (
            _numbers(shows, what.most, STEPS * wide) if what.most or shows is not Shows.VERSIONS else "no page was sent"
        )
        lines.append([(f" {numbers}", "dim")])
    row: list[tuple[str, str | Style]] = []
    used = 0
    for number, word in enumerate(meaning.words):
        if not word or word in meaning.words[:number]:
            continue
        mark, colour = _seen(meaning.colours[number], colours)
        if plain:
            mark = meaning.letters[number] if meaning.letters[number] != " " else "blank"
        need = len(mark) + len(word) + 3
        if used + need > width:
            lines.append(row)
            row, used = [], 0
        row += [(f" {mark}", style() if plain else style(colour)), (f" {word} ", "dim")]
        used += need
    return [*lines, row]


def _numbers(shows: Shows, most: int, width: int) -> str:
    """What stands under the ramp."""
    if shows is not Shows.VERSIONS:
        first, last = ("old", "new") if shows is Shows.AGE else ("0", "8 bits")
        return first + last.rjust(width - len(first))
    cells, free = [" "] * width, 0
    for number in [*(2**k for k in range(most.bit_length()) if 2**k < most), most]:
        text = str(number)
        place = min(int(levels(np.array([number]), most)[0]) * width // STEPS, width - len(text))
        if place >= free:
            cells[place : place + len(text)] = text
            free = place + len(text) + 1
    return "".join(cells)


def _histogram(moment: Moment, look: Look, width: int) -> list[Line]:
    """Bars of pages by versions, on a logarithmic scale."""
    versions, most = moment.versions, moment.what.most
    groups = [
        ("no record" if look.zero or moment.what.open else "not sent", 0, 0),
        *((f"{a}" if a == b else f"{a}-{b}", a, b) for a, b in _EDGES if a <= most),
    ]
    counts = np.bincount(versions, minlength=most + 1)
    sums = [int(counts[a : b + 1].sum()) for _, a, b in groups]
    room = max(4, width - 22)
    top = np.log1p(max(1, *sums))
    lines: list[Line] = []
    for (label, first, last), count in zip(groups, sums, strict=True):
        cells = max(1, int(np.log1p(count) / top * room)) if count else 0
        step = int(levels(np.array([(first + min(last, most)) // 2]), most)[0])
        colour = look.colours.line if not first else look.colours.ramp[step]
        bar = ("━" * cells + " " * (room - cells), look.shade(colour))
        lines.append([(f" {label:>10} ", "dim"), bar, (f"{count:>9,}", "")])
    return lines


def _counts(moment: Moment, look: Look, width: int) -> list[Line]:
    """How much was sent by now, and what is wrong."""
    what, head = moment.what, moment.head
    pages, sent = what.records.pages, int((head.last != NEVER).sum())
    lines: list[Line] = [[(f" {sent:,}", "strong"), (f" of {pages:,} pages sent", "dim")]]
    by = f"by {counted(head.at, 'record')}"
    if len(f" {sent:,} of {pages:,} pages sent, {by}") <= width:
        lines = [[*lines[0], (f", {by}", "dim")]]
    else:
        lines.append([(f" {by}", "dim")])
    if what.zero is not None:
        lines.append([(f" {int(what.zero.sum()):,}", "strong"), (" are zero by the bitmap", "dim")])
    states = np.bincount(moment.states, minlength=len(State))
    trouble: list[tuple[str, str | Style]] = []
    for count, word, mark, colour in (
        (int(states[State.WRONG]), "wrong" if look.known else "maybe wrong", "!", look.colours.wrong),
        (int(states[State.HEALED]), "healed", "h", look.colours.healed),
        (int(moment.unknown.sum()), "unknown", "?", look.colours.unknown),
    ):
        if count:
            trouble.append((f" {mark} {count:,} {word} ", look.shade(look.colours.text(colour), True)))
    if int(states[State.WRONG]):
        trouble.append((" w: the next", "dim"))
    return [*lines, trouble if trouble else [(" no page is called wrong", "good" if look.known else "dim")]]


def _wrapped(line: Line, width: int) -> list[Line]:
    """A line's pieces, on as many lines as they need."""
    lines: list[list[tuple[str, str | Style]]] = [[]]
    used = 0
    for text, name in line:
        if used and used + len(text) > width:
            lines.append([])
            used, text = 0, f"   {text.strip().removeprefix('· ')}"
        lines[-1].append((text, name))
        used += len(text)
    return list(lines)


def _story(moment: Moment, page: int, look: Look, width: int) -> list[Line]:
    """The records of a page until now, a mark each, the newest last."""
    what, head = moment.what, moment.head
    if not 0 <= page < what.records.pages:
        return []
    colours = look.colours
    marks: list[tuple[str, str | Style]] = []
    at = int(head.last[page])
    while at != NEVER and len(marks) < width - 3:
        kind = what.records.kind[at]
        mark, colour = ("■", colours.page) if kind != Kind.DUP else ("□", colours.dup)
        if IS_DELTA[kind]:
            mark, colour = "▪", colours.delta
        if what.states[at] == State.WRONG:
            colour = colours.wrong
        marks.append((mark, look.shade(colour)))
        at = int(what.records.before[at])
    if not marks:
        return []
    told: Line = [
        *((" ■", look.shade(colours.page)), (" page  ", "dim"), ("□", look.shade(colours.dup)), (" dup  ", "dim")),
        *(("▪", look.shade(colours.delta)), (" delta", "dim")),
    ]
    return [[(" ", ""), *reversed(marks)], told]


def _hottest(moment: Moment, look: Look, width: int, count: int) -> list[Line]:
    """The pages that were sent most until now, with when."""
    what, head = moment.what, moment.head
    room = max(8, width - 23)
    versions = moment.versions
    if not len(versions):
        return []
    pages_with = np.bincount(versions)  # pages by versions: partitioning takes long where many are alike
    least = len(pages_with) - 1 - int(np.searchsorted(np.cumsum(pages_with[::-1]), min(count, len(versions))))
    best = np.concatenate([np.flatnonzero(versions > least), np.flatnonzero(versions == least)[:count]])
    best = best[np.lexsort((best, -versions[best]))][:count]
    lines: list[Line] = []
    for page in best[versions[best] > 0].tolist():
        times = []
        at = int(head.last[page])
        while at != NEVER:
            times.append(at)
            at = int(what.records.before[at])
        parts = np.bincount(np.array(times, np.int64) * room // max(1, len(what.records)), minlength=room)
        most = max(1, int(parts.max()))
        text = "".join(
            _LINES[min(len(_LINES) - 1, n * len(_LINES) // (most + 1))] if n else "·" for n in parts.tolist()
        )
        mark = ("!", look.shade(look.colours.wrong)) if what.states[head.last[page]] == State.WRONG else (" ", "")
        sent = (f"{int(versions[page]):>6,}  ", "strong")
        lines.append([(f" {page * what.page_size:>#12x}", ""), mark, sent, (text, look.shade(look.colours.page))])
    return lines
