"""A Linux kernel that a real QEMU runs: what other tools read in our core of it, and in QEMU's own dump of it.

The kernel is Debian's, which .ci/install-tools fetches. Its only program loads the module that hands VMCOREINFO to
QEMU, and waits. Where .ci/fetch-vmlinux has fetched the kernel's debug information, crash and drgn use it.
"""

import difflib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import xbrletools
from tests.export import cores
from tests.qemu.guest import EMULATORS
from tests.qemu.paused import paused
from xbrletools.analysis import guest, mappings, paging
from xbrletools.analysis.cpus import cpus_of
from xbrletools.cli import main
from xbrletools.physical.infer import map_of

KERNELS = sorted(Path(os.environ["XBRLE_KERNELS"]).glob("vmlinuz-*"))
VMLINUX = Path(os.environ.get("XBRLE_VMLINUX") or Path(os.environ["XBRLE_KERNELS"]).parent / "vmlinux")

RELEASE = KERNELS[-1].name.removeprefix("vmlinuz-") if KERNELS else ""
READY = b"ready to be dumped"
INIT = r"""
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    int module = open("/qemu_fw_cfg.ko", O_RDONLY);
    if (syscall(SYS_finit_module, module, "", 0) == 0) write(1, "ready to be dumped\n", 19);
    for (;;) pause();
}
"""

pytestmark = pytest.mark.skipif(
    not (KERNELS and EMULATORS and shutil.which("gcc")), reason="no QEMU, kernel or gcc; .ci/install-tools fetches them"
)


def initrd(folder: Path, module: Path) -> bytes:
    """An archive of the program that the kernel starts, and the module that it loads."""
    (folder / "init.c").write_text(INIT)
    subprocess.run(["gcc", "-static", "-O1", "-w", "-o", folder / "init", folder / "init.c"], check=True)
    files = [("init", (folder / "init").read_bytes()), ("qemu_fw_cfg.ko", module.read_bytes()), ("TRAILER!!!", b"")]
    out = b""
    for i, (name, data) in enumerate(files, 1):
        fields = (i, 0o100755, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + "".join(f"{n:08x}" for n in fields).encode() + name.encode() + b"\0"
        out += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return out


@pytest.fixture(scope="module")
def linux(tmp_path_factory):
    """A folder with a capture of the guest, our core of it, and QEMU's. ``tlb`` has CPU 0's mappings by QEMU."""
    folder = tmp_path_factory.mktemp("linux")
    emulator, kernel = EMULATORS[-1], KERNELS[-1]
    (folder / "initrd").write_bytes(initrd(folder, kernel.with_name(f"qemu_fw_cfg-{RELEASE}.ko")))
    machine = ("-accel", "tcg,thread=single", "-cpu", "max,la57=off", "-smp", "2", "-m", "192", "-device", "vmcoreinfo")
    boot = ("-kernel", str(kernel), "-initrd", f"{folder}/initrd", "-append", "console=ttyS0", "-net", "none")
    machine += ("-serial", f"file:{folder}/serial")
    with paused([*emulator.command, *machine, *boot], emulator.environment) as source:
        source.command("cont")
        source.until(lambda: READY in (folder / "serial").read_bytes())
        source.command("stop")
        source.command("dump-guest-memory", paging=False, protocol=f"file:{folder}/qemu.core")
        (folder / "tlb").write_text(source.monitor("info tlb"))
        source.migrate(folder / "s")
    assert main(["extract", str(folder / "s"), "--format", "elf", "-o", str(folder / "core"), "--no-cache"]) == 0
    return folder


def answers(linux, *command: str) -> list[str]:
    """What a tool prints of our core and of QEMU's. ``CORE`` stands for the core in the command."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    printed = []
    for name in ("core", "qemu.core"):
        order = [part.replace("CORE", str(linux / name)) for part in command]
        done = subprocess.run(order, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
        printed.append((done.stdout + done.stderr).replace(str(linux / name), "CORE").replace(f" {name}\n", " CORE\n"))
    return printed


def the_same(ours: str, theirs: str) -> str:
    """The text that both are. A difference is shown by lines."""
    assert list(difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "QEMU's", "ours", n=0)) == []
    return ours


def test_the_core_is_qemus_dump(linux):
    ours, theirs = cores.read(linux / "core"), cores.read(linux / "qemu.core")
    assert ours.notes == theirs.notes
    assert [(a, n) for a, _, n in ours.loads] == [(a, n) for a, _, n in theirs.loads]
    with (linux / "core").open("rb") as mine, (linux / "qemu.core").open("rb") as real:
        for (_, at, length), (_, place, _) in zip(ours.loads, theirs.loads, strict=True):
            mine.seek(at)
            real.seek(place)
            assert mine.read(length) == real.read(length)


def test_gdb_and_crash_read_the_same(linux):
    registers = the_same(*answers(linux, "gdb", "-nx", "-batch", "-ex", "core-file CORE", "-ex", "info registers"))
    assert re.search(r"^rip +0xffffffff", registers, re.MULTILINE)
    assert RELEASE in the_same(*answers(linux, "crash", "--osrelease", "CORE"))


def test_makedumpfile_reads_the_log_that_the_guest_printed(linux):
    """It does not read a core that QEMU 7.2 to 11 dump, so that the guest's serial line is the truth."""
    if shutil.which("makedumpfile") is None:
        pytest.skip("makedumpfile is not installed")
    subprocess.run(["makedumpfile", "--dump-dmesg", linux / "core", linux / "log"], check=True, capture_output=True)
    log = (linux / "log").read_text()
    lines = [line.partition("] ")[2].strip() for line in (linux / "serial").read_text().splitlines() if line[:1] == "["]
    assert len(lines) > 100
    assert [line for line in lines if line not in log] == []


def test_info_names_the_guest(linux):
    stream = xbrletools.open(linux / "s", cache=False).stream
    found = guest.guest_of(stream, map_of(stream))
    assert found.release == RELEASE
    assert "device vmcoreinfo" in found.evidence[0]
    core = next(text for name, _, text in cores.read(linux / "qemu.core").notes if name == b"VMCOREINFO\0")
    assert f"KERNELOFFSET={found.kaslr_offset:x}\n".encode() in core
    assert len(found.cpus) == 2


def test_the_page_tables_of_the_kernel_are_read_as_qemu_reads_them(linux):
    stream = xbrletools.open(linux / "s", cache=False).stream
    found = mappings.Walk(stream, map_of(stream), paging.tables_of(cpus_of(stream), 0)).mappings()
    told = re.findall(r"^([0-9a-f]{16}): ([0-9a-f]{16})", (linux / "tlb").read_text(), re.MULTILINE)
    assert sorted(zip(found.virtual.tolist(), found.physical.tolist(), strict=True)) == sorted(
        (int(virtual, 16), int(physical, 16)) for virtual, physical in told
    )
    assert len(told) > 1000


def vmlinux() -> Path:
    path = VMLINUX / f"vmlinux-{RELEASE}"
    if not path.exists():
        pytest.skip(f"needs {path}: .ci/fetch-vmlinux {RELEASE}")
    return path


def test_crash_with_symbols_reads_the_same(linux, tmp_path):
    (tmp_path / "orders").write_text("sys\nps\nlog\nbt -a\nkmem -i\nmod\nq\n")
    printed = the_same(*answers(linux, "crash", "-s", "-i", str(tmp_path / "orders"), str(vmlinux()), "CORE"))
    assert f"RELEASE: {RELEASE}" in printed
    assert "Run /init as init process" in printed


def test_drgn_with_symbols_reads_the_same(linux):
    drgn = pytest.importorskip("drgn", reason="drgn is not installed")
    from drgn.helpers.linux.pid import for_each_task

    seen = []
    for name in ("core", "qemu.core"):
        program = drgn.Program()
        program.set_core_dump(linux / name)
        program.load_debug_info([vmlinux()])
        seen.append([(t.pid.value_(), t.comm.string_(), str(program.stack_trace(t))) for t in for_each_task(program)])
    assert seen[0] == seen[1]
    assert len(seen[0]) > 20
    assert any(comm == b"init" and "sys_pause" in stack for _, comm, stack in seen[0])
