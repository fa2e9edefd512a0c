"""XBZRLE: runs of unchanged bytes, and the new bytes between them, as QEMU has written them since 2012.

Facts: formats/README.md, "XBZRLE". A run is zrun and nzrun, both ULEB128 of two bytes at most, and nzrun literal bytes.
"""

import numpy as np

from xbrletools.formats.xbzrle import ULEB_BITS, ULEB_BYTES_MAX, ULEB_MAX, ULEB_MORE

from . import native, uniform
from .batches import (
    Bytes,
    Ints,
    Mask,
    Words,
    check_deltas,
    check_pair,
    check_rows,
    checked_page_size,
    copy_bytes,
    cut,
    encode_batches,
    join,
    page_size_of,
    positions,
)
from .verdict import Verdict

LAYOUT = (ULEB_MORE, ULEB_BITS)  # of a number, for the loops in C
_LOW = ULEB_MORE - 1
_WORD = np.dtype("<u8")

_BATCH_RECORDS = 2048
_BATCH_PAYLOAD = 1 << 19
_NEVER = np.iinfo(np.int64).max  # the room needed by a run that cannot be written
_LOCKSTEP_MIN = 48  # with fewer records left a plain loop over their runs is faster
_PAD = 2 * ULEB_BYTES_MAX  # bytes that are read past the payload's end before a cut run is noticed
_HEADER_MOST = 64  # bytes from one payload to the next where only a record's word and header lie between them

_NUMBER = (1 << 24) - 1  # an entry of the tables has the number in these bits, its width in bytes above them
_WIDTH = 24
_TOO_LARGE = 1 << 22  # for any page; numbers that receivers refuse read as this, and so fail as too long


def _tables() -> tuple[Ints, Ints]:
    """Two tables from two bytes, the first one high, to the number that they begin with. The second refuses 0."""
    first, second = np.divmod(np.arange(1 << 16), 1 << 8)
    wide = first >= ULEB_MORE
    number = np.where(wide, (first & _LOW) | (second << ULEB_BITS), first)
    number[wide & (second >= ULEB_MORE)] = _TOO_LARGE
    width = (1 + wide) << _WIDTH
    return number | width, np.where(number == 0, _TOO_LARGE, number) | width


_NUMBERS, _NUMBERS_NOT_0 = _tables()


def apply(data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints | None = None) -> Bytes:
    """Write delta k's new bytes over ``pages[rows[k]]``, in place. A page whose delta is not OK stays as it was.

    ``data`` (N,) uint8, the capture. ``offsets``, ``lengths`` (n,) int64, the payloads in it, in bytes. ``pages`` (m,
    page_size) uint8, C-contiguous. ``rows`` (n,) int64, distinct rows of pages, by default 0 to n - 1.

    Returns verdicts (n,) uint8: OK, or what QEMU's receiver finds first: BAD_NUMBER, ZERO_RUN (a zrun after the first,
    or an nzrun), LONG, CUT. An empty payload is OK and changes nothing. Raises ValueError where the arrays do not fit
    each other.
    """
    check_deltas(data, offsets, lengths)
    page_size = page_size_of(pages)
    check_rows(pages, rows, len(offsets))
    if native.loops is not None:
        return native.apply(native.loops.copy_runs, LAYOUT, data, offsets, lengths, pages, rows)
    flat = pages.reshape(-1)
    verdicts = np.zeros(len(offsets), np.uint8)
    for part in cut(lengths, _BATCH_RECORDS, _BATCH_PAYLOAD):
        payload, ends = join(data, offsets[part], lengths[part], pad=_PAD, skip=_HEADER_MOST)
        to, at, counts, verdicts[part] = _parse(payload, ends - lengths[part], ends, page_size)
        targets = np.arange(part.start, part.stop) if rows is None else rows[part]
        shift = (targets - np.arange(len(targets))) * page_size
        to += shift[to >> (page_size.bit_length() - 1)]
        copy_bytes(payload, at, flat, to, counts)
    return verdicts


def changed(data: Bytes, offsets: Ints, lengths: Ints, page_size: int) -> tuple[Mask, Bytes]:
    """Say which bytes each delta determines: those that it carries, whether they equal the old ones or not.

    ``data``, ``offsets``, ``lengths`` as in ``apply``. Returns a mask (n, page_size) bool, all False for a delta that
    is not OK, and verdicts (n,) uint8.
    """
    check_deltas(data, offsets, lengths)
    mask = np.zeros((len(offsets), checked_page_size(page_size)), bool)
    flat = mask.reshape(-1)
    verdicts = np.zeros(len(offsets), np.uint8)
    for part in cut(lengths, _BATCH_RECORDS, _BATCH_PAYLOAD):
        payload, ends = join(data, offsets[part], lengths[part], pad=_PAD, skip=_HEADER_MOST)
        to, _, counts, verdicts[part] = _parse(payload, ends - lengths[part], ends, page_size)
        flat[positions(to + part.start * page_size, counts)] = True
    return mask, verdicts


def idle(data: Bytes, offsets: Ints, lengths: Ints, pages: Bytes, rows: Ints, blanked: bool = False) -> Ints:
    """Find the first literal at a run's edge that its page holds already.

    Gives its place in bytes of the page, (n,) int64, or -1 for none.

    ``data``, ``offsets``, ``lengths``, ``pages`` and ``rows`` as in ``apply``, with the pages as they are before it. A
    sender begins and ends a run where the page that it has differs. It may leave equal bytes within a run. Where pages
    of the stream were ``blanked``, zeros over a page of zeros do not count.
    """
    page_size = page_size_of(pages)
    flat = pages.reshape(-1)
    first = np.full(len(offsets), _NEVER, np.int64)
    for part in cut(lengths, _BATCH_RECORDS, _BATCH_PAYLOAD):
        payload, ends = join(data, offsets[part], lengths[part], pad=_PAD, skip=_HEADER_MOST)
        to, at, counts, _ = _parse(payload, ends - lengths[part], ends, page_size)
        record, place = to // page_size, to % page_size
        base = rows[part][record] * page_size + place
        for step in (np.zeros_like(counts), counts - 1):
            equal = np.flatnonzero(flat[base + step] == payload[at + step])
            np.minimum.at(first, part.start + record[equal], place[equal] + step[equal])
        if not blanked:
            continue
        sums = np.append(0, np.cumsum(payload != 0))
        speaks = np.zeros(part.stop - part.start, bool)
        speaks[record[sums[at + counts] > sums[at]]] = True
        silent = part.start + np.flatnonzero(~speaks & (first[part] != _NEVER))
        first[silent[uniform.fills(pages, rows[silent]) == 0]] = _NEVER
    return np.where(first == _NEVER, -1, first)


def _parse(payload: Bytes, begins: Ints, ends: Ints, page_size: int) -> tuple[Ints, Ints, Ints, Bytes]:
    """Find the literals of a batch: where they go, flat over its pages, where they stand in ``payload``, how many.

    ``begins``, ``ends`` (n,) int64: where each record stands in ``payload``, which has ``_PAD`` bytes more. Also gives
    verdicts (n,) uint8. Literals of records that are not OK are left out.

    This reads in lockstep: the k-th run of every record at once. A plain loop reads records with a wrong run, and the
    last few.
    """
    record = np.flatnonzero(begins < ends)
    at, end = begins[record], ends[record]
    to = record * page_size
    limit = to + page_size
    two_bytes = payload[:-1].astype(np.uint16) << 8 | payload[1:]
    found: list[tuple[Ints, Ints, Ints]] = []
    rest: list[tuple[int, int, int]] = []
    numbers = _NUMBERS
    while len(record) >= _LOCKSTEP_MIN:
        zrun = numbers[two_bytes[at]]
        after = at + (zrun >> _WIDTH)
        nzrun = _NUMBERS_NOT_0[two_bytes[after]]
        literals = after + (nzrun >> _WIDTH)
        target = to + (zrun & _NUMBER)
        nzrun &= _NUMBER
        next_to, next_at = target + nzrun, literals + nzrun
        going = next_at < end
        if (next_to > limit).any() or (next_at > end).any():
            good = (next_to <= limit) & (next_at <= end)
            fault = ~good
            rest += zip(record[fault].tolist(), at[fault].tolist(), to[fault].tolist(), strict=True)
            target, literals, nzrun = target[good], literals[good], nzrun[good]
            going &= good
        found.append((target, literals, nzrun))
        if going.all():
            at, to = next_at, next_to
        else:
            record, at, to, end, limit = (x[going] for x in (record, next_at, next_to, end, limit))
        numbers = _NUMBERS_NOT_0
    rest += zip(record.tolist(), at.tolist(), to.tolist(), strict=True)
    verdicts = np.zeros(len(ends), np.uint8)
    found += _walk(payload, begins, ends, page_size, rest, verdicts)
    if not found:
        none = np.empty(0, np.int64)
        return none, none, none, verdicts
    targets, literals, counts = (np.concatenate(x) for x in zip(*found, strict=True))
    if verdicts.any():
        good = verdicts[targets >> (page_size.bit_length() - 1)] == Verdict.OK
        targets, literals, counts = targets[good], literals[good], counts[good]
    return targets, literals, counts, verdicts


def _walk(
    payload: Bytes, begins: Ints, ends: Ints, page_size: int, rest: list[tuple[int, int, int]], verdicts: Bytes
) -> list[tuple[Ints, Ints, Ints]]:
    """Read the runs of single records. ``rest`` has their number, place in the payload and flat place in the pages.

    Sets their verdicts. Gives targets, literals and counts, also of records that turn out not to be OK.
    """
    view = payload.data
    found: list[tuple[int, int, int]] = []
    for record, at, to in rest:
        begin, end, limit = int(begins[record]), int(ends[record]), (record + 1) * page_size
        while at < end:
            verdict, target, literals, count = _run(view, at, end, to, limit, at == begin)
            if verdict:
                verdicts[record] = verdict
                break
            found.append((target, literals, count))
            at, to = literals + count, target + count
    columns = np.array(found, np.int64).reshape(-1, 3).T
    return [(columns[0], columns[1], columns[2])]


def _run(payload: memoryview, at: int, end: int, to: int, limit: int, first: bool) -> tuple[Verdict, int, int, int]:
    """Read one run: its verdict, target, literals' place and count. The tests come in the order of QEMU's receiver."""
    numbers = []
    for allowed in (first, False):  # whether the number may be 0
        if end - at < ULEB_BYTES_MAX:  # also a last number of one byte: neither can end a payload
            return Verdict.BAD_NUMBER, 0, 0, 0
        number = payload[at]
        at += 1
        if number >= ULEB_MORE:
            if payload[at] >= ULEB_MORE:
                return Verdict.BAD_NUMBER, 0, 0, 0
            number += (payload[at] << ULEB_BITS) - ULEB_MORE
            at += 1
        if not number and not allowed:
            return Verdict.ZERO_RUN, 0, 0, 0
        to += number
        if to > limit:
            return Verdict.LONG, 0, 0, 0
        numbers.append(number)
    count = numbers[1]
    if at + count > end:
        return Verdict.CUT, 0, 0, 0
    return Verdict.OK, to - count, at, count


def encode(old: Bytes, new: Bytes, limit: int | None = None) -> tuple[Bytes, Ints]:
    """Encode ``old`` to ``new``, (n, page_size) uint8 each, with the bytes that QEMU's encoder writes.

    Returns data (total,) uint8, the payloads one after the other, and lengths (n,) int64. A length is 0 for an
    unchanged page. It is -1, with no bytes in data, where the encoding does not fit in ``limit`` bytes (default: the
    page size): QEMU's encoder asks for two free bytes whenever it goes on, also before an unchanged end of the page
    [Q]. It is also -1 for a run over 16383, which two bytes cannot hold. Pages must have 32 KiB for that. Raises
    ValueError where the arrays do not fit each other.
    """
    page_size = check_pair(old, new)
    most = page_size if limit is None else min(limit, _NEVER - 1)
    if native.loops is not None:
        return native.encode(native.loops.write_runs, LAYOUT, old, new, most)
    return encode_batches(old, new, _encode_batch, most)


def _encode_batch(old: Bytes, new: Bytes) -> tuple[Bytes, Ints, Ints]:
    page_size = old.shape[1]
    starts, stops, literals = _changes(old, new)
    first = np.searchsorted(starts, np.arange(len(old) + 1) * page_size)  # each page's first run, and the end
    zruns = starts.copy()
    zruns[1:] -= stops[:-1]
    firsts = first[:-1][first[:-1] < first[1:]]
    zruns[firsts] = starts[firsts] & (page_size - 1)
    counts = stops - starts
    wide = (zruns > _LOW, counts > _LOW)
    ends = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(counts + 2 + wide[0] + wide[1], out=ends[1:])
    payload = np.empty(int(ends[-1]), np.uint8)
    is_literal = np.ones(len(payload), bool)
    at = ends[:-1]
    for number, is_wide in zip((zruns, counts), wide, strict=True):
        two = np.flatnonzero(is_wide)
        payload[at] = (number & _LOW) | (is_wide * ULEB_MORE)
        is_literal[at] = False
        payload[at[two] + 1] = number[two] >> ULEB_BITS
        is_literal[at[two] + 1] = False
        at = at + 1 + is_wide
    payload[is_literal] = literals
    lengths = np.diff(ends[first])
    room = lengths + np.where(old[:, -1] == new[:, -1], ULEB_BYTES_MAX, 0)
    room[starts[(zruns > ULEB_MAX) | (counts > ULEB_MAX)] // page_size] = _NEVER
    return payload, lengths, room


def _changes(old: Bytes, new: Bytes) -> tuple[Ints, Ints, Bytes]:
    """Give the runs of changed bytes, flat over the pages and split at their borders: starts, stops, new bytes."""
    page_words = old.shape[1] // _WORD.itemsize
    a, b = old.reshape(-1).view(_WORD), new.reshape(-1).view(_WORD)
    words = np.flatnonzero(a != b)
    new_words = b[words]
    differs = _bytes_of(a[words] ^ new_words) != 0
    ones = differs.view(_WORD)  # a byte of 1 for each byte that changed
    joined = (np.diff(words) == 1) & ((words[1:] & (page_words - 1)) != 0)
    before = ones << np.uint64(8)
    before[1:] |= (ones[:-1] >> np.uint64(56)) * joined
    after = ones >> np.uint64(8)
    after[:-1] |= (ones[1:] * joined) << np.uint64(56)
    starts = _positions(words, ones & ~before)
    stops = _positions(words, ones & ~after) + 1
    return starts, stops, _bytes_of(new_words)[differs]


def _bytes_of(words: Words) -> Bytes:
    return words.astype(_WORD, copy=False).view(np.uint8)


def _positions(words: Ints, ones: Words) -> Ints:
    at = np.flatnonzero(_bytes_of(ones))
    flat: Ints = words[at >> 3]
    flat <<= 3
    flat += at & 7
    return flat
