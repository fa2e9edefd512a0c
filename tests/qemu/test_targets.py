"""Cores of targets other than a PC, every register set to a value of its own, against QEMU's dump of the same guest."""

import shutil

import pytest

from tests.export import cores
from tests.qemu.paused import paused
from xbrletools.cli import main

#: Command lines by name, and registers that stay as they are: QEMU does not send them, or they choose the byte order.
TARGETS = {
    "aarch64": (("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", "64", "-smp", "2"), ("cpsr",)),
    "riscv64": (("qemu-system-riscv64", "-M", "virt", "-bios", "none", "-m", "64"), ("priv",)),
    "s390x": (
        ("qemu-system-s390x", "-M", "s390-ccw-virtio", "-m", "64", "-smp", "2"),
        ("gs_reserved", "gsd", "gssm", "gsepla"),
    ),
    "ppc64": (("qemu-system-ppc64", "-M", "pseries", "-m", "256"), ("lpcr", "hid0", "vrsave")),
    "ppc64, little-endian": (("qemu-system-ppc64", "-M", "pseries", "-m", "256"), ("vrsave",)),
}
RISCV_PC = 32  # the last of the registers that a core has; setting all others ends QEMU 7.2
PID = slice(32, 36)  # of NT_PRSTATUS. QEMU has it in the host's byte order, or 0, on some targets
LITTLE = {"lpcr": b"\xff" * 8, "hid0": b"\xff" * 8}  # QEMU 7.2 looks at HID0 only


def pattern(number: int, length: int) -> bytes:
    return bytes((number * 7 + i * 13 + 17) % 256 for i in range(length))


@pytest.mark.parametrize("name", TARGETS)
def test_the_notes_of_a_core_are_those_of_qemus_dump(name, tmp_path):
    command, kept = TARGETS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; .ci/install-tools does it")
    with paused([*command, "-S"]) as guest:
        was_set = 0
        for register, number in guest.registers().items():
            if register in kept or (name == "riscv64" and number > RISCV_PC):
                continue
            value = pattern(number, guest.length(number))
            if name.endswith("little-endian"):
                value = LITTLE.get(register, value)
            was_set += bool(value) and guest.set(number, value)
        assert was_set > 30
        guest.command("dump-guest-memory", paging=False, protocol=f"file:{tmp_path}/qemu.core")
        guest.migrate(tmp_path / "s")
    assert main(["extract", str(tmp_path / "s"), "--format", "elf", "-o", str(tmp_path / "core")]) == 0
    ours, theirs = cores.read(tmp_path / "core"), cores.read(tmp_path / "qemu.core")
    assert (ours.machine, ours.endian) == (theirs.machine, theirs.endian)
    assert ours.endian == ("<" if name in ("aarch64", "riscv64", "ppc64, little-endian") else ">")
    assert [(n, k, len(c)) for n, k, c in ours.notes] == [(n, k, len(c)) for n, k, c in theirs.notes]
    for (note, kind, mine), (_, _, real) in zip(ours.notes, theirs.notes, strict=True):
        assert without_pid(note, kind, mine) == without_pid(note, kind, real), (note, kind)
    assert {(a, n) for a, _, n in theirs.loads} <= {(a, n) for a, _, n in ours.loads}  # ours have flash, too


def without_pid(note: bytes, kind: int, contents: bytes) -> bytes:
    status = (note, kind) == (b"CORE\0", 1)
    return contents[: PID.start] + contents[PID.stop :] if status else contents
