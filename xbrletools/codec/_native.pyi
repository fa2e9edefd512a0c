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

#: The capture, what to do by a record's kind, where each page's records begin in the order, and that: rows.
Chains = tuple[Bytes, Bytes, NDArray[np.uint32], NDArray[np.uint32]]

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
def unusual(
    data: Bytes, offsets: Ints, lengths: Ints, found: Bytes, page_size: int, layout: tuple[int, int]
) -> None: ...
def count_pages(pages: Ints, counts: NDArray[np.uint32]) -> None: ...
def order_pages(pages: Ints, first: int, ends: NDArray[np.uint32], order: NDArray[np.uint32]) -> None: ...
def check_pages(
    chains: Chains,
    columns: tuple[NDArray[Any], ...],  # in the order of table.columns.DTYPES, with its types
    span: tuple[int, int, int],  # the first page, the end, and the bytes of a page
    coding: tuple[int, int, int],  # as codec.deltas.for_loops gives it
    sums: tuple[int, int, bool],  # as table.claims.for_loops gives it, and whether the sender forgets dup pages
    said: Bytes,
    left: Bytes,
    wrong: Ints,  # (n, 2): row, sum
    suspects: Ints,  # (n, 4): row, page, row of its dup page, row of what was sent before, -1 for none
) -> tuple[int, int]: ...  # how many of the last two there are
def fill_pages(
    chains: Chains,
    columns: tuple[NDArray[Any], ...],
    span: tuple[int, int, int],
    coding: tuple[int, int, int],
    pages: Bytes,
    state: Bytes,
    touched: NDArray[np.bool_],
    numbers: Ints,
    done: NDArray[np.uint32],
    end_only: bool,
) -> None: ...
def fills(pages: Bytes, rows: Ints, found: NDArray[np.int16]) -> None: ...
def sums(pages: Bytes, rows: Ints, found: NDArray[np.uint32]) -> None: ...
