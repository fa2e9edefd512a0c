"""A capture written as a mapped-ram file: memory at its end, every page at a fixed place.

Facts: formats/README.md, "mapped-ram". QEMU 9.0 and later load such a file with the capability mapped-ram switched on.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import mapped_ram, ram
from ..formats.qevm import SectionType
from ..formats.ram import Flag
from ..memory.image import Image, State
from ..memory.moments import memory_of
from ..memory.replay import View
from ..model import Stream
from ..ram.blocklist import IGNORE_SHARED
from ..table.sections import Section
from .framing import Edit, Piece, capabilities, commands, end_of_main, joined
from .saver import block_entry, end_of_section

PIECE = 1 << 16  # bytes of pages that are given at once: what is all zeros becomes a hole


def to_mapped(stream: Stream, image: Image) -> Iterator[Piece]:
    """Give the pieces of a mapped-ram file with the memory ``image``, and everything else as in ``stream``.

    Raises:
        XbrleError: no QEMU loads such a stream with mapped-ram, or RAM's END is missing.
    """
    start = _start_of_ram(stream)
    edits = [*capabilities(stream, beside=mapped_ram.CAPABILITY), Edit(start.data, start.end)]
    edits += [*joined(commands(stream, keep_advice=False)), *joined(_bare_sections(stream))]
    at, copied = 0, stream.facts.start
    for edit in sorted(edits, key=lambda e: (e.start, e.stop)):
        before = stream.data[copied : edit.start].data
        at += len(before)
        yield before
        for piece in _blocks(stream, image, at) if edit.start == start.data else edit.pieces:
            yield piece
            at += len(piece)
        copied = edit.stop
    yield stream.data[copied : end_of_main(stream)].data


def final_memory(stream: Stream) -> Image:
    """What the file has to hold: memory as the source had it at the end."""
    return memory_of(stream, view=View.SENDER)


def unknown_pages(stream: Stream, image: Image) -> int:
    """How many pages the file gives as zeros though nothing shows what they held.

    Blocks that x-ignore-shared left out do not count: the file leaves them out as well.
    """
    kept = [i for i, b in enumerate(stream.blocks) if b.declared and not _is_left_out(stream, image, i)]
    pages = [image.space.slice(i) for i in kept]
    return sum(p.stop - p.start - image.count(State.RECOVERED, p) for p in pages)


def _start_of_ram(stream: Stream) -> Section:
    """RAM's START, whose data is the block list.

    Raises:
        XbrleError: this is not a stream that can be written as mapped-ram.
    """
    facts = stream.facts
    if facts.ram_version == ram.VERSION_FLAT or facts.configuration is None:
        raise XbrleError("only a stream of QEMU 2.4 or later can be written as mapped-ram, and this one is older")
    start = next((s for s in stream.sections.of_types(SectionType.START) if _is_ram(s)), None)
    if start is None or not facts.ram_ended:
        raise XbrleError("RAM's START or END is missing, so there is no memory to write as mapped-ram")
    return start


def _is_ram(section: Section) -> bool:
    return section.owner is not None and section.owner.idstr == ram.IDSTR


def _bare_sections(stream: Stream) -> Iterator[Edit]:
    """RAM's END loses its records. PARTs, which would be empty, are left out."""
    for section in stream.sections.of_types(SectionType.PART, SectionType.END):
        if section.type is SectionType.END and _is_ram(section):
            yield Edit(section.data, section.end, (end_of_section(),))
        elif section.type is SectionType.PART and _is_ram(section):
            following = min(section.index + 1, len(stream.sections) - 1)
            yield Edit(section.offset, max(section.end, stream.sections[following].offset))


def _is_left_out(stream: Stream, image: Image, index: int) -> bool:
    """Whether x-ignore-shared left the pages of a block out."""
    pages = image.space.slice(index)
    return IGNORE_SHARED in stream.facts.capabilities and image.count(State.UNKNOWN, pages) == pages.stop - pages.start


def _blocks(stream: Stream, image: Image, at: int) -> Iterator[Piece]:
    """The data of RAM's START, which will stand at offset ``at`` of the file: the block list and all pages."""
    total = sum(b.length for b in stream.blocks if b.declared)
    yield bytes(ram.Word.build(total | int(Flag.MEM_SIZE)))
    at += ram.Word.sizeof()
    for index, block in enumerate(stream.blocks):
        if not block.declared:
            continue
        entry, header = block_entry(block), {"page_size": stream.page_size, "bitmap_offset": 0, "pages_offset": 0}
        if _is_left_out(stream, image, index):
            entry += bytes(mapped_ram.Header.build(header))
            yield entry
            at += len(entry)
            continue
        bitmap = _bitmap(image, index)
        header["bitmap_offset"] = at + len(entry) + mapped_ram.Header.sizeof()
        header["pages_offset"] = pages_at = _up(header["bitmap_offset"] + len(bitmap), mapped_ram.ALIGNMENT)
        entry += bytes(mapped_ram.Header.build(header)) + bitmap
        yield entry
        yield bytes(pages_at - at - len(entry))
        flat = image.pages[image.space.slice(index)].reshape(-1)[: block.length]
        for start in range(0, block.length, PIECE):
            yield flat[start : start + PIECE].data
        at = pages_at + block.length
    yield end_of_section()


def _bitmap(image: Image, index: int) -> bytes:
    """The bitmap of a block: a bit for each page that is not zero."""
    pages = image.space.slice(index)
    marked = image.touched[pages].copy()
    places = np.flatnonzero(marked)
    step = max(1, PIECE // image.space.page_size)
    for start in range(0, len(places), step):
        batch: NDArray[np.int64] = places[start : start + step]
        marked[batch] = image.pages[pages.start + batch].any(axis=1)
    bits = np.packbits(marked, bitorder="little").tobytes()
    return bits.ljust(_up(len(bits), mapped_ram.BITMAP_UNIT), b"\0")


def _up(number: int, multiple: int) -> int:
    """The least multiple that is not below ``number``."""
    return -(-number // multiple) * multiple
