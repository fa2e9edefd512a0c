"""XBRLE: (run, byte) pairs over old XOR new, as the trees of November 2010 to May 2011 wrote them.

Facts: formats/README.md, "XBRLE". The receiver wants exactly one page. The encoder emits a pair at each change of byte
and at a run of 255, and gives up above a limit.
"""

import numpy as np

from xbrletools.formats.xbrle import RUN_MAX, Pair

from . import native, rle
from .batches import (
    Bytes,
    Ints,
    Mask,
    as_span,
    check_deltas,
    check_pair,
    check_rows,
    checked_page_size,
    cut,
    encode_batches,
    join,
    page_size_of,
    positions,
)
from .layout import dtype_of
from .verdict import Verdict

PAIR_BYTES = Pair.sizeof()
_RUN_AT, _BYTE_AT = (place for _, place, *_ in (dtype_of(Pair).fields or {}).values())

LAYOUT = (_RUN_AT, _BYTE_AT)  # of a pair, for the loops in C

_PAIR = np.dtype("<u2")  # a pair as one number: the run in its low byte, whatever the machine
_RUN = np.uint16(0xFF)

_WINDOW = 8192  # records that are sorted by length at a time
_BATCH_RECORDS = 1024
_BATCH_PAYLOAD = 1 << 19  # payload bytes of a batch
_BATCH_PAGES = 1 << 21  # bytes of the pages of a batch that goes through whole pages
_STRICT_BATCH = 1 << 20  # bytes of pages whose deltas are decoded strictly at once
_HEADER_MOST = 64  # bytes from one payload to the next where only a record's word and header lie between them
_SPARSE_SHARE = 16  # a payload of up to 1/16 of a page changes few bytes: only these are XORed, not the page


def apply(
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    pages: Bytes,
    rows: Ints | None = None,
    *,
    strict: bool = False,
) -> Bytes:
    """XOR delta k into ``pages[rows[k]]``, in place. A page whose delta is not OK stays as it was.

    ``data`` (N,) uint8, the capture. ``offsets``, ``lengths`` (n,) int64, the payloads in it, in bytes. ``pages`` (m,
    page_size) uint8, C-contiguous. ``rows`` (n,) int64, distinct rows of pages, by default 0 to n - 1.

    Returns verdicts (n,) uint8. OK, SHORT and LONG are the original receiver's. It takes runs of length 0 and splits
    that its encoder would not write, and it ignores an odd last byte [C]. ``strict`` refuses these as ZERO_RUN,
    NON_CANONICAL and ODD. Raises ValueError where the arrays do not fit each other.
    """
    check_deltas(data, offsets, lengths)
    page_size = page_size_of(pages)
    check_rows(pages, rows, len(offsets))
    if native.loops is not None and not strict:
        return native.apply(native.loops.xor_pairs, LAYOUT, data, offsets, lengths, pages, rows)
    verdicts = np.zeros(len(offsets), np.uint8)
    for first in range(0, len(offsets), _WINDOW):
        dense = lengths[first : first + _WINDOW] > page_size // _SPARSE_SHARE
        for is_dense, most in ((False, _BATCH_RECORDS), (True, max(1, _BATCH_PAGES // page_size))):
            records = first + np.flatnonzero(dense == is_dense)
            for part in cut(lengths[records], most, _BATCH_PAYLOAD):
                batch = records[part]
                targets = batch if rows is None else rows[batch]
                verdicts[batch] = _apply_batch(data, offsets[batch], lengths[batch], pages, targets, is_dense, strict)
    return verdicts


def _apply_batch(
    data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints, dense: bool, strict: bool
) -> Bytes:
    page_size = pages.shape[1]
    counts = lengths // PAIR_BYTES
    skip = 0 if strict else _HEADER_MOST  # zeros between payloads are pairs that change nothing, but not canonical
    payload, ends = join(data, offsets, counts * PAIR_BYTES, skip=skip, unit=PAIR_BYTES)
    pairs, ends = payload.view(_PAIR), ends // PAIR_BYTES
    starts, verdicts = rle.measure(pairs, ends, page_size)
    if strict:
        _refuse(verdicts, lengths, pairs, ends)
    if verdicts.any():
        good = verdicts == Verdict.OK
        rows = rows[good]
        pairs, ends = rle.keep(good, pairs, ends)
        starts, _ = rle.measure(pairs, ends, page_size)
    if len(rows):
        xor = rle.xor_pages if dense else rle.xor_bytes
        xor(starts, pairs, pages, as_span(rows))
    return verdicts


def unusual(data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> Mask:
    """Say which deltas come to one page with other runs than the encoder would write for it, (n,) bool.

    They have a run of length 0, or neighbouring runs that could be one. Arguments are as in `apply`.
    """
    check_deltas(data, offsets, lengths)
    checked_page_size(page_size)
    if native.loops is not None:
        return native.unusual(LAYOUT, data, offsets, lengths, page_size)
    found = np.zeros(len(offsets), bool)
    step = max(1, _STRICT_BATCH // page_size)
    scratch = np.zeros((min(step, len(offsets)), page_size), np.uint8)
    for start in range(0, len(offsets), step):
        batch = slice(start, min(len(offsets), start + step))
        pages = scratch[: batch.stop - start]
        verdicts = apply(data, offsets[batch], lengths[batch], pages, strict=True)
        found[batch] = (verdicts == Verdict.ZERO_RUN) | (verdicts == Verdict.NON_CANONICAL)
    return found


def _refuse(verdicts: Bytes, lengths: Ints, pairs: rle.Pairs, ends: Ints) -> None:
    """Turn OK into the verdict of a strict reader, in place."""
    runs, values = pairs & _RUN, pairs >> 8
    more = np.zeros(len(pairs), bool)  # a run that continues the one before, which was not full
    more[1:] = (values[1:] == values[:-1]) & (runs[:-1] != RUN_MAX)
    counts = np.diff(ends, prepend=0)
    more[(ends - counts)[counts > 0]] = False
    for verdict, found in (
        (Verdict.ODD, lengths % PAIR_BYTES != 0),
        (Verdict.ZERO_RUN, _any(runs == 0, ends)),
        (Verdict.NON_CANONICAL, _any(more, ends)),
    ):
        verdicts[found & (verdicts == Verdict.OK)] = verdict


def _any(found: Mask, ends: Ints) -> Mask:
    """Which records have a run for which ``found`` (k,) is true."""
    seen = np.zeros(len(found) + 1, np.int64)
    np.cumsum(found, out=seen[1:])
    return np.diff(seen[ends], prepend=0) > 0


def encode(old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """Encode ``old`` to ``new``, (n, page_size) uint8 each, with the bytes that the posted encoder writes.

    Returns data (total,) uint8, the payloads one after the other, and lengths (n,) int64. A length is -1, with no bytes
    in data, where the encoding would exceed ``limit`` bytes (default: the page size). An encoding of exactly ``limit``
    bytes is sent. An unchanged page of 4096 bytes takes 34. Raises ValueError where the arrays do not fit each other.
    """
    page_size = check_pair(old, new)
    most = page_size if limit is None else limit
    if native.loops is not None:
        return native.encode(native.loops.write_pairs, LAYOUT, old, new, most)
    return encode_batches(old, new, _encode_batch, most)


def _encode_batch(old: Bytes, new: Bytes) -> tuple[Bytes, Ints, Ints]:
    page_size = old.shape[1]
    starts, values = rle.find(old, new)
    runs = np.empty(len(starts), np.int64)
    np.subtract(starts[1:], starts[:-1], out=runs[:-1])
    runs[-1] = old.size - starts[-1]
    first = np.searchsorted(starts, np.arange(len(old)) * page_size)  # each page's first run
    pairs = values.astype(_PAIR)
    pairs <<= 8
    long = np.flatnonzero(runs > RUN_MAX)
    if len(long):
        full = (runs[long] - 1) // RUN_MAX  # the pairs that a long run takes before its last one
        runs[long] -= full * RUN_MAX
        of_long = np.repeat(pairs[long] | RUN_MAX, full)
    pairs |= runs.astype(_PAIR)
    if len(long):
        shift = np.zeros(len(runs), np.int64)
        shift[long] = full
        last = np.cumsum(shift)  # where each run's last pair goes
        last += np.arange(len(runs))
        first = last[first] - shift[first]
        shorter, pairs = pairs, np.empty(int(last[-1]) + 1, _PAIR)
        pairs[last] = shorter
        pairs[positions(last[long] - full, full)] = of_long
    lengths = np.diff(first, append=len(pairs)) * PAIR_BYTES
    return pairs.view(np.uint8), lengths, lengths


def changed(data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> tuple[Mask, Bytes]:
    """Say which bytes each delta changes: where its XOR is not zero.

    ``data``, ``offsets``, ``lengths`` as in ``apply``. Returns a mask (n, page_size) bool, all False for a delta that
    is not OK, and verdicts (n,) uint8.
    """
    delta = np.zeros((len(offsets), checked_page_size(page_size)), np.uint8)
    verdicts = apply(data, offsets, lengths, delta)
    mask = delta.view(np.bool_)
    np.not_equal(delta, 0, out=mask)
    return mask, verdicts
