"""What differs between the device state of two captures: sections, versions, sizes, subsections, fields."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ..container import devices
from ..container.fields import Field
from ..errors import XbrleError
from ..formats.qevm import SectionType
from ..model import Stream
from ..table.sections import Section


class What(StrEnum):
    """In what two captures differ."""

    MACHINE = "machine"
    CAPABILITIES = "capabilities"
    SECTION = "section"  # only one has it
    VERSION = "version"
    SIZE = "size"  # of a section's data, in bytes
    SUBSECTION = "subsection"  # only one has it
    FIELD = "field"
    BYTES = "bytes"  # of a section that is not described in both


@dataclass(frozen=True, slots=True)
class DeviceDifference:
    """One difference. ``first`` and ``second`` are what the two captures have, None where one lacks it.

    ``section`` and ``instance`` name the device, None for what concerns the whole machine. ``field`` is the path of a
    field or subsection in it. ``sizes`` are the bytes of the field in each, where these differ. ``changed`` are the
    places of the numbers or bytes that differ, where it is a row of as many in both.
    """

    what: What
    section: bytes | None
    instance: int | None
    field: str | None
    first: Any
    second: Any
    sizes: tuple[int, int] | None = None
    changed: tuple[int, ...] = ()


_Key = tuple[bytes, int, int]  # a device's name, its instance, and how many of both came before


def device_differences(first: Stream, second: Stream) -> Iterator[DeviceDifference]:
    """What differs, in the order of the first capture's sections. Devices are matched by name and instance."""
    facts = first.facts, second.facts
    if facts[0].machine != facts[1].machine:
        yield DeviceDifference(What.MACHINE, None, None, None, facts[0].machine, facts[1].machine)
    names = [tuple(sorted(f.capabilities)) for f in facts]
    if names[0] != names[1]:
        yield DeviceDifference(What.CAPABILITIES, None, None, None, names[0], names[1])
    sections = [_sections(stream) for stream in (first, second)]
    for key in dict.fromkeys([*sections[0], *sections[1]]):
        name, instance, _ = key
        one, two = (found.get(key) for found in sections)
        if one is None or two is None:
            sizes = [None if s is None else s.end - s.data for s in (one, two)]
            yield DeviceDifference(What.SECTION, name, instance, None, sizes[0], sizes[1])
            continue
        yield from _versions_and_sizes(one, two)
        if one.type is SectionType.FULL:
            yield from _contents(first, one, second, two)


def _sections(stream: Stream) -> dict[_Key, Section]:
    """The sections of devices, and of others by their START."""
    seen: Counter[tuple[bytes, int]] = Counter()
    found: dict[_Key, Section] = {}
    for section in stream.sections.of_types(SectionType.START, SectionType.FULL):
        if section.owner is not None:
            name = section.owner.idstr, section.owner.instance_id
            found[*name, seen[name]] = section
            seen[name] += 1
    return found


def _versions_and_sizes(one: Section, two: Section) -> Iterator[DeviceDifference]:
    if one.owner is None or two.owner is None:
        return
    name = one.owner.idstr, one.owner.instance_id
    if one.owner.version_id != two.owner.version_id:
        yield DeviceDifference(What.VERSION, *name, None, one.owner.version_id, two.owner.version_id)
    sizes = one.end - one.data, two.end - two.data
    if one.type is SectionType.FULL and sizes[0] != sizes[1]:
        yield DeviceDifference(What.SIZE, *name, None, *sizes)


def _contents(first: Stream, one: Section, second: Stream, two: Section) -> Iterator[DeviceDifference]:
    raw = [s.data[c.data : c.end].tobytes() for s, c in ((first, one), (second, two))]
    if raw[0] == raw[1] or one.owner is None:
        return
    trees = [_tree(s, c, data) for (s, c), data in zip(((first, one), (second, two)), raw, strict=True)]
    name = one.owner.idstr, one.owner.instance_id
    if trees[0] is not None and trees[1] is not None:
        yield from _fields(*name, "", trees[0], trees[1])
    else:
        changed = _changed(*(np.frombuffer(data, np.uint8) for data in raw)) if len(raw[0]) == len(raw[1]) else ()
        yield DeviceDifference(What.BYTES, *name, None, raw[0], raw[1], changed=changed)


def _tree(stream: Stream, section: Section, data: bytes) -> Field | None:
    """The section's fields, or None where its description is missing or damaged."""
    try:
        device = devices.entries(stream).get(section.index)
    except XbrleError:
        return None
    return None if device is None else devices.fields(section, data, device)


def _fields(name: bytes, instance: int, path: str, one: Field, two: Field) -> Iterator[DeviceDifference]:
    """What differs in two fields of one path, and in what is in them."""
    if one.raw == two.raw and one.size == two.size:
        return
    if not one.children or not two.children:
        yield _leaf(name, instance, path, one, two)
        return
    children = [_by_name(field) for field in (one, two)]
    for key in dict.fromkeys([*children[0], *children[1]]):
        inner = f"{path}.{key[0]}" if path and not key[0].startswith("[") else path + key[0]
        a, b = (found.get(key) for found in children)
        if a is not None and b is not None:
            yield from _fields(name, instance, inner, a, b)
            continue
        what = What.SUBSECTION if any(_is_subsection(f) for f in (a, b) if f is not None) else What.FIELD
        sizes = (0 if a is None else a.size, 0 if b is None else b.size)
        yield DeviceDifference(what, name, instance, inner, _value(a), _value(b), sizes)


def _leaf(name: bytes, instance: int, path: str, one: Field, two: Field) -> DeviceDifference:
    sizes = None if one.size == two.size else (one.size, two.size)
    first, second = _value(one), _value(two)
    changed: tuple[int, ...] = ()
    if sizes is None and isinstance(first, tuple | bytes) and len(first) > 1 and len(first) == len(second):
        changed = tuple(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
    return DeviceDifference(What.FIELD, name, instance, path, first, second, sizes, changed)


def _by_name(field: Field) -> dict[tuple[str, int], Field]:
    """The parts of a field by their name, and how many of it came before."""
    seen: Counter[str] = Counter()
    found = {}
    for child in field.children:
        found[child.name, seen[child.name]] = child
        seen[child.name] += 1
    return found


def _is_subsection(field: Field) -> bool:
    return len(field.children) > 1 and (field.children[0].name, field.children[1].name) == ("type", "idstr")


def _value(field: Field | None) -> Any:
    """What a field holds. Of one with parts: its bytes."""
    if field is None:
        return None
    return field.raw if field.children or field.value is None else field.value


def _changed(one: Any, two: Any) -> tuple[int, ...]:
    return tuple(np.flatnonzero(one != two).tolist())
