"""ELF64 core files of guest-physical memory, for gdb, crash, volatility and others: one PT_LOAD for each range."""

import os

from ..errors import XbrleError
from ..formats import elf
from ..memory.image import Image
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces
from .physical import pieces

ALIGN = 4096


def write_elf(image: Image, where: PhysicalMap, path: str | os.PathLike[str], unknown: Unknown = Unknown.ZERO) -> None:
    """Write guest-physical memory as a sparse ELF64 core.

    p_vaddr is p_paddr, so a debugger shows guest-physical addresses. The core does not hold registers.

    Raises:
        XbrleError: it cannot be written, the map has too many ranges, or bytes are unknown and ``unknown`` is FAIL.
    """
    header, program_header = elf.header(where.endian), elf.program_header(where.endian)
    count = len(where.ranges)
    if count > elf.SEGMENTS_MAX:
        raise XbrleError(f"an ELF core holds at most {elf.SEGMENTS_MAX} ranges, the map has {count}")
    fields = dict.fromkeys(("entry", "shoff", "flags", "shentsize", "shnum", "shstrndx"), 0)
    head = header.build(
        fields
        | {
            "type": elf.TYPE_CORE,
            "machine": int(where.machine),
            "phoff": header.sizeof(),
            "ehsize": header.sizeof(),
            "phentsize": program_header.sizeof(),
            "phnum": count,
        }
    )
    at = _aligned(len(head) + count * program_header.sizeof())
    placed = []
    for r, piece in zip(where.ranges, pieces(image, where), strict=True):
        at += (r.start - at) % ALIGN  # as p_align asks
        head += program_header.build(
            {
                "type": elf.SEGMENT_LOAD,
                "flags": 0,
                "offset": at,
                "vaddr": r.start,
                "paddr": r.start,
                "filesz": r.length,
                "memsz": r.length,
                "align": ALIGN,
            }
        )
        placed.append(Piece(at, piece.block, piece.offset, piece.length))
        at += r.length
    write_pieces(image, placed, path, head, at, unknown)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN
