"""A capture written anew: its pages in their order and sections, as another sender would have written them.

Whatever is not a record with a page is copied. Page contents are those that the source held, so that a stream whose
receiver went wrong comes out as the sender meant it, unless the same sender's rules make the same mistake again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import qevm, ram
from ..formats.ram import Flag, Kind
from ..memory.moments import space_of
from ..memory.ramaddr import layout
from ..model import Block, Stream
from .cache import PageCache, buckets_of
from .held import Copies
from .history import Batch, history
from .policy import Choices, Policy, Rules, Sender, ways_of
from .saver import Form, Records, Writer, memory_size

Piece = bytes | memoryview
PAGES_MAX = 1 << 26  # 256 GiB of 4 KiB pages: each has a few numbers here, whatever was sent of it
MAIN_BLOCK = b"pc.ram"  # what a v3 stream's memory is called in v4, unless blocks are given


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pages of a capture lie: in ram_addr space, and in the blocks of the stream that is written.

    ``number`` (pages,) int64 are page numbers in ram_addr space, by the capture's own page rows; ``block`` and
    ``address`` (pages,) int64 are what the written records say. ``source`` tells what the ram_addrs were taken from.
    """

    number: NDArray[np.int64]
    block: NDArray[np.int64]
    address: NDArray[np.int64]
    blocks: tuple[Block, ...]
    offsets: NDArray[np.int64]
    source: str

    @property
    def pages(self) -> int:
        """How many page numbers there are in ram_addr space."""
        return int(self.number.max()) + 1 if len(self.number) else 0


def places(
    stream: Stream,
    version: int,
    bases: Mapping[bytes, int] | None = None,
    blocks: Sequence[Block] = (),
) -> Places:
    """Place the pages of ``stream`` in a stream of RAM section ``version``.

    ``bases`` are ram_addrs for the capture's own blocks; ``blocks`` split a v3 capture's memory, in the order of their
    ram_addr, where a v4 stream is made of it.

    Raises:
        XbrleError: the bases or the blocks do not fit the capture, or it claims more pages than are modelled.
    """
    size, space = stream.page_size, space_of(stream)
    if len(space) > PAGES_MAX:
        raise XbrleError(f"the blocks claim {len(space)} pages; a sender is modelled for up to {PAGES_MAX}")
    offsets, source = layout(space.blocks, size, bases)
    number = np.arange(len(space)) + np.repeat(offsets // size - space.first[:-1], space.pages)
    flat = stream.facts.ram_version == ram.VERSION_FLAT
    if version == ram.VERSION_FLAT and not flat:
        end = max((int(o) + b.length for o, b in zip(offsets, space.blocks, strict=True)), default=0)
        whole = Block(ram.IDSTR, end)
        return Places(number, np.zeros(len(number), np.int64), number * size, (whole,), offsets[:1] * 0, source)
    if version != ram.VERSION_FLAT and flat:
        length = space.blocks[0].length if space.blocks else 0
        parts = tuple(blocks) or (Block(MAIN_BLOCK, length),)
        if sum(b.length for b in parts) != length:
            raise XbrleError(f"the blocks come to {sum(b.length for b in parts):#x} bytes, the memory is {length:#x}")
        starts = np.concatenate([[0], np.cumsum([b.length for b in parts])]).astype(np.int64)
        if (starts % size).any():
            raise XbrleError(f"a block's length is no multiple of the page size {size}")
        block = np.searchsorted(starts, number * size, side="right") - 1
        return Places(number, block, number * size - starts[block], parts, starts[:-1], source)
    block = np.repeat(np.arange(len(space.blocks)), space.pages)
    address = (np.arange(len(number)) - space.first[block]) * size
    return Places(number, block, address, space.blocks, offsets, source)


def transcode(stream: Stream, form: Form, rules: Rules, cache_bytes: int, where: Places) -> Iterator[Piece]:
    """Give the pieces of the stream that ``form`` and ``rules`` make of ``stream``.

    A damaged capture is written up to its damage.

    Raises:
        XbrleError: a record's page cannot be told, or a record has no place in the stream that is written.
    """
    if stream.channels:
        raise XbrleError("a capture with multifd channels cannot be written anew: its pages lie in no section")
    if stream.facts.mapped_ram:
        raise XbrleError("a mapped-ram file cannot be written anew: its pages are no records; extract its memory")
    sender = Sender(rules, _cache(rules.policy, cache_bytes, where.pages, form.page_size), Copies(space_of(stream)))
    writer = Writer(form, [b.name for b in where.blocks])
    source = _Source(stream, form, where)
    columns = stream.records.columns
    keeps_names = form.version != ram.VERSION_FLAT and stream.facts.ram_version != ram.VERSION_FLAT
    for batch in history(stream):
        batch = source.sound(batch)
        if not len(batch):
            continue
        choices = choose(sender, batch, where)
        named = (columns.flags[batch.at] & np.uint16(Flag.CONTINUE) == 0) & keeps_names
        records = Records(where.block[batch.rows], where.address[batch.rows], batch.contents, batch.is_dup, named)
        out, starts = writer.write(records, choices)
        yield from source.between(batch.at, out.data, starts)
    yield from source.rest()


def choose(sender: Sender, batch: Batch, where: Places) -> Choices:
    """Let a sender choose for records of a capture."""
    return sender.choose(where.number[batch.rows], batch.rows, batch.stage, batch.contents, batch.is_dup, batch.swept)


def _cache(policy: Policy, cache_bytes: int, pages: int, page_size: int) -> PageCache | None:
    if policy is Policy.NONE:
        return None
    ways = ways_of(policy)
    return PageCache(buckets_of(cache_bytes, page_size, ways), pages, ways)


class _Source:
    """What of a capture is copied around its records with pages, with the few edits that another version asks for."""

    def __init__(self, stream: Stream, form: Form, where: Places) -> None:
        self._capture = stream
        self._view = stream.data.data
        columns = stream.records.columns
        damage = stream.facts.damage
        self._end = len(stream.data) if damage is None else damage.offset
        self._ends = columns.end()
        self._edits = list(_edits(stream, form, where))
        self._copied = 0
        lost = np.flatnonzero(stream.records.is_page & (space_of(stream).rows(columns) < 0))
        if len(lost):
            raise XbrleError(
                "this record's page lies in no block that the stream declares", int(columns.offset[lost[0]])
            )

    def sound(self, batch: Batch) -> Batch:
        """The records before the damage; each of those must be known."""
        offset = self._capture.records.columns.offset
        whole = offset[batch.at].astype(np.int64) < self._end
        unknown = np.flatnonzero(whole & ~batch.known)
        if len(unknown):
            raise XbrleError(
                "this record's page cannot be told, so it cannot be written anew", int(offset[batch.at[unknown[0]]])
            )
        return batch if whole.all() else batch.take(whole)

    def between(self, at: NDArray[np.int64], out: memoryview, starts: NDArray[np.int64]) -> Iterator[Piece]:
        """The written records of a batch, with what stood before and between them in the capture."""
        offset = self._capture.records.columns.offset[at].astype(np.int64)
        ends = self._ends[at]
        gaps = np.flatnonzero(offset[1:] != ends[:-1]) + 1
        firsts = [0, *gaps.tolist()]
        for first, last in zip(firsts, [*gaps.tolist(), len(at)], strict=True):
            yield from self._copy(int(offset[first]))
            yield out[int(starts[first]) : int(starts[last])]
            self._copied = int(ends[last - 1])

    def rest(self) -> Iterator[Piece]:
        """What stands after the last record with a page."""
        yield from self._copy(self._end)

    def _copy(self, end: int) -> Iterator[Piece]:
        while self._edits and self._edits[0][0] < end:
            start, stop, new = self._edits.pop(0)
            yield self._view[self._copied : start]
            yield new
            self._copied = stop
        yield self._view[self._copied : end]
        self._copied = end


def _edits(stream: Stream, form: Form, where: Places) -> Iterator[tuple[int, int, bytes]]:
    """Where another RAM section version changes what would be copied: from, to, the new bytes."""
    if form.version == stream.facts.ram_version:
        return
    columns = stream.records.columns
    found: list[tuple[int, int, bytes]] = []
    for section in stream.sections:
        if section.type is qevm.SectionType.START and section.owner is not None and section.owner.idstr == ram.IDSTR:
            version = Int32ub.build(form.version)  # version_id ends the header
            found.append((section.data - len(version), section.data, version))
    for row in np.flatnonzero(columns.kind == Kind.MEM_SIZE).tolist():
        start = int(columns.offset[row])
        stop = start + int(columns.head[row]) + int(columns.length[row])
        found.append((start, stop, memory_size(form.version, where.blocks, where.offsets, form.page_size)))
    if form.version == ram.VERSION_FLAT:
        for row in np.flatnonzero(np.isin(columns.kind, (Kind.NOOP, Kind.HOOK, Kind.FLUSH))).tolist():
            start = int(columns.offset[row])
            found.append((start, start + int(columns.head[row]), b""))
    yield from sorted(found)
