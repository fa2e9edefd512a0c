"""The parts of the overview, as lines for a width and a height. Each line may lead to another screen."""

from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.style import Style

from ...analysis.facts import container_words, dialect_words
from ...model import Facts
from ...ram.elsewhere import MISSING
from ...text import inert, shown
from ...verify.cause import Sure
from ...verify.rules import Severity
from ..conclusion import shortened
from ..palette import Palette, style
from ..session import Session
from ..story import chain, in_lines
from ..thumbnail import COLUMNS, LINES, Thumbnail
from ..widgets.lines import Line, fit, whole
from ..widgets.pane import Entry, Goto
from ..words import SEVERITY_MARK, SEVERITY_STYLE, counted, escaped, wrapped

if TYPE_CHECKING:
    from ...verify.receivers import Outcome
    from ...verify.verdict import Verdict

_LABEL_CELLS = 14  # of the label of a line about the capture
_VALUE_LEAST = 24  # cells of its value. Where there are fewer, the label stands before it
_CAUSES = 4
_NAMES = 23  # cells of the names of receivers
_TOLD_LEAST = 20  # cells of what one makes of it
_RULES = 5
_WITH_MAP = 90  # columns of the verdict from which on a small map stands beside it
TO_FINDINGS = Goto("findings")


def text_lines(text: str, width: int, where: Goto | None = None, shade: str = "") -> list[Entry]:
    """Text in as many lines as it needs. The first of them leads where all of it does."""
    return [([(line, shade)], where if i == 0 else None) for i, line in enumerate(wrapped(text, width))]


# -- the verdict -------------------------------------------------------------------------------------------------------


def verdict(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """What is wrong, why, and who loads it. Until that is known: how far it is."""
    if session.verdict is None:
        now = "verifying: findings are counted at its end" if session.complete else "reading: it is verified afterwards"
        told = _severities(session, width, height) if session.findings.total else []
        return [*text_lines(session.trouble or now, width, TO_FINDINGS, "warning"), *told]
    from ...verify.sentences import in_short

    found = session.verdict
    entries = text_lines(found.summary, width, _first_wrong(session, found), "strong")
    for cause in found.causes[:_CAUSES]:
        says_sure = cause.sure is not Sure.ONE_OF and cause.sure.value != cause.name.value
        sure = f" {cause.sure.value.capitalize()}." if says_sure else ""
        if cause.sentence.rstrip(".") not in found.summary:
            entries += text_lines(f"{cause.sentence}{sure}", width, TO_FINDINGS)
        else:  # the sentence stands above
            entries += text_lines(f"Cause: {in_short(cause)}", width, TO_FINDINGS)
    if len(found.causes) > _CAUSES:
        entries.append(([(f" and {counted(len(found.causes) - _CAUSES, 'more cause')}", "dim")], TO_FINDINGS))
    entries += _story(session, found, width, colours)
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


def _story(session: Session, found: "Verdict", width: int, colours: Palette) -> list[Entry]:
    """The chain that led to the first record whose page stays wrong, else to the first bad one."""
    number = found.first_lasting_record or found.first_bad_record
    row = session.table.row_of(number) if session.table is not None and number is not None else None
    finding = None if row is None else session.findings.worst(row)
    links = [] if finding is None else chain(finding)
    lines = in_lines(links, width - 1, colours) if links else []
    return [*(([(" ", ""), *line], None if i else _row(session, number)) for i, line in enumerate(lines)), ([], None)]


def _receivers(session: Session, found: "Verdict", width: int, colours: Palette) -> list[Entry]:
    """What each receiver makes of it. Neighbours that make the same of it share a line."""
    entries: list[Entry] = []
    loading_first = sorted(found.receivers.items(), key=lambda item: not item[1].loads)
    for word, group in groupby(loading_first, key=lambda item: _outcome(item[1])):
        names, told = zip(*group, strict=True)
        mark, shade = "○", style(colours.dim)
        if told[0].loads:
            mark, shade = "?" if told[0].wrong_pages is None else "●", _shade(told[0].wrong_pages, colours)
        name = ", ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"
        where = None if told[0].loads else _row(session, told[0].stops_at)
        for i, words in enumerate(_told(word, max(_TOLD_LEAST, width - _NAMES - 4))):
            head = [(f" {mark} ", shade), (f"{name:<{_NAMES}}", "")] if not i else [(" " * (_NAMES + 3), "")]
            entries.append(([*head, (words, shade)], None if i else where))
    return entries


def _shade(wrong_pages: int | None, colours: Palette) -> Style:
    """The colour of what is said of a stream that loads."""
    if wrong_pages is None:
        return style(colours.text(colours.unknown))
    return style(colours.text(colours.wrong if wrong_pages else colours.good))


def _told(word: str, room: int) -> list[str]:
    """What a receiver makes of it, shortened to a line that still says where and why, else its first sentence."""
    short = shortened(word, room)
    tells = short == word or ": " in short or " at record " in short
    return [short] if len(short) <= room and tells else wrapped(word.partition(". ")[0], room, "")


def _outcome(told: "Outcome") -> str:
    """What a receiver makes of it, in a few words."""
    from ...verify.sentences import with_wrong

    if told.loads is None:
        return f"cannot be told: {told.reason}" if told.reason else "cannot be told"
    if told.loads:
        return f"loads it{with_wrong(told)}"
    if told.goes_on:
        return f"complains, and loads it{with_wrong(told)}: {told.reason}"
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
    return _row(session, number) or TO_FINDINGS


def _severities(session: Session, width: int, height: int) -> list[Entry]:
    """How many findings there are by severity and by rule, in two lines where there is no ``height`` for more."""
    line: list[tuple[str, str | Style]] = []
    for severity in Severity:
        count = session.findings.counts[severity]
        shade = SEVERITY_STYLE[severity] if count else "dim"
        line.append((f" {SEVERITY_MARK[severity]} {counted(count, severity.value)}  ", shade))
    entries: list[Entry] = [(line, TO_FINDINGS)]
    rules = session.findings.rules.most_common(_RULES)
    if not height and rules:
        text = " · ".join(f"{count:,} {rule}" for rule, count in rules)
        return [*entries, (whole([(f" {text}", "dim")], width), TO_FINDINGS)]
    return entries + [([(f" {count:7,} {rule}", "dim")], TO_FINDINGS) for rule, count in rules]


# -- the stream --------------------------------------------------------------------------------------------------------


def stream(session: Session, width: int, height: int, colours: Palette) -> list[Entry]:
    """What was opened, what shows its dialect, who sent it, and whether that is all of it: all that `info` knows."""
    facts = session.facts
    if facts is None:
        return text_lines(escaped(session.capture.name), width)
    entries = _state(session, facts, width)
    pairs = session.about or _while_reading(session, facts)
    if session.verdict is not None:  # what the scan alone shows would contradict it
        pairs = [(name, value) for name, value in pairs if name != "verdict"]
    label = ""
    for name, value in _guest_early(pairs):
        label = name or label
        entries += _labelled(name, inert(value), width, _leads(session, label))
    return entries + _sender(session, width)


def _guest_early(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is known of the guest comes before what shows the dialect: it is what one wants to know first."""
    guest: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    label = ""
    for name, value in pairs:
        label = name or label
        (guest if label == "guest" else others).append((name, value))
    at = next((i for i, (name, _) in enumerate(others) if name == "RAM section"), len(others))
    return [*others[:at], *guest, *others[at:]]


def _while_reading(session: Session, facts: Facts) -> list[tuple[str, str]]:
    """What is known before all was read."""
    source = session.capture.source
    version = "no RAM section yet" if facts.ram_version is None else f"version {facts.ram_version}"
    pairs = [
        ("capture", f"{escaped(source.name)}, {source.size or 0:,} bytes"),
        ("container", "not known yet" if facts.file_version is None else container_words(facts.file_version)),
        ("RAM section", f"{version}, pages of {facts.page_size:,} bytes"),
        ("dialect", dialect_words(facts.reading)),
    ]
    return pairs if facts.machine is None else [*pairs, ("machine", shown(facts.machine))]


def _labelled(label: str, value: str, width: int, where: Goto | None) -> list[Entry]:
    """A label and its value, in as many lines as that needs."""
    room = width - _LABEL_CELLS - 2
    if room < _VALUE_LEAST:
        return text_lines(f"{label}: {value}" if label else value, width, where)
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
        return TO_FINDINGS
    if label in ("physical map", "not placed", "mapped-ram", "discarded") or label.startswith("0x"):
        return Goto("map")
    return Goto("fields")


def _state(session: Session, facts: Facts, width: int) -> list[Entry]:
    """What runs now and how far it is, and what would help where something is damaged or missing."""
    entries: list[Entry] = []
    if not session.complete:
        size = session.capture.source.size or 0
        share = f", {100 * session.reached // size} %" if size else ""
        entries += text_lines(f"reading: {counted(session.reached, 'byte')} so far{share}", width, None, "warning")
    elif session.running is not None:
        done = "".join(f"{name} ✓ · " for name, _, end in session.steps if end is not None)
        entries += text_lines(f"{done}{session.running} …", width, None, "warning")
    if facts.damage is not None:
        text = f"damaged at {facts.damage.offset:#x}: {facts.damage.message}"
        entries += text_lines(text, width, TO_FINDINGS, "error")
    return entries + helps(session, facts, width)


def helps(session: Session, facts: Facts, width: int) -> list[Entry]:
    """What the user can do where the capture is damaged or channels are missing."""
    entries: list[Entry] = []
    if session.complete and facts.damage is not None and not session.capture.salvaged:
        text = "Enter: read on after the damage (as --salvage does)"
        entries += text_lines(text, width, Goto("salvage"), "linked")
    missing = session.complete and any(p.rule == MISSING for p in facts.problems)
    if missing:
        text = "Enter: name the files of the missing channels (--channel)"
        entries += text_lines(text, width, Goto("channels"), "linked")
    return entries


def _sender(session: Session, width: int) -> list[Entry]:
    sender = session.fingerprint
    if sender is None:
        return text_lines(f"sender: {session.no_fingerprint}", width, None, "dim")
    if not sender.choices:
        return text_lines("sender: no page shows it", width, None, "dim")
    build = f"{sender.build} build" if sender.build is not None else "build not shown"
    text = f"sender: {build}, policy {sender.policy.value}; "
    text += f"the model predicts {sender.predicted:,} of {sender.choices:,} choices"
    text += "" if sender.first_miss is None else f"; it first misses record {sender.first_miss}"
    most = "" if sender.cache_max is None else f", at most {sender.cache_max:,}"
    where = _row(session, sender.first_miss)
    return [
        *text_lines(text, width, where),
        *text_lines(f"its cache: at least {sender.cache_min:,} bytes{most}", width),
    ]
