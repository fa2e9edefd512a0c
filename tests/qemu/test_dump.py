"""A core that this project makes of a migration, against QEMU's own dump-guest-memory of the same paused guest."""

import json
import subprocess

import pytest

import xbrletools
from tests.cli.run import run
from tests.export import cores
from tests.qemu.guest import EMULATORS, RAM
from tests.qemu.kinds import machine, started
from xbrletools.cli import main

pytestmark = [
    pytest.mark.skipif(not EMULATORS, reason="qemu-system-x86_64 is not installed; .ci/install-tools does it"),
    pytest.mark.parametrize("emulator", EMULATORS, ids=lambda emulator: emulator.label),
]

MORE = {
    "two-cpus": ("-smp", "2"),
    "vga": ("-vga", "std"),
    "pci-memory": (
        *("-object", "memory-backend-ram,id=iv,size=4M,share=on"),
        *("-device", "ivshmem-plain,memdev=iv,master=on"),
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_a_core_is_what_qemu_dumps_of_the_same_guest(name, emulator, tmp_path):
    with machine(emulator, tmp_path, "source", *MORE[name]) as source:
        started(source)
        source.migrate(f"exec:cat > {tmp_path}/s", [])
        source.command("dump-guest-memory", paging=False, protocol=f"file:{tmp_path}/qemu.core")
    assert main(["extract", str(tmp_path / "s"), "--format", "elf", "-o", str(tmp_path / "core")]) == 0
    ours, theirs = cores.read(tmp_path / "core"), cores.read(tmp_path / "qemu.core")
    assert (ours.machine, ours.types, ours.align) == (theirs.machine, theirs.types, theirs.align)
    assert ours.notes == theirs.notes
    assert [(a, n) for a, _, n in ours.loads] == [(a, n) for a, _, n in theirs.loads]
    assert memory(tmp_path / "core", ours) == memory(tmp_path / "qemu.core", theirs)
    out = [gdb(tmp_path / core) for core in ("core", "qemu.core")]
    assert out[0] == out[1]


@pytest.mark.parametrize("capabilities", [[], ["xbzrle"]], ids=["plain", "xbzrle"])
@pytest.mark.parametrize("name", MORE)
def test_a_capture_is_equal_to_what_qemu_dumps_of_the_paused_source(name, capabilities, emulator, tmp_path, capsys):
    with machine(emulator, tmp_path, "source", *MORE[name]) as source:
        started(source)
        source.migrate(f"exec:cat > {tmp_path}/s", capabilities)
        for paging in (False, True):
            source.command("dump-guest-memory", paging=paging, protocol=f"file:{tmp_path}/{paging}.core")
        formats = source.command("query-dump-guest-memory-capability")["formats"]
        kdumps = [name for name in formats if name.startswith("kdump")]
        for name_of in kdumps:
            source.command("dump-guest-memory", paging=False, protocol=f"file:{tmp_path}/{name_of}", format=name_of)
        source.command("pmemsave", val=0, size=RAM, filename=f"{tmp_path}/low")
    for core in ("False.core", "True.core"):
        status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / core)
        assert (status, out.count("\n")) == (0, 1)
        assert out.startswith("every page that is known is equal: ")
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "low", "--space", "physical")
    assert status == 1  # it does not have the firmware at the top
    assert out.startswith("every page that is known is equal: ")
    assert "kdump-zlib" in kdumps
    for name_of in kdumps:
        status, out, err = run(capsys, "diff", tmp_path / "s", tmp_path / name_of)
        assert (status, out.count("\n")) == (0, 1), (name_of, out, err)
        assert out.startswith("every page that is known is equal: ")
    with (tmp_path / "False.core").open("r+b") as file:
        file.seek(cores.read(tmp_path / "False.core").loads[0][1] + 0x21234)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    status, out, _ = run(capsys, "diff", tmp_path / "s", tmp_path / "False.core", "--json")
    [found] = map(json.loads, out.splitlines())
    assert (status, found["block"], found["page"], found["address"]) == (1, "pc.ram", 0x21000, 0x21000)
    assert found["ranges"] == [[0x234, 1, "value"]]
    table = xbrletools.open(tmp_path / "s").records
    assert found["record"] == max(table.number[row] for row in table.rows_of(0, 0x21000))


def memory(path, core) -> list[bytes]:
    with path.open("rb") as file:
        found = []
        for _, offset, length in core.loads:
            file.seek(offset)
            found.append(file.read(length))
    return found


def gdb(path) -> str:
    try:
        orders = ("-ex", f"core-file {path}", "-ex", "thread apply all info registers")
        return subprocess.run(["gdb", "-nx", "-batch", *orders], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return "gdb is not installed"
