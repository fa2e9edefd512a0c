"""Single bits that keep the framing: of a stated sum, a delta's value, a PAGE's byte, a dup page's fill.

Sums are linear: a flipped bit stays in the page as one mask until its next full record, so each later sum of the chain
is one equation on it. All bits of a payload are tried at once, by prefix sums over each bit plane. A kind of field
weighs as much as the share of its bits that fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codec.layout import dtype_of
from ...formats.ram import Kind
from ...formats.xbrle import RUN_MAX, Pair
from ...table.kinds import IS_DELTA
from ..cause import CauseName, Repair
from .case import Candidate, Case
from .chains import Bytes, Chains, Reads, Step
from .reading import Ints

_PAIR = Pair.sizeof()
_CHANGES = ((np.arange(1, 256)[:, None] >> np.arange(8)) & 1).astype(
    float
)  # which bits each change of a byte flips, (255, 8)
_RARE = 0.03  # of changed bytes: those that change a sum as one bit does
_SUM_BITS = 32  # of a stated sum
_NEEDS = 2000  # numbers by which some bytes written over others can change a sum
_BACK_MAX = 40  # records before a failing one that can hold the bit
_CHAINS_TRIED = 60  # chains that show what a loss would change
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
    return out + _overwritten(case, after, out, offset=int(case.read.rows.offset[row]))


def _overwritten(case: Case, after: list[Step], out: list[Candidate], offset: int) -> list[Candidate]:
    """Bytes written over others can look as one bit does, unless later sums that hold leave the stated sum alone."""
    alone = len(out) == 1 and out[0].name is CauseName.CHECKSUM_FIELD and any(s.speaks for s in after[1:])
    weight = sum(c.weight for c in out)
    if not out or alone:
        return []
    needs = {s.need for s in after if s.reads is Reads.FAILS}
    rare = _RARE ** max(1, len(needs))
    why = "bytes written over others can change the sums as one bit does"
    return [Candidate(CauseName.BYTES_OVERWRITTEN, rare * weight, why, out[0].row, offset)]


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
    repair = Repair(offset, 1, new, why) if later else None  # with one sum alone a bit of a page does the same
    weight = 1 / _SUM_BITS / _count(case, Kind.XBRLE)
    return [Candidate(CauseName.CHECKSUM_FIELD, weight, why, step.row, offset, bit % 8, repair, explains)]


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
    """The values of this delta, or of one before it whose own sum and those between are not stated or hold."""
    chains = case.chains
    bits: list[tuple[int, int, int]] = []
    bytes_, weight = 0, 0.0
    steps = before + after[:1]
    for place in range(len(steps) - 1, max(-1, len(steps) - 1 - _BACK_MAX), -1):
        row = steps[place].row
        if chains.is_full(row):
            break
        if not chains.is_delta(row):
            continue
        between = [s for s in steps[place:-1] if s.speaks]
        if any(s.reads is Reads.FAILS for s in between):
            continue
        fits = value_changes(chains, row, equations[:1] + between + equations[1:])  # the one that fails first
        single = [(row, at, change.bit_length() - 1) for at, change in fits if change.bit_count() == 1]
        likely = sum(chains.likelier(at, 1 << bit) for _, at, bit in single)
        weight += likely / (8 * max(1, int(case.read.rows.length[row]) // _PAIR)) / _count(case, Kind.XBRLE)
        bits += single
        bytes_ += len(fits) - len(single)
    if not bits:
        case.falls(CauseName.PAYLOAD_VALUE, "no single bit of a value makes all sums of the page hold")
        return []
    row, offset, bit = bits[0]
    why = f"one bit of a value, of {len(bits)} that fit, makes all {len(equations)} sums of the page hold"
    if len(bits) > 1 or bytes_:
        return [Candidate(CauseName.PAYLOAD_VALUE, weight, why, row, explains=explains)]
    repair = Repair(offset, 1, bytes([int(case.read.data[offset]) ^ 1 << bit]), f"{why}, and no other byte does")
    return [Candidate(CauseName.PAYLOAD_VALUE, weight, why, row, offset, bit, repair, explains)]


def _count(case: Case, kind: Kind) -> int:
    """How many records of a kind there are."""
    return max(1, int(np.count_nonzero(case.read.rows.kind == kind)))


def plane(pages: Bytes, bit: int) -> Ints:
    """What flipping ``bit`` of each byte adds to a page's sum, as an array of the pages' shape, int64."""
    return np.where((pages >> bit) & 1, -1, 1).astype(np.int64) << bit


def value_changes(chains: Chains, row: int, equations: list[Step]) -> list[tuple[int, int]]:
    """What one byte of a delta's values can be XORed with so that all these sums hold: (offset, change)."""
    start, end = chains.span(row)
    payload = chains.read.data[start:end]
    runs = payload[::_PAIR].astype(np.int64)[: len(payload) // _PAIR]
    high = np.cumsum(runs)
    use = [s for s in equations[:_EQUATIONS_MAX] if s.page is not None]
    if not len(high) or high[-1] != chains.read.page_size:
        return []
    changes, which = np.nonzero(np.ones((len(_CHANGES), len(runs)), bool))
    for place, step in enumerate(use):
        assert step.page is not None
        gains = np.empty((8, len(runs)))  # of each bit of each value, in this sum
        for bit in range(8):
            sums = np.append(0, np.cumsum(plane(step.page, bit)))
            gains[bit] = sums[high] - sums[high - runs]
        if place == 0:
            changes, which = np.nonzero(_CHANGES @ gains == step.need)
        else:
            stays = (_CHANGES[changes] * gains[:, which].T).sum(axis=1) == step.need
            changes, which = changes[stays], which[stays]
        if not len(changes):
            return []
    differs = np.stack([_differs(payload, bit) for bit in range(8)])
    single = _CHANGES.sum(axis=1)[changes] == 1
    stays = ~single | differs[np.log2(changes + 1).astype(np.int64), which]
    return [(start + _PAIR * int(k) + 1, int(c) + 1) for c, k in zip(changes[stays], which[stays], strict=True)]


def _differs(payload: Bytes, bit: int) -> NDArray[np.bool_]:
    """Of which values the flipped one still differs from its neighbours', as encoders write them, (n,) bool.

    Where a payload is not written so in any other place, all pass.
    """
    runs, values = payload[::_PAIR][: len(payload) // _PAIR], payload[1::_PAIR]
    same = (values[1:] == values[:-1]) & (runs[:-1] != RUN_MAX)
    if np.count_nonzero(same) > 2:
        return np.ones(len(values), bool)
    flipped = values ^ np.uint8(1 << bit)
    differs = np.ones(len(values), bool)
    differs[1:] &= (flipped[1:] != values[:-1]) | (runs[:-1] == RUN_MAX)
    differs[:-1] &= (flipped[:-1] != values[1:]) | (runs[:-1] == RUN_MAX)
    return differs


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
    count, bits = content_bits(case, base.row, equations), 8 * int(rows.length[base.row])
    if not count:
        case.falls(CauseName.PAGE_CONTENT, "no single bit of the page that the delta rests on makes the sums hold")
        return []
    why = f"one bit of the page's last full record, of {count} that fit, makes all {len(equations)} sums hold"
    offset = chains.span(base.row)[0]
    weight = count / bits / _count(case, Kind(int(rows.kind[base.row])))
    return [Candidate(CauseName.PAGE_CONTENT, weight, why, base.row, offset, None, None, explains)]


def content_bits(case: Case, row: int, equations: list[Step]) -> int:
    """How many single bits of a full record make all these sums hold."""
    pages = np.stack([s.page for s in equations if s.page is not None])
    needs = np.array([s.need for s in equations if s.page is not None], np.int64)
    if case.read.rows.kind[row] == Kind.PAGE:
        return sum(int((plane(pages, bit) == needs[:, None]).all(axis=0).sum()) for bit in range(8))
    return sum(int((plane(pages, bit).sum(axis=1) == needs).all()) for bit in range(8))


def missing_weight(case: Case, row: int) -> float:
    """How much speaks for a missing delta before ``row``: how often a loss would change a sum by as much.

    Only deltas whose size the grid allows count.
    """
    chains = case.chains
    _, after = segment(chains, int(case.read.page[row]), row)
    needs = np.array(_needs_of_losses(chains), np.int64)
    alike = (np.count_nonzero(needs == after[0].need) + 0.05) / (len(needs) + 1)
    return float(alike * loss_fits(case, row) / max(1, len(chains.carriers)))


def overwritten_weight(case: Case, row: int) -> float:
    """How much speaks for bytes written over others, where no single bit makes the sums of a chain hold.

    That is a byte of this delta's values, or some bytes of the full record before it, if no sum between vouches for it.
    """
    chains, rows = case.chains, case.read.rows
    before, after = segment(chains, int(case.read.page[row]), row)
    weight = 0.0
    if chains.is_xor and case.read.grammar.reading.dialect is not None and chains.is_delta(row):
        fits = value_changes(chains, row, [s for s in after if s.speaks])
        changes = len(_CHANGES) * max(1, int(rows.length[row]) // _PAIR)
        weight += sum(chains.likelier(at, change) for at, change in fits) / changes / _count(case, Kind.XBRLE)
    base = next((i for i, s in reversed(list(enumerate(before))) if chains.is_full(s.row)), None)
    if base is not None and not any(s.reads is Reads.HOLDS for s in before[base:]):
        weight += 1 / _NEEDS / _count(case, Kind(int(rows.kind[before[base].row])))
    return weight


def loss_fits(case: Case, row: int) -> float:
    """The share of the deltas whose size the grid allows to be missing before ``row``."""
    rows, added = case.read.rows, case.grid.added(row)
    deltas = np.flatnonzero(IS_DELTA[rows.kind])
    sizes = rows.head[deltas].astype(np.int64) + rows.length[deltas]
    return 1.0 if added is None else float(np.mean((-sizes >= added[0]) & (-sizes <= added[1])))


def _needs_of_losses(chains: Chains) -> list[int]:
    """What the next sum would lack if one delta were lost, for deltas of some pages that hold."""
    needs: list[int] = []
    if not chains.is_xor:
        return needs
    order_, first, end = chains.spans
    long = np.flatnonzero(end - first >= 3)
    for place in long[:: max(1, len(long) // _CHAINS_TRIED)].tolist():
        steps = chains.replay(order_[first[place] : end[place]][:_EQUATIONS_MAX])
        for before, lost, step in zip(steps, steps[1:], steps[2:], strict=False):
            if lost.reads is not Reads.HOLDS or step.reads is not Reads.HOLDS or before.page is None:
                continue
            mask = chains.mask(step.row) if chains.is_delta(step.row) else None
            if mask is not None and chains.is_delta(lost.row) and step.page is not None:
                needs.append(int(step.page.sum(dtype=np.int64)) - int((before.page ^ mask).sum(dtype=np.int64)))
    return needs
