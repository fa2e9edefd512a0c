"""A delta's payload taken apart for a person: each run with its place in the payload and in the page.

This is for single deltas. `deltas` decodes whole batches without listing runs.
"""

from dataclasses import dataclass

import numpy as np
from construct import GreedyRange, RawCopy

from xbrletools.formats import xbrle, xbzrle
from xbrletools.formats.dialects import Encoding

from . import deltas, rle
from .batches import Bytes
from .layout import dtype_of


@dataclass(frozen=True, slots=True)
class Run:
    """One run: ``length`` bytes of the page from ``start``, made by ``size`` bytes of the payload from ``offset``.

    ``offset`` is None in the doubled codings, whose runs share bytes. ``value`` is the byte of old XOR new that the run
    repeats. In XBZRLE it is the new bytes themselves. It is empty for a run of bytes that stay as they are.
    """

    start: int
    length: int
    offset: int | None
    size: int
    value: bytes


def runs(encoding: Encoding, payload: Bytes, page_size: int) -> list[Run]:
    """The runs of a payload, (length,) uint8, in order, as far as the payload can be read."""
    if encoding is Encoding.RLE:
        return _pairs(payload)
    if encoding is Encoding.ZRUN:
        return _zruns(payload.tobytes())
    return _equal(encoding, payload, page_size)


def _pairs(payload: Bytes) -> list[Run]:
    pair = dtype_of(xbrle.Pair)
    pairs = payload[: len(payload) // pair.itemsize * pair.itemsize].view(pair)
    ends = np.cumsum(pairs["run"], dtype=np.int64).tolist()
    out, start = [], 0
    for i, (end, value) in enumerate(zip(ends, pairs["byte"].tolist(), strict=True)):
        out.append(Run(start, end - start, i * pair.itemsize, pair.itemsize, bytes([value]) if value else b""))
        start = end
    return out


def runs_of_zruns(payload: bytes) -> list[tuple[int, int, int]]:
    """The runs of an XBZRLE payload as the grammar has them: the offset of each in it, and its literals in the page.

    The literals are given by the byte of the page at which they begin, and how many they are.
    """
    out, start = [], 0
    for item in GreedyRange(RawCopy(xbzrle.Run)).parse(payload):
        start += item.value.zrun
        out.append((int(item.offset1), start, int(item.value.nzrun)))
        start += item.value.nzrun
    return out


def _zruns(payload: bytes) -> list[Run]:
    out, start = [], 0
    for item in GreedyRange(RawCopy(xbzrle.Run)).parse(payload):
        run, begin = item.value, item.offset1
        if run.zrun:
            literal = item.offset2 - len(run.data)
            out.append(Run(start, run.zrun, begin, literal - begin, b""))
            begin = literal
        start += run.zrun
        out.append(Run(start, run.nzrun, begin, item.offset2 - begin, run.data))
        start += run.nzrun
    return out


def _equal(encoding: Encoding, payload: Bytes, page_size: int) -> list[Run]:
    """The runs of equal bytes in what the payload decodes to. None are given where it does not decode."""
    page = np.zeros((1, page_size), np.uint8)
    zero, length = np.zeros(1, np.int64), np.array([len(payload)], np.int64)
    if deltas.apply(encoding, payload, zero, length, page)[0]:
        return []
    starts, values = rle.find(np.zeros_like(page), page)
    ends = [*starts[1:].tolist(), page_size]
    return [
        Run(start, end - start, None, 0, bytes([value]) if value else b"")
        for start, end, value in zip(starts.tolist(), ends, values.tolist(), strict=True)
    ]
