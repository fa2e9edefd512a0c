"""Bounds on one piece of work: the memory that it makes resident, and the processor's time where it hangs."""

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
HANGS = 120  # seconds of the processor: no figure of how fast anything is, but the end of an endless loop


class Hang(BaseException):
    """Work that does not come to an end. No exception that a library catches."""


def _status(field: str) -> int:
    """A field of this process's status, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10


class Peak:
    """How many bytes more than before were resident at once. Mapped files do not count."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def measured() -> Iterator[Peak]:
    """Measure the block's peak of resident memory. `Peak.bytes` is there after it."""
    peak = Peak()
    if not STATUS.exists():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield peak
        unit = 1 if sys.platform == "darwin" else 1 << 10
        peak.bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
        return
    with suppress(OSError):  # the peak is then that of the whole process, and a bound holds for that as well
        RESET.write_text("5")
    before = _status("VmRSS")
    yield peak
    peak.bytes = max(0, _status("VmHWM") - before)


@contextmanager
def no_hang() -> Iterator[None]:
    """Raise `Hang` in the block where it has taken `HANGS` seconds of the processor."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"no end after {HANGS} seconds of the processor")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
