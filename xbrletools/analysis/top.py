"""Which pages the sender sent most: resends, bytes and passes of each page, or of each range of pages.

A record of a page that is not the page's first one in the stream is a *resend*: the guest wrote the page since. Counts
are kept for each page that records carry, and the table is read a window at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, reserve
from ..filters import Filter
from ..filters.conditions import Located
from ..memory.moments import space_of
from ..model import Block, Stream
from ..table.kinds import IS_DELTA
from ..table.windows import Window, slices

Ints = NDArray[np.int64]

BY_BLOCK = 0  # the size of a range that is a whole block
_PASS_BITS = np.uint64(32)
_PASS = np.uint64((1 << 32) - 1)


class Order(Enum):
    """What comes first. All but addresses fall. Equal rows come by bytes, then by address."""

    RESENDS = "resends"
    BYTES = "bytes"
    RESENT = "resent"
    PASSES = "passes"
    DELTA = "delta"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Top:
    """Ranges of pages that records carry, (n,) int64 each.

    A range is ``length`` bytes of ``block`` (its index) from ``address`` on. ``pages`` counts those in it that came.
    ``records`` counts their records, ``resends`` those that are not a page's first in the stream. ``bytes`` are whole
    records on the wire, ``resent_bytes`` those of resends, ``payload`` their payloads alone. ``deltas`` and
    ``delta_bytes`` count the deltas and their payloads. The passes of range i are
    ``passes[starts[i]:starts[i] + counts[i]]``, rising. ``outside`` counts the records of pages that lie outside every
    block. They are in no range.
    """

    block: Ints
    address: Ints
    length: Ints
    pages: Ints
    records: Ints
    resends: Ints
    bytes: Ints
    resent_bytes: Ints
    payload: Ints
    deltas: Ints
    delta_bytes: Ints
    starts: Ints
    counts: Ints
    passes: Ints
    outside: int
    page_size: int

    def __len__(self) -> int:
        return len(self.block)

    def passes_of(self, row: int) -> list[int]:
        """The passes in which pages of a range came, rising."""
        start = int(self.starts[row])
        found: list[int] = self.passes[start : start + int(self.counts[row])].tolist()
        return found

    @property
    def delta_share(self) -> NDArray[np.float64]:
        """The bytes of deltas against the pages that they stand for, (n,) float64. It is NaN without deltas."""
        whole = self.deltas * self.page_size
        share: NDArray[np.float64] = np.full(len(self), np.nan)
        return np.divide(self.delta_bytes, whole, out=share, where=whole > 0)

    def order(self, by: Order) -> Ints:
        """The rows in another order, (n,) int64."""
        if by is Order.ADDRESS:
            return np.arange(len(self))
        values = {
            Order.RESENDS: self.resends,
            Order.BYTES: self.bytes,
            Order.RESENT: self.resent_bytes,
            Order.PASSES: self.counts,
            Order.DELTA: np.nan_to_num(self.delta_share, nan=-1.0),
        }[by]
        return np.lexsort((-self.bytes, -values))

    def numbers(self, blocks: Sequence[int] | Ints) -> Ints:
        """The pages' numbers among those of all blocks, (n,) int64. ``blocks`` are the first pages of the blocks."""
        return np.asarray(np.asarray(blocks, np.int64)[self.block] + self.address // self.page_size)

    def sorted(self, by: Order, limit: int | None = None) -> "Top":
        """The same ranges in another order, and of those the first ``limit``."""
        return self.take(self.order(by)[:limit])

    def take(self, rows: Ints) -> "Top":
        """Some ranges, (m,) rows. The passes stay as they are."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})


_COLUMNS = tuple(Top.__dataclass_fields__)[:-3]  # those that have a value for each range
_SUMS = ("records", "resends", "bytes", "resent_bytes", "payload", "deltas", "delta_bytes")


@dataclass(slots=True)
class _Pages:
    """The sums of each page that came, by its place in ``places``, and the pairs of place and pass that occur."""

    places: Places
    sums: dict[str, Ints] = field(default_factory=dict)
    seen: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    last: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    pairs: list[NDArray[np.uint64]] = field(default_factory=list)
    outside: int = 0

    def __post_init__(self) -> None:
        self.sums = {name: reserve((len(self.places),), np.int64) for name in _SUMS}
        self.seen = reserve((len(self.places),), bool)
        self.last = reserve((len(self.places),), np.uint32)

    def add(self, window: Window, pages: Ints, chosen: NDArray[np.bool_]) -> None:
        """Add the records ``chosen`` (n,) of a window. ``pages`` (n,) are their pages, -1 for none."""
        inside = pages >= 0
        self.outside += int(np.count_nonzero(chosen & window.is_page & ~inside))
        rows = np.flatnonzero(inside & window.is_page)
        at = self.places.of(pages[rows])
        again = self._again(at)
        keep = chosen[rows]
        rows, at, again = rows[keep], at[keep], again[keep]
        c = window.columns
        payload = c.length[rows].astype(np.int64)
        wire, is_delta = payload + c.head[rows], IS_DELTA[c.kind[rows]]
        for name, values in (
            ("records", np.ones(len(rows), np.int64)),
            ("resends", again.astype(np.int64)),
            ("bytes", wire),
            ("resent_bytes", wire * again),
            ("payload", payload),
            ("deltas", is_delta.astype(np.int64)),
            ("delta_bytes", payload * is_delta),
        ):
            np.add.at(self.sums[name], at, values)
        passes = window.pass_[rows]
        new = passes != self.last[at]  # the passes of a block only rise
        self.last[at] = passes
        self.pairs.append(at[new].astype(np.uint64) << _PASS_BITS | passes[new])

    def _again(self, at: Ints) -> NDArray[np.bool_]:
        """Which of these records, by the places of their pages, follow another of the same page."""
        again: NDArray[np.bool_] = np.ones(len(at), bool)
        places, firsts = np.unique(at, return_index=True)
        again[firsts] = self.seen[places]
        self.seen[places] = True
        return again


def top(stream: Stream, wanted: Filter | None = None, findings: Iterable[Located] = ()) -> Top:
    """What was sent of each page, in the order of addresses.

    Records that ``wanted`` does not hold for are left out. A record that it holds for is a resend where any earlier
    record carried its page. ``findings`` are what its term ``finding:`` looks at. Memory grows with the pages that came
    and the passes that each came in.

    Raises:
        XbrleError: the blocks claim more than any guest has.
    """
    space = space_of(stream)
    pages = _Pages(space.places(stream.records.columns))
    for window in slices(stream.records):
        chosen = np.ones(len(window), bool) if wanted is None else wanted.mask(window, findings)
        pages.add(window, space.pages_of(window.columns), chosen)
    came = np.flatnonzero(pages.sums["records"][:-1])
    number = pages.places.numbers(came)
    block = np.searchsorted(space.first, number, side="right") - 1
    row_of = np.zeros(len(pages.places), np.uint64)  # by place
    row_of[came] = np.arange(len(came))
    pairs = _distinct([row_of[p >> _PASS_BITS] << _PASS_BITS | p & _PASS for p in pages.pairs])
    sums: dict[str, Ints] = {name: pages.sums[name][came] for name in _SUMS}
    return Top(
        block=block,
        address=(number - space.first[block]) * space.page_size,
        length=np.full(len(came), space.page_size),
        pages=np.ones(len(came), np.int64),
        **sums,
        **_passes(pairs, len(came)),
        outside=pages.outside,
        page_size=space.page_size,
    )


def ranges(found: Top, blocks: Sequence[Block], size: int) -> Top:
    """The pages of `top` put together by ranges of ``size`` bytes, a multiple of the page size, or `BY_BLOCK`."""
    lengths = np.array([b.length for b in blocks], np.int64)[found.block]
    start = np.zeros(len(found), np.int64) if size == BY_BLOCK else found.address // size * size
    stop = lengths if size == BY_BLOCK else np.minimum(start + size, lengths)
    begins = np.flatnonzero((np.diff(found.block, prepend=-1) != 0) | (np.diff(start, prepend=-1) != 0))
    group = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(found))))
    made = grouped(found, group, len(begins))
    return replace(made, block=found.block[begins], address=start[begins], length=(stop - start)[begins])


def grouped(found: Top, group: Ints, count: int) -> Top:
    """The pages of `top` put together by ``group`` (n,) int64, from 0 to ``count`` - 1.

    A group does not have a place: its ``block`` and its ``address`` are -1, its ``length`` is that of its pages.
    """
    names = ("pages", "length", *_SUMS)
    sums: dict[str, Any] = {name: np.zeros(count, np.int64) for name in names}
    for name in names:
        np.add.at(sums[name], group, getattr(found, name))
    before = np.cumsum(found.counts) - found.counts
    passes = found.passes[np.repeat(found.starts - before, found.counts) + np.arange(found.counts.sum())]
    of_pair = np.repeat(group, found.counts).astype(np.uint64)
    pairs = _distinct([of_pair << _PASS_BITS | passes.astype(np.uint64)])
    none = np.full(count, -1, np.int64)
    return replace(found, block=none, address=none, **sums, **_passes(pairs, count))


def _passes(pairs: NDArray[np.uint64], count: int) -> dict[str, Any]:
    """The columns of `Top` that say in which passes each of ``count`` rows came, from pairs of row and pass."""
    counts = np.bincount((pairs >> _PASS_BITS).astype(np.int64), minlength=count)
    return {"starts": np.cumsum(counts) - counts, "counts": counts, "passes": (pairs & _PASS).astype(np.int64)}


def _distinct(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The different values, rising. Sorting such pairs is far faster than hashing them."""
    values = np.concatenate([np.empty(0, np.uint64), *parts])
    values.sort()
    different = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=different[1:])
    return values[different]
