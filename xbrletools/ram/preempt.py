"""postcopy-preempt's channel: pages that the destination asked for, as a bare row of RAM records.

Facts: formats/README.md, "Postcopy". It does not have a header, and what block is selected is its own affair. It ends
where the connection does. QEMU 7.2 writes an EOS there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..formats.ram import Kind
from ..model import Reading
from ..source.sources import MARGIN, MappedSource
from ..table.columns import NO_BLOCK, Columns, join
from .record import Ending, extent
from .walk import PENDING_MAX, Layout, Pending

_TAKEN = (Kind.PAGE, Kind.DUP, Kind.EOS)


@dataclass(frozen=True, slots=True)
class Preempt:
    """One such channel. Its records' offsets are in its file. ``damage`` is where and why reading stopped, if it did.

    ``size`` is the bytes of the channel as far as it was read.
    """

    name: str
    size: int
    columns: Columns
    damage: tuple[int, str] | None = None

    @property
    def pages(self) -> int:
        """How many pages came with their content."""
        return int(np.count_nonzero(self.columns.kind == Kind.PAGE))

    @property
    def zeros(self) -> int:
        """How many pages came as zero pages."""
        return int(np.count_nonzero(self.columns.kind == Kind.DUP))


def blocks_of(source: MappedSource, reading: Reading) -> tuple[dict[bytes, int], Preempt]:
    """The blocks that one channel names, by name, with an index each in the order in which they come. And its records.

    Without the main channel nothing says which blocks there are.
    """
    names = _Names()
    return names, read(source, reading, names)


class _Names(dict[bytes, int]):
    """An index for every name that is asked for."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self.setdefault(name, len(self)) < NO_BLOCK


def read(source: MappedSource, reading: Reading, blocks: Mapping[bytes, int]) -> Preempt:
    """The records of one channel. ``blocks`` has the index of each of the main channel's RAM blocks, by name."""
    walk = _Walk(Layout(reading), reading, blocks, source.size)
    at = walk.over(source.view, 0, 0, source.size - MARGIN)
    at = walk.over(memoryview(bytes(source.view[at:]) + bytes(MARGIN)), at, at, source.size)
    damage = walk.damage or ((source.size, source.damage) if source.damage else None)
    return Preempt(source.name, min(at, source.size), join(walk.pieces), damage)


class _Walk:
    """A walk over records up to ``size``, the channel's end or the first that cannot stand there."""

    def __init__(self, layout: Layout, reading: Reading, blocks: Mapping[bytes, int], size: int) -> None:
        self.pieces: list[Columns] = []
        self.damage: tuple[int, str] | None = None
        self._layout, self._reading, self._blocks, self._size = layout, reading, blocks, size
        self._selected = NO_BLOCK

    def over(self, view: memoryview, base: int, at: int, limit: int) -> int:
        """Read the records that begin before ``limit``. Returns where the next begins. ``view`` begins at ``base``."""
        pending = Pending()
        while at < limit and self.damage is None:
            at = base + self._layout.walk(view, base, at - base, limit - base, pending, self._selected)
            if at < limit and len(pending) < PENDING_MAX:
                at = self._one(view, base, at, pending)
            if at > self._size and self.damage is None:
                self.damage = (pending.last(base), "the channel ends inside this record")
            if len(pending) >= PENDING_MAX:
                self._gather(view, base, pending)
                pending = Pending()
        self._gather(view, base, pending)
        return at

    def _gather(self, view: memoryview, base: int, pending: Pending) -> None:
        if len(pending):
            columns, self._selected = self._layout.gather(view, base, self._size - base, pending, self._selected)
            self.pieces.append(columns)

    def _one(self, view: memoryview, base: int, at: int, pending: Pending) -> int:
        """Read the one record at ``at``, such as one that names its block. Returns where it ends."""
        found = extent(view, at - base, self._reading, self._size - base)
        name = found.name
        strange = found.kind not in _TAKEN or found.ending not in (Ending.WHOLE, Ending.CUT)
        if strange or (name is not None and found.ending is Ending.WHOLE and name not in self._blocks):
            self.damage = (at, "no record of a page in one of the main channel's RAM blocks begins here")
            return at
        if name is not None and found.payload <= self._size - base:
            pending.names.append((at - base, self._blocks.get(name, NO_BLOCK)))
        pending.at.append(at - base)
        return base + found.end
