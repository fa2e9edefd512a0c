"""The inner loops in C, `_native.c`, and what they take. ``loops`` is None where no compiler built them.

NumPy does the same work and is the reference. `XBRLE_NATIVE=0` in the environment turns the loops off.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import pairwise
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .batches import Bytes, Ints
from .built import REVISION as REVISION
from .built import loops as loops


def _threads() -> int:
    """How many threads share the work of the loops: what XBRLE_THREADS says, else the cores of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("XBRLE_THREADS", "")
    return min(_THREADS_MAX, max(1, int(wanted)) if wanted.isdecimal() else cores)


_THREADS_MAX = 64
THREADS = _threads()
THREAD_BYTES = 1 << 23  # bytes of pages that are worth a thread
_QUICK = 4  # pages that are summed, or to which deltas are applied, that are as much work as one that is encoded
_DELTA_ROOM = 1 << 18  # bytes of deltas that an encoder writes before they are copied, so that they stay in the cache
_WORST = 4  # an encoder's room for one page, in pages: more than any delta takes


class Tables(NamedTuple):
    """What the flags of a record's word say, for the walk in C.

    ``kinds``, ``heads`` and ``lengths`` have an entry for each value of the flags, and their number is a power of two.
    A head is the bytes before the payload. A length is that of the payload, 0 where the record says it. ``sizes`` has
    256 entries, one for each value of the flags' low byte: the bytes of the record, 0 where that varies.
    """

    kinds: NDArray[np.uint8]
    heads: NDArray[np.uint16]
    lengths: NDArray[np.uint32]
    sizes: NDArray[np.uint32]


class Place(IntEnum):
    """Where each number stands in the layout that the walk in C takes. `_native.c` says what each one means."""

    WORD_BYTES = 0
    NUMBER_BYTES = 1
    SUM_KIND = 2
    DELTA_FLAGS = 3
    DELTA_LENGTH_AT = 4
    DELTA_LENGTH_BYTES = 5
    DELTA_IS_BIG = 6
    DELTA_FLAGS_AT = 7
    DELTA_CHECKSUM_AT = 8
    DELTA_LEAST = 9
    DELTA_MOST = 10
    DELTA_BESIDE = 11
    PACKED_FLAGS = 12
    PACKED_HIGH = 13
    PACKED_HIGH_AT = 14
    PACKED_HIGH_MASK = 15
    PACKED_LENGTH_AT = 16
    PACKED_MAGIC_AT = 17
    PACKED_MAGIC_MASK = 18
    PACKED_MAGIC = 19
    PACKED_MOST = 20
    PACKED_BESIDE = 21


def leave_a_core() -> None:
    """Share work among all cores but one from now on, unless the user said how many: one draws what the user sees."""
    global THREADS
    if not os.environ.get("XBRLE_THREADS", "").isdecimal():
        THREADS = max(1, _threads() - 1)


def apply(
    loop: Any, layout: tuple[int, int], data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None
) -> Bytes:
    """Apply deltas with one of the loops, on all cores where there are many deltas.

    ``layout`` is what the loop needs to know of the coding. The other arguments are those of every codec's ``apply``,
    already checked. Returns verdicts (n,) uint8.
    """
    count, page_size = len(offsets), pages.shape[1]
    verdicts = np.zeros(count, np.uint8)
    numbers = (offsets, lengths, np.arange(count) if rows is None else rows)
    at, length, row = (np.require(n, np.int64, ["C", "A"]) for n in numbers)

    def part(first: int, end: int) -> None:
        span = slice(first, end)
        loop(data, at[span], length[span], pages, row[span], verdicts[span], layout)

    in_threads(part, _shares(count, page_size, _QUICK))
    return verdicts


def encode(loop: Any, layout: tuple[int, int], old: Bytes, new: Bytes, limit: int) -> tuple[Bytes, Ints]:
    """Encode pages with one of the loops, on all cores where there are many pages.

    ``layout`` is what the loop needs to know of the coding. ``old`` and ``new`` (n, page_size) uint8 are already
    checked. ``limit`` is the most bytes that a delta may take, of any size. Returns data (total,) uint8 and lengths
    (n,) int64, as every codec's ``encode`` does.
    """
    count, page_size = old.shape
    lengths = np.zeros(count, np.int64)
    allowed = max(-1, min(limit, _WORST * page_size))
    deltas: dict[int, Bytes] = {}  # by the first page

    def part(first: int, end: int) -> None:
        out = np.empty(_DELTA_ROOM + _WORST * page_size, np.uint8)
        while first < end:
            span = slice(first, end)
            pages, used = loop(old[span], new[span], lengths[span], out, allowed, layout)
            deltas[first] = out[:used].copy()
            first += pages

    in_threads(part, _shares(count, page_size))
    return np.concatenate([deltas[first] for first in sorted(deltas)] or [np.empty(0, np.uint8)]), lengths


def look(loop: Any, pages: Bytes, rows: Ints | None, found: NDArray[Any]) -> None:
    """Fill ``found`` (n,) with what one of the loops says of pages, on all cores where there are many pages.

    ``rows`` (n,) int64 picks pages (m, page_size), by default all in order. Raises ValueError where a row lies outside
    of them.
    """
    wanted = np.require(np.arange(len(found)) if rows is None else rows, np.int64, ["C", "A"])

    def part(first: int, end: int) -> None:
        loop(pages, wanted[first:end], found[first:end])

    in_threads(part, _shares(len(found), pages.shape[1], _QUICK))


def unusual(layout: tuple[int, int], data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> NDArray[np.bool_]:
    """Say of each delta whether its pairs come to a page and are not what an encoder would write, (n,) bool.

    The arguments are those of every codec's ``apply``, already checked.
    """
    assert loops is not None
    loop = loops.unusual
    found = np.zeros(len(offsets), np.uint8)
    at, length = (np.require(n, np.int64, ["C", "A"]) for n in (offsets, lengths))

    def part(first: int, end: int) -> None:
        span = slice(first, end)
        loop(data, at[span], length[span], found[span], page_size, layout)

    in_threads(part, _shares(len(found), page_size))
    return found.view(np.bool_)


def _shares(count: int, page_size: int, as_one: int = 1) -> list[int]:
    """Where each thread's share of ``count`` pages begins, and the end: one share where there are few.

    ``as_one`` pages are as much work as one that is encoded.
    """
    cores = max(1, min(THREADS, count * page_size // (as_one * THREAD_BYTES)))
    return [count * k // cores for k in range(cores + 1)]


def in_threads(part: Callable[[int, int], None], bounds: Sequence[int]) -> None:
    """Call ``part`` for each span between two ``bounds``, in `THREADS` threads at most. Raises what a call raised."""
    spans, failed = deque(pairwise(bounds)), deque[BaseException]()

    def work() -> None:
        while spans and not failed:
            try:
                span = spans.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                part(*span)
            except BaseException as error:
                failed.append(error)

    threads = []
    for _ in range(min(THREADS, len(spans)) - 1):
        thread = Thread(target=work)
        try:
            thread.start()
        except RuntimeError:  # too many threads, or the interpreter is about to end
            break
        threads.append(thread)
    work()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
