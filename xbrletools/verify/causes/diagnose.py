"""The one entry: from a stream to the causes of what is wrong in it, each with how sure it is and what fell.

A cause is certain only where every other hypothesis was tested and fell. What cannot be told is one of several, or
unknown.
"""

import numpy as np

from ...memory.moments import space_of
from ...model import Stream
from ..cause import Began, Cause, CauseName, Sure
from ..ledger import pieces
from . import across, blocklengths, blocknames, breaks, evidence, order, spans, splices, texts
from .case import Candidate, Case, open_case
from .chains import Chains
from .reading import read

#: The families of hypotheses about whole records, in build order.
FAMILIES = (
    spans.repeated,
    spans.address_by_order,
    spans.reordered,
    across.exchanged,
    splices.mass,
    splices.missing_first_sends,
    splices.shifted,
    spans.misplaced,
)
#: Causes that break the framing.
IN_FRAMING = (
    CauseName.RECORD_FLAGS,
    CauseName.LENGTH_FIELD,
    CauseName.BLOCK_NAME,
    CauseName.SECTION_FRAMING,
    CauseName.BYTES_INSERTED,
    CauseName.BYTES_MISSING,
)
LIKELY = (
    0.75  # share of the weight from which on a cause is likely: of fresh damages about nine in ten of these were right
)
REPAIRED = 0.9  # the same, from which on its repair is offered
BREAKS_MAX = 4  # breaks of one stream that are explained, each by itself
AFFECTED_MAX = 4096  # records that a cause lists

_FALLS = 8  # of so many records one: a stream in which fewer pages do not rise is not asked about its order

Standing = list[Candidate]


def diagnose(stream: Stream, sums_hold: bool = False) -> tuple[Cause, ...]:
    """The causes of what is wrong in a stream, the first in the file first. Empty where nothing is.

    ``sums_hold``: who asks has replayed the stream already, and every stated sum and every base was right. So a stream
    that is whole and in order is not replayed again. What is certain of one of several causes is so of a single damage
    at that place.
    """
    found = read(stream)
    if found is None or (sums_hold and not open_case(found, compare=False).speaks):
        return ()
    case = open_case(found)
    if not case.speaks:
        return ()
    made = []
    for standing in decide(case):
        there = [c for c in standing if c.weight > 0]
        if there:
            made.append(_cause(case, there))
        case.fell.clear()
    return tuple(made)


def walks_otherwise(stream: Stream) -> bool:
    """Whether records come in another order than that of QEMU's senders, everywhere. Their order then shows nothing."""
    columns, falls = stream.records.columns, 0
    for part in pieces(len(columns)):
        pages = space_of(stream).pages_of(columns.take(part))
        falls += int(np.count_nonzero(np.diff(pages[pages >= 0]) <= 0))
    if falls * _FALLS < len(columns):
        return False
    found = read(stream)
    return found is not None and not order.weigh(Chains(found)).kept


def decide(case: Case) -> list[Standing]:
    """The hypotheses that stand, for each damage: breaks, then records, then fields."""
    twice = spans.sections_twice(case)
    if twice:
        return [twice]
    broken = case.broken
    converted = texts.candidates(case)
    if converted:
        return [converted]
    of_list = blocklengths.candidates(case) or blocknames.candidates(case)
    if of_list:
        return [of_list]
    if broken is not None:
        return _broken(case, case.read.breaks.index(broken))
    for name in IN_FRAMING:
        case.falls(name, "every record and section reads as senders write them, to the end")
    for family in (evidence.page_sums, *FAMILIES):
        standing = family(case)
        if standing and family is spans.address_by_order:
            standing = spans.against(case, standing, spans.reordered(case))
        if standing:
            return [standing]
    if len(case.sums.first):
        return evidence.of_sums(case)
    return [evidence.unexplained(case)]


def _broken(case: Case, first: int) -> list[Standing]:
    """What stands for the first break, and for later ones that it does not explain."""
    out = [breaks.candidates(case, first)]
    if out[0][0].name is CauseName.SPLICED:
        return out
    for index in range(first + 1, len(case.read.breaks)):
        if len(out) >= BREAKS_MAX or case.read.breaks[index].resumes is None:
            break
        out.append(breaks.candidates(case, index))
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
        best.repair if _is_alone(best, standing) and share[best.name] >= REPAIRED else None,
        len(best.explains),
        0,
        record,
        best.offset,
        affected=_affected(case, best),
        onward=best.onward,
    )


def _affected(case: Case, best: Candidate) -> tuple[int, ...]:
    """The offsets of the records whose findings a cause explains, rising."""
    offset = case.read.rows.offset
    return tuple(int(offset[row]) for row in sorted(best.explains)[:AFFECTED_MAX])


def _is_alone(best: Candidate, standing: list[Candidate]) -> bool:
    """Whether the best hypothesis is the only one of its kind."""
    return sum(c.name is best.name for c in standing) == 1
