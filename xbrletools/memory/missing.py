"""What shows that channels of a migration are missing, and what that leaves unknown."""

from dataclasses import replace

import numpy as np

from ..arrays import reserve
from ..model import Problem, Stream
from ..ram import elsewhere
from ..table.columns import PIECE
from .discards import place
from .image import PageSpace


def noted(stream: Stream) -> Stream:
    """The stream, with what its records say of channels that are missing.

    Where multifd channels are missing altogether nothing is known: every page could have come on them, whatever the
    main channel says of it.
    """
    facts, broken = stream.facts, stream.broken
    columns = stream.records.columns
    kinds, of_blocks = elsewhere.counted(columns)
    if stream.channels:
        found = elsewhere.left_out(facts, of_blocks)
    else:
        holes = not elsewhere.has_content(kinds) and elsewhere.skips(columns, stream.page_size)
        found = elsewhere.problems(facts, kinds, of_blocks, holes)
        broken = 0 if any(p.lost for p in found) else broken
    if not any(p.lost for p in (*facts.problems, *found)):
        found += _never_came(stream)
    if not found:
        return stream
    return replace(stream, facts=replace(facts, problems=(*facts.problems, *found)), broken=broken)


def _never_came(stream: Stream) -> list[Problem]:
    """Pages that a postcopy destination was told to forget and that no record gives again.

    A sender sends each of them. With preempt those that the destination asks for come on a channel of their own.
    """
    facts = stream.facts
    run = elsewhere.postcopy_run(facts)
    if run is None or not facts.complete or facts.gaps:
        return []
    space = PageSpace(stream.blocks, stream.page_size)
    forgotten = place(stream, space)
    waiting = reserve((len(space),), bool)
    for _, _, first, stop in forgotten:
        waiting[first:stop] = True
    since = int(forgotten.since.max(initial=0))
    columns = stream.records.columns
    for start in range(since, len(columns), PIECE):
        pages = space.pages_of(columns.take(slice(start, start + PIECE)))
        waiting[pages[pages >= 0]] = False
    count = int(np.count_nonzero(waiting))
    if not count:
        return []
    message = (
        f"{count} pages that the destination was told to forget do not come again: they came on another channel "
        "(postcopy-preempt), which is not here or not whole: give it with --channel FILE"
    )
    return [Problem(elsewhere.MISSING, run, message, lost=True)]
