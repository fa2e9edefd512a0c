"""RAM_DISCARD: pages that the destination was told to forget, each with its place among the records.

Facts: formats/README.md, "Postcopy".
"""

from collections.abc import Sequence

import numpy as np

from ..model import Discard
from ..table.table import RecordTable
from .image import PageSpace
from .lapses import NONE, Lapses, lapses


def place(found: Sequence[Discard], table: RecordTable, space: PageSpace) -> Lapses:
    """The discards of a capture among its records and pages; ranges of unknown blocks, or outside, say nothing."""
    index = {block.name: i for i, block in enumerate(space.blocks)}
    known = [d for d in found if d.block in index]
    if not known:
        return NONE
    main = table.main_rows
    among = np.searchsorted(table.columns.offset[main], np.array([d.offset for d in known], np.uint64))
    rows = np.append(main, len(table))[among].tolist()
    size = space.page_size
    ranges = []
    for row, discard in zip(rows, known, strict=True):
        block = space.slice(index[discard.block])
        first = min(block.start + discard.start // size, block.stop)
        stop = min(block.start + -(-(discard.start + discard.length) // size), block.stop)
        ranges.append((row, row, first, stop))
    return lapses(ranges)
