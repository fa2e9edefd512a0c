"""Where a libvirt save file's XML says that memory devices lie, and how large NUMA nodes are.

Facts: formats/README.md, "Where memory lies", and libvirt's "Domain XML format", Memory devices. The XML is libvirt's
own account of the guest that it started. libvirt calls the block of the module in slot N memdimmN or memnvdimmN.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from ..model import Block, Stream, once
from ..source.wrappers import LibvirtSave
from ..text import shown
from .layout import Range

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12} | {
    name: 1 << 10 * power
    for power, names in enumerate((("k", "kib"), ("m", "mib"), ("g", "gib"), ("t", "tib")), 1)
    for name in names
}
_OWN_NAME = re.compile(rb"mem(?:nv)?dimm(\d+)")
MODULES = ("dimm", "nvdimm")


class Module(NamedTuple):
    """A DIMM or an NVDIMM: its slot, where it begins, its size, and how much of that the guest has as memory."""

    slot: int
    start: int
    size: int
    usable: int


class Domain(NamedTuple):
    """What the XML says: bytes of each NUMA node by its number, and the memory modules with an address."""

    nodes: tuple[tuple[int, int], ...]
    modules: tuple[Module, ...]


@once
def domain(stream: Stream) -> Domain | None:
    """What the XML of a libvirt save file says, or None where the capture is not one or its XML cannot be read."""
    wrapping = getattr(stream.source, "wrapping", None)
    return parse(wrapping.xml) if isinstance(wrapping, LibvirtSave) else None


def parse(xml: bytes) -> Domain | None:
    """What a domain's XML says, or None where it cannot be read. XML that declares entities is not libvirt's."""
    if b"<!" in xml.replace(b"<!--", b""):
        return None
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(xml)
        cells = [(int(c.get("id", str(i))), _size(c)) for i, c in enumerate(root.iterfind("cpu/numa/cell"))]
        modules = [_module(m) for m in root.iterfind("devices/memory") if m.get("model") in MODULES]
    except (ElementTree.ParseError, ValueError, KeyError):
        return None
    return Domain(tuple(sorted(c for c in cells if c[1])), tuple(m for m in modules if m is not None))


def _module(memory: "Element") -> Module | None:
    size, address = memory.find("target/size"), memory.find("address[@type='dimm']")
    if size is None or address is None or address.get("base") is None:
        return None
    label, length = memory.find("target/label/size"), _bytes(size.text or "", size.get("unit"))
    used = _bytes(label.text or "", label.get("unit")) if label is not None else 0
    return Module(int(address.get("slot", "-1")), int(address.get("base", ""), 0), length, length - used)


def _size(cell: "Element") -> int:
    return _bytes(cell.get("memory", "0"), cell.get("unit"))


def _bytes(number: str, unit: str | None) -> int:
    return int(number) * _UNITS[(unit or "KiB").lower()]


def place(stream: Stream, block: Block) -> Range | None:
    """Where the XML says that a block lies: by the name that libvirt gave it, or by a length that only one has."""
    about = domain(stream)
    if about is None:
        return None
    own = _OWN_NAME.fullmatch(block.name)
    if own:
        found = [m for m in about.modules if m.slot == int(own[1]) and m.size == block.length]
    else:
        twins = sum(b.length == block.length for b in stream.blocks)
        found = [m for m in about.modules if m.size == block.length] if twins == 1 else []
    if len(found) != 1:
        return None
    evidence = f"libvirt's XML: the module in slot {found[0].slot} ({shown(block.name)})"
    return Range(found[0].start, found[0].usable, block.name, 0, evidence)
