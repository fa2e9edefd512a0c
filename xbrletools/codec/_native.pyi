"""The loops of `_native.c`. All arrays contiguous; ValueError where they do not fit each other."""

import numpy as np
from numpy.typing import NDArray

from .batches import Bytes, Ints

REVISION: int

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
def xor_pairs(
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    pages: Bytes,
    page_size: int,
    rows: Ints,
    verdicts: Bytes,
    pair: tuple[int, int],
) -> None: ...
def copy_pages(
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    pages: Bytes,
    page_size: int,
    rows: Ints,
    verdicts: Bytes,
    nothing: tuple[int, int],
) -> None: ...
def copy_runs(
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    pages: Bytes,
    page_size: int,
    rows: Ints,
    verdicts: Bytes,
    number: tuple[int, int],
) -> None: ...
