"""What the commands share for arrival times: the times beside a capture, and how they are written."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ..capture import Capture
from ..errors import TransportError, XbrleError
from ..source.beside import times_beside
from ..source.opening import open_source
from ..source.sources import MappedSource
from . import EXIT_FINDINGS, warn

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals


def times_of(opened: Capture) -> "tuple[Arrivals | None, int]":
    """When the bytes of a capture came, None where nothing says it, and the exit status.

    Times that are damaged or another capture's are refused: a warning says so, and the status is 1. So it is where the
    times end before the bytes do.
    """
    found, status, refused = times_or_why_not(opened)
    if refused:
        warn(f"{refused}; going on without times")
    return found, status


def times_or_why_not(opened: Capture) -> "tuple[Arrivals | None, int, str]":
    """As `times_of`, but why times are refused is given instead of said. It is empty where they are not refused."""
    given, wrapped = opened.source.given, opened.source.wrapper is not None
    rebuilt = opened.source.rebuilt if isinstance(opened.source, MappedSource) else None
    try:
        if rebuilt is None and (given is None or times_beside(given, wrapped) is None):
            return None, 0, ""
    except TransportError as error:
        return None, EXIT_FINDINGS, str(error)
    from ..analysis.arrivals import beside

    source = opened.source if isinstance(opened.source, MappedSource) else opened.stream.source
    status = 0
    channels: dict[int, Arrivals] = {}
    try:
        found = beside(source)
    except XbrleError as error:
        return None, EXIT_FINDINGS, str(error)
    if found is not None and not found.whole:
        warn(f"{found.path}: ends early: bytes from {int(found.offset[-1]):#x} on do not have a time")
        status = EXIT_FINDINGS
    _ = opened.stream if opened.has_channels else None  # so that they are read
    if found is None or opened.channels is None:
        return found, status, ""
    spool = opened.channels
    names = [*(c.name for c in spool.channels), *(p.name for p in spool.preempt)]
    of_dump = {s.name: s for s in rebuilt.channels} if rebuilt is not None else {}
    for number, name in zip(spool.ids, names, strict=True):
        try:
            if name in of_dump and (times := beside(of_dump[name])) is not None:
                channels[number] = times
                continue
            there = times_beside(name, packed=True) is not None
            of_channel = beside(open_source(name).spool()) if there else None
        except XbrleError as error:
            warn(f"{error}; going on without the times of this channel")
            status = EXIT_FINDINGS
        else:
            if of_channel is not None:
                channels[number] = of_channel
    return replace(found, channels=channels, places=spool.places), status, ""
