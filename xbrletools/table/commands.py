"""COMMANDs: the control messages between the sections of a capture, kept as columns, and what each one says.

Facts: formats/README.md, "The container" and "Postcopy". A capture can have a million of them. So only their numbers
and their bytes are kept, and a `Command` is made when it is asked for.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..formats import Grammar, qevm
from ..text import shown

_SHORT = 64  # bytes of data whose fields are remembered: millions of commands are mostly alike
_KEPT = 256  # such data at most
_NAMES = {int(command): command.name.lower() for command in qevm.Command}


def meant(number: int, length: int) -> int:
    """The number as it is today: one release wrote RECV_BITMAP, alone of its neighbours with data, as one less [R]."""
    return int(qevm.Command.RECV_BITMAP) if number == qevm.Command.POSTCOPY_RESUME and length else number


def name_of(number: int, length: int) -> str:
    """A command's name in lower case, or its number where that is not known. ``length`` is that of its data."""
    number = meant(number, length)
    return _NAMES.get(number, f"command {number}")


class Command(NamedTuple):
    """One COMMAND. Its type byte stands at ``offset``. ``data`` are its bytes, ``fields`` what they say, or None.

    ``package`` is where the sections that PACKAGED carries lie, ``[start, end)`` in the capture. ``end`` is the offset
    after the command's own data.
    """

    offset: int
    number: int
    data: bytes
    end: int
    fields: dict[str, Any] | None = None
    package: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The command's name in lower case, or its number where that is not known."""
        return name_of(self.number, len(self.data))

    @property
    def grammar(self) -> "Grammar | None":
        """What its data reads as, or None where that is not known."""
        return qevm.COMMAND_DATA.get(meant(self.number, len(self.data))) if self.data else None

    @property
    def discards(self) -> "list[Discard]":
        """The ranges that a RAM_DISCARD names. Other commands have none."""
        if self.number != qevm.Command.POSTCOPY_RAM_DISCARD or self.fields is None:
            return []
        name = self.fields["idstr"]
        return [Discard(self.offset, name, r["start"], r["length"]) for r in self.fields["ranges"]]

    def __str__(self) -> str:
        """Its name and what it says, for a person."""
        said = self.fields or {}
        if "ranges" in said:
            ranges = said["ranges"]
            words = [shown(said["idstr"]), f"{len(ranges)} ranges of {sum(r['length'] for r in ranges):#x} bytes"]
        elif self.package is not None:
            words = [f"{said['size']} bytes of sections"]
        else:
            words = [shown(v) if isinstance(v, bytes) else f"{v:#x}" for v in said.values()]
        if self.data and not said:
            words = [f"{len(self.data)} bytes"]
        return " ".join([self.name, *words])


class Discard(NamedTuple):
    """A range of one block's pages that the destination forgot, at the command's ``offset`` in the capture."""

    offset: int
    block: bytes
    start: int
    length: int


class Commands(Sequence[Command]):
    """The COMMANDs of a capture in file order."""

    def __init__(self) -> None:
        self._offset = array("Q")
        self._number = array("H")
        self._start = array("Q", [0])  # of each one's bytes in `_data`, and last where the next one's will begin
        self._data = bytearray()
        self._packages: list[tuple[int, int, int]] = []  # index of the command, and the bytes [start, end) of sections

    def append(self, offset: int, number: int, data: bytes) -> None:
        """Add the command whose type byte stands at ``offset``. Offsets rise."""
        self._offset.append(offset)
        self._number.append(number)
        self._data += data
        self._start.append(len(self._data))
        if number == qevm.Command.PACKAGED and (package := self[-1].package) is not None:
            self._packages.append((len(self) - 1, *package))

    def extend(self, offsets: NDArray[np.uint64], number: int, data: NDArray[np.uint8]) -> None:
        """Add commands of one number, which is not PACKAGED. ``offsets`` (n,) rise, ``data`` is (n, bytes of each)."""
        count, length = data.shape
        starts = self._start[-1] + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(length)
        self._offset.frombytes(offsets.tobytes())
        self._number.extend(array("H", [number]) * count)
        self._data += data.tobytes()
        self._start.frombytes(starts.astype(np.uint64).tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Commands) and self.kept() == other.kept()

    __hash__ = None  # type: ignore[assignment]  # more can be added

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, index: int) -> Command:  # type: ignore[override]  # slices are not needed
        index = index + len(self) if index < 0 else index
        data = bytes(self._data[self._start[index] : self._start[index + 1]])
        return _read(self._offset[index], self._number[index], data)

    def __iter__(self) -> Iterator[Command]:
        return (self[i] for i in range(len(self)))

    @property
    def numbers(self) -> Sequence[int]:
        """The number of each."""
        return self._number

    @property
    def lengths(self) -> Iterator[int]:
        """The length of each one's data, in bytes."""
        return (end - start for start, end in zip(self._start, self._start[1:], strict=False))

    @property
    def end(self) -> int:
        """The offset after the last one, or 0 where there is none."""
        return self[-1].end if len(self) else 0

    def counts(self) -> Mapping[str, int]:
        """How many there are of each name."""
        counted = Counter(zip(self._number, (length > 0 for length in self.lengths), strict=True))
        named: Counter[str] = Counter()
        for (number, has_data), count in counted.items():
            named[name_of(number, has_data)] += count
        return named

    def discards(self) -> Iterator[Discard]:
        """The ranges of pages that RAM_DISCARD commands name, in file order."""
        number = qevm.Command.POSTCOPY_RAM_DISCARD
        return (d for i, n in enumerate(self._number) if n == number for d in self[i].discards)

    def at(self, offset: int) -> Command | None:
        """The command whose type byte stands at ``offset``, if one does."""
        index = bisect_left(self._offset, offset)
        return self[index] if index < len(self) and self._offset[index] == offset else None

    def packages(self) -> Iterator[Command]:
        """The PACKAGED ones."""
        return (self[index] for index, _, _ in self._packages)

    def package_of(self, offset: int) -> int | None:
        """The index of the command whose package holds ``offset``, if one does."""
        found = bisect_right(self._packages, offset, key=lambda p: p[1]) - 1
        if found < 0 or offset >= self._packages[found][2]:
            return None
        return self._packages[found][0]

    def kept(self) -> list[list[int] | str]:
        """What `of` makes the same commands of, as JSON can hold it."""
        return [self._offset.tolist(), self._number.tolist(), list(self.lengths), self._data.hex()]

    @classmethod
    def of(cls, kept: list[Any]) -> "Commands":
        """The commands of what `kept` gave.

        Raises:
            ValueError, TypeError, LookupError or OverflowError: it is not from there.
        """
        made, at = cls(), 0
        offsets, numbers, lengths, text = kept
        data = bytes.fromhex(text)
        for offset, number, length in zip(offsets, numbers, lengths, strict=True):
            if length < 0 or at + length > len(data) or (len(made) and offset <= made._offset[-1]):
                raise ValueError("not the columns of commands")
            made.append(offset, number, data[at : at + length])
            at += length
        return made


def _read(offset: int, number: int, data: bytes) -> Command:
    """A command from its number and its data."""
    end = offset + 1 + qevm.DataHead.sizeof() + len(data)
    fields = (_fields_of_short if len(data) <= _SHORT else _fields_of)(number, data)
    package = None
    if number == qevm.Command.PACKAGED and fields is not None:
        package = (end, end + fields["size"])
    return Command(offset, number, data, end, fields, package)


def _fields_of(number: int, data: bytes) -> Any:
    """The fields of a command's data, None where it does not have any or they cannot be read."""
    grammar = qevm.COMMAND_DATA.get(meant(number, len(data)))
    if grammar is None or not data:
        return None
    try:
        return _plain(grammar.parse(data))
    except ConstructError:
        return None


_fields_of_short = lru_cache(_KEPT)(_fields_of)


def _plain(parsed: Any) -> Any:
    """What construct parsed, as dicts and lists, without construct's own entries."""
    if isinstance(parsed, dict):
        return {k: _plain(v) for k, v in parsed.items() if not str(k).startswith("_")}
    if isinstance(parsed, list):
        return [_plain(v) for v in parsed]
    return parsed
