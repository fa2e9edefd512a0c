"""The map that a booted PC's firmware made for its guest: a second witness for where RAM above 4 GiB begins.

Facts: formats/README.md, "Where memory lies". SeaBIOS keeps its copy between 0xf0000 and 1 MiB.
"""

import re

from ..formats import machine
from ..model import Block, Stream
from . import reading

_SEGMENT = 0xF0000, 0x10000  # where SeaBIOS keeps its variables
_FIRST = re.compile(rb"\0{8}.[\x80-\xff][\x08\x09]\0{5}\x01\0{3}", re.DOTALL)  # RAM from 0 to below 640 KiB
_TYPES = range(1, 16)


def high_ram(stream: Stream, block: Block) -> list[tuple[int, int]] | None:
    """The ranges of RAM above 4 GiB, (start, length), by the copy in ``block``, or None where it does not have one."""
    raw = reading.read(stream, block.name, *_SEGMENT)
    found = _FIRST.search(raw) if raw is not None else None
    if raw is None or found is None:
        return None
    ranges, at, size = [], found.start(), machine.E820Entry.sizeof()
    while at + size <= len(raw):
        entry = machine.E820Entry.parse(raw[at:])
        if entry.type not in _TYPES or not entry.length:
            break
        if entry.type == machine.E820_RAM and entry.start >= 1 << 32:
            ranges.append((int(entry.start), int(entry.length)))
        at += size
    return ranges
