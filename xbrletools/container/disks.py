"""The disk data of block migration: the chunks that `block` sections carry, in the order in which they were sent.

Facts: formats/README.md, "The block section". No record says how long a device is: a chunk is always 1 MiB, also past
the device's end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from construct import Int64ub
from numpy.typing import NDArray

from ..formats import block
from ..formats.block import Flag
from ..table.sections import Section

_WORD = Int64ub.sizeof()
_FLAGS = (1 << block.SECTOR_BITS) - 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """`block.CHUNK` bytes of a device from byte ``at`` on; ``data`` is where they stand in the capture, None for zeros.

    The record's word stands at ``offset`` of the capture.
    """

    offset: int
    device: bytes
    at: int
    data: int | None


def chunks(sections: Iterable[Section], data: NDArray[np.uint8]) -> Iterator[Chunk]:
    """Every chunk that is there in full; ``data`` is the capture, (size,) uint8."""
    for section in sections:
        if section.owner is not None and section.owner.idstr == block.IDSTR:
            yield from _of_section(section.data, data)


def _of_section(at: int, data: NDArray[np.uint8]) -> Iterator[Chunk]:
    while at + _WORD < len(data):
        offset = at
        word = int.from_bytes(data[at : at + _WORD].tobytes(), "big")
        at += _WORD
        if word & Flag.DEVICE_BLOCK:
            name = data[at + 1 : at + 1 + int(data[at])].tobytes()
            at += 1 + int(data[at])
            there = None if word & Flag.ZERO_BLOCK else at
            at += 0 if there is None else block.CHUNK
            if at > len(data):
                return
            yield Chunk(offset, name, word & ~_FLAGS, there)
        elif not word & Flag.PROGRESS:
            return
        if word & Flag.EOS:
            return
