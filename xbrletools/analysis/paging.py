"""Virtual addresses of a guest, by the page tables that one of its CPUs uses at the end of the stream.

Facts: formats/README.md, "Page tables". Only the end of a stream has CPUs, so that the tables are always those of then.
`mappings` goes the other way, for many addresses at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import XbrleError
from ..formats import core, paging
from ..formats.elf import Machine
from .cpus import Cpu

_OFF = "does not use page tables. To give a guest-physical address, use: phys:0x..."
X86_BITS = {4: 48, 5: 57}  # of an address by the levels of page tables

Read = Callable[[int, int], bytes | None]


class NotMappedError(XbrleError):
    """A virtual address does not lead to memory: the message says where the walk ended, and why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Page tables of one half of the addresses: ``levels`` of them, for virtual addresses from ``start`` on.

    The top table has ``count`` entries that count, from entry ``first`` of the 4 KiB at guest-physical ``table`` on.
    """

    start: int
    table: int
    first: int
    count: int
    levels: int

    @property
    def length(self) -> int:
        """How many bytes of addresses there are."""
        return self.count << paging.shift_of(self.levels)


class Tables(NamedTuple):
    """The page tables that the CPU with this number uses: those of the lower half of addresses, then the upper."""

    cpu: int
    layout: paging.Layout
    trees: tuple[Tree, ...]


class Page(NamedTuple):
    """Where a virtual address lies: guest-physical ``address``, in a page of ``size`` bytes."""

    address: int
    size: int


def tables_of(cpus: Sequence[Cpu], number: int | None = None) -> Tables:
    """The page tables of the CPU with this number, by default of the first CPU that uses such tables.

    Raises:
        XbrleError: there is no such CPU, or it does not use page tables of a known form.
    """
    if not cpus:
        raise XbrleError(
            "virtual addresses need the state of the CPUs, which this stream does not have in a known form"
        )
    chosen = [c for c in cpus if number in (None, c.number)]
    if not chosen:
        raise XbrleError(f"there is no CPU {number}: the guest has CPUs 0 to {len(cpus) - 1}")
    found = [(cpu, _TREES.get(cpu.machine, _none)(cpu)) for cpu in chosen]
    for cpu, trees in found:
        if not isinstance(trees, str):
            return Tables(cpu.number, _LAYOUTS[cpu.machine], trees)
    raise XbrleError(f"virtual addresses cannot be looked up: CPU {found[0][0].number} {found[0][1]}")


def _none(cpu: Cpu) -> str:
    return f"is of a machine, {cpu.machine.name.lower()}, whose page tables are not known here"


def _x86_trees(cpu: Cpu) -> tuple[Tree, ...] | str:
    """The page tables of an x86 CPU, or why there are none that are known."""
    registers = cpu.registers
    if not registers["cr0"] & core.CR0_PAGING:
        return _OFF
    if not registers["efer"] & core.EFER_LONG:
        return f"is in {cpu.mode}, and only the page tables of 64-bit modes are known here"
    levels = 5 if registers["cr4"] & core.CR4_LA57 else 4
    table, half = registers["cr3"] & paging.CR3_TABLE, paging.ENTRIES // 2
    upper = (1 << 64) - (1 << X86_BITS[levels] - 1)
    return Tree(0, table, 0, half, levels), Tree(upper, table, half, half, levels)


def _aarch64_trees(cpu: Cpu) -> tuple[Tree, ...] | str:
    """The page tables of a 64-bit Arm CPU at EL0 or EL1, or why there are none that are known."""
    registers = cpu.registers
    if any(name not in registers for name in paging.SYSTEM_REGISTERS.values()):
        return "does not show its system registers"
    level = registers["pstate"] >> 2 & 3
    if level > 1:
        return f"is at EL{level}, and only the page tables of EL0 and EL1 are known here"
    if not registers["sctlr_el1"] & paging.SCTLR_MMU:
        return _OFF
    control = registers["tcr_el1"]
    trees = []
    for half in (paging.LOWER, paging.UPPER):
        bits = 64 - (control >> half.size & paging.SIZE_BITS)
        if control >> half.off & 1:
            continue
        if control >> half.granule & paging.GRANULE_BITS != half.of_4k or control & paging.TCR_WIDE:
            return "uses page tables of another form than 4 KiB with addresses of 48 bits"
        if bits not in paging.ADDRESS_BITS:
            return f"states {bits} bits for an address, which its page tables cannot have"
        levels = -(-(bits - paging.PAGE_SHIFT) // paging.INDEX_BITS)
        at = registers[half.register] & paging.TTBR_TABLE
        start = 0 if half is paging.LOWER else (1 << 64) - (1 << bits)
        offset = at % (paging.ENTRIES * paging.Entry.sizeof())
        count = 1 << bits - paging.shift_of(levels)
        first = offset // paging.Entry.sizeof()
        if first + count > paging.ENTRIES:
            return "has a top table that is not aligned"
        trees.append(Tree(start, at - offset, first, count, levels))
    return tuple(trees) or _OFF


_TREES: dict[Machine, Callable[[Cpu], tuple[Tree, ...] | str]] = {
    Machine.X86_64: _x86_trees,
    Machine.AARCH64: _aarch64_trees,
}
_LAYOUTS = {Machine.X86_64: paging.X86_64, Machine.AARCH64: paging.AARCH64}


def leads(layout: paging.Layout, entries: Any, level: int) -> tuple[Any, Any]:
    """Whether each of some entries of a table of this level is a page, and whether it leads to another table.

    ``entries`` are uint64, of any shape. So are the answers, as bool.
    """
    present = entries & np.uint64(paging.PRESENT) != 0
    if level == 1:
        return entries & np.uint64(layout.page) == layout.page, np.zeros_like(present)
    large = entries & np.uint64(layout.large) == layout.large_value
    pages = present & large if level in paging.LARGE_LEVELS else np.zeros_like(present)
    return pages, present & ~large


def translate(tables: Tables, read: Read, address: int) -> Page:
    """Where a virtual address lies. ``read`` gives bytes at a guest-physical address, None where they are unknown.

    Raises:
        NotMappedError: the address is not mapped, or a table that it leads to is unknown.
    """
    said = f"virtual address {address:#x} is not mapped by the page tables of CPU {tables.cpu}"
    tree = next((t for t in tables.trees if t.start <= address < t.start + t.length), None)
    if tree is None:
        raise NotMappedError(f"{said}: it lies between the two halves of addresses")
    table, size = tree.table, paging.Entry.sizeof()
    for level in range(tree.levels, 0, -1):
        first, count = (tree.first, tree.count) if level == tree.levels else (0, paging.ENTRIES)
        place = table + size * (first + ((address - tree.start) >> paging.shift_of(level)) % count)
        raw = read(place, size)
        if raw is None:
            raise NotMappedError(
                f"where virtual address {address:#x} lies is unknown: the page tables of CPU {tables.cpu} lead to "
                f"guest-physical {place:#x} (level {level}), which is unknown or not RAM"
            )
        entry = int(paging.Entry.parse(raw))
        is_page, is_table = leads(tables.layout, np.uint64(entry), level)
        if is_page:
            length = 1 << paging.shift_of(level)
            return Page((entry & tables.layout.address & -length) + address % length, length)
        if not is_table:
            raise NotMappedError(f"{said}: the entry of level {level} at guest-physical {place:#x} is {entry:#x}")
        table = entry & tables.layout.address
    raise AssertionError("an entry of level 1 does not lead to a table")
