"""What the devices screen lists: the chosen record, the file header, the devices, then the other sections."""

from array import array
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..container.devices import is_device
from ..formats.core import X86_CPU
from ..table.sections import Sections


class Part(Enum):
    """What can be taken apart."""

    RECORD = "record"
    HEADER = "header"
    SECTION = "section"


@dataclass(frozen=True, slots=True)
class Item:
    """One of them. ``section`` is the index of a section."""

    part: Part
    section: int = -1


_LOOKED_AT = 64  # devices among which a CPU is looked for
_FIRST = (Item(Part.RECORD), Item(Part.HEADER))  # what stands before the sections


@dataclass(frozen=True, slots=True, eq=False)
class SectionRows:
    """The rows of the list. ``devices`` (n,) int64 are the indices of devices' sections, which come first.

    ``total`` is the number of sections there are.
    """

    devices: NDArray[np.int64]
    total: int

    def __len__(self) -> int:
        return len(_FIRST) + self.total

    def begin(self, sections: Sections) -> int:
        """The row to begin on: the first CPU among the first devices, else the first device, else the record."""
        some = self.devices[:_LOOKED_AT].tolist()
        owners = [sections[index].owner for index in some]
        cpus = (i for i, owner in enumerate(owners) if owner is not None and owner.idstr == X86_CPU)
        return len(_FIRST) + next(cpus, 0) if some else 0

    def at(self, row: int) -> Item:
        """What a row stands for."""
        if row < len(_FIRST):
            return _FIRST[row]
        place = row - len(_FIRST)
        if place < len(self.devices):
            return Item(Part.SECTION, int(self.devices[place]))
        place -= len(self.devices)
        others_before = self.devices - np.arange(len(self.devices))  # of each device
        return Item(Part.SECTION, place + int(np.searchsorted(others_before, place, side="right")))

    def row_of(self, item: Item) -> int:
        """The row of an item."""
        if item in _FIRST:
            return _FIRST.index(item)
        before = int(np.searchsorted(self.devices, item.section))
        if before < len(self.devices) and self.devices[before] == item.section:
            return len(_FIRST) + before
        return len(_FIRST) + len(self.devices) + item.section - before

    def is_device(self, row: int) -> bool:
        """Whether a row is a device."""
        return len(_FIRST) <= row < len(_FIRST) + len(self.devices)


def section_rows(sections: Sections) -> SectionRows:
    """The rows for these sections. Goes through all of their runs, which can be a million: a thread's work."""
    total, indices = len(sections), array("q")
    for section, count in sections.runs():
        if is_device(section):
            indices.extend(range(section.index, section.index + count))
    found = np.array(indices, np.int64)
    return SectionRows(found[found < total], total)
