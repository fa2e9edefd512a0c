"""The stored columns of records, 32 bytes a record, and the count of the sender's sweeps over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from .kinds import IS_PAGE

NO_BLOCK = 0xFFFF
ALL = slice(None)
PIECE = 1 << 16  # records that are looked at together, so that what is computed stays in the cache


@dataclass(frozen=True, slots=True)
class Columns:
    """The stored columns, each (n,): a record's word stands at ``offset``, its payload ``head`` bytes further on."""

    offset: NDArray[np.uint64]
    address: NDArray[np.uint64]
    length: NDArray[np.uint32]
    checksum: NDArray[np.uint32]
    flags: NDArray[np.uint16]
    block: NDArray[np.uint16]
    head: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    header_flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offset)

    def payload(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice = ALL) -> NDArray[np.int64]:
        """The capture's offset of the payload of these records, by default of all, (n,) int64."""
        return self.offset[rows].astype(np.int64) + self.head[rows]

    def end(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice = ALL) -> NDArray[np.int64]:
        """The capture's offset after the last byte of these records, by default of all, (n,) int64."""
        return self.payload(rows) + self.length[rows]

    def copy(self) -> "Columns":
        """The same in memory of its own."""
        return Columns(*(getattr(self, name).copy() for name in DTYPES))

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Columns":
        """The chosen records. A slice gives views."""
        return Columns(*(getattr(self, name)[index] for name in DTYPES))


DTYPES = {
    "offset": np.uint64,
    "address": np.uint64,
    "length": np.uint32,
    "checksum": np.uint32,
    "flags": np.uint16,
    "block": np.uint16,
    "head": np.uint16,
    "kind": np.uint8,
    "header_flags": np.uint8,
}


def join(pieces: list[Columns]) -> Columns:
    """One table from its pieces, a column at a time. Empties ``pieces``, so that the table is not held twice."""
    joined = {}
    for name, dtype in DTYPES.items():
        joined[name] = np.concatenate([np.empty(0, dtype), *(getattr(p, name) for p in pieces)])
    pieces.clear()
    return Columns(**joined)


@dataclass(slots=True)
class Sweeps:
    """Counts the sweeps of the sender over each block, from one piece of the table to the next.

    v4 does not have a global pass. A sweep of a block begins on entry from another block, or where the address strictly
    decreases. In v3 it begins where the address descends [C].
    """

    counts: dict[int, int]
    block: int = -1
    address: int = -1

    def number(self, columns: Columns) -> NDArray[np.uint32]:
        """The pass of each record, (n,) uint32 from 1. It is 0 for records that do not carry a page."""
        out = np.zeros(len(columns), np.uint32)
        rows = np.flatnonzero(IS_PAGE[columns.kind])
        if not len(rows):
            return out
        block = columns.block[rows]
        address = columns.address[rows]
        begins = np.empty(len(rows), bool)
        begins[0] = int(block[0]) != self.block or int(address[0]) < self.address
        begins[1:] = (block[1:] != block[:-1]) | (address[1:] < address[:-1])
        for b in np.flatnonzero(np.bincount(block)).tolist():  # no sort: there can be millions
            in_block = np.flatnonzero(block == b)
            sweep = np.cumsum(begins[in_block], dtype=np.uint32) + np.uint32(self.counts.get(b, 0))
            out[rows[in_block]] = sweep
            self.counts[b] = int(sweep[-1])
        self.block, self.address = int(block[-1]), int(address[-1])
        return out


def kind_counts(columns: Columns) -> dict[str, int]:
    """How many of these records there are of each kind that occurs, by the kind's word."""
    counted = np.bincount(columns.kind, minlength=len(Kind))
    return {k.name.lower(): int(counted[k]) for k in Kind if counted[k]}
