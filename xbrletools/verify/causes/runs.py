"""A run of a delta: its payload comes to more or less than a page, and the next record stands where it should.

One flipped bit of a run changes the payload's sum by a power of two. The runs that have that bit in the state that
fits are the candidates. Later sums of the page leave those that keep them all.
"""

import numpy as np

from ...formats.dialects import Checksum, Encoding
from ...formats.xbrle import HeaderFlag, Pair
from ...ram.record import Ending, Extent, extent
from ...table.kinds import IS_DELTA
from ..cause import CauseName, Repair
from .case import Candidate, Case
from .chains import Bytes, decode
from .reading import Break, Ints
from .walker import ANY, Spot, State, Why

_PAIR = Pair.sizeof()
_RUN_BITS = 8
_RARE = 0.03  # of changed bytes: those that change a run as one bit does
_TRIED_MAX = 2048  # repairs of one payload that are tried against later sums


def delta_at(case: Case, broken: Break) -> tuple[Extent, int] | None:
    """The delta whose payload breaks the walk, and its block, if the next record stands right after it."""
    if broken.spot.state is not State.RECORD or broken.why is not Why.RUNS:
        return None
    read = case.read
    found = extent(read.view, broken.at, read.grammar.reading)
    if found.kind is not read.grammar.delta or found.ending is not Ending.WHOLE:
        return None
    block = block_of(case, broken.spot, found)
    if not read.goes_on(broken.spot._replace(offset=found.end, block=block)):
        return None
    return found, block


def block_of(case: Case, spot: Spot, found: Extent) -> int:
    """The block of a record at a spot. `ANY` where it is not known."""
    if case.read.grammar.flat:
        return 0
    names = {b.name: i for i, b in enumerate(case.read.grammar.blocks)}
    return max(spot.block, ANY) if found.name is None else names.get(found.name, ANY)


def page_of(case: Case, block: int, address: int) -> int:
    """The page at ``address`` of a block. -1 where there is none."""
    space = case.read.space
    place = address // space.page_size
    return int(space.first[block]) + place if 0 <= block < len(space.pages) and place < space.pages[block] else -1


def candidates(case: Case, broken: Break) -> list[Candidate]:
    """What a payload that does not come to one page, of a delta in place, speaks for."""
    there = delta_at(case, broken)
    if there is None:
        return []
    found, block = there
    read = case.read
    payload = read.data[found.payload : found.end]
    page = page_of(case, block, found.address)
    dialect = read.grammar.reading.dialect
    if dialect is not None and dialect.encoding is Encoding.RLE:
        places, fixed, excess = _one_run(payload, read.page_size)
    else:
        places, fixed, excess = _one_bit(case, payload)
    if not len(places):
        case.falls(CauseName.PAYLOAD_RUN, "no single bit of a run makes the payload come to one page")
        return []
    standing = [i for i in range(len(places)) if _keeps(case, page, broken, found, fixed[i])]
    if not standing:
        case.falls(CauseName.PAYLOAD_RUN, "no single bit of a run keeps the sums of its page")
        why = "the payload does not come to one page, the next record is in place, and no single bit keeps the sums"
        return [Candidate(CauseName.BYTES_OVERWRITTEN, 1, why, broken.row, found.payload, onward=broken.at)]
    first, bit = int(places[standing[0]][0]), int(places[standing[0]][1])
    repair = None
    others = _other_runs(case, page, broken, found, payload, excess) if len(standing) == 1 else 0
    if len(standing) == 1 and not others:
        why = "the only bit of a run that makes the payload come to one page and keeps every later sum of its page"
        repair = Repair(found.payload + first, 1, bytes([fixed[standing[0]][first]]), why)
    alone = len(standing) == 1
    why = f"{_form(excess)}, and {'only one bit' if alone else f'each of {len(standing)} bits'} of a run mends that"
    offset = found.payload + first if alone else found.payload
    out = [Candidate(CauseName.PAYLOAD_RUN, 1, why, broken.row, offset, bit if alone else None, repair, (), broken.at)]
    if others:
        chance = _RARE * others
        why = f"{_form(excess)}, and another length of {others} runs mends that too, in more than one bit"
        out.append(Candidate(CauseName.BYTES_OVERWRITTEN, chance, why, broken.row, found.payload, onward=broken.at))
    if not alone:  # other changes of the payload leave one that a bit of a run mends about as often
        chance = len(standing) / (8 * min(len(payload), _TRIED_MAX))
        why = f"{_form(excess)}, and {len(standing)} bits of a run mend that, as they may after another change"
        out.append(Candidate(CauseName.BYTES_OVERWRITTEN, chance, why, broken.row, found.payload, onward=broken.at))
    return out


def _other_runs(case: Case, page: int, broken: Break, found: Extent, payload: Bytes, excess: int) -> int:
    """How many runs can have had another length, by more than one bit, so that all sums of the page hold."""
    dialect = case.read.grammar.reading.dialect
    if dialect is None or dialect.encoding is not Encoding.RLE or not excess:
        return 0
    runs = payload[::_PAIR].astype(np.int64)
    length = runs - excess
    change = runs ^ length
    which = np.flatnonzero((length >= 1) & (length < 1 << _RUN_BITS) & ((change & (change - 1)) != 0))[:_TRIED_MAX]
    count = 0
    for place in which.tolist():
        fixed = payload.copy()
        fixed[_PAIR * place] = length[place]
        count += _keeps(case, page, broken, found, fixed)
    return count


def _form(excess: int) -> str:
    """What is wrong with a payload that comes to so many bytes more than a page. 0: its runs do not read to its end."""
    if not excess:
        return "the payload does not read as runs that come to one page"
    bytes_ = "1 byte" if abs(excess) == 1 else f"{abs(excess):,} bytes"
    return f"the payload comes to {bytes_} {'more' if excess > 0 else 'less'} than a page"


def _one_run(payload: Bytes, page_size: int) -> tuple[Ints, list[Bytes], int]:
    """The (place, bit) of runs whose flip makes the payload come to one page, and the payloads with it."""
    runs = payload[::_PAIR].astype(np.int64)
    if len(payload) % _PAIR:
        return np.empty((0, 2), np.int64), [], 0
    missing = page_size - int(runs.sum())
    bit = abs(missing).bit_length() - 1
    if not missing or abs(missing).bit_count() != 1 or bit >= _RUN_BITS:
        return np.empty((0, 2), np.int64), [], -missing
    which = np.flatnonzero(((runs >> bit) & 1) == (missing < 0))[:_TRIED_MAX]
    return (
        np.stack([_PAIR * which, np.full(len(which), bit)], 1),
        [_flipped(payload, _PAIR * i, bit) for i in which],
        -missing,
    )


def _one_bit(case: Case, payload: Bytes) -> tuple[Ints, list[Bytes], int]:
    """The (place, bit) of all bits whose flip makes the payload come to one page: other codings than pairs."""
    blank = np.zeros(case.read.page_size, np.uint8)
    places, fixed = [], []
    for place in range(min(len(payload), _TRIED_MAX)):
        for bit in range(8):
            flipped = _flipped(payload, place, bit)
            if decode(case.read, flipped, blank) is not None:
                places.append((place, bit))
                fixed.append(flipped)
    return np.array(places, np.int64).reshape(-1, 2), fixed, 0


def _flipped(payload: Bytes, place: int, bit: int) -> Bytes:
    new = payload.copy()
    new[place] ^= np.uint8(1 << bit)
    return new


def _keeps(case: Case, page: int, broken: Break, found: Extent, payload: Bytes) -> bool:
    """Whether a payload keeps the sum that its record states, and all later ones of its page."""
    chains, read = case.chains, case.read
    base = chains.base_of(page, broken.row)
    if base is None or not chains.is_xor:
        return True
    new = decode(read, payload, base)
    if new is None:
        return False
    stated = sum_of(case, found)
    if stated is not None and int(new.sum(dtype=np.int64)) != stated:
        return False
    later = chains.of(page)
    later = later[later >= broken.row]
    full = [i for i, r in enumerate(later.tolist()) if chains.is_full(r)]
    return chains.failing(later[: full[0]] if full else later, new) == 0


def sum_of(case: Case, found: Extent) -> int | None:
    """The byte sum that a delta states of its page, or None where it states none."""
    dialect = case.read.grammar.reading.dialect
    if dialect is None or found.checksum is None or dialect.checksum is Checksum.NONE or not IS_DELTA[found.kind]:
        return None
    if dialect.checksum is Checksum.FLAGGED and not found.header_flags & HeaderFlag.CHECKSUM:
        return None
    return ~found.checksum & 0xFFFFFFFF if dialect.checksum is Checksum.COMPLEMENT else found.checksum
