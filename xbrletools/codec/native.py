"""The inner loops in C, `_native.c`, where a compiler was there when this was installed; ``loops`` is None elsewhere.

What they do NumPy does as well, and is the reference. `XBRLE_NATIVE=0` in the environment does without.
"""

import os
from types import ModuleType
from typing import Any

import numpy as np

from .batches import Bytes, Ints

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = min(4, _CORES)  # memory's speed is the limit: more gain little
THREAD_BYTES = 1 << 23  # of pages, that are worth a thread

loops: ModuleType | None = None
if os.environ.get("XBRLE_NATIVE") != "0":
    try:
        from . import _native as loops
    except ImportError:
        loops = None


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
    at, length, row = (np.ascontiguousarray(n, np.int64) for n in numbers)

    def part(first: int, end: int) -> None:
        some = slice(first, end)
        loop(data, at[some], length[some], pages, page_size, row[some], verdicts[some], layout)

    threads = min(THREADS, count * page_size // THREAD_BYTES)
    if threads < 2:
        part(0, count)
        return verdicts
    from concurrent.futures import ThreadPoolExecutor  # not before it is needed: start-up has no use for it

    ends = [count * k // threads for k in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, ends[:-1], ends[1:]))
    return verdicts
