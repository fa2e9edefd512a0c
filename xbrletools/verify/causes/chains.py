"""Chains: the records of one page in their order, replayed as the sender had the page.

A chain's step is what the page holds after a record, and how far that is from the byte sum that the record states.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...codec import deltas
from ...codec.verdict import Verdict
from ...formats.ram import Kind
from ...memory.replay import forgets_dups
from ...table.claims import stated
from ...table.kinds import IS_DELTA, IS_PAGE
from ..ledger import chosen, filled, pieces, room
from .reading import Ints, Read

Bytes = NDArray[np.uint8]

CHAIN_MAX = 256  # records of one chain that are replayed for a hypothesis
_SAMPLE = 1024  # deltas whose runs show which values are usual
_BIT_LENGTH = np.array([n.bit_length() for n in range(256)], np.int64)
_MASKS_MAX = 4096  # masks of deltas that are kept: 16 MiB


class Reads(Enum):
    """What a step of a chain shows."""

    NOTHING = "the record states no sum"
    HOLDS = "its sum holds"
    FAILS = "its sum fails"
    BASELESS = "a delta before any full record of its page"
    UNDECODED = "a delta that does not come to one page"


@dataclass(frozen=True, slots=True)
class Step:
    """A record of a chain. ``page`` (page_size,) uint8 is the page after it, or None where it is not known.

    ``need`` is the stated sum minus the page's own. It is 0 where no sum is stated.
    """

    row: int
    reads: Reads
    page: Bytes | None
    need: int = 0

    @property
    def speaks(self) -> bool:
        """Whether a stated sum was compared."""
        return self.reads in (Reads.HOLDS, Reads.FAILS)


class Chains:
    """The chains of a stream, by page."""

    def __init__(self, read: Read) -> None:
        self.read = read
        rows = read.rows
        #: The rows that carry a page, (n,) int64, and their pages.
        self.carriers: Ints = chosen(len(rows), lambda part: IS_PAGE[rows.kind[part]] & (read.page[part] >= 0))
        count = len(self.carriers)
        self.pages: Ints = filled(count, np.int64, lambda part: read.page[self.carriers[part]])
        bits = len(rows).bit_length()  # pages with their rows, which one sort in place brings along
        keys = filled(count, np.int64, lambda part: self.pages[part] << bits | self.carriers[part])
        keys.sort()
        self._first: Ints = chosen(count, lambda part: _begins(keys, part, bits))
        self._pages = filled(len(self._first), np.int64, lambda part: keys[self._first[part]] >> bits)
        self._end = filled(len(self._first), np.int64, lambda part: following(self._first, part, count))
        self._rows = filled(count, np.int64, lambda part: keys[part] & ((1 << bits) - 1))
        self.states, self.sums = room(len(rows), bool), room(len(rows), np.uint32)
        for part in pieces(len(rows)):
            self.states[part], self.sums[part] = stated(rows, read.grammar.reading.dialect, part)
        self.forgets = forgets_dups(read.grammar.reading.dialect)
        self.is_xor = read.grammar.delta is Kind.XBRLE
        self._masks: dict[int, Bytes | None] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def of(self, page: int) -> Ints:
        """The rows that carry ``page``, rising."""
        place = int(np.searchsorted(self._pages, page))
        if place >= len(self._pages) or self._pages[place] != page:
            return np.empty(0, np.int64)
        return self._rows[self._first[place] : self._end[place]]

    @cached_property
    def first_places(self) -> Ints:
        """The places among the carriers of the first record of each page, rising."""
        places: Ints = np.searchsorted(self.carriers, self._rows[self._first])
        places.sort()
        return places

    @cached_property
    def spans(self) -> tuple[Ints, Ints, Ints]:
        """All rows in the order of their pages, and where each page's begin and end among them."""
        return self._rows, self._first, self._end

    @cached_property
    def full(self) -> NDArray[np.bool_]:
        """Which rows give a base to the deltas after them: PAGEs, and dup pages that the sender caches, (n,) bool."""
        kind = self.read.rows.kind
        return np.asarray(IS_PAGE[kind] & ~IS_DELTA[kind] & ~((kind == Kind.DUP) & self.forgets))

    def is_full(self, row: int) -> bool:
        """Whether a record gives a base to the deltas after it: a PAGE, or a dup page that the sender caches."""
        return bool(self.full[row])

    def is_delta(self, row: int) -> bool:
        """Whether a record is a delta."""
        return bool(IS_DELTA[self.read.rows.kind[row]])

    def span(self, row: int) -> tuple[int, int]:
        """Where a record's payload begins and ends in the capture."""
        start = int(self.read.rows.offset[row]) + int(self.read.rows.head[row])
        return start, start + int(self.read.rows.length[row])

    def content(self, row: int) -> Bytes:
        """What a full record makes of its page, (page_size,) uint8."""
        start, end = self.span(row)
        data = self.read.data[start:end]
        return data if self.read.rows.kind[row] == Kind.PAGE else np.resize(data, self.read.page_size)

    def mask(self, row: int) -> Bytes | None:
        """What a delta XORs into its page, (page_size,) uint8. None where it does not come to one page."""
        if row not in self._masks:
            if len(self._masks) >= _MASKS_MAX:
                self._masks.clear()
            start, end = self.span(row)
            self._masks[row] = self.decoded(self.read.data[start:end])
        return self._masks[row]

    def decoded(self, payload: Bytes) -> Bytes | None:
        """The mask of a payload. None where it does not come to one page."""
        return decode(self.read, payload, np.zeros(self.read.page_size, np.uint8))

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """How often a run has a value, by its length's number of bits, in some of the deltas, (9, 256) float64."""
        rows = np.flatnonzero(IS_DELTA[self.read.rows.kind])
        rows = rows[:: max(1, len(rows) // _SAMPLE)]
        payloads = [self.read.data[slice(*self.span(row))] for row in rows.tolist()]
        pairs = np.concatenate([np.empty(0, np.uint8), *(p[: len(p) // 2 * 2] for p in payloads)]).reshape(-1, 2)
        place = _BIT_LENGTH[pairs[:, 0]] * 256 + pairs[:, 1]
        counts = np.bincount(place, minlength=9 * 256).reshape(9, 256) + 0.5
        odds: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
        return odds

    def likelier(self, offset: int, change: int) -> float:
        """How many times as often a run has the value at ``offset`` of the capture with a change as without it."""
        run, value = (int(b) for b in self.read.data[offset - 1 : offset + 1])
        of = self.values[run.bit_length()]
        return float(of[value ^ change] / of[value])

    def replay(self, rows: Ints | list[int], base: Bytes | None = None) -> list[Step]:
        """Replay records of one page in the sender's view, from ``base`` on."""
        steps, page = [], base
        for row in rows[:CHAIN_MAX]:
            row = int(row)
            reads = Reads.NOTHING
            if self.is_full(row):
                page = self.content(row)
            elif self.is_delta(row):
                page, reads = self._apply(row, page)
            need = 0
            if reads is Reads.NOTHING and self.states[row] and page is not None:
                need = int(self.sums[row]) - int(page.sum(dtype=np.int64))
                reads = Reads.FAILS if need else Reads.HOLDS
            steps.append(Step(row, reads, page, need))
        return steps

    def _apply(self, row: int, page: Bytes | None) -> tuple[Bytes | None, Reads]:
        if page is None:
            return None, Reads.BASELESS
        if self.is_xor:
            mask = self.mask(row)
            return (page, Reads.UNDECODED) if mask is None else (page ^ mask, Reads.NOTHING)
        start, end = self.span(row)
        new = decode(self.read, self.read.data[start:end], page)
        return (page, Reads.UNDECODED) if new is None else (new, Reads.NOTHING)

    def around(self, rows: Ints, row: int) -> Ints:
        """Of a chain's rows those that a change at ``row`` can matter to: from the last full record to the next."""
        full = self.full[rows]
        before = np.flatnonzero(full & (rows < row))
        after = np.flatnonzero(full & (rows > row))
        start = int(before[-1]) if len(before) else 0
        return rows[start : int(after[0]) if len(after) else len(rows)]

    def base_of(self, page: int, row: int) -> Bytes | None:
        """What ``page`` held before ``row``, as the sender had it. None where that is not known."""
        before = self.of(page)
        before = before[before < row]
        fulls = [i for i, r in enumerate(before.tolist()) if self.is_full(r)]
        if not fulls or len(before) - fulls[-1] > CHAIN_MAX:
            return None
        return self.replay(before[fulls[-1] :])[-1].page

    def failing(self, rows: Ints | list[int], base: Bytes | None = None) -> int:
        """How many steps of these records do not hold."""
        return sum(s.reads not in (Reads.NOTHING, Reads.HOLDS) for s in self.replay(rows, base))


def _begins(keys: Ints, part: slice, bits: int) -> NDArray[np.bool_]:
    """At which of these sorted keys another page begins than that of the key before, (n,) bool."""
    pages = keys[max(0, part.start - 1) : part.stop] >> bits
    other: NDArray[np.bool_] = pages[1:] != pages[:-1]
    return other if part.start else np.append(True, other)


def following(first: Ints, part: slice, count: int) -> Ints:
    """Where each of these pages' rows end: where those of the next begin."""
    after = first[part.start + 1 : part.stop + 1]
    return after if part.stop < len(first) else np.append(after, count)


def decode(read: Read, payload: Bytes, page: Bytes) -> Bytes | None:
    """``page`` after a delta with this payload, as a copy. None where the delta does not come to one page."""
    dialect = read.grammar.reading.dialect
    assert dialect is not None
    pages = page[None].copy()
    payload = np.ascontiguousarray(payload)
    verdict = deltas.apply(dialect.encoding, payload, np.zeros(1, np.int64), np.array([len(payload)]), pages)
    return pages[0] if verdict[0] == Verdict.OK else None
