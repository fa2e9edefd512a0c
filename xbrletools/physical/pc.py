"""The PC: RAM below the hole under 4 GiB and above it, firmware, and what shows below 1 MiB.

Facts: formats/README.md, "Where memory lies". CMOS states the two sizes, SRAT the ranges. e820 is a second witness.
Only where a stream has no CMOS does the machine's name decide. All PCs go this way: i440fx, q35, isapc, microvm.
"""

import re
from collections.abc import Sequence

import numpy as np

from ..formats import machine
from ..formats.elf import Machine
from ..model import Block, Stream
from ..text import shown
from . import acpi, e820, libvirt, pci, reading, rtc
from .draft import Draft, other
from .layout import GIB, KIB, MIB, Range, covered
from .segments import NODES_MAX, Segment, by_node, choose, fill, in_order

ABOVE_4G = 4 * GIB
AMD_HOLE = 0xFD00000000  # RAM of a guest with an AMD CPU that would reach this address begins at 1 TiB instead
ABOVE_AMD_HOLE = 1 << 40
PCI_WINDOW = 32 * GIB  # what q35 keeps free above RAM for PCI
AMD_HOLE_SINCE = (7, 1)
VGA_WINDOW = (0xA0000, 0xC0000)
LEGACY = 0xC0000  # where option ROMs begin
SHADOW_MAX = 128 * KIB  # how much of the firmware shows below 1 MiB
SHADOW = 64 * KIB  # how much of its copy always lies there, where a BIOS ran
USUAL = (b"pc.ram", b"microvm.ram")
_ONLY_PC = (*USUAL, b"pc.bios", b"isa-bios", b"system.flash0")

PC_SPLIT = (0xE0000000, 0xC0000000)  # i440fx: RAM that reaches the first is split there; since 2.0 at the second
Q35_SPLIT = (0xB0000000, 0x80000000)  # q35: the same
MICROVM_SPLIT = 0xC0000000
ALIGNED_SINCE = (2, 0)  # gigabyte_align is off in the machine types of 1.7 and before
_PC = re.compile(rb"(?:pc(?:-i440fx)?|rhel\d.*)(?:-(\d+)\.(\d+).*|-.+)?")
_Q35 = re.compile(rb"(?:pc-)?q35(?:-(\d+)\.(\d+).*|-.+)?")
_NO_BRIDGE = (b"isapc", b"microvm")


def is_pc(stream: Stream) -> bool:
    """Whether the guest is a PC, by its clock, its blocks or its name."""
    name = stream.facts.machine or b""
    by_name = _PC.fullmatch(name) or _Q35.fullmatch(name) or name in _NO_BRIDGE
    return bool(by_name) or rtc.sizes(stream) is not None or any(b.name in _ONLY_PC for b in stream.blocks)


def draft(stream: Stream) -> Draft:
    """The map of a PC as far as RAM, firmware and the range below 1 MiB go."""
    out = Draft(machine=Machine.X86_64)
    candidates = [b for b in stream.blocks if b.declared and b.length and other(stream, b) is None]
    stated = rtc.sizes(stream)
    tables = acpi.tables(stream)
    segments = _stated(out, stated, tables, candidates) if stated is not None else _by_rule(stream, out, candidates)
    if segments:
        ram_nodes = by_node(segments)
        single = tables is not None and len(ram_nodes) < 2
        if not ram_nodes and (about := libvirt.domain(stream)) is not None and len(about.nodes) > 1:
            segments, single = _by_cells(segments, about.nodes), False
        choice = choose(candidates, segments, USUAL, single)
        out.notes += choice.notes
        if choice.blocks is None:
            out.refused = choice.why
        elif (elsewhere := _shadow_elsewhere(stream, choice.blocks)) is not None:
            first = shown(choice.blocks[0].name)
            out.refused = f"{first} would be first, and the BIOS lies in {shown(elsewhere)} as it does below 1 MiB"
        else:
            if stated is not None:
                segments = _above(stream, out, segments, choice.blocks[0])
            out.origin.append(choice.why)
            out.ram = fill(segments, choice.blocks, "; ".join(out.origin))
    _firmware(stream, out)
    return out


def _stated(
    out: Draft, stated: rtc.Sizes, tables: acpi.Tables | None, candidates: Sequence[Block]
) -> list[Segment] | None:
    """The ranges of RAM by CMOS and SRAT, or None where they disagree. ``out.refused`` then says so."""
    out.origin.append(f"CMOS: {stated.low:,} bytes below 4 GiB and {stated.high:,} above")
    high = stated.high
    longest = max((b.length for b in candidates), default=0)
    if longest - stated.low - high >= machine.CMOS_WRAPS:  # it counts modulo 1 TiB
        high += (longest - stated.low - high) // machine.CMOS_WRAPS * machine.CMOS_WRAPS
    if tables is None or not tables.ram:
        return [s for s in (Segment(0, stated.low), Segment(ABOVE_4G, high)) if s.length]
    low = sum(s.length for s in tables.ram if s.start < ABOVE_4G)
    above = sum(s.length for s in tables.ram if s.start >= ABOVE_4G)
    if low != stated.low or above % machine.CMOS_WRAPS != stated.high:
        out.refused = f"CMOS states {stated.low:,} and {stated.high:,} bytes of RAM, SRAT {low:,} and {above:,}"
        return None
    if not in_order(tables.ram):
        out.refused = "SRAT lists NUMA nodes out of order"
        return None
    out.origin.append("SRAT agrees")
    return list(tables.ram)


def _by_cells(segments: list[Segment], cells: Sequence[tuple[int, int]]) -> list[Segment]:
    """The ranges of RAM with the NUMA nodes of libvirt's XML. They stay as they are where the sizes differ."""
    if sum(length for _, length in cells) != sum(s.length for s in segments):
        return segments
    out, left = [], [(s.start, s.length) for s in segments]
    for node, length in cells:
        while length and left:
            start, there = left.pop(0)
            part = min(length, there)
            out.append(Segment(start, part, node))
            length -= part
            if part < there:
                left.insert(0, (start + part, there - part))
    return out


def _by_rule(stream: Stream, out: Draft, candidates: Sequence[Block]) -> list[Segment] | None:
    """The ranges of RAM by the machine's name, for a stream without CMOS."""
    name = stream.facts.machine or b""
    numbered = [b for b in candidates if b"ram-node" in b.name]
    usual = [b for b in candidates if b.name in USUAL]
    main = usual[:1] or numbered or (list(candidates) if len(candidates) == 1 else [])
    if not main:
        out.refused = "the stream has no CMOS, which states the size of RAM, and no block with a usual name"
        return None
    length = sum(b.length for b in main)
    if name == b"microvm" or main[0].name == b"microvm.ram":
        out.origin.append("rules of microvm: RAM up to 3 GiB lies below 4 GiB")
        low = min(length, MICROVM_SPLIT)
    else:
        low = _rule_split(stream, out, name, length)
    return [s for s in (Segment(0, low), Segment(ABOVE_4G, length - low)) if s.length]


def _rule_split(stream: Stream, out: Draft, name: bytes, length: int) -> int:
    """How much of ``length`` bytes of RAM lies below 4 GiB by the rules of the machine."""
    q35 = _Q35.fullmatch(name)
    match = q35 or _PC.fullmatch(name)
    version = (int(match[1]), int(match[2])) if match and match[1] else None
    aligned = version >= ALIGNED_SINCE if version else any(b.name.startswith(b"/rom@etc/") for b in stream.blocks)
    reach, split = Q35_SPLIT if q35 else PC_SPLIT
    machine_words = f"machine {shown(name)}" if name else "machine not named"
    out.origin.append(f"rules of {'q35' if q35 else 'i440fx'}, {machine_words}, since the stream has no CMOS")
    if name == b"isapc" or length < reach:
        return length
    split = split if aligned else reach
    out.assumed = True
    out.notes.append(
        f"RAM from {split:#x} on is assumed to lie at 4 GiB: the stream has no CMOS, which states it, "
        "and max-ram-below-4g or the machine's version may differ"
    )
    return split


def _above(stream: Stream, out: Draft, segments: list[Segment], first: Block) -> list[Segment]:
    """The ranges with RAM above 4 GiB where it begins. There are none where that cannot be told.

    SRAT says it. Without SRAT the firmware's map (e820) does. So does the DSDT of a guest that set up no PCI memory
    above RAM: there PCI's window begins where RAM ends, rounded up to 1 GiB.
    """
    high = [s for s in segments if s.start >= ABOVE_4G]
    if not high:
        return segments
    base, length = min(s.start for s in high), sum(s.length for s in high)
    told = e820.high_ram(stream, first)
    if told and (told[0][0], sum(n for _, n in told)) == (base, length):
        out.origin.append("e820 agrees")
        return segments
    if told and (high[0].node is not None or len(told) > 1 or told[0][1] != length):
        out.refused = f"the firmware's map (e820) has RAM above 4 GiB at {told[0][0]:#x}, other evidence at {base:#x}"
        return []
    if high[0].node is not None:
        return segments
    below = [s for s in segments if s.start < ABOVE_4G]
    if told:
        out.origin.append(f"e820: RAM above 4 GiB begins at {told[0][0]:#x}")
        return [*below, Segment(told[0][0], length)]
    tables = acpi.tables(stream)
    fitting = [b for b in (ABOVE_4G, ABOVE_AMD_HOLE) if -(-(b + length) // GIB) * GIB in (tables.pci if tables else ())]
    if len(fitting) == 1:
        out.origin.append(f"DSDT: PCI's window follows RAM from {fitting[0]:#x} on")
        return [*below, Segment(fitting[0], length)]
    version = re.search(rb"-(\d+)\.(\d+)", stream.facts.machine or b"")
    before = version is not None and (int(version[1]), int(version[2])) < AMD_HOLE_SINCE
    if not before and -(-(base + length) // GIB) * GIB + PCI_WINDOW >= AMD_HOLE:
        out.refused = "on AMD CPUs this much RAM begins at 1 TiB, and neither SRAT, e820 nor DSDT is there to tell"
        return []
    return segments


def _shadow_elsewhere(stream: Stream, blocks: Sequence[Block]) -> bytes | None:
    """The block that holds a copy of the BIOS where the first one has it, if the first one does not have it.

    A BIOS that ran left a copy of its end below 1 MiB. So names of NUMA nodes of equal length can be held against it.
    """
    bios = next((b for b in stream.blocks if b.name == b"pc.bios" and b.length >= SHADOW), None)
    own = reading.read(stream, bios.name, bios.length - SHADOW, SHADOW) if bios is not None else None
    if own is None or len(blocks) < 2 or len(blocks) > NODES_MAX:
        return None
    alike = [block.name for block in blocks if _alike(own, reading.read(stream, block.name, MIB - SHADOW, SHADOW))]
    return alike[0] if alike and blocks[0].name not in alike else None


def _alike(own: bytes, copy: bytes | None) -> bool:
    """Whether a copy is that of the BIOS, which keeps variables of its own in it."""
    if copy is None:
        return False
    differ = np.frombuffer(own, np.uint8) != np.frombuffer(copy, np.uint8)
    return int(np.count_nonzero(differ)) < SHADOW // 8


def _firmware(stream: Stream, out: Draft) -> None:
    """Flash and BIOS below 4 GiB, and what shows between 640 KiB and 1 MiB."""
    lengths = {b.name: b.length for b in stream.blocks if b.declared and b.length}
    top, first = ABOVE_4G, None
    for name in (b"pc.bios",) if b"pc.bios" in lengths else (b"system.flash0", b"system.flash1"):
        length = lengths.get(name, 0)
        if 0 < length <= top - max((r.end for r in out.ram if r.start < ABOVE_4G), default=0):
            top -= length
            out.over.append(Range(top, length, name, 0, "firmware ends at 4 GiB"))
            first = first or name
    legacy = []
    if 0 < (length := lengths.get(b"pc.rom", 0)) <= MIB - LEGACY:
        legacy.append(Range(LEGACY, length, b"pc.rom", 0, "option ROMs begin at 0xc0000"))
    if 0 < (length := lengths.get(b"isa-bios", 0)) <= MIB - LEGACY:
        legacy.append(Range(MIB - length, length, b"isa-bios", 0, "firmware ends at 1 MiB"))
    elif first is not None:
        length = min(lengths[first], SHADOW_MAX)
        legacy.append(Range(MIB - length, length, first, lengths[first] - length, "firmware ends at 1 MiB"))
    registers = pci.pam(stream)
    if registers is not None:
        ram = [Range(s.start, s.length, b"", 0) for s in registers if s.ram]
        out.over += covered(legacy, ram)
    elif (stream.facts.machine or b"") in _NO_BRIDGE or reading.named(stream, machine.RTC):
        out.over += legacy
    elif out.end > LEGACY:
        out.notes.append(
            "0xc0000 to 0xfffff is mapped to the RAM that shadows the BIOS, as it is after the BIOS has run"
        )
    if out.end > VGA_WINDOW[0] and pci.has_vga(stream):
        out.holes.append((*VGA_WINDOW, "RAM behind the window of the VGA adapter"))
        out.notes.append("0xa0000 to 0xbffff is the VGA window and left out; the RAM behind it is in the block")
