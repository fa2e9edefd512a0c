"""One row of a record table as a value, with what follows from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from .columns import Columns


@dataclass(frozen=True, slots=True)
class Record:
    """One row, with what follows from it.

    ``number`` and ``pass_`` are None for a row that carries no page, ``block`` is None where it belongs to none.
    ``name`` is that block's. ``payload`` is a file offset, ``length`` its bytes, ``section`` an index.
    ``channel`` is the id of the channel that it came over, None for the main one, ``packet`` the number of its packet.
    """

    row: int
    number: int | None
    kind: Kind
    offset: int
    payload: int
    length: int
    block: int | None
    name: bytes
    address: int
    pass_: int | None
    section: int
    stage: int
    flags: int
    checksum: int
    channel: int | None = None
    packet: int | None = None

    @property
    def end(self) -> int:
        """The file offset after the record's last byte."""
        return self.payload + self.length


class Derived(NamedTuple):
    """What follows from the columns of n rows, (n,) each: as the columns of `RecordTable` that have these names.

    ``channel`` and ``packet`` are -1 for none. Both are None where there is the main channel alone.
    """

    number: NDArray[np.integer]
    pass_: NDArray[np.integer]
    section: NDArray[np.integer]
    stage: NDArray[np.integer]
    channel: NDArray[np.int64] | None = None
    packet: NDArray[np.int64] | None = None


def records_of(first: int, columns: Columns, derived: Derived, names: tuple[bytes, ...]) -> Iterator[Record]:
    """Rows from row ``first`` on as values, from their columns and what follows from these."""
    none = [-1] * len(columns)
    cells = zip(
        columns.kind.tolist(),
        columns.offset.tolist(),
        columns.payload().tolist(),
        columns.length.tolist(),
        columns.block.tolist(),
        columns.address.tolist(),
        columns.flags.tolist(),
        columns.checksum.tolist(),
        derived.number.tolist(),
        derived.pass_.tolist(),
        derived.section.tolist(),
        derived.stage.tolist(),
        none if derived.channel is None else derived.channel.tolist(),
        none if derived.packet is None else derived.packet.tolist(),
        strict=True,
    )
    for row, cell in enumerate(cells, first):
        kind, offset, payload, length, block, address, flags, checksum = cell[:8]
        number, pass_, section, stage, channel, packet = cell[8:]
        named = number > 0 and block < len(names)
        yield Record(
            row,
            number or None,
            Kind(kind),
            offset,
            payload,
            length,
            block if named else None,
            names[block] if named else b"",
            address,
            pass_ if number else None,
            section,
            stage,
            flags,
            checksum,
            channel if channel >= 0 else None,
            packet if channel >= 0 and packet >= 0 else None,
        )
