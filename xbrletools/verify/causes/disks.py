"""A break behind a chunk of a disk: a chunk has one size, so where the next record stands says how many bytes moved.

What follows a chunk is the next record of its section, or the section's EOS with its footer and another section behind
it. Layouts are those of formats/README.md, "The block section".
"""

from collections.abc import Iterator

from ...formats import block as disk
from ...formats import qevm
from ...formats.qevm import SectionType
from ...ram.record import WORD
from ..cause import CauseName
from .case import Candidate, Case
from .grid import fits
from .reading import Break
from .walker import ID, State

_NAME_MAX = 255
_FLAGS = (1 << disk.SECTOR_BITS) - 1
_EOS = int(disk.Flag.EOS).to_bytes(WORD)
_HITS_MAX = 200  # places that are tried
_REACH = disk.CHUNK // 2  # bytes behind a chunk in which what follows it is looked for: not behind the next chunk
_SOME = 3  # deltas over bases from before a break
_ELSEWHERE = 0.05  # the weight of another stream that goes on with the same section
_ACROSS = 0.3  # the weight of bytes missing from the end of a chunk on, beside bytes overwritten there
_IN_EOS = 0.05  # the same of bytes put into the few behind it
_IDLE = 2.0  # the weight of overwritten sections without records, where they fill what there is too much


def candidates(case: Case, broken: Break) -> list[Candidate]:
    """The causes of a break right behind a chunk of a disk. None where it is another break."""
    if broken.spot.state is not State.DISK:
        return []
    start = _chunk(case, broken.at)
    if start is None:
        return []
    said = f"{broken.why.value} at {broken.at:#x}, behind the chunk of a disk that begins at {start:#x}"
    added = _moved(case, broken, start)
    low_high = case.grid.added(broken.row)
    if added is None or (low_high is not None and not fits(*low_high, added)):
        return _across(case, broken, start, said)
    name, word = (CauseName.BYTES_INSERTED, "too many") if added > 0 else (CauseName.BYTES_MISSING, "missing")
    count = "one byte is" if abs(added) == 1 else f"{abs(added)} bytes are"
    why = f"{said}: what follows it stands at {broken.at + added:#x}, so {count} {word}"
    standing = [Candidate(name, 1, why, broken.row, start, onward=start)]
    if added > 0 and added % _idle(case) == 0 and (low_high is None or fits(*low_high, 0)):
        also = f"{said}: sections without records fill the {added} bytes up to {broken.at + added:#x}"
        standing.append(Candidate(CauseName.BYTES_OVERWRITTEN, _IDLE, also, broken.row, broken.at, onward=start))
    for other in (CauseName.BYTES_INSERTED, CauseName.BYTES_MISSING, CauseName.BYTES_OVERWRITTEN):
        if all(other is not c.name for c in standing):
            case.falls(other, f"what follows the chunk of a disk stands {abs(added)} bytes from where it belongs")
    holds, _ = case.crossing(broken.row)
    if holds >= _SOME:
        case.falls(CauseName.SPLICED, f"{holds} deltas over bases from before the break hold")
    else:
        standing.append(Candidate(CauseName.SPLICED, _ELSEWHERE, said, broken.row, start, onward=start))
    return standing


def _idle(case: Case) -> int:
    """The bytes of a section of RAM and one of disks, both without records."""
    footer = qevm.Footer.sizeof() if case.read.grammar.footers else 0
    return 2 * (1 + ID + WORD + footer)


def _across(case: Case, broken: Break, start: int, said: str) -> list[Candidate]:
    """The causes where nothing that can follow the chunk stands near its end: that was hit, too."""
    low, high = case.grid.added(broken.row) or (-1, 1)
    why = f"{said}: nothing that can follow it stands near its end"
    weights = {
        CauseName.BYTES_OVERWRITTEN: 1.0 * fits(low, high, 0),
        CauseName.BYTES_MISSING: _ACROSS * (low < 0),
        CauseName.BYTES_INSERTED: _IN_EOS * (high > 0),
    }
    if CauseName.SPLICED not in case.fell and case.crossing(broken.row)[0] < _SOME:
        weights[CauseName.SPLICED] = _ELSEWHERE
    return [Candidate(name, w, why, broken.row, start, onward=start) for name, w in weights.items() if w]


def _chunk(case: Case, end: int) -> int | None:
    """Where the record of a chunk begins that ends at ``end``, or None where none does."""
    data = case.read.view
    for size in range(1, _NAME_MAX + 1):
        length = end - disk.CHUNK - size - 1
        if length < WORD:
            return None
        name = bytes(data[length + 1 : length + 1 + size])
        word = int.from_bytes(data[length - WORD : length])
        if data[length] == size and word & _FLAGS == disk.Flag.DEVICE_BLOCK and all(0x20 < c < 0x7F for c in name):
            return length - WORD
    return None


def _moved(case: Case, broken: Break, start: int) -> int | None:
    """How many bytes behind the end of the chunk at ``start`` what follows it stands. None where that is not found."""
    spot = broken.spot
    for place in _followers(case, start, broken.at + _REACH):
        if place != spot.offset and case.read.goes_on(spot._replace(offset=place)):
            return place - spot.offset
    return None


def _followers(case: Case, start: int, stop: int) -> Iterator[int]:
    """Where what can follow the chunk at ``start`` stands: the next of its records, or the EOS of its section."""
    data, grammar = case.read.view, case.read.grammar
    size = data[start + WORD]
    name = bytes(data[start + WORD : start + WORD + 1 + size])
    first = start + WORD + len(name)
    ids = [number for number, owner in grammar.owners.items() if owner == disk.IDSTR]
    ends = [_EOS + qevm.Footer.build({"section_id": i}) for i in ids] if grammar.footers else [_EOS]
    hits = [(end, 0) for end in ends] + [(name, WORD)]
    places = {p for pattern, before in hits for p in _found(data, pattern, before, first, stop)}
    heads = {bytes([kind]) + i.to_bytes(ID) for kind in (SectionType.PART, SectionType.END) for i in ids}
    for place in sorted(places)[:_HITS_MAX]:
        while int.from_bytes(data[place - WORD : place]) & _FLAGS == disk.Flag.PROGRESS and place - WORD >= first:
            place -= WORD
        if bytes(data[place - 1 - ID : place]) not in heads:  # else it is the first of a later section
            yield place


def _found(data: memoryview, pattern: bytes, before: int, first: int, stop: int) -> Iterator[int]:
    """Where ``pattern`` stands, less ``before``, as far as that is from ``first`` on and before ``stop``."""
    part = bytes(data[first : stop + len(pattern)])
    at = part.find(pattern, before)
    for _ in range(_HITS_MAX):
        if at < 0:
            return
        yield first + at - before
        at = part.find(pattern, at + 1)
