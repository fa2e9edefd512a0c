"""What is wrong with a capture: every rule over the table; `memory` has those that need its memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..codec import xbrle
from ..codec.layout import dtype_of
from ..codec.verdict import Verdict
from ..formats import block as block_format
from ..formats import ram
from ..formats.dialects import Checksum, Dialect, Encoding
from ..formats.qevm import SectionType
from ..formats.ram import Flag, Kind
from ..formats.xbrle import HeaderFlag
from ..stream.records import NO_BLOCK, RecordTable
from ..stream.reserve import reserve
from ..stream.sections import Stage
from ..text import shown
from .forced import forced
from .marks import CARRIES, IS_DELTA, Ints, Mark, finding
from .memory import memory_marks
from .rules import RULES, Finding

if TYPE_CHECKING:
    from ..capture import Capture

_STRICT_BATCH = 256  # deltas that are decoded strictly at once


def verify(capture: "Capture", destination: dict[bytes, int] | None = None) -> Iterator[Finding]:
    """Every finding of a capture, in the order of their offsets.

    ``destination`` says which blocks, by name and length in bytes, the destination has; without it the stream's own
    list is taken as right.

    Raises:
        XbrleError: this is no migration stream.
    """
    table = capture.records
    marks = [*_record_marks(capture), *memory_marks(capture)]
    loose = [*_problems(capture), *forced(capture), *_destination(capture, destination), *_whole(capture, marks)]
    loose.sort(key=lambda f: f.offset if f.offset is not None else capture.scanned.end)
    yield from _merged(loose, marks, table)


def _merged(loose: list[Finding], marks: list[Mark], table: RecordTable) -> Iterator[Finding]:
    """Findings without a record among those of marks, by offset."""
    rows = np.concatenate([np.empty(0, np.int64), *(m.rows for m in marks)])
    which = np.repeat(np.arange(len(marks)), [len(m.rows) for m in marks])
    place = np.concatenate([np.empty(0, np.int64), *(np.arange(len(m.rows)) for m in marks)])
    order = np.argsort(rows, kind="stable")
    pending = iter(loose)
    next_loose = next(pending, None)
    for i in order.tolist():
        mark = marks[which[i]]
        found = finding(mark, int(place[i]), table)
        while next_loose is not None and next_loose.offset is not None and next_loose.offset <= (found.offset or 0):
            yield next_loose
            next_loose = next(pending, None)
        yield found
    while next_loose is not None:
        yield next_loose
        next_loose = next(pending, None)


# -- findings that are not about one record ----------------------------------------------------------------------------


def _problems(capture: "Capture") -> Iterator[Finding]:
    """What the scan met."""
    gaps = {g.start: g for g in capture.gaps}
    for problem in capture.problems:
        rule = RULES[problem.rule]
        section = _section(capture, problem.offset)
        gap = gaps.get(problem.offset) if problem.rule == "skipped" else None
        told = {} if gap is None else {"start": gap.start, "end": gap.end, "certainty": gap.certainty.value}
        yield Finding(rule.id, rule.severity, problem.message, problem.offset, section=section, evidence=told)
    yield from _owners(capture)
    tail = capture.scanned.device_tail
    if tail is not None:
        rule = RULES["device-tail-unchecked"]
        message = f"{tail[1] - tail[0]} bytes of device state have no footers: damage in them cannot be seen"
        yield Finding(rule.id, rule.severity, message, tail[0], evidence={"start": tail[0], "end": tail[1]})


def _owners(capture: "Capture") -> Iterator[Finding]:
    """Sections of an old stream that no receiver of its time has a handler for: live ones of other names than RAM and
    block have, and any whose name is none.
    """
    rule = RULES["unknown-owner"]
    for section in capture.sections:
        owner = section.owner
        if owner is None or capture.scanned.footers or section.type in (SectionType.PART, SectionType.END):
            continue
        if section.type is SectionType.FULL:
            if owner.idstr and all(0x20 < c < 0x7F for c in owner.idstr):
                continue
            message = "no device has this name; the section's type byte may be damaged"
        elif owner.idstr not in (ram.IDSTR, block_format.IDSTR):
            message = "no receiver has a handler for a live section of this name"
        elif owner.instance_id:
            message = f"instance {owner.instance_id} of this section, and receivers have instance 0"
        elif owner.idstr == block_format.IDSTR and owner.version_id > block_format.VERSION:
            message = (
                f"version {owner.version_id} of this section, and receivers know none above {block_format.VERSION}"
            )
        else:
            continue
        evidence = {"idstr": shown(owner.idstr), "instance": owner.instance_id, "version": owner.version_id}
        yield Finding(rule.id, rule.severity, message, section.offset, section=section.index, evidence=evidence)


def _section(capture: "Capture", offset: int) -> int | None:
    index = capture.sections.at(offset)
    return index if index >= 0 else None


def _destination(capture: "Capture", destination: dict[bytes, int] | None) -> Iterator[Finding]:
    """Where the stream's block list is not what the destination has."""
    if destination is None:
        return
    rule = RULES["destination-blocks"]
    rows = np.flatnonzero(capture.records.columns.kind == Kind.MEM_SIZE)
    offset = int(capture.records.columns.offset[rows[0]]) if len(rows) else None
    declared = [b for b in capture.blocks if b.declared]
    if capture.scanned.ram_version == ram.VERSION_FLAT:
        total = sum(destination.values())
        if declared and declared[0].length != total:
            message = f"the stream's RAM is {declared[0].length:#x} bytes, the destination's {total:#x}"
            yield Finding(rule.id, rule.severity, message, offset)
        return
    for block in declared:
        have = destination.get(block.name)
        if have is None:
            yield Finding(rule.id, rule.severity, "the destination has no such block", offset, block=block.name)
        elif have != block.length:
            message = f"the block is {block.length:#x} bytes in the stream, {have:#x} at the destination"
            yield Finding(rule.id, rule.severity, message, offset, block=block.name)


def _whole(capture: "Capture", marks: list[Mark]) -> Iterator[Finding]:
    """Pages of a complete stream that no record gave, a finding a block."""
    if not capture.scanned.complete:
        return
    given = reserve((len(capture.space),), bool)
    rows = capture.space.rows(capture.records.columns)
    given[rows[rows >= 0]] = True
    rule = RULES["page-never-sent"]
    for i, block in enumerate(capture.space.blocks):
        mine = given[capture.space.slice(i)]
        missing = len(mine) - int(np.count_nonzero(mine))
        if missing:
            first = int(np.argmin(mine)) * capture.page_size
            message = f"{missing} of {len(mine)} pages were never sent, the first at {first:#x}"
            evidence = {"missing": missing, "pages": len(mine)}
            yield Finding(rule.id, rule.severity, message, block=block.name, page=first, evidence=evidence)


# -- rules over columns ------------------------------------------------------------------------------------------------


def _record_marks(capture: "Capture") -> Iterator[Mark]:
    """Every rule that looks at records one by one, without memory."""
    table, columns = capture.records, capture.records.columns
    version = capture.scanned.ram_version or ram.VERSION_NAMED
    known = ram.known_flags(version)
    flags, kind = columns.flags, columns.kind
    carries = CARRIES[kind]

    yield Mark("flags-unknown", np.flatnonzero(flags & np.uint16(~int(known) & 0xFFFF)))
    kinds = int(Flag.COMPRESS | Flag.PAGE | ram.delta_flag(version) | Flag.MEM_SIZE | Flag.EOS)
    if version != ram.VERSION_FLAT:
        kinds |= int(Flag.COMPRESS_PAGE)
    several = np.bitwise_count(flags & np.uint16(kinds)) > 1
    yield Mark("flags-combined", np.flatnonzero(several))
    bare = (kind == Kind.NOOP) | ((kind == Kind.HOOK) & (version != ram.VERSION_FLAT) & (not capture.scanned.footers))
    yield Mark("no-kind", np.flatnonzero(bare))

    nameless = carries & (columns.block == NO_BLOCK)
    rows = np.flatnonzero(nameless)
    message = "CONTINUE, and no record named a block yet; so are {records} records in all"
    yield Mark("continue-without-block", rows[:1], message, {"records": np.full(1, len(rows))})
    declared = np.array([b.declared for b in capture.blocks] + [False], bool)
    lengths = np.array([b.length for b in capture.blocks] + [0], np.uint64)
    block = np.minimum(columns.block, len(capture.blocks)).astype(np.int64)
    names = (flags & np.uint16(Flag.CONTINUE)) == 0
    yield Mark("unknown-block", np.flatnonzero(carries & names & ~nameless & ~declared[block]))
    outside = carries & declared[block] & (columns.address >= lengths[block])
    rows = np.flatnonzero(outside)
    yield Mark("page-out-of-bounds", rows, evidence={"block_length": lengths[block[rows]]})

    deltas = np.flatnonzero(IS_DELTA[kind])
    dialect = capture.dialect
    if dialect is not None and len(deltas):
        yield from _delta_marks(capture, dialect, deltas, table)


def _delta_marks(capture: "Capture", dialect: Dialect, deltas: Ints, table: RecordTable) -> Iterator[Mark]:
    """Rules about deltas that need no memory: header and form."""
    columns = table.columns
    flags = columns.header_flags[deltas]
    rows = deltas[(flags & HeaderFlag.XBRLE) == 0]
    yield Mark("delta-header", rows, evidence={"header_flags": columns.header_flags[rows]})
    meant = int(HeaderFlag.XBRLE) | (int(HeaderFlag.CHECKSUM) if dialect.checksum is Checksum.FLAGGED else 0)
    rows = deltas[(flags & np.uint8(~meant & 0xFF)) != 0]
    yield Mark("delta-flags", rows, evidence={"header_flags": columns.header_flags[rows]})
    header = dtype_of(dialect.header(capture.scanned.settings.endian))
    if header.fields is not None and "padding" in header.fields and dialect.checksum is not Checksum.COMPLEMENT:
        at = table.payload[deltas] - header.itemsize + header.fields["padding"][1]
        padding = capture.data[at]
        yield Mark("delta-padding", deltas[padding != 0], evidence={"padding": padding[padding != 0]})
    if dialect.encoding is Encoding.RLE:
        yield Mark("delta-odd", deltas[(columns.length[deltas] & 1) != 0])
        yield Mark("delta-form", deltas[_unusual(capture, deltas)])
    if dialect.encoding is not Encoding.ZRUN:
        yield Mark("delta-stage", deltas[table.stage[deltas] != Stage.PART])


def _unusual(capture: "Capture", deltas: Ints) -> NDArray[np.bool_]:
    """Whether each delta's runs are other than the encoder would write for the same page."""
    columns, payload = capture.records.columns, capture.records.payload
    out = np.zeros(len(deltas), bool)
    scratch = np.zeros((_STRICT_BATCH, capture.page_size), np.uint8)
    for start in range(0, len(deltas), _STRICT_BATCH):
        rows = deltas[start : start + _STRICT_BATCH]
        verdicts = xbrle.apply(
            capture.data, payload[rows], columns.length[rows].astype(np.int64), scratch[: len(rows)], strict=True
        )
        out[start : start + len(rows)] = (verdicts == Verdict.ZERO_RUN) | (verdicts == Verdict.NON_CANONICAL)
    return out
