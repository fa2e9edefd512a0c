"""Memory modules that a stream does not place: what pseries says of those plugged while it ran, and guesses.

Facts: formats/README.md, "Where memory lies". A guess is shown to a person, and never used.
"""

import re
from collections.abc import Iterator, Sequence

from ..model import Block, Stream
from . import reading
from .draft import Draft
from .layout import MIB, Range

LMB = 256 * MIB  # the unit in which pseries plugs memory
LMB_INSTANCE = 0x80000000  # the instance of the connector of unit N is this plus N


def pseries(stream: Stream, block: Block, waiting: Sequence[Block]) -> Range | None:
    """Where a pseries guest has a module that was plugged while it ran, or None where that cannot be told.

    The units that were plugged come in runs. A run places a module where it alone has that length.
    """
    owners = [s.owner for s in reading.named(stream, b"spapr_drc") if s.owner is not None]
    units = sorted(o.instance_id - LMB_INSTANCE for o in owners if o.instance_id >= LMB_INSTANCE)
    runs: list[tuple[int, int]] = []
    for unit in units:
        if runs and sum(runs[-1]) == unit:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((unit, 1))
    fitting = [first for first, count in runs if count * LMB == block.length]
    twins = [b for b in waiting if b.length == block.length]
    if len(fitting) != 1 or len(twins) != 1:
        return None
    return Range(fitting[0] * LMB, block.length, block.name, 0, "pseries: the units that were plugged")


def hints(out: Draft, waiting: Sequence[Block], base: int | None, align: int) -> Iterator[tuple[Block, int | None]]:
    """Where modules lie if they were plugged in the order of their names, each at the first place that is free."""
    taken = sorted((r.start, r.end) for r in (*out.ram, *out.over))
    for block in sorted(waiting, key=_natural):
        if base is None:
            yield block, None
            continue
        at = -(-base // align) * align
        while clash := next((end for start, end in taken if start < at + block.length and at < end), 0):
            at = -(-clash // align) * align
        taken = sorted([*taken, (at, at + block.length)])
        yield block, at


def _natural(block: Block) -> list[tuple[int, bytes]]:
    """The name with its numbers as numbers."""
    parts = re.split(rb"(\d+)", block.name)
    return [(int(p), b"") if p.isdigit() else (-1, p) for p in parts]
