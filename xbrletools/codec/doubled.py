"""The codings of September 2010, sep10 and sep20: a doubled byte announces how often it repeats.

Facts: formats/README.md, "Doubled bytes". Grammar: formats/doubled.py. Both code old XOR new. This module finds their
marks and makes (run, byte) pairs of them. `rle` does the rest.
"""

from collections.abc import Callable

import numpy as np

from xbrletools.formats.dialects import Encoding
from xbrletools.formats.doubled import EXTRA_MAX

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
    encode_batches,
    join,
    page_size_of,
)
from .verdict import Verdict

_BATCH_RECORDS = 256
_BATCH_PAYLOAD = 1 << 17


def apply_sep10(data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None = None) -> Bytes:
    """XOR delta k of the sep10 coding into ``pages[rows[k]]``, in place.

    ``data`` is (N,) uint8. ``offsets``, ``lengths`` (n,) int64: the payloads, without the header that sep10's length
    field counts. ``pages`` (m, page_size) uint8, C-contiguous, ``rows`` (n,) int64, distinct, by default 0 to n - 1.

    Returns verdicts (n,) uint8: OK, SHORT, LONG, or CUT where the count after a doubled byte is missing. A page whose
    verdict is not OK stays as it was. Raises ValueError where the arrays do not fit each other.
    """
    return _apply(_pairs_sep10, data, offsets, lengths, pages, rows)


def apply_sep20(data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None = None) -> Bytes:
    """XOR delta k of the sep20 coding into ``pages[rows[k]]``, in place. The rest is as in ``apply_sep10``."""
    return _apply(_pairs_sep20, data, offsets, lengths, pages, rows)


def _apply(
    pairs: Callable[[Bytes, Ints], tuple[rle.Pairs, Mask]],
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    pages: Bytes,
    rows: Ints | None,
) -> Bytes:
    check_deltas(data, offsets, lengths)
    page_size = page_size_of(pages)
    check_rows(pages, rows, len(offsets))
    verdicts = np.zeros(len(offsets), np.uint8)
    for part in cut(lengths, _BATCH_RECORDS, _BATCH_PAYLOAD):
        payload, ends = join(data, offsets[part], lengths[part])
        runs, is_cut = pairs(payload, ends)
        starts, found = rle.measure(runs, ends, page_size)
        found[is_cut] = Verdict.CUT
        verdicts[part] = found
        good = found == Verdict.OK
        where = np.arange(part.start, part.stop) if rows is None else rows[part]
        if not good.all():
            runs, ends = rle.keep(good, runs, ends)
            starts, _ = rle.measure(runs, ends, page_size)
            where = where[good]
        if len(where):
            rle.xor_bytes(starts, runs, pages, where)
    return verdicts


def _pairs_sep10(payload: Bytes, ends: Ints) -> tuple[rle.Pairs, Mask]:
    """Make each payload byte a pair: 1 and itself, or for a count the count and the doubled byte.

    Also says which records end where a count should be.
    """
    # where the next mark is depends on the one before it, so this is a loop, but from mark to mark, not over bytes
    following = _next_double(payload)
    doubles: list[int] = []
    is_cut = np.zeros(len(ends), bool)
    first = 0
    for record, end in enumerate(ends.tolist()):
        at = following[first + 1]
        while at + 1 < end:
            doubles.append(at)
            at = following[at + 3]  # the byte after the count is not compared with it
        is_cut[record] = at + 1 == end
        first = end
    marks = np.array(doubles, np.int64)
    runs: rle.Pairs = np.ones(len(payload), np.uint16)
    values: rle.Pairs = payload.astype(np.uint16)
    runs[marks + 1] = payload[marks + 1]
    values[marks + 1] = payload[marks]
    pairs: rle.Pairs = values << np.uint16(8) | runs
    return pairs, is_cut


def _pairs_sep20(payload: Bytes, ends: Ints) -> tuple[rle.Pairs, Mask]:
    """Give each payload byte its run and value. The run of a doubled byte stands two bytes on. That of a count is 0."""
    following = _next_double(payload)
    known = payload.tolist()
    doubles: list[int] = []
    is_cut = np.zeros(len(ends), bool)
    first = 0
    for record, end in enumerate(ends.tolist()):
        at = following[first + 1]
        while at + 2 < end:
            doubles.append(at)
            after = at + 3  # this one is compared with the byte before the count
            at = after if after < end and known[after] == known[at + 1] else following[after + 1]
        is_cut[record] = at < end
        first = end
    marks = np.array(doubles, np.int64)
    runs: rle.Pairs = np.ones(len(payload), np.uint16)
    runs[marks] = payload[marks + 2]
    runs[marks + 2] = 0
    pairs: rle.Pairs = payload.astype(np.uint16) << np.uint16(8) | runs
    return pairs, is_cut


def units(encoding: Encoding, payload: Bytes) -> tuple[Ints, Ints, int | None]:
    """How many bytes of the page each part of a payload, (length,) uint8, gives, and where it stands in the payload.

    Both (n,) int64. A part is a byte, or in sep10 a count. Also gives the offset at which a count is missing, or None.
    """
    pairs, is_cut = (_pairs_sep10 if encoding is Encoding.DOUBLED else _pairs_sep20)(payload, np.array([len(payload)]))
    lengths = (pairs & np.uint16(0xFF)).astype(np.int64)
    at = np.arange(len(lengths))
    return lengths, at, len(payload) if is_cut[0] else None


def _next_double(payload: Bytes) -> list[int]:
    """For each position, the first from there on whose byte equals the one before it.

    It is past the end if there is none.
    """
    beyond = len(payload) + 4
    following = np.full(beyond + 1, beyond)
    at = np.flatnonzero(payload[1:] == payload[:-1]) + 1
    following[at] = at
    nearest: list[int] = np.minimum.accumulate(following[::-1])[::-1].tolist()
    return nearest


def encode_sep10(old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """Encode ``old`` to ``new``, (n, page_size) uint8 each, in the sep10 coding.

    Returns data (total,) uint8 and lengths (n,) int64. A length is -1, with no bytes in data, where the encoding would
    exceed ``limit`` bytes (default: the page size less 1, as that sender wanted less than a page). Raises ValueError
    where the arrays do not fit each other.
    """
    return _encode(_code_sep10, old, new, limit)


def encode_sep20(old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """Encode ``old`` to ``new`` in the sep20 coding. Arguments and result are as in ``encode_sep10``.

    The inverse of ``apply_sep20``. Only eight deltas of this coding are known. They come back byte for byte.
    """
    return _encode(_code_sep20, old, new, limit)


def _encode(
    code: Callable[[list[int], list[int]], bytes], old: Bytes, new: Bytes, limit: int | None
) -> tuple[Bytes, Ints]:
    page_size = check_pair(old, new)

    def encode(old: Bytes, new: Bytes) -> tuple[Bytes, Ints, Ints]:
        starts, values = rle.find(old, new)
        runs = np.diff(starts, append=old.size)
        pages = np.flatnonzero((starts & (page_size - 1)) == 0)[1:]
        of_pages = zip(np.split(runs, pages), np.split(values, pages), strict=True)
        payloads = [code(r.tolist(), v.tolist()) for r, v in of_pages]
        lengths = np.array([len(p) for p in payloads])
        return np.frombuffer(b"".join(payloads), np.uint8), lengths, lengths

    return encode_batches(old, new, encode, page_size - 1 if limit is None else limit)


def _code_sep10(runs: list[int], values: list[int]) -> bytes:
    """Code one page. This is a loop over runs: these codings were in use for a few weeks, so speed does not matter."""
    out = bytearray()
    for run, value in zip(runs, values, strict=True):
        while run > 1:
            extra = min(run - 2, EXTRA_MAX)
            out += bytes((value, value, extra))
            run -= 2 + extra
        if run:
            out.append(value)
    return bytes(out)


def _code_sep20(runs: list[int], values: list[int]) -> bytes:
    """Code one page. A mark also carries the byte after its run, so the next run is coded one byte shorter."""
    out = bytearray(values[:1])
    last = len(runs) - 1
    for k, (run, value) in enumerate(zip(runs, values, strict=True)):
        run -= 1  # the first byte is written
        while run > EXTRA_MAX:
            out += bytes((value, value, EXTRA_MAX))
            run -= EXTRA_MAX + 1
        if k < last:
            out += bytes((value, values[k + 1], run)) if run else bytes((values[k + 1],))
        elif run:
            out += bytes((value, value, run - 1))
    return bytes(out)


def changed_sep10(data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> tuple[Mask, Bytes]:
    """Say which bytes each sep10 delta changes: a mask (n, page_size) bool, all False where not OK, and verdicts."""
    return _changed(apply_sep10, data, offsets, lengths, page_size)


def changed_sep20(data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> tuple[Mask, Bytes]:
    """Say which bytes each sep20 delta changes: a mask (n, page_size) bool, all False where not OK, and verdicts."""
    return _changed(apply_sep20, data, offsets, lengths, page_size)


def _changed(
    apply: Callable[[Bytes, Ints, Ints, Bytes], Bytes],
    data: Bytes,
    offsets: Ints,
    lengths: Ints,
    page_size: int,
) -> tuple[Mask, Bytes]:
    delta = np.zeros((len(offsets), checked_page_size(page_size)), np.uint8)
    verdicts = apply(data, offsets, lengths, delta)
    mask = delta.view(np.bool_)
    np.not_equal(delta, 0, out=mask)
    return mask, verdicts
