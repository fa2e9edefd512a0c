"""A stream read strictly: its rows up to the first break, where it goes on after that, and what the breaks were.

Rows before the first break are those of a plain scan, which the laws hold of. What stands after it is walked anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ...codec import deltas
from ...codec.verdict import Verdict
from ...errors import XbrleError
from ...formats import qevm, ram, xbrle
from ...formats.dialects import DIALECTS, Encoding
from ...formats.qevm import SectionType
from ...formats.ram import Flag, Kind
from ...memory.image import PageSpace
from ...model import Facts, Stream
from ...ram.detect import detect
from ...ram.record import WORD
from ...scan.ram_reader import LOOK_AHEAD
from ...scan.strict import Scanner
from ...source.sources import MappedSource
from ...table.columns import DTYPES, NO_BLOCK, Columns, join
from ...table.kinds import IS_DELTA, IS_PAGE
from ...table.payloads import Payloads
from .. import rules
from ..ledger import filled, pieces, room
from .walker import ANY, ID, NOTHING, Grammar, Spot, State, Walk, Walker, Why, columns_of

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

BREAKS_MAX = 12  # breaks after which no more is read
REACH = 1 << 20  # bytes after a break in which the walk is taken up again
_FAR = 1 << 26  # bytes after the damage in which a delta is looked for
_TRIALS_MAX = 100  # deltas that are tried in all dialects
_DECODED = 3  # deltas in a row that show a dialect
TRIES_MAX = 3000  # places there that are tried
ENOUGH = 12  # records that follow each other where a walk is taken up again
GOES_ON = 25  # records that must follow a repair
_BATCH = 256  # deltas that are decoded at once
_GAP = 64  # bytes between two sections' records that are compared at once
_ODD_MAX = 2  # headers that differ from all others, at most


@dataclass(frozen=True, slots=True)
class Break:
    """Where a law breaks: ``row`` is that of the first record after it.

    ``spot`` is the place and what was known there, ``why`` the law. ``resumes`` is where the walk goes on: None where
    it does not.
    """

    spot: Spot
    why: Why
    row: int
    resumes: Spot | None

    @property
    def at(self) -> int:
        """The offset of the record or section that cannot stand there."""
        return self.spot.offset


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A stream as it reads strictly.

    ``rows`` are the records, those after breaks too. ``page`` (n,) int64 has their pages in ``space``, -1 for none.
    ``complete``: no break is left open. ``stream`` is what it was read from. ``lists`` are the rows of block lists of
    the plain scan: ``rows`` leaves them out where the record after the list breaks a law.
    """

    stream: Stream
    grammar: Grammar
    rows: Columns
    page: Ints
    space: PageSpace
    breaks: tuple[Break, ...]
    view: memoryview
    data: NDArray[np.uint8]
    lists: Columns

    @property
    def complete(self) -> bool:
        """Whether the walk came to the end of RAM or of what can be walked."""
        return not self.breaks or self.breaks[-1].resumes is not None

    @property
    def payloads(self) -> Payloads:
        """The rows with what it takes to decode them."""
        return Payloads(self.rows, self.data, self.grammar.reading.dialect)

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""
        return self.grammar.reading.page_size

    def number(self, row: int) -> int:
        """The number of the record at ``row``, from 1 over those that carry a page, as read strictly."""
        return int(IS_PAGE[self.rows.kind[: row + 1]].sum())

    def walk(self, spot: Spot, limit: int = GOES_ON, stop: int | None = None) -> Walk:
        """Walk on from ``spot`` over the bytes as they are."""
        return Walker(self.view, self.grammar).walk(spot, limit, stop)

    def goes_on(self, spot: Spot, limit: int = GOES_ON) -> bool:
        """Whether ``limit`` records follow each other from ``spot`` on, or RAM ends as it should."""
        return is_whole(self.walk(spot, limit), limit)


def is_whole(walk: Walk, limit: int) -> bool:
    """Whether a walk that was asked for ``limit`` records got them, or came to the end of RAM."""
    return walk.whole and (len(walk.rows) >= limit or (walk.ended and len(walk.rows) >= 2))


def read(stream: Stream) -> Read | None:
    """Read a stream strictly. None where it has no RAM section of records, or where channels carry its pages."""
    facts = stream.facts
    if facts.mapped_ram or stream.channels or facts.ram_version not in (ram.VERSION_FLAT, ram.VERSION_NAMED):
        return None
    if not isinstance(stream.source, MappedSource):
        return None
    try:
        columns, facts = _scanned(stream)
    except XbrleError:  # its head is missing: nothing can be read strictly
        return None
    if not any(b.declared for b in facts.blocks):
        return None
    grammar = _grammar(columns, facts, stream.data)
    if grammar.reading.dialect is None and (facts.problems or not facts.complete):
        grammar = _grammar_of_rest(stream, grammar, facts)
    if grammar.reading.dialect is None and IS_DELTA[columns.kind].any():
        return None
    try:
        space = PageSpace(facts.blocks, grammar.reading.page_size)
    except XbrleError:  # the block list claims more than any guest has
        return None
    return _walked(stream, columns, facts, grammar, space)


def _scanned(stream: Stream) -> tuple[Columns, Facts]:
    """The records of a plain scan up to the first damage, and its facts."""
    if not stream.salvaged and stream.records.main_size is None:
        return stream.records.columns, stream.facts
    assert isinstance(stream.source, MappedSource)
    dialect, endian = (stream.dialect.name, stream.reading.endian) if stream.dialect else (None, None)
    scanner = Scanner(stream.source, dialect, endian, stream.page_size)
    return join(list(scanner)), scanner.facts


def _grammar(columns: Columns, facts: Facts, data: NDArray[np.uint8]) -> Grammar:
    """What the walk needs to know, as most of the stream has it."""
    owners: dict[int, bytes] = {}
    for section in facts.sections.of_types(SectionType.START):
        if section.owner is not None:
            owners.setdefault(section.owner.section_id, section.owner.idstr)
    return _of_deltas(Grammar(facts.reading, facts.blocks, owners, bool(facts.footers)), columns, data)


def _of_deltas(grammar: Grammar, columns: Columns, data: NDArray[np.uint8]) -> Grammar:
    """The grammar with what the headers of these deltas have in common."""
    rows = np.flatnonzero(IS_DELTA[columns.kind])
    if not len(rows):
        return grammar
    flags = columns.header_flags[rows]
    values, counts = np.unique(flags[_is_header(flags)], return_counts=True)
    usual = int(values[counts.argmax()]) if len(values) and counts.max() > len(rows) // 2 else None
    padding = grammar.padding
    odd = 0 if padding is None else int(np.count_nonzero(data[columns.payload(rows) - padding]))
    return replace(grammar, header_flags=usual, pads=odd <= min(_ODD_MAX, len(rows) // 4))


def _grammar_of_rest(stream: Stream, grammar: Grammar, facts: Facts) -> Grammar:
    """The grammar with the dialect that deltas after the damage show, by the trial that the scan makes, too."""
    delta = {int(ram.delta_flag(grammar.reading.version)) | c for c in (0, int(Flag.CONTINUE))}
    damage = min(_problems(facts), default=facts.end)
    view, tries = stream.data.data, 0
    for place, in_section in candidates(stream.data, damage, damage + _FAR, grammar):
        flags = int.from_bytes(view[place : place + WORD]) & (grammar.reading.page_size - 1)
        if in_section or flags not in delta:
            continue
        tries += 1
        if tries > _TRIALS_MAX:
            break
        found = detect(view[place : place + LOOK_AHEAD], 0, place, grammar.reading, None, None)
        if found.name is not None and found.decoded >= _DECODED:
            dialect, page_sum = DIALECTS[found.name], grammar.reading.page_sum
            page_sum = dialect.page_sum if page_sum is None else page_sum
            reading = replace(grammar.reading, dialect=dialect, endian=found.endian or "little", page_sum=page_sum)
            return replace(grammar, reading=reading)
    return grammar


def _walked(stream: Stream, columns: Columns, facts: Facts, grammar: Grammar, space: PageSpace) -> Read:
    view = stream.data.data
    walker = Walker(view, grammar)
    first = _first_unlawful(columns, facts, grammar, stream.data)
    kept = max(0, first - 1)
    pieces, breaks = [columns.take(slice(kept))], list[Break]()
    walk = walker.walk(_spot_of(columns, kept, facts, stream))
    while True:
        pieces.append(columns_of(walk.rows))
        if walk.why is None:
            break
        row = sum(map(len, pieces))
        resumes = _resumes(walker, walk, grammar) if len(breaks) < BREAKS_MAX else None
        breaks.append(Break(walk.spot, walk.why, row, resumes))
        if resumes is None:
            break
        walk = _rest(walker, resumes, stream.data)
    rows = _joined(columns, pieces, kept)
    _settle_blocks(rows, breaks)
    page = filled(len(rows), np.int64, lambda part: space.pages_of(rows.take(part)))
    lists = columns.take(columns.kind == Kind.MEM_SIZE)
    return Read(stream, grammar, rows, page, space, tuple(breaks), view, stream.data, lists)


def _joined(columns: Columns, pieces: list[Columns], kept: int) -> Columns:
    """One table of ``pieces``, the first of which are the first ``kept`` of ``columns``: these, where all are alike."""
    rest = join(pieces[1:])
    old = columns.take(slice(kept, None))
    if all(np.array_equal(getattr(rest, name), getattr(old, name)) for name in DTYPES):
        return columns
    joined = {}
    for name, dtype in DTYPES.items():
        joined[name] = room(kept + len(rest), dtype)
        joined[name][:kept], joined[name][kept:] = getattr(columns, name)[:kept], getattr(rest, name)
    return Columns(**joined)


def _rest(walker: Walker, spot: Spot, data: NDArray[np.uint8]) -> Walk:
    """The walk from a spot to the next break, with the payloads of all deltas looked at together."""
    loose = Walker(walker.view, walker.grammar, decodes=False)
    walk = loose.walk(spot)
    columns = columns_of(walk.rows)
    deltas_ = np.flatnonzero(IS_DELTA[columns.kind])
    bad = deltas_[_bad_deltas(columns, deltas_, walker.grammar, data)]
    if not len(bad):
        return walk
    before = loose.walk(spot, int(bad[0]))
    strict = walker.walk(before.spot)
    return Walk(before.rows + strict.rows, strict.spot, strict.why, strict.ended)


def _spot_of(columns: Columns, row: int, facts: Facts, stream: Stream) -> Spot:
    """The spot at which the walk is taken up: at a row of the plain scan, or at the first section."""
    flat = facts.reading.version == ram.VERSION_FLAT
    lists = np.flatnonzero(columns.kind[:row] != Kind.MEM_SIZE)
    if row >= len(columns) or not len(lists):
        lists = np.flatnonzero(columns.kind == Kind.MEM_SIZE)
        if not len(lists):
            return Spot(facts.start + qevm.FileHeader.sizeof(), State.SECTION, NOTHING, False)
        end = int(columns.end(lists[:1])[0])
        section = facts.sections[facts.sections.at(int(columns.offset[lists[0]]))]
        footer = section.owner.section_id if facts.footers and section.owner else None
        return Spot(end, State.RECORD, 0 if flat else NOTHING, False, footer)
    at = int(columns.offset[row])
    section = facts.sections[facts.sections.at(at)]
    footer = section.owner.section_id if facts.footers and section.owner else None
    before = np.flatnonzero(IS_PAGE[columns.kind[:row]])
    block = 0 if flat else int(columns.block[before[-1]]) if len(before) else NOTHING
    return Spot(at, State.RECORD, block, section.type is SectionType.END, footer)


def _settle_blocks(rows: Columns, breaks: list[Break]) -> None:
    """Records after a break whose block is not named are of the block before it, in place."""
    unknown = IS_PAGE[rows.kind] & (rows.block == NO_BLOCK)
    if not breaks or not unknown.any():
        return
    known = np.where(IS_PAGE[rows.kind] & ~unknown, np.arange(len(rows)), -1)
    last = np.maximum.accumulate(known)
    rows.block[unknown] = np.where(last >= 0, rows.block[last], 0)[unknown]


# -- the laws, over all rows at once -----------------------------------------------------------------------------------


def _first_unlawful(columns: Columns, facts: Facts, grammar: Grammar, data: NDArray[np.uint8]) -> int:
    """The first row of a plain scan that breaks a law, or their number."""
    first, before = len(columns), NOTHING
    for part in pieces(len(columns)):
        piece = columns.take(part)
        bad = _bad_words(piece, grammar, before)
        rows = np.flatnonzero(IS_DELTA[piece.kind])
        bad[rows[_bad_deltas(piece, rows, grammar, data)]] = True
        if bad.any():
            first = part.start + int(np.argmax(bad))
            break
        carriers = np.flatnonzero(IS_PAGE[piece.kind])
        before = int(piece.block[carriers[-1]]) if len(carriers) else before
    for offset in _problems(facts):
        first = min(first, int(np.searchsorted(columns.offset, np.uint64(offset))))
    return _first_misframed(columns.take(slice(first)), facts, grammar, data)


def _problems(facts: Facts) -> Iterator[int]:
    """The offsets of what the plain scan complained of in the framing."""
    framing = [
        rule.id
        for rule in (
            rules.UNKNOWN_SECTION,
            rules.BAD_FOOTER,
            rules.BAD_SECTION_TYPE,
            rules.BAD_BLOCK_RECORD,
            rules.BAD_RECORD,
            rules.BLOCK_LIST,
        )
    ]
    return (p.offset for p in facts.problems if p.fatal or p.rule in framing)


def _bad_words(columns: Columns, grammar: Grammar, before: int) -> Mask:
    """Which rows' words no sender writes there, (n,) bool. ``before`` is the block of the page before these rows."""
    kind, flags = columns.kind, columns.flags
    lengths = np.array([b.length if b.declared else 0 for b in grammar.blocks], np.uint64)
    pages = IS_PAGE[kind] & (columns.block < len(lengths))
    allowed = np.zeros(1 << 16, bool)
    allowed[list(grammar.kinds())] = True
    if not grammar.flat:
        allowed[[f | Flag.CONTINUE for f in grammar.kinds()]] = True
    bad = np.array(IS_PAGE[kind] & ~allowed[flags])
    bad |= IS_PAGE[kind] & ~pages
    bad[pages] |= columns.address[pages] >= lengths[columns.block[pages]]
    bad |= kind == Kind.NOOP
    bad |= (kind == Kind.EOS) & ((columns.address != 0) | (flags != Flag.EOS))
    bad |= (kind == Kind.MEM_SIZE) & (flags != Flag.MEM_SIZE)
    bad |= (kind == Kind.FLUSH) & (flags != Flag.MULTIFD_FLUSH)
    if not grammar.modern:
        bad |= (kind == Kind.HOOK) | (kind == Kind.FLUSH)
        rows = np.flatnonzero(IS_PAGE[kind])
        if not grammar.flat and len(rows):
            named = (flags[rows] & Flag.CONTINUE) == 0
            again = named & (columns.block[rows] == np.append(before, columns.block[rows[:-1]]))
            again[0] |= before == NOTHING and not named[0]
            bad[rows[again]] = True
    return bad


def _is_header(flags: NDArray[np.uint8]) -> Mask:
    """Whether senders write these flags, (n,) uint8, in a delta's header, (n,) bool: those that `Walker` takes."""
    known = xbrle.HeaderFlag.XBRLE | xbrle.HeaderFlag.CHECKSUM
    lawful: Mask = ((flags & np.uint8(xbrle.HeaderFlag.XBRLE)) != 0) & (flags <= np.uint8(known))
    return lawful


def _bad_deltas(columns: Columns, rows: Ints, grammar: Grammar, data: NDArray[np.uint8]) -> Mask:
    """Which of these deltas break a law, (n,) bool."""
    dialect = grammar.reading.dialect
    if not len(rows) or dialect is None:
        return np.ones(len(rows), bool)
    bad = ~_is_header(columns.header_flags[rows])
    if grammar.header_flags is not None:
        bad |= columns.header_flags[rows] != grammar.header_flags
    if grammar.pads and grammar.padding is not None:
        bad |= data[columns.payload(rows) - grammar.padding] != 0
    length = columns.length[rows].astype(np.int64)
    bad |= length == 0
    if dialect.encoding is Encoding.RLE:
        bad |= length % xbrle.Pair.sizeof() != 0
    scratch = np.zeros((min(_BATCH, len(rows)), grammar.reading.page_size), np.uint8)
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        verdicts = deltas.apply(
            dialect.encoding, data, columns.payload(part), length[start : start + _BATCH], scratch[: len(part)]
        )
        bad[start : start + _BATCH] |= verdicts != Verdict.OK
    return bad


def _first_misframed(columns: Columns, facts: Facts, grammar: Grammar, data: NDArray[np.uint8]) -> int:
    """The first row before which the sections' heads are not as senders write them, or the number of rows.

    Most heads between two sections' records are the same few bytes, so each form is walked once.
    """
    walker, known, over = Walker(data.data, grammar), dict[bytes, tuple[bool, bool]](), False
    for part in pieces(max(0, len(columns) - 1)):
        ends = np.flatnonzero(columns.kind[part] == Kind.EOS) + part.start
        start, stop = columns.offset[ends].astype(np.int64) + WORD, columns.offset[ends + 1].astype(np.int64)
        short, forms, first, which = _forms(start, stop, data)
        is_end, bad = np.zeros(len(ends), bool), np.zeros(len(ends), bool)
        for form, at in zip(forms, first.tolist(), strict=True):
            if form.tobytes() not in known:
                section = facts.sections[facts.sections.at(int(columns.offset[ends[at]]))]
                footer = section.owner.section_id if grammar.footers and section.owner else None
                walk = walker.walk(Spot(int(start[at]), State.SECTION, ANY, False, footer), 1, int(stop[at]))
                fits = walk.whole and walk.spot.offset == stop[at] and walk.spot.state is State.RECORD
                known[form.tobytes()] = bool(walk.spot.last), not (fits or (walk.ended and grammar.modern))
        if len(forms):
            is_end[short], bad[short] = np.array([known[form.tobytes()] for form in forms])[which].T
        bad[np.cumsum(is_end) - is_end + over > 0] = True  # no part of RAM follows its end
        over = over or bool(is_end.any())
        if bad.any():
            return int(ends[np.argmax(bad)]) + 1
    return len(columns)


def _forms(start: Ints, stop: Ints, data: NDArray[np.uint8]) -> tuple[Ints, NDArray[np.uint8], Ints, Ints]:
    """The bytes between some offsets, where they are few: the places of these, the forms that occur among them, (f,
    `_GAP`) uint8, the place of the first that has each form, and which form each has.
    """
    size = stop - start
    short = np.flatnonzero((size > 0) & (size <= _GAP))
    window = np.zeros((len(short), _GAP), np.uint8)
    for column in range(int(size[short].max(initial=0))):
        inside = column < size[short]
        window[inside, column] = data[start[short[inside]] + column]
    forms, first, which = np.unique(window, axis=0, return_index=True, return_inverse=True)
    return short, forms, short[first], which.reshape(-1)


# -- where the walk goes on --------------------------------------------------------------------------------------------


def _resumes(walker: Walker, walk: Walk, grammar: Grammar) -> Spot | None:
    """The first spot after the break from which records follow each other again."""
    at, block = walk.spot.offset, walk.spot.block
    if at + WORD >= len(walker.view):
        return None
    data = np.frombuffer(walker.view, np.uint8)
    for place, in_section in islice(candidates(data, at + 1, at + 1 + REACH, grammar), TRIES_MAX):
        state = State.SECTION if in_section else State.RECORD
        for selected in dict.fromkeys((max(block, ANY), ANY)):
            spot = Spot(place, state, 0 if grammar.flat else selected, None, _footer(grammar))
            spot = spot._replace(footer=None) if in_section else spot
            trial = walker.walk(spot, ENOUGH)
            rows = len(trial.rows)
            if trial.whole and (rows >= ENOUGH or (trial.ended and (rows >= 2 or in_section))):
                return spot
    return None


def _footer(grammar: Grammar) -> int | None:
    """The id in the footer of RAM's sections, or None where they have none."""
    ids = [number for number, name in grammar.owners.items() if name == ram.IDSTR]
    return ids[0] if grammar.footers and ids else None


def candidates(data: NDArray[np.uint8], start: int, stop: int, grammar: Grammar) -> Iterator[tuple[int, bool]]:
    """The offsets in [start, stop) at which a record's word or (True) a section's head can stand, rising."""
    stop = min(stop, len(data) - WORD)
    step = 1 << 15
    page_size = grammar.reading.page_size
    table = np.zeros(page_size, bool)
    kinds = grammar.kinds()
    table[[f for f in kinds if f < page_size]] = True
    if not grammar.flat:
        table[[f | Flag.CONTINUE for f in kinds if f < page_size]] = True
    limit = np.uint64(max(b.length for b in grammar.blocks))
    types = (SectionType.PART, SectionType.END, SectionType.FULL)
    for first in range(start, stop, step):
        count = min(step, stop - first)
        words = np.lib.stride_tricks.as_strided(data[first:], (count, WORD), (1, 1)).copy().view(">u8")[:, 0]
        flags = (words & np.uint64(page_size - 1)).astype(np.int64)
        is_word = (table[flags] & (words < limit)) | (words == np.uint64(Flag.EOS))
        number = (words >> np.uint64(8 * (WORD - 1 - ID))) & np.uint64(0xFFFFFFFF)
        is_head = np.isin(words >> np.uint64(8 * (WORD - 1)), [int(t) for t in types]) & (number < 1 << 16)
        for place in np.flatnonzero(is_word | is_head).tolist():
            if is_word[place]:
                yield first + place, False
            if is_head[place]:
                yield first + place, True
