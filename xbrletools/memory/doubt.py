"""What damage leaves unknown: which pages a gap, or a record that its checksum refutes, puts in doubt, and from when.

Records that a gap swallowed can only concern pages that the sender's walk passed between the last record before it and
the first after it, unless a whole round was lost. What rules that out is weighed here. docs/salvage.md has the claims.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values, distinct
from ..codec.checksum import byte_sum
from ..codec.verdict import Verdict
from ..formats.ram import Kind
from ..model import ANY_BLOCK, Block, Gap, Stream
from ..table.claims import stated, states_sums
from ..table.columns import Columns, Sweeps
from ..table.kinds import IS_DELTA
from .confirm import sums_fit, sums_hold
from .image import Image, PageSpace, State
from .lapses import Lapses, lapses
from .replay import CHUNK, Layer, View, apply, forgets_dups, replay

FIRST_SENDS = 64  # first sends in order after a gap that show the first sweep going on
FEW_FIRST_SENDS = 8  # as many do where the sweep ends with them
CONFIRMED = 3  # pages that a checksum shows untouched by a gap, to rule out that a round was lost

Ints = NDArray[np.int64]
Ranges = tuple[tuple[int, int], ...]


class Cause(Enum):
    """What leaves a doubt."""

    GAP = "gap"  # bytes that were skipped may have held records
    RECORD = "record"  # a record is damaged: it does not decode, or its sum is wrong
    STALE = "stale"  # a record is whole, and the sender made it against a page that the receiver had lost


@dataclass(frozen=True, slots=True)
class Doubt:
    """Pages of which nothing is sure from just before row ``since`` of the table on, until they are given anew.

    Nor is what records before row ``until`` say of them. ``ranges`` are [first, end) of page numbers. ``whole``: every
    page is meant, since nothing bounds the loss. ``offset`` is where in the capture it shows.
    """

    since: int
    until: int
    offset: int
    ranges: Ranges
    cause: Cause
    reason: str
    whole: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """The records of a stream as the sender's walk over memory.

    ``pages`` (rows,) int64 has the page of each record, -1 for none. ``carriers`` (n,) int64 are the rows that have
    one.
    """

    stream: Stream
    space: PageSpace
    pages: Ints
    carriers: Ints

    @property
    def columns(self) -> Columns:
        """The stored columns of all records."""
        return self.stream.records.columns

    def place(self, row: int) -> int:
        """The place among the carriers of the first at or after a row."""
        return int(np.searchsorted(self.carriers, row))

    def passes(self, before: int, after: int) -> Ranges:
        """The pages that the walk passes from page ``before`` to page ``after``, both included, in less than a round.

        It goes to the end of the block, then through the other blocks in an order that changes.
        """
        space = self.space
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


def doubts(stream: Stream, space: PageSpace, view: View = View.RECEIVER) -> list[Doubt]:
    """Every doubt that the gaps and refuted records of a salvaged capture leave, in order of rows."""
    columns = stream.records.columns
    pages = space.pages_of(columns)
    walk = _Walk(stream, space, pages, np.flatnonzero(pages >= 0))
    applied = walk.carriers
    if forgets_dups(stream.dialect, view):
        applied = applied[columns.kind[applied] != Kind.DUP]  # such a page is not a base for what follows
    checks = _Checks(stream, space)
    found: list[Doubt] = []
    sent = distinct(pages[walk.carriers])
    inner = [g for g in stream.facts.gaps if g.row and g.may_hold_records]  # before the head nothing was known
    edges = sorted({0, *(g.row for g in inner), len(columns)})
    for start, end in pairwise(edges):
        for gap in (g for g in inner if g.row == start):
            doubt = _of_gap(walk, gap, checks.image, end)
            found.append(doubt)
            for first, last in doubt.ranges:
                checks.image.set_unknown(sent[slice(*np.searchsorted(sent, (first, last)).tolist())])
        checks.run(applied[slice(*np.searchsorted(applied, (start, end)).tolist())])
    for row, since in checks.refuted:
        found += _of_record(walk, row, since)
    found += [_of_gap(walk, g, checks.image, len(columns)) for g in inner if g.row == len(columns)]
    return sorted(found, key=lambda d: d.until)


def doubts_among_channels(stream: Stream, space: PageSpace) -> list[Doubt]:
    """The doubts of a migration with channels, whose records do not have one order that could bound what a gap lost.

    From the stream's ``broken`` row on, records are lost or out of order until the end. Nothing later is sure, whatever
    the main channel says. Pages that came and cannot be read are in doubt until they come again.
    """
    columns, broken = stream.records.columns, stream.broken
    every = ((0, len(space)),)
    why = "records are lost, and nothing in the order of several channels' records bounds what they were"
    found = [
        Doubt(g.row, g.row, g.start, every, Cause.GAP, why, whole=True)
        for g in stream.facts.gaps
        if g.row and g.may_hold_records
    ]
    if broken is not None and broken < len(columns):
        why = "the channels do not go together from here on; memory at the record before it stands"
        offset = int(columns.offset[broken])
        found.append(Doubt(broken, len(columns), offset, every, Cause.GAP, why, whole=True))
    found += _of_lost(stream, space)
    return sorted(found, key=lambda d: d.until)


def _of_lost(stream: Stream, space: PageSpace) -> Iterator[Doubt]:
    """A doubt for each run of pages that came on a channel and cannot be read."""
    lost, end = stream.lost, stream.facts.end
    if not len(lost):
        return
    inside = lost.block < len(space.pages)
    place = lost.address // space.page_size
    inside[inside] &= place[inside] < space.pages[lost.block[inside]]
    rows, pages = lost.row[inside], (space.first[np.where(inside, lost.block, 0)] + place)[inside]
    order = np.lexsort((pages, rows))
    rows, pages = rows[order], pages[order]
    begins = np.flatnonzero(np.append(True, (np.diff(rows) != 0) | (np.diff(pages) > 1)))
    for i, j in pairwise([*begins.tolist(), len(rows)]):
        row = int(rows[i])
        yield Doubt(row, row, end, ((int(pages[i]), int(pages[j - 1]) + 1),), Cause.GAP, lost.reason)


def as_lapses(doubted: Iterable[Doubt]) -> Lapses:
    """What lapses where these doubts begin."""
    return lapses([(d.since, d.until, first, stop) for d in doubted for first, stop in d.ranges])


class _Checks:
    """A replay that holds records against their checksums. ``image`` is memory so far, without what they refute.

    ``refuted`` has the row of each record that is refuted, and the first row whose version of the page it refutes:
    nothing vouches for what came after the page's last full record, or its last delta whose sum held.
    """

    def __init__(self, stream: Stream, space: PageSpace) -> None:
        self.image = Image(space)
        self.refuted: list[tuple[int, int]] = []
        self._stream, self._columns = stream, stream.records.columns
        self._usual = _usual_flags(self._columns)
        # The first row of each page that nothing vouches for.
        self._unsure = Values(space.places(stream.records.columns), np.int64)
        self._chunk_rows = np.empty(0, np.int64)

    def run(self, rows: Ints) -> None:
        """Apply the records at these rows of the table."""
        for start in range(0, len(rows), CHUNK):
            self._chunk_rows = rows[start : start + CHUNK]
            apply(self.image, self._stream.payloads.take(self._chunk_rows), self._look)

    def _look(self, layer: Layer) -> None:
        dialect = self._stream.dialect
        full = np.ones(len(layer.places), bool)
        full[layer.deltas] = False
        layer_rows = self._chunk_rows[layer.places]
        self._unsure[layer.pages[full]] = layer_rows[full]
        self._look_at_pages(layer_rows[full], layer.pages[full])
        if dialect is None:
            return
        rows, pages = layer_rows[layer.deltas], layer.pages[layer.deltas]
        bad = layer.verdicts != Verdict.OK
        checked = np.flatnonzero(~bad & layer.based)
        holds = sums_hold(self._stream.payloads, rows[checked], self.image.pages, pages[checked])
        bad[checked] = ~holds
        if self._usual is not None:
            bad |= self._columns.header_flags[rows] != self._usual
        self._refute(rows[bad], pages[bad])
        vouched = np.zeros(len(rows), bool)
        vouched[checked] = holds
        vouched &= ~bad & stated(self._columns, dialect, rows)[0]
        self._unsure[pages[vouched]] = rows[vouched] + 1

    def _look_at_pages(self, rows: Ints, pages: Ints) -> None:
        """Refute PAGE records by their own byte sum, where they carry one."""
        if self._stream.dialect is None or not self._stream.dialect.page_sum:
            return
        columns = self._columns
        whole = np.flatnonzero((columns.kind[rows] == Kind.PAGE) & (columns.length[rows] == self._stream.page_size))
        bad = whole[byte_sum(self.image.pages, pages[whole]) != columns.checksum[rows[whole]]]
        self._refute(rows[bad], pages[bad])

    def _refute(self, rows: Ints, pages: Ints) -> None:
        if len(rows):
            since = np.minimum(self._unsure[pages], rows)
            self.refuted += zip(rows.tolist(), since.tolist(), strict=True)
            self.image.set_unknown(pages)


def _usual_flags(columns: Columns) -> int | None:
    """The header flags of nearly all deltas: a build writes one value. None where they differ too much to tell."""
    flags = columns.header_flags[IS_DELTA[columns.kind]]
    if not len(flags):
        return None
    counts = np.bincount(flags)
    most = int(counts.argmax())
    return most if counts[most] * 10 >= len(flags) * 9 else None


# -- what a refuted record leaves open ---------------------------------------------------------------------------------


def _of_record(walk: _Walk, row: int, since: int) -> Iterator[Doubt]:
    """The doubts about a refuted record: it is wrong, or its page's records since the last that something vouches for.

    Its address may be what is wrong. Then it belonged between its neighbours.
    """
    own, offset = int(walk.pages[row]), int(walk.columns.offset[row])
    ranges = ((own, own + 1),)
    if _has_a_stale_base(walk, row):
        why = "a delta against a page that the receiver had lost to a dup page"
        yield Doubt(row, row + 1, offset, ranges, Cause.STALE, why)
        return
    since += int(np.argmax(walk.pages[since : row + 1] == own))
    yield Doubt(since, row + 1, offset, ranges, Cause.RECORD, "a record that does not decode, or whose sum is wrong")
    i, carriers = walk.place(row), walk.carriers
    before = int(walk.pages[carriers[i - 1]]) if i else 0
    after = int(walk.pages[carriers[i + 1]]) if i + 1 < len(carriers) else len(walk.space) - 1
    why = "it may be of one of these pages, if its address is what is wrong"
    yield Doubt(row, row + 1, offset, walk.passes(before, after), Cause.RECORD, why)


def _has_a_stale_base(walk: _Walk, row: int) -> bool:
    """Whether the sender made a refuted delta against a page that it sent before a dup page.

    The delta's sum then holds in the sender's view. Such a record is whole. Its page is unknown, and no other page is.
    """
    dialect, size = walk.stream.dialect, walk.space.page_size
    if not forgets_dups(dialect) or not states_sums(dialect):
        return False
    story = walk.columns.take(np.flatnonzero(walk.pages[: row + 1] == walk.pages[row]))
    nowhere = np.zeros(len(story), np.uint64)
    story = replace(story, address=nowhere, block=nowhere.astype(np.uint16))
    image = Image(PageSpace([Block(b"", size)], size))
    records = replace(walk.stream.payloads, columns=story)
    replay(image, records, View.SENDER)
    last, page = np.array([len(story) - 1]), np.array([0])
    recovered = image.state[0] == State.RECOVERED and bool(stated(story, dialect, last)[0][0])
    return recovered and bool(sums_hold(records, last, image.pages, page)[0])


# -- what a gap leaves open --------------------------------------------------------------------------------------------


def _of_gap(walk: _Walk, gap: Gap, image: Image, end: int) -> Doubt:
    """The pages that records lost in a gap can concern. ``image`` is memory before it, ``end`` the row of the next."""
    i, carriers = walk.place(gap.row), walk.carriers
    every = ((0, len(walk.space)),)
    everything = Doubt(gap.row, gap.row, gap.start, every, Cause.GAP, "nothing bounds what was lost", whole=True)
    if not i or i == len(carriers):
        return everything
    ranges = walk.passes(int(walk.pages[carriers[i - 1]]), int(walk.pages[carriers[i]]))
    following = carriers[i : walk.place(end)]
    if gap.in_place:
        why = "the skipped bytes are one record's"
    elif _first_sweep_goes_on(walk, carriers[:i], following):
        why = "the first sweep over memory goes on after it"
    elif _others_untouched(walk, image, carriers[:i], following, ranges):
        why = "checksums show that pages elsewhere were not sent in it"
    else:
        return everything
    why = f"records of these pages may be lost: {why}"
    return Doubt(gap.row, gap.row, gap.start, (*ranges, *_left_out(walk.space, gap)), Cause.GAP, why)


def _left_out(space: PageSpace, gap: Gap) -> list[tuple[int, int]]:
    """The pages of records that were read and not believed.

    Where the block cannot be told, these are the pages of every block that has one.
    """
    ranges = []
    for block, address in gap.left_out:
        for b in range(len(space.pages)) if block == ANY_BLOCK else [block]:
            place = address // space.page_size
            if b < len(space.pages) and place < space.pages[b]:
                page = int(space.first[b]) + place
                ranges.append((page, page + 1))
    return ranges


def _first_sweep_goes_on(walk: _Walk, earlier: Ints, following: Ints) -> bool:
    """Whether the gap lies within the first sweep over one block: pages that were never sent follow one by one.

    ``earlier`` and ``following`` are the rows before and after it. The sender cannot have left the block and come back,
    since it would have sent all of it before.
    """
    if not len(following):
        return False
    frontier = int(walk.pages[earlier].max())
    before, after = int(walk.pages[earlier[-1]]), int(walk.pages[following[0]])
    blocks = np.searchsorted(walk.space.first, [before, frontier + 1, after], side="right")
    if before > after or len(set(blocks.tolist())) != 1:
        return False
    pages = walk.pages[following]
    new = np.flatnonzero(pages > frontier)
    if not len(new):
        return False
    first = int(new[0])
    reached = np.maximum.accumulate(pages[first:])
    sends = np.flatnonzero(np.diff(reached) > 0) + 1
    if not (np.diff(reached)[sends - 1] == 1).all():
        return False
    if IS_DELTA[walk.columns.kind[following[first:][sends[:FIRST_SENDS]]]].any():
        return False
    done = int(pages.max()) == len(walk.space) - 1
    return len(sends) >= (FEW_FIRST_SENDS if done else FIRST_SENDS)


def _others_untouched(walk: _Walk, image: Image, earlier: Ints, following: Ints, ranges: Ranges) -> bool:
    """Whether checksums show that the sender did not go round in the gap.

    Pages of the block that both of the last two whole sweeps sent would have been sent again. So the next delta of some
    of them must fit what they held before the gap, and none outside ``ranges`` may fail to.
    """
    columns, dialect = walk.columns, walk.stream.dialect
    if dialect is None or not states_sums(dialect):
        return False
    sweeps = Sweeps({}).number(columns.take(earlier)).astype(np.int64)
    in_block = columns.block[earlier] == columns.block[earlier[-1]]
    last_sweeps = [walk.pages[earlier[in_block & (sweeps == sweeps[-1] - back)]] for back in (1, 2)]
    busy = np.intersect1d(*last_sweeps)
    pages, first = np.unique(walk.pages[following], return_index=True)
    rows = following[first]
    outside = np.ones(len(pages), bool)
    for start, end in ranges:
        outside &= (pages < start) | (pages >= end)
    outside &= IS_DELTA[columns.kind[rows]] & (image.state[pages] == State.RECOVERED)
    outside &= stated(columns, dialect, rows)[0]
    pages, rows = pages[outside], rows[outside]
    if len(np.intersect1d(pages, busy)) < CONFIRMED:
        return False
    return bool(sums_fit(image, walk.stream.payloads, pages, rows).all())


def standing(stream: Stream, space: PageSpace, doubted: Lapses) -> NDArray[np.bool_]:
    """Which records stand, (n,) bool: replaying them alone gives the memory that is recovered at the end.

    Left out are records before a doubt about their page, and deltas whose base is lost.
    """
    columns = stream.records.columns
    pages = space.pages_of(columns)
    stand = (pages >= 0) & (np.arange(len(columns)) >= doubted.sure_rows(pages))
    rows = np.flatnonzero(stand)
    image = Image(space)
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]

        def look(layer: Layer, chunk: Ints = chunk) -> None:
            stand[chunk[layer.places[layer.deltas[~layer.based]]]] = False

        apply(image, stream.payloads.take(chunk), look)
    return stand
