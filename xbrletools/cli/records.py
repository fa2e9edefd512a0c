"""What commands say of a record that wrote something: its number, pass, stage, kind and place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..capture import Capture
from ..formats.ram import Kind
from ..table.sections import Stage


@dataclass(frozen=True, slots=True)
class Writer:
    """A record, for a person or a script.

    ``stage`` is None for a record outside a section. ``offset`` is where it stands in its file: the capture, or that of
    ``channel``, the id of another channel. ``channel`` is None for the capture's own records.
    """

    record: int
    pass_: int
    stage: str | None
    kind: str
    offset: int
    channel: int | None

    def __str__(self) -> str:
        where = "" if self.channel is None else f" of channel {self.channel}"
        return f"record {self.record} (pass {self.pass_}, {self.kind}, offset {self.offset:#x}{where})"


def writers(opened: Capture, rows: NDArray[np.int64]) -> Sequence[Writer | None]:
    """What there is to say of the records at ``rows`` of the table, (n,) int64. None for row -1."""
    table = opened.records
    there = rows[rows >= 0]
    offsets = table.columns.offset[there]
    channel, at = (np.full(len(there), -1), offsets) if opened.channels is None else opened.channels.places(offsets)
    stages = table.sections.stages(table.section[there] if opened.channels else table.sections.of(offsets))
    columns = (table.numbers_of(there), table.pass_[there], stages, table.columns.kind[there], at, channel)
    found = iter(
        [
            Writer(number, sweep, Stage(stage).name.lower() if stage else None, Kind(kind).name.lower(), place, of)
            for number, sweep, stage, kind, place, of in zip(
                *(c.tolist() for c in columns[:-1]), [None if c < 0 else c for c in channel.tolist()], strict=True
            )
        ]
    )
    return [next(found) if row >= 0 else None for row in rows.tolist()]
