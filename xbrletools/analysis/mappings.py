"""All that a CPU's page tables map, and so the virtual addresses of guest-physical ones, for many at once.

Facts: formats/README.md, "Page tables". A table counts once, however many entries lead to it, so that tables that lead
to each other do not make the work endless: see `TABLES_MAX` and `PATHS_MAX`. Both limits are said where they are met.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..codec.layout import dtype_of
from ..formats import paging
from ..memory.image import Image, State
from ..memory.moments import pages_at_end, space_of
from ..memory.replay import View
from ..model import Stream
from ..physical.addresses import Addresses, addresses_in
from ..physical.layout import PhysicalMap
from .paging import Tables, Tree, leads

TABLES_MAX = 1 << 14  # tables of one level that are looked at: 64 MiB of them
PATHS_MAX = 1 << 20  # mappings that are given, and steps that lead to them at each level
PIECE = 1 << 11  # tables that are looked at together: 8 MiB

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Paths = tuple[Words, Ints]  # virtual addresses, and the guest-physical addresses to which they lead
_TABLE = 1 << paging.PAGE_SHIFT


@dataclass(frozen=True, slots=True, eq=False)
class Mappings:
    """What page tables map: ``virtual`` (n,) uint64, ``physical`` (n,) int64 and ``length`` (n,) int64, in bytes.

    They are in rising order of the virtual addresses. ``unknown`` are the guest-physical addresses of tables that are
    not wholly known, or not in RAM, (m,) int64, rising. ``cut``: there are more than are given.
    """

    virtual: Words
    physical: Ints
    length: Ints
    unknown: Ints
    cut: bool

    def of(self, addresses: Ints) -> tuple[Ints, Words]:
        """Every virtual address of each guest-physical address: the index of the address, and the virtual one.

        (k,) int64 and (k,) uint64, in the order of the addresses, those of one address in rising order.
        """
        which, where = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for size in distinct(self.length).tolist():
            chosen = np.flatnonzero(self.length == size)
            chosen = chosen[np.argsort(self.physical[chosen], kind="stable")]
            starts = self.physical[chosen]
            low, high = (np.searchsorted(starts, addresses & -size, side=side) for side in ("left", "right"))
            count = high - low
            index = np.repeat(np.arange(len(addresses)), count)
            nth = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
            which.append(index)
            offset = (addresses[index] & size - 1).astype(np.uint64)
            where.append(self.virtual[chosen[low[index] + nth]] + offset)
        index, virtual = np.concatenate(which), np.concatenate(where)
        order = np.lexsort((virtual, index))
        return index[order], virtual[order]


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes at virtual address ``virtual`` that are those at guest-physical ``physical``."""

    virtual: int
    physical: int
    length: int


class Walk:
    """The page tables in ``tables``, as they are at the end of the stream, in the view ``view``."""

    def __init__(self, stream: Stream, where: PhysicalMap, tables: Tables, view: View = View.RECEIVER) -> None:
        self._tables = tables
        self._space = space_of(stream)
        self._addresses: Addresses = addresses_in(self._space, where)
        self._unknown: list[Ints] = [np.empty(0, np.int64)]
        self._cut = False
        self._levels = {tree: self._found(stream, tree, view) for tree in tables.trees}

    def mappings(self, wanted: Ints | None = None, upper: bool = False) -> Mappings:
        """All mappings, or those with any of the ``wanted`` guest-physical addresses, (n,) int64.

        ``upper``: only those of the upper half of virtual addresses, where kernels are.
        """
        frames = None if wanted is None else distinct(wanted >> paging.PAGE_SHIFT)
        parts = [self._of_tree(tree, frames) for tree in self._tables.trees if tree.start or not upper]
        virtual, physical = _joined([paths for paths, _ in parts])
        length = np.concatenate([np.empty(0, np.int64), *(length for _, length in parts)])
        return Mappings(virtual, physical, length, self.unknown, self._cut)

    @property
    def unknown(self) -> Ints:
        """The guest-physical addresses of tables that are not wholly known, or not in RAM, (m,) int64, rising."""
        return distinct(np.concatenate(self._unknown))

    def virtual_of(self, blocks: Sequence[int], offsets: Sequence[int]) -> tuple[list[list[int]], bool]:
        """The virtual addresses of bytes of RAM blocks, by the blocks' indices, and whether some are missing.

        Those of each byte rise.
        """
        first = self._space.first[np.array(blocks, np.int64)]
        byte, physical = self._addresses.addresses_of(first * self._space.page_size + np.array(offsets, np.int64))
        found = self.mappings(physical)
        which, virtual = found.of(physical)
        out: list[list[int]] = [[] for _ in blocks]
        for i, address in zip(byte[which].tolist(), virtual.tolist(), strict=True):
            out[i].append(address)
        return [sorted(addresses) for addresses in out], found.cut

    def kernel_spans(self) -> tuple[list[Span], bool]:
        """The kernel's memory that has a known place, in rising order of virtual addresses, and whether that is all.

        The kernel is in the upper half of addresses. A span goes as far as both addresses do, in one range of the map.
        """
        found = self.mappings(upper=True)
        goes_on = (found.virtual[1:] == found.virtual[:-1] + found.length[:-1].astype(np.uint64)) & (
            found.physical[1:] == found.physical[:-1] + found.length[:-1]
        )
        first = np.flatnonzero(np.append(True, ~goes_on)[: len(found.virtual)])
        length = np.add.reduceat(found.length, first) if len(first) else first
        spans = []
        for virtual, start, count in zip(
            found.virtual[first].tolist(), found.physical[first].tolist(), length.tolist(), strict=True
        ):
            for low, high in self._addresses.within(start, start + count):
                spans.append(Span(virtual + low - start, low, high - low))
        return spans, not found.cut and not len(found.unknown)

    def _found(self, stream: Stream, tree: Tree, view: View) -> list[tuple[Ints, Image]]:
        """The tables of each level, from the top one down: their addresses, rising, and an image that holds them."""
        found, tables = [], np.array([tree.table], np.int64)
        for level in range(tree.levels, 0, -1):
            image = pages_at_end(stream, self._pages(tables), view)
            known = self._is_known(tables, image)
            self._unknown.append(tables[~known])
            tables = tables[known]
            found.append((tables, image))
            below = [np.empty(0, np.int64)]
            for _, entries in self._entries(tree, tables, image, level):
                _, is_table = leads(self._tables.layout, entries, level)
                below.append(distinct(self._targets(entries[is_table])))
            tables = distinct(np.concatenate(below))
            if len(tables) > TABLES_MAX:
                tables, self._cut = tables[:TABLES_MAX], True
        return found

    def _places(self, tables: Ints) -> Ints:
        return self._addresses.places_of(tables, _TABLE)

    def _pages(self, tables: Ints) -> Ints:
        """The pages of memory that hold these tables, those that are in RAM."""
        places, size = self._places(tables), self._space.page_size
        places = places[places >= 0]
        steps = np.arange(0, _TABLE, min(size, _TABLE))
        return distinct((places[:, None] + np.append(steps, _TABLE - 1)) // size)

    def _is_known(self, tables: Ints, image: Image) -> NDArray[np.bool_]:
        """Whether each table is in RAM and wholly recovered, (n,) bool."""
        places, size = self._places(tables), self._space.page_size
        steps = np.append(np.arange(0, _TABLE, min(size, _TABLE)), _TABLE - 1)
        states = image.state[np.maximum(places[:, None] + steps, 0) // size]
        known: NDArray[np.bool_] = (places >= 0) & (states == State.RECOVERED).all(axis=1)
        return known

    def _entries(self, tree: Tree, tables: Ints, image: Image, level: int) -> Iterator[tuple[slice, Words]]:
        """The entries of tables, (n, ENTRIES) uint64, a piece of the tables at a time.

        Entries of a top table that do not count are 0.
        """
        words = image.pages.reshape(-1).view(dtype_of(paging.Entry))
        for start in range(0, len(tables), PIECE):
            part = slice(start, start + PIECE)
            places = self._places(tables[part]) // paging.Entry.sizeof()
            entries = words[places[:, None] + np.arange(paging.ENTRIES)].astype(np.uint64)
            if level == tree.levels:
                entries[:, : tree.first] = entries[:, tree.first + tree.count :] = 0
            yield part, entries

    def _targets(self, entries: Words, size: int = _TABLE) -> Ints:
        """The guest-physical addresses in some entries, of pages of ``size`` bytes or of tables."""
        mask = self._tables.layout.address & -size & (1 << 64) - 1
        return (entries & np.uint64(mask)).astype(np.int64)

    def _of_tree(self, tree: Tree, frames: Ints | None) -> tuple[Paths, Ints]:
        """The mappings of one half, and the length of each, (n,) int64."""
        useful = self._useful(tree, frames)
        steps: Paths = np.array([tree.start], np.uint64), np.array([tree.table], np.int64)
        pages: list[Paths] = []
        lengths = []
        for level in range(tree.levels, 0, -1):
            found, steps = self._followed(tree, level, steps, frames, useful)
            pages.append(found)
            lengths.append(np.full(len(found[0]), 1 << paging.shift_of(level)))
        (virtual, physical), length = _joined(pages), np.concatenate(lengths)
        order = np.argsort(virtual, kind="stable")
        return (virtual[order], physical[order]), length[order]

    def _followed(
        self, tree: Tree, level: int, steps: Paths, frames: Ints | None, useful: list[Ints] | None
    ) -> tuple[Paths, Paths]:
        """Where the entries of this level lead, from the tables to which ``steps`` led: to pages, and to tables."""
        order = np.argsort(steps[1], kind="stable")
        start, table = (column[order] for column in steps)
        tables, image = self._levels[tree][tree.levels - level]
        shift, skipped = paging.shift_of(level), tree.first if level == tree.levels else 0
        found: tuple[list[Paths], list[Paths]] = ([], [])
        for part, entries in self._entries(tree, tables, image, level):
            first, last = (np.searchsorted(table, tables[part], side=side) for side in ("left", "right"))
            for chosen, size, into in zip(
                self._leading(entries, level, frames, useful), (1 << shift, _TABLE), found, strict=True
            ):
                row, slot = np.nonzero(chosen)
                count = (last - first)[row]  # of the paths that lead to the table of this entry
                fits = np.cumsum(count) <= PATHS_MAX - sum(len(virtual) for virtual, _ in into)
                self._cut |= not fits.all()
                row, slot, count = row[fits], slot[fits], count[fits]
                nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
                virtual = start[np.repeat(first[row], count) + nth]
                virtual = virtual + (np.repeat(slot - skipped, count) << shift).astype(np.uint64)
                into.append((virtual, np.repeat(self._targets(entries[row, slot], size), count)))
        return _joined(found[0]), _joined(found[1])

    def _leading(
        self, entries: Words, level: int, frames: Ints | None, useful: list[Ints] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which entries are pages with any of the frames, and which lead to tables that lead to any."""
        pages, lower = leads(self._tables.layout, entries, level)
        if frames is not None:
            size = 1 << paging.shift_of(level)
            first = self._targets(entries, size) >> paging.PAGE_SHIFT
            stop = first + (size >> paging.PAGE_SHIFT)
            pages &= np.searchsorted(frames, first) < np.searchsorted(frames, stop)
        if useful is not None:
            lower &= np.isin(self._targets(entries), useful[level - 1])
        return pages, lower

    def _useful(self, tree: Tree, frames: Ints | None) -> list[Ints] | None:
        """The tables of each level, from level 0 on, that lead to any of the frames. None where all do."""
        if frames is None:
            return None
        useful = [np.empty(0, np.int64)]
        for level, (tables, image) in enumerate(reversed(self._levels[tree]), 1):
            found = [np.empty(0, np.int64)]
            for part, entries in self._entries(tree, tables, image, level):
                pages, lower = self._leading(entries, level, frames, useful)
                found.append(tables[part][(pages | lower).any(axis=1)])
            useful.append(np.concatenate(found))
        return useful


def _joined(parts: list[Paths]) -> Paths:
    """Paths one after the other."""
    virtual = np.concatenate([np.empty(0, np.uint64), *(v for v, _ in parts)])
    return virtual, np.concatenate([np.empty(0, np.int64), *(t for _, t in parts)])
