"""Which pages have the byte sum that a delta states, and the words for what a damaged capture gives.

A delta's sum is of the whole page after it. So it speaks for the page before it, too, and for its place: over another
page it would hardly hold. But a byte sum is weak. Bytes that moved keep it, and so do about 2 of 100 flipped bits in a
delta. A second sum of the same page is not a second witness: what kept the first sum keeps the next, unless a delta
wrote those bytes. So a sum that holds is said as just that, and nothing in a damaged capture is called known. The sums
of PAGE records in the debug trees of November 2010, and the Adler-32 of zlib streams, speak for bytes but not for whose
they are. They do not count here. Nothing else in any dialect is protected.
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values, reserve
from ..codec.checksum import byte_sum
from ..codec.verdict import Verdict
from ..formats.ram import Kind
from ..model import Stream
from ..table.claims import stated, states_sums
from ..table.columns import PIECE
from ..table.kinds import IS_DELTA
from ..table.payloads import Payloads
from .image import Image, State
from .replay import View, forgets_dups

BATCH = 1 << 20  # bytes of pages that are decoded at once, to see whether the delta that follows fits them

Ints = NDArray[np.int64]


class Trust(Enum):
    """What is believed: the stream as it stands, or only pages whose checksum holds. All else is unknown then."""

    STREAM = "stream"
    CHECKSUM = "checksum"


#: What counts of bytes and pages claim of a capture that is read with salvage; docs/salvage.md has the whole.
WORDS = {
    "recovered": "read from records that stand, and nothing speaks against it",
    "sum_holds": "recovered, and the page has the byte sum that a delta states, as of its last record that is there; "
    "a byte sum is weak: about 2 of 100 flipped bits in a delta keep it",
    "unprotected": "recovered, and nothing protects it: a flipped byte would leave no trace",
    "unknown": "not recovered; with --trust checksum, also where no sum holds",
    "possible": "unknown, and written as it stands in the file: the page's content once, perhaps not at the end",
}
#: And of one that is read as its receiver would, whatever speaks against it: `verify` says that.
PLAIN_WORDS = {
    "sum_holds": "given by the stream, and the page has the byte sum that a delta in it states",
    "unprotected": "given by the stream, and no sum is stated for it, or the sum does not hold",
    "unknown": "given by no record; with --trust checksum, also where no sum holds",
}


def confirmed(image: Image, stream: Stream, end: int, view: View) -> NDArray[np.bool_]:
    """Which pages have the byte sum that a delta states, (pages,) bool.

    ``image`` is memory in ``view`` just before row ``end``. Such a page is wholly recovered, and what left it
    states a sum that it has. Or the next record of the page is a delta, and what that makes of the page has the sum
    that it states.
    """
    records = stream.payloads
    columns = records.columns
    # Of each page the row, plus one, of what left it.
    left_by = Values(image.space.places(columns.take(slice(0, end))), np.int64)
    for start in range(0, end, PIECE):
        pages, rows = _carried(image, stream, start, min(start + PIECE, end))
        left_by[pages] = rows + 1
    sent = left_by.nonzero()
    pages = sent[image.state[sent] == State.RECOVERED]
    left = left_by[pages] - 1
    good: NDArray[np.bool_] = reserve((len(image.space),), bool)
    if records.dialect is None:
        return good
    good[pages[_has_stated_sum(image, records, pages, left)]] = True
    open_ = ~good[pages]
    forgets = forgets_dups(
        records.dialect, view
    )  # then dup pages are not bases, and may stand between a page and its delta
    if forgets:
        open_ &= columns.kind[left] != Kind.DUP
    followed_by = Values(image.space.places(columns.take(slice(end, len(columns)))), np.int64)
    for start in reversed(range(end, len(columns), PIECE)):
        later, rows = _carried(image, stream, start, start + PIECE)
        if forgets:
            counts = columns.kind[rows] != Kind.DUP
            later, rows = later[counts], rows[counts]
        followed_by[later[::-1]] = rows[::-1] + 1
    open_ &= followed_by[pages] > 0
    pages = pages[open_]
    fits = _fits(image, records, pages, followed_by[pages] - 1)
    good[pages[fits]] = True
    return good


def _carried(image: Image, stream: Stream, start: int, stop: int) -> tuple[Ints, Ints]:
    """The pages of some records, and the rows of those. Records that carry none of the image are left out."""
    pages = image.space.pages_of(stream.records.columns.take(slice(start, stop)))
    places = np.flatnonzero(pages >= 0)
    return pages[places], places + start


def _stating(records: Payloads, rows: Ints) -> Ints:
    """The places of the deltas among these rows that state a sum."""
    places = np.flatnonzero(IS_DELTA[records.columns.kind[rows]])
    states, _ = stated(records.columns, records.dialect, rows[places])
    return places[states]


def _has_stated_sum(image: Image, records: Payloads, pages: Ints, left: Ints) -> NDArray[np.bool_]:
    """Whether each page was left by a delta that states a sum, and has that sum, (n,) bool."""
    good = np.zeros(len(left), bool)
    places = _stating(records, left)
    good[places] = sums_hold(records, left[places], image.pages, pages[places])
    return good


def _fits(image: Image, records: Payloads, pages: Ints, following: Ints) -> NDArray[np.bool_]:
    """Whether the record that follows is a delta whose sum holds for what it makes of each page."""
    fits = np.zeros(len(pages), bool)
    places = _stating(records, following)
    step = max(1, BATCH // image.space.page_size)
    for start in range(0, len(places), step):
        batch = places[start : start + step]
        fits[batch] = sums_fit(image, records, pages[batch], following[batch])
    return fits


def sums_fit(image: Image, records: Payloads, pages: Ints, rows: Ints) -> NDArray[np.bool_]:
    """Whether each delta at ``rows`` decodes over its page to one that has the stated sum, (n,) bool."""
    scratch = image.pages[pages].copy()
    verdicts = records.apply(rows, scratch)
    holds = sums_hold(records, rows, scratch, np.arange(len(rows)))
    decoded: NDArray[np.bool_] = verdicts == Verdict.OK
    return decoded & holds


def sums_hold(records: Payloads, rows: Ints, pages: NDArray[np.uint8], places: Ints) -> NDArray[np.bool_]:
    """Whether each delta's sum holds for the page that it made, (n,) bool. True where it states none.

    ``rows`` (n,) are the deltas' places in ``records``, ``places`` (n,) their pages' places in ``pages``.
    """
    good = np.ones(len(rows), bool)
    if states_sums(records.dialect) and len(rows):
        states, sums = stated(records.columns, records.dialect, rows)
        good[states] = byte_sum(pages, places[states]) == sums[states]
    return good
