"""Record numbers: the rows that carry a page are counted from 1 in the order of the table."""

import numpy as np
from numpy.typing import NDArray

from .columns import PIECE
from .kinds import are_pages

_WORD = 64  # rows of a word of bits


def numbered(is_page: NDArray[np.bool_], before: int = 0) -> NDArray[np.uint32]:
    """The number of each row after ``before`` records, (n,) uint32. It is 0 for rows that do not carry a page."""
    number = np.cumsum(is_page, dtype=np.uint32) + np.uint32(before)
    number[~is_page] = 0
    return number


class Numbers:
    """The record number of any row, and the row of any number, from a bit a row and a count every 64 rows."""

    def __init__(self, kind: NDArray[np.uint8]) -> None:
        words = len(kind) // _WORD + 1  # so that the row after the last is in one, too, and the last bit is never set
        bits = np.zeros(words * 8, np.uint8)
        for start in range(0, len(kind), PIECE):  # PIECE rows are whole words
            packed = np.packbits(are_pages(kind[start : start + PIECE]), bitorder="little")
            bits[start // 8 : start // 8 + len(packed)] = packed
        self._bits = bits.view("<u8")
        self._before = np.zeros(words + 1, np.uint32)
        np.cumsum(np.bitwise_count(self._bits), out=self._before[1:])

    def before(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many records come before each row, (n,) int64. The row after the last one may be asked for."""
        word, place = rows // _WORD, (rows % _WORD).astype(np.uint64)
        earlier = self._bits[word] & ((np.uint64(1) << place) - np.uint64(1))
        count: NDArray[np.int64] = self._before[word].astype(np.int64) + np.bitwise_count(earlier)
        return count

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of each row, (n,) int64.

        It is 0 for rows that do not carry a page, and for row -1, which means none.
        """
        carries = (self._bits[rows // _WORD] >> (rows % _WORD).astype(np.uint64)) & np.uint64(1)
        return (self.before(rows) + 1) * carries.astype(np.int64)

    @property
    def last(self) -> int:
        """The number of the last record, or 0 where no row carries a page."""
        return int(self._before[-1])

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each record, (n,) int64, by its number from 1 to `last`."""
        word = np.searchsorted(self._before, numbers.astype(np.uint32)) - 1
        bits = np.unpackbits(self._bits[word].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        upto = np.cumsum(bits, axis=1, dtype=np.uint8)
        upto -= (numbers - self._before[word]).astype(np.uint8)[:, None]
        rows: NDArray[np.int64] = word * _WORD + np.argmin(upto != 0, axis=1)
        return rows
