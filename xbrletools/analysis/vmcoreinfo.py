"""VMCOREINFO: what a Linux guest says of itself to those who read its memory.

Facts: formats/README.md, "Memory images", and Linux, Documentation/admin-guide/kdump/vmcoreinfo.rst. QEMU's device of
that name holds the address where the guest wrote an ELF note with it. Without the device the kernel's own page has it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from construct import ConstructError

from ..formats import core
from ..memory.image import Image, State
from ..model import Stream
from ..physical import reading
from ..physical.layout import PhysicalMap

DEVICE = b"vmcoreinfo"
BEGINS = b"OSRELEASE="
ALSO = b"PAGESIZE="
CHUNK = 1 << 16  # pages that are compared at once

Read = Callable[[int, int], bytes | None]


class VmCoreInfo(NamedTuple):
    """The text of VMCOREINFO, and ``found``, which says for a person where it was."""

    text: bytes
    found: str

    def get(self, key: str) -> str | None:
        """What a line of the form key=value says."""
        start = key.encode() + b"="
        line = next((line for line in self.text.split(b"\n") if line.startswith(start)), None)
        return None if line is None else line[len(start) :].decode("ascii", "replace")


def reader(image: Image, where: PhysicalMap) -> Read:
    """A function of (guest-physical address, length): the bytes there, or None where one of them is not recovered."""

    def read(address: int, length: int) -> bytes | None:
        r = next((r for r in where.ranges if r.start <= address and address + length <= r.end), None)
        if r is None or length > core.NOTE_MAX:
            return None
        block, offset, size = image.space.index(r.block), r.offset + address - r.start, image.space.page_size
        first = int(image.space.first[block])
        pages = slice(first + offset // size, first + -(-(offset + length) // size))
        if not (image.state[pages] == State.RECOVERED).all():
            return None
        return image.pages[pages].reshape(-1)[offset % size :][:length].tobytes()

    return read


def reader_at_end(stream: Stream, where: PhysicalMap) -> Read:
    """As `reader` of memory at the end of the stream, for a few places: only their records are read."""

    def read(address: int, length: int) -> bytes | None:
        r = next((r for r in where.ranges if r.start <= address and address + length <= r.end), None)
        return None if r is None else reading.read(stream, r.block, r.offset + address - r.start, length)

    return read


def find(stream: Stream, image: Image, where: PhysicalMap) -> VmCoreInfo | None:
    """VMCOREINFO as the device or memory has it, or None where neither does."""
    return of_device(stream, reader(image, where), where.endian) or _in_memory(image, where)


def of_device(stream: Stream, read: Read, endian: str) -> VmCoreInfo | None:
    """VMCOREINFO as the device names it, in memory that ``read`` gives.

    Gives None where there is no device, or no note.
    """
    for section in reading.named(stream, DEVICE):
        fields = {n.rpartition(".")[2]: f.value for n, f in reading.fields(stream, section).items()}
        address, length = fields.get("paddr"), fields.get("size")
        if not isinstance(address, int) or not isinstance(length, int):
            continue
        raw = read(address, length)
        text = _contents(raw, endian) if raw else None
        if text is not None:
            return VmCoreInfo(text, f"the device vmcoreinfo, which points to {address:#x}")
    return None


def _contents(raw: bytes, endian: str) -> bytes | None:
    """What a note called VMCOREINFO holds, or None where ``raw`` is not one."""
    grammar = core.note(endian)
    try:
        head = grammar.parse(raw)
    except ConstructError:
        return None
    start = grammar.sizeof()
    name = raw[start : start + head.name_length]
    start += -(-head.name_length // core.ALIGN) * core.ALIGN
    text = raw[start : start + head.length]
    return text if name.rstrip(b"\0") == core.VMCOREINFO.rstrip(b"\0") and len(text) == head.length else None


def of_page(page: bytes) -> bytes | None:
    """The text of VMCOREINFO that a page begins with, or None where it does not."""
    text = page.partition(b"\0")[0]
    return text if text.startswith(BEGINS) and b"\n" + ALSO in text else None


def _in_memory(image: Image, where: PhysicalMap) -> VmCoreInfo | None:
    """The page that begins as VMCOREINFO does, among the pages of RAM that were given."""
    space = image.space
    words = np.frombuffer(BEGINS[:8], np.uint64)[0]
    for r in where.ranges:
        first = int(space.first[space.index(r.block)])
        start, stop = first + -(-r.offset // space.page_size), first + (r.offset + r.length) // space.page_size
        touched = start + np.flatnonzero(image.touched[start:stop])
        for at in range(0, len(touched), CHUNK):
            rows = touched[at : at + CHUNK]
            begins = image.pages[rows, :8].copy().view(np.uint64).reshape(-1)
            for row in rows[begins == words].tolist():
                text = of_page(image.pages[row].tobytes())
                if text is not None and image.state[row] == State.RECOVERED:
                    address = r.start + (row - first) * space.page_size - r.offset
                    return VmCoreInfo(text, f"the page at {address:#x}")
    return None
