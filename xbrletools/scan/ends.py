"""The search for the end of data that cannot be read: through the capture, a piece at a time, so that a pipe can be
searched without being held.
"""

from collections.abc import Collection

from ..container import boundary
from ..container.boundary import End, More
from ..formats import qevm
from .buffer import Buffer

PIECE = 1 << 20  # bytes that are searched at a time
AHEAD = boundary.FOOTER + 1 + qevm.SECTION_START_MAX  # bytes after a footer that mostly tell whether it counts
HELD_MAX = 1 << 24  # bytes that are held at once, where what comes later decides about what came before


def footer(
    buffer: Buffer,
    at: int,
    section_id: int,
    announced: Collection[int],
    described: int | None = None,
    only_own: bool = False,
) -> End | None:
    """The end of the data from offset ``at`` on, of a section that has a footer. Offsets are the capture's.

    ``described`` is the size that the VM description states. None where no footer was found that counts. With
    ``only_own`` it is looked for in the first `HELD_MAX` bytes, and the buffer can go back to ``at`` then.
    """
    stated = None if described is None else _as_described(buffer, at + described, section_id)
    if stated is not None and stated.own:
        return stated
    if stated is None or only_own:
        return _search(buffer, at, None, section_id, announced, only_own)
    return _search(buffer, at, stated.at, section_id, announced, False) or stated


def _search(
    buffer: Buffer, at: int, stop: int | None, section_id: int, announced: Collection[int], only_own: bool
) -> End | None:
    """The first footer from ``at`` on that counts and begins before ``stop``."""
    start, size, weak = at, PIECE, None
    while stop is None or start < stop:
        part = buffer.part(start, size + AHEAD)
        final = len(part) < size + AHEAD
        most = size >= HELD_MAX
        limit = len(part) if final else size
        limit = limit if stop is None else min(limit, stop - start)
        try:
            found = boundary.by_footer(part, limit, section_id, announced, final or most, only_own)
        except More:
            size *= 4
            continue
        if found is not None:
            return found._replace(at=start + found.at)
        if weak is None and stop is None and (end := boundary.by_end(part, section_id)) is not None:
            weak = start + end
        if final or (most and (only_own or weak is not None)):
            break
        if only_own or weak is not None:
            start, size = (start if weak is None else weak), size * 4
        else:
            start, size = start + size, PIECE
    return None if weak is None else End(weak, own=True)


def _as_described(buffer: Buffer, at: int, section_id: int) -> End | None:
    size = boundary.FOOTER + AHEAD
    while True:
        part = buffer.part(at, size)
        try:
            found = boundary.as_described(part, section_id, len(part) < size or size >= HELD_MAX)
        except More:
            size *= 4
            continue
        return None if found is None else found._replace(at=at)
