"""The scan of a channel by itself, multifd's or preempt's: which blocks it names, and what is missing.

A block is taken to end with its last page that came.

The records come later, when all channels are put together: `ram/channels.py`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..model import Block, Facts, Problem
from ..ram import packets, preempt
from ..ram.elsewhere import MISSING
from ..source.beside import is_multifd
from ..source.sources import MappedSource
from ..table.columns import Columns, join
from .notes import Notes, Scan

ADDRESS_MAX = 1 << 43  # no page of a guest lies beyond
_OPEN = "Open the main channel, and give this one with --channel FILE"


class ChannelScan(Scan):
    """A scan that finds no section and no record, since only the main channel has them.

    Raises:
        XbrleError: the source is not a channel.
    """

    source: MappedSource

    def __init__(self, source: MappedSource, page_size: int | None = None) -> None:
        self._notes = Notes(None, None, page_size)
        super().__init__(source, self._notes)
        self.columns = join([])

    @property
    def facts(self) -> Facts:
        """What was found by now."""
        return self._notes.facts

    def __iter__(self) -> Iterator[Columns]:
        notes, source = self._notes, self.source
        message = self._packets() if is_multifd(source) else self._row()
        notes.has_start, notes.end = False, source.size
        notes.problems.append(Problem(MISSING, 0, message, lost=True))
        yield join([])

    def _packets(self) -> str:
        """Declare the blocks of a channel of multifd. Says what is missing."""
        channel = packets.read(self.source, self._notes.page_size)
        address, packet = packets.all_offsets(self.source, channel.packets)
        names = channel.packets.name[packet]
        for name in dict.fromkeys(names.tolist()):
            self._declare(channel.packets.names[name], address[names == name])
        return (
            f"this is multifd channel {channel.id} alone: the main channel and the others are not here, so it is not "
            f"known which of its pages stay as they are, nor how long the RAM blocks are. {_OPEN}"
        )

    def _row(self) -> str:
        """Declare the blocks of a channel of postcopy-preempt. Says what is missing."""
        blocks, row = preempt.blocks_of(self.source, self._notes.reading)
        for name, index in blocks.items():
            self._declare(name, row.columns.address[row.columns.block == index])
        return (
            "this is the channel of postcopy-preempt alone, with the pages that the destination asked for: the main "
            "channel and all other pages are not here, nor how long the RAM blocks are, and it is not known that its "
            f"pages are the last ones. {_OPEN}"
        )

    def _declare(self, name: bytes, address: NDArray[np.uint64]) -> None:
        size = self._notes.page_size
        length = int(address[address < np.uint64(ADDRESS_MAX)].max(initial=0)) // size * size + size
        self._notes.declare([Block(name, length)], 0)
