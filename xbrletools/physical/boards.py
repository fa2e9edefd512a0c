"""The boards that are not PCs: where each has its RAM and its flash, by its own fixed rules.

Facts: formats/README.md, "Where memory lies", and `info mtree -f` of QEMU 7.2, 10.0 and 11.1. A device tree or SRAT in
the stream is better evidence of RAM than a row here. To add a board, add its row, and hold it against a real machine.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..formats.elf import Machine
from ..model import Stream
from .layout import GIB, MIB
from .segments import Segment


class Board(NamedTuple):
    """A board. ``ram`` is the name of its one RAM block, ``machines`` what it is called, as a pattern.

    RAM fills ``windows`` in order, (start, length) each. Length None: without end. No windows: only evidence tells.
    ``roms`` are other blocks that the guest sees and where. ``secure`` are blocks that only the secure world sees.
    ``compatible`` is how the board's device tree calls it. ``rounded``: device memory begins at a multiple of 1 GiB.
    """

    name: str
    machine: Machine
    endian: str
    ram: bytes
    machines: str
    windows: tuple[tuple[int, int | None], ...] = ()
    roms: Mapping[bytes, tuple[int, ...]] = MappingProxyType({})
    secure: tuple[bytes, ...] = ()
    compatible: tuple[bytes, ...] = ()
    rounded: bool = True

    def segments(self, total: int) -> list[Segment]:
        """Where ``total`` bytes of RAM lie. The list is shorter where they do not fit into the board's windows."""
        out: list[Segment] = []
        for start, length in self.windows:
            part = total if length is None else min(total, length)
            if part:
                out.append(Segment(start, part))
            total -= part
        return out


def _at(start: int, length: int | None = None) -> tuple[tuple[int, int | None], ...]:
    return ((start, length),)


_ARM_FLASH = {b"virt.flash0": (0,), b"virt.flash1": (64 * MIB,)}

BOARDS = (
    Board(
        "arm virt",
        Machine.AARCH64,
        "little",
        b"mach-virt.ram",
        r"virt(-.*)?",
        _at(GIB),
        _ARM_FLASH,
        (b"virt.secure-ram",),
        (b"linux,dummy-virt",),
    ),
    Board(
        "riscv virt",
        Machine.RISCV,
        "little",
        b"riscv_virt_board.ram",
        r"virt(-.*)?",
        _at(2 * GIB),
        {b"riscv_virt_board.mrom": (0x1000,), b"virt.flash0": (0x20000000,), b"virt.flash1": (0x22000000,)},
        (),
        (b"riscv-virtio",),
    ),
    Board(
        "loongarch virt",
        Machine.LOONGARCH,
        "little",
        b"loongarch.ram",
        r"virt(-.*)?",
        compatible=(b"linux,dummy-loongson3",),
        rounded=False,
    ),
    Board(
        "sifive_u",
        Machine.RISCV,
        "little",
        b"riscv.sifive.u.ram",
        "sifive_u",
        _at(2 * GIB),
        {
            b"riscv.sifive.u.mrom": (0x1000,),
            b"riscv.sifive.u.l2lim": (0x8000000,),
            b"riscv.sifive.u.flash0": (0x20000000,),
        },
        (),
        (b"sifive,hifive-unleashed-a00",),
    ),
    Board("s390 ccw", Machine.S390, "big", b"s390.ram", r"s390-ccw-virtio(-.*)?", _at(0)),
    Board("pseries", Machine.PPC64, "big", b"ppc_spapr.ram", r"pseries(-.*)?", _at(0)),
    Board("powernv", Machine.PPC64, "big", b"pnv.ram", r"powernv\d*", _at(0), compatible=(b"ibm,powernv",)),
    Board(
        "sbsa-ref",
        Machine.AARCH64,
        "little",
        b"sbsa-ref.ram",
        "sbsa-ref",
        _at(1024 * GIB),
        {b"sbsa.flash1": (0x10000000,)},
        (b"sbsa-ref.secure-ram", b"sbsa.flash0"),
        (b"linux,sbsa-ref",),
    ),
    Board(
        "versatile",
        Machine.ARM,
        "little",
        b"versatile.ram",
        "versatile[ap]b",
        _at(0),
        {b"versatile.flash": (0x34000000,)},
    ),
    Board(
        "vexpress-a15",
        Machine.ARM,
        "little",
        b"vexpress.highmem",
        "vexpress-a15",
        _at(2 * GIB),
        {
            b"vexpress.flash0": (0, 0x8000000),
            b"vexpress.flash1": (0xC000000,),
            b"vexpress.sram": (0x14000000,),
            b"vexpress.vram": (0x18000000,),
            b"vexpress.a15sram": (0x2E000000,),
        },
    ),
    Board(
        "vexpress-a9",
        Machine.ARM,
        "little",
        b"vexpress.highmem",
        "vexpress-a9",
        _at(0x60000000),
        {
            b"vexpress.flash0": (0, 0x40000000),
            b"vexpress.flash1": (0x44000000,),
            b"vexpress.sram": (0x48000000,),
            b"vexpress.vram": (0x4C000000,),
        },
    ),
    Board("raspi 0, 1", Machine.ARM, "little", b"ram", "raspi(0|1ap)", _at(0, 0x20000000)),
    Board("raspi 2", Machine.ARM, "little", b"ram", "raspi2b?", _at(0, 0x3F000000)),
    Board("raspi 3", Machine.AARCH64, "little", b"ram", "raspi3(b|ap)?", _at(0, 0x3F000000)),
    Board("hppa", Machine.PARISC, "big", b"ram", "hppa|B160L", _at(0, 0xF0000000), {b"firmware": (0xF0000000,)}),
    Board("m68k virt", Machine.M68K, "big", b"m68k_virt.ram", r"virt(-.*)?", _at(0)),
    Board(
        "g3beige",
        Machine.PPC,
        "big",
        b"ppc_heathrow.ram",
        "g3beige",
        _at(0),
        {b"ppc_heathrow.bios": (0xFFC00000,)},
    ),
    Board("mac99", Machine.PPC, "big", b"ppc_core99.ram", "mac99", _at(0)),
)

#: The names of the boards' other blocks.
FIRMWARE = frozenset(name for board in BOARDS for name in (*board.roms, *board.secure))

#: Blocks whose names only one of the boards called "virt" has, for guests whose RAM block has a name of its own.
_MARKS = {b"virt.secure-ram": "arm virt", b"mach-virt.tag": "arm virt", b"riscv_virt_board.mrom": "riscv virt"}
_FLASH_SIZES = {64 * MIB: "arm virt", 32 * MIB: "riscv virt", 16 * MIB: "loongarch virt"}


def board_of(stream: Stream, compatible: tuple[bytes, ...] = ()) -> Board | None:
    """The board: by the name of a RAM block, by its device tree, or by its own name where that names one alone."""
    blocks = {b.name: b.length for b in stream.blocks}
    machine = (stream.facts.machine or b"").decode("latin-1")
    rows = {b.name: b for b in BOARDS}
    named = [b for b in BOARDS if re.fullmatch(b.machines, machine)]
    by_block = [b for b in BOARDS if b.ram in blocks and b.ram != b"ram"]
    if by_block:
        agreeing = [b for b in by_block if b in named] if machine else by_block
        return agreeing[0] if len(agreeing) == 1 else None
    by_tree = [b for b in BOARDS if set(b.compatible) & set(compatible)]
    if len(by_tree) == 1:
        return by_tree[0]
    if len(named) == 1:
        return named[0]
    marked = [rows[mark] for name, mark in _MARKS.items() if name in blocks]
    sized = [rows[mark] for length, mark in _FLASH_SIZES.items() if blocks.get(b"virt.flash0") == length]
    fitting = [b for b in named if b in (marked or sized)]
    return fitting[0] if len(fitting) == 1 else None
