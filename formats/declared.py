"""The parts of a layout that construct cannot state as data: a few declared classes, each of which has data alone.

The other grammars are made of construct's own classes, `this` and `obj_`, and of these. So a program can read a
grammar and write it down for another tool: no lambda and no closure says what bytes mean. `xbrletools.grammars` is that
program.
"""

from collections.abc import Callable
from typing import Any

from construct import (
    Construct,
    ConstructError,
    GreedyRange,
    IntegerError,
    ListContainer,
    RepeatError,
    SizeofError,
    Subconstruct,
    stream_read,
    stream_seek,
    stream_tell,
    stream_write,
)
from construct.expr import ExprMixin

from . import Grammar

#: What `this`, `obj_` and the expressions below are: a function of the fields that were read so far.
Expression = Callable[[Any], Any]


def is_set(flags: Any, bits: int) -> Any:
    """Whether one of ``bits`` is set in ``flags``, as an expression."""
    return (flags & int(bits)) != 0


class FirstFlag(ExprMixin):  # type: ignore[type-arg]  # generic in its stubs alone
    """The value that goes with the first of ``choices`` whose flag is set in ``flags``, or ``default``.

    Each choice is a flag, which has one bit, and its value.
    """

    def __init__(self, flags: Expression, choices: tuple[tuple[int, Any], ...], default: Any) -> None:
        self.flags = flags
        self.choices = tuple((int(flag), value) for flag, value in choices)
        self.default = default

    def of(self, flags: int) -> Any:
        """The value for these flags."""
        return next((value for flag, value in self.choices if flags & flag), self.default)

    def __call__(self, context: Any, *_: Any) -> Any:
        """The value for the flags that stand in ``context``."""
        return self.of(self.flags(context))


class Remainder(ExprMixin):  # type: ignore[type-arg]
    """What ``whole`` has beyond ``part``, a number: their difference, or 0 where ``whole`` is less."""

    def __init__(self, whole: Expression, part: int) -> None:
        self.whole = whole
        self.part = part

    def __call__(self, context: Any, *_: Any) -> int:
        """The difference, where ``context`` has the fields."""
        return max(0, int(self.whole(context)) - self.part)


class UntilSum(Subconstruct):  # type: ignore[type-arg]  # generic in its stubs alone
    """Items until their fields ``field`` add up to ``total`` or more; none where that is 0.

    Building raises RepeatError where the items do not come to the total, and leaves out those after.
    """

    def __init__(self, field: str, total: Expression, subcon: Grammar) -> None:
        super().__init__(subcon)
        self.field = field
        self.total = total

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        items: Any = ListContainer()
        total, found = self.total(context), 0
        while found < total:
            item = self.subcon._parsereport(stream, context, path)
            found += item[self.field]
            items.append(item)
        return items

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        items: Any = ListContainer()
        total, found = self.total(context), 0
        for item in obj:
            if found >= total:
                break
            items.append(self.subcon._build(item, stream, context, path))
            found += item[self.field]
        if found < total:
            raise RepeatError(f"the {self.field}s add up to {found}, not to {total}", path=path)
        return items

    def _sizeof(self, context: Any, path: str) -> int:
        raise SizeofError("as many items as their lengths ask for", path=path)


class IfNext(Subconstruct):  # type: ignore[type-arg]
    """A value that stands there only where ``fits`` holds of it, an expression in `obj_`; else None, and no bytes."""

    def __init__(self, fits: Expression, subcon: Grammar) -> None:
        super().__init__(subcon)
        self.fits = fits
        self.flagbuildnone = True

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream_tell(stream, path)
        try:
            value = self.subcon._parsereport(stream, context, path)
        except ConstructError:
            value = None
        if value is None or not self.fits(value):
            stream_seek(stream, start, 0, path)
            return None
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return None if obj is None else self.subcon._build(obj, stream, context, path)

    def _sizeof(self, context: Any, path: str) -> int:
        raise SizeofError("the value decides whether it is there", path=path)


class WhileNext(GreedyRange):  # type: ignore[type-arg]
    """Items as long as the next bytes read as ``head``, of which ``fits`` holds, an expression in `obj_`.

    The item reads those bytes again. The first that cannot be read to its end is not taken.
    """

    def __init__(self, head: Grammar, fits: Expression, subcon: Grammar) -> None:
        super().__init__(subcon)
        self.head = head
        self.fits = fits

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        items: Any = ListContainer()
        while True:
            start = stream_tell(stream, path)
            try:
                fits = self.fits(self.head._parsereport(stream, context, path))
                stream_seek(stream, start, 0, path)
                if not fits:
                    return items
                items.append(self.subcon._parsereport(stream, context, path))
            except ConstructError:
                stream_seek(stream, start, 0, path)
                return items


class Uleb128(Construct):  # type: ignore[type-arg]
    """An unsigned number, 7 bits a byte, the lowest first. A byte below 0x80 or the last of ``most`` bytes ends it.

    Building raises IntegerError for a number that takes more bytes.
    """

    BITS = 7
    MORE = 0x80

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        number = 0
        for i in range(self.most):
            byte = stream_read(stream, 1, path)[0]
            number |= (byte & ~self.MORE) << self.BITS * i
            if not byte & self.MORE:
                break
        return number

    def _build(self, obj: int, stream: Any, context: Any, path: str) -> int:
        if obj < 0 or obj >> self.BITS * self.most:
            raise IntegerError(f"{obj} does not fit into {self.most} bytes of {self.BITS} bits", path=path)
        digits, rest = [], obj
        while rest >= self.MORE:
            digits.append(rest & ~-self.MORE | self.MORE)
            rest >>= self.BITS
        stream_write(stream, bytes([*digits, rest]), len(digits) + 1, path)
        return obj

    def _sizeof(self, context: Any, path: str) -> int:
        raise SizeofError("1 byte or more", path=path)
