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
    base: int,
    at: int,
    limit: int,
    row: int,  # the first that is filled
    block: int,
    offset: NDArray[np.uint64],
    address: NDArray[np.uint64],
    length: NDArray[np.uint32],
    checksum: NDArray[np.uint32],
    flags: NDArray[np.uint16],
    block_column: NDArray[np.uint16],
    head: NDArray[np.uint16],
    kind: NDArray[np.uint8],
    header_flags: NDArray[np.uint8],
    kinds: NDArray[np.uint8],  # what flags say
    heads: NDArray[np.uint16],
    lengths: NDArray[np.uint32],
    widths: tuple[int, int],  # of a word, and of a number behind it
    sizes: NDArray[np.uint32],
    sum_kind: int,
    delta: tuple[int, int, int, bool, int, int, int, int, int],
    packed: tuple[int, int, int, int, int, int, int, int, int, int],
) -> tuple[int, int]: ...
def fills(pages: Bytes, page_size: int, rows: Ints, found: NDArray[np.int16]) -> None: ...
def sums(pages: Bytes, page_size: int, rows: Ints, found: NDArray[np.uint32]) -> None: ...
