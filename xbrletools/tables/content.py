"""The tables of one capture's content: blocks, sections, records, findings, fields of devices."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from ..analysis.facts import gather
from ..arrow.tables import ArrowTable
from ..container import devices
from ..container.fields import Field
from ..errors import XbrleError
from ..formats import block, ram
from ..model import Stream, once
from ..table.sections import Boundary, Section
from ..text import label, shown
from ..verify.checker import found_in
from ..verify.verdict import Verdict, verdict
from . import schema
from .schema import of_rows

RAW_MAX = 256  # bytes of a field that are kept
VALUE_MAX = 1 << 12  # characters of a value
_INT64 = 1 << 63


@once
def verdict_of(stream: Stream) -> Verdict:
    """The conclusion about a capture."""
    return verdict(found_in(stream))


def blocks(stream: Stream) -> ArrowTable:
    """The RAM blocks."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for i, use in enumerate(gather(stream).blocks):
            b = use.block
            size = b.page_size or stream.page_size
            yield shown(b.name), i, b.length, b.declared, b.address, size, use.records, use.passes

    return of_rows(schema.BLOCKS, rows)


def sections(stream: Stream) -> ArrowTable:
    """The sections."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for s in stream.sections:
            owner = (None,) * 4
            if s.owner is not None:
                o = s.owner
                owner = o.section_id, shown(o.idstr), o.instance_id, o.version_id  # type: ignore[assignment]
            ended = s.found_by is not Boundary.CUT
            end = (s.end, s.found_by.name.lower()) if ended else (None, None)
            yield s.index, s.type.name.lower(), *owner, s.offset, s.data, *end

    return of_rows(schema.SECTIONS, rows)


def records(stream: Stream) -> ArrowTable:
    """The records."""
    return schema.named(schema.RECORDS, stream.records.arrow)


def findings(stream: Stream) -> ArrowTable:
    """The findings with the cause of each."""

    def rows() -> Iterator[tuple[Any, ...]]:
        concluded = verdict_of(stream)
        assert concluded.shared is not None
        for f, index in concluded.shared:
            cause = concluded.causes[index] if index >= 0 else None
            yield (
                f.rule,
                f.severity.value,
                f.message,
                f.offset,
                f.record,
                f.section,
                None if f.block is None else shown(f.block),
                f.page,
                None if cause is None else cause.name.value,
                None if cause is None else cause.sure.value,
                json.dumps(f.evidence),
            )

    return of_rows(schema.FINDINGS, rows)


# -- devices -----------------------------------------------------------------------------------------------------------


def device_fields(stream: Stream) -> ArrowTable:
    """The fields of every section that has an owner and is neither RAM nor a disk.

    What nothing describes is one field.
    """
    return of_rows(schema.DEVICES, lambda: _device_rows(stream))


def device_damage(stream: Stream) -> str | None:
    """Why not all fields of devices can be told, or None where they can."""
    try:
        found = devices.description(stream)
    except XbrleError as error:
        return str(error)
    return None if found is None else found.damage


def _device_rows(stream: Stream) -> Iterator[tuple[Any, ...]]:
    try:
        entries: Any = devices.entries(stream)
    except XbrleError:  # `device_damage` says so
        entries = {}
    for section in stream.sections:
        owner = section.owner
        if owner is None or owner.idstr in (ram.IDSTR, block.IDSTR):
            continue
        device = shown(owner.idstr), owner.instance_id, owner.version_id
        for path, leaf in _leaves(_tree(stream, section, entries.get(section.index)), ""):
            value, number = _value(leaf)
            raw = bytes(leaf.raw[:RAW_MAX])
            yield section.index, *device, label(path), leaf.offset, leaf.size, value, number, raw


def _tree(stream: Stream, section: Section, device: Any) -> Field:
    """The section's data as a field, with its parts where something describes them."""
    data = stream.data[section.data : section.end].tobytes()
    try:
        found = devices.fields(section, data, device)
    except XbrleError:
        found = None
    return found or Field("data", section.data, len(data), None, data)


def _leaves(field: Field, path: str) -> Iterator[tuple[str, Field]]:
    if not field.children:
        yield path or field.name, field
        return
    for child in field.children:
        inner = f"{path}.{child.name}" if path and not child.name.startswith("[") else path + child.name
        yield from _leaves(child, inner)


def _value(field: Field) -> tuple[str | None, int | None]:
    """A field's value as text, and as a number where it is one that fits."""
    value = field.value
    if isinstance(value, bool | int):
        return str(int(value)), int(value) if -_INT64 <= value < _INT64 else None
    if isinstance(value, tuple):
        return " ".join(map(str, value))[:VALUE_MAX], None
    if isinstance(value, str):
        return value[:VALUE_MAX], None
    return None, None


#: What makes each table of a capture's content.
MAKERS: dict[str, Callable[[Stream], ArrowTable]] = {
    "blocks": blocks,
    "sections": sections,
    "records": records,
    "findings": findings,
    "devices": device_fields,
}
