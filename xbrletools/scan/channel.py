"""The scan of a multifd channel by itself, without the main channel: which blocks it names, and what is missing.

A block is taken to end with its last page that came.

The records come later, when all channels are put together: `ram/channels.py`.
"""

from collections.abc import Iterator

import numpy as np

from ..model import Block, Facts, Problem
from ..ram import packets
from ..source.sources import MappedSource
from ..table.columns import Columns, join
from .notes import Notes, Scan

ADDRESS_MAX = 1 << 43  # no page of a guest lies beyond


class ChannelScan(Scan):
    """A scan that finds no section and no record, since only the main channel has them.

    Raises:
        XbrleError: the source is not a multifd channel.
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
        channel = packets.read(source, notes.page_size)
        address, packet = packets.all_offsets(source, channel.packets)
        names = channel.packets.name[packet]
        for name in dict.fromkeys(names.tolist()):
            inside = address[(names == name) & (address < np.uint64(ADDRESS_MAX))]
            length = int(inside.max(initial=0)) // notes.page_size * notes.page_size + notes.page_size
            notes.declare([Block(channel.packets.names[name], length)], 0)
        notes.has_start, notes.end = False, source.size
        message = (
            f"this is multifd channel {channel.id} alone: the main channel and the others are not here, so it is not "
            "known which of its pages stay as they are, nor how long the RAM blocks are. Open the main channel, and "
            "give this one with --channel FILE"
        )
        notes.problems.append(Problem("channel-missing", 0, message, lost=True))
        yield join([])
