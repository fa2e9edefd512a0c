"""mapped-ram files: the block list whose entries say where their pages lie, and the pages that a bitmap marks.

Facts: formats/README.md, "mapped-ram". A marked page is a record like any other. A page whose bit is clear does not
have a record: `Mapped` says where its bitmap lies, and `xbrletools.memory.mapped` what it holds.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..formats import Grammar, mapped_ram, ram
from ..formats.ram import Flag, Kind
from ..table.columns import DTYPES, Columns
from .blocklist import ENTRY_MAX as LISTED_MAX
from .blocklist import trials

HEADER = mapped_ram.Header.sizeof()
ENTRY_MAX = LISTED_MAX + HEADER  # bytes of one entry
FILE_MAX = 1 << 62  # bytes: no file has offsets beyond
PIECE = 1 << 14  # bytes of a bitmap that are looked at together


class Entry(NamedTuple):
    """One block of a mapped-ram list. Offsets count from the start of the file.

    ``length`` is in bytes. ``page_size`` is the target's, ``own_page_size`` and ``address`` are the block's where they
    stand. The header stands at ``header``. ``bitmap`` and ``pages`` are None where the pages were left out.
    """

    name: bytes
    length: int
    page_size: int
    address: int | None
    own_page_size: int | None
    header: int
    bitmap: int | None
    pages: int | None

    @property
    def bitmap_size(self) -> int:
        """The bytes of the bitmap that have a bit for a page."""
        return -(-self.length // self.page_size // mapped_ram.BITS)

    @property
    def is_placed(self) -> bool:
        """Whether the bitmap is right behind the header, and the pages at the next multiple of some power of 2.

        That is 1 MiB in every sender that is known, and QEMU takes others, too.
        """
        if self.bitmap is None or self.pages is None:
            return True
        end = self.bitmap + -(-self.bitmap_size // mapped_ram.BITMAP_UNIT) * mapped_ram.BITMAP_UNIT
        return self.bitmap == self.header + HEADER and 0 <= self.pages - end < self.pages & -self.pages

    @property
    def usual(self) -> tuple[int, int]:
        """Where QEMU puts the bitmap and the pages."""
        bitmap = self.header + HEADER
        end = bitmap + -(-self.bitmap_size // mapped_ram.BITMAP_UNIT) * mapped_ram.BITMAP_UNIT
        return bitmap, -(-end // mapped_ram.ALIGNMENT) * mapped_ram.ALIGNMENT

    @property
    def stop(self) -> int:
        """The offset at which the list goes on."""
        return self.header + HEADER if self.pages is None else self.pages + self.length


def forms(capabilities: tuple[bytes, ...]) -> Iterable[Grammar]:
    """The grammars that an entry can read as, the likeliest first. ``capabilities`` are CONFIGURATION's."""
    return [mapped_ram.entry(address, page_size) for address, page_size in trials(capabilities)]


def entry(
    raw: bytes, at: int, total: int, grammars: Iterable[Grammar], anywhere: bool = False
) -> tuple[Entry, Grammar] | None:
    """The block whose entry ``raw`` begins with, and the grammar that it reads as, or None where no entry stands there.

    The entry stands at offset ``at``. ``total`` is the most that the block's length can be. ``anywhere``: its bitmap
    and pages may lie where they cannot be.
    """
    for grammar in grammars:
        try:
            parsed = grammar.parse(raw)
        except ConstructError:
            continue
        header = at + len(grammar.build(parsed)) - HEADER
        b, h = parsed.block, parsed.header
        places = (None, None)
        if h.bitmap_offset or h.pages_offset:
            places = (h.bitmap_offset, h.pages_offset)
        found = Entry(b.idstr, b.length, h.page_size, b.get("address"), b.get("page_size"), header, *places)
        if _fits(found, total, anywhere):
            return found, grammar
    return None


def _fits(found: Entry, total: int, anywhere: bool) -> bool:
    """Whether an entry is such as a sender writes."""
    if not (found.name and ram.is_page_size(found.page_size) and 0 < found.length <= total):
        return False
    if found.bitmap is None or found.pages is None or anywhere:
        return True
    after = found.header + HEADER
    return after <= found.bitmap and found.bitmap + found.bitmap_size <= found.pages and found.stop < FILE_MAX


def marked(bitmap: bytes | memoryview, first: int, pages: int) -> NDArray[np.int64]:
    """The pages that a piece of a bitmap marks, (n,) int64. Its first bit is page ``first`` of a block of ``pages``."""
    count = max(0, min(len(bitmap) * mapped_ram.BITS, pages - first))
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=count, bitorder="little")
    return first + np.flatnonzero(bits)


def records(found: Entry, index: int, pages: NDArray[np.int64], there: int | None) -> Columns:
    """A PAGE record for each of ``pages`` of the block with this index.

    ``there`` is the capture's size, if known. A page that ends beyond it is as long as what is there of it. One that
    begins beyond it does not get a record.
    """
    assert found.pages is not None
    address = pages * found.page_size
    at = address + found.pages
    length = np.minimum(found.page_size, found.length - address)
    if there is not None:
        length = np.minimum(length, there - at)
    values = {
        "offset": at,
        "address": address,
        "length": length,
        "flags": np.full(len(pages), Flag.PAGE),
        "block": np.full(len(pages), index),
        "kind": np.full(len(pages), Kind.PAGE),
    }
    columns = Columns(**{n: values.get(n, np.zeros(len(pages))).astype(t) for n, t in DTYPES.items()})
    return columns if there is None else columns.take(length > 0)
