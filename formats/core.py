"""The notes of an ELF core as QEMU's dump-guest-memory writes them: the registers of each CPU, and VMCOREINFO.

Facts: README.md, "Memory images". They were held against dumps that QEMU 7.2 made of the same guests. `elf` has the
headers.
"""

from enum import IntFlag

from construct import Array, Bytes, BytesInteger, Int32sb, Int32sl, Int32ub, Int32ul, Int64ub, Int64ul, Padding, Struct

from . import Grammar
from .elf import Machine

ALIGN = 4  # of a note's name and of its contents
CORE, QEMU, LINUX, VMCOREINFO = b"CORE\0", b"QEMU\0", b"LINUX\0", b"VMCOREINFO\0"  # names, which end in NUL
NT_PRSTATUS = 1
NT_PRFPREG = 2
NT_QEMU = 0
NT_S390_TIMER, NT_S390_TODCMP, NT_S390_TODPREG, NT_S390_CTRS, NT_S390_PREFIX = range(0x301, 0x306)
NT_S390_VXRS_LOW, NT_S390_VXRS_HIGH, NT_S390_GS_CB = range(0x309, 0x30C)
NT_PPC_VMX, NT_PPC_SPE, NT_PPC_VSX = range(0x100, 0x103)
LINUX_TEXT = 0xFFFF_FFFF_8000_0000  # where x86-64 Linux has its text and modules (Documentation/arch/x86/x86_64/mm.rst)
NOTE_MAX = 1 << 20  # bytes of a note that a guest may hand over


def note(endian: str) -> Grammar:
    """Elf64_Nhdr: the lengths of the name and of the contents, which follow, and the type."""
    word = Int32ul if endian == "little" else Int32ub
    return Struct("name_length" / word, "length" / word, "type" / word)


#: The registers of NT_PRSTATUS by machine, in order. They have 64 bits, and 32 on i386. One without a name stays 0.
X86_64_REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", ""),
    *("rip", "cs", "rflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
AARCH64_REGISTERS = (*(f"x{i}" for i in range(31)), "sp", "pc", "pstate")
RISCV_REGISTERS = ("pc", *(f"x{i}" for i in range(1, 32)))
PPC64_REGISTERS = (
    *(f"gpr{i}" for i in range(32)),
    *("nip", "msr", "", "ctr", "lr", "xer", "ccr", "", "", "", "", ""),
)
S390_REGISTERS = ("psw_mask", "psw_addr", *(f"gpr{i}" for i in range(16)))
I386_REGISTERS = (
    *("rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rax", "ds", "es", "fs", "gs"),
    *("", "rip", "cs", "rflags", "rsp", "ss"),
)
S390_ACCESS = tuple(f"ar{i}" for i in range(16))  # 32-bit registers, which follow
REGISTERS = {
    Machine.I386: I386_REGISTERS,
    Machine.X86_64: X86_64_REGISTERS,
    Machine.AARCH64: AARCH64_REGISTERS,
    Machine.RISCV: RISCV_REGISTERS,
    Machine.PPC64: PPC64_REGISTERS,
    Machine.S390: S390_REGISTERS,
}
#: What follows in NT_PRSTATUS, in bytes.
_TAIL = {
    Machine.I386: 4,
    Machine.X86_64: 8,
    Machine.AARCH64: 4,
    Machine.RISCV: 8,
    Machine.PPC64: 40,
    Machine.S390: 16,
}


def prstatus(machine: Machine, endian: str) -> Grammar:
    """NT_PRSTATUS: ``pid`` is the CPU's number plus one, ``registers`` those of `REGISTERS`."""
    signed, word, xword = (Int32sl, Int32ul, Int64ul) if endian == "little" else (Int32sb, Int32ub, Int64ub)
    access = len(S390_ACCESS) if machine is Machine.S390 else 0
    wide = machine is not Machine.I386
    return Struct(
        Padding(32 if wide else 24),
        "pid" / signed,
        Padding(76 if wide else 44),
        "registers" / Array(len(REGISTERS[machine]), xword if wide else word),
        "access" / Array(access, word),
        "floating" / Array(int(machine is Machine.AARCH64), word),  # whether NT_PRFPREG follows
        Padding(_TAIL[machine]),
    )


VECTORS = 32
#: NT_PRFPREG of a 64-bit Arm CPU: its vector registers, the lower half of each first.
Aarch64Floating: Grammar = Struct(
    "vectors" / Array(2 * VECTORS, Int64ul), "fpsr" / Int32ul, "fpcr" / Int32ul, Padding(8)
)
FPSCR_STATUS, FPSCR_CONTROL = 0xF800009F, 0x07F79F00  # the parts of FPSCR that are FPSR and FPCR

#: NT_PRFPREG of z/Architecture: floating-point control, then the registers.
S390Floating: Grammar = Struct("control" / Int32ub, Padding(4), "registers" / Array(16, Int64ub))
S390VectorsLow: Grammar = Array(16, Int64ub)  # the lower halves of vector registers 0 to 15
S390VectorsHigh: Grammar = Array(2 * 16, Int64ub)  # vector registers 16 to 31, the upper half of each first
S390Guarded: Grammar = Array(4, Int64ub)  # the control block of guarded storage


def ppc_floating(endian: str) -> Grammar:
    """NT_PRFPREG of POWER: the floating-point registers, then FPSCR."""
    return Array(VECTORS + 1, Int64ul if endian == "little" else Int64ub)


def ppc_vectors(endian: str) -> Grammar:
    """NT_PPC_VMX: the vector registers in the guest's byte order, then VSCR in the fourth word, and 16 bytes of 0."""
    word = Int32ul if endian == "little" else Int32ub
    vector = BytesInteger(16, swapped=endian == "little")
    return Struct("vectors" / Array(VECTORS, vector), Padding(12), "vscr" / word, Padding(16))


def ppc_vsx(endian: str) -> Grammar:
    """NT_PPC_VSX: the lower halves of VSX registers 0 to 31. Their upper halves are the floating-point registers."""
    return Array(VECTORS, Int64ul if endian == "little" else Int64ub)


def ppc_spe(endian: str) -> Grammar:
    """NT_PPC_SPE: 32 upper halves of registers, which 64-bit CPUs do not have, the accumulator, and SPEFSCR."""
    return Struct(Padding(4 * VECTORS), "accumulator" / (Int64ul if endian == "little" else Int64ub), Padding(4))


SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")
GENERAL = (
    *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags"),
)
CONTROLS = ("cr0", "", "cr2", "cr3", "cr4", "kernel_gs_base")

Segment: Grammar = Struct("selector" / Int32ul, "limit" / Int32ul, "flags" / Int32ul, Padding(4), "base" / Int64ul)
#: The note called QEMU: the state of an x86 CPU.
X86State: Grammar = Struct(
    "version" / Int32ul,
    "size" / Int32ul,
    "general" / Array(len(GENERAL), Int64ul),
    "segments" / Array(len(SEGMENTS), Segment),
    "controls" / Array(len(CONTROLS), Int64ul),
)
X86_STATE_VERSION = 1

#: A segment register as the section `cpu` of an x86 guest has it.
X86Segment: Grammar = Struct("selector" / Int32ub, "base" / Int64ub, "limit" / Int32ub, "flags" / Int32ub)
X86_GENERAL = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
X86_SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr", "gdt", "idt")
X86_CPU = b"cpu"
#: The start of the section `cpu` of a 64-bit x86 guest, for streams that do not describe it.
X86Cpu: Grammar = Struct(
    "general" / Array(len(X86_GENERAL), Int64ub),
    "rip" / Int64ub,
    "rflags" / Int64ub,
    "hflags" / Int32ub,
    Bytes(4 * 2 + 8 * 10),  # the x87 unit
    "segments" / Array(len(X86_SEGMENTS), X86Segment),
    Bytes(4 + 2 * 8),  # sysenter
    "cr0" / Int64ub,
    "cr2" / Int64ub,
    "cr3" / Int64ub,
    "cr4" / Int64ub,
    Bytes(8 * 8 + 2 * 4 + 16 * 16),  # debug registers, A20, MXCSR, XMM
    "efer" / Int64ub,
    "star" / Int64ub,
    "lstar" / Int64ub,  # where system calls of 64-bit programs enter the kernel
    "cstar" / Int64ub,
    "fmask" / Int64ub,
    "kernel_gs_base" / Int64ub,
)


class Rflags(IntFlag):
    """RFLAGS of an x86 CPU (Intel SDM, volume 1, section 3.4.3)."""

    CF, PF, AF, ZF, SF = 1 << 0, 1 << 2, 1 << 4, 1 << 6, 1 << 7
    TF, IF, DF, OF, NT = 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 14
    RF, VM, AC, VIF, VIP, ID = 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21


class Cr0(IntFlag):
    """CR0 (Intel SDM, volume 3, section 2.5)."""

    PE, MP, EM, TS, ET, NE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
    WP, AM, NW, CD, PG = 1 << 16, 1 << 18, 1 << 29, 1 << 30, 1 << 31


class Cr4(IntFlag):
    """CR4 (Intel SDM, volume 3, section 2.5)."""

    VME, PVI, TSD, DE, PSE, PAE, MCE, PGE = (1 << i for i in range(8))
    PCE, OSFXSR, OSXMMEXCPT, UMIP, LA57, VMXE, SMXE = (1 << i for i in range(8, 15))
    FSGSBASE, PCIDE, OSXSAVE, KL, SMEP, SMAP, PKE, CET, PKS = (1 << i for i in range(16, 25))


class Efer(IntFlag):
    """IA32_EFER (Intel SDM, volume 3, section 2.2.1; AMD64, volume 2, section 3.1.7)."""

    SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE = (1 << i for i in (0, 8, 10, 11, 12, 13, 14, 15))


_WHOLE = (1 << 64) - 1
#: The flags in fields of an x86 CPU, by the field's name, and the bits that hold them.
X86_FLAGS: dict[str, tuple[type[IntFlag], int]] = {
    "env.eflags": (Rflags, _WHOLE),
    "env.cr[0]": (Cr0, _WHOLE),
    "env.cr[4]": (Cr4, _WHOLE),
    "env.efer": (Efer, _WHOLE),
}
RFLAGS_ALWAYS = 1 << 1
CR0_PROTECTED, CR0_PAGING = 1 << 0, 1 << 31
CR4_LA57 = 1 << 12
EFER_LONG = 1 << 10
SEGMENT_DEFAULT_32, SEGMENT_LONG = 1 << 22, 1 << 21  # flags of a code segment
PPC_LPCR, PPC_LPCR_LITTLE = 318, 1 << 25  # the register that says in which byte order interrupts run
PPC_LR, PPC_CTR, PPC_XER = 8, 9, 1
