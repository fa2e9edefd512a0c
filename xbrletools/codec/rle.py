"""Runs of equal bytes in old XOR new, for whole batches of pages: the ground of all codings of 2010 and 2011.

``find`` gives the runs of pages, ``measure`` says which records' runs make one page, ``xor`` puts runs into
pages.
"""

import numpy as np

from .batches import Bytes, Ints, Mask, Words
from .verdict import Verdict

_WORD = np.dtype("<u8")  # byte 0 of memory in the low bits, whatever the machine


def find(old: Bytes, new: Bytes) -> tuple[Ints, Bytes]:
    """Give where a byte of old XOR new differs from the one before it, and its value there.

    ``old``, ``new``: (n, page_size) uint8, C-contiguous. Returns starts (k,) int64, flat over the pages and
    rising, with every page's first byte among them, and values (k,) uint8. Scratch memory grows with n.
    """
    page_words = old.shape[1] // _WORD.itemsize
    a, b = old.reshape(-1).view(_WORD), new.reshape(-1).view(_WORD)
    # a boundary can only lie in a word that changed, in the one after it, or at a page's start
    differs = a != b
    look = differs.copy()
    look[1:] |= differs[:-1]
    look[::page_words] = True
    words = np.flatnonzero(look)
    xor_words = a[words] ^ b[words]
    # each byte against its predecessor; that of a word's first byte is the last one of the word before
    boundary = xor_words << np.uint64(8)
    carry = xor_words[:-1] >> np.uint64(56)
    carry *= np.diff(words) == 1
    boundary[1:] |= carry
    boundary ^= xor_words
    is_start = _bytes_of(boundary) != 0
    is_start.reshape(-1, 8)[(words & (page_words - 1)) == 0, 0] = True
    at = np.flatnonzero(is_start)
    starts = words[at >> 3]
    starts <<= 3
    starts += at & 7
    return starts, _bytes_of(xor_words)[at]


def _bytes_of(words: Words) -> Bytes:
    return words.astype(_WORD, copy=False).view(np.uint8)


def measure(runs: Bytes, ends: Ints, page_size: int) -> tuple[Ints, Bytes]:
    """Add up each record's runs.

    ``runs`` (k,) uint8: the runs of all records, one after the other; ``ends`` (n,) int64: the index after
    each record's last one. Returns starts (k + 1,) int64, the sum of all runs before each one, and verdicts
    (n,) uint8: OK, SHORT or LONG.
    """
    starts = np.zeros(len(runs) + 1, np.int64)
    np.cumsum(runs, out=starts[1:])
    totals = np.diff(starts[ends], prepend=0)
    verdicts = np.zeros(len(ends), np.uint8)
    verdicts[totals < page_size] = Verdict.SHORT
    verdicts[totals > page_size] = Verdict.LONG
    return starts, verdicts


def keep(good: Mask, runs: Bytes, values: Bytes, ends: Ints) -> tuple[Bytes, Bytes, Ints]:
    """Leave out the runs of the records that are not ``good`` (n,) bool; gives runs, values and ends of the
    others.
    """
    counts = np.diff(ends, prepend=0)
    kept = np.repeat(good, counts)
    return runs[kept], values[kept], np.cumsum(counts[good])


def xor(starts: Ints, runs: Bytes, values: Bytes, pages: Bytes, rows: Ints | slice, dense: bool) -> None:
    """XOR runs into ``pages[rows]``, which they must fill exactly.

    ``starts``, ``runs``: what ``measure`` took and gave, all records OK; ``values`` (k,) uint8. ``dense``
    says how: through a buffer of whole pages, or byte by byte where few bytes change.
    """
    page_size = pages.shape[1]
    changes = (values != 0) & (runs != 0)  # a pair of count 0 is legal and changes nothing
    long = np.flatnonzero(changes & (runs > 1))
    inside = _inside(starts[long], runs[long])
    inside_values = np.repeat(values[long], runs[long] - 1)
    if dense:
        flat = np.zeros(int(starts[-1]) + 1, np.uint8)  # pairs of count 0 at the very end need a byte of their own
        flat[starts[:-1]] = values  # where starts are equal the last one stays, and that is the pair that counts
        flat[inside] = inside_values
        delta = flat[:-1].reshape(-1, page_size)
        if isinstance(rows, slice):
            pages[rows] ^= delta
        else:
            delta ^= pages[rows]
            pages[rows] = delta
    else:
        flat = pages.reshape(-1)
        first = np.flatnonzero(changes)
        flat[_placed(starts[first], rows, page_size)] ^= values[first]
        flat[_placed(inside, rows, page_size)] ^= inside_values


def _inside(starts: Ints, runs: Bytes) -> Ints:
    """Positions of the second and further bytes of runs."""
    counts = runs.astype(np.int64) - 1
    ends = np.cumsum(counts)
    at = np.arange(int(counts.sum()))
    at += np.repeat(starts + 1 - (ends - counts), counts)
    return at


def _placed(at: Ints, rows: Ints | slice, page_size: int) -> Ints:
    """Turn positions in the batch, flat over its pages, into positions in all pages."""
    if isinstance(rows, slice):
        at += rows.start * page_size
        return at
    shift = (rows - np.arange(len(rows))) * page_size
    at += shift[at >> (page_size.bit_length() - 1)]
    return at
