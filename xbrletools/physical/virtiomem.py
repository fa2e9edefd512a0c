"""Where virtio-mem devices have their memory, and which parts of it are plugged.

Facts: formats/README.md, "Where memory lies". The block's bus path names the device. QEMU 8 and later write the fields
into a section of their own. Before that they stand in the device's opaque data, where the block's length finds them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from construct import ConstructError

from ..formats import machine
from ..model import Block, Stream
from . import reading

MIB = 1 << 20
_NAMES = (b"virtio-mem-device-early", b"virtio-mem")


class Region(NamedTuple):
    """The region at ``start`` of ``length`` bytes.

    ``plugged`` are the parts that the guest has, as (offset, length).
    """

    start: int
    length: int
    plugged: tuple[tuple[int, int], ...]


def is_device(stream: Stream, block: Block) -> bool:
    """Whether a block belongs to a virtio-mem device."""
    return next(_sections(stream, block), None) is not None


def region(stream: Stream, block: Block) -> Region | None:
    """The region of the virtio-mem device that owns a block, or None where its state cannot be read."""
    for name, data in _sections(stream, block):
        found = _early(data) if name == _NAMES[0] else _opaque(data, block.length)
        if found is not None and found.length == block.length:
            return found
    return None


def _sections(stream: Stream, block: Block) -> Iterator[tuple[bytes, bytes]]:
    """The sections of the device that owns a block, as (name, data)."""
    path = block.name.rpartition(b"/")[0]
    sections = [(s.owner.idstr.rpartition(b"/")[2], s) for s in reading.at_path(stream, path) if path and s.owner]
    for name in _NAMES:
        yield from ((name, reading.head(stream, s, reading.FIELDS_MAX)) for own, s in sections if own == name)


def _early(data: bytes) -> Region | None:
    """The section of today: address, length, size of a part, node, then the plugged size and the bitmap."""
    try:
        head = machine.VirtioMemEarly.parse(data)
    except ConstructError:
        return None
    return _region(head, data[machine.VirtioMemEarly.sizeof() :])


def _opaque(data: bytes, length: int) -> Region | None:
    """The same fields within the opaque data, or None where no place, or more than one, reads as them."""
    word = machine.VIRTIO_MEM_WORD
    found: list[Region] = []
    wanted, before = length.to_bytes(word, "big"), word
    at = data.find(wanted, before)
    while at >= 0:
        start = at - before
        try:
            head = machine.VirtioMem.parse(data[start:])
        except ConstructError:
            break
        usable = head.usable_region_size
        if head.size <= usable <= length and head.requested_size <= usable:
            found += filter(None, [_region(head, data[start + machine.VirtioMem.sizeof() :])])
        at = data.find(wanted, at + 1)
    return found[0] if len(found) == 1 else None


def _region(head: Any, bitmap: bytes) -> Region | None:
    start, length, part, size = head.addr, head.region_size, head.block_size, head.size
    if part < MIB or part & (part - 1) or start % part or length % part or not length:
        return None
    bits = length // part
    word = machine.VIRTIO_MEM_WORD
    needed = -(-bits // (8 * word)) * word
    if len(bitmap) < needed:
        return None
    words = [int.from_bytes(bitmap[i : i + word], "big") for i in range(0, needed, word)]
    plugged = _runs([bool(words[i // 64] >> i % 64 & 1) for i in range(bits)])
    if sum(count for _, count in plugged) * part != size:
        return None
    return Region(start, length, tuple((first * part, count * part) for first, count in plugged))


def _runs(bits: list[bool]) -> list[tuple[int, int]]:
    """The runs of true bits, as (first, count)."""
    runs: list[tuple[int, int]] = []
    for i, bit in enumerate(bits):
        if bit and runs and sum(runs[-1]) == i:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        elif bit:
            runs.append((i, 1))
    return runs
