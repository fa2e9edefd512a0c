"""What is wrong with the container around RAM: its commands, its subsections, and where a description does not fit."""

from collections.abc import Iterator
from itertools import islice

from construct import ConstructError

from ..container import devices
from ..container.devices import Device
from ..container.fields import UNREAD, Field
from ..errors import XbrleError
from ..formats import qevm
from ..formats.qevm import Command as Number
from ..formats.qevm import SectionType
from ..model import Stream
from ..table.commands import meant, name_of
from ..table.sections import Boundary, Section
from ..text import label, shown
from . import rules
from .rules import Finding, Rule, Severity

DEVICES_MAX = 1 << 10  # device sections whose differences from the description are findings of their own
FIELD_SHOWN = 8  # bytes of a field that a message shows
NAMES_MAX = 8  # devices that a message names
_ADVISE_LENGTHS = (0, qevm.PostcopyAdvise.sizeof())

#: The state of postcopy that a command needs, and the one that it leads to, as receivers check it [Q].
_STATES: dict[int, tuple[frozenset[str], str]] = {
    Number.POSTCOPY_ADVISE: (frozenset({"none"}), "advised"),
    Number.POSTCOPY_RAM_DISCARD: (frozenset({"advised", "discarding"}), "discarding"),
    Number.POSTCOPY_LISTEN: (frozenset({"advised", "discarding"}), "listening"),
    Number.POSTCOPY_RUN: (frozenset({"listening"}), "running"),
}


def container_findings(stream: Stream) -> Iterator[Finding]:
    """The findings about commands, subsections and the VM description, which are not about one record."""
    yield from _commands(stream)
    yield from _configuration(stream)
    yield from _description(stream)


# -- commands ----------------------------------------------------------------------------------------------------------


def _commands(stream: Stream) -> Iterator[Finding]:
    """Commands that receivers refuse: each kind of fault once, at the first place, with the number of places."""
    first: dict[tuple[Rule, int], tuple[int, str]] = {}
    places: dict[tuple[Rule, int], int] = {}
    state, has_path = "none", False
    commands = stream.facts.commands
    for i, (number, length) in enumerate(zip(commands.numbers, commands.lengths, strict=True)):
        number = meant(number, length)
        found = _fault(number, length)
        if found is None and not stream.facts.gaps:
            found = _out_of_order(number, state, has_path)
        if number in _STATES:
            state = _STATES[number][1]
        has_path = has_path or number == Number.OPEN_RETURN_PATH
        if found is not None:
            rule, message = found
            first.setdefault((rule, number), (i, message))
            places[rule, number] = places.get((rule, number), 0) + 1
    for (rule, number), (i, message) in first.items():
        command, count = commands[i], places[rule, number]
        if count > 1:
            message += f"; {count - 1} more of this command are refused for it"
        section = stream.sections.at(command.offset)
        evidence = {"number": number, "length": len(command.data), "count": count}
        yield rule.finding(message, command.offset, section=section, evidence=evidence)


def _fault(number: int, length: int) -> tuple[Rule, str] | None:
    """What is wrong with a command, whatever stands before it."""
    if number not in qevm.COMMAND_LENGTHS:
        return rules.UNKNOWN_COMMAND, f"command {number} with {length:,} bytes of data is not known"
    fixed = qevm.COMMAND_LENGTHS[number]
    name = name_of(number, length)
    if fixed is not None and length != fixed:
        return rules.COMMAND_LENGTH, f"{name} has {length:,} bytes of data, and receivers ask for {fixed}"
    if number == Number.POSTCOPY_ADVISE and length not in _ADVISE_LENGTHS:
        words = " or ".join(map(str, _ADVISE_LENGTHS))
        return rules.COMMAND_LENGTH, f"{name} has {length:,} bytes of data, and receivers ask for {words}"
    return None


def _out_of_order(number: int, state: str, has_path: bool) -> tuple[Rule, str] | None:
    """What is wrong with a command after the ones before it. ``state`` is postcopy's by then."""
    if number == Number.PING and not has_path:
        return rules.COMMAND_ORDER, "ping, and no command opened a return path for the answer"
    if number in _STATES and state not in _STATES[number][0]:
        return rules.COMMAND_ORDER, f"{name_of(number, 0)} comes when postcopy's state is: {state}"
    return None


# -- subsections and the description -----------------------------------------------------------------------------------


def _configuration(stream: Stream) -> Iterator[Finding]:
    """Subsections of CONFIGURATION that receivers do not know, or that come twice."""
    found = stream.facts.configuration
    seen: set[bytes] = set()
    for sub in () if found is None else found.subsections:
        if sub.name not in qevm.CONFIGURATION_SUBSECTIONS:
            message = f"QEMU does not know CONFIGURATION's subsection {shown(sub.name)}; where it ends is likely"
            yield rules.SUBSECTION_PLACE.finding(message, sub.offset, evidence={"name": shown(sub.name)})
        elif sub.name in seen:
            message = f"CONFIGURATION has the subsection {shown(sub.name)} twice"
            yield rules.SUBSECTION_PLACE.finding(message, sub.offset, evidence={"name": shown(sub.name)})
        seen.add(sub.name)


def _description(stream: Stream) -> Iterator[Finding]:
    """What of the VM description cannot be read, and where it does not fit the sections or the pages."""
    place = stream.facts.vmdesc
    if place is None:
        return
    damage = stream.facts.damage
    if damage is not None and damage.rule == rules.TRUNCATED.id and damage.offset >= sum(place):
        return  # the capture ends inside the description, which is what is wrong with it
    section = stream.sections.at(place[0])
    try:
        described = devices.description(stream)
    except XbrleError as error:
        yield rules.BAD_DESCRIPTION.finding(str(error), place[0], section=section)
        return
    if described is not None and described.damage is not None:
        message = f"{described.damage}; {len(described.devices)} devices of it can be read"
        yield rules.BAD_DESCRIPTION.finding(message, place[0], section=section)
    elif not stream.facts.gaps:
        yield from islice(_mismatches(stream), DEVICES_MAX)
    read = stream.page_size
    if described is not None and described.page_size not in (None, read) and stream.records.is_page.any():
        message = f"the VM description says pages of {described.page_size:,} bytes, the records were read with {read:,}"
        evidence = {"described": described.page_size, "read": read}
        yield _contradiction(message, place[0], section, evidence)


def _contradiction(message: str, offset: int, section: int | None, evidence: dict[str, int]) -> Finding:
    """Two places that a sender writes from one number, and that differ: an error, since one of them was changed."""
    rule = rules.DESCRIPTION_MISMATCH
    return Finding(rule.id, Severity.ERROR, message, offset, section=section, evidence=evidence)


def _mismatches(stream: Stream) -> Iterator[Finding]:
    entries = devices.entries(stream)
    unnamed = []
    for section in stream.sections.of_types(SectionType.FULL):
        if section.owner is None or section.found_by is Boundary.CUT:
            continue
        device = entries.get(section.index)
        name = shown(section.owner.idstr)
        if device is None:
            unnamed.append(section)
        else:
            yield from _mismatch(stream, section, device, name)
    yield from _without_entry(stream, unnamed, entries.without_section.tolist())


def _without_entry(stream: Stream, unnamed: list[Section], left: list[int]) -> Iterator[Finding]:
    """Sections that the description does not name, and entries ``left``, whose devices do not have a section.

    As many of each are taken for the same devices under other names.
    """
    described = devices.description(stream)
    if described is not None and len(left) == len(unnamed):
        for section, index in zip(unnamed, left, strict=True):
            assert section.owner is not None
            name, other = shown(section.owner.idstr), shown(described.devices[index].name)
            moved = section.owner.idstr == described.devices[index].name
            rule = rules.DESCRIPTION_MISMATCH if moved else rules.DEVICE_NAME
            message = f"the section is of {name}, where the VM description has {other}"
            instance, at = section.owner.instance_id, described.devices[index].instance_id
            if moved and instance != at:
                message = f"{name}: the section is of instance {instance}, where the VM description has {at}"
            elif moved:
                message = f"{name}: the VM description has it in another place"
            yield rule.finding(message, section.offset, section=section.index)
        return
    for section in unnamed:
        assert section.owner is not None
        name = shown(section.owner.idstr)
        message = f"the VM description does not have an entry for {name}, instance {section.owner.instance_id}"
        yield rules.DESCRIPTION_MISMATCH.finding(message, section.offset, section=section.index)
    if described is not None and left:
        first = [shown(described.devices[i].name) for i in left[:NAMES_MAX]]
        names = ", ".join(first) + (" ..." if len(left) > NAMES_MAX else "")
        devices_of = "a device" if len(left) == 1 else f"{len(left)} devices"
        message = f"the VM description has {devices_of} without a section: {names}"
        yield rules.DEVICE_MISSING.finding(message, stream.facts.vmdesc[0] if stream.facts.vmdesc else None)


def _mismatch(stream: Stream, section: Section, device: Device, name: str) -> Iterator[Finding]:
    """Where a section is not as its entry says: in its version, in its size, or in its subsections."""
    assert section.owner is not None
    version, read = device.entry.get("version"), section.owner.version_id
    if isinstance(version, int) and version != read:  # a device without a VMState does not have a version there
        message = f"{name}: the VM description says version {version}, the section has {read}"
        yield _contradiction(message, section.offset, section.index, {"described_version": version, "version": read})
    size, stated = section.end - section.data, devices.described_size(device)
    if stated == size:
        yield from _misfits(stream, section, device, name)
    if stated is None or (stated == size and not device.entry.get("subsections")):
        return
    data = stream.data[section.data : section.end].tobytes()
    tree = devices.fields(section, data, device)
    unread = None if tree is None else next(_unread(tree), None)
    if unread is not None and (subsection := _subsection_in(unread.raw)) is not None:
        message = f"{name}: the subsection {shown(subsection)} is not where the VM description says"
        where = {"name": shown(subsection)}
        yield rules.SUBSECTION_PLACE.finding(message, unread.offset, section=section.index, evidence=where)
    if stated != size:
        message = f"{name}: the VM description says {stated:,} bytes, the section has {size:,}"
        evidence = {"described": stated, "size": size}
        yield rules.DESCRIPTION_MISMATCH.finding(message, section.data, section=section.index, evidence=evidence)
    elif unread is not None:
        message = f"{name}: {unread.size:,} bytes do not read as the VM description says"
        yield rules.DESCRIPTION_MISMATCH.finding(message, unread.offset, section=section.index)


def _misfits(stream: Stream, section: Section, device: Device, name: str) -> Iterator[Finding]:
    """Fields that hold what their type does not have."""
    data = stream.data[section.data : section.end].tobytes()
    for field, kind, offset, raw in islice(devices.misfits(section, data, device), DEVICES_MAX):
        message = f"{name}: the field {label(field)}, a {label(kind)}, holds {raw[:FIELD_SHOWN].hex(' ')}"
        evidence = {"field": label(field), "type": label(kind), "bytes": raw[:FIELD_SHOWN].hex()}
        yield rules.DEVICE_VALUE.finding(message, offset, section=section.index, evidence=evidence)


def _unread(field: Field) -> Iterator[Field]:
    if field.name == UNREAD:
        yield field
    for child in field.children:
        yield from _unread(child)


def _subsection_in(data: bytes) -> bytes | None:
    """The name of the subsection that ``data`` begins with, if it does."""
    try:
        header = qevm.SubsectionHeader.parse(data[: qevm.SUBSECTION_HEADER_MAX])
    except ConstructError:
        return None
    name = bytes(header.idstr)
    return name if name and all(0x20 < c < 0x7F for c in name) else None
