"""A capture's memory against a dump of the same guest's: which pages differ, and what could not be compared.

What the capture does not know, or the dump says that it does not know, is neither equal nor different: it is counted.
Memory that only one side has is listed. A dump with guest-physical addresses goes through the capture's map.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import overlapped
from ..memory.image import Image, PageSpace, State
from ..physical.layout import PhysicalMap, Range, covered
from ..source.dumps import Dump, Part, Unknown
from ..text import called, shown

PIECE = 1 << 20  # bytes of pages that are compared at once
LET_GO = 1 << 25  # bytes of a dump after which its pages leave this process

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Unknowns = Mapping[bytes | None, tuple[Ints, Ints]]

_END = (1 << 63) - 1  # the highest place that an array holds


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes from ``offset`` of a block, by its index, that stand at ``position`` of ``part``'s source.

    ``address`` is their guest-physical address, None where the dump is not by addresses.
    """

    block: int
    offset: int
    length: int
    part: Part
    position: int
    address: int | None


@dataclass(frozen=True, slots=True)
class Alone:
    """Memory that only one side has: in words where it is, its bytes, and why it has no counterpart."""

    where: str
    length: int
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.length:#x} bytes are not compared: {self.reason}"


@dataclass(frozen=True, slots=True)
class Counterparts:
    """What the two sides both have, and what only one has. ``hidden`` are bytes that the guest itself does not see."""

    spans: tuple[Span, ...]
    alone: tuple[Alone, ...]
    hidden: int = 0


@dataclass(slots=True)
class Outcome:
    """What comparing gave, in pages of the capture.

    ``pages`` (n,) int64 are the numbers of the pages that differ, rising, ``spans`` (n,) int64 the index of the span in
    which each does. ``bytes`` is how many bytes differ. ``equal`` pages were compared as far as the span goes,
    ``partly`` ones are equal as far as both sides know them. ``unknown`` pages the capture does not know, ``unsaid``
    ones only the dump does not.
    """

    pages: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    spans: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    bytes: int = 0
    equal: int = 0
    partly: int = 0
    unknown: int = 0
    unsaid: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every page of the spans was compared whole."""
        return not (self.partly or self.unknown or self.unsaid)


# -- what lies where --------------------------------------------------------------------------------------------------


def counterparts(space: PageSpace, dump: Dump, where: PhysicalMap | None, block: int | None = None) -> Counterparts:
    """Which bytes of a dump are which of the capture's blocks. ``where`` is the map, for a dump that is by addresses.

    With ``block``, an index, only this block is looked at.
    """
    if where is not None:
        return _by_address(space, dump, where, block)
    return _by_block(space, dump, block)


def _by_block(space: PageSpace, dump: Dump, only: int | None) -> Counterparts:
    spans: list[Span] = []
    alone: list[Alone] = []
    names = [b.name for b in space.blocks]
    seen: dict[int, list[tuple[int, int]]] = {}
    for part in dump.parts:
        block = next(iter(called(names, part.block or b"")), None)
        name = shown(part.block or b"")
        if block is None or not space.blocks[block].declared:
            alone.append(Alone(f"{name} of {dump.name}", part.length, "the capture does not have this block"))
            continue
        if only not in (None, block):
            continue
        length = space.blocks[block].length
        both = max(0, min(part.end, length) - part.start)
        if both:
            spans.append(Span(block, part.start, both, part, part.position, None))
        seen.setdefault(block, []).append((part.start, part.start + both))
        if part.length > both:
            reason = f"the block has {length:#x} bytes in the capture"
            alone.append(Alone(f"{name}:{part.start + both:#x} of {dump.name}", part.length - both, reason))
    for i, b in enumerate(space.blocks):
        listed = b.declared and b.length and only in (None, i)
        if not listed or (i not in seen and dump.is_one_block):
            continue
        for start, stop in _gaps(sorted(seen.get(i, [])), b.length):
            reason = f"{dump.name} does not have " + ("these bytes" if i in seen else "this block")
            alone.append(Alone(f"{shown(b.name)}:{start:#x}", stop - start, reason))
    return Counterparts(tuple(spans), tuple(alone))


def _gaps(ranges: Sequence[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """What of ``length`` bytes none of the rising ranges [start, stop) has."""
    for (_, stop), (start, _) in pairwise([(0, 0), *ranges, (length, length)]):
        if stop < start:
            yield stop, start


def _by_address(space: PageSpace, dump: Dump, where: PhysicalMap, only: int | None) -> Counterparts:
    spans: list[Span] = []
    ranges, parts = where.ranges, dump.parts
    ends = [p.end for p in parts]
    for r in ranges:
        block = space.index(r.block)
        for i in range(bisect_right(ends, r.start), len(parts)):
            part = parts[i]
            if part.start >= r.end:
                break
            start, end = max(r.start, part.start), min(r.end, part.end)
            if only in (None, block):
                position = part.position + start - part.start
                spans.append(Span(block, r.offset + start - r.start, end - start, part, position, start))
    alone: list[Alone] = []
    mine = [Range(p.start, p.length, b"", p.position) for p in parts]
    wanted = [r for r in ranges if only is None or space.index(r.block) == only]
    reason = f"{dump.name} does not have this address"
    alone += [
        Alone(f"{shown(r.block)}:{r.offset:#x} at address {r.start:#x}", r.length, reason)
        for r in covered(wanted, mine)
    ]
    reason = "the capture does not have memory there"
    alone += [
        Alone(f"address {r.start:#x} of {dump.name}", r.length, reason)
        for r in (covered(mine, ranges) if only is None else ())
        if dump.holds(r.length, r.offset)
    ]
    alone += [
        Alone(f"{shown(u.block)}:{u.offset:#x}", u.length, f"it is not placed: {u.reason}")
        for u in where.unplaced
        if only is None or space.index(u.block) == only
    ]
    hidden = sum(h.length for h in where.hidden if only is None or space.index(h.block) == only)
    return Counterparts(tuple(spans), tuple(alone), hidden)


# -- comparing --------------------------------------------------------------------------------------------------------


def by_block(unknown: Sequence[Unknown]) -> Unknowns:
    """What a dump does not know, by block, None for addresses: rising starts and ends, (n,) int64 each.

    Those that touch are one.
    """
    out: dict[bytes | None, list[tuple[int, int]]] = {}
    for u in sorted(unknown, key=lambda u: u.start):
        ranges = out.setdefault(u.block, [])
        start, end = min(u.start, _END), min(u.end, _END)
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], end)
        elif start < end:
            ranges.append((start, end))
    arrays = {block: np.array(ranges, np.int64).reshape(-1, 2) for block, ranges in out.items()}
    return {block: (pairs[:, 0], pairs[:, 1]) for block, pairs in arrays.items()}


def compare(
    image: Image, spans: Sequence[Span], unknown: Sequence[Unknown] = (), progress: Callable[[int], None] | None = None
) -> Outcome:
    """Compare memory with a dump, span by span, a piece at a time.

    ``unknown`` is what the dump says it does not know. ``progress`` is called with the bytes done since the last call.
    A page of which several spans have parts counts once for each.

    Raises:
        XbrleError: a file of the dump has shrunk meanwhile.
    """
    out, unknowns = Outcome(), by_block(unknown)
    pages, indices = [out.pages], [out.spans]
    for i, span in enumerate(spans):
        found = Compared(image, span, unknowns).into(out, progress)
        pages.append(found)
        indices.append(np.full(len(found), i))
    out.pages, first = np.unique(np.concatenate(pages), return_index=True)
    out.spans = np.concatenate(indices)[first]
    return out


class Compared:
    """One span beside the capture's memory. ``unknowns`` is what the dump does not know, as `by_block` has it."""

    def __init__(self, image: Image, span: Span, unknowns: Unknowns) -> None:
        self._image = image
        self._span = span
        self._size = image.space.page_size
        self._base = int(image.space.first[span.block])
        self._low, self._high = span.offset, span.offset + span.length
        place = span.offset if span.address is None else span.address
        none = np.empty(0, np.int64)
        starts, ends = unknowns.get(span.part.block, (none, none)) if place + span.length <= _END else (none, none)
        if len(starts):
            mine = slice(np.searchsorted(ends, place, side="right"), np.searchsorted(starts, place + span.length))
            shift = span.offset - place
            starts = np.maximum(starts[mine] + shift, self._low)
            ends = np.minimum(ends[mine] + shift, self._high)
        self._unknown = starts, ends

    def into(self, out: Outcome, progress: Callable[[int], None] | None) -> Ints:
        """Compare the pages of the span, and add what is counted to ``out``. Returns the pages that differ."""
        pages = slice(self._base + self._low // self._size, self._base - (-self._high // self._size))
        given = self._image.given(pages)
        given = given[np.not_equal(self._image.state[given], State.POSSIBLE)]
        out.unknown += pages.stop - pages.start - len(given)
        step, differing, passed = max(1, PIECE // self._size), [np.empty(0, np.int64)], 0
        source = self._span.part.source
        for start in range(0, len(given), step):
            part = given[start : start + step]
            source.check()
            differing.append(self._piece(part, out))
            passed += len(part) * self._size
            if passed >= LET_GO:
                source.let_go()
                passed = 0
            if progress is not None:
                progress(len(part) * self._size)
        source.let_go()
        return np.concatenate(differing)

    def _piece(self, pages: Ints, out: Outcome) -> Ints:
        """Compare some pages that the capture gives. Returns those that differ."""
        mine, theirs = self._image.pages[pages], self.theirs(pages)
        changed = (mine.view(np.uint64) != theirs.view(np.uint64)).any(axis=1)
        cut = self._is_cut(pages)
        wholly, nothing = np.ones(len(pages), bool), np.zeros(len(pages), bool)
        for i in np.flatnonzero(cut).tolist():
            known, within = self.known(int(pages[i]))
            differs = known & (mine[i] != theirs[i])
            changed[i], wholly[i], nothing[i] = differs.any(), (known == within).all(), not known.any()
            out.bytes += int(np.count_nonzero(differs))
        of_whole = changed & ~cut
        out.bytes += int(np.count_nonzero(mine[of_whole] != theirs[of_whole]))
        out.equal += int(np.count_nonzero(wholly & ~changed))
        out.unsaid += int(np.count_nonzero(nothing))
        out.partly += int(np.count_nonzero(~wholly & ~changed & ~nothing))
        found: Ints = pages[changed]
        return found

    def _is_cut(self, pages: Ints) -> Mask:
        """Which pages the span does not have whole, or one of the sides does not know whole, (n,) bool."""
        starts = (pages - self._base) * self._size
        ends = starts + self._size
        cut: Mask = (starts < self._low) | (ends > self._high) | (self._image.state[pages] != State.RECOVERED)
        begin, end = self._unknown
        if len(begin):
            cut |= np.searchsorted(begin, ends) > np.searchsorted(end, starts, side="right")
        return cut

    def known(self, page: int) -> tuple[Mask, Mask]:
        """Which bytes of a page both sides know, and which the span has, (page_size,) bool each."""
        start = (page - self._base) * self._size
        within = np.zeros(self._size, bool)
        within[max(0, self._low - start) : max(0, self._high - start)] = True
        known = within & self._image.recovered_bytes(page)
        begin, end = self._unknown
        first, last = np.searchsorted(end, start, side="right"), np.searchsorted(begin, start + self._size)
        for b, e in zip(begin[first:last].tolist(), end[first:last].tolist(), strict=True):
            known[max(0, b - start) : e - start] = False
        return known, within

    def theirs(self, pages: Ints) -> Bytes:
        """The dump's bytes of pages, (n, page_size) uint8, 0 where the span does not have them."""
        starts = (pages - self._base) * self._size
        data = self._span.part.source.data
        whole = (starts >= self._low) & (starts + self._size <= self._high)
        places = self._span.position + starts - self._low
        out = np.zeros((len(pages), self._size), np.uint8)
        raw = overlapped(data, places[whole], np.dtype(f"V{self._size}"))
        out[whole] = raw.view(np.uint8).reshape(-1, self._size)
        for i in np.flatnonzero(~whole).tolist():
            page = int(starts[i])
            start, stop = max(self._low, page), min(self._high, page + self._size)
            at = self._span.position + start - self._low
            out[i, start - page : stop - page] = data[at : at + stop - start]
        return out

    def address(self, page: int) -> int | None:
        """The guest-physical address of a page, or of the first byte of it that the span has."""
        if self._span.address is None:
            return None
        return self._span.address + max(0, (page - self._base) * self._size - self._low)
