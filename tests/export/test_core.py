"""Registers and VMCOREINFO in ELF cores, against what QEMU said of the same guests and what other tools read."""

import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import CORPUS, SAMPLES, corpus_names
from tests.export import cores
from tests.streams import PAGE, StreamBuilder
from xbrletools.analysis import cpus
from xbrletools.cli import main
from xbrletools.formats.elf import Machine
from xbrletools.physical import reading

LINUX = "linux-guest/keep-xbzrle-192m"
ORDER = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig"),
    *("rip", "cs", "rfl", "rsp", "ss"),
)


@pytest.fixture(scope="module")
def linux(tmp_path_factory):
    """A core of a real Linux guest, and what QEMU's `info registers` said of its CPUs."""
    import lzma

    packed = CORPUS / f"{LINUX}.bin.xz"
    if not packed.exists():
        pytest.skip("the corpus of real captures is not there")
    folder = tmp_path_factory.mktemp("linux")
    (folder / "s.bin").write_bytes(lzma.decompress(packed.read_bytes()))
    core = folder / "core"
    assert main(["extract", str(folder / "s.bin"), "--format", "elf", "-o", str(core), "--no-cache"]) == 0
    return core, json.loads((CORPUS / f"{LINUX}.json").read_text())["registers"]


def told(registers: str) -> list[dict[str, int]]:
    """The registers of each CPU in what `info registers -a` printed."""
    found = []
    for text in registers.split("CPU#")[1:]:
        pairs = re.findall(r"\b([A-Z][A-Z0-9]*) *=([0-9a-f]{8,16})\b", text)
        segments = re.findall(r"^([A-Z]S) =([0-9a-f]{4}) ([0-9a-f]{16})", text, re.MULTILINE)
        found.append({n.lower(): int(v, 16) for n, v in pairs} | {n.lower(): int(s, 16) for n, s, _ in segments})
    return found


def test_the_registers_of_a_linux_guest_are_those_that_qemu_told(linux):
    core, registers = linux
    made, real = cores.read(core), told(registers)
    status = [c for name, kind, c in made.notes if (name, kind) == (b"CORE\0", 1)]
    states = [c for name, _, c in made.notes if name == b"QEMU\0"]
    assert (made.machine, made.types[0], made.align) == (Machine.X86_64, 4, {0})
    assert [name for name, _, _ in made.notes] == [b"CORE\0"] * 2 + [b"QEMU\0"] * 2 + [b"VMCOREINFO\0"]
    for i, (contents, state, cpu) in enumerate(zip(status, states, real, strict=True)):
        assert (len(contents), struct.unpack_from("<i", contents, 32)) == (336, (i + 1,))
        values = dict(zip(ORDER, struct.unpack_from("<21Q", contents, 112), strict=True))
        assert {n: values[n] for n in cpu if n in values} == {n: v for n, v in cpu.items() if n in values}
        assert {"rip", "rsp", "rfl", "cs"} <= {*values} & {*cpu}
        assert struct.unpack_from("<II", state) == (1, 440)
        cr0, _, cr2, cr3, cr4, _ = struct.unpack_from("<6Q", state, 440 - 48)
        assert (cr0, cr2, cr3, cr4) == tuple(cpu[n] for n in ("cr0", "cr2", "cr3", "cr4"))


def test_gdb_prints_the_registers_of_each_cpu(linux):
    core, registers = linux
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")
    orders = [f"core-file {core}", "thread apply all -ascending info registers rip rsp cs"]
    arguments = [part for order in orders for part in ("-ex", order)]
    out = subprocess.run(["gdb", "-nx", "-batch", *arguments], capture_output=True, text=True, check=True).stdout
    printed = [int(v, 16) for v in re.findall(r"^(?:rip|rsp|cs) +(0x[0-9a-f]+)", out, re.MULTILINE)]
    assert printed == [cpu[name] for cpu in told(registers) for name in ("rip", "rsp", "cs")]


@pytest.mark.parametrize("tool", ["makedumpfile", "crash"])
def test_tools_for_linux_cores_read_the_kernels_own_words(linux, tool, tmp_path):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    if tool == "crash":
        out = subprocess.run(["crash", "--osrelease", linux[0]], capture_output=True, text=True, timeout=120).stdout
        assert out.strip() == "6.1.0-50-cloud-amd64"
        return
    subprocess.run(["makedumpfile", "--dump-dmesg", linux[0], tmp_path / "log"], check=True, capture_output=True)
    assert "Linux version 6.1.0-50-cloud-amd64" in (tmp_path / "log").read_text()


def test_drgn_takes_the_core_for_a_linux_kernel(linux):
    drgn = pytest.importorskip("drgn", reason="drgn is not installed")
    program = drgn.Program()
    program.set_core_dump(linux[0])
    assert drgn.ProgramFlags.IS_LINUX_KERNEL in program.flags
    assert b"OSRELEASE=6.1.0-50-cloud-amd64" in program["VMCOREINFO"].string_()


BANNER = 0xFFFFFFFF9FC001A0  # the kernel's symbol linux_banner, moved by its KASLR offset


@pytest.fixture(scope="module")
def paged(linux):
    """The same core with the kernel's virtual addresses."""
    core = linux[0].with_name("paged")
    order = ["extract", str(linux[0].parent / "s.bin"), "--format", "elf", "--paging", "-o", str(core), "--no-cache"]
    assert main(order) == 0
    return core


def test_a_core_with_paging_holds_memory_once_and_says_it_twice(linux, paged):
    plain, more = cores.read(linux[0]), cores.read(paged)
    assert more.notes == plain.notes
    assert [(a, n) for a, _, n in more.loads[: len(plain.loads)]] == [(a, n) for a, _, n in plain.loads]
    assert more.loads[-1][2] > 190 << 20  # the direct map, which makedumpfile takes the last range for
    held = sum(n for _, _, n in plain.loads)
    assert paged.stat().st_size < held + (1 << 20) < sum(n for _, _, n in more.loads)


def test_gdb_reads_kernel_addresses_in_a_core_with_paging(linux, paged):
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")

    def printed(core) -> str:
        orders = (f"core-file {core}", "set print elements 20", f"x/s {BANNER:#x}", "x/i $pc")
        arguments = [part for order in orders for part in ("-ex", order)]
        return subprocess.run(["gdb", "-nx", "-batch", *arguments], capture_output=True, text=True).stdout

    assert '"Linux version 6.1.0-"' in printed(paged)
    assert f"{told(linux[1])[0]['rip']:#x}:\tmov " in printed(paged)  # the CPU had read its clock
    assert "Linux version" not in printed(linux[0])


def test_makedumpfile_reads_a_core_with_paging_as_it_does_one_without(linux, paged, tmp_path):
    if shutil.which("makedumpfile") is None:
        pytest.skip("makedumpfile is not installed")
    logs = []
    for core in (linux[0], paged):
        order = ["makedumpfile", "--dump-dmesg", str(core), str(tmp_path / core.name)]
        subprocess.run(order, check=True, capture_output=True)
        logs.append((tmp_path / core.name).read_bytes())
    assert logs[0] == logs[1]


def test_drgn_reads_kernel_addresses_in_both_cores(linux, paged):
    drgn = pytest.importorskip("drgn", reason="drgn is not installed")
    for core in (linux[0], paged):
        program = drgn.Program()
        program.set_core_dump(core)
        assert program.read(BANNER, 13) == b"Linux version"


def vmlinux() -> Path:
    folder = Path(os.environ.get("XBRLE_VMLINUX") or Path(os.environ["XBRLE_KERNELS"]).parent / "vmlinux")
    path = folder / "vmlinux-6.1.0-50-cloud-amd64"
    if not path.exists():
        pytest.skip(f"needs {path}: .ci/fetch-vmlinux 6.1.0-50-cloud-amd64")
    return path


@pytest.mark.parametrize("paging", [False, True], ids=["plain", "paging"])
def test_crash_with_symbols_tells_of_the_guest(linux, paged, paging, tmp_path):
    if shutil.which("crash") is None:
        pytest.skip("crash is not installed")
    (tmp_path / "orders").write_text("sys\nps\nlog\nq\n")
    order = ["crash", "-s", "-i", str(tmp_path / "orders"), str(vmlinux()), str(paged if paging else linux[0])]
    out = subprocess.run(order, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL).stdout
    for told in (
        *("CPUS: 2", "RELEASE: 6.1.0-50-cloud-amd64", "MEMORY: 191.5 MB", "DATE: Wed Nov 25 22:45:36 UTC 2026"),
        *("[swapper/0]", "stress-ng-vm", "] Linux version 6.1.0-50-cloud-amd64", "page_poison=0"),
    ):
        assert told in out


def test_drgn_with_symbols_lists_the_processes_that_volatility_lists(linux):
    drgn = pytest.importorskip("drgn", reason="drgn is not installed")
    from drgn.helpers.linux.pid import for_each_task

    program = drgn.Program()
    program.set_core_dump(linux[0])
    program.load_debug_info([vmlinux()])
    tasks = [(t.pid.value_(), t.comm.string_().decode()) for t in for_each_task(program)]
    assert (len(tasks), tasks[0], tasks[-1]) == (62, (1, "init"), (198, "sleep"))


def test_drgn_walks_to_the_same_pages_as_we_do(linux):
    drgn = pytest.importorskip("drgn", reason="drgn is not installed")
    from xbrletools.analysis import mappings, paging
    from xbrletools.physical.infer import map_of

    stream = xbrletools.open(linux[0].parent / "s.bin", cache=False).stream
    found = mappings.Walk(stream, map_of(stream), paging.tables_of(cpus.cpus_of(stream))).mappings(upper=True)
    program = drgn.Program()
    program.set_core_dump(linux[0])
    inside = found.physical < 192 << 20
    for virtual, physical in zip(found.virtual[inside].tolist(), found.physical[inside].tolist(), strict=True):
        assert program.read(virtual, 64) == program.read(physical, 64, physical=True)


def test_paging_needs_an_elf_core(tmp_path, capsys):
    assert main(["extract", str(SAMPLES / "posted-8m.bin"), "--paging", "-o", str(tmp_path / "o")]) == 2
    assert "--paging needs --format elf" in capsys.readouterr().err
    order = ["extract", str(SAMPLES / "posted-8m.bin"), "--paging", "--format", "elf", "-o", str(tmp_path / "o")]
    assert main(order) == 2
    assert "CPU 0 does not use page tables" in capsys.readouterr().err


def test_vmcoreinfo_is_found_in_memory_where_the_guest_has_no_device_for_it(linux, monkeypatch):
    from xbrletools.analysis import vmcoreinfo
    from xbrletools.physical.infer import map_of

    capture = xbrletools.open(linux[0].parent / "s.bin", cache=False)
    image, where = capture.memory(), map_of(capture.stream)
    by_device = vmcoreinfo.find(capture.stream, image, where)
    monkeypatch.setattr(vmcoreinfo, "DEVICE", b"another device")
    in_memory = vmcoreinfo.find(capture.stream, image, where)
    assert "device" in by_device.found
    assert "the page at" in in_memory.found
    assert in_memory.text == by_device.text
    assert by_device.get("OSRELEASE") == "6.1.0-50-cloud-amd64"


@pytest.mark.parametrize("name", corpus_names("physical-maps"))
def test_the_layout_for_streams_without_a_description_reads_what_descriptions_say(name, corpus):
    if not name.startswith(("pc", "q35", "isapc", "microvm")):
        pytest.skip("not a PC")
    stream = xbrletools.open(corpus(f"physical-maps/{name}.bin"), cache=False).stream
    described = cpus.cpus_of(stream)
    sections = reading.named(stream, b"cpu")
    assert [cpus._undescribed(stream, s, i) for i, s in enumerate(sections)] == list(described)


def test_a_stream_of_2011_has_its_registers_too(tmp_path):
    core = tmp_path / "core"
    assert main(["extract", str(SAMPLES / "posted-8m.bin"), "--format", "elf", "-o", str(core)]) == 0
    made = cores.read(core)
    assert [name for name, _, _ in made.notes] == [b"CORE\0", b"QEMU\0"]
    assert (made.machine, len(made.notes[0][2])) == (Machine.I386, 144)  # its guest never entered long mode
    (cpu,) = cpus.cpus_of(xbrletools.open(SAMPLES / "posted-8m.bin").stream)
    assert cpu.mode == "32-bit protected mode"
    assert cpu.segments["cs"][1:3] == (0, 0xFFFFFFFF)


def test_a_core_of_an_earlier_moment_says_whose_registers_it_has(tmp_path, capsys):
    core = tmp_path / "core"
    assert main(["extract", str(SAMPLES / "posted-8m.bin"), "--format", "elf", "-o", str(core), "--at", "2000"]) == 0
    word = "registers of 1 CPU are those at the end of the stream; memory is as it is after record 2000"
    assert word in capsys.readouterr().err
    assert word in json.loads((tmp_path / "core.json").read_text())["notes"]


def test_a_stream_without_cpus_makes_a_core_without_notes_and_says_so(tmp_path, capsys):
    (tmp_path / "s").write_bytes(StreamBuilder({b"pc.ram": 4 * PAGE}).dup(0, block=b"pc.ram").end().bytes())
    assert main(["extract", str(tmp_path / "s"), "--format", "elf", "-o", str(tmp_path / "core")]) == 0
    assert "the core does not have registers" in capsys.readouterr().err
    assert cores.read(tmp_path / "core").types == [1]
