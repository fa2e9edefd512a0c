"""Bytes in memory: where they are at one moment.

Memory is searched page by page, and the borders of pages each with the bytes around it in its block, so that a match
can run across. Where matches can be long, each page is searched together with what is around it instead. `lives`
searches all versions of all pages this way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..errors import XbrleError
from ..memory.image import Image, PageSpace, State
from ..memory.moments import memory_of, space_of
from ..memory.replay import View
from ..memory.versions import Batch, Versions
from ..model import Stream
from ..text import shown
from .pattern import REGEX_SECONDS, Pattern
from .sieve import Matcher, Sieve

WINDOWS = 1 << 22  # bytes of windows that are searched at once
_AFTER = 2  # bytes after a match that say whether a whole word ends there: one character, wide
_SHORT = 8  # parts of a page of which one holds any match, where borders are searched apart

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hit:
    """Bytes of a block, by its index, that matched.

    ``appeared`` is the record after which they were there, ``vanished`` the record after which they were gone. Both are
    None where memory was searched at one moment. ``vanished`` is None where they were still there at the end.
    ``pattern`` is the index of the pattern of an engine.
    """

    block: int
    offset: int
    content: bytes
    appeared: int | None = None
    vanished: int | None = None
    pattern: int | None = None


class TooManyError(XbrleError):
    """There are more matches than whoever searches wants."""


def search(
    stream: Stream,
    pattern: Pattern,
    at: int | None = None,
    view: View = View.RECEIVER,
    block: int | None = None,
) -> Iterator[Hit]:
    """Where ``pattern`` is in memory just after record ``at``, by default at the end, in the order of addresses.

    Raises:
        XbrleError: there is no such record.
    """
    yield from search_image(stream, memory_of(stream, at, view), pattern, block)


def search_image(
    stream: Stream,
    image: Image,
    pattern: Pattern,
    block: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    most: int | None = None,
) -> Iterator[Hit]:
    """Where ``pattern`` is in ``image``, which is memory of the stream at one moment, in the order of addresses.

    ``progress`` is called with the pages that were searched by now, and with those that are to be searched.

    Raises:
        TooManyError: some pages that are searched together have more than ``most`` matches.
    """
    space = space_of(stream)
    finder = Finder(space, pattern, Still(image), most)
    sent_pages = distinct(space.pages_of(stream.records.columns))
    chosen = slice(0, len(space)) if block is None else space.slice(block)
    sent_pages = sent_pages[(sent_pages >= chosen.start) & (sent_pages < chosen.stop)]
    step = finder.zones[0].step
    for first in range(0, len(sent_pages), step):
        part = sent_pages[first : first + step]
        found = [np.empty((3, 0), np.int64)]
        for zone in finder.zones:
            pages = part[finder.has(zone, part)]
            matches = finder.find(zone, pages, np.zeros(len(pages), np.int64))
            found += (np.stack((pages[m.windows], m.starts, m.contents)) for m in matches)
        if progress is not None:
            progress(first + len(part), len(sent_pages))
        at, starts, contents = np.concatenate(found, axis=1)
        order = np.lexsort((starts, at))
        blocks, offsets = finder.places(at[order], starts[order])
        for in_block, offset, content in zip(blocks, offsets, contents[order].tolist(), strict=True):
            yield finder.hit(in_block, offset, content)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matches as columns, (n,) each: the window, the offset from the start of its page, and the number of the content.

    An offset of a page's size or more is in the next page.
    """

    windows: Ints
    starts: Ints
    contents: Ints


class Still:
    """Memory at one moment, with the methods of `Versions`."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def data(self, pages: Ints, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes [start, stop) of pages, (n, stop - start)."""
        data: NDArray[np.uint8] = self._image.pages[pages, start:stop]
        return data

    def state(self, pages: Ints) -> NDArray[np.uint8]:
        """The `State` of each page, (n,)."""
        state: NDArray[np.uint8] = self._image.state[pages]
        return state

    def recovered_bytes(self, page: int) -> NDArray[np.bool_]:
        """Which bytes of a page are recovered, (page_size,)."""
        return self._image.recovered_bytes(page)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of a window, at ``to`` in it: bytes [start, stop) of the page ``step`` pages after the window's own."""

    step: int
    start: int
    stop: int
    to: int


@dataclass(frozen=True, slots=True)
class Zone:
    """What windows of one sort hold: the ``segments``, ``width`` bytes in all.

    A window is searched for matches that begin at one of ``begins`` in it. ``origin`` is where its page would begin in
    it. ``first``: only the first page of each block has such a window.
    """

    segments: tuple[_Segment, ...]
    width: int
    begins: range
    origin: int
    first: bool = False

    @property
    def step(self) -> int:
        """How many windows are searched at a time."""
        return max(1, WINDOWS // self.width)

    @property
    def is_page(self) -> bool:
        """Whether a window is a page as it is."""
        return len(self.segments) == 1 and self.segments[0].stop == self.width

    def runs(self, recovered: list[bool], room: int) -> list[tuple[int, int]]:
        """The runs [start, stop) of recovered bytes in the first ``room`` of a window, each of whose segments is
        ``recovered`` as a whole or not at all.
        """
        runs: list[tuple[int, int]] = []
        for segment, is_whole in zip(self.segments, recovered, strict=True):
            start, stop = segment.to, min(room, segment.to + segment.stop - segment.start)
            if not is_whole or start >= stop:
                continue
            if runs and runs[-1][1] == start:
                start = runs.pop()[0]
            runs.append((start, stop))
        return runs


def _zones(pattern: Pattern, size: int) -> tuple[Zone, ...]:
    """The windows in which to search, for pages of ``size`` bytes. Each match begins in one of them.

    Where matches are short, a page's windows are itself, the border after it, and the first bytes of a block. So no
    page is searched again because its neighbour changed. Else its window is the page with all that is around it.
    """
    context, tail = min(pattern.context, size), pattern.reach + _AFTER
    if pattern.overlapping and context + tail <= size // _SHORT:
        seen = context + tail
        inner = Zone((_Segment(0, 0, size, 0),), size, range(context, size - tail), 0)
        border = (_Segment(0, size - seen, size, 0), _Segment(1, 0, seen, seen))
        zones = (inner, Zone(border, 2 * seen, range(context, seen + context), seen - size))
        if not context:
            return zones
        head = (_Segment(-1, size - context, size, 0), _Segment(0, 0, seen, context))
        return (*zones, Zone(head, context + seen, range(context, 2 * context), context, first=True))
    segments = [_Segment(-1, size - context, size, 0)] if context else []
    segments.append(_Segment(0, 0, size, context))
    left, step = pattern.reach, 1
    while left > 0:
        segments.append(_Segment(step, 0, min(left, size), context + step * size))
        left, step = left - size, step + 1
    width = segments[-1].to + segments[-1].stop - segments[-1].start
    return (Zone(tuple(segments), width, range(context, context + size), context),)


class Finder:
    """Finds a pattern in windows: the pages, with what is around them. ``zones`` are the sorts of windows.

    It stops with `TooManyError` where windows that are searched together have more than ``most`` matches.
    """

    def __init__(self, space: PageSpace, pattern: Pattern, memory: "Still | Versions", most: int | None = None) -> None:
        self.space = space
        self.most = most
        self.pattern = pattern
        self._memory = memory
        self.zones = _zones(pattern, space.page_size)
        self._matcher = Matcher(pattern.expression, pattern.needed, self.zones[0].begins, REGEX_SECONDS)
        needed = pattern.needed
        self._sieve = None if needed is None else Sieve(space.page_size, memory, needed, self.same_block)
        self._contents: dict[tuple[int | None, bytes], int] = {}
        self._content: list[tuple[int | None, bytes]] = []

    def has(self, zone: Zone, pages: Ints) -> NDArray[np.bool_]:
        """Whether each page has a window of this zone, (n,) bool."""
        return np.isin(pages, self.space.first) if zone.first else np.ones(len(pages), bool)

    def places(self, pages: Ints, starts: Ints) -> tuple[list[int], list[int]]:
        """The block, by its index, and the offset in it of bytes of pages."""
        block = np.searchsorted(self.space.first, pages, side="right") - 1
        offset = (pages - self.space.first[block]) * self.space.page_size + starts
        return block.tolist(), offset.tolist()

    def hit(
        self, block: int, offset: int, number: int, appeared: int | None = None, vanished: int | None = None
    ) -> Hit:
        """A match whose content has this number."""
        pattern, content = self._content[number]
        return Hit(block, offset, content, appeared, vanished, pattern)

    def number(self, content: bytes, pattern: int | None = None) -> int:
        """The number of a content, the same for the same bytes of the same pattern."""
        number = self._contents.setdefault((pattern, content), len(self._content))
        if number == len(self._content):
            self._content.append((pattern, content))
        return number

    def find(self, zone: Zone, pages: Ints, moments: Ints, batch: Batch | None = None) -> Iterator[Matches]:
        """Matches in a window of each of ``pages``, as memory is at the entry of the batch that ``moments`` has for it.

        At most `WINDOWS` bytes of windows are searched at a time.
        """
        chosen = np.arange(len(pages))
        if self._sieve is not None:
            steps = zone.segments[-1].step
            chosen = np.flatnonzero(self._sieve.may(pages, moments, batch, steps))
        for first in range(0, len(chosen), zone.step):
            part = chosen[first : first + zone.step]
            look = self._pages if zone.is_page else self._windows
            found = _Windows(zone, pages[part], *look(zone, pages[part], moments[part], batch))
            search = self._find_everywhere if self.pattern.overlapping else self._find_in_each
            windows, starts, contents = search(found, batch)
            at = part[np.array(windows, np.int64)]
            yield Matches(at, np.array(starts, np.int64), np.array(contents, np.int64))

    def _pages(
        self, zone: Zone, pages: Ints, moments: Ints, batch: Batch | None
    ) -> tuple[bytes, NDArray[np.uint8], Ints]:
        """As `_windows`, of windows that are each a page as a record left it."""
        if batch is None:
            entries = np.full(len(pages), -1, np.int64)
            return (
                self._memory.data(pages, 0, zone.width).tobytes(),
                self._memory.state(pages)[:, None],
                entries[:, None],
            )
        data = batch.entries.data
        starts = np.flatnonzero(np.diff(moments, prepend=-2) != 1)
        stops = moments[np.append(starts[1:], len(moments)) - 1] + 1
        runs = zip(moments[starts].tolist(), stops.tolist(), strict=True)
        buffer = b"".join([data[start:stop].data for start, stop in runs])
        return buffer, batch.entries.state[moments][:, None], moments[:, None]

    def _windows(
        self, zone: Zone, pages: Ints, moments: Ints, batch: Batch | None
    ) -> tuple[bytearray, NDArray[np.uint8], Ints]:
        """The windows' bytes, one after the other, and of each segment, (windows, segments), its state and its entry.

        The state is a `State`, uint8. The entry, int64, is the batch's entry that the segment is from, or -1 for
        memory.
        """
        buffer = bytearray(len(pages) * zone.width)
        rows = np.frombuffer(buffer, np.uint8).reshape(len(pages), zone.width)
        states = np.zeros((len(pages), len(zone.segments)), np.uint8)
        entries = np.full((len(pages), len(zone.segments)), -1, np.int64)
        for k, segment in enumerate(zone.segments):
            wanted = pages + segment.step
            inside = np.flatnonzero(self.same_block(pages, wanted))
            to = slice(segment.to, segment.to + segment.stop - segment.start)
            if batch is not None:
                latest = batch.latest(wanted[inside], moments[inside])
                in_batch, entry = inside[latest >= 0], latest[latest >= 0]
                rows[_span(in_batch), to] = batch.entries.data[entry, segment.start : segment.stop]
                states[in_batch, k] = batch.entries.state[entry]
                entries[in_batch, k] = entry
                inside = inside[latest < 0]
            if len(inside):
                rows[_span(inside), to] = self._memory.data(wanted[inside], segment.start, segment.stop)
                states[inside, k] = self._memory.state(wanted[inside])
        return buffer, states, entries

    def _find_everywhere(self, found: "_Windows", batch: Batch | None) -> tuple[list[int], list[int], list[int]]:
        """Every place in every window at which the pattern occurs in recovered bytes."""
        zone, pages, states = found.zone, found.pages, found.states
        at, lengths, contents = self._places(found.buffer, zone.width)
        window, begin = at // zone.width, at % zone.width
        end = begin + lengths
        good = (begin >= zone.begins.start) & (begin < zone.begins.stop) & (end <= zone.width)
        window, begin, end, contents = window[good], begin[good], end[good], contents[good]
        doubtful = np.zeros(len(window), bool)
        for k, segment in enumerate(zone.segments):
            over = (begin < segment.to + segment.stop - segment.start) & (end > segment.to)
            doubtful |= over & (states[window, k] != State.RECOVERED)
        keep = ~doubtful
        for i in np.flatnonzero(doubtful).tolist():
            w = int(window[i])
            if (states[w] == State.PARTLY).any():
                recovered = self._recovered(found, w, batch)
                keep[i] = bool(recovered[begin[i] : end[i]].all())
        keep &= (pages[window] * self.space.page_size + (end - zone.origin)) <= self._end_of(pages[window])
        return window[keep].tolist(), (begin[keep] - zone.origin).tolist(), contents[keep].tolist()

    def _places(self, buffer: bytes | bytearray, width: int) -> tuple[Ints, Ints, Ints]:
        """Where the pattern occurs in the buffer, overlapping places too.

        With each place's length and content's number.
        """
        if self.pattern.engine is not None:
            places, lengths_of, which = self.pattern.engine(bytes(buffer), width)
            self.check(len(places))
            found = zip(places.tolist(), lengths_of.tolist(), which.tolist(), strict=True)
            numbers = [self.number(bytes(buffer[p : p + n]), pattern) for p, n, pattern in found]
            return places, lengths_of, np.array(numbers, np.int64)
        at: list[int] = []
        literal = self.pattern.literal
        if literal is not None:
            place = buffer.find(literal)
            while place >= 0:
                at.append(place)
                self.check(len(at))
                place = buffer.find(literal, place + 1)
            content = self.number(literal) if at else 0
            return np.array(at, np.int64), np.full(len(at), len(literal)), np.full(len(at), content)
        lengths, contents = [], []
        match = self.pattern.expression.search(buffer)
        while match is not None:
            at.append(match.start())
            lengths.append(match.end() - match.start())
            contents.append(self.number(bytes(match[0])))
            self.check(len(at))
            match = self.pattern.expression.search(buffer, match.start() + 1)
        return np.array(at, np.int64), np.array(lengths, np.int64), np.array(contents, np.int64)

    def _find_in_each(self, found: "_Windows", batch: Batch | None) -> tuple[list[int], list[int], list[int]]:
        """The matches of an expression in each window, one after the other, within recovered bytes."""
        windows, starts, contents = [], [], []
        zone, pages, states = found.zone, found.pages, found.states
        room = (self._end_of(pages) - pages * self.space.page_size + zone.origin).tolist()
        recovered = (states == State.RECOVERED).tolist()
        in_part = (states == State.PARTLY).any(axis=1).tolist()
        places = self._matcher.places(found.buffer, zone.width)
        for w, page in enumerate(pages.tolist()):
            if places[w] == []:
                continue
            window = bytes(found.buffer[w * zone.width : (w + 1) * zone.width])[: room[w]]
            if in_part[w]:
                runs = _runs(self._recovered(found, w, batch)[: room[w]])
            else:
                runs = zone.runs(recovered[w], len(window))
            for begin, end in runs:
                if end <= zone.begins.start or begin >= zone.begins.stop:
                    continue
                try:
                    matches = self._matcher.matches(window, begin, end, places[w])
                except TimeoutError:
                    raise self._too_slow(page) from None
                for start, content in matches:
                    if start in zone.begins:
                        windows.append(w)
                        starts.append(start - zone.origin)
                        contents.append(self.number(content))
                self.check(len(windows))
        return windows, starts, contents

    def check(self, count: int) -> None:
        """Go on only where there are not too many matches.

        Raises:
            TooManyError: there are more than `most`.
        """
        if self.most is not None and count > self.most:
            raise TooManyError(f"there are more than {self.most} matches: search for something longer")

    def _too_slow(self, page: int) -> XbrleError:
        """What to say of an expression that takes too long on a page."""
        (block,), (offset,) = self.places(np.array([page]), np.zeros(1, np.int64))
        source = self.pattern.expression.pattern.decode("utf-8", "surrogateescape")
        return XbrleError(
            f"the regular expression {source!r} takes more than {REGEX_SECONDS:g} s on the page "
            f"{shown(self.space.blocks[block].name)}:{offset:#x}; the search ends there. Write it without repetition "
            "inside repetition, such as (a+)+, or search for text or --hex"
        )

    def same_block(self, pages: Ints, others: Ints) -> NDArray[np.bool_]:
        """Whether each of ``others`` is in the same block as its counterpart in ``pages``."""
        first = self.space.first
        block = np.searchsorted(first, pages, side="right") - 1
        same: NDArray[np.bool_] = (others >= first[block]) & (others < first[block + 1])
        return same

    def _end_of(self, pages: Ints) -> Ints:
        """Where the block of each page ends, in bytes from the first page of the space."""
        lengths = np.array([b.length for b in self.space.blocks], np.int64)
        block = np.searchsorted(self.space.first, pages, side="right") - 1
        ends: Ints = self.space.first[block] * self.space.page_size + lengths[block]
        return ends

    def _recovered(self, found: "_Windows", window: int, batch: Batch | None) -> NDArray[np.bool_]:
        """Which bytes of one window are recovered, (width,) bool."""
        recovered = np.zeros(found.zone.width, bool)
        for k, segment in enumerate(found.zone.segments):
            to = slice(segment.to, segment.to + segment.stop - segment.start)
            state, entry = found.states[window, k], int(found.entries[window, k])
            if state == State.PARTLY:
                if entry >= 0 and batch is not None:
                    of_page = batch.entries.partly[entry]
                else:
                    of_page = self._memory.recovered_bytes(int(found.pages[window]) + segment.step)
                recovered[to] = of_page[segment.start : segment.stop]
            else:
                recovered[to] = state == State.RECOVERED
        return recovered


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Windows of one zone that are searched together: of which pages, and as `Finder._windows` gives them."""

    zone: Zone
    pages: Ints
    buffer: bytes | bytearray
    states: NDArray[np.uint8]
    entries: Ints


def _span(rising: Ints) -> Ints | slice:
    """These indices, which rise, as a slice where they follow each other: what is put there is copied once less."""
    if len(rising) and int(rising[-1]) - int(rising[0]) + 1 == len(rising):
        return slice(int(rising[0]), int(rising[-1]) + 1)
    return rising


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs [start, stop) of bytes that are true."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
