"""What all codings share: they check their arguments, cut them into batches and gather payloads.

A batch bounds the scratch memory. Whatever the number of records, a call needs a few MiB beside its arguments.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from xbrletools.formats.ram import MIN_PAGE_SIZE

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_ENCODE_FIRST = 1 << 17  # bytes of pages in an encoder's first batch
_ENCODE_MOST = 1 << 20
_ENCODE_PAYLOAD = 1 << 17  # bytes that a batch should encode to, so that its index arrays stay in the cache

#: Runs of at least so many bytes, and at most so many, are copied in pieces of the third number of bytes.
_COPIES = ((2, 7, 1), (8, 31, 8), (32, 1 << 62, 32))

#: Takes old and new pages. Gives their payloads, the lengths of these, and the room that each needs.
Encoder = Callable[[Bytes, Bytes], tuple[Bytes, Ints, Ints]]


def page_size_of(pages: Bytes, name: str = "pages") -> int:
    """Give the page size of an (n, page_size) uint8 array. Raises ValueError for others, or one not contiguous."""
    if pages.ndim != 2 or pages.dtype != np.uint8 or not pages.flags.c_contiguous:
        raise ValueError(f"{name} must be an (n, page_size) uint8 array, C-contiguous")
    return checked_page_size(pages.shape[1])


def checked_page_size(size: int) -> int:
    """Give ``size`` back. Raises ValueError where it is not a page size: a power of two, 1024 or more."""
    if size < MIN_PAGE_SIZE or size & (size - 1):
        raise ValueError(f"a page of {size} bytes: must be a power of two, {MIN_PAGE_SIZE} or more")
    return size


def check_deltas(data: Bytes, offsets: Ints, lengths: Ints) -> None:
    """Raise ValueError unless ``data`` is (N,) uint8 and payload k, ``offsets[k]`` and ``lengths[k]``, lies in it."""
    if data.ndim != 1 or data.dtype != np.uint8 or not data.flags.c_contiguous:
        raise ValueError("data must be an (N,) uint8 array, contiguous")
    if offsets.ndim != 1 or offsets.shape != lengths.shape:
        raise ValueError("offsets and lengths must be (n,) arrays of one length")
    if offsets.dtype.kind not in "iu" or lengths.dtype.kind not in "iu":
        raise ValueError("offsets and lengths must be integers")
    if not (np.can_cast(offsets.dtype, np.int64) and np.can_cast(lengths.dtype, np.int64)):
        raise ValueError("offsets and lengths must fit in int64")
    ends = np.add(offsets, lengths, dtype=np.int64)
    if len(ends) and (offsets.min() < 0 or lengths.min() < 0 or ends.min() < 0 or int(ends.max()) > len(data)):
        raise ValueError("a payload lies outside of data")


def check_rows(pages: Bytes, rows: Ints | None, count: int) -> None:
    """Raise ValueError unless ``rows`` (n,) names a row of writable ``pages`` for each of ``count`` records."""
    if not pages.flags.writeable:
        raise ValueError("pages must be writable")
    if rows is None:
        if len(pages) < count:
            raise ValueError(f"{count} deltas for {len(pages)} pages")
    else:
        if rows.shape != (count,) or not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(f"rows must be ({count},) integers")
        if count and (rows.min() < 0 or rows.max() >= len(pages)):
            raise ValueError("a row lies outside of pages")


def check_pair(old: Bytes, new: Bytes) -> int:
    """Give the page size of ``old`` and ``new``, (n, page_size) uint8 each. Raises ValueError where shapes differ."""
    size = page_size_of(old, "old")
    page_size_of(new, "new")
    if old.shape != new.shape:
        raise ValueError(f"old is {old.shape}, new is {new.shape}")
    return size


def cut(lengths: Ints, records_max: int, bytes_max: int) -> Iterator[slice]:
    """Cut records into parts of at most ``records_max`` records and about ``bytes_max`` bytes, one record at least."""
    first = 0
    while first < len(lengths):
        ends = np.cumsum(lengths[first : first + records_max])
        count = max(1, int(np.searchsorted(ends, bytes_max, side="right")))
        yield slice(first, first + count)
        first += count


def join(data: Bytes, offsets: Ints, lengths: Ints, pad: int = 0, skip: int = 0, unit: int = 1) -> tuple[Bytes, Ints]:
    """Join n > 0 payloads and ``pad`` zero bytes into one (total + pad,) uint8 array.

    Also gives where each payload ends in it, (n,) int64. Payloads that are at most ``skip`` bytes apart are copied
    together, with zeros between them, where their distance is a multiple of ``unit``, a power of two.
    """
    ends = (offsets + lengths).astype(np.int64, copy=False)
    gaps = (offsets[1:] - ends[:-1]).view(np.uint64)  # a payload that lies before its predecessor comes out far away
    apart = np.ones(len(ends), bool)
    np.logical_or(gaps > skip, gaps & np.uint64(unit - 1), out=apart[1:])
    first = np.flatnonzero(apart)
    last = np.append(first[1:], len(ends)) - 1
    begins, stops = offsets[first], ends[last]
    view = data.data
    parts = [view[begin:stop] for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)]
    joined = np.frombuffer(bytearray().join([*parts, bytes(pad)]), np.uint8)
    ends += np.repeat(np.cumsum(stops - begins) - stops, last - first + 1)
    between = np.flatnonzero(~apart[1:])
    sizes = gaps[between].astype(np.int64)
    for size in (np.flatnonzero(np.bincount(sizes, minlength=1)[1:]) + 1).tolist():
        blank = np.zeros(1, f"V{size}")
        overlapped(joined, blank.dtype)[ends[between[sizes == size]]] = blank
    return joined, ends


def overlapped(data: Bytes, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A view of bytes, (N,) uint8, as values of ``dtype``, one at every offset."""
    kind = np.dtype(dtype)
    count = max(0, len(data) - kind.itemsize + 1)
    return np.ndarray((count,), kind, data.data, strides=(1,))


def copy_bytes(source: Bytes, at: Ints, target: Bytes, to: Ints, counts: Ints) -> None:
    """Copy ``counts[k]`` bytes from ``source[at[k]]`` on to ``target[to[k]]`` on, in place. All are (n,) int64."""
    single = np.flatnonzero(counts == 1)
    target[to[single]] = source[at[single]]
    for least, most, width in _COPIES:
        runs = np.flatnonzero((counts >= least) & (counts <= most))
        if len(runs):
            last = counts[runs] - width  # the last piece ends with the run, and overlaps the one before
            pieces = (last + width - 1) // width + 1
            inside = positions(np.zeros(len(runs), np.int64), pieces) * width
            np.minimum(inside, np.repeat(last, pieces), out=inside)
            piece = np.dtype(f"V{width}")
            values = overlapped(source, piece)[inside + np.repeat(at[runs], pieces)]
            overlapped(target, piece)[inside + np.repeat(to[runs], pieces)] = values


def encode_batches(old: Bytes, new: Bytes, encode: Encoder, limit: int) -> tuple[Bytes, Ints]:
    """Encode pages in batches, each as large as the density of changes in the one before suggests.

    ``old``, ``new``: (n, page_size) uint8. ``encode`` gives a batch's payloads, one after the other, their lengths and
    the room that each of them needs. Returns data (total,) uint8 and lengths (n,) int64. A length is -1, with no bytes
    in data, where the room exceeds ``limit``.
    """
    parts: list[Bytes] = []
    lengths = np.zeros(len(old), np.int64)
    first, step, most = 0, max(1, _ENCODE_FIRST // old.shape[1]), max(1, _ENCODE_MOST // old.shape[1])
    while first < len(old):
        part = slice(first, first + step)
        payload, lengths[part], room = encode(old[part], new[part])
        given_up = room > limit
        first += step
        step = max(1, min(most, 2 * step, step * _ENCODE_PAYLOAD // max(1, len(payload))))
        if given_up.any():
            payload = payload[np.repeat(~given_up, lengths[part])]
            lengths[part][given_up] = -1
        parts.append(payload)
    return np.concatenate(parts) if parts else np.empty(0, np.uint8), lengths


def as_span(rows: Ints) -> Ints | slice:
    """Give rows (n,), n > 0, as a slice if they follow one another. Indexing by a slice copies nothing."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1 and (rows == np.arange(first, last + 1)).all():
        return slice(first, last + 1)
    return rows


def positions(starts: Ints, counts: Ints) -> Ints:
    """Give every position of runs, one run after the other: ``counts[k]`` positions from ``starts[k]`` on."""
    ends = np.cumsum(counts)
    at = np.arange(int(counts.sum()))
    at += np.repeat(starts - (ends - counts), counts)
    return at
