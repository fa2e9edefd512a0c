"""Where a stream's pages lie: their numbers in ram_addr space, and the addresses that written records give.

Facts: formats/README.md, "ram_addr". The sender's page cache goes by ram_addr page numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import ram
from ..memory.moments import space_of
from ..memory.ramaddr import layout
from ..model import Block, Stream

PAGES_MAX = 1 << 26  # 256 GiB of 4 KiB pages: each has a few numbers here, whatever was sent of it
MAIN_BLOCK = b"pc.ram"  # what a v3 stream's memory is called in v4, unless blocks are given


@dataclass(frozen=True, slots=True)
class PageAddresses:
    """Where pages lie: in ram_addr space, and in the blocks of the stream that is written.

    ``ram_page`` (pages,) int64 are page numbers in ram_addr space, by the pages' numbers in the source. ``block`` and
    ``address`` (pages,) int64 are what the written records say. ``blocks`` are the written stream's blocks and
    ``offsets`` (blocks,) int64 their ram_addrs. ``source`` tells a person what the ram_addrs were taken from.
    """

    ram_page: NDArray[np.int64]
    block: NDArray[np.int64]
    address: NDArray[np.int64]
    blocks: tuple[Block, ...]
    offsets: NDArray[np.int64]
    source: str

    @property
    def ram_pages(self) -> int:
        """How many page numbers there are in ram_addr space."""
        return int(self.ram_page.max()) + 1 if len(self.ram_page) else 0


def addresses_in_stream(
    stream: Stream,
    version: int,
    bases: Mapping[bytes, int] | None = None,
    blocks: Sequence[Block] = (),
) -> PageAddresses:
    """Give the pages of ``stream`` addresses in a stream of RAM section ``version``.

    ``bases`` are ram_addrs for the capture's own blocks. ``blocks`` split a v3 capture's memory, in the order of their
    ram_addr, where a v4 stream is made of it.

    Raises:
        XbrleError: the bases or the blocks do not fit the capture, or it claims more pages than are modelled.
    """
    size, space = stream.page_size, space_of(stream)
    if len(space) > PAGES_MAX:
        raise XbrleError(f"the blocks claim {len(space)} pages; a sender is modelled for up to {PAGES_MAX}")
    offsets, source = layout(space.blocks, size, bases)
    ram_page = np.arange(len(space)) + np.repeat(offsets // size - space.first[:-1], space.pages)
    flat = stream.facts.ram_version == ram.VERSION_FLAT
    if version == ram.VERSION_FLAT and not flat:
        return _flattened(ram_page, space.blocks, offsets, size, source)
    if version != ram.VERSION_FLAT and flat:
        length = space.blocks[0].length if space.blocks else 0
        return _split(ram_page, length, tuple(blocks) or (Block(MAIN_BLOCK, length),), size, source)
    block = np.repeat(np.arange(len(space.blocks)), space.pages)
    address = (np.arange(len(ram_page)) - space.first[block]) * size
    return PageAddresses(ram_page, block, address, space.blocks, offsets, source)


def addresses_in_blocks(
    blocks: Sequence[Block], version: int, page_size: int, bases: Mapping[bytes, int] | None = None
) -> PageAddresses:
    """Give the pages of ``blocks``, one block after the other, addresses in a stream of RAM section ``version``.

    Raises:
        XbrleError: the bases do not fit the blocks.
    """
    offsets, source = layout(blocks, page_size, bases)
    counts = np.array([b.length // page_size for b in blocks], np.int64)
    block = np.repeat(np.arange(len(blocks)), counts)
    place = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
    ram_page = place + (offsets // page_size)[block]
    if version == ram.VERSION_FLAT:
        return _flattened(ram_page, blocks, offsets, page_size, source)
    return PageAddresses(ram_page, block, place * page_size, tuple(blocks), offsets, source)


def _flattened(
    ram_page: NDArray[np.int64], blocks: Sequence[Block], offsets: NDArray[np.int64], page_size: int, source: str
) -> PageAddresses:
    """Blocks as a v3 stream has them: one address space, which is ram_addr space."""
    end = max((int(o) + b.length for o, b in zip(offsets, blocks, strict=True)), default=0)
    whole = Block(ram.IDSTR, end)
    block = np.zeros(len(ram_page), np.int64)
    return PageAddresses(ram_page, block, ram_page * page_size, (whole,), offsets[:1] * 0, source)


def _split(
    ram_page: NDArray[np.int64], length: int, blocks: tuple[Block, ...], page_size: int, source: str
) -> PageAddresses:
    """A v3 stream's memory of ``length`` bytes as blocks of a v4 stream."""
    if sum(b.length for b in blocks) != length:
        raise XbrleError(f"the blocks come to {sum(b.length for b in blocks):#x} bytes, the memory is {length:#x}")
    starts = np.concatenate([[0], np.cumsum([b.length for b in blocks])]).astype(np.int64)
    if (starts % page_size).any():
        raise XbrleError(f"a block's length is not a multiple of the page size {page_size}")
    block = np.searchsorted(starts, ram_page * page_size, side="right") - 1
    return PageAddresses(ram_page, block, ram_page * page_size - starts[block], blocks, starts[:-1], source)
