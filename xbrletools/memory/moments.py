"""The memory of a stream at any moment, its pages, and what is in doubt. Everything above asks for them here.

What is worked out of a stream is kept with it: see `xbrletools.model.once`.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..errors import XbrleError
from ..model import Stream, once
from ..table.columns import PIECE
from .confirm import Trust, confirmed
from .discards import place
from .doubt import Doubt, as_lapses, doubts, doubts_among_channels
from .history import PageHistory
from .image import Image, PageSpace
from .lapses import Lapses, joined
from .mapped import begin
from .replay import View, replay


@once
def space_of(stream: Stream) -> PageSpace:
    """Where each block's pages lie among all pages.

    Raises:
        XbrleError: the blocks claim more than any guest has.
    """
    return PageSpace(stream.blocks, stream.page_size)


@once
def discards_of(stream: Stream) -> Lapses:
    """The pages that a postcopy destination was told to forget, and when."""
    return place(stream, space_of(stream))


@once
def doubts_of(stream: Stream, view: View) -> list[Doubt]:
    """Which pages are in doubt, and from when: what gaps, refuted records and lost channels leave unknown."""
    if stream.channels or stream.broken is not None:
        return doubts_among_channels(stream, space_of(stream))
    if not stream.salvaged:
        return []
    return doubts(stream, space_of(stream), view)


@once
def lapses_of(stream: Stream, view: View) -> Lapses:
    """Which pages are unknown again, and since when: those discarded and those in doubt."""
    return joined(discards_of(stream), as_lapses(doubts_of(stream, view)))


def memory_of(stream: Stream, at: int | None = None, view: View = View.RECEIVER, trust: Trust = Trust.STREAM) -> Image:
    """Memory just after record ``at``, by default at the end.

    By default it is what the stream gives. After salvage `Image.recovered` says which of it stands, and
    `Image.sum_holds` for which of that a checksum holds. With ``Trust.CHECKSUM`` all else is unknown.

    Raises:
        XbrleError: there is no such record.
    """
    records, forgotten = stream.payloads, lapses_of(stream, view)
    if at is not None:
        row = stream.records.row(at)
        records, forgotten = records.take(slice(0, row + 1)), forgotten.upto(row)
    image = Image(space_of(stream))
    begin(image, stream)
    replay(image, records, view, forgotten)
    if stream.salvaged:
        image.sum_held = confirmed_of(stream, image, at, view)
    if trust is Trust.CHECKSUM:
        image.keep(confirmed_of(stream, image, at, view) if image.sum_held is None else image.sum_held)
    return image


def pages_at_end(stream: Stream, pages: NDArray[np.int64], view: View = View.RECEIVER) -> Image:
    """Memory at the end, of some pages alone: of the others, records are not read.

    ``pages`` (n,) int64 are their numbers. Nothing is said of other pages, known or not.
    """
    space, table = space_of(stream), stream.records.columns
    wanted = reserve((len(space),), bool)
    wanted[pages] = True
    found = [np.empty(0, np.int64)]
    for at in range(0, len(table), PIECE):
        of = space.pages_of(table.take(slice(at, at + PIECE)))
        found.append(at + np.flatnonzero((of >= 0) & wanted[np.maximum(of, 0)]))
    rows = np.concatenate(found)
    image = Image(space)
    begin(image, stream)
    replay(image, stream.payloads.take(rows), view, lapses_of(stream, view).among(rows))
    return image


def ends_of_pass(stream: Stream, number: int) -> dict[int, int]:
    """The last record of pass ``number`` of each block that has such a pass: its number, by the block's index.

    The passes of each block are counted alone, so a block can end a pass long after another one has.

    Raises:
        XbrleError: there is no such pass.
    """
    passes = stream.records.pass_
    last = int(passes.max(initial=0))
    if not 1 <= number <= last:
        there = f"has passes 1 to {last}" if last else "does not have records with pages"
        raise XbrleError(f"there is no pass {number}; this capture {there}")
    rows = np.flatnonzero(passes == number)
    blocks, from_end = np.unique(stream.records.columns.block[rows][::-1], return_index=True)
    ends = stream.records.numbers_of(rows[len(rows) - 1 - from_end])
    return dict(zip(blocks.tolist(), ends.tolist(), strict=True))


def confirmed_of(stream: Stream, image: Image, at: int | None = None, view: View = View.RECEIVER) -> NDArray[np.bool_]:
    """Which pages of ``image``, which is memory at that moment in that view, have the sum that a delta states.

    (pages,) bool. A byte sum is weak: see `Image.sum_holds`.

    Raises:
        XbrleError: there is no such record.
    """
    end = len(stream.records) if at is None else stream.records.row(at) + 1
    return confirmed(image, stream, end, view)


def page_of(stream: Stream, block: str | bytes, address: int) -> PageHistory:
    """The story of the page that holds ``address`` of ``block``, without replaying the rest.

    Raises:
        XbrleError: there is no such block, or no such page in it.
    """
    return PageHistory(stream, space_of(stream), block, address, partial(lapses_of, stream))
