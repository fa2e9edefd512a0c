"""One term of a filter: a field, a comparison and values become tests of records and of sections."""

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..table.kinds import IS_DELTA
from ..table.sections import STAGE_OF, Sections
from ..table.table import Origins
from ..table.windows import Records
from ..text import bytes_of, called, shown
from .conditions import Located, Mask, RecordTest, SectionTest, Term
from .words import ALL_FINDINGS, FIELDS, FLAGS, KINDS, SECTION_FIELDS, STAGES, Bounds, Word

_COMPARE: dict[str, Callable[[Any, int], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_UNORDERED = frozenset(("kind", "block", "finding"))

Numbers = NDArray[np.integer[Any]]
Tests = tuple[RecordTest, SectionTest | None]


def make_term(field: Word, compare: str, values: list[Word], rules: Collection[str] | None) -> Term:
    """The term that these words are. ``rules`` are the rules that a finding can have, None if any word is one.

    Raises:
        FilterError: there is no such field, or the comparison or a value does not fit it.
    """
    name = field.text
    if name not in FIELDS:
        raise field.error(f"there is no field {name!r}; fields are {', '.join(FIELDS)}")
    if name == "finding" and rules is not None:
        for value in values:
            if value.text != ALL_FINDINGS and value.text not in rules:
                listed = ", ".join((ALL_FINDINGS, *rules))
                raise value.error(f"there is no rule {value.text!r}; rules are {listed}")
    if compare in _COMPARE and compare != "!=" and name in _UNORDERED:
        raise field.error(f"{name} does not have an order: write {name}: or {name}=")
    if compare == "!=":
        return _opposite(make_term(field, ":", values, rules))
    if compare in _COMPARE:
        return _compared(name, compare, values[0])
    return _one_of(name, values)


def _one_of(field: str, values: list[Word]) -> Term:
    """The term that holds where the field has one of some values."""
    tests = [_TESTS.get(field, _number_test)(field, value) for value in values]

    def test(records: Records, findings: Sequence[Located]) -> Mask:
        out = tests[0][0](records, findings)
        for of_value, _ in tests[1:]:
            out = out | of_value(records, findings)
        return out

    def section_test(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        out = np.zeros(len(indices), bool)
        for _, of_value in tests:
            if of_value is not None:
                out |= of_value(sections, indices)
        return out

    names: list[str] = []
    if field == "block":
        names = [value.text for value in values]
    elif field == "page":
        names = [value.text.rpartition(":")[0] for value in values if ":" in value.text]
    rules = tuple(value.text for value in values) if field == "finding" else ()
    return Term(field, test, section_test if field in SECTION_FIELDS else None, tuple(names), rules)


def _opposite(term: Term) -> Term:
    """The term that holds where the field is there, and ``term`` does not hold."""
    field, of_sections = term.field, term.section_test
    return Term(
        field,
        lambda records, findings: _present(field, records) & ~term.mask(records, findings),
        None if of_sections is None else lambda sections, indices: ~of_sections(sections, indices),
        term.block_names,
        term.rules,
        not term.negated,
    )


def _compared(field: str, compare: str, value: Word) -> Term:
    """The term that holds where the field is more, or less, than a number."""
    is_stage = field == "stage" and value.text.lower() in STAGES
    limit = STAGES[value.text.lower()] if is_stage else value.number()
    how = _COMPARE[compare]

    def section_test(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        numbers = _of_sections(field, sections, indices)
        return np.asarray(how(numbers, limit), bool) & (numbers >= 0)

    return Term(
        field,
        lambda records, _: _present(field, records) & how(_numbers(field, records), limit),
        section_test if field in SECTION_FIELDS else None,
    )


# -- tests of one value -----------------------------------------------------------------------------------------------


def _kind_test(_field: str, value: Word) -> Tests:
    kind = value.text.lower()
    if kind not in KINDS:
        raise value.error(f"there is no kind {value.text!r}; kinds are {', '.join(KINDS)}")
    wanted = np.zeros(256, bool)
    wanted[list(KINDS[kind])] = True
    return (lambda records, _: wanted[records.columns.kind]), None


def _of_block(records: Records, name: str) -> Mask:
    """The records of the blocks with this name, in bytes or as shown."""
    return np.isin(records.columns.block, called(records.names, name)) & records.is_page


def _block_test(_field: str, value: Word) -> Tests:
    return (lambda records, _: _of_block(records, value.text)), None


def _page_test(field: str, value: Word) -> Tests:
    block, colon, address = value.text.rpartition(":")
    low, high = replace(value, text=address).bounds()

    def test(records: Records, _findings: Sequence[Located]) -> Mask:
        page = low & ~(records.page_size - 1)  # an address in a page means the page
        chosen = records.is_page & _within(_numbers(field, records), (page, high))
        return chosen & _of_block(records, block) if colon else chosen

    return test, None


def _stage_test(field: str, value: Word) -> Tests:
    stage = STAGES.get(value.text.lower())
    return _number_test(field, value if stage is None else replace(value, text=str(stage)))


def _section_test(field: str, value: Word) -> Tests:
    name = value.text
    if not name or value.is_numeric:
        return _number_test(field, value)
    raw = bytes_of(name)

    def named(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        owners = {i: sections[i].owner for i in distinct(indices).tolist() if i >= 0}
        wanted = [i for i, o in owners.items() if o and (o.idstr == raw or shown(o.idstr) == name)]
        return np.isin(indices, wanted)

    return (lambda records, _: named(records.sections, records.section)), named


def _flags_test(field: str, value: Word) -> Tests:
    flag = FLAGS.get(value.text.lower())
    if flag is not None:
        return (lambda records, _: (records.columns.flags & np.uint16(flag)) != 0), None
    if not value.is_numeric:
        raise value.error(f"there is no flag {value.text!r}; flags are {', '.join(FLAGS)}, or a number")
    return _number_test(field, value)


def _finding_test(_field: str, value: Word) -> Tests:
    def test(records: Records, findings: Sequence[Located]) -> Mask:
        chosen = [f for f in findings if value.text in (ALL_FINDINGS, f.rule)]
        out = np.isin(records.number, [f.record for f in chosen if f.record])
        offsets = distinct(np.array([f.offset for f in chosen if not f.record and f.offset is not None], np.int64))
        if len(offsets):
            start = records.columns.offset.astype(np.int64)
            end = records.columns.end()
            out |= np.searchsorted(offsets, end) > np.searchsorted(offsets, start)
        return out

    return test, None


def _number_test(field: str, value: Word) -> Tests:
    bounds = value.bounds()

    def section_test(sections: Sections, indices: NDArray[np.int64]) -> Mask:
        return _within(_of_sections(field, sections, indices), bounds)

    return (
        lambda records, _: _present(field, records) & _within(_numbers(field, records), bounds),
        section_test if field in SECTION_FIELDS else None,
    )


#: What reads a field's value; of all other fields the values are numbers.
_TESTS: dict[str, Callable[[str, Word], Tests]] = {
    "kind": _kind_test,
    "block": _block_test,
    "page": _page_test,
    "stage": _stage_test,
    "section": _section_test,
    "flags": _flags_test,
    "finding": _finding_test,
}


# -- columns ----------------------------------------------------------------------------------------------------------


def _numbers(field: str, records: Records) -> Numbers:
    """The column of a field whose values are numbers, (n,)."""
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
        "channel": lambda: _origins(records).channel,
        "packet": lambda: _origins(records).packet,
    }
    return columns[field]()


def _origins(records: Records) -> Origins:
    """Which channel each record came over, -1 for the main channel's."""
    nowhere = np.full(len(records.columns), -1)
    at = records.columns.offset.astype(np.int64)
    return Origins(nowhere, nowhere, at) if records.origins is None else records.origins


def _present(field: str, records: Records) -> Mask:
    """Which records have the field, (n,) bool: EOS, for example, does not have a page, a pass or a number."""
    if field in ("page", "pass", "record", "block"):
        return records.is_page
    if field in ("channel", "packet"):
        came: Mask = _numbers(field, records) >= 0
        return came
    if field == "checksum":
        carries: Mask = IS_DELTA[records.columns.kind] | (records.columns.checksum != 0)
        return carries
    return np.ones(len(records.columns), bool)


def _of_sections(field: str, sections: Sections, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The column that a field has for sections, (m,) int64. It is -1 for a section that does not have the field."""
    chosen = [sections[i] for i in indices.tolist()]
    if field == "offset":
        return np.array([s.offset for s in chosen], np.int64)
    if field == "stage":
        return np.array([STAGE_OF.get(s.type, -1) for s in chosen], np.int64)
    return indices


def _within(values: Numbers, bounds: Bounds) -> Mask:
    """Which values lie in a range, (n,) bool."""
    low, high = bounds
    out: Mask = np.asarray(values >= low, bool)
    if high is not None:
        out = out & np.asarray(values <= high, bool)
    return out
