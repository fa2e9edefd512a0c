"""A capture written again: its pages in their order and sections, as another sender would have written them.

Whatever is not a record with a page is copied. Page contents are those that the source held. So a stream whose receiver
went wrong comes out as the sender meant it, unless the same sender's rules make the same mistake again.
"""

from collections.abc import Iterator

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import qevm, ram
from ..formats.ram import Flag, Kind
from ..memory.moments import space_of
from ..model import Stream
from .addresses import PageAddresses
from .cache import PageCache, buckets_of
from .copies import Copies
from .policy import Choices, Policy, Rules, Sender, ways_of
from .saver import PageRecords, RecordForm, Writer, memory_size
from .sent import SentPages, sent_pages

Piece = bytes | memoryview


def transcode(
    stream: Stream, form: RecordForm, rules: Rules, cache_bytes: int, addresses: PageAddresses
) -> Iterator[Piece]:
    """Give the pieces of the stream that ``form`` and ``rules`` make of ``stream``.

    A damaged capture is written up to its damage.

    Raises:
        XbrleError: a record's page cannot be told, or the written stream does not have a place for it.
    """
    if stream.channels:
        raise XbrleError("a capture with multifd channels cannot be written anew: its pages lie outside its sections")
    if stream.facts.mapped_ram:
        raise XbrleError("a mapped-ram file cannot be written anew: its pages are not records; extract its memory")
    cache = cache_for(rules.policy, cache_bytes, addresses.ram_pages, form.page_size)
    sender = Sender(rules, cache, Copies(space_of(stream)))
    writer = Writer(form, [b.name for b in addresses.blocks])
    copied = _CopiedBytes(stream, form, addresses)
    columns = stream.records.columns
    keeps_names = form.version != ram.VERSION_FLAT and stream.facts.ram_version != ram.VERSION_FLAT
    for batch in sent_pages(stream):
        batch = copied.before_damage(batch)
        if not len(batch):
            continue
        choices = choose(sender, batch, addresses)
        named = (columns.flags[batch.rows] & np.uint16(Flag.CONTINUE) == 0) & keeps_names
        block, address = addresses.block[batch.pages], addresses.address[batch.pages]
        records = PageRecords(block, address, batch.contents, batch.is_dup, named)
        out, starts = writer.write(records, choices)
        yield from copied.around(batch.rows, out.data, starts)
    yield from copied.rest()


def choose(sender: Sender, batch: SentPages, addresses: PageAddresses) -> Choices:
    """Let a sender choose for records of a capture."""
    ram_pages = addresses.ram_page[batch.pages]
    return sender.choose(ram_pages, batch.pages, batch.stage, batch.contents, batch.is_dup, batch.swept)


def cache_for(policy: Policy, cache_bytes: int, ram_pages: int, page_size: int) -> PageCache | None:
    """The page cache of a sender with this policy, or None where it never writes deltas.

    Raises:
        XbrleError: the cache is too small to be one.
    """
    if policy is Policy.NONE:
        return None
    ways = ways_of(policy)
    return PageCache(buckets_of(cache_bytes, page_size, ways), ram_pages, ways)


class _CopiedBytes:
    """The bytes around a capture's records, which are copied, with the few edits that another RAM version needs."""

    def __init__(self, stream: Stream, form: RecordForm, addresses: PageAddresses) -> None:
        self._stream = stream
        self._view = stream.data.data
        columns = stream.records.columns
        damage = stream.facts.damage
        self._end = len(stream.data) if damage is None else damage.offset
        self._ends = columns.end()
        self._edits = list(_edits(stream, form, addresses))
        self._copied = stream.facts.start
        undeclared = np.flatnonzero(stream.records.is_page & (space_of(stream).pages_of(columns) < 0))
        if len(undeclared):
            raise XbrleError(
                "this record's page is in none of the blocks that the stream declares",
                int(columns.offset[undeclared[0]]),
            )

    def before_damage(self, batch: SentPages) -> SentPages:
        """The records before the damage. The page of each must be known."""
        offset = self._stream.records.columns.offset
        whole = offset[batch.rows].astype(np.int64) < self._end
        unknown = np.flatnonzero(whole & ~batch.known)
        if len(unknown):
            raise XbrleError(
                "this record's page cannot be told, so it cannot be written anew", int(offset[batch.rows[unknown[0]]])
            )
        return batch if whole.all() else batch.take(whole)

    def around(self, rows: NDArray[np.int64], out: memoryview, starts: NDArray[np.int64]) -> Iterator[Piece]:
        """The written records of a batch, with the capture's bytes before and between them."""
        offset = self._stream.records.columns.offset[rows].astype(np.int64)
        ends = self._ends[rows]
        gaps = np.flatnonzero(offset[1:] != ends[:-1]) + 1
        firsts = [0, *gaps.tolist()]
        for first, last in zip(firsts, [*gaps.tolist(), len(rows)], strict=True):
            yield from self._copy(int(offset[first]))
            yield out[int(starts[first]) : int(starts[last])]
            self._copied = int(ends[last - 1])

    def rest(self) -> Iterator[Piece]:
        """The capture's bytes after the last record with a page."""
        yield from self._copy(self._end)

    def _copy(self, end: int) -> Iterator[Piece]:
        while self._edits and self._edits[0][0] < end:
            start, stop, new = self._edits.pop(0)
            yield self._view[self._copied : start]
            yield new
            self._copied = stop
        yield self._view[self._copied : end]
        self._copied = end


def _edits(stream: Stream, form: RecordForm, addresses: PageAddresses) -> Iterator[tuple[int, int, bytes]]:
    """Where another RAM section version changes the copied bytes: the range's start and end, and the new bytes."""
    if form.version == stream.facts.ram_version:
        return
    columns = stream.records.columns
    edits: list[tuple[int, int, bytes]] = []
    for section in stream.sections.of_types(qevm.SectionType.START):
        if section.owner is not None and section.owner.idstr == ram.IDSTR:
            version = Int32ub.build(form.version)  # version_id ends the header
            edits.append((section.data - len(version), section.data, version))
    for row in np.flatnonzero(columns.kind == Kind.MEM_SIZE).tolist():
        start = int(columns.offset[row])
        stop = start + int(columns.head[row]) + int(columns.length[row])
        edits.append((start, stop, memory_size(form.version, addresses.blocks, addresses.offsets, form.page_size)))
    if form.version == ram.VERSION_FLAT:
        for row in np.flatnonzero(np.isin(columns.kind, (Kind.NOOP, Kind.HOOK, Kind.FLUSH))).tolist():
            start = int(columns.offset[row])
            edits.append((start, start + int(columns.head[row]), b""))
    yield from sorted(edits)
