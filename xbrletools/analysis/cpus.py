"""The registers of the guest's CPUs, as the sections called ``cpu`` have them at the end of the stream.

Facts: formats/README.md, "Memory images". A stream of QEMU 2.3 or later describes the section, so that fields are found
by their names. For older ones of 64-bit x86 the layout is known.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from construct import ConstructError

from ..formats import core, paging
from ..formats.elf import Machine
from ..model import Stream, once
from ..physical import reading
from ..table.sections import Section

CPUS_MAX = 1 << 12


class Cpu(NamedTuple):
    """A CPU by its ``number``, from 0. ``registers`` have their values by name, as `formats.core` names them.

    ``segments`` of an x86 CPU are (selector, base, limit, flags) by name. Other machines have none.
    """

    number: int
    machine: Machine
    registers: Mapping[str, int]
    segments: Mapping[str, tuple[int, int, int, int]]

    @property
    def mode(self) -> str | None:
        """What an x86 CPU is doing, in words, or None for other machines."""
        if self.machine is not Machine.X86_64:
            return None
        cr0, efer = self.registers["cr0"], self.registers["efer"]
        flags = self.segments["cs"][3]
        if not cr0 & core.CR0_PROTECTED:
            return "real mode"
        if efer & core.EFER_LONG:
            levels = 5 if self.registers["cr4"] & core.CR4_LA57 else 4
            width = "64-bit" if flags & core.SEGMENT_LONG else "compatibility"
            return f"{width} mode, {levels} levels of page tables"
        width = "32-bit" if flags & core.SEGMENT_DEFAULT_32 else "16-bit"
        return f"{width} protected mode" + (", paging" if cr0 & core.CR0_PAGING else "")


@once
def cpus_of(stream: Stream) -> tuple[Cpu, ...]:
    """The CPUs in the order of their numbers.

    There are none where the stream does not have their state, or where it cannot be read.
    """
    sections = [s for s in reading.named(stream, core.X86_CPU) if s.owner is not None][:CPUS_MAX]
    sections.sort(key=lambda s: s.owner.instance_id if s.owner is not None else 0)
    found = [_cpu(stream, section, i) for i, section in enumerate(sections)]
    cpus = tuple(cpu for cpu in found if cpu is not None)
    return cpus if len(cpus) == len(found) else ()


def _cpu(stream: Stream, section: Section, number: int) -> Cpu | None:
    fields = {name: field.value for name, field in reading.fields(stream, section).items()}
    if not fields:
        return _undescribed(stream, section, number)
    for mark, read in _READERS.items():
        if mark in fields:
            try:
                return read(fields, number)
            except (KeyError, IndexError, TypeError):
                return None
    return None


def _undescribed(stream: Stream, section: Section, number: int) -> Cpu | None:
    """The registers of a 64-bit x86 CPU by the layout alone, or None where they cannot be such."""
    try:
        cpu = core.X86Cpu.parse(reading.head(stream, section, core.X86Cpu.sizeof()))
    except ConstructError:
        return None
    controls = {name: int(cpu[name]) for name in ("cr0", "cr2", "cr3", "cr4", "efer", "lstar", "kernel_gs_base")}
    plain = cpu.rflags & core.RFLAGS_ALWAYS and not cpu.rflags >> 22 and not controls["cr0"] >> 32
    if not plain or controls["cr4"] >> 32 or controls["efer"] >> 16 or any(s.selector >> 16 for s in cpu.segments):
        return None
    registers = dict(zip(core.X86_GENERAL, map(int, cpu.general), strict=True))
    segments = {
        name: (int(s.selector), int(s.base), int(s.limit), int(s.flags))
        for name, s in zip(core.X86_SEGMENTS, cpu.segments, strict=True)
    }
    return _x86_cpu(number, registers | controls | {"rip": int(cpu.rip), "rflags": int(cpu.rflags)}, segments)


def _x86_cpu(number: int, registers: dict[str, int], segments: dict[str, tuple[int, int, int, int]]) -> Cpu:
    """A CPU with the registers that are parts of segments."""
    for name in ("cs", "ss", "ds", "es", "fs", "gs"):
        registers[name] = segments[name][0]
    registers |= {"fs_base": segments["fs"][1], "gs_base": segments["gs"][1]}
    return Cpu(number, Machine.X86_64, registers, segments)


def _x86(fields: Mapping[str, Any], number: int) -> Cpu:
    general = [int(v) for v in fields["env.regs"]]
    registers = dict(zip(core.X86_GENERAL, [*general, *[0] * 16], strict=False))
    for name in ("cr0", "cr2", "cr3", "cr4"):
        registers[name] = int(fields[f"env.cr[{name[2]}]"])
    registers |= {"rip": int(fields["env.eip"]), "rflags": int(fields["env.eflags"])}
    for name, field in (("efer", "efer"), ("lstar", "lstar"), ("kernel_gs_base", "kernelgsbase")):
        registers[name] = int(fields.get(f"env.{field}", 0))
    names = [*(f"env.segs/[{i}]" for i in range(6)), "env.ldt", "env.tr", "env.gdt", "env.idt"]
    parts = ("selector", "base", "limit", "flags")
    segments = {
        name: tuple(int(fields[f"{field}/{part}"]) for part in parts)
        for name, field in zip(core.X86_SEGMENTS, names, strict=True)
    }
    return _x86_cpu(number, registers, segments)  # type: ignore[arg-type]  # each has four parts


def _aarch64(fields: Mapping[str, Any], number: int) -> Cpu | None:
    """A 64-bit Arm CPU, or None where it runs 32-bit code. Such code has its registers elsewhere."""
    pstate = int.from_bytes(fields["cpsr"], "big") if isinstance(fields["cpsr"], bytes) else int(fields["cpsr"])
    if pstate >> 4 & 1:
        return None
    registers = {f"x{i}": int(v) for i, v in enumerate(fields["env.xregs"])}
    registers |= {"sp": registers["x31"], "pc": int(fields["env.pc"]), "pstate": pstate}
    vectors = [fields.get(f"cpu/vfp/env.vfp.zregs[{i}].d") for i in range(core.VECTORS)]
    state = fields.get("cpu/vfp/fpscr")
    if all(isinstance(v, tuple) and len(v) == 2 for v in vectors) and isinstance(state, int):
        registers |= {f"v{i}": v for i, v in enumerate(v for pair in vectors for v in pair or ())}
        registers |= {"fpsr": state & core.FPSCR_STATUS, "fpcr": state & core.FPSCR_CONTROL}
    numbers, values = fields.get("cpreg_vmstate_indexes"), fields.get("cpreg_vmstate_values")
    if isinstance(numbers, tuple) and isinstance(values, tuple):
        system = zip(numbers, values, strict=False)
        registers |= {paging.SYSTEM_REGISTERS[n]: int(v) for n, v in system if n in paging.SYSTEM_REGISTERS}
    return Cpu(number, Machine.AARCH64, registers, {})


def _s390(fields: Mapping[str, Any], number: int) -> Cpu:
    registers = {f"gpr{i}": int(v) for i, v in enumerate(fields["env.regs"])}
    registers |= {f"ar{i}": int(v) for i, v in enumerate(fields["env.aregs"])}
    registers |= {f"cr{i}": int(v) for i, v in enumerate(fields["env.cregs"])}
    registers |= {"psw_mask": int(fields["env.psw.mask"]), "psw_addr": int(fields["env.psw.addr"])}
    registers |= {name: int(fields[f"env.{name}"]) for name in ("psa", "todpr", "cputm", "ckc")}
    halves = {i: _s390_vector(fields, i) for i in range(core.VECTORS)}
    registers |= {f"vh{i}": high for i, (high, _) in halves.items() if high is not None}
    registers |= {f"vl{i}": low for i, (_, low) in halves.items() if low is not None}
    if isinstance(control := fields.get("cpu/fpu/env.fpc"), int):
        registers["fpc"] = control
    guarded = fields.get("cpu/gscb/env.gscb")
    if isinstance(guarded, tuple) and len(guarded) == 4:
        registers |= {f"gs{i}": int(v) for i, v in enumerate(guarded)}
    return Cpu(number, Machine.S390, registers, {})


def _s390_vector(fields: Mapping[str, Any], i: int) -> tuple[int | None, int | None]:
    """Both halves of a vector register. The upper half of the first 16 is a floating-point register."""
    found = []
    for half in (0, 1):
        values = [fields.get(f"cpu/{part}/env.vregs[{i}][{half}]") for part in ("fpu", "vregs")]
        found.append(next((v for v in values if isinstance(v, int)), None))
    return found[0], found[1]


def _ppc(fields: Mapping[str, Any], number: int) -> Cpu | None:
    special = fields["env.spr"]
    registers = {f"gpr{i}": int(v) for i, v in enumerate(fields["env.gpr"])}
    condition = 0
    for part in fields["env.crf"]:
        condition = condition << 4 | int(part) & 0xF
    registers |= {"nip": int(fields["env.nip"]), "msr": int(fields["env.msr"]), "ccr": condition}
    registers |= {"lr": special[core.PPC_LR], "ctr": special[core.PPC_CTR], "xer": special[core.PPC_XER]}
    registers["lpcr"] = int(special[core.PPC_LPCR])
    floating, state = fields.get("cpu/fpu/env.vsr"), fields.get("cpu/fpu/env.fpscr")
    if isinstance(floating, bytes) and len(floating) == 8 * core.VECTORS and isinstance(state, int):
        registers |= {f"f{i}": v for i, v in enumerate(_words(floating))} | {"fpscr": state}
    vectors, state = fields.get("cpu/altivec/env.vsr"), fields.get("cpu/altivec/vscr")
    if isinstance(vectors, bytes) and len(vectors) == 16 * core.VECTORS and isinstance(state, bytes):
        halves = _words(vectors)  # a little-endian host sends the lower half first
        registers |= {f"vr{i}": halves[2 * i + 1] << 64 | halves[2 * i] for i in range(core.VECTORS)}
        registers["vscr"] = int.from_bytes(state, "big")
    lower = fields.get("cpu/vsx/env.vsr")
    if isinstance(lower, bytes) and len(lower) == 8 * core.VECTORS:
        registers |= {f"vs{i}": v for i, v in enumerate(_words(lower))}
    registers["spe_acc"] = int(fields.get("env.spe_acc", 0))
    return Cpu(number, Machine.PPC64, registers, {})


def _words(raw: bytes) -> list[int]:
    """Big-endian numbers of 64 bits."""
    return [int.from_bytes(raw[at : at + 8], "big") for at in range(0, len(raw), 8)]


def _riscv(fields: Mapping[str, Any], number: int) -> Cpu:
    registers = {f"x{i}": int(v) for i, v in enumerate(fields["env.gpr"])}
    return Cpu(number, Machine.RISCV, registers | {"pc": int(fields["env.pc"])}, {})


#: How to read a CPU, by a field that only its kind has.
_READERS: dict[str, Callable[[Mapping[str, Any], int], Cpu | None]] = {
    "env.eip": _x86,
    "env.xregs": _aarch64,
    "env.psw.mask": _s390,
    "env.nip": _ppc,
    "env.satp": _riscv,
}
