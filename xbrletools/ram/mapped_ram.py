"""mapped-ram files: the block list whose entries say where their pages lie, as records like any other.

Facts: formats/README.md, "mapped-ram"; no file that a QEMU wrote has been seen.
"""

from dataclasses import dataclass

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..formats import mapped_ram, ram
from ..formats.ram import Flag, Kind
from ..table.columns import DTYPES, Columns

ENTRY_MAX = 1 + 0xFF + ram.Word.sizeof() + mapped_ram.Header.sizeof()  # a name with its length, the block's length
FILE_MAX = 1 << 62  # bytes: no file has offsets beyond


@dataclass(frozen=True, slots=True)
class MappedBlock:
    """One block: its header stands at ``header``, the list goes on at ``stop``; all are offsets in the file."""

    name: bytes
    length: int
    page_size: int
    header: int
    bitmap: int
    pages: int

    @property
    def count(self) -> int:
        """How many pages it has."""
        return -(-self.length // self.page_size)

    @property
    def bitmap_size(self) -> int:
        """The bytes that its bitmap takes."""
        return -(-self.count // 8)

    @property
    def stop(self) -> int:
        """The offset after its pages."""
        return self.pages + self.length


def entry(raw: bytes, at: int, total: int) -> MappedBlock | None:
    """The block whose entry ``raw`` begins with, at offset ``at`` of the file; None where it is not a mapped one.

    ``total`` is the most that its length can be.
    """
    try:
        parsed = mapped_ram.Entry.parse(raw)
    except ConstructError:
        return None
    header = at + len(mapped_ram.Entry.build(parsed)) - mapped_ram.Header.sizeof()
    h = parsed.header
    found = MappedBlock(parsed.idstr, parsed.length, h.page_size, header, h.bitmap_offset, h.pages_offset)
    fits = (
        ram.is_page_size(found.page_size)
        and 0 < found.length <= total
        and header + mapped_ram.Header.sizeof() <= found.bitmap
        and found.bitmap + found.bitmap_size <= found.pages
        and found.stop < FILE_MAX
    )
    return found if fits and found.name else None


def records(block: MappedBlock, index: int, bitmap: bytes, there: int | None) -> Columns:
    """A record for every page of a block: PAGE where its bit is set, else a dup page of zeros.

    ``there`` is the file's size, if known: pages beyond it do not get a record.
    """
    bits: NDArray[np.bool_] = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")[: block.count] != 0
    place = np.arange(block.count)
    size = np.minimum(block.page_size, block.length - place * block.page_size)
    at = np.where(bits, block.pages + place * block.page_size, block.header)  # a header's first byte is 0
    values = {
        "offset": at,
        "address": place * block.page_size,
        "length": np.where(bits, size, ram.Fill.sizeof()),
        "flags": np.where(bits, Flag.PAGE, Flag.COMPRESS),
        "block": np.full(block.count, index),
        "kind": np.where(bits, Kind.PAGE, Kind.DUP),
    }
    columns = Columns(**{n: values.get(n, np.zeros(block.count)).astype(t) for n, t in DTYPES.items()})
    return columns if there is None else columns.take(at + values["length"] <= there)
