"""A capture written again: its pages in their order and sections, as another sender would have written them.

Whatever is not a record with a page is copied. Page contents are those that the source held. So a stream whose receiver
went wrong comes out as the sender meant it, unless the same sender's rules make the same mistake again.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import ram
from ..formats.ram import Flag, Kind
from ..memory.mapped import zeros
from ..memory.moments import space_of
from ..model import Stream
from ..table.sections import Stage
from .addresses import PageAddresses
from .cache import AgedCache, Cache, PageCache, buckets_of
from .copies import Copies
from .framing import Edit, Piece, edits, end_of_main, has_word_in_main, next_words
from .policy import Choices, Policy, Rules, Sender, ways_of
from .saver import PageRecords, RecordForm, Writer
from .sent import BATCH_BYTES, SentPages, sent_pages


def transcode(
    stream: Stream,
    form: RecordForm,
    rules: Rules,
    cache_bytes: int,
    addresses: PageAddresses,
    keep_advice: bool = False,
) -> Iterator[Piece]:
    """Give the pieces of the stream that ``form`` and ``rules`` make of ``stream``.

    It is one plain stream, whatever ``stream`` is: pages of channels and of mapped-ram become records, and nothing of
    postcopy is left. ``keep_advice`` keeps the commands that announce postcopy. A damaged capture is written up to its
    damage.

    Raises:
        XbrleError: a record's page cannot be told, or the written stream does not have a place for it.
    """
    if stream.broken is not None:
        raise XbrleError("the channels of this capture are missing, so most of its pages are: give them with --channel")
    cache = cache_for(rules.policy, cache_bytes, addresses)
    sender = Sender(rules, cache, Copies(space_of(stream), addresses.sent))
    writer = Writer(form, [b.name for b in addresses.blocks])
    copied = _CopiedBytes(stream, edits(stream, form, addresses, keep_advice))
    columns = stream.records.columns
    keeps_names = form.version != ram.VERSION_FLAT and stream.facts.ram_version != ram.VERSION_FLAT
    words = next_words(stream)
    for batch in chain(_zero_pages(stream), sent_pages(stream)):
        batch = copied.before_damage(batch)
        if not len(batch):
            continue
        choices = choose(sender, batch, addresses)
        has_word = has_word_in_main(stream, batch.rows)
        named = (columns.flags[batch.rows] & np.uint16(Flag.CONTINUE) == 0) & keeps_names & has_word
        block, address = addresses.written(batch.pages)
        records = PageRecords(block, address, batch.contents, batch.is_dup, named)
        out, starts = writer.write(records, choices)
        start = words[batch.rows]
        stop = np.where(has_word & (columns.kind[batch.rows] != Kind.MEM_SIZE), columns.end(batch.rows), start)
        yield from copied.around(start, stop, out.data, starts)
    yield from copied.rest()


def _zero_pages(stream: Stream) -> Iterator[SentPages]:
    """The pages of a mapped-ram file that are zero because no bit marks them, as if they had come as dup pages."""
    columns = stream.records.columns
    if not stream.facts.mapped_ram or not len(columns):
        return
    size = stream.page_size
    step = max(1, BATCH_BYTES // size)
    word = int(np.flatnonzero(columns.kind == Kind.MEM_SIZE)[0]) + 1  # they go where the block list ends
    for first, are_zero in zeros(stream, space_of(stream)):
        pages = first + np.flatnonzero(are_zero)
        for start in range(0, len(pages), step):
            batch = pages[start : start + step]
            yes, no = np.ones(len(batch), bool), np.zeros(len(batch), bool)
            rows, stage = np.full(len(batch), word), np.full(len(batch), Stage.START, np.uint8)
            yield SentPages(rows, batch, np.zeros((len(batch), size), np.uint8), yes, yes, stage, no)


def choose(sender: Sender, batch: SentPages, addresses: PageAddresses) -> Choices:
    """Let a sender choose for records of a capture."""
    ram_pages = addresses.ram_page(batch.pages)
    return sender.choose(ram_pages, batch.pages, batch.stage, batch.contents, batch.is_dup, batch.sweep)


def cache_for(policy: Policy, cache_bytes: int, addresses: PageAddresses) -> Cache | None:
    """The page cache of a sender with this policy, or None where it never writes deltas.

    Raises:
        XbrleError: the cache is too small to be one.
    """
    if policy is Policy.NONE:
        return None
    return cache_of(policy, buckets_of(cache_bytes, addresses.page_size, ways_of(policy)), addresses)


def cache_of(policy: Policy, buckets: int, addresses: PageAddresses) -> Cache:
    """A page cache with so many buckets, as the senders have it that a policy with deltas is of.

    QEMU's has a power of two of them, the greatest that is not more.
    """
    if policy is Policy.XBZRLE:
        return AgedCache(1 << buckets.bit_length() - 1, addresses.ram_pages, addresses.ram_sent)
    return PageCache(buckets, addresses.ram_pages, ways_of(policy), addresses.ram_sent)


class _CopiedBytes:
    """The bytes around a capture's records. They are copied but for ``edits``, which are in rising order."""

    def __init__(self, stream: Stream, edits: list[Edit]) -> None:
        self._stream = stream
        self._view = stream.data.data
        columns = stream.records.columns
        self._end = end_of_main(stream)
        self._edits = edits
        self._copied = stream.facts.start
        undeclared = np.flatnonzero(stream.records.is_page & (space_of(stream).pages_of(columns) < 0))
        if len(undeclared):
            raise XbrleError(
                "this record's page is in none of the blocks that the stream declares",
                int(columns.offset[undeclared[0]]),
            )

    def before_damage(self, batch: SentPages) -> SentPages:
        """The records before the damage. The page of each must be known."""
        columns = self._stream.records.columns
        whole = ~has_word_in_main(self._stream, batch.rows)
        whole |= columns.offset[batch.rows].astype(np.int64) < self._end
        unknown = np.flatnonzero(whole & ~batch.known)
        if len(unknown):
            raise XbrleError(
                "this record's page cannot be told, so it cannot be written anew",
                int(columns.offset[batch.rows[unknown[0]]]),
            )
        return batch if whole.all() else batch.take(whole)

    def around(
        self, start: NDArray[np.int64], stop: NDArray[np.int64], out: memoryview, starts: NDArray[np.int64]
    ) -> Iterator[Piece]:
        """The written records of a batch, with the capture's bytes before and between them.

        Each takes the place of the bytes ``[start, stop)``, (n,) int64 each, which can be none.
        """
        gaps = np.flatnonzero(start[1:] != stop[:-1]) + 1
        firsts = [0, *gaps.tolist()]
        for first, last in zip(firsts, [*gaps.tolist(), len(start)], strict=True):
            yield from self._copy(int(start[first]))
            yield out[int(starts[first]) : int(starts[last])]
            self._copied = max(self._copied, int(stop[last - 1]))

    def rest(self) -> Iterator[Piece]:
        """The capture's bytes after the last record with a page."""
        yield from self._copy(self._end)
        for edit in self._edits:  # what goes to the very end
            yield from edit.pieces

    def _copy(self, end: int) -> Iterator[Piece]:
        while self._edits and self._edits[0].start < end:
            edit = self._edits.pop(0)
            yield self._view[self._copied : edit.start]
            yield from edit.pieces
            self._copied = edit.stop
        yield self._view[self._copied : max(self._copied, end)]
        self._copied = max(self._copied, end)
