"""Arrays that cost nothing until they are touched, since a stream can claim any size."""

import mmap
import sys
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Ints = NDArray[np.int64]

FEW = 1 << 16  # numbers that may all have a place, whatever is used of them
SPREAD = 2  # times as many numbers as are used may all have a place
TINY = 1 << 16  # bytes of an array that is not worth a mapping, for which all threads wait
SMALL = 1 << 20  # the first bytes of a growing array; their memory comes in small pages, the rest in large ones
#: What keeps the kernel from setting memory aside. Python 3.11 does not name it for Linux.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
#: How memory is mapped. Windows does not have flags for it.
_FLAGS = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE} if hasattr(mmap, "MAP_PRIVATE") else {}


def reserve(shape: tuple[int, ...], dtype: DTypeLike, grows: bool = False) -> NDArray[Any]:
    """An array of zeros whose memory the kernel gives page by page, when it is first written.

    An array that ``grows`` is filled from its beginning on. Past `SMALL` bytes its memory comes in large pages, which
    is faster.

    Raises:
        MemoryError: the address space does not have so much room.
    """
    kind = np.dtype(dtype)
    count = prod(shape)
    size = max(1, count * kind.itemsize)
    if size <= TINY:
        return np.zeros(shape, kind)
    try:
        buffer = mmap.mmap(-1, size, **_FLAGS)
    except (OSError, OverflowError) as error:  # OverflowError: more than any address space has
        raise MemoryError(f"an array of {size:,} bytes does not fit into the address space") from error
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


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The distinct ones of ``values``, rising, (k,) of their dtype.

    `numpy.unique` asked for nothing else counts in a hash table since NumPy 2.3. That takes four to ten times as long
    as sorting where most values are distinct, and other threads wait for it.
    """
    ordered = np.sort(values, axis=None)
    begins = np.empty(len(ordered), bool)
    begins[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return ordered[begins]


class Places:
    """Where the values of the numbers 0 to ``count`` - 1 stand in an array.

    Each number has a place of its own where there are few numbers, or most of them are ``used``. Else only those that
    are used have one. ``used`` (n,) int64 rises. All other numbers, and -1, share the last place.
    """

    def __init__(self, count: int, used: Ints | None = None) -> None:
        self._count = count
        #: The numbers that have a place of their own, rising; None: all.
        self.used = used if used is not None and count > max(FEW, SPREAD * len(used)) else None

    def __len__(self) -> int:
        return (self._count if self.used is None else len(self.used)) + 1

    def of(self, numbers: Ints) -> Ints:
        """The place of each of ``numbers``, (n,) int64. For the last place, -1 is as good as its number."""
        if self.used is None:
            return numbers
        places = np.searchsorted(self.used, numbers)
        if len(self.used):
            places[self.used[np.minimum(places, len(self.used) - 1)] != numbers] = -1
        return places

    def between(self, first: int, stop: int) -> slice:
        """The places of the numbers from ``first`` to ``stop`` - 1."""
        if self.used is None:
            return slice(first, stop)
        return slice(*np.searchsorted(self.used, (first, stop)).tolist())

    def numbers(self, places: Ints) -> Ints:
        """The numbers that stand at these places, (n,) int64. The last place is not among them."""
        return places if self.used is None else self.used[places]


class Values:
    """A value for each number of `Places`, 0 at first. ``values[numbers]`` reads and writes some of them, (n,) each.

    Memory is taken for the numbers that are used, however many there are.
    """

    def __init__(self, places: Places, dtype: DTypeLike) -> None:
        self.places = places
        #: The values by their places, (places,), the last of which is that of all other numbers.
        self.array: NDArray[Any] = reserve((len(places),), dtype)

    def __getitem__(self, numbers: Ints) -> NDArray[Any]:
        found: NDArray[Any] = self.array[self.places.of(numbers)]
        return found

    def __setitem__(self, numbers: Ints, values: Any) -> None:
        self.array[self.places.of(numbers)] = values

    def between(self, first: int, stop: int) -> NDArray[Any]:
        """The values that are kept of the numbers ``first`` to ``stop`` - 1, a view."""
        return self.array[self.places.between(first, stop)]

    def nonzero(self) -> Ints:
        """The numbers whose value is not 0, rising."""
        return self.places.numbers(np.flatnonzero(self.array[:-1]))
