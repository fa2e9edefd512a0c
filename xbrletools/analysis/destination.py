"""What a destination has: its version, machine, RAM blocks, devices and capabilities. Kept as JSON, docs/check.md.

A description comes from a running QEMU (`net.qmp`), from a capture of a guest that is set up the same way, or from
what ``qemu -dump-vmstate FILE`` writes. Each says only a part. What is None is not known.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..container import devices
from ..errors import XbrleError
from ..model import Stream
from ..text import bytes_of
from ..verify.receivers import Destination, DeviceState

FORMAT = 1
DEVICES_MAX = 1 << 13  # of a description that counts; a guest has some hundreds
TYPE = "destination"
_DUMP_KEY = "vmschkmachine"  # what -dump-vmstate begins with


@dataclass(frozen=True, slots=True)
class StateType:
    """A kind of device state that a program knows, by -dump-vmstate: its versions and its subsections' names."""

    version: int
    minimum: int
    subsections: frozenset[str]


@dataclass(frozen=True, slots=True)
class Description:
    """A destination, as far as it is known.

    ``sources`` say where it comes from. ``version`` is the program's. ``blocks`` has the length in bytes of each RAM
    block by its name. ``cpu`` is the CPUs' type and ``cpus`` their number. ``pci`` are the addresses of PCI devices, as
    sections are named after them. ``devices`` are the sections that it would write itself, and ``types`` the kinds of
    device state that its program knows, by their names. ``backends`` are memory backends, by their names.
    """

    sources: tuple[str, ...] = ()
    version: tuple[int, ...] | None = None
    machine: str | None = None
    cpu: str | None = None
    cpus: int | None = None
    uuid: str | None = None
    blocks: Mapping[str, int] | None = None
    backends: Mapping[str, int] | None = None
    capabilities: frozenset[str] | None = None
    pci: frozenset[str] | None = None
    devices: tuple[Mapping[str, Any], ...] | None = None
    types: Mapping[str, StateType] | None = field(default=None, compare=False)

    def as_object(self) -> dict[str, Any]:
        """The description as JSON has it."""
        types = self.types
        return {
            "type": TYPE,
            "format": FORMAT,
            "sources": list(self.sources),
            "version": None if self.version is None else ".".join(map(str, self.version)),
            "machine": self.machine,
            "cpu": self.cpu,
            "cpus": self.cpus,
            "uuid": self.uuid,
            "blocks": _listed(self.blocks),
            "backends": _listed(self.backends),
            "capabilities": None if self.capabilities is None else sorted(self.capabilities),
            "pci": None if self.pci is None else sorted(self.pci),
            "devices": None if self.devices is None else [dict(d) for d in self.devices],
            "types": None if types is None else {name: _type_object(t) for name, t in types.items()},
        }

    def with_more(self, other: "Description") -> "Description":
        """Both together. What this one knows counts."""
        names = ("version", "machine", "cpu", "cpus", "uuid", "blocks", "backends", "capabilities", "pci", "devices")
        gained = {n: getattr(other, n) for n in (*names, "types") if getattr(self, n) is None}
        return replace(self, sources=(*self.sources, *other.sources), **gained)


def _listed(lengths: Mapping[str, int] | None) -> list[dict[str, Any]] | None:
    return None if lengths is None else [{"name": name, "length": length} for name, length in lengths.items()]


def _type_object(state: StateType) -> dict[str, Any]:
    return {"version": state.version, "minimum": state.minimum, "subsections": sorted(state.subsections)}


# -- from a capture ----------------------------------------------------------------------------------------------------


def of_capture(stream: Stream) -> Description:
    """What a capture shows of the guest that wrote it: a destination that is set up the same way has the same.

    Raises:
        XbrleError: its VM description is damaged.
    """
    found = devices.description(stream)
    facts = stream.facts
    return Description(
        sources=(f"a capture: {stream.name}",),
        machine=None if facts.machine is None else _text(facts.machine),
        cpus=None if found is None else sum(d.name == b"cpu_common" for d in found.devices) or None,
        blocks={_text(b.name): b.length for b in stream.blocks if b.declared} or None,
        capabilities=None if facts.configuration is None else frozenset(_text(c) for c in facts.capabilities),
        devices=tuple(_device_object(d) for d in found.devices) if found is not None and _is_usable(found) else None,
    )


def _is_usable(found: devices.Description) -> bool:
    """Whether a VM description is whole, and of as many devices as a guest can have."""
    return not found.damage and len(found.devices) <= DEVICES_MAX


def _device_object(device: devices.Device) -> dict[str, Any]:
    kept = ("vmsd_name", "version", "size", "fields", "subsections")
    about = {key: device.entry[key] for key in kept if key in device.entry}
    return {"name": _text(device.name), "instance_id": device.instance_id, **about}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


# -- from files --------------------------------------------------------------------------------------------------------


def load(text: bytes, name: str) -> Description:
    """A description from a file: one that `Description.as_object` made, or what -dump-vmstate wrote.

    Raises:
        XbrleError: it is neither.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise XbrleError(f"{name}: not a description of a destination: it is not JSON ({error})") from None
    if isinstance(found, dict) and _DUMP_KEY in found:
        return _of_dump(found, name)
    if not isinstance(found, dict) or found.get("type") != TYPE:
        raise XbrleError(f"{name}: not a description of a destination; make one with: xbrle describe")
    if found.get("format") != FORMAT:
        raise XbrleError(f"{name}: format {found.get('format')!r} of a description, and only {FORMAT} is known")
    try:
        return _of_object(found)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise XbrleError(f"{name}: a damaged description of a destination: {error}") from None


def _of_object(found: Mapping[str, Any]) -> Description:
    version, types = found.get("version"), found.get("types")
    devices_listed = found.get("devices")
    return Description(
        sources=tuple(map(str, found.get("sources") or ())),
        version=None if version is None else tuple(int(n) for n in str(version).split(".")),
        machine=_optional(found, "machine", str),
        cpu=_optional(found, "cpu", str),
        cpus=_optional(found, "cpus", int),
        uuid=_optional(found, "uuid", str),
        blocks=_lengths(found.get("blocks")),
        backends=_lengths(found.get("backends")),
        capabilities=None if found.get("capabilities") is None else frozenset(map(str, found["capabilities"])),
        pci=None if found.get("pci") is None else frozenset(map(str, found["pci"])),
        devices=None if devices_listed is None else tuple(_checked(d) for d in devices_listed),
        types=None if types is None else {str(name): _type_of(t) for name, t in types.items()},
    )


def _optional(found: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    value = found.get(key)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{key} is not a {kind.__name__}")
    return value


def _lengths(listed: Any) -> dict[str, int] | None:
    return None if listed is None else {str(b["name"]): int(b["length"]) for b in listed}


def _checked(device: Any) -> Mapping[str, Any]:
    if not isinstance(device["name"], str) or not isinstance(device["instance_id"], int):
        raise ValueError("a device does not have a name and an instance")
    return dict(device)


def _type_of(found: Mapping[str, Any]) -> StateType:
    return StateType(int(found["version"]), int(found["minimum"]), frozenset(map(str, found["subsections"])))


def _of_dump(found: Mapping[str, Any], name: str) -> Description:
    """What -dump-vmstate says: the machine, and every kind of device state that the program has."""
    types: dict[str, StateType] = {}
    try:
        machine = str(found[_DUMP_KEY]["Name"])
        for key, about in found.items():
            if key != _DUMP_KEY:
                state = about["Description"]
                types[str(state["name"])] = _dumped(state)
    except (TypeError, ValueError, LookupError) as error:
        raise XbrleError(f"{name}: not what -dump-vmstate writes: {error!r}") from None
    return Description(sources=(f"-dump-vmstate: {name}",), machine=machine, types=types)


def _dumped(state: Mapping[str, Any]) -> StateType:
    subsections: Sequence[Mapping[str, Any]] = state.get("Subsections") or ()
    return StateType(
        int(state["version_id"]), int(state["minimum_version_id"]), frozenset(str(s["name"]) for s in subsections)
    )


# -- for the receivers -------------------------------------------------------------------------------------------------


def destination(about: Description, stream: Stream) -> Destination:
    """The destination as receivers take it, for this stream.

    A device section whose kind only -dump-vmstate knows has that kind's versions and subsections.
    """
    uuid = None if about.uuid is None else bytes.fromhex(about.uuid.replace("-", ""))
    return Destination(
        machine=None if about.machine is None else bytes_of(about.machine),
        blocks=None if about.blocks is None else {bytes_of(name): length for name, length in about.blocks.items()},
        capabilities=about.capabilities or frozenset(),
        devices=_states(about, stream),
        uuid=uuid if uuid and any(uuid) else None,
    )


def _states(about: Description, stream: Stream) -> tuple[DeviceState, ...] | None:
    """The sections that the destination loads, or None where nothing tells."""
    if about.devices is not None:
        return tuple(_state(about, d) for d in about.devices)
    if about.types is None and about.pci is None and about.cpus is None:
        return None
    found = devices.description(stream)
    if found is None:
        return None
    return tuple(_state(about, _device_object(d)) for d in found.devices if not _is_absent(about, d))


def _is_absent(about: Description, device: devices.Device) -> bool:
    """Whether the destination does not have this device: no PCI device at its address, or fewer CPUs."""
    address, slash, _ = _text(device.name).partition("/")
    if about.pci is not None and slash and address.count(":") == 2 and address not in about.pci:
        return True
    of_cpu = device.name in (b"cpu_common", b"cpu", b"apic")
    return about.cpus is not None and of_cpu and device.instance_id >= about.cpus


def _state(about: Description, device: Mapping[str, Any]) -> DeviceState:
    known = (about.types or {}).get(str(device.get("vmsd_name", device["name"])))
    version = device.get("version")
    newest = version if isinstance(version, int) else 0x7FFFFFFF
    return DeviceState(
        bytes_of(str(device["name"])),
        int(device["instance_id"]),
        newest if known is None else known.version,
        None if known is None else known.minimum,
        device if "fields" in device else None,
        subsections=None if known is None else frozenset(map(bytes_of, known.subsections)),
    )
