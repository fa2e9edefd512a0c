"""The parts of the overview, as lines for a width and a height. Each line may lead to another screen."""

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style

from ...analysis.facts import dialect_words
from ...analysis.film import CLASSES
from ...formats.qevm import SectionType
from ...formats.ram import DELTA_KINDS, PAGE_KINDS, Kind
from ...model import Facts
from ...ram.elsewhere import MISSING
from ...text import inert, shown
from ...verify.cause import Sure
from ...verify.rules import Severity
from ..charts import cropped, stacked, thin
from ..conclusion import shortened
from ..palette import Palette, style
from ..session import Session
from ..story import chain, in_line
from ..thumbnail import COLUMNS, LINES, Thumbnail
from ..widgets.lines import Line, fit, tail, whole
from ..widgets.pane import Entry, Goto
from ..words import KIND_STYLE, SEVERITY_MARK, SEVERITY_STYLE, counted, escaped, kind_word, wrapped

if TYPE_CHECKING:
    from ...verify.receivers import Outcome
    from ...verify.verdict import Verdict

BLOCKS_MAX = 64  # blocks that are listed. A stream can claim tens of thousands
_LABEL_CELLS = 13  # of the label of a line about the capture
_VALUE_LEAST = 24  # cells of its value. Where there are fewer, the label stands before it
_BAR_MOST = 16  # cells of a bar
_CAUSES = 4
_NAMES = 23  # cells of the names of receivers
_TOLD_LEAST = 20  # cells of what one makes of it
_KINDS = 44  # columns from which on a bar of the kinds of a block's records stands beside their number
_SHARED = 29  # columns from which on a kind's share of the bytes stands beside the number of its records
_LABELLED = 45  # columns from which on bytes stand beside the share of a kind
_RULES = 5
_WITH_MAP = 90  # columns of the verdict from which on a small map stands beside it
_WITH_COUNTS = 9  # lines from which on the pages of each pass, and its wrong records, stand below its bytes
_TO_FINDINGS = Goto("findings")
_SPARK = "▁▂▃▄▅▆"  # no full block: those of neighbouring lines would grow together


def _text(text: str, width: int, where: Goto | None = None, shade: str = "") -> list[Entry]:
    """Text in as many lines as it needs. The first of them leads where all of it does."""
    return [([(line, shade)], where if i == 0 else None) for i, line in enumerate(wrapped(text, width))]


# -- the verdict -------------------------------------------------------------------------------------------------------


def verdict(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """What is wrong, why, and who loads it. Until that is known: how far it is."""
    if session.verdict is None:
        state = session.trouble or ("verifying: what was found until now is below" if session.complete else "reading")
        return [([(f" {state}", "warning")], None), *_severities(session, width, height)]
    found = session.verdict
    entries = _text(found.summary, width, _first_wrong(session, found), "strong")
    for cause in found.causes[:_CAUSES]:
        sure = "" if cause.sure is Sure.ONE_OF else f" {cause.sure.value.capitalize()}."
        if cause.sentence not in found.summary:
            entries += _text(f"{cause.sentence}{sure}", width, _TO_FINDINGS)
        elif sure:  # the sentence stands above
            entries += _text(f"Cause: {cause.name.value}.{sure}", width, _TO_FINDINGS)
    if len(found.causes) > _CAUSES:
        entries.append(([(f" and {counted(len(found.causes) - _CAUSES, 'more cause')}", "dim")], _TO_FINDINGS))
    entries += _story(session, found, colours)
    drawn = session.thumbnail if width >= _WITH_MAP and height > LINES + 1 else None
    room = width - COLUMNS - 2 if drawn is not None else width
    told = _receivers(session, found, room, colours)
    if height and len(entries) + len(told) > height:
        entries.pop()  # the blank line before them
    entries += [*told, *_severities(session, width, height)]
    return entries if drawn is None else _beside(entries, drawn, room, height, colours)


def _beside(entries: list[Entry], what: Thumbnail, room: int, height: int, colours: Palette) -> list[Entry]:
    """Lines with the map of a block at the right of them, at the first place where they leave room for it."""
    drawn: list[Line] = [[(fit(f"{shown(what.name)} at the end", COLUMNS), "dim")], *what.lines(colours)]
    taken = [sum(cell_len(text) for text, _ in line) for line, _ in entries] + [0] * height
    top = next((y for y in range(1, height - len(drawn) + 1) if max(taken[y : y + len(drawn)]) <= room), None)
    if top is None:
        return entries
    out = [*entries, *[([], None)] * (top + len(drawn) - len(entries))]
    for y, line in enumerate(drawn, top):
        out[y] = [*out[y][0], (" " * (room + 1 - taken[y]), ""), *line], out[y][1]
    return out


def _story(session: Session, found: "Verdict", colours: Palette) -> list[Entry]:
    """The chain that led to the first record whose page stays wrong, else to the first bad one."""
    number = found.first_lasting_record or found.first_bad_record
    row = session.table.row_of(number) if session.table is not None and number is not None else None
    finding = None if row is None else session.findings.worst(row)
    links = [] if finding is None else chain(finding)
    return [([(" ", ""), *in_line(links, colours)], _row(session, number)), ([], None)] if links else [([], None)]


def _receivers(session: Session, found: "Verdict", width: int, colours: Palette) -> list[Entry]:
    """What each receiver makes of it. Neighbours that make the same of it share a line."""
    entries: list[Entry] = []
    loading_first = sorted(found.receivers.items(), key=lambda item: not item[1].loads)
    for word, group in groupby(loading_first, key=lambda item: _outcome(item[1])):
        names, told = zip(*group, strict=True)
        mark, shade = "○", style(colours.dim)
        if told[0].loads:
            mark, shade = "●", style(colours.text(colours.wrong if told[0].wrong_pages else colours.good))
        name = ", ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"
        where = None if told[0].loads else _row(session, told[0].stops_at)
        for i, words in enumerate(_told(word, max(_TOLD_LEAST, width - _NAMES - 4))):
            head = [(f" {mark} ", shade), (f"{name:<{_NAMES}}", "")] if not i else [(" " * (_NAMES + 3), "")]
            entries.append(([*head, (words, shade)], None if i else where))
    return entries


def _told(word: str, room: int) -> list[str]:
    """What a receiver makes of it, shortened to a line that still says where and why, else its first sentence."""
    short = shortened(word, room)
    tells = short == word or ": " in short or " at record " in short
    return [short] if len(short) <= room and tells else wrapped(word.partition(". ")[0], room, "")


def _outcome(told: "Outcome") -> str:
    """What a receiver makes of it, in a few words."""
    if told.loads is None:
        return f"cannot be told: {told.reason}" if told.reason else "cannot be told"
    if told.loads:
        return f"loads it, with {counted(told.wrong_pages, 'wrong page')}" if told.wrong_pages else "loads it"
    at = f" at record {told.stops_at}" if told.stops_at is not None else ""
    return f"stops{at}: {told.reason}"


def _row(session: Session, record: int | None) -> Goto | None:
    if record is None or session.table is None:
        return None
    row = session.table.row_of(record)
    return None if row is None else Goto("page", row)


def _first_wrong(session: Session, found: "Verdict") -> Goto:
    """The first record whose page stays wrong, else the first that is bad, else the findings."""
    number = found.first_lasting_record or found.first_bad_record
    return _row(session, number) or _TO_FINDINGS


def _severities(session: Session, width: int, height: int) -> list[Entry]:
    """How many findings there are by severity and by rule, in two lines where there is no ``height`` for more."""
    line: list[tuple[str, str | Style]] = []
    for severity in Severity:
        count = session.findings.counts[severity]
        shade = SEVERITY_STYLE[severity] if count else "dim"
        line.append((f" {SEVERITY_MARK[severity]} {counted(count, severity.value)}  ", shade))
    entries: list[Entry] = [(line, _TO_FINDINGS)]
    rules = session.findings.rules.most_common(_RULES)
    if not height and rules:
        text = " · ".join(f"{count} {rule}" for rule, count in rules)
        return [*entries, (whole([(f" {text}", "dim")], width), _TO_FINDINGS)]
    return entries + [([(f" {count:7} {rule}", "dim")], _TO_FINDINGS) for rule, count in rules]


# -- the stream --------------------------------------------------------------------------------------------------------


def stream(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """What was opened, what shows its dialect, who sent it, and whether that is all of it: all that `info` knows."""
    facts = session.facts
    if facts is None:
        return _text(escaped(session.capture.name), width)
    entries = _state(session, facts, width)
    pairs = session.about or _while_reading(session, facts)
    if session.verdict is not None:  # what the scan alone shows would contradict it
        pairs = [(name, value) for name, value in pairs if name != "verdict"]
    label = ""
    for name, value in pairs:
        label = name or label
        entries += _labelled(name, inert(value), width, _leads(session, label))
    return entries + _sender(session, width)


def _while_reading(session: Session, facts: Facts) -> list[tuple[str, str]]:
    """What is known before all was read."""
    source = session.capture.source
    version = "no RAM section yet" if facts.ram_version is None else f"version {facts.ram_version}"
    pairs = [
        ("capture", f"{escaped(source.name)}, {source.size or 0:,} bytes"),
        ("container", f"QEVM, file version {facts.file_version}"),
        ("RAM section", f"{version}, pages of {facts.page_size} bytes"),
        ("dialect", dialect_words(facts.reading)),
    ]
    return pairs if facts.machine is None else [*pairs, ("machine", shown(facts.machine))]


def _labelled(label: str, value: str, width: int, where: Goto | None) -> list[Entry]:
    """A label and its value, in as many lines as that needs."""
    room = width - _LABEL_CELLS - 2
    if room < _VALUE_LEAST:
        return _text(f"{label}: {value}" if label else value, width, where)
    lines = wrapped(value, room, "")
    heads = [fit(label, _LABEL_CELLS), *[" " * _LABEL_CELLS] * (len(lines) - 1)]
    return [
        ([(f" {head} ", "dim"), (line, "")], where if i == 0 else None)
        for i, (head, line) in enumerate(zip(heads, lines, strict=True))
    ]


def _leads(session: Session, label: str) -> Goto:
    """Where a line about the capture leads, by its label."""
    if label == "dialect" and session.table is not None and session.facts is not None:
        seen = session.facts.reading.evidence.offset
        row = None if seen is None else session.table.at(seen)
        return Goto("records") if row is None else Goto("page", row)
    if label in ("verdict", "complete", "left out", "channel"):
        return _TO_FINDINGS
    if label in ("physical map", "not placed", "mapped-ram", "discarded") or label.startswith("0x"):
        return Goto("map")
    return Goto("fields")


def _state(session: Session, facts: Facts, width: int) -> list[Entry]:
    """What runs now and how far it is, and what would help where something is damaged or missing."""
    entries: list[Entry] = []
    if not session.complete:
        size = session.capture.source.size or 0
        share = f", {100 * session.reached // size} %" if size else ""
        entries += _text(f"reading: {session.reached:,} bytes so far{share}", width, None, "warning")
    elif session.running is not None:
        done = "".join(f"{name} ✓ · " for name, _, end in session.steps if end is not None)
        entries += _text(f"{done}{session.running} …", width, None, "warning")
    if facts.damage is not None:
        text = f"damaged at {facts.damage.offset:#x}: {facts.damage.message}"
        entries += _text(text, width, _TO_FINDINGS, "error")
    return entries + _helps(session, facts, width)


def _helps(session: Session, facts: Facts, width: int) -> list[Entry]:
    """What the user can do where the capture is damaged or channels are missing."""
    entries: list[Entry] = []
    if session.complete and facts.damage is not None and not session.capture.salvaged:
        text = "Enter: read on after the damage (as --salvage does)"
        entries += _text(text, width, Goto("salvage"), "linked")
    missing = session.complete and any(p.rule == MISSING for p in facts.problems)
    if missing:
        entries += _text("Enter: name the files of the missing channels (--channel)", width, Goto("channels"), "linked")
    return entries


def _sender(session: Session, width: int) -> list[Entry]:
    sender = session.fingerprint
    if sender is None:
        return _text(f"sender: {session.no_fingerprint}", width, None, "dim")
    build = f"{sender.build} build" if sender.build is not None else "build not shown"
    text = f"sender: {build}, policy {sender.policy.value}; the model predicts {sender.predicted} of {sender.choices}"
    text += " choices" + ("" if sender.first_miss is None else f"; it first misses record {sender.first_miss}")
    most = "" if sender.cache_max is None else f", at most {sender.cache_max}"
    where = _row(session, sender.first_miss)
    return [*_text(text, width, where), *_text(f"its cache: at least {sender.cache_min} bytes{most}", width)]


# -- records and passes ------------------------------------------------------------------------------------------------


def records(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """How many records and bytes there are of each kind."""
    total = session.stats.total
    every = max(1, int(total.wire.sum()))
    wide = width >= _LABELLED
    shared = width >= _SHARED
    heads = f" {'kind':10} {'records':>9}" + (f" {'bytes':>14}" if wide else "") + (f" {'share':>6}" if shared else "")
    entries: list[Entry] = [([(heads, "dim")], None)]
    for kind in Kind:
        count, size = int(total.records[kind]), int(total.wire[kind])
        if count:
            text = f" {count:9}" + (f" {size:14}" if wide else "") + (f" {100 * size / every:5.1f}%" if shared else "")
            entries.append(([(" " + fit(kind_word(kind), 10), KIND_STYLE.get(kind, "")), (text, "")], Goto("records")))
    return entries


def passes(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The bytes of each pass over the block with most pages, as bars side by side where there is room, else below."""
    if not session.stats.passes:
        return [([(" none yet", "dim")], None)]
    stats = session.stats
    blocks = stats.blocks()
    main = max(blocks, key=lambda b: blocks[b].pages)
    names = session.facts.names if session.facts is not None else ()
    name = shown(names[main]) if 0 <= main < len(names) else "no block"
    tallies = {number: sums for (block, number), sums in stats.passes.items() if block == main}
    numbers = sorted(tallies)
    sizes = np.array([[_of_class(tallies[n].wire, c) for c in CLASSES] for n in numbers], np.int64)
    first = dict(session.film.passes) if session.film is not None else {}
    room = width - 9
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
    scale = f"to {_short(top)}" + (f", pass {longest} runs over: {_short(int(total[0]))}" if runs_over else "")
    legend: list[tuple[str, str | Style]] = [(f" {name}  ", "dim")]
    for kind in CLASSES:
        legend += [("■", style(getattr(colours, kind))), (f" {kind}  ", "dim")]
    entries: list[Entry] = [([*legend, (scale, "dim")], None)]
    fills = [colours.calm(getattr(colours, c)) for c in CLASSES]
    below = _below_passes(session, main, numbers, colours) if height >= _WITH_COUNTS else []
    for y, line in enumerate(stacked(drawn, fills, height - 2 - len(below), max(1, top), wide, gap)):
        label = f"{_short(top):>7} " if y == 0 else " " * 8
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
        entries.append(([(f"{label:>7} ", "dim"), ("".join(cells), style(colour))], None))
    axis = [" "] * min(room, starts[-1] + 4)
    free = 0
    for i, number in enumerate(numbers):
        text = str(number)
        place = starts[i]
        fits = free <= place <= len(axis) - len(text)
        if fits and (i % 5 == 0 or wide > len(text)):
            axis[place : place + len(text)] = text
            free = place + len(text) + 1
    entries.append(([(f"{'pass':>7} ", "dim"), ("".join(axis), "dim")], None))
    return entries


def _below_passes(
    session: Session, block: int, numbers: list[int], colours: Palette
) -> list[tuple[str, list[int], str]]:
    """Lines below the passes: how many pages each sent, and where any record is wrong how many of it are."""
    passes = session.stats.passes
    lines = [("pages", [passes[block, n].pages for n in numbers], colours.calm(colours.dup))]
    wrong = [session.wrong_in[block, n] for n in numbers]
    return [*lines, ("wrong", wrong, colours.wrong)] if any(wrong) else lines


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
        bar = thin([(n, getattr(colours, c)) for n, c in zip(parts, CLASSES, strict=True)], cells)
        entries.append(([(f" {number:4} ", "strong"), (f"{total:12} ", ""), *bar], Goto("records", first.get(number))))
    return entries


def _short(count: int) -> str:
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


# -- pages, findings, blocks, devices ----------------------------------------------------------------------------------


def hottest(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The pages that were sent most, with the passes in which they came."""
    hot = session.hot
    if hot is None or not len(hot):
        return [([(" not known yet" if hot is None else " no page was sent", "dim")], None)]
    names = session.facts.names if session.facts is not None else ()
    last = max(1, int(hot.passes.max(initial=1)))
    named = min(24, max(16, width - 30))
    room = max(6, width - named - 11)
    entries: list[Entry] = [
        ([(f" {'page':<{named}}{'sent':>6}  {'in which passes' if room > 15 else 'passes'}", "dim")], Goto("hot"))
    ]
    for i in range(min(len(hot), max(1, height - 1))):
        block, page = int(hot.block[i]), int(hot.address[i])
        name = f"{shown(names[block])}:{page:#x}" if block < len(names) else f"{page:#x}"
        came = np.bincount((np.array(hot.passes_of(i), np.int64) - 1) * room // last, minlength=room)[:room]
        most = max(1, int(came.max()))
        marks = "".join(_SPARK[min(5, int(n) * 6 // (most + 1))] if n else "·" for n in came)
        colour = colours.delta if 2 * int(hot.deltas[i]) > int(hot.records[i]) else colours.page
        line: Line = [(f" {fit(name, named)}", ""), (f"{int(hot.records[i]):>6}  ", "strong"), (marks, style(colour))]
        entries.append((line, Goto("page", None, (block, page))))
    return entries


def wrong_over_time(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """How many pages are wrong at each moment. Where none is: the records by kind."""
    level, film = session.level, session.film
    if film is None or not film.rows:
        return [([(" not known yet", "dim")], None)]
    room, tall = max(8, width - 2), max(1, height - 2)
    if level is None or not level.any():
        parts = film.across(room)
        fills = [colours.calm(getattr(colours, c)) for c in CLASSES]
        top = int(parts.sum(1).max())
        said = f" no page is wrong; bytes sent, to {_short(top)}"
        head: Line = [(said if len(said) <= width else f" bytes sent, to {_short(top)}", "dim")]
        body = stacked(parts, fills, tall, max(1, top))
    else:
        starts = np.arange(room) * len(level) // room
        most = np.maximum.reduceat(level, starts) if room < len(level) else level[starts]
        told = session.verdict.pages_wrong if session.verdict is not None else None
        end = int(level[-1]) if told is None else told  # the last part has the most at once, not the end
        shade = style(colours.text(colours.wrong if end else colours.good), bold=True)
        told_end = f" {counted(end, 'page')} wrong at the end"
        most_at_once = f", at most {int(level.max())} at once"
        if len(told_end) + len(most_at_once) > width:
            told_end, most_at_once = f" {end} wrong at the end", f", at most {int(level.max())}"
        head = [(told_end, shade), (most_at_once, "dim")]
        body = stacked(most[:, None], [colours.calm(colours.wrong)], tall, int(level.max()))
    foot = f" record 1{session.table.records if session.table is not None else 0:>{max(1, room - 8)}}"
    return [(head, _TO_FINDINGS), *(([(" ", ""), *line], None) for line in body), ([(foot, "dim")], None)]


def blocks(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The RAM blocks, with what came of each."""
    facts = session.facts
    if facts is None or not facts.blocks:
        return [([(" none yet", "dim")], None)]
    sums = session.stats.blocks()
    drawn = width >= _KINDS  # else names would have too little room
    longest = max(len(shown(block.name)) for block in facts.blocks[:BLOCKS_MAX])
    name_room = max(8, min(longest, width - (31 if drawn else 19)))
    bars = max(4, width - name_room - 22)
    heads = f" {'block':<{name_room}}{'size':>9}{'records':>9}" + ("  kinds" if drawn else "")
    entries: list[Entry] = [([(heads, "dim")], None)]
    for i, block in enumerate(facts.blocks[:BLOCKS_MAX]):
        length = _short(block.length) if block.declared else "?"
        sent = sums.get(i)
        parts = [] if sent is None else [(_of_class(sent.records, c), getattr(colours, c)) for c in CLASSES]
        bar = thin(parts, bars) if parts and drawn else []
        line: Line = [
            (f" {tail(shown(block.name), name_room)}", ""),
            (f"{length:>9}{0 if sent is None else sent.pages:>9}", "dim"),
            ("  " if bar else "", ""),
            *bar,
        ]
        entries.append((line, Goto("map", None, (i, 0))))
    if len(facts.blocks) > BLOCKS_MAX:
        entries.append(([(f" and {len(facts.blocks) - BLOCKS_MAX} more", "dim")], None))
    return entries


def devices(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """The names of the device sections."""
    facts = session.facts
    if facts is None:
        return [([(" none yet", "dim")], None)]
    names = Counter(shown(s.owner.idstr) for s in facts.sections.of_types(SectionType.FULL) if s.owner is not None)
    if not names:
        return [([(" no device section", "dim")], None)]
    words = [name if count == 1 else f"{name} x {count}" for name, count in names.items()]
    across = max(1, width // 24)
    entries: list[Entry] = []
    for start in range(0, len(words), across):
        row = [(" " + fit(word, width // across - 1), "") for word in words[start : start + across]]
        entries.append((row, Goto("fields")))
    return entries
