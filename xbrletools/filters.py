"""Filters: one small expression language that chooses records, for the library, the commands and the browser.

``kind:xbrle page:0x300000-0x33f000 len>1000``: terms side by side must all hold; ``or``, ``not`` (or ``!``) and
parentheses combine them. A term is FIELD:VALUE,VALUE,... where a value of a number can be a range A-B, both ends
included, A- or -B; or FIELD with one of > >= < <= = != and a value. Values with blanks, commas or parentheses stand
in quotes, inside which a doubled quote is one.
"""

import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import XbrleError
from .formats.ram import DELTA_KINDS, Flag, Kind
from .table.kinds import IS_DELTA
from .table.sections import STAGE_OF, Sections, Stage
from .table.windows import Records
from .text import shown, size

Mask = NDArray[np.bool_]

#: Every field and what its values are, in the order that messages list them.
FIELDS = {
    "kind": "page, dup, xbrle, ... or delta",
    "page": "an address or a range, also BLOCK:ADDRESS",
    "len": "bytes of payload",
    "block": "a block's name",
    "pass": "a number or a range, from 1",
    "stage": "start, part, end, or 1 to 3",
    "record": "a number or a range, from 1",
    "section": "a number or a range, from 0, or a section's name",
    "offset": "a file offset or a range",
    "flags": "a flag's name, or the whole value of the flags",
    "checksum": "the checksum that the record carries",
    "finding": "a rule of `verify`, or any",
}
ALL_FINDINGS = "any"
SECTION_FIELDS = frozenset(("section", "stage", "offset"))  # what a section has too

_COMPARE: dict[str, Callable[[Any, int], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_WORDS = frozenset(("kind", "block", "finding"))
_TERM = re.compile(r"([a-z]+)(:|>=|<=|!=|=|>|<)")
_QUOTED = re.compile(r"\"((?:[^\"]|\"\")*)\"|'((?:[^']|'')*)'")
_BARE = re.compile(r"[^\s(),\"']+")
_KEYWORD = re.compile(r"(?:or|not|and)(?=[\s()!]|$)")
_RANGE = re.compile(r"([^-]*)-([^-]*)")


class FilterError(XbrleError):
    """A filter cannot be read; ``position`` is where in its text, from 0."""

    def __init__(self, text: str, position: int, message: str) -> None:
        super().__init__(f"character {position + 1} of filter {text!r}: {message}")
        self.position = position


class Located(Protocol):
    """What a filter needs of a finding."""

    @property
    def rule(self) -> str:
        """The rule's id."""

    @property
    def offset(self) -> int | None:
        """The byte in the capture where it shows."""

    @property
    def record(self) -> int | None:
        """The number of the record that it is about."""


class Filter(Protocol):
    """A condition on records."""

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that it looks at."""

    def mask(self, records: Records, findings: Iterable[Located] = ()) -> Mask:
        """Which records it holds for, (n,) bool. ``findings`` are what ``finding:`` looks at."""

    def sections(self, sections: Sections, indices: NDArray[np.int64]) -> Mask:
        """Which sections, by index, it holds for, (m,) bool; none where it looks at what only records have."""


@dataclass(frozen=True, slots=True)
class Term:
    """One field and the condition on it."""

    field: str
    test: Callable[[Records, Sequence[Located]], Mask]
    section_test: Callable[[Sections, NDArray[np.int64]], Mask] | None
    block_names: tuple[str, ...] = ()  # that it looks for

    @property
    def fields(self) -> frozenset[str]:
        """The one field."""
        return frozenset((self.field,))

    def mask(self, records: Records, findings: Iterable[Located] = ()) -> Mask:
        """Which records it holds for, (n,) bool."""
        return self.test(records, findings if isinstance(findings, Sequence) else tuple(findings))

    def sections(self, sections: Sections, indices: NDArray[np.int64]) -> Mask:
        """Which sections it holds for, (m,) bool."""
        return self.section_test(sections, indices) if self.section_test else np.zeros(len(indices), bool)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    part: Filter

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the condition."""
        return self.part.fields

    def mask(self, records: Records, findings: Iterable[Located] = ()) -> Mask:
        """Which records the condition does not hold for, (n,) bool."""
        return ~self.part.mask(records, findings)

    def sections(self, sections: Sections, indices: NDArray[np.int64]) -> Mask:
        """Which sections the condition does not hold for, (m,) bool."""
        return ~self.part.sections(sections, indices) & (self.fields <= SECTION_FIELDS)


@dataclass(frozen=True, slots=True)
class All:
    """All of several conditions; of none: every record."""

    parts: tuple[Filter, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The fields of all conditions."""
        return frozenset().union(*(p.fields for p in self.parts))

    def mask(self, records: Records, findings: Iterable[Located] = ()) -> Mask:
        """Which records all conditions hold for, (n,) bool."""
        out = np.ones(len(records.columns), bool)
        for part in self.parts:
            out &= part.mask(records, findings)
        return out

    def sections(self, sections: Sections, indices: NDArray[np.int64]) -> Mask:
        """Which sections all conditions hold for, (m,) bool."""
        out = np.ones(len(indices), bool)
        for part in self.parts:
            out &= part.sections(sections, indices)
        return out


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several conditions."""

    parts: tuple[Filter, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The fields of all conditions."""
        return frozenset().union(*(p.fields for p in self.parts))

    def mask(self, records: Records, findings: Iterable[Located] = ()) -> Mask:
        """Which records some condition holds for, (n,) bool."""
        out = np.zeros(len(records.columns), bool)
        for part in self.parts:
            out |= part.mask(records, findings)
        return out

    def sections(self, sections: Sections, indices: NDArray[np.int64]) -> Mask:
        """Which sections some condition holds for, (m,) bool."""
        out = np.zeros(len(indices), bool)
        for part in self.parts:
            out |= part.sections(sections, indices)
        return out


def parse(text: str, rules: Collection[str] | None = None) -> Filter:
    """The filter that ``text`` describes; an empty one lets everything through.

    ``rules`` are those that a finding can have; without them any word is taken for one.

    Raises:
        FilterError: it cannot be read; says where and what was expected.
    """
    return _Parser(text, rules).whole()


def term(field: str, value: str, rules: Collection[str] | None = None) -> Filter:
    """The filter ``field:value`` for a value that needs no quotes: names may hold anything, commas too.

    Raises:
        FilterError: there is no such field, or the value is none of it.
    """
    return _term(field, ":", [(value, len(field) + 1)], f"{field}:{value}", 0, rules)


def strangers(chosen: Filter, names: Sequence[bytes]) -> list[str]:
    """The block names that a filter looks for and that are none of ``names``, in bytes or as shown."""
    if isinstance(chosen, Term):
        known = {shown(n) for n in names} | {n.decode("utf-8", "surrogateescape") for n in names}
        return [b for b in chosen.block_names if b not in known]
    parts = (chosen.part,) if isinstance(chosen, Not) else chosen.parts if isinstance(chosen, All | AnyOf) else ()
    return [name for part in parts for name in strangers(part, names)]


class _Parser:
    """A descent over the text; ``at`` is the next character."""

    def __init__(self, text: str, rules: Collection[str] | None) -> None:
        self.text = text
        self.rules = rules
        self.at = 0

    def whole(self) -> Filter:
        self._blank()
        if self.at == len(self.text):
            return All(())
        out = self._any()
        if self.at < len(self.text):
            raise self._error("this parenthesis was never opened")
        return out

    def _any(self) -> Filter:
        parts = [self._all()]
        while self._keyword("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Filter:
        parts = [self._one()]
        while True:
            joined = self._keyword("and")
            if not joined and (self.at == len(self.text) or self.text[self.at] == ")" or self._is_next("or")):
                return parts[0] if len(parts) == 1 else All(tuple(parts))
            parts.append(self._one())

    def _one(self) -> Filter:
        if self._keyword("not") or self._mark("!"):
            return Not(self._one())
        start = self.at
        if self._mark("("):
            inner = self._any()
            if not self._mark(")"):
                raise FilterError(self.text, start, "this parenthesis is never closed")
            return inner
        found = _TERM.match(self.text, self.at)
        if not found:
            raise self._error("expected a term such as kind:xbrle or len>1000; fields are " + ", ".join(FIELDS))
        self.at = found.end()
        values = [self._value()]
        while found[2] in (":", "=") and self.text.startswith(",", self.at):
            self.at += 1
            values.append(self._value())
        self._blank()
        return _term(found[1], found[2], values, self.text, start, self.rules)

    def _value(self) -> tuple[str, int]:
        """A value and its position: pieces in and out of quotes, side by side."""
        start, out = self.at, ""
        while True:
            if quoted := _QUOTED.match(self.text, self.at):
                out += quoted[1].replace('""', '"') if quoted[1] is not None else quoted[2].replace("''", "'")
                self.at = quoted.end()
            elif bare := _BARE.match(self.text, self.at):
                out += bare[0]
                self.at = bare.end()
            else:
                break
        if self.text[self.at : self.at + 1] in ('"', "'"):
            raise self._error("this quote is never closed")
        if self.at == start:
            raise self._error("expected a value")
        return out, start

    def _keyword(self, word: str) -> bool:
        if not self._is_next(word):
            return False
        self.at += len(word)
        self._blank()
        return True

    def _is_next(self, word: str) -> bool:
        found = _KEYWORD.match(self.text, self.at)
        return found is not None and found[0] == word

    def _mark(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        self._blank()
        return True

    def _blank(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _error(self, message: str) -> FilterError:
        return FilterError(self.text, self.at, message)


# -- terms -----------------------------------------------------------------------------------------------------------

Bounds = tuple[int, int | None]  # both included; None: no end
Numbers = NDArray[np.integer[Any]]


def _term(
    field: str, compare: str, values: list[tuple[str, int]], text: str, at: int, rules: Collection[str] | None
) -> Term:
    if field not in FIELDS:
        raise FilterError(text, at, f"there is no field {field!r}; fields are {', '.join(FIELDS)}")
    if field == "finding" and rules is not None:
        for value, place in values:
            if value != ALL_FINDINGS and value not in rules:
                known = ", ".join((ALL_FINDINGS, *rules))
                raise FilterError(text, place, f"there is no rule {value!r}; rules are {known}")
    if compare in _COMPARE and compare != "!=" and field in _WORDS:
        raise FilterError(text, at, f"{field} takes : or =, it has no order")
    if compare in _COMPARE:
        if compare == "!=":
            inner = _term(field, ":", values, text, at, rules)
            return Term(field, lambda r, f: _present(field, r) & ~inner.mask(r, f), _opposite(inner), inner.block_names)
        return _compared(field, compare, *values[0], text)
    made = [_READ.get(field, _number_test)(field, value, text, place) for value, place in values]

    def test(records: Records, findings: Sequence[Located]) -> Mask:
        out = made[0][0](records, findings)
        for one, _ in made[1:]:
            out = out | one(records, findings)
        return out

    def section_test(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        out = np.zeros(len(indices), bool)
        for _, one in made:
            if one is not None:
                out |= one(sections, indices)
        return out

    names: list[str] = []
    if field == "block":
        names = [value for value, _ in values]
    elif field == "page":
        names = [value.rpartition(":")[0] for value, _ in values if ":" in value]
    return Term(field, test, section_test if field in SECTION_FIELDS else None, tuple(names))


def _opposite(inner: Term) -> Callable[[Sections, NDArray[np.int64]], Mask] | None:
    test = inner.section_test
    return None if test is None else lambda sections, indices: ~test(sections, indices)


def _compared(field: str, compare: str, value: str, at: int, text: str) -> Term:
    limit = STAGES[value.lower()] if field == "stage" and value.lower() in STAGES else _number(value, text, at)
    how = _COMPARE[compare]

    def section_test(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        numbers = _of_sections(field, sections, indices)
        return np.asarray(how(numbers, limit), bool) & (numbers >= 0)

    return Term(
        field,
        lambda records, _: _present(field, records) & how(_numbers(field, records), limit),
        section_test if field in SECTION_FIELDS else None,
    )


_Test = Callable[[Records, Sequence[Located]], Mask]
_SectionTest = Callable[[Sections, NDArray[np.int64]], Mask]
_Made = tuple[_Test, _SectionTest | None]

KINDS: dict[str, tuple[Kind, ...]] = {k.name.lower(): (k,) for k in Kind} | {"delta": DELTA_KINDS}
STAGES = {s.name.lower(): int(s) for s in Stage}
FLAGS = {str(f.name).lower(): int(f) for f in Flag}


def _kind_test(_field: str, value: str, text: str, at: int) -> _Made:
    if value.lower() not in KINDS:
        raise FilterError(text, at, f"there is no kind {value!r}; kinds are {', '.join(KINDS)}")
    wanted = np.zeros(256, bool)
    wanted[list(KINDS[value.lower()])] = True
    return (lambda records, _: wanted[records.columns.kind]), None


def _of_block(records: Records, name: str) -> Mask:
    """The records of the blocks called so, in bytes or as shown."""
    raw = name.encode("utf-8", "surrogateescape")
    indices = [i for i, n in enumerate(records.names) if n == raw or shown(n) == name]
    return np.isin(records.columns.block, indices) & records.is_page


def _block_test(_field: str, value: str, _text: str, _at: int) -> _Made:
    return (lambda records, _: _of_block(records, value)), None


def _page_test(field: str, value: str, text: str, at: int) -> _Made:
    name, colon, place = value.rpartition(":")
    bounds = _bounds(place, text, at)

    def test(records: Records, _findings: Sequence[Located]) -> Mask:
        low = bounds[0] & ~(records.page_size - 1)  # an address in a page means the page
        chosen = records.is_page & _within(_numbers(field, records), (low, bounds[1]))
        return chosen & _of_block(records, name) if colon else chosen

    return test, None


def _stage_test(field: str, value: str, text: str, at: int) -> _Made:
    if value.lower() in STAGES:
        value = str(STAGES[value.lower()])
    return _number_test(field, value, text, at)


def _section_test(field: str, value: str, text: str, at: int) -> _Made:
    if value and not _looks_numeric(value):
        raw = value.encode("utf-8", "surrogateescape")

        def named(sections: Sections, indices: NDArray[np.int64]) -> Mask:
            owners = {i: sections[i].owner for i in np.unique(indices).tolist() if i >= 0}
            wanted = [i for i, o in owners.items() if o and (o.idstr == raw or shown(o.idstr) == value)]
            return np.isin(indices, wanted)

        return (lambda records, _: named(records.sections, records.section)), named
    return _number_test(field, value, text, at)


def _flags_test(field: str, value: str, text: str, at: int) -> _Made:
    flag = FLAGS.get(value.lower())
    if flag is not None:
        return (lambda records, _: (records.columns.flags & np.uint16(flag)) != 0), None
    if not _looks_numeric(value):
        raise FilterError(text, at, f"there is no flag {value!r}; flags are {', '.join(FLAGS)}, or a number")
    return _number_test(field, value, text, at)


def _finding_test(_field: str, value: str, _text: str, _at: int) -> _Made:
    def test(records: Records, findings: Sequence[Located]) -> Mask:
        mine = [f for f in findings if value in (ALL_FINDINGS, f.rule)]
        out = np.isin(records.number, [f.record for f in mine if f.record])
        offsets = np.unique(np.array([f.offset for f in mine if not f.record and f.offset is not None], np.int64))
        if len(offsets):
            start = records.columns.offset.astype(np.int64)
            end = records.columns.end()
            out |= np.searchsorted(offsets, end) > np.searchsorted(offsets, start)
        return out

    return test, None


def _number_test(field: str, value: str, text: str, at: int) -> _Made:
    bounds = _bounds(value, text, at)

    def section_test(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        return _within(_of_sections(field, sections, indices), bounds)

    return (
        lambda records, _: _present(field, records) & _within(_numbers(field, records), bounds),
        section_test if field in SECTION_FIELDS else None,
    )


_READ: dict[str, Callable[[str, str, str, int], _Made]] = {
    "kind": _kind_test,
    "block": _block_test,
    "page": _page_test,
    "stage": _stage_test,
    "section": _section_test,
    "flags": _flags_test,
    "finding": _finding_test,
}


def _numbers(field: str, records: Records) -> Numbers:
    """The column that a field of numbers looks at, (n,)."""
    c = records.columns
    columns: dict[str, Callable[[], Numbers]] = {
        "page": lambda: c.address,
        "len": lambda: c.length,
        "pass": lambda: records.pass_,
        "stage": lambda: records.stage,
        "record": lambda: records.number,
        "section": lambda: records.section,
        "offset": lambda: c.offset,
        "flags": lambda: c.flags,
        "checksum": lambda: c.checksum,
    }
    return columns[field]()


def _present(field: str, records: Records) -> Mask:
    """Which records have the field at all, (n,) bool: EOS has no page, no pass, no number."""
    if field in ("page", "pass", "record", "block"):
        return records.is_page
    if field == "checksum":
        carries: Mask = IS_DELTA[records.columns.kind] | (records.columns.checksum != 0)
        return carries
    return np.ones(len(records.columns), bool)


def _of_sections(field: str, sections: Sections, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The column that a field of numbers has for sections, (m,) int64; -1 where a section has none."""
    chosen = [sections[i] for i in indices.tolist()]
    if field == "offset":
        return np.array([s.offset for s in chosen], np.int64)
    if field == "stage":
        return np.array([STAGE_OF.get(s.type, -1) for s in chosen], np.int64)
    return indices


def _within(values: Numbers, bounds: Bounds) -> Mask:
    low, high = bounds
    out: Mask = np.asarray(values >= low, bool)
    if high is not None:
        out = out & np.asarray(values <= high, bool)
    return out


def _looks_numeric(value: str) -> bool:
    return value[0].isdigit() or (value[0] == "-" and value[1:2].isdigit())


def _bounds(value: str, text: str, at: int) -> Bounds:
    found = _RANGE.fullmatch(value)
    if not found:
        one = _number(value, text, at)
        return one, one
    if not found[1] and not found[2]:
        raise FilterError(text, at, "expected a range such as 100-200, 100- or -200")
    low = _number(found[1], text, at) if found[1] else 0
    high = _number(found[2], text, at) if found[2] else None
    if high is not None and high < low:
        raise FilterError(text, at, f"the range {value} ends before it begins")
    return low, high


def _number(value: str, text: str, at: int) -> int:
    try:
        number = size(value)
    except XbrleError:
        raise FilterError(text, at, f"expected a number, decimal, 0x... or with K, M, G; not {value!r}") from None
    return min(number, (1 << 64) - 1)
