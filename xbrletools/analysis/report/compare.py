"""The page about two captures: their verdicts side by side, and what differs in blocks, pages, devices and sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ...errors import XbrleError
from ...formats.ram import PAGE_KINDS, Kind
from ...memory.image import Image
from ...text import shown
from ...verify.receivers import RECEIVERS
from ...verify.sentences import counted, some
from .. import guest
from ..blame import Writers
from ..devices import DeviceDifference, device_differences
from ..diff import BlockDifference, Tally, blocks_differ, page_changes, tally
from ..diffwords import block_line, conclusion, device_line
from ..facts import SectionGroup, dialect_words
from .comparemaps import Changes, figures
from .gather import Report
from .glossary import glossary_section
from .html import base, document
from .markup import Markup, clipped, code, first, folded, joined, lines, more, note, section, table, tag
from .stream import about_rows, digest_lines, reached, size_line
from .verdict import CAUSES, css_of, left_open, named_cause, told_word, verdict_box, wrong_words

PAGES = 40  # pages that differ, those with most bytes first
DEVICES = 60  # differences between devices
SECTIONS = 60  # owners of sections

CONTENTS = (
    ("both", "Side by side"),
    ("receivers", "Who loads them"),
    ("blocks", "RAM blocks"),
    ("pages", "Pages that differ"),
    ("devices", "Devices"),
    ("sections", "Sections"),
    ("glossary", "Glossary"),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reports, and what differs between the captures.

    ``changes`` has the pages that differ by block, ``tally`` counts them. Both are None where a memory could not be
    made, and ``failure`` then says why. ``devices`` are the first `DEVICES` differences between devices,
    ``device_count`` counts all.
    """

    first: Report
    second: Report
    blocks: tuple[BlockDifference, ...]
    changes: Mapping[bytes, Changes] | None
    tally: Tally | None
    devices: tuple[DeviceDifference, ...]
    device_count: int
    failure: str = ""

    @property
    def differ(self) -> bool:
        """Whether anything differs that `xbrle diff` compares."""
        return bool(self.blocks or self.changes or self.device_count)

    @property
    def is_bad(self) -> bool:
        """Whether anything differs or could not be compared, or one of the captures is damaged."""
        return self.differ or self.changes is None or self.first.is_bad or self.second.is_bad


def compare(first: Report, second: Report) -> Comparison:
    """Compare the captures of two reports, as `xbrle diff` does: memory and devices at the end."""
    found = device_differences(first.stream, second.stream)
    devices = tuple(islice(found, DEVICES))
    count = len(devices) + sum(1 for _ in found)
    if first.image is None or second.image is None:
        why = first.failures.get("image") or second.failures.get("image", "")
        return Comparison(first, second, (), None, None, devices, count, why)
    try:
        blocks = tuple(blocks_differ(first.image, second.image))
        changes, sums = _changes(first.image, second.image), tally(first.image, second.image)
    except XbrleError as error:
        return Comparison(first, second, (), None, None, devices, count, str(error))
    return Comparison(first, second, blocks, changes, sums, devices, count)


def _changes(first: Image, second: Image) -> dict[bytes, Changes]:
    """The pages that differ, by block. Blocks without any are left out."""
    parts: dict[bytes, list[tuple[NDArray[np.int64], ...]]] = {}
    for one in page_changes(first, second):
        if len(one):
            parts.setdefault(one.block, []).append((one.address, one.count, one.one_sided))
    return {name: Changes(*map(np.concatenate, zip(*found, strict=True))) for name, found in parts.items()}


# -- the page ----------------------------------------------------------------------------------------------------------


def compared_page(found: Comparison, digests: Sequence[Mapping[str, str]], tool: str) -> str:
    """The HTML page about two captures. ``digests`` are those of each, by what was digested."""
    names = [base(str(r.stream.name)) for r in (found.first, found.second)]
    boxes = [
        tag("div", tag("h2", f"{letter}: {name}", class_="plain"), verdict_box(report))
        for letter, name, report in zip("AB", names, (found.first, found.second), strict=True)
    ]
    head = [
        tag("p", "Two migration streams compared", class_="over"),
        tag("h1", f"{names[0]} and {names[1]}"),
        tag("p", said(found), class_=f"verdict {'unknown' if found.differ or found.changes is None else 'good'}"),
        tag("div", *boxes, class_="two"),
    ]
    parts = (
        _side_by_side(found, digests),
        _receivers(found),
        _blocks(found),
        _pages(found),
        _devices(found),
        _sections(found),
        glossary_section(),
    )
    foot = f"Made by {tool}. A and B are the captures. Offsets are bytes in them, after decompression."
    return document(f"{names[0]} and {names[1]} - migration streams compared", head, CONTENTS, parts, tool, foot)


def said(found: Comparison) -> str:
    """What differs, in a sentence or two."""
    if found.changes is None or found.tally is None:
        memory = f"Memory could not be compared: {found.failure}."
    elif not found.changes and not found.blocks:
        memory = "Memory does not differ in what both have."
    else:
        memory = f"{conclusion(found.tally)}."
        memory = memory[:1].upper() + memory[1:]
        if found.changes and found.blocks:
            are = "is" if len(found.blocks) == 1 else "are"
            memory += f" {counted(len(found.blocks), 'RAM block')} {are} only in one of them, or longer in one."
    devices = counted(found.device_count, "difference") + " between devices."
    return f"{memory} {devices if found.device_count else 'Devices do not differ.'}"


def _beside(rows: Sequence[tuple[str, object, object]]) -> list[tuple[object, object, object, object]]:
    """Rows of a label and two values, with a mark where they differ."""
    return [(label, a, b, "" if a == b else "differs") for label, a, b in rows]


def _side_by_side(found: Comparison, digests: Sequence[Mapping[str, str]]) -> Markup:
    """The two captures, line by line."""
    one, two = (_facts(r, d) for r, d in zip((found.first, found.second), digests, strict=True))
    labels = list(dict.fromkeys([*one, *two]))
    rows = _beside([(label, one.get(label, "-"), two.get(label, "-")) for label in labels])
    return section(
        "both", "Side by side", table("The two captures", ("what", "A", "B", "differs"), rows, class_="beside")
    )


def _facts(report: Report, digests: Mapping[str, str]) -> dict[str, object]:
    """What is said of a capture, by label."""
    sums, told = report.sums, report.verdict
    out: dict[str, object] = {"file": base(str(report.stream.name))}
    out["SHA-256"] = digest_lines(digests)
    out["size"] = size_line(report)
    if told is not None:
        causes = [clipped(f"{named_cause(c)}: {c.sentence}") for c in told.causes]
        out["verdict"] = told.status.words
        out["causes"] = lines(first(CAUSES, causes)) if causes else "none"
        out["pages wrong at the end"] = wrong_words(told)
        out["first bad record"] = "-" if told.first_bad_record is None else f"{told.first_bad_record:,}"
    out["read to its end"] = clipped(reached(report))
    reading = report.stream.reading
    out |= about_rows(report) | {"dialect": reading.dialect.name if reading.dialect else dialect_words(reading)}
    for kind in PAGE_KINDS:
        if sums.total.records[kind]:
            out[f"records of kind {kind.name.lower()}"] = f"{int(sums.total.records[kind]):,}"
    out["passes"] = f"{report.overview.pass_count:,}"
    out["pages sent again"] = f"{report.resent:,}"
    if report.sender is not None:
        out["sender"] = f"build {report.sender.build or 'not known'}, policy {report.sender.policy.value}"
    if report.guest is not None:
        words = guest.words(guest.as_json(report.guest))
        out["guest"] = lines(clipped(f"{label} {value}".strip()) for label, value in words) if words else "not known"
    return out


def _receivers(found: Comparison) -> Markup:
    """What each receiver makes of both."""
    told = [{} if r.verdict is None else r.verdict.receivers for r in (found.first, found.second)]
    rows = []
    for name in dict.fromkeys([*told[0], *told[1]]):
        cells = [
            "not known" if name not in one else tag("span", told_word(one[name]), class_=css_of(one[name]))
            for one in told
        ]
        title = joined([code(name), tag("div", RECEIVERS[name].title, class_="soft")])
        rows.append((title, *cells, "" if cells[0] == cells[1] else "differs"))
    heads = ("receiver", "A", "B", "differs")
    listed = table("What each receiver makes of both", heads, rows)
    return section("receivers", "Who loads them", listed, *left_open([o for one in told for o in one.values()]))


def _blocks(found: Comparison) -> Markup:
    """The RAM blocks of both, and how many pages differ in each."""
    uses = [{u.block.name: u for u in r.overview.blocks} for r in (found.first, found.second)]
    names = list(dict.fromkeys([*uses[0], *uses[1]]))
    rows = []
    for name in names[:SECTIONS]:
        one, two = (u.get(name) for u in uses)
        rows.append(
            (
                code(shown(name)),
                *("-" if u is None else f"{u.block.length:,}" for u in (one, two)),
                *("-" if u is None else f"{u.records:,}" for u in (one, two)),
                *(["-"] * 2 if one is None or two is None else _numbers(found.changes, name)),
            )
        )
    heads = ("block", "bytes in A", "bytes in B", "records in A", "records in B", "pages that differ", "in one only")
    told = [note(clipped(block_line(block))) for block in found.blocks[:SECTIONS]]
    listed = table("RAM blocks of both", heads, rows, 6, class_="owners")
    return section("blocks", "RAM blocks", listed, *more(len(names), SECTIONS, "blocks"), *told)


def _numbers(changes: Mapping[bytes, Changes] | None, name: bytes) -> tuple[str, str]:
    """How many pages of a block that both have differ, and how many only one of the two knows."""
    if changes is None:
        return "not known", "not known"
    if name not in changes:
        return "0", "0"
    in_one = int(np.count_nonzero(changes[name].in_one))
    return f"{len(changes[name].count) - in_one:,}", f"{in_one:,}"


def _pages(found: Comparison) -> Markup:
    """Which pages differ: a map of each block, and those with most bytes."""
    if found.changes is None:
        return section("pages", "Pages that differ", note("Not available: ", clipped(found.failure)))
    if not found.changes:
        return section("pages", "Pages that differ", tag("p", "No page differs in what both have."))
    only = note("In one only: bytes that only one of the two knows.")
    assert found.first.image is not None and found.second.image is not None
    rows, total = _page_rows(found, found.changes), sum(len(c.count) for c in found.changes.values())
    heads = ("page", "last written in A by", "last written in B by", "bytes that differ", "in one only")
    title = "The pages that differ" if total <= PAGES else f"The {PAGES} pages of which most differs"
    return section(
        "pages",
        "Pages that differ",
        *figures(found.changes, found.first.image.space, found.second.image.space),
        table(title, heads, rows, 2, class_="differ"),
        only,
        *more(total, PAGES, "pages", "xbrle diff A B"),
    )


def _page_rows(found: Comparison, changes: Mapping[bytes, Changes]) -> list[tuple[object, ...]]:
    """The pages with most bytes that differ, then those that one does not know, with the records that wrote them."""
    most = []
    for name, one in changes.items():
        differ = one.count - one.one_sided
        order = np.lexsort((-one.one_sided, -differ))[:PAGES]
        most += [(int(differ[i]), int(one.one_sided[i]), name, int(one.address[i])) for i in order.tolist()]
    chosen = sorted(most, key=lambda page: (-page[0], -page[1]))[:PAGES]
    written = [_writers(report, [(name, at) for *_, name, at in chosen]) for report in (found.first, found.second)]
    return [
        (code(f"{shown(name)}:{at:#x}"), by_first, by_second, f"{differ:,}", f"{one_sided:,}")
        for (differ, one_sided, name, at), by_first, by_second in zip(chosen, *written, strict=True)
    ]


def _writers(report: Report, pages: Sequence[tuple[bytes, int]]) -> list[str]:
    """The record that last wrote each of some pages, of a block and an address."""
    assert report.image is not None
    space, table_of = report.image.space, report.stream.records
    places = [int(space.first[space.index(name)]) + at // space.page_size for name, at in pages]
    rows = Writers(report.stream).rows(np.array(places, np.int64))
    numbers = iter(table_of.numbers_of(rows[rows >= 0]).tolist())
    kinds = iter(table_of.columns.kind[rows[rows >= 0]].tolist())
    return [
        f"record {next(numbers):,} ({Kind(next(kinds)).name.lower()})" if row >= 0 else "no record"
        for row in rows.tolist()
    ]


def _devices(found: Comparison) -> Markup:
    """What differs between the devices."""
    if not found.device_count:
        return section("devices", "Devices", tag("p", "The devices do not differ."))
    told = tag("ul", *(tag("li", code(clipped(device_line(one)))) for one in found.devices), class_="next")
    left_out = more(found.device_count, DEVICES, "differences", "xbrle diff A B --only devices")
    return section("devices", "Devices", note("First is A, second is B."), told, *left_out)


def _sections(found: Comparison) -> Markup:
    """The owners of sections that differ, and those that do not, folded."""
    sides = [_by_owner(r.overview.section_groups) for r in (found.first, found.second)]
    rows = _beside(
        [(key, sides[0].get(key, "-"), sides[1].get(key, "-")) for key in dict.fromkeys([*sides[0], *sides[1]])]
    )
    differ, same = [r for r in rows if r[3]], [r for r in rows if not r[3]]
    heads = ("section", "A", "B", "differs")
    parts: list[Markup] = [] if differ else [tag("p", "The sections do not differ in number, size and version.")]
    if differ:
        listed = table("Sections that differ", heads, differ[:SECTIONS], class_="owners")
        parts = [listed, *more(len(differ), SECTIONS, "sections")]
    if same:
        listed = table("Sections that do not differ", heads, same[:SECTIONS], class_="owners")
        summary = f"{some(len(same), 'section is', 'sections are')} the same"
        parts.append(folded(summary, listed, *more(len(same), SECTIONS, "sections")))
    return section("sections", "Sections", *parts)


def _by_owner(groups: Sequence[SectionGroup]) -> dict[str, str]:
    """The sections of each owner in words."""
    out = {}
    for group in groups:
        owner = group.owner
        types = ", ".join(f"{count:,} {type_.name}" for type_, count in group.types.items())
        name = ", ".join(t.name for t in group.types) if owner is None else f"{shown(owner.idstr)} {owner.instance_id}"
        version = "" if owner is None else f", version {owner.version_id}"
        out[name] = f"{types}{version}, {counted(group.length, 'byte')}"
    return out
