"""Where a delta that does not come to one page goes wrong: the run, its place, and what should stand there.

This is for single deltas. `deltas` says of whole batches which ones are wrong.
"""

from typing import NamedTuple

import numpy as np

from xbrletools.formats.dialects import Encoding
from xbrletools.formats.xbzrle import ULEB_BITS, ULEB_BYTES_MAX, ULEB_MORE

from . import doubled
from .batches import Bytes, Ints


class Fault(NamedTuple):
    """The first run that is wrong, counted from 0 as `runs` gives them, and its offset ``at`` in the payload, in bytes.

    ``found`` says what stands there, ``expected`` what should.
    """

    run: int
    at: int
    found: str
    expected: str


def fault(encoding: Encoding, payload: Bytes, page_size: int) -> Fault | None:
    """The first fault of a payload, (length,) uint8, or None where it comes to one page of ``page_size`` bytes."""
    if encoding is Encoding.ZRUN:
        return _of_zruns(payload.tobytes(), page_size)
    if encoding is Encoding.RLE:
        runs = payload[: len(payload) // 2 * 2 : 2].astype(np.int64)
        return _of_lengths(runs, np.arange(len(runs)) * 2, len(payload), page_size)
    units, at, cut = doubled.units(encoding, payload)
    if cut is not None:
        return Fault(len(units), cut, "a doubled byte, and the payload ends", "the count that follows it")
    return _of_lengths(units, at, len(payload), page_size)


def _of_lengths(lengths: Ints, at: Ints, size: int, page_size: int) -> Fault | None:
    """The fault of runs whose lengths have to add up. ``at`` are their offsets in a payload of ``size`` bytes."""
    ends = np.cumsum(lengths)
    over = np.flatnonzero(ends > page_size)
    if len(over):
        run = int(over[0])
        begin = int(ends[run] - lengths[run])
        found = f"a run of {int(lengths[run])} bytes from byte {begin} of the page on"
        return Fault(run, int(at[run]), found, f"at most {page_size - begin} bytes, to the page's end")
    total = int(ends[-1]) if len(ends) else 0
    if total < page_size:
        return Fault(len(lengths), size, f"the end, after runs of {total} bytes", f"runs of {page_size - total} bytes")
    return None


def _of_zruns(payload: bytes, page_size: int) -> Fault | None:
    at = place = run = 0
    while at < len(payload):
        for name in ("zrun", "nzrun"):
            number, after = _number(payload, at)
            if after > len(payload):
                return Fault(run, at, f"the payload's end, in run {run}", f"{name}, a number of 1 or 2 bytes")
            if number < 0:
                found = f"{name} of more than {ULEB_BYTES_MAX} bytes ({payload[at : at + 3].hex(' ')})"
                return Fault(run, at, found, "a number of 1 or 2 bytes")
            if not number and (run or name == "nzrun"):
                return Fault(run, at, f"{name} = 0", "1 or more, but for the first zrun")
            if place + number > page_size:
                found = f"{name} = {number} from byte {place} of the page on"
                return Fault(run, at, found, f"at most {page_size - place}, to the page's end")
            place, at = place + number, after
        if at + number > len(payload):
            return Fault(run, at, f"{len(payload) - at} bytes to the payload's end", f"the run's {number} bytes")
        at, run = at + number, run + 1
    return None


def _number(payload: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, and where it ends: past the payload if that ends first. It is -1 if it is too long."""
    number = 0
    for i in range(ULEB_BYTES_MAX):
        if at + i >= len(payload):
            return 0, len(payload) + 1
        byte = payload[at + i]
        number |= (byte & ULEB_MORE - 1) << ULEB_BITS * i
        if not byte & ULEB_MORE:
            return number, at + i + 1
    return -1, at + ULEB_BYTES_MAX
