"""What each match of a regular expression must hold, read off the expression, so that most bytes need not be tried.

An expression is read only where each part of it is surely understood. Which bytes an atom such as ``[a-z]`` stands for
is asked of the module regex itself. Of an expression with anything else in it, such as fuzzy matching, nothing is said.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from math import log2
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Sets = tuple[int, ...]  # sets of bytes, one for each byte of a sequence; bit b of a set is for byte b

LONGEST = 32  # sets of a sequence, at most
_MANY = 8  # sequences of which a match has one, at most
_TELLING = 4.0  # bits that a sequence must say about where it can be
_RANGES = 4  # ranges of a set that are compared one by one
_CROWDED = 16  # bytes a place, on average, of what is full of them
_RUN = 4  # bytes of a run of which not every one is looked at
_COMMON = {0: 256, 255: 16, 32: 8}  # memory has these bytes as often as so many others
_ALL = (1 << 256) - 1
_SIGHT = 256  # bytes around a match that it looks at, at most, where it is searched for apart

_INLINE = re.compile(rb"\(\?[ims]+\)")
_CLASS = re.compile(rb"\[\^?(?:[^\]\[\\]|\\(?:[dDwWsSnrtf]|x[0-9A-Fa-f]{2}|[!-/:-@\[-`{-~]))+\]")
_ESCAPE = re.compile(rb"\\(?:[dDwWsSnrtf]|x[0-9A-Fa-f]{2}|[!-/:-@\[-`{-~])")
_REFERENCE = re.compile(rb"\\([1-9])(?![0-9])")
_GROUP = re.compile(rb"\((?:\?(?:(:|>)|(P<[A-Za-z_]\w*>)|(<?[=!])))?(?!\?)")
_REPEAT = re.compile(rb"(?:\{(\d{1,6})(?:(,)(\d{1,6})?)?\}\??|([*+?])[?+]?)(?![*+?{])")


@dataclass(frozen=True, slots=True, eq=False)
class Needed:
    """What each match of an expression holds.

    It consists of ``members``, (256,) bool, and has ``least`` bytes or more. Its bytes include those of one of
    ``sequences``: tables (256,) bool, one for each byte of a sequence. Whether it matches does not hang on bytes that
    are more than ``sight`` before or after it. That is None where no such number is known.
    """

    members: NDArray[np.bool_]
    least: int
    sequences: "tuple[_Sequence, ...]"
    sight: int | None

    @property
    def length(self) -> int:
        """Bytes of the longest sequence."""
        return max(s.length for s in self.sequences)

    def places(self, data: NDArray[np.uint8]) -> Ints:
        """Places of bytes (n,) that do not fall. Each match has one of them in it. Some are where no match is.

        It takes as many bytes for each byte of them as an int64 has, and more.
        """
        return np.sort(np.concatenate([s.places(data) for s in self.sequences]), kind="stable")


@dataclass(frozen=True, slots=True, eq=False)
class _Set:
    """A set of bytes, as a table (256,) bool. If there are few, ``ranges`` has them: the first, and how many follow."""

    table: NDArray[np.bool_]
    ranges: tuple[tuple[np.uint8, np.uint8], ...]

    @classmethod
    def of(cls, members: int) -> "_Set":
        """These bytes."""
        table = _table(members)
        edges = np.flatnonzero(np.diff(table, prepend=False, append=False)).reshape(-1, 2)
        ranges = [(np.uint8(first), np.uint8(stop - 1 - first)) for first, stop in edges.tolist()]
        return cls(table, tuple(ranges) if len(ranges) <= _RANGES else ())

    def has(self, data: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Whether each byte is in it, (n,) bool."""
        if not self.ranges:
            looked_up: NDArray[np.bool_] = self.table[data]
            return looked_up
        found: NDArray[np.bool_] | None = None
        for first, more in self.ranges:
            in_range = data - first <= more if more else data == first
            found = in_range if found is None else np.logical_or(found, in_range, out=found)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    """Bytes one after the other, each of a set, as many as ``length``.

    The byte at ``rare`` is looked for first, whose set is ``first``. ``others`` are those of the others, by their
    distance from it. Where ``is_run`` all sets are much the same, and what is looked for is as many bytes of any.
    """

    length: int
    rare: int
    first: _Set
    others: tuple[tuple[int, _Set], ...]
    is_run: bool

    @classmethod
    def of(cls, sets: Sets) -> "_Sequence":
        """A sequence of these sets."""
        order = sorted(range(len(sets)), key=lambda i: _weight(sets[i]))
        rare, union = order[0], reduce(int.__or__, sets)
        if len(sets) >= _RUN and _weight(union) <= 2 * _weight(sets[rare]):
            return cls(len(sets), 0, _Set.of(union), (), True)
        others = tuple((i - rare, _Set.of(sets[i])) for i in order[1:] if sets[i] != _ALL)
        return cls(len(sets), rare, _Set.of(sets[rare]), others, False)

    def places(self, data: NDArray[np.uint8]) -> Ints:
        """Where it can be in bytes (n,): a place inside of each, (m,)."""
        return self._of_runs(data) if self.is_run else self._of_rare(data)

    def _of_rare(self, data: NDArray[np.uint8]) -> Ints:
        at = np.flatnonzero(self.first.has(data))
        at = at[(at >= self.rare) & (at < len(data) - (self.length - 1 - self.rare))]
        for step, other in self.others:
            if not len(at):
                break
            at = at[other.table[data[at + step]]]
        return at

    def _of_runs(self, data: NDArray[np.uint8]) -> Ints:
        """A run of ``length`` bytes has two of every ``length // 2``-th byte in it, one after the other."""
        step, reach, table = self.length // 2, self.length - 1, self.first.table
        good = self.first.has(data[::step])
        at = np.flatnonzero(good[:-1] & good[1:]) * step
        for between in {step // 2, step // 4, step - step // 4} - {0}:
            at = at[table[data[at + between]]]
        inner = np.flatnonzero((at >= reach) & (at < len(data) - reach))
        if not len(inner) or len(inner) * _CROWDED > len(data):  # so many are not worth a closer look
            return at
        around = table[sliding_window_view(data, 2 * reach + 1)[at[inner] - reach]]
        around = np.pad(around, ((0, 0), (1, 1)))
        run = around[:, reach + 1 :].argmin(axis=1) + around[:, reach + 1 :: -1].argmin(axis=1) - 1
        return np.delete(at, inner[run < self.length])


def needed(source: bytes, flags: int) -> Needed | None:
    """What each match of an expression of the module regex holds, with the flags that it is compiled with.

    None where that is not surely known, or does not help to find a match.
    """
    inline = _INLINE.match(source)
    prefix = inline[0] if inline else b""
    reader = _Reader(source, len(prefix), lambda atom: _bytes_of(prefix + atom, flags))
    try:
        part = reader.all()
    except (_UnsureError, RecursionError):
        return None
    if not part.least or _bits(part.best) < _TELLING:
        return None
    sight = reader.sight if reader.sight is not None and reader.sight <= _SIGHT else None
    return Needed(_table(part.members), part.least, tuple(map(_Sequence.of, part.best)), sight)


def _bytes_of(atom: bytes, flags: int) -> int:
    """Which bytes an atom matches, as a set."""
    import regex

    expression: Any = regex.compile(atom, flags)
    matches = [match.span() for match in expression.finditer(bytes(range(256)))]
    if any(stop != start + 1 for start, stop in matches):
        raise _UnsureError
    return sum(1 << start for start, _ in matches)


def _table(members: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(members.to_bytes(32, "little"), np.uint8), bitorder="little").astype(bool)


def _weight(members: int) -> int:
    """How often a byte of a set is met, in 256ths or so."""
    return members.bit_count() + sum(more for byte, more in _COMMON.items() if members >> byte & 1)


def _telling(sets: Sets) -> float:
    return sum(max(0.0, 8 - log2(max(1, _weight(s)))) for s in sets)


def _bits(sequences: tuple[Sets, ...]) -> float:
    """How much it says that one of these sequences is there."""
    return min(map(_telling, sequences)) - log2(len(sequences)) if sequences else 0.0


def _cut(sets: Sets) -> Sets:
    """The `LONGEST` sets in a row that say the most."""
    starts = range(max(1, len(sets) - LONGEST + 1))
    return max((sets[i : i + LONGEST] for i in starts), key=_telling)


class _UnsureError(Exception):
    """Here is something that is not understood."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a part of an expression matches.

    ``least`` to ``most`` bytes of ``members``; ``most`` is None where it does not end. They begin with the bytes of
    ``head`` and end with those of ``tail``, and have one of the sequences ``best`` in them. Where ``whole`` is not None
    they are just its bytes.
    """

    members: int
    least: int
    most: int | None
    whole: Sets | None
    head: Sets
    tail: Sets
    best: tuple[Sets, ...]

    @classmethod
    def of_set(cls, members: int) -> "_Part":
        """One byte of a set."""
        return cls(members, 1, 1, (members,), (members,), (members,), ((members,),))

    def then(self, other: "_Part") -> "_Part":
        """The part that is this one, and the other right after it."""
        head = self.head if self.whole is None else self.whole + other.head
        tail = other.tail if other.whole is None else self.tail + other.whole
        whole = None if self.whole is None or other.whole is None else self.whole + other.whole
        between = self.tail + other.head
        return _Part(
            self.members | other.members,
            self.least + other.least,
            None if self.most is None or other.most is None else self.most + other.most,
            whole if whole is None or len(whole) <= LONGEST else None,
            head[:LONGEST],
            tail[-LONGEST:],
            max(self.best, other.best, (_cut(between),) if between else (), key=_bits),
        )

    def __or__(self, other: "_Part") -> "_Part":
        """The part that is this one or the other."""
        head = tuple(a | b for a, b in zip(self.head, other.head, strict=False))
        tail = tuple(a | b for a, b in zip(self.tail[::-1], other.tail[::-1], strict=False))[::-1]
        same = self.whole is not None and other.whole is not None and len(self.whole) == len(other.whole)
        several = self.best + other.best if self.best and other.best else ()
        choices = (several if len(several) <= _MANY else (), (head,) if head else (), (tail,) if tail else ())
        return _Part(
            self.members | other.members,
            min(self.least, other.least),
            None if self.most is None or other.most is None else max(self.most, other.most),
            head if same else None,
            head,
            tail,
            max(*choices, key=_bits),
        )

    def times(self, least: int, most: int | None) -> "_Part":
        """The part that is this one ``least`` to ``most`` times in a row."""
        longest = None if most is None or self.most is None else most * self.most
        if not least:
            return _Part(self.members, 0, longest, None, (), (), ())
        copies = min(least, LONGEST)
        row = reduce(_Part.then, [self] * copies)
        whole = row.whole if copies == most else None
        return replace(row, least=least * self.least, most=longest, whole=whole)


_NOTHING = _Part(0, 0, 0, (), (), (), ())


class _Reader:
    """Reads an expression from ``at``. ``sight`` is how far around a match it looks by then, None for without end."""

    def __init__(self, source: bytes, at: int, bytes_of: "Callable[[bytes], int]") -> None:
        self.sight: int | None = 0
        self._source = source
        self._at = at
        self._bytes_of = bytes_of
        self._groups: list[int] = [_ALL]  # the members of each group that can be referred to; group 0 is the whole

    def all(self) -> _Part:
        """The whole expression.

        Raises:
            _UnsureError: a part of it is not understood.
        """
        part = self._either()
        if self._at < len(self._source):
            raise _UnsureError
        return part

    def _either(self) -> _Part:
        part = self._row()
        while self._takes(b"|"):
            part |= self._row()
        return part

    def _row(self) -> _Part:
        part = _NOTHING
        for one in self._each():
            part = part.then(one)
        return part

    def _each(self) -> Iterator[_Part]:
        """The parts of a row."""
        while self._at < len(self._source) and self._source[self._at] not in b"|)":
            part = self._one()
            repeat = self._match(_REPEAT)
            if repeat is None:
                if self._source[self._at : self._at + 1] in (b"*", b"+", b"?", b"{"):
                    raise _UnsureError
                yield part
                continue
            if part is _NOTHING:
                raise _UnsureError
            least, comma, most, sign = repeat.groups()
            if sign:
                yield part.times(int(sign == b"+"), 1 if sign == b"?" else None)
            else:
                yield part.times(int(least), int(most) if most else None if comma else int(least))

    def _one(self) -> _Part:
        """One atom, group or place."""
        byte = self._source[self._at : self._at + 1]
        if byte == b"(":
            return self._group()
        if byte in (b"^", b"$"):
            return self._place(1, 1)
        if byte == b"[":
            return self._atom(self._match(_CLASS))
        if byte == b"\\":
            if (reference := self._match(_REFERENCE)) is not None:
                members = self._groups[int(reference[1])] if int(reference[1]) < len(self._groups) else _ALL
                return _Part(members, 0, None, None, (), (), ())
            following = self._source[self._at + 1 : self._at + 2]
            if following in (b"b", b"B"):
                return self._place(2, 1)
            if following in (b"A", b"Z"):
                return self._place(2, None)
            return self._atom(self._match(_ESCAPE))
        if byte in (b"*", b"+", b"?", b"{"):
            raise _UnsureError
        self._at += 1
        return _Part.of_set(self._bytes_of(byte if byte == b"." else re.escape(byte)))

    def _atom(self, match: re.Match[bytes] | None) -> _Part:
        """One byte of what an atom stands for."""
        if match is None:
            raise _UnsureError
        return _Part.of_set(self._bytes_of(match[0]))

    def _place(self, width: int, sight: int | None) -> _Part:
        """A place between bytes, such as the start of a line."""
        self._at += width
        self._look(sight)
        return _NOTHING

    def _look(self, sight: int | None) -> None:
        self.sight = None if sight is None or self.sight is None else self.sight + sight

    def _group(self) -> _Part:
        opened = self._match(_GROUP)
        if opened is None:
            raise _UnsureError
        plain, named, looks = opened.groups()
        if named:
            raise _UnsureError
        number = len(self._groups)
        if not plain and not looks:
            self._groups.append(_ALL)  # a reference inside of it
        part = self._either()
        if not self._takes(b")"):
            raise _UnsureError
        if not plain and not looks:
            self._groups[number] = part.members
        if looks:
            self._look(None if part.most is None else part.most + 1)
            return _NOTHING
        return part if part is not _NOTHING else replace(_NOTHING)

    def _takes(self, byte: bytes) -> bool:
        taken = self._source.startswith(byte, self._at)
        self._at += taken
        return taken

    def _match(self, expression: re.Pattern[bytes]) -> re.Match[bytes] | None:
        match = expression.match(self._source, self._at)
        if match is not None:
            self._at = match.end()
        return match
