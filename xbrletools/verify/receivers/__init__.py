"""What each receiver makes of a stream: it loads it, or it stops, where, and with which words."""

from collections.abc import Iterable
from dataclasses import replace

from ...formats.dialects import Loader
from ...formats.qevm import SectionType
from ...model import Stream
from ..rules import RULES, Finding, Program
from . import posted, qemu
from .values import DEVICE_VALUES, Destination, DeviceState, Outcome, Receiver, Seen

__all__ = ["RECEIVERS", "TODAY", "Destination", "DeviceState", "Outcome", "Receiver", "named", "outcome", "outcomes"]

VERSIONS = ((7, 2), (8, 2), (9, 2), (10, 0), (11, 1))  # of QEMU, from the oldest to the newest
QEMUS = tuple(qemu.receiver(*version) for version in VERSIONS)
TODAY = QEMUS[-1]

#: Every receiver by the name that scripts use.
RECEIVERS: dict[str, Receiver] = {r.name: r for r in (posted.VANILLA, posted.DEFAULT, posted.DEBUG, *QEMUS)}
ALIASES = {"today": TODAY.name}
NAMES = (*RECEIVERS, *ALIASES)


def named(name: str) -> Receiver:
    """The receiver of this name.

    Raises:
        KeyError: there is none.
    """
    return RECEIVERS[ALIASES.get(name, name)]


def outcomes(
    stream: Stream,
    findings: Iterable[Finding],
    receivers: Iterable[Receiver] | None = None,
    destination: Destination | None = None,
    wrong_pages: int | None = None,
) -> dict[str, Outcome]:
    """The verdict of each of these receivers, by default of all, on a stream with these findings, by name.

    It goes through ``findings`` once, to their end. Those of `Found.first_of_each` are enough where ``destination``,
    which says what is known of where the stream is to load, does not name blocks. ``wrong_pages`` counts the pages that
    are wrong in the end where the stream loads.
    """
    where = destination or Destination()
    seen = _gathered(stream, findings, where)
    asked = RECEIVERS.values() if receivers is None else receivers
    told = {r.name: r.judge(stream, seen, where) or Outcome(True, wrong_pages=wrong_pages) for r in asked}
    if next(stream.sections.of_types(SectionType.FULL), None) is None:
        return told
    may_load = {name for name, o in told.items() if o.loads is not False or o.goes_on}
    return {name: replace(o, not_judged=(DEVICE_VALUES,)) if name in may_load else o for name, o in told.items()}


def outcome(
    stream: Stream, findings: Iterable[Finding], receiver: Receiver, destination: Destination | None = None
) -> Outcome:
    """The verdict of one receiver, see `outcomes`."""
    return outcomes(stream, findings, (receiver,), destination)[receiver.name]


def _gathered(stream: Stream, findings: Iterable[Finding], destination: Destination) -> Seen:
    """What all receivers need of the findings."""
    first: dict[str, Finding] = {}
    first_sum = None
    for finding in findings:
        if finding.rule not in first and not posted.is_there(finding, destination):
            first[finding.rule] = finding
        if first_sum is None and posted.states_sum(stream, finding):
            first_sum = finding
    return Seen(first, first_sum)


def stop_amid_records(stream: Stream, findings: Iterable[Finding], upto: int | None = None) -> Finding | None:
    """The first finding at which a receiver that reads such streams stops before it has every record of memory.

    That is QEMU of today for streams that have what came since 2012, else the posted patch's default build. ``upto`` is
    the number of the last record that counts. ``findings`` are those of `verify` in order. Those of
    `Found.first_of_each` are enough.
    """
    offsets, table = stream.records.columns.offset, stream.records
    last = None if upto is None else table.row_of(upto)
    if not len(offsets) or (upto is not None and last is None):
        return None
    end = int(offsets[-1 if last is None else last])
    facts, dialect = stream.facts, stream.dialect
    is_today = facts.footers or facts.configuration is not None
    is_today = is_today or (dialect is not None and dialect.loader is Loader.QEMU)
    program = Program.QEMU if is_today else Program.DEFAULT
    for finding in findings:
        if finding.offset is not None and finding.offset > end:
            return None
        if finding.offset is not None and program in RULES[finding.rule].stops:
            return finding
    return None
