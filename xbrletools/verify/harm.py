"""What a cause did to memory: which records it made wrong, and which pages are still wrong at the end."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..arrays import Values
from ..memory.moments import space_of
from ..model import Stream
from . import rules
from .by_rule import OPEN_RULES, Shared
from .ledger import Ledger, pieces, room
from .marks import Ints, Mark
from .observed import next_full

WRONG, MAYBE, LOST = 1, 2, 4  # bits of a page: it is wrong at the end; it may be; nothing tells what it is


@dataclass(frozen=True, slots=True, eq=False)
class Harm:
    """Records that a cause made wrong, and what it left.

    ``records`` counts them, ``left`` those among them that no later record healed. ``first`` is the row of the first,
    ``first_lasting`` that of the first which no later record healed. Both are None where there is none. ``wrong`` (n,)
    int64 are the numbers of pages that are wrong at the end, ``maybe`` those that may be, and ``lost`` those of which
    nothing tells what they are. All rise.
    """

    records: int
    left: int
    first: int | None
    first_lasting: int | None
    wrong: Ints
    maybe: Ints
    lost: Ints

    @property
    def pages(self) -> int:
        """How many pages are not known to be right at the end."""
        return len(self.wrong) + len(self.maybe) + len(self.lost)


_NONE: Ints = np.empty(0, np.int64)
NO_HARM = Harm(0, 0, None, None, _NONE, _NONE, _NONE)


def harm(shared: Shared, index: int) -> Harm:
    """What the findings of one cause say of memory. The work is in pieces of the marks and of the table."""
    found = shared.found
    stream, marks = found.stream, found.marks
    pages = Values(space_of(stream).places(stream.records.columns), np.uint8)
    chosen = shared.numbers(index, *rules.PAGE_RULES)
    if any(marks[i].rule is rules.STALE_BASE for i in chosen):  # the sums of these pages are about the same records
        chosen = [i for i in chosen if marks[i].rule not in (rules.CHECKSUM_MISMATCH, rules.CHECKSUM_COLLISION)]
    firsts = [int(marks[i].rows[next(shared.parts(i, index))[0]]) for i in chosen]
    lasting: list[int] = []
    left = 0
    for i in chosen:
        bit = MAYBE if marks[i].rule is rules.BASE_WRONG else LOST if marks[i].rule in OPEN_RULES else WRONG
        if "blank" in marks[i].evidence:  # the sum says so
            bit = WRONG
        for rows in _lasting(stream, marks[i], shared.parts(i, index)):
            lasting.append(int(rows[0]))
            left += len(rows)
            of_rows = space_of(stream).pages_of(stream.records.columns.take(rows))
            pages[of_rows] = pages[of_rows] | bit
    pages.array[-1] = 0
    touched = pages.nonzero()
    bits = pages[touched]
    left_so = [touched[(bits & bit != 0) & (bits & (bit - 1) == 0)] for bit in (WRONG, MAYBE, LOST)]
    records = _count(shared, index, chosen)
    return Harm(records, left, min(firsts, default=None), min(lasting, default=None), *left_so)


def _lasting(stream: Stream, mark: Mark, parts: Iterable[Ints]) -> Iterator[Ints]:
    """Those rows of a mark after which no record gives the page anew, some at a time, never none.

    ``parts`` have the places in the mark that count.
    """
    if mark.errors is not None:
        for places in parts:
            lasting = mark.rows[places[mark.errors[places]]]
            if len(lasting):
                yield lasting
        return
    ledger = Ledger()
    for places in parts:
        rows = mark.rows[places]
        pages = space_of(stream).pages_of(stream.records.columns.take(rows))
        ledger.add({"rows": rows[pages >= 0], "pages": pages[pages >= 0]})
    columns = ledger.columns()
    healing = next_full(stream, columns["rows"], columns["pages"])
    for part in pieces(len(healing)):
        lasting = columns["rows"][part][healing[part] < 0]
        if len(lasting):
            yield lasting


def _count(shared: Shared, index: int, chosen: list[int]) -> int:
    """How many records these marks' findings of a cause are about, each once."""
    if len(chosen) < 2:
        return sum(len(places) for i in chosen for places in shared.parts(i, index))
    met = room(len(shared.found.stream.records), bool)
    for i in chosen:
        for places in shared.parts(i, index):
            met[shared.found.marks[i].rows[places]] = True
    return sum(int(np.count_nonzero(met[part])) for part in pieces(len(met)))
