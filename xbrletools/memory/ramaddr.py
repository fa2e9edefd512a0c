"""Where each RAM block lies in ram_addr space, which a v4 stream does not record.

Facts: formats/README.md, "ram_addr". The PC of 2010 and 2011 allocated its blocks in a known order, each right after
the one before. The sender's page cache and its mig.log use those addresses.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..model import Block
from ..text import shown

PC_ORDER = (b"pc.ram", b"pc.bios", b"pc.rom", b"vga.vram")  # then option ROMs by PCI slot [C]
_OPTION_ROM = re.compile(rb"([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])/.+\.rom")

RAM_ADDR_MAX = 1 << 60  # bytes: far beyond any guest's RAM

BY_PC = "the PC's allocation order"
BY_LIST = "the order of the block list"
BY_SECTION = "the section's own ram_addr addresses"


def layout(
    blocks: Sequence[Block], page_size: int, bases: Mapping[bytes, int] | None = None
) -> tuple[NDArray[np.int64], str]:
    """Give each block's ram_addr in bytes, (len(blocks),) int64, and what that was taken from, for a person.

    ``bases`` places blocks by hand. A block without a base follows the block before it in the order that applies.

    Raises:
        XbrleError: a base is for an unknown block, is not a multiple of ``page_size``, or makes blocks overlap. Or the
            blocks claim more than any guest has.
    """
    bases = bases or {}
    _check(blocks, page_size, bases)
    order, source = _order(blocks)
    offsets = np.zeros(len(blocks), np.int64)
    at = 0
    for i in order:
        at = bases.get(blocks[i].name, at)
        if at + blocks[i].length > RAM_ADDR_MAX:
            end = at + blocks[i].length
            raise XbrleError(f"{shown(blocks[i].name)} would end at ram_addr {end:#x}, which no guest's RAM reaches")
        offsets[i] = at
        at += -(-blocks[i].length // page_size) * page_size
    if bases:
        _check_apart(blocks, offsets)
        source += ", with " + ", ".join(f"{shown(name)} at {base:#x}" for name, base in bases.items())
    return offsets, source


def _order(blocks: Sequence[Block]) -> tuple[list[int], str]:
    """The blocks' places in allocation order: the PC's where all names are such as it gave."""
    keys: list[tuple[int, ...] | None] = [_pc_key(b.name) for b in blocks if b.declared]
    plain = list(range(len(blocks)))
    if len(blocks) == 1:
        return plain, BY_SECTION if blocks[0].name == b"ram" else BY_LIST
    if None in keys or (0,) not in keys:
        return plain, BY_LIST
    return sorted(plain, key=lambda i: (not blocks[i].declared, _pc_key(blocks[i].name) or ())), BY_PC


def _pc_key(name: bytes) -> tuple[int, ...] | None:
    """A key that sorts the PC's blocks by their allocation, or None for a name that the PC does not use."""
    if name in PC_ORDER:
        return (PC_ORDER.index(name),)
    rom = _OPTION_ROM.fullmatch(name)
    return (len(PC_ORDER), *(int(part, 16) for part in rom.groups())) if rom else None


def _check(blocks: Sequence[Block], page_size: int, bases: Mapping[bytes, int]) -> None:
    names = {b.name for b in blocks}
    for name, base in bases.items():
        if name not in names:
            raise XbrleError(f"there is no RAM block {shown(name)} to give a base")
        if base > RAM_ADDR_MAX:
            raise XbrleError(f"invalid base {base:#x} for {shown(name)}: no guest's RAM reaches that far")
        if base < 0 or base % page_size:
            raise XbrleError(
                f"invalid base {base:#x} for {shown(name)}: it is not a multiple of the page size {page_size}"
            )


def _check_apart(blocks: Sequence[Block], offsets: NDArray[np.int64]) -> None:
    placed = sorted((int(offsets[i]), b.length, b.name) for i, b in enumerate(blocks) if b.length)
    for (start, length, name), (following, _, other) in pairwise(placed):
        if start + length > following:
            raise XbrleError(f"with these bases {shown(name)} and {shown(other)} overlap at {following:#x}")
