"""What a capture's records add up to, by kind, block and pass. One scan is enough, so a pipe will do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..formats import ram
from ..formats.ram import DELTA_KINDS, PAGE_KINDS, Kind
from ..model import Facts, Stream
from ..scan.notes import Scan
from ..table.columns import NO_BLOCK, Columns
from ..table.kinds import IS_DELTA, IS_PAGE
from ..table.sections import Stage
from ..table.windows import Window, slices, windows

if TYPE_CHECKING:
    from ..filters import Filter
    from ..filters.conditions import Located

PASSES_MAX = 1 << 12  # passes, of all blocks together, that have sums of their own; a hostile record can be a pass each
_KINDS = len(Kind)
_BLOCKS = NO_BLOCK + 1
_STAGES = max(Stage) + 1
_PAGES = list(PAGE_KINDS)
_DELTAS = list(DELTA_KINDS)


@dataclass(slots=True)
class Tally:
    """Sums over records, (kinds,) int64 each: their number, their bytes on the wire, their payloads' bytes."""

    records: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KINDS, np.int64))
    wire: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KINDS, np.int64))
    payload: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KINDS, np.int64))

    def add(self, other: "Tally") -> None:
        """Add another's sums to these."""
        self.records += other.records
        self.wire += other.wire
        self.payload += other.payload

    @property
    def pages(self) -> int:
        """How many of the records carry a page."""
        return int(self.records[_PAGES].sum())

    @property
    def page_wire(self) -> int:
        """The bytes of the records that carry a page."""
        return int(self.wire[_PAGES].sum())

    @property
    def deltas(self) -> int:
        """How many of the records are deltas."""
        return int(self.records[_DELTAS].sum())

    @property
    def delta_payload(self) -> int:
        """The payload bytes of the deltas."""
        return int(self.payload[_DELTAS].sum())


def tally(columns: Columns) -> Tally:
    """Sum up records."""
    kind, length = columns.kind, columns.length.astype(np.float64)  # exact: below 2^53
    wire = length + columns.head
    return Tally(
        np.bincount(kind, minlength=_KINDS),
        np.bincount(kind, wire, _KINDS).astype(np.int64),
        np.bincount(kind, length, _KINDS).astype(np.int64),
    )


@dataclass(slots=True)
class Stats:
    """The sums of a capture.

    ``passes`` has a tally for each of the first `PASSES_MAX` passes over blocks, by block index and number of the pass.
    ``spans`` has the offset of each one's first record and the end of its last, in bytes of the capture. ``records``
    and ``pass_counts`` (65536,) int64 count, by block index, all records that carry a page and all passes. ``further``
    (3, 65536, kinds) int64 has what the later passes add to a tally, by block index. It is None where there are none.
    ``stages`` (4,) counts the records that carry a page by the stage in which they were sent. ``delta_header`` is the
    size of a delta's header in bytes, ``shortest`` and ``longest`` are the sizes of the deltas' payloads (0 without
    deltas). ``size`` is the number of bytes that were scanned. ``last`` is the block and the number of the pass that
    came last.
    """

    total: Tally = field(default_factory=Tally)
    passes: dict[tuple[int, int], Tally] = field(default_factory=dict)
    spans: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    records: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BLOCKS, np.int64))
    pass_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BLOCKS, np.int64))
    further: NDArray[np.int64] | None = None
    stages: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_STAGES, np.int64))
    last: tuple[int, int] = (-1, -1)
    shortest: int = 0
    longest: int = 0
    page_size: int = ram.PAGE_SIZE
    delta_header: int = 0
    size: int = 0

    def settle(self, facts: Facts) -> None:
        """Take over what only the whole scan shows: the number of bytes, and how the records read."""
        reading = facts.reading
        self.size = facts.end
        self.page_size = reading.page_size
        if reading.dialect is not None:
            self.delta_header = int(reading.dialect.header(reading.endian).sizeof())

    def add(self, columns: Columns, passes: NDArray[np.uint32], stages: NDArray[np.uint8]) -> None:
        """Add the records of one window with the ``passes`` (n,) uint32 and ``stages`` (n,) uint8 that they are in."""
        self.total.add(tally(columns))
        page_rows = np.flatnonzero(IS_PAGE[columns.kind])
        if not len(page_rows):
            return
        carried = columns.take(page_rows)
        _add_passes(self, carried, passes[page_rows])
        self.stages += np.bincount(stages[page_rows], minlength=_STAGES)
        lengths = carried.length[IS_DELTA[carried.kind]]
        if len(lengths):
            shortest = int(lengths.min())
            self.shortest = min(self.shortest, shortest) if self.longest else shortest
            self.longest = max(self.longest, int(lengths.max()))

    def blocks(self) -> dict[int, Tally]:
        """The tally of each block that one of ``passes`` is over, by block index, with those of all its passes."""
        out: dict[int, Tally] = {}
        for (block, _), sums in self.passes.items():
            out.setdefault(block, Tally()).add(sums)
        if self.further is not None:
            for block, sums in out.items():
                sums.add(Tally(*self.further[:, block]))
        return out

    @property
    def passes_left_out(self) -> int:
        """How many passes do not have a tally of their own."""
        return int(self.pass_counts.sum()) - len(self.passes)

    @property
    def blocks_left_out(self) -> int:
        """How many blocks have no pass with a tally of its own, though records are for them."""
        return int(np.count_nonzero(self.records)) - len({block for block, _ in self.passes})

    def passes_of_blocks(self) -> dict[int, list[tuple[int, Tally]]]:
        """The passes over each block, by block index: their numbers, rising, and tallies."""
        out: dict[int, list[tuple[int, Tally]]] = {}
        for (block, number), sums in sorted(self.passes.items(), key=itemgetter(0)):
            out.setdefault(block, []).append((number, sums))
        return out

    def plain(self, sums: Tally) -> int:
        """The bytes that the page records of ``sums`` would have taken with each delta sent as a full page."""
        return sums.page_wire + self.saved(sums)

    def saved(self, sums: Tally) -> int:
        """The bytes that the deltas of ``sums`` saved compared with full pages. Negative where they cost more."""
        return sums.deltas * (self.page_size - self.delta_header) - sums.delta_payload


def collect(scan: Scan, wanted: "Filter | None" = None, findings: "Sequence[Located]" = ()) -> Stats:
    """Scan a capture and sum it up, in constant memory.

    Records that ``wanted`` does not hold for are left out. ``findings`` are what its term ``finding:`` looks at.

    Raises:
        XbrleError: it is not a migration stream.
    """
    stats = _summed(windows(scan, scan), wanted, findings)
    stats.settle(scan.facts)
    return stats


def collect_table(stream: Stream, wanted: "Filter | None" = None, findings: "Sequence[Located]" = ()) -> Stats:
    """Sum up the records of a stream, also those of multifd channels. The other arguments are as for `collect`."""
    stats = _summed(slices(stream.records), wanted, findings)
    stats.settle(stream.facts)
    return stats


def _summed(pieces: Iterable[Window], wanted: "Filter | None", findings: "Sequence[Located]") -> Stats:
    stats = Stats()
    for window in pieces:
        if wanted is None:
            stats.add(window.columns, window.pass_, window.stage)
        else:
            keep = np.flatnonzero(wanted.mask(window, findings))
            stats.add(window.columns.take(keep), window.pass_[keep], window.stage[keep])
    return stats


def _add_passes(stats: Stats, carried: Columns, numbers: NDArray[np.uint32]) -> None:
    """Add ``carried`` to the tallies of their passes. Records come pass after pass, so each pass is one slice."""
    block = carried.block.astype(np.int64)
    stats.records += np.bincount(block, minlength=_BLOCKS)
    starts = np.flatnonzero((np.diff(block, prepend=-1) != 0) | (np.diff(numbers, prepend=0) != 0))
    np.add.at(stats.pass_counts, block[starts], 1)  # a pass over a block stands in one piece
    if stats.last == (int(block[0]), int(numbers[0])):
        stats.pass_counts[block[0]] -= 1
    stats.last = int(block[-1]), int(numbers[-1])
    goes_on = (int(block[0]), int(numbers[0])) in stats.passes
    upto = starts[PASSES_MAX - len(stats.passes) + goes_on :][:1].tolist() or [len(carried)]
    bounds = [*starts[starts < upto[0]].tolist(), *upto]
    for start, end in pairwise(bounds):
        key = int(block[start]), int(numbers[start])
        sums = stats.passes.setdefault(key, Tally())
        sums.add(tally(carried.take(slice(start, end))))
        first, last = int(carried.offset[start]), int(carried.end(slice(end - 1, end))[0])
        stats.spans[key] = stats.spans.get(key, (first, 0))[0], last
    if bounds[-1] < len(carried):
        _add_further(stats, carried.take(slice(bounds[-1], None)))


def _add_further(stats: Stats, carried: Columns) -> None:
    """Add records of passes without a tally of their own to the sums of their blocks."""
    if stats.further is None:
        stats.further = np.zeros((3, _BLOCKS, _KINDS), np.int64)
    place = carried.block.astype(np.int64) * _KINDS + carried.kind
    length = carried.length.astype(np.float64)  # exact: below 2^53
    for sums, weights in zip(stats.further, (None, length + carried.head, length), strict=True):
        sums += np.bincount(place, weights, sums.size).reshape(sums.shape).astype(np.int64)
