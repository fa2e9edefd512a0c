"""The places where evidence stands: device sections, their fields, and bytes of memory as they are at the end.

Nothing here replays the whole stream: what a table of the firmware's or a device tree says is read page by page.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from ..container import devices
from ..container.fields import Field
from ..errors import XbrleError
from ..formats.qevm import SectionType
from ..memory.image import Image, PageSpace
from ..memory.lapses import Lapses
from ..memory.moments import lapses_of
from ..memory.replay import View, replay
from ..model import Block, Stream, once
from ..table.columns import PIECE
from ..table.kinds import IS_PAGE
from ..table.payloads import Payloads
from ..table.sections import Section

READ_MAX = 4 << 20  # bytes of memory that are read as one piece of evidence
SECTIONS_MAX = 1 << 14  # device sections that are looked at; real guests have hundreds
FIELDS_MAX = 1 << 20  # bytes of a section that are taken apart


@once
def _sections(stream: Stream) -> tuple[dict[bytes, list[Section]], dict[bytes, list[Section]]]:
    """The device sections, those of type FULL, in file order: by their own name, and by the path before it."""
    by_name: dict[bytes, list[Section]] = {}
    by_path: dict[bytes, list[Section]] = {}
    for section in islice(stream.sections.of_types(SectionType.FULL), SECTIONS_MAX):
        if section.owner is not None:
            path, _, name = section.owner.idstr.rpartition(b"/")
            by_name.setdefault(name, []).append(section)
            by_path.setdefault(path, []).append(section)
    return by_name, by_path


def named(stream: Stream, name: bytes) -> list[Section]:
    """The device sections called ``name``, whatever path stands before the name, in file order."""
    return _sections(stream)[0].get(name, [])


def at_path(stream: Stream, path: bytes) -> list[Section]:
    """The device sections with this path before the name, in file order."""
    return _sections(stream)[1].get(path, [])


def head(stream: Stream, section: Section, length: int) -> bytes:
    """The first ``length`` bytes of a section's data. There are fewer where it is shorter."""
    return stream.data[section.data : min(section.end, section.data + length)].tobytes()


def fields(stream: Stream, section: Section) -> dict[str, Field]:
    """The fields of a section that have no parts, by their names joined with ``/``.

    Subsections and elements of arrays count as parts. A section that is not described has no fields here.
    """
    try:
        device = devices.entries(stream).get(section.index)
    except XbrleError:
        return {}
    tree = devices.fields(section, head(stream, section, FIELDS_MAX), device) if device is not None else None
    return {} if tree is None else dict(_leaves(tree.children, ""))


def _leaves(parts: tuple[Field, ...], before: str) -> Iterator[tuple[str, Field]]:
    for part in parts:
        name = before + part.name
        if part.children:
            yield from _leaves(part.children, name + "/")
        else:
            yield name, part


def read(stream: Stream, block: bytes, offset: int, length: int) -> bytes | None:
    """Bytes of a block as they are at the end.

    Gives None where one of them is unknown or beyond the block, or where they are too many.

    Only the records of these pages are read.
    """
    index = next((i for i, b in enumerate(stream.blocks) if b.name == block and b.declared), None)
    if index is None or length > READ_MAX or not 0 <= offset <= offset + length <= stream.blocks[index].length:
        return None
    size = stream.page_size
    first, stop = offset // size, -(-(offset + length) // size)
    rows = _rows(stream, index, first * size, stop * size)
    columns = stream.records.columns.take(rows)
    columns = replace(
        columns, address=columns.address - np.uint64(first * size), block=np.zeros(len(rows), columns.block.dtype)
    )
    image = Image(PageSpace([Block(b"", (stop - first) * size)], size))
    number = sum(-(-b.length // size) if b.declared else 0 for b in stream.blocks[:index]) + first
    lapses = _shifted(lapses_of(stream, View.RECEIVER), number, stop - first).among(rows)
    replay(image, Payloads(columns, stream.data, stream.dialect), View.RECEIVER, lapses)
    if not image.recovered.all():
        return None
    return image.pages.reshape(-1)[offset - first * size :][:length].tobytes()


def _rows(stream: Stream, block: int, start: int, stop: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The rows that carry pages of ``block`` from address ``start`` up to ``stop``, in file order, (n,) int64."""
    found = [np.empty(0, np.int64)]
    table = stream.records.columns
    for at in range(0, len(table), PIECE):
        piece = table.take(slice(at, at + PIECE))
        inside = (piece.address >= np.uint64(start)) & (piece.address < np.uint64(stop)) & (piece.block == block)
        found.append(np.flatnonzero(inside & IS_PAGE[piece.kind]) + at)
    return np.concatenate(found)


def _shifted(lapses: Lapses, page: int, count: int) -> Lapses:
    """The lapses of ``count`` pages from ``page`` on, which are pages 0, 1 ... in them."""
    of_them = lapses.take((lapses.first < page + count) & (lapses.stop > page))
    first, stop = np.maximum(of_them.first - page, 0), np.minimum(of_them.stop - page, count)
    return Lapses(of_them.since, of_them.until, first, stop)


def pages_that_begin(stream: Stream, block: int, step: int, word: int) -> list[int]:
    """Where in a block, at multiples of ``step`` bytes, a page was sent whole that begins with this be32 word.

    The addresses rise. What the page holds at the end `read` tells.
    """
    found: set[int] = set()
    table = stream.records.columns
    for at in range(0, len(table), PIECE):
        piece = table.take(slice(at, at + PIECE))
        place = IS_PAGE[piece.kind] & (piece.block == block) & (piece.address % np.uint64(step) == 0)
        place &= piece.length >= stream.page_size
        chosen = piece.take(np.flatnonzero(place))
        payload = chosen.payload().astype(np.int64)
        inside = payload + 4 <= len(stream.data)
        begins = stream.data[payload[inside][:, None] + np.arange(4)].astype(np.uint32)
        words = begins @ np.array([1 << 24, 1 << 16, 1 << 8, 1], np.uint32)
        found.update(chosen.address[inside][words == word].tolist())
    return sorted(found)
