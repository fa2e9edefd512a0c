"""What a capture is and what it holds, as far as a scan shows it: one answer for `info`, the report and the browser."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

import numpy as np

from ..formats.qevm import SectionType
from ..formats.ram import Kind
from ..model import Block, ConfigurationSubsection, Facts, Reading, Stream
from ..ram.elsewhere import MISSING, has_content, postcopy_run
from ..source.sources import Source
from ..source.wrappers import LibvirtSave, PacketDump, Wrapping
from ..table.columns import NO_BLOCK, PIECE, Columns, Sweeps
from ..table.sections import CERTAINTY, Boundary, Owner
from ..text import shown
from .stats import Stats, Tally, tally

if TYPE_CHECKING:
    from ..container.returnpath import Message
    from ..ram.channels import Spool
    from ..ram.packets import Channel

CONTAINER, CHANNEL, ROW = "qevm", "multifd-channel", "preempt-channel"
COMMANDS_MAX = 1 << 14  # COMMANDs that are listed one by one
GROUPS_MAX = 1 << 13  # owners whose sections are summed up; those of the others are counted together


class Scannable(Protocol):
    """A scan that gives its records in windows. Its facts are complete when all windows were read."""

    @property
    def facts(self) -> Facts:
        """What the scan has found so far."""

    def __iter__(self) -> Iterator[Columns]: ...


class BlockUse(NamedTuple):
    """A RAM block with the number of ``records`` that carry a page of it, and of the sender's ``passes`` over it."""

    block: Block
    records: int
    passes: int


class SectionGroup(NamedTuple):
    """The sections of one owner. Sections of a type without owners form a group with ``owner`` None.

    ``offset`` is the first section's, ``types`` has the number of sections of each type, and ``length`` is their size
    in bytes. ``found_by`` is the least certain way in which one of their ends was found.
    """

    owner: Owner | None
    offset: int
    types: Counter[SectionType]
    length: int
    found_by: Boundary


class DeviceTail(NamedTuple):
    """The FULL sections, which hold device state: their range in the capture, and how many ends were found how."""

    offset: int
    end: int
    found_by: Mapping[Boundary, int]


@dataclass(frozen=True, slots=True)
class Overview:
    """What a scan found, and the sums over its records.

    ``total`` sums up all records by kind. ``records`` and ``passes`` count, by the index of a RAM block, the records
    that carry a page of it and the sender's passes over it.
    """

    facts: Facts
    total: Tally
    records: Mapping[int, int]
    passes: Mapping[int, int]

    @property
    def blocks(self) -> list[BlockUse]:
        """The RAM blocks in the order of the block list."""
        return [
            BlockUse(block, self.records.get(i, 0), self.passes.get(i, 0)) for i, block in enumerate(self.facts.blocks)
        ]

    @property
    def pass_count(self) -> int:
        """The number of passes over the block that has most of them."""
        return max(self.passes.values(), default=0)

    @property
    def saved(self) -> dict[str, int]:
        """How many bytes shorter the capture is than with every page sent in full, by what saved them."""
        reading, total = self.facts.reading, self.total
        header = int(reading.dialect.header(reading.endian).sizeof()) if reading.dialect else 0
        less = total.records * reading.page_size - total.payload
        return {
            "dup": int(less[Kind.DUP]),
            "delta": total.deltas * (reading.page_size - header) - total.delta_payload,
            "compressed": int(less[Kind.COMPRESSED]),
        }

    @property
    def section_groups(self) -> list[SectionGroup]:
        """The sections of the first `GROUPS_MAX` owners, by owner, in the order of each owner's first section."""
        groups: dict[Owner | SectionType, SectionGroup] = {}
        for section, count in self.facts.sections.runs():
            key = section.owner or section.type
            if len(groups) >= GROUPS_MAX and key not in groups:
                continue
            group = groups.get(key) or SectionGroup(section.owner, section.offset, Counter(), 0, section.found_by)
            group.types[section.type] += count
            length = group.length + count * (section.end - section.offset)
            groups[key] = group._replace(length=length, found_by=max(group.found_by, section.found_by))
        return list(groups.values())

    @property
    def device_tail(self) -> DeviceTail | None:
        """Where device state lies, or None where the capture has none."""
        first = last = None
        found_by: Counter[Boundary] = Counter()
        for last in self.facts.sections.of_types(SectionType.FULL):
            first = first or last
            found_by[last.found_by] += 1
        return None if first is None or last is None else DeviceTail(first.offset, last.end, found_by)


def gather(scan: Stream | Scannable) -> Overview:
    """Sum up a capture. A scan is read to its end, window by window, so that a pipe needs constant memory.

    Raises:
        XbrleError: this is not a migration stream.
    """
    total, sweeps = Tally(), Sweeps({})
    records: Counter[int] = Counter()
    for columns in _pieces(scan.records.columns) if isinstance(scan, Stream) else scan:
        total.add(tally(columns))
        sweeps.number(columns)
        blocks, counts = np.unique(columns.block[columns.block != NO_BLOCK], return_counts=True)
        records.update(dict(zip(blocks.tolist(), counts.tolist(), strict=True)))
    return Overview(scan.facts, total, records, sweeps.counts)


def _pieces(columns: Columns) -> Iterator[Columns]:
    return (columns.take(slice(start, start + PIECE)) for start in range(0, len(columns), PIECE))


def overview_of(facts: Facts, sums: Stats) -> Overview:
    """The overview of records that were summed up already, also while a scan goes on."""
    seen = np.flatnonzero(sums.records).tolist()
    records = {block: int(sums.records[block]) for block in seen}
    return Overview(facts, sums.total, records, {block: int(sums.pass_counts[block]) for block in seen})


def host_endian(reading: Reading) -> str | None:
    """The byte order of the sending host, where the dialect depends on it and a delta shows it."""
    dialect = reading.dialect
    return reading.evidence.endian if dialect is None or dialect.host_endian else None


def dialect_words(reading: Reading) -> str:
    """The dialect for a person: its name or the candidates, the byte order, and which record showed it."""
    evidence = reading.evidence
    if reading.dialect is None:
        text = "not known, since no delta shows it"
        text += f"; possible: {', '.join(evidence.candidates)}" if evidence.candidates else ""
    else:
        text = reading.dialect.name
        others = [c for c in evidence.candidates if c != text]
        if others:
            text += f" (or {', '.join(others)}, which read the same here)"
    endian = host_endian(reading)
    if endian:
        text += f", {endian}-endian"
    if evidence.forced:
        return text + ", as forced"
    return text if evidence.offset is None else f"{text}, seen at {evidence.offset:#x}"


# -- JSON -------------------------------------------------------------------------------------------------------------


def container_words(version: int | None) -> str:
    """The container for a person. ``version`` is what its head states, None or 0 where the head is not there."""
    return f"QEVM, file version {version}" if version else "QEVM, without its head"


def as_json(
    overview: Overview, source: Source, channels: "Spool | None" = None, reverse: "Sequence[Message]" = ()
) -> dict[str, Any]:
    """The object that ``xbrle info --json`` prints.

    ``source`` is what was opened, ``channels`` are those beside it, ``reverse`` is what came back.
    """
    facts, total = overview.facts, overview.total
    reading, evidence = facts.reading, facts.reading.evidence
    groups = overview.section_groups
    return {
        "name": source.name,
        "container": _container(facts, channels),
        "file_version": facts.file_version or None,
        "wrapper": source.wrapper,
        "wrapping": _wrapping(source.wrapping),
        "size": source.size,
        "stream_offset": facts.start,
        "machine": None if facts.machine is None else shown(facts.machine),
        "capabilities": [shown(c) for c in facts.capabilities],
        "configuration": [_subsection(s) for s in (facts.configuration.subsections if facts.configuration else ())],
        "commands": _commands(facts),
        "command_counts": dict(facts.commands.counts()),
        "commands_left_out": max(0, len(facts.commands) - COMMANDS_MAX),
        "discards": _discards(facts),
        "multifd": _is_multifd(facts, total, channels),
        "channels": [] if channels is None else [*map(_channel, channels.channels), *_preempt(channels)],
        "reverse": [{"offset": m.offset, "type": m.type.name, "words": str(m)} for m in reverse],
        "ram_version": facts.ram_version,
        "dialect": reading.dialect.name if reading.dialect else None,
        "candidates": list(evidence.candidates),
        "endian": host_endian(reading),
        "page_size": reading.page_size,
        "evidence": {"offset": evidence.offset, "forced": evidence.forced, "reasons": list(evidence.reasons)},
        "blocks": [_block(use, reading.page_size) for use in overview.blocks],
        "records": {k.name.lower(): int(total.records[k]) for k in Kind if total.records[k] or k is not Kind.NOOP},
        "mapped_ram": _mapped(facts),
        "payload": {k.name.lower(): int(total.payload[k]) for k in Kind if total.payload[k]},
        "passes": overview.pass_count,
        "saved": overview.saved,
        "sections": [_section_group(group) for group in groups],
        "sections_left_out": len(facts.sections) - sum(sum(group.types.values()) for group in groups),
        "device_tail": _device_tail(overview.device_tail),
        "vmdesc": None if facts.vmdesc is None else {"offset": facts.vmdesc[0], "length": facts.vmdesc[1]},
        "disks": [{"name": shown(name), "reach": reach} for name, reach in facts.disks.items()],
        "footers": facts.footers,
        "complete": facts.whole,
        "truncated": any(p.rule == "truncated" for p in facts.problems),
        "problems": [
            {"rule": p.rule, "offset": p.offset, "message": p.message, "fatal": p.fatal, "lost": p.lost}
            for p in facts.problems
        ],
    }


def _mapped(facts: Facts) -> dict[str, Any] | None:
    """What the bitmaps of a mapped-ram file say, in pages. Those that no bit marks are zero if RAM's END is there."""
    if not facts.mapped:
        return None
    pages = {m.block: -(-facts.blocks[m.block].length // facts.page_size) for m in facts.mapped}
    marked = sum(m.marked for m in facts.mapped)
    unmarked = sum(pages[m.block] for m in facts.mapped if m.bitmap is not None) - marked
    return {
        "finished": facts.ram_ended,
        "marked_pages": marked,
        "zero_pages": unmarked if facts.ram_ended else 0,
        "unknown_pages": 0 if facts.ram_ended else unmarked,
        "left_out": [shown(facts.blocks[m.block].name) for m in facts.mapped if m.bitmap is None],
    }


def _wrapping(wrapping: Wrapping | None) -> dict[str, Any] | None:
    """The file around the stream."""
    if wrapping is None:
        return None
    if isinstance(wrapping, LibvirtSave):
        return {
            "kind": "libvirt",
            "packed": wrapping.packed,
            "domain": shown(wrapping.domain),
            "running": wrapping.running,
            "unfinished": wrapping.unfinished,
            "stream_offset": wrapping.start,
            "xml": wrapping.xml.decode("utf-8", "replace"),
        }
    if isinstance(wrapping, PacketDump):
        return {
            "kind": "packets",
            "connection": wrapping.connection,
            "stream": wrapping.number,
            "streams": wrapping.migrations,
            "packets": wrapping.packets,
        }
    return {
        "kind": "qcow2",
        "snapshot": shown(wrapping.name),
        "id": shown(wrapping.id),
        "vm_state_size": wrapping.vm_state_size,
        "disk_size": wrapping.disk_size,
        "snapshots": [shown(n) for n in wrapping.names],
        "backed": wrapping.backed,
    }


def _subsection(sub: ConfigurationSubsection) -> dict[str, Any]:
    """A subsection of CONFIGURATION. Its value is null where its name is unknown."""
    value: Any = sub.value
    if isinstance(value, tuple):
        value = [shown(v) for v in value]
    elif isinstance(value, bytes):
        value = str(UUID(bytes=value))
    return {"name": shown(sub.name), "version": sub.version, "bytes": sub.end - sub.data, "value": value}


def _commands(facts: Facts) -> list[dict[str, Any]]:
    """The first COMMANDs. ``package`` is the index of the command whose package holds this one."""
    return [
        {
            "offset": c.offset,
            "number": c.number,
            "name": c.name,
            "words": str(c),
            "package": facts.commands.package_of(c.offset),
        }
        for c in islice(facts.commands, COMMANDS_MAX)
    ]


def _discards(facts: Facts) -> list[dict[str, Any]]:
    """What a postcopy destination was told to forget, by block."""
    ranges: Counter[bytes] = Counter()
    lengths: Counter[bytes] = Counter()
    for discard in facts.discards:
        ranges[discard.block] += 1
        lengths[discard.block] += discard.length
    return [{"block": shown(name), "ranges": n, "bytes": lengths[name]} for name, n in ranges.items()]


def _channel(channel: "Channel") -> dict[str, Any]:
    """A multifd channel."""
    damage = channel.damage
    return {
        "kind": "multifd",
        "file": shown(os.fsencode(channel.name)),
        "id": channel.id,
        "size": channel.size,
        "packets": len(channel.packets),
        "pages": channel.pages,
        "zero_pages": channel.zeros,
        "packed": channel.method,
        "packed_bytes": channel.packed,
        "synchronisations": channel.epochs,
        "device_states": channel.states,
        "uuid": channel.uuid.hex(),
        "damage": None if damage is None else {"offset": damage[0], "message": damage[1]},
    }


def _container(facts: Facts, channels: "Spool | None") -> str:
    """What the stream is: a whole one, or a channel alone."""
    if channels is None or len(facts.sections):
        return CONTAINER
    return CHANNEL if channels.channels else ROW


def _is_multifd(facts: Facts, total: Tally, channels: "Spool | None") -> bool:
    """Whether pages came on multifd's channels, be they here or not."""
    flushed = bool(total.records[Kind.FLUSH]) and not has_content(total.records.tolist())
    if flushed or (channels is not None and channels.channels):
        return True
    return postcopy_run(facts) is None and any(p.rule == MISSING for p in facts.problems)


def _preempt(channels: "Spool") -> Iterator[dict[str, Any]]:
    """The channels of postcopy-preempt, with the keys of `_channel`."""
    for id_, channel in zip(channels.ids[len(channels.channels) :], channels.preempt, strict=True):
        damage = channel.damage
        yield {
            "kind": "preempt",
            "file": shown(os.fsencode(channel.name)),
            "id": id_,
            "size": channel.size,
            "packets": 0,
            "pages": channel.pages,
            "zero_pages": channel.zeros,
            "packed": "none",
            "packed_bytes": channel.size,
            "synchronisations": 0,
            "device_states": 0,
            "uuid": None,
            "damage": None if damage is None else {"offset": damage[0], "message": damage[1]},
        }


def _block(use: BlockUse, page_size: int) -> dict[str, Any]:
    """A RAM block. ``page_size`` is the target's."""
    block = use.block
    return {
        "name": shown(block.name),
        "length": block.length,
        "declared": block.declared,
        "address": block.address,
        "page_size": block.page_size or page_size,
        "passes": use.passes,
        "records": use.records,
    }


def _section_group(group: SectionGroup) -> dict[str, Any]:
    """The sections of one owner, which has null for all that is only an owner's where there is none."""
    owner = group.owner
    return {
        "idstr": None if owner is None else shown(owner.idstr),
        "section_id": None if owner is None else owner.section_id,
        "instance_id": None if owner is None else owner.instance_id,
        "version_id": None if owner is None else owner.version_id,
        "offset": group.offset,
        "types": {type_.name.lower(): count for type_, count in group.types.items()},
        "bytes": group.length,
        "found_by": group.found_by.name.lower(),
        "certainty": CERTAINTY[group.found_by],
    }


def _device_tail(tail: DeviceTail | None) -> dict[str, Any] | None:
    """Where device state lies, and how the ends of its sections were found."""
    if tail is None:
        return None
    return {
        "offset": tail.offset,
        "end": tail.end,
        "sections": sum(tail.found_by.values()),
        "found_by": {found_by.name.lower(): count for found_by, count in sorted(tail.found_by.items())},
        "certainty": CERTAINTY[max(tail.found_by)],
    }
