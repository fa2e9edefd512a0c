"""The receivers of 2011: QEMU before the XBRLE patch, and with the patch as posted, in both builds.

How they behave was tried on the original programs [C]: formats/README.md, "Receivers".
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ...codec.verdict import Verdict
from ...formats import qevm, ram
from ...formats.dialects import Loader
from ...formats.qevm import SectionType
from ...formats.xbrle import HeaderFlag
from ...model import Stream
from ...table.columns import PIECE
from ...table.sections import Section
from ...text import shown
from .. import rules
from ..rules import RULES, Finding, Program
from .values import Destination, Outcome, Receiver, Seen

_LAST = "load of migration failed"


def judged(stream: Stream, seen: Seen, destination: Destination, program: Program) -> Outcome | None:
    """Where this build stops, or None if it loads the stream to its end."""
    stops = [
        *_by_findings(stream, seen, destination, program),
        *_too_new(stream),
        *_foreign(stream, program),
    ]
    return min(stops, key=lambda o: o.offset or 0, default=None)


def _by_findings(stream: Stream, seen: Seen, destination: Destination, program: Program) -> Iterator[Outcome]:
    """The first finding of each rule that stops this build."""
    for finding in seen.first.values():
        if program in RULES[finding.rule].stops:
            yield _stopped(stream, finding, _words(stream, finding, destination))
    if program is Program.DEBUG and seen.first_sum is not None:
        yield _stopped(stream, seen.first_sum, ("Failed to load XBRLE page - bad checksum!",))


def is_there(finding: Finding, destination: Destination) -> bool:
    """The receiver looks a record's name up in its own memory, not in the stream's block list."""
    blocks = destination.blocks or {}
    return finding.rule == rules.UNKNOWN_BLOCK.id and (finding.page or 0) < blocks.get(finding.block or b"", 0)


def _stopped(stream: Stream, finding: Finding, words: tuple[str, ...] | None) -> Outcome:
    reason = f"{finding.rule}: {finding.message}"
    said = () if words is None else (*words, *_levels(stream, finding))
    return Outcome(False, finding.offset, finding.record, reason, said)


def _levels(stream: Stream, finding: Finding) -> tuple[str, ...]:
    """What the levels above a record's reader print."""
    if finding.rule in _ABORTS:
        return ()
    section = _section(stream, finding)
    if (finding.record is None and finding.rule not in _IN_RAM) or section is None or section.owner is None:
        return (_LAST,)
    owner = section.owner
    if section.type is SectionType.START:
        level = f"error while loading state for instance {owner.instance_id:#x} of device '{shown(owner.idstr)}'"
    else:
        level = f"error while loading state section id {owner.section_id}"
    return f"qemu: warning: {level}", _LAST


def _section(stream: Stream, finding: Finding) -> Section | None:
    index = stream.sections.at(finding.offset) if finding.offset is not None else -1
    return stream.sections[index] if index >= 0 else None


_ABORTS = {rules.UNKNOWN_BLOCK.id, rules.CONTINUE_WITHOUT_BLOCK.id, rules.PAGE_OUT_OF_BOUNDS.id}
_IN_RAM = {r.id for r in (rules.BLOCK_LIST, rules.DESTINATION_BLOCKS, rules.DELTA_LENGTH)}


def _words(stream: Stream, finding: Finding, destination: Destination) -> tuple[str, ...] | None:
    """What the build prints at the finding itself. None where that is not known."""
    rule = finding.rule
    if rule == rules.UNKNOWN_BLOCK.id:
        name = shown(finding.block or b"")
        return f"Can't find block {name}!", f"Failed to convert RAM address to host for offset {finding.page or 0:#x}!"
    if rule == rules.DELTA_HEADER.id:
        return ("Failed to load XBRLE page - wrong compression!",)
    if rule == rules.DELTA_LENGTH.id:
        return ("Failed to load XBRLE page - len overflow!",)
    if rule == rules.DELTA_SIZE.id:
        return _size_words(stream, finding)
    if rule == rules.FILE_VERSION.id:
        obsolete = stream.facts.file_version == qevm.VERSION_OBSOLETE
        return ("SaveVM v2 format is obsolete and don't work anymore",) if obsolete else ()
    if rule == rules.RAM_VERSION.id:
        return (f"savevm: unsupported version {stream.facts.ram_version} for 'ram' v4",)
    if rule == rules.UNKNOWN_SECTION.id and finding.offset is not None:
        part = stream.data[finding.offset + 1 : finding.offset + 5].tobytes()
        return (f"Unknown savevm section {int.from_bytes(part, 'big')}",)
    if rule == rules.DESTINATION_BLOCKS.id:
        is_there = finding.block is None or finding.block in (destination.blocks or {})
        return () if is_there else (f'Unknown ramblock "{shown(finding.block or b"")}", cannot accept migration',)
    return () if rule in (rules.TRUNCATED.id, rules.BLOCK_LIST.id) else None


def _size_words(stream: Stream, finding: Finding) -> tuple[str, ...] | None:
    """What a delta that does not come to one page makes it print."""
    if finding.record is None or finding.evidence.get("verdict") == Verdict.LONG.name.lower():
        return ("Failed to load XBRLE page - decode error!",)
    row = stream.records.row(finding.record)
    start = int(stream.records.columns.payload(slice(row, row + 1))[0])
    payload = stream.data[start : start + int(stream.records.columns.length[row])]
    runs = int(payload[: len(payload) // 2 * 2 : 2].sum(dtype=np.int64))
    return (f"Failed to load XBRLE page - size {runs} expected {stream.page_size}!",)


# -- what came after 2011 ----------------------------------------------------------------------------------------------


_TOO_NEW = (SectionType.CONFIGURATION, SectionType.COMMAND)


def _too_new(stream: Stream) -> Iterator[Outcome]:
    """A stop at the first piece of the container that receivers of 2011 do not know."""
    said = (f"Unknown savevm section type {int(SectionType.CONFIGURATION)}", _LAST)
    for section in stream.sections.of_types(*_TOO_NEW, SectionType.START, SectionType.FULL):
        if section.type in _TOO_NEW:
            said = (f"Unknown savevm section type {int(section.type)}", _LAST)
            reason = f"a {section.type.name} section, which it does not know"
            yield Outcome(False, section.offset, None, reason, said)
            return
        if stream.facts.footers:
            said = (f"Unknown savevm section type {int(SectionType.FOOTER)}", _LAST)
            yield Outcome(False, section.end, None, "a section footer, which it does not know", said)
            return


def _foreign(stream: Stream, program: Program) -> Iterator[Outcome]:
    """A stop at the first record of a form that it does not read."""
    if stream.reading.page_sum:
        yield from _first(stream, (ram.Kind.PAGE,), "a PAGE with a sum before its data, which it reads as data")
    dialect = stream.dialect
    reads = dialect is None or (dialect.loader is Loader.POSTED and program is not Program.VANILLA)
    if dialect is not None and not reads:
        yield from _first(stream, ram.DELTA_KINDS, f"a delta of dialect {dialect.name}, which it does not know")


def _first(stream: Stream, kinds: tuple[ram.Kind, ...], reason: str) -> Iterator[Outcome]:
    """A stop at the first record of one of these kinds, if there is one."""
    columns = stream.records.columns
    for start in range(0, len(columns), PIECE):
        rows = np.flatnonzero(np.isin(columns.kind[start : start + PIECE], kinds))[:1] + start
        if len(rows):
            number = stream.records.numbers.of(rows)
            yield Outcome(False, int(columns.offset[rows[0]]), int(number[0]), reason)
            return


def states_sum(stream: Stream, finding: Finding) -> bool:
    """Whether a finding is that a flagged sum does not hold, which the debug build looks at."""
    if finding.record is None or not (finding.rule == rules.CHECKSUM_MISMATCH.id or "blank" in finding.evidence):
        return False
    row = stream.records.row(finding.record)
    columns = stream.records.columns
    flagged = int(columns.header_flags[row]) & HeaderFlag.CHECKSUM
    return bool(int(columns.kind[row]) in ram.DELTA_KINDS and flagged)


def receiver(program: Program, title: str) -> Receiver:
    """One of the three programs."""
    return Receiver(program.value, title, partial(judged, program=program))


VANILLA = receiver(Program.VANILLA, "QEMU of 2011, without the patch")
DEFAULT = receiver(Program.DEFAULT, "posted, default build")
DEBUG = receiver(Program.DEBUG, "posted, debug build")
