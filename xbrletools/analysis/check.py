"""Whether a stream would load at a destination: the first refusal in QEMU's words, all others, and what to change."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..formats.qevm import SectionType
from ..model import Stream
from ..table.sections import Section
from ..text import shown
from ..verify.checker import found_in
from ..verify.receivers import QEMUS, TODAY, Destination, DeviceState, Outcome, Receiver, outcomes, qemu
from ..verify.receivers import devices as device_layout
from ..verify.receivers.records import LIMITS, RESIZABLE
from .destination import Description, destination


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which the destination is not as the stream needs it.

    ``what`` names it, ``stream`` and ``here`` say what each has, ``refuses`` whether the load fails by it. ``change``
    says what would have to be another way.
    """

    what: str
    stream: str
    here: str
    refuses: bool
    change: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer: the receiver's ``outcome``, and every difference."""

    receiver: Receiver
    outcome: Outcome
    differences: tuple[Difference, ...]

    @property
    def loads(self) -> bool:
        """Whether it loads, and nothing says that it would be refused."""
        return bool(self.outcome.loads) and not any(d.refuses for d in self.differences)


def receiver_of(about: Description) -> Receiver:
    """The receiver of a description's version: the newest that is not newer. Without a version the newest of all."""
    if about.version is None:
        return TODAY
    known = [r for r in QEMUS if r.version <= about.version[:2]]
    return known[-1] if known else QEMUS[0]


def check(stream: Stream, about: Description, receiver: Receiver | None = None) -> Answer:
    """Whether ``stream`` loads at the destination ``about``.

    Raises:
        XbrleError: this is not a migration stream.
    """
    one = receiver or receiver_of(about)
    where = destination(about, stream)
    found = found_in(stream, tuple((where.blocks or {}).items()) or None)
    told = outcomes(stream, found, (one,), where)[one.name]
    untold = _untold(stream, about)
    if told.loads and untold:
        told = replace(told, loads=None, reason=f"the description does not tell {' and '.join(untold)}")
    return Answer(one, told, tuple(_differences(stream, about, where, one)))


def _untold(stream: Stream, about: Description) -> list[str]:
    """What decides as well, and the description does not have."""
    untold = []
    if about.devices is None and any(stream.sections.of_types(SectionType.FULL)):
        beside = "" if about.pci is None else " beside those on PCI, and their versions"
        untold.append(f"what devices the destination has{beside}")
    if about.blocks is None and stream.blocks:
        untold.append("its RAM blocks")
    return untold


def _differences(stream: Stream, about: Description, where: Destination, one: Receiver) -> Iterator[Difference]:
    facts = stream.facts
    own = qemu.machine_of(where.machine, one.version)
    if own is not None and facts.machine is not None and not qemu.same_machine(facts.machine, own):
        here = shown(own)
        yield Difference("machine", shown(facts.machine), here, True, f"start it with -machine {shown(facts.machine)}")
    yield from _capabilities(stream, about)
    yield from _blocks(stream, where)
    yield from _devices(stream, where)


def _capabilities(stream: Stream, about: Description) -> Iterator[Difference]:
    if about.capabilities is None:
        return
    has = {shown(c) for c in stream.facts.capabilities}
    for name in ("x-ignore-shared", "mapped-ram"):
        if (name in has) != (name in about.capabilities):
            there, here = ("on", "off") if name in has else ("off", "on")
            yield Difference(f"capability {name}", there, here, True, f"switch the capability {there} there")


def _blocks(stream: Stream, where: Destination) -> Iterator[Difference]:
    if where.blocks is None:
        return
    listed = {b.name: b.length for b in stream.blocks if b.declared}
    for name, length in listed.items():
        what, own = f"RAM block {shown(name)}", where.blocks.get(name)
        if own is None:
            yield Difference(what, f"{length:#x} bytes", "absent", True, "add the memory or the device of it")
        elif own != length and name.startswith(RESIZABLE):
            fits = length <= LIMITS.get(name, length)
            yield Difference(what, f"{length:#x} bytes", f"{own:#x} bytes", not fits, "nothing: it is resized")
        elif own != length:
            yield Difference(what, f"{length:#x} bytes", f"{own:#x} bytes", True, f"give it {length:#x} bytes there")
    for name in where.blocks.keys() - listed.keys():
        here = f"{where.blocks[name]:#x} bytes"
        yield Difference(f"RAM block {shown(name)}", "absent", here, False, "nothing: it stays as it is")


def _devices(stream: Stream, where: Destination) -> Iterator[Difference]:
    """Sections that the destination does not have, or has in another version or form."""
    if where.devices is None:
        return
    have = {(d.name, d.instance): d for d in where.devices}
    seen = set()
    for section in stream.sections.of_types(SectionType.FULL):
        owner = section.owner
        if owner is None:
            continue
        seen.add((owner.idstr, owner.instance_id))
        state = have.get((owner.idstr, owner.instance_id))
        what = f"device {shown(owner.idstr)}, instance {owner.instance_id}"
        if state is None:
            yield Difference(what, "present", "absent", True, "add the device, at the same place")
        else:
            yield from _state(stream, section, owner.version_id, state, what)
    for name, instance in sorted(have.keys() - seen):
        what = f"device {shown(name)}, instance {instance}"
        yield Difference(what, "absent", "present", False, "nothing: it keeps its state after reset")


def _state(stream: Stream, section: Section, version: int, state: DeviceState, what: str) -> Iterator[Difference]:
    """How a device's section is not as the destination's own."""
    if version > state.version:
        change = "use a newer QEMU there, or an older machine at the source"
        yield Difference(what, f"version {version}", f"version {state.version} at most", True, change)
    elif state.minimum is not None and version < state.minimum:
        yield Difference(what, f"version {version}", f"version {state.minimum} at least", True, "use an older QEMU")
    sent = device_layout.entry_of(stream, section)
    if sent is None:
        return
    read = device_layout.by_destination(sent, state)
    end = None if read is None else device_layout.end_of(stream, read, section.data, state.subsections)
    if end is not None and end.unknown is not None and not end.is_older:
        change = "switch off at the source what writes it, or use a newer QEMU there"
        is_known = end.newest is not None
        sent_as, own = (f" {end.version}", f"version {end.newest} at most") if is_known else ("", "not known")
        yield Difference(what, f"subsection {shown(end.unknown)}{sent_as}", own, True, change)
    elif read is not sent:
        refuses = end is not None and end.at != section.end
        change = "set the device up as it is at the source, or use the same version of QEMU" if refuses else "nothing"
        yield Difference(what, "its fields", "other fields, or arrays of another length", refuses, change)
