"""A clean stream from a salvaged capture: complete framing around the records whose pages are recovered.

Records of pages that are in doubt are left out, so that every reader gets the right memory from it: docs/salvage.md.
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..errors import XbrleError
from ..formats import qevm, ram
from ..formats.qevm import SectionType
from ..memory.confirm import Trust
from ..memory.doubt import standing
from ..memory.moments import confirmed_of, lapses_of, memory_of, space_of
from ..memory.replay import View
from ..model import Stream
from ..outputs import MEMORY, Target, protecting, replacing
from ..progress import along
from ..table.columns import Columns
from ..table.sections import STAGE_OF, Owner

SECTION_ID = 2  # used where the capture does not show it


@dataclass(frozen=True, slots=True)
class CleanStream:
    """What a clean stream holds: its records with a page, how many were left out, and the bytes of device sections."""

    records: int
    left_out: int
    tail: int


def write_stream(stream: Stream, path: Target, trust: Trust = Trust.STREAM, force: bool = False) -> CleanStream:
    """Write the recovered records of ``stream`` as a stream of their own, which reads without a problem.

    With `Trust.CHECKSUM` only records of pages whose byte sum holds are written.

    Raises:
        XbrleError: the capture cannot be read, or ``path`` is the capture, is there already, or cannot be written.
    """
    if stream.facts.mapped_ram:
        raise XbrleError(
            "the pages of a mapped-ram file are not records. To write them as a stream, use: xbrle transcode"
        )
    columns = stream.records.columns
    is_written = standing(stream, space_of(stream), lapses_of(stream, View.RECEIVER))
    if trust is Trust.CHECKSUM:
        confirmed = np.append(confirmed_of(stream, memory_of(stream)), False)
        is_written &= confirmed[space_of(stream).pages_of(columns)]
    rows = np.flatnonzero(is_written)
    with protecting([stream.name]), replacing(path, force, MEMORY) as file:
        tail = _write(stream, columns, rows, file)
    return CleanStream(len(rows), int(np.count_nonzero(stream.records.is_page)) - len(rows), tail)


def _write(stream: Stream, columns: Columns, rows: NDArray[np.int64], file: BinaryIO) -> int:
    """Write the stream with the records at ``rows``. Returns the bytes of device sections."""
    version = stream.reading.version
    owner = next(
        (s.owner for s, _ in stream.sections.runs() if s.owner is not None and s.owner.idstr == ram.IDSTR),
        Owner(SECTION_ID, ram.IDSTR, 0, version),
    )
    number = owner.section_id or SECTION_ID
    footer = qevm.Footer.build({"section_id": number}) if stream.facts.footers else b""
    word = ram.Word.build
    file.write(qevm.FileHeader.build({"version": qevm.VERSION}))
    for section in stream.sections.of_types(SectionType.CONFIGURATION):
        file.write(stream.data[section.offset : section.end].tobytes())
    start = {
        "section_id": number,
        "idstr": owner.idstr,
        "instance_id": owner.instance_id,
        "version_id": owner.version_id,
    }
    part = qevm.SectionPart.build({"section_id": number})
    file.write(bytes([SectionType.START]) + qevm.SectionStart.build(start))
    blocks = [b for b in stream.blocks if b.length]
    file.write(word(sum(b.length for b in blocks) | ram.Flag.MEM_SIZE))
    if version != ram.VERSION_FLAT:
        for b in blocks:
            file.write(ram.BlockEntry.build({"idstr": b.name, "length": b.length}))
    block = -1
    stage = SectionType.START
    of_section = stream.records.section[rows]
    for index in along("writing", distinct(of_section).tolist(), "sections"):
        section = stream.sections[index]
        kind = section.type if section.type in STAGE_OF else SectionType.PART
        if (stage, kind) != (SectionType.START, SectionType.START) and stage is not SectionType.END:
            file.write(word(int(ram.Flag.EOS)) + footer + bytes([kind]) + part)
            stage = kind
        block = _write_records(stream, columns, rows[of_section == index], block, file)
    if stage is not SectionType.END:
        file.write(word(int(ram.Flag.EOS)) + footer + bytes([SectionType.END]) + part)
    file.write(word(int(ram.Flag.EOS)) + footer)
    return _write_tail(stream, file)


def _write_records(stream: Stream, columns: Columns, rows: NDArray[np.int64], block: int, file: BinaryIO) -> int:
    """Write the records at ``rows``, after a record of block ``block``. Returns the block of the last.

    Records that follow each other in the capture are copied in one piece. Only the head of the first one changes.
    Pages that came in packets do not have a head. Each of them gets one.
    """
    end = columns.end(rows)
    offset = columns.offset[rows].astype(np.int64)
    bare = columns.head[rows] == 0
    starts = np.flatnonzero(np.append(True, (offset[1:] != end[:-1]) | bare[1:] | bare[:-1])[: len(rows)])
    for first, after in zip(starts.tolist(), np.append(starts[1:], len(rows)).tolist(), strict=True):
        row = int(rows[first])
        own_block = int(columns.block[row])
        head = int(columns.offset[row]) + ram.Word.sizeof()
        if stream.reading.version != ram.VERSION_FLAT:
            flags = ram.Flag(int(columns.flags[row]))
            if bare[first]:
                head = int(columns.offset[row])
            elif not flags & ram.Flag.CONTINUE:
                head += 1 + int(stream.data[head])
            flags &= ~ram.Flag.CONTINUE
            if own_block == block:
                file.write(ram.Word.build(int(columns.address[row]) | flags | ram.Flag.CONTINUE))
            else:
                name = qevm.IdStr.build(stream.blocks[own_block].name)
                file.write(ram.Word.build(int(columns.address[row]) | flags) + name)
        else:
            head = int(columns.offset[row])
        file.write(stream.data[head : int(end[after - 1])].tobytes())
        block = int(columns.block[rows[after - 1]])
    return block


def _write_tail(stream: Stream, file: BinaryIO) -> int:
    """Write the device sections and the container's end as they are in the capture. Returns their bytes."""
    first = next((s.offset for s in stream.sections.of_types(SectionType.FULL)), None)
    if first is None or not stream.facts.complete:
        file.write(bytes([SectionType.EOF]))
        return 0
    file.write(stream.data[first : stream.facts.end].tobytes())
    return stream.facts.end - first
