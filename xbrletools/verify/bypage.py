"""What deltas and sums show, page by page, with the loop in C: what `observed.Replay` sees, and no memory is held.

The sender's page is kept beside the receiver's, so that its view does not take a second replay. Pages with a record
that the loop leaves to others are looked at by `Replay` alone.
"""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values
from ..codec import native
from ..formats.dialects import Encoding
from ..memory.bypage import by_page, fits
from ..memory.moments import space_of
from ..memory.replay import View, forgets_dups
from ..model import Stream
from ..table import claims
from .ledger import Ledger, room

WINDOW = 1 << 15  # records that a thread looks at before it tells what it saw


def is_able(stream: Stream) -> bool:
    """Whether the loop can look at this stream's records. XBZRLE deltas need another look: whether they are idle."""
    dialect = stream.dialect
    return dialect is not None and dialect.encoding is Encoding.RLE and fits(stream.payloads)


def look(stream: Stream, said: NDArray[np.uint8], wrong: Ledger, suspects: Ledger) -> Values:
    """Look at all records. Gives which pages are left to others, a bool each.

    ``said`` (rows of the table,) uint8 takes `observed.Says` of each delta. ``wrong`` and ``suspects`` take columns as
    `observed.Replay` has them, in any order.
    """
    dialect = stream.dialect
    assert native.loops is not None and dialect is not None
    ordered = by_page(stream.payloads, space_of(stream), lambda count: room(count, np.uint32))
    left = Values(ordered.places, np.uint8)
    loop, sums = native.loops.check_pages, (*claims.for_loops(dialect), forgets_dups(dialect, View.SENDER))
    (chains, columns), lock = ordered.arguments, Lock()

    def part(first: int, end: int) -> None:
        most = min(WINDOW, int(ordered.starts[end] - ordered.starts[first]))
        wrong_sums, suspected = np.empty((most, 2), np.int64), np.empty((most, 4), np.int64)
        span = (first, end, stream.page_size)
        counts = loop(chains, columns, span, ordered.coding, sums, said, left.array, wrong_sums, suspected)
        with lock:
            if counts[0]:
                _tell_wrong(stream, wrong_sums[: counts[0]], wrong)
            if counts[1]:
                rows, places, dups, bases = suspected[: counts[1]].T
                suspects.add({"rows": rows, "pages": ordered.places.numbers(places), "dups": dups, "bases": bases})

    ordered.in_threads(part, WINDOW // 2)
    return left


def _tell_wrong(stream: Stream, found: NDArray[np.int64], wrong: Ledger) -> None:
    """Note rows and sums, (n, 2), as the header of each delta would have the sums."""
    rows, sums = found.T
    _, stated = claims.stated(stream.records.columns, stream.dialect, rows)
    assert stream.dialect is not None
    computed: NDArray[Any] = claims.field_of(sums.astype(np.uint32), stream.dialect)
    wrong.add({"rows": rows, "stated": claims.field_of(stated, stream.dialect), "computed": computed})
