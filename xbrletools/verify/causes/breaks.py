"""A break of the walk: which damage leaves it?

First single bits of headers, then runs. Then bytes missing, put in or overwritten are weighed: how many bytes there are
too many is what the grid, the first sends and the place of the next record leave open. A small number of lost bytes is
taken to be as likely as a large one, in proportion.
"""

import math
from dataclasses import dataclass

from ...ram.record import FILL, WORD
from ..cause import CauseName
from . import elsewhere, flips, gaps, runs
from .case import Candidate, Case
from .gaps import Found, Gap
from .grid import BUFFER, fits
from .reading import Break
from .splices import is_foreign
from .walker import Why

_MOST = 30000  # bytes that a damage loses or puts in, for the weight of a number of bytes
_SOME, _MANY = 3, 10  # deltas over bases from before a break
_RECORD = WORD + FILL  # bytes of the smallest record
_IN_PLACE = 1000.0  # how much more the bytes say so where the record that was hit ends in place
_FALLS = 5e-4  # share of the weight under which a hypothesis falls
_OF_BYTES = (CauseName.BYTES_MISSING, CauseName.BYTES_INSERTED, CauseName.BYTES_OVERWRITTEN)

#: How well each finding goes with bytes missing, put in and overwritten.
_GOES_WITH = {
    Found.SHORT: (1.0, 0.0, 0.02),
    Found.PUT_IN: (0.02, 1.0, 0.02),
    Found.NOT_PUT_IN: (0.5, 0.05, 1.0),
    Found.PUSHED: (0.5, 1.0, 0.5),
    Found.UNREAD: (0.7, 0.3, 1.0),
    Found.NOTHING: (0.7, 0.3, 0.7),
}


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes can have been added before the walk goes on: those in [``low``, ``high``], modulo the grid.

    ``exact``: where first sends say so, just these numbers. ``hole`` is the bytes of what does not read, which held
    whole records before. So at least ``least`` bytes are missing, where any are. ``behind`` a whole PAGE all of the
    hole can have been put in.
    """

    low: int
    high: int
    exact: frozenset[int] | None
    hole: int
    behind: bool

    @property
    def least(self) -> int:
        """The fewest bytes that can be missing."""
        return max(1, _RECORD - self.hole)

    @property
    def width(self) -> int:
        """The bytes that the grid leaves open."""
        return self.high - self.low + 1

    def allows(self, added: int) -> bool:
        """Whether this number of bytes can have been added."""
        whole = self.behind and added == self.hole
        if not whole and self.hole - added < _RECORD:
            return False
        if not fits(self.low, self.high, added):
            return False
        return self.exact is None or added in self.exact

    def weight(self, missing: bool) -> float:
        """The weight of all numbers of bytes that can be missing, or else have been put in."""
        if self.exact is not None:
            numbers = [n for n in self.exact if (n < 0) == missing and n and self.allows(n)]
            return sum(1 / abs(n) for n in numbers) / math.log(_MOST)
        total = 0.0
        for turn in (0, -BUFFER, BUFFER):
            low, high = self.low + turn, self.high + turn
            if missing:
                low, high = -high, -low
            low, high = max(self.least if missing else 1, low), min(high, _MOST if missing else self.hole - _RECORD)
            if low <= high:
                total += math.log((high + 1) / low)
        if not missing and self.behind and self.allows(self.hole):
            total += 1
        return min(1.0, total / math.log(_MOST))


def candidates(case: Case, index: int = 0) -> list[Candidate]:
    """The causes that stand for one break of the walk."""
    broken = case.read.breaks[index]
    found = flips.flips(case, index)
    standing = flips.candidates(case, found)
    if not found:
        for name in flips.NAMES:
            case.falls(name, "no single bit of the headers around the break makes the walk go on")
    standing += runs.candidates(case, broken)
    return standing or elsewhere.candidates(case, broken) or _of_bytes(case, broken)


def _of_bytes(case: Case, broken: Break) -> list[Candidate]:
    """Bytes missing, put in, overwritten, or records of elsewhere."""
    gap = gaps.measure(case, broken)
    room = _room(case, broken, gap)
    said = _said(case, broken, gap)
    weights = _weights(case, broken, gap, room)
    for name, weight in _of_records(case, broken, gap, room).items():
        weights[name] = weights.get(name, 0) + weight
    total = sum(weights.values())
    standing = []
    for name, weight in weights.items():
        if weight <= _FALLS * total:
            case.falls(name, f"the bytes up to where the walk goes on do not allow for it: {said}")
        else:
            standing.append(Candidate(name, weight / total, said, broken.row, gap.offset))
    if not standing:
        return [Candidate(CauseName.UNKNOWN, 1, said, broken.row, gap.offset)]
    return standing


def _room(case: Case, broken: Break, gap: Gap) -> Room:
    added = case.grid.added(broken.row)
    low, high = (-BUFFER // 2, BUFFER // 2) if added is None else added
    swept = None if gap.found is Found.SHORT else gaps.swept(case, broken, gap)
    hole = _MOST if gap.resumes is None else gap.resumes - broken.at
    if gap.found is Found.SHORT and gap.resumes is not None:
        hole = gap.resumes - gap.offset
    behind = gap.found is Found.PUSHED
    return Room(low, high, None if swept is None else frozenset(swept), hole, behind)


def _said(case: Case, broken: Break, gap: Gap) -> str:
    said = f"{broken.why.value} at {broken.at:#x}; {gap.found.value}"
    if gap.resumes is not None:
        said += f"; the walk goes on at {gap.resumes:#x}"
    added = case.grid.added(broken.row)
    if added is not None:
        said += f"; by the grid {added[0]} to {added[1]} bytes were added before the next PART's end"
    return said


def _weights(case: Case, broken: Break, gap: Gap, room: Room) -> dict[CauseName, float]:
    """The weights of bytes missing, put in and overwritten."""
    missing, put_in, overwritten = _GOES_WITH[gap.found]
    missing_room, put_in_room, in_place = room.weight(True), room.weight(False), float(room.allows(0))
    if gap.added is not None and gap.found is Found.SHORT:
        missing_room = 0.0 if gap.refuted else max(float(room.allows(gap.added)), missing_room)
        in_place = 1.0 if gap.by_length else in_place
        overwritten, missing = (1.0, 0.0) if gap.by_length else (overwritten, missing)
    if gap.added is not None and gap.found is Found.PUT_IN:
        put_in_room = float(room.allows(gap.added))
        if not gap.sure:
            missing, overwritten = 0.3, 0.3
    if gap.found is Found.PUSHED and gap.added is not None:
        put_in_room, put_in = _pushed(case, broken, gap, room, put_in_room)
    if gap.resumes is not None and gap.found in (Found.UNREAD, Found.PUSHED, Found.NOT_PUT_IN):
        if gaps.ends_in_place(case, broken, gap.resumes):
            overwritten *= _IN_PLACE
        elif room.exact is None and gaps.in_place_sizes(case, gap.resumes - broken.at):
            overwritten *= 10
    weights = (missing * missing_room, put_in * put_in_room, overwritten * in_place)
    return dict(zip(_OF_BYTES, weights, strict=True))


def _pushed(case: Case, broken: Break, gap: Gap, room: Room, put_in_room: float) -> tuple[float, float]:
    """The room for bytes put into a PAGE, or into the record after it, and how well that goes with the sums."""
    assert gap.added is not None
    row = int(case.chains.carriers[case.place(broken.row) - 1])
    fit = gaps.page_without(case, row, gap.added)
    if fit is None:
        inside = float(room.allows(gap.added))
        return max(inside, put_in_room), 1.0
    return (float(room.allows(gap.added)), 30.0) if fit else (put_in_room, 0.2)


def _of_records(case: Case, broken: Break, gap: Gap, room: Room) -> dict[CauseName, float]:
    """The weights of records of elsewhere, and of those that are missing or moved where the block changes."""
    holds, fails = case.crossing(broken.row)
    weights: dict[CauseName, float] = {}
    if holds >= _SOME and fails <= holds:
        case.falls(CauseName.SPLICED, f"{holds} deltas over bases from before the break hold")
    elif is_foreign(case.foreign(broken.row)) and holds < _SOME:
        weights[CauseName.SPLICED] = 1000.0
    elif fails >= _SOME and fails > 4 * holds:
        weights[CauseName.SPLICED] = 15.0 if holds == 0 and fails >= _MANY else 1.5
    elif room.exact is not None and room.allows(0):
        case.falls(CauseName.SPLICED, "the first sends go on as they should")
    else:
        exact = gap.found in (Found.SHORT, Found.PUT_IN) and gap.sure
        weights[CauseName.SPLICED] = (0.02 if exact else 0.3) * min(1.0, room.width / BUFFER)
    if broken.why in (Why.ADDRESS, Why.CONTINUE) and gaps.goes_on_elsewhere(case, broken):
        weights |= {CauseName.RECORDS_MISSING: 1.0, CauseName.RECORDS_REORDERED: 0.5 * room.allows(0)}
        weights[CauseName.SPLICED] = weights.get(CauseName.SPLICED, 0) + 0.4 * (holds < _SOME)
    return weights
