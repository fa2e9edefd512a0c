"""The ``struct page`` of a Linux guest's pages: what each says that its page is used for.

Facts: Linux, include/linux/mm_types.h and page-flags.h; Documentation/admin-guide/kdump/vmcoreinfo.rst for the values
that mark free pages and, where `enum pageflags` lacks the flag, slab pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import XbrleError
from .linux import faults
from .vmcoreinfo import VmCoreInfo

CHUNK = 512  # page structures that are read at once
_TAIL = 1  # in page.compound_head: the rest is the address of the first page's structure
_TYPED = 0xF0  # page types from Linux 6.11 on are at least this, in the upper byte of page_type
_WORD, _HALF = 8, 4  # bytes of a field of 64 bits, and of page_type
_ORDERS = 12  # a free block of the buddy allocator has at most 2 to the power of this - 1 pages


@dataclass(frozen=True, slots=True)
class Page:
    """What counts of a page's structure, which stands at virtual ``address``.

    ``type`` is "buddy", "slab", "table", "offline" or nothing. ``index`` is the page's place in its ``mapping``, in
    pages. ``head`` has what stands in compound_head, ``private`` the order of a free block.
    """

    address: int
    type: str
    reserved: bool
    mapping: int
    index: int
    head: int
    private: int


class StructPages:
    """The guest's page structures, read some hundred at a time."""

    def __init__(self, program: Any, info: VmCoreInfo) -> None:
        import drgn

        self._program, self._info = program, info
        kind = program.type("struct page")
        self._size = kind.size
        little = program.platform.flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN
        self._order: Literal["little", "big"] = "little" if little else "big"

        def offset(*names: str) -> int:
            for name in names:
                try:
                    return int(drgn.offsetof(kind, name))
                except LookupError:
                    continue
            raise XbrleError(f"the kernel's struct page does not have {names[0]}")

        self._offsets = {
            "flags": offset("flags"),
            "mapping": offset("mapping"),
            "index": offset("index", "__folio_index"),
            "head": offset("compound_head", "compound_info"),
            "private": offset("private"),
            "type": offset("page_type", "_mapcount"),
        }
        self._bits = self._enumerators("enum pageflags")
        self._types = {
            value: name for name in ("buddy", "slab", "table", "offline") for value in self._values_of_type(name)
        }
        self._chunks: dict[int, tuple[int, bytes] | None] = {}

    def of(self, frame: int) -> Page | None:
        """The structure of a page, or None where it is unknown.

        Where the page is a part of a larger one or of a free block, it is that of its first page, with this page's
        index.
        """
        import drgn
        from drgn.helpers.linux.mm import page_to_pfn

        page = self._read(frame)
        if page is None or page.type or page.mapping or page.reserved:
            if page is None or not page.head & _TAIL:
                return page
        elif not page.head & _TAIL:
            return self._free(frame) or page
        first = int(page_to_pfn(drgn.Object(self._program, "struct page *", page.head - _TAIL)).value_())
        head = self._read(first)
        return None if head is None else replace(head, index=head.index + frame - first)

    def _free(self, frame: int) -> Page | None:
        """The first page of the free block that holds a page, or None where it is in none: only that one is marked."""
        for order in range(_ORDERS):
            first = self._read(frame & -(1 << order))
            if first is not None and first.type == "buddy":
                return first if first.private >= order else None
        return None

    def _read(self, frame: int) -> Page | None:
        chunk = frame // CHUNK
        if chunk not in self._chunks:
            self._chunks[chunk] = self._read_chunk(chunk)
        held = self._chunks[chunk]
        if held is None:
            return None
        at = (frame % CHUNK) * self._size
        number = {
            name: int.from_bytes(held[1][at + start : at + start + (_HALF if name == "type" else _WORD)], self._order)
            for name, start in self._offsets.items()
        }
        flags = number["flags"]
        kind = "slab" if self._has(flags, "PG_slab") else self._type(number["type"])
        reserved = self._has(flags, "PG_reserved")
        return Page(held[0] + at, kind, reserved, number["mapping"], number["index"], number["head"], number["private"])

    def _read_chunk(self, chunk: int) -> tuple[int, bytes] | None:
        """The address and the bytes of a chunk's structures, or None where they are unknown."""
        from drgn.helpers.linux.mm import pfn_to_page

        try:
            start = pfn_to_page(self._program, chunk * CHUNK).value_()
            return start, self._program.read(start, CHUNK * self._size)
        except faults():
            return None

    def _has(self, flags: int, name: str) -> bool:
        return name in self._bits and bool(flags >> self._bits[name] & 1)

    def _type(self, value: int) -> str:
        """The type of a page as its page_type says, or nothing."""
        return self._types.get(value) or (self._types.get(value >> 24, "") if value >> 24 >= _TYPED else "")

    def _values_of_type(self, name: str) -> Iterator[int]:
        """What page_type has for a page of this type: all of it, or its upper byte."""
        typed = self._enumerators("enum pagetype").get(f"PGTY_{name}")
        if typed is not None:
            yield typed
        stated = self._info.get(f"NUMBER(PAGE_{name.upper()}_MAPCOUNT_VALUE)")
        if stated is not None and stated.lstrip("-").isdigit():
            yield int(stated) & 0xFFFFFFFF

    def _enumerators(self, name: str) -> dict[str, int]:
        try:
            return {e.name: int(e.value) for e in self._program.type(name).enumerators or ()}
        except LookupError:
            return {}
