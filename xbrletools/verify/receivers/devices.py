"""Which device sections a destination loads, and where it sees each one end."""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from construct import ConstructError

from ...container import devices
from ...errors import XbrleError
from ...formats import iterable, qevm
from ...model import Stream, once
from ...table.sections import Section
from .tape import c_string
from .values import DeviceState
from .words import CHAINED, Fault, Version, refused


@dataclass(frozen=True, slots=True)
class Known:
    """The device sections that a destination loads. ``states`` is None where any name is taken for known."""

    states: Mapping[tuple[bytes, int], DeviceState] | None

    def find(self, name: bytes, instance: int) -> DeviceState | None:
        """The section of this name and instance."""
        return None if self.states is None else self.states.get((name, instance))

    def newest(self, name: bytes, instance: int) -> int | None:
        """The newest version of a section that it takes, or None where it does not have the section."""
        if self.states is None or (name in iterable.SECTIONS and instance == 0):
            return 0xFFFFFFFF
        found = self.states.get((name, instance))
        return None if found is None else found.version


def known(stream: Stream, given: Sequence[DeviceState] | None) -> Known:
    """What is ``given`` of the destination, else what the stream's own VM description has."""
    if given is not None:
        return Known({(d.name, d.instance): d for d in given})
    return own(stream)


@once
def own(stream: Stream) -> Known:
    """The devices that the stream's VM description lists: a destination that is set up as the source was has them."""
    try:
        found = devices.description(stream)
    except XbrleError:
        found = None
    if found is None or found.damage is not None or not found.devices:
        return Known(None)
    return Known(_Own(found.devices))


class _Own(Mapping[tuple[bytes, int], DeviceState]):
    """The devices of a description by name and instance. Each is read when it is asked for: there can be many."""

    def __init__(self, described: Sequence[devices.Device]) -> None:
        self._devices = described
        self._index = devices.Index(described)

    def __getitem__(self, key: tuple[bytes, int]) -> DeviceState:
        place = max(self._index.places(*key), default=-1)  # of two with one name and instance, the last
        if place < 0:
            raise KeyError(key)
        return _state(self._devices[place])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        return iter({(d.name, d.instance_id): None for d in self._devices})


def _state(device: devices.Device) -> DeviceState:
    version = device.entry.get("version")
    newest = version if isinstance(version, int) and not isinstance(version, bool) else 0xFFFFFFFF
    return DeviceState(device.name, device.instance_id, newest, None, device.entry, own=True)


def entry_of(stream: Stream, section: Section) -> Mapping[str, Any] | None:
    """The entry of the stream's own description for a section, or None where it has none."""
    try:
        found = devices.entries(stream).get(section.index)
    except XbrleError:
        return None
    return None if found is None else found.entry


@dataclass(frozen=True, slots=True)
class End:
    """Where a device's data ends as its description has it, or the ``unknown`` subsection that stops it there.

    ``device`` is the struct that the subsection belongs to. ``newest``: it is known in this version, and has another
    one, ``version``. ``fields`` are the fields that it lies in, each with its struct, from the inside out.
    """

    at: int
    unknown: bytes | None = None
    device: str = ""
    version: int = 0
    newest: int | None = None
    fields: tuple[str, ...] = ()

    @property
    def is_older(self) -> bool:
        """Whether it is a known subsection of an older version, which a destination may take or not."""
        return self.newest is not None and self.version < self.newest


def end_of(stream: Stream, entry: Mapping[str, Any], data: int, known: frozenset[bytes] | None = None) -> End | None:
    """Where the fields of a device section end, whose data begins at offset ``data``. None where that is not sure.

    The fields have the sizes that ``entry`` states, the section's description. After the fields of each struct come
    its subsections in any order: QEMU skips what is not one of this struct, and refuses one that it does not know [Q].
    ``known`` are those of the device itself that the destination knows, by default all that the description has.
    """
    walk = _Walk(stream.data, data, _parts(entry))
    try:
        walk.struct(entry, known=known)
    except _Unsure:
        return None
    except _Refused as refusal:
        return refusal.end
    return End(walk.at)


class _Unsure(Exception):  # noqa: N818 - an end, not an error
    """Where a struct ends cannot be told."""


class _Refused(Exception):  # noqa: N818 - the same
    def __init__(self, end: End) -> None:
        self.end = end


_Parts = dict[bytes, dict[bytes, Mapping[str, Any]]]


def _parts(entry: Mapping[str, Any], depth: int = 0) -> _Parts:
    """By a struct's name the subsections that any struct of this name has in a description, by name."""
    found: _Parts = {}
    if depth > devices.DEPTH_MAX:
        return found
    own = {_bytes(s): s for s in _subsections(entry)}
    if own:
        found[_bytes(entry)] = own
    for inner in (*own.values(), *(f.get("struct") for f in _fields(entry))):
        for name, parts in _parts(inner, depth + 1).items() if isinstance(inner, dict) else ():
            found.setdefault(name, {}).update(parts)
    return found


class _Walk:
    """Goes over a device's data from ``at`` on as QEMU reads it: ``parts`` are the subsections that it knows."""

    def __init__(self, data: "np.ndarray[tuple[int], np.dtype[np.uint8]]", at: int, parts: _Parts) -> None:
        self.data, self.at, self.parts = data, at, parts

    def struct(self, entry: Mapping[str, Any], depth: int = 0, known: frozenset[bytes] | None = None) -> None:
        """Go over the fields and subsections of a struct.

        Raises:
            _Unsure: its end cannot be told.
            _Refused: a subsection stands there that QEMU does not take, or may not.
        """
        if depth > devices.DEPTH_MAX:
            raise _Unsure
        plain = {k: v for k, v in entry.items() if k != "subsections"}
        if not any(self._has_parts(f) for f in _fields(entry)):
            self._pass(plain)
        else:
            for field in _fields(entry):
                self._field(entry, field, depth)
        self._subsections(_bytes(entry), depth, known)

    def _has_parts(self, field: Mapping[str, Any]) -> bool:
        inner = field.get("struct")
        if not isinstance(inner, dict):
            return False
        return _bytes(inner) in self.parts or any(map(self._has_parts, _fields(inner)))

    def _pass(self, entry: Mapping[str, Any]) -> None:
        size = _size(entry)
        if size is None:
            raise _Unsure
        self.at += size

    def _field(self, entry: Mapping[str, Any], field: Mapping[str, Any], depth: int) -> None:
        if not self._has_parts(field):
            self._pass({"fields": [field]})
            return
        if "array_len" in field:  # its elements are not alike, and QEMU describes each by itself then
            raise _Unsure
        try:
            self.struct(field["struct"], depth + 1)
        except _Refused as refusal:
            name = f"{entry.get('vmsd_name', '')}:{field.get('name', '')}"
            raise _Refused(replace(refusal.end, fields=(*refusal.end.fields, name))) from None

    def _subsections(self, base: bytes, depth: int, known: frozenset[bytes] | None) -> None:
        parts = self.parts.get(base, {})
        for _ in range(2 * len(parts) + 1):
            try:
                head = qevm.SubsectionHeader.parse(self.data[self.at : self.at + qevm.SUBSECTION_HEADER_MAX].tobytes())
            except ConstructError:
                return
            name = bytes(head.idstr).partition(b"\0")[0]  # to QEMU it is a string of C [Q]
            if len(head.idstr) <= len(base) or not name.startswith(base):
                return
            device = base.decode("utf-8", "replace")
            if name not in parts or (known is not None and name not in known):
                raise _Refused(End(self.at, name, device))
            newest, version = parts[name].get("version"), head.version_id & 0xFF  # QEMU keeps one byte of it [C]
            if isinstance(newest, int) and version != newest:
                raise _Refused(End(self.at, name, device, version, newest))
            self.at += len(qevm.SubsectionHeader.build(head))
            self.struct(parts[name], depth + 1)
        raise _Unsure


def unknown_subsection(version: Version, end: End) -> Fault:
    """A subsection that the device does not have, or not in this version."""
    name = c_string(end.unknown or b"")
    if end.newest is not None:
        fault = refused(f"{name}: incoming version_id {end.version} is too new for local version_id {end.newest}")
    elif version < CHAINED:
        fault = Fault(errno.ENOENT)
    else:
        fault = refused(f"VM subsection '{name}' in '{end.device}' does not exist")
    if version < CHAINED:
        for field in end.fields:
            fault = fault.inside(version, f"Failed to load {field}")
    elif end.newest is not None:
        fault = fault.inside(version, f"Loading VM subsection '{name}' in '{end.device}' failed")
    return fault


def as_read(sent: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The description by which a destination reads a device: of what was ``sent``, or its ``own``.

    An array can have another length at the destination. Where the field before it counts its elements, that count is
    sent. Else the destination reads as many as it has itself. None where both kinds occur.
    """
    if _names(sent) != _names(own):
        return own
    counted = set(_other_arrays(sent, own))
    return None if len(counted) > 1 else own if counted == {False} else sent


def by_destination(sent: Mapping[str, Any], state: DeviceState) -> Mapping[str, Any] | None:
    """The description by which the destination reads a section whose own description is ``sent``, see `as_read`."""
    if state.entry is None or state.own:
        return sent
    read = as_read(sent, state.entry)
    if read is None or read is sent:
        return read
    return {**read, "subsections": with_own_parts(sent, state.entry)}


_COUNT = re.compile(r"num|count|len|size|nr|entries|used", re.IGNORECASE)


def _other_arrays(sent: Mapping[str, Any], own: Mapping[str, Any], depth: int = 0) -> Iterator[bool]:
    """For each array of another size, in fields and in subsections that both have: whether its count is sent."""
    if depth > devices.DEPTH_MAX:
        return
    before = ""
    for one, other in zip(_fields(sent), _fields(own), strict=False):
        inner, own_inner = one.get("struct"), other.get("struct")
        if isinstance(inner, dict) and isinstance(own_inner, dict):
            yield from _other_arrays(inner, own_inner, depth + 1)
        if one.get("array_len") != other.get("array_len") or (one.get("size") != other.get("size") and not inner):
            yield bool(_COUNT.search(before))
        before = str(one.get("name", ""))
    parts = {str(s.get("vmsd_name")): s for s in _subsections(own)}
    for part in _subsections(sent):
        if str(part.get("vmsd_name")) in parts:
            yield from _other_arrays(part, parts[str(part.get("vmsd_name"))], depth + 1)


def with_own_parts(sent: Mapping[str, Any], own: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The subsections that were sent, as the destination has them where it has them too."""
    parts = {str(s.get("vmsd_name")): s for s in _subsections(own)}
    return [parts.get(str(s.get("vmsd_name")), s) for s in _subsections(sent)]


def _fields(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = entry.get("fields")
    return [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []


def _names(entry: Mapping[str, Any], depth: int = 0) -> list[Any]:
    out: list[Any] = []
    for one in _fields(entry) if depth < devices.DEPTH_MAX else ():
        if not one.get("index"):
            inner = one.get("struct")
            out.append((one.get("name"), _names(inner, depth + 1) if isinstance(inner, dict) else None))
    return out


def _size(entry: Mapping[str, Any]) -> int | None:
    return devices.described_size(devices.Device(b"", 0, entry))


def _bytes(entry: Mapping[str, Any]) -> bytes:
    return str(entry.get("vmsd_name", "")).encode("utf-8", "surrogatepass")


def _subsections(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = entry.get("subsections")
    return [s for s in found if isinstance(s, dict)] if isinstance(found, list) else []


def field_at(entry: Mapping[str, Any], size: int) -> tuple[str, str]:
    """The names of the struct and of the field that ``size`` bytes of a section end in, as QEMU prints them."""
    name = str(entry.get("vmsd_name", entry.get("name", "")))
    for field in entry.get("fields") or ():
        if not isinstance(field, dict):
            continue
        count = field.get("array_len", 1)
        length = int(field.get("size", 0)) * int(count)
        if size < length:
            inner = field.get("struct")
            if isinstance(inner, dict) and inner.get("fields"):
                return field_at(inner, size % max(1, int(field.get("size", 1))))
            return name, str(field.get("name", ""))
        size -= length
    return name, ""
