"""The law of the grid: a sender of 2010 and 2011 ends a PART with the first record that crosses 32 KiB of its stream.

It tests its rate limit only after a flush of its buffer, which holds 32,768 bytes [C]. So the offset of each PART's end
bounds, modulo 32 KiB, how many bytes were added before it. The law is in force where the PARTs before the damage show
that they keep it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...formats.ram import Kind
from ...table.kinds import IS_PAGE
from ..ledger import each
from .reading import Ints, Read

BUFFER = 32768  # bytes of the sender's buffer
BITS = 14.0  # of surprise, had it been chance, from which on the law is in force
PIECES_MAX = 4  # steps of the grid that a damage can make


@dataclass(frozen=True, slots=True)
class Piece:
    """PARTs in a row that agree: before them between ``low`` and ``high`` bytes were added, modulo the grid.

    ``first`` and ``last`` are the rows of the EOS of the first and the last.
    """

    low: int
    high: int
    first: int
    last: int
    bits: float


@dataclass(frozen=True, slots=True)
class Shift:
    """A step of the grid: between the EOS at rows ``after`` (-1 for none) and ``before`` that many bytes were added."""

    low: int
    high: int
    after: int
    before: int


@dataclass(frozen=True)
class Grid:
    """What the ends of PARTs say. ``rows``, ``low`` and ``high`` (n,) are of each PART's EOS.

    ``pieces`` are the first of them, one more than `PIECES_MAX` at most.
    """

    rows: Ints
    low: Ints
    high: Ints
    pieces: tuple[Piece, ...]
    in_force: bool

    @cached_property
    def shift(self) -> Shift | None:
        """The one step of the grid, or None where there is none, or several."""
        pieces = self.pieces
        if not self.in_force or not 0 < len(pieces) <= PIECES_MAX:
            return None
        one = self._one_step()
        if one is not None:
            return one
        first, last = pieces[0], pieces[-1]
        if not first.low <= 0 <= first.high:
            return Shift(first.low, first.high, -1, first.first)
        if len(pieces) == 1 or last.low <= 0 <= last.high:
            return None
        return Shift(last.low, last.high, first.last, pieces[1].first)

    def _one_step(self) -> Shift | None:
        """The step, where all PARTs from the first that denies 0 on agree. PARTs before it can lie behind it, too."""
        off = np.flatnonzero(self.low > 0)
        if not len(off):
            return None
        first = int(off[0])
        low, high = int(self.low[first]), int(self.high[first])
        for at_least, at_most in zip(each(self.low[first:]), each(self.high[first:]), strict=True):
            turn = round(((low + high) / 2 - (at_least + at_most) / 2) / BUFFER) * BUFFER
            low, high = max(low, at_least + turn), min(high, at_most + turn)
            if low > high:
                return None
        turn = round((low + high) / 2 / BUFFER) * BUFFER
        low, high = low - turn, high - turn
        after = first
        while after > 0 and _meet((int(self.low[after - 1]), int(self.high[after - 1])), (low, high)):
            after -= 1
        return Shift(low, high, int(self.rows[after - 1]) if after else -1, int(self.rows[first]))

    def added(self, row: int) -> tuple[int, int] | None:
        """Between how many bytes were added before ``row``, as the PARTs after it have it, nearest 0.

        None where they do not agree, or where the law is not in force. The whole grid where none follows.
        """
        if not self.in_force:
            return None
        low, high = -BUFFER // 2, BUFFER // 2
        chosen = self.rows >= row
        for at_least, at_most in zip(each(self.low[chosen]), each(self.high[chosen]), strict=True):
            turn = round((at_least + at_most) / 2 / BUFFER) * BUFFER
            low, high = max(low, at_least - turn), min(high, at_most - turn)
        return (low, high) if low <= high else None


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two ranges have a number in common, modulo the grid."""
    turn = round((sum(one) - sum(other)) / 2 / BUFFER) * BUFFER
    return max(one[0], other[0] + turn) <= min(one[1], other[1] + turn)


def fits(low: int, high: int, size: int) -> bool:
    """Whether ``size`` bytes are, modulo the grid, between ``low`` and ``high``."""
    turn = round(((low + high) / 2 - size) / BUFFER) * BUFFER
    return low <= size + turn <= high


def weigh(read: Read) -> Grid:
    """Hold the ends of PARTs against the grid."""
    rows = read.rows
    none = np.empty(0, np.int64)
    if read.grammar.modern:
        return Grid(none, none, none, (), False)
    ends = np.flatnonzero(rows.kind == Kind.EOS)
    ends = ends[ends > 0]
    last = ends[-2:] if read.complete else ends[-1:]  # RAM's END, and the PART that nothing was left for
    ends = ends[~np.isin(ends, last) & IS_PAGE[rows.kind[ends - 1]]]
    begin, end = rows.offset[ends - 1].astype(np.int64), rows.offset[ends].astype(np.int64)
    sound = rows.end(ends - 1) == end
    for broken in read.breaks:
        resumes = broken.at if broken.resumes is None else broken.resumes.offset
        sound &= ~((broken.at <= end) & (resumes >= begin))
    ends, begin, end = ends[sound], begin[sound], end[sound]
    phase = (end - read.stream.facts.start) % BUFFER
    low, high = phase - (end - begin) + 1, phase
    pieces: list[Piece] = []
    count, bits = 0, 0.0
    for piece in _pieces(ends, low, high):
        count, bits = count + 1, max(bits, piece.bits)
        if count <= PIECES_MAX + 1:
            pieces.append(piece)
    in_force = 0 < count <= max(PIECES_MAX, len(ends) // 4) and bits >= BITS
    return Grid(ends, low, high, tuple(pieces), in_force)


def _pieces(rows: Ints, lows: Ints, highs: Ints) -> Iterator[Piece]:
    now: Piece | None = None
    for row, low, high in zip(each(rows), each(lows), each(highs), strict=True):
        size = high - low + 1
        bits = max(0.0, -math.log2(min(1.0, size / BUFFER)))
        if now is not None:
            turn = round(((now.low + now.high) / 2 - (low + high) / 2) / BUFFER) * BUFFER
            least, most = max(now.low, low + turn), min(now.high, high + turn)
            if least <= most:
                now = Piece(least, most, now.first, row, now.bits + bits)
                continue
            yield now
        turn = round((low + high) / 2 / BUFFER) * BUFFER
        now = Piece(low - turn, high - turn, row, row, bits)
    if now is not None:
        yield now
