"""Which block's bytes lie at which guest-physical address.

The stream does not record it. A map is given by the user, or follows from the machine's name and the rules of QEMU's
boards (hw/i386/pc_piix.c, pc_q35.c, hw/arm/virt.c; `info mtree` of real captures). Every map says where it is from.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..errors import XbrleError
from ..formats import ram
from ..formats.elf import Machine
from ..model import Stream
from ..text import shown, size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
VGA_WINDOW = (0xA0000, 0xC0000)
ABOVE_4G = 4 * GIB
PC_SPLIT = (0xE0000000, 0xC0000000)  # i440fx: RAM that reaches the first is split there; since 2.0 at the second
Q35_SPLIT = (0xB0000000, 0x80000000)  # q35: the same
FLAT_BIOS = FLAT_ROM = 128 * KIB  # the PC of the v3 trees [C]
FLAT_VGA = 16 * MIB
ALIGNED_SINCE = (2, 0)  # gigabyte_align is off in the machine types of 1.7 and before

_PC = re.compile(rb"pc(?:-i440fx)?(?:-(\d+)\.(\d+).*)?")
_Q35 = re.compile(rb"(?:pc-)?q35(?:-(\d+)\.(\d+).*)?")


@dataclass(frozen=True, slots=True)
class Range:
    """``length`` bytes at guest-physical ``start`` are those of ``block`` from ``offset`` on."""

    start: int
    length: int
    block: bytes
    offset: int

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class PhysicalMap:
    """Guest-physical memory as ranges in rising order that do not overlap.

    ``origin`` says where the map is from, and ``notes`` say what it leaves out or assumes; both are for a person.
    ``machine`` and ``endian`` are the target's, for formats that name them.
    """

    ranges: tuple[Range, ...]
    origin: str
    notes: tuple[str, ...] = ()
    machine: Machine = Machine.NONE
    endian: str = "little"

    @property
    def end(self) -> int:
        """The address after the highest byte."""
        return max((r.end for r in self.ranges), default=0)


def checked(ranges: Iterable[Range], stream: Stream, origin: str, **more: Any) -> PhysicalMap:
    """A map of these ranges.

    Raises:
        XbrleError: there are no ranges, or a range is empty, goes beyond its block, overlaps another one, or names a
            block that the capture does not have.
    """
    lengths = {b.name: b.length for b in stream.blocks}
    ordered = sorted(ranges, key=lambda r: r.start)
    for r in ordered:
        if r.block not in lengths:
            raise XbrleError(f"the map names block {shown(r.block)}, which this capture does not have")
        if r.length <= 0 or r.start < 0 or r.offset < 0 or r.offset + r.length > lengths[r.block]:
            raise XbrleError(f"the map's range at {r.start:#x} lies outside block {shown(r.block)}")
    for before, after in pairwise(ordered):
        if before.end > after.start:
            raise XbrleError(f"the map's ranges at {before.start:#x} and {after.start:#x} overlap")
    if not ordered:
        raise XbrleError("the map is empty")
    return PhysicalMap(tuple(ordered), origin, **more)


def parse_map(text: str, stream: Stream, name: str = "the map") -> PhysicalMap:
    """A map from a user's text.

    The text has lines of START LENGTH BLOCK OFFSET (``#`` begins a comment), or is a JSON list of objects with
    ``start``, ``length``, ``block`` and ``offset``. Numbers are decimal or 0x..., or have the suffix K, M or G.

    Raises:
        XbrleError: it is not written that way, or does not fit the capture.
    """
    try:
        if text.lstrip()[:1] in ("[", "{"):
            listed = json.loads(text)
            listed = listed["ranges"] if isinstance(listed, dict) else listed
            ranges = [
                Range(_number(e["start"]), _number(e["length"]), os.fsencode(e["block"]), _number(e.get("offset", 0)))
                for e in listed
            ]
        else:
            lines = [line.partition("#")[0].split() for line in text.splitlines()]
            ranges = [
                Range(_number(start), _number(length), os.fsencode(block), _number(offset))
                for start, length, block, offset in filter(None, lines)
            ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise XbrleError(f"{name} cannot be read: write lines of START LENGTH BLOCK OFFSET, or a JSON list") from error
    machine, endian = _target(stream)
    return checked(ranges, stream, f"given by the user: {name}", machine=machine, endian=endian)


def _number(value: object) -> int:
    return value if isinstance(value, int) else size(str(value))


def map_of(stream: Stream) -> PhysicalMap:
    """The map that follows from the capture: its machine's name, and its blocks.

    Raises:
        XbrleError: the memory map of this machine is not known; the user must give a map.
    """
    facts = stream.facts
    name = facts.machine or b""
    if facts.reading.version == ram.VERSION_FLAT:
        return _flat_pc(stream)
    blocks = {b.name: b.length for b in stream.blocks}
    machine, endian = _target(stream)
    for board, base in _BOARDS.items():
        if board in blocks:
            ranges = [Range(base, blocks[board], board, 0)]
            for other, at in _BOARD_ROMS.get(board, {}).items():
                if other in blocks:
                    ranges.append(Range(at, blocks[other], other, 0))
            origin = f"the place of {shown(board)} on its board, machine {shown(name) or 'not named'}"
            return checked(ranges, stream, origin, machine=machine, endian=endian)
    if b"pc.ram" in blocks or _PC.fullmatch(name) or _Q35.fullmatch(name):
        return _pc(stream, name, blocks)
    raise XbrleError("the guest-physical addresses of this capture's blocks are not known; a map must be given")


#: RAM of boards whose RAM is one range, by the block's name: `info mtree` of real captures.
_BOARDS = {
    b"mach-virt.ram": 1 * GIB,
    b"s390.ram": 0,
    b"ppc_heathrow.ram": 0,
    b"ppc_core99.ram": 0,
    b"ppc_spapr.ram": 0,
    b"riscv_virt_board.ram": 2 * GIB,
}
_BOARD_ROMS = {
    b"mach-virt.ram": {b"virt.flash0": 0, b"virt.flash1": 64 * MIB},
    b"ppc_heathrow.ram": {b"ppc_heathrow.bios": 0xFFC00000},
}
_TARGETS = {
    b"mach-virt.ram": (Machine.AARCH64, "little"),
    b"s390.ram": (Machine.S390, "big"),
    b"ppc_heathrow.ram": (Machine.PPC, "big"),
    b"ppc_core99.ram": (Machine.PPC, "big"),
    b"ppc_spapr.ram": (Machine.PPC64, "big"),
    b"riscv_virt_board.ram": (Machine.RISCV, "little"),
}


def _target(stream: Stream) -> tuple[Machine, str]:
    """The target's machine and byte order, by its RAM block. A PC counts as a 64-bit one, which has both modes."""
    for block in stream.blocks:
        if block.name in _TARGETS:
            return _TARGETS[block.name]
    return Machine.X86_64, "little"


def _pc(stream: Stream, name: bytes, blocks: dict[bytes, int]) -> PhysicalMap:
    """A PC: RAM from 0 to the hole below 4 GiB and from 4 GiB on, the BIOS right below 4 GiB."""
    main = b"pc.ram" if b"pc.ram" in blocks else next(iter(blocks))
    length = blocks[main]
    q35 = _Q35.fullmatch(name)
    match = q35 or _PC.fullmatch(name)
    version = (int(match[1]), int(match[2])) if match and match[1] else None
    aligned = version >= ALIGNED_SINCE if version else any(b.startswith(b"/rom@") for b in blocks)
    reach, split = Q35_SPLIT if q35 else PC_SPLIT
    if not aligned:
        split = reach
    notes = ["0xc0000 to 0xfffff is mapped to the RAM that shadows the BIOS, as it is after the BIOS has run"]
    if name == b"isapc" or length < reach:
        low = length
    else:
        low = split
        notes.append(f"RAM from {split:#x} on is assumed to lie at 4 GiB: the stream does not record max-ram-below-4g")
    if main != b"pc.ram":
        notes.append(f"block {shown(main)} is assumed to be the main memory")
    board = "q35" if q35 else "i440fx"
    origin = f"machine {shown(name)}, rules of {board}" if name else "rules of the i440fx PC (machine not named)"
    if version is None and length >= reach:
        notes.append(f"the machine's version is not named; assumed to be {'2.0 or later' if aligned else 'before 2.0'}")
    ranges = _around_vga(main, low, _has_vga(stream), notes)
    if low < length:
        ranges.append(Range(ABOVE_4G, length - low, main, low))
    bios = blocks.get(b"pc.bios", 0)
    if 0 < bios <= ABOVE_4G - low:
        ranges.append(Range(ABOVE_4G - bios, bios, b"pc.bios", 0))
    return checked(ranges, stream, origin, notes=tuple(notes), machine=Machine.X86_64)


def _has_vga(stream: Stream) -> bool:
    """Whether the guest has a VGA adapter, whose memory is a block. The adapter's window hides RAM."""
    return any(b"vga" in b.name or b"qxl" in b.name for b in stream.blocks)


def _around_vga(block: bytes, low: int, hidden: bool, notes: list[str]) -> list[Range]:
    """RAM below the hole, without the window of the VGA adapter, in which the guest does not see RAM."""
    start, end = VGA_WINDOW
    if not hidden or low <= end:
        return [Range(0, low, block, 0)] if not hidden else [Range(0, min(low, start), block, 0)]
    notes.append(f"{start:#x} to {end - 1:#x} is the VGA window and left out; the RAM behind it is in the block")
    return [Range(0, start, block, 0), Range(end, low - end, block, end)]


def _flat_pc(stream: Stream) -> PhysicalMap:
    """The PC of the v3 trees: one space that holds RAM, the BIOS, option ROMs and VGA memory in this order."""
    block = stream.blocks[0]
    length = block.length - FLAT_BIOS - FLAT_ROM - FLAT_VGA
    if length < MIB or length % MIB:
        raise XbrleError("this v3 capture does not have the layout of the PC of its time; a map must be given")
    low = min(length, PC_SPLIT[0])
    notes = [
        "RAM is ram_addr space without 128 KiB of BIOS, 128 KiB of option ROMs and 16 MiB of VGA memory at its end",
        "0xc0000 to 0xeffff is ROM, 0xf0000 to 0xfffff the RAM that shadows the BIOS, as captures of these trees show",
    ]
    ranges = [
        Range(0, VGA_WINDOW[0], block.name, 0),
        Range(0xC0000, FLAT_ROM, block.name, length + FLAT_BIOS),
        Range(0xE0000, 0x10000, block.name, length),
        Range(0xF0000, low - 0xF0000, block.name, 0xF0000),
        Range(ABOVE_4G - FLAT_BIOS, FLAT_BIOS, block.name, length),
    ]
    notes.append("0xa0000 to 0xbffff is the VGA window and left out; the RAM behind it is in the block")
    if low < length:
        ranges.append(Range(ABOVE_4G, length - low, block.name, low))
        notes.append("RAM from 0xe0000000 on lies at 4 GiB")
    return checked(ranges, stream, "rules of the PC of 2010", notes=tuple(notes), machine=Machine.X86_64)
