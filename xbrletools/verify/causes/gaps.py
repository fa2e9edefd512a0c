"""Bytes that are missing, put in, or overwritten: where the walk breaks, and no single bit mends it.

Where the next record begins, against where the record that was hit should end, says how many bytes there are too many
or too few. The grid says the same of all bytes before a PART's end, and first sends say which records stood there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

import numpy as np

from ...arrays import distinct, overlapped
from ...codec.layout import dtype_of
from ...formats import qevm
from ...formats.dialects import Encoding
from ...formats.ram import Kind
from ...formats.xbrle import Pair
from ...ram.record import FILL, INT, WORD, Ending, Extent, extent
from ...table.columns import Columns
from ...table.kinds import IS_PAGE
from .case import Case
from .chains import Bytes, decode
from .reading import GOES_ON, Break, Ints, candidates, is_whole
from .runs import block_of, page_of, sum_of
from .walker import Spot, State, Walker

INSERTED_MAX = 8192  # bytes whose leaving out is tried at every place
_HEAD = 24  # bytes of a header, before and in which a leaving out is tried
_STARTS_MAX = 200  # places inside a record at which another one is tried
_FEW = 3  # records of known size that fill a gap in place
_SWEPT = 4  # pages of bytes that a gap in the first sweep may have, since pages are sent again there too
_TWICE_LEAST, _TWICE_MOST = 16, 1 << 17  # bytes that came twice
_TWICE_SLACK = 8  # bytes beside those that came twice, that are the same by chance
_ANCHOR = 32  # bytes that are looked for before
SWEEP_MAX = 2048  # records of the first sweep that a gap can hold, for their sizes to be listed


class Found(Enum):
    """What is found where a record should end."""

    SHORT = "another record begins inside it"
    PUT_IN = "leaving out bytes makes it whole"
    NOT_PUT_IN = "the next record begins behind its end, and leaving out bytes nowhere makes it whole"
    PUSHED = "the next record begins behind the end of a whole page"
    UNREAD = "what stands there reads as no record"
    NOTHING = "no record follows"


@dataclass(frozen=True, slots=True)
class Gap:
    """What a break leaves: the first damaged record begins at ``offset``, and the walk goes on at ``resumes``.

    ``added`` is how many bytes there are too many (negative: too few), None where that is not told. ``sure``: a sum or
    the form of the records confirms it. ``by_length``: with another length the delta is whole. ``refuted``: what is
    there of its payload comes to more than a page, so it is not only short.
    """

    found: Found
    offset: int
    resumes: int | None
    added: int | None
    sure: bool = True
    by_length: bool = False
    refuted: bool = False


def measure(case: Case, broken: Break) -> Gap:
    """Where the next record begins, against where the one that was hit should end."""
    rows = case.read.rows
    resumes = None if broken.resumes is None else broken.resumes.offset
    last = broken.row - 1
    while last >= 0 and not IS_PAGE[rows.kind[last]] and broken.at - int(rows.offset[last]) < _HEAD:
        last -= 1
    whole = last >= 0 and rows.kind[last] == Kind.PAGE and int(rows.end(np.array([last]))[0]) >= broken.at - _HEAD
    if whole:
        start = case.chains.span(last)[0]
        inside = _record_in(case, start, broken.at, broken.spot)
        if inside is not None:
            return Gap(Found.SHORT, int(rows.offset[last]), inside, inside - broken.at)
    of_delta = _delta(case, broken, resumes)
    if of_delta is not None and of_delta.found is not Found.NOT_PUT_IN:
        return of_delta
    if resumes is None:
        return Gap(Found.NOTHING, broken.at, None, None)
    for size in record_sizes(case):
        added = resumes - broken.at - size
        if 0 < added <= INSERTED_MAX and _whole_without(case, broken, added, size):
            return Gap(Found.PUT_IN, broken.at, resumes, added)
    to_head = _head_without(case, broken, resumes)
    if to_head is not None:
        return Gap(Found.PUT_IN, broken.at, resumes, to_head)
    if of_delta is not None:
        return of_delta
    if whole and broken.spot.state is State.RECORD:
        return Gap(Found.PUSHED, int(rows.offset[last]), resumes, resumes - broken.at)
    return Gap(Found.UNREAD, broken.at, resumes, None)


def record_sizes(case: Case) -> tuple[int, ...]:
    """The bytes of records whose size does not depend on their payload, with CONTINUE: a dup page, a PAGE."""
    page_sum = INT if case.read.grammar.reading.page_sum else 0
    return WORD + FILL, WORD + page_sum + case.read.page_size


def _record_in(case: Case, low: int, high: int, spot: Spot) -> int | None:
    """The first offset in [low, high) at which records begin that go on."""
    read = case.read
    for place, in_section in islice(candidates(read.data, low, high, read.grammar), _STARTS_MAX):
        state = State.SECTION if in_section else State.RECORD
        if read.goes_on(Spot(place, state, spot.block, spot.last, None if in_section else spot.footer)):
            return place
    return None


def _delta(case: Case, broken: Break, resumes: int | None) -> Gap | None:
    """What becomes of the delta at a break whose header reads. None where none does."""
    if broken.spot.state is not State.RECORD:
        return None
    read = case.read
    found = extent(read.view, broken.at, read.grammar.reading)
    if found.kind is not read.grammar.delta or found.flags & ~0x60 or found.ending is not Ending.WHOLE:
        return None
    block = block_of(case, broken.spot, found)
    spot = broken.spot._replace(block=block)
    inside = _record_in(case, found.payload, found.end, spot)
    if inside is not None and inside < found.end:
        by_length, refuted = _shortened(case, broken, found, block, inside)
        return Gap(Found.SHORT, broken.at, inside, inside - found.end, True, by_length, refuted)
    if resumes is None or resumes <= found.end:
        return None
    added = resumes - found.end
    if added <= INSERTED_MAX and _whole_delta_without(case, broken, found, block, added):
        return Gap(Found.PUT_IN, broken.at, resumes, added, sum_of(case, found) is not None)
    return Gap(Found.NOT_PUT_IN, broken.at, resumes, added)


def _shortened(case: Case, broken: Break, found: Extent, block: int, inside: int) -> tuple[bool, bool]:
    """Of a delta in which another record begins: whether it is whole up to there, and whether it cannot be a part."""
    read = case.read
    payload = read.data[found.payload : inside]
    base = case.chains.base_of(page_of(case, block, found.address), broken.row)
    new = decode(read, payload, np.zeros(read.page_size, np.uint8) if base is None else base)
    stated = sum_of(case, found)
    if new is not None and (stated is None or base is None or int(new.sum(dtype=np.int64)) == stated):
        return True, True
    dialect = read.grammar.reading.dialect
    if dialect is None or dialect.encoding is not Encoding.RLE:
        return False, False
    first, second = _run_sums(payload)
    places = np.arange(len(payload) + 1)
    behind = first if len(payload) % Pair.sizeof() == found.length % Pair.sizeof() else second
    return False, bool((first[places] + behind[-1] - behind[places]).min() > read.page_size)


def _run_sums(payload: Bytes) -> tuple[Ints, Ints]:
    """The sums of runs before each byte of a payload of pairs, where runs stand at even places, and at odd ones."""
    even = np.arange(len(payload)) % Pair.sizeof() == 0
    first = np.append(0, np.cumsum(np.where(even, payload, 0).astype(np.int64)))
    return first, np.append(0, np.cumsum(np.where(even, 0, payload).astype(np.int64)))


def _whole_delta_without(case: Case, broken: Break, found: Extent, block: int, added: int) -> bool:
    """Whether leaving out ``added`` bytes somewhere of its payload makes a delta come to one page, with its sum."""
    read = case.read
    dialect = read.grammar.reading.dialect
    payload = read.data[found.payload : found.end + added]
    if dialect is None or dialect.encoding is not Encoding.RLE:
        blank = np.zeros(read.page_size, np.uint8)
        tried = range(0, found.length + 1, max(1, found.length // 256))
        return any(decode(read, _without(payload, p, added), blank) is not None for p in tried)
    first, second = _run_sums(payload)
    places = np.arange(found.length + 1)
    behind = first if added % Pair.sizeof() == 0 else second
    fits = np.flatnonzero(first[places] + behind[-1] - behind[places + added] == read.page_size)
    base = case.chains.base_of(page_of(case, block, found.address), broken.row)
    stated = sum_of(case, found)
    if base is None or stated is None:
        return bool(len(fits))
    for place in fits.tolist():
        new = decode(read, _without(payload, place, added), base)
        if new is not None and int(new.sum(dtype=np.int64)) == stated:
            return True
    return False


def _without(payload: Bytes, place: int, count: int) -> Bytes:
    return np.concatenate([payload[:place], payload[place + count :]])


def _head_without(case: Case, broken: Break, resumes: int) -> int | None:
    """How many bytes, left out of a delta's word or header, make a whole delta up to ``resumes``. None for none.

    What is left out begins before the length field, so the field then says how many bytes there are too many.
    """
    read, dialect = case.read, case.read.grammar.reading.dialect
    if dialect is None or broken.spot.state is not State.RECORD:
        return None
    header = dtype_of(dialect.header(read.grammar.reading.endian))
    fields: Mapping[str, Any] = header.fields or {}
    field, inside = fields["length"][:2]
    names = {0} | (set() if read.grammar.flat else {1 + len(b.name) for b in read.grammar.blocks})
    for size in (WORD + name + header.itemsize for name in names):
        place = size - header.itemsize + int(inside)
        most = min(resumes - broken.at - size, INSERTED_MAX)
        if most < 1:
            continue
        added = np.arange(1, most + 1)
        length = overlapped(read.data, broken.at + place + added, field).astype(np.int64) - dialect.length_counts
        for count in added[length == resumes - broken.at - added - size].tolist():
            if _whole_head(case, broken, size, range(place + 1), count, resumes):
                return int(count)
        stated = int(overlapped(read.data, np.array([broken.at + place]), field)[0]) - dialect.length_counts
        behind = range(place + field.itemsize, size + 1)
        if 0 < most - stated <= INSERTED_MAX and _whole_head(case, broken, size, behind, most - stated, resumes):
            return most - stated
    return None


def _whole_head(case: Case, broken: Break, size: int, places: range, added: int, resumes: int) -> bool:
    """Whether leaving out ``added`` bytes at one of ``places`` of a delta's ``size`` bytes of head makes it whole."""
    view, start = case.read.view, broken.at
    rest = bytes(view[start + added + size : resumes])
    for cut in places:
        head = bytes(view[start : start + cut]) + bytes(view[start + cut + added : start + added + size])
        walk = Walker(memoryview(head + rest), case.read.grammar, start).walk(broken.spot, 1)
        if walk.whole and walk.rows and walk.spot.offset == resumes - added:
            return True
    return False


def _whole_without(case: Case, broken: Break, added: int, size: int) -> bool:
    """Whether leaving out ``added`` bytes before or in the head at a break makes a record of ``size`` bytes."""
    view, start = case.read.view, broken.at
    for place in range(_HEAD):
        window = bytes(view[start : start + place]) + bytes(
            view[start + place + added : start + place + added + size + 2 * case.read.page_size]
        )
        walk = Walker(memoryview(window), case.read.grammar, start).walk(broken.spot, 2)
        if is_whole(walk, 2) and len(walk.rows) >= 2 and walk.rows[1][0] == start + size:
            return True
    return False


def page_without(case: Case, row: int, added: int) -> bool | None:
    """Whether leaving ``added`` bytes out of the PAGE at ``row`` makes the sums hold that depend on it.

    None where no sum does. Linear: prefix sums over both alignments.
    """
    chains, read = case.chains, case.read
    start = chains.span(row)[0]
    size = read.page_size
    content = read.data[start : start + size + added]
    if len(content) < size + added:
        return None
    fits, any_sum = np.ones(size + 1, bool), False
    mask = np.zeros(size, np.uint8)
    later = chains.of(int(read.page[row]))
    for other in [row, *later[later > row].tolist()[:_HEAD]]:
        if other != row:
            if chains.is_full(other):
                break
            if not chains.is_delta(other):
                continue
            own = chains.mask(other) if chains.is_xor else None
            if own is None:
                break
            mask = mask ^ own
        if not chains.states[other]:
            continue
        before = np.append(0, np.cumsum((content[:size] ^ mask).astype(np.int64)))
        behind = np.append(0, np.cumsum((content[added:] ^ mask).astype(np.int64)))
        fits &= before + behind[-1] - behind == int(chains.sums[other])
        any_sum = True
    return bool(fits.any()) if any_sum else None


def distances(data: Bytes, at: int) -> list[int]:
    """How far before ``at`` the bytes from there on stand as well, the nearest first, a few at most."""
    anchor, start = data[at : at + _ANCHOR].tobytes(), max(0, at - _TWICE_MOST)
    before = data[start : at + _ANCHOR - 1].tobytes()
    out: list[int] = []
    place = before.rfind(anchor)
    while place >= 0 and len(out) < _FEW:
        out.append(at - start - place)
        place = before.rfind(anchor, 0, place + _ANCHOR - 1)
    return out


def twice_from(data: Bytes, at: int, size: int, rows: Columns) -> int | None:
    """Where ``size`` bytes around ``at`` begin that repeat those before them: at ``at``, or at a record before it.

    None where fewer repeat them. Left out from wherever they can begin, the same bytes stay.
    """
    if at < size:
        return None
    low, high = max(size, at - size), min(len(data), at + size)
    behind = data[at:high] != data[at - size : high - size]
    before = (data[low:at] != data[low - size : at - size])[::-1]
    ahead = int(behind.argmax()) if behind.any() else high - at
    back = int(before.argmax()) if before.any() else at - low
    if ahead >= size:
        return at
    offsets = rows.offset
    row = int(np.searchsorted(offsets, np.uint64(at - back)))
    found = row < len(offsets) and int(offsets[row]) <= at + ahead - size
    return int(offsets[row]) if found else None


def begins_anew(case: Case, gap: Gap) -> bool:
    """Whether the record that begins inside another is that one once more, as where bytes came twice."""
    data = case.read.data
    if gap.resumes is None or not gap.resumes - gap.offset > 0:
        return False
    first, again = (data[at : at + WORD] for at in (gap.offset, gap.resumes))
    return len(first) == WORD and np.array_equal(first, again)


def came_twice(case: Case, broken: Break, gap: Gap) -> Iterator[int]:
    """How many bytes around a break are the same as those right before them: they came twice.

    They are as many as the distance at which they are the same, so a page that is sent again is not meant.
    """
    data, low = case.read.data, min(gap.offset, broken.at)
    high = broken.at if gap.resumes is None else gap.resumes
    sizes = [] if gap.added is None or gap.added < _TWICE_LEAST else [gap.added]
    for at in (high, high + _TWICE_LEAST, high + case.read.page_size):
        if len(distinct(data[at : at + _ANCHOR])) >= _ANCHOR // 4:
            sizes += distances(data, at)[:1]
    for size in dict.fromkeys(sizes):
        first, end = max(size, low - size), min(len(data), high + 2 * size)
        same = data[first:end] == data[first - size : end - size]
        edges = np.flatnonzero(np.diff(same.astype(np.int8), prepend=0, append=0))
        runs = edges[1::2] - edges[::2]
        if not len(runs) or abs(int(runs.max()) - size) > _TWICE_SLACK:
            continue
        start = first + int(edges[::2][runs.argmax()])
        if np.bincount(data[start : start + size]).max() <= size - _TWICE_LEAST // 2:  # not of one byte alone
            yield size


# -- what first sends say ----------------------------------------------------------------------------------------------


def swept(case: Case, broken: Break, gap: Gap) -> set[int] | None:
    """How many bytes can have been added to a gap in the first sweep, where each page is sent once.

    The pages between tell how many records stood there, and each is a dup page or a PAGE. None where the gap does not
    lie in the first sweep, or holds too many records.
    """
    if gap.resumes is None or not case.order.in_force or gap.resumes - broken.at > _SWEPT * case.read.page_size:
        return None
    chains = case.chains
    after = case.place(broken.row)
    before = after - 1
    firsts = set(case.order.firsts[max(0, np.searchsorted(case.order.firsts, before) - 1) :][:4].tolist())
    if before < 0 or after >= len(chains.carriers) or before not in firsts or after not in firsts:
        return None
    count = int(chains.pages[after] - chains.pages[before]) - 1
    if not 0 <= count <= SWEEP_MAX:
        return None
    dup, page = record_sizes(case)
    end = int(case.read.rows.end(chains.carriers[before : before + 1])[0])
    room = int(case.read.rows.offset[chains.carriers[after]]) - end
    sections = range(3)
    frame = _section_size(case)
    return {room - dup * (count - n) - page * n - s * frame for n in range(count + 1) for s in sections}


def _section_size(case: Case) -> int:
    """The bytes between two PARTs' records: EOS, and the heads of what comes next."""
    rows = case.read.rows
    ends = np.flatnonzero(rows.kind[:-1] == Kind.EOS)
    if not len(ends):
        return WORD + 1 + qevm.SectionPart.sizeof()
    sizes = rows.offset[ends + 1].astype(np.int64) - rows.offset[ends].astype(np.int64)
    values, counts = np.unique(sizes, return_counts=True)
    return int(values[counts.argmax()])


def in_place_sizes(case: Case, room: int) -> bool:
    """Whether a gap of ``room`` bytes is just what a few dup pages and PAGEs fill."""
    dup, page = record_sizes(case)
    return any(a * dup + b * page == room for a in range(_FEW + 1) for b in range(_FEW + 1 - a) if a + b)


def ends_in_place(case: Case, broken: Break, resumes: int) -> bool:
    """Whether what stands at a break is a delta up to ``resumes``: by the length in its header, or by its payload."""
    read = case.read
    dialect = read.grammar.reading.dialect
    if dialect is None or broken.spot.state is not State.RECORD:
        return False
    header = dtype_of(dialect.header(read.grammar.reading.endian))
    names = {0} | (set() if read.grammar.flat else {1 + len(b.name) for b in read.grammar.blocks})
    for name in names:
        start = broken.at + WORD + name + header.itemsize
        if not 0 < resumes - start <= dialect.page_limit * read.page_size:
            continue
        length = int(np.frombuffer(read.view[start - header.itemsize : start], header)[0]["length"])
        if length - dialect.length_counts == resumes - start:
            return True
        even = dialect.encoding is not Encoding.RLE or (resumes - start) % Pair.sizeof() == 0
        if even and decode(read, read.data[start:resumes], np.zeros(read.page_size, np.uint8)) is not None:
            return True
    return False


def goes_on_elsewhere(case: Case, broken: Break) -> bool:
    """Whether the record at a break reads where its block is taken to be another one."""
    spot = broken.spot
    if spot.state is not State.RECORD or case.read.grammar.flat:
        return False
    return case.read.goes_on(Spot(spot.offset, State.RECORD, footer=spot.footer), GOES_ON)
