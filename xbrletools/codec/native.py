"""The inner loops in C, `_native.c`, where a compiler was there when this was installed; ``loops`` is None elsewhere.

What they do NumPy does as well, and is the reference. `XBRLE_NATIVE=0` in the environment does without.
"""

import os
from collections.abc import Callable
from itertools import pairwise
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import Bytes, Ints

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = min(4, _CORES)  # memory's speed is the limit: more gain little
THREAD_BYTES = 1 << 23  # of pages, that are worth a thread

REVISION = 6  # of `_native.c`

loops: ModuleType | None = None
if os.environ.get("XBRLE_NATIVE") != "0":
    try:
        from . import _native

        if getattr(_native, "REVISION", None) == REVISION:  # an older build may still lie about
            loops = _native
    except ImportError:
        pass


def apply(
    loop: Any, layout: tuple[int, int], data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None
) -> Bytes:
    """Apply deltas with one of the loops, on all cores where there are many.

    ``layout`` is what the loop needs to know of the coding. The other arguments as in every codec's ``apply``, and
    checked; returns verdicts (n,) uint8.
    """
    count, page_size = len(offsets), pages.shape[1]
    verdicts = np.zeros(count, np.uint8)
    numbers = (offsets, lengths, np.arange(count) if rows is None else rows)
    at, length, row = (np.require(n, np.int64, ["C", "A"]) for n in numbers)

    def part(first: int, end: int) -> None:
        some = slice(first, end)
        loop(data, at[some], length[some], pages, page_size, row[some], verdicts[some], layout)

    _in_threads(part, count, page_size)
    return verdicts


def look(loop: Any, pages: Bytes, rows: Ints | None, found: NDArray[Any]) -> None:
    """What one of the loops says of pages, on all cores where there are many.

    ``rows`` (n,) int64 picks pages (m, page_size), by default all in order; ``found`` (n,) is what is filled. Raises
    ValueError where there is no such page.
    """
    wanted = np.require(np.arange(len(found)) if rows is None else rows, np.int64, ["C", "A"])

    def part(first: int, end: int) -> None:
        loop(pages, pages.shape[1], wanted[first:end], found[first:end])

    _in_threads(part, len(found), pages.shape[1])


def _in_threads(part: Callable[[int, int], None], count: int, page_size: int) -> None:
    """Do ``count`` pages, some in a thread of their own where they are many; raises what one of them raises."""
    cores = max(1, min(THREADS, count * page_size // THREAD_BYTES))
    bounds = [count * k // cores for k in range(cores + 1)]
    failed: list[BaseException] = []

    def attempt(first: int, end: int) -> None:
        try:
            part(first, end)
        except BaseException as error:
            failed.append(error)

    threads = []
    for first, end in pairwise(bounds[1:]):
        thread = Thread(target=attempt, args=(first, end))
        try:
            thread.start()
            threads.append(thread)
        except RuntimeError:  # there are too many, or the interpreter is about to end
            attempt(first, end)
    attempt(*bounds[:2])
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
