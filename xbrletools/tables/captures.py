"""The row of a capture in the table `captures`: what it is, and the verdict on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..analysis.facts import gather, host_endian
from ..formats.ram import DELTA_KINDS, Kind
from ..model import Stream
from ..source.sources import Source
from ..source.wrappers import LibvirtSave
from ..text import shown
from ..verify.rules import Severity
from ..version import __version__
from .content import verdict_of


@dataclass(frozen=True, slots=True)
class Work:
    """What it took to make a capture's tables.

    ``size`` is that of the file, and ``missing`` what could not be made. ``rules`` is the digest of the YARA rules, and
    ``holding`` the JSON of those that hold at the end.
    """

    name: str
    size: int
    seconds: float = 0.0
    memory_used: int = 0
    versions: bool = False
    missing: str | None = None
    rules: str | None = None
    holding: str | None = None
    options: Mapping[str, Any] | None = None


def capture_row(stream: Stream, source: Source, work: Work) -> tuple[Any, ...]:
    """The row of a capture, in the order of `schema.CAPTURES`. ``source`` is what was opened."""
    facts, reading, overview = stream.facts, stream.reading, gather(stream)
    counts = overview.total.records
    wrapping = source.wrapping
    concluded = verdict_of(stream)
    assert concluded.shared is not None
    severities = dict.fromkeys(Severity, 0)
    for (_, severity), number in concluded.shared.found.counts().items():  # the verdict itself can add one
        severities[severity] += number
    causes = [
        {"cause": c.name.value, "certainty": c.sure.value, "records": c.records, "lasting": c.lasting}
        for c in concluded.causes
    ]
    return (
        work.name,
        work.size,
        len(stream.data),
        facts.start,
        source.wrapper,
        None if wrapping is None else "libvirt" if isinstance(wrapping, LibvirtSave) else "qcow2",
        None if facts.machine is None else shown(facts.machine),
        facts.file_version,
        facts.ram_version,
        None if reading.dialect is None else reading.dialect.name,
        ",".join(reading.evidence.candidates),
        host_endian(reading),
        stream.page_size,
        len(stream.blocks),
        sum(b.length for b in stream.blocks if b.declared),
        stream.channels,
        stream.records.last_number,
        overview.pass_count,
        int(counts[Kind.PAGE]),
        int(counts[Kind.DUP]),
        sum(int(counts[k]) for k in DELTA_KINDS),
        int(counts[Kind.COMPRESSED]),
        len(stream.sections),
        facts.whole,
        len(facts.problems),
        None if facts.damage is None else facts.damage.message,
        concluded.status.value,
        concluded.summary,
        concluded.pages_wrong,
        concluded.first_bad_record,
        concluded.first_lasting_record,
        json.dumps(causes),
        json.dumps({name: outcome.loads for name, outcome in concluded.receivers.items()}),
        sum(severities.values()),
        severities[Severity.ERROR],
        severities[Severity.WARNING],
        work.missing,
        json.dumps(dict(work.options)) if work.options else None,
        work.versions,
        work.rules,
        work.holding,
        work.seconds,
        work.memory_used,
        __version__,
    )
