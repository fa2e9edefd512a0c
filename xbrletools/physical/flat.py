"""The PC of the trees of 2010, whose stream has one space for all blocks.

Facts: formats/README.md, "ram_addr", and captures of those trees [C].
"""

from ..formats.elf import Machine
from ..model import Stream
from . import rtc
from .layout import GIB, KIB, MIB, PhysicalMap, Range, Unplaced, checked, left_of

ABOVE_4G = 4 * GIB
SPLIT = 0xE0000000
BIOS = ROM = 128 * KIB
VGA = 16 * MIB
VGA_WINDOW = 0xA0000


def map_of(stream: Stream) -> PhysicalMap:
    """RAM, the BIOS, option ROMs and VGA memory, in this order in the one space."""
    block = stream.blocks[0]
    length = block.length - BIOS - ROM - VGA
    stated = rtc.sizes(stream)
    if stated is not None and stated.low + stated.high != length:
        reason = f"CMOS states {stated.low + stated.high:,} bytes of RAM, the layout of a PC of 2010 {length:,}"
        return _nothing(stream, reason)
    if length < MIB or length % MIB:
        return _nothing(stream, "the space does not have the layout of the PC of its time")
    low = min(length, SPLIT) if stated is None else stated.low
    notes = [
        "RAM is ram_addr space without 128 KiB of BIOS, 128 KiB of option ROMs and 16 MiB of VGA memory at its end",
        "0xc0000 to 0xeffff is ROM, 0xf0000 to 0xfffff the RAM that shadows the BIOS, as captures of these trees show",
        "0xa0000 to 0xbffff is the VGA window and left out; the RAM behind it is in the block",
    ]
    origin = "rules of the PC of 2010" + ("; CMOS agrees" if stated is not None else "")
    ranges = [
        Range(0, VGA_WINDOW, block.name, 0, origin),
        Range(0xC0000, ROM, block.name, length + BIOS, origin),
        Range(0xE0000, 0x10000, block.name, length, origin),
        Range(0xF0000, low - 0xF0000, block.name, 0xF0000, origin),
        Range(ABOVE_4G - BIOS, BIOS, block.name, length, origin),
    ]
    if low < length:
        ranges.append(Range(ABOVE_4G, length - low, block.name, low, origin))
    if low < length and stated is None:
        notes.append(f"RAM from {low:#x} on is assumed to lie at 4 GiB")
    hidden = tuple(
        Unplaced(block.name, at, n, "RAM behind ROM or the VGA window, or VGA memory")
        for at, n in left_of(block.name, block.length, ranges)
    )
    return PhysicalMap(
        checked(ranges, stream),
        origin,
        tuple(notes),
        Machine.X86_64,
        hidden=hidden,
        assumed=low < length and stated is None,
    )


def _nothing(stream: Stream, reason: str) -> PhysicalMap:
    unplaced = tuple(Unplaced(b.name, 0, b.length, reason) for b in stream.blocks if b.declared)
    return PhysicalMap((), "nothing in the stream", (), Machine.X86_64, unplaced=unplaced)
