"""ELF64 core files of guest-physical memory, for gdb, crash, drgn, volatility and others.

Facts: formats/README.md, "Memory images". As in QEMU's own dumps, the notes come first, and then one PT_LOAD for each
range. p_align is 0: crash takes a core in which it is not for one of another program.
"""

from bisect import bisect_right

from ..errors import XbrleError
from ..formats import elf
from ..memory.image import Image
from ..outputs import Target
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces
from .notes import Notes
from .physical import pieces

ALIGN = 4096


def write_elf(
    image: Image,
    where: PhysicalMap,
    path: Target,
    unknown: Unknown = Unknown.ZERO,
    force: bool = False,
    notes: Notes | None = None,
) -> None:
    """Write guest-physical memory as a sparse ELF64 core, with the registers of its CPUs in ``notes``.

    p_vaddr is p_paddr, so a debugger shows guest-physical addresses. After these ranges follow those of virtual
    addresses that ``notes`` have. They share the bytes in the file.

    Raises:
        XbrleError: it cannot be written, the map has too many ranges, or bytes are unknown and ``unknown`` is FAIL.
    """
    machine, endian, raw = (
        (notes.machine, notes.endian, notes.raw) if notes is not None else (where.machine, where.endian, b"")
    )
    header, segment = elf.header(endian), elf.program_header(endian)
    virtual = notes.virtual if notes is not None else ()
    count = len(where.ranges) + len(virtual) + bool(raw)
    if count > elf.SEGMENTS_MAX:
        more = f", and {len(virtual)} of virtual addresses: leave out --paging" if virtual else ""
        raise XbrleError(f"an ELF core holds at most {elf.SEGMENTS_MAX} ranges, the map has {len(where.ranges)}{more}")
    fields = dict.fromkeys(("entry", "shoff", "flags", "shentsize", "shnum", "shstrndx"), 0)
    head = header.build(
        fields
        | {
            "type": elf.TYPE_CORE,
            "machine": int(machine),
            "phoff": header.sizeof(),
            "ehsize": header.sizeof(),
            "phentsize": segment.sizeof(),
            "phnum": count,
        }
    )
    at = len(head) + count * segment.sizeof()
    segments = [_segment(elf.SEGMENT_NOTE, at, 0, len(raw))] if raw else []
    at = _aligned(at + len(raw))
    placed, places = [], []
    for r, piece in zip(where.ranges, pieces(image, where), strict=True):
        at += (r.start - at) % ALIGN  # so that a hole of the guest's memory is a hole of the file
        segments.append(_segment(elf.SEGMENT_LOAD, at, r.start, r.length))
        places.append(at)
        placed.append(Piece(at, piece.block, piece.offset, piece.length))
        at += r.length
    starts = [r.start for r in where.ranges]
    for span in virtual:  # each lies in one range
        i = bisect_right(starts, span.physical) - 1
        segment_at = places[i] + span.physical - starts[i]
        segments.append(_segment(elf.SEGMENT_LOAD, segment_at, span.physical, span.length, span.virtual))
    head += b"".join(segment.build(s) for s in segments) + raw
    write_pieces(image, placed, path, head, at, unknown, force)


def _segment(kind: int, offset: int, address: int, length: int, virtual: int | None = None) -> dict[str, int]:
    return {
        "type": kind,
        "flags": 0,
        "offset": offset,
        "vaddr": address if virtual is None else virtual,
        "paddr": address,
        "filesz": length,
        "memsz": length,
        "align": 0,
    }


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN
