"""What a table in Arrow's form is made of: types, fields with their units, columns, and batches of rows.

Facts: the Arrow columnar format, and the format strings of its C data interface.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, slots=True)
class Type:
    """A type of values. ``format`` is its name in the C data interface, ``dtype`` that of the array that holds them.

    ``dtype`` is None for text and bytes, whose values come as a sequence. ``words``: the values are words, and the
    array has their numbers.
    """

    format: str
    dtype: DTypeLike | None = None
    words: bool = False


BOOL = Type("b", np.bool_)
U8 = Type("C", np.uint8)
U16 = Type("S", np.uint16)
U32 = Type("I", np.uint32)
U64 = Type("L", np.uint64)
I32 = Type("i", np.int32)
I64 = Type("l", np.int64)
F64 = Type("g", np.float64)
TEXT = Type("U")  # with offsets of 64 bits
BYTES = Type("Z")
HASH = Type("w:16", np.uint8)  # (n, 16) uint8
WORDS8 = Type("C", np.uint8, words=True)
WORDS16 = Type("S", np.uint16, words=True)
WORDS32 = Type("i", np.int32, words=True)
TIME = Type("tsu:UTC", np.int64)  # microseconds since 1970


@dataclass(frozen=True, slots=True)
class Field:
    """A column's name, its type, what it holds, and the unit of a number that has one."""

    name: str
    type: Type
    about: str
    unit: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The values of some rows: (n,) of the type's dtype, or a sequence of n texts or bytes.

    ``valid`` (n,) bool says which are not null, by default all. ``words`` are those that the numbers of a column of
    words stand for.
    """

    values: NDArray[Any] | Sequence[Any]
    valid: NDArray[np.bool_] | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some rows of a table: a column for each field, of ``length`` values each."""

    length: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields of a table, and what else is said of it, by key."""

    fields: tuple[Field, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(f.name for f in self.fields)


Batches = Callable[[], Iterator[Batch]]


def optional(type_: Type, values: Sequence[Any]) -> Column:
    """A column of values of which any can be None."""
    valid = np.array([v is not None for v in values], np.bool_)
    all_valid = None if bool(valid.all()) else valid
    if type_.dtype is None:
        return Column(values, all_valid)
    given = [0 if v is None else v for v in values]
    return Column(np.array(given, type_.dtype), all_valid)


def batch(fields: Sequence[Field], rows: Sequence[Sequence[Any]]) -> Batch:
    """A batch of rows that stand in tuples, None for null. Columns of words are not made this way."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    return Batch(len(rows), tuple(optional(f.type, values) for f, values in zip(fields, columns, strict=True)))
