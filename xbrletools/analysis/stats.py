"""What a capture's records add up to: by kind, block and pass, in one scan that a pipe is enough for.

Also the statistics table that debug builds printed (formats/README.md, "The statistics table").
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..formats import ram, statistics
from ..formats.dialects import Dialect
from ..formats.ram import DELTA_KINDS, PAGE_KINDS, Kind
from ..formats.statistics import CacheLines
from ..stream.records import Columns, RecordTable
from ..stream.scan import Scanner
from ..stream.sections import Stage
from ..stream.windows import Window, slices, windows

if TYPE_CHECKING:
    from ..sender.fingerprint import CacheCounts

_KINDS = len(Kind)
_STAGES = max(Stage) + 1
_PAGES = list(PAGE_KINDS)
_DELTAS = list(DELTA_KINDS)
_IS_PAGE = np.zeros(256, bool)
_IS_PAGE[_PAGES] = True


@dataclass(slots=True)
class Tally:
    """Sums over some records, (kinds,) int64 each: how many, their bytes on the wire, and those of their payloads."""

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

    ``passes`` has a tally for each sweep over each block, by block index and number of the sweep; ``stages`` (4,)
    counts the records that carry a page by the stage they were sent in. ``delta_header`` is the size of a delta's
    header and ``shortest``, ``longest`` those of the deltas' payloads, in bytes (0 where there are none). ``size`` is
    how many bytes were scanned.
    """

    total: Tally = field(default_factory=Tally)
    passes: dict[tuple[int, int], Tally] = field(default_factory=dict)
    stages: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_STAGES, np.int64))
    shortest: int = 0
    longest: int = 0
    page_size: int = ram.PAGE_SIZE
    delta_header: int = 0
    size: int = 0

    def add(self, columns: Columns, passes: NDArray[np.uint32], stages: NDArray[np.uint8], scan: Scanner) -> None:
        """Add the records of one window of ``scan``; ``passes`` (n,) uint32 and ``stages`` (n,) uint8 are theirs."""
        self.total.add(tally(columns))
        settings = scan.settings
        self.page_size = settings.page_size
        if settings.dialect is not None:
            self.delta_header = int(settings.dialect.header(settings.endian).sizeof())
        self.size = scan.end
        pages = np.flatnonzero(_IS_PAGE[columns.kind])
        if not len(pages):
            return
        carried = columns.take(pages)
        _add_passes(self, carried, passes[pages])
        self.stages += np.bincount(stages[pages], minlength=_STAGES)
        lengths = carried.length[np.isin(carried.kind, _DELTAS)]
        if len(lengths):
            shortest = int(lengths.min())
            self.shortest = min(self.shortest, shortest) if self.longest else shortest
            self.longest = max(self.longest, int(lengths.max()))

    def blocks(self) -> dict[int, Tally]:
        """The tally of each block that records are for, by block index."""
        out: dict[int, Tally] = {}
        for (block, _), sums in self.passes.items():
            out.setdefault(block, Tally()).add(sums)
        return out

    def plain(self, sums: Tally) -> int:
        """The bytes that the page records of ``sums`` would have taken with each delta sent as a full page."""
        return sums.page_wire + self.saved(sums)

    def saved(self, sums: Tally) -> int:
        """The bytes that the deltas of ``sums`` saved against full pages; negative where they cost more."""
        return sums.deltas * (self.page_size - self.delta_header) - sums.delta_payload


def collect(scan: Scanner) -> Stats:
    """Scan a capture and sum it up; memory stays constant but for a tally a pass.

    Raises:
        XbrleError: it is no migration stream.
    """
    return _summed(windows(scan, scan), scan)


def collect_table(table: RecordTable, scan: Scanner) -> Stats:
    """Sum up all records of a table, those of multifd channels too; ``scan`` is the one that it came from."""
    return _summed(slices(table), scan)


def _summed(these: Iterable[Window], scan: Scanner) -> Stats:
    stats = Stats()
    for window in these:
        stats.add(window.columns, window.pass_, window.stage, scan)
    stats.size = scan.end
    return stats


def _add_passes(stats: Stats, carried: Columns, numbers: NDArray[np.uint32]) -> None:
    """Records come pass after pass, so each is a few slices."""
    block = carried.block.astype(np.int64)
    starts = np.flatnonzero((np.diff(block, prepend=-1) != 0) | (np.diff(numbers, prepend=0) != 0))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(carried)], strict=True):
        sums = stats.passes.setdefault((int(block[start]), int(numbers[start])), Tally())
        sums.add(tally(carried.take(slice(start, end))))


# -- the table that debug builds printed ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table; ``share`` in percent, None where there is none."""

    label: str
    value: int
    share: float | None = None

    def __str__(self) -> str:
        if self.share is None:
            return statistics.COUNT.format(label=self.label, value=self.value)
        return statistics.SHARE.format(label=self.label, value=self.value, share=self.share)


def _shared(label: str, value: int, total: int) -> Line:
    return Line(label, value, 100.0 * value / total if total else 0.0)


def iterations(stats: Stats) -> int:
    """How often the sender's rate-limited loop ran, inferred from the stream.

    Once a record of START and PART; where END is empty, twice more in vain, at the end of the last PART and in END [C].
    """
    in_vain = 0 if stats.stages[Stage.END] else 2
    return int(stats.stages[Stage.START] + stats.stages[Stage.PART]) + in_vain


def posted(
    stats: Stats, dialect: Dialect | None, ram_version: int, cache: "CacheCounts | None" = None
) -> tuple[statistics.Form, list[Line]]:
    """The table that a debug build of this dialect printed: its form and lines, without rules and title.

    ``cache`` has what the stream alone does not tell; the lines for it are left out without. So are those about deltas
    where there are none.
    """
    form = statistics.form(dialect, ram_version)
    total = stats.total
    normal, dup, delta = (
        int(total.records[Kind.PAGE]),
        int(total.records[Kind.DUP]),
        total.deltas,
    )
    normal_bytes = normal * stats.page_size
    delta_bytes = total.delta_payload + (delta * stats.delta_header if form.header_counts else 0)
    pages, size = normal + dup + delta, normal_bytes + dup + delta_bytes
    lines = [
        Line(statistics.ITERATIONS, iterations(stats)),
        _shared(statistics.NORMAL_PAGES, normal, pages),
        _shared(statistics.NORMAL_BYTES, normal_bytes, size),
        _shared(statistics.DUP_PAGES, dup, pages),
        _shared(statistics.DUP_BYTES, dup, size),
    ]
    if delta:
        lines.append(_shared(statistics.XBRLE_PAGES, delta, pages))
        lines.append(_shared(statistics.XBRLE_BYTES, delta_bytes, size))
        if cache is not None:
            lines.append(_shared(statistics.ABORTED, cache.aborted, cache.aborted + delta))
    lines.append(_shared(statistics.TOTAL_PAGES, pages, pages))
    lines.append(_shared(statistics.TOTAL_BYTES, size, size))
    if delta and form.cache is CacheLines.AGE:
        lines.append(Line(statistics.CACHE_AGE, pages + 1))
    elif delta and form.cache is CacheLines.ITEMS:
        lines.append(Line(statistics.CACHE_INSERTS, normal + delta))
        if cache is not None:
            lines.append(Line(statistics.CACHE_MAX, cache.max_items))
            lines.append(_shared(statistics.CACHE_ITEMS, cache.items, cache.max_items))
    return form, lines


def table(form: statistics.Form, lines: list[Line]) -> str:
    """The table as it was printed, from rule to rule, with its last newline."""
    body = [form.title, *map(str, lines), statistics.RULE]
    return "\n".join([statistics.RULE, *(form.prefix + line for line in body)]) + "\n"
