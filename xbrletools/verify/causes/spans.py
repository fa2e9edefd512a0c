"""Records that moved: repeated, exchanged with their neighbours, missing, or of another address.

The framing is whole. The walk's order, the grid and the sums say what became of the records.
"""

from dataclasses import replace

import numpy as np

from ...arrays import overlapped
from ...ram.record import WORD
from ..cause import CauseName, Repair
from . import across, grid, order
from .case import Candidate, Case
from .gaps import record_sizes
from .grid import BUFFER
from .reading import Ints
from .values import segment

_SECTIONS_MAX = 4  # sections in a row that came twice
_PLACES_MAX = 8  # odd places whose record is tried at other addresses
_MOVES_MAX = 1500  # records at other pages that are tried
_PAGES_MAX = 16  # pages that an odd record is tried at
_RARE = 0.03  # of overwritten addresses: those that one bit puts right
_MOVED_HERE = 0.05  # of records that come twice: those that changed places
_NEAR = 1 << 17  # bytes of two spans that changed places, up to which that is certain
_SOME = 3  # deltas that hold, from which on what follows is of the same stream
_ELSEWHERE = 0.1  # the weight of records of elsewhere that are the same as those before them
_ANCHOR = 32  # bytes that are looked for before
_TWICE_MOST = 1 << 21  # bytes of a span that came twice
_EQUAL = 0.7  # how often spans that changed places have as many records
_CHAINS_MAX = 6
_LOOKED = 400  # pages left out that are looked for
_TURNS = (0, -1, 1, -2, -3, -4, 2)  # of the grid


def _trouble(case: Case, pages: Ints) -> int:
    """How many places break the laws of the walk, for other pages of the same records."""
    return order.trouble(pages, case.order.starts, case.read.grammar.modern)


def other_page(case: Case, row: int, bit: int) -> int | None:
    """The page of a record with one bit of its address flipped. None where its block has none there."""
    read = case.read
    address = int(read.rows.address[row]) ^ (1 << bit)
    block = int(read.rows.block[row])
    if block >= len(read.grammar.blocks) or address >= read.grammar.blocks[block].length:
        return None
    return int(read.page[row]) + (address - int(read.rows.address[row])) // read.page_size


def address_bits(case: Case) -> range:
    """The bits of an address that can be set."""
    read = case.read
    longest = max(b.length for b in read.grammar.blocks)
    return range(read.page_size.bit_length() - 1, (longest - 1).bit_length())


def moved(case: Case, row: int, to: int) -> tuple[int, int]:
    """How many steps of both pages fail if a record was for page ``to``: before, and then."""
    chains, wrong = case.chains, case.sums.fails | case.sums.baseless
    before = after = 0
    for page, leaves in ((int(case.read.page[row]), True), (to, False)):
        rows = chains.of(page)
        near = chains.around(rows, row)
        before += int(wrong[rows].sum())
        after += int(wrong[np.setdiff1d(rows, near)].sum())
        near = near[near != row] if leaves else np.sort(np.append(near, row))
        after += chains.failing(near)
    return before, after


def _address(case: Case, row: int, bit: int, why: str, alone: bool, explains: tuple[int, ...] = ()) -> Candidate:
    offset = int(case.read.rows.offset[row]) + WORD - 1 - bit // 8
    repair = None
    if alone:
        repair = Repair(offset, 1, bytes([int(case.read.data[offset]) ^ 1 << bit % 8]), why)
    return Candidate(CauseName.ADDRESS, 1, why, row, offset, bit % 8, repair, explains)


def address_by_order(case: Case) -> list[Candidate]:
    """Records out of the walk's order that one bit of their address puts right, with the sums of both pages."""
    walk = case.order
    odd = walk.odd[:_PLACES_MAX].tolist() + [p for p, _ in walk.holes[:2]] + [p - 1 for p, _ in walk.holes[:2]]
    odd += walk.twice[:_PLACES_MAX].tolist()
    found: list[tuple[int, int]] = []
    for place in list(dict.fromkeys(odd))[:_PLACES_MAX]:
        if not 0 < place < len(walk.pages) - 1:
            continue
        row = int(case.chains.carriers[place])
        before, after = int(walk.pages[place - 1]), int(walk.pages[place + 1])
        for bit in address_bits(case):
            to = other_page(case, row, bit)
            if to is None:
                continue
            rises = (
                before < to < after or (walk.starts[place] and to == before) or (walk.starts[place + 1] and to == after)
            )
            if not rises:
                continue
            pages = walk.pages.copy()
            pages[place] = to
            if _trouble(case, pages) == 0 and moved(case, row, to)[1] == 0:
                found.append((row, bit))
    if not found:
        if walk.broken:
            case.falls(CauseName.ADDRESS, "no single bit of a record's address puts the walk's order right")
        return []
    loose = any(not _forced(case, row) for row, _ in found)
    explains = tuple(case.sums.first[:_PLACES_MAX].tolist())
    why = "one bit of the record's address puts the walk's order right, and the sums of both pages hold"
    out = [_address(case, row, bit, why, len(found) == 1 and not loose, explains) for row, bit in found]
    if loose:
        why = "other addresses put the walk's order right, too, if more than one bit changed"
        out.append(Candidate(CauseName.BYTES_OVERWRITTEN, _RARE * len(found), why, found[0][0], out[0].offset))
    return out


def _forced(case: Case, row: int) -> bool:
    """Whether the walk's order leaves a record one page alone, or the sums of its page do."""
    walk, place = case.order, case.place(row)
    between = int(walk.pages[place + 1] - walk.pages[place - 1]) - 1
    return between <= 1 or bool(case.chains.states[row])


def misplaced(case: Case) -> list[Candidate]:
    """A record out of the walk's order that another page, of no matter how many other bits, puts right."""
    walk = case.order
    places = [
        p for p in walk.odd[:_PLACES_MAX].tolist() + [p for p, _ in walk.holes[:2]] if 0 < p < len(walk.pages) - 1
    ]
    for place in dict.fromkeys(places[:_PLACES_MAX]):
        before, after = int(walk.pages[place - 1]), int(walk.pages[place + 1])
        row = int(case.chains.carriers[place])
        for page in range(before + 1, min(after, before + 1 + _PAGES_MAX)):
            pages = walk.pages.copy()
            pages[place] = page
            if _trouble(case, pages) == 0 and moved(case, row, page)[1] == 0:
                why = "with an address that differs in more than one bit the walk's order and the sums are right"
                offset = int(case.read.rows.offset[row])
                names = (CauseName.BYTES_OVERWRITTEN, CauseName.ADDRESS, CauseName.RECORDS_REORDERED)
                return [Candidate(name, 1, why, row, offset) for name in names]
    return []


def address_by_sums(case: Case) -> list[Candidate]:
    """Records whose page is another by one address bit, so that every failing sum of both pages holds."""
    walk = case.order
    tried: set[tuple[int, int]] = set()
    found: list[tuple[int, int]] = []
    trouble = _trouble(case, walk.pages)
    for row in case.sums.first[:_CHAINS_MAX].tolist():
        for suspect, bit, to in _suspects(case, row):
            if (suspect, to) in tried or len(tried) >= _MOVES_MAX:
                continue
            tried.add((suspect, to))
            before, after = moved(case, suspect, to)
            if after or not before:
                continue
            pages = walk.pages.copy()
            pages[case.place(suspect)] = to
            if _trouble(case, pages) <= trouble:
                found.append((suspect, bit))
    if not found:
        case.falls(CauseName.ADDRESS, "no record of another page by one address bit makes the sums hold")
    told = case.sums.speaks or not any(across.can_be(case, row) for row, _ in found)
    why = "moved to the page that is one address bit away, the record makes all sums of both pages hold"
    explains = tuple(case.sums.first[:_PLACES_MAX].tolist())
    weight = 1 / max(1, len(case.chains.carriers)) / len(address_bits(case))
    alone = told and len(found) == 1
    out = [replace(_address(case, row, bit, why, alone, explains), weight=weight) for row, bit in found]
    if not told:
        why = "a block is named nearby: records that changed places there can be read as of another block"
        row = found[0][0]
        offset = int(case.read.rows.offset[row])
        out.append(Candidate(CauseName.RECORDS_REORDERED, weight, why, row, offset))
    return out


def _suspects(case: Case, row: int) -> list[tuple[int, int, int]]:
    """Records that can have been meant for another page, because of a failure at ``row``: (row, bit, page)."""
    chains = case.chains
    page = int(case.read.page[row])
    before, _ = segment(chains, page, row)
    vouched = [s.row for s in before if s.reads.name == "HOLDS" or chains.is_full(s.row)]
    low = vouched[-1] if vouched else -1
    mine = [s.row for s in before if s.row >= low] + [row]
    out = []
    for bit in address_bits(case):
        for suspect in mine:
            to = other_page(case, suspect, bit)
            if to is not None:
                out.append((suspect, bit, to))
        there = other_page(case, row, bit)
        if there is not None:
            theirs = chains.of(there)
            out += [(int(r), bit, page) for r in theirs[(theirs > low) & (theirs <= row)].tolist()]
    return out


def repeated(case: Case) -> list[Candidate]:
    """A span that repeats the one right before it, the grid agreeing with its bytes."""
    walk, shift = case.order, case.grid.shift
    elsewhere = [] if case.repeats else _in_other_block(case)
    if elsewhere:
        return elsewhere
    if not case.repeats:
        case.falls(CauseName.RECORDS_REPEATED, "no span of records is the same as the one before it")
        return []
    shows = bool(len(walk.twice) or len(case.sums.first) or case.sums.idle.any())
    if not shows and (case.read.grammar.modern or not (shift or walk.holes or len(case.repeats) == 1)):
        return []
    amid = [r for r in case.repeats if not walk.starts[r[1] : r[1] + r[2]].any()]
    if case.read.grammar.modern and not amid:  # today's sender sends a page anew that is the same
        return []
    first, again, count = max(amid if case.read.grammar.modern else case.repeats, key=lambda r: r[2])
    start, end = case.read.rows.offset[case.chains.carriers[[first, again]]].tolist()
    size = end - start
    row = int(case.chains.carriers[again])
    added = case.grid.added(int(case.chains.carriers[again + count - 1]))
    agrees = shift is not None and any(added[0] <= size + t * BUFFER <= added[1] for t in _TURNS) if added else False
    agrees |= shift is not None and added is None and grid.fits(shift.low, shift.high, size)
    denies = shift is None and added is not None and not added[0] <= size <= added[1] and size < BUFFER // 2
    why = f"{count} records from {end:#x} on repeat the {size} bytes before them"
    repair = Repair(end, size, b"", f"{why}: left out")
    there = Candidate(CauseName.RECORDS_REPEATED, 1, why, row, end, None, repair, _rows_of(case, again, count))
    if count == 1 and shift is None:
        address = address_by_order(case)
        if address:
            return address if denies else [*(_beside(case, c) for c in address), there]
    if shift is not None and not agrees:
        splice = Candidate(
            CauseName.SPLICED, 0.85, f"{why}, and the grid has moved by another number of bytes", row, end
        )
        return [splice, Candidate(CauseName.RECORDS_REPEATED, 0.15, why, row, end)]
    if agrees or (again - first == 1 and len(walk.twice)) or not denies:
        if agrees or (added is not None and not added[0] <= 0 <= added[1]):
            return [there]
        if count > 1:
            return or_of_elsewhere(case, there, int(case.chains.carriers[again + count - 1]) + 1)
        moved_here = "a record of the same page, sent anew where a section begins, can have changed places"
        other = Candidate(CauseName.RECORDS_REORDERED, _MOVED_HERE, moved_here, row, end)
        return [replace(there, repair=None), other]
    case.falls(CauseName.RECORDS_REPEATED, "the grid has not moved by the bytes of the repeated span")
    return []


def or_of_elsewhere(case: Case, there: Candidate, after: int) -> list[Candidate]:
    """Records that came twice, which another stream can hold as well, unless what follows row ``after`` is of this."""
    holds, _ = case.crossing(after)
    if holds >= _SOME:
        case.falls(CauseName.SPLICED, f"{holds} deltas behind the span hold over bases from before it")
        return [there]
    why = "another stream can hold the same records, and neither grid nor sums tell that this one goes on"
    return [replace(there, repair=None), Candidate(CauseName.SPLICED, _ELSEWHERE, why, there.row, there.offset)]


def _in_other_block(case: Case) -> list[Candidate]:
    """A span that came twice and changes the block, so that its first records are read as of another block again."""
    walk, data = case.order, case.read.data
    rows = case.read.rows.offset[case.chains.carriers[[p for p, _ in walk.holes[:1]] + walk.odd[:1].tolist()]]
    for start in rows.astype(np.int64).tolist():
        anchor, low = data[start : start + _ANCHOR].tobytes(), max(0, start - _TWICE_MOST)
        size = start - low - data[low : start + _ANCHOR - 1].tobytes().rfind(anchor)
        if not 2 * _ANCHOR <= size <= start - low or not np.array_equal(
            data[start : start + size], data[start - size : start]
        ):
            continue
        row = int(np.searchsorted(case.read.rows.offset.astype(np.int64), start))
        added = case.grid.added(int(np.searchsorted(case.read.rows.offset.astype(np.int64), start + size)))
        if added is not None and not grid.fits(*added, size):
            continue
        why = f"the {size} bytes from {start:#x} on repeat those before them, the first as of another block"
        repair = Repair(start, size, b"", f"{why}: left out")
        there = Candidate(CauseName.RECORDS_REPEATED, 1, why, row, start, None, repair, onward=start)
        sure = added is not None and not added[0] <= 0 <= added[1]
        return [there] if sure else or_of_elsewhere(case, there, row)
    return []


def sections_twice(case: Case) -> list[Candidate]:
    """Sections with records of pages, a few at most, that are the same as those right before them.

    The grid has to agree: a sender without a cache sends a page anew that is the same.
    """
    read, rows = case.read, case.read.rows
    if not case.grid.in_force:
        return []
    starts = np.array([section.offset for section in read.stream.sections], np.int64)
    carriers = rows.offset[case.chains.carriers].astype(np.int64)
    for count in range(1, _SECTIONS_MAX + 1):
        first, again = starts[:-count], starts[count:]
        size = again - first
        held = np.searchsorted(carriers, again) - np.searchsorted(carriers, first)
        fits = np.flatnonzero((held > 0) & (again + size <= len(read.data)) & (size >= WORD))
        if not len(fits):
            continue
        heads = [overlapped(read.data, places[fits], np.dtype(">u8")) for places in (first, again)]
        for i in fits[heads[0] == heads[1]].tolist():
            start, low, end = int(again[i]), int(first[i]), int(again[i] + size[i])
            if not (read.data[start:end] == read.data[low:start]).all():
                continue
            why = f"{count} sections from {start:#x} on repeat the {start - low} bytes before them"
            row = int(np.searchsorted(rows.offset.astype(np.int64), start))
            added = case.grid.added(int(np.searchsorted(rows.offset.astype(np.int64), end)))
            if added is None or not grid.fits(*added, start - low):
                continue
            explains = tuple(range(row, int(np.searchsorted(rows.offset.astype(np.int64), end))))
            repair = Repair(start, start - low, b"", f"{why}: left out")
            there = Candidate(CauseName.RECORDS_REPEATED, 1, why, row, start, None, repair, explains, start)
            return [there] if not added[0] <= 0 <= added[1] else or_of_elsewhere(case, there, row)
    return []


def _rows_of(case: Case, place: int, count: int) -> tuple[int, ...]:
    return tuple(case.chains.carriers[place : place + count].tolist())


def reordered(case: Case) -> list[Candidate]:
    """Two neighbouring spans that rise in the other order."""
    walk = case.order
    if len(case.swaps) != 1 or case.grid.shift is not None:
        if walk.broken:
            case.falls(CauseName.RECORDS_REORDERED, "no two neighbouring spans of records rise in the other order")
        return []
    first, second, end = case.swaps[0]
    pages = walk.pages
    exchanged = np.concatenate([pages[:first], pages[second:end], pages[first:second], pages[end:]])
    if _trouble(case, exchanged) > _trouble(case, pages):
        return []
    low, middle, high = case.span(first, second)[0], case.span(second, end)[0], case.span(first, end)[1]
    why = f"the records at [{low:#x}, {middle:#x}) and [{middle:#x}, {high:#x}) rise in the other order"
    data = case.read.data
    repair = Repair(low, high - low, bytes(data[middle:high]) + bytes(data[low:middle]), f"{why}: exchanged")
    row, explains = int(case.chains.carriers[first]), _rows_of(case, first, end - first)
    there = Candidate(
        CauseName.RECORDS_REORDERED, _likely(second - first, end - second), why, row, low, None, repair, explains
    )
    if high - low <= _NEAR and not case.read.grammar.modern:
        return [there]
    why += "; so they can where what follows is of elsewhere"
    return [replace(there, repair=None), Candidate(CauseName.SPLICED, 0.1 * there.weight, why, row, low, onward=low)]


def against(case: Case, address: list[Candidate], reordered_: list[Candidate]) -> list[Candidate]:
    """What stands, where one bit of an address and an exchange both put the order right.

    Records of different pages that change places leave the sums of their pages as they are. A bit of an address is one
    of a few, a record that changed places with so many others is one of many.
    """
    exchanged = [c for c in reordered_ if c.name is CauseName.RECORDS_REORDERED]
    if not exchanged:
        return address
    if any(_healed(case, candidate) for candidate in address):
        case.falls(CauseName.RECORDS_REORDERED, "sums fail that hold with one bit of the address put right")
        return address
    bits = len(address_bits(case))
    return [replace(c, weight=c.weight / bits) for c in address] + reordered_


def _healed(case: Case, address: Candidate) -> bool:
    """Whether sums fail that hold with one bit of the address put right."""
    to = _page_with_bit(case, address)
    return to is not None and address.row is not None and moved(case, address.row, to)[0] > 0


def _page_with_bit(case: Case, address: Candidate) -> int | None:
    """The page of a record with the bit of its address put right that a candidate names. None where it names none."""
    if address.row is None or address.offset is None or address.bit is None or address.name is not CauseName.ADDRESS:
        return None
    word_end = int(case.read.rows.offset[address.row]) + WORD - 1
    return other_page(case, address.row, address.bit + 8 * (word_end - address.offset))


def _beside(case: Case, address: Candidate) -> Candidate:
    """One bit of an address that makes a record the same as its neighbour, weighed against a record that came twice.

    It is one of many bits, and the walk has to take one step more to the same page. Leaving the record out would mend
    the order as well, so no repair is the only one.
    """
    weight = address.weight / len(address_bits(case))
    to = _page_with_bit(case, address)
    walk, place = case.order, 0 if address.row is None else case.place(address.row)
    if to is not None and 0 < place < len(walk.pages) - 1 and not walk.starts[place : place + 2].any():
        before, after = int(walk.pages[place - 1]), int(walk.pages[place + 1])
        weight *= walk.odds(to - before) * walk.odds(after - to) / walk.odds(after - before)
    return replace(address, weight=weight, repair=None)


def _likely(first: int, second: int) -> float:
    """How likely spans of so many records change places: small ones are, as many on both sides are."""
    same = _EQUAL if first == second else 1 - _EQUAL
    return same / (first * second)


def hole_fits(case: Case, due: int, page: int, place: int) -> float | None:
    """How well the pages left out of the first sweep, as dup pages or PAGEs, are the bytes that the grid misses.

    0 where they cannot be, else how many times as likely they would fit by chance. None where no grid tells.
    """
    count = page - due
    added = case.grid.added(int(case.chains.carriers[place]))
    if added is None or added[1] - added[0] >= BUFFER // 2:
        return None
    dup, full = record_sizes(case)
    number = np.arange(count + 1)
    bytes_ = -(dup * (count - number) + full * number)
    middle = (added[0] + added[1]) / 2
    off = np.abs(bytes_ - middle - np.round((bytes_ - middle) / BUFFER) * BUFFER)
    fitting = int(np.count_nonzero(off <= (added[1] - added[0] + 1) / 2))
    return min(1.0, (count + 1) * (added[1] - added[0] + 1) / BUFFER) if fitting else 0.0


def soon(walk: order.Order, place: int, due: int, page: int) -> bool:
    """Whether most of the pages left out come soon after."""
    wanted = np.arange(due, min(page, due + _LOOKED))
    near: Ints = walk.pages[place : place + 2 * (page - due) + 20]
    return 2 * int(np.isin(wanted, near).sum()) >= len(wanted)


def in_other_block(case: Case, due: int, page: int, place: int) -> bool:
    """Whether most of the pages left out have records nearby, at the same addresses of another block.

    A record that names its block and one that does not read as of other blocks where they changed places. Nearby is
    where the pages left out were due, and where first sends go on at ``place``.
    """
    firsts = case.order.firsts
    before = int(np.searchsorted(firsts, place)) - 1
    places = {place} if before < 0 else {place, int(firsts[before]) + 1}
    return any(_as_of_other(case, due, page, at) for at in places)


def _as_of_other(case: Case, due: int, page: int, place: int) -> bool:
    """Whether most of the pages [due, page) have records near ``place``, at the same addresses of another block."""
    space, rows = case.read.space, case.read.rows
    block = int(np.searchsorted(space.first, due, side="right")) - 1
    wanted = np.arange(due, min(page, due + _LOOKED)) - int(space.first[block])
    reach = 2 * (page - due) + 20
    near = case.chains.carriers[max(0, place - reach) : place + reach]
    others = near[rows.block[near] != block]
    there = (rows.address[others] // np.uint64(space.page_size)).astype(np.int64)
    return 2 * int(np.isin(wanted, there).sum()) >= len(wanted)
