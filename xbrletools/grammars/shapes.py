"""What the walk makes of grammars, and what every writer prints: types, their fields, shapes and expressions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Name:
    """A field, by the steps from ``root`` to it.

    ``root`` is "this" (the type that is being read; a step "_" leads to the one around it), "obj" (the value that was
    just read) or "param". ``text`` is true where a name's bytes are meant, ``number`` where a `Uleb`'s value is.
    """

    root: str
    steps: tuple[str, ...]
    text: bool = False
    number: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """Two expressions and what joins them, as Python writes it; ``and`` and ``or`` where both are conditions."""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class First:
    """The value of the first choice (flag, value) whose flag is set in ``flags``, else ``default``."""

    flags: Expression
    choices: tuple[tuple[int, IntEnum], ...]
    default: IntEnum


@dataclass(frozen=True, slots=True)
class Rest:
    """``whole`` less ``part``, and 0 where that is negative."""

    whole: Expression
    part: int


Expression: TypeAlias = Name | Operation | First | Rest | int | bytes


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of ``size`` bytes. ``order`` is "be" or "le"."""

    size: int
    signed: bool
    order: str


@dataclass(frozen=True, slots=True)
class Uleb:
    """A ULEB128 number of at most ``most`` bytes."""

    most: int


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes: as many as ``size`` says, or all that are left where it is None. ``text`` is true for a name's."""

    size: Expression | None
    text: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """A type, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Const:
    """A value that must stand there."""

    shape: Shape
    value: int | bytes


@dataclass(frozen=True, slots=True)
class When:
    """Something that is there only where ``condition`` holds."""

    condition: Expression
    shape: Shape


@dataclass(frozen=True, slots=True)
class Fitting:
    """Something that is there only where ``fits`` holds of it."""

    fits: Expression
    shape: Number


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several types, by a value; nothing for a value without a case."""

    on: Expression
    cases: tuple[tuple[int | bytes, Ref], ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A row: of ``count`` items, or up to one of which ``until`` holds, or all that is left.

    ``size`` is an item's in bytes, where it is fixed. Of all that is left, bytes too few for an item are left over.
    """

    shape: Shape
    count: Expression | None = None
    until: Expression | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Summed:
    """A row until the items' fields ``field`` add up to ``total``."""

    shape: Ref
    field: str
    total: Expression


@dataclass(frozen=True, slots=True)
class Following:
    """A row as long as the next bytes read as ``head`` and ``fits`` holds of it."""

    shape: Ref
    head: Ref
    fits: Expression


@dataclass(frozen=True, slots=True)
class Sized:
    """Something in a space of ``size`` bytes."""

    size: Expression
    shape: Ref


@dataclass(frozen=True, slots=True)
class Value:
    """Something that follows from other fields. It does not take bytes."""

    value: Expression


Shape: TypeAlias = (
    Number | Uleb | Blob | Ref | Const | When | Fitting | Choice | Repeat | Summed | Following | Sized | Value
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a type. One without a name in the grammar gets ``pad`` and a number."""

    name: str
    shape: Shape


@dataclass(slots=True)
class Type:
    """A type: its fields in the order of their bytes, and the names of the parameters that it takes.

    ``source`` is the grammar that it was made from, or "" for a part of another one. ``size`` is in bytes, or None
    where it is not fixed.
    """

    name: str
    source: str = ""
    fields: list[Field] = field(default_factory=list)
    params: tuple[str, ...] = ()
    size: int | None = None


class Unwritable(Exception):  # noqa: N818 - it is not an error of the user's
    """A part that the writers do not know, and why."""


def inner(shape: Any) -> Any:
    """The shape of one item, or of what is there under a condition."""
    while isinstance(shape, Const | When | Fitting | Repeat | Summed | Following | Sized):
        shape = shape.shape
    return shape
