"""Which windows an expression need not be matched in, and where in the others it can match."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice, pairwise
from time import process_time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..memory.versions import Batch
from .needed import Needed

Ints = NDArray[np.int64]
SameBlock = Callable[[Ints, Ints], NDArray[np.bool_]]  # whether pages, (n,) each, are in one block, (n,)
_PAGES = 1 << 20  # bytes of pages that are copied from memory together
_PIECE = 1 << 18  # bytes of rows that are looked at together
ALIKE = 256  # windows whose matches are remembered: most dup pages lie among others like them
_SHORT, _SHORT_ALIKE = 256, 2048  # the same of runs, and bytes of one: most stay when a page or its neighbour changes
_CROWDED = 8  # bytes a place, on average, of windows that are matched as a whole
_DENSE = 128  # bytes a run of those that match, on average, of windows that are matched as a whole


class Memory(Protocol):
    """Pages as they are now."""

    def data(self, pages: Ints, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes [start, stop) of pages, (n, stop - start)."""
        ...


def _pieces(rows: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Rows (n, width) a piece at a time, each with the number of its first row."""
    step = max(1, _PIECE // max(1, rows.shape[1]))
    return ((start, rows[start : start + step]) for start in range(0, len(rows), step))


class Sieve:
    """Says which pages a match can begin in. It looks at each version of a page once, whatever is around it."""

    def __init__(self, page_size: int, memory: Memory, needed: Needed, same_block: SameBlock) -> None:
        self._size = page_size
        self._same_block = same_block
        self._memory = memory
        self._needed = needed
        self._entries = np.zeros(0, bool)  # which entries of the batch hold what a match needs

    def may(self, pages: Ints, moments: Ints, batch: Batch | None, steps: int) -> NDArray[np.bool_]:
        """Whether a match can begin in each of pages, as they are at entries of a batch or now, (n,) bool.

        It ends in the same block, ``steps`` pages further on or before.
        """
        if batch is not None:
            self._entries = self._in_rows(batch.entries.data)
        found = self._hold(pages, moments, batch)
        edge = max(1, self._needed.length - 1)
        size, members = self._size, self._needed.members
        left = np.flatnonzero(~found)
        for step in range(steps):
            here = pages[left] + step
            follows = self._same_block(here, here + 1)
            left, here = left[follows], here[follows]
            if not len(left):
                break
            tails = self._data(here, moments[left], batch, size - edge, size)
            heads = self._data(here + 1, moments[left], batch, 0, edge)
            runs_on = members[tails[:, -1]] & members[heads[:, 0]]
            left, here = left[runs_on], here[runs_on]
            borders = np.concatenate([tails[runs_on], heads[runs_on]], axis=1)
            found[left] = self._in_rows(borders) | self._hold(here + 1, moments[left], batch)
            left = left[~found[left]]
            if step + 1 < steps:
                left = left[self._are_members(pages[left] + step + 1, moments[left], batch)]
        return found

    def _in_rows(self, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which rows of bytes, (n, width), hold what a match needs, (n,) bool."""
        held = np.zeros(len(rows), bool)
        for start, piece in _pieces(rows):
            held[start + self._needed.places(piece.reshape(-1)) // piece.shape[1]] = True
        return held

    def _hold(self, pages: Ints, moments: Ints, batch: Batch | None) -> NDArray[np.bool_]:
        """Which pages hold what a match needs, (n,) bool."""
        held = np.zeros(len(pages), bool)
        now = np.arange(len(pages))
        if batch is not None:
            entries = batch.latest(pages, moments)
            held = self._entries[entries]
            held[entries < 0] = False
            now = np.flatnonzero(entries < 0)
        distinct, which = np.unique(pages[now], return_inverse=True)
        step = max(1, _PAGES // self._size)
        parts = [distinct[i : i + step] for i in range(0, len(distinct), step)]
        in_memory = [self._in_rows(self._memory.data(part, 0, self._size)) for part in parts]
        if in_memory:
            held[now] = np.concatenate(in_memory)[which]
        return held

    def _are_members(self, pages: Ints, moments: Ints, batch: Batch | None) -> NDArray[np.bool_]:
        """Which pages consist of bytes that a match may have, as far as some of their bytes show, (n,) bool."""
        size = self._size
        sample = [self._data(pages, moments, batch, at, at + 1)[:, 0] for at in range(0, size, size // 16)]
        are: NDArray[np.bool_] = np.all(self._needed.members[np.stack(sample)], axis=0)
        return are

    def _data(self, pages: Ints, moments: Ints, batch: Batch | None, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes [start, stop) of pages, (n, stop - start)."""
        if batch is None:
            return self._memory.data(pages, start, stop)
        entries = batch.latest(pages, moments)
        data = np.empty((len(pages), stop - start), np.uint8)
        there = entries >= 0
        data[there] = batch.entries.data[entries[there], start:stop]
        data[~there] = self._memory.data(pages[~there], start, stop)
        return data


class Matcher:
    """Matches an expression in windows. Where it is known what a match needs, only the parts that have it are tried.

    Wanted are those that begin at one of ``begins`` in a window. Others may be given too. It may take ``seconds`` of
    the processor for one run of recovered bytes.
    """

    def __init__(self, expression: Any, needed: Needed | None, begins: range, seconds: float) -> None:
        others = b"" if needed is None else b"".join(b"\\x%02x" % n for n in np.flatnonzero(~needed.members).tolist())
        self._expression = expression
        self._needed = needed
        self._begins = begins
        self._before: Any = None  # what is not one of the bytes that a match may consist of, looked for backwards
        self._after: Any = re.compile(b"[" + others + b"]") if others else None
        if others:
            import regex

            self._before = regex.compile(b"(?r)[" + others + b"]")
        self._seconds = seconds
        self._spent = 0.0
        self._of_long = lru_cache(ALIKE)(self._timed)
        self._of_short = lru_cache(_SHORT_ALIKE)(self._timed)

    def places(self, buffer: bytes | bytearray, width: int) -> list[list[int] | None]:
        """For each of some windows, ``width`` bytes each: places of which every match has one. None: all of it."""
        rows = np.frombuffer(buffer, np.uint8).reshape(-1, width)
        if self._needed is None:
            return [None] * len(rows)
        found: list[list[int] | None] = []
        for _, piece in _pieces(rows):
            places = self._needed.places(piece.reshape(-1))
            bounds = np.searchsorted(places, np.arange(0, piece.size + 1, width)).tolist()
            places %= width
            found += [places[i:j].tolist() if (j - i) * _CROWDED < width else None for i, j in pairwise(bounds)]
        return found

    def matches(self, window: bytes, begin: int, end: int, places: list[int] | None) -> list[tuple[int, bytes]]:
        """Where matches in bytes [begin, end) of a window begin, and what they are.

        Raises:
            TimeoutError: that takes more seconds of the processor than it may.
        """
        self._spent = 0.0
        if self._needed is None or self._needed.sight is None:
            return [(begin + at, content) for at, content in self._of_long(window[begin:end])]
        start, stop = self._wanted(window, begin, end)
        runs = [(start, stop)]
        if places is not None:
            places = places[bisect_left(places, start) : bisect_left(places, stop)]
            most = (stop - start) // _DENSE
            some = list(islice(self._runs(window, start, stop, places), most + 1))
            runs = some if len(some) <= most else runs
        matches = []
        for first, last in runs:
            seen = max(begin, first - self._needed.sight)
            text = window[seen : min(end, last + self._needed.sight)]
            found = (self._of_short if len(text) <= _SHORT else self._of_long)(text)
            matches += [(seen + at, content) for at, content in found if first <= seen + at < last]
        return matches

    def _wanted(self, window: bytes, begin: int, end: int) -> tuple[int, int]:
        """The part of [begin, end) that has the wanted matches, and no part of another one."""
        start, stop = max(begin, self._begins.start), min(end, self._begins.stop)
        if self._before is not None and start < stop:
            before = self._before.search(window, begin, start)
            after = self._after.search(window, stop - 1, end)
            return before.end() if before else begin, after.start() if after else end
        return begin, end

    def _runs(self, window: bytes, begin: int, end: int, places: list[int]) -> Iterator[tuple[int, int]]:
        """Runs [start, stop) of bytes that a match may consist of, in [begin, end), that have one of the places."""
        stop, i, least = begin, 0, self._needed.least if self._needed else 0
        while (i := bisect_left(places, stop, i)) < len(places):
            before = self._before.search(window, stop, places[i]) if self._before else None
            after = self._after.search(window, places[i], end) if self._after else None
            start = before.end() if before else stop
            stop = after.start() if after else end
            if stop - start >= least:
                yield start, stop

    def _timed(self, text: bytes) -> list[tuple[int, bytes]]:
        """Matches in a text: where they begin, and what they are. It counts the time that this takes."""
        left, since, matches = self._seconds - self._spent, process_time(), []
        if left <= 0:
            raise TimeoutError
        for match in self._expression.finditer(text, timeout=left):
            if match.start() >= self._begins.stop:
                break
            if match.end() > match.start():
                matches.append((match.start(), match[0]))
        self._spent += process_time() - since
        return matches
