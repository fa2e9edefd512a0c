"""Records with what it takes to decode them: their columns, the bytes that hold their payloads, and their dialect."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas
from ..formats.dialects import Dialect
from .columns import Columns


@dataclass(frozen=True, slots=True, eq=False)
class Payloads:
    """Records as they decode.

    ``columns`` are theirs, and may be any choice of a stream's records. ``data`` (size,) uint8 is the capture, with the
    pages of multifd channels behind the main channel. The columns' offsets are places in it. ``dialect`` is that of the
    deltas. It is None where no delta shows it, and then deltas cannot be decoded.
    """

    columns: Columns
    data: NDArray[np.uint8]
    dialect: Dialect | None

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Payloads":
        """The chosen records. A slice gives views."""
        return Payloads(self.columns.take(index), self.data, self.dialect)

    def spans(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the payloads of these records begin in ``data``, and their lengths in bytes, (n,) int64 each."""
        return self.columns.payload(rows), self.columns.length[rows].astype(np.int64)

    def apply(
        self, rows: NDArray[np.int64], pages: NDArray[np.uint8], places: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint8]:
        """Apply the delta of record ``rows[k]`` to ``pages[places[k]]``, by default ``pages[k]``, in place.

        There must be a dialect. Returns verdicts (n,) uint8. Pages whose verdict is not OK stay as they were.
        """
        assert self.dialect is not None
        return deltas.apply(self.dialect.encoding, self.data, *self.spans(rows), pages, places)

    def changed(self, rows: NDArray[np.int64], page_size: int) -> NDArray[np.bool_]:
        """Which bytes the deltas of these records change or state, (n, page_size) bool, as `codec.deltas.changed`.

        There must be a dialect. All are False for a delta that does not decode.
        """
        assert self.dialect is not None
        return deltas.changed(self.dialect.encoding, self.data, *self.spans(rows), page_size)[0]
