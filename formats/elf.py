"""ELF core files, as far as a memory image needs them: the file header and the program headers.

Facts: README.md, "Memory images", and the System V ABI, "ELF Header" and "Program Header" (gabi, chapters 4 and 5).
Both byte orders exist, and both classes: 64 and 32 bits.
"""

from enum import IntEnum

from construct import Byte, Bytes, Const, Default, Int16ub, Int16ul, Int32ub, Int32ul, Int64ub, Int64ul, Struct

from . import Grammar

MAGIC = b"\x7fELF"
CLASS_32 = 1
CLASS_64 = 2
DATA = {"little": 1, "big": 2}
VERSION_CURRENT = 1
TYPE_CORE = 4
SEGMENT_LOAD = 1
SEGMENT_NOTE = 4
SEGMENTS_MAX = 0xFFFE  # PN_XNUM - 1; the exports write no more
SEGMENTS_ELSEWHERE = 0xFFFF  # PN_XNUM: the count is ``info`` of the first section header


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


def header(endian: str, class_: int = CLASS_64) -> Grammar:
    """Elf64_Ehdr or Elf32_Ehdr."""
    half, word, address = _integers(endian, class_)
    return Struct(
        "magic" / Const(MAGIC),
        "class_" / Const(class_, Byte),
        "data" / Const(DATA[endian], Byte),
        "ident_version" / Const(VERSION_CURRENT, Byte),
        "padding" / Default(Bytes(9), bytes(9)),  # EI_OSABI and what follows: other tools write something there
        "type" / half,
        "machine" / half,
        "version" / Const(VERSION_CURRENT, word),
        "entry" / address,
        "phoff" / address,
        "shoff" / address,
        "flags" / word,
        "ehsize" / half,
        "phentsize" / half,
        "phnum" / half,
        "shentsize" / half,
        "shnum" / half,
        "shstrndx" / half,
    )


def program_header(endian: str, class_: int = CLASS_64) -> Grammar:
    """Elf64_Phdr or Elf32_Phdr, in which the flags stand further back."""
    _, word, address = _integers(endian, class_)
    flags = [["flags" / word], []] if class_ == CLASS_64 else [[], ["flags" / word]]
    return Struct(
        "type" / word,
        *flags[0],
        "offset" / address,
        "vaddr" / address,
        "paddr" / address,
        "filesz" / address,
        "memsz" / address,
        *flags[1],
        "align" / address,
    )


def section_header(endian: str, class_: int = CLASS_64) -> Grammar:
    """Elf64_Shdr or Elf32_Shdr."""
    _, word, address = _integers(endian, class_)
    return Struct(
        "name" / word,
        "type" / word,
        "flags" / address,
        "addr" / address,
        "offset" / address,
        "size" / address,
        "link" / word,
        "info" / word,
        "addralign" / address,
        "entsize" / address,
    )


def _integers(endian: str, class_: int) -> tuple[Grammar, Grammar, Grammar]:
    """A half word, a word, and an address, which has the size of the class."""
    half, word, xword = (Int16ul, Int32ul, Int64ul) if endian == "little" else (Int16ub, Int32ub, Int64ub)
    return half, word, xword if class_ == CLASS_64 else word
