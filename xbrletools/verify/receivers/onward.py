"""Reading a stream on from one place, section by section and record by record, as QEMU does.

This is for places where the scan stopped or reads other bytes than QEMU. It goes on to the first refusal, so hardly
ever far.
"""

import errno
from dataclasses import dataclass, replace

import numpy as np

from ...formats.qevm import SectionType
from ...formats.ram import IDSTR, VERSION_NAMED
from ...model import Stream
from ...table.columns import NO_BLOCK, PIECE
from ...table.kinds import IS_PAGE
from ...table.sections import Boundary, Section
from ..rules import TRUNCATED
from . import devices, loading
from .commands import Path, command
from .loading import Loading
from .records import record
from .tape import Tape
from .values import DeviceState
from .words import CHAINED, Fault, refused

STEPS_MAX = 1 << 16  # records and sections that are read one by one


@dataclass(frozen=True, slots=True)
class Live:
    """The RAM section that is being read. ``instance`` is None in PART and END."""

    section_id: int
    name: bytes
    version: int
    instance: int | None


def instance_of(section: Section) -> int | None:
    """The instance that a section's errors name: only those of START and FULL do."""
    opens = section.type in (SectionType.START, SectionType.FULL)
    return section.owner.instance_id if opens and section.owner is not None else None


def read_record(on: Loading, tape: Tape, live: Live) -> Fault | bool:
    """One record of a section. A fault has the section's own words. True: the section ended."""
    start = tape.at
    found = record(on, tape)
    if isinstance(found, bool):
        return found
    return replace(loading.within(on, found, live.section_id, live.name, live.version, live.instance), at=start)


def read_on(on: Loading, path: Path, tape: Tape, live: Live | None, ended: bool = False) -> Fault | None:
    """Read from ``tape`` on to the first refusal, or to the end. ``live``: in this RAM section.

    ``ended``: its last record was read, and its footer follows.
    """
    for _ in range(STEPS_MAX):
        if live is not None:
            found = ended or read_record(on, tape, live)
            if isinstance(found, Fault):
                return found
            if not found:
                continue
            start, ended = tape.at, False
            fault = loading.footer(on, tape, live.section_id, live.name)
            if fault is not None:
                return replace(fault, at=start)
            live = None
        step = _section(on, path, tape)
        if step is None or isinstance(step, Fault):
            return step
        live = step if isinstance(step, Live) else None
    return Fault(errno.EINVAL, at=tape.at, where_unknown=True)


def _section(on: Loading, path: Path, tape: Tape) -> Fault | Live | bool | None:
    """Read one section's header, and the section where it is not RAM. None: the stream ended well. True: go on."""
    start = tape.at
    kind = tape.number()
    if tape.ended:
        return loading.ended(on, start)
    found: Fault | Live | bool | None
    if kind in (SectionType.START, SectionType.FULL):
        found = _opened(on, tape, start)
    elif kind in (SectionType.PART, SectionType.END):
        part = loading.part_id(on, tape)
        found = part if isinstance(part, Fault) else Live(part[0], part[1], part[2], None)
        if isinstance(found, Live) and found.name != IDSTR:
            found = _skipped(on, tape, start)
    elif kind == SectionType.COMMAND:
        fault = command(on, path, tape)
        found = True if fault is None or fault.complains else fault
    elif kind == SectionType.EOF:
        return None
    else:
        found = loading.section_type(on, kind)
    return replace(found, at=found.at or start) if isinstance(found, Fault) else found


def _opened(on: Loading, tape: Tape, start: int) -> Fault | Live | bool:
    begun = loading.begin(on, tape)
    if isinstance(begun, Fault):
        return begun
    section_id, name, instance, version = begun
    if name == IDSTR:
        if version != VERSION_NAMED:
            return loading.within(on, Fault(errno.EINVAL), section_id, name, version, instance)
        return Live(section_id, name, version, instance)
    state = on.known.find(name, instance)
    end = devices.end_of(on.stream, state.entry, tape.at) if state is not None and state.entry else None
    if end is None or end.unknown is not None:
        return _skipped(on, tape, start)
    if end.at > tape.end:
        return loading.within(on, _cut(on, state, tape), section_id, name, version, instance)
    tape.at = end.at
    return loading.footer(on, tape, section_id, name) or True


def _cut(on: Loading, state: DeviceState | None, tape: Tape) -> Fault:
    """A device's fields that the stream ends in."""
    name, part = devices.field_at(state.entry if state is not None and state.entry else {}, tape.end - tape.at)
    if on.version >= CHAINED:
        return refused(f"Failed to load {name} state: stream error: -{errno.EIO}")
    return Fault(errno.EIO, (f"Failed to load {name}:{part}",))


def _skipped(on: Loading, tape: Tape, start: int) -> Fault | bool:
    """Go past a section that only the scan can find the end of."""
    stream = on.stream
    section = stream.sections[stream.sections.at(start)]
    if section.offset != start or section.found_by is Boundary.CUT or section.owner is None:
        cut = any(p.rule == TRUNCATED.id and p.fatal for p in stream.facts.problems)
        return Fault(errno.EIO, unworded=True) if cut else Fault(errno.EINVAL, where_unknown=True)
    tape.at = section.end
    return loading.footer(on, tape, section.owner.section_id, section.owner.idstr) or True


def block_before(stream: Stream, row: int) -> bytes | None:
    """The block that CONTINUE means at this row of the table, or None where none was named."""
    columns, names = stream.records.columns, stream.records.names
    for stop in range(row, 0, -PIECE):
        part = slice(max(0, stop - PIECE), stop)
        block = columns.block[part]
        found = np.flatnonzero(IS_PAGE[columns.kind[part]] & (block != NO_BLOCK) & (block < len(names)))
        if len(found):
            return names[int(block[found[-1]])]
    return None


def last_row(stream: Stream, section: Section) -> int | None:
    """The last row of the table that lies in a section, the last one that the main channel has."""
    rows, offsets = stream.records.main_rows, stream.records.columns.offset
    if not len(rows):
        return None
    row = int(rows[-1])
    return row if int(offsets[row]) >= section.data else None
