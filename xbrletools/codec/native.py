"""The inner loops in C, `_native.c`, where a compiler was there when this was installed; ``loops`` is None elsewhere.

What they do NumPy does as well, and is the reference. `XBRLE_NATIVE=0` in the environment does without.
"""

import os
from types import ModuleType
from typing import Any

import numpy as np

from .batches import Bytes, Ints

loops: ModuleType | None = None
if os.environ.get("XBRLE_NATIVE") != "0":
    try:
        from . import _native as loops
    except ImportError:
        loops = None


def apply(
    loop: Any, layout: tuple[int, int], data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None
) -> Bytes:
    """Apply deltas with one of the loops, which gets what it needs of the coding's layout.

    The other arguments as in every codec's ``apply``, and checked; returns verdicts (n,) uint8.
    """
    verdicts = np.zeros(len(offsets), np.uint8)
    numbers = (offsets, lengths, np.arange(len(offsets)) if rows is None else rows)
    at, length, row = (np.ascontiguousarray(n, np.int64) for n in numbers)
    loop(data, at, length, pages, pages.shape[1], row, verdicts, layout)
    return verdicts
