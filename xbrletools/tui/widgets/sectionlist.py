"""The list of what can be taken apart: devices with their bytes and fields first, then the other sections."""

from collections.abc import Callable, Collection

import numpy as np

from ...formats.qevm import SectionType
from ...text import shown
from ..sectionrows import Item, Part, SectionRows
from ..session import Session
from ..words import kind_word
from .lines import Line, Lines, fit, tail

_INSTANCE, _BYTES, _FIELDS = 5, 11, 8  # cells
NO_ROWS = SectionRows(np.zeros(0, np.int64), 0)


class SectionList(Lines):
    """A line for each section. ``counts`` has how many fields a device has, None for one that nothing describes.

    ``differing`` are the devices, by name and instance, that differ from those of another capture.
    """

    def __init__(self, session: Callable[[], Session]) -> None:
        super().__init__(id="sections")
        self._session = session
        self.rows = NO_ROWS
        self.counts: dict[int, int | None] = {}
        self.differing: Collection[tuple[bytes | None, int | None]] = ()

    @property
    def chosen(self) -> Item:
        """What the cursor stands on."""
        return self.rows.at(self.cursor)

    def count(self) -> int:
        """How many there are."""
        return len(self.rows)

    def heads(self) -> Line:
        """The names of the columns."""
        name = max(8, self.scrollable_content_region.width - _INSTANCE - _BYTES - _FIELDS - 1)
        return [(f" {'section':{name}}{'inst':>{_INSTANCE}}{'bytes':>{_BYTES}}{'fields':>{_FIELDS}}", "title")]

    def line(self, row: int, width: int) -> Line:
        """Name, instance, bytes, fields."""
        item, session = self.rows.at(row), self._session()
        cells = max(8, width - _INSTANCE - _BYTES - _FIELDS - 1)
        if item.part is Part.HEADER:
            return [(" file header", "")]
        if item.part is Part.RECORD:
            record = session.record()
            name = "none" if record is None else kind_word(record.kind)
            number = "" if record is None or record.number is None else f"{record.number} "
            return [(f" chosen record: {number}{name}", "")]
        assert session.facts is not None
        section = session.facts.sections[item.section]
        size = f"{section.end - section.data:>{_BYTES},}"
        if section.owner is None:
            return [(fit(f" {section.type.name}", cells + 1 + _INSTANCE), "dim"), (size, "dim")]
        name, instance = shown(section.owner.idstr), f"{section.owner.instance_id:>{_INSTANCE}}"
        if not self.rows.is_device(row):
            return [(fit(f" {name} {section.type.name}", cells + 1), "dim"), (instance + size, "dim")]
        if section.type is not SectionType.FULL:
            name += f" {section.type.name}"
        mark = "≠" if (section.owner.idstr, section.owner.instance_id) in self.differing else " "
        fields = self.counts.get(item.section, "…")
        shade = "good" if isinstance(fields, int) else "dim"
        words = f"{'raw' if fields is None else fields:>{_FIELDS}}"
        name = f"{tail(name, cells - 1)} "
        return [(mark, "warning"), (name, "strong"), (instance, "dim"), (size, ""), (words, shade)]
