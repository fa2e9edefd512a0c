"""The rows of the record table that a filter lets through, while the table still grows."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from ..filters import Filter
from .session import Session


class Selection:
    """The rows of a session that a filter lets through. One thread adds rows, others read them."""

    def __init__(self, text: str, row_filter: Filter, session: Session) -> None:
        self.text = text
        self.filter = row_filter
        self.session = session
        self._pieces: list[NDArray[np.int64]] = []
        self._starts: list[int] = []
        self._count = 0
        self._searched = 0  # pieces of the table

    def __len__(self) -> int:
        return self._count

    def search_next(self) -> bool:
        """Put the next piece of the table through the filter. Gives false where there is none yet.

        Raises:
            XbrleError: the filter needs something that the capture does not have.
        """
        table = self.session.table
        if table is None or self._searched >= table.pieces:
            return False
        mask = self.filter.mask(table.derive(self._searched), self.session.findings.listed)
        self.add(np.flatnonzero(mask) + table.first(self._searched))
        self._searched += 1
        return True

    def add(self, rows: NDArray[np.int64]) -> None:
        """Append rows, in order."""
        if len(rows):
            self._pieces.append(rows)
            self._starts.append(self._count)
            self._count += len(rows)

    def row(self, line: int) -> int:
        """The row on a line of the list."""
        piece = bisect_right(self._starts, line, hi=len(self._pieces)) - 1
        return int(self._pieces[piece][line - self._starts[piece]])

    def line(self, row: int) -> int:
        """The line of ``row``, or of the next row that the filter lets through."""
        for start, rows in zip(self._starts, self._pieces, strict=False):
            if rows[-1] >= row:
                return start + int(np.searchsorted(rows, row))
        return max(0, self._count - 1)
