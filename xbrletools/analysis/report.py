"""One HTML page of what is known about a capture: what it is, its passes, its pages, what is wrong, who sent it.

The page stands alone: style and pictures are in it, there is no script, and its policy lets it load nothing. Its size
is bounded whatever the capture holds. Every text goes through `tag`, which escapes it.
"""

import html
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import ram
from ..formats.ram import PAGE_KINDS, Kind
from ..memory.image import Image, PageSpace, State
from ..memory.moments import memory_of, space_of
from ..model import Facts, Stream
from ..sender.fingerprint import Fingerprint, fingerprint
from ..table.columns import NO_BLOCK, Columns
from ..table.sections import CERTAINTY, STAGE_OF, Owner, Section
from ..text import shown
from ..verify.checker import verify
from ..verify.explain import chain, conclusion
from ..verify.receiver import outcome
from ..verify.rules import RULES, Finding, Receiver, Severity
from . import printed, stats
from .stats import Stats, Tally

PER_RULE = 10  # findings of a rule and severity that are shown
CHAIN = 12  # records behind a finding
ROWS = 40  # sections and blocks that are listed
BARS = 48  # passes of a block; where there are more, a bar is several
CHARTED = 16  # blocks that have bars, and maps
CELLS = 4096  # of a page map
ACROSS = 64  # cells in a row of it
MODELLED = 1 << 24  # pages of RAM, 64 GiB: above, the sender is not modelled
TEXT = 300  # characters of a message or of evidence
SENT = (1, 2, 4, 8, 16)  # how often a page was sent: where each shade begins

_T = TypeVar("_T")
Ints = NDArray[np.int64]


class Fate(IntEnum):
    """What became of a page, by the colour it has in a map; of a cell's pages the highest shows."""

    NEVER = 0
    DUP = 1
    PAGE = 2
    DELTA = 3
    HEALED = 4
    UNKNOWN = 5
    WRONG = 6


_FATES = {
    Fate.NEVER: "never sent",
    Fate.DUP: "last sent as a dup page",
    Fate.PAGE: "last sent in full",
    Fate.DELTA: "last sent as a delta",
    Fate.HEALED: "was wrong, healed by a later record",
    Fate.UNKNOWN: "sent, but unknown, or in part",
    Fate.WRONG: "an error names it",
}
_FATE_OF = np.full(256, Fate.NEVER, np.uint8)
_FATE_OF[[Kind.PAGE, Kind.COMPRESSED]] = Fate.PAGE
_FATE_OF[Kind.DUP] = Fate.DUP
_FATE_OF[[Kind.XBRLE, Kind.XBZRLE]] = Fate.DELTA

#: What a bar is made of, from the left: its class, its name, its kinds.
_STACK = (
    ("page", "page", (Kind.PAGE,)),
    ("compressed", "compressed", (Kind.COMPRESSED,)),
    ("delta", "delta", (Kind.XBRLE, Kind.XBZRLE)),
    ("dup", "dup", (Kind.DUP,)),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a report tells. Where a part cannot be had it is None, and ``failures`` says why, by the part's name."""

    stream: Stream
    sums: Stats
    findings: list[Finding] | None
    sender: Fingerprint | None
    image: Image | None
    failures: dict[str, str]

    @property
    def is_bad(self) -> bool:
        """Whether a finding is an error, or the capture is damaged or claims what cannot be."""
        if self.stream.facts.damage is not None or self.findings is None:
            return True
        return any(f.severity is Severity.ERROR for f in self.findings)


def gather(stream: Stream) -> Report:
    """Ask the library for all that a report tells; of a damaged capture, what stands.

    Raises:
        XbrleError: this is no migration stream.
    """
    failures: dict[str, str] = {}

    def part(name: str, make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except XbrleError as error:
            failures[name] = str(error)
            return None

    return Report(
        stream,
        stats.collect_table(stream),
        part("findings", lambda: list(verify(stream))),
        part("sender", lambda: _fingerprint(stream)),
        part("image", lambda: memory_of(stream)),
        failures,
    )


def _fingerprint(stream: Stream) -> Fingerprint:
    """The model of a sender's cache takes memory by the page of RAM, which a stream can claim any number of."""
    if len(space_of(stream)) > MODELLED:
        raise XbrleError(f"the capture claims {len(space_of(stream)):,} pages, more than is modelled here")
    return fingerprint(stream)


def page(report: Report, digests: Mapping[str, str], tool: str) -> str:
    """The HTML page. ``digests`` are those of the input, by what was digested; ``tool`` says who made it."""
    name = shown(os.fsencode(str(report.stream.name)))
    parts = (
        _head(report, name, digests),
        _what(report),
        _findings(report),
        _passes(report),
        _maps(report),
        _sender(report),
        _sections(report.stream.facts),
        tag("footer", f"Made by {tool}. Offsets are bytes in the capture, compression undone."),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=tool),
        tag("title", f"{os.path.basename(name)} - migration stream report"),  # noqa: PTH119 - a text, no path
        tag("style", Markup(_STYLE)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *parts)), lang="en") + "\n"


# -- markup -----------------------------------------------------------------------------------------------------------


class Markup(str):
    """Text that is HTML already. Only `tag` makes it, the style aside."""

    __slots__ = ()


_VOID = frozenset(("meta",))


def tag(element: str, *children: object, **attributes: object) -> Markup:
    """An element. Children that are no `Markup` are escaped, and so is every attribute; ``a_b`` is attribute a-b."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    if element in _VOID:
        return Markup(f"<{element}{written}>\n")
    return Markup(f"<{element}{written}>{_join(children)}</{element}>\n")


def _join(children: Iterable[object]) -> Markup:
    return Markup("".join(c if isinstance(c, Markup) else html.escape(str(c)) for c in children))


def _section(title: str, *children: object) -> Markup:
    return tag("section", tag("h2", title), *children)


def _note(*children: object) -> Markup:
    return tag("p", *children, class_="note")


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], right: int = 0, class_: str = "") -> Markup:
    """A table whose last ``right`` columns stand to the right."""
    edge = len(heads) - right

    def cells(element: str, row: Sequence[object]) -> list[Markup]:
        return [tag(element, c, class_="n") if i >= edge else tag(element, c) for i, c in enumerate(row)]

    body = tag("tbody", *(tag("tr", *cells("td", row)) for row in rows))
    return tag("div", tag("table", tag("thead", tag("tr", *cells("th", heads))), body, class_=class_), class_="wide")


def _pairs(rows: Iterable[tuple[object, object]]) -> Markup:
    return tag("table", tag("tbody", *(tag("tr", tag("th", a), tag("td", b)) for a, b in rows)), class_="pairs")


def _lines(texts: Iterable[object]) -> Markup:
    """Texts below each other."""
    return _join(tag("div", text) for text in texts)


def _code(text: object) -> Markup:
    return tag("code", text)


def _clipped(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]}… ({len(text)} characters)"


def _bytes(count: int) -> str:
    """A number of bytes for a person, two or three digits of it."""
    size, unit = float(count), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count:,} bytes" if unit == "bytes" else f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


# -- what it is -------------------------------------------------------------------------------------------------------


def _head(report: Report, name: str, digests: Mapping[str, str]) -> Markup:
    """The title, the verdict, and a few numbers."""
    stream, sums = report.stream, report.sums
    damage = stream.facts.damage
    counted = Counter(f.severity for f in report.findings or [])
    words = [f"{counted[s]:,} {s.value}{'s' if counted[s] != 1 else ''}" for s in Severity if counted[s]]
    if damage is not None:
        verdict = f"Damaged at offset {damage.offset:#x}: {damage.message}. What follows is what can be had."
    elif report.findings is None:
        verdict = f"The stream could not be verified: {report.failures['findings']}."
    elif report.is_bad:
        verdict = "The stream comes to its end, and there are errors in it."
    else:
        verdict = "The stream comes to its end, and no error was found."
    saved = sums.saved(sums.total)
    tiles = (
        ("size", _bytes(sums.size)),
        ("records with a page", f"{sums.total.pages:,}"),
        ("dialect", stream.dialect.name if stream.dialect else "no delta shows it"),
        (
            "deltas save",
            f"{_bytes(saved)}, {_share(saved, sums.plain(sums.total))}" if sums.total.deltas else "no delta",
        ),
        ("findings", ", ".join(words) or ("not known" if report.findings is None else "none")),
    )
    return tag(
        "header",
        tag("p", "Migration stream report", class_="over"),
        tag("h1", os.path.basename(name)),  # noqa: PTH119 - a text, no path
        tag("p", _clipped(verdict), class_="verdict bad" if report.is_bad else "verdict"),
        tag("dl", *(tag("div", tag("dt", label), tag("dd", value)) for label, value in tiles), class_="tiles"),
        _pairs([("capture", name), *((f"SHA-256 {what}", _code(digest)) for what, digest in digests.items())]),
    )


def _what(report: Report) -> Markup:
    """What `xbrle info` answers."""
    facts = report.stream.facts
    reading, evidence = facts.reading, facts.reading.evidence
    wrapper = f", inside {report.stream.source.wrapper}" if report.stream.source.wrapper else ""
    rows: list[tuple[object, object]] = [("container", f"QEVM, file version {facts.file_version}{wrapper}")]
    if facts.machine is not None:
        rows.append(("machine", shown(facts.machine)))
    if facts.capabilities:
        rows.append(("capabilities", _clipped(", ".join(map(shown, facts.capabilities)))))
    if facts.ram_version is not None:
        rows.append(("RAM section", f"version {facts.ram_version}, pages of {reading.page_size:,} bytes"))
        others = [c for c in evidence.candidates if c != evidence.name]
        dialect = evidence.name or "not shown, for want of a delta"
        if others:
            dialect += f" (could be {', '.join(others)})"
        if reading.dialect is None or reading.dialect.host_endian:
            dialect += f", {evidence.endian}-endian" if evidence.endian else ""
        seen = ", as forced" if evidence.forced else f", seen at {evidence.offset:#x}" if evidence.offset else ""
        rows.append(("dialect", _lines([dialect + seen, *map(_clipped, evidence.reasons)])))
    if facts.vmdesc is not None:
        rows.append(("VM description", f"{facts.vmdesc[1]:,} bytes at {facts.vmdesc[0]:#x}"))
    rows.append(("complete", "yes" if facts.complete else "no"))
    problems = [f"{p.rule} at {p.offset:#x}: {_clipped(p.message)}" for p in facts.problems[:PER_RULE]]
    if len(facts.problems) > PER_RULE:
        problems.append(f"and {len(facts.problems) - PER_RULE:,} more")
    rows.append(("problems", _lines(problems or ["none"])))
    if report.stream.channels:
        rows.append(("channels", "given; the numbers of records and passes are the main channel's alone"))
    return _section("What it is", _pairs(rows), tag("h3", "RAM blocks"), _blocks(report), *_kinds(report.sums))


def _blocks(report: Report) -> Markup:
    stream = report.stream
    tallies = report.sums.blocks()
    passes = Counter(block for block, _ in report.sums.passes)
    rows = [
        (
            _code(shown(b.name)),
            f"{b.length:,}" if b.declared else "not listed",
            f"{tallies[i].pages:,}" if i in tallies else "0",
            passes[i],
        )
        for i, b in enumerate(stream.blocks[:ROWS])
    ]
    return _join([_table(("block", "bytes", "records", "passes"), rows, 3), *_more(len(stream.blocks), ROWS, "blocks")])


def _more(count: int, limit: int, what: str) -> list[Markup]:
    return [_note(f"and {count - limit:,} {what} more")] if count > limit else []


def _kinds(sums: Stats) -> list[Markup]:
    """What `xbrle stats` answers of the whole."""
    total = sums.total
    rows = [
        (
            kind.name.lower(),
            f"{int(total.records[kind]):,}",
            _share(int(total.records[kind]), total.pages) if kind in PAGE_KINDS else "",
            f"{int(total.wire[kind]):,}",
            f"{int(total.payload[kind]):,}",
        )
        for kind in Kind
        if total.records[kind]
    ]
    heads = ("kind", "records", "share", "bytes on the wire", "payload")
    out = [tag("h3", "Records by kind"), _table(heads, rows, 4)]
    if total.deltas:
        plain, saved = sums.plain(total), sums.saved(total)
        out.append(
            _note(
                f"Deltas take {sums.shortest:,} to {sums.longest:,} bytes, on average "
                f"{total.delta_payload / total.deltas:,.1f}. With each delta as a full page the records would take "
                f"{plain:,} bytes; deltas save {saved:,}, {_share(saved, plain)}."
            )
        )
    stages = ", ".join(f"{k.name.lower()} {int(sums.stages[stage]):,}" for k, stage in STAGE_OF.items())
    out.append(_note(f"Records with a page by stage: {stages}."))
    return out


# -- what is wrong ----------------------------------------------------------------------------------------------------


def _findings(report: Report) -> Markup:
    """What `xbrle verify` answers."""
    if report.findings is None:
        return _section("Findings", _note("Not to be had: ", _clipped(report.failures["findings"])))
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for found in report.findings:
        groups.setdefault((found.severity, found.rule), []).append(found)
    order = list(Severity)
    ranked = sorted(groups.items(), key=lambda group: order.index(group[0][0]))
    body = [_rule(report.stream, severity, rule, members) for (severity, rule), members in ranked]
    rows = []
    for receiver in Receiver:
        told = outcome(report.stream, report.findings, receiver)
        place = "the end" if told.offset is None else f"{told.offset:#x}"
        place += "" if told.record is None else f", record {told.record}"
        rows.append(
            (_RECEIVERS[receiver], "yes" if told.loads else f"no, stops at {place}", _clipped(told.reason or ""))
        )
    verdicts = _table(("receiver", "loads it", "why not"), rows)
    return _section("Findings", *(body or [_note("None.")]), tag("h3", "What receivers make of it"), verdicts)


_RECEIVERS = {
    Receiver.VANILLA: "QEMU before the patch",
    Receiver.DEFAULT: "the posted patch",
    Receiver.DEBUG: "its debug build",
    Receiver.TODAY: "QEMU of today",
}


def _rule(stream: Stream, severity: Severity, rule: str, members: list[Finding]) -> Markup:
    """One rule's findings, the first of them with the records behind it."""
    title = tag("h3", tag("span", severity.value, class_=f"badge {severity.value}"), f" {rule} ", _count(len(members)))
    rows = [
        (
            "-" if f.offset is None else _code(f"{f.offset:#x}"),
            "-" if f.record is None else f"{f.record:,}",
            _place(f),
            _clipped(f.message),
            _evidence(f),
        )
        for f in members[:PER_RULE]
    ]
    table = _table(("offset", "record", "page", "message", "evidence"), rows, class_="findings")
    meaning = _note(RULES[rule].sentence[0].upper() + RULES[rule].sentence[1:] + ".")
    return tag("div", title, meaning, table, *_more(len(members), PER_RULE, "findings"), *_behind(stream, members[0]))


def _count(count: int) -> Markup:
    return tag("span", f"{count:,}", class_="count")


def _place(finding: Finding) -> object:
    if finding.block is None:
        return "-"
    return _code(shown(finding.block) + ("" if finding.page is None else f":{finding.page:#x}"))


def _evidence(finding: Finding) -> str:
    told = ((key.replace("_", " "), value) for key, value in finding.evidence.items() if value is not None)
    return _clipped(", ".join(f"{key} {value}" for key, value in told))


def _behind(stream: Stream, finding: Finding) -> list[Markup]:
    """What a finding amounts to, and the records behind it with their first bytes."""
    try:
        said, links = conclusion(stream, finding), chain(stream, finding)
    except XbrleError:
        return []
    out = [_note(said)] if said else []
    if not links:
        return out

    def hexadecimal(number: int | None) -> object:
        return "-" if number is None else _code(f"{number:#x}")

    rows = [
        (
            f"{link.version.record:,}",
            link.version.pass_,
            Kind(link.version.kind).name.lower(),
            _code(link.wire.hex(" ")),
            hexadecimal(link.stated),
            hexadecimal(link.receiver),
            hexadecimal(link.sender),
            link.part,
        )
        for link in [*links[: CHAIN // 2], *links[CHAIN // 2 :][-CHAIN // 2 :]]
    ]
    heads = ("record", "pass", "kind", "begins with", "sum stated", "receiver's", "sender's", "its part")
    left_out = f"; {len(links) - CHAIN:,} in their middle are left out" if len(links) > CHAIN else ""
    return [*out, _note(f"The records behind the first{left_out}:"), _table(heads, rows, class_="chain")]


# -- passes -----------------------------------------------------------------------------------------------------------


def _passes(report: Report) -> Markup:
    """A bar a pass and block, stacked by kind: of records, and of bytes on the wire."""
    sums, stream = report.sums, report.stream
    if not sums.passes:
        return _section("Passes", _note("No record carries a page."))
    names = {i: shown(b.name) for i, b in enumerate(stream.blocks)} | {NO_BLOCK: "(no block)"}
    tallies = sums.blocks()
    charted = sorted(sorted(tallies, key=lambda b: -tallies[b].page_wire)[:CHARTED])
    bars = {block: _bars(sums, block) for block in charted}
    most = max(tally.pages for mine in bars.values() for _, tally in mine)
    widest = max(tally.page_wire for mine in bars.values() for _, tally in mine)
    bodies = []
    for block, mine in bars.items():
        tally = tallies[block]
        title = f"{tally.pages:,} records, {_bytes(tally.page_wire)}"
        title += f", deltas save {_bytes(sums.saved(tally))}" if tally.deltas else ""
        group = tag("tr", tag("th", _code(names[block]), f" {title}", colspan=6), class_="group")
        rows = [_bar_row(sums, label, one, most, widest) for label, one in mine]
        bodies.append(tag("tbody", group, *rows))
    heads = tag(
        "tr",
        tag("th", "pass"),
        tag("th", "records", colspan=2),
        tag("th", "bytes on the wire", colspan=2),
        tag("th", "saved", class_="n"),
    )
    occurring = [(class_, name) for class_, name, kinds in _STACK if sums.total.records[list(kinds)].any()]
    return _section(
        "Passes",
        _legend(occurring),
        tag("div", tag("table", tag("thead", heads), *bodies, class_="bars"), class_="wide"),
        *_more(len(tallies), CHARTED, "blocks"),
        _note("A pass is one sweep of the sender over a block. All bars of a column have one scale."),
    )


def _bars(sums: Stats, block: int) -> list[tuple[str, Tally]]:
    """A block's passes in order, neighbours summed up where there are more than `BARS`."""
    mine = sorted((number, tally) for (of, number), tally in sums.passes.items() if of == block)
    step = -(-len(mine) // BARS)
    out = []
    for start in range(0, len(mine), step):
        some = mine[start : start + step]
        total = Tally()
        for _, tally in some:
            total.add(tally)
        first, last = some[0][0], some[-1][0]
        out.append((f"{first}" if first == last else f"{first}-{last}", total))
    return out


def _bar_row(sums: Stats, label: str, tally: Tally, most: int, widest: int) -> Markup:
    return tag(
        "tr",
        tag("td", label, class_="n"),
        tag("td", _bar(label, "records", tally.records, most), class_="bar"),
        tag("td", f"{tally.pages:,}", class_="n"),
        tag("td", _bar(label, "bytes", tally.wire, widest), class_="bar"),
        tag("td", f"{tally.page_wire:,}", class_="n"),
        tag("td", f"{sums.saved(tally):,}" if tally.deltas else "", class_="n"),
    )


def _bar(label: str, unit: str, of_kind: Ints, most: int) -> Markup:
    """One stacked bar, 1000 units wide for ``most``."""
    parts, at = [], 0
    for class_, name, kinds in _STACK:
        count = int(of_kind[list(kinds)].sum())
        if count:
            x, width = 1000 * at / most, 1000 * count / most
            title = tag("title", f"pass {label}: {count:,} {unit} of kind {name}")
            parts.append(tag("rect", title, x=f"{x:.1f}", y=0, width=f"{width:.1f}", height=10, class_=class_))
            at += count
    return tag("svg", *parts, viewBox="0 0 1000 10", preserveAspectRatio="none", role="img")


def _legend(entries: Iterable[tuple[str, str]]) -> Markup:
    keys = (
        tag("li", tag("svg", tag("rect", width=10, height=10, class_=class_), viewBox="0 0 10 10"), name)
        for class_, name in entries
    )
    return tag("ul", *keys, class_="legend")


# -- maps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PageMap:
    """A block's pages in cells of ``per_cell`` pages.

    ``fate`` (cells,) uint8 is the highest `Fate` among a cell's pages, ``sent`` (cells,) int64 how often its most sent
    page was sent. ``pages`` there are; of them ``given`` were sent, and of those ``lost`` are unknown, or in part.
    """

    per_cell: int
    fate: NDArray[np.uint8]
    sent: Ints
    pages: int
    given: int
    lost: int


def page_maps(
    space: PageSpace, columns: Columns, image: Image | None, findings: Iterable[Finding]
) -> dict[int, PageMap]:
    """The map of each block that a record is for, by block index; what it costs depends on records, not on lengths."""
    rows = space.rows(columns)
    at = np.flatnonzero(rows >= 0)
    # of each page that was sent: its row, its last record (the first from behind), and how often
    touched, last, sent = np.unique(rows[at][::-1], return_index=True, return_counts=True)
    fate = _FATE_OF[columns.kind[at[::-1][last]]]
    lost = np.zeros(len(touched), bool) if image is None else image.state[touched] != State.RECOVERED
    fate[lost] = Fate.UNKNOWN
    for value, named in zip((Fate.HEALED, Fate.WRONG), _named(space, findings), strict=True):
        hit = np.isin(touched, named)
        fate[hit] = np.maximum(fate[hit], value)
    out = {}
    for block in np.unique(np.searchsorted(space.first, touched, side="right") - 1).tolist():
        here = space.slice(block)
        mine = slice(*np.searchsorted(touched, [here.start, here.stop]).tolist())
        pages = here.stop - here.start
        per_cell = 1
        while -(-pages // per_cell) > CELLS:
            per_cell *= 2
        cell = (touched[mine] - here.start) // per_cell
        worst = np.zeros(-(-pages // per_cell), np.uint8)
        often = np.zeros(len(worst), np.int64)
        np.maximum.at(worst, cell, fate[mine])
        np.maximum.at(often, cell, sent[mine])
        given = mine.stop - mine.start
        out[block] = PageMap(per_cell, worst, often, pages, given, int(np.count_nonzero(lost[mine])))
    return out


def _named(space: PageSpace, findings: Iterable[Finding]) -> tuple[Ints, Ints]:
    """The pages that were wrong and healed, and those that an error names otherwise."""
    about = [f for f in findings if f.record is not None and f.block is not None and f.page is not None]
    healed = {f.record for f in about if f.evidence.get("healed_by_record") is not None}
    index = {b.name: i for i, b in enumerate(space.blocks)}
    rows: tuple[list[int], list[int]] = [], []
    for found in about:
        block, place = index.get(found.block or b"", -1), (found.page or 0) // space.page_size
        if block < 0 or place >= space.pages[block]:
            continue
        if found.record in healed:
            rows[0].append(int(space.first[block]) + place)
        elif found.severity is Severity.ERROR:
            rows[1].append(int(space.first[block]) + place)
    return np.array(rows[0], np.int64), np.array(rows[1], np.int64)


def _maps(report: Report) -> Markup:
    """Each block's pages: what became of them, and how often they were sent."""
    stream = report.stream
    if report.image is None:
        return _section("Pages", _note("Not to be had: ", _clipped(report.failures["image"])))
    space = space_of(stream)
    maps = page_maps(space, stream.records.columns, report.image, report.findings or [])
    charted = sorted(sorted(maps, key=lambda block: -maps[block].given)[:CHARTED])
    fates = [(f"fate-{fate.name.lower()}", text) for fate, text in _FATES.items()]
    shades = [
        (f"sent-{i + 1}", f"{low}" if high == low + 1 else f"{low} to {high - 1}" if high else f"{low} or more")
        for i, (low, high) in enumerate(zip(SENT, [*SENT[1:], 0], strict=True))
    ]
    figures = []
    for block in charted:
        one, name = maps[block], shown(space.blocks[block].name)
        counts = f"{one.pages:,} pages, {one.given:,} sent, {one.lost:,} of them unknown or in part"
        if one.per_cell > 1:
            counts += f"; a cell is {one.per_cell:,} pages, and has the colour lowest in the legend among them"
        shade = np.searchsorted(SENT, one.sent, side="right").astype(np.uint8)
        row = one.per_cell * ACROSS * space.page_size
        figures.append(
            tag(
                "figure",
                tag("figcaption", _code(name), f" {counts}. A row is {_bytes(row)}."),
                tag(
                    "div",
                    _map(name, one.fate, [f"fate-{f.name.lower()}" for f in Fate], row),
                    _map(name, shade, ["fate-never", *(class_ for class_, _ in shades)], row),
                    class_="maps",
                ),
            )
        )
    return _section(
        "Pages",
        tag("p", "Left: what became of each page. ", class_="legend-title"),
        _legend(fates),
        tag("p", "Right: how often it was sent (of a cell's pages, the one sent most).", class_="legend-title"),
        _legend([("fate-never", "never"), *shades]),
        *(figures or [_note("No record gave a page of a listed block.")]),
        *_more(len(maps), CHARTED, "blocks"),
    )


def _map(name: str, values: NDArray[np.uint8], classes: Sequence[str], row: int) -> Markup:
    """Cells as one path a class, of runs of equal cells; with the addresses of some rows."""
    high = -(-len(values) // ACROSS)
    grid = np.full((high, ACROSS), 255, np.uint8)
    grid.reshape(-1)[: len(values)] = values
    begins = np.ones((high, ACROSS), bool)
    begins[:, 1:] = grid[:, 1:] != grid[:, :-1]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], grid.size)
    kind = grid.reshape(-1)[starts]
    y, x, width = starts // ACROSS, starts % ACROSS, ends - starts
    paths = []
    for value, class_ in enumerate(classes):
        runs = np.flatnonzero(kind == value)
        if len(runs):
            corners = zip(x[runs].tolist(), y[runs].tolist(), width[runs].tolist(), strict=True)
            paths.append(tag("path", d="".join(f"M{a} {b}h{w}v1h-{w}z" for a, b, w in corners), class_=class_))
    step = max(1, high // 8)
    labels = [tag("text", f"{r * row:#x}", x=-1, y=r + 1, class_="at") for r in range(0, high, step)]
    return tag("svg", *labels, *paths, viewBox=f"-15 -0.7 {ACROSS + 15} {high + 0.9:.1f}", role="img", aria_label=name)


# -- who sent it ------------------------------------------------------------------------------------------------------


def _sender(report: Report) -> Markup:
    """What `xbrle sender` answers, and the statistics that a debug build of it prints."""
    found, facts = report.sender, report.stream.facts
    if found is None:
        return _section("Sender", _note("Not to be had: ", _clipped(report.failures["sender"])))
    rows: list[tuple[object, object]] = [
        ("dialect", found.dialect or "not shown; one of " + ", ".join(found.candidates)),
        ("build", found.build or "not shown"),
        ("policy", f"{found.policy.value}, dup pages {found.dups.value}"),
        ("ram_addr", found.layout),
    ]
    if found.cache_bytes is not None:
        cache = [f"{_bytes(found.cache_min)} or more"]
        if found.power_of_two is not None:
            least, most = found.power_of_two
            cache.append(f"if a power of two, {_bytes(least)} " + (f"to {_bytes(most)}" if most else "or more"))
        if found.masks[0] is not None:
            cache.append(f"{found.masks[0]:,} of {found.masks[1]:,} masks fit")
        rows.append(("cache", _lines(cache)))
        choices = f"{found.predicted:,} of {found.choices:,} predicted with a cache of {_bytes(found.cache_bytes)}"
    else:
        choices = f"{found.choices:,}, all full pages"
    rows.append(("choices", choices))
    if found.first_miss is not None:
        rows.append(("first not predicted", f"record {found.first_miss:,}"))
    form, lines = printed.posted(report.sums, facts.reading.dialect, facts.ram_version or ram.VERSION_NAMED)
    table = tag("pre", printed.table(form, lines))
    return _section(
        "Sender",
        _pairs(rows),
        tag("h3", "As the posted patch's debug build prints it (iterations are inferred)"),
        table,
    )


def _sections(facts: Facts) -> Markup:
    """Who wrote sections, how many of which type, and how their ends were found."""
    groups: dict[Owner | str, list[Section]] = {}
    for section in facts.sections:
        groups.setdefault(section.owner or section.type.name, []).append(section)
    rows = []
    for owner, members in list(groups.items())[:ROWS]:
        types = Counter(s.type.name for s in members)
        worst = max(s.found_by for s in members)
        rows.append(
            (
                owner if isinstance(owner, str) else _code(shown(owner.idstr)),
                "" if isinstance(owner, str) else f"{owner.section_id}, version {owner.version_id}",
                ", ".join(f"{number:,} {type_}" for type_, number in types.items()),
                CERTAINTY[worst],
                _code(f"{members[0].offset:#x}"),
                f"{sum(s.end - s.offset for s in members):,}",
            )
        )
    heads = ("section", "id", "types", "end found", "first at", "bytes")
    return _section("Sections", _table(heads, rows, 1), *_more(len(groups), ROWS, "kinds of section"))


# -- style ------------------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --back: #fcfcfb; --ink: #1b1b19; --soft: #5f5e59; --line: #dddcd6; --panel: #f3f2ee;
  --page: #2a78d6; --compressed: #7a5fd0; --delta: #e59700; --dup: #8fa3ad; --never: #ecebe6; --healed: #f2b8a0;
  --unknown: #b04ac0; --wrong: #d0242e; --good: #157a45; --s1: #cfe0f5; --s2: #98bfea; --s3: #5a97dc; --s4: #2567b4;
  --s5: #0d3a70; }
@media (prefers-color-scheme: dark) { :root { --back: #191918; --ink: #ecebe6; --soft: #a5a49d; --line: #3a3a37;
  --panel: #232321; --page: #3987e5; --compressed: #9a84e8; --delta: #d99200; --dup: #66767e; --never: #2b2b29;
  --healed: #8a4a3a; --unknown: #c76ad6; --wrong: #f04850; --good: #4cc285; --s1: #1c3552; --s2: #23528a; --s3: #3478c4;
  --s4: #6ba5e8; --s5: #c4ddf8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 40px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 38px 0 10px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 22px 0 6px; }
code, pre { font: 12px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: 10px 12px; margin: 6px 0; white-space: pre-wrap; }
.over, .note, .legend-title, figcaption, footer { color: var(--soft); }
.over { margin: 0; }
.note, .legend-title { margin: 6px 0; }
.verdict { font-size: 16px; border-left: 4px solid var(--good); padding: 6px 12px; background: var(--panel); }
.verdict.bad { border-color: var(--wrong); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 16px 0; }
.tiles dt { color: var(--soft); font-size: 12px; }
.tiles dd { margin: 0; font-size: 16px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 3px 14px 3px 0; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--line); overflow-wrap: normal; }
tbody td { border-bottom: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; }
.pairs { width: auto; }
.pairs th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.pairs td { border: 0; }
.wide { overflow-x: auto; }
.findings td:nth-child(-n+3), .chain td:nth-child(-n+3) { white-space: nowrap; }
.badge { color: #fff; border-radius: 3px; padding: 1px 7px; font-size: 12px; background: #5f6b73; }
.badge.error { background: #b91c26; }
.badge.warning { background: #8f5a00; }
.count { color: var(--soft); font-weight: 400; }
.bars td { border: 0; padding-top: 1px; padding-bottom: 1px; vertical-align: middle; }
.bars .group th { padding-top: 14px; color: var(--soft); font-weight: 400; }
.bars .group code { color: var(--ink); font-size: 13px; }
.bars .bar { width: 36%; }
.bars .n { width: 1%; }
.bars .bar svg { display: block; width: 100%; height: 12px; background: var(--panel); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 0; margin: 4px 0 8px; }
.legend svg { width: 11px; height: 11px; margin-right: 6px; vertical-align: -1px; }
figure { margin: 18px 0; }
figcaption { margin-bottom: 6px; }
figcaption code { color: var(--ink); font-size: 13px; }
.maps { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; align-items: start; }
.maps svg { width: 100%; height: auto; shape-rendering: crispEdges; }
.at { font: 1.7px ui-monospace, monospace; fill: var(--soft); text-anchor: end; }
.page, .fate-page { fill: var(--page); } .compressed { fill: var(--compressed); }
.delta, .fate-delta { fill: var(--delta); } .dup, .fate-dup { fill: var(--dup); }
.fate-never { fill: var(--never); } .fate-healed { fill: var(--healed); } .fate-unknown { fill: var(--unknown); }
.fate-wrong { fill: var(--wrong); }
.sent-1 { fill: var(--s1); } .sent-2 { fill: var(--s2); } .sent-3 { fill: var(--s3); } .sent-4 { fill: var(--s4); }
.sent-5 { fill: var(--s5); }
footer { margin-top: 36px; border-top: 1px solid var(--line); padding-top: 10px; }
@media (max-width: 760px) { .maps { grid-template-columns: 1fr; } }
@page { margin: 14mm; }
@media print { :root { color-scheme: light; --back: #fff; --ink: #000; --soft: #444; --line: #bbb; --panel: #f3f2ee;
  --page: #2a78d6; --compressed: #7a5fd0; --delta: #e59700; --dup: #8fa3ad; --never: #ecebe6; --healed: #f2b8a0;
  --unknown: #b04ac0; --wrong: #d0242e; --good: #157a45; --s1: #cfe0f5; --s2: #98bfea; --s3: #5a97dc; --s4: #2567b4;
  --s5: #0d3a70; }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  h2, h3, .legend, .legend-title { break-after: avoid; }
  .legend { break-inside: avoid; }
  .at { font-size: 2.3px; }
  figure, tr, .tiles { break-inside: avoid; }
  .maps { grid-template-columns: 1fr 1fr; } }
"""
