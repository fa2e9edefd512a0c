"""Arrays that cost nothing until they are touched: a stream may claim any size."""

import mmap
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

SMALL = 1 << 20  # bytes of an array that grows whose memory comes in small pages; the rest comes in large ones
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # not named by Python 3.11


def reserve(shape: tuple[int, ...], dtype: DTypeLike, grows: bool = False) -> NDArray[Any]:
    """An array of zeros whose memory the kernel gives page by page, when it is first written.

    One that ``grows`` is filled from its beginning on: where much of it is, memory comes faster in large pages.
    """
    kind = np.dtype(dtype)
    count = prod(shape)
    buffer = mmap.mmap(-1, max(1, count * kind.itemsize), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    if grows and len(buffer) > SMALL and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # the kernel has none
            buffer.madvise(mmap.MADV_HUGEPAGE, SMALL)
    return np.frombuffer(buffer, kind, count).reshape(shape)
