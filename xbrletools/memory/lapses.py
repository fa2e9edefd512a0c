"""Pages whose contents become unknown at a given record: discarded at the destination, or in doubt.

A page that lapsed is unknown until a later record gives it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from .image import Image


@dataclass(frozen=True, slots=True)
class Lapses:
    """Ranges of pages ``[first, stop)`` that are unknown from just before the table's row ``since`` on.

    What their records before row ``until`` say is not sure either. All are (n,) int64, in the order of ``since``.
    """

    since: NDArray[np.int64]
    until: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.since)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> "Lapses":
        """Some of them."""
        return Lapses(self.since[index], self.until[index], self.first[index], self.stop[index])

    def upto(self, row: int) -> "Lapses":
        """Those that had come by the record at ``row``."""
        return self.take(self.since <= row)

    def among(self, rows: NDArray[np.int64]) -> "Lapses":
        """The same with places in ``rows``, (n,) ascending rows of the table, for rows."""
        since, until = (np.searchsorted(rows, r).astype(np.int64) for r in (self.since, self.until))
        return Lapses(since, until, self.first, self.stop)

    def of_page(self, page: int) -> "Lapses":
        """Those of one page, which is page 0 in them."""
        of_it = self.take((self.first <= page) & (page < self.stop))
        return Lapses(of_it.since, of_it.until, np.zeros(len(of_it), np.int64), np.ones(len(of_it), np.int64))

    def sure_rows(self, pages: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first row from which on records of each of ``pages`` count, once all lapses have come, (n,) int64.

        Page -1 stands for none. The work does not grow with the size of memory.
        """
        edges = distinct(np.concatenate([self.first, self.stop]))
        sure = np.zeros(len(edges) + 1, np.int64)  # from each edge on, and before the first
        begin, end = np.searchsorted(edges, self.first) + 1, np.searchsorted(edges, self.stop) + 1
        for start, stop, until in zip(begin.tolist(), end.tolist(), self.until.tolist(), strict=True):
            np.maximum(sure[start:stop], until, out=sure[start:stop])
        sure_rows: NDArray[np.int64] = sure[np.searchsorted(edges, pages, side="right")]
        return sure_rows

    def void(self, pages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which records say nothing sure, (n,) bool. ``pages`` (n,) has the page of every row, -1 for none."""
        void = np.zeros(len(pages), bool)
        for since, until, first, stop in self:
            span = pages[since:until]
            void[since:until] |= (span >= first) & (span < stop)
        return void

    def pieces(self, rows: int, chunk: int) -> Iterator[tuple[int, int, "Lapses"]]:
        """``[start, end)`` of no more than ``chunk`` rows each, and what lapses before each."""
        if not rows:
            return
        starts = distinct(np.concatenate([np.arange(0, rows, chunk), self.since[self.since < rows]]))
        for start, end in zip(starts.tolist(), np.append(starts[1:], rows).tolist(), strict=True):
            yield start, end, self.take(self.since == start)

    def forget(self, image: Image) -> None:
        """Make their pages unknown."""
        for _, _, first, stop in self:
            image.set_unknown(image.given(slice(first, stop)))

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """Each as (since, until, first, stop)."""
        columns = (self.since, self.until, self.first, self.stop)
        return zip(*(c.tolist() for c in columns), strict=True)


def lapses(ranges: list[tuple[int, int, int, int]]) -> Lapses:
    """Lapses of (since, until, first, stop) each."""
    columns = np.array(ranges, np.int64).reshape(-1, 4)
    return Lapses(*columns[np.argsort(columns[:, 0], kind="stable")].T)


NONE = lapses([])


def joined(*parts: Lapses) -> Lapses:
    """The lapses of all parts."""
    return lapses([lapse for part in parts for lapse in part])
