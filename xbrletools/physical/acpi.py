"""What ACPI tables say of memory: SRAT's ranges of RAM, the area for hot-plugged memory, and NFIT's NVDIMMs.

Facts: formats/README.md, "Where memory lies". QEMU writes these tables when the machine is made. The block that holds
them is the file before the firmware fills in sums, so no sum is checked. A table counts where its entries come to its
end exactly.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from construct import ConstructError

from ..formats import Grammar, acpi
from ..model import Stream, once
from . import reading
from .segments import Segment

KIB = 1 << 10
BELOW_VGA = 640 * KIB  # SRAT leaves out the RAM of a PC between this and 1 MiB
HOLE_END = 1024 * KIB
ABOVE_4G = 1 << 32


class Tables(NamedTuple):
    """What the tables say. ``ram`` are the ranges of RAM with their domains, empty where there is no SRAT.

    ``hotplug`` is where hot-plugged memory goes, and ``persistent`` are the NVDIMMs, each as (start, length).
    ``pci`` are the addresses where windows for PCI memory begin that lie above 4 GiB.
    """

    ram: tuple[Segment, ...] = ()
    hotplug: tuple[int, int] | None = None
    persistent: tuple[tuple[int, int], ...] = ()
    pci: tuple[int, ...] = ()


@once
def tables(stream: Stream) -> Tables | None:
    """The tables of a stream, or None where it does not have them whole."""
    block = next((b for b in stream.blocks if b.name == acpi.BLOCK), None)
    file = reading.read(stream, block.name, 0, block.length) if block is not None else None
    if file is None:
        return None
    srat = _entries(file, acpi.SRAT, acpi.SRAT_ENTRIES_AT, acpi.SratEntry) or []
    nfit = _entries(file, acpi.NFIT, acpi.NFIT_ENTRIES_AT, acpi.NfitEntry) or []
    memory = list(_parsed(srat, acpi.Affinity))
    known = acpi.HOTPLUG | acpi.NONVOLATILE
    ram = [Segment(e.start, e.size, e.domain) for e in memory if e.flags & acpi.ENABLED and not e.flags & known]
    hot = [(e.start, e.size) for e in memory if e.flags & acpi.HOTPLUG and e.size]
    persistent = tuple((e.start, e.size) for e in _parsed(nfit, acpi.PersistentRange))
    windows = tuple(_windows(file))
    return Tables(_with_the_hole([s for s in ram if s.length]), hot[0] if hot else None, persistent, windows)


def _windows(file: bytes) -> Iterator[int]:
    """Where the 64-bit windows for PCI memory begin, as the DSDT declares them."""
    at = file.find(acpi.QWORD_TAG)
    while at >= 0:
        try:
            window = acpi.QWordRange.parse(file[at:])
        except ConstructError:
            return
        if ABOVE_4G <= window.minimum <= window.maximum and window.length == window.maximum - window.minimum + 1:
            yield int(window.minimum)
        at = file.find(acpi.QWORD_TAG, at + 1)


def _with_the_hole(ram: list[Segment]) -> tuple[Segment, ...]:
    """The ranges with the RAM between 640 KiB and 1 MiB, which a PC has and its SRAT does not list."""
    ordered = sorted(ram, key=lambda s: s.start)
    if ordered and (ordered[0].start, ordered[0].length) == (0, BELOW_VGA):
        ordered[0] = Segment(0, HOLE_END, ordered[0].node)
    return tuple(ordered)


def _entries(file: bytes, signature: bytes, at: int, entry: Grammar) -> list[bytes] | None:
    """The entries of the first table with this signature whose entries come to its end exactly."""
    start = file.find(signature)
    while start >= 0:
        try:
            head = acpi.Header.parse(file[start:])
        except ConstructError:
            return None
        if head.revision in acpi.REVISIONS and at <= head.length <= len(file) - start:
            found = list(_split(file[start + at : start + head.length], entry))
            if sum(map(len, found)) == head.length - at:
                return found
        start = file.find(signature, start + 1)
    return None


def _split(body: bytes, entry: Grammar) -> Iterator[bytes]:
    at = 0
    while at + entry.sizeof() <= len(body):
        length = entry.parse(body[at:]).length
        if length < entry.sizeof() or at + length > len(body):
            return
        yield body[at : at + length]
        at += length


def _parsed(entries: list[bytes], grammar: Grammar) -> Iterator[Any]:
    for raw in entries:
        try:
            yield grammar.parse(raw)
        except ConstructError:
            continue
