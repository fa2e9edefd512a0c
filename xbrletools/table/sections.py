"""Sections: the framed parts of a capture, where each lies and how its end was found."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..formats.qevm import SectionType


class Stage(IntEnum):
    """Where in the migration a RAM section was written. The numbers are the sender's own [P]."""

    START = 1
    PART = 2
    END = 3


#: The stage of what a section of this type holds.
STAGE_OF = {SectionType.START: Stage.START, SectionType.PART: Stage.PART, SectionType.END: Stage.END}


class Boundary(IntEnum):
    """How the end of a section was found, from the surest to the least sure."""

    PARSED = 0  # its data was read to its end
    FOOTER = 1  # the first footer with its own id
    HEADER = 2  # the next plausible section header
    EOF = 3  # the end of the capture, the last byte being the container's EOF
    CUT = 4  # not found: the capture is damaged or ends here


CERTAINTY = {
    Boundary.PARSED: "certain",
    Boundary.FOOTER: "near certain: the first footer with the section's own id",
    Boundary.HEADER: "likely: the next plausible section header with a higher id",
    Boundary.EOF: "likely: the capture's last byte is EOF",
    Boundary.CUT: "none: the capture is damaged or ends here",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes a section: what START and FULL say of it."""

    section_id: int
    idstr: bytes
    instance_id: int
    version_id: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section: ``offset`` of its type byte, its data in ``[data, end)``, its footer (if any) after that."""

    index: int
    type: SectionType
    owner: Owner | None
    offset: int
    data: int
    end: int
    found_by: Boundary


class Sections(Sequence[Section]):
    """The sections of a capture in file order, kept as columns: a stream of hours has very many."""

    #: The stored columns and what each holds; `columns` gives them as bytes.
    COLUMNS: ClassVar[dict[str, type[np.integer]]] = {
        "section_type": np.uint8,
        "section_owner": np.int64,
        "section_offset": np.uint64,
        "section_data": np.uint64,
        "section_end": np.uint64,
        "section_found": np.uint8,
    }

    def __init__(self) -> None:
        self.owners: list[Owner] = []
        self._owner_index: dict[Owner, int] = {}
        self._type = array("B")
        self._owner = array("q")
        self._offset = array("Q")
        self._data = array("Q")
        self._end = array("Q")
        self._found = array("B")

    @classmethod
    def of_columns(cls, owners: list[Owner], columns: dict[str, NDArray[np.integer]]) -> "Sections":
        """The sections of `owners` that `columns` gave.

        Raises:
            ValueError: these are not the columns of sections.
        """
        made = cls()
        made.owners = owners
        made._owner_index = {owner: i for i, owner in enumerate(owners)}
        for name, column in zip(cls.COLUMNS, made._arrays(), strict=True):
            column.frombytes(columns[name].tobytes())
        known = np.isin(columns["section_type"], list(SectionType)) & (columns["section_found"] <= max(Boundary))
        owned = (columns["section_owner"] >= -1) & (columns["section_owner"] < len(owners))
        if not (known & owned).all() or (np.diff(columns["section_offset"].astype(np.int64)) < 0).any():
            raise ValueError("not the columns of sections")
        return made

    def columns(self) -> dict[str, bytes]:
        """The stored columns, by their names in `COLUMNS`."""
        return {name: column.tobytes() for name, column in zip(self.COLUMNS, self._arrays(), strict=True)}

    def _arrays(self) -> "tuple[array[int], ...]":
        return self._type, self._owner, self._offset, self._data, self._end, self._found

    def add(self, kind: SectionType, owner: Owner | None, offset: int, data: int) -> int:
        """Begin a section. Its end stays open, `Boundary.CUT`, until `close`."""
        number = -1
        if owner is not None:
            number = self._owner_index.setdefault(owner, len(self.owners))
            if number == len(self.owners):
                self.owners.append(owner)
        self._type.append(kind)
        self._owner.append(number)
        self._offset.append(offset)
        self._data.append(data)
        self._end.append(data)
        self._found.append(Boundary.CUT)
        return len(self) - 1

    def close(self, index: int, end: int, found_by: Boundary) -> None:
        """Say where section ``index`` ends, and how that was found."""
        self._end[index] = end
        self._found[index] = found_by

    def truncate(self, offset: int) -> None:
        """Drop the sections that begin at or after ``offset``. The one that holds it ends there, cut."""
        while len(self) and self._offset[-1] >= offset:
            for column in self._arrays():
                column.pop()
        if len(self) and self._end[-1] > offset:
            self.close(len(self) - 1, offset, Boundary.CUT)

    def __len__(self) -> int:
        return len(self._type)

    def __getitem__(self, index: int) -> Section:  # type: ignore[override]  # slices are not needed
        if index < 0:
            index += len(self)
        number = self._owner[index]
        return Section(
            index,
            SectionType(self._type[index]),
            None if number < 0 else self.owners[number],
            self._offset[index],
            self._data[index],
            self._end[index],
            Boundary(self._found[index]),
        )

    def __iter__(self) -> Iterator[Section]:
        return (self[i] for i in range(len(self)))

    def at(self, offset: int) -> int:
        """The index of the section that holds ``offset``, -1 before the first."""
        return bisect_right(self._offset, offset) - 1

    def of(self, offsets: NDArray[np.integer]) -> NDArray[np.int64]:
        """The index of the section that holds each offset, (n,) int64. It is -1 before the first."""
        # of a copy: an array that a view was taken of cannot grow, and a scan in another thread may be adding to it
        starts = np.frombuffer(self._offset[:], np.uint64) if len(self) else np.empty(0, np.uint64)
        return np.searchsorted(starts.astype(np.int64), offsets.astype(np.int64), side="right") - 1

    def stages(self, sections: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The stage of each of these sections, (n,) uint8. It is 0 where its type has none."""
        table = np.zeros(256, np.uint8)
        for kind, stage in STAGE_OF.items():
            table[kind] = stage
        types = np.frombuffer(self._type[:], np.uint8) if len(self) else np.zeros(1, np.uint8)
        return table[types[sections]]
