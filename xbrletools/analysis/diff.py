"""What differs between two memories: of two captures, or of one at two moments.

Blocks are compared by name. A byte that is unknown in only one of the memories is a difference of its own kind.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..memory.image import Image, PageSpace, State
from ..memory.lapses import Lapses
from ..memory.lapses import lapses as as_lapses
from ..memory.moments import lapses_of, space_of
from ..memory.replay import View, replay
from ..model import Stream
from ..progress import tell

PIECE = 1 << 20  # bytes that are compared together
PARTS = 64  # equal parts of a page whose changes are counted apart


class Change(Enum):
    """How a byte differs."""

    VALUE = "value"  # recovered in both, with different values
    GAINED = "gained"  # unknown in the first only
    LOST = "lost"  # unknown in the second only


_NUMBERED = (None, Change.VALUE, Change.GAINED, Change.LOST)


@dataclass(frozen=True, slots=True)
class Difference:
    """Bytes of a block that follow each other and differ in one way."""

    block: bytes
    offset: int
    length: int
    change: Change


@dataclass(frozen=True, slots=True)
class BlockDifference:
    """A block that only one memory has, or that is longer in one: its size in each, None where it is missing."""

    block: bytes
    first: int | None
    second: int | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many pages differ, of each block, and how many bytes in which way. Pages are those of the first memory."""

    pages: Counter[bytes]
    bytes: Counter[Change]


@dataclass(frozen=True, slots=True, eq=False)
class PageChanges:
    """Pages of ``block`` that differ, n of them, rising. Pages are those of the first memory.

    ``address`` (n,) int64 is where each begins, in bytes. ``count`` (n,) int64 are its bytes that differ in any way,
    ``one_sided`` (n,) int64 those of them that only one memory has. ``parts`` (n, PARTS) uint16 counts its bytes that
    differ in each of `PARTS` equal parts of the page. ``stop`` says how far the block is compared by now, in bytes.
    """

    block: bytes
    stop: int
    address: NDArray[np.int64]
    count: NDArray[np.int64]
    one_sided: NDArray[np.int64]
    parts: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.address)


def blocks_differ(first: Image, second: Image, only: bytes | None = None) -> list[BlockDifference]:
    """The blocks that only one memory has, or that differ in length. With ``only``, no others than this one."""
    lengths = [_lengths(image, only) for image in (first, second)]
    names = list(dict.fromkeys([*lengths[0], *lengths[1]]))
    return [
        BlockDifference(name, lengths[0].get(name), lengths[1].get(name))
        for name in names
        if lengths[0].get(name) != lengths[1].get(name)
    ]


def differences(first: Image, second: Image, only: bytes | None = None) -> Iterator[Difference]:
    """What differs in the blocks that both memories have, up to the shorter length: by block, then by offset.

    With ``only``, no other block than this one is looked at.
    """
    for name, length in _common(first, second, only):
        yield from _in_block(first, second, name, length)


def page_changes(first: Image, second: Image, only: bytes | None = None) -> Iterator[PageChanges]:
    """The pages with what `differences` gives, some of a block's at a time: by block, then by address."""
    size = first.space.page_size
    for name, start, kind in _compared(first, second, only):
        whole = np.zeros(-(-len(kind) // size) * size, np.uint8)
        whole[: len(kind)] = kind
        parts = np.add.reduce(whole.reshape(-1, PARTS, size // PARTS) != 0, axis=2, dtype=np.uint16)
        count = parts.sum(1, dtype=np.int64)
        rows = np.flatnonzero(count)
        one_sided = np.count_nonzero(whole.reshape(-1, size)[rows] > _NUMBERED.index(Change.VALUE), axis=1)
        yield PageChanges(
            name, start + len(kind), start + rows * size, count[rows], one_sided.astype(np.int64), parts[rows]
        )


def tally(first: Image, second: Image, only: bytes | None = None) -> Tally:
    """How much of what `differences` gives there is."""
    out, size = Tally(Counter(), Counter()), first.space.page_size
    for name, _, kind in _compared(first, second, only):
        counts = np.bincount(kind, minlength=len(_NUMBERED)).tolist()
        out.bytes.update({c: n for c, n in zip(_NUMBERED, counts, strict=True) if c is not None and n})
        pages = np.add.reduceat(kind != 0, np.arange(0, len(kind), size), dtype=np.int64)
        out.pages[name] += int(np.count_nonzero(pages))
    return out


def _compared(first: Image, second: Image, only: bytes | None) -> Iterator[tuple[bytes, int, NDArray[np.uint8]]]:
    """Pieces of the blocks that both memories have: a block, where the piece begins in it, and its `_kinds`."""
    for name, length in _common(first, second, only):
        for start, stop in _given_in_either(first, second, name, length):
            yield name, start, _kinds(first, second, name, start, stop)


def _common(first: Image, second: Image, only: bytes | None) -> Iterator[tuple[bytes, int]]:
    """The blocks that both memories have, each with the shorter length."""
    second_lengths = _lengths(second, only)
    for name, length in _lengths(first, only).items():
        if name in second_lengths:
            yield name, min(length, second_lengths[name])


def _lengths(image: Image, only: bytes | None = None) -> dict[bytes, int]:
    """The length of each block that has pages. Of several blocks of one name it is the first's."""
    lengths: dict[bytes, int] = {}
    for block, pages in zip(image.space.blocks, image.space.pages.tolist(), strict=True):
        if pages and only in (None, block.name):
            lengths.setdefault(block.name, block.length)
    return lengths


def _in_block(first: Image, second: Image, name: bytes, length: int) -> Iterator[Difference]:
    pending: Difference | None = None
    for start, stop in _given_in_either(first, second, name, length):
        for span in _in_piece(first, second, name, start, stop):
            if pending is not None and (pending.offset + pending.length, pending.change) == (span.offset, span.change):
                pending = Difference(name, pending.offset, pending.length + span.length, span.change)
                continue
            if pending is not None:
                yield pending
            pending = span
    if pending is not None:
        yield pending


def _pages(image: Image, name: bytes, start: int, stop: int) -> slice:
    """The pages that hold these bytes of a block."""
    size = image.space.page_size
    first = image.space.slice(image.space.index(name)).start
    return slice(first + start // size, first + -(-stop // size))


def _given_in_either(first: Image, second: Image, name: bytes, length: int) -> Iterator[tuple[int, int]]:
    """The bytes [start, stop) of a block whose pages are not unknown in both, in pieces of `PIECE` bytes or a page."""
    size = max(first.space.page_size, second.space.page_size)
    places = distinct(np.concatenate([_given(image, name, length) // size for image in (first, second)]))
    begins = np.diff(places, prepend=-2) != 1
    since = np.arange(len(places)) - np.maximum.accumulate(np.where(begins, np.arange(len(places)), 0))
    starts = np.flatnonzero(since % max(1, PIECE // size) == 0)
    ends = np.append(starts[1:], len(places))[: len(starts)] - 1
    for start, end in zip(places[starts].tolist(), places[ends].tolist(), strict=True):
        tell("comparing", start * size, length)
        yield start * size, min((end + 1) * size, length)


def _given(image: Image, name: bytes, length: int) -> NDArray[np.int64]:
    """Where the pages begin, in the first ``length`` bytes of a block, that are not unknown, in bytes, (n,) int64."""
    pages = _pages(image, name, 0, length)
    offsets: NDArray[np.int64] = (image.given(pages) - pages.start) * image.space.page_size
    return offsets


def _kinds(first: Image, second: Image, name: bytes, start: int, stop: int) -> NDArray[np.uint8]:
    """How each of the bytes [start, stop) of a block differs, (stop - start,) uint8: its place in `_NUMBERED`."""
    first_bytes, second_bytes = (image[name].reshape(-1)[start:stop] for image in (first, second))
    masks = [_recovered(image, name, start, stop) for image in (first, second)]
    kind: NDArray[np.uint8] = (first_bytes != second_bytes).view(np.uint8)
    if not all(m is None for m in masks):
        in_first, in_second = (np.ones(stop - start, bool) if m is None else m for m in masks)
        kind[~(in_first & in_second)] = 0
        kind[in_second & ~in_first] = _NUMBERED.index(Change.GAINED)
        kind[in_first & ~in_second] = _NUMBERED.index(Change.LOST)
    return kind


def _in_piece(first: Image, second: Image, name: bytes, start: int, stop: int) -> Iterator[Difference]:
    """What differs in the bytes [start, stop) of a block."""
    kind = _kinds(first, second, name, start, stop)
    edges = np.flatnonzero(np.diff(kind, prepend=np.uint8(0), append=np.uint8(0)))
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        change = _NUMBERED[kind[begin]]
        if change is not None:
            yield Difference(name, start + begin, end - begin, change)


def _recovered(image: Image, name: bytes, start: int, stop: int) -> NDArray[np.bool_] | None:
    """Which bytes [start, stop) of a block are recovered, (stop - start,) bool, or None where all are."""
    pages = _pages(image, name, start, stop)
    state = image.state[pages]
    if (state == State.RECOVERED).all():
        return None
    size = image.space.page_size
    recovered = np.repeat(state == State.RECOVERED, size)
    for i in np.flatnonzero(state == State.PARTLY).tolist():
        recovered[i * size : (i + 1) * size] = image.recovered_bytes(pages.start + i)
    skip = start % size
    return recovered[skip : skip + stop - start]


def memory_of_pass(stream: Stream, number: int, view: View = View.RECEIVER) -> Image:
    """Memory after pass ``number``: each block after its own pass of that number. 0 gives memory before any record."""
    table, space = stream.records, space_of(stream)
    rows = np.flatnonzero(table.is_page & (table.pass_ <= number))
    block = table.columns.block[rows]
    last = np.full(len(space.blocks), -1, np.int64)
    listed = block < len(last)
    np.maximum.at(last, block[listed], rows[listed])
    lapses = (
        _within(lapses_of(stream, view), space, last)
        if number < table.pass_.max(initial=0)
        else lapses_of(stream, view)
    )
    image = Image(space)
    replay(image, stream.payloads.take(rows), view, lapses.among(rows))
    return image


def _within(lapses: Lapses, space: PageSpace, last: NDArray[np.int64]) -> Lapses:
    """What had lapsed of each block by the record at its row in ``last``."""
    pieces = [
        (since, until, max(first, int(space.first[b])), min(stop, int(space.first[b + 1])))
        for since, until, first, stop in lapses
        for b in range(len(last))
        if since <= last[b]
    ]
    return as_lapses([p for p in pieces if p[2] < p[3]])
