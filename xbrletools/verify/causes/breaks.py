"""A break of the walk: which damage leaves it?

First single bits of headers, then runs. Then bytes missing, put in or overwritten are weighed: how many bytes there are
too many is what the grid, the first sends and the place of the next record leave open (`room`).
"""

from dataclasses import replace

from ...formats.ram import Kind
from ...ram.record import WORD
from ..cause import CauseName, Repair
from . import disks, elsewhere, flips, gaps, runs, spans
from .case import Candidate, Case
from .gaps import Found, Gap
from .grid import BUFFER, fits
from .reading import Break
from .room import MOST, Room
from .splices import is_foreign
from .walker import State, Why

_SOME, _MANY = 3, 10  # deltas over bases from before a break
_FALLS = 5e-4  # share of the weight under which a hypothesis falls
_OPEN = 0.002  # the share of the weight that is left to what no hard evidence denies
_COPIED = 0.002  # how often bytes put in or written over others are records of elsewhere, and no copy of those before
_EXACT = 1.0  # the weight of a number of bytes that the bytes themselves confirm
_LENGTHS = 10.0  # how much less one number of bytes weighs than all of them
_TWICE_LEAST = 18  # bytes of two small records, from which on a span that came twice is one
_RARELY = 0.02  # how often what was tested and found comes about by chance
_OTHER_END = 0.15  # the weight of another stream, beside one bit of the type of a section
_OTHER_BLOCK = 0.1  # the weight of records that moved, beside one bit of the address of one
_ELSEWHERE = 0.3  # the weight of records of elsewhere, beside one damage of bytes
_OF_BYTES = (CauseName.BYTES_MISSING, CauseName.BYTES_INSERTED, CauseName.BYTES_OVERWRITTEN)


def candidates(case: Case, index: int = 0) -> list[Candidate]:
    """The causes that stand for one break of the walk."""
    broken = case.read.breaks[index]
    found = flips.flips(case, index)
    is_of_another = broken.why in (Why.ADDRESS, Why.CONTINUE) and bool(found) and gaps.goes_on_elsewhere(case, broken)
    told = {flip: flips.confirmed(case, broken, flip) for flip in found} if is_of_another else {}
    if False in told.values():
        case.falls(CauseName.ADDRESS, "the sum of the page that one bit of the address gives does not hold")
        found = [flip for flip in found if told[flip] is not False]
    standing = flips.candidates(case, found)
    if not found:
        for name in flips.NAMES:
            case.falls(name, "no single bit of the headers around the break makes the walk go on")
    if standing and any(flip.row and case.sums.fails[flip.row - 1] for flip in found):
        why = "the sum of the record right before fails as well, which one bit behind it does not explain"
        return [
            *standing,
            Candidate(CauseName.BYTES_OVERWRITTEN, len(found), why, broken.row, broken.at, onward=broken.at),
        ]
    if len(found) == 1 and _can_be_of_another(case, broken, found[0]):
        standing = [replace(c, repair=None) for c in standing]
        why = "RAM's PART and END can be those of two streams"
        standing.append(Candidate(CauseName.SPLICED, _OTHER_END, why, broken.row, broken.at, onward=broken.at))
    elif len(found) == 1 and told.get(found[0], True) is None:
        twice = _repeated(case, broken)
        if twice:
            return twice
        standing = [replace(c, repair=None) for c in standing]
        why = "as of another block the record reads as it is, and no sum tells of which it is"
        names = (CauseName.RECORDS_REORDERED, CauseName.RECORDS_MISSING)
        standing += [Candidate(n, _OTHER_BLOCK, why, broken.row, broken.at, onward=broken.at) for n in names]
    elif len(found) == 1:
        for name in (*_OF_BYTES, CauseName.SPLICED):
            case.falls(name, "with the one bit flipped back all records follow each other in place")
    elif found and standing:
        why = "bytes of another record can stand there: several bits make the walk go on, and chance alone can do that"
        weight = _RARELY * sum(c.weight for c in standing)
        standing.append(Candidate(CauseName.BYTES_OVERWRITTEN, weight, why, broken.row, broken.at, onward=broken.at))
    standing += runs.candidates(case, broken)
    return (
        standing
        or _repeated(case, broken)
        or disks.candidates(case, broken)
        or elsewhere.candidates(case, broken)
        or _of_bytes(case, broken)
    )


def _can_be_of_another(case: Case, broken: Break, flip: flips.Flip) -> bool:
    """Whether a PART and an END that go together with one bit flipped back can be those of two streams."""
    if flip.name is not CauseName.SECTION_FRAMING or broken.why is not Why.SECTION or broken.spot.last is None:
        return False
    return case.crossing(flip.row)[0] < _SOME


def _repeated(case: Case, broken: Break) -> list[Candidate]:
    """Records that came twice, where one of them cannot follow the one before it: that is of another block now."""
    if broken.why not in (Why.CONTINUE, Why.ADDRESS) or broken.spot.state is not State.RECORD:
        return []
    added, data = case.grid.added(broken.row), case.read.data
    rows = case.read.rows
    starts = [broken.at]
    if broken.row and rows.kind[broken.row - 1] == Kind.EOS:  # with the head of its section
        starts.append(int(rows.offset[broken.row - 1]) + WORD)
    for start in starts:
        for size in gaps.distances(data, start):
            first = gaps.twice_from(data, start, size, rows) if size >= _TWICE_LEAST else None
            if first is not None and (added is None or fits(*added, size)):
                start = first
                why = f"{broken.why.value} at {broken.at:#x}: {size} bytes from {start:#x} on repeat those before them"
                repair = Repair(start, size, b"", f"{why}: left out")
                there = Candidate(CauseName.RECORDS_REPEATED, 1, why, broken.row, start, None, repair, onward=start)
                sure = added is not None and not added[0] <= 0 <= added[1]
                return [there] if sure else spans.or_of_elsewhere(case, there, broken.row)
    return []


def _of_bytes(case: Case, broken: Break) -> list[Candidate]:
    """Bytes missing, put in, overwritten, or records of elsewhere."""
    gap = gaps.measure(case, broken)
    room = _room(case, broken, gap)
    said = _said(case, broken, gap)
    weights = _weights(case, broken, gap, room)
    for name, likely in zip(_OF_BYTES, case.pace.allows(broken.row) if case.pace else (), strict=False):
        weights[name] *= likely
    for name, weight in _of_records(case, broken, gap, room).items():
        weights[name] = weights.get(name, 0) + weight
    if broken.why in (Why.ADDRESS, Why.CONTINUE) and gaps.goes_on_elsewhere(case, broken):
        most = max(weights.values())
        in_place = fits(room.low, room.high, 0)  # what moved leaves a hole in the first sends as well
        weights |= {CauseName.RECORDS_MISSING: 3 * most, CauseName.RECORDS_REORDERED: 1.5 * most * in_place}
        if CauseName.SPLICED not in case.fell:
            weights[CauseName.SPLICED] = max(most, weights.get(CauseName.SPLICED, 0))
    total = sum(weights.values())
    for name, can_be in zip(_OF_BYTES, (room.low < 0, room.high > 0, room.allows(0)), strict=True):
        weights[name] = max(weights[name], _OPEN * total * (can_be))
    standing = []
    for name, weight in weights.items():
        if weight <= _FALLS * total:
            case.falls(name, f"the bytes up to where the walk goes on do not allow for it: {said}")
        else:
            standing.append(Candidate(name, weight / total, said, broken.row, gap.offset, onward=gap.offset))
    if not standing:
        return [Candidate(CauseName.UNKNOWN, 1, said, broken.row, gap.offset, onward=gap.offset)]
    return standing


def _room(case: Case, broken: Break, gap: Gap) -> Room:
    added = case.grid.added(broken.row)
    low, high = (-BUFFER // 2, BUFFER // 2) if added is None else added
    swept = None if gap.found is Found.SHORT else gaps.swept(case, broken, gap)
    hole = MOST if gap.resumes is None else gap.resumes - broken.at
    if gap.found is Found.SHORT and gap.resumes is not None:
        hole = gap.resumes - gap.offset
    if gap.found is Found.NOT_PUT_IN and gap.added is not None:
        hole = gap.added
    exact = None if swept is None else frozenset(swept)
    return Room(low, high, exact, hole, case.read.page_size * (gap.found is Found.PUSHED), case.sizes)


def _said(case: Case, broken: Break, gap: Gap) -> str:
    said = f"{broken.why.value} at {broken.at:#x}; {gap.found.value}"
    if gap.resumes is not None:
        said += f"; the walk goes on at {gap.resumes:#x}"
    added = case.grid.added(broken.row)
    if added is not None:
        said += f"; by the grid {added[0]} to {added[1]} bytes were added before the next PART's end"
    paced = None if case.pace is None else case.pace.added(broken.row)
    if paced is not None:
        said += f"; by the sender's pace {paced[0]} to {paced[1]} bytes were added to this PART"
    return said


def _weights(case: Case, broken: Break, gap: Gap, room: Room) -> dict[CauseName, float]:
    """The weights of bytes missing, put in and overwritten."""
    missing, put_in, in_place = room.missing(), room.put_in(), room.in_place()
    if gap.found is Found.SHORT:
        exact = gap.added is not None and room.allows(gap.added)
        missing = max(_EXACT * (exact and not gap.refuted) / _LENGTHS, missing)
        in_place = _EXACT if gap.by_length else _RARELY * in_place
        missing *= not gap.by_length
        if gaps.begins_anew(case, gap) and room.allows((gap.resumes or 0) - gap.offset):
            put_in, missing, in_place = _EXACT, _RARELY * missing, _RARELY * in_place
    if gap.found is Found.PUT_IN and gap.added is not None:
        whole = room.allows(gap.added)
        put_in = max(put_in, whole * (_EXACT if gap.sure else 1 / gap.added) / _LENGTHS)
        missing, in_place = (_RARELY * missing, _RARELY * in_place) if gap.sure and whole else (missing, in_place)
    if gap.found is Found.PUSHED and gap.added is not None:
        row = int(case.chains.carriers[case.place(broken.row) - 1])
        fit = gaps.page_without(case, row, gap.added) if room.allows(gap.added) else None  # sums fit by chance as well
        put_in = put_in if fit is None else max(put_in, 1.0) if fit else replace(room, behind=0).put_in()
    if any(room.allows(size) for size in gaps.came_twice(case, broken, gap)):
        put_in = max(put_in, _EXACT)
    put_in += _COPIED * room.copied()
    in_place += _COPIED * room.allows(0) * float(case.sizes[1, -1])
    if gap.resumes is not None and gap.found in (Found.UNREAD, Found.PUSHED, Found.NOT_PUT_IN) and room.allows(0):
        in_place = max(in_place, 1.0) if gaps.ends_in_place(case, broken, gap.resumes) else in_place
    return dict(zip(_OF_BYTES, (missing, put_in, in_place), strict=True))


def _of_records(case: Case, broken: Break, gap: Gap, room: Room) -> dict[CauseName, float]:
    """The weights of records of elsewhere, and of those that are missing or moved where the block changes."""
    holds, fails = case.crossing(broken.row)
    weights: dict[CauseName, float] = {}
    any_ = _ELSEWHERE * room.anything()
    if holds >= _SOME and fails <= holds:
        case.falls(CauseName.SPLICED, f"{holds} deltas over bases from before the break hold")
    elif is_foreign(case.foreign(broken.row)) and case.turns(broken.row) and holds < _SOME:
        weights[CauseName.SPLICED] = 30 * max(any_, room.missing(), room.in_place(), room.put_in())
    elif fails >= _SOME and fails > 4 * holds:
        many = 15 if holds == 0 and fails >= _MANY else 1.5
        weights[CauseName.SPLICED] = many * max(any_, room.missing(), room.in_place(), room.put_in())
    else:
        weights[CauseName.SPLICED] = any_ * case.strangeness(broken.row)
    return weights
