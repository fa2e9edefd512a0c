"""Memory snapshots to a migration stream, as the sender of 2010 and 2011 walks, cuts and frames it.

The first snapshot is sent whole. Of each later one only the pages are sent that differ from the one before. The stream
leaves the receiver with the last snapshot.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct, reserve
from ..codec import uniform
from ..formats import ram
from ..formats.qevm import SectionType
from ..progress import along
from ..table.sections import Stage
from .addresses import PageAddresses
from .framing import Piece
from .policy import Rules, Sender
from .saver import Frames, PageRecords, RecordForm, Writer, end_of_section, memory_size
from .snapshots import Snapshot
from .transcode import cache_for

BATCH_BYTES = 8 << 20
PIECE = 1 << 16  # pages that are put in order together
RATE = (32 << 20) // 10  # bytes a section: the default speed of 2011, a section each tenth of a second

Run = tuple[int, int]  # pages in a row: the number of the first, and how many there are


@dataclass(frozen=True, slots=True)
class Plan:
    """How a stream is cut and framed.

    A section takes ``rate`` bytes. ``block_section``: an idle block section goes before each RAM section.
    ``last_in_end``: the last snapshot's changes wait for END. ``device_tail`` are the device sections that follow.
    """

    rate: int = RATE
    block_section: bool = True
    last_in_end: bool = False
    device_tail: bytes = b""


class _SnapshotBases:
    """Bases of deltas from the snapshots themselves. It keeps only the number of the snapshot that a page was last
    entered from. ``now`` is the one that is being sent.
    """

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self.now = 0
        self._snapshots = snapshots
        self._entered = reserve((len(snapshots[0]),), np.min_scalar_type(len(snapshots)))  # plus one, 0 for none

    def bases(
        self,
        pages: NDArray[np.int64],
        contents: NDArray[np.uint8],
        is_dup: NDArray[np.bool_],
        enters: NDArray[np.bool_],
        wanted: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        """As in `copies.DeltaBases`. Within a sweep, and so within a batch, each page comes once."""
        wanted_pages = pages[wanted]
        version = self._entered[wanted_pages]
        out = np.empty((len(wanted_pages), contents.shape[1]), np.uint8)
        for v in distinct(version).tolist():
            out[version == v] = self._snapshots[v - 1].take(wanted_pages[version == v])
        self._entered[pages[enters]] = self.now + 1
        return out


def runs_of(addresses: PageAddresses, pages: int) -> list[list[Run]]:
    """For each block of the written stream, its pages as runs in the order of their addresses.

    ``pages`` is how many pages there are, from 0 on.
    """
    found: list[list[tuple[int, Run]]] = [[] for _ in addresses.blocks]
    for start in range(0, pages, PIECE):
        piece = np.arange(start, min(pages, start + PIECE))
        block, address = addresses.written(piece)
        goes_on = (np.diff(block) == 0) & (np.diff(address) == addresses.page_size)
        edges = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(piece)]
        for first, stop in pairwise(edges):
            found[int(block[first])].append((int(address[first]), (start + first, stop - first)))
    return [[run for _, run in sorted(runs)] for runs in found]


class SweepOrder:
    """The order in which the sender comes by pages.

    A sweep goes on from the page last sent to its block's end, then through the block list cyclically. Each send moves
    its block to the list's front [C]. ``runs`` are each block's pages in the order of their addresses: the first page
    of each run and how many it has. A place is a page's number in this order.
    """

    def __init__(self, runs: Sequence[Sequence[Run]]) -> None:
        self._runs = runs
        self._sizes = [sum(count for _, count in of_block) for of_block in runs]
        self._list = list(range(len(runs)))
        self._block = 0
        self._place = 0

    def next(self, dirty: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
        """The dirty pages, (pages,) bool, in the order in which they are sent, (n,) int64 a time."""
        begun, place = self._block, self._place
        yield from self._take(begun, place, self._sizes[begun], dirty)
        left = {b: size for b, size in enumerate(self._sizes) if b != begun} | {begun: place}
        left = {b: stop for b, stop in left.items() if any(True for _ in self._pages(b, 0, stop, dirty))}
        while left:
            at = self._list.index(self._block)
            block = next(b for b in self._list[at + 1 :] + self._list[: at + 1] if b in left)
            yield from self._take(block, 0, left.pop(block), dirty)

    def _pages(
        self, block: int, start: int, stop: int, dirty: NDArray[np.bool_]
    ) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The dirty pages at the places from ``start`` to ``stop`` - 1, some at a time, with the place of the last."""
        before = 0
        for first, count in self._runs[block]:
            for at in range(max(0, start - before), min(count, stop - before), PIECE):
                end = min(at + PIECE, count, stop - before)
                pages = np.flatnonzero(dirty[first + at : first + end]) + (first + at)
                if len(pages):
                    yield before + int(pages[-1]) - first, pages
            before += count

    def _take(self, block: int, start: int, stop: int, dirty: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
        last = -1
        for place, pages in self._pages(block, start, stop, dirty):
            last = place
            yield pages
        if last >= 0:
            self._list.remove(block)
            self._list.insert(0, block)
            self._block, self._place = block, last


def _batches(parts: Iterable[NDArray[np.int64]], size: int) -> Iterator[NDArray[np.int64]]:
    """The same numbers, ``size`` at a time."""
    kept: list[NDArray[np.int64]] = []
    for part in parts:
        kept.append(part)
        if sum(map(len, kept)) >= size:
            whole = np.concatenate(kept)
            full = len(whole) // size * size
            yield from np.split(whole[:full], list(range(size, full, size)))
            kept = [whole[full:]]
    if any(map(len, kept)):
        yield np.concatenate(kept)


def encode(
    snapshots: Sequence[Snapshot],
    addresses: PageAddresses,
    form: RecordForm,
    rules: Rules,
    cache_bytes: int,
    plan: Plan,
) -> Iterator[Piece]:
    """Give the pieces of a stream from ``snapshots``, in time order, all of the same blocks.

    Each snapshot begins a section: a sender learns only there what the guest has written since.

    Raises:
        XbrleError: the blocks or the cache's size cannot be.
    """
    frames = Frames(form.version, plan.block_section and form.version != ram.VERSION_FLAT)
    sections = _Sections(frames, plan.rate)
    bases = _SnapshotBases(snapshots)
    sender = Sender(rules, cache_for(rules.policy, cache_bytes, addresses), bases)
    writer = Writer(form, [b.name for b in addresses.blocks])
    sweeps = SweepOrder(runs_of(addresses, len(snapshots[0])))
    yield frames.file_header()
    yield frames.section(SectionType.START)
    yield memory_size(form.version, addresses.blocks, addresses.offsets, form.page_size)
    step = max(1, BATCH_BYTES // form.page_size)
    dirty: NDArray[np.bool_] = np.broadcast_to(np.True_, len(snapshots[0]))
    for now, snapshot in enumerate(along("encoding", snapshots, "snapshots")):
        bases.now = now
        if now:
            dirty = snapshot.differs(snapshots[now - 1])
        stage = Stage.START if not now else Stage.PART
        if plan.last_in_end and now and now == len(snapshots) - 1:
            stage = Stage.END
            yield sections.begin(SectionType.END)
        for pages in _batches(sweeps.next(dirty), step):
            contents = snapshot.take(pages)
            records = _records(pages, contents, addresses)
            stages = np.full(len(pages), stage, np.uint8)
            sweep = np.full(len(pages), now)
            choices = sender.choose(addresses.ram_page(pages), pages, stages, contents, records.is_dup, sweep)
            yield from sections.cut(*writer.write(records, choices))
        sections.full()
    if not (plan.last_in_end and len(snapshots) > 1):
        yield sections.begin(SectionType.END)
    yield end_of_section()
    yield frames.end(plan.device_tail)


def _records(pages: NDArray[np.int64], contents: NDArray[np.uint8], addresses: PageAddresses) -> PageRecords:
    is_dup = uniform.fills(contents) != uniform.NOT_UNIFORM
    named = np.zeros(len(pages), bool)
    return PageRecords(*addresses.written(pages), contents, is_dup, named)


class _Sections:
    """Cuts records into sections of ``rate`` bytes.

    The first sweep begins in START and never needs a lookup. So it does not matter to any choice where START ends.
    """

    def __init__(self, frames: Frames, rate: int) -> None:
        self._frames = frames
        self._rate = rate
        self._left = rate
        self._limited = True

    def begin(self, kind: SectionType) -> bytes:
        """End the open section and begin one of this type. END takes all records that come."""
        self._left = self._rate
        self._limited = kind is not SectionType.END
        return end_of_section() + self._frames.section(kind)

    def full(self) -> None:
        """Let the open section take no more records."""
        self._left = 0

    def cut(self, out: NDArray[np.uint8], starts: NDArray[np.int64]) -> Iterator[Piece]:
        """Give the records with the frames between sections. A section ends with the record that reaches the rate."""
        first, count = 0, len(starts) - 1
        while first < count:
            if self._limited and self._left <= 0:
                yield self.begin(SectionType.PART)
            last = count
            if self._limited:
                last = int(np.searchsorted(starts, starts[first] + self._left, side="left"))
                last = max(first + 1, min(last, count))
            self._left -= int(starts[last] - starts[first])
            yield out[starts[first] : starts[last]].data
            first = last
