"""What became of each page, and how often it was sent: the maps on the report's page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ...arrays import Values, distinct
from ...formats.ram import Kind
from ...memory.image import Image, PageSpace, State
from ...memory.moments import space_of
from ...model import Facts
from ...table.columns import PIECE, Columns
from ...table.kinds import IS_DELTA
from ...text import shown
from ...verify.cause import CauseName
from ...verify.rules import PAGE_RULES
from ...verify.sentences import counted
from ...verify.verdict import Verdict
from .gather import Report
from .markup import Markup, clipped, code, legend, more, note, section, size_words, tag

CHARTED = 16  # blocks that have maps
CELLS = 4096  # cells of a map at most
ACROSS = 64  # cells in a row of it
APART = 3  # rows from one row with its address to the next, at least
LEFT = 15  # cells left of a row at least, for its address
LETTER = 1.42  # cells that a letter of it takes at most, on paper
SENT = (1, 2, 4, 8, 16)  # how often a page was sent: where each shade begins

Ints = NDArray[np.int64]


class Fate(IntEnum):
    """What became of a page. The colour of a cell is that of the highest fate among its pages."""

    NEVER = 0
    ZERO = 1
    DUP = 2
    PAGE = 3
    DELTA = 4
    HEALED = 5
    UNKNOWN = 6
    MAYBE = 7
    WRONG = 8


_FATES = {
    Fate.NEVER: "never sent",
    Fate.ZERO: "zero, by the bitmap of mapped-ram",
    Fate.DUP: "last sent as a dup page",
    Fate.PAGE: "last sent in full",
    Fate.DELTA: "last sent as a delta",
    Fate.HEALED: "was wrong, healed by a later record",
    Fate.UNKNOWN: "sent, but not known, or only in part; or a bitmap that was never written",
    Fate.MAYBE: "may be wrong at the end",
    Fate.WRONG: "wrong at the end",
}
_FATE_OF = np.full(256, Fate.NEVER, np.uint8)  # by the kind of a page's last record
_FATE_OF[[Kind.PAGE, Kind.COMPRESSED]] = Fate.PAGE
_FATE_OF[Kind.DUP] = Fate.DUP
_FATE_OF[[Kind.XBRLE, Kind.XBZRLE]] = Fate.DELTA

_FATE_CLASSES = [f"fate-{fate.name.lower()}" for fate in Fate]
_SHADES = [
    (f"sent-{i + 1}", f"{low}" if high == low + 1 else f"{low} to {high - 1}" if high else f"{low} or more")
    for i, (low, high) in enumerate(zip(SENT, [*SENT[1:], 0], strict=True))
]


@dataclass(frozen=True, slots=True)
class PageMap:
    """A block's pages in cells of ``per_cell`` pages.

    ``fate`` (cells,) uint8 is the highest `Fate` among a cell's pages, ``sent`` (cells,) int64 how often its most sent
    page was sent. The block has ``pages`` pages. ``given`` of them were sent, and ``lost`` of those are unknown, or
    known only in part.
    """

    per_cell: int
    fate: NDArray[np.uint8]
    sent: Ints
    pages: int
    given: int
    lost: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a verdict says of pages: the numbers of those that are ``wrong`` at the end and that ``maybe`` are.

    ``rows`` are those of records after which a page was not the sender's. All are (n,) int64.
    """

    wrong: Ints
    maybe: Ints
    rows: Ints


_NONE: Ints = np.empty(0, np.int64)
NO_TROUBLE = Trouble(_NONE, _NONE, _NONE)
#: Causes that leave pages as they should be, or of which nothing is known.
_NO_HARM = (CauseName.CHECKSUM_FIELD, CauseName.FORCED_READING, CauseName.CHANNEL_MISSING, CauseName.FOREIGN_CHANNEL)


def trouble_of(found: Verdict | None) -> Trouble:
    """The pages that a verdict is about."""
    if found is None or found.shared is None:
        return NO_TROUBLE
    rows = [_NONE]
    for i, name in enumerate(found.shared.names):
        for number in () if name in _NO_HARM else found.shared.numbers(i, *PAGE_RULES):
            rows += [found.shared.found.marks[number].rows[places] for places in found.shared.parts(number, i)]
    return Trouble(found.wrong, found.maybe, distinct(np.concatenate(rows)))


def page_maps(
    space: PageSpace,
    columns: Columns,
    image: Image | None,
    trouble: Trouble = NO_TROUBLE,
    unmarked: Mapping[int, Fate] | None = None,
) -> dict[int, PageMap]:
    """The map of each block that a record is for, by block index.

    ``unmarked`` says what pages without a record are in blocks where they were not simply left out, by index.
    Where there are more than `CHARTED` blocks, only the `CHARTED` blocks of which most was sent have a map. The cost
    depends on records, not on block lengths.
    """
    carriers = space.places(columns)
    last, full = Values(carriers, np.int64), Values(carriers, np.int64)  # the rows, plus one, of its last and full ones
    often = Values(carriers, np.int64)
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        pages = space.pages_of(piece)
        listed = np.flatnonzero(pages >= 0)
        last[pages[listed]] = listed + start + 1
        np.add.at(often.array, carriers.of(pages[listed]), 1)
        given = listed[~IS_DELTA[piece.kind[listed]]]
        full[pages[given]] = given + start + 1
    touched = last.nonzero()
    sent, fate = often[touched], _FATE_OF[columns.kind[last[touched] - 1]]
    lost = np.zeros(len(touched), bool) if image is None else image.state[touched] != State.RECOVERED
    fate[lost] = Fate.UNKNOWN
    healed, open_ = _since(full, space, columns, trouble.rows)
    for value, named in (
        (Fate.HEALED, healed),
        (Fate.UNKNOWN, open_),
        (Fate.MAYBE, trouble.maybe),
        (Fate.WRONG, trouble.wrong),
    ):
        hit = np.isin(touched, named)
        fate[hit] = np.maximum(fate[hit], value)
    maps = {}
    blocks, given = np.unique(np.searchsorted(space.first, touched, side="right") - 1, return_counts=True)
    for block in np.sort(blocks[np.argsort(-given, kind="stable")[:CHARTED]]).tolist():
        place = space.slice(block)
        of_block = slice(*np.searchsorted(touched, [place.start, place.stop]).tolist())
        within = touched[of_block] - place.start
        rest = (unmarked or {}).get(block, Fate.NEVER)
        maps[block] = _cells(place.stop - place.start, within, fate[of_block], sent[of_block], lost[of_block], rest)
    return maps


def unmarked(facts: Facts) -> dict[int, Fate]:
    """What the pages of mapped-ram are that no bit marks, by block index: zero, once RAM's END was written."""
    fate = Fate.ZERO if facts.ram_ended else Fate.UNKNOWN
    return {m.block: fate for m in facts.mapped if m.bitmap is not None}


def _per_cell(pages: int) -> int:
    """How many pages a cell has, of a block of so many."""
    per_cell = 1
    while -(-pages // per_cell) > CELLS:
        per_cell *= 2
    return per_cell


def cells_of(pages: int, within: Ints, values: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8]]:
    """How many pages a cell has, and the highest of the ``values`` (n,) in each, (cells,) uint8.

    ``within`` (n,) are the pages that have a value, counted from the beginning of a block of so many ``pages``.
    """
    per_cell = _per_cell(pages)
    out = np.zeros(-(-pages // per_cell), np.uint8)
    inside = within // per_cell < len(out)
    np.maximum.at(out, within[inside] // per_cell, values[inside])
    return per_cell, out


def _cells(
    pages: int, within: Ints, fate: NDArray[np.uint8], sent: Ints, lost: NDArray[np.bool_], rest: Fate
) -> PageMap:
    """The map of a block of so many pages. ``within`` (n,) are the pages that were sent, counted from the block's.

    ``rest`` is the fate of the others.
    """
    per_cell = _per_cell(pages)
    cell = within // per_cell
    inside = np.full(-(-pages // per_cell), per_cell, np.int64)
    inside[-1:] = pages - per_cell * (len(inside) - 1)
    inside -= np.bincount(cell, minlength=len(inside))
    worst = np.where(inside > 0, rest, Fate.NEVER).astype(np.uint8)
    often = np.zeros(len(worst), np.int64)
    np.maximum.at(worst, cell, fate)
    np.maximum.at(often, cell, sent)
    return PageMap(per_cell, worst, often, pages, len(within), int(np.count_nonzero(lost)))


def _since(full: Values, space: PageSpace, columns: Columns, rows: Ints) -> tuple[Ints, Ints]:
    """The pages of some rising rows: those that a later record gave in full, and the others.

    ``full`` has the row, plus one, of the last record of each page that gave it in full.
    """
    last = Values(full.places, np.int64)
    for start in range(0, len(rows), PIECE):
        some = rows[start : start + PIECE]
        pages = space.pages_of(columns.take(some))
        last[pages[pages >= 0]] = some[pages >= 0] + 1
    suspects = last.nonzero()
    healed = full[suspects] > last[suspects]
    return suspects[healed], suspects[~healed]


# -- drawing ----------------------------------------------------------------------------------------------------------


def maps_section(report: Report) -> Markup:
    """Each block's pages: what became of them, and how often they were sent."""
    if report.image is None:
        return section("pages", "Pages", note("Not available: ", clipped(report.failures["image"])))
    space = space_of(report.stream)
    trouble, facts = trouble_of(report.verdict), report.stream.facts
    maps = page_maps(space, report.stream.records.columns, report.image, trouble, unmarked(facts))
    figures = [_figure(shown(space.blocks[block].name), of_block, space.page_size) for block, of_block in maps.items()]
    sent = sum(1 for block in report.sums.blocks() if block < len(space.pages) and space.pages[block])
    if not figures:
        return section("pages", "Pages", note("No record carries a page of a listed block."))
    used = distinct(np.concatenate([np.empty(0, np.uint8), *(m.fate for m in maps.values())])).tolist()
    return section(
        "pages",
        "Pages",
        tag(
            "p",
            "First drawing: what became of each page. Of a cell's pages, the last one in this list counts.",
        ),
        legend((_FATE_CLASSES[fate], _FATES[Fate(fate)]) for fate in used),
        tag("p", "Second drawing: how often a page was sent. Of a cell's pages, the one that was sent most counts."),
        legend([("fate-never", "never"), *_SHADES]),
        *figures,
        *more(sent, CHARTED, "blocks"),
    )


def _figure(name: str, page_map: PageMap, page_size: int) -> Markup:
    """The two drawings of one block, and its numbers."""
    lost = f"{page_map.lost:,} of them unknown or known in part"
    counts = f"{counted(page_map.pages, 'page')}, {page_map.given:,} sent, {lost}"
    if page_map.per_cell > 1:
        counts += f"; a cell is {page_map.per_cell:,} pages"
    shade = np.searchsorted(SENT, page_map.sent, side="right").astype(np.uint8)
    row = page_map.per_cell * ACROSS * page_size
    wrong = int(np.count_nonzero(page_map.fate == Fate.WRONG))
    fates = f"What became of the pages of {name}" + (f": {wrong:,} cells have a wrong page" if wrong else "")
    return tag(
        "figure",
        tag("figcaption", code(name), f" {counts}. A row is {size_words(row)}."),
        tag(
            "div",
            drawing(fates, page_map.fate, _FATE_CLASSES, row),
            drawing(
                f"How often the pages of {name} were sent",
                shade,
                ["fate-never", *(class_ for class_, _ in _SHADES)],
                row,
            ),
            class_="maps",
        ),
    )


def drawing(label: str, values: NDArray[np.uint8], classes: Sequence[str], row: int) -> Markup:
    """Cells drawn as runs of equal cells, one path for each class, with the addresses of some rows.

    ``row`` is the number of bytes that a row of cells stands for.
    """
    high = -(-len(values) // ACROSS)
    grid = np.full((high, ACROSS), 255, np.uint8)
    grid.reshape(-1)[: len(values)] = values
    begins = np.ones((high, ACROSS), bool)
    begins[:, 1:] = grid[:, 1:] != grid[:, :-1]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], grid.size)
    value_of_run = grid.reshape(-1)[starts]
    y, x, width = starts // ACROSS, starts % ACROSS, ends - starts
    paths = []
    for value, class_ in enumerate(classes):
        runs = np.flatnonzero(value_of_run == value)
        if len(runs):
            corners = zip(x[runs].tolist(), y[runs].tolist(), width[runs].tolist(), strict=True)
            paths.append(tag("path", d="".join(f"M{a} {b}h{w}v1h-{w}z" for a, b, w in corners), class_=class_))
    step = max(APART, high // 8)
    labels = [(r, f"{r * row:#x}") for r in range(0, high, step)]
    left = max(LEFT, math.ceil(1 + LETTER * max((len(text) for _, text in labels), default=0)))
    texts = [tag("text", text, x=-1, y=r + 1, class_="at") for r, text in labels]
    box = f"-{left} -0.7 {ACROSS + left} {high + 0.9:.1f}"
    return tag("svg", *texts, *paths, viewBox=box, role="img", aria_label=label)
