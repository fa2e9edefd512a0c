"""What damage leaves unknown: which pages a gap, or a record that its checksum refutes, puts in doubt, and from when.

Records that a gap swallowed can only concern pages that the sender's walk passed between the last record before it and
the first after it, unless a whole round was lost; what rules that out is weighed here. docs/salvage.md has the claims.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..codec import deltas
from ..codec.checksum import byte_sum
from ..codec.verdict import Verdict
from ..formats.dialects import Checksum, Dialect
from ..formats.ram import Kind
from ..model import ANY_BLOCK, Block, Gap
from ..table.columns import Columns, Sweeps
from ..table.kinds import IS_DELTA
from .confirm import carries_sum, sums_hold
from .image import Image, PageSpace, State
from .lapses import Lapses, lapses
from .replay import CHUNK, Layer, View, apply, replay

FIRST_SENDS = 64  # first sends in order after a gap that show the first sweep going on
FEW_FIRST_SENDS = 8  # as many do where the sweep ends with them
CONFIRMED = 3  # pages that a checksum shows untouched by a gap, to rule out that a round was lost


class Cause(Enum):
    """What leaves a doubt."""

    GAP = "gap"  # bytes that were skipped may have held records
    RECORD = "record"  # a record is damaged: it does not decode, or its sum is wrong
    STALE = "stale"  # a record is whole, and the sender made it against a page that the receiver had lost


@dataclass(frozen=True, slots=True)
class Doubt:
    """Nothing is sure of these pages from just before row ``since`` of the table on, nor what records before ``until``
    say of them.

    ``ranges`` are [first, end) of global page rows; ``whole`` where every page is meant, since nothing bounds the loss.
    ``offset`` is where in the capture it shows.
    """

    since: int
    until: int
    offset: int
    ranges: tuple[tuple[int, int], ...]
    cause: Cause
    reason: str
    whole: bool = False


def find(
    space: PageSpace,
    data: NDArray[np.uint8],
    columns: Columns,
    dialect: Dialect | None,
    gaps: Sequence[Gap],
    view: View = View.RECEIVER,
) -> list[Doubt]:
    """Every doubt that the gaps and refuted records of a salvaged capture leave, in order of rows."""
    rows = space.rows(columns)
    carriers = np.flatnonzero(rows >= 0)
    counts = carriers
    if view is View.SENDER and dialect is not None and not dialect.caches_dup:
        counts = carriers[columns.kind[carriers] != Kind.DUP]  # such a page is no base for what follows
    checks = _Checks(space, data, columns, rows, dialect)
    doubts: list[Doubt] = []
    seen = np.unique(rows[carriers])
    inner = [g for g in gaps if g.row and g.may_hold_records]  # before the head nothing was known
    edges = sorted({0, *(g.row for g in inner), len(columns)})
    for start, end in pairwise(edges):
        for gap in (g for g in inner if g.row == start):
            doubt = _of_gap(gap, space, checks.image, data, columns, rows, carriers, dialect, end)
            doubts.append(doubt)
            for first, last in doubt.ranges:
                checks.image.set_unknown(seen[slice(*np.searchsorted(seen, (first, last)).tolist())])
        checks.run(counts[slice(*np.searchsorted(counts, (start, end)).tolist())])
    for place, since in checks.refuted:
        doubts += _of_record(place, since, space, data, columns, rows, carriers, dialect)
    ending = [g for g in inner if g.row == len(columns)]
    doubts += [_of_gap(g, space, checks.image, data, columns, rows, carriers, dialect, len(columns)) for g in ending]
    return sorted(doubts, key=lambda d: d.until)


def find_among_channels(space: PageSpace, columns: Columns, gaps: Sequence[Gap], broken: int | None) -> list[Doubt]:
    """The doubts of a multifd migration, whose records have no one order that could bound what a gap lost.

    From row ``broken`` on records are lost or out of order until the end: nothing that comes later is sure.
    """
    every = ((0, len(space)),)
    why = "records are lost, and those of several channels have no order that bounds what they were"
    doubts = [
        Doubt(g.row, g.row, g.start, every, Cause.GAP, why, whole=True) for g in gaps if g.row and g.may_hold_records
    ]
    if broken is not None and broken < len(columns):
        why = "the channels do not go together from here on; memory at the record before it stands"
        offset = int(columns.offset[broken])
        doubts.append(Doubt(broken, len(columns), offset, every, Cause.GAP, why, whole=True))
    return sorted(doubts, key=lambda d: d.until)


def as_lapses(doubts: Iterable[Doubt]) -> Lapses:
    """What lapses where these doubts begin."""
    return lapses([(d.since, d.until, first, stop) for d in doubts for first, stop in d.ranges])


class _Checks:
    """A replay that holds records against their checksums. ``image`` is memory so far, without what they refute.

    ``refuted`` has the row of each record that is refuted, and the first row whose version of the page it refutes:
    nothing vouches for what came after the page's last full record, or its last delta whose sum held.
    """

    def __init__(
        self,
        space: PageSpace,
        data: NDArray[np.uint8],
        columns: Columns,
        rows: NDArray[np.int64],
        dialect: Dialect | None,
    ) -> None:
        self.image = Image(space)
        self.refuted: list[tuple[int, int]] = []
        self._data, self._columns, self._rows, self._dialect = data, columns, rows, dialect
        self._usual = _usual_flags(columns)
        self._unsure = reserve((len(space),), np.int64)  # the first row of each page that nothing vouches for
        self._where = np.empty(0, np.int64)

    def run(self, places: NDArray[np.int64]) -> None:
        """Apply the records at these rows of the table."""
        for start in range(0, len(places), CHUNK):
            self._where = places[start : start + CHUNK]
            apply(self.image, self._data, self._columns.take(self._where), self._dialect, self._look)

    def _look(self, layer: Layer) -> None:
        full = np.ones(len(layer.places), bool)
        full[layer.deltas] = False
        where = self._where[layer.places]
        self._unsure[layer.rows[full]] = where[full]
        self._look_at_pages(where[full], layer.rows[full])
        if self._dialect is None:
            return
        places, pages = where[layer.deltas], layer.rows[layer.deltas]
        bad = layer.verdicts != Verdict.OK
        checked = np.flatnonzero(~bad & layer.based)
        holds = sums_hold(self._columns, places[checked], self.image.pages, pages[checked], self._dialect)
        bad[checked] = ~holds
        if self._usual is not None:
            bad |= self._columns.header_flags[places] != self._usual
        self._refute(places[bad], pages[bad])
        vouched = np.zeros(len(places), bool)
        vouched[checked] = holds
        vouched &= ~bad & carries_sum(self._columns, places, self._dialect)
        self._unsure[pages[vouched]] = places[vouched] + 1

    def _look_at_pages(self, places: NDArray[np.int64], pages: NDArray[np.int64]) -> None:
        """PAGE records that their own byte sum refutes, where they carry one."""
        if self._dialect is None or not self._dialect.page_sum:
            return
        columns = self._columns
        mine = np.flatnonzero(
            (columns.kind[places] == Kind.PAGE) & (columns.length[places] == self.image.space.page_size)
        )
        bad = mine[byte_sum(self.image.pages, pages[mine]) != columns.checksum[places[mine]]]
        self._refute(places[bad], pages[bad])

    def _refute(self, places: NDArray[np.int64], pages: NDArray[np.int64]) -> None:
        if len(places):
            since = np.minimum(self._unsure[pages], places)
            self.refuted += zip(places.tolist(), since.tolist(), strict=True)
            self.image.set_unknown(pages)


def _usual_flags(columns: Columns) -> int | None:
    """The header flags of nearly all deltas: a build writes one value. None where they differ too much to tell."""
    flags = columns.header_flags[IS_DELTA[columns.kind]]
    if not len(flags):
        return None
    counts = np.bincount(flags)
    most = int(counts.argmax())
    return most if counts[most] * 10 >= len(flags) * 9 else None


# -- what a gap leaves open --------------------------------------------------------------------------------------------


def _of_record(
    place: int,
    since: int,
    space: PageSpace,
    data: NDArray[np.uint8],
    columns: Columns,
    rows: NDArray[np.int64],
    carriers: NDArray[np.int64],
    dialect: Dialect | None,
) -> Iterator[Doubt]:
    """A record that is refuted: it or its page's records since the last that something vouches for are wrong.

    Its address may be what is wrong; then it belonged between its neighbours.
    """
    own, offset = int(rows[place]), int(columns.offset[place])
    ranges = ((own, own + 1),)
    if _of_a_stale_base(place, space, data, columns, rows, dialect):
        why = "a delta against a page that the receiver had lost to a dup page"
        yield Doubt(place, place + 1, offset, ranges, Cause.STALE, why)
        return
    since += int(np.argmax(rows[since : place + 1] == own))
    yield Doubt(since, place + 1, offset, ranges, Cause.RECORD, "a record that does not decode, or whose sum is wrong")
    i = int(np.searchsorted(carriers, place))
    before = int(rows[carriers[i - 1]]) if i else 0
    after = int(rows[carriers[i + 1]]) if i + 1 < len(carriers) else len(space) - 1
    why = "it may be of one of these pages, if its address is what is wrong"
    yield Doubt(place, place + 1, offset, _walk(space, before, after), Cause.RECORD, why)


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
    nowhere = np.zeros(len(piece), np.uint64)
    piece = replace(piece, address=nowhere, block=nowhere.astype(np.uint16))
    image = Image(PageSpace([Block(b"", space.page_size)], space.page_size))
    replay(image, data, piece, dialect, View.SENDER)
    last, page = np.array([len(piece) - 1]), np.array([0])
    known = image.state[0] == State.KNOWN and bool(carries_sum(piece, last, dialect)[0])
    return known and bool(sums_hold(piece, last, image.pages, page, dialect)[0])


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
    every = ((0, len(space)),)
    everything = Doubt(gap.row, gap.row, gap.start, every, Cause.GAP, "nothing bounds what was lost", whole=True)
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
    why = f"records of these pages may be lost: {why}"
    return Doubt(gap.row, gap.row, gap.start, (*ranges, *left_out), Cause.GAP, why)


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
    if not len(following):
        return False
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
    if IS_DELTA[columns.kind[following[first:][sends[:FIRST_SENDS]]]].any():
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
    outside &= IS_DELTA[columns.kind[places]] & (image.state[pages] == State.KNOWN)
    pages, places = pages[outside], places[outside]
    says = carries_sum(columns, places, dialect)
    pages, places = pages[says], places[says]
    if len(np.intersect1d(pages, busy)) < CONFIRMED:
        return False
    scratch = image.pages[pages].copy()
    at = columns.payload(places)
    verdicts = deltas.apply(dialect.encoding, data, at, columns.length[places].astype(np.int64), scratch)
    holds = sums_hold(columns, places, scratch, np.arange(len(places)), dialect)
    return bool(((verdicts == Verdict.OK) & holds).all())


def standing(
    space: PageSpace, data: NDArray[np.uint8], columns: Columns, dialect: Dialect | None, doubted: Lapses
) -> NDArray[np.bool_]:
    """Which records stand: replaying them alone gives the memory that is recovered at the end, and no other, (n,) bool.

    Left out are records before a doubt about their page, and deltas whose base is lost.
    """
    rows = space.rows(columns)
    stand = (rows >= 0) & (np.arange(len(columns)) >= doubted.sure_rows(rows))
    places = np.flatnonzero(stand)
    image = Image(space)
    for start in range(0, len(places), CHUNK):
        mine = places[start : start + CHUNK]

        def look(layer: Layer, mine: NDArray[np.int64] = mine) -> None:
            stand[mine[layer.places[layer.deltas[~layer.based]]]] = False

        apply(image, data, columns.take(mine), dialect, look)
    return stand
