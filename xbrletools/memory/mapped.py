"""What a mapped-ram file says of pages beside its records: pages of zeros, and what may have been a page's content.

Facts: formats/README.md, "mapped-ram". A clear bit is a page of zeros, but only once RAM's END has closed: the sender
writes the bitmaps last. A file that was cut or whose sender was killed has pages whose bit is clear all the same. Each
was the page's content when it was written. The guest may have changed it since, also to zeros.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.mapped_ram import BITS
from ..model import Mapped, Stream
from .image import Image, PageSpace

BITMAP_PIECE = 1 << 14  # bytes of a bitmap that are looked at together
PAGES_PIECE = 1 << 22  # bytes of pages that are looked at together


class Possible(NamedTuple):
    """Pages whose content may be what stands in the file: their numbers (n,) int64, and where it stands, (n,) int64."""

    pages: NDArray[np.int64]
    at: NDArray[np.int64]


def begin(image: Image, stream: Stream) -> None:
    """Put into an empty image what holds whatever the records say.

    Pages of zeros are recovered. After salvage the content of other pages that are not marked is put there, where it
    is not all zeros: it is possible, and the page is not recovered.
    """
    for first, clear in zeros(stream, image.space):
        image.set_zero(first + np.flatnonzero(clear))
    if stream.salvaged and not stream.facts.ram_ended:
        for found in possible(stream, image.space):
            size = image.space.page_size
            for page, at in zip(found.pages.tolist(), found.at.tolist(), strict=True):
                part = stream.data[at : at + size]
                image.pages[page, : len(part)] = part
            image.set_possible(found.pages)


def is_zero(stream: Stream, space: PageSpace, page: int) -> bool:
    """Whether a page is zero because its bit is clear."""
    if not stream.facts.ram_ended:
        return False
    for m in stream.facts.mapped:
        place = page - int(space.first[m.block])
        if m.bitmap is not None and 0 <= place < space.pages[m.block]:
            byte = stream.data[m.bitmap + place // BITS : m.bitmap + place // BITS + 1]
            return len(byte) > 0 and not int(byte[0]) >> place % BITS & 1
    return False


def zeros(stream: Stream, space: PageSpace) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The pages that are zero because their bit is clear, a piece at a time.

    Gives the first page's number, and for the pages from it on whether they are, (n,) bool.
    """
    for m in stream.facts.mapped if stream.facts.ram_ended else ():
        if m.bitmap is None:
            continue
        pages = int(space.pages[m.block])
        for start in range(0, pages, BITMAP_PIECE * BITS):
            count = min(BITMAP_PIECE * BITS, pages - start)
            bitmap = stream.data[m.bitmap + start // BITS : m.bitmap + -(-(start + count) // BITS)]
            yield int(space.first[m.block]) + start, np.unpackbits(bitmap, count=count, bitorder="little") == 0


def possible(stream: Stream, space: PageSpace) -> Iterator[Possible]:
    """The pages that no bit marks, of which something other than zeros stands in the file. Holes are not read."""
    for m in stream.facts.mapped:
        if m.pages is not None:
            yield from _possible_in(stream, space, m, m.pages)


def _possible_in(stream: Stream, space: PageSpace, m: Mapped, pages_at: int) -> Iterator[Possible]:
    """What `possible` gives, of one block whose pages stand at ``pages_at``."""
    size, first = space.page_size, int(space.first[m.block])
    stop = min(pages_at + space.blocks[m.block].length, len(stream.data))
    done = pages_at
    for low, high in stream.source.extents(pages_at, stop):
        begin = max(done, pages_at + (low - pages_at) // size * size)
        done = max(done, min(stop, pages_at + -(-(high - pages_at) // size) * size))
        for at in range(begin, done, PAGES_PIECE):
            piece = stream.data[at : min(at + PAGES_PIECE, done)]
            whole = len(piece) // size
            filled = piece[: whole * size].reshape(whole, size).any(axis=1)
            if len(piece) % size:
                filled = np.append(filled, piece[whole * size :].any())
            places = (at - pages_at) // size + np.flatnonzero(filled)
            places = places[~_is_marked(stream, m, places)]
            if len(places):
                yield Possible(first + places, pages_at + places * size)


def _is_marked(stream: Stream, m: Mapped, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the bit of each of a block's pages is set, (n,) bool."""
    assert m.bitmap is not None
    marked: NDArray[np.bool_] = stream.data[m.bitmap + places // BITS] >> (places % BITS).astype(np.uint8) & 1 != 0
    return marked
