"""The notes of an ELF core: the registers of each CPU, and VMCOREINFO, in the order in which QEMU writes them.

Facts: formats/README.md, "Memory images".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..analysis import vmcoreinfo
from ..analysis.cpus import Cpu, cpus_of
from ..analysis.mappings import Span
from ..formats import core
from ..formats.elf import Machine
from ..memory.image import Image
from ..model import Stream
from ..physical.layout import PhysicalMap


@dataclass(frozen=True, slots=True)
class Notes:
    """``raw`` are the notes as they stand in a core, ``said`` what a person wants to know of them.

    ``virtual`` are ranges of virtual addresses, each in one range of the map, in the order in which a core has them.
    ``machine`` and ``endian`` are the guest's, as its CPUs were set: a PC can be a 32-bit one, and some CPUs choose
    their byte order.
    """

    raw: bytes
    machine: Machine
    endian: str
    said: tuple[str, ...]
    virtual: tuple[Span, ...] = ()


def notes_of(
    stream: Stream, image: Image, where: PhysicalMap, record: int | None, virtual: Sequence[Span] = ()
) -> Notes:
    """The notes for a core of ``image``, which is memory just after ``record``, or at the end where it is None.

    ``virtual`` are ranges of virtual addresses that the core is to have as well.
    """
    cpus = [cpu for cpu in cpus_of(stream) if cpu.machine is where.machine]
    machine, endian = _machine(cpus, where.machine), _endian(cpus, where.endian)
    parts = [part for cpu in cpus for part in _status(cpu, machine, endian)]
    parts += [_state(cpu, endian) for cpu in cpus if cpu.machine is Machine.X86_64]
    said = [f"registers of {len(cpus)} CPUs" if len(cpus) != 1 else "registers of 1 CPU"]
    if not cpus:
        said = ["the core does not have registers: the stream does not have the state of the CPUs in a known form"]
    elif record is not None:
        said[0] += f" are those at the end of the stream; memory is as it is after record {record}"
    info = vmcoreinfo.find(stream, image, where)
    if info is not None:
        parts.append(_note(core.VMCOREINFO, 0, info.text, endian))
        said.append(f"VMCOREINFO from {info.found}")
    return Notes(b"".join(parts), machine, endian, tuple(said), tuple(sorted(virtual, key=_order)))


def _order(span: Span) -> tuple[bool, int]:
    """The place of a range in a core. makedumpfile takes the last one below the kernel's text for all of RAM.

    So the longest, which is in the direct map, comes last. Of text and what follows it takes the first.
    """
    below = span.virtual < core.LINUX_TEXT
    return below, span.length if below else span.virtual


def _machine(cpus: list[Cpu], usual: Machine) -> Machine:
    """The guest's machine. Like QEMU, a PC counts as a 32-bit one until its first CPU is in long mode."""
    if cpus and cpus[0].machine is Machine.X86_64 and not cpus[0].registers["efer"] & core.EFER_LONG:
        return Machine.I386
    return usual


def _endian(cpus: list[Cpu], usual: str) -> str:
    """The guest's byte order. A 64-bit POWER guest chooses it for its interrupts, and a core follows that."""
    if cpus and cpus[0].machine is Machine.PPC64:
        return "little" if cpus[0].registers["lpcr"] & core.PPC_LPCR_LITTLE else "big"
    return usual


def _note(name: bytes, kind: int, contents: bytes, endian: str) -> bytes:
    head = core.note(endian).build({"name_length": len(name), "length": len(contents), "type": kind})
    return bytes(head) + _padded(name) + _padded(contents)


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % core.ALIGN)


def _status(cpu: Cpu, machine: Machine, endian: str) -> Iterator[bytes]:
    """NT_PRSTATUS, and the registers that QEMU writes right after it."""
    registers = cpu.registers
    mask = (1 << 32) - 1 if machine is Machine.I386 else (1 << 64) - 1
    floating = "fpsr" in registers
    contents = core.prstatus(machine, endian).build(
        {
            "pid": cpu.number + 1,
            "registers": [registers[name] & mask if name else 0 for name in core.REGISTERS[machine]],
            "access": [registers[name] for name in core.S390_ACCESS] if machine is Machine.S390 else [],
            "floating": [int(floating)] if machine is Machine.AARCH64 else [],
        }
    )
    yield _note(core.CORE, core.NT_PRSTATUS, contents, endian)
    more = _MORE.get(machine)
    for name, kind, contents in more(registers, endian) if more is not None else ():
        yield _note(name, kind, contents, endian)


def _aarch64_more(registers: Mapping[str, int], endian: str) -> Iterator[tuple[bytes, int, bytes]]:
    """The vector registers, where the stream has them."""
    del endian  # of these registers it is always little
    if "fpsr" in registers:
        vectors = [registers[f"v{i}"] for i in range(2 * core.VECTORS)]
        state = {"vectors": vectors, "fpsr": registers["fpsr"], "fpcr": registers["fpcr"]}
        yield core.CORE, core.NT_PRFPREG, core.Aarch64Floating.build(state)


def _s390_more(registers: Mapping[str, int], endian: str) -> Iterator[tuple[bytes, int, bytes]]:
    """Floating point, control registers and timers, vectors, and guarded storage. What a CPU does not have is 0."""
    del endian  # of this machine it is always big
    upper = [registers.get(f"vh{i}", 0) for i in range(core.VECTORS)]
    lower = [registers.get(f"vl{i}", 0) for i in range(core.VECTORS)]
    half = core.VECTORS // 2
    state = {"control": registers.get("fpc", 0), "registers": upper[:half]}
    yield core.CORE, core.NT_PRFPREG, core.S390Floating.build(state)
    yield core.LINUX, core.NT_S390_PREFIX, (registers["psa"] & 0xFFFFFFFF).to_bytes(4, "big")
    yield core.LINUX, core.NT_S390_CTRS, b"".join(registers[f"cr{i}"].to_bytes(8, "big") for i in range(16))
    yield core.LINUX, core.NT_S390_TIMER, registers["cputm"].to_bytes(8, "big")
    yield core.LINUX, core.NT_S390_TODCMP, registers["ckc"].to_bytes(8, "big")
    yield core.LINUX, core.NT_S390_TODPREG, registers["todpr"].to_bytes(4, "big")
    whole = [part for pair in zip(upper[half:], lower[half:], strict=True) for part in pair]
    yield core.LINUX, core.NT_S390_VXRS_LOW, core.S390VectorsLow.build(lower[:half])
    yield core.LINUX, core.NT_S390_VXRS_HIGH, core.S390VectorsHigh.build(whole)
    yield core.LINUX, core.NT_S390_GS_CB, core.S390Guarded.build([registers.get(f"gs{i}", 0) for i in range(4)])


def _ppc_more(registers: Mapping[str, int], endian: str) -> Iterator[tuple[bytes, int, bytes]]:
    """Floating point and vectors. What a CPU does not have is 0."""
    floating = [registers.get(f"f{i}", 0) for i in range(core.VECTORS)] + [registers.get("fpscr", 0)]
    vectors = {"vectors": [registers.get(f"vr{i}", 0) for i in range(core.VECTORS)], "vscr": registers.get("vscr", 0)}
    lower = [registers.get(f"vs{i}", 0) for i in range(core.VECTORS)]
    yield core.CORE, core.NT_PRFPREG, core.ppc_floating(endian).build(floating)
    yield core.CORE, core.NT_PPC_VMX, core.ppc_vectors(endian).build(vectors)
    yield core.CORE, core.NT_PPC_VSX, core.ppc_vsx(endian).build(lower)
    yield core.CORE, core.NT_PPC_SPE, core.ppc_spe(endian).build({"accumulator": registers["spe_acc"]})


#: What follows NT_PRSTATUS of a CPU, as (name, type, contents).
_MORE: dict[Machine, Callable[[Mapping[str, int], str], Iterator[tuple[bytes, int, bytes]]]] = {
    Machine.AARCH64: _aarch64_more,
    Machine.S390: _s390_more,
    Machine.PPC64: _ppc_more,
}


def _state(cpu: Cpu, endian: str) -> bytes:
    """The note called QEMU, which an x86 CPU has."""
    registers, parts = cpu.registers, ("selector", "base", "limit", "flags")
    segments = [dict(zip(parts, cpu.segments[name], strict=True)) for name in core.SEGMENTS]
    state = {
        "version": core.X86_STATE_VERSION,
        "size": core.X86State.sizeof(),
        "general": [registers[name] for name in core.GENERAL],
        "segments": segments,
        "controls": [registers[name] if name else 0 for name in core.CONTROLS],
    }
    return _note(core.QEMU, core.NT_QEMU, core.X86State.build(state), endian)
