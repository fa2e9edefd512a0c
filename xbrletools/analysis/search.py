"""Bytes in memory: where they are at one moment.

Memory is searched page by page. Each page is searched together with the bytes around it in its block, so that a match
can run across the borders of pages. `lives` searches all versions of all pages this way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..memory.image import Image, PageSpace, State
from ..memory.moments import memory_of, space_of
from ..memory.replay import View
from ..memory.versions import Batch, Versions
from ..model import Stream
from ..text import shown
from .pattern import REGEX_SECONDS, Pattern

WINDOWS = 1 << 22  # bytes of windows that are searched at once
ALIKE = 256  # windows whose matches are remembered: most dup pages lie among others like them

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
    sent_pages = np.unique(space.pages_of(stream.records.columns))
    chosen = slice(0, len(space)) if block is None else space.slice(block)
    sent_pages = sent_pages[(sent_pages >= chosen.start) & (sent_pages < chosen.stop)]
    moments = np.zeros(len(sent_pages), np.int64)
    done = 0
    for matches in finder.find(sent_pages, moments):
        done = min(len(sent_pages), done + finder.step)
        if progress is not None:
            progress(done, len(sent_pages))
        order = np.lexsort((matches.starts, matches.windows))
        blocks, offsets = finder.places(sent_pages[matches.windows[order]], matches.starts[order])
        for in_block, offset, content in zip(blocks, offsets, matches.contents[order].tolist(), strict=True):
            yield finder.hit(in_block, offset, content)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matches as columns, (n,) each: the window, the offset in the window's page, and the number of the content."""

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


class Finder:
    """Finds a pattern in windows: pages with ``context`` bytes before and ``reach`` bytes after them.

    It stops with `TooManyError` where windows that are searched together have more than ``most`` matches.
    """

    def __init__(self, space: PageSpace, pattern: Pattern, memory: "Still | Versions", most: int | None = None) -> None:
        self.space = space
        self.most = most
        self.pattern = pattern
        self._memory = memory
        size = space.page_size
        self.context = min(pattern.context, size)
        segments = [_Segment(-1, size - self.context, size, 0)] if self.context else []
        segments.append(_Segment(0, 0, size, self.context))
        left, step = pattern.reach, 1
        while left > 0:
            segments.append(_Segment(step, 0, min(left, size), self.context + step * size))
            left, step = left - size, step + 1
        self.segments = segments
        self.width = segments[-1].to + segments[-1].stop - segments[-1].start
        self._matches = lru_cache(ALIKE)(self._match)
        self._contents: dict[tuple[int | None, bytes], int] = {}
        self._content: list[tuple[int | None, bytes]] = []

    @property
    def step(self) -> int:
        """How many windows are searched at a time."""
        return max(1, WINDOWS // self.width)

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

    def find(self, pages: Ints, moments: Ints, batch: Batch | None = None) -> Iterator[Matches]:
        """Matches that begin in each of ``pages``, as memory is at the entry of the batch that ``moments`` has for it.

        At most `WINDOWS` bytes of windows are searched at a time.
        """
        for first in range(0, len(pages), self.step):
            part = slice(first, first + self.step)
            buffer, states, entries = self._windows(pages[part], moments[part], batch)
            if self.pattern.overlapping:
                windows, starts, contents = self._find_everywhere(buffer, pages[part], states, entries, batch)
            else:
                windows, starts, contents = self._find_in_each(buffer, pages[part], states, entries, batch)
            yield Matches(np.array(windows, np.int64) + first, np.array(starts, np.int64), np.array(contents, np.int64))

    def _windows(self, pages: Ints, moments: Ints, batch: Batch | None) -> tuple[bytearray, NDArray[np.uint8], Ints]:
        """The windows' bytes, one after the other, and of each segment, (windows, segments), its state and its entry.

        The state is a `State`, uint8. The entry, int64, is the batch's entry that the segment is from, or -1 for
        memory.
        """
        buffer = bytearray(len(pages) * self.width)
        rows = np.frombuffer(buffer, np.uint8).reshape(len(pages), self.width)
        states = np.zeros((len(pages), len(self.segments)), np.uint8)
        entries = np.full((len(pages), len(self.segments)), -1, np.int64)
        for k, segment in enumerate(self.segments):
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

    def _find_everywhere(
        self, buffer: bytearray, pages: Ints, states: NDArray[np.uint8], entries: Ints, batch: Batch | None
    ) -> tuple[list[int], list[int], list[int]]:
        """Every place in every window at which the pattern occurs in recovered bytes."""
        at, lengths, contents = self._places(buffer)
        window, begin = at // self.width, at % self.width
        end = begin + lengths
        size = self.space.page_size
        good = (begin >= self.context) & (begin < self.context + size) & (end <= self.width)
        window, begin, end, contents = window[good], begin[good], end[good], contents[good]
        doubtful = np.zeros(len(window), bool)
        for k, segment in enumerate(self.segments):
            over = (begin < segment.to + segment.stop - segment.start) & (end > segment.to)
            doubtful |= over & (states[window, k] != State.RECOVERED)
        keep = ~doubtful
        for i in np.flatnonzero(doubtful).tolist():
            w = int(window[i])
            if (states[w] == State.PARTLY).any():
                recovered = self._recovered(int(pages[w]), states[w], entries[w], batch)
                keep[i] = bool(recovered[begin[i] : end[i]].all())
        keep &= (pages[window] * size + (end - self.context)) <= self._end_of(pages[window])
        return window[keep].tolist(), (begin[keep] - self.context).tolist(), contents[keep].tolist()

    def _places(self, buffer: bytearray) -> tuple[Ints, Ints, Ints]:
        """Where the pattern occurs in the buffer, overlapping places too.

        With each place's length and content's number.
        """
        if self.pattern.engine is not None:
            places, lengths_of, which = self.pattern.engine(bytes(buffer), self.width)
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

    def _find_in_each(
        self, buffer: bytearray, pages: Ints, states: NDArray[np.uint8], entries: Ints, batch: Batch | None
    ) -> tuple[list[int], list[int], list[int]]:
        """The matches of an expression in each window, one after the other, within recovered bytes."""
        windows, starts, contents = [], [], []
        size = self.space.page_size
        room = (self._end_of(pages) - pages * size + self.context).tolist()
        whole = (states == State.RECOVERED).all(axis=1).tolist()
        for w, page in enumerate(pages.tolist()):
            window = bytes(buffer[w * self.width : (w + 1) * self.width])[: room[w]]
            runs = [(0, len(window))]
            if not whole[w]:
                runs = _runs(self._recovered(page, states[w], entries[w], batch)[: room[w]])
            for begin, end in runs:
                if end <= self.context or begin >= self.context + size:
                    continue
                try:
                    found = self._matches(window[begin:end])
                except TimeoutError:
                    raise self._too_slow(page) from None
                for start, content in found:
                    if 0 <= start + begin - self.context < size:
                        windows.append(w)
                        starts.append(start + begin - self.context)
                        contents.append(content)
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

    def _match(self, window: bytes) -> list[tuple[int, int]]:
        """Where the expression's matches begin in a window, and their contents' numbers.

        Raises:
            TimeoutError: that takes more than `REGEX_SECONDS`.
        """
        matches = []
        expression: Any = self.pattern.expression
        for match in expression.finditer(window, timeout=REGEX_SECONDS):
            if match.start() >= self.context + self.space.page_size:
                break
            if match.end() > match.start():
                matches.append((match.start(), self.number(match[0])))
        return matches

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

    def _recovered(self, page: int, states: NDArray[np.uint8], entries: Ints, batch: Batch | None) -> NDArray[np.bool_]:
        """Which bytes of one window are recovered, (width,) bool."""
        recovered = np.zeros(self.width, bool)
        for k, segment in enumerate(self.segments):
            to = slice(segment.to, segment.to + segment.stop - segment.start)
            if states[k] == State.PARTLY:
                entry = int(entries[k])
                if entry >= 0 and batch is not None:
                    of_page = batch.entries.partly[entry]
                else:
                    of_page = self._memory.recovered_bytes(page + segment.step)
                recovered[to] = of_page[segment.start : segment.stop]
            else:
                recovered[to] = states[k] == State.RECOVERED
        return recovered


def _span(rising: Ints) -> Ints | slice:
    """These indices, which rise, as a slice where they follow each other: what is put there is copied once less."""
    if len(rising) and int(rising[-1]) - int(rising[0]) + 1 == len(rising):
        return slice(int(rising[0]), int(rising[-1]) + 1)
    return rising


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs [start, stop) of bytes that are true."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
