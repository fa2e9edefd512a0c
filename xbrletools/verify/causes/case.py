"""A case: all the evidence of one stream, and the hypotheses about it that stand or fell."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...formats.dialects import Encoding
from ...formats.ram import Kind
from ...memory.image import Image, State
from ...memory.replay import apply
from ...table.kinds import IS_DELTA
from ..cause import CauseName, Repair
from . import grid, order, paced, room, sums
from .chains import Chains
from .reading import Break, Ints, Read

#: An encoding shorter than this share of a page is one that every sender prefers to the page itself.
_ENCODABLE = 0.95
_NEAREST = 20  # PAGEs of cached pages on each side of a point that its sender's choices are compared by
_TURN = 0.2  # from which share of them on the choices changed there
_TOGETHER = 1 << 20  # bytes of pages that are compared at once


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cause that stands. ``weight`` is how much speaks for it, beside the others.

    ``row`` is the record that it began at, ``offset`` and ``bit`` the place where they are known. ``repairs`` counts
    the repairs that fit equally well: ``repair`` is the only one. ``explains`` are the rows of what it makes wrong, and
    ``onward`` is the offset from which on all can be its consequence.
    """

    name: CauseName
    weight: float
    why: str
    row: int | None = None
    offset: int | None = None
    bit: int | None = None
    repair: Repair | None = None
    explains: tuple[int, ...] = ()
    onward: int | None = None


@dataclass(eq=False)
class Case:
    """The evidence of ``read``, weighed once. ``fell`` has the hypotheses that were tested and fell, and why."""

    read: Read
    chains: Chains
    sums: sums.Sums
    order: order.Order
    grid: grid.Grid
    swaps: list[tuple[int, int, int]]
    repeats: list[tuple[int, int, int]]
    fell: dict[CauseName, str] = field(default_factory=dict)

    def falls(self, name: CauseName, why: str) -> None:
        """Note that a hypothesis fell. The first reason stays."""
        self.fell.setdefault(name, why)

    @property
    def broken(self) -> Break | None:
        """The first break of the walk, if it is more than the end of the bytes."""
        return next((b for b in self.read.breaks if b.resumes is not None or b.why.name != "ENDS"), None)

    @property
    def speaks(self) -> bool:
        """Whether anything is out of order."""
        s, o = self.sums, self.order
        wrong = bool(len(s.first) or len(s.pages) or s.idle.any() or s.baseless.any())
        return wrong or o.broken or bool(self.broken) or self.grid.shift is not None or bool(self.repeats or self.swaps)

    def place(self, row: int) -> int:
        """The place among the carriers of the first one from ``row`` on."""
        return int(np.searchsorted(self.chains.carriers, row))

    def span(self, first: int, end: int) -> tuple[int, int]:
        """Where carriers [first, end) stand in the capture."""
        rows, carriers = self.read.rows, self.chains.carriers
        return int(rows.offset[carriers[first]]), int(rows.end(carriers[end - 1 : end])[0])

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """How likely a hole in the records held so many bytes, as `room.sizes`."""
        return room.sizes(self.read)

    @cached_property
    def pace(self) -> paced.Pace | None:
        """What the sizes of PARTs say, where a bandwidth limit rules them."""
        return paced.weigh(self.read)

    def strangeness(self, row: int) -> float:
        """How likely records of elsewhere would go on from ``row`` as near to the page before as these do."""
        place, pages = self.place(row), self.chains.pages
        if not 0 < place < len(pages):
            return 1.0
        step = int(pages[place] - pages[place - 1])
        return min(1.0, 2 * max(1, step) / max(1, len(self.read.space))) if step > 0 else 1.0

    @cached_property
    def foreign_rows(self) -> tuple[Ints, Ints]:
        """PAGEs of cached pages, and those of them that this sender would have sent as deltas: rows, rising."""
        read, rows = self.read, self.read.rows
        dialect = read.grammar.reading.dialect
        if dialect is None or dialect.encoding is not Encoding.RLE or not dialect.samples:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        order_, _, _ = self.chains.spans
        after_dup = np.zeros(len(rows), bool)
        after_dup[order_[1:]] = (rows.kind[order_[:-1]] == Kind.DUP) & (read.page[order_[1:]] == read.page[order_[:-1]])
        kept = self.chains.carriers
        if self.chains.forgets:
            kept = kept[rows.kind[kept] != Kind.DUP]
        cached: list[Ints] = []
        foreign: list[Ints] = []
        image = Image(read.space)

        def foresee(places: Ints, pages: Ints) -> None:
            of = kept[places]
            which = np.flatnonzero((rows.kind[of] == Kind.PAGE) & (image.state[pages] == State.RECOVERED))
            which = which[rows.length[of[which]] == read.page_size]
            if not len(which):
                return
            cached.append(of[which])
            start = read.rows.payload(of[which])
            step = max(1, _TOGETHER // read.page_size)
            for part in range(0, len(which), step):
                some = which[part : part + step]
                new = read.data[start[part : part + step, None] + np.arange(read.page_size)]
                xor = image.pages[pages[some]] ^ new
                runs = 1 + np.count_nonzero(xor[:, 1:] != xor[:, :-1], axis=1)
                fits = (xor[:, 0] == 0) & (2 * runs < _ENCODABLE * read.page_size) & ~after_dup[of[some]]
                foreign.append(of[some][fits])

        apply(image, read.payloads.take(kept), None, foresee)
        none = np.empty(0, np.int64)
        return np.sort(np.concatenate([none, *cached])), np.sort(np.concatenate([none, *foreign]))

    def foreign(self, row: int) -> tuple[int, int, int, int]:
        """Of the PAGEs of cached pages: how many should have been deltas, and how many there are, before and after."""
        cached, odd = self.foreign_rows
        before, total = int(np.searchsorted(odd, row)), int(np.searchsorted(cached, row))
        return before, total, len(odd) - before, len(cached) - total

    def turns(self, row: int) -> bool:
        """Whether the sender's choices change right at ``row``, by the nearest PAGEs of cached pages."""
        cached, odd = self.foreign_rows
        place = int(np.searchsorted(cached, row))
        sides = cached[max(0, place - _NEAREST) : place], cached[place : place + _NEAREST]
        before, after = (float(np.isin(side, odd).mean()) if len(side) else 0.0 for side in sides)
        return abs(after - before) >= _TURN

    def crossing(self, row: int, until: int | None = None) -> tuple[int, int]:
        """Of pages with a base from before ``row`` and no record from then to ``until``: how many next deltas hold, and
        how many fail.
        """
        order_, first, end = self.chains.spans
        rows, size = self.read.rows, len(self.read.rows) + 1
        index = np.repeat(np.arange(len(first)), end - first)
        full = ~IS_DELTA[rows.kind[order_]] & ~((rows.kind[order_] == Kind.DUP) & self.chains.forgets)
        before = np.append(0, np.cumsum(full))
        following = np.searchsorted(index * size + order_, np.arange(len(first)) * size + row)
        has = (following > first) & (following < end) & (before[following.clip(0, len(order_))] > before[first])
        following = order_[following[has]]
        if until is not None:
            following = following[following >= until]
        following = following[IS_DELTA[rows.kind[following]]]
        bad = np.isin(following, self.sums.first) | self.sums.idle[following]
        return int(self.sums.holds[following].sum()), int(bad.sum())


def open_case(read: Read, compare: bool = True) -> Case:
    """Weigh the evidence of a stream. Without ``compare`` no page is replayed, and so no sum compared."""
    chains = Chains(read)
    ordered = order.weigh(chains)
    compared = sums.weigh(chains) if compare else sums.silent(len(read.rows))
    found = Case(read, chains, compared, ordered, grid.weigh(read), order.swaps(ordered, read.grammar.modern), [])
    found.repeats = order.repeats(chains, ordered)
    return found
