"""The loops of `_native.c`. They take contiguous, aligned arrays and raise ValueError where these do not fit."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .batches import Bytes, Ints
from .native import Tables

class _Put(Protocol):
    def __call__(
        self,
        data: Bytes,
        offsets: Ints,
        lengths: Ints,
        pages: Bytes,
        rows: Ints,
        verdicts: Bytes,
        layout: tuple[int, int],
    ) -> None: ...

class _Write(Protocol):
    def __call__(
        self, old: Bytes, new: Bytes, lengths: Ints, out: Bytes, limit: int, layout: tuple[int, int]
    ) -> tuple[int, int]: ...  # pages that were encoded, and bytes of `out` that their deltas take

REVISION: int
xor_pairs: _Put  # layout: where a pair's run and byte are
copy_runs: _Put  # layout: the bit that says that a number goes on, and how many bits of it a byte has
copy_pages: _Put  # layout: 0 and 0
write_pairs: _Write  # layout: as for xor_pairs
write_runs: _Write  # layout: as for copy_runs

def walk(
    data: memoryview,
    base: int,
    at: int,
    limit: int,
    row: int,  # the first that is filled
    block: int,
    columns: tuple[NDArray[Any], ...],  # in the order of table.columns.DTYPES, with its types
    tables: Tables,
    layout: Ints,  # by native.Place
) -> tuple[int, int]: ...
def fills(pages: Bytes, rows: Ints, found: NDArray[np.int16]) -> None: ...
def sums(pages: Bytes, rows: Ints, found: NDArray[np.uint32]) -> None: ...
