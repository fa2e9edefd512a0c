"""Runs of equal bytes in old XOR new, for whole batches of pages. All codings of 2010 and 2011 are made of them.

``find`` gives the runs of pages, ``measure`` says which records' runs make one page, ``xor_bytes`` and ``xor_pages``
put runs into pages.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .batches import Bytes, Ints, Mask, Words, cut, positions
from .verdict import Verdict

Pairs = npt.NDArray[np.uint16]

_RUN = np.uint16(0xFF)  # the run's part of a pair
_INSIDE = 1 << 18  # bytes inside runs that are placed at once
_DENSE = 0.25  # with more than this share of words to look at, looking at every byte is faster
_WORD = np.dtype("<u8")  # byte 0 of memory in the low bits, whatever the machine


def find(old: Bytes, new: Bytes) -> tuple[Ints, Bytes]:
    """Give where a byte of old XOR new differs from the one before it, and its value there.

    ``old``, ``new``: (n, page_size) uint8, C-contiguous. Returns starts (k,) int64, flat over the pages and
    rising, with every page's first byte among them, and values (k,) uint8. Scratch memory grows with n.
    """
    page_words = old.shape[1] // _WORD.itemsize
    a, b = old.reshape(-1).view(_WORD), new.reshape(-1).view(_WORD)
    # a run can begin only in a word that changed, in the one after it, or at a page's start
    differs = a != b
    look = np.empty(len(a), bool)
    np.logical_or(differs[1:], differs[:-1], out=look[1:])
    look[::page_words] = True
    if np.count_nonzero(look) > _DENSE * len(a):
        return _find_by_bytes(old, new)
    words = np.flatnonzero(look)
    xor_words = a[words]
    xor_words ^= b[words]
    # compares each byte with the one before it; a word's first byte with the last byte of the word before
    boundary = xor_words << np.uint64(8)
    carry = xor_words[:-1] >> np.uint64(56)
    carry *= words[1:] - words[:-1] == 1
    boundary[1:] |= carry
    boundary ^= xor_words
    is_start = _bytes_of(boundary) != 0
    is_start.reshape(-1, 8)[(words & (page_words - 1)) == 0, 0] = True
    at = np.flatnonzero(is_start)
    starts = words[at >> 3]
    starts <<= 3
    starts += at & 7
    return starts, _bytes_of(xor_words)[at]


def _find_by_bytes(old: Bytes, new: Bytes) -> tuple[Ints, Bytes]:
    xor = (old ^ new).reshape(-1)
    is_start = np.empty(len(xor), bool)
    np.not_equal(xor[1:], xor[:-1], out=is_start[1:])
    is_start[:: old.shape[1]] = True
    starts = np.flatnonzero(is_start)
    return starts, xor[starts]


def _bytes_of(words: Words) -> Bytes:
    return words.astype(_WORD, copy=False).view(np.uint8)


def measure(pairs: Pairs, ends: Ints, page_size: int) -> tuple[Ints, Bytes]:
    """Add up each record's runs.

    ``pairs`` (k,) uint16: the pairs of all records, one after the other, with the run in the low byte and the value in
    the high one. ``ends`` (n,) int64: the index after each record's last pair. Returns starts (k + 1,) int64, the sum
    of all runs before each pair, and verdicts (n,) uint8: OK, SHORT or LONG.
    """
    starts = np.empty(len(pairs) + 1, np.int64)
    starts[0] = 0
    np.add.accumulate(pairs.astype(np.uint8), out=starts[1:])
    totals = starts[ends]
    totals[1:] -= totals[:-1].copy()
    verdicts = np.zeros(len(ends), np.uint8)
    verdicts[totals < page_size] = Verdict.SHORT
    verdicts[totals > page_size] = Verdict.LONG
    return starts, verdicts


def keep(good: Mask, pairs: Pairs, ends: Ints) -> tuple[Pairs, Ints]:
    """Leave out the pairs of records that are not ``good`` (n,) bool. Gives pairs and ends of the others."""
    counts = np.diff(ends, prepend=0)
    return pairs[np.repeat(good, counts)], np.cumsum(counts[good])


def xor_bytes(starts: Ints, pairs: Pairs, pages: Bytes, rows: Ints | slice) -> None:
    """XOR pairs into ``pages[rows]``, which they must fill exactly, byte by byte. Fast for deltas that change little.

    ``starts``, ``pairs``: what ``measure`` gave and took, all records OK.
    """
    page_size = pages.shape[1]
    flat = pages.reshape(-1)
    first = np.flatnonzero(pairs > _RUN)  # the pairs with a value that is not 0
    changes = pairs[first]
    runs = changes.astype(np.uint8)
    if not runs.all():  # a pair with a run of 0 is legal and changes nothing
        first, changes, runs = first[runs != 0], changes[runs != 0], runs[runs != 0]
    values = (changes >> 8).astype(np.uint8)
    at = starts[first]
    long = np.flatnonzero(runs > 1)
    for inside, of_inside in _inside(at[long], runs[long], values[long]):
        flat[_placed(inside, rows, page_size)] ^= of_inside
    flat[_placed(at, rows, page_size)] ^= values


def xor_pages(starts: Ints, pairs: Pairs, pages: Bytes, rows: Ints | slice) -> None:
    """XOR pairs into ``pages[rows]`` through a buffer of whole pages. The arguments are those of ``xor_bytes``."""
    flat = np.empty(int(starts[-1]) + 1, np.uint8)  # pairs with a run of 0 at the very end need one byte more
    flat.fill(0)  # not np.zeros: its memory is new to the process each time and has to be mapped first
    values = (pairs >> 8).astype(np.uint8)
    flat[starts[:-1]] = values  # of pairs with one start the last one stays; the runs of the others are 0
    long = np.flatnonzero((pairs > _RUN) & (pairs.astype(np.uint8) > 1))
    for inside, of_inside in _inside(starts[long], pairs[long].astype(np.uint8), values[long]):
        flat[inside] = of_inside
    delta = flat[:-1].reshape(-1, pages.shape[1])
    if isinstance(rows, slice):
        pages[rows] ^= delta
    else:
        delta ^= pages[rows]
        pages[rows] = delta


def _inside(starts: Ints, runs: Bytes, values: Bytes) -> Iterator[tuple[Ints, Bytes]]:
    """Positions and values of the second and further bytes of runs, none of which is 0.

    They come in parts, since a run of 255 makes many positions of two bytes.
    """
    more = runs.astype(np.int64) - 1
    for part in cut(more, len(more), _INSIDE):
        yield positions(starts[part] + 1, more[part]), np.repeat(values[part], more[part])


def _placed(at: Ints, rows: Ints | slice, page_size: int) -> Ints:
    """Turn positions in the batch, flat over its pages, into positions in all pages."""
    if isinstance(rows, slice):
        at += rows.start * page_size
        return at
    shift = (rows - np.arange(len(rows))) * page_size
    at += shift[at >> (page_size.bit_length() - 1)]
    return at
