"""The table `page_versions`: every version of every page, its byte sum, what changed, and a hash of its content."""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..arrow.tables import ArrowTable
from ..arrow.values import Batch as Rows
from ..arrow.values import Column
from ..codec.checksum import byte_sum
from ..codec.uniform import NOT_UNIFORM, fills
from ..memory.image import State
from ..memory.moments import lapses_of, space_of
from ..memory.replay import View
from ..memory.versions import Batch, Versions
from ..model import Stream
from ..text import shown
from .schema import PAGE_VERSIONS, schema_of

HASH_SIZE = 16  # bytes
_COMPARED = 64  # pages that are compared at a time, so that they stay in the cache

Ints = NDArray[np.int64]


def page_versions(stream: Stream) -> ArrowTable:
    """Every version that a record left at the receiver, as `PageHistory.versions` tells them of one page.

    A record that says nothing sure, since a channel is missing or bytes before it were lost, leaves its page unknown.
    Such records come last. Memory is bounded by `memory.versions.BATCH`, beside the image.

    Raises:
        XbrleError: the blocks claim more than any guest has.
    """
    space_of(stream)

    def batches() -> Iterator[Rows]:
        space, rows = space_of(stream), stream.records.by_number
        lapses = lapses_of(stream, View.RECEIVER).among(rows)
        columns = stream.records.columns.take(rows)
        for batch in Versions(stream, space, columns, lapses=lapses):
            if not batch.lapsed:
                yield _rows(stream, batch, space.first)
        page_of = space.pages_of(columns)
        void = np.flatnonzero(lapses.void(page_of) & (page_of >= 0))
        for start in range(0, len(void), 1 << 16):
            yield _void(stream, void[start : start + (1 << 16)], page_of, space.first)

    return ArrowTable(schema_of(PAGE_VERSIONS), batches)


def _rows(stream: Stream, batch: Batch, first: Ints) -> Rows:
    entries, versions = batch.entries, batch.versions
    before = batch.latest(entries.pages[versions], versions - 1)
    new, state = entries.data[len(entries.pages) - len(versions) :], entries.state[versions]
    whole = state == State.RECOVERED
    return Rows(
        len(versions),
        (
            Column((entries.places[versions] + 1).astype(np.uint64)),
            *_placed(stream, entries.pages[versions], first),
            Column(whole),
            Column(byte_sum(new).astype(np.uint32), whole),
            Column(_changed(batch, before, versions)),
            Column(~_given(entries.state[before])),
            Column(_digests(new, whole), whole),
        ),
    )


def _digests(pages: NDArray[np.uint8], whole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A hash of each page that is ``whole``, (n, HASH_SIZE) uint8, 0 for others."""
    digests = np.zeros((len(pages), HASH_SIZE), np.uint8)
    rows = np.flatnonzero(whole)
    fill = fills(pages, rows)
    for byte in distinct(fill[fill != NOT_UNIFORM]).tolist():
        digests[rows[fill == byte]] = np.frombuffer(_digest_of_fill(byte, pages.shape[1]), np.uint8)
    rows = rows[fill == NOT_UNIFORM]
    found = b"".join([_digest(pages[i].data) for i in rows.tolist()])
    digests[rows] = np.frombuffer(found, np.uint8).reshape(len(rows), HASH_SIZE)
    return digests


def _digest(page: bytes | memoryview) -> bytes:
    return blake2b(page, digest_size=HASH_SIZE).digest()


@lru_cache(1 << 10)
def _digest_of_fill(byte: int, size: int) -> bytes:
    """The hash of a page of one repeated byte: most pages of a guest are such pages."""
    return _digest(bytes([byte]) * size)


def _void(stream: Stream, places: Ints, page_of: Ints, first: Ints) -> Rows:
    """Records that say nothing sure: their pages are unknown before them and after."""
    count = len(places)
    none = np.zeros(count, bool)
    return Rows(
        count,
        (
            Column((places + 1).astype(np.uint64)),
            *_placed(stream, page_of[places], first),
            Column(none),
            Column(np.zeros(count, np.uint32), none),
            Column(np.zeros(count, np.uint32)),
            Column(~none),
            Column(np.zeros((count, HASH_SIZE), np.uint8), none),
        ),
    )


def _placed(stream: Stream, pages: Ints, first: Ints) -> tuple[Column, Column]:
    """The block and the address of each page. ``first`` has the first page of each block."""
    block = np.searchsorted(first, pages, side="right") - 1
    address = (pages - first[block]) * stream.page_size
    names = tuple(shown(b.name) for b in stream.blocks)
    return Column(block.astype(np.uint16), None, names), Column(address.astype(np.uint64))


def _given(state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether something of each page is recovered, (n,) bool."""
    given: NDArray[np.bool_] = (state == State.RECOVERED) | (state == State.PARTLY)
    return given


def _changed(batch: Batch, before: Ints, after: Ints) -> NDArray[np.uint32]:
    """How many bytes of each page differ, (n,) uint32. One that only one of both has is a difference."""
    entries = batch.entries
    old, new = entries.state[before], entries.state[after]
    count = np.zeros(len(after), np.uint32)
    count[_given(old) != _given(new)] = entries.data.shape[1]
    both = np.flatnonzero(_given(old) & _given(new))
    for start in range(0, len(both), _COMPARED):
        part = both[start : start + _COMPARED]
        differs = entries.data[before[part]] != entries.data[after[part]]
        count[part] = byte_sum(differs.view(np.uint8))
    for i in np.flatnonzero((old == State.PARTLY) | (new == State.PARTLY)).tolist():
        masks = [_recovered(batch, e) for e in (int(before[i]), int(after[i]))]
        data = entries.data[int(after[i])] != entries.data[int(before[i])]
        count[i] = np.count_nonzero((masks[1] & data) | (masks[0] != masks[1]))
    return count


def _recovered(batch: Batch, entry: int) -> NDArray[np.bool_]:
    """Which bytes of an entry are recovered, (page_size,) bool."""
    entries = batch.entries
    if entry in entries.partly:
        return entries.partly[entry]
    return np.full(entries.data.shape[1], entries.state[entry] == State.RECOVERED)
