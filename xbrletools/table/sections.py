"""Sections: the framed parts of a capture, where each lies and how its end was found."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..formats.qevm import SectionType

PIECE = 1 << 16  # offsets that are looked up together
STEP_MAX = 1 << 20  # bytes from one section of a run to the next


class Stage(IntEnum):
    """Where in the migration a RAM section was written. The numbers are the sender's own [P]."""

    START = 1
    PART = 2
    END = 3


#: The stage of what a section of this type holds.
STAGE_OF = {SectionType.START: Stage.START, SectionType.PART: Stage.PART, SectionType.END: Stage.END}
_STAGES = np.array([STAGE_OF.get(SectionType(t), 0) if t in set(SectionType) else 0 for t in range(256)], np.uint8)


class Boundary(IntEnum):
    """How the end of a section was found, from the surest to the least sure."""

    PARSED = 0  # its data was read to its end
    FOOTER = 1  # a footer with its own id, which something can follow
    HEADER = 2  # the next plausible section header
    EOF = 3  # the end of the capture, the last byte being the container's EOF
    CUT = 4  # not found: the capture is damaged or ends here


CERTAINTY = {
    Boundary.PARSED: "certain",
    Boundary.FOOTER: "near certain: a footer with the section's own id, and after it what can follow one",
    Boundary.HEADER: "likely: the next plausible section header",
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


class Owners(Sequence[Owner]):
    """The owners of a capture's sections, kept as columns: a hostile capture has a million."""

    def __init__(self, owners: Iterable[Owner] = ()) -> None:
        self._numbers = array("I")  # section id, instance and version of each
        self._names = bytearray()
        self._ends = array("Q")  # of each one's name
        for owner in owners:
            self.append(owner)

    def append(self, owner: Owner) -> None:
        """Add an owner."""
        self._numbers.extend((owner.section_id, owner.instance_id, owner.version_id))
        self._names += owner.idstr
        self._ends.append(len(self._names))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Owner:  # type: ignore[override]  # slices are not needed
        end = self._ends[index]  # raises IndexError after the last, which ends an iteration
        number, instance, version = self._numbers[3 * index : 3 * index + 3]
        return Owner(number, bytes(self._names[self._ends[index - 1] if index else 0 : end]), instance, version)


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
    """The sections of a capture in file order, kept as columns of runs: a stream of hours has very many.

    A run is a number of sections of one owner and one size that follow each other. Most runs are of one section.
    """

    #: The stored columns and what each holds, a row a run; `columns` gives them as bytes.
    COLUMNS: ClassVar[dict[str, type[np.integer]]] = {
        "section_type": np.uint8,
        "section_owner": np.int32,
        "section_offset": np.uint64,
        "section_head": np.uint16,
        "section_end": np.uint64,
        "section_found": np.uint8,
        "section_count": np.uint32,
        "section_step": np.uint32,
    }

    def __init__(self) -> None:
        self.owners = Owners()
        self._owner_index: dict[Owner, int] = {}  # of those that have more than one section
        self._type = array("B")
        self._owner = array("i")
        self._offset = array("Q")  # of the run's first section, as are the next two
        self._head = array("H")  # bytes before its data
        self._end = array("Q")
        self._found = array("B")
        self._count = array("I")
        self._step = array("I")  # bytes from one section of the run to the next
        self._first = array("I")  # the index of the run's first section; not stored
        self._length = 0

    @classmethod
    def of_columns(cls, owners: list[Owner], columns: dict[str, NDArray[np.integer]]) -> "Sections":
        """The sections of `owners` that `columns` gave.

        Raises:
            ValueError: these are not the columns of sections.
        """
        made = cls()
        made.owners = Owners(owners)
        for name, column in zip(cls.COLUMNS, made._arrays(), strict=True):
            column.frombytes(columns[name].tobytes())
        counts, steps = columns["section_count"].astype(np.int64), columns["section_step"].astype(np.int64)
        known = np.isin(columns["section_type"], list(SectionType)) & (columns["section_found"] <= max(Boundary))
        owned = (columns["section_owner"] >= -1) & (columns["section_owner"] < len(owners))
        last = columns["section_offset"].astype(np.int64) + (counts - 1) * steps
        rising = last[:-1] <= columns["section_offset"].astype(np.int64)[1:]
        if not (known & owned & (counts > 0) & ((counts == 1) | (steps > 0))).all() or not rising.all():
            raise ValueError("not the columns of sections")
        before = np.cumsum(counts) - counts
        made._first.frombytes(before.astype(np.uint32).tobytes())
        made._length = int(counts.sum())
        return made

    def columns(self) -> dict[str, bytes]:
        """The stored columns, by their names in `COLUMNS`."""
        return {name: column.tobytes() for name, column in zip(self.COLUMNS, self._arrays(), strict=True)}

    @property
    def run_count(self) -> int:
        """The rows of the stored columns."""
        return len(self._type)

    def _arrays(self) -> "tuple[array[int], ...]":
        return (
            self._type,
            self._owner,
            self._offset,
            self._head,
            self._end,
            self._found,
            self._count,
            self._step,
        )

    def add(self, kind: SectionType, owner: Owner | None, offset: int, data: int) -> int:
        """Begin a section. Its end stays open, `Boundary.CUT`, until `close`."""
        number = -1
        if owner is not None:
            known = self._owner_index.get(owner)
            number = len(self.owners) if known is None else known
            if known is None:
                self.owners.append(owner)
                if kind is not SectionType.FULL:
                    self._owner_index[owner] = number
        self._type.append(kind)
        self._owner.append(number)
        self._offset.append(offset)
        self._head.append(data - offset)
        self._end.append(data)
        self._found.append(Boundary.CUT)
        self._count.append(1)
        self._step.append(0)
        self._first.append(self._length)
        self._length += 1
        return self._length - 1

    def close(self, index: int, end: int, found_by: Boundary) -> None:
        """Say where section ``index`` ends, and how that was found. It may not be one of many in a run."""
        run = self._run(index)
        self._end[run] = end
        self._found[run] = found_by
        if 0 < run == self.run_count - 1:
            self._merge(run)

    def _merge(self, run: int) -> None:
        """Make the last run, of one section, a part of the one before where it goes on the same way."""
        before = run - 1
        if self._type[run] != self._type[before] or self._owner[run] != self._owner[before]:
            return
        if self._end[run] - self._offset[run] != self._end[before] - self._offset[before]:
            return
        step = self._offset[run] - self._offset[before] - (self._count[before] - 1) * self._step[before]
        goes_on = step == self._step[before] if self._count[before] > 1 else step <= STEP_MAX
        if goes_on and self._head[run] == self._head[before] and self._found[run] == self._found[before]:
            for column in (*self._arrays(), self._first):
                column.pop()
            self._count[before] += 1
            self._step[before] = step

    def repeat(self, count: int, step: int) -> None:
        """Add ``count`` sections like the last one, each ``step`` bytes after the one before."""
        if count and self._count[-1] > 1 and self._step[-1] != step:  # the last one begins a run of its own
            last = self[-1]
            self._count[-1] -= 1
            self._length -= 1
            self.add(last.type, last.owner, last.offset, last.data)
            self._end[-1], self._found[-1] = last.end, last.found_by
        self._count[-1] += count
        self._step[-1] = step
        self._length += count

    def truncate(self, offset: int) -> None:
        """Drop the sections that begin at or after ``offset``. The one that holds it ends there, cut."""
        while len(self) and self._offset[-1] >= offset:
            self._length = self._first.pop()
            for column in self._arrays():
                column.pop()
        if not len(self):
            return
        keep = self.at(offset - 1) - self._first[-1] + 1
        self._length -= self._count[-1] - keep
        self._count[-1] = keep
        last = self[-1]
        if last.end > offset:
            if keep > 1:  # the cut one is a run of its own
                self._count[-1] -= 1
                self._length -= 1
                self.add(last.type, last.owner, last.offset, last.data)
            self.close(len(self) - 1, offset, Boundary.CUT)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<Sections: {len(self)}>"

    def _run(self, index: int) -> int:
        return bisect_right(self._first, index) - 1

    def __getitem__(self, index: int) -> Section:  # type: ignore[override]  # slices are not needed
        if index < 0:
            index += len(self)
        run = self._run(index)
        return self._section(run, index - self._first[run])

    def _section(self, run: int, place: int) -> Section:
        number, skip = self._owner[run], place * self._step[run]
        return Section(
            self._first[run] + place,
            SectionType(self._type[run]),
            None if number < 0 else self.owners[number],
            self._offset[run] + skip,
            self._offset[run] + self._head[run] + skip,
            self._end[run] + skip,
            Boundary(self._found[run]),
        )

    def __iter__(self) -> Iterator[Section]:
        return (self._section(run, place) for run in range(len(self._type)) for place in range(self._count[run]))

    def of_types(self, *kinds: SectionType) -> Iterator[Section]:
        """The sections of these types. The others are passed over fast."""
        wanted = frozenset(map(int, kinds))
        runs = (run for run, kind in enumerate(self._type) if kind in wanted)
        return (self._section(run, place) for run in runs for place in range(self._count[run]))

    def of_owner(self, idstr: bytes) -> Iterator[Section]:
        """The sections whose owner has this name."""
        wanted = frozenset(i for i, owner in enumerate(self.owners) if owner.idstr == idstr)
        runs = (run for run, number in enumerate(self._owner) if number in wanted)
        return (self._section(run, place) for run in runs for place in range(self._count[run]))

    def runs(self) -> Iterator[tuple[Section, int]]:
        """The first section of every run, and how many the run has."""
        return ((self._section(run, 0), self._count[run]) for run in range(len(self._type)))

    def at(self, offset: int) -> int:
        """The index of the section that holds ``offset``, -1 before the first."""
        run = bisect_right(self._offset, offset) - 1
        if run < 0:
            return -1
        place = (offset - self._offset[run]) // self._step[run] if self._step[run] else 0
        return self._first[run] + min(place, self._count[run] - 1)

    def of(self, offsets: NDArray[np.integer]) -> NDArray[np.int64]:
        """The index of the section that holds each offset, (n,) int64. It is -1 before the first."""
        if not len(self):
            return np.full(len(offsets), -1, np.int64)
        firsts = _copy(self._first, np.uint32).astype(np.int64)  # before the others, which have as many rows or more
        starts = _copy(self._offset, np.uint64)[: len(firsts)].astype(np.int64)
        step = _copy(self._step, np.uint32).astype(np.int64)
        last = _copy(self._count, np.uint32).astype(np.int64) - 1
        has_runs = bool(step.any())
        index = np.empty(len(offsets), np.int64)
        for begin in range(0, len(offsets), PIECE):  # there can be millions, and each array of them takes memory
            at = offsets[begin : begin + PIECE].astype(np.int64)
            run = np.searchsorted(starts, at, side="right") - 1
            found = firsts[run]
            if has_runs:
                many = step[run] > 0
                of_many = run[many]
                found[many] += np.minimum((at[many] - starts[of_many]) // step[of_many], last[of_many])
            found[run < 0] = -1
            index[begin : begin + PIECE] = found
        return index

    def stages_at(self, offsets: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The stage of the section that holds each offset, (n,) uint8. It is 0 where its type has none."""
        types = _copy(self._type, np.uint8)
        starts = _copy(self._offset, np.uint64)[: len(types)].astype(np.int64)
        stages = np.zeros(len(offsets), np.uint8)
        for begin in range(0, len(offsets) if len(types) else 0, PIECE):
            at = offsets[begin : begin + PIECE].astype(np.int64)
            run = np.searchsorted(starts, at, side="right") - 1
            stages[begin : begin + PIECE] = np.where(run < 0, 0, _STAGES[types[run]])
        return stages

    def stages(self, sections: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The stage of each of these sections, (n,) uint8. It is 0 where its type has none."""
        if not len(self):
            return _STAGES[np.zeros(len(sections), np.uint8)]
        firsts = _copy(self._first, np.uint32).astype(np.int64)
        types = _copy(self._type, np.uint8)[np.searchsorted(firsts, sections, side="right") - 1]
        stages: NDArray[np.uint8] = _STAGES[types]
        return stages


def _copy(column: "array[int]", dtype: type[np.integer]) -> NDArray[Any]:
    """A copy: an array that a view was taken of cannot grow, and a scan in another thread may be adding to it."""
    return np.frombuffer(column[:], dtype)
