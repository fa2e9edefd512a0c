"""Repairs: bytes that would undo a damage, applied to a copy of the capture. They are inferred, and prove nothing.

Only a repair that is the one left of its kind is applied. One damage can hide another, so the repaired copy is looked
at again, a few times at most.
"""

import mmap
import tempfile
from collections.abc import Callable, Sequence

from ...model import Stream
from ...source.sources import MappedSource
from ..cause import Cause
from .diagnose import diagnose

ROUNDS_MAX = 8  # times that a repaired copy is looked at again
_PIECE = 1 << 20  # bytes that are copied at once


def repaired(
    source: MappedSource, scan: Callable[[MappedSource], Stream]
) -> tuple[MappedSource | None, list[Cause], list[Cause]]:
    """A copy of a capture with every unique repair, or None where there is none.

    Beside it the causes that were repaired, in order, and those that are left. ``scan`` reads a source as a stream. An
    offset of a later repair is one of the copy that the repairs before it made. The copy lies in an unnamed file.
    """
    done: list[Cause] = []
    left: tuple[Cause, ...] = ()
    for _ in range(ROUNDS_MAX):
        left = diagnose(scan(source))
        now = [c for c in left if c.repair is not None][:1]
        if not now:
            break
        source = _copy(source, now)
        done += now
    else:
        left = diagnose(scan(source))
    return (source if done else None), done, list(left)


def _copy(source: MappedSource, causes: Sequence[Cause]) -> MappedSource:
    """The source with the repairs of these causes, which do not overlap."""
    repairs = sorted((c.repair for c in causes if c.repair is not None), key=lambda r: r.offset)
    with tempfile.TemporaryFile() as file:
        at = 0
        for repair in repairs:
            _copy_range(source, at, repair.offset, file.write)
            file.write(repair.data)
            at = repair.offset + repair.replaced
        _copy_range(source, at, source.size, file.write)
        file.flush()
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return MappedSource(source.name, view, source.wrapper, source.start, source.wrapping)


def _copy_range(source: MappedSource, start: int, stop: int, write: Callable[[memoryview], int]) -> None:
    for at in range(start, stop, _PIECE):
        write(source.view[at : min(stop, at + _PIECE)])
