"""RAM_DISCARD: pages that the destination was told to forget, each with its place among the records.

Facts: formats/README.md, "Postcopy".
"""

import numpy as np

from ..model import Stream
from .image import PageSpace
from .lapses import NONE, Lapses, lapses


def place(stream: Stream, space: PageSpace) -> Lapses:
    """The discards of a capture among its records and pages. Ranges of unknown blocks, or outside, say nothing."""
    table = stream.records
    index = {block.name: i for i, block in enumerate(space.blocks)}
    discards = [d for d in stream.facts.discards if d.block in index]
    if not discards:
        return NONE
    main = table.main_rows
    among = np.searchsorted(table.columns.offset[main], np.array([d.offset for d in discards], np.uint64))
    rows = np.append(0, main + 1)[among].tolist()  # just after the main channel's last record before each
    size = space.page_size
    ranges = []
    for row, discard in zip(rows, discards, strict=True):
        block = space.slice(index[discard.block])
        first = min(block.start + discard.start // size, block.stop)
        stop = min(block.start + -(-(discard.start + discard.length) // size), block.stop)
        ranges.append((row, row, first, stop))
    return lapses(ranges)
