"""Page tables that tests make, in the RAM of a small machine."""

import struct

from tests.physical import machines
from xbrletools.analysis.cpus import Cpu
from xbrletools.formats import machine
from xbrletools.formats.elf import Machine
from xbrletools.model import Stream

MIB = 1 << 20
RAM = 64 * MIB
TOP = 0x100000  # where the tables begin
PRESENT, LARGE, TABLE = 1, 1 << 7, 1 << 1


class Memory:
    """Memory from ``base`` on, with page tables that grow at its end: by default RAM from 0, tables from `TOP` on."""

    def __init__(self, base: int = 0, before: int = TOP) -> None:
        self.base = base
        self.raw = bytearray(before)
        self.tables: dict[tuple[int, int, int], int] = {}

    def table(self) -> int:
        self.raw += bytes(4096)
        return self.base + len(self.raw) - 4096

    def put(self, place: int, entry: int) -> None:
        self.raw[place - self.base : place - self.base + 8] = struct.pack("<Q", entry)

    def map(self, root: int, levels: int, virtual: int, physical: int, size: int, leaf, link: int) -> None:
        """Map a page by the levels of entries above it: ``leaf(level)`` are the bits of the page's own."""
        table, level = root, levels
        while 12 + 9 * (level - 1) > size.bit_length() - 1:
            shift = 12 + 9 * (level - 1)
            key = (root, level, virtual >> shift)
            if key not in self.tables:
                self.tables[key] = self.table()
                self.put(table + (virtual >> shift & 511) * 8, self.tables[key] | link)
            table, level = self.tables[key], level - 1
        self.put(table + (virtual >> 12 + 9 * (level - 1) & 511) * 8, physical | leaf(level))

    def stream(self, sections: dict[bytes, bytes] | None = None) -> Stream:
        more = {machine.RTC: machines.cmos(RAM)} | (sections or {})
        return machines.stream({b"pc.ram": RAM}, more, {b"pc.ram": bytes(self.raw)})


def x86_cpu(root: int, levels: int) -> Cpu:
    registers = {"cr0": 1 << 31 | 1, "cr3": root | 7, "cr4": (levels == 5) << 12, "efer": 1 << 10 | 1 << 8}
    return Cpu(0, Machine.X86_64, registers, {"cs": (8, 0, 0, 1 << 21)})


def x86(mapped, levels: int, astray: tuple[int, int] | None = None) -> tuple[Stream, Cpu]:
    """A PC whose CPU has these mappings. ``astray`` is a virtual address whose table lies at that address."""
    memory = Memory()
    root = memory.table()
    for virtual, physical, size in mapped:
        address = virtual % (1 << 64)
        memory.map(root, levels, address, physical, size, lambda level: PRESENT | (LARGE if level > 1 else 0), 7)
    if astray is not None:
        table = root if levels == 4 else memory.tables[root, 5, 0]
        memory.put(table + (astray[0] >> 39 & 511) * 8, astray[1] | PRESENT)
    return memory.stream(), x86_cpu(root, levels)


def looped() -> tuple[Stream, Cpu]:
    """A PC whose top table is the table of every entry at every level."""
    memory = Memory()
    root = memory.table()
    for i in range(512):
        memory.put(root + i * 8, root | PRESENT)
    return memory.stream(), x86_cpu(root, 4)


ARM_MAPPED = [(0x3000, 0x9000, 4096), (0x40000000, 0x40000000, 1 << 30), (-(1 << 40), 0x400000, 2 * MIB)]


def arm(lower_bits: int, upper_bits: int) -> tuple[Stream, Cpu]:
    """A CPU of 64-bit Arm. Its RAM lies at 0, as a PC's does."""
    memory = Memory()
    roots = memory.table(), memory.table()
    for virtual, physical, size in ARM_MAPPED:
        bits = lower_bits if virtual >= 0 else upper_bits
        levels = -(-(bits - 12) // 9)
        leaf = lambda level: PRESENT | (TABLE if level == 1 else 0)  # noqa: E731
        memory.map(roots[virtual < 0], levels, virtual % (1 << bits), physical, size, leaf, PRESENT | TABLE)
    control = 64 - lower_bits | (64 - upper_bits) << 16 | 2 << 30
    registers = {"sctlr_el1": 1, "ttbr0_el1": roots[0] | 5 << 48, "ttbr1_el1": roots[1] | 1, "tcr_el1": control}
    return memory.stream(), Cpu(0, Machine.AARCH64, registers | {"pstate": 5}, {})


def cpu_section(root: int, levels: int, lstar: int = 0, rip: int = 0) -> bytes:
    """The section `cpu` of a 64-bit x86 guest, without a description."""
    segments = b"".join(struct.pack(">IQII", 8, 0, 0, 1 << 21 if i == 1 else 0) for i in range(10))
    controls = struct.pack(">4Q", 1 << 31 | 1, 0, root, (levels == 5) << 12)
    head = bytes(16 * 8) + struct.pack(">QQI", rip, 2, 0) + bytes(88) + segments + bytes(20) + controls
    return head + bytes(328) + struct.pack(">6Q", 1 << 10 | 1 << 8, 0, lstar, 0, 0, 0)


SHARED, KERNEL = 0xFFFFF78000000000, 0xFFFFF80210600000


def windows(build: int = 19045, name: bytes = b"ntoskrnl.exe", kdbg: int | None = None, **changes: int) -> Stream:
    """A Windows guest by the layouts that Microsoft documents: shared data, and the head of the kernel's image."""
    memory = Memory()
    root = memory.table()
    shared, image, other = memory.table(), memory.table(), memory.table()
    for virtual, physical in ((SHARED, shared), (KERNEL, image), (KERNEL + 0x4000, other)):
        memory.map(root, 4, virtual, physical, 4096, lambda level: PRESENT, 7)
    folder = "C:\\Windows\0".encode("utf-16-le")
    memory.raw[shared + 0x30 : shared + 0x30 + len(folder)] = folder
    memory.raw[shared + 0x260 : shared + 0x264] = (build | 0xF0000000).to_bytes(4, "little")
    fields = {0x2C: 0x8664, 0x2E: 0x8664, 0x264: 1, 0x26C: 10, 0x270: 0}
    for at, value in (fields | {int(k[1:], 16): v for k, v in changes.items()}).items():
        memory.raw[shared + at : shared + at + 2] = value.to_bytes(2, "little")
    header = b"MZ\x90\0".ljust(0x3C, b"\0") + (0x80).to_bytes(4, "little")
    pe = b"PE\0\0\x64\x86".ljust(4 + 20 + 112, b"\0") + struct.pack("<II", 0x4000, 0x100)
    memory.raw[image : image + 0x80 + len(pe)] = header.ljust(0x80, b"\0") + pe
    memory.raw[other + 12 : other + 16] = (0x4100).to_bytes(4, "little")
    memory.raw[other + 0x100 : other + 0x100 + len(name)] = name
    if kdbg is not None:
        memory.raw[other + 0x800 : other + 0x810] = b"KDBG" + struct.pack("<IQ", 0x360, kdbg)
    entry = KERNEL + 0x4000 if kdbg is None else 0
    return memory.stream({b"cpu": cpu_section(root, 4, lstar=entry, rip=KERNEL + 5)})
