"""ELF64 core files of guest-physical memory: one PT_LOAD a range, for gdb, crash, volatility and the like."""

import os

from ..errors import XbrleError
from ..formats import elf
from ..memory.image import Image
from ..model import Stream
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces
from .physical import pieces
from .sidecar import Sidecar

ALIGN = 4096


def write_elf(
    stream: Stream,
    image: Image,
    where: PhysicalMap,
    path: str | os.PathLike[str],
    sidecar: Sidecar,
    unknown: Unknown = Unknown.ZERO,
) -> None:
    """Write guest-physical memory as an ELF64 core, sparse, and its sidecar.

    p_vaddr is p_paddr: a debugger shows guest-physical addresses. There are no registers in it.

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
    sidecar.write(stream, image, path, "elf", "physical", pieces(image, where), where, unknown)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN
