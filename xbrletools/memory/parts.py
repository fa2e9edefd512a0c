"""Two memories, some pages at a time: what is not looked at now does not take memory, however large the guest is."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct, reserve
from ..model import Stream
from ..table.columns import PIECE
from .image import Image
from .mapped import begin
from .moments import lapses_of, space_of
from .replay import View, replay

TOGETHER = 1 << 25  # bytes of pages in a part

#: Two memories of some pages, and how much of all is done with them, up to 1. Nothing is said of other pages.
Part = tuple[Image, Image, float]


class _ByPlace:
    """Records of a stream in the order of their pages. ``rows`` (n,) are theirs, ``places`` (n,) where those lie.

    Places count stretches of memory of any size. Records of one place stay in the order of the stream.
    """

    def __init__(
        self, stream: Stream, view: View, rows: NDArray[np.unsignedinteger], places: NDArray[np.int64]
    ) -> None:
        order = np.argsort(places, kind="stable")
        self._stream, self._view = stream, view
        self._lapses = lapses_of(stream, view)
        self._rows, self._places = rows[order], places[order]

    @property
    def places(self) -> NDArray[np.int64]:
        """The places where a record's page lies, rising."""
        return self._places[np.flatnonzero(np.diff(self._places, prepend=-1))]

    def image(self, first: int, stop: int, end: int) -> Image:
        """The pages in places ``first`` to ``stop`` - 1, as the first ``end`` rows of the table leave them."""
        begins, ends = np.searchsorted(self._places, [first, stop])
        rows = np.sort(self._rows[begins:ends]).astype(np.int64)
        rows = rows[: np.searchsorted(rows, end)]
        image = Image(space_of(self._stream))
        begin(image, self._stream)
        replay(image, self._stream.payloads.take(rows), self._view, self._lapses.upto(end - 1).among(rows))
        return image


def end_of(stream: Stream, number: int | None) -> int:
    """How many rows stand up to record ``number``. At the end it is one more than all, for what lapses after them.

    Record 0 is the moment before the first, None the end.

    Raises:
        XbrleError: there is no such record.
    """
    if number is None:
        return len(stream.records) + 1
    return stream.records.row(number) + 1 if number else 0


def memories_between(
    stream: Stream, first: int | None, second: int | None, view: View = View.RECEIVER, together: int = TOGETHER
) -> Iterator[Part]:
    """Memory just after two records, of those pages alone that can differ between them, a part after the other.

    Record 0 is the moment before the first, None the end. Parts have up to ``together`` bytes. Pages that no record
    between the two gives and that do not become unknown there are the same at both. Neither their records nor their
    bytes are read.

    Raises:
        XbrleError: there is no such record.
    """
    space, columns, forgotten = space_of(stream), stream.records.columns, lapses_of(stream, view)
    ends = end_of(stream, first), end_of(stream, second)
    low, high = min(ends), max(ends)
    between = forgotten.take((forgotten.since >= low) & (forgotten.since < high))
    given = reserve((len(space) + 1,), bool)  # the last is for records without a page
    for at in range(low, min(high, len(columns)), PIECE):
        given[space.pages_of(columns.take(slice(at, min(at + PIECE, high))))] = True
    given[len(space)] = False
    kind = np.min_scalar_type(len(columns))
    rows, pages = [np.empty(0, kind)], [np.empty(0, np.int64)]
    for at in range(0, min(high, len(columns)), PIECE):
        of = space.pages_of(columns.take(slice(at, min(at + PIECE, high))))
        found = np.flatnonzero(given[of] | ((of >= 0) & (between.sure_rows(of) > 0)))
        rows.append((at + found).astype(kind))
        pages.append(of[found])
    records = _ByPlace(stream, view, np.concatenate(rows), np.concatenate(pages))
    for start, stop, share in _cuts(records.places, together // space.page_size, stream):
        yield records.image(start, stop, ends[0]), records.image(start, stop, ends[1]), share


def memories_of_two(
    first: Stream, number: int | None, second: Stream, view: View = View.RECEIVER, together: int = TOGETHER
) -> Iterator[Part]:
    """Memory of one capture just after record ``number``, and another's at its end, a part after the other.

    Blocks that only one of them has, and what one has beyond the other's end, are left out.

    Raises:
        XbrleError: there is no such record.
    """
    space = space_of(first)
    unit = max(space.page_size, space_of(second).page_size)
    names = {block.name: i for i, block in reversed(list(enumerate(space.blocks)))}
    begins = np.cumsum([0, *(-(-b.length // unit) for b in space.blocks)])
    sides = []
    for stream in (first, second):
        of, columns = space_of(stream), stream.records.columns
        block_of = np.array([*(names.get(b.name, -1) for b in of.blocks), -1], np.int64)
        kind = np.min_scalar_type(len(columns))
        rows, places = [np.empty(0, kind)], [np.empty(0, np.int64)]
        for at in range(0, len(columns), PIECE):
            piece = columns.take(slice(at, at + PIECE))
            block = block_of[np.minimum(piece.block, len(of.blocks))]
            place = begins[block] + (piece.address // np.uint64(unit)).astype(np.int64)
            found = np.flatnonzero((of.pages_of(piece) >= 0) & (block >= 0) & (place < begins[block + 1]))
            rows.append((at + found).astype(kind))
            places.append(place[found])
        sides.append(_ByPlace(stream, view, np.concatenate(rows), np.concatenate(places)))
    one, other = sides
    ends = end_of(first, number), end_of(second, None)
    for start, stop, share in _cuts(
        distinct(np.concatenate([one.places, other.places])), together // unit, first, second
    ):
        yield one.image(start, stop, ends[0]), other.image(start, stop, ends[1]), share


def _cuts(places: NDArray[np.int64], count: int, *streams: Stream) -> Iterator[tuple[int, int, float]]:
    """Ranges of places with up to ``count`` of those that are named, and how many of all lie before a range's end.

    Of a mapped-ram file it is one range: its bitmap says of all pages at once which are zero.
    """
    if any(stream.facts.mapped for stream in streams):
        yield 0, 1 << 62, 1.0
        return
    starts = np.arange(0, len(places), max(1, count))
    for start in starts.tolist():
        last = min(start + max(1, count), len(places)) - 1
        yield int(places[start]), int(places[last]) + 1, (last + 1) / len(places)
