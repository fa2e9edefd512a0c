"""Memory snapshots to a migration stream, as the sender of 2010 and 2011 walks, cuts and frames it.

The first snapshot is sent whole; after that each one's pages that changed since the one before. What changed in between
is never seen, so the stream leaves the receiver with the last snapshot.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..codec import uniform
from ..formats import ram
from ..formats.qevm import SectionType
from ..memory.ramaddr import layout
from ..model import Block
from ..table.sections import Stage
from .cache import PageCache, buckets_of
from .policy import Policy, Rules, Sender, ways_of
from .saver import Form, Frames, Records, Writer, end_of_section, memory_size
from .snapshots import Snapshot
from .transcode import Piece, Places

BATCH_BYTES = 8 << 20
RATE = (32 << 20) // 10  # bytes a section: the default speed of 2011, a section each tenth of a second


@dataclass(frozen=True, slots=True)
class Plan:
    """How a stream is cut and framed: ``rate`` bytes a section, whether an idle block section goes before each RAM
    section, whether the last snapshot's changes wait for END, and the device sections that follow, as bytes.
    """

    rate: int = RATE
    block_section: bool = True
    last_in_end: bool = False
    device_tail: bytes = b""


class _Versions:
    """Bases of deltas from the snapshots themselves: only which snapshot a page was last entered from is kept."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self.now = 0
        self._snapshots = snapshots
        self._entered = np.full(len(snapshots[0]), -1, np.int32)

    def bases(
        self,
        rows: NDArray[np.int64],
        contents: NDArray[np.uint8],
        is_dup: NDArray[np.bool_],
        enters: NDArray[np.bool_],
        wanted: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        """As `held.Held` has it; within a sweep, and so within a batch, each page comes once."""
        mine = rows[wanted]
        version = self._entered[mine]
        out = np.empty((len(mine), contents.shape[1]), np.uint8)
        for v in np.unique(version).tolist():
            out[version == v] = self._snapshots[v].take(mine[version == v])
        self._entered[rows[enters]] = self.now
        return out


class Walk:
    """The order in which the sender comes by pages.

    The scan goes on at the page last sent to its block's end, then through the block list cyclically; each send moves
    its block to the list's front [C]. ``block`` and ``address`` (pages,) int64 are what the records say.
    """

    def __init__(self, block: NDArray[np.int64], address: NDArray[np.int64], blocks: int) -> None:
        self._rows = [np.flatnonzero(block == b) for b in range(blocks)]
        self._rows = [rows[np.argsort(address[rows], kind="stable")] for rows in self._rows]
        self._list = list(range(blocks))
        self._block = 0
        self._place = 0

    def sweep(self, dirty: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The dirty pages, (pages,) bool, in the order in which they are sent, (n,) int64."""
        left = [np.flatnonzero(dirty[rows]) for rows in self._rows]
        ahead = left[self._block] >= self._place
        sent = [self._take(self._block, left[self._block][ahead])]
        left[self._block] = left[self._block][~ahead]
        while any(len(places) for places in left):
            at = self._list.index(self._block)
            for block in self._list[at + 1 :] + self._list[: at + 1]:
                if len(left[block]):
                    break
            sent.append(self._take(block, left[block]))
            left[block] = left[block][:0]
        return np.concatenate(sent)

    def _take(self, block: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(places):
            self._list.remove(block)
            self._list.insert(0, block)
            self._block, self._place = block, int(places[-1])
        return self._rows[block][places]


def placed(blocks: Sequence[Block], version: int, page_size: int, bases: Mapping[bytes, int] | None = None) -> Places:
    """Place the pages of snapshots with these blocks in a stream of RAM section ``version``.

    Raises:
        XbrleError: the bases do not fit the blocks.
    """
    offsets, source = layout(blocks, page_size, bases)
    counts = np.array([b.length // page_size for b in blocks], np.int64)
    block = np.repeat(np.arange(len(blocks)), counts)
    place = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
    number = place + (offsets // page_size)[block]
    if version != ram.VERSION_FLAT:
        return Places(number, block, place * page_size, tuple(blocks), offsets, source)
    end = max(int(o) + b.length for o, b in zip(offsets, blocks, strict=True))
    whole = Block(ram.IDSTR, end)
    return Places(number, np.zeros(len(number), np.int64), number * page_size, (whole,), offsets[:1] * 0, source)


def encode(
    snapshots: Sequence[Snapshot], where: Places, form: Form, rules: Rules, cache_bytes: int, plan: Plan
) -> Iterator[Piece]:
    """Give the pieces of a stream from ``snapshots``, in time order, all of the same blocks.

    Raises:
        XbrleError: the blocks or the cache's size cannot be.
    """
    frames = Frames(form.version, plan.block_section and form.version != ram.VERSION_FLAT)
    sections = _Sections(frames, plan.rate)
    ways = ways_of(rules.policy)
    cache = None
    if rules.policy is not Policy.NONE:
        cache = PageCache(buckets_of(cache_bytes, form.page_size, ways), where.pages, ways)
    held = _Versions(snapshots)
    sender = Sender(rules, cache, held)
    writer = Writer(form, [b.name for b in where.blocks])
    walk = Walk(where.block, where.address, len(where.blocks))
    yield frames.file_header()
    yield frames.section(SectionType.START)
    yield memory_size(form.version, where.blocks, where.offsets, form.page_size)
    step = max(1, BATCH_BYTES // form.page_size)
    dirty = np.ones(len(snapshots[0]), bool)
    for now, snapshot in enumerate(snapshots):
        held.now = now
        if now:
            dirty = snapshot.differs(snapshots[now - 1])
        stage = Stage.START if not now else Stage.PART
        if plan.last_in_end and now and now == len(snapshots) - 1:
            stage = Stage.END
            yield sections.begin(SectionType.END)
        order = walk.sweep(dirty)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            contents = snapshot.take(rows)
            records = _records(rows, contents, where)
            stages = np.full(len(rows), stage, np.uint8)
            swept = np.full(len(rows), bool(now))
            choices = sender.choose(where.number[rows], rows, stages, contents, records.is_dup, swept)
            yield from sections.cut(*writer.write(records, choices))
        if not now:
            sections.full()
    if not (plan.last_in_end and len(snapshots) > 1):
        yield sections.begin(SectionType.END)
    yield end_of_section()
    yield frames.end(plan.device_tail)


def _records(rows: NDArray[np.int64], contents: NDArray[np.uint8], where: Places) -> Records:
    is_dup = uniform.fills(contents) != uniform.NOT_UNIFORM
    return Records(where.block[rows], where.address[rows], contents, is_dup, np.zeros(len(rows), bool))


class _Sections:
    """Cuts records into sections of so many bytes. The first sweep begins in START and never needs a lookup, so that
    where START ends changes no choice.
    """

    def __init__(self, frames: Frames, rate: int) -> None:
        self._frames = frames
        self._rate = rate
        self._left = rate
        self._limited = True

    def begin(self, kind: SectionType) -> bytes:
        """End the section before and begin one of this type; END takes all that comes."""
        self._left = self._rate
        self._limited = kind is not SectionType.END
        return end_of_section() + self._frames.section(kind)

    def full(self) -> None:
        """Let the section that is open take no more."""
        self._left = 0

    def cut(self, out: NDArray[np.uint8], starts: NDArray[np.int64]) -> Iterator[Piece]:
        """Records, with the frames between sections; a section ends with the record that reaches the rate."""
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
