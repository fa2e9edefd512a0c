"""Seeded damages of a known cause: 17 kinds, and bursts of random bytes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

import xbrletools
from xbrletools.codec.layout import dtype_of
from xbrletools.formats.dialects import Encoding
from xbrletools.formats.ram import Kind
from xbrletools.table.kinds import IS_DELTA, IS_PAGE
from xbrletools.verify.cause import CauseName

Bytes = NDArray[np.uint8]

RUNS = (2, 3, 5, 10, 30, 100, 300)  # records of a span
SIZES = (1, 7, 64, 1000, 5000)  # bytes put in or cut out
BURSTS = (1, 4, 64, 512)  # random bytes written over others
_TRIES = 200  # places that are tried for a span
SECTION = 13  # bytes from an EOS on that frame the next section


@dataclass(frozen=True)
class Truth:
    """What was done: the causes that are right, where, and the bit that was flipped, if it was one."""

    kind: str
    right: tuple[CauseName, ...]
    offset: int
    bit: int | None = None
    size: int = 0


class ImpossibleError(Exception):
    """This capture has nothing to damage in this way."""


class Whole:
    """An undamaged capture: its bytes, and where its records stand."""

    def __init__(self, data: bytes) -> None:
        self.data: Bytes = np.frombuffer(data, np.uint8)
        self.capture = xbrletools.open(data)
        columns = self.capture.records.columns
        self.kind = columns.kind
        self.offset = columns.offset.astype(np.int64)
        self.payload = columns.payload()
        self.end = columns.end()
        self.carriers = np.flatnonzero(IS_PAGE[columns.kind])
        self.deltas = np.flatnonzero(IS_DELTA[columns.kind])
        self.dialect = self.capture.dialect
        longest = max(b.length for b in self.capture.blocks)
        self.address_bits = (longest - 1).bit_length()
        self.page_bits = self.capture.page_size.bit_length() - 1
        if self.dialect is not None:
            header = dtype_of(self.dialect.header(self.capture.stream.reading.endian))
            self.fields = {n: (header.itemsize - f[1], f[0].itemsize) for n, f in (header.fields or {}).items()}
        else:
            self.fields = {}


Damaging = Callable[[Whole, Generator, Whole | None], tuple[Bytes, Truth]]


def _pick(rng: Generator, of: NDArray[np.integer]) -> int:
    if not len(of):
        raise ImpossibleError
    return int(rng.choice(of))


def _flipped(whole: Whole, kind: str, right: tuple[CauseName, ...], at: int, bit: int) -> tuple[Bytes, Truth]:
    data = whole.data.copy()
    data[at] ^= np.uint8(1 << bit)
    return data, Truth(kind, right, at, bit)


def _field(name: str, cause: CauseName) -> Damaging:
    def damage(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
        if name not in whole.fields:
            raise ImpossibleError
        row = _pick(rng, whole.deltas)
        before, size = whole.fields[name]
        at = int(whole.payload[row]) - before + int(rng.integers(size))
        return _flipped(whole, name, (cause,), at, int(rng.integers(8)))

    return damage


def _parts(whole: Whole, row: int) -> tuple[list[int], list[int]]:
    """The bytes of a payload that are values, and those that are lengths of runs."""
    assert whole.dialect is not None
    start, end = int(whole.payload[row]), int(whole.end[row])
    if whole.dialect.encoding is Encoding.RLE:
        return list(range(start + 1, end, 2)), list(range(start, end, 2))
    if whole.dialect.encoding is not Encoding.ZRUN:
        return list(range(start, end)), list(range(start, end))
    values, runs, at = [], [], start
    while at < end:
        for is_literal in (False, True):
            number, shift = 0, 0
            while True:
                byte = int(whole.data[at])
                runs.append(at)
                at += 1
                number |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
            if is_literal:
                values += range(at, at + number)
                at += number
    return values, runs


def _value(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    row = _pick(rng, whole.deltas)
    at = _pick(rng, np.array(_parts(whole, row)[0]))
    mixed = whole.dialect is not None and whole.dialect.encoding not in (Encoding.RLE, Encoding.ZRUN)
    right = (CauseName.PAYLOAD_VALUE, CauseName.PAYLOAD_RUN) if mixed else (CauseName.PAYLOAD_VALUE,)
    return _flipped(whole, "value", right, at, int(rng.integers(8)))


def _run(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    row = _pick(rng, whole.deltas)
    at = _pick(rng, np.array(_parts(whole, row)[1]))
    mixed = whole.dialect is not None and whole.dialect.encoding not in (Encoding.RLE, Encoding.ZRUN)
    right = (CauseName.PAYLOAD_RUN, CauseName.PAYLOAD_VALUE) if mixed else (CauseName.PAYLOAD_RUN,)
    return _flipped(whole, "run", right, at, int(rng.integers(8)))


def _address(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    row, bit = _pick(rng, whole.carriers), int(rng.integers(whole.page_bits, whole.address_bits))
    at = int(whole.offset[row]) + 7 - bit // 8
    return _flipped(whole, "address", (CauseName.ADDRESS,), at, bit % 8)


def _flags(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    row, bit = _pick(rng, whole.carriers), int(rng.integers(whole.page_bits))
    at = int(whole.offset[row]) + 7 - bit // 8
    return _flipped(whole, "flags", (CauseName.RECORD_FLAGS,), at, bit % 8)


def _content(kind: Kind) -> Damaging:
    def damage(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
        row = _pick(rng, np.flatnonzero(whole.kind == kind))
        at = int(rng.integers(whole.payload[row], whole.end[row]))
        return _flipped(whole, kind.name.lower(), (CauseName.PAGE_CONTENT,), at, int(rng.integers(8)))

    return damage


def _span(whole: Whole, rng: Generator, count: int, spans: int = 1) -> list[int]:
    """Offsets of ``spans`` spans of records that follow each other in one section, and of what comes after."""
    carriers = whole.carriers
    for tried in range(_TRIES):
        if len(carriers) <= spans * count + 1:
            raise ImpossibleError
        first = int(rng.integers(len(carriers) - spans * count - 1))
        rows = carriers[first : first + spans * count + 1]
        if rows[-1] - rows[0] == spans * count:
            return [int(o) for o in whole.offset[rows[::count]]]
        if count > 10 or (count > 1 and tried > _TRIES // 2):
            count //= 2
    raise ImpossibleError


def _moved(kind: str, cause: CauseName, single: bool) -> Damaging:
    def damage(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
        count = 1 if single else int(rng.choice(RUNS))
        data = whole.data
        if cause is CauseName.RECORDS_REORDERED:
            low, middle, high = _span(whole, rng, min(count, 10), 2)
            return np.concatenate([data[:low], data[middle:high], data[low:middle], data[high:]]), Truth(
                kind, (cause,), low, None, high - low
            )
        low, high = _span(whole, rng, count)
        if cause is CauseName.RECORDS_MISSING:
            return np.concatenate([data[:low], data[high:]]), Truth(kind, (cause,), low, None, high - low)
        return np.concatenate([data[:high], data[low:]]), Truth(kind, (cause,), high, None, high - low)

    return damage


def _anywhere(whole: Whole, rng: Generator) -> int:
    return int(rng.integers(whole.offset[whole.carriers[0]], whole.offset[whole.carriers[-1]]))


def _inserted(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    size, at = int(rng.choice(SIZES)), _anywhere(whole, rng)
    new = rng.integers(0, 256, size).astype(np.uint8)
    return np.concatenate([whole.data[:at], new, whole.data[at:]]), Truth(
        "inserted", (CauseName.BYTES_INSERTED,), at, None, size
    )


def _cut(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    size, at = int(rng.choice(SIZES)), _anywhere(whole, rng)
    return np.concatenate([whole.data[:at], whole.data[at + size :]]), Truth(
        "cut", (CauseName.BYTES_MISSING,), at, None, size
    )


def _burst(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    size, at = int(rng.choice(BURSTS)), _anywhere(whole, rng)
    data = whole.data.copy()
    data[at : at + size] = rng.integers(0, 256, size)
    right = (CauseName.BYTES_OVERWRITTEN,)
    changed = np.unpackbits(data[at : at + size] ^ whole.data[at : at + size])
    if changed.sum() == 1:  # that is a flipped bit
        right = tuple(CauseName)
    return data, Truth("burst", right, at, None, size)


def _framing(whole: Whole, rng: Generator, _other: Whole | None) -> tuple[Bytes, Truth]:
    row = _pick(rng, np.flatnonzero(whole.kind == Kind.EOS)[1:-2])
    at = int(whole.offset[row]) + int(rng.integers(SECTION))
    return _flipped(whole, "framing", (CauseName.SECTION_FRAMING,), at, int(rng.integers(8)))


def _spliced(whole: Whole, rng: Generator, other: Whole | None) -> tuple[Bytes, Truth]:
    if other is None:
        raise ImpossibleError
    here = _pick(rng, whole.carriers[len(whole.carriers) // 10 :])
    there = _pick(rng, other.carriers[len(other.carriers) // 10 : -20])
    at = int(whole.offset[here])
    return np.concatenate([whole.data[:at], other.data[int(other.offset[there]) :]]), Truth(
        "spliced", (CauseName.SPLICED,), at
    )


C = CauseName
KINDS: dict[str, Damaging] = {
    "checksum": _field("checksum", C.CHECKSUM_FIELD),
    "value": _value,
    "run": _run,
    "length": _field("length", C.LENGTH_FIELD),
    "address": _address,
    "flags": _flags,
    "page": _content(Kind.PAGE),
    "dup": _content(Kind.DUP),
    "missing one": _moved("missing one", C.RECORDS_MISSING, True),
    "missing": _moved("missing", C.RECORDS_MISSING, False),
    "repeated one": _moved("repeated one", C.RECORDS_REPEATED, True),
    "repeated": _moved("repeated", C.RECORDS_REPEATED, False),
    "reordered": _moved("reordered", C.RECORDS_REORDERED, False),
    "inserted": _inserted,
    "cut": _cut,
    "spliced": _spliced,
    "framing": _framing,
    "burst": _burst,
}


def damage(whole: Whole, kind: str, seed: tuple[int, ...], other: Whole | None = None) -> tuple[Bytes, Truth]:
    """The capture with one damage of this kind, and what was done.

    Raises:
        ImpossibleError: the capture has nothing to damage so.
    """
    return KINDS[kind](whole, np.random.default_rng([*seed, len(whole.data), list(KINDS).index(kind)]), other)
