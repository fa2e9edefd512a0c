"""What the commands share for arrival times: the times beside a capture, and how they are written."""

from typing import TYPE_CHECKING, Any

from ..capture import Capture
from ..errors import XbrleError
from ..formats.times import NANOSECONDS
from . import EXIT_FINDINGS, warn

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals


def times_of(opened: Capture) -> "tuple[Arrivals | None, int]":
    """When the bytes of a capture came, None where nothing says it, and the exit status.

    Times that are damaged or another capture's are refused: a warning says so, and the status is 1.
    """
    from ..analysis.arrivals import beside, path_beside
    from ..source.sources import MappedSource

    if path_beside(opened.name, opened.source.wrapper is not None) is None:
        return None, 0
    source = opened.source if isinstance(opened.source, MappedSource) else opened.stream.source
    try:
        return beside(source), 0
    except XbrleError as error:
        warn(f"{error}; going on without times")
        return None, EXIT_FINDINGS


def came(when: "Arrivals") -> str:
    """When a capture came, how long it took and how fast it was, in one line for a person."""
    line = f"came from {when.clock(0)} to {when.clock(int(when.elapsed[-1]))}, in {when.seconds:.3f} s"
    return line if when.rate is None else f"{line}, {rate(when.rate)}"


def arrival(when: "Arrivals") -> dict[str, Any]:
    """The same as JSON has it. Seconds count from the first byte."""
    return {
        "started": when.clock(0),
        "ended": when.clock(int(when.elapsed[-1])),
        "seconds": when.seconds,
        "bytes": int(when.offset[-1]),
        "bytes_per_second": when.rate,
    }


def seconds(elapsed: int) -> str:
    """Nanoseconds after the first byte, for a person: +12.345 s."""
    return f"+{elapsed / NANOSECONDS:.3f} s"


def rate(count: float) -> str:
    """Bytes a second, for a person: 117.3 MB/s."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}/s"
    return f"{count:.0f} B/s"
