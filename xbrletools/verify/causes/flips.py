"""Single bits of headers: where the walk breaks, which flip makes it go on?

Headers of the record at the break, of the three before it, and of the sections between are tried. A flip counts where
25 records follow each other after it, so false matches vanish. The repaired field is the cause.
"""

from dataclasses import dataclass

import numpy as np

from ...codec.layout import dtype_of
from ...formats import qevm, ram
from ...formats.block import CHUNK
from ...formats.ram import Kind
from ...ram.record import WORD, Ending, extent
from ...table.kinds import IS_DELTA, IS_PAGE
from ..cause import CauseName, Repair
from .case import Candidate, Case
from .chains import decode
from .reading import GOES_ON, Break, is_whole
from .runs import block_of, page_of, sum_of
from .walker import ANY, NOTHING, Row, Spot, State, Walk, Walker, columns_of

BEFORE = 3  # records before the break whose headers are tried
NAMES = (
    CauseName.ADDRESS,
    CauseName.RECORD_FLAGS,
    CauseName.LENGTH_FIELD,
    CauseName.BLOCK_NAME,
    CauseName.SECTION_FRAMING,
)
_WINDOW = 1 << 17  # bytes that 25 records fit in
_HEAD_MAX = 2 * WORD + qevm.ID_STR_MAX  # bytes of a header that are tried where the record's own end is not known
_SECTION_ROWS = 1 << 13  # records of a section whose head is tried when the next one cannot stand there
_SECTION_MAX = 24  # bytes of a section's head and what its first record's word takes


@dataclass(frozen=True, slots=True)
class Flip:
    """A bit whose flip makes the walk go on: ``bit`` of the byte at ``offset``, of a field that ``name`` stands for."""

    offset: int
    bit: int
    name: CauseName
    row: int


@dataclass(frozen=True, slots=True)
class Far:
    """Records between bytes that are flipped and the break. The first begins at ``start``, ``last`` is the last's row.

    They read as they did before, so a walk goes over from the first to the last.
    """

    start: int
    last: int


def flips(case: Case, broken_at: int = 0) -> list[Flip]:
    """The flips that make the walk go on at a break, by its index."""
    found = []
    for spot, row, low, high in _spots(case, broken_at):
        end = max(spot.offset, case.read.breaks[broken_at].at) + _WINDOW
        limit = GOES_ON + max(0, case.read.breaks[broken_at].row - row)
        window = bytearray(case.read.view[spot.offset : end])
        walker = Walker(memoryview(window), case.read.grammar, spot.offset)
        far = Far(high, case.read.breaks[broken_at].row - 1) if limit > GOES_ON + BEFORE else None
        if _reaches(case, _walked(case, walker, spot, limit, far), limit, broken_at):
            continue  # from there what breaks does not show, so no flip mends it
        low = max(low, case.read.breaks[broken_at].at - _WINDOW)  # nothing so far back breaks only here
        for at in range(low, min(high, spot.offset + len(window))):
            for bit in range(8):
                window[at - spot.offset] ^= 1 << bit
                walk = _walked(case, walker, spot, limit, far)
                if _reaches(case, walk, limit, broken_at):
                    name = field_of(case, walk, at, bit)
                    if name is not None and _in_order(case, walk, at, row):
                        found.append(Flip(at, bit, name, row + _rows_before(walk, at)))
                window[at - spot.offset] ^= 1 << bit
    return found


def _walked(case: Case, walker: Walker, spot: Spot, limit: int, far: Far | None) -> Walk:
    """The walk from a spot over ``limit`` records. Those of ``far`` are not walked over one by one."""
    if far is None:
        return walker.walk(spot, limit)
    head = walker.walk(spot, limit, far.start)
    if not head.whole or head.ended or head.spot.offset != far.start or head.spot.state is not State.RECORD:
        return head if not head.whole else walker.walk(spot, limit)
    last = spot_at(case, far.last)._replace(last=head.spot.last, footer=head.spot.footer)
    rest = walker.walk(last, GOES_ON + 1)
    between = limit - GOES_ON - 1 - len(head.rows)  # rows that stand for those gone over
    rows = head.rows + [rest.rows[0]] * between + rest.rows if rest.rows else head.rows
    return Walk(rows, rest.spot, rest.why, rest.ended)


def _reaches(case: Case, walk: Walk, limit: int, broken_at: int) -> bool:
    """Whether a repaired walk goes on behind the break."""
    if not walk.rows or walk.spot.offset <= case.read.breaks[broken_at].at:
        return False
    at = case.read.breaks[broken_at].at
    behind = next((row[0] for row in walk.rows if row[0] > at), walk.spot.offset)
    return behind - at < CHUNK and is_whole(walk, limit)  # a flip may not make disk data of what follows


def _in_order(case: Case, walk: Walk, at: int, first: int) -> bool:
    """Whether the page of the record with the bit flipped back lies between its neighbours', if these rise."""
    if not case.order.in_force or case.read.grammar.modern:
        return True
    before = case.place(first) - 1
    rows = columns_of(walk.rows)
    carries = np.flatnonzero(IS_PAGE[rows.kind])
    pages = case.read.space.pages_of(rows)[carries]
    place = int(np.searchsorted(rows.offset[carries].astype(np.int64), at, side="right")) - 1
    if not 0 <= place < len(pages) - 1 or not before >= 0:
        return True
    low = int(pages[place - 1]) if place else int(case.chains.pages[before])
    return not low < int(pages[place + 1]) or low <= int(pages[place]) <= int(pages[place + 1])


def confirmed(case: Case, broken: Break, flip: Flip) -> bool | None:
    """Whether a record at a break is of the page that a bit of its address, flipped back, gives it.

    Told by the sum that a delta states, or by the one page that its neighbours leave out. None where neither tells.
    """
    if flip.name is not CauseName.ADDRESS or not 0 <= flip.offset - broken.at < WORD:
        return None
    read = case.read
    window = bytearray(read.view[broken.at : broken.at + _WINDOW])
    window[flip.offset - broken.at] ^= 1 << flip.bit
    found = extent(memoryview(window), 0, read.grammar.reading)
    page = page_of(case, block_of(case, broken.spot, found), found.address)
    base, stated = case.chains.base_of(page, broken.row), sum_of(case, found)
    if base is not None and stated is not None and found.ending is Ending.WHOLE:
        new = decode(read, read.data[broken.at + found.payload : broken.at + found.end], base)
        return new is not None and int(new.sum(dtype=np.int64)) == stated
    place, pages = case.place(broken.row), case.chains.pages
    between = 0 < place < len(pages) and pages[place - 1] + 1 == page == pages[place] - 1
    return True if between else None


def _rows_before(walk: Walk, at: int) -> int:
    return max(0, sum(row[0] <= at for row in walk.rows) - 1)


def _spots(case: Case, broken_at: int) -> list[tuple[Spot, int, int, int]]:
    """Where to walk from, its row, and the bytes [low, high) there to flip."""
    read, broken = case.read, case.read.breaks[broken_at]
    rows = read.rows
    least = 0 if not broken_at else read.breaks[broken_at - 1].row
    spots = [(broken.spot, broken.row, broken.at, broken.at + _head_at(case, broken.spot))]
    end = broken.at
    for row in range(broken.row - 1, max(least - 1, broken.row - 1 - BEFORE), -1):
        start = int(rows.offset[row])
        head = end if rows.kind[row] == Kind.EOS else start + int(rows.head[row])
        if start < broken.at - 2 * read.page_size - _HEAD_MAX and rows.kind[row] != Kind.EOS:
            break
        spots.append((spot_at(case, row), row, start, min(head, start + _HEAD_MAX)))
        end = start
    return spots + _section_spot(case, broken_at)


def _section_spot(case: Case, broken_at: int) -> list[tuple[Spot, int, int, int]]:
    """The head of the section before a section that cannot stand there: a PART read as END, or END as PART."""
    read, broken = case.read, case.read.breaks[broken_at]
    if broken.spot.state is not State.SECTION:
        return []
    ends = np.flatnonzero(read.rows.kind[: max(0, broken.row - 1)] == Kind.EOS)
    if not len(ends) or not BEFORE < broken.row - ends[-1] <= _SECTION_ROWS:
        return []
    row = int(ends[-1])
    start = int(read.rows.offset[row])
    return [(spot_at(case, row), row, start + WORD, int(read.rows.offset[row + 1]))]


def spot_at(case: Case, row: int) -> Spot:
    """The spot of a row that was read."""
    read = case.read
    before = np.flatnonzero(IS_PAGE[read.rows.kind[max(0, row - 64) : row]])
    block = int(read.rows.block[max(0, row - 64) + before[-1]]) if len(before) else ANY
    if not len(before) and row < 2:
        block = NOTHING
    owners = [number for number, name in read.grammar.owners.items() if name == ram.IDSTR]
    footer = owners[0] if read.grammar.footers and owners else None
    return Spot(int(read.rows.offset[row]), State.RECORD, 0 if read.grammar.flat else block, None, footer)


def _head_at(case: Case, spot: Spot) -> int:
    """How many bytes at a break can be those of headers."""
    dialect = case.read.grammar.reading.dialect
    header = 0 if dialect is None else dtype_of(dialect.header(case.read.grammar.reading.endian)).itemsize
    name = 0 if case.read.grammar.flat else 1 + max((len(b.name) for b in case.read.grammar.blocks), default=0)
    section = _SECTION_MAX if spot.state is not State.RECORD else 0
    return section + WORD + name + max(header, 4)


def field_of(case: Case, walk: Walk, at: int, bit: int) -> CauseName | None:
    """The cause that a repaired bit stands for. None where it is of a payload."""
    row: Row | None = None
    for candidate in walk.rows:
        if candidate[0] > at:
            break
        row = candidate
    if row is None:
        return CauseName.SECTION_FRAMING
    offset, _, length, _, _, _, head, kind, _ = row
    if kind == Kind.EOS or at >= offset + head + length:
        return CauseName.SECTION_FRAMING
    place = at - offset
    if place >= head:
        return None
    return header_field(case, place, bit, head, kind)


def header_field(case: Case, place: int, bit: int, head: int, kind: int) -> CauseName:
    """The cause that a bit of a record's header stands for: byte ``place`` of ``head``, in a record of this kind."""
    grammar = case.read.grammar
    if place < WORD:
        low = (WORD - 1 - place) * 8 + bit
        return CauseName.ADDRESS if 1 << low >= grammar.reading.page_size else CauseName.RECORD_FLAGS
    if IS_DELTA[kind] and grammar.reading.dialect is not None:
        header = dtype_of(grammar.reading.dialect.header(grammar.reading.endian))
        inside = place - (head - header.itemsize)
        for name, (dtype, start, *_) in (header.fields or {}).items():
            if start <= inside < start + dtype.itemsize:
                fields = {"length": CauseName.LENGTH_FIELD, "checksum": CauseName.CHECKSUM_FIELD}
                return fields.get(name, CauseName.RECORD_FLAGS)
    if kind == Kind.PAGE and grammar.reading.page_sum and place >= head - 4:
        return CauseName.CHECKSUM_FIELD
    return CauseName.BLOCK_NAME


def candidates(case: Case, found: list[Flip]) -> list[Candidate]:
    """The causes that flips stand for, each with its weight and, where only one flip fits, the repair."""
    by_name: dict[CauseName, list[Flip]] = {}
    for flip in found:
        by_name.setdefault(flip.name, []).append(flip)
    out = []
    for name, flips_ in by_name.items():
        flip = flips_[0]
        repair = None
        if len(found) == 1:
            old = int(case.read.data[flip.offset])
            why = f"bit {flip.bit} of the byte at {flip.offset:#x} flipped back, {GOES_ON} records follow each other"
            repair = Repair(flip.offset, 1, bytes([old ^ 1 << flip.bit]), why)
        why = f"one bit flipped back, of {len(found)} that do, makes {GOES_ON} records follow each other"
        if len(found) == 1:
            why = f"with one bit flipped back {GOES_ON} records follow each other, and no other bit does that"
        out.append(Candidate(name, len(flips_), why, flip.row, flip.offset, flip.bit, repair, (), flip.offset))
    return out
