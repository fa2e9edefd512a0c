"""ELF64 core files, as far as a memory image needs them: the file header and the program headers.

Facts: README.md, "Memory images", and the System V ABI, "ELF Header" and "Program Header" (gabi, chapters 4 and 5).
Both byte orders exist.
"""

from enum import IntEnum

from construct import Byte, Bytes, Const, Int16ub, Int16ul, Int32ub, Int32ul, Int64ub, Int64ul, Struct

from . import Grammar

MAGIC = b"\x7fELF"
CLASS_64 = 2
DATA = {"little": 1, "big": 2}
VERSION_CURRENT = 1
TYPE_CORE = 4
SEGMENT_LOAD = 1
SEGMENT_NOTE = 4
SEGMENTS_MAX = 0xFFFE  # PN_XNUM - 1; for more, the count would have to stand in a section header


class Machine(IntEnum):
    """e_machine of the targets that QEMU migrates (gabi, "e_machine")."""

    NONE = 0
    I386 = 3
    M68K = 4
    PARISC = 15
    PPC = 20
    PPC64 = 21
    S390 = 22
    ARM = 40
    X86_64 = 62
    AARCH64 = 183
    RISCV = 243
    LOONGARCH = 258


def header(endian: str) -> Grammar:
    """Elf64_Ehdr."""
    half, word, xword = _integers(endian)
    return Struct(
        "magic" / Const(MAGIC),
        "class_" / Const(CLASS_64, Byte),
        "data" / Const(DATA[endian], Byte),
        "ident_version" / Const(VERSION_CURRENT, Byte),
        "padding" / Const(bytes(9), Bytes(9)),
        "type" / half,
        "machine" / half,
        "version" / Const(VERSION_CURRENT, word),
        "entry" / xword,
        "phoff" / xword,
        "shoff" / xword,
        "flags" / word,
        "ehsize" / half,
        "phentsize" / half,
        "phnum" / half,
        "shentsize" / half,
        "shnum" / half,
        "shstrndx" / half,
    )


def program_header(endian: str) -> Grammar:
    """Elf64_Phdr."""
    _, word, xword = _integers(endian)
    return Struct(
        "type" / word,
        "flags" / word,
        "offset" / xword,
        "vaddr" / xword,
        "paddr" / xword,
        "filesz" / xword,
        "memsz" / xword,
        "align" / xword,
    )


def _integers(endian: str) -> tuple[Grammar, Grammar, Grammar]:
    return (Int16ul, Int32ul, Int64ul) if endian == "little" else (Int16ub, Int32ub, Int64ub)
