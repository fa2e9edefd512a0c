"""mig.log: the page log that either end of a debug build would have written for a capture, and reading a real one.

Facts: formats/README.md, "mig.log". Both ends write one line for each page, with the byte sum of the page. The sender
sums the page as it held it, the receiver the page as it was after the record.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec.checksum import byte_sum
from ..codec.verdict import Verdict
from ..errors import XbrleError
from ..formats import miglog
from ..formats.ram import Kind
from ..formats.xbrle import HeaderFlag
from ..memory import replay
from ..memory.image import Image, State
from ..memory.lapses import Lapses
from ..memory.moments import lapses_of, space_of
from ..memory.replay import View
from ..model import Stream
from ..source.opening import open_source
from ..table.claims import stated
from ..table.columns import Columns
from ..table.kinds import IS_DELTA
from ..table.payloads import Payloads

LINES = 1 << 16  # lines that are written or read at once
_TEXT = 1 << 23  # bytes of a log that are parsed at once


class End(Enum):
    """Who writes the log."""

    SENDER = "sender"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class Log:
    """The lines of a log as columns, each (n,).

    ``addr`` is in bytes, ``kind`` is `Kind.PAGE`, `.DUP` or `.XBRLE`, and ``length`` is 0 except for deltas.
    """

    seq: NDArray[np.uint32]
    addr: NDArray[np.uint64]
    cksum: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    length: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.seq)

    def take(self, index: slice | NDArray[np.bool_]) -> "Log":
        """The chosen lines."""
        return Log(*(getattr(self, f.name)[index] for f in fields(self)))


class StopReason(Enum):
    """Why a log ends before the capture does."""

    CHECKSUM = "the page's byte sum is not the header's"
    DELTA = "the delta does not come to one page, or its flags are wrong"
    OUTSIDE = "the record is for a page that no block has"
    CUT = "the capture ends inside the record"
    UNKNOWN = "the page's content is not known: the capture does not hold the delta's base"
    KIND = "builds that write a mig.log do not have this kind of record"


@dataclass(frozen=True, slots=True)
class WrittenLog:
    """The log that one end writes for a capture.

    ``stop`` says why it ends before record number ``stopped_at``. Both are None where it goes on to the last record.
    After salvage the log always goes on, and ``left_out`` counts the records without a line: their page is in doubt, or
    a log does not have their kind.
    """

    log: Log
    stop: StopReason | None = None
    stopped_at: int | None = None
    left_out: int = 0

    @property
    def refused(self) -> bool:
        """Whether it ends because a debug build's receiver refuses the record, not because something is unknown."""
        return self.stop in (StopReason.CHECKSUM, StopReason.DELTA)


_SPELLED = {Kind.PAGE: miglog.PAGE, Kind.DUP: miglog.DUP, Kind.XBRLE: miglog.XBRLE}


# -- what an end would have written ----------------------------------------------------------------------------------


def written(stream: Stream, end: End, bases: NDArray[np.int64] | None = None) -> WrittenLog:
    """The log that ``end`` of a debug build would have written.

    ``bases``, (blocks,) int64 in bytes, are the blocks' places in ram_addr space, which the sender's addresses are in.
    Without them addresses are offsets in the block, as the receiver writes them. In a capture that is read with
    salvage, lines count the records that were read: after a loss their numbers are lower than the real log's.

    Raises:
        XbrleError: the capture is not a migration stream.
    """
    table = stream.records
    rows = np.flatnonzero(table.is_page)
    columns = table.columns.take(rows)
    dialect = stream.dialect
    lapses = lapses_of(stream, View.SENDER if end is End.SENDER else View.RECEIVER).among(rows)
    void = lapses.void(space_of(stream).pages_of(columns))
    summed = _sum_pages(stream, columns, end, lapses, void)
    delta = IS_DELTA[columns.kind]
    expected, claimed = stated(columns, dialect)
    expected &= delta

    stops = {
        StopReason.KIND: ~delta & (columns.kind != Kind.PAGE) & (columns.kind != Kind.DUP),
        StopReason.CUT: _cut(stream, len(columns)),
        StopReason.OUTSIDE: space_of(stream).pages_of(columns) < 0,
    }
    sums = summed.sums
    if end is End.SENDER:
        stops[StopReason.UNKNOWN] = (~summed.known & ~expected) | void
        sums = np.where(expected, claimed, sums)
    else:
        flagged = (columns.header_flags & HeaderFlag.XBRLE) != 0
        stops[StopReason.DELTA] = delta & (~flagged | (summed.verdicts != Verdict.OK))
        stops[StopReason.UNKNOWN] = ~summed.known | void
        stops[StopReason.CHECKSUM] = expected & (claimed != sums)

    count, stop = len(columns), None
    missing = np.any(list(stops.values()), axis=0)
    for reason, where in stops.items() if not stream.salvaged else ():
        first = int(np.argmax(where)) if where.any() else count
        if first < count:
            count, stop = first, reason
    addr = columns.address
    if bases is not None:
        block = np.minimum(columns.block.astype(np.int64), len(bases))
        addr = addr + np.append(bases, 0).astype(np.uint64)[block]
    log = Log(
        seq=np.arange(1, len(columns) + 1, dtype=np.uint32),
        addr=addr,
        cksum=sums,
        kind=np.where(delta, np.uint8(Kind.XBRLE), columns.kind),
        length=np.where(delta, columns.length, np.uint32(0)),
    )
    if stream.salvaged:
        return WrittenLog(log.take(~missing), left_out=int(np.count_nonzero(missing)))
    return WrittenLog(log.take(slice(count)), stop, None if stop is None else count + 1)


@dataclass(frozen=True, slots=True)
class _Summed:
    """For each record, (n,): its page's byte sum, whether that sum is known, and its delta's verdict."""

    sums: NDArray[np.uint32]
    known: NDArray[np.bool_]
    verdicts: NDArray[np.uint8]


def _sum_pages(stream: Stream, columns: Columns, end: End, lapses: Lapses, void: NDArray[np.bool_]) -> _Summed:
    """Sum each page as ``end`` held it after each record, by a replay of the records that are not ``void``, (n,) bool.

    ``lapses`` count places in ``columns``. A sender that does not cache dup pages makes its deltas against what it sent
    before the dup page, so dup pages are left out of its replay.
    """
    count, size = len(columns), stream.page_size
    out = _Summed(np.zeros(count, np.uint32), np.zeros(count, bool), np.zeros(count, np.uint8))
    dialect = stream.dialect
    is_dup = columns.kind == Kind.DUP
    dup_rows = np.flatnonzero(is_dup)
    out.sums[dup_rows] = stream.data[columns.payload(dup_rows)].astype(np.uint32) * size
    out.known[dup_rows] = True
    forgets = end is End.SENDER and replay.forgets_dups(dialect)
    replayed = np.flatnonzero(~void & ~is_dup) if forgets else np.flatnonzero(~void)
    image = Image(space_of(stream))
    records = Payloads(columns, stream.data, dialect)
    for start, stop, lapsed in lapses.among(replayed).pieces(len(replayed), replay.CHUNK):
        lapsed.forget(image)
        part = replayed[start:stop]

        def observe(layer: replay.Layer, part: NDArray[np.int64] = part) -> None:
            not_dup = np.flatnonzero(layer.kind != Kind.DUP)
            rows, pages = part[layer.places[not_dup]], layer.pages[not_dup]
            out.sums[rows] = byte_sum(image.pages, pages)
            out.known[rows] = image.state[pages] == State.RECOVERED
            out.verdicts[part[layer.places[layer.deltas]]] = layer.verdicts

        replay.apply(image, records.take(part), observe)
    return out


def _cut(stream: Stream, count: int) -> NDArray[np.bool_]:
    """Whether the capture ends inside each record, (n,) bool. It can end only in the last."""
    cut = np.zeros(count, bool)
    damage, columns = stream.facts.damage, stream.records.columns
    if count and damage is not None and damage.offset == int(columns.offset[-1]):
        cut[-1] = True
    return cut


# -- text ------------------------------------------------------------------------------------------------------------


def text(log: Log) -> Iterator[bytes]:
    """The log as text, at most `LINES` whole lines at a time."""
    put = miglog.FORMAT.format
    page, dup, delta = (_SPELLED[k] for k in (Kind.PAGE, Kind.DUP, Kind.XBRLE))
    for start in range(0, len(log), LINES):
        part = log.take(slice(start, start + LINES))
        rows = zip(*(getattr(part, f.name).tolist() for f in fields(part)), strict=True)
        lines = [
            put(
                seq=seq,
                addr=addr,
                cksum=cksum,
                kind=delta.format(length=length) if kind == Kind.XBRLE else page if kind == Kind.PAGE else dup,
            )
            for seq, addr, cksum, kind, length in rows
        ]
        yield ("\n".join(lines) + "\n").encode()


def read(what: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """The text of a log, (size,) uint8: a path or bytes, plain or compressed.

    Raises:
        XbrleError: it cannot be read.
    """
    return open_source(what).spool().data


def parse(what: str | os.PathLike[str] | bytes) -> Log:
    """The columns of a log: a path or bytes, plain or compressed. A last line without its newline is left out.

    Raises:
        XbrleError: it cannot be read, or a line is not a line of a mig.log.
    """
    raw = read(what).data
    parts: list[Log] = []
    at = seen = 0
    while at < len(raw):
        piece = bytes(raw[at : at + _TEXT])
        piece = piece[: piece.rfind(b"\n") + 1]
        if not piece:
            if at + _TEXT < len(raw):
                raise XbrleError(f"line {seen + 1} is not a line of a mig.log", at)
            break
        lines = miglog.LINE.findall(piece)
        if len(lines) != piece.count(b"\n"):
            number, offset = _first_wrong(piece)
            raise XbrleError(f"line {seen + number} is not a line of a mig.log", at + offset)
        numbers = np.fromiter((int(line[0]) for line in lines), np.uint64, len(lines))
        if (beyond := np.flatnonzero(numbers > np.iinfo(np.uint32).max)).size:
            first = int(beyond[0])
            offset = sum(map(len, piece.splitlines(keepends=True)[:first]))
            raise XbrleError(f"line {seen + first + 1} has a number that is too large for a mig.log", at + offset)
        parts.append(_columns(lines, numbers))
        at += len(piece)
        seen += len(lines)
    empty = _columns([], np.empty(0, np.uint64))
    return Log(*(np.concatenate([getattr(p, f.name) for p in (empty, *parts)]) for f in fields(Log)))


_KIND_OF = {spelled.split()[0].encode(): int(kind) for kind, spelled in _SPELLED.items()}


def _columns(lines: list[tuple[bytes, ...]], numbers: NDArray[np.uint64]) -> Log:
    """The log of these lines, each as `miglog.LINE` splits it. ``numbers`` (n,) are their first fields."""
    _, addr, cksum, kind, length = zip(*lines, strict=True) if lines else ((),) * 5

    def column(values: tuple[bytes, ...], dtype: type, convert: Callable[[bytes], int]) -> NDArray[Any]:
        return np.fromiter(map(convert, values), dtype, len(values))

    return Log(
        numbers.astype(np.uint32),
        column(addr, np.uint64, lambda digits: int(digits, 16)),
        column(cksum, np.uint32, lambda digits: int(digits, 16)),
        column(kind, np.uint8, _KIND_OF.__getitem__),
        column(length, np.uint32, lambda digits: int(digits or b"0")),
    )


def _first_wrong(piece: bytes) -> tuple[int, int]:
    """The number, from 1, of the first line that is not a line of a log, and its offset."""
    lines = piece.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if not miglog.LINE.fullmatch(line))
    return first + 1, sum(map(len, lines[:first]))


# -- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a real log compares with the one that was expected.

    ``lines`` is the number of whole lines that agree. ``cut``: the real log ends early, and agrees up to its end.
    ``expected`` and ``found`` are the first lines that differ, without their newlines. One of them is None where that
    log has ended before.
    """

    lines: int
    agrees: bool
    cut: bool = False
    expected: bytes | None = None
    found: bytes | None = None


def compare(log: Log, real: NDArray[np.uint8]) -> Comparison:
    """Find the first line in which a real log, (size,) uint8, differs from ``log``.

    Where a real log ends inside a line, or at the end of a stdio buffer, its last buffer was never written. Such a log
    agrees if it agrees up to its end.
    """
    raw = real.data
    at = lines = 0
    for piece in text(log):
        real_piece = bytes(raw[at : at + len(piece)])
        if real_piece != piece:
            beyond = bytes(raw[at : at + len(piece) + _TEXT])
            return _difference(piece, real_piece, beyond, lines, at + len(real_piece))
        at += len(piece)
        lines += piece.count(b"\n")
    if at < len(raw):
        return Comparison(lines, False, expected=None, found=_line(bytes(raw[at : at + _TEXT])))
    return Comparison(lines, True)


def _difference(piece: bytes, real_piece: bytes, beyond: bytes, lines: int, size: int) -> Comparison:
    """How a piece of a log compares with the real log's, which is not the same.

    ``beyond`` begins where the pieces do and goes on after them, ``lines`` are those before, and the real log's piece
    ends ``size`` bytes into it.
    """
    if piece.startswith(real_piece):  # the real log ends here
        whole = real_piece.rfind(b"\n") + 1
        lines += real_piece.count(b"\n")
        if whole < len(real_piece) or size % miglog.STDIO_BUFFER == 0:
            return Comparison(lines, True, cut=True)
        return Comparison(lines, False, expected=_line(piece[whole:]), found=None)
    common = min(len(piece), len(real_piece))
    expected, real = (np.frombuffer(p[:common], np.uint8) for p in (piece, real_piece))
    first = int(np.argmax(expected != real))
    start = piece.rfind(b"\n", 0, first) + 1
    lines += piece.count(b"\n", 0, start)
    return Comparison(lines, False, expected=_line(piece[start:]), found=_line(beyond[start:]))


def _line(data: bytes) -> bytes:
    return data.partition(b"\n")[0]
