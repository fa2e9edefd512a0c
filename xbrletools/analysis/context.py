"""The bytes around a place in memory, at one moment or just after a record, with what of them is recovered."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..memory.history import Content, PageHistory
from ..memory.image import Image
from ..memory.moments import page_of, space_of
from ..memory.replay import View
from ..model import Stream

PAGES = 16  # pages whose story is remembered: hits of one page follow each other

#: A page of a block, by the index of the block and the page's number in it, at the moment that is asked about.
PageAt = Callable[[int, int], Content]


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """Bytes of a block from ``offset`` on: ``data`` (n,) uint8, and which of them are ``recovered``, (n,) bool."""

    offset: int
    data: NDArray[np.uint8]
    recovered: NDArray[np.bool_]


def around(stream: Stream, page_at: PageAt, block: int, offset: int, length: int, more: int) -> Around:
    """``length`` bytes from ``offset`` of a block, and ``more`` before and after them, as far as the block goes."""
    size = stream.page_size
    start, stop = max(0, offset - more), min(stream.blocks[block].length, offset + length + more)
    pages = [page_at(block, page) for page in range(start // size, -(-stop // size))]
    part = slice(start % size, start % size + stop - start)
    data = np.concatenate([p.data for p in pages])[part]
    return Around(start, data, np.concatenate([p.recovered for p in pages])[part])


def pages_of_image(image: Image) -> PageAt:
    """The pages of memory at one moment."""

    def page_at(block: int, page: int) -> Content:
        number = int(image.space.first[block]) + page
        return Content(image.pages[number], image.recovered_bytes(number))

    return page_at


def pages_over_time(stream: Stream, view: View) -> Callable[[int], PageAt]:
    """The pages as they were just after a record: called with its number.

    Each page is replayed alone, which looks through all records once for each page.
    """
    space = space_of(stream)

    @lru_cache(PAGES)
    def history(block: int, page: int) -> PageHistory:
        return page_of(stream, space.blocks[block].name, page * space.page_size)

    def at(record: int) -> PageAt:
        return lambda block, page: history(block, page).at(record, view)

    return at
