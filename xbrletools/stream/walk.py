"""The walk over RAM records: bytes to offsets in a plain loop, offsets to columns in array operations.

Runs of equal fixed-size records are taken by one regular expression. All sizes and offsets come from the grammars.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..formats import ram
from ..formats.dialects import Encoding
from ..formats.ram import Flag, Kind
from .dialect import Settings
from .records import NO_BLOCK, Columns

WORD = ram.Word.sizeof()
RUN = 3  # equal records in a row before the regular expression is asked


@dataclass(slots=True)
class Pending:
    """Records that were walked over and whose fields are not gathered yet. Offsets are relative to the window.

    A negative entry ~p stands for a run: ``counts[k]`` records of ``steps[k]`` bytes each, from p on. ``special``
    holds, by offset, the kind and payload length of records that their flags alone do not tell.
    """

    at: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    names: list[tuple[int, int]] = field(default_factory=list)
    special: dict[int, tuple[Kind, int]] = field(default_factory=dict)


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
def _tables(version: int, delta: Kind) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The kind for each value of the flags, and whether such a record carries a block's name."""
    kinds = ram.kind_table(version, delta)
    return np.array(kinds, np.uint8), np.array([ram.is_named(f, version, k) for f, k in enumerate(kinds)], bool)


class Layout:
    """What the walk needs to know of one dialect, byte order, version and page size, derived from the grammars."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        dialect = settings.dialect
        named = settings.version != ram.VERSION_FLAT
        kept = Flag.CONTINUE if named else Flag(0)
        self.page_head = Int32ub.sizeof() if settings.page_sum else 0
        steps = {int(Flag.COMPRESS | kept): WORD + ram.Fill.sizeof()}
        if named or settings.page_sum is not None:
            steps[int(Flag.PAGE | kept)] = WORD + self.page_head + settings.page_size
        self.steps = [steps.get(f, 0) for f in range(256)]
        self.runs = _runs_pattern(settings.page_size, tuple(steps.items()))
        self.delta = Kind.XBRLE
        self.delta_flags = -1
        self.header: np.dtype[np.void] | None = None
        self.counted = 0
        self.low = self.high = 0
        self.limit = settings.page_size
        if dialect is not None:
            self.delta = Kind.XBZRLE if dialect.encoding is Encoding.ZRUN else Kind.XBRLE
            self.delta_flags = int(ram.delta_flag(settings.version) | kept)
            self.header = dtype_of(dialect.header(settings.endian))
            self.counted = dialect.length_counts
            self.limit = dialect.page_limit * settings.page_size
            kind, place = self.header.fields["length"][:2]  # type: ignore[index]
            little = kind.newbyteorder("<") == kind
            self.low, self.high = (place, place + 1) if little else (place + 1, place)
        self.kinds, self.named = _tables(settings.version, self.delta)

    def walk(self, view: memoryview, at: int, limit: int, pending: Pending) -> int:
        """Store the offsets of records from ``at`` to ``limit``; returns where it met something for the slow path.

        A Python loop over records, since where a delta ends is known only from its own bytes; what repeats is taken by
        one regular expression a run.
        """
        steps, match, keep = self.steps, self.runs.match, pending.at.append
        delta, counted, most = self.delta_flags, self.counted, self.limit
        size = WORD + (self.header.itemsize if self.header is not None else 0)
        low, high = WORD + self.low, WORD + self.high
        last = seen = 0
        while at < limit:
            flags = view[at + WORD - 1]
            step = steps[flags]
            if step:
                if flags == last:
                    seen += 1
                    if seen == RUN:
                        run = match(view, at, limit)
                        if run is not None:
                            keep(~at)
                            pending.counts.append((run.end() - at) // step)
                            pending.steps.append(step)
                            at = run.end()
                            last = seen = 0
                            continue
                else:
                    last, seen = flags, 1
                keep(at)
                at += step
            elif flags == delta:
                last = 0
                length = view[at + low] + (view[at + high] << 8) - counted
                if not 0 <= length <= most:
                    return at
                keep(at)
                at += size + length
            else:
                return at
        return at

    def delta_length(self, view: memoryview, header: int) -> int:
        """The payload bytes that the delta header at ``view[header]`` claims."""
        return view[header + self.low] + (view[header + self.high] << 8) - self.counted

    def gather(self, view: memoryview, base: int, real: int, pending: Pending, block: int) -> tuple[Columns, int]:
        """The columns of all pending records, and the block that the last of them left selected.

        ``view`` begins at offset ``base`` of the capture and holds ``real`` bytes of it. A last record that is cut
        stays where at least one byte of its payload is there, with the length that is there.
        """
        at = _expand(pending)
        data = np.frombuffer(view, np.uint8)
        words = _fields(data, at, np.dtype(">u8")).astype(np.uint64)
        flags = (words & np.uint64(self.settings.page_size - 1)).astype(np.uint16)
        known = flags & np.uint16(len(self.kinds) - 1)
        kind = self.kinds[known]
        named = self.named[known]
        head = np.full(len(at), WORD, np.int64)
        length = np.zeros(len(at), np.int64)
        checksum = np.zeros(len(at), np.uint32)
        header_flags = np.zeros(len(at), np.uint8)
        for row, (special, size) in pending.special.items():
            i = int(np.searchsorted(at, row))
            kind[i], named[i], length[i] = special, False, size
        rows = np.flatnonzero(named)
        head[rows] += 1 + data[at[rows] + WORD].astype(np.int64)
        length[kind == Kind.DUP] = ram.Fill.sizeof()
        rows = np.flatnonzero(kind == Kind.PAGE)
        length[rows] = self.settings.page_size
        if self.page_head:
            checksum[rows] = _fields(data, at[rows] + head[rows], np.dtype(">u4"))
            head[rows] += self.page_head
        rows = np.flatnonzero(kind == Kind.COMPRESSED)
        if len(rows):
            length[rows] = _fields(data, at[rows] + head[rows], np.dtype(">u4"))
            head[rows] += Int32ub.sizeof()
        rows = np.flatnonzero(kind == self.delta)
        if len(rows) and self.header is not None:
            header = _fields(data, at[rows] + head[rows], self.header)
            length[rows] = np.maximum(0, header["length"].astype(np.int64) - self.counted)
            header_flags[rows] = header["flags"]
            if "checksum" in (self.header.names or ()):
                checksum[rows] = header["checksum"]
            head[rows] += self.header.itemsize

        blocks = np.full(len(at), block, np.int64)
        if pending.names:
            where, which = np.array(pending.names, np.int64).T
            chosen = np.searchsorted(where, at, side="right") - 1
            blocks = np.where(chosen < 0, block, which[chosen])
            block = int(which[-1])
        blocks[~_CARRIES[kind]] = NO_BLOCK
        there = real - at - head
        columns = Columns(
            offset=(at + base).astype(np.uint64),
            address=words & ~np.uint64(self.settings.page_size - 1),
            length=np.minimum(length, np.maximum(there, 0)).astype(np.uint32),
            checksum=checksum,
            flags=flags,
            block=blocks.astype(np.uint16),
            head=head.astype(np.uint16),
            kind=kind,
            header_flags=header_flags,
        )
        if len(at) and there[-1] < min(1, length[-1]):
            columns = columns.take(slice(-1))
        return columns, block


_CARRIES = np.zeros(256, bool)
_CARRIES[list(ram.PAGE_KINDS)] = True


def _expand(pending: Pending) -> NDArray[np.int64]:
    """The offset of every pending record, runs written out."""
    at = np.array(pending.at, np.int64)
    runs = np.flatnonzero(at < 0)
    if not len(runs):
        return at
    counts = np.ones(len(at), np.int64)
    counts[runs] = pending.counts
    steps = np.zeros(len(at), np.int64)
    steps[runs] = pending.steps
    at[runs] = ~at[runs]
    ends = np.cumsum(counts)
    out = np.arange(int(ends[-1]))
    out -= np.repeat(ends - counts, counts)
    out *= np.repeat(steps, counts)
    out += np.repeat(at, counts)
    return out


def _fields(data: NDArray[np.uint8], at: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A value of ``dtype`` from each offset, in one gather through an overlapped view of the bytes."""
    size = dtype.itemsize
    overlapped = np.lib.stride_tricks.as_strided(data, (max(0, len(data) - size + 1), size), (1, 1))
    return overlapped[at].view(dtype).reshape(len(at))
