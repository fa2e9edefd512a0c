"""Device sections taken apart by the VM description: which entry describes which section, and every field's bytes.

Facts: formats/README.md, "vmdesc". Entries go with FULL sections in order, since two devices can share name and
instance. A description can fall short of its section. The section's own end then counts, and the rest shows as
`UNREAD`.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from construct import ConstructError

from ..errors import XbrleError
from ..formats import iterable, qevm, vmdesc
from ..formats.qevm import SectionType
from ..model import Stream, once
from ..table.sections import Owner, Section
from ..text import shown
from .fields import UNREAD, Field, tree

DEPTH_MAX = 64  # structs within structs; devices have fewer
WHOLE_MAX = (
    1 << 22
)  # bytes of a description that are parsed at once; of a longer one, each device's when it is asked for
FIELDS_MAX = 1 << 16  # fields of a device whose description is damaged, or too long to be parsed at once
NODES_MAX = 1 << 17  # fields that one section is taken apart into
NUMBERS_MAX = 1 << 16  # numbers of an array that are read; a longer one shows as its bytes

_JSON = json.JSONDecoder()
#: How the description of a device begins. No field of one has an instance.
_BEGINS = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"instance_id"\s*:\s*(\d{1,10})(?!\d)')
_FIELDS = re.compile(r'"fields"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_PAGE_SIZE = re.compile(r'\{\s*"page_size"\s*:\s*(\d{1,10})(?!\d)')


@dataclass(frozen=True, slots=True)
class Device:
    """One entry of the description. ``parsed`` is its JSON object where that was parsed already.

    Else its JSON is [start, end) of ``text``, which all entries share.
    """

    name: bytes
    instance_id: int
    parsed: Mapping[str, Any] | None = None
    text: str = ""
    start: int = 0
    end: int = 0

    @property
    def entry(self) -> Mapping[str, Any]:
        """The JSON object. Of an entry that is damaged, or too long to hold, it has the fields that come first."""
        return self.parsed if self.parsed is not None else _whole_entry(self) or _first_fields(self)

    @property
    def is_whole(self) -> bool:
        """Whether `entry` is all of it."""
        return self.parsed is not None or _whole_entry(self) is not None


@dataclass(frozen=True, slots=True)
class Description:
    """The VM description: the target's page size, if it states one, and its devices in stream order.

    ``damage`` says why not all of it can be read, or is None where all can.
    """

    page_size: int | None
    devices: tuple[Device, ...]
    damage: str | None = None


def load(text: bytes | memoryview, offset: int | None = None) -> Description:
    """The description whose JSON is ``text``, which stands at ``offset`` of the capture.

    Of a damaged one, the devices whose entries are intact come out, and what stands before the damage in the others.

    Raises:
        XbrleError: ``text`` is not a description.
    """
    damage = None
    if len(text) <= WHOLE_MAX:
        try:
            return _whole(json.loads(bytes(text)), offset)
        except (ValueError, RecursionError) as error:
            damage = f"the VM description is not JSON: {error}"
    found = str(text, "utf-8", "replace")
    begins = chain(_BEGINS.finditer(found), (None,))
    devices = tuple(
        Device(_name(_string(m[1])), int(m[2]), None, found, m.start(), len(found) if after is None else after.start())
        for m, after in pairwise(begins)
        if m is not None
    )
    if not devices:
        raise XbrleError(damage or "the VM description does not list devices", offset)
    if damage is None and (broken := next((d for d in devices if not d.is_whole), None)) is not None:
        why = "is too long to be read whole" if broken.end - broken.start > WHOLE_MAX else "is not JSON"
        damage = f"the VM description's entry of {shown(broken.name)} {why}"
    size = _PAGE_SIZE.match(found)
    return Description(None if size is None else int(size[1]), devices, damage)


def _whole(parsed: Any, offset: int | None) -> Description:
    devices = parsed.get("devices") if isinstance(parsed, dict) else None
    if not isinstance(devices, list) or not all(isinstance(d, dict) for d in devices):
        raise XbrleError("the VM description does not list devices", offset)
    size = parsed.get("page_size")
    return Description(
        size if isinstance(size, int) else None,
        tuple(Device(_name(str(d.get("name", ""))), _int(d, "instance_id"), parsed=d) for d in devices),
    )


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _string(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _whole_entry(device: Device) -> Mapping[str, Any] | None:
    """A device's object, or None where it is broken or too long."""
    if device.end - device.start > WHOLE_MAX:
        return None
    try:
        found = _JSON.raw_decode(device.text[device.start : device.end])[0]
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _first_fields(device: Device) -> Mapping[str, Any]:
    """The part of a broken or long entry that can be had: its first fields."""
    text, start, end = device.text, device.start, device.end
    if end - start <= WHOLE_MAX:  # an error in a text takes as long as the text before it
        text, start, end = text[start:end], 0, end - start
    begin = _FIELDS.search(text, start, end)
    fields: list[Any] = []
    at = end if begin is None else begin.end()
    while at < end and len(fields) < FIELDS_MAX:
        try:
            field, at = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        fields.append(field)
        between = _BETWEEN.match(text, at)
        at = at if between is None else between.end()
    return {"fields": fields}


class Matcher:
    """Gives each FULL section its entry, one after the other in stream order.

    After an entry or a section that the other side lacks, the next two that agree go together again.
    """

    def __init__(self, description: Description | None) -> None:
        self.devices = description.devices if description is not None else ()
        self._places: dict[tuple[bytes, int], list[int]] = {}
        for i, device in enumerate(self.devices):
            self._places.setdefault((device.name, device.instance_id), []).append(i)
        self._at = 0

    def entry_of(self, owner: Owner) -> Device | None:
        """The entry of the next section, which is this owner's, or None for one that is not described."""
        places = self._places.get((owner.idstr, owner.instance_id), [])
        i = bisect_left(places, self._at)
        if i == len(places):
            return None
        self._at = places[i] + 1
        return self.devices[places[i]]


def match(sections: Iterable[Section], description: Description | None) -> Iterator[tuple[Section, Device | None]]:
    """Every FULL section with its entry, in order. The entry is None for a section that is not described."""
    matcher = Matcher(description)
    for section in sections:
        if section.type is SectionType.FULL and section.owner is not None:
            yield section, matcher.entry_of(section.owner)


def described_size(device: Device) -> int | None:
    """The bytes that a section has by its entry, or None where the entry is damaged or does not tell."""
    entry = device.entry
    unsized = any(map(_is_unsized, _dicts(entry, "fields")))
    return _size(entry, 0) if device.is_whole and not unsized else None


def _size(entry: Mapping[str, Any], depth: int) -> int:
    """The bytes of a struct's fields and subsections. A field's size counts all that is in it."""
    size = sum(_int(f, "size") * (_int(f, "array_len") if "array_len" in f else 1) for f in _dicts(entry, "fields"))
    for subsection in _dicts(entry, "subsections") if depth < DEPTH_MAX else ():
        header = {"idstr": _name(str(subsection.get("vmsd_name", "")))[:0xFF], "version_id": 0}
        size += len(qevm.SubsectionHeader.build(header)) + _size(subsection, depth + 1)
    return size


def fields(section: Section, data: bytes, device: Device | None) -> Field | None:
    """The fields of a section's ``data``, which stands at ``section.data`` of the capture.

    A FULL section is read by its entry of the description, an iterable section by its grammar. None where the section
    has neither.
    """
    if device is not None:
        entry = device.entry
        reader = _Reader(data, section.data, _surplus(entry, len(data)))
        children = reader.struct(entry, 0)
        return reader.whole("data", 0, len(data), children)
    grammar = iterable.SECTIONS.get(section.owner.idstr) if section.owner is not None else None
    if grammar is None or section.type is SectionType.FULL:
        return None
    return tree(grammar, data, section.data, "data")


class _Short(Exception):  # noqa: N818 - an end, not an error
    """The section ends before its description does, or differs from it. ``children`` are what was read."""

    def __init__(self, children: list[Field]) -> None:
        self.children = children


def _surplus(entry: Mapping[str, Any], size: int) -> int:
    """How many bytes the section has that the entry does not state, where one array of pointers explains them.

    QEMU before 10.0 described such an array by its first element alone. If that is null, its size is 1, and the other
    elements can be anything [C].
    """
    unsized = [f for f in _dicts(entry, "fields") if _is_unsized(f)]
    return max(0, size - _size(entry, 0)) if len(unsized) == 1 else 0


def _is_unsized(field: Mapping[str, Any]) -> bool:
    """Whether a field is an array of pointers that was described by a null one."""
    described = field.get("type") == vmdesc.STRUCT and field.get("struct") == {}
    return described and _int(field, "array_len") > 1 and _int(field, "size") == 1


class _Reader:
    """Reads one section's bytes by its description, from the first byte on.

    ``surplus`` are the bytes of an array of pointers beyond those that its description states.
    """

    def __init__(self, data: bytes, base: int, surplus: int = 0) -> None:
        self.data = data
        self.base = base
        self.at = 0
        self.surplus = surplus
        self.left = NODES_MAX

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
        if self.surplus and depth == 0 and _is_unsized(field):
            return self._leaf(name, kind, _int(field, "array_len") + self.surplus, None)
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
        self.left -= 1
        if end > len(self.data) or self.left < 0:
            raise _Short([])
        self.at = end
        raw = self.data[start:end]
        grammar, repeated = vmdesc.numbers(kind, size)
        value: Any = raw
        if grammar is not None and total and total // grammar.sizeof() <= NUMBERS_MAX:
            numbers = [grammar.parse(raw[i : i + grammar.sizeof()]) for i in range(0, total, grammar.sizeof())]
            value = numbers[0] if count is None and not repeated else tuple(numbers)
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
    """The VM description after the stream's end, or None where the stream does not have one.

    Raises:
        XbrleError: what stands there is not a description.
    """
    if stream.facts.vmdesc is None:
        return None
    start, length = stream.facts.vmdesc
    return load(stream.data[start : start + length].data, start)


@once
def entries(stream: Stream) -> dict[int, Device]:
    """The entry of the VM description for each FULL section that has one, by the section's index.

    Raises:
        XbrleError: the VM description is damaged.
    """
    found = match(stream.sections.of_types(SectionType.FULL), description(stream))
    return {section.index: device for section, device in found if device is not None}
