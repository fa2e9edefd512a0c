"""What a receiver makes of a stream: whether it loads, and where it would have stopped.

How receivers behave was tried on the original programs [C]: formats/README.md, "Receivers".
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..formats import ram
from ..formats.dialects import Dialect, Loader
from ..formats.qevm import SectionType
from ..formats.xbrle import HeaderFlag
from ..model import Stream
from .rules import CHECKSUM_MISMATCH, RULES, UNKNOWN_BLOCK, Finding, Receiver

_LOADERS = {Receiver.DEFAULT: Loader.POSTED, Receiver.DEBUG: Loader.POSTED, Receiver.TODAY: Loader.QEMU}


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """A receiver's verdict. ``offset`` and ``record`` say where it stops, ``reason`` why. All are None if it loads."""

    loads: bool
    offset: int | None = None
    record: int | None = None
    reason: str | None = None


def outcome(
    stream: Stream,
    findings: Iterable[Finding],
    receiver: Receiver,
    destination: dict[bytes, int] | None = None,
) -> LoadOutcome:
    """The verdict of ``receiver`` on a capture with these findings (of `verify`, in order).

    ``destination``, as given to `verify`, says which blocks the receiver has. The receiver looks a record's name up in
    its own memory, not in the stream's block list.
    """
    has = destination or {}
    stops = (
        f
        for f in findings
        if _stops(f, receiver, stream)
        and not (f.rule == UNKNOWN_BLOCK.id and (f.page or 0) < has.get(f.block or b"", 0))
    )
    first = min(stops, key=lambda f: f.offset or 0, default=None)
    reasons = []
    if first is not None:
        reasons.append(LoadOutcome(False, first.offset, first.record, f"{first.rule}: {first.message}"))
    if receiver is Receiver.TODAY and stream.facts.ram_version == ram.VERSION_FLAT:
        reasons.append(LoadOutcome(False, 0, None, "RAM section version 3 is not loaded any more"))
    if receiver is not Receiver.TODAY:
        reasons += _too_new(stream)
        if stream.reading.page_sum:
            reasons += _first(stream, (ram.Kind.PAGE,), "a PAGE with a sum before its data, which it reads as data")
    if not _reads(stream.dialect, receiver):
        name = stream.dialect.name if stream.dialect else "unknown"
        reasons += _first(stream, ram.DELTA_KINDS, f"a delta of dialect {name}, which it does not know")
    return min(reasons, key=lambda o: o.offset or 0, default=LoadOutcome(True))


def stop_amid_records(stream: Stream, findings: Iterable[Finding], upto: int | None = None) -> Finding | None:
    """The first finding at which a receiver that reads such streams stops before it has every record of memory.

    That is QEMU of today for streams that have what came since 2012, else the posted patch's default build. ``upto`` is
    the number of the last record that counts. Of ``findings``, which are those of `verify` in order, no more are taken
    than are needed.
    """
    offsets, table = stream.records.columns.offset, stream.records
    last = None if upto is None else table.row_of(upto)
    if not len(offsets) or (upto is not None and last is None):
        return None
    end = int(offsets[-1 if last is None else last])
    facts, dialect = stream.facts, stream.dialect
    is_today = facts.footers or facts.configuration is not None
    is_today = is_today or (dialect is not None and dialect.loader is Loader.QEMU)
    receiver = Receiver.TODAY if is_today else Receiver.DEFAULT
    for finding in findings:
        if finding.offset is not None and finding.offset > end:
            return None
        if finding.offset is not None and _stops(finding, receiver, stream):
            return finding
    return None


def _first(stream: Stream, kinds: tuple[ram.Kind, ...], reason: str) -> list[LoadOutcome]:
    """A stop at the first record of one of these kinds, if there is one."""
    columns = stream.records.columns
    rows = np.flatnonzero(np.isin(columns.kind, kinds))[:1]
    return [LoadOutcome(False, int(columns.offset[r]), int(stream.records.number[r]), reason) for r in rows.tolist()]


def _too_new(stream: Stream) -> list[LoadOutcome]:
    """A stop at the first piece of the container that receivers of 2011 do not know."""
    for section in stream.sections.of_types(SectionType.CONFIGURATION, SectionType.COMMAND, SectionType.START):
        if section.type in (SectionType.CONFIGURATION, SectionType.COMMAND):
            return [LoadOutcome(False, section.offset, None, f"a {section.type.name} section, which it does not know")]
        if stream.facts.footers and section.type is SectionType.START:
            return [LoadOutcome(False, section.end, None, "a section footer, which it does not know")]
    return []


def _stops(finding: Finding, receiver: Receiver, stream: Stream) -> bool:
    sums = finding.rule == CHECKSUM_MISMATCH.id or "blank" in finding.evidence
    if sums and receiver is Receiver.DEBUG and finding.record is not None:
        row = stream.records.row(finding.record)
        kind = int(stream.records.columns.kind[row])
        flagged = int(stream.records.columns.header_flags[row]) & HeaderFlag.CHECKSUM
        return bool(kind in ram.DELTA_KINDS and flagged)
    return receiver in RULES[finding.rule].stops


def _reads(dialect: Dialect | None, receiver: Receiver) -> bool:
    """Whether a receiver reads deltas of this dialect, if there are any."""
    return dialect is None or (dialect.loader is not None and dialect.loader is _LOADERS.get(receiver))
