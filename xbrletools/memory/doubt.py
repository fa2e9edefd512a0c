"""What damage leaves unknown: which pages a gap, or a record that its checksum refutes, puts in doubt, and from when.

Records that a gap swallowed can only concern pages that the sender's walk passed between the last record before it and
the first after it, unless a whole round was lost; what rules that out is weighed here. docs/salvage.md has the claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas
from ..codec.checksum import byte_sum
from ..codec.verdict import Verdict
from ..formats.dialects import Checksum, Dialect
from ..formats.ram import DELTA_KINDS, PAGE_KINDS, Kind
from ..formats.xbrle import HeaderFlag
from ..stream.records import Columns, Sweeps
from ..stream.salvage import ANY_BLOCK, Gap
from .discards import NONE, Discards
from .image import Image, PageSpace, State
from .replay import CHUNK, Layer, View, apply, needed, replay

FIRST_SENDS = 64  # first sends in order after a gap that show the first sweep going on
FEW_FIRST_SENDS = 8  # as many do where the sweep ends with them
CONFIRMED = 3  # pages that a checksum shows untouched by a gap, to rule out that a round was lost

_IS_DELTA = np.zeros(256, bool)
_IS_DELTA[list(DELTA_KINDS)] = True
_IS_PAGE = np.zeros(256, bool)
_IS_PAGE[list(PAGE_KINDS)] = True


@dataclass(frozen=True, slots=True)
class Doubt:
    """Before record ``row`` of the table, these pages may have been changed by records that are lost.

    ``ranges`` are [first, end) of global page rows; ``whole`` where every page is meant, since nothing bounds the loss.
    ``offset`` is where in the capture it shows.
    """

    row: int
    offset: int
    ranges: tuple[tuple[int, int], ...]
    reason: str
    whole: bool = False


def find(
    space: PageSpace,
    data: NDArray[np.uint8],
    columns: Columns,
    dialect: Dialect | None,
    gaps: Sequence[Gap],
) -> list[Doubt]:
    """Every doubt that the gaps and refuted records of a salvaged capture leave, in order of rows."""
    rows = space.rows(columns)
    carriers = np.flatnonzero(rows >= 0)
    image = Image(space)
    doubts: list[Doubt] = []
    usual = _usual_flags(columns)
    seen = np.unique(rows[carriers])
    inner = [g for g in gaps if g.row and g.may_hold_records]  # before the head nothing was known
    edges = sorted({0, *(g.row for g in inner), len(columns)})
    for start, end in pairwise(edges):
        for gap in (g for g in inner if g.row == start):
            doubt = _of_gap(gap, space, image, data, columns, rows, carriers, dialect, end)
            doubts.append(doubt)
            for first, last in doubt.ranges:
                image.set_unknown(seen[slice(*np.searchsorted(seen, (first, last)).tolist())])
        piece = columns.take(slice(start, end))
        failed = _refuted(image, data, piece, rows[start:end], dialect, usual) + start
        doubts += [
            _of_record(place, space, columns, rows, carriers)
            for place in failed.tolist()
            if not _of_a_stale_base(place, space, data, columns, rows, dialect)
        ]
    ending = [g for g in inner if g.row == len(columns)]
    doubts += [_of_gap(g, space, image, data, columns, rows, carriers, dialect, len(columns)) for g in ending]
    return sorted(doubts, key=lambda d: d.row)


def since_when(rows: NDArray[np.int64], doubts: Sequence[Doubt]) -> NDArray[np.int64]:
    """For each of ``rows`` (global page rows) the first row of the table that says something sure of it, (n,) int64."""
    pages, which = np.unique(rows, return_inverse=True)
    since = np.zeros(len(pages), np.int64)
    for doubt in doubts:
        for first, end in doubt.ranges:
            inside = slice(*np.searchsorted(pages, (first, end)).tolist())
            np.maximum(since[inside], doubt.row, out=since[inside])
    found: NDArray[np.int64] = since[which]
    return found


def replay_believed(
    image: Image,
    data: NDArray[np.uint8],
    columns: Columns,
    dialect: Dialect | None,
    view: View,
    doubts: Sequence[Doubt],
    discards: Discards = NONE,
) -> None:
    """Bring ``image`` to what is known after ``columns``: as `replay`, but nothing from before a doubt about its page,
    and no page whose checksum refutes it.
    """
    rows = image.space.rows(columns)
    place = np.arange(len(columns))
    since = (place >= since_when(rows, doubts)) & (place >= discards.last_rows(len(image.space) + 1)[rows])
    believed = columns.take((rows >= 0) & since)
    keep = needed(image.space, believed, dialect, view)
    usual = _usual_flags(columns)
    for start in range(0, len(keep), CHUNK):
        piece = believed.take(keep[start : start + CHUNK])
        _refuted(image, data, piece, image.space.rows(piece), dialect, usual)


def _refuted(
    image: Image,
    data: NDArray[np.uint8],
    columns: Columns,
    rows: NDArray[np.int64],
    dialect: Dialect | None,
    usual: int | None,
    baseless: list[NDArray[np.int64]] | None = None,
) -> NDArray[np.int64]:
    """Apply records; the pages of those that do not decode, or that a checksum refutes, are unknown after them.

    Returns the places of those records, (n,) int64, rising. ``baseless`` gets those of the deltas whose base is not
    known.
    """
    failed: list[NDArray[np.int64]] = []
    lost: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

    def look(layer: Layer) -> None:
        places, pages = layer.places[layer.deltas], layer.rows[layer.deltas]
        bad = layer.verdicts != Verdict.OK
        checked = np.flatnonzero(~bad & layer.based)
        bad[checked] = ~_sums_hold(columns, places[checked], image.pages, pages[checked], dialect)
        if usual is not None:
            bad |= columns.header_flags[places] != usual
        lost.append(places[~layer.based])
        if bad.any():
            failed.append(places[bad])
            image.set_unknown(pages[bad])

    apply(image, data, columns, dialect, look)
    if baseless is not None:
        baseless.append(np.concatenate(lost))
    if dialect is not None and dialect.page_sum:
        failed.append(_wrong_pages(image, data, columns, rows))
    return np.sort(np.concatenate(failed)) if failed else np.empty(0, np.int64)


def _wrong_pages(image: Image, data: NDArray[np.uint8], columns: Columns, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of PAGE records that their own byte sum refutes; unknown where nothing full follows."""
    places = np.flatnonzero((columns.kind == Kind.PAGE) & (columns.length == image.space.page_size) & (rows >= 0))
    at = (columns.offset[places] + columns.head[places]).astype(np.int64)
    wrong = []
    for start in range(0, len(places), 256):
        pages = data[at[start : start + 256, None] + np.arange(image.space.page_size)]
        wrong.append(places[start : start + 256][byte_sum(pages) != columns.checksum[places[start : start + 256]]])
    bad = np.concatenate(wrong) if wrong else np.empty(0, np.int64)
    if len(bad):
        image.set_unknown(np.unique(rows[bad]))
    return bad


def _sums_hold(
    columns: Columns,
    places: NDArray[np.int64],
    pages: NDArray[np.uint8],
    rows: NDArray[np.int64],
    dialect: Dialect | None,
) -> NDArray[np.bool_]:
    """Whether each delta's checksum holds for the page it made; true where it carries none."""
    good = np.ones(len(places), bool)
    if dialect is None or dialect.checksum is Checksum.NONE or not len(places):
        return good
    says = _carries_sum(columns, places, dialect)
    sums = byte_sum(pages, rows[says])
    claimed = columns.checksum[places[says]]
    good[says] = sums == (~claimed if dialect.checksum is Checksum.COMPLEMENT else claimed)
    return good


def _carries_sum(columns: Columns, places: NDArray[np.int64], dialect: Dialect) -> NDArray[np.bool_]:
    """Whether each of these deltas has a checksum that means something."""
    if dialect.checksum is Checksum.NONE:
        return np.zeros(len(places), bool)
    if dialect.checksum is Checksum.FLAGGED:
        says: NDArray[np.bool_] = (columns.header_flags[places] & HeaderFlag.CHECKSUM) != 0
        return says
    return np.ones(len(places), bool)


def _usual_flags(columns: Columns) -> int | None:
    """The header flags of nearly all deltas: a build writes one value. None where they differ too much to tell."""
    flags = columns.header_flags[_IS_DELTA[columns.kind]]
    if not len(flags):
        return None
    counts = np.bincount(flags)
    most = int(counts.argmax())
    return most if counts[most] * 10 >= len(flags) * 9 else None


# -- what a gap leaves open --------------------------------------------------------------------------------------------


def _of_a_stale_base(
    place: int,
    space: PageSpace,
    data: NDArray[np.uint8],
    columns: Columns,
    rows: NDArray[np.int64],
    dialect: Dialect | None,
) -> bool:
    """Whether a refuted delta is one that the sender made against a dup page it had forgotten: its checksum holds in
    the sender's view. Such a record is whole; its page is unknown, and no other's.
    """
    if dialect is None or dialect.caches_dup or dialect.checksum is Checksum.NONE:
        return False
    piece = columns.take(np.flatnonzero(rows[: place + 1] == rows[place]))
    image = Image(space)
    replay(image, data, piece, dialect, View.SENDER)
    last, page = np.array([len(piece) - 1]), rows[place : place + 1]
    known = image.state[page[0]] == State.KNOWN and bool(_carries_sum(piece, last, dialect)[0])
    return known and bool(_sums_hold(piece, last, image.pages, page, dialect)[0])


def _of_record(
    place: int, space: PageSpace, columns: Columns, rows: NDArray[np.int64], carriers: NDArray[np.int64]
) -> Doubt:
    """A record that is refuted: its address may be what is wrong, then it belonged between its neighbours."""
    i = int(np.searchsorted(carriers, place))
    before = int(rows[carriers[i - 1]]) if i else 0
    after = int(rows[carriers[i + 1]]) if i + 1 < len(carriers) else len(space) - 1
    own = int(rows[place])
    ranges = (*_walk(space, before, after), (own, own + 1))
    return Doubt(place, int(columns.offset[place]), ranges, "a record that does not decode, or whose sum is wrong")


def _walk(space: PageSpace, before: int, after: int) -> tuple[tuple[int, int], ...]:
    """The pages that the sender's walk passes from page ``before`` to page ``after``, both included, in less than a
    round: to the end of the block, then in an order that changes through the others.
    """
    block, other = (int(np.searchsorted(space.first, p, side="right")) - 1 for p in (before, after))
    start, end = int(space.first[block]), int(space.first[block + 1])
    if block == other and before <= after:
        return ((before, after + 1),)
    if block == other:
        return ((0, after + 1), (before, len(space)))
    others = [
        (int(space.first[b]), int(space.first[b + 1])) for b in range(len(space.pages)) if b not in (block, other)
    ]
    return ((before, end), (int(space.first[other]), after + 1), *others) if start < end else tuple(others)


def _of_gap(
    gap: Gap,
    space: PageSpace,
    image: Image,
    data: NDArray[np.uint8],
    columns: Columns,
    rows: NDArray[np.int64],
    carriers: NDArray[np.int64],
    dialect: Dialect | None,
    end: int,
) -> Doubt:
    """The pages that records lost in a gap can concern. ``image`` is memory before it, ``end`` the row of the next."""
    i = int(np.searchsorted(carriers, gap.row))
    everything = Doubt(gap.row, gap.start, ((0, len(space)),), "nothing bounds what was lost", whole=True)
    if not i or i == len(carriers):
        return everything
    before, after = int(rows[carriers[i - 1]]), int(rows[carriers[i]])
    ranges = _walk(space, before, after)
    following = carriers[i : int(np.searchsorted(carriers, end))]
    if gap.in_place:
        why = "the skipped bytes are one record's"
    elif _first_sweep_goes_on(space, rows, carriers, i, following, columns):
        why = "the first sweep over memory goes on after it"
    elif _others_untouched(space, image, data, columns, rows, carriers[:i], following, ranges, dialect):
        why = "checksums show that pages elsewhere were not sent in it"
    else:
        return everything
    left_out = _left_out(space, gap)
    return Doubt(gap.row, gap.start, (*ranges, *left_out), f"records of these pages may be lost: {why}")


def _left_out(space: PageSpace, gap: Gap) -> list[tuple[int, int]]:
    """The pages of records that were read and not believed; in every block that has one, where it cannot be told."""
    ranges = []
    for block, address in gap.left_out:
        for b in range(len(space.pages)) if block == ANY_BLOCK else [block]:
            place = address // space.page_size
            if b < len(space.pages) and place < space.pages[b]:
                page = int(space.first[b]) + place
                ranges.append((page, page + 1))
    return ranges


def _first_sweep_goes_on(
    space: PageSpace,
    rows: NDArray[np.int64],
    carriers: NDArray[np.int64],
    i: int,
    following: NDArray[np.int64],
    columns: Columns,
) -> bool:
    """Whether the gap lies within the first sweep over one block: pages that were never sent follow one by one.

    The sender cannot have left the block and come back, since it would have sent all of it before.
    """
    frontier = int(rows[carriers[:i]].max())
    before, after = int(rows[carriers[i - 1]]), int(rows[following[0]])
    blocks = np.searchsorted(space.first, [before, frontier + 1, after], side="right")
    if before > after or len(set(blocks.tolist())) != 1:
        return False
    place = rows[following]
    new = np.flatnonzero(place > frontier)
    if not len(new):
        return False
    first = int(new[0])
    reached = np.maximum.accumulate(place[first:])
    sends = np.flatnonzero(np.diff(reached) > 0) + 1
    if not (np.diff(reached)[sends - 1] == 1).all():
        return False
    if _IS_DELTA[columns.kind[following[first:][sends[:FIRST_SENDS]]]].any():
        return False
    done = int(place.max()) == len(space) - 1
    return len(sends) >= (FEW_FIRST_SENDS if done else FIRST_SENDS)


def _others_untouched(
    space: PageSpace,
    image: Image,
    data: NDArray[np.uint8],
    columns: Columns,
    rows: NDArray[np.int64],
    earlier: NDArray[np.int64],
    following: NDArray[np.int64],
    ranges: tuple[tuple[int, int], ...],
    dialect: Dialect | None,
) -> bool:
    """Whether checksums show that the sender did not go round in the gap.

    Pages of the block that both of the last two whole sweeps sent would have been sent again: the next delta of some of
    them must fit what they held before the gap, and none outside ``ranges`` may fail to.
    """
    if dialect is None or dialect.checksum is Checksum.NONE:
        return False
    sweeps = Sweeps({}).number(columns.take(earlier)).astype(np.int64)
    block = columns.block[earlier[-1]]
    mine = columns.block[earlier] == block
    busy = np.intersect1d(
        rows[earlier[mine & (sweeps == sweeps[-1] - 1)]], rows[earlier[mine & (sweeps == sweeps[-1] - 2)]]
    )
    pages, first = np.unique(rows[following], return_index=True)
    places = following[first]
    outside = np.ones(len(pages), bool)
    for start, end in ranges:
        outside &= (pages < start) | (pages >= end)
    outside &= _IS_DELTA[columns.kind[places]] & (image.state[pages] == State.KNOWN)
    pages, places = pages[outside], places[outside]
    says = _carries_sum(columns, places, dialect)
    pages, places = pages[says], places[says]
    if len(np.intersect1d(pages, busy)) < CONFIRMED:
        return False
    scratch = image.pages[pages].copy()
    at = (columns.offset[places] + columns.head[places]).astype(np.int64)
    verdicts = deltas.apply(dialect.encoding, data, at, columns.length[places].astype(np.int64), scratch)
    holds = _sums_hold(columns, places, scratch, np.arange(len(places)), dialect)
    return bool(((verdicts == Verdict.OK) & holds).all())


def standing(
    space: PageSpace, data: NDArray[np.uint8], columns: Columns, dialect: Dialect | None, doubts: Sequence[Doubt]
) -> NDArray[np.bool_]:
    """Which records stand: replaying them alone gives the memory that is known at the end, and no other, (n,) bool.

    Left out are records before a doubt about their page, deltas whose base is lost, and what a later record refutes.
    """
    rows = space.rows(columns)
    stand = (rows >= 0) & (np.arange(len(columns)) >= since_when(rows, doubts))
    usual = _usual_flags(columns)
    places = np.flatnonzero(stand)
    baseless: list[NDArray[np.int64]] = []
    own: list[Doubt] = []
    image = Image(space)
    for start in range(0, len(places), CHUNK):
        mine = places[start : start + CHUNK]
        failed = mine[_refuted(image, data, columns.take(mine), rows[mine], dialect, usual, baseless)]
        baseless[-1] = mine[baseless[-1]]
        own += [Doubt(i + 1, 0, ((row, row + 1),), "") for i, row in zip(failed.tolist(), rows[failed], strict=True)]
    stand &= np.arange(len(columns)) >= since_when(rows, own)
    for lost in baseless:
        stand[lost] = False
    return stand
