"""The devices on the report's page: which sections there are, and how much of each its description names."""

from itertools import islice

from ...container import devices
from ...container.fields import Field
from ...errors import XbrleError
from ...formats.qevm import SectionType
from ...table.sections import Section
from ...text import shown
from .gather import Report
from .markup import Markup, code, more, note, section, table, tag

SHOWN = 80  # devices


def devices_section(report: Report) -> Markup:
    """What `xbrle dump --devices` answers, without the fields themselves."""
    stream = report.stream
    told: list[Markup] = []
    entries = None
    try:
        entries = devices.entries(stream) if stream.facts.vmdesc is not None else None
    except XbrleError as error:
        told.append(note(f"Not taken apart: {error}."))
    count = sum(1 for _ in stream.sections.of_types(SectionType.FULL))
    if not count:
        return section("devices", "Devices", tag("p", "The stream does not have a device section."), *told)
    rows = []
    for one in islice(stream.sections.of_types(SectionType.FULL), SHOWN):
        tree = None
        if entries is not None and entries.get(one.index) is not None:
            tree = devices.fields(one, stream.data[one.data : one.end].tobytes(), entries.get(one.index))
        rows.append(_row(one, tree) if entries is not None else _row(one, tree)[:-1])
    heads = ["device", "instance", "version", "offset", "bytes", "fields"][: len(rows[0])]
    if entries is not None:
        dump = code("xbrle dump S --devices --fields")
        told.append(note("Fields: how many the VM description names. ", dump, " lists them."))
    elif stream.facts.vmdesc is None:
        told.append(note("The stream does not have a VM description, so their fields are not named."))
    listed = table("Device sections", heads, rows, len(heads) - 1)
    return section("devices", "Devices", listed, *more(count, SHOWN, "devices"), *told)


def _row(one: Section, tree: Field | None) -> tuple[object, ...]:
    owner = one.owner
    return (
        "-" if owner is None else code(shown(owner.idstr)),
        "-" if owner is None else owner.instance_id,
        "-" if owner is None else owner.version_id,
        code(f"{one.offset:#x}"),
        f"{one.end - one.data:,}",
        "not described" if tree is None else f"{_leaves(tree):,}",
    )


def _leaves(tree: Field) -> int:
    """How many fields there are that hold a value."""
    waiting, count = [tree], 0
    while waiting:
        one = waiting.pop()
        waiting += one.children
        count += not one.children
    return count
