"""The words of a filter: its fields, the names of values, numbers and ranges."""

import re
from dataclasses import dataclass

from ..errors import XbrleError
from ..formats.ram import DELTA_KINDS, Flag, Kind
from ..table.sections import Stage
from ..text import size

#: Every field and what its values are, in the order in which messages list them.
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
    "channel": "the id of the channel that carried it, or a range; the main channel does not have one",
    "packet": "the number of the multifd packet that carried it, or a range, from 0",
    "finding": "a rule of `verify`, or any",
}
ALL_FINDINGS = "any"
SECTION_FIELDS = frozenset(("section", "stage", "offset"))  # fields that a section has as well as a record

KINDS: dict[str, tuple[Kind, ...]] = {k.name.lower(): (k,) for k in Kind} | {"delta": DELTA_KINDS}
STAGES = {s.name.lower(): int(s) for s in Stage}
FLAGS = {str(f.name).lower(): int(f) for f in Flag}

Bounds = tuple[int, int | None]  # both included; None: no upper bound

NUMBER_MAX = (1 << 64) - 1

_RANGE = re.compile(r"([^-]*)-([^-]*)")


class FilterError(XbrleError):
    """A filter cannot be read. ``position`` is where in its text, from 0."""

    def __init__(self, text: str, position: int, message: str) -> None:
        super().__init__(f"character {position + 1} of filter {text!r}: {message}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Word:
    """A field's name or a value, without its quotes, and where it stands: at ``position`` of ``filter``, from 0."""

    text: str
    filter: str
    position: int

    def error(self, message: str) -> FilterError:
        """The error that this word cannot be read."""
        return FilterError(self.filter, self.position, message)

    @property
    def is_numeric(self) -> bool:
        """Whether it looks like a number or a range, as opposed to a name."""
        return self.text[:1].isdigit() or (self.text[:1] == "-" and self.text[1:2].isdigit())

    def number(self) -> int:
        """The number that it is.

        Raises:
            FilterError: it is not a number.
        """
        return self._number(self.text)

    def bounds(self) -> Bounds:
        """The range that it is. A number is a range of itself.

        Raises:
            FilterError: it is neither.
        """
        begin, plus, length = self.text.partition("+")
        if plus:
            first, count = self._number(begin), self._number(length)
            if not count:
                raise self.error(f"the range {self.text} is empty")
            return first, min(first + count - 1, NUMBER_MAX)
        match = _RANGE.fullmatch(self.text)
        if not match:
            only = self.number()
            return only, only
        if not match[1] and not match[2]:
            raise self.error("expected a range such as 100-200, 100- or -200")
        low = self._number(match[1]) if match[1] else 0
        high = self._number(match[2]) if match[2] else None
        if high is not None and high < low:
            raise self.error(f"the range {self.text} ends before it begins")
        return low, high

    def _number(self, text: str) -> int:
        try:
            return min(size(text), NUMBER_MAX)
        except XbrleError:
            raise self.error(f"expected a number (decimal, 0x..., or with K, M or G), not {text!r}") from None
