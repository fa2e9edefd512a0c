"""How long one capture may take, and how much memory: a thread looks, and ends the process where it is too much.

Nothing gentler stops a loop in C, or what is about to have the kernel end some process. So a job with limits runs in a
process that can be spared.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .jobs import Failure, Job

EXIT = 75  # the status of a process that ended for this
_LOOK = 0.1  # seconds from one look to the next

_ANONYMOUS = "RssAnon:"


def own_memory() -> int:
    """The bytes of memory that this process has taken, without mapped files. It is 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(_ANONYMOUS)), 0)


@contextmanager
def watching(job: Job, end: Callable[[Failure, str], None]) -> Iterator[None]:
    """Call ``end`` from another thread, which ends the process, where the block takes more than the job may."""
    if not job.is_limited:
        yield
        return
    done = threading.Event()
    timeout, memory = job.timeout, job.memory

    def look() -> None:
        waited, step = 0.0, _LOOK if timeout is None else min(_LOOK, timeout)
        while True:
            if timeout is not None and waited >= timeout:
                end(Failure.TIMEOUT, f"it took more than {timeout:g} seconds")
            if memory is not None and own_memory() > memory:
                end(Failure.MEMORY, f"it took more than {memory:,} bytes of memory")
            if done.wait(step):
                return
            waited += step

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
