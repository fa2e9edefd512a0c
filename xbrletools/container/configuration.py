"""CONFIGURATION: the machine's name and the subsections, those of unknown name included.

Facts: formats/README.md, "The container". CONFIGURATION has no length: an unknown subsection ends where something known
plausibly begins, and that is said.
"""

import struct

from construct import ConstructError, Int32ub

from ..formats import qevm
from ..formats.qevm import SectionType
from ..model import Configuration, ConfigurationSubsection

PREFIX = b"configuration/"
UNKNOWN_MAX = 1 << 16  # bytes of an unknown subsection that a search looks through
_COMMAND = struct.Struct(">BHH")


def read(view: memoryview, base: int) -> Configuration:
    """CONFIGURATION's data at the beginning of ``view``, which lies at offset ``base`` of the capture."""
    if len(view) < Int32ub.sizeof():
        return Configuration(b"", (), base + len(view), cut=True)
    at = Int32ub.sizeof() + int(Int32ub.parse(view[: Int32ub.sizeof()]))
    machine = bytes(view[Int32ub.sizeof() : at])
    if at > len(view):
        return Configuration(machine, (), base + len(view), cut=True)
    found: list[ConfigurationSubsection] = []
    while at < len(view) and view[at] == SectionType.SUBSECTION:
        try:
            header = qevm.SubsectionHeader.parse(view[at : at + 1 + 256 + Int32ub.sizeof()])
        except ConstructError:
            return Configuration(machine, tuple(found), base + len(view), cut=True)
        data = at + len(qevm.SubsectionHeader.build(header))
        value, end = _value(header.idstr, view, data)
        if end is None:
            return Configuration(machine, tuple(found), base + len(view), cut=True)
        found.append(
            ConfigurationSubsection(header.idstr, header.version_id, base + at, base + data, base + end, value)
        )
        at = end
    return Configuration(machine, tuple(found), base + at)


def _value(name: bytes, view: memoryview, at: int) -> tuple[int | tuple[bytes, ...] | bytes | None, int | None]:
    """What the data of the subsection called ``name`` says, and where it ends; None for an end that is not there."""
    grammar = qevm.CONFIGURATION_SUBSECTIONS.get(name)
    if grammar is None:
        return None, _searched(view, at)
    try:
        parsed = grammar.parse(view[at:])
    except ConstructError:
        return None, None
    end = at + len(grammar.build(parsed))
    if "bits" in parsed:
        return int(parsed.bits), end
    if "names" in parsed:
        return tuple(parsed.names), end
    return bytes(parsed.uuid), end


def _searched(view: memoryview, at: int) -> int | None:
    """Where data of unknown form that begins at ``at`` ends: before another subsection, COMMANDs, or a section."""
    for end in range(at, min(len(view), at + UNKNOWN_MAX)):
        if _begins(view, end):
            return end
    return None


def _begins(view: memoryview, at: int) -> bool:
    """Whether a subsection of CONFIGURATION, or COMMANDs and then a START section, can begin at ``at``."""
    if view[at] == SectionType.SUBSECTION:
        return bytes(view[at + 2 : at + 2 + len(PREFIX)]) == PREFIX
    while at + _COMMAND.size <= len(view) and view[at] == SectionType.COMMAND:
        _, number, length = _COMMAND.unpack_from(view, at)
        if number not in set(qevm.Command) or number == qevm.Command.PACKAGED:
            return False
        at += _COMMAND.size + length
    if at >= len(view) or view[at] != SectionType.START:
        return False
    try:
        header = qevm.SectionStart.parse(view[at + 1 : at + 1 + 3 * Int32ub.sizeof() + 256])
    except ConstructError:
        return False
    printable = bool(header.idstr) and all(0x20 < c < 0x7F for c in header.idstr)
    return printable and header.section_id < 1 << 16 and header.instance_id < 1 << 24 and header.version_id < 1 << 16
