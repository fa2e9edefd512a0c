"""Device sections taken apart by the VM description: which entry describes which section, and every field's bytes.

Facts: formats/README.md, "vmdesc". Entries go with FULL sections in order, since two devices can share name and
instance. A description can fall short of its section. The section's own end then counts, and the rest shows as
`UNREAD`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from construct import ConstructError

from ..errors import XbrleError
from ..formats import iterable, qevm, vmdesc
from ..formats.qevm import SectionType
from ..model import Stream, once
from ..table.sections import Section
from .fields import UNREAD, Field, tree

DEPTH_MAX = 64  # structs within structs; devices have fewer


@dataclass(frozen=True, slots=True)
class Device:
    """One entry of the description; ``entry`` is its JSON object."""

    name: bytes
    instance_id: int
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Description:
    """The VM description: the target's page size, if it states one, and its devices in stream order."""

    page_size: int | None
    devices: tuple[Device, ...]


def load(text: bytes, offset: int | None = None) -> Description:
    """The description whose JSON is ``text``, which stands at ``offset`` of the capture.

    Raises:
        XbrleError: ``text`` is not a description.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise XbrleError(f"the VM description is not JSON: {error}", offset) from None
    devices = parsed.get("devices") if isinstance(parsed, dict) else None
    if not isinstance(devices, list) or not all(isinstance(d, dict) for d in devices):
        raise XbrleError("the VM description does not list devices", offset)
    size = parsed.get("page_size")
    return Description(
        size if isinstance(size, int) else None,
        tuple(
            Device(str(d.get("name", "")).encode("utf-8", "surrogatepass"), _int(d, "instance_id"), d) for d in devices
        ),
    )


def match(sections: Iterable[Section], description: Description | None) -> Iterator[tuple[Section, Device | None]]:
    """Every FULL section with its entry, in order; None for a section that is not described.

    After an entry or a section that the other side lacks, the next two that agree go together again.
    """
    devices = description.devices if description is not None else ()
    at = 0
    for section in sections:
        if section.type is not SectionType.FULL or section.owner is None:
            continue
        owner = (section.owner.idstr, section.owner.instance_id)
        found = next((i for i in range(at, len(devices)) if (devices[i].name, devices[i].instance_id) == owner), None)
        if found is not None:
            at = found + 1
        yield section, None if found is None else devices[found]


def fields(section: Section, data: bytes, device: Device | None) -> Field | None:
    """The fields of a section's ``data``, which stands at ``section.data`` of the capture.

    A FULL section is read by its entry of the description, an iterable section by its grammar. None where the section
    has neither.
    """
    if device is not None:
        reader = _Reader(data, section.data)
        children = reader.struct(device.entry, 0)
        return reader.whole("data", 0, len(data), children)
    grammar = iterable.SECTIONS.get(section.owner.idstr) if section.owner is not None else None
    if grammar is None or section.type is SectionType.FULL:
        return None
    return tree(grammar, data, section.data, "data")


class _Short(Exception):  # noqa: N818 - an end, not an error
    """The section ends before its description does, or differs from it. ``children`` are what was read."""

    def __init__(self, children: list[Field]) -> None:
        self.children = children


class _Reader:
    """Reads one section's bytes by its description, from the first byte on."""

    def __init__(self, data: bytes, base: int) -> None:
        self.data = data
        self.base = base
        self.at = 0

    def struct(self, entry: Mapping[str, Any], depth: int) -> list[Field]:
        """The fields and subsections of a struct, as far as the section has them."""
        try:
            return self._struct(entry, depth)
        except _Short as short:
            return short.children

    def _struct(self, entry: Mapping[str, Any], depth: int) -> list[Field]:
        out: list[Field] = []
        try:
            if depth > DEPTH_MAX:
                raise _Short([])
            # a failure keeps what the list has by then
            out.extend(self._field(field, depth) for field in _dicts(entry, "fields"))
            out.extend(self._subsection(subsection, depth) for subsection in _dicts(entry, "subsections"))
        except _Short as short:
            raise _Short([*out, *short.children]) from None
        return out

    def _field(self, field: Mapping[str, Any], depth: int) -> Field:
        name = str(field.get("name", ""))
        if "index" in field:
            name += f"[{_int(field, 'index')}]"
        if "array_len" not in field:
            return self._one(name, field, depth)
        start, children = self.at, []
        size, kind = _int(field, "size"), str(field.get("type", ""))
        if kind not in (vmdesc.STRUCT, vmdesc.TMP):
            return self._leaf(name, kind, size, _int(field, "array_len"))
        for i in range(_int(field, "array_len")):
            before = self.at
            try:
                children.append(self._one(f"[{i}]", field, depth))
            except _Short as short:
                raise _Short([self.whole(name, start, self.at, [*children, *short.children])]) from None
            if self.at == before:  # an element without bytes: the others are empty too
                break
        return self.whole(name, start, self.at, children)

    def _one(self, name: str, field: Mapping[str, Any], depth: int) -> Field:
        kind, start = str(field.get("type", "")), self.at
        inner = field if kind == vmdesc.TMP else field.get("struct")
        if kind not in (vmdesc.STRUCT, vmdesc.TMP) or not isinstance(inner, dict) or not inner:
            return self._leaf(name, kind, _int(field, "size"), None)
        try:
            children = self._struct(inner, depth + 1)
        except _Short as short:
            raise _Short([self.whole(name, start, self.at, short.children)] if self.at > start else []) from None
        return self.whole(name, start, self.at, children)

    def _leaf(self, name: str, kind: str, size: int, count: int | None) -> Field:
        """A field without parts: a number, several numbers, or bytes."""
        total = size * (1 if count is None else count)
        start, end = self.at, self.at + total
        if size < 0 or total < 0 or end > len(self.data):
            raise _Short([])
        self.at = end
        raw = self.data[start:end]
        grammar = vmdesc.number(kind)
        value: Any = raw
        if grammar is not None and size and grammar.sizeof() == size:
            numbers = [grammar.parse(raw[i : i + size]) for i in range(0, total, size)]
            value = numbers[0] if count is None else tuple(numbers)
        return Field(name, self.base + start, total, value, raw)

    def _subsection(self, entry: Mapping[str, Any], depth: int) -> Field:
        start = self.at
        name = str(entry.get("vmsd_name", ""))
        head = self.data[start : start + qevm.SUBSECTION_HEADER_MAX]
        try:
            header = qevm.SubsectionHeader.parse(head)
        except ConstructError:
            raise _Short([]) from None
        if header.idstr != name.encode("utf-8", "surrogatepass"):
            raise _Short([])
        self.at += len(qevm.SubsectionHeader.build(header))
        fields = tree(qevm.SubsectionHeader, self.data[start : self.at], self.base + start).children
        try:
            return self.whole(name, start, self.at, [*fields, *self._struct(entry, depth + 1)])
        except _Short as short:
            raise _Short([self.whole(name, start, self.at, [*fields, *short.children])]) from None

    def whole(self, name: str, start: int, end: int, children: list[Field]) -> Field:
        """A field with parts. Bytes up to its ``end`` that none of its parts covers become `UNREAD`."""
        end = max(end, self.at)
        covered = children[-1].offset + children[-1].size - self.base if children else start
        if covered < end:
            raw = self.data[covered:end]
            children = [*children, Field(UNREAD, self.base + covered, end - covered, raw, raw)]
        return Field(name, self.base + start, end - start, None, self.data[start:end], tuple(children))


def _dicts(entry: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = entry.get(key)
    return [d for d in value if isinstance(d, dict)] if isinstance(value, list) else []


def _int(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key, 0)
    return value if isinstance(value, int) and value >= 0 else 0


@once
def description(stream: Stream) -> Description | None:
    """The VM description after the stream's end; None where the stream does not have one.

    Raises:
        XbrleError: what stands there is not a description.
    """
    if stream.facts.vmdesc is None:
        return None
    start, length = stream.facts.vmdesc
    return load(stream.data[start : start + length].tobytes(), start)


@once
def entries(stream: Stream) -> dict[int, Device]:
    """The entry of the VM description for each FULL section that has one, by the section's index.

    Raises:
        XbrleError: the VM description is damaged.
    """
    found = match(stream.sections, description(stream))
    return {section.index: device for section, device in found if device is not None}
