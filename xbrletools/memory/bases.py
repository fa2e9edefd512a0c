"""Whether the receiver knew a page when a delta for it came: told from the records alone, window by window.

Nothing is decoded for it, so a pipe can be judged as it passes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..errors import XbrleError
from ..formats.ram import Kind
from ..model import Block, Stream
from ..table.kinds import IS_DELTA
from ..table.windows import Window
from .image import Image, PageSpace
from .lapses import Lapses
from .replay import CHUNK, Layer, apply


class Bases:
    """Which pages a record has given in full so far, from window to window.

    A delta over an unknown page does not make it known. One over a known page keeps it known: a receiver that refuses
    a delta stops there. ``blocks`` is the list that a scan adds to as it goes.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        self._given = np.empty(0, np.uint8)

    def known(self, window: Window) -> NDArray[np.int8]:
        """Whether each delta's page was known before it, (n,) int8: 1 for yes, 0 for no, -1 for other records.

        It is -1 for all where the blocks claim to be larger than any guest.
        """
        columns = window.columns
        try:
            space = PageSpace(self._blocks, window.page_size)
        except XbrleError:
            return np.full(len(columns), -1, np.int8)
        self._grow(len(space))
        page_of = space.pages_of(columns)
        delta = IS_DELTA[columns.kind]
        cut = (columns.kind == Kind.PAGE) & (columns.length != window.page_size)
        out = np.where(delta, 0, -1).astype(np.int8)
        inside = np.flatnonzero(page_of >= 0)
        pages, place = np.unique(page_of[inside], return_inverse=True)
        first = np.full(len(pages), len(columns), np.int64)
        full = np.flatnonzero((window.is_page & ~delta & ~cut)[inside])
        first[place[full[::-1]]] = inside[full[::-1]]  # backwards: a page's first full record is what stays
        before = (first[place] < inside) | (self._given[page_of[inside]] != 0)
        based = delta[inside]
        out[inside[based]] = before[based]
        self._given[page_of[inside[full]]] = 1
        return out

    def _grow(self, pages: int) -> None:
        """Have room for so many pages."""
        if len(self._given) >= pages:
            return
        larger = reserve((pages,), np.uint8)
        larger[np.flatnonzero(self._given)] = 1
        self._given = larger


def standing_bases(stream: Stream, space: PageSpace, lapses: Lapses) -> NDArray[np.int8]:
    """As `Bases.known`, of all records at once, where pages lapse: a base in doubt is not known."""
    columns = stream.records.columns
    out = np.where(IS_DELTA[columns.kind], 0, -1).astype(np.int8)
    void = lapses.void(space.pages_of(columns))
    image = Image(space)
    for start, end, lapsed in lapses.pieces(len(columns), CHUNK):
        lapsed.forget(image)
        rows = start + np.flatnonzero(~void[start:end])

        def look(layer: Layer, rows: NDArray[np.int64] = rows) -> None:
            out[rows[layer.places[layer.deltas]]] = layer.based

        apply(image, stream.payloads.take(rows), look)
    return out
