"""The walk over RAM records: bytes to offsets in a plain loop, offsets to columns in array operations.

Runs of equal fixed-size records are taken by one regular expression. The loop in C goes from bytes to columns at once,
while a record's word is at hand. All sizes and offsets come from the grammars.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..codec import native
from ..codec.layout import dtype_of
from ..codec.native import Place
from ..formats import ram
from ..formats.dialects import Encoding
from ..formats.ram import Flag, Kind
from ..model import Reading
from ..table.columns import DTYPES, NO_BLOCK, Columns
from ..table.kinds import IS_PAGE

Ints = NDArray[np.int64]

WORD = ram.Word.sizeof()
_WORDS = np.dtype(">u8")
_INT = np.dtype(">u4")
_LENGTH = struct.Struct(">I")  # of a zlib stream
RUN = 3  # equal records in a row before the regular expression is asked
LONG_RUN = 64  # and from which array operations are
ARRAY = 1 << 13  # records that these look at together
STRIDE = 64  # records that the loop takes before it looks back at how small they were
SMALL = 384  # bytes of a record on average, up to which a search for headers beats the loop
LEAP = 1 << 15  # bytes that are searched at first; twice as many after each success
LEAP_MAX = 1 << 18
PIECE = 1 << 15  # records whose fields are gathered together: what is made of them stays in the cache


@dataclass(slots=True)
class Pending:
    """Records that were walked over and whose columns are not put together yet. Offsets are relative to the window.

    Those of ``pieces`` come first. A negative entry ~p stands for a run: ``counts[k]`` records of ``steps[k]`` bytes
    each, from p on. ``special`` holds, by offset, the kind and payload length of records that their flags alone do not
    tell. The loop in C gives its records' columns at once: ``filled`` has them in these records' own rows, of which
    ``stretches`` gives the first and the end.
    """

    pieces: list[Ints] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    names: list[tuple[int, int]] = field(default_factory=list)
    special: dict[int, tuple[Kind, int]] = field(default_factory=dict)
    filled: Columns | None = None
    stretches: list[tuple[int, int]] = field(default_factory=list)
    _beside: int = 0  # records that are not one of `at` each

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
        """Columns of `PIECE` rows, for the loop in C to fill from row ``len`` on; `add_stretch` says how far it did."""
        if self.filled is None:  # one piece of memory, which the next scan's piece may get again, still mapped
            sizes = [PIECE * np.dtype(dtype).itemsize for dtype in DTYPES.values()]
            parts = np.split(np.empty(sum(sizes), np.uint8), np.cumsum(sizes[:-1]))
            self.filled = Columns(*(part.view(dtype) for part, dtype in zip(parts, DTYPES.values(), strict=True)))
        return self.filled

    def add_stretch(self, count: int) -> None:
        """Note that the next ``count`` rows are filled."""
        if count:
            self.stretches.append((len(self), len(self) + count))
            self._beside += count

    def selected(self, block: int) -> int:
        """The block that the last of these records left selected, where ``block`` was before them."""
        return self.names[-1][1] if self.names else block

    def select(self, block: int) -> None:
        """Put the records so far, none of which names a block, into this one."""
        if self.filled is not None:
            for first, end in self.stretches:
                self.filled.block[first:end] = block

    def last(self, base: int) -> int:
        """The offset in the capture of the last record, which is none of a run, for a window from ``base`` on."""
        if self.filled is not None and self.stretches and self.stretches[-1][1] == len(self):
            return int(self.filled.offset[len(self) - 1])
        return base + (self.at[-1] if self.at else int(self.pieces[-1][-1]))

    def rows(self) -> Ints | slice:
        """The rows that are not filled, (n,) int64."""
        if not self.stretches:
            return slice(len(self))
        other = np.ones(len(self), bool)
        for first, end in self.stretches:
            other[first:end] = False
        return np.flatnonzero(other)

    def places(self) -> Ints:
        """Where in the window each record begins that is not filled, (n,) int64."""
        rest = _expand(self.at, self.counts, self.steps)
        return np.concatenate([*self.pieces, rest]) if self.pieces else rest

    def offsets(self, base: int) -> Ints:
        """The offset in the capture of every record, (n,) int64, for a window from ``base`` on."""
        own = self.places() + base
        if self.filled is None:
            return own
        offsets = self.filled.offset[: len(self)].astype(np.int64)
        offsets[self.rows()] = own
        return offsets


@cache
def _runs_pattern(page_size: int, steps: tuple[tuple[int, int], ...]) -> re.Pattern[bytes]:
    """Matches a run of one fixed-size kind, possessively: no memory, no backtracking."""
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
    """What the walk needs to know of one dialect, byte order, version and page size, derived from the grammars."""

    def __init__(self, reading: Reading) -> None:
        self.page_size = reading.page_size  # as it is now: the reading can change before the pending are gathered
        dialect = reading.dialect
        named = reading.version != ram.VERSION_FLAT
        kept = Flag.CONTINUE if named else Flag(0)
        self.page_head = Int32ub.sizeof() if reading.page_sum else 0
        steps = {int(Flag.COMPRESS | kept): WORD + ram.Fill.sizeof()}
        if named or reading.page_sum is not None:
            steps[int(Flag.PAGE | kept)] = WORD + self.page_head + reading.page_size
        self.steps = [steps.get(f, 0) for f in range(256)]
        self.dup = int(Flag.COMPRESS | kept), WORD + ram.Fill.sizeof()
        self.runs = _runs_pattern(reading.page_size, tuple(steps.items()))
        self.fixed = np.uint64(0xFF << 56 | (reading.page_size - 1))  # bits of a word that a run has in common
        self.clear = (reading.page_size - 1) >> 8  # bits of the byte before the last that are flags
        self.delta = Kind.XBRLE
        self.delta_flags = -1
        self.header: np.dtype[np.void] | None = None
        self.counted = 0
        self.limit = reading.page_size
        self.length = struct.Struct("B")
        self.length_at = 0
        self.beside = WORD  # what a delta takes beside its payload, where no name stands
        if dialect is not None:
            self.delta = Kind.XBZRLE if dialect.encoding is Encoding.ZRUN else Kind.XBRLE
            self.delta_flags = int(ram.delta_flag(reading.version) | kept)
            self.header = dtype_of(dialect.header(reading.endian))
            self.beside += self.header.itemsize
            self.counted = dialect.length_counts
            self.limit = dialect.page_limit * reading.page_size
            kind, self.length_at = self.header.fields["length"][:2]  # type: ignore[index]
            little = kind.newbyteorder("<") == kind
            self.length = struct.Struct(("<" if little else ">") + kind.char)
        # of a page that came as a zlib stream: its flags, in the low byte and in the one above; how long it may be
        self.packed = int(Flag.COMPRESS_PAGE | kept) & 0xFF if named else -1
        self.packed_high = int(Flag.COMPRESS_PAGE) >> 8
        self.packed_most = ram.ZLIB_PAGES_MAX * reading.page_size
        # what a word's flags say, whatever the bits above those known; of `heads` a name's bytes are left out
        kinds, names = _tables(reading.version, self.delta)
        heads = {Kind.PAGE: self.page_head, Kind.COMPRESSED: _INT.itemsize, self.delta: self.beside - WORD}
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
        head = WORD + _INT.itemsize  # of a page that came as a zlib stream
        places = {
            Place.WORD_BYTES: WORD,
            Place.NUMBER_BYTES: _INT.itemsize,
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
        """Store records from ``at`` on; returns where it met something for the slow path.

        ``base`` is the window's offset in the capture; ``block`` was selected before the pending records. No record
        begins at ``limit`` or later, though the last one may reach past it. With `PIECE` records pending, or a few
        more, it ends as well.
        """
        if native.loops is not None:
            return self._step(native.loops, view, base, at, limit, pending, block)
        while at < limit and len(pending) < PIECE:
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
        to, now = pending.room(), pending.selected(block)
        found, end = loops.walk(view, base, at, limit, len(pending), now, _in_order(to), self._tables, self._places)
        pending.add_stretch(found)
        return int(end)

    def _loop(self, view: memoryview, at: int, limit: int, pending: Pending) -> tuple[int, bool]:
        """Walk over some records; returns where the next begins, and whether to go on with it.

        A Python loop over records, since where a delta ends is known only from its own bytes; what repeats is taken by
        one regular expression a run.
        """
        steps, match, keep = self.steps, self.runs.match, pending.at.append
        delta, least, most = self.delta_flags, self.counted, self.counted + self.limit
        beside = self.beside - self.counted
        read, flags_at, length_at = self.length.unpack_from, WORD - 1, WORD + self.length_at
        packed, packed_head = self.packed, WORD + _INT.itemsize
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
                (length,) = _LENGTH.unpack_from(view, at + WORD)
                if view[at + packed_head] & ram.ZLIB_METHOD != ram.ZLIB_DEFLATE or not 0 < length <= self.packed_most:
                    return at, False
                keep(at)
                at += packed_head + length
            else:
                return at, False
        return at, True

    def _run(self, view: memoryview, at: int, limit: int, flags: int) -> int:
        """How many records with these flags, all of one size, follow each other from ``at`` to ``limit``; `PIECE` at
        most.
        """
        step = self.steps[flags]
        most = min((limit - at) // step, PIECE)
        for start in range(0, most, ARRAY):
            count = min(ARRAY, most - start)
            words = np.ndarray((count,), _WORDS, view, at + start * step, (step,))
            other = np.flatnonzero(words & self.fixed != flags)
            if len(other):
                return start + int(other[0])
        return most

    def _leap(self, view: memoryview, at: int, limit: int, pending: Pending) -> int:
        """Walk over small deltas and dup pages, many at a time; returns where the next record begins."""
        reach = LEAP
        while at < limit and len(pending) < PIECE:
            found, end = self._chain(np.frombuffer(view, np.uint8)[at : min(at + reach, limit)])
            if not len(found):
                break
            pending.add_piece(found + at)
            at += end
            if end < reach // 2:
                break
            reach = min(2 * reach, LEAP_MAX)
        return at

    def _chain(self, data: NDArray[np.uint8]) -> tuple[Ints, int]:
        """The offsets of deltas and dup pages from the beginning of ``data``, and where the last of them ends.

        What looks like a word is taken for one, and left out again where no other record ends there. The rest is proven
        as far as each record begins where the one before it ends.
        """
        dup_flags, dup_size = self.dup
        flags = data[WORD - 1 : max(0, len(data) - self.beside)]
        at = np.flatnonzero((flags == self.delta_flags) | (flags == dup_flags))
        at = at[(data[at] == 0) & (data[at + WORD - 2] & self.clear == 0)]
        if not len(at) or at[0]:
            return at[:0], 0
        is_delta = data[at + WORD - 1] == self.delta_flags
        length = _values(data, at + WORD + self.length_at, np.dtype(self.length.format)).astype(np.int64) - self.counted
        end = at + np.where(is_delta, self.beside + length, dup_size)
        end[(end > len(data)) | (is_delta & ((length < 0) | (length > self.limit)))] = 0  # nothing follows these
        if not (end[:-1] == at[1:]).all():
            follows = np.zeros(len(data) + 1, bool)
            follows[end] = True
            follows[0] = True
            mine = follows[at]
            at, end = at[mine], end[mine]
        broken = np.flatnonzero(end[:-1] != at[1:])
        count = int(broken[0]) + 1 if len(broken) else len(at)
        if not end[count - 1]:
            count -= 1
        return at[:count], int(end[count - 1]) if count else 0

    def delta_length(self, view: memoryview, header: int) -> int:
        """The payload bytes that the delta header at ``view[header]`` claims."""
        return int(self.length.unpack_from(view, header + self.length_at)[0]) - self.counted

    def gather(self, view: memoryview, base: int, real: int, pending: Pending, block: int) -> tuple[Columns, int]:
        """The columns of all pending records, and the block that the last of them left selected.

        ``view`` begins at offset ``base`` of the capture and holds ``real`` bytes of it. A last record that is cut
        stays where at least one byte of its payload is there, with the length that is there.
        """
        count = len(pending)
        columns = self._fields(view, base, pending, block)
        if pending.filled is not None:
            own, columns, rows = columns, pending.filled.take(slice(count)), pending.rows()
            if count < PIECE // 2:  # who keeps it does not keep the room for many
                columns = columns.take(np.arange(count))
            for name in DTYPES:
                getattr(columns, name)[rows] = getattr(own, name)
        if count:  # only the last one can be cut
            there = base + real - int(columns.offset[-1]) - int(columns.head[-1])
            if there < min(1, int(columns.length[-1])):
                count -= 1
            columns.length[-1] = min(int(columns.length[-1]), max(there, 0))
        return columns.take(slice(count)), pending.selected(block)

    def _fields(self, view: memoryview, base: int, pending: Pending, block: int) -> Columns:
        """The columns of the pending records that are not filled; arguments as in `gather`."""
        at = pending.places()
        data = np.frombuffer(view, np.uint8)
        words = _values(data, at, _WORDS).astype(np.uint64)
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
            checksum[rows] = _values(data, at[rows] + head[rows] - self.page_head, _INT)
        rows = np.flatnonzero(kind == Kind.COMPRESSED)
        if len(rows):
            length[rows] = _values(data, at[rows] + head[rows] - _INT.itemsize, _INT)
        rows = np.flatnonzero(kind == self.delta)
        if len(rows) and self.header is not None:
            header = _values(data, at[rows] + head[rows] - self.header.itemsize, self.header)
            length[rows] = np.maximum(0, header["length"].astype(np.int64) - self.counted)
            header_flags[rows] = header["flags"]
            if "checksum" in (self.header.names or ()):
                checksum[rows] = header["checksum"]

        blocks = np.full(len(at), block, np.uint16)
        if pending.names:
            where, which = np.array(pending.names, np.int64).T
            chosen = np.searchsorted(where, at, side="right") - 1
            blocks = np.where(chosen < 0, block, which[chosen]).astype(np.uint16)
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


_in_order = attrgetter(*DTYPES)  # the columns of a piece


def _expand(entries: list[int], run_counts: list[int], run_steps: list[int]) -> Ints:
    """The offset of every record, runs written out; arguments as in `Pending`."""
    at = np.array(entries, np.int64)
    runs = np.flatnonzero(at < 0)
    if not len(runs):
        return at
    at[runs] = ~at[runs]
    counts = np.ones(len(at), np.int64)
    counts[runs] = run_counts
    steps = np.zeros(len(at), np.int64)
    steps[runs] = run_steps
    out = np.repeat(steps, counts)  # from each record to the one before
    firsts = np.cumsum(counts) - counts
    lasts = at + steps * (counts - 1)
    out[firsts[0]] = at[0]
    out[firsts[1:]] = at[1:] - lasts[:-1]
    return np.cumsum(out, out=out)


def _values(data: NDArray[np.uint8], at: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A value of ``dtype`` from each offset, in one gather through an overlapped view of the bytes."""
    size = dtype.itemsize
    overlapped = np.ndarray((max(0, len(data) - size + 1),), f"V{size}", data, 0, (1,))
    return overlapped[at].view(dtype)
