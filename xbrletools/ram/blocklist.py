"""The block list after MEM_SIZE: its entries, and by trial what two capabilities of today's sender add to each.

Facts: formats/README.md, "MEM_SIZE extras". Nothing in the bytes says what an entry holds. A list that adds up and that
a record follows was read rightly.
"""

from functools import lru_cache
from typing import NamedTuple

from construct import Computed, Renamed

from ..codec.layout import dtype_of
from ..formats import Grammar, ram
from ..formats.declared import IfNext
from ..formats.ram import Flag

IGNORE_SHARED = b"x-ignore-shared"
LIST_MAX = 1 << 20  # bytes of a list
ENTRY_MAX = 1 + 0xFF + 3 * ram.Word.sizeof()  # a name with its length, the block's length, and what may be added


class Entry(NamedTuple):
    """One block of the list: ``length`` in bytes, its offset in its region and its own page size where they stand."""

    name: bytes
    length: int
    address: int | None
    page_size: int | None


class BlockList(NamedTuple):
    """A block list: the grammar of its ``entry``, its ``size`` in bytes, and whether it was cut off."""

    blocks: tuple[Entry, ...]
    entry: Grammar
    size: int
    cut: bool = False

    @property
    def total(self) -> int:
        """The blocks' lengths together, in bytes."""
        return sum(b.length for b in self.blocks)


def trials(capabilities: tuple[bytes, ...]) -> tuple[tuple[bool, bool], ...]:
    """What `ram.block_entry` can take, the likeliest first. ``capabilities`` are CONFIGURATION's."""
    shared = IGNORE_SHARED in capabilities
    return (shared, False), (shared, True), (not shared, False), (not shared, True)


def read(view: memoryview, total: int, capabilities: tuple[bytes, ...]) -> BlockList:
    """The list at the beginning of ``view``, whose word says ``total`` bytes.

    ``capabilities`` are CONFIGURATION's. Where no reading fits, the plain one is given, with its errors.
    """
    plain = entries(view, total, ram.block_entry())
    if not total:
        return plain
    for form in trials(capabilities):
        found = entries(view, total, ram.block_entry(*form)) if any(form) else plain
        if not found.cut and found.total == total and _follows(view, found):
            return found
    return plain


def _follows(view: memoryview, found: BlockList) -> bool:
    """Whether a list is such as a sender writes: no block without a name, and a record's word after it."""
    if not all(b.name for b in found.blocks):
        return False
    if found.size + ram.Word.sizeof() > len(view):
        return True
    word = int(ram.Word.parse(view[found.size : found.size + ram.Word.sizeof()]))
    flags = word & (ram.MIN_PAGE_SIZE - 1)
    return bool(flags & int(ram.known_flags(ram.VERSION_NAMED) & ~Flag.CONTINUE))


@lru_cache(16)
def _numbers(entry: Grammar) -> tuple[tuple[str, int, bool], ...]:
    """The numbers after the name of an entry: the name of each, its bytes, and whether it may be left out."""
    found = []
    for part in vars(entry)["subcons"][1:]:
        inner = part
        while isinstance(inner, Renamed):
            inner = inner.subcon
        if isinstance(inner, Computed):
            continue
        is_optional = isinstance(inner, IfNext)
        number = dtype_of(inner.subcon if is_optional else inner)
        assert number == number.newbyteorder(">"), "numbers on the wire are big-endian"
        found.append((str(part.name), number.itemsize, is_optional))
    return tuple(found)


def entries(view: memoryview, total: int, entry: Grammar) -> BlockList:
    """The list at the beginning of ``view`` whose entries read as ``entry``, until they add up to ``total`` bytes.

    A list can have thousands of blocks. So construct does not read them, but a loop over what its grammar says.
    """
    numbers, size = _numbers(entry), len(view)
    at = listed = 0
    blocks: list[Entry] = []
    while listed < total:
        start = at + 1
        at = start + view[at] if at < size else size + 1
        name = view[start:at]
        found: dict[str, int] = {}
        for field, length, is_optional in numbers:
            number = int.from_bytes(view[at : at + length])
            if is_optional and (at + length > size or not ram.is_page_size(number)):
                continue
            found[field] = number
            at += length
        if at > size:
            return BlockList(tuple(blocks), entry, size, cut=True)
        blocks.append(Entry(bytes(name), found["length"], found.get("address"), found.get("page_size")))
        listed += found["length"]
    return BlockList(tuple(blocks), entry, at)
