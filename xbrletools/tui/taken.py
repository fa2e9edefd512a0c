"""A record, the file header or a section, taken apart into fields. All of this is a thread's work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..analysis.cpus import Cpu, cpus_of
from ..analysis.devices import DeviceDifference, What, device_differences
from ..capture import Capture, open_capture
from ..container import devices
from ..container.fields import Field, Named, expanded, flags_of, header_tree, record_tree, whole_tree
from ..errors import XbrleError
from ..formats import core
from ..formats.qevm import SectionType
from ..model import Facts, Stream
from ..physical import reading
from ..table.record import Record
from ..table.sections import Boundary, Section
from ..text import shown
from .fieldrows import FieldPath, leaf_count, name_of, walk
from .sectionrows import Item, Part
from .session import Session
from .widgets.fieldtree import text_of
from .widgets.lines import Line
from .words import counted, kind_word

TAKEN_MAX = 1 << 24  # bytes of a section's data that are taken apart
BYTES_MAX = 1 << 16  # bytes that are shown at once
_BEFORE = 1 << 12  # of them, those before a field that lies far behind
DIFFERENCES_MAX = 10_000  # differences to another capture that are looked at
BATCH = 64  # devices whose fields are counted before that is shown
_NAMED = 3  # devices that are named in a message
#: How the end of a section was found, in a few words.
_ENDS = {
    Boundary.PARSED: "read to its end",
    Boundary.FOOTER: "ends at its footer",
    Boundary.HEADER: "ends where the next header begins",
    Boundary.EOF: "ends at the end of the stream",
    Boundary.CUT: "its end was not found",
}
HEADS = ("header", "footer")  # what stands around the fields of a device, folded at first


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What was taken apart: its fields below ``root``, and what it is. ``said`` is what is missing or damaged.

    ``place`` is which section it is, and how its end was found.

    ``count`` is the number of fields of a device, None where nothing describes them.
    """

    item: Item
    root: Field
    what: str
    said: str = ""
    count: int | None = None
    named: Named = field(default_factory=dict)
    owner: tuple[bytes, int] | None = None  # a device by its name and instance
    cpu: Cpu | None = None
    place: str = ""


def take(session: Session, item: Item) -> Taken:
    """Take an item apart.

    Raises:
        XbrleError: it is not there, or cannot be read.
    """
    record, facts, data = session.record(), session.facts, session.data
    if facts is None or (item.part is Part.RECORD and record is None):
        raise session.no_record()
    if item.part is Part.HEADER:
        return Taken(item, header_tree(data, facts.start), "file header")
    if item.part is Part.RECORD and record is not None:
        number = f"record {record.number}" if record.number is not None else "a record without a page"
        return Taken(item, _record_root(record, facts, data), f"{number}: {kind_word(record.kind)}")
    section = facts.sections[item.section]
    stream = session.capture.stream if session.complete else None
    inner, said = _device_fields(stream, section)
    root, what = whole_tree(section, data, facts, inner), _heading(section)
    place = f"section {section.index} of {len(facts.sections)} · {_ENDS[section.found_by]}"
    if inner is None or section.owner is None:
        return Taken(item, root, what, said, None, flags_of(section), place=place)
    outer = tuple(c for c in root.children if c is not inner)
    head = tuple(c for c in outer if c.offset < inner.offset)
    header = Field("header", root.offset, inner.offset - root.offset, None, b"", head)
    root = replace(root, children=(header, *inner.children, *outer[len(head) :]))
    owner = section.owner.idstr, section.owner.instance_id
    cpu = _cpu_of(stream, section) if stream is not None else None
    return Taken(item, root, what, said, leaf_count(inner), flags_of(section), owner, cpu, place)


def head_of(taken: Taken, shade: str, also: str | None = None) -> Line:
    """A line on what was taken apart: what it is, what is said of it, and ``also`` that, which section it is."""
    said = [(f" · {words}", "warning") for words in (taken.said, also) if words]
    return [(f" {taken.what}", shade), *said, *([(f" · {taken.place}", "dim")] if taken.place else [])]


def bytes_at(session: Session, root: Field, offset: int) -> tuple[NDArray[np.uint8], int]:
    """A copy of the bytes of a tree around a file offset, for the file may shrink, and the offset of the first.

    Raises:
        XbrleError: the file has shrunk.
    """
    base = root.offset if offset - root.offset < BYTES_MAX - _BEFORE else max(root.offset, offset - _BEFORE)
    return session.data[base : min(root.offset + root.size, base + BYTES_MAX)].copy(), base


def _heading(section: Section) -> str:
    name = section.type.name if section.owner is None else shown(section.owner.idstr)
    if section.type is SectionType.FULL and section.owner is not None:
        name += f" {section.owner.instance_id} · version {section.owner.version_id}"
    elif section.owner is not None:
        name += f" · {section.type.name}"
    return f"{name} · {counted(section.end - section.data, 'byte')}"


def _device_fields(stream: Stream | None, section: Section) -> tuple[Field | None, str]:
    """The fields of a device's data, and why there are none, or what is wrong with them."""
    if section.owner is None or not devices.is_device(section):
        return None, ""
    if stream is None:
        return None, "fields are read once the whole capture was"
    if section.found_by is Boundary.CUT:
        return None, "the section is cut: its fields cannot be told"
    if section.end - section.data > TAKEN_MAX:
        return None, f"more than {TAKEN_MAX:,} bytes, which are not taken apart"
    try:
        found = devices.description(stream)
        device = devices.entries(stream).get(section.index)
    except XbrleError as error:
        return None, str(error)
    inner = devices.fields(section, stream.data[section.data : section.end].tobytes(), device)
    damage = "" if found is None or found.damage is None else f"{found.damage}; the entries that are intact are used"
    if inner is not None:
        return inner, damage
    if found is None:
        return None, "raw: this stream does not describe its fields"
    return None, damage or "raw: the VM description does not have this section"


def _cpu_of(stream: Stream, section: Section) -> Cpu | None:
    """The CPU whose state a section has."""
    if section.owner is None or section.owner.idstr.rpartition(b"/")[2] != core.X86_CPU:
        return None
    of_cpus = [s for s in reading.named(stream, core.X86_CPU) if s.owner is not None]
    of_cpus.sort(key=lambda s: s.owner.instance_id if s.owner is not None else 0)
    cpus, place = cpus_of(stream), next((i for i, s in enumerate(of_cpus) if s.index == section.index), None)
    return cpus[place] if place is not None and place < len(cpus) else None


def _record_root(record: Record, facts: Facts, data: NDArray[np.uint8]) -> Field:
    """The fields of a record, with those of its delta where the dialect is known."""
    settings = facts.reading
    raw = data[record.offset : record.end].tobytes()
    if record.payload == record.offset:  # from a channel, or at its own place in the file: there is only the page
        return Field("page", record.offset, len(raw), raw, raw)
    version = facts.ram_version or settings.version
    root = record_tree(raw, record.offset, version, settings.dialect, settings.endian, settings.page_size)
    return expanded(root, settings.dialect) if settings.dialect is not None else root


# -- all devices -------------------------------------------------------------------------------------------------------


def counts(stream: Stream, indices: Sequence[int], left: Callable[[], bool]) -> Iterator[dict[int, int | None]]:
    """For each of these sections its index, and how many fields its data has, None where nothing describes them.

    They come in batches of `BATCH`. Ends where the user has ``left``.
    """
    found: dict[int, int | None] = {}
    for index in indices:
        if left():
            return
        try:
            inner = _device_fields(stream, stream.sections[index])[0]
        except XbrleError:
            yield found  # what was counted before
            raise
        found[index] = None if inner is None else leaf_count(inner)
        if len(found) == BATCH:
            yield found
            found = {}
    yield found


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a section, by the path below the section's root."""

    item: Item
    path: FieldPath


def find(
    session: Session, text: str, start: tuple[Item, FieldPath], indices: Sequence[int], left: Callable[[], bool]
) -> Place | None:
    """The next field after ``start`` whose device and name have all words of ``text``, and its own name one of them.

    It is looked for in what is shown now, then in the devices with these ``indices``, and again from the first on.
    """
    words, (shown_item, path) = text.lower().split(), start
    if not words:
        return None
    order = [Item(Part.SECTION, i) for i in indices]
    begin = order.index(shown_item) + 1 if shown_item in order else 0
    order = [*order[begin:], *order[:begin]]
    for item in (shown_item, *(i for i in order if i != shown_item), shown_item):
        if left():
            return None
        taken = take(session, item)
        found = next((p for p in _matching(taken, words) if item != shown_item or p > path), None)
        if found is not None:
            return Place(item, found)
        path = ()  # once around: from the first field on
    return None


def _matching(taken: Taken, words: Sequence[str]) -> Iterator[FieldPath]:
    """The paths of the fields that are meant, in their order."""
    owner = shown(taken.owner[0]).lower() if taken.owner is not None else ""
    for path, one in walk(taken.root):
        own = one.name.lower()
        if any(word in own for word in words):
            name = f"{owner} {name_of(taken.root, path)}".lower()
            if all(word in name for word in words):
                yield path


def differences_to(session: Session, other: Path | Capture, left: Callable[[], bool]) -> list[DeviceDifference]:
    """In what the devices of another capture differ, at most `DIFFERENCES_MAX`. One that is open stays so.

    Raises:
        XbrleError: the capture cannot be read.
    """
    if isinstance(other, Path):
        with open_capture(other) as opened:
            return differences_to(session, opened, left)
    found = list[DeviceDifference]()
    for difference in device_differences(session.stream(), other.stream):
        found.append(difference)
        if left() or len(found) == DIFFERENCES_MAX:
            break
    return found


def as_a_whole(differences: Sequence[DeviceDifference], owner: tuple[bytes, int] | None) -> str:
    """In what a device differs that is not in a field of it, in words."""
    of_it = [d for d in differences if (d.section, d.instance) == owner and d.field is None]
    return "; ".join(f"{d.what.value} {_brief(d.first)} here, {_brief(d.second)} there" for d in of_it)


def _brief(value: object) -> str:
    return "none" if value is None else str(value) if isinstance(value, int) else text_of(value)


def in_words(differences: Sequence[DeviceDifference], in_devices: int) -> str:
    """How many differences, in how many devices, and the first devices that only the other capture has."""
    if not differences:
        return "no device differs"
    most = "at least " if len(differences) == DIFFERENCES_MAX else ""
    said = f"{most}{counted(len(differences), 'difference')} in {counted(in_devices, 'device')}"
    missing = [d for d in differences if d.what is What.SECTION and d.first is None and d.section is not None]
    names = ", ".join(f"{shown(d.section or b'')} {d.instance}" for d in missing[:_NAMED])
    return f"{said}; only there: {names}{' ...' if len(missing) > _NAMED else ''}" if missing else said


def by_name(differences: Sequence[DeviceDifference], owner: tuple[bytes, int] | None) -> Mapping[str, str]:
    """What the other capture has in the fields of a device that differ, by their names."""
    out = {}
    for d in differences:
        if (d.section, d.instance) == owner and d.field is not None:
            what = "nothing" if d.second is None else text_of(d.second)
            if d.changed and isinstance(d.second, tuple):
                what = ", ".join(f"[{i}] {d.second[i]:#x}" for i in d.changed[:4])
            out[d.field] = what
    return out
