"""The parts of the overview that count: records by kind, passes, hottest pages, blocks, devices."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style

from ...analysis.facts import BlockUse, Overview
from ...analysis.film import CLASSES
from ...formats.qevm import SectionType
from ...formats.ram import DELTA_KINDS, PAGE_KINDS, Kind
from ...text import shown
from ..charts import cropped, stacked, thin
from ..palette import Palette, style
from ..session import Session
from ..widgets.lines import Line, fit, page_name, tail
from ..widgets.pane import Entry, Goto
from ..words import KIND_STYLE, counted, exactly, kind_word, sized
from .parts import TO_FINDINGS, text_lines

BLOCKS_MAX = 64  # blocks that are listed. A stream can claim tens of thousands
_BAR_MOST = 16  # cells of a bar
_BAR = 9  # cells of a bar of the kinds of a block's records
_KINDS = 44  # columns from which on that stands beside their number
_SHARED = 29  # columns from which on a kind's share of the bytes stands beside the number of its records
_LABELLED = 60  # columns from which on there is room for all that is known of a kind, or of a block
_WITH_COUNTS = 9  # lines from which on the pages of each pass, and its wrong records, stand below its bytes
_LABEL = 9  # cells before the bars of passes
_SPARK = "▁▂▃▄▅▆"  # no full block: those of neighbouring lines would grow together


def _nothing(session: Session, words: str, known: bool = True) -> list[Entry]:
    """A line where there is nothing to show. More may come while it is read, and where it is not ``known`` yet."""
    if not session.complete or (not known and session.trouble is None):
        words = "none yet"
    return [([(f" {words if known or words == 'none yet' else 'not known'}", "dim")], None)]


def records(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """How many records and bytes there are of each kind, and what dup pages and deltas save."""
    total = session.stats.total
    every = max(1, int(total.wire.sum()))
    saved = _saved(session)
    wide, shared = width >= _LABELLED, width >= _SHARED
    more = f"{'payload':>15}{'bytes saved':>15}" if wide else ""
    heads = f" {'kind':10}{'records':>10}{more}" + (f"{'share':>7}" if shared else "")
    entries: list[Entry] = [([(heads, "dim")], None)]
    there = [kind for kind in Kind if int(total.records[kind])]
    if not there:
        return _nothing(session, "the stream has no records")
    for kind in there:
        text = f"{int(total.records[kind]):>10,}"
        if wide:
            text += f"{int(total.payload[kind]):>15,}" + (f"{saved[kind]:>15,}" if kind in saved else " " * 15)
        text += f"{100 * int(total.wire[kind]) / every:6.1f}%" if shared else ""
        entries.append(([(" " + fit(kind_word(kind), 10), KIND_STYLE.get(kind, "")), (text, "")], Goto("records")))
    if there and not wide:
        payloads = ", ".join(f"{kind_word(k)} {int(total.payload[k]):,}" for k in there if total.payload[k])
        less = ", ".join(f"{kind_word(k)} {saved[k]:,}" for k in there if k in saved)
        for word, what in (("payload", payloads), ("bytes saved", less)):
            entries += text_lines(f"{word}: {what}", width, Goto("records"), "dim") if what else []
    return entries


def _saved(session: Session) -> dict[Kind, int]:
    """How many bytes dup pages, deltas and compressed pages save, as `info` says it."""
    if session.facts is None:
        return {}
    saved = Overview(session.facts, session.stats.total, {}, {}).saved
    by_kind = {Kind.DUP: saved["dup"], Kind.COMPRESSED: saved["compressed"]}
    return by_kind | dict.fromkeys(DELTA_KINDS, saved["delta"])


def passes(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The bytes of each pass over the block with most pages, as bars side by side where there is room, else below."""
    if not session.stats.passes:
        return _nothing(session, "no record carries a page")
    stats = session.stats
    blocks = stats.blocks()
    main = max(blocks, key=lambda b: blocks[b].pages)
    names = session.facts.names if session.facts is not None else ()
    name = shown(names[main]) if 0 <= main < len(names) else "no block"
    tallies = {number: sums for (block, number), sums in stats.passes.items() if block == main}
    numbers = sorted(tallies)
    sizes = np.array([[_of_class(tallies[n].wire, c) for c in CLASSES] for n in numbers], np.int64)
    first = dict(session.film.passes) if session.film is not None else {}
    room = width - _LABEL - 1
    if height < 6 or len(numbers) > room:
        return _passes_below(numbers, sizes, first, name, width, colours)
    each = room // len(numbers)
    gap = 1 if each > 1 else 0
    wide = max(1, min(_BAR_MOST, each - gap))
    starts = [i * (wide + gap) if gap else i * room // len(numbers) for i in range(len(numbers) + 1)]
    drawn = sizes if gap else sizes[np.arange(room) * len(numbers) // room]
    total = np.sort(sizes.sum(1))[::-1]
    runs_over = len(total) > 2 and total[0] > 2 * total[1]
    top = int(total[1] * 1.05) if runs_over else int(total[0])
    longest = numbers[int(sizes.sum(1).argmax())]
    over = f"pass {longest} runs over: {sized(int(total[0]))}" if runs_over else ""
    entries: list[Entry] = [(_legend(name, sized(top), over, width, colours), None)]
    fills = [colours.calm(getattr(colours, c)) for c in CLASSES]
    below = _below_passes(session, main, numbers, colours) if height >= _WITH_COUNTS else []
    for y, line in enumerate(stacked(drawn, fills, height - 2 - len(below), max(1, top), wide, gap, colours.fills)):
        label = f"{sized(top):>{_LABEL - 1}} " if y == 0 else " " * _LABEL
        if y == 0 and runs_over:
            place = numbers.index(longest)
            cell, end = starts[place], starts[place + 1] - gap
            mark = ("▲" * (end - cell), style(colours.bright))
            line = [*cropped(line, 0, cell), mark, *cropped(line, end, room)]
        entries.append(([(label, "dim"), *line], Goto("records", first.get(longest)) if y == 0 else None))
    for label, counts, colour in below:
        most = max(counts)
        spark = [_SPARK[min(5, n * 6 // (most + 1))] if n else "·" for n in counts]
        cells = [f"{mark * wide} " for mark in spark] if gap else [spark[i * len(spark) // room] for i in range(room)]
        entries.append(([(f"{label:>{_LABEL - 1}} ", "dim"), ("".join(cells), style(colour))], None))
    axis = [" "] * min(room, starts[-1] + 4)
    free = 0
    for i, number in enumerate(numbers):
        text = str(number)
        place = starts[i]
        fits = free <= place <= len(axis) - len(text)
        if fits and (i % 5 == 0 or wide > len(text)):
            axis[place : place + len(text)] = text
            free = place + len(text) + 1
    entries.append(([(f"{'pass':>{_LABEL - 1}} ", "dim"), ("".join(axis), "dim")], None))
    return entries


def _legend(name: str, top: str, over: str, width: int, colours: Palette) -> Line:
    """What the bars of passes mean. The top of their scale, which stands beside them too, gives way first."""
    marks = sum(len(kind) + 4 for kind in CLASSES)
    name = tail(name, min(cell_len(name), max(1, width - marks - 3)))
    line: list[tuple[str, str | Style]] = [(f" {name} ", "dim")]
    for kind, fill in zip(CLASSES, colours.fills, strict=True):
        line += [(f" {fill if colours.fills.strip('█') else '■'}", style(getattr(colours, kind))), (f" {kind} ", "dim")]
    used = cell_len(name) + 2 + marks
    said = [", ".join(filter(None, (f"to {top}", over))), over, ""]
    return [*line, (next(f" {words}" for words in said if used + len(words) < width or not words), "dim")]


def _below_passes(
    session: Session, block: int, numbers: list[int], colours: Palette
) -> list[tuple[str, list[int], str]]:
    """Lines below the passes: how many pages each sent, and where any record is wrong how many of it are."""
    passes = session.stats.passes
    lines = [("pages", [passes[block, n].pages for n in numbers], colours.calm(colours.dup))]
    wrong = [session.wrong_in[block, n] for n in numbers]
    word = "wrong" if session.knows_wrong else "suspect"
    return [*lines, (word, wrong, colours.wrong)] if any(wrong) else lines


def _of_class(wire: NDArray[np.int64], name: str) -> int:
    """The bytes of the kinds that a class of `CLASSES` has."""
    if name == "dup":
        return int(wire[Kind.DUP])
    if name == "delta":
        return int(wire[list(DELTA_KINDS)].sum())
    return int(wire[list(PAGE_KINDS)].sum() - wire[Kind.DUP] - wire[list(DELTA_KINDS)].sum())


def _passes_below(
    numbers: list[int],
    sizes: NDArray[np.int64],
    first: dict[int, int],
    name: str,
    width: int,
    colours: Palette,
) -> list[Entry]:
    """A line a pass, with its bytes."""
    most = max(1, int(sizes.sum(1).max()))
    entries: list[Entry] = [([(f" of {name}, by bytes", "dim")], None)]
    for number, parts in zip(numbers, sizes.tolist(), strict=True):
        total = sum(parts)
        cells = max(1, round(total * max(8, width - 22) / most)) if total else 0
        bar = thin([(n, getattr(colours, c)) for n, c in zip(parts, CLASSES, strict=True)], cells, colours.fills)
        entries.append(([(f" {number:4} ", "strong"), (f"{total:12,} ", ""), *bar], Goto("records", first.get(number))))
    return entries


# -- pages, findings, blocks, devices ----------------------------------------------------------------------------------


def hottest(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The pages that were sent most, with the passes in which they came."""
    hot = session.hot
    if hot is None or not len(hot):
        return _nothing(session, "no page was sent", hot is not None)
    names = session.facts.names if session.facts is not None else ()
    last = max(1, int(hot.passes.max(initial=1)))
    named = min(24, max(16, width - 30))
    room = max(6, width - named - 11)
    entries: list[Entry] = [
        ([(f" {'page':<{named}}{'sent':>6}  {'in which passes' if room > 15 else 'passes'}", "dim")], Goto("hot"))
    ]
    for i in range(min(len(hot), max(1, height - 1))):
        block, page = int(hot.block[i]), int(hot.address[i])
        name = page_name(names[block] if block < len(names) else b"", page, named)
        came = _came(np.array(hot.passes_of(i), np.int64), last, room)
        most = max(1, int(came.max()))
        marks = "".join(_SPARK[min(5, int(n) * 6 // (most + 1))] if n else "·" for n in came)
        colour = colours.delta if 2 * int(hot.deltas[i]) > int(hot.records[i]) else colours.page
        line: Line = [(f" {name}", ""), (f"{int(hot.records[i]):>6,}  ", "strong"), (marks, style(colour))]
        entries.append((line, Goto("page", None, (block, page))))
    return entries


def _came(passes: NDArray[np.int64], last: int, room: int) -> NDArray[np.int64]:
    """How often a page came in each of ``room`` parts of ``last`` passes. A pass that is wider than a part fills it."""
    if last > room:
        return np.bincount((passes - 1) * room // last, minlength=room)[:room]
    counts = np.bincount(passes, minlength=last + 1)
    return counts[1 + np.arange(room) * last // room]


def wrong_over_time(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """How many pages are wrong at each moment. Where none is: the records by kind."""
    level, film = session.level, session.film
    if film is None or not film.rows:
        return _nothing(session, "no record carries a page", film is not None)
    room, tall = max(8, width - 2), max(1, height - 2)
    if level is None or not level.any():
        parts = film.across(room)
        fills = [colours.calm(getattr(colours, c)) for c in CLASSES]
        top = int(parts.sum(1).max())
        none = "no page is wrong" if session.knows_wrong else "no page is called wrong"
        if session.verdict is None:
            none = "not verified" if session.verified else "not verified yet"
        said = f" {none}; bytes sent, to {sized(top)}" if top else " no page was sent"
        head: Line = [(said if len(said) <= width or not top else f" bytes sent, to {sized(top)}", "dim")]
        body = stacked(parts, fills, tall, max(1, top), marks=colours.fills)
    else:
        starts = np.arange(room) * len(level) // room
        most = np.maximum.reduceat(level, starts) if room < len(level) else level[starts]
        told = session.verdict.pages_wrong if session.verdict is not None else None
        end = int(level[-1]) if told is None else told  # the last part has the most at once, not the end
        shade = style(colours.text(colours.wrong if end else colours.good), bold=True)
        wrong = "wrong" if session.knows_wrong else "maybe wrong"
        told_end = f" {counted(end, 'page')} {wrong} at the end"
        most_at_once = f", at most {int(level.max()):,} at once"
        if len(told_end) + len(most_at_once) > width:
            told_end, most_at_once = f" {end:,} {wrong} at the end", f", at most {int(level.max()):,}"
        head = [(told_end, shade), (most_at_once, "dim")]
        body = stacked(most[:, None], [colours.calm(colours.wrong)], tall, int(level.max()))
    records = session.table.records if session.table is not None else 0
    foot = f" record 1{records:>{max(1, room - 8)}}" if records else ""
    return [(head, TO_FINDINGS), *(([(" ", ""), *line], None) for line in body), ([(foot, "dim")], None)]


def blocks(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The RAM blocks, with what came of each."""
    facts = session.facts
    if facts is None or not facts.blocks:
        return _nothing(session, "the stream lists no RAM block")
    stats, sums = session.stats, session.stats.blocks()
    uses = [
        BlockUse(block, int(stats.records[i]), int(stats.pass_counts[i]))  # one by one: the thread that reads adds
        for i, block in enumerate(facts.blocks[:BLOCKS_MAX])
    ]
    sizes = [exactly(use.block.length) if use.block.declared else "not listed" for use in uses]
    size_room, count_room = max(7, *map(len, sizes)) + 1, max(9, len(f"{max(u.records for u in uses):,}") + 2)
    addressed = any(use.block.address is not None for use in uses)
    wide, drawn = width >= _LABELLED, width >= _KINDS
    told = size_room + count_room + (8 + 12 * addressed if wide else 0)
    name_room = max(8, min(max(len(shown(u.block.name)) for u in uses), width - told - 1 - (_BAR + 2) * drawn))
    bars = max(4, width - name_room - told - 4)
    more = f"{'passes':>8}" + (f"{'address':>12}" if addressed else "") if wide else ""
    heads = f" {'block':<{name_room}}{'size':>{size_room}}{'records':>{count_room}}{more}" + (
        "  kinds" if drawn else ""
    )
    entries: list[Entry] = [([(heads, "dim")], None)]
    for i, (use, size) in enumerate(zip(uses, sizes, strict=True)):
        text = f"{size:>{size_room}}{use.records:>{count_room},}"
        if wide:
            text += f"{use.passes:>8,}" + (f"{_address(use):>12}" if addressed else "")
        sent = sums.get(i) if drawn else None
        parts = [] if sent is None else [(_of_class(sent.records, c), getattr(colours, c)) for c in CLASSES]
        bar = thin(parts, bars, colours.fills) if parts else []
        line: Line = [
            (f" {tail(shown(use.block.name), name_room)}", ""),
            (text, "dim"),
            ("  " if bar else "", ""),
            *bar,
        ]
        entries.append((line, Goto("map", None, (i, 0))))
    if len(facts.blocks) > BLOCKS_MAX:
        entries.append(([(f" and {len(facts.blocks) - BLOCKS_MAX:,} more", "dim")], None))
    if not wide:
        entries += text_lines(f"passes: {_passes_of(uses)}", width, None, "dim")
        if addressed:
            places = ", ".join(f"{shown(u.block.name)} {_address(u)}" for u in uses if u.block.address is not None)
            entries += text_lines(f"addresses: {places}", width, None, "dim")
    return entries


def _address(use: BlockUse) -> str:
    return "" if use.block.address is None else f"{use.block.address:#x}"


def _passes_of(uses: list[BlockUse]) -> str:
    """How many passes there were over each block. Most blocks have as many as others, and are not named."""
    usual = Counter(use.passes for use in uses).most_common(1)[0][0]
    named = [f"{shown(use.block.name)} {use.passes:,}" for use in uses if use.passes != usual]
    return ", ".join([*named, f"the others {usual:,}" if named else f"{usual:,} over each block"])


def devices(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The names of the device sections."""
    facts = session.facts
    if facts is None:
        return _nothing(session, "")
    names = Counter(shown(s.owner.idstr) for s in facts.sections.of_types(SectionType.FULL) if s.owner is not None)
    if not names:
        return _nothing(session, "no device section")
    words = [name if count == 1 else f"{name} x {count}" for name, count in names.items()]
    across = max(1, width // 24)
    entries: list[Entry] = []
    for start in range(0, len(words), across):
        row = [(" " + fit(word, width // across - 1), "") for word in words[start : start + across]]
        entries.append((row, Goto("fields")))
    return entries
