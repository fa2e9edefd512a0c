"""The one walk over grammars: construct's declarations to types that a writer can print."""

import keyword
import operator
import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, ClassVar

import construct as c
from construct import expr

from ..formats import declared
from .shapes import (
    Blob,
    Choice,
    Const,
    Expression,
    Field,
    First,
    Fitting,
    Following,
    Name,
    Number,
    Operation,
    Ref,
    Repeat,
    Rest,
    Shape,
    Sized,
    Summed,
    Type,
    Uleb,
    Unwritable,
    Value,
    When,
)

_SIGNS: dict[Any, str] = {
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.lshift: "<<",
    operator.rshift: ">>",
}
_CONDITIONS = frozenset(("==", "!=", "<", "<=", ">", ">=", "and", "or"))
_NUMBERS = (1, 2, 4, 8)  # bytes of the integers that every tool has
ID_STR = "id_str"
_LUA_WORDS = frozenset(("do", "elseif", "end", "function", "goto", "local", "nil", "repeat", "then", "until"))


def snake(name: str) -> str:
    """A name as types and fields have it in other tools. A word of Python's or Lua's own gets ``_`` after it."""
    out = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower().strip("_")
    return f"{out}_" if keyword.iskeyword(out) or out in _LUA_WORDS else out


def _plain(part: Any) -> Any:
    """The part that has the bytes: names, and what only building needs, are taken off."""
    while isinstance(part, c.Renamed | c.Rebuild | c.Default):
        part = part.subcon
    return part


def _size(part: Any) -> int | None:
    try:
        return int(part.sizeof())
    except (c.ConstructError, KeyError, TypeError):
        return None


class Walk:
    """The types that were made so far, by name. `add` makes more."""

    def __init__(self) -> None:
        self.types: dict[str, Type] = {}
        self._made: dict[int, Ref | Number | Uleb] = {}
        self._kept: list[Any] = []  # so that no id is given twice

    def add(self, name: str, grammar: Any, source: str) -> None:
        """Make a type of a grammar, under this name.

        Raises:
            Unwritable: a part of it is none that a writer knows.
        """
        before = dict(self.types)
        try:
            shape = self._struct(name, grammar, source) if isinstance(grammar, c.Struct) else self._row(name, grammar)
        except Unwritable:
            self.types = before
            raise
        if isinstance(shape, Ref):
            self.types[shape.name].source = source
        self._kept.append(grammar)
        self._made[id(grammar)] = shape

    def _row(self, name: str, grammar: Any) -> Ref | Number | Uleb:
        """The type of a grammar that is not a Struct. A number alone is not a type."""
        shape = self.shape(grammar, name, Type(name))
        if isinstance(shape, Number | Ref | Uleb):
            return shape
        return self._type(Type(name, fields=[Field("items" if isinstance(shape, Repeat) else "value", shape)]), grammar)

    def _struct(self, name: str, grammar: Any, source: str = "") -> Ref:
        made = Type(name, source)
        pads = 0
        for part in grammar.subcons:
            called = snake(str(part.name)) if part.name else f"pad{pads}"
            pads += not part.name
            if isinstance(_plain(part), c.Switch) and isinstance(_plain(part).keyfunc, declared.FirstFlag):
                made.fields.append(Field("kind", Value(self.expression(_plain(part).keyfunc, made))))
            shape = self.shape(part, f"{name}_{called}", made)
            if shape is not None:
                made.fields.append(Field(called, shape))
        return self._type(made, grammar)

    def _type(self, made: Type, grammar: Any) -> Ref:
        made.size = _size(grammar)
        made.params = tuple(sorted(set(self._params(made.fields))))
        if made.name in self.types:
            raise Unwritable(f"two types are called {made.name}")
        self.types[made.name] = made
        return Ref(made.name)

    def _params(self, thing: Any) -> Iterator[str]:
        """The parameters that a field, a shape or an expression needs, also those of the types that it refers to."""
        if isinstance(thing, Name):
            if thing.root == "param":
                yield thing.steps[0]
        elif isinstance(thing, Ref):
            yield from self.types[thing.name].params
        elif isinstance(thing, list | tuple):
            for part in thing:
                yield from self._params(part)
        elif hasattr(thing, "__dataclass_fields__"):
            for name in thing.__dataclass_fields__:
                yield from self._params(getattr(thing, name))

    # -- shapes

    def shape(self, part: Any, name: str, around: Type) -> Any:
        """The shape of a part of the type ``around``, or None where nothing is ever there.

        Types that are made for it are called ``name``.
        """
        part = _plain(part)
        if id(part) in self._made:
            return self._made[id(part)]
        for kind, make in self._SHAPES.items():
            if isinstance(part, kind):
                return make(self, part, name, around)
        raise Unwritable(f"{type(part).__name__} is not a part that a writer knows")

    def _ref(self, part: Any, name: str, around: Type) -> Ref:
        """The same, as a type: a value that is not one is wrapped into one."""
        shape = self.shape(part, name, around)
        if isinstance(shape, Ref):
            return shape
        return self._type(Type(name, fields=[Field("value", shape)]), _plain(part))

    def _number(self, part: Any, name: str, around: Type) -> Number:
        letter = part.fmtstr[1]
        if letter not in "BHLQbhlq":
            raise Unwritable(f"the number format {part.fmtstr}")
        return Number(part.length, letter.islower(), "le" if part.fmtstr[0] == "<" else "be")

    def _wide(self, part: Any, name: str, around: Type) -> Shape:
        if part.length > 4:  # no tool has an integer of 16 bytes
            return Blob(part.length)
        return Number(part.length, bool(part.signed), "le" if part.swapped else "be")

    def _const(self, part: Any, name: str, around: Type) -> Const:
        return Const(self.shape(part.subcon, name, around), part.value)

    def _bytes(self, part: Any, name: str, around: Type) -> Blob:
        return Blob(self.expression(part.length, around))

    def _rest(self, part: Any, name: str, around: Type) -> Blob:
        return Blob(None)

    def _padded(self, part: Any, name: str, around: Type) -> Shape:
        size = self.expression(part.length, around)
        return Blob(size) if _plain(part.subcon) is c.Pass else Sized(size, self._ref(part.subcon, name, around))

    def _prefixed(self, part: Any, name: str, around: Type) -> Ref:
        if part.subcon is not c.GreedyBytes or part.lengthfield is not c.Byte:
            raise Unwritable("a length before something else than a name")
        if ID_STR not in self.types:
            size = Name("this", ("len",))
            fields = [Field("len", Number(1, False, "be")), Field("text", Blob(size, text=True))]
            self._type(Type(ID_STR, fields=fields), part)
        return Ref(ID_STR)

    def _counted(self, part: Any, name: str, around: Type) -> Ref:
        if [s.name for s in part.subcons] != ["count", "items"]:
            raise Unwritable("FocusedSeq that is not PrefixedArray")
        count = self.shape(part.subcons[0], name, around)
        item = self.shape(_plain(part.subcons[1]).subcon, f"{name}_item", around)
        number = Name("this", ("count",), number=isinstance(count, Uleb))
        fields = [Field("count", count), Field("items", Repeat(item, number))]
        return self._type(Type(name, fields=fields), part)

    def _array(self, part: Any, name: str, around: Type) -> Repeat:
        return Repeat(self.shape(part.subcon, f"{name}_item", around), self.expression(part.count, around))

    def _while(self, part: Any, name: str, around: Type) -> Following:
        head = self._struct(f"{name}_head", _plain(part.head))
        fits = self.expression(part.fits, around)
        self._guard(self.types[head.name], fits)
        return Following(self._ref(part.subcon, f"{name}_item", around), head, fits)

    def _guard(self, head: Type, fits: Expression) -> None:
        """Let what follows the first field of a head be read only where the condition holds as far as that field."""
        if isinstance(fits, Operation) and fits.sign == "and" and isinstance(fits.left, Operation):
            first = fits.left.left
            if isinstance(first, Name) and first.steps == (head.fields[0].name,):
                holds = Operation(fits.left.sign, Name("this", first.steps), fits.left.right)
                head.fields[1:] = [Field(f.name, When(holds, f.shape)) for f in head.fields[1:]]

    def _greedy(self, part: Any, name: str, around: Type) -> Repeat:
        return Repeat(self.shape(part.subcon, f"{name}_item", around), size=_size(part.subcon))

    def _until(self, part: Any, name: str, around: Type) -> Repeat:
        return Repeat(self.shape(part.subcon, f"{name}_item", around), until=self.expression(part.predicate, around))

    def _summed(self, part: Any, name: str, around: Type) -> Summed:
        return Summed(self._ref(part.subcon, f"{name}_item", around), part.field, self.expression(part.total, around))

    def _fitting(self, part: Any, name: str, around: Type) -> Fitting:
        shape = self.shape(part.subcon, name, around)
        if not isinstance(shape, Number):
            raise Unwritable("IfNext of something else than a number")
        return Fitting(self.expression(part.fits, around), shape)

    def _if(self, part: Any, name: str, around: Type) -> Shape | None:
        if _plain(part.elsesubcon) is not c.Pass:
            raise Unwritable("IfThenElse")
        if isinstance(part.condfunc, bool):
            return self.shape(part.thensubcon, name, around) if part.condfunc else None
        shape = self.shape(part.thensubcon, name, around)
        return None if shape is None else When(self.expression(part.condfunc, around), shape)

    def _switch(self, part: Any, name: str, around: Type) -> Choice:
        if _plain(part.default) not in (c.Pass, c.Error):
            raise Unwritable("a Switch with a default")
        on = self.expression(part.keyfunc, around)
        on = Name("this", ("kind",)) if isinstance(on, First) else on
        first = next(iter(part.cases))
        if isinstance(first, bytes) and isinstance(on, Name):
            on = Name(on.root, on.steps, text=True)
        cases = []
        for key, case in part.cases.items():
            label = key.decode() if isinstance(key, bytes) else getattr(key, "name", str(key))
            cases.append((key, self._ref(case, f"{name}_{snake(label)}", around)))
        return Choice(on, tuple(cases))

    def _inner(self, part: Any, name: str, around: Type) -> Ref:
        return self._struct(name, part)

    def _computed(self, part: Any, name: str, around: Type) -> Value | None:
        return None if part.func is None else Value(self.expression(part.func, around))

    def _uleb(self, part: Any, name: str, around: Type) -> Uleb:
        return Uleb(part.most)

    #: Classes before those that they derive from.
    _SHAPES: ClassVar[dict[Any, Callable[..., Any]]] = {
        c.FormatField: _number,
        c.BytesInteger: _wide,
        c.Const: _const,
        c.Bytes: _bytes,
        type(c.GreedyBytes): _rest,
        c.Padded: _padded,
        c.Prefixed: _prefixed,
        c.FocusedSeq: _counted,
        c.Array: _array,
        declared.WhileNext: _while,
        c.GreedyRange: _greedy,
        c.RepeatUntil: _until,
        declared.UntilSum: _summed,
        declared.IfNext: _fitting,
        c.IfThenElse: _if,
        c.Switch: _switch,
        c.Struct: _inner,
        c.Computed: _computed,
        declared.Uleb128: _uleb,
    }

    # -- expressions

    def expression(self, value: Any, around: Type) -> Expression:
        """An expression of construct's, or of the declared ones.

        Raises:
            Unwritable: it is a function, or one that no tool has.
        """
        if isinstance(value, bool):
            raise Unwritable("a condition that is always the same")
        if isinstance(value, int):
            return int(value)
        if isinstance(value, bytes):
            return value
        if isinstance(value, declared.FirstFlag):
            if not all(isinstance(v, IntEnum) for v in (value.default, *(v for _, v in value.choices))):
                raise Unwritable("flags that choose among values without names")
            return First(self.expression(value.flags, around), value.choices, value.default)
        if isinstance(value, declared.Remainder):
            return Rest(self.expression(value.whole, around), value.part)
        if isinstance(value, expr.Path):
            return self._name(value, around)
        sign = _SIGNS.get(getattr(value, "op", None))
        if isinstance(value, expr.BinExpr) and sign is not None:
            return self._operation(sign, value, around)
        raise Unwritable(f"{value!r} is not an expression that a writer knows")

    def _operation(self, sign: str, value: Any, around: Type) -> Expression:
        left, right = self.expression(value.lhs, around), self.expression(value.rhs, around)
        if isinstance(right, bytes) and isinstance(left, Name):
            left = Name(left.root, left.steps, text=True)
        if sign in "&|" and all(isinstance(x, Operation) and x.sign in _CONDITIONS for x in (left, right)):
            sign = {"&": "and", "|": "or"}[sign]
        made = Operation(sign, left, right)
        known = [f.name for f in around.fields if isinstance(f.shape, Value) and f.shape.value == made]
        return Name("this", (known[0],)) if known else made

    def _name(self, path: Any, around: Type) -> Name:
        parts = re.findall(r"\['(\w+)'\]", repr(path))
        root = "obj" if repr(path).startswith("obj_") else "this"
        if parts and parts[0] == "_params":
            return Name("param", tuple(parts[1:]))
        steps = tuple(p if p == "_" else snake(p) for p in parts)
        shapes = {f.name: f.shape for f in around.fields}
        return Name(root, steps, number=root == "this" and len(steps) == 1 and isinstance(shapes.get(steps[0]), Uleb))
