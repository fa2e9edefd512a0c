"""Which pages a checksum vouches for, and the words for what a damaged capture gives: recovered, known, unprotected.

A delta's sum is of the whole page after it, and so vouches for the page before it too, and for its place: over another
page it would not hold. The sums of PAGE records, in the debug trees of November 2010, and the Adler-32 of zlib streams
vouch for bytes but not for whose they are, so these make nothing known; nothing else in any dialect is protected.
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..codec import deltas
from ..codec.checksum import byte_sum
from ..codec.verdict import Verdict
from ..formats.dialects import Checksum, Dialect
from ..formats.ram import Kind
from ..formats.xbrle import HeaderFlag
from ..table.columns import PIECE, Columns
from ..table.kinds import IS_DELTA
from .image import Image, State
from .replay import View

BATCH = 1 << 20  # bytes of pages that are decoded at once, to see whether the delta that follows fits them

Ints = NDArray[np.int64]


class Trust(Enum):
    """What is believed: the stream as it stands, or only what a checksum in it vouches for; all else is unknown."""

    STREAM = "stream"
    CHECKSUM = "checksum"


#: What counts of bytes and pages claim of a capture that is read with salvage; docs/salvage.md has the whole.
WORDS = {
    "recovered": "read from records that stand, and nothing speaks against it",
    "known": "recovered, and a delta's checksum vouches for the page, as of its last record that is there",
    "unprotected": "recovered, and nothing protects it: a flipped byte would leave no trace",
    "unknown": "not recovered; with --trust checksum, not known",
}
#: And of one that is read as its receiver would, whatever speaks against it: `verify` says that.
PLAIN_WORDS = {
    "known": "given by the stream, and a delta's checksum in it vouches for the page",
    "unprotected": "given by the stream, and no checksum vouches for it",
    "unknown": "given by no record; with --trust checksum, not known",
}


def confirmed(
    image: Image, data: NDArray[np.uint8], columns: Columns, end: int, dialect: Dialect | None, view: View
) -> NDArray[np.bool_]:
    """Which pages a sum vouches for, (pages,) bool. ``image`` is memory in ``view`` just before row ``end``.

    Such a page is wholly known, and the record that left it states a sum that it has; or the next record of the page is
    a delta, and what that makes of it has the sum that it states.
    """
    last = reserve((len(image.space),), np.int64)  # of each page the row, plus one, of what left it
    for start in range(0, end, PIECE):
        pages, rows = _carried(image, columns, start, min(start + PIECE, end))
        last[pages] = rows + 1
    sent = np.flatnonzero(last)
    pages = sent[image.state[sent] == State.KNOWN]
    left = last[pages] - 1
    good = np.zeros(len(image.space), bool)
    good[pages[_vouched(image, columns, pages, left, dialect)]] = True
    if dialect is None:
        return good
    open_ = ~good[pages]
    forgets = view is View.SENDER and not dialect.caches_dup  # a dup page is no base for what follows, and may come
    if forgets:  # between
        open_ &= columns.kind[left] != Kind.DUP
    following = reserve((len(image.space),), np.int64)
    for start in reversed(range(end, len(columns), PIECE)):
        there, rows = _carried(image, columns, start, start + PIECE)
        if forgets:
            counts = columns.kind[rows] != Kind.DUP
            there, rows = there[counts], rows[counts]
        following[there[::-1]] = rows[::-1] + 1
    open_ &= following[pages] > 0
    pages = pages[open_]
    fits = _fits(image, data, columns, pages, following[pages] - 1, dialect)
    good[pages[fits]] = True
    return good


def _carried(image: Image, columns: Columns, start: int, stop: int) -> tuple[Ints, Ints]:
    """The pages of some records, and the rows of those; of records that carry none of the image, nothing."""
    pages = image.space.rows(columns.take(slice(start, stop)))
    places = np.flatnonzero(pages >= 0)
    return pages[places], places + start


def _vouched(image: Image, columns: Columns, pages: Ints, left: Ints, dialect: Dialect | None) -> NDArray[np.bool_]:
    """Whether each page has the sum that the record which left it states."""
    good = np.zeros(len(left), bool)
    if dialect is None:
        return good
    mine = np.flatnonzero(IS_DELTA[columns.kind[left]])
    mine = mine[carries_sum(columns, left[mine], dialect)]
    good[mine] = sums_hold(columns, left[mine], image.pages, pages[mine], dialect)
    return good


def _fits(
    image: Image, data: NDArray[np.uint8], columns: Columns, pages: Ints, following: Ints, dialect: Dialect
) -> NDArray[np.bool_]:
    """Whether the record that follows is a delta whose sum holds for what it makes of each page."""
    fits = np.zeros(len(pages), bool)
    mine = np.flatnonzero(IS_DELTA[columns.kind[following]])
    mine = mine[carries_sum(columns, following[mine], dialect)]
    step = max(1, BATCH // image.space.page_size)
    for start in range(0, len(mine), step):
        some = mine[start : start + step]
        places = following[some]
        scratch = image.pages[pages[some]].copy()
        at = columns.payload(places)
        verdicts = deltas.apply(dialect.encoding, data, at, columns.length[places].astype(np.int64), scratch)
        holds = sums_hold(columns, places, scratch, np.arange(len(some)), dialect)
        fits[some] = (verdicts == Verdict.OK) & holds
    return fits


def sums_hold(
    columns: Columns,
    places: NDArray[np.int64],
    pages: NDArray[np.uint8],
    rows: NDArray[np.int64],
    dialect: Dialect | None,
) -> NDArray[np.bool_]:
    """Whether each delta's checksum holds for the page it made; true where it carries none."""
    good = np.ones(len(places), bool)
    if dialect is None or dialect.checksum is Checksum.NONE or not len(places):
        return good
    says = carries_sum(columns, places, dialect)
    sums = byte_sum(pages, rows[says])
    claimed = columns.checksum[places[says]]
    good[says] = sums == (~claimed if dialect.checksum is Checksum.COMPLEMENT else claimed)
    return good


def carries_sum(columns: Columns, places: NDArray[np.int64], dialect: Dialect) -> NDArray[np.bool_]:
    """Whether each of these deltas has a checksum that means something."""
    if dialect.checksum is Checksum.NONE:
        return np.zeros(len(places), bool)
    if dialect.checksum is Checksum.FLAGGED:
        says: NDArray[np.bool_] = (columns.header_flags[places] & HeaderFlag.CHECKSUM) != 0
        return says
    return np.ones(len(places), bool)
