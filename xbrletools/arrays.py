"""Arrays that cost nothing until they are touched, since a stream can claim any size."""

import mmap
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

SMALL = 1 << 20  # the first bytes of a growing array; their memory comes in small pages, the rest in large ones
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python 3.11 does not name it


def reserve(shape: tuple[int, ...], dtype: DTypeLike, grows: bool = False) -> NDArray[Any]:
    """An array of zeros whose memory the kernel gives page by page, when it is first written.

    An array that ``grows`` is filled from its beginning on. Past `SMALL` bytes its memory comes in large pages, which
    is faster.
    """
    kind = np.dtype(dtype)
    count = prod(shape)
    buffer = mmap.mmap(-1, max(1, count * kind.itemsize), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    if grows and len(buffer) > SMALL and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            buffer.madvise(mmap.MADV_HUGEPAGE, SMALL)
    return np.frombuffer(buffer, kind, count).reshape(shape)


def overlapped(data: NDArray[np.uint8], at: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A value of ``dtype`` from each offset of ``data``, (n,), in one gather through an overlapped view of the bytes.

    All of each value must be there.
    """
    size = dtype.itemsize
    views = np.ndarray((max(0, len(data) - size + 1),), f"V{size}", data, 0, (1,))
    return views[at].view(dtype)
