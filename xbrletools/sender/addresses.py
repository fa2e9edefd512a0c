"""Where a stream's pages lie: their numbers in ram_addr space, and the addresses that written records give.

Facts: formats/README.md, "ram_addr". The sender's page cache goes by ram_addr page numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import ram
from ..memory.moments import space_of
from ..memory.ramaddr import layout
from ..model import Block, Stream

MAIN_BLOCK = b"pc.ram"  # what a v3 stream's memory is called in v4, unless blocks are given


Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PageAddresses:
    """Where pages lie: in ram_addr space, and in the blocks of the stream that is written.

    ``first`` (n + 1,) int64 are the numbers of the first page of each of the source's blocks, and of the end.
    ``ram_first`` (n,) int64 are the numbers of these pages in ram_addr space. ``blocks`` are the written stream's
    blocks and ``offsets`` (blocks,) int64 their ram_addrs. ``source`` tells a person what the ram_addrs were taken
    from. ``sent`` (m,) int64 are the only pages that are ever asked for, rising. None: perhaps all.
    """

    first: Ints
    ram_first: Ints
    blocks: tuple[Block, ...]
    offsets: Ints
    page_size: int
    source: str
    sent: Ints | None = None

    @property
    def ram_pages(self) -> int:
        """How many page numbers there are in ram_addr space."""
        ends = (self.ram_first + np.diff(self.first))[np.diff(self.first) > 0]
        return int(ends.max(initial=0))

    def ram_page(self, pages: Ints) -> Ints:
        """The page numbers in ram_addr space of pages of the source, (n,) int64 each."""
        block = np.searchsorted(self.first, pages, side="right") - 1
        ram_page: Ints = pages - self.first[block] + self.ram_first[block]
        return ram_page

    def written(self, pages: Ints) -> tuple[Ints, Ints]:
        """What the records of pages say: the block, by its index, and the address in it, (n,) int64 each."""
        at = self.ram_page(pages) * self.page_size
        order = np.argsort(self.offsets, kind="stable")
        order = order[[self.blocks[i].length > 0 for i in order.tolist()]]
        block = order[np.searchsorted(self.offsets[order], at, side="right") - 1]
        return block, at - self.offsets[block]

    @property
    def ram_sent(self) -> Ints | None:
        """The page numbers in ram_addr space that are ever asked for, (m,) int64. None: perhaps all."""
        return None if self.sent is None else self.ram_page(self.sent)


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
        XbrleError: the bases or the blocks do not fit the capture.
    """
    size, space = stream.page_size, space_of(stream)
    offsets, source = layout(space.blocks, size, bases)
    own = PageAddresses(space.first, offsets // size, space.blocks, offsets, size, source)
    if not stream.facts.mapped_ram:  # there pages of zeros are sent, too, which no record gives
        own = replace(own, sent=space.places(stream.records.columns).used)
    flat = stream.facts.ram_version == ram.VERSION_FLAT
    if version == ram.VERSION_FLAT and not flat:
        return _flattened(own)
    if version != ram.VERSION_FLAT and flat:
        length = space.blocks[0].length if space.blocks else 0
        return _split(own, length, tuple(blocks) or (Block(MAIN_BLOCK, length),))
    return own


def addresses_in_blocks(
    blocks: Sequence[Block], version: int, page_size: int, bases: Mapping[bytes, int] | None = None
) -> PageAddresses:
    """Give the pages of ``blocks``, one block after the other, addresses in a stream of RAM section ``version``.

    Raises:
        XbrleError: the bases do not fit the blocks.
    """
    offsets, source = layout(blocks, page_size, bases)
    first = np.concatenate([[0], np.cumsum([b.length // page_size for b in blocks])]).astype(np.int64)
    own = PageAddresses(first, offsets // page_size, tuple(blocks), offsets, page_size, source)
    return _flattened(own) if version == ram.VERSION_FLAT else own


def _flattened(own: PageAddresses) -> PageAddresses:
    """Blocks as a v3 stream has them: one address space, which is ram_addr space."""
    end = max((int(o) + b.length for o, b in zip(own.offsets, own.blocks, strict=True)), default=0)
    return replace(own, blocks=(Block(ram.IDSTR, end),), offsets=own.offsets[:1] * 0)


def _split(own: PageAddresses, length: int, blocks: tuple[Block, ...]) -> PageAddresses:
    """A v3 stream's memory of ``length`` bytes as blocks of a v4 stream."""
    if sum(b.length for b in blocks) != length:
        raise XbrleError(f"the blocks come to {sum(b.length for b in blocks):#x} bytes, the memory is {length:#x}")
    starts = np.concatenate([[0], np.cumsum([b.length for b in blocks])]).astype(np.int64)
    if (starts % own.page_size).any():
        raise XbrleError(f"a block's length is not a multiple of the page size {own.page_size}")
    return replace(own, blocks=blocks, offsets=starts[:-1])
