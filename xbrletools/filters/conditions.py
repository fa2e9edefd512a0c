"""Conditions on records: a term, and how terms are combined."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..table.sections import Sections
from ..table.windows import Records
from ..text import shown
from .words import SECTION_FIELDS

Mask = NDArray[np.bool_]
RecordTest = Callable[[Records, Sequence["Located"]], Mask]
SectionTest = Callable[[Sections, NDArray[np.int64]], Mask]


class Located(Protocol):
    """What a filter needs to know of a finding."""

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
        """Which records it holds for, (n,) bool. A term ``finding:`` looks at ``findings``."""

    def sections(self, sections: Sections, indices: NDArray[np.int64]) -> Mask:
        """Which sections, by index, it holds for, (m,) bool. It holds for none if it looks at a field of records."""


@dataclass(frozen=True, slots=True)
class Term:
    """One field and the condition on it.

    ``section_test`` is None where sections do not have the field. ``block_names`` are the blocks that it looks for,
    ``rules`` the rules of findings. ``negated``: not these, but all others.
    """

    field: str
    test: RecordTest
    section_test: SectionTest | None
    block_names: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    negated: bool = False

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
    """All of several conditions. Without any it holds for every record."""

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


def strangers(chosen: Filter, names: Sequence[bytes]) -> list[str]:
    """The block names that a filter looks for and that are not among ``names``, in bytes or as shown."""
    if isinstance(chosen, Term):
        spellings = {shown(n) for n in names} | {n.decode("utf-8", "surrogateescape") for n in names}
        return [name for name in chosen.block_names if name not in spellings]
    parts = (chosen.part,) if isinstance(chosen, Not) else chosen.parts if isinstance(chosen, All | AnyOf) else ()
    return [name for part in parts for name in strangers(part, names)]
