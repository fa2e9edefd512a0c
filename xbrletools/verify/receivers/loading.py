"""QEMU's loader, one step at a time: the file header, CONFIGURATION, a section's header and footer.

How each version words its refusals was seen on QEMU 7.2.22, 8.2.2, 10.0.13 and 11.1.3 [C]; 9.2 is in between [Q].
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from construct import Int32ub

from ...formats import block as block_format
from ...formats import qevm, ram
from ...formats.qevm import SectionType
from ...model import Stream
from .devices import Known
from .tape import Tape, c_string
from .values import Destination
from .words import CHAINED, Fault, Version, cut, legacy, printed, refused

#: Capabilities that both ends must agree on, as CONFIGURATION lists them, with the version that brought each [Q].
VALIDATED: dict[str, Version] = {"x-ignore-shared": (4, 0), "mapped-ram": (9, 0)}
NO_BLOCK_MIGRATION: Version = (9, 1)  # from here on there is no section `block`
#: Capabilities that some version does not know: the first one that does, and the first that does not any more.
CAPABILITY_VERSIONS: dict[str, tuple[Version, Version]] = {
    "mapped-ram": ((9, 0), (99,)),
    "dirty-limit": ((8, 1), (99,)),
    "switchover-ack": ((8, 1), (99,)),
    "zero-copy-send": ((7, 1), (99,)),
    "compress": ((2, 4), (9, 1)),
    "block": ((2, 8), (9, 1)),
    "zero-blocks": ((2, 4), (11, 0)),
}
#: Every capability that some version knows [Q].
CAPABILITIES = frozenset(
    (
        *("xbzrle", "rdma-pin-all", "auto-converge", "events", "postcopy-ram", "x-colo", "release-ram", "return-path"),
        *("pause-before-switchover", "multifd", "dirty-bitmaps", "postcopy-blocktime", "late-block-activate"),
        *("x-ignore-shared", "validate-uuid", "background-snapshot", "postcopy-preempt"),
        *CAPABILITY_VERSIONS,
    )
)


@dataclass(slots=True)
class Loading:
    """One load of ``stream`` by QEMU ``version``, at ``destination``. It remembers what later steps depend on.

    ``block`` is the RAM block that CONTINUE means, ``lengths`` the length of each block that the destination has, by
    name. ``loaded`` has the version and the name of each section by its id. ``previous`` is the last block name that
    was read: a cut name is printed over it before 9.0. ``is_over``: the rest was read to its end already. ``unlike``
    are names and instances that stand over several sections which are not the same. ``renamed``: here sections begin
    that were read as RAM, though they are called otherwise.
    """

    stream: Stream
    version: Version
    destination: Destination
    known: Known
    block: bytes | None = None
    previous: bytes = b""
    lengths: dict[bytes, int] = field(default_factory=dict)
    listed: bool = False
    loaded: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    needs: set[str] = field(default_factory=set)
    is_over: bool = False
    unlike: frozenset[tuple[bytes, int]] = frozenset()
    renamed: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.lengths.update(self.destination.blocks or {})

    @property
    def footers(self) -> bool:
        """Whether the destination asks for footers: it is set up as a stream of old machine types needs it."""
        return self.stream.facts.footers is not False

    def either(self, old: str, new: str) -> str:
        """What this version says: ``new`` from `CHAINED` on."""
        return old if self.version < CHAINED else new

    def has(self, capability: str) -> bool:
        """Whether a capability is switched on."""
        return capability in self.destination.capabilities

    def knows(self, capability: str) -> bool:
        """Whether this version has a capability of this name."""
        since, until = CAPABILITY_VERSIONS.get(capability, ((0,), (99,)))
        return capability in CAPABILITIES and since <= self.version < until


# -- the head ----------------------------------------------------------------------------------------------------------


def header(on: Loading, tape: Tape) -> Fault | None:
    """The file header, and CONFIGURATION where the destination asks for it."""
    magic, version = tape.number(Int32ub), tape.number(Int32ub)
    if magic != qevm.MAGIC:
        return refused(
            on.either("Not a migration stream", f"Not a migration stream, magic: {magic:x} != {qevm.MAGIC:x}")
        )
    if version == qevm.VERSION_OBSOLETE:
        last = on.either("don't work anymore", "no longer supported")
        return refused(f"SaveVM v2 format is obsolete and {last}", number=errno.ENOTSUP)
    if version != qevm.VERSION:
        message = "Unsupported migration stream version"
        return refused(
            on.either(message, f"{message}, file version {version:x} != {qevm.VERSION:x}"), number=errno.ENOTSUP
        )
    facts = on.stream.facts
    if facts.configuration is None and not facts.footers and on.destination.machine is None and not _short(on, tape):
        return None
    kind = tape.number()
    if kind != SectionType.CONFIGURATION:
        message = "Configuration section missing"
        return refused(on.either(message, f"{message}, {kind:x} != {int(SectionType.CONFIGURATION):x}"))
    return configuration(on, tape)


def _short(on: Loading, tape: Tape) -> bool:
    """Whether so little is there that nothing shows of what age the stream is."""
    return tape.at >= tape.end and on.stream.facts.footers is None


def configuration(on: Loading, tape: Tape) -> Fault | None:
    """The machine's name, the subsections, and whether the destination agrees."""
    length = tape.number(Int32ub)
    if tape.ended:
        return _unread(on, "configuration", "len")
    machine = tape.take(length)
    if tape.ended:
        return _unread(on, "configuration", "name")
    names: list[str] = []
    bits = ram.PAGE_SIZE.bit_length() - 1
    while tape.peek() == SectionType.SUBSECTION:
        start = tape.at
        tape.number()
        name = tape.name()
        if len(name) <= len(b"configuration") or not name.startswith(b"configuration"):
            tape.at = start
            break
        fault, value = _subsection(on, tape, name)
        if fault is not None:
            return fault
        if isinstance(value, int):
            bits = value
        elif isinstance(value, list):
            names = value
    return _agreed(on, machine, bits, names)


def _subsection(on: Loading, tape: Tape, name: bytes) -> tuple[Fault | None, int | list[str] | None]:
    """One subsection of CONFIGURATION: why it is refused, or its value."""
    where = f"Loading VM subsection '{c_string(name)}' in 'configuration' failed"
    if name not in qevm.CONFIGURATION_SUBSECTIONS:
        gone = f"VM subsection '{c_string(name)}' in 'configuration' does not exist"
        if on.version < CHAINED:
            return Fault(errno.ENOENT), None
        return refused(gone), None
    version = tape.number(Int32ub)
    if version != 1:
        wrong = versions(on, c_string(name), version, 1, 1)
        return (wrong if on.version < CHAINED else wrong.inside(on.version, where)), None
    if name.endswith(b"bits"):
        return None, tape.number(Int32ub)
    if name.endswith(b"uuid"):
        return _uuid(on, tape.take(qevm.Uuid.sizeof()), where), None
    names = []
    for _ in range(tape.number(Int32ub)):
        raw = c_string(tape.name())
        if not on.knows(raw):
            fault = refused(f"Received unknown capability {raw}")
            level = on.either("Failed to load configuration/capabilities:capabilities", where)
            return fault.inside(on.version, level), None
        names.append(raw)
    return None, names


def _uuid(on: Loading, found: bytes, where: str) -> Fault | None:
    own = on.destination.uuid
    if own is None or own == found:
        return None
    fault = refused(f"UUID received is {UUID(bytes=found)} and local is {UUID(bytes=own)}")
    hook = "post load hook failed for: configuration/uuid, version_id: 1, minimum_version: 1"
    return fault if on.version < CHAINED else fault.inside(on.version, hook).inside(on.version, where)


def versions(on: Loading, name: str, version: int, newest: int, oldest: int) -> Fault:
    """A version that is too new or too old."""
    if signed(version) > newest:
        return refused(f"{name}: incoming version_id {signed(version)} is too new for local version_id {newest}")
    gap = on.either("  ", " ")
    return refused(
        f"{name}: incoming version_id {signed(version)} is too old for local minimum version_id{gap}{oldest}"
    )


def same_machine(found: bytes, own: bytes) -> bool:
    """Whether QEMU takes a machine's name for its own: it compares no more than the length that the stream states."""
    return (found.partition(b"\0")[0] + b"\0")[: len(found)] == (own + b"\0")[: len(found)]


def _agreed(on: Loading, machine: bytes, bits: int, names: list[str]) -> Fault | None:
    """What QEMU checks after it has read CONFIGURATION."""
    hook = "post load hook failed for: configuration, version_id: 1, minimum_version: 0"
    own = on.destination.machine
    fault = None
    page_bits = on.stream.page_size.bit_length() - 1
    if own is not None and not same_machine(machine, own):
        fault = refused(f"Machine type received is '{c_string(machine)}' and local is '{c_string(own)}'")
    elif bits != page_bits and bits != ram.PAGE_SIZE.bit_length() - 1:
        fault = refused(f"Received TARGET_PAGE_BITS is {bits} but local is {page_bits}")
    if fault is not None:
        return fault if on.version < CHAINED else fault.inside(on.version, hook)
    lines = []
    for name in (n for n, since in VALIDATED.items() if since <= on.version):
        if on.has(name) != (name in names):
            words = ("on", "off") if on.has(name) else ("off", "on")
            lines.append(f"Capability {name} is {words[0]}, but received capability is {words[1]}")
            on.needs.update({name} & set(names))
    if not lines:
        return None
    return Fault(errno.EINVAL, tuple(lines), on.either("", f"{hook}: Failed to validate capabilities"))


def _unread(on: Loading, name: str, part: str) -> Fault:
    """A field that the stream ends in."""
    if on.version < CHAINED:
        return Fault(errno.EIO, (f"Failed to load {name}:{part}",))
    return refused(f"Failed to load {name} state: stream error: -{errno.EIO}")


# -- sections ----------------------------------------------------------------------------------------------------------


def signed(number: int) -> int:
    """A be32 as C's %d prints it."""
    return number - (1 << 32) if number >> 31 else number


def begin(on: Loading, tape: Tape) -> Fault | tuple[int, bytes, int, int]:
    """The header of a START or FULL: its id, name, instance and version, or why it is refused."""
    is_ram = tape.at - 1 in on.renamed
    section_id = tape.number(Int32ub)
    name = tape.counted()
    if name is None:
        return refused(f"Unable to read ID string for section {section_id}")
    name = name.partition(b"\0")[0]  # to QEMU it is a string of C [Q]
    instance, version = tape.number(Int32ub), tape.number(Int32ub)
    if tape.ended:
        message = f"Failed to read instance/version ID: -{errno.EIO}"
        return refused(on.either(f"qemu_loadvm_section_start_full: {message}", message), number=errno.EIO)
    newest = None if is_ram else newest_of(on, name, instance)
    if newest is None:
        unknown = on.either("Unknown savevm section", "Unknown section")
        return refused(
            f"{unknown} or instance '{c_string(name)}' {instance}. Make sure that your current VM setup matches your "
            "saved VM setup, including any hotplugged devices"
        )
    if version > newest:
        message = f"unsupported version {signed(version)} for '{c_string(name)}' v{newest}"
        return refused(on.either(f"savevm: {message}", message))
    if name == ram.IDSTR:  # asked first: there can be hundreds of thousands of other sections
        for other in [i for i, (loaded, _) in on.loaded.items() if loaded == name]:
            del on.loaded[other]
    on.loaded[section_id] = name, version
    return section_id, name, instance, version


def newest_of(on: Loading, name: bytes, instance: int) -> int | None:
    """The newest version of a section that the destination loads, or None where it has no such section."""
    live: Mapping[bytes, int] = {ram.IDSTR: ram.VERSION_NAMED, b"dirty-bitmap": 1}
    if on.version < NO_BLOCK_MIGRATION:
        live = {**live, block_format.IDSTR: block_format.VERSION}
    if name in live:
        return live[name] if instance == 0 else None
    if name == block_format.IDSTR:
        return None
    return on.known.newest(name, instance)


def footer(on: Loading, tape: Tape, section_id: int, name: bytes) -> Fault | None:
    """The footer after a section's data."""
    if not on.footers:
        return None
    mark = tape.number()
    what = ""
    if tape.ended:
        what = f"check_section_footer: Read section footer failed: -{errno.EIO}"
    elif mark != SectionType.FOOTER:
        what = f"Missing section footer for {c_string(name)}"
    else:
        found = tape.number(Int32ub)
        if found != section_id:
            what = f"Mismatched section id in footer for {c_string(name)} - read {found:#x} expected {section_id:#x}"
    if not what:
        return None
    fault = printed(what)
    return (
        fault
        if on.version < CHAINED
        else fault.inside(on.version, f"Section footer error, section_id: {signed(section_id)}")
    )


def part_id(on: Loading, tape: Tape) -> Fault | tuple[int, bytes, int]:
    """The header of a PART or END: its id, and the name and version of the section, or why it is refused."""
    section_id = tape.number(Int32ub)
    if tape.ended:
        message = f"Failed to read section ID: -{errno.EIO}"
        return refused(on.either(f"qemu_loadvm_section_part_end: {message}", message), number=errno.EIO)
    found = on.loaded.get(section_id)
    if found is None and section_id == 0:  # sections that did not come yet have this id, and the first one is taken
        first, oldest = (b"timer", 1) if on.version < CHAINED else (b"apic", 3)
        fault = versions(on, c_string(first), 0, oldest, oldest)
        return fault.inside(
            on.version, f"error while loading state section id 0({c_string(first)})" if on.version < CHAINED else ""
        )
    if found is None:
        return refused(f"{on.either('Unknown savevm section', 'Unknown section')} {signed(section_id)}")
    return section_id, *found


def within(on: Loading, fault: Fault, section_id: int, name: bytes, version: int, instance: int | None) -> Fault:
    """A fault in a section's data, as the section passes it on. ``instance`` is None in PART and END."""
    inner = legacy(version, fault.number)
    if instance is not None:
        level = f"error while loading state for instance {instance:#x} of device '{c_string(name)}'"
        return fault.inside(on.version, level, inner)
    level = on.either(f"error while loading state section id {signed(section_id)}({c_string(name)})", "")
    return fault.inside(on.version, level, inner)


def section_type(on: Loading, kind: int) -> Fault:
    """A byte that no section begins with."""
    return refused(f"{on.either('Unknown savevm section type', 'Unknown section type')} {kind}")


def ended(on: Loading, at: int) -> Fault:
    """The stream ends where a section could begin."""
    found = cut(on.version)
    return Fault(found.number, found.lines, found.message, at)
