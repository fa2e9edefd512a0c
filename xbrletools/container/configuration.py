"""CONFIGURATION: the machine's name and the subsections, those of unknown name included.

Facts: formats/README.md, "The container". CONFIGURATION does not state its length. A subsection of unknown name is
taken to end where something known can begin. Its value is then None.
"""

from construct import ConstructError, Int32ub

from ..formats import qevm
from ..formats.qevm import SectionType
from ..model import Configuration, ConfigurationSubsection
from .boundary import is_version

PREFIX = b"configuration/"
UNKNOWN_MAX = 1 << 16  # bytes of an unknown subsection that a search looks through


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
            header = qevm.SubsectionHeader.parse(view[at : at + qevm.SUBSECTION_HEADER_MAX])
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
    """The value of the subsection ``name``, whose data begins at ``at``, and where it ends, or None where it is cut."""
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
    """Whether a subsection of CONFIGURATION, or COMMANDs and then a section with a name, can begin at ``at``."""
    if view[at] == SectionType.SUBSECTION:
        return bytes(view[at + 2 : at + 2 + len(PREFIX)]) == PREFIX
    size = qevm.DataHead.sizeof()
    while at + 1 + size <= len(view) and view[at] == SectionType.COMMAND:
        head = qevm.DataHead.parse(view[at + 1 : at + 1 + size])
        if head.number not in set(qevm.Command) or head.number == qevm.Command.PACKAGED:
            return False
        at += 1 + size + head.length
    if at >= len(view) or view[at] not in (SectionType.START, SectionType.FULL):
        return False
    try:
        header = qevm.SectionStart.parse(view[at + 1 : at + 1 + qevm.SECTION_START_MAX])
    except ConstructError:
        return False
    printable = bool(header.idstr) and all(0x20 < c < 0x7F for c in header.idstr)
    return printable and header.section_id < 1 << 16 and is_version(header.version_id)
