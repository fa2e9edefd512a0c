"""The one entry: from a stream to the causes of what is wrong in it, each with how sure it is and what fell.

A cause is certain only where every other hypothesis was tested and fell. What cannot be told is one of several, or
unknown.
"""

import numpy as np

from ...model import Stream
from ..cause import Began, Cause, CauseName, Repair, Sure
from . import breaks, spans, splices, values
from .case import Candidate, Case, open_case
from .reading import read

#: The families of hypotheses about records, in build order.
FAMILIES = (
    spans.repeated,
    spans.address_by_order,
    spans.reordered,
    splices.mass,
    splices.missing_first_sends,
    splices.shifted,
    spans.misplaced,
)
#: What can leave a page other than its sender had it, where no sum tells.
_WRONG_BASE = (
    (CauseName.PAYLOAD_RUN, 3),
    (CauseName.RECORDS_MISSING, 2),
    (CauseName.PAYLOAD_VALUE, 1),
    (CauseName.PAGE_CONTENT, 1),
    (CauseName.BYTES_OVERWRITTEN, 1),
)
_RECORD_LEAST = 26  # bytes of the smallest delta with its header
LIKELY = 0.9  # share of the weight from which on a cause is likely


def diagnose(stream: Stream) -> tuple[Cause, ...]:
    """The causes of what is wrong in a stream, the first in the file first. Empty where nothing is."""
    found = read(stream)
    if found is None:
        return ()
    case = open_case(found)
    if not case.speaks:
        return ()
    standing = [c for c in decide(case) if c.weight > 0]
    return (_cause(case, standing),) if standing else ()


def decide(case: Case) -> list[Candidate]:
    """The hypotheses that stand, in build order: breaks, then records, then fields."""
    broken = case.broken
    if broken is not None:
        return breaks.candidates(case, case.read.breaks.index(broken))
    return _whole(case)


def _whole(case: Case) -> list[Candidate]:
    own = _page_sums(case)
    if own:
        return own
    for family in (
        spans.repeated,
        spans.address_by_order,
        spans.reordered,
        splices.mass,
        splices.missing_first_sends,
        splices.shifted,
    ):
        standing = family(case)
        if standing:
            return standing
    if len(case.sums.first):
        return _of_sums(case)
    return _unexplained(case)


def _unexplained(case: Case) -> list[Candidate]:
    """What is out of order, and no hypothesis explains."""
    walk = case.order
    places = walk.odd.tolist() + [p for p, _ in walk.holes] + walk.twice.tolist()
    idle = np.flatnonzero(case.sums.idle | case.sums.baseless).tolist()
    rows = [int(case.chains.carriers[p]) for p in places] + idle
    if not rows:
        return []
    row = min(rows)
    offset = int(case.read.rows.offset[row])
    if idle and row == idle[0] and not places:
        why = "a literal of this delta stands in its page already, which no sender writes: the page was another one"
        return [Candidate(name, weight, why, row, offset) for name, weight in _WRONG_BASE if name not in case.fell]
    why = "records are out of the sender's order, or rest on what is not there, and no hypothesis explains it"
    return [Candidate(CauseName.UNKNOWN, 1, why, row, offset)]


def _page_sums(case: Case) -> list[Candidate]:
    """A PAGE whose own sum fails: a later delta tells whether the page or its sum is wrong."""
    if len(case.sums.pages) != 1 or case.order.holes:
        return []
    row = int(case.sums.pages[0])
    read = case.read
    page = int(read.page[row])
    start, end = case.chains.span(row)
    offset = start - 4
    off = int(case.chains.sums[row]) - int(read.data[start:end].sum(dtype=int))
    later = [r for r in case.sums.first.tolist() if int(read.page[r]) == page and r > row]
    why = f"the PAGE's own sum is {off:+} from its bytes"
    if later:
        return [Candidate(CauseName.PAGE_CONTENT, 1, f"{why}, and a later delta over it fails", row, start)]
    if abs(off).bit_count() == 1:
        return [
            Candidate(CauseName.PAGE_CONTENT, 4096, why, row, start),
            Candidate(CauseName.CHECKSUM_FIELD, 4, why, row, offset),
        ]
    return [Candidate(CauseName.CHECKSUM_FIELD, 1, why, row, offset)]


def _of_sums(case: Case) -> list[Candidate]:
    """Only sums fail: a record of another page, single bits, or bytes overwritten."""
    first = case.sums.first
    row = int(first[0])
    out = spans.address_by_sums(case) if len(first) <= 4 else []
    if len(first) == 1:
        out += values.candidates(case, row)
    added = case.grid.added(row)
    lost = added is None or added[0] <= -_RECORD_LEAST
    offset = int(case.read.rows.offset[row])
    if not out:
        why = "no single bit makes the sums hold"
        out.append(Candidate(CauseName.BYTES_OVERWRITTEN, 1, why, row, offset))
        if lost:
            why += ", and the grid allows for missing records"
            weight = 3 * min(1.0, values.loss_fits(case, row))
            out.append(Candidate(CauseName.RECORDS_MISSING, weight, why, row, offset))
    elif lost:
        weight = values.missing_weight(case, row)
        out.append(Candidate(CauseName.RECORDS_MISSING, weight, "the grid allows for missing records", row, offset))
    else:
        case.falls(CauseName.RECORDS_MISSING, "the grid does not allow for missing records")
    return out


def _cause(case: Case, standing: list[Candidate]) -> Cause:
    """What the standing hypotheses amount to."""
    total = sum(c.weight for c in standing) or 1
    share: dict[CauseName, float] = {}
    for candidate in standing:
        share[candidate.name] = share.get(candidate.name, 0) + candidate.weight / total
    names = sorted(share, key=lambda n: -share[n])
    best = next(c for c in standing if c.name is names[0])
    sure = Sure.CERTAIN if len(names) == 1 else Sure.LIKELY if share[names[0]] >= LIKELY else Sure.ONE_OF
    if names[0] is CauseName.UNKNOWN:
        sure = Sure.UNKNOWN
    refuted = tuple((n, w) for n, w in case.fell.items() if n not in share)
    record = None if best.row is None else case.read.number(best.row)
    began = Began(best.offset, record, best.bit)
    return Cause(
        names[0],
        sure,
        best.why,
        began,
        tuple(names) if sure is Sure.ONE_OF else (),
        refuted,
        tuple(dict.fromkeys(c.why for c in standing)),
        best.repair
        if sure in (Sure.CERTAIN, Sure.LIKELY) and sum(c.name is best.name for c in standing) == 1
        else None,
        len(best.explains),
        0,
        record,
        best.offset,
    )


def _repair(best: Candidate, sure: Sure, standing: list[Candidate]) -> Repair | None:
    """The repair of the best hypothesis, where it is the only one of its kind."""
    alone = sum(c.name is best.name for c in standing) == 1
    return best.repair if alone and sure in (Sure.CERTAIN, Sure.LIKELY) else None
