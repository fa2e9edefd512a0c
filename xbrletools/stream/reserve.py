"""Arrays that cost nothing until they are touched: a stream may claim any size."""

import mmap
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # not named by Python 3.11


def reserve(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros whose memory the kernel gives page by page, when it is first written."""
    kind = np.dtype(dtype)
    count = prod(shape)
    buffer = mmap.mmap(-1, max(1, count * kind.itemsize), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    return np.frombuffer(buffer, kind, count).reshape(shape)


def expect(array: NDArray[Any], first: int, stop: int) -> None:
    """Tell the kernel that rows ``first`` to ``stop`` of a reserved array will be filled: huge pages may hold them.

    Memory that is new to a process is cleared and mapped a page at a time, which takes longer than to write it.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if _HUGE is None or not isinstance(base, memoryview) or not isinstance(base.obj, mmap.mmap):
        return
    start = first * array.strides[0] & ~(mmap.PAGESIZE - 1)
    with suppress(OSError):  # a kernel without them, or too many pieces
        base.obj.madvise(_HUGE, start, stop * array.strides[0] - start)
