"""Times two functions in turns, in one process. What else the machine does then slows both alike."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

_COPY = 32 << 20  # bytes that memcpy is timed over

#: Gives seconds: `time.perf_counter`, or `time.process_time` on a machine that is busy with other things.
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timed:
    """The shortest time that each function took, in seconds, and what it returned last."""

    seconds: list[float]
    results: list[object]


def interleaved(functions: Sequence[Callable[[], object]], rounds: int, clock: Clock = perf_counter) -> Timed:
    """Run the functions one after the other, ``rounds`` times. One round before that does not count."""
    least = [float("inf")] * len(functions)
    results: list[object] = [None] * len(functions)
    gc.collect()
    gc.freeze()  # what is there by now need not be looked at in each round
    for counts in range(-1, rounds):
        for i, function in enumerate(functions):
            results[i] = None  # freed before the clock starts, and never held twice
            gc.collect()
            gc.disable()
            start = clock()
            results[i] = function()
            took = clock() - start
            gc.enable()
            if counts >= 0:
                least[i] = min(least[i], took)
    gc.unfreeze()
    return Timed(least, results)


def copying(clock: Clock = perf_counter) -> Callable[[], object]:
    """A function that copies 32 MiB at the speed of `memcpy`."""
    source = np.ones(_COPY, np.uint8)
    target = np.zeros(_COPY, np.uint8)
    return lambda: np.copyto(target, source)


def copy_seconds(size: int, measured: float) -> float:
    """How long `memcpy` takes for ``size`` bytes, where `copying` took ``measured`` seconds."""
    return measured * size / _COPY
