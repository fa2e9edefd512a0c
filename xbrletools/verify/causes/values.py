"""Single bits that keep the framing: of a stated sum, a delta's value, a PAGE's byte, a dup page's fill.

Sums are linear: a flipped bit stays in the page as one mask until its next full record, so each later sum of the chain
is one equation on it. All bits of a payload are tried at once, by prefix sums over each bit plane. A kind of field
weighs as much as the share of its bits that fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...codec.layout import dtype_of
from ...formats.ram import Kind
from ...formats.xbrle import Pair
from ..cause import CauseName, Repair
from .case import Candidate, Case
from .chains import Bytes, Chains, Reads, Step
from .reading import Ints

_PAIR = Pair.sizeof()
_SUM_BITS = 32  # of a stated sum
_BACK_MAX = 40  # records before a failing one that can hold the bit
_EQUATIONS_MAX = 24  # sums that a bit is held against


def segment(chains: Chains, page: int, row: int) -> tuple[list[Step], list[Step]]:
    """The steps of a chain from its last full record before ``row`` to the one after it: before row, and from it on."""
    rows = chains.of(page)
    place = int(np.searchsorted(rows, row))
    start = place
    while start > 0 and not chains.is_full(int(rows[start])) and place - start < _BACK_MAX:
        start -= 1
    end = place + 1
    while end < len(rows) and not chains.is_full(int(rows[end])) and end - place < _EQUATIONS_MAX:
        end += 1
    base = None if chains.is_full(int(rows[start])) else chains.base_of(page, int(rows[start]))
    steps = chains.replay(rows[start:end], base)
    return steps[: place - start], steps[place - start :]


def candidates(case: Case, row: int) -> list[Candidate]:
    """The single bits that make every sum of a chain hold which first fails at ``row``."""
    chains = case.chains
    page = int(case.read.page[row])
    before, after = segment(chains, page, row)
    equations = [s for s in after if s.reads is Reads.FAILS or s.reads is Reads.HOLDS]
    if not equations or after[0].reads is not Reads.FAILS:
        return []
    explains = tuple(s.row for s in after if s.reads is Reads.FAILS)
    out = _sum_field(case, after, explains)
    if chains.is_xor and case.read.grammar.reading.dialect is not None:
        out += _values(case, before, after, equations, explains)
    out += _content(case, before, equations, explains)
    return out


def _sum_field(case: Case, after: list[Step], explains: tuple[int, ...]) -> list[Candidate]:
    """The stated sum itself, where every later delta of the page holds."""
    later = [s for s in after[1:] if s.speaks]
    step = after[0]
    if any(s.reads is Reads.FAILS for s in later):
        case.falls(CauseName.CHECKSUM_FIELD, "later deltas of the page fail too, and they do not depend on the field")
        return []
    assert step.page is not None
    held = int(case.read.rows.checksum[step.row])
    stated = int(case.chains.sums[step.row])
    own = int(step.page.sum(dtype=np.int64)) & 0xFFFFFFFF
    wrong = (stated ^ own) & 0xFFFFFFFF
    at, is_little = _field(case, step.row, "checksum")
    if wrong.bit_count() != 1:
        if not later:
            case.falls(CauseName.CHECKSUM_FIELD, "the stated sum is more than one bit from the page's own")
            return []
        why = f"the stated sum is wrong in {wrong.bit_count()} bits, and the {len(later)} later deltas of the page hold"
        return [Candidate(CauseName.BYTES_OVERWRITTEN, 1, why, step.row, at, None, None, explains)]
    bit = wrong.bit_length() - 1
    offset = at + (bit // 8 if is_little else 3 - bit // 8)
    held ^= wrong
    new = bytes([held >> 8 * (bit // 8) & 0xFF])
    why = f"one bit of the stated sum, and {len(later)} later deltas of the page hold"
    return [
        Candidate(CauseName.CHECKSUM_FIELD, 1, why, step.row, offset, bit % 8, Repair(offset, 1, new, why), explains)
    ]


def _field(case: Case, row: int, name: str) -> tuple[int, bool]:
    """Where a field of a delta's header stands in the capture, and whether its low byte comes first."""
    reading = case.read.grammar.reading
    assert reading.dialect is not None
    header = dtype_of(reading.dialect.header(reading.endian))
    fields: Mapping[str, Any] = header.fields or {}
    dtype, start = fields[name][:2]
    little = dtype.newbyteorder("<") == dtype
    return case.chains.span(row)[0] - header.itemsize + int(start), little


def _values(
    case: Case, before: list[Step], after: list[Step], equations: list[Step], explains: tuple[int, ...]
) -> list[Candidate]:
    """The bits of values of this delta, or of one before it whose own sum and those between are not stated or hold."""
    chains = case.chains
    found: list[tuple[int, int, int]] = []
    bits = 0
    steps = before + after[:1]
    for place in range(len(steps) - 1, max(-1, len(steps) - 1 - _BACK_MAX), -1):
        row = steps[place].row
        if chains.is_full(row):
            break
        if not chains.is_delta(row):
            continue
        between = [s for s in steps[place:-1] if s.speaks]
        if place < len(steps) - 1 and any(s.reads is Reads.FAILS for s in between):
            continue
        found += value_bits(chains, row, between + equations)
        bits += 8 * (int(case.read.rows.length[row]) // _PAIR)
    if not found:
        case.falls(CauseName.PAYLOAD_VALUE, "no single bit of a value makes all sums of the page hold")
        return []
    row, offset, bit = found[0]
    why = f"one bit of a value, of {len(found)} that fit, makes all {len(equations)} sums of the page hold"
    repair = _flip(case, offset, bit, why) if len(found) == 1 else None
    return [
        Candidate(
            CauseName.PAYLOAD_VALUE,
            len(found),
            why,
            row,
            offset if repair else None,
            bit if repair else None,
            repair,
            explains,
        )
    ]


def _flip(case: Case, offset: int, bit: int, why: str) -> Repair:
    return Repair(offset, 1, bytes([int(case.read.data[offset]) ^ 1 << bit]), why)


def plane(pages: Bytes, bit: int) -> Ints:
    """What flipping ``bit`` of each byte adds to a page's sum, (n, page_size) int64."""
    return np.where((pages >> bit) & 1, -1, 1).astype(np.int64) << bit


def value_bits(chains: Chains, row: int, equations: list[Step]) -> list[tuple[int, int, int]]:
    """The bits of a delta's values whose flip makes all these sums hold: (row, offset, bit)."""
    start, end = chains.span(row)
    payload = chains.read.data[start:end]
    use = [s for s in equations[:_EQUATIONS_MAX] if s.page is not None]
    pages = np.stack([s.page for s in use])  # type: ignore[misc]
    needs = np.array([s.need for s in use], np.int64)
    found = []
    for bit in range(8):
        sums = np.zeros((len(use), pages.shape[1] + 1), np.int64)
        np.cumsum(plane(pages, bit), axis=1, out=sums[:, 1:])
        for place, low, high in _stretches(chains, payload):
            hit = (sums[:, high] - sums[:, low] == needs[:, None]).all(axis=0)
            found += [(row, start + int(p), bit) for p in place[hit]]
    return found


def _stretches(chains: Chains, payload: Bytes) -> list[tuple[Ints, Ints, Ints]]:
    """The values of a payload of pairs: where each stands, and the bytes [low, high) of the page that it changes."""
    runs = payload[::_PAIR].astype(np.int64)[: len(payload) // _PAIR]
    high = np.cumsum(runs)
    if not len(high) or high[-1] != chains.read.page_size:
        return []
    return [(_PAIR * np.arange(len(runs)) + 1, high - runs, high)]


def _content(case: Case, before: list[Step], equations: list[Step], explains: tuple[int, ...]) -> list[Candidate]:
    """The bits of the full record that the chain rests on, where no sum between vouches for it."""
    chains, rows = case.chains, case.read.rows
    base = next((s for s in reversed(before) if chains.is_full(s.row)), None)
    if base is None:
        return []
    place = before.index(base)
    if any(s.reads is Reads.HOLDS for s in before[place:]):
        case.falls(CauseName.PAGE_CONTENT, "a sum between the page and the failing delta holds")
        return []
    pages = np.stack([s.page for s in equations if s.page is not None])
    needs = np.array([s.need for s in equations], np.int64)
    count, bits = 0, 8 * int(rows.length[base.row])
    for bit in range(8):
        gains = plane(pages, bit)
        if rows.kind[base.row] == Kind.PAGE:
            count += int((gains == needs[:, None]).all(axis=0).sum())
        else:
            count += int((gains.sum(axis=1) == needs).all())
    if not count:
        case.falls(CauseName.PAGE_CONTENT, "no single bit of the page that the delta rests on makes the sums hold")
        return []
    why = f"one bit of the page's last full record, of {count} that fit, makes all {len(equations)} sums hold"
    offset = chains.span(base.row)[0]
    return [Candidate(CauseName.PAGE_CONTENT, count / bits, why, base.row, offset, None, None, explains)]
