"""Reconstructed guest memory: pages, and for each page whether its bytes are recovered.

A page is unknown until a record gives it. A delta over an unknown page does not change that. What the records give is
*recovered*. In a damaged capture nothing proves it: a byte sum that holds is evidence, but a weak one. Memory is
reserved and not allocated: what no record touched costs nothing, whatever lengths a stream claims.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..arrays import Places, distinct, reserve
from ..errors import XbrleError
from ..model import SPACE_MAX, Block
from ..table.columns import PIECE, Columns
from ..text import address as parse_address
from ..text import bytes_of, called, counted, shown

MAIN = b"pc.ram"  # the PC's RAM, by the name it has had since 2010
_STRETCH = 1 << 12  # pages that are looked at or passed over together


class State(IntEnum):
    """How much of a page the records give. Whether that is known as well, `Image.known` says."""

    UNKNOWN = 0
    RECOVERED = 1
    PARTLY = 2  # `Image.partly` says which bytes
    POSSIBLE = 3  # unknown, but what stands in its place was its content once: `xbrletools.memory.mapped`


class PageSpace:
    """The pages of all blocks as one row of numbers: a page's number is its block's first plus its place in it."""

    def __init__(self, blocks: Sequence[Block], page_size: int) -> None:
        self.blocks = tuple(blocks)
        self.page_size = page_size
        pages = [-(-b.length // page_size) if b.declared else 0 for b in blocks]
        if sum(pages) * page_size > SPACE_MAX:
            raise XbrleError(f"the blocks claim {sum(pages) * page_size:#x} bytes, more than any guest has")
        self.pages = np.array(pages, np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.pages)]).astype(np.int64)
        self._by_name = {b.name: i for i, b in reversed(list(enumerate(blocks)))}

    def __len__(self) -> int:
        return int(self.first[-1])

    def __repr__(self) -> str:
        return f"<PageSpace of {counted(len(self.blocks), 'block')}: {len(self)} pages of {self.page_size} bytes>"

    def index(self, name: bytes | str) -> int:
        """The index of the block called ``name``.

        Raises:
            XbrleError: there is no such block.
        """
        if isinstance(name, bytes) and name in self._by_name:
            return self._by_name[name]
        names = [b.name for b in self.blocks]
        if matching := called(names, name):
            return matching[0]
        listed = ", ".join(map(shown, names)) or "none"
        wanted = shown(bytes_of(name) if isinstance(name, str) else name)
        raise XbrleError(f"there is no RAM block {wanted}; this capture has {listed}")

    @property
    def main(self) -> int:
        """The index of the only or main block: pc.ram where there is one, else the longest.

        Raises:
            XbrleError: there is no block.
        """
        if not self.blocks:
            raise XbrleError("this capture names no RAM block")
        lengths = [b.length for b in self.blocks]
        names = [b.name for b in self.blocks]
        return names.index(MAIN) if MAIN in names else lengths.index(max(lengths))

    def locate(self, text: str) -> tuple[int, int]:
        """``BLOCK:0xOFFSET``, or ``0xOFFSET`` in the main block: the block's index, and the offset in bytes.

        Raises:
            XbrleError: this is not an address, there is no such block, or it ends before the offset.
        """
        name, offset = parse_address(text)
        block = self.main if name is None else self.index(name)
        length = self.blocks[block].length
        if not 0 <= offset < length:
            raise XbrleError(
                f"{shown(self.blocks[block].name)} has {length:#x} bytes, so there is no {offset:#x} in it"
            )
        return block, offset

    def slice(self, block: int) -> slice:
        """The pages of a block."""
        return slice(int(self.first[block]), int(self.first[block + 1]))

    def pages_of(self, columns: Columns) -> NDArray[np.int64]:
        """The page of each record, (n,) int64. It is -1 where the record carries none, or one outside every block."""
        block = np.minimum(columns.block.astype(np.int64), len(self.blocks))
        pages = np.append(self.pages, 0)[block]
        place = (columns.address >> np.uint64(self.page_size.bit_length() - 1)).astype(np.int64)
        page_of = self.first[block]
        page_of += place
        page_of[place >= pages] = -1
        return page_of

    def places(self, columns: Columns) -> Places:
        """Places for the pages that these records carry. Beside those, other pages cost nothing, however many."""
        if len(self) <= len(columns):
            return Places(len(self))
        pieces = (columns.take(slice(start, start + PIECE)) for start in range(0, len(columns), PIECE))
        used = distinct(np.concatenate([np.empty(0, np.int64), *(distinct(self.pages_of(p)) for p in pieces)]))
        return Places(len(self), used[np.searchsorted(used, 0) :])


class Image:
    """Memory at one moment. ``image[name]`` is a block's pages, (n, page_size) uint8.

    ``image.known_in(name)`` says of the same bytes which are known. The last page of a block may reach past its end.
    Iterating it gives the names of the blocks.

    Examples:
        >>> image = capture.memory()
        >>> list(image), "pc.ram" in image
        ([b'pc.ram', b'pc.bios', b'pc.rom'], True)
    """

    def __init__(self, space: PageSpace) -> None:
        self.space = space
        self.pages: NDArray[np.uint8] = reserve((len(space), space.page_size), np.uint8)
        self.state: NDArray[np.uint8] = reserve((len(space),), np.uint8)
        self.touched: NDArray[np.bool_] = reserve((len(space),), bool)  # memory was written, perhaps with zeros
        self._stretches: NDArray[np.bool_] = reserve((-(-len(space) // _STRETCH),), bool)  # hold a page that was given
        self.partly: dict[int, NDArray[np.bool_]] = {}
        #: After salvage, the pages whose byte sum holds, (pages,) bool. None without salvage.
        self.sum_held: NDArray[np.bool_] | None = None

    def __repr__(self) -> str:
        blocks, pages = len(self.space.blocks), len(self.space)
        words = "recovered" if self.sum_held is not None else "known"
        count = f"{self.recovered_count} of {pages} pages of {self.space.page_size} bytes {words}"
        return f"<Image of {counted(blocks, 'block')}: {count}>"

    def __iter__(self) -> Iterator[bytes]:
        return (block.name for block in self.space.blocks)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | bytes) and bool(called(list(self), name))

    def __getitem__(self, name: bytes | str) -> NDArray[np.uint8]:
        return self.pages[self.space.slice(self.space.index(name))]

    def known_in(self, name: bytes | str) -> NDArray[np.bool_]:
        """Which bytes of a block are known, (n, page_size) bool, for the bytes of ``image[name]``. See `known`.

        It is read-only, and takes memory only where a page is known in part.

        Raises:
            XbrleError: there is no such block.
        """
        recovered = self.recovered_in(name)
        return recovered if self.sum_held is None else np.broadcast_to(np.False_, recovered.shape)

    def recovered_in(self, name: bytes | str) -> NDArray[np.bool_]:
        """Which bytes of a block are recovered, (n, page_size) bool, for the bytes of ``image[name]``.

        It is read-only, and takes memory only where a page is recovered in part.

        Raises:
            XbrleError: there is no such block.
        """
        pages, size = self.space.slice(self.space.index(name)), self.space.page_size
        whole = np.equal(self.state[pages], State.RECOVERED)[:, None]
        in_part = [page for page in self.partly if pages.start <= page < pages.stop]
        in_part = [page for page in in_part if self.state[page] == State.PARTLY]
        if not in_part:
            return np.broadcast_to(whole, (len(whole), size))
        mask: NDArray[np.bool_] = reserve((len(whole), size), bool)
        mask[whole[:, 0]] = True
        for page in in_part:
            mask[page - pages.start] = self.partly[page]
        mask.flags.writeable = False
        return mask

    @property
    def recovered(self) -> NDArray[np.bool_]:
        """Whether every byte of each page is recovered, (pages,) bool: given, and nothing speaks against it."""
        return np.equal(self.state, State.RECOVERED)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether every byte of each page is known, (pages,) bool.

        Without salvage, what the stream gives is known. With it nothing is, since a byte may have been flipped without
        a trace. `sum_holds` says for which pages that is unlikely.
        """
        return self.recovered if self.sum_held is None else np.zeros(len(self.state), bool)

    @property
    def sum_holds(self) -> NDArray[np.bool_]:
        """After salvage, whether each page is recovered and its byte sum holds, (pages,) bool.

        About 2 of 100 flipped bits in a delta keep the sum. docs/salvage.md has the rates. Without salvage, no page is.
        """
        return np.zeros(len(self.state), bool) if self.sum_held is None else self.recovered & self.sum_held

    @property
    def recovered_count(self) -> int:
        """How many pages are wholly recovered."""
        return self.count(State.RECOVERED, slice(0, len(self.state)))

    def count(self, what: State, pages: slice) -> int:
        """How many of some pages are in a state."""
        counts = np.zeros(len(State), np.int64)
        for part in self._parts(pages):
            counts += np.bincount(self.state[part], minlength=len(State))
        counts[State.UNKNOWN] = pages.stop - pages.start - counts[State.UNKNOWN + 1 :].sum()
        return int(counts[what])

    def given(self, pages: slice) -> NDArray[np.int64]:
        """The numbers of those among some pages that are not unknown, rising, (n,) int64."""
        return self._among(pages, self.state)

    def written(self, pages: slice) -> NDArray[np.int64]:
        """The numbers of those among some pages that memory was taken for, rising, (n,) int64. All others are zero."""
        return self._among(pages, self.touched)

    def _among(self, pages: slice, marks: NDArray[np.generic]) -> NDArray[np.int64]:
        """The numbers of those among some pages whose mark is not 0, rising.

        The work grows with the pages that were ever given, not with those that a stream claims.
        """
        found = [part.start + np.flatnonzero(marks[part]) for part in self._parts(pages)]
        return np.concatenate([np.empty(0, np.int64), *found])

    def _parts(self, pages: slice) -> Iterator[slice]:
        """The parts of some pages, a stretch each, in which a page was ever given."""
        first, last = pages.start // _STRETCH, -(-pages.stop // _STRETCH)
        for stretch in (first + np.flatnonzero(self._stretches[first:last])).tolist():
            yield slice(max(pages.start, stretch * _STRETCH), min(pages.stop, (stretch + 1) * _STRETCH))

    def _give(self, pages: NDArray[np.int64], state: State) -> None:
        """These pages are in a state other than unknown."""
        self.state[pages] = state
        self._stretches[pages // _STRETCH] = True

    def recovered_bytes(self, page: int) -> NDArray[np.bool_]:
        """Which bytes of a page are recovered, (page_size,) bool."""
        if self.state[page] == State.PARTLY:
            return self.partly[page]
        return np.full(self.space.page_size, self.state[page] == State.RECOVERED)

    def known_bytes(self, page: int) -> NDArray[np.bool_]:
        """Which bytes of a page are known, (page_size,) bool. See `known`."""
        recovered = self.recovered_bytes(page)
        return recovered if self.sum_held is None else np.zeros_like(recovered)

    def block_bytes(self, block: int) -> int:
        """The length of a block in bytes. Its last page may reach past it."""
        return self.space.blocks[block].length

    def set_recovered(self, pages: NDArray[np.int64]) -> None:
        """Every byte of these pages is recovered now."""
        self._give(pages, State.RECOVERED)
        self.touched[pages] = True
        self._forget(pages)

    def set_filled(self, pages: NDArray[np.int64]) -> None:
        """Records were applied to these pages, and their state and what was touched are set already."""
        self._stretches[pages // _STRETCH] = True
        if self.partly:
            whole = [page for page in self.partly if self.state[page] == State.RECOVERED]
            self._forget(np.array(whole, np.int64))

    def set_zero(self, pages: NDArray[np.int64]) -> None:
        """These pages, which nothing was written to, are zero, as they stand."""
        self._give(pages, State.RECOVERED)

    def set_possible(self, pages: NDArray[np.int64]) -> None:
        """These pages are unknown, and what was written to them was their content once."""
        self._give(pages, State.POSSIBLE)
        self.touched[pages] = True

    def set_unknown(self, pages: NDArray[np.int64]) -> None:
        """No byte of these pages is recovered any more."""
        self.state[pages] = State.UNKNOWN
        self.pages[pages[self.touched[pages]]] = 0
        self._forget(pages)

    def keep(self, pages: NDArray[np.bool_]) -> None:
        """Forget all but these pages, (pages,) bool."""
        given = self.given(slice(0, len(self.state)))
        self.set_unknown(given[~pages[given]])

    def set_partly(self, page: int, recovered: NDArray[np.bool_]) -> None:
        """These bytes of a page are recovered, (page_size,) bool, beside those that were."""
        self.touched[page] = True
        recovered = recovered | self.recovered_bytes(page)
        if recovered.all():
            self.set_recovered(np.array([page]))
        elif recovered.any():
            self._give(np.array([page]), State.PARTLY)
            self.partly[page] = recovered

    def _forget(self, pages: NDArray[np.int64]) -> None:
        if self.partly:
            for page in pages.tolist():
                self.partly.pop(page, None)
