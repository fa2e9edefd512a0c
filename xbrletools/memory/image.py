"""Reconstructed guest memory: pages, and for each page whether its bytes are known.

A page is unknown until a record gave it; a delta over an unknown page does not make it known. Of a damaged capture
such bytes are `recovered`, and `known` where a checksum vouches for them. Memory is reserved, not allocated: what no
record touched costs nothing, whatever lengths a stream claims.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..errors import XbrleError
from ..model import Block
from ..table.columns import Columns
from ..text import address as parse_address
from ..text import shown

MAIN = b"pc.ram"  # the PC's RAM, by the name it has had since 2010
SPACE_MAX = 1 << 44  # bytes of all blocks together: more than any guest has
_PIECE = 1 << 20  # pages that are counted at once


class State(IntEnum):
    """How much of a page the records give; whether that is known, `Image.known` says."""

    UNKNOWN = 0
    KNOWN = 1
    PARTLY = 2  # `Image.partly` says which bytes


class PageSpace:
    """The pages of all blocks as one row of numbers: a page's number is its block's first plus its place in it."""

    def __init__(self, blocks: Sequence[Block], page_size: int) -> None:
        self.blocks = tuple(blocks)
        self.page_size = page_size
        pages = [-(-b.length // page_size) if b.declared else 0 for b in blocks]
        if sum(pages) * page_size > SPACE_MAX:
            raise XbrleError(f"the blocks claim {sum(pages) * page_size:#x} bytes, more than any guest has")
        self.pages = np.array(pages, np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.pages)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.first[-1])

    def index(self, name: bytes | str) -> int:
        """The index of the block called ``name``.

        Raises:
            XbrleError: there is no such block.
        """
        wanted = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        for i, block in enumerate(self.blocks):
            if block.name == wanted:
                return i
        for i, block in enumerate(self.blocks):  # as it was shown to someone
            if shown(block.name) == name:
                return i
        there = ", ".join(shown(b.name) for b in self.blocks) or "none"
        raise XbrleError(f"there is no RAM block {shown(wanted)}; this capture has {there}")

    @property
    def main(self) -> int:
        """The index of the only or main block: pc.ram where there is one, else the longest.

        Raises:
            XbrleError: there is no block.
        """
        if not self.blocks:
            raise XbrleError("this capture names no RAM block")
        lengths = [b.length for b in self.blocks]
        names = [b.name for b in self.blocks]
        return names.index(MAIN) if MAIN in names else lengths.index(max(lengths))

    def locate(self, text: str) -> tuple[int, int]:
        """``BLOCK:0xOFFSET``, or ``0xOFFSET`` in the main block: the block's index, and the offset in bytes.

        Raises:
            XbrleError: this is no address, there is no such block, or it ends before the offset.
        """
        name, offset = parse_address(text)
        block = self.main if name is None else self.index(name)
        there = self.blocks[block]
        if not 0 <= offset < there.length:
            raise XbrleError(f"{shown(there.name)} has {there.length:#x} bytes, so there is no {offset:#x} in it")
        return block, offset

    def slice(self, block: int) -> slice:
        """The pages of a block."""
        return slice(int(self.first[block]), int(self.first[block + 1]))

    def rows(self, columns: Columns) -> NDArray[np.int64]:
        """The page number of each record, (n,) int64; -1 where there is no such page or the record carries none."""
        block = np.minimum(columns.block, len(self.blocks)).astype(np.int64)
        pages = np.append(self.pages, 0)[block]
        place = (columns.address >> np.uint64(self.page_size.bit_length() - 1)).astype(np.int64)
        rows = self.first[block]
        rows += place
        rows[place >= pages] = -1
        return rows


class Image:
    """Memory at one moment. ``image[name]`` is a block's pages, (n, page_size) uint8."""

    def __init__(self, space: PageSpace) -> None:
        self.space = space
        self.pages: NDArray[np.uint8] = reserve((len(space), space.page_size), np.uint8)
        self.state: NDArray[np.uint8] = reserve((len(space),), np.uint8)
        self.touched: NDArray[np.bool_] = reserve((len(space),), bool)  # memory was written, perhaps with zeros
        self.partly: dict[int, NDArray[np.bool_]] = {}
        #: The pages that a checksum vouches for, (pages,) bool, where only these are known: after salvage.
        self.vouched: NDArray[np.bool_] | None = None

    def __getitem__(self, name: bytes | str) -> NDArray[np.uint8]:
        return self.pages[self.space.slice(self.space.index(name))]

    @property
    def recovered(self) -> NDArray[np.bool_]:
        """Whether every byte of each page is recovered, (pages,) bool: a record gave it, nothing speaks against it."""
        return np.equal(self.state, State.KNOWN)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether every byte of each page is known, (pages,) bool.

        Without salvage, known is what the stream gives. With it, what is recovered *and* a checksum vouches for: a page
        that is merely recovered may hold a byte that was flipped without a trace.
        """
        return self.recovered if self.vouched is None else self.recovered & self.vouched

    @property
    def recovered_count(self) -> int:
        """How many pages are wholly recovered."""
        return self.count(State.KNOWN, slice(0, len(self.state)))

    def count(self, what: State, rows: slice) -> int:
        """How many of some pages are in a state. Counted in pieces: a stream may claim any number of pages."""
        pieces = (self.state[at : min(at + _PIECE, rows.stop)] for at in range(rows.start, rows.stop, _PIECE))
        return sum(int(np.count_nonzero(piece == what)) for piece in pieces)

    def recovered_bytes(self, row: int) -> NDArray[np.bool_]:
        """Which bytes of a page are recovered, (page_size,) bool."""
        if self.state[row] == State.PARTLY:
            return self.partly[row]
        return np.full(self.space.page_size, self.state[row] == State.KNOWN)

    def known_bytes(self, row: int) -> NDArray[np.bool_]:
        """Which bytes of a page are known, (page_size,) bool; see `known`."""
        recovered = self.recovered_bytes(row)
        return recovered if self.vouched is None else recovered & self.vouched[row]

    def block_bytes(self, block: int) -> int:
        """The length of a block in bytes; its last page may reach past it."""
        return self.space.blocks[block].length

    def set_known(self, rows: NDArray[np.int64]) -> None:
        """Every byte of these pages is known now."""
        self.state[rows] = State.KNOWN
        self.touched[rows] = True
        self._forget(rows)

    def set_zero(self, rows: NDArray[np.int64]) -> None:
        """These pages, which nothing was written to, are known to be zero, as they are."""
        self.state[rows] = State.KNOWN

    def set_unknown(self, rows: NDArray[np.int64]) -> None:
        """No byte of these pages is known any more."""
        self.state[rows] = State.UNKNOWN
        self.pages[rows[self.touched[rows]]] = 0
        self._forget(rows)

    def keep(self, pages: NDArray[np.bool_]) -> None:
        """Forget all but these pages, (pages,) bool."""
        self.set_unknown(np.flatnonzero((self.state != State.UNKNOWN) & ~pages))

    def set_partly(self, row: int, known: NDArray[np.bool_]) -> None:
        """These bytes of a page are known, beside those that were."""
        self.touched[row] = True
        known = known | self.recovered_bytes(row)
        if known.all():
            self.set_known(np.array([row]))
        elif known.any():
            self.state[row] = State.PARTLY
            self.partly[row] = known

    def _forget(self, rows: NDArray[np.int64]) -> None:
        if self.partly:
            for row in rows.tolist():
                self.partly.pop(row, None)
