"""Page tables of paused guests, looked up by us and by QEMU itself: `info tlb`, `gva2gpa` and dump-guest-memory -p."""

import re
import shutil
import struct

import pytest

import xbrletools
from tests.analysis import tables
from tests.qemu.guest import EMULATORS
from tests.qemu.paused import paused
from xbrletools.analysis import mappings, paging
from xbrletools.analysis.cpus import cpus_of
from xbrletools.analysis.locate import locate
from xbrletools.cli import main
from xbrletools.physical.infer import map_of

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
#: Pages of each size, in both halves, some that go on and some that do not, and one that is not RAM.
MAPPED = [
    *((0x400000 + i * 0x1000, 0x20000 + i * 0x3000, 4 * KIB) for i in range(5)),
    *((-(1 << 46) + i * 2 * MIB, i * 2 * MIB, 2 * MIB) for i in range(16)),
    *((-(1 << 40) + i * 0x1000, 0x30000 + i * 0x1000, 4 * KIB) for i in range(9)),
    (0x8040000000, 0, GIB),
    (-0x80000000, 0x800000, 2 * MIB),
    (-0x200000, 0x7000, 4 * KIB),
    (-0x1000, 0xFEE00000, 4 * KIB),
]


def walked(path):
    stream = xbrletools.open(path, cache=False).stream
    found = mappings.Walk(stream, map_of(stream), paging.tables_of(cpus_of(stream))).mappings()
    return stream, list(zip(found.virtual.tolist(), found.physical.tolist(), found.length.tolist(), strict=True))


@pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it")
@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label)
def test_a_pcs_page_tables_are_read_as_qemu_reads_them(emulator, levels, tmp_path):
    memory = tables.Memory()
    root = memory.table()
    for virtual, physical, size in MAPPED:
        leaf = lambda level: 3 | (tables.LARGE if level > 1 else 0)  # noqa: E731
        memory.map(root, levels, virtual % (1 << 64), physical, size, leaf, 7)
    command = (*emulator.command, "-accel", "tcg", "-cpu", "max", "-m", "64", "-net", "none", "-S")
    with paused(command, emulator.environment) as guest:
        guest.write(tables.TOP, bytes(memory.raw[tables.TOP :]))
        numbers = guest.registers()
        for name, value in (
            ("cr4", 1 << 5 | (levels == 5) << 12),
            ("efer", 1 << 8),
            ("cr3", root),
            ("cr0", 1 << 31 | 1),
        ):
            assert guest.set(numbers[name], struct.pack("<Q", value))
        told = guest.monitor("info tlb")
        guest.command("dump-guest-memory", paging=True, protocol=f"file:{tmp_path}/qemu.core")
        guest.migrate(tmp_path / "s")
    _, found = walked(tmp_path / "s")
    lines = re.findall(r"^([0-9a-f]{16}): ([0-9a-f]{16})", told, re.MULTILINE)
    assert [(v, p) for v, p, _ in found] == sorted((int(v, 16), int(p, 16)) for v, p in lines)
    assert len(found) == len(MAPPED)
    order = ["extract", str(tmp_path / "s"), "--format", "elf", "--paging", "-o", str(tmp_path / "core")]
    assert main(order) == 0
    ours, theirs = (kernel_pages(tmp_path / name, levels) for name in ("core", "qemu.core"))
    in_ram = {v: (p, data) for v, (p, data) in theirs.items() if p < 64 * MIB}
    assert {v: p for v, (p, _) in ours.items()} == {v: p for v, (p, _) in in_ram.items()}
    assert len(ours) * 4 * KIB > 32 * MIB
    both = [(ours[v][1], data) for v, (_, data) in in_ram.items() if data]  # QEMU's end at holes in RAM
    assert both
    assert all(mine == real for mine, real in both)


def kernel_pages(path, levels: int) -> dict[int, tuple[int, bytes]]:
    """The pages of the upper half of addresses in a core, by address: where each lies, and what the file has of it.

    QEMU sets the high bits of addresses in the lower half, too. Those are left out.
    """
    found = {}
    half = 1 << {4: 47, 5: 56}[levels]
    with path.open("rb") as file:
        head = file.read(64)
        (at,), (count,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<H", head, 56)
        file.seek(at)
        segments = [struct.unpack("<IIQQQQQQ", file.read(56)) for _ in range(count)]
        for kind, _, offset, virtual, physical, in_file, length, _ in segments:
            if kind == 1 and virtual >> 63 and virtual % (2 * half) >= half:
                file.seek(offset)
                data = file.read(in_file)
                found |= {virtual + i: (physical + i, data[i : i + 4096]) for i in range(0, length, 4096)}
    return found


RAM, CODE, TOP = 0x40000000, 0x40180000, 0x41000000
ARM_MAPPED = [
    (RAM, RAM, 2 * MIB),  # the code itself
    (0x7000, 0x40203000, 4 * KIB),
    (0x80000000, RAM, GIB),
    (-(1 << 38), 0x40400000, 2 * MIB),
    (-0x1000, 0x40009000, 4 * KIB),
]


def arm_code(*values: int) -> bytes:
    """Loads MAIR, TTBR0, TTBR1, TCR and SCTLR of EL1 with these values, and then does nothing."""
    loads = [0x58000000 | (12 + i) << 5 | i for i in range(5)]  # ldr x0, the first value ...
    moves = [0xD518A200, 0xD5182001, 0xD5182022, 0xD5182043, 0xD5181004]  # msr mair_el1, x0 ...
    return struct.pack("<12I5Q", *loads, *moves, 0xD5033FDF, 0x14000000, *values)  # isb; b .


@pytest.mark.parametrize(("lower", "upper"), [(39, 39), (48, 48), (42, 47)])
def test_the_page_tables_of_64_bit_arm_are_read_as_qemu_reads_them(lower, upper, tmp_path):
    if shutil.which("qemu-system-aarch64") is None:
        pytest.skip("qemu-system-aarch64 is not installed; .ci/install-tools does it")
    memory = tables.Memory(TOP, before=0)
    roots = memory.table(), memory.table()
    for virtual, physical, size in ARM_MAPPED:
        bits = lower if virtual >= 0 else upper
        leaf = lambda level: 0x401 | (2 if level == 1 else 0)  # noqa: E731 - accessed
        memory.map(roots[virtual < 0], -(-(bits - 12) // 9), virtual % (1 << bits), physical, size, leaf, 3)
    control = 64 - lower | (64 - upper) << 16 | 2 << 30 | 5 << 32
    (tmp_path / "tables").write_bytes(memory.raw)
    (tmp_path / "code").write_bytes(arm_code(0xFF, *roots, control, 1))
    loaders = []
    for name, at in (("tables", TOP), ("code", CODE)):
        cpu = ",cpu-num=0" if name == "code" else ""
        loaders += ["-device", f"loader,file={tmp_path / name},addr={at:#x},force-raw=on{cpu}"]
    with paused(["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", "64", *loaders]) as guest:
        guest.command("cont")  # the guest stops when a debugger comes
        guest.until(lambda: f"PC={CODE + 44:016x}" in guest.monitor("info registers"))
        guest.command("stop")
        asked = [v % (1 << 64) + at for v, _, n in ARM_MAPPED for at in (0, n - 1)] + [0x9000, 1 << 60]
        told = {address: guest.monitor(f"gva2gpa {address:#x}") for address in asked}
        guest.migrate(tmp_path / "s")
    stream, found = walked(tmp_path / "s")
    assert found == sorted((v % (1 << 64), p, n) for v, p, n in ARM_MAPPED)
    for address, answer in told.items():
        (where,) = re.findall(r"gpa: 0x([0-9a-f]+)", answer) or [None]
        if where is None or int(where, 16) >= RAM + 64 * MIB:
            with pytest.raises(paging.NotMappedError):
                locate(stream, f"virt:{address:#x}")
        else:
            assert f"guest-physical {int(where, 16):#x} " in locate(stream, f"virt:{address:#x}").said
    assert sum("gpa: 0x" in answer for answer in told.values()) == 2 * len(ARM_MAPPED)
