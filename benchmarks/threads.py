"""Runs work in a given number of threads, and says how many of them shared it and how long the longest one took."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from time import thread_time

from xbrletools.codec import native


@dataclass(slots=True)
class Shared:
    """What became of work. ``used`` is the most threads that had a part in one call. ``beside`` is the processor time,
    in seconds, that threads took while another one took longer: with as many cores it takes no time of its own.
    """

    used: int = 1
    beside: float = 0.0


@contextmanager
def sharing(threads: int) -> Iterator[Shared]:
    """Let the loops in C use ``threads`` threads, and watch them."""
    shared, kept = Shared(), (native.THREADS, native.in_threads)

    def in_threads(part: Callable[[int, int], None], bounds: Sequence[int]) -> None:
        took: defaultdict[int, float] = defaultdict(float)

        def timed(first: int, end: int) -> None:
            start = thread_time()
            part(first, end)
            took[get_ident()] += thread_time() - start

        kept[1](timed, bounds)
        shared.used = max(shared.used, len(took))
        shared.beside += sum(took.values()) - max(took.values(), default=0.0)

    native.THREADS, native.in_threads = threads, in_threads
    try:
        yield shared
    finally:
        native.THREADS, native.in_threads = kept
