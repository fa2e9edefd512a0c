"""Device sections taken apart by the VM description: which entry describes which section, and every field's bytes.

Facts: formats/README.md, "vmdesc". Entries go with FULL sections in order, since two devices can share name and
instance. A description can fall short of its section. The section's own end then counts, and the rest shows as
`UNREAD`.
"""

import json
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import block, iterable, qevm, ram, vmdesc
from ..formats.qevm import SectionType
from ..model import Stream, once
from ..source.changed import WRITTEN_TO
from ..table.sections import Owner, Section
from ..text import shown
from .fields import UNREAD, Field, tree

DEPTH_MAX = 64  # structs within structs; devices have fewer
WHOLE_MAX = 1 << 22  # bytes of JSON that are parsed at once: a description, or of a longer one an entry
MARKS_MAX = 1 << 17  # braces, brackets and commas in it; what is parsed takes up to 120 bytes for each
FIELDS_MAX = 1 << 16  # fields of a device whose description is damaged, or too long to be parsed at once
FIELD_MAX = 1 << 20  # bytes of one of these fields
NODES_MAX = 1 << 17  # fields that one section is taken apart into
NUMBERS_MAX = 1 << 16  # numbers of an array that are read; a longer one shows as its bytes

_JSON = json.JSONDecoder()
#: How the description of a device begins. No field of one has an instance.
_BEGINS = re.compile(rb'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.){0,4096}")\s*,\s*"instance_id"\s*:\s*(\d{1,10})(?!\d)')
_FIELDS = re.compile(rb'"fields"\s*:\s*\[\s*')
_BETWEEN = re.compile(rb"[\s,]*")
_PAGE_SIZE = re.compile(rb'\{\s*"page_size"\s*:\s*(\d{1,10})(?!\d)')
_WINDOW = 1 << 16  # bytes of fields that are decoded together

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Device:
    """One entry of the description. ``parsed`` is its JSON object where that was parsed already, else ``text`` is its
    JSON, which is parsed when it is asked for.
    """

    name: bytes
    instance_id: int
    parsed: Mapping[str, Any] | None = None
    text: memoryview = field(default_factory=lambda: memoryview(b""))

    @property
    def whole_entry(self) -> Mapping[str, Any] | None:
        """The JSON object, or None where it is damaged or too long to hold."""
        return self.parsed if self.parsed is not None else _whole_entry(self.text)

    @property
    def entry(self) -> Mapping[str, Any]:
        """The JSON object. Of an entry that is damaged, or too long to hold, it has the fields that come first."""
        return self.whole_entry or _first_fields(self.text)


class _Entries(Sequence[Device]):
    """The entries of a long description: where each begins in ``text``. A hostile one has a hundred thousand."""

    def __init__(self, text: memoryview) -> None:
        self._text = text
        self._starts = array("Q", (match.start() for match in _BEGINS.finditer(text)))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Device:  # type: ignore[override]  # slices are not needed
        start = self._starts[index]  # raises IndexError after the last, which ends an iteration
        end = self._starts[index + 1] if index + 1 < len(self) else len(self._text)
        text = self._text[start:end]
        match = _BEGINS.match(text)
        if match is None:
            raise XbrleError(f"the capture was {WRITTEN_TO}")
        return Device(_name(_string(str(match[1], "utf-8", "replace"))), int(match[2]), None, text)


class Description(NamedTuple):
    """The VM description: the target's page size, if it states one, and its devices in stream order.

    ``damage`` says why not all of it can be read, or is None where all can.
    """

    page_size: int | None
    devices: Sequence[Device]
    damage: str | None = None


def load(text: bytes | memoryview, offset: int | None = None) -> Description:
    """The description whose JSON is ``text``, which stands at ``offset`` of the capture.

    Of a damaged one, the devices whose entries are intact come out, and what stands before the damage in the others. A
    long one is not copied: its entries are parsed when they are asked for.

    Raises:
        XbrleError: ``text`` is not a description.
    """
    damage, text = None, memoryview(text)
    if _is_short(text):
        try:
            return _whole(json.loads(bytes(text)), offset)
        except (ValueError, RecursionError) as error:
            damage = f"the VM description is not JSON: {error}"
    devices = _Entries(text)
    if not devices:
        raise XbrleError(damage or "the VM description does not list devices", offset)
    if damage is None and (broken := next((d for d in devices if d.whole_entry is None), None)) is not None:
        why = "is not JSON" if _is_short(broken.text) else "is too long to be read whole"
        damage = f"the VM description's entry of {shown(broken.name)} {why}"
    size = _PAGE_SIZE.match(text)
    return Description(None if size is None else int(size[1]), devices, damage)


def _marks(text: bytes) -> int:
    return sum(text.count(mark) for mark in (b"{", b"[", b","))


def _is_short(text: memoryview) -> bool:
    """Whether JSON takes so little when it is parsed that all of it can be held."""
    return len(text) <= WHOLE_MAX and _marks(bytes(text)) <= MARKS_MAX


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


def _whole_entry(text: memoryview) -> Mapping[str, Any] | None:
    """A device's object, or None where it is broken or too long."""
    if not _is_short(text):
        return None
    try:
        found = _JSON.raw_decode(str(text, "utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _first_fields(text: memoryview) -> Mapping[str, Any]:
    """The part of a broken or long entry that can be had: its first fields.

    They are decoded a window at a time. In it each byte is a character, so that places in it are places in the text.
    """
    begin = _FIELDS.search(text)
    at = base = len(text) if begin is None else begin.end()
    window, reach, left = "", _WINDOW, MARKS_MAX
    fields: list[Any] = []
    while at < len(text) and len(fields) < FIELDS_MAX:
        try:
            found, stop = _JSON.raw_decode(window, at - base)
        except (ValueError, RecursionError):
            if window and (base + len(window) == len(text) or (base == at and reach >= FIELD_MAX)):
                break
            reach = 4 * reach if window and base == at else _WINDOW
            base, window = at, str(text[at : at + reach], "latin-1")
            continue
        raw = bytes(text[at : base + stop])
        left -= _marks(raw)
        if left < 0:
            break
        fields.append(found if raw.isascii() else json.loads(str(raw, "utf-8", "replace")))
        between = _BETWEEN.match(text, base + stop)
        at = base + stop if between is None else between.end()
    return {"fields": fields}


class Index:
    """Where in a description the devices of a name and instance stand. It takes 16 bytes for each device."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        keys = np.fromiter((hash((d.name, d.instance_id)) for d in devices), np.int64, len(devices))
        order = np.argsort(keys, kind="stable")
        self._keys, self._places = keys[order].data, order.data  # places rise among equal keys

    def places(self, name: bytes, instance: int, since: int = 0) -> Iterator[int]:
        """The places of these devices from ``since`` on, rising."""
        key = hash((name, instance))
        first, stop = bisect_left(self._keys, key), bisect_right(self._keys, key)
        for i in range(bisect_left(self._places, since, first, stop), stop):
            device = self._devices[self._places[i]]
            if (device.name, device.instance_id) == (name, instance):
                yield int(self._places[i])


class Matcher:
    """Gives each FULL section its entry, one after the other in stream order.

    After an entry or a section that the other side lacks, the next two that agree go together again.
    """

    def __init__(self, description: Description | None) -> None:
        self.devices: Sequence[Device] = description.devices if description is not None else ()
        self._index = Index(self.devices)
        self._at = 0

    def place_of(self, owner: Owner) -> int | None:
        """The place of the next section's entry in the description, or None for a section that is not described.

        ``owner`` is the section's.
        """
        place = next(self._index.places(owner.idstr, owner.instance_id, self._at), None)
        self._at = self._at if place is None else place + 1
        return place

    def entry_of(self, owner: Owner) -> Device | None:
        """The entry of the next section, which is this owner's, or None for one that is not described."""
        place = self.place_of(owner)
        return None if place is None else self.devices[place]


class Entries(Mapping[int, Device]):
    """The entry of each FULL section that has one, by the section's index.

    ``sections`` (n,) int64, rising, are those indexes, and ``places`` (n,) int64, rising, where each one's entry stands
    among ``devices``.
    """

    def __init__(self, devices: Sequence[Device], sections: Ints, places: Ints) -> None:
        self._devices = devices
        self._sections = sections
        self._places = places

    def __getitem__(self, section: int) -> Device:
        i = int(np.searchsorted(self._sections, section))
        if i == len(self._sections) or self._sections[i] != section:
            raise KeyError(section)
        return self._devices[int(self._places[i])]

    def __len__(self) -> int:
        return len(self._sections)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sections.tolist())

    @property
    def without_section(self) -> Ints:
        """The places of the devices that go with no section, (m,) int64."""
        return np.setdiff1d(np.arange(len(self._devices)), self._places, assume_unique=True)


def described_size(device: Device) -> int | None:
    """The bytes that a section has by its entry, or None where the entry is damaged or does not tell."""
    entry = device.whole_entry
    if entry is None or any(map(_is_unsized, _dicts(entry, "fields"))):
        return None
    return _size(entry, 0)


def _size(entry: Mapping[str, Any], depth: int) -> int:
    """The bytes of a struct's fields and subsections. A field's size counts all that is in it."""
    size = sum(_int(f, "size") * (_int(f, "array_len") if "array_len" in f else 1) for f in _dicts(entry, "fields"))
    for subsection in _dicts(entry, "subsections") if depth < DEPTH_MAX else ():
        header = {"idstr": _name(str(subsection.get("vmsd_name", "")))[:0xFF], "version_id": 0}
        size += len(qevm.SubsectionHeader.build(header)) + _size(subsection, depth + 1)
    return size


def is_device(section: Section) -> bool:
    """Whether a section belongs to a device: it has an owner that is neither RAM nor disk."""
    owner = section.owner
    return owner is not None and (section.type is SectionType.FULL or owner.idstr not in (ram.IDSTR, block.IDSTR))


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


def misfits(section: Section, data: bytes, device: Device) -> list[tuple[str, str, int, bytes]]:
    """The fields of a section's ``data`` that hold what a sender does not write for their type.

    Each is its name, its type, the offset of the first wrong byte in the capture, and the bytes from there on. None are
    given where the section does not read as its entry says.
    """
    reader = _Reader(data, section.data, _surplus(device.entry, len(data)))
    reader.struct(device.entry, 0)
    return reader.misfits if reader.at == len(data) else []


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
        self.misfits: list[tuple[str, str, int, bytes]] = []

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
        wrong = vmdesc.misfit(kind, raw)
        if wrong is not None:
            self.misfits.append((name, kind, self.base + start + wrong, raw[wrong:]))
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
def entries(stream: Stream) -> Entries:
    """The entry of the VM description for each FULL section that has one, by the section's index.

    Raises:
        XbrleError: the VM description is damaged.
    """
    matcher = Matcher(description(stream))
    sections, places = array("q"), array("q")
    for section in stream.sections.of_types(SectionType.FULL):
        place = None if section.owner is None else matcher.place_of(section.owner)
        if place is not None:
            sections.append(section.index)
            places.append(place)
    return Entries(matcher.devices, np.array(sections, np.int64), np.array(places, np.int64))
