"""The loops of `_native.c`. All arrays contiguous; ValueError where they do not fit each other."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .batches import Bytes, Ints

class _Put(Protocol):
    def __call__(
        self,
        data: Bytes,
        offsets: Ints,
        lengths: Ints,
        pages: Bytes,
        page_size: int,
        rows: Ints,
        verdicts: Bytes,
        layout: tuple[int, int],
    ) -> None: ...

REVISION: int
xor_pairs: _Put  # layout: where a pair's run and byte are
copy_runs: _Put  # layout: the bit that says that a number goes on, and how many bits a byte has of it
copy_pages: _Put  # layout: 0 and 0

def walk(
    data: memoryview,
    at: int,
    limit: int,
    starts: Ints,
    flags_at: int,
    steps: NDArray[np.uint32],
    delta: tuple[int, int, int, bool, int, int, int],
    packed: tuple[int, int, int, int, int, int, int, int, int, int],
) -> tuple[int, int]: ...
