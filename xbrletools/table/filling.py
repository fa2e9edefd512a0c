"""A table that grows in place while a scan fills it. What was added can be read from then on, and is never copied.

A column takes memory only where it is not zero. Millions of records that carry nothing take half of 32 bytes each.
"""

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..formats import ram
from .columns import DTYPES, Columns

LEAST = 1 << 20  # rows of the room that is made, and then doubled, where the kernel reserves no more at once


class Filling:
    """Columns with room for all records of a capture of ``size`` bytes. Memory is taken for records that were added."""

    def __init__(self, size: int) -> None:
        self._rows = 0
        self._columns = self._reserve(size // ram.Word.sizeof() + 1)

    def __len__(self) -> int:
        return self._rows

    def _reserve(self, rows: int) -> dict[str, NDArray[np.generic]]:
        def room(count: int) -> dict[str, NDArray[np.generic]]:
            return {name: reserve((count,), dtype, grows=True) for name, dtype in DTYPES.items()}

        try:
            return room(rows)
        except OSError:
            return room(max(LEAST, 2 * self._rows))

    def add(self, piece: Columns) -> Columns:
        """Append rows. Gives them as views of where they stay."""
        start, end = self._rows, self._rows + len(piece)
        if end > len(self._columns["offset"]):  # less was reserved, or a bitmap marks pages that are not there
            old, self._columns = self._columns, self._reserve(2 * end)
            for name, column in self._columns.items():
                column[:start] = old[name][:start]
        for name, column in self._columns.items():
            values = getattr(piece, name)
            if len(values) and (values[0] or values[-1] or values.any()):  # zeros stand there, and take no memory
                column[start:end] = values
        self._rows = end
        return self._views(start, end)

    def columns(self, rows: int | None = None) -> Columns:
        """The first ``rows`` rows, by default all, as views."""
        return self._views(0, self._rows if rows is None else rows)

    def _views(self, start: int, end: int) -> Columns:
        return Columns(**{name: column[start:end] for name, column in self._columns.items()})  # type: ignore[arg-type]
