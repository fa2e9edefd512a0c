"""The disk data of block migration: the chunks that `block` sections carry, in the order in which they were sent.

Facts: formats/README.md, "The block section". The stream does not record the size of a device. A chunk is always 1 MiB,
even where that reaches past the device's end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..formats import block
from ..formats.block import Flag
from ..table.sections import Section

_WORD = dtype_of(block.Word)
_FLAGS = (1 << block.SECTOR_BITS) - 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """`block.CHUNK` bytes of a device, from its byte ``at`` on.

    The record's word stands at ``offset`` of the capture, the bytes at ``data``. For zeros ``data`` is None.
    """

    offset: int
    device: bytes
    at: int
    data: int | None


def chunks(sections: Iterable[Section], data: NDArray[np.uint8]) -> Iterator[Chunk]:
    """Every chunk that is complete. ``data`` is the capture, (size,) uint8."""
    for section in sections:
        if section.owner is not None and section.owner.idstr == block.IDSTR:
            yield from _of_section(section.data, data)


def _of_section(at: int, data: NDArray[np.uint8]) -> Iterator[Chunk]:
    while at + _WORD.itemsize < len(data):
        offset = at
        word = int(data[at : at + _WORD.itemsize].view(_WORD)[0])
        at += _WORD.itemsize
        if word & Flag.DEVICE_BLOCK:
            name = data[at + 1 : at + 1 + int(data[at])].tobytes()
            at += 1 + int(data[at])
            content = None if word & Flag.ZERO_BLOCK else at
            at += 0 if content is None else block.CHUNK
            if at > len(data):
                return
            yield Chunk(offset, name, word & ~_FLAGS, content)
        elif not word & Flag.PROGRESS:
            return
        if word & Flag.EOS:
            return
