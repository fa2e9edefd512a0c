"""XBRLE: (run, byte) pairs over old XOR new, as the trees of November 2010 to May 2011 wrote them.

Facts: formats/README.md, "XBRLE". The receiver wants exactly one page; the encoder emits a pair at each
change of byte and at the cap of 255, and gives up above a limit.
"""

import numpy as np

from xbrletools.formats.xbrle import RUN_MAX, Pair

from . import rle
from .batches import (
    Bytes,
    Ints,
    Mask,
    check_deltas,
    check_pair,
    check_rows,
    checked_page_size,
    cut,
    drop,
    join,
    page_size_of,
)
from .verdict import Verdict

PAIR_BYTES = Pair.sizeof()

_WINDOW = 8192  # records that are sorted into sparse and dense ones at a time
_BATCH_PAYLOAD = 1 << 17  # payload bytes of a batch: the sums of its runs stay in the cache
_SPARSE_BATCH = 1 << 21  # bytes of the pages of a batch
_DENSE_BATCH = 1 << 20
_ENCODE_BATCH = 1 << 19
_SPARSE_SHARE = 16  # a payload of up to 1/16 page changes few bytes: XOR these, not the page


def apply(
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    pages: Bytes,
    rows: Ints | None = None,
    *,
    strict: bool = False,
) -> Bytes:
    """XOR delta k into ``pages[rows[k]]``, in place; a page whose delta is not OK stays as it was.

    ``data`` (N,) uint8, the capture; ``offsets``, ``lengths`` (n,) int64, the payloads in it, in bytes;
    ``pages`` (m, page_size) uint8, C-contiguous; ``rows`` (n,) int64, distinct rows of pages, 0 to n - 1 by
    default.

    Returns verdicts (n,) uint8: OK, SHORT and LONG are the original receiver's, which takes runs of length
    0, splits that its encoder would not write, and ignores an odd last byte [C]. ``strict`` refuses these
    as ZERO_RUN, NON_CANONICAL and ODD. Raises ValueError where the arrays do not fit each other.
    """
    check_deltas(data, offsets, lengths)
    page_size = page_size_of(pages)
    check_rows(pages, rows, len(offsets))
    verdicts = np.zeros(len(offsets), np.uint8)
    for first in range(0, len(offsets), _WINDOW):
        dense = lengths[first : first + _WINDOW] > page_size // _SPARSE_SHARE
        for is_dense, batch_bytes in ((False, _SPARSE_BATCH), (True, _DENSE_BATCH)):
            records = first + np.flatnonzero(dense == is_dense)
            for part in cut(lengths[records], max(1, batch_bytes // page_size), _BATCH_PAYLOAD):
                batch = records[part]
                targets = batch if rows is None else rows[batch]
                verdicts[batch] = _apply_batch(data, offsets[batch], lengths[batch], pages, targets, is_dense, strict)
    return verdicts


def _apply_batch(
    data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints, dense: bool, strict: bool
) -> Bytes:
    page_size = pages.shape[1]
    counts = lengths // PAIR_BYTES
    payload = join(data, offsets, counts * PAIR_BYTES)
    runs, values, ends = payload[0::2], payload[1::2], np.cumsum(counts)
    starts, verdicts = rle.measure(runs, ends, page_size)
    if strict:
        _refuse(verdicts, lengths, runs, values, ends)
    if verdicts.any():
        good = verdicts == Verdict.OK
        rows = rows[good]
        runs, values, ends = rle.keep(good, runs, values, ends)
        starts, _ = rle.measure(runs, ends, page_size)
    if len(rows):
        where = slice(int(rows[0]), int(rows[0]) + len(rows)) if _is_span(rows) else rows
        rle.xor(starts, runs, values, pages, where, dense)
    return verdicts


def _is_span(rows: Ints) -> bool:
    return bool(int(rows[-1]) - int(rows[0]) == len(rows) - 1 and (np.diff(rows) == 1).all())


def _refuse(verdicts: Bytes, lengths: Ints, runs: Bytes, values: Bytes, ends: Ints) -> None:
    """Turn OK into what a strict reader says, in place."""
    same = np.zeros(len(runs), bool)  # a run that continues the one before, which was not full
    same[1:] = (values[1:] == values[:-1]) & (runs[:-1] != RUN_MAX)
    counts = np.diff(ends, prepend=0)
    same[(ends - counts)[counts > 0]] = False
    for verdict, found in (
        (Verdict.ODD, lengths % PAIR_BYTES != 0),
        (Verdict.ZERO_RUN, _any(runs == 0, ends)),
        (Verdict.NON_CANONICAL, _any(same, ends)),
    ):
        verdicts[found & (verdicts == Verdict.OK)] = verdict


def _any(found: Mask, ends: Ints) -> Mask:
    """Which records have a run that was found."""
    seen = np.zeros(len(found) + 1, np.int64)
    np.cumsum(found, out=seen[1:])
    return np.diff(seen[ends], prepend=0) > 0


def encode(old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """Encode ``old`` to ``new``, (n, page_size) uint8 each, with the bytes that the posted encoder writes.

    Returns data (total,) uint8, the payloads one after the other, and lengths (n,) int64: -1, and no bytes
    in data, for a page whose encoding would exceed ``limit`` bytes (default: the page size; exactly
    ``limit`` is sent). An unchanged page takes 34 bytes for 4096. Raises ValueError where the arrays do not
    fit each other.
    """
    page_size = check_pair(old, new)
    limit = page_size if limit is None else limit
    parts: list[Bytes] = []
    lengths = np.zeros(len(old), np.int64)
    step = max(1, _ENCODE_BATCH // page_size)
    for first in range(0, len(old), step):
        part = slice(first, first + step)
        payload, lengths[part] = _encode_batch(old[part], new[part])
        parts.append(drop(payload, lengths[part], lengths[part] > limit))
    return np.concatenate(parts) if parts else np.empty(0, np.uint8), lengths


def _encode_batch(old: Bytes, new: Bytes) -> tuple[Bytes, Ints]:
    page_size = old.shape[1]
    starts, values = rle.find(old, new)
    runs = np.diff(starts, append=old.size)
    first = np.flatnonzero((starts & (page_size - 1)) == 0)  # each page's first run
    long = np.flatnonzero(runs > RUN_MAX)
    counts = np.ones(len(runs), np.int64)  # pairs that a run takes
    full = (runs[long] - 1) // RUN_MAX
    counts[long] += full
    runs[long] -= full * RUN_MAX
    ends = np.cumsum(counts)
    pairs = np.empty((int(ends[-1]), PAIR_BYTES), np.uint8)
    pairs[:, 0] = RUN_MAX
    pairs[ends - 1, 0] = runs
    pairs[:, 1] = np.repeat(values, counts)
    lengths = np.diff((ends - counts)[first], append=ends[-1]) * PAIR_BYTES
    return pairs.reshape(-1), lengths


def changed(data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> tuple[Mask, Bytes]:
    """Say which bytes each delta changes: where its XOR is not zero.

    ``data``, ``offsets``, ``lengths`` as in ``apply``. Returns a mask (n, page_size) bool, all False for a
    delta that is not OK, and verdicts (n,) uint8.
    """
    delta = np.zeros((len(offsets), checked_page_size(page_size)), np.uint8)
    verdicts = apply(data, offsets, lengths, delta)
    mask = delta.view(np.bool_)
    np.not_equal(delta, 0, out=mask)
    return mask, verdicts
