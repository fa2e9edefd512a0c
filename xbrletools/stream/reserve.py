"""Arrays that cost nothing until they are touched: a stream may claim any size."""

import mmap
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # not named by Python 3.11


def reserve(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros whose memory the kernel gives page by page, when it is first written."""
    kind = np.dtype(dtype)
    count = prod(shape)
    buffer = mmap.mmap(-1, max(1, count * kind.itemsize), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    return np.frombuffer(buffer, kind, count).reshape(shape)
