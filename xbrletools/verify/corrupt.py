"""Pages whose sums hold in no view: where the damage began, and whether records are missing.

A full record, or a delta whose sum holds, vouches for what came before it.
"""

from collections.abc import Iterator

import numpy as np

from ..memory.moments import space_of
from ..model import Stream
from ..table.kinds import IS_DELTA
from . import rules
from .ledger import Ledger, Marks, in_order, pieces, room
from .marks import Ints, Mark
from .observed import Replay, Says, Seen, next_full, pages_wanted
from .spans import Spans, dropped

AT_ONCE = 1 << 17  # records that are put in order by their pages at once
MESSAGE = (
    "the page has the stated sum in no view: damage between record {earliest_record} and this one; "
    "{tainted} records rest on it; {healed}"
)


def corrupt_marks(receiver: Replay, wrong: Ints, twice: Spans) -> Iterator[Mark]:
    """A mark for each chain of deltas whose sums hold in no view, with the earliest record to blame.

    ``wrong`` (n,) int64 are the rows of those deltas. The first record after the last one that something vouches for,
    or the full record itself, is the earliest that can be damaged. What came ``twice`` does not speak for a missing
    record.
    """
    if not len(wrong):
        return
    stream = receiver.stream
    ledger = Ledger()
    lapses: list[tuple[Ints, Ints]] = []  # of a page each: where it was last right, and where it fails
    for rows, pages in _by_page(stream, wrong):
        chains, lapse = _chains(receiver, rows, pages, wrong, twice)
        ledger.add(chains)
        lapses.append(lapse)
    chains = in_order(ledger.columns(), "rows")
    healing = next_full(stream, chains["rows"], chains["pages"])
    numbers, marks = stream.records.numbers, Marks()
    for part in pieces(len(healing)):
        evidence = {
            "earliest_record": numbers.of(chains["earliest"][part]),
            "tainted": chains["tainted"][part],
            "healed_by_record": numbers.of(healing[part]),
        }
        marks.add(Mark(rules.CORRUPT_PAGE, chains["rows"][part], MESSAGE, evidence, healing[part] < 0))
    yield from marks.whole()
    last_right, failing = (np.concatenate(column) for column in zip(*lapses, strict=True))
    yield from dropped(stream, last_right, failing)


def _chains(receiver: Replay, rows: Ints, pages: Ints, wrong: Ints, twice: Spans) -> tuple[Seen, tuple[Ints, Ints]]:
    """The chains of failing deltas among all records of some pages, and of each page where it lapsed.

    A lapse is the row at which the page was last right, and the row of its first failure.
    """
    place = np.arange(len(rows))
    starts = np.append(True, pages[1:] != pages[:-1])
    full = ~IS_DELTA[receiver.columns.kind[rows]]
    anchor = np.maximum.accumulate(np.where(starts | full, place, 0))
    vouched = np.maximum.accumulate(np.where(receiver.says(Says.HOLDS, rows), place + 1, 0))
    earliest = np.maximum(anchor, vouched)
    failing = np.flatnonzero(wrong.take(np.searchsorted(wrong, rows), mode="clip") == rows)
    chains = failing[np.append(True, (earliest[failing][1:] != earliest[failing][:-1]))]
    ends = np.append(np.flatnonzero(starts | full), len(rows))
    end = ends[np.searchsorted(ends, chains, side="right")]
    columns = {
        "rows": rows[chains],
        "pages": pages[chains],
        "earliest": rows[np.minimum(earliest[chains], chains)],
        "tainted": end - chains,
    }
    first = chains[np.append(True, pages[chains][1:] != pages[chains][:-1])]  # a page's first failure
    first = first[(first > anchor[first]) & ~twice.hold(receiver.stream.records.numbers.of(rows[first]))]
    return columns, (rows[np.maximum(earliest[first] - 1, anchor[first])], rows[first])


def _by_page(stream: Stream, rows: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All records of the pages of these rows, and their pages, rising by page and then by row, some pages at a time."""
    columns, space = stream.records.columns, space_of(stream)
    wanted = pages_wanted(stream, (space.pages_of(columns.take(rows[part])) for part in pieces(len(rows))))
    bits = len(columns).bit_length()
    ledger = Ledger()
    for part in pieces(len(columns)):
        page_of = space.pages_of(columns.take(part))
        places = np.flatnonzero(wanted[page_of])
        ledger.add({"keys": page_of[places] << bits | (places + part.start)})
    unsorted = ledger.columns()["keys"]
    keys = room(len(unsorted), np.int64)
    for part in pieces(len(unsorted)):
        keys[part] = unsorted[part]
    keys.sort()
    start = 0
    while start < len(keys):
        end = min(start + AT_ONCE, len(keys))
        if end < len(keys):  # all of a page at once
            page = keys[end] >> bits
            first = int(np.searchsorted(keys, page << bits))
            end = first if first > start else int(np.searchsorted(keys, (page + 1) << bits))
        yield keys[start:end] & ((1 << bits) - 1), keys[start:end] >> bits
        start = end
