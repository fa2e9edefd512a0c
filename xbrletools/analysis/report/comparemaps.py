"""Which pages of two captures differ: a map of each block."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...memory.image import PageSpace
from ...text import shown
from ...verify.sentences import some
from .maps import ACROSS, CHARTED, cells_of, drawing
from .markup import Markup, code, legend, more, size_words, tag

Ints = NDArray[np.int64]

#: From how many bytes on a page that differs has each colour.
_BYTES = (1, 17, 129, 1025)
_CLASSES = ("fate-never", "sent-1", "sent-2", "sent-3", "sent-4", "fate-unknown")
_MEANINGS = (
    "the same, or not known in either",
    "1 to 16 bytes differ",
    "17 to 128",
    "129 to 1,024",
    "more",
    "one of the two does not know it",
)


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Pages of a block that differ, (n,) int64 each: where they begin, how many bytes differ in any way.

    ``one_sided`` counts those of their bytes that only one of the memories knows.
    """

    address: Ints
    count: Ints
    one_sided: Ints

    @property
    def in_one(self) -> NDArray[np.bool_]:
        """The pages that do not differ where both memories know them, (n,) bool."""
        return np.equal(self.one_sided, self.count)


def figures(changes: Mapping[bytes, Changes], space: PageSpace, other: PageSpace) -> list[Markup]:
    """A map of each block with pages that differ, those with most of them first. Both spaces have these blocks."""
    ordered = sorted(changes.items(), key=lambda item: -len(item[1].count))
    drawn = [_figure(name, one, space, other) for name, one in ordered[:CHARTED]]
    return [legend(zip(_CLASSES, _MEANINGS, strict=True)), *drawn, *more(len(ordered), CHARTED, "blocks")]


def _figure(name: bytes, one: Changes, space: PageSpace, other: PageSpace) -> Markup:
    """The map of one block, as far as both have it."""
    sizes = [int(s.pages[s.index(name)]) * s.page_size for s in (space, other)]
    pages = -(-min(sizes) // space.page_size)
    level = np.searchsorted(_BYTES, one.count, side="right").astype(np.uint8)
    level[one.in_one] = len(_CLASSES) - 1
    per_cell, values = cells_of(pages, one.address // space.page_size, level)
    row = per_cell * ACROSS * space.page_size
    in_one = int(np.count_nonzero(one.in_one))
    of = f"{pages:,} pages" if sizes[0] == sizes[1] else f"the {pages:,} pages that both have"
    told = f" {len(one.count) - in_one:,} of {of} differ"
    told += f", and {some(in_one, 'is', 'are')} known in one of the two only" if in_one else ""
    told += f"; a cell is {per_cell:,} pages" if per_cell > 1 else ""
    return tag(
        "figure",
        tag("figcaption", code(shown(name)), f"{told}. A row is {size_words(row)}."),
        tag("div", drawing(f"Pages of {shown(name)} that differ", values, _CLASSES, row), class_="map"),
    )
