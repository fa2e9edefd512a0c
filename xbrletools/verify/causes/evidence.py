"""What shows without a break of framing or order: sums that fail, and pages that were not as the sender had them.

Each chain of a page that fails is weighed by itself, since each can be another damage.
"""

from dataclasses import replace

import numpy as np

from ...ram.record import INT
from ..cause import CauseName, Repair
from . import across, spans, values
from .case import Candidate, Case
from .chains import Reads

RECORD_LEAST = 26  # bytes of the smallest delta with its header
SHARE = 0.05  # of the weight of bytes written over others, or of missing records, that the other has at least
LEAST = 1e-12  # the least weight
LISTED = 4096  # records that a cause lists
CHAINS_MAX = 8  # chains that are weighed each by itself
RARE = 0.03  # of bytes written over others: those that look as one flipped bit does
_SUM_BITS = 32  # of a PAGE's own sum
_MOVES = 4  # failing chains up to which a record of another page is looked for
#: What can leave a page other than its sender had it, where no sum tells.
_WRONG_BASE: tuple[tuple[CauseName, int], ...] = (
    (CauseName.PAYLOAD_RUN, 3),
    (CauseName.RECORDS_MISSING, 2),
    (CauseName.PAYLOAD_VALUE, 1),
    (CauseName.PAGE_CONTENT, 1),
    (CauseName.BYTES_OVERWRITTEN, 1),
    (CauseName.BASE_WRONG, 1),
)
#: The same of several pages.
_WRONG_BASES: tuple[tuple[CauseName, int], ...] = (
    (CauseName.RECORDS_MISSING, 3),
    (CauseName.BASE_WRONG, 2),
    (CauseName.BYTES_OVERWRITTEN, 1),
)
_OF_ONE_PAGE = (CauseName.PAYLOAD_RUN, CauseName.PAYLOAD_VALUE, CauseName.PAGE_CONTENT)


def unexplained(case: Case) -> list[Candidate]:
    """What is out of order, and no hypothesis explains."""
    walk = case.order
    places = walk.odd[:LISTED].tolist() + [p for p, _ in walk.holes] + walk.twice[:LISTED].tolist()
    idle = np.flatnonzero(case.sums.idle)[:LISTED].tolist()
    rows = [int(case.chains.carriers[p]) for p in places] + idle
    if not rows:
        return []
    row = min(rows)
    offset = int(case.read.rows.offset[row])
    if idle and row == idle[0] and not places:
        return _wrong_base(case, idle)
    why = "records are out of the sender's order, or rest on what is not there, and no hypothesis explains it"
    return [Candidate(CauseName.UNKNOWN, 1, why, row, offset, explains=tuple(sorted(rows)))]


def _wrong_base(case: Case, idle: list[int]) -> list[Candidate]:
    """Deltas, at these rows, with a literal that their page has already. A flipped bit is in one page only."""
    why = "a literal of this delta stands in its page already, which no sender writes: the page was another one"
    pages = len(set(case.read.page[idle].tolist()))
    names = _WRONG_BASE if pages == 1 else _WRONG_BASES
    if pages > 1:
        why += f", and so were {pages - 1} more"
        for name in _OF_ONE_PAGE:
            case.falls(name, f"{pages} pages were other ones, and this changes only one")
    offset = int(case.read.rows.offset[idle[0]])
    return [Candidate(n, w, why, idle[0], offset, explains=tuple(idle)) for n, w in names if n not in case.fell]


def page_sums(case: Case) -> list[Candidate]:
    """A PAGE whose own sum fails: later deltas tell whether the page or its sum is wrong."""
    if len(case.sums.pages) != 1 or case.order.holes:
        return []
    row = int(case.sums.pages[0])
    page = int(case.read.page[row])
    start, _ = case.chains.span(row)
    _, steps = values.segment(case.chains, page, row)
    speaking = [s for s in steps if s.speaks]
    explains = tuple(s.row for s in speaking if s.reads is Reads.FAILS)
    later = [s for s in speaking if s.row != row]
    wrong = (int(case.chains.sums[row]) ^ (int(case.chains.sums[row]) - steps[0].need)) & 0xFFFFFFFF
    why = f"the PAGE's own sum is {steps[0].need:+} from its bytes"
    bits = values.content_bits(case, row, speaking)
    out = []
    if later and not any(s.reads is Reads.FAILS for s in later):
        why += f", and {len(later)} later deltas over it hold"
        if wrong.bit_count() != 1:
            return [Candidate(CauseName.BYTES_OVERWRITTEN, 1, why, row, start - INT, explains=explains)]
        return [_own_sum(case, row, start - INT, wrong, why, 1.0, explains)]
    if bits:
        weight = bits / (8 * case.read.page_size)
        said = f"{why}: one bit of {bits} that fit, with {len(later)} later deltas"
        out.append(Candidate(CauseName.PAGE_CONTENT, weight, said, row, start, explains=explains))
    if wrong.bit_count() == 1 and not later:
        own = _own_sum(case, row, start - INT, wrong, why, 1 / _SUM_BITS, explains)
        out.append(replace(own, repair=None) if bits else own)
    weight = RARE * sum(c.weight for c in out) if out else 1
    return [*out, Candidate(CauseName.BYTES_OVERWRITTEN, weight, why, row, start, explains=explains)]


def _own_sum(
    case: Case, row: int, offset: int, wrong: int, why: str, weight: float, explains: tuple[int, ...]
) -> Candidate:
    """One flipped bit of a PAGE's own sum, which is big-endian."""
    bit = wrong.bit_length() - 1
    at = offset + INT - 1 - bit // 8
    repair = Repair(at, 1, bytes([int(case.read.data[at]) ^ 1 << bit % 8]), why)
    return Candidate(CauseName.CHECKSUM_FIELD, weight, why, row, at, bit % 8, repair, explains)


def of_sums(case: Case) -> list[list[Candidate]]:
    """Only sums of deltas fail: a record of another page, or what each failing chain speaks for."""
    first = case.sums.first[: CHAINS_MAX + 1].tolist()
    moves = spans.address_by_sums(case) if len(first) <= _MOVES else []
    if len(first) == 1 or moves:
        return [_of_chain(case, first[0], moves, len(first) == 1)]
    if len(first) > CHAINS_MAX or any(_lost(case, row) for row in first):
        return [_of_chain(case, first[0], [], False)]
    return [_of_chain(case, row, [], True) for row in first]


def _lost(case: Case, row: int) -> bool:
    """Whether the grid allows for a record that is missing before ``row``."""
    added = case.grid.added(row)
    return added is None or added[0] <= -RECORD_LEAST


def _of_chain(case: Case, row: int, out: list[Candidate], alone: bool) -> list[Candidate]:
    """What stands for the chain that first fails at ``row``."""
    out = out + (values.candidates(case, row) if alone else [])
    offset = int(case.read.rows.offset[row])
    explains = tuple(case.sums.first[:LISTED].tolist())
    lost = _lost(case, row)
    if not out:
        why = "no single bit makes the sums hold"
        over = values.overwritten_weight(case, row) if lost else 1.0
        missing = values.missing_weight(case, row) if lost else 0.0
        over = max(over, SHARE * missing, LEAST)
        out = [Candidate(CauseName.BYTES_OVERWRITTEN, over, why, row, offset, explains=explains)]
        if lost:
            why += ", and the grid allows for missing records"
            missing = max(missing, SHARE * over)
            out.append(Candidate(CauseName.RECORDS_MISSING, missing, why, row, offset, explains=explains))
        out += _moved(case, row, alone)
    elif lost:
        weight = values.missing_weight(case, row)
        out.append(Candidate(CauseName.RECORDS_MISSING, weight, "the grid allows for missing records", row, offset))
    else:
        case.falls(CauseName.RECORDS_MISSING, "the grid does not allow for missing records")
    return out


def _moved(case: Case, row: int, alone: bool) -> list[Candidate]:
    """What else leaves sums wrong that no bit explains: records of another block, and bases that none gave."""
    offset, several = int(case.read.rows.offset[row]), len(case.sums.first) > 1
    out = []
    if across.can_be(case, row):
        why = "a block is named nearby: records that changed places there can be read as of another block"
        out.append(Candidate(CauseName.RECORDS_REORDERED, 1 if several else SHARE, why, row, offset))
    if not alone:
        why = "more pages than one damage of bytes reaches fail their sums"
        out.append(Candidate(CauseName.BASE_WRONG, 1, why, row, offset))
    return out
