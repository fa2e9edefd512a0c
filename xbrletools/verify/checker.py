"""What is wrong with a capture: all its findings. The rules that need its memory are in `replayed`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values, distinct
from ..codec import xbrle
from ..codec.layout import dtype_of
from ..formats import block as block_format
from ..formats import ram
from ..formats.dialects import Checksum, Dialect, Encoding
from ..formats.qevm import SectionType
from ..formats.ram import Flag, Kind
from ..formats.xbrle import HeaderFlag
from ..memory.moments import space_of
from ..model import Stream, once
from ..progress import tell
from ..ram.elsewhere import LEFT_OUT
from ..table.columns import NO_BLOCK, PIECE, Columns
from ..table.kinds import IS_DELTA, IS_PAGE
from ..table.sections import Stage
from ..text import shown
from . import rules
from .container import container_findings
from .forced import forced
from .found import Found
from .ledger import Marks
from .marks import Ints, Mark
from .receivers import outcomes
from .refused import with_refusal
from .replayed import memory_marks
from .rules import RULES, Finding


def verify(stream: Stream, destination: dict[bytes, int] | None = None) -> Iterator[Finding]:
    """Every finding of a capture, in the order of their offsets, as the verdict has them.

    Where no rule finds an error and every program that the stream was made for refuses it, that is a finding too.
    ``destination`` says which blocks, by name and length in bytes, the destination has. Without it the stream's own
    list is taken as right.

    Raises:
        XbrleError: this is not a migration stream.
    """
    found = found_in(stream, None if destination is None else tuple(destination.items()))
    if not (found.has_errors or stream.salvaged):
        found = with_refusal(found, outcomes(stream, found.first_of_each()))
    yield from found


@once
def found_in(stream: Stream, destination: tuple[tuple[bytes, int], ...] | None = None) -> Found:
    """What all rules find in a capture. ``destination`` is as in `verify`, as pairs.

    Raises:
        XbrleError: this is not a migration stream.
    """
    marks = sorted([*_record_marks(stream), *memory_marks(stream)], key=lambda m: m.rule.rank)
    loose = [
        *_problems(stream),
        *forced(stream),
        *_destination(stream, None if destination is None else dict(destination)),
        *_whole(stream),
        *_packets(stream),
    ]
    return Found(stream, tuple(marks), ()).with_loose(loose)


# -- findings that are not about one record ----------------------------------------------------------------------------


def _problems(stream: Stream) -> Iterator[Finding]:
    """What the scan met."""
    gaps = {g.start: g for g in stream.facts.gaps}
    for problem in stream.facts.problems:
        rule = RULES[problem.rule]
        section = _section(stream, problem.offset)
        gap = gaps.get(problem.offset) if rule is rules.SKIPPED else None
        evidence = {} if gap is None else {"start": gap.start, "end": gap.end, "certainty": gap.certainty.value}
        yield rule.finding(problem.message, problem.offset, section=section, evidence=evidence)
    yield from _owners(stream)
    yield from container_findings(stream)
    tail = stream.facts.device_tail
    if tail is not None:
        message = f"{tail[1] - tail[0]:,} bytes of device state do not have footers: damage in them cannot be seen"
        evidence = {"start": tail[0], "end": tail[1]}
        yield rules.DEVICE_TAIL_UNCHECKED.finding(message, tail[0], evidence=evidence)


def _owners(stream: Stream) -> Iterator[Finding]:
    """Sections of an old stream that no receiver of its time has a handler for.

    These are any whose name is not one that a device has, and live sections of other names than RAM's and block's.
    Streams with CONFIGURATION are younger: their receivers have more of those.
    """
    for section in () if stream.facts.footers else stream.sections.of_types(SectionType.START, SectionType.FULL):
        owner = section.owner
        if owner is None:
            continue
        if section.type is SectionType.FULL:
            if owner.idstr and all(0x20 < c < 0x7F for c in owner.idstr):
                continue
            message = "no device has this name; the section's type byte may be damaged"
        elif stream.reading.configured:
            continue
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
        yield rules.UNKNOWN_OWNER.finding(message, section.offset, section=section.index, evidence=evidence)


def _section(stream: Stream, offset: int) -> int | None:
    index = stream.sections.at(offset)
    return index if index >= 0 else None


def _destination(stream: Stream, destination: dict[bytes, int] | None) -> Iterator[Finding]:
    """Where the stream's block list is not what the destination has."""
    if destination is None:
        return
    rule = rules.DESTINATION_BLOCKS
    rows = np.flatnonzero(stream.records.columns.kind == Kind.MEM_SIZE)
    offset = int(stream.records.columns.offset[rows[0]]) if len(rows) else None
    declared = [b for b in stream.blocks if b.declared]
    if stream.facts.ram_version == ram.VERSION_FLAT:
        total = sum(destination.values())
        if declared and declared[0].length != total:
            message = f"the stream's RAM is {declared[0].length:#x} bytes, the destination's {total:#x}"
            yield rule.finding(message, offset)
        return
    for block in declared:
        have = destination.get(block.name)
        if have is None:
            yield rule.finding("the destination does not have this block", offset, block=block.name)
        elif have != block.length:
            message = f"the block is {block.length:#x} bytes in the stream, {have:#x} at the destination"
            yield rule.finding(message, offset, block=block.name)


def _whole(stream: Stream) -> Iterator[Finding]:
    """Pages of a complete stream that no record gave, a finding a block."""
    if not stream.facts.complete:
        return
    columns = stream.records.columns
    given = Values(space_of(stream).places(columns), bool)
    for start in range(0, len(columns), PIECE):
        rows = space_of(stream).pages_of(columns.take(slice(start, start + PIECE)))
        given[rows[rows >= 0]] = True
    all_given = given.nonzero()
    bitmaps = {m.block for m in stream.facts.mapped if m.bitmap is not None and stream.facts.ram_ended}
    left_out = any(p.rule == LEFT_OUT for p in stream.facts.problems)  # which says of whole blocks where they are
    for i, block in enumerate(space_of(stream).blocks):
        if i in bitmaps:  # a page that is not marked is zero, and one that is has a record
            continue
        pages = space_of(stream).slice(i)
        in_block = all_given[slice(*np.searchsorted(all_given, (pages.start, pages.stop)).tolist())] - pages.start
        count = pages.stop - pages.start
        missing = count - len(in_block)
        if missing and not (left_out and missing == count):
            in_order = in_block == np.arange(len(in_block))
            first = (len(in_block) if in_order.all() else int(np.argmin(in_order))) * stream.page_size
            message = f"{missing:,} of {count:,} pages were never sent, the first at {first:#x}"
            evidence = {"missing": missing, "pages": count}
            yield rules.PAGE_NEVER_SENT.finding(message, block=block.name, page=first, evidence=evidence)


def _packets(stream: Stream) -> Iterator[Finding]:
    """SYNCs that carry pages, as QEMU wrote them before 9.0, a finding a channel."""
    packets = stream.packets
    if packets is None:
        return
    riding = packets.is_sync & (packets.normal + packets.zero > 0)
    for channel in distinct(packets.channel[riding]).tolist():
        places = np.flatnonzero(riding & (packets.channel == channel))
        pages = int((packets.normal + packets.zero)[places].sum())
        message = (
            f"channel {channel}: {len(places):,} SYNC packets carry {pages:,} pages, as those of QEMU before 9.0 do. "
            f"A destination of QEMU 9.2 drops these pages. The first is at the channel's offset "
            f"{int(packets.offset[places[0]]):#x}"
        )
        yield rules.SYNC_WITH_PAGES.finding(
            message, evidence={"channel": channel, "packets": len(places), "pages": pages}
        )


# -- rules over columns ------------------------------------------------------------------------------------------------


def _record_marks(stream: Stream) -> Iterator[Mark]:
    """Every rule that looks at records one by one, without memory."""
    table = stream.records
    marks, nameless, first = Marks(), 0, np.empty(0, np.int64)
    for start in range(0, len(table), PIECE):
        tell("checking", start, len(table), "records")
        stretch = _Stretch(stream, start, table.columns.take(slice(start, start + PIECE)))
        for mark in _framing_marks(stretch):
            marks.add(mark)
        rows = np.flatnonzero(stretch.nameless)
        nameless += len(rows)
        first = first if len(first) else rows[:1] + start
        dialect = stream.dialect
        if dialect is not None:
            for mark in _delta_marks(stretch, dialect):
                marks.add(mark)
    message = "CONTINUE, and no record named a block yet; the same is true of {records} records in all"
    marks.add(Mark(rules.CONTINUE_WITHOUT_BLOCK, first, message, {"records": np.full(len(first), nameless)}))
    yield from marks.whole()


class _Stretch:
    """Records of a capture from row ``start`` on: which of them carry a page, and which of these name no block."""

    def __init__(self, stream: Stream, start: int, columns: Columns) -> None:
        self.stream, self.start, self.columns = stream, start, columns
        self.carries = IS_PAGE[columns.kind]
        self.nameless = self.carries & (columns.block == NO_BLOCK)

    def rows(self, where: NDArray[np.bool_]) -> Ints:
        """The rows of the table where this holds."""
        return np.flatnonzero(where) + self.start


def _framing_marks(stretch: _Stretch) -> Iterator[Mark]:
    """Rules about flags and blocks."""
    stream, columns = stretch.stream, stretch.columns
    version = stream.facts.ram_version or ram.VERSION_NAMED
    known = ram.known_flags(version)
    flags, kind = columns.flags, columns.kind

    yield Mark(rules.FLAGS_UNKNOWN, stretch.rows((flags & np.uint16(~int(known) & 0xFFFF)) != 0))
    kinds = int(Flag.COMPRESS | Flag.PAGE | ram.delta_flag(version) | Flag.MEM_SIZE | Flag.EOS)
    if version != ram.VERSION_FLAT:
        kinds |= int(Flag.COMPRESS_PAGE | Flag.MULTIFD_FLUSH)
    yield Mark(rules.FLAGS_COMBINED, stretch.rows(np.bitwise_count(flags & np.uint16(kinds)) > 1))
    odd = (columns.address != 0) | ((flags & np.uint16(Flag.CONTINUE)) != 0)
    yield Mark(rules.END_ODD, stretch.rows((kind == Kind.EOS) & odd))
    bare = (kind == Kind.NOOP) | ((kind == Kind.HOOK) & (version != ram.VERSION_FLAT) & (not stream.facts.footers))
    yield Mark(rules.NO_KIND, stretch.rows(bare))
    yield Mark(rules.RDMA_HOOK, stretch.rows((kind == Kind.HOOK) & bool(stream.facts.footers)))

    declared = np.array([b.declared for b in stream.blocks] + [False], bool)
    lengths = np.array([b.length for b in stream.blocks] + [0], np.uint64)
    block = np.minimum(columns.block, len(stream.blocks)).astype(np.int64)
    names = (flags & np.uint16(Flag.CONTINUE)) == 0
    yield Mark(rules.UNKNOWN_BLOCK, stretch.rows(stretch.carries & names & ~stretch.nameless & ~declared[block]))
    outside = stretch.carries & declared[block] & (columns.address >= lengths[block])
    yield Mark(rules.PAGE_OUT_OF_BOUNDS, stretch.rows(outside), evidence={"block_length": lengths[block[outside]]})


def _delta_marks(stretch: _Stretch, dialect: Dialect) -> Iterator[Mark]:
    """Rules about deltas that need no memory: header and form."""
    stream, start = stretch.stream, stretch.start
    deltas = np.flatnonzero(IS_DELTA[stretch.columns.kind])
    columns = stretch.columns.take(deltas)
    deltas += start
    flags = columns.header_flags
    wrong = (flags & HeaderFlag.XBRLE) == 0
    yield Mark(rules.DELTA_HEADER, deltas[wrong], evidence={"header_flags": flags[wrong]})
    meant = int(HeaderFlag.XBRLE) | (int(HeaderFlag.CHECKSUM) if dialect.checksum is Checksum.FLAGGED else 0)
    wrong = (flags & np.uint8(~meant & 0xFF)) != 0
    yield Mark(rules.DELTA_FLAGS, deltas[wrong], evidence={"header_flags": flags[wrong]})
    header = dtype_of(dialect.header(stream.reading.endian))
    payload = columns.payload()
    if header.fields is not None and "padding" in header.fields and dialect.checksum is not Checksum.COMPLEMENT:
        padding = stream.data[payload - header.itemsize + header.fields["padding"][1]]
        yield Mark(rules.DELTA_PADDING, deltas[padding != 0], evidence={"padding": padding[padding != 0]})
    if dialect.encoding is Encoding.RLE:
        yield Mark(rules.DELTA_ODD, deltas[(columns.length & 1) != 0])
        unusual = xbrle.unusual(stream.data, payload, columns.length.astype(np.int64), stream.page_size)
        yield Mark(rules.DELTA_FORM, deltas[unusual])
    if dialect.encoding is not Encoding.ZRUN:
        table = stream.records
        sections = table.sections.of(columns.offset) if table.main_size is None else table.section[deltas]
        yield Mark(rules.DELTA_STAGE, deltas[table.sections.stages(sections) != Stage.PART])
