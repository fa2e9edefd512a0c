"""The walk over RAM records: a plain loop from bytes to offsets, then array operations from offsets to columns.

One regular expression takes a run of equal records of fixed size. The loop in C goes from bytes to columns at once,
since it has a record's word at hand. All sizes and offsets come from the grammars.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import overlapped
from ..codec import native
from ..codec.layout import dtype_of
from ..codec.native import Place
from ..formats import ram
from ..formats.ram import Flag, Kind
from ..model import Reading
from ..table.columns import DTYPES, NO_BLOCK, Columns
from ..table.kinds import IS_PAGE
from .record import delta_kind

Ints = NDArray[np.int64]

WORD = ram.Word.sizeof()
_WORD = dtype_of(ram.Word)
_NUMBER = dtype_of(ram.Number)
RUN = 3  # equal records in a row after which the regular expression is tried
LONG_RUN = 64  # equal records in a row after which array operations are
ARRAY = 1 << 13  # records that array operations look at together
STRIDE = 64  # records that the loop takes before it measures how small they were
SMALL = 384  # bytes of a record on average, up to which a search for headers beats the loop
LEAP = 1 << 15  # bytes that are searched at first; twice as many after each success
LEAP_MAX = 1 << 18
PENDING_MAX = 1 << 15  # records that are gathered together, so that their columns stay in the processor's cache


def _parts() -> Iterator[tuple[slice, np.dtype[Any]]]:
    """Which bytes each column of `PENDING_MAX` rows takes, one after the other, and its type."""
    at = 0
    for dtype in map(np.dtype, DTYPES.values()):
        size = PENDING_MAX * dtype.itemsize
        yield slice(at, at + size), dtype
        at += size


_PARTS = tuple(_parts())
_ROW = sum(np.dtype(dtype).itemsize for dtype in DTYPES.values())


def _reader_of(dtype: np.dtype[Any]) -> struct.Struct:
    """What reads one number of this dtype, of 4 bytes at most."""
    order = "<" if dtype.newbyteorder("<") == dtype else ">"
    return struct.Struct(order + dtype.char)


_ZLIB_LENGTH = _reader_of(_NUMBER)


@dataclass(slots=True)
class Pending:
    """Records that the walk has passed and whose columns are not gathered yet. Offsets are relative to the window.

    ``pieces`` and then ``at`` say where they begin. A negative entry ~p of ``at`` stands for a run: ``counts[k]``
    records of ``steps[k]`` bytes each, from p on. ``names`` has the offset of each record that names a block, and that
    block. ``special`` has the kind and payload length of records whose flags alone do not tell them, by offset.

    The loop in C gives its records' columns at once. They stand in ``filled``, in these records' own rows.
    ``stretches`` has the first row and the end of each such part.
    """

    pieces: list[Ints] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    names: list[tuple[int, int]] = field(default_factory=list)
    special: dict[int, tuple[Kind, int]] = field(default_factory=dict)
    filled: Columns | None = None
    stretches: list[tuple[int, int]] = field(default_factory=list)
    _beside: int = 0  # how many more records there are than entries in `at`

    def __len__(self) -> int:
        return len(self.at) + self._beside

    def add_run(self, at: int, count: int, step: int) -> None:
        """Note a run."""
        self.at.append(~at)
        self.counts.append(count)
        self.steps.append(step)
        self._beside += count - 1

    def add_piece(self, offsets: Ints) -> None:
        """Note records at these offsets, (n,) int64."""
        self._beside += len(self.at) + len(offsets)
        self.pieces += [_expand(self.at, self.counts, self.steps), offsets]
        self.at, self.counts, self.steps = [], [], []

    def room(self) -> Columns:
        """Columns of `PENDING_MAX` rows. The loop in C fills them from row ``len`` on. `add_stretch` says how far."""
        if self.filled is None:  # in one piece of memory, which the allocator can give out again, still mapped
            memory = np.empty(PENDING_MAX * _ROW, np.uint8)
            self.filled = Columns(*(memory[part].view(dtype) for part, dtype in _PARTS))
        return self.filled

    def add_stretch(self, count: int) -> None:
        """Note that the next ``count`` rows are filled."""
        if count:
            self.stretches.append((len(self), len(self) + count))
            self._beside += count

    @property
    def is_filled(self) -> bool:
        """Whether the rows of all records are filled."""
        return not self.at and not self.pieces

    def selected(self, block: int) -> int:
        """The block that is selected after these records, where ``block`` was selected before them."""
        return self.names[-1][1] if self.names else block

    def select(self, block: int) -> None:
        """Put the records so far into this block. None of them may name one."""
        if self.filled is not None:
            for first, end in self.stretches:
                self.filled.block[first:end] = block

    def last(self, base: int) -> int:
        """The offset in the capture of the last record, for a window from ``base`` on. It may not belong to a run."""
        if self.filled is not None and self.stretches and self.stretches[-1][1] == len(self):
            return int(self.filled.offset[len(self) - 1])
        return base + (self.at[-1] if self.at else int(self.pieces[-1][-1]))

    def rows(self) -> Ints | slice:
        """The rows that are not filled, (n,) int64."""
        if not self.stretches:
            return slice(len(self))
        not_filled = np.ones(len(self), bool)
        for first, end in self.stretches:
            not_filled[first:end] = False
        return np.flatnonzero(not_filled)

    def places(self) -> Ints:
        """Where in the window each record begins whose row is not filled, (n,) int64."""
        rest = _expand(self.at, self.counts, self.steps)
        return np.concatenate([*self.pieces, rest]) if self.pieces else rest

    def offsets(self, base: int) -> Ints:
        """The offset in the capture of every record, (n,) int64, for a window from ``base`` on."""
        not_filled = self.places() + base
        if self.filled is None:
            return not_filled
        offsets = self.filled.offset[: len(self)].astype(np.int64)
        offsets[self.rows()] = not_filled
        return offsets


@cache
def _runs_pattern(page_size: int, steps: tuple[tuple[int, int], ...]) -> re.Pattern[bytes]:
    """Matches a run of records of one fixed size, possessively, so that it takes no memory and never backtracks."""
    low = page_size.bit_length() - 1 - 8  # flag bits that reach into the second byte of the word
    clear = b"".join(re.escape(bytes([high])) for high in range(0, 256, 1 << low))
    kinds = (
        b"(?:\\x00.{%d}[%s]%s.{%d})++" % (WORD - 3, clear, re.escape(bytes([flags])), step - WORD)
        for flags, step in steps
    )
    return re.compile(b"(?s:" + b"|".join(kinds) + b")")


@cache
def _tables(version: int, delta: Kind) -> tuple[tuple[Kind, ...], list[bool]]:
    """The kind for each value of the flags, and whether such a record carries a block's name."""
    kinds = ram.kind_table(version, delta)
    return kinds, [ram.is_named(f, version, k) for f, k in enumerate(kinds)]


class Layout:
    """What the walk needs to know of a dialect, byte order, version and page size, derived from the grammars."""

    def __init__(self, reading: Reading) -> None:
        self.page_size = reading.page_size
        dialect = reading.dialect
        named = reading.version != ram.VERSION_FLAT
        kept = Flag.CONTINUE if named else Flag(0)
        self.page_head = _NUMBER.itemsize if reading.page_sum else 0
        steps = {int(Flag.COMPRESS | kept): WORD + ram.Fill.sizeof()}
        if named or reading.page_sum is not None:
            steps[int(Flag.PAGE | kept)] = WORD + self.page_head + reading.page_size
        self.steps = [steps.get(f, 0) for f in range(256)]
        self.dup = int(Flag.COMPRESS | kept), WORD + ram.Fill.sizeof()
        self.runs = _runs_pattern(reading.page_size, tuple(steps.items()))
        self.fixed = np.uint64(0xFF << 56 | (reading.page_size - 1))  # bits of a word that are equal in a run
        self.clear = (reading.page_size - 1) >> 8  # bits of the byte before the last that are flags
        self.delta = Kind.XBRLE
        self.delta_flags = -1
        self.header: np.dtype[np.void] | None = None
        self.counted = 0
        self.limit = reading.page_size
        self.length = struct.Struct("B")
        self.length_at = 0
        self.beside = WORD  # bytes of a delta without its payload, where it does not name its block
        if dialect is not None:
            self.delta = delta_kind(dialect)
            self.delta_flags = int(ram.delta_flag(reading.version) | kept)
            self.header = dtype_of(dialect.header(reading.endian))
            self.beside += self.header.itemsize
            self.counted = dialect.length_counts
            self.limit = dialect.page_limit * reading.page_size
            dtype, self.length_at = self.header.fields["length"][:2]  # type: ignore[index]
            self.length = _reader_of(dtype)
        # a page that came as a zlib stream: its flags, in the low byte and in the one above; how long it may be
        self.packed = int(Flag.COMPRESS_PAGE | kept) & 0xFF if named else -1
        self.packed_high = int(Flag.COMPRESS_PAGE) >> 8
        self.packed_most = ram.ZLIB_PAGES_MAX * reading.page_size
        # what each value of a word's flags says, unknown bits included; heads do not count the bytes of a name
        kinds, names = _tables(reading.version, self.delta)
        heads = {Kind.PAGE: self.page_head, Kind.COMPRESSED: _NUMBER.itemsize, self.delta: self.beside - WORD}
        lengths = {Kind.DUP: ram.Fill.sizeof(), Kind.PAGE: reading.page_size}
        self.kinds = np.resize(np.array(kinds, np.uint8), reading.page_size)
        self.named = np.resize(np.array(names, bool), reading.page_size)
        sizes = [WORD + name + heads.get(k, 0) for name, k in zip(names, kinds, strict=True)]
        self.heads = np.resize(np.array(sizes, np.uint16), reading.page_size)
        self.lengths = np.resize(np.array([lengths.get(k, 0) for k in kinds], np.uint32), reading.page_size)
        self._tables = native.Tables(self.kinds, self.heads, self.lengths, np.array(self.steps, np.uint32))
        self._places = self._for_loop()

    def _for_loop(self) -> Ints:
        """The layout as the loop in C takes it, (len(Place),) int64."""
        fields: Mapping[str, Any] = (self.header.fields if self.header is not None else None) or {}
        head = WORD + _NUMBER.itemsize  # of a page that came as a zlib stream
        places = {
            Place.WORD_BYTES: WORD,
            Place.NUMBER_BYTES: _NUMBER.itemsize,
            Place.SUM_KIND: Kind.PAGE if self.page_head else -1,
            Place.DELTA_FLAGS: self.delta_flags,
            Place.DELTA_LENGTH_AT: WORD + self.length_at,
            Place.DELTA_LENGTH_BYTES: self.length.size,
            Place.DELTA_IS_BIG: self.length.format.startswith(">"),
            Place.DELTA_FLAGS_AT: WORD + fields["flags"][1] if "flags" in fields else 0,
            Place.DELTA_CHECKSUM_AT: WORD + fields["checksum"][1] if "checksum" in fields else -1,
            Place.DELTA_LEAST: self.counted,
            Place.DELTA_MOST: self.counted + self.limit,
            Place.DELTA_BESIDE: self.beside - self.counted,
            Place.PACKED_FLAGS: self.packed,
            Place.PACKED_HIGH: self.packed_high,
            Place.PACKED_HIGH_AT: WORD - 2,
            Place.PACKED_HIGH_MASK: self.clear,
            Place.PACKED_LENGTH_AT: WORD,
            Place.PACKED_MAGIC_AT: head,
            Place.PACKED_MAGIC_MASK: ram.ZLIB_METHOD,
            Place.PACKED_MAGIC: ram.ZLIB_DEFLATE,
            Place.PACKED_MOST: self.packed_most,
            Place.PACKED_BESIDE: head,
        }
        return np.array([places[p] for p in Place], np.int64)

    def walk(self, view: memoryview, base: int, at: int, limit: int, pending: Pending, block: int) -> int:
        """Store records from ``at`` on. Returns where a record begins that needs the slow path.

        ``base`` is the window's offset in the capture. ``block`` was selected before the pending records. No record
        begins at ``limit`` or later, though the last one may reach past it. The walk also ends with `PENDING_MAX`
        records pending, or a few more.
        """
        if native.loops is not None:
            return self._step(native.loops, view, base, at, limit, pending, block)
        while at < limit and len(pending) < PENDING_MAX:
            start = at
            at, going = self._loop(view, at, limit, pending)
            if not going:
                break
            if at - start <= STRIDE * SMALL:
                at = self._leap(view, at, limit, pending)
        return at

    def _step(
        self, loops: ModuleType, view: memoryview, base: int, at: int, limit: int, pending: Pending, block: int
    ) -> int:
        """What `walk` does, in C."""
        columns, selected = _in_order(pending.room()), pending.selected(block)
        count, end = loops.walk(view, base, at, limit, len(pending), selected, columns, self._tables, self._places)
        pending.add_stretch(count)
        return int(end)

    def _loop(self, view: memoryview, at: int, limit: int, pending: Pending) -> tuple[int, bool]:
        """Walk over some records. Returns where the next begins, and whether the walk can go on there.

        This is a Python loop over records, since only a delta's own bytes say where it ends. What repeats is taken by
        one regular expression a run.
        """
        steps, match, keep = self.steps, self.runs.match, pending.at.append
        delta, least, most = self.delta_flags, self.counted, self.counted + self.limit
        beside = self.beside - self.counted
        read, flags_at, length_at = self.length.unpack_from, WORD - 1, WORD + self.length_at
        packed, packed_head = self.packed, WORD + _NUMBER.itemsize
        last = seen = 0
        for _ in range(STRIDE):
            if at >= limit:
                return at, False
            flags = view[at + flags_at]
            step = steps[flags]
            if step:
                if flags == last:
                    seen += 1
                    if seen == RUN:
                        run = match(view, at, min(limit, at + LONG_RUN * step))
                        if run is not None:
                            count = (run.end() - at) // step
                            if count == LONG_RUN:
                                count += self._run(view, run.end(), limit, flags)
                            pending.add_run(at, count, step)
                            at += count * step
                            last = seen = 0
                            continue
                else:
                    last, seen = flags, 1
                keep(at)
                at += step
            elif flags == delta:
                last = 0
                (length,) = read(view, at + length_at)
                if not least <= length <= most:
                    return at, False
                keep(at)
                at += beside + length
            elif flags == packed and view[at + flags_at - 1] & self.clear == self.packed_high:
                last = 0
                (length,) = _ZLIB_LENGTH.unpack_from(view, at + WORD)
                if view[at + packed_head] & ram.ZLIB_METHOD != ram.ZLIB_DEFLATE or not 0 < length <= self.packed_most:
                    return at, False
                keep(at)
                at += packed_head + length
            else:
                return at, False
        return at, True

    def _run(self, view: memoryview, at: int, limit: int, flags: int) -> int:
        """How many records with these flags, all of one size, stand in a row from ``at`` on, `PENDING_MAX` at most."""
        step = self.steps[flags]
        most = min((limit - at) // step, PENDING_MAX)
        for start in range(0, most, ARRAY):
            count = min(ARRAY, most - start)
            words = np.ndarray((count,), _WORD, view, at + start * step, (step,))
            differing = np.flatnonzero(words & self.fixed != flags)
            if len(differing):
                return start + int(differing[0])
        return most

    def _leap(self, view: memoryview, at: int, limit: int, pending: Pending) -> int:
        """Walk over small deltas and dup pages, many at a time. Returns where the next record begins."""
        reach = LEAP
        while at < limit and len(pending) < PENDING_MAX:
            offsets, end = self._chain(np.frombuffer(view, np.uint8)[at : min(at + reach, limit)])
            if not len(offsets):
                break
            pending.add_piece(offsets + at)
            at += end
            if end < reach // 2:
                break
            reach = min(2 * reach, LEAP_MAX)
        return at

    def _chain(self, data: NDArray[np.uint8]) -> tuple[Ints, int]:
        """The offsets of deltas and dup pages from the beginning of ``data``, and where the last of them ends.

        Whatever looks like a word is taken for one at first, and left out again where no other record ends there. Of
        the rest those count that begin where the one before them ends.
        """
        dup_flags, dup_size = self.dup
        flags = data[WORD - 1 : max(0, len(data) - self.beside)]
        at = np.flatnonzero((flags == self.delta_flags) | (flags == dup_flags))
        at = at[(data[at] == 0) & (data[at + WORD - 2] & self.clear == 0)]
        if not len(at) or at[0]:
            return at[:0], 0
        is_delta = data[at + WORD - 1] == self.delta_flags
        length = (
            overlapped(data, at + WORD + self.length_at, np.dtype(self.length.format)).astype(np.int64) - self.counted
        )
        end = at + np.where(is_delta, self.beside + length, dup_size)
        end[(end > len(data)) | (is_delta & ((length < 0) | (length > self.limit)))] = 0  # no record follows these
        if not (end[:-1] == at[1:]).all():
            follows = np.zeros(len(data) + 1, bool)
            follows[end] = True
            follows[0] = True
            is_record = follows[at]
            at, end = at[is_record], end[is_record]
        broken = np.flatnonzero(end[:-1] != at[1:])
        count = int(broken[0]) + 1 if len(broken) else len(at)
        if not end[count - 1]:
            count -= 1
        return at[:count], int(end[count - 1]) if count else 0

    def delta_length(self, view: memoryview, header: int) -> int:
        """The payload bytes that the delta header at ``view[header]`` claims."""
        return int(self.length.unpack_from(view, header + self.length_at)[0]) - self.counted

    def gather(self, view: memoryview, base: int, real: int, pending: Pending, block: int) -> tuple[Columns, int]:
        """The columns of all pending records, and the block that is selected after them.

        ``view`` begins at offset ``base`` of the capture and holds ``real`` bytes of it. Only the last record can be
        cut. It stays where at least one byte of its payload is present, with the length that is present.
        """
        count = len(pending)
        if pending.filled is None:
            columns = self._fields(view, base, pending, block)
        else:
            columns = pending.filled.take(slice(count))
            if count < PENDING_MAX // 2:  # few records do not keep the memory of many
                columns = columns.copy()
            if not pending.is_filled:
                gathered, rows = self._fields(view, base, pending, block), pending.rows()
                for name in DTYPES:
                    getattr(columns, name)[rows] = getattr(gathered, name)
        if count:
            present = base + real - int(columns.offset[-1]) - int(columns.head[-1])
            if present < min(1, int(columns.length[-1])):
                count -= 1
            columns.length[-1] = min(int(columns.length[-1]), max(present, 0))
        return columns.take(slice(count)), pending.selected(block)

    def _fields(self, view: memoryview, base: int, pending: Pending, block: int) -> Columns:
        """The columns of the pending records whose rows are not filled. The arguments are as in `gather`."""
        at = pending.places()
        data = np.frombuffer(view, np.uint8)
        words = overlapped(data, at, _WORD).astype(np.uint64)
        low = np.uint64(self.page_size - 1)
        flags = (words & low).astype(np.uint16)
        kind = self.kinds.take(flags)
        head = self.heads.take(flags)
        length = self.lengths.take(flags)
        checksum = np.zeros(len(at), np.uint32)
        header_flags = np.zeros(len(at), np.uint8)
        named = self.named.take(flags)
        for row, (special, size) in pending.special.items():
            i = int(np.searchsorted(at, row))
            kind[i], head[i], length[i], named[i] = special, WORD, size, False
        rows = np.flatnonzero(named)
        head[rows] += data[at[rows] + WORD]
        if self.page_head:
            rows = np.flatnonzero(kind == Kind.PAGE)
            checksum[rows] = overlapped(data, at[rows] + head[rows] - self.page_head, _NUMBER)
        rows = np.flatnonzero(kind == Kind.COMPRESSED)
        if len(rows):
            length[rows] = overlapped(data, at[rows] + head[rows] - _NUMBER.itemsize, _NUMBER)
        rows = np.flatnonzero(kind == self.delta)
        if len(rows) and self.header is not None:
            header = overlapped(data, at[rows] + head[rows] - self.header.itemsize, self.header)
            length[rows] = np.maximum(0, header["length"].astype(np.int64) - self.counted)
            header_flags[rows] = header["flags"]
            if "checksum" in (self.header.names or ()):
                checksum[rows] = header["checksum"]

        blocks = np.full(len(at), block, np.uint16)
        if pending.names:
            named_at, named_blocks = np.array(pending.names, np.int64).T
            last_name = np.searchsorted(named_at, at, side="right") - 1
            blocks = np.where(last_name < 0, block, named_blocks[last_name]).astype(np.uint16)
        blocks[~IS_PAGE.take(kind)] = NO_BLOCK
        return Columns(
            offset=(at + base).astype(np.uint64),
            address=words & ~low,
            length=length,
            checksum=checksum,
            flags=flags,
            block=blocks,
            head=head,
            kind=kind,
            header_flags=header_flags,
        )


_in_order = attrgetter(*DTYPES)  # the columns of a table, as a tuple


def _expand(entries: list[int], run_counts: list[int], run_steps: list[int]) -> Ints:
    """The offset of every record, those of runs included. The arguments are as in `Pending`."""
    at = np.array(entries, np.int64)
    runs = np.flatnonzero(at < 0)
    if not len(runs):
        return at
    at[runs] = ~at[runs]
    counts = np.ones(len(at), np.int64)
    counts[runs] = run_counts
    steps = np.zeros(len(at), np.int64)
    steps[runs] = run_steps
    out = np.repeat(steps, counts)  # the distance of each record from the one before
    firsts = np.cumsum(counts) - counts
    lasts = at + steps * (counts - 1)
    out[firsts[0]] = at[0]
    out[firsts[1:]] = at[1:] - lasts[:-1]
    return np.cumsum(out, out=out)
