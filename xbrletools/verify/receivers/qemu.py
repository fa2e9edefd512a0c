"""QEMU as a receiver: where a version stops in a stream, and what it prints.

What the scan read is taken as QEMU reads it, up to the first place that some version may refuse. There, and where the
scan itself stopped, the bytes are read once more as that version reads them (`loading`, `records`, `commands`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from heapq import merge
from itertools import islice

import numpy as np

from ...formats.qevm import Command, SectionType
from ...formats.ram import IDSTR
from ...model import Problem, Stream
from ...table.sections import Boundary, Section
from .. import rules
from . import devices, loading, packets
from .commands import LISTENING, RUNNING, Path, command
from .loading import Loading
from .loading import same_machine as same_machine
from .onward import Live, block_before, instance_of, last_row, read_on, read_record
from .records import FLUSH, HOOK_PASSES, NO_COMPRESS, ZERO_ONLY
from .suspects import Suspicion, block_lists, suspects
from .tape import Tape
from .values import Destination, Outcome, Receiver, Seen
from .words import Fault, Version, cut


@dataclass(frozen=True, slots=True)
class Step:
    """A place to look at again: ``look`` gives why the load ends there, or None."""

    offset: int
    look: Callable[[], Fault | None]
    record: int | None = None


def receiver(*version: int) -> Receiver:
    """QEMU of this version."""
    name = ".".join(map(str, version))
    return Receiver(f"qemu-{name}", f"QEMU {name}", partial(judged, version=version), version)


#: The machine names that stand for a version's newest machine.
_ALIASES = {b"pc": b"pc-i440fx-", b"q35": b"pc-q35-", b"virt": b"virt-", b"pseries": b"pseries-"}


def machine_of(name: bytes | None, version: Version) -> bytes | None:
    """The full name of a machine, which can be given by its alias."""
    alias = _ALIASES.get(name or b"")
    return name if alias is None else alias + ".".join(map(str, version)).encode()


def judged(stream: Stream, seen: Seen, destination: Destination, version: Version) -> Outcome | None:
    """Where QEMU ``version`` stops, or None if it loads the stream to its end."""
    destination = replace(destination, machine=machine_of(destination.machine, version))
    on = Loading(stream, version, destination, devices.known(stream, destination.devices))
    path = Path()
    complaint: Outcome | None = None
    for step in _steps(on, path, seen):
        fault = step.look()
        if fault is None and on.is_over:
            break
        if fault is None:
            continue
        outcome = _outcome(on, step, fault)
        if not fault.complains:
            return replace(outcome, said=(*complaint.said, *outcome.said)) if complaint else outcome
        complaint = replace(complaint, said=complaint.said + outcome.said) if complaint else outcome
    if on.has("mapped-ram"):
        return _of_other_pages(stream) or complaint
    if stream.packets is None:
        missing = seen.first.get(rules.CHANNEL_MISSING.id) if on.has("multifd") else None
        if complaint is not None or missing is None:
            return complaint
        return Outcome(None, reason=f"QEMU may wait for what does not come: {missing.message}")
    told = packets.judged(on, seen)
    if on.has("multifd"):
        return told or complaint
    return complaint or told or Outcome(True, needs=("multifd",))  # what takes the channels has multifd switched on


def _of_other_pages(stream: Stream) -> Outcome | None:
    """What can be said where a bitmap or pages are not where the sender put them, None where they are.

    QEMU takes other pages then. It goes on unless a device looks for something in memory, as `kvm-tpr-opt` does [C].
    """
    problem = next((p for p in stream.facts.problems if p.rule == rules.MAPPED_LAYOUT.id), None)
    if problem is None:
        return None
    return Outcome(None, problem.offset, reason="it takes other pages than the sender wrote, which devices may refuse")


def _outcome(on: Loading, step: Step, fault: Fault) -> Outcome:
    said = fault.said(on.version)
    return Outcome(
        loads=None if fault.where_unknown else False,
        offset=fault.at or step.offset,
        record=step.record,
        reason=said[0] if said else "its own devices decide how they read what stands there",
        said=said,
        goes_on=fault.complains,
        needs=tuple(sorted(on.needs)),
    )


def _steps(on: Loading, path: Path, seen: Seen) -> Iterator[Step]:
    """All places to look at, in the order of the stream."""
    stream = on.stream
    yield Step(stream.facts.start, lambda: _head(on, path))
    stop = _stop(stream)
    parts = (_devices(on), _commands(on, path), _rows(on, seen), _problems(on, path, stop), _end(on, path))
    yield from merge(*parts, key=lambda step: step.offset)


def _head(on: Loading, path: Path) -> Fault | None:
    """The file header and CONFIGURATION. Where QEMU sees that end elsewhere than the scan, all that follows is read."""
    tape = Tape(on.stream, on.stream.facts.start)
    fault = loading.header(on, tape)
    found = on.stream.facts.configuration
    if fault is None and found is not None and tape.at != found.end:
        on.is_over = True
        return read_on(on, path, tape, None)
    return fault


# -- sections ----------------------------------------------------------------------------------------------------------


def _devices(on: Loading) -> Iterator[Step]:
    """START and FULL sections: whether they are known, and where a device's data ends. And a second CONFIGURATION."""
    stream, steps, ids = on.stream, [], dict[bytes, int]()
    on.unlike = _unlike(stream)
    on.renamed = frozenset(p.offset for p in stream.facts.problems if p.rule == rules.UNKNOWN_OWNER.id)
    for section in stream.sections.of_types(SectionType.START, SectionType.FULL):
        owner = section.owner
        if owner is None:
            continue
        before = ids.setdefault(owner.idstr, owner.section_id)
        if section.type is SectionType.START and before != owner.section_id:  # its old id is forgotten
            ids[owner.idstr] = owner.section_id
            steps += _with_id(on, before, section.offset)
        steps.append(Step(section.offset, partial(_opened, on, section)))
    for section in islice(stream.sections.of_types(SectionType.CONFIGURATION), 1, 2):
        steps.append(Step(section.offset, lambda: loading.section_type(on, SectionType.CONFIGURATION)))
    yield from sorted(steps, key=lambda step: step.offset)


def _unlike(stream: Stream) -> frozenset[tuple[bytes, int]]:
    """The names and instances under which several sections stand whose data differ: one bears another's name."""
    first: dict[tuple[bytes, int], Section] = {}
    unlike = set[tuple[bytes, int]]()
    for section in stream.sections.of_types(SectionType.FULL):
        if section.owner is not None:
            key = section.owner.idstr, section.owner.instance_id
            one = first.setdefault(key, section)
            if one is not section and not np.array_equal(
                stream.data[one.data : one.end], stream.data[section.data : section.end]
            ):
                unlike.add(key)
    return frozenset(unlike)


def _with_id(on: Loading, section_id: int, after: int) -> list[Step]:
    """The first PART or END after an offset that has this id."""
    for section in on.stream.sections.of_types(SectionType.PART, SectionType.END):
        if section.offset > after and section.owner is not None and section.owner.section_id == section_id:
            problem = Problem(rules.UNKNOWN_SECTION.id, section.offset, "")
            return [Step(section.offset, partial(_problem, on, problem))]
    return []


def _opened(on: Loading, section: Section) -> Fault | None:
    tape = Tape(on.stream, section.offset + 1)
    found = loading.begin(on, tape)
    if isinstance(found, Fault):
        return found
    section_id, name, instance, version = found
    if section.type is SectionType.FULL and name != IDSTR:
        return _device(on, section, section_id, name, instance, version)
    if name == IDSTR and version != 4:
        return loading.within(on, Fault(22), section_id, name, version, instance)
    return None


def _device(on: Loading, section: Section, section_id: int, name: bytes, instance: int, version: int) -> Fault | None:
    """Whether a device's data ends where the destination's fields end."""
    state = on.known.find(name, instance)
    entry = devices.entry_of(on.stream, section)
    if state is None or entry is None:
        return None
    if state.minimum is not None and version < state.minimum:
        fault = loading.versions(on, name.decode("utf-8", "replace"), version, state.version, state.minimum)
        return loading.within(on, fault, section_id, name, version, instance)
    if version < state.version and state.own:
        return Fault(0, where_unknown=True)  # the sender's own description has another version than its section
    if version < state.version and state.entry is not None:
        return None  # older fields, which the description does not have
    read = devices.by_destination(entry, state)
    if read is None:
        return Fault(0, where_unknown=True)
    end = devices.end_of(on.stream, read, section.data, state.subsections)
    if end is None or section.found_by is Boundary.CUT:
        return None
    if end.is_older:
        return Fault(0, where_unknown=True)
    if end.unknown is not None:
        fault = devices.unknown_subsection(on.version, end)
        return loading.within(on, fault, section_id, name, version, instance)
    fault_after = loading.footer(on, Tape(on.stream, end.at), section_id, name)
    if (name, instance) in on.unlike:  # its own code may refuse what it reads before it comes to the footer
        return Fault(0, where_unknown=True) if fault_after is None else replace(fault_after, at=end.at, unworded=True)
    return None if fault_after is None else replace(fault_after, at=end.at)


# -- commands ----------------------------------------------------------------------------------------------------------


def _commands(on: Loading, path: Path) -> Iterator[Step]:
    packages: list[tuple[int, int]] = []
    for one in on.stream.facts.commands:
        yield Step(one.offset, partial(_command, on, path, one.offset))
        if one.number == Command.PACKAGED and one.package is not None:
            packages.append(one.package)
    for _, end in packages:  # a package must run the guest: nothing ends it else
        yield Step(end, lambda: None if path.state == RUNNING else cut(on.version))


def _command(on: Loading, path: Path, offset: int) -> Fault | None:
    fault = command(on, path, Tape(on.stream, offset + 1))
    if fault is None and path.state == LISTENING and on.stream.facts.commands.package_of(offset) is None:
        return Fault(0, where_unknown=True)  # two threads read the stream from here on
    return fault


# -- records -----------------------------------------------------------------------------------------------------------


def _rows(on: Loading, seen: Seen) -> Iterator[Step]:
    """Records that this version may refuse, and block lists."""
    stream, version = on.stream, on.version
    if stream.facts.mapped_ram:  # its pages have no records
        for row in block_lists(stream)[:1]:
            offset = int(stream.records.columns.offset[row])
            yield Step(offset, partial(_row, on, row, offset))
        return
    blocks = on.destination.blocks
    found = dict(suspects(stream, None if blocks is None else tuple(sorted(blocks.items()))))
    if version >= HOOK_PASSES:
        found.pop(Suspicion.HOOK, None)
    if version >= FLUSH:
        found.pop(Suspicion.FLUSH, None)
    if version < ZERO_ONLY:
        found.pop(Suspicion.FILL, None)
    if version < NO_COMPRESS and on.has("compress"):
        found.pop(Suspicion.COMPRESSED, None)
    rows = set(found.values()) | set(block_lists(stream))
    undecoded = seen.first.get(rules.DELTA_SIZE.id)
    if undecoded is not None and undecoded.record is not None:
        rows.add(stream.records.row(undecoded.record))
    for row in sorted(rows):
        offset = int(stream.records.columns.offset[row])
        number = int(stream.records.numbers.of(np.array([row]))[0]) or None
        yield Step(offset, partial(_row, on, row, offset), number)


def _row(on: Loading, row: int, offset: int) -> Fault | None:
    """Read one record as QEMU does, and what comes after it where its end is not the scan's."""
    stream = on.stream
    on.block = on_block = block_before(stream, row)
    on.previous = on_block or b""
    tape = Tape(stream, offset)
    section = stream.sections[stream.sections.at(offset)]
    owner = section.owner
    if owner is None:
        return None
    live = Live(owner.section_id, owner.idstr, owner.version_id, instance_of(section))
    found = read_record(on, tape, live)
    if isinstance(found, Fault):
        return found
    if tape.at == int(stream.records.columns.end(slice(row, row + 1))[0]):
        return None
    on.is_over = True
    return read_on(on, Path(), tape, live, ended=found)


# -- where the scan stopped, and the end -------------------------------------------------------------------------------


def _stop(stream: Stream) -> int | None:
    """The offset at which the scan met damage that it could not read over, or None. After EOF nothing stops a load."""
    if stream.facts.complete and not stream.facts.gaps:
        return None
    damage = stream.facts.damage
    offsets = [g.start for g in stream.facts.gaps] + ([damage.offset] if damage is not None else [])
    return min(offsets, default=None)


def _problems(on: Loading, path: Path, stop: int | None) -> Iterator[Step]:
    """What the scan met and read over, and then the place where it stopped."""
    stream = on.stream
    steps = [Step(p.offset, partial(_problem, on, p)) for p in stream.facts.problems if p.rule in _READ_OVER]
    if stop is not None:
        steps.append(_resumed(on, path, stop))
    yield from sorted(steps, key=lambda step: step.offset)


_READ_OVER = (rules.UNKNOWN_SECTION.id, rules.BAD_FOOTER.id)


def _problem(on: Loading, problem: Problem) -> Fault | None:
    """Look at a place that the scan has read over."""
    tape = Tape(on.stream, problem.offset)
    if problem.rule == rules.UNKNOWN_SECTION.id:
        tape.number()
        found = loading.part_id(on, tape)
        return found if isinstance(found, Fault) else None
    section = on.stream.sections[on.stream.sections.at(problem.offset - 1)]
    if section.owner is None:
        return None
    return loading.footer(on, tape, section.owner.section_id, section.owner.idstr)


def _resumed(on: Loading, path: Path, stop: int) -> Step:
    """Read on from the last place before ``stop`` where the scan was sure."""
    stream = on.stream
    index = stream.sections.at(max(stop - 1, 0))
    section = stream.sections[index] if index >= 0 else None
    if section is None:
        return Step(stop, lambda: None)  # in the file header or in CONFIGURATION, which was looked at
    owner = section.owner
    if section.found_by is not Boundary.CUT:
        closed = None if owner is None else Live(owner.section_id, owner.idstr, owner.version_id, None)
        return Step(section.end, lambda: read_on(on, path, Tape(stream, section.end), closed, ended=True))
    if owner is None or owner.idstr != IDSTR or section.type is SectionType.FULL:
        return Step(section.offset, lambda: read_on(on, path, Tape(stream, section.offset), None))
    live = Live(owner.section_id, owner.idstr, owner.version_id, instance_of(section))
    row = last_row(stream, section)
    if row is None:
        return Step(section.data, lambda: _from(on, path, live, section.data, len(stream.records)))
    offset = int(stream.records.columns.offset[row])
    return Step(offset, lambda: _from(on, path, live, offset, row))


def _from(on: Loading, path: Path, live: Live, offset: int, row: int) -> Fault | None:
    on.block = block_before(on.stream, row)
    on.previous = on.block or b""
    return read_on(on, path, Tape(on.stream, offset), live)


def _end(on: Loading, path: Path) -> Iterator[Step]:
    """After the container's EOF QEMU asks for the VM description. It complains where there is none, and goes on.

    Devices of a stream that is older than footers can have any fields.
    """
    facts = on.stream.facts
    if facts.device_tail is not None:
        yield Step(facts.device_tail[0], lambda: Fault(0, where_unknown=True))
    if facts.complete and facts.configuration is not None:
        eof = next(on.stream.sections.of_types(SectionType.EOF), None)
        if eof is not None:
            yield Step(eof.end, lambda: _described(path, Tape(on.stream, eof.end)))


def _described(path: Path, tape: Tape) -> Fault | None:
    if path.state in (LISTENING, RUNNING):
        return None
    kind = tape.number()
    if kind == SectionType.VMDESCRIPTION:
        return None
    return Fault(0, (f"Expected vmdescription section, but got {kind}",), complains=True)
