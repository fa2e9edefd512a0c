"""What shows that channels of a migration are missing, and what that leaves unknown."""

from dataclasses import replace

import numpy as np

from ..arrays import reserve
from ..model import Problem, Stream
from ..ram import elsewhere
from ..table.columns import PIECE
from .discards import place
from .image import PageSpace


def with_pages_that_never_came(stream: Stream) -> Stream:
    """The stream, with what a postcopy that is not whole shows of a channel that is missing."""
    facts = stream.facts
    found = [] if any(p.lost for p in facts.problems) else _never_came(stream)
    return replace(stream, facts=replace(facts, problems=(*facts.problems, *found))) if found else stream


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
