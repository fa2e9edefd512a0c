"""Bytes in memory: where they are at one moment, or where and when they were at any.

Memory is searched page by page. Each page is searched together with the bytes around it in its block, so that a match
can run across the borders of pages. In a search of all versions, a record's page is searched again after the record,
and its neighbours as far as the change reaches them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..memory.image import Image, PageSpace, State
from ..memory.moments import lapses_of, memory_of, space_of
from ..memory.replay import View
from ..memory.versions import Batch, Versions
from ..model import Stream
from ..text import shown
from .pattern import REGEX_SECONDS, Pattern

WINDOWS = 1 << 22  # bytes of windows that are searched at once
HITS = 4096  # matches that are given out together
ALIKE = 256  # windows whose matches are remembered: most dup pages lie among others like them

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hit:
    """Bytes of a block, by its index, that matched.

    ``appeared`` is the record after which they were there, ``vanished`` the record after which they were gone. Both are
    None where memory was searched at one moment. ``vanished`` is None where they were still there at the end.
    """

    block: int
    offset: int
    content: bytes
    appeared: int | None = None
    vanished: int | None = None


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


def search_image(stream: Stream, image: Image, pattern: Pattern, block: int | None = None) -> Iterator[Hit]:
    """Where ``pattern`` is in ``image``, which is memory of the stream at one moment, in the order of addresses."""
    space = space_of(stream)
    finder = _Finder(space, pattern, _Still(image))
    sent_pages = np.unique(space.pages_of(stream.records.columns))
    chosen = slice(0, len(space)) if block is None else space.slice(block)
    sent_pages = sent_pages[(sent_pages >= chosen.start) & (sent_pages < chosen.stop)]
    moments = np.zeros(len(sent_pages), np.int64)
    for matches in finder.find(sent_pages, moments):
        order = np.lexsort((matches.starts, matches.windows))
        blocks, offsets = finder.places(sent_pages[matches.windows[order]], matches.starts[order])
        for in_block, offset, content in zip(blocks, offsets, matches.contents[order].tolist(), strict=True):
            yield Hit(in_block, offset, finder.content(content))


def search_all(
    stream: Stream,
    pattern: Pattern,
    at: int | None = None,
    view: View = View.RECEIVER,
    block: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Hit]:
    """Where and when ``pattern`` was in memory up to record ``at``: a hit for each time that it was at a place.

    Hits come in the order of addresses, at one address in the order of records. ``progress`` is called with the number
    of records that were searched since the last call. The search needs the image, about 32 MiB, and 40 bytes a hit.

    Raises:
        XbrleError: there is no such record.
    """
    table = stream.records
    end = len(table) if at is None else stream.records.row(at) + 1
    rows = table.by_number[: np.searchsorted(table.by_number, end)]
    if block is not None:
        rows = rows[table.columns.block[rows] == block]
    lapses = lapses_of(stream, view).upto(end - 1 if at is not None else end).among(rows)
    versions = Versions(stream, space_of(stream), table.columns.take(rows), view, lapses)
    finder = _Finder(space_of(stream), pattern, versions)
    lives = _Lives(finder)
    for batch in versions:
        lives.go_on(batch)
        if progress is not None:
            progress(len(batch.versions))
    numbers = table.number[rows]
    after = int(table.number[rows[-1]]) + 1 if len(rows) else 1  # for pages that lapse after the last record
    yield from lives.all(np.append(numbers, np.uint32(after)))


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """Matches as columns, (n,) each: the window, the offset in the window's page, and the number of the content."""

    windows: Ints
    starts: Ints
    contents: Ints


class _Still:
    """Memory at one moment, with the methods of `Versions`."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def data(self, pages: Ints, start: int, stop: int) -> NDArray[np.uint8]:
        data: NDArray[np.uint8] = self._image.pages[pages, start:stop]
        return data

    def state(self, pages: Ints) -> NDArray[np.uint8]:
        state: NDArray[np.uint8] = self._image.state[pages]
        return state

    def recovered_bytes(self, page: int) -> NDArray[np.bool_]:
        return self._image.recovered_bytes(page)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of a window, at ``to`` in it: bytes [start, stop) of the page ``step`` pages after the window's own."""

    step: int
    start: int
    stop: int
    to: int


class _Finder:
    """Finds a pattern in windows: pages with ``context`` bytes before and ``reach`` bytes after them."""

    def __init__(self, space: PageSpace, pattern: Pattern, memory: "_Still | Versions") -> None:
        self.space = space
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
        self._contents: dict[bytes, int] = {}
        self._content: list[bytes] = []

    def places(self, pages: Ints, starts: Ints) -> tuple[list[int], list[int]]:
        """The block, by its index, and the offset in it of bytes of pages."""
        block = np.searchsorted(self.space.first, pages, side="right") - 1
        offset = (pages - self.space.first[block]) * self.space.page_size + starts
        return block.tolist(), offset.tolist()

    def content(self, number: int) -> bytes:
        """The content with this number."""
        return self._content[number]

    def number(self, content: bytes) -> int:
        """The number of a content, the same for the same bytes."""
        number = self._contents.setdefault(content, len(self._content))
        if number == len(self._content):
            self._content.append(content)
        return number

    def find(self, pages: Ints, moments: Ints, batch: Batch | None = None) -> Iterator[_Matches]:
        """Matches that begin in each of ``pages``, as memory is at the entry of the batch that ``moments`` has for it.

        At most `WINDOWS` bytes of windows are searched at a time.
        """
        step = max(1, WINDOWS // self.width)
        for first in range(0, len(pages), step):
            part = slice(first, first + step)
            buffer, states, entries = self._windows(pages[part], moments[part], batch)
            if self.pattern.overlapping:
                windows, starts, contents = self._find_everywhere(buffer, pages[part], states, entries, batch)
            else:
                windows, starts, contents = self._find_in_each(buffer, pages[part], states, entries, batch)
            yield _Matches(
                np.array(windows, np.int64) + first, np.array(starts, np.int64), np.array(contents, np.int64)
            )

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
                rows[in_batch, to] = batch.entries.data[entry, segment.start : segment.stop]
                states[in_batch, k] = batch.entries.state[entry]
                entries[in_batch, k] = entry
                inside = inside[latest < 0]
            rows[inside, to] = self._memory.data(wanted[inside], segment.start, segment.stop)
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
        at: list[int] = []
        literal = self.pattern.literal
        if literal is not None:
            place = buffer.find(literal)
            while place >= 0:
                at.append(place)
                place = buffer.find(literal, place + 1)
            content = self.number(literal) if at else 0
            return np.array(at, np.int64), np.full(len(at), len(literal)), np.full(len(at), content)
        lengths, contents = [], []
        match = self.pattern.expression.search(buffer)
        while match is not None:
            at.append(match.start())
            lengths.append(match.end() - match.start())
            contents.append(self.number(bytes(match[0])))
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
        return windows, starts, contents

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


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs [start, stop) of bytes that are true."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


class _Lives:
    """Follows matches from batch to batch: which there are now and since when, and which are gone."""

    _COLUMNS = 4  # page, start, content, the place of the record after which it appeared

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder
        self._now = np.empty((self._COLUMNS, 0), np.int64)
        self._gone: list[Ints] = []

    def go_on(self, batch: Batch) -> None:
        """Search what the batch changed."""
        pages, moments = self._windows(batch)
        if not len(pages):
            return
        hits = [np.empty((self._COLUMNS, 0), np.int64)]
        first = np.flatnonzero(np.diff(pages, prepend=-1))  # where each page's windows begin
        turn = np.arange(len(pages)) - np.repeat(first, np.diff(first, append=len(pages)))
        for matches in self._finder.find(pages, moments, batch):
            w = matches.windows
            hits.append(np.stack((pages[w], matches.starts, matches.contents, turn[w])))
        searched = np.isin(self._now[0], pages[first])
        before = self._now[:, searched]
        keys = np.concatenate([before[:3], *(h[:3] for h in hits)], axis=1)
        turns = np.concatenate([np.full(before.shape[1], -1), *(h[3] for h in hits)])
        since = np.concatenate([before[3], np.full(len(turns) - before.shape[1], -1)])
        order = np.lexsort((turns, keys[2], keys[1], keys[0]))
        keys, turns, since = keys[:, order], turns[order], since[order]

        begins = np.ones(len(turns), bool)
        begins[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0) | (turns[1:] != turns[:-1] + 1)
        begin = np.flatnonzero(begins)
        end = np.append(begin[1:], len(turns))[: len(begin)] - 1
        at = np.searchsorted(pages[first], keys[0, begin])  # which page, among those searched
        places = batch.entries.places[moments]
        came_now = first[at] + np.maximum(turns[begin], 0)
        appeared = np.where(turns[begin] < 0, since[begin], places[came_now])
        last_turn = np.append(first[1:], len(pages))[at] - 1 - first[at]
        stays = turns[end] == last_turn
        lives = np.concatenate([keys[:, begin], appeared[None]], axis=0)
        went = places[np.minimum(first[at] + turns[end] + 1, len(pages) - 1)]
        self._gone.append(np.concatenate([lives[:, ~stays], went[None, ~stays]], axis=0))
        self._now = np.concatenate([self._now[:, ~searched], lives[:, stays]], axis=1)

    def _windows(self, batch: Batch) -> tuple[Ints, Ints]:
        """Which pages to search, and at which of the batch's entries: by page, then by moment."""
        entries, finder = batch.entries, self._finder
        moments = batch.versions
        of = entries.pages[moments]
        before = batch.latest(of, moments - 1)
        words = entries.data.view(np.uint64)
        differs = np.empty(len(moments), bool)
        for start in range(0, len(moments), 64):
            part = slice(start, start + 64)
            differs[part] = (words[moments[part]] != words[before[part]]).any(axis=1)
        doubt = (entries.state[moments] != entries.state[before]) | (entries.state[moments] == State.PARTLY)
        pages, when = [of[differs | doubt]], [moments[differs | doubt]]
        for segment in finder.segments:
            if not segment.step:
                continue
            reached = doubt.copy()
            changed = np.flatnonzero(differs & ~doubt)
            seen = slice(segment.start, segment.stop)
            in_sight = entries.data[moments[changed], seen] != entries.data[before[changed], seen]
            reached[changed] = in_sight.any(axis=1)
            seen_from = of - segment.step
            reached &= finder.same_block(of, seen_from)
            pages.append(seen_from[reached])
            when.append(moments[reached])
        all_pages, all_when = np.concatenate(pages), np.concatenate(when)
        order = np.lexsort((all_when, all_pages))
        return all_pages[order], all_when[order]

    def all(self, numbers: NDArray[np.uint32]) -> Iterator[Hit]:
        """Every match, by address and time. ``numbers`` are the record numbers of the columns' places."""
        still = np.concatenate([self._now, np.full((1, self._now.shape[1]), -1)], axis=0)
        lives = np.concatenate([*self._gone, still], axis=1)
        self._gone.clear()
        order = np.lexsort((lives[2], lives[3], lives[1], lives[0]))
        for start in range(0, len(order), HITS):
            pages, starts, contents, came, went = lives[:, order[start : start + HITS]]
            blocks, offsets = self._finder.places(pages, starts)
            since, until = numbers[came].tolist(), np.where(went < 0, 0, numbers[went]).tolist()
            for block, offset, content, first, last in zip(
                blocks, offsets, contents.tolist(), since, until, strict=True
            ):
                yield Hit(block, offset, self._finder.content(content), first, last or None)
