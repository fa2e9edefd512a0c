"""How fast the guest writes its pages, as the passes of a capture show it.

A page that comes again in a pass was written since the pass before. How often that happens, after intervals of which
lengths, shows how many pages are written how often. The most likely mixture of rates is found by expectation and
maximization, with writes at random moments. What a page's rate is by itself is not asked: few passes do not show it.

Rates that are much faster than the shortest interval look all alike. `Writes.rates` has the slowest that they can be.
`Writes.fastest` has them without an end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..memory.moments import space_of
from ..model import Stream
from ..table.windows import slices
from .arrivals import Arrivals

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CLASSES = 8  # lengths of intervals that are told apart
SHORTEST = 1e-3  # seconds of an interval, at least
FASTEST = 1e5  # writes a second: as if without a pause
GRID = 64  # rates that are told apart, beside none
SLOWEST = 0.01  # writes in the whole capture, by the slowest of them
SURE = 3.0  # writes in the shortest interval, at least, from which on a page always comes
PATTERNS = 1 << 16  # ways to come again that are told apart
ROUNDS = 300
SMALL = 1e-4  # change of the mixture at which it stands


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over one block: its index, its number, its first moment in seconds, its records and their bytes."""

    block: int
    number: int
    start: float
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Writes:
    """Groups of pages that are written equally often, and the passes that show it.

    ``pages`` (n,) float64 are the pages of each group, ``rates`` (n,) float64 their writes a second, each of a page.
    ``fastest`` (n,) float64 has the rates as high as the passes allow. ``sent`` counts the pages that came at all,
    ``page_size`` is in bytes. ``measured``: the moments are those at which the bytes came. ``end`` is the last one, in
    seconds.
    """

    pages: Floats
    rates: Floats
    fastest: Floats
    sent: int
    page_size: int
    passes: tuple[Pass, ...]
    end: float
    measured: bool

    def dirty(self, seconds: float) -> float:
        """How many pages the guest writes in so many seconds."""
        return float((self.pages * -np.expm1(-self.rates * seconds)).sum())


def writes_of(stream: Stream, arrivals: Arrivals | None, speed: float) -> Writes:
    """How fast the guest of a capture writes its pages.

    Without ``arrivals`` it is assumed that the capture came at ``speed`` bytes a second.

    Raises:
        XbrleError: the blocks claim more than any guest has.
    """
    passes, end = _passes(stream, _clock(stream, arrivals, speed))
    space = space_of(stream)
    places = space.places(stream.records.columns)
    lengths = {(p.block, p.number): s for p, s in _intervals(passes)}
    edges = _edges(list(lengths.values()))
    counts = reserve((len(places), CLASSES), np.uint32)
    seen = reserve((len(places),), bool)
    for window in slices(stream.records):
        pages = space.pages_of(window.columns)
        rows = np.flatnonzero((pages >= 0) & window.is_page)
        block, number, at = window.columns.block[rows], window.pass_[rows], places.of(pages[rows])
        seen[at] = True
        for start, stop in _runs(block, number):
            length = lengths.get((int(block[start]), int(number[start])))
            if length is not None:
                counts[at[start:stop], _class_of(length, edges)] += 1
    came = np.flatnonzero(seen[:-1])
    of_block = np.searchsorted(space.first, places.numbers(came), side="right") - 1
    groups, rates, fastest = _rates(counts[came].astype(np.int64), of_block, lengths, edges)
    return Writes(groups, rates, fastest, len(came), stream.page_size, tuple(passes), end, arrivals is not None)


def _clock(stream: Stream, arrivals: Arrivals | None, speed: float) -> Callable[[Ints], Floats]:
    """Moments of rising rows of the record table, in seconds."""
    columns = stream.records.columns
    if arrivals is None:
        before = np.cumsum(columns.length.astype(np.int64) + columns.head)
        return lambda rows: np.asarray((before[rows] - columns.length[rows] - columns.head[rows]) / speed, np.float64)
    sections, last = stream.sections, int(arrivals.elapsed[-1])

    def at(rows: Ints) -> Floats:
        elapsed = arrivals.of(columns.offset[rows])
        if stream.records.main_size is not None:  # a channel's records came while the main channel was in their section
            offsets = np.array([sections[i].offset for i in stream.records.section[rows].tolist()], np.int64)
            elapsed = np.where(elapsed < 0, arrivals.of(offsets), elapsed)
        return np.asarray(np.where(elapsed < 0, last, elapsed) / 1e9, np.float64)

    return at


def _passes(stream: Stream, clock: Callable[[Ints], Floats]) -> tuple[list[Pass], float]:
    """Every pass over every block, in their order, and the moment of the last record."""
    found: dict[tuple[int, int], list[int]] = {}  # first row, records, bytes
    row = last = 0
    for window in slices(stream.records):
        rows = np.flatnonzero(window.is_page)
        c = window.columns.take(rows)
        block, number = c.block, window.pass_[rows]
        size = np.concatenate([[0], np.cumsum(c.length.astype(np.int64) + c.head)])
        for start, stop in _runs(block, number):
            one = found.setdefault((int(block[start]), int(number[start])), [row + int(rows[start]), 0, 0])
            one[1] += stop - start
            one[2] += int(size[stop] - size[start])
        last = row + int(rows[-1]) if len(rows) else last
        row += len(window)
    firsts = np.array([one[0] for one in found.values()] + [last], np.int64)
    moments = clock(firsts).tolist() if row else [0.0]
    passes = [
        Pass(block, number, moment, one[1], one[2])
        for ((block, number), one), moment in zip(found.items(), moments[:-1], strict=True)
    ]
    return passes, moments[-1]


def _runs(block: NDArray[np.uint16], number: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """Where records of one pass over one block stand together, [start, stop) each."""
    starts = np.flatnonzero((np.diff(block.astype(np.int64), prepend=-1) != 0) | (np.diff(number, prepend=0) != 0))
    return list(pairwise([*starts.tolist(), len(block)])) if len(block) else []


def _intervals(passes: list[Pass]) -> list[tuple[Pass, float]]:
    """Each pass over a block but the first, and the seconds since the one before it began."""
    before: dict[int, float] = {}
    out = []
    for one in passes:
        if one.block in before:
            out.append((one, max(SHORTEST, one.start - before[one.block])))
        before[one.block] = one.start
    return out


def _edges(lengths: list[float]) -> Floats:
    """What divides intervals into `CLASSES` classes of lengths: equal steps of their logarithm."""
    if not lengths:
        return np.empty(0)
    return np.geomspace(min(lengths), max(max(lengths), min(lengths) * 1.001), CLASSES + 1)[1:-1]


def _class_of(length: float, edges: Floats) -> int:
    return int(np.searchsorted(edges, length))


def _rates(
    counts: Ints, block: Ints, lengths: dict[tuple[int, int], float], edges: Floats
) -> tuple[Floats, Floats, Floats]:
    """Groups of pages, and their writes a second: at least, and at most.

    ``counts`` (pages, classes) says after how many intervals of each class each page came, ``block`` (pages,) is where
    the page lies.
    """
    if not len(counts) or not lengths:
        return np.empty(0), np.empty(0), np.empty(0)
    pages, block, came = _patterns(counts, block)
    totals = np.zeros((int(block.max()) + 1, CLASSES), np.int64)
    sums, in_class = np.zeros(CLASSES), np.zeros(CLASSES)
    for (of, _), length in lengths.items():
        at = _class_of(length, edges)
        sums[at] += length
        in_class[at] += 1
        if of < len(totals):
            totals[of, at] += 1
    mean = np.divide(sums, in_class, out=np.ones(CLASSES), where=in_class > 0)
    sure = max(SURE, np.log(2 * totals.sum(axis=1).max())) / min(lengths.values())
    slowest = SLOWEST / sum(lengths.values())
    grid = np.concatenate([[0.0], np.geomspace(slowest, max(sure, slowest * 10), GRID)])
    weights = _mixture(pages, came, np.maximum(totals[block] - came, 0), mean, grid)
    there = np.flatnonzero((weights > 0) & (grid > 0))
    rates = grid[there]
    return weights[there], rates, np.where(rates >= sure * 0.9, FASTEST, rates)


def _patterns(counts: Ints, block: Ints) -> tuple[Floats, Ints, Ints]:
    """The ways to come again: how many pages each has, the block, and their counts. Rare ones count for the others."""
    keys = np.concatenate([block[:, None], counts], axis=1)
    keys = keys[np.lexsort(keys.T)]
    begins = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)]))
    pages = np.diff(np.append(begins, len(keys))).astype(np.float64)
    if len(begins) > PATTERNS:
        most = np.sort(np.argsort(-pages, kind="stable")[:PATTERNS])
        begins, pages = begins[most], pages[most] * (pages.sum() / pages[most].sum())
    return pages, keys[begins, 0], keys[begins, 1:]


def _mixture(pages: Floats, came: Ints, clean: Ints, mean: Floats, grid: Floats) -> Floats:
    """How many pages are written at each rate of ``grid``, (rates,) float64.

    Group i has ``pages`` (n,), which came after ``came`` (n, classes) intervals of lengths ``mean`` (classes,) and did
    not after ``clean`` (n, classes).
    """
    written = -np.expm1(-grid[:, None] * mean)
    likely = came @ np.log(np.maximum(written, 1e-300)).T - clean @ (grid[:, None] * mean).T
    likely = np.exp(likely - likely.max(axis=1, keepdims=True))
    share = np.full(len(grid), 1 / len(grid))
    whole = pages.sum()
    for _ in range(ROUNDS):
        new: Floats = share * ((pages / (likely @ share)) @ likely) / whole
        moved = float(np.abs(new - share).sum())
        share = new
        if moved < SMALL:
            break
    out: Floats = share * whole
    return out
