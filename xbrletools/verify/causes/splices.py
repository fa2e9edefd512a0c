"""Spliced and missing records: from one point on, what comes rests on what is not there.

Deltas over bases from before the point fail, or the sender's choices change: with a large cache a PAGE of a cached page
that a delta could have carried never occurs.
"""

import math
from dataclasses import replace

import numpy as np

from ..cause import CauseName, Repair
from .case import Candidate, Case
from .grid import BUFFER, Shift, fits
from .room import MOST, lost
from .spans import hole_fits, in_other_block, soon

_MANY = 10  # deltas over bases from before that fail, while none holds
_SOME = 3
_LEAST = 20  # PAGEs of cached pages that a sender's choices are judged by
_ELSEWHERE = 0.3  # the weight of records of elsewhere, beside missing ones
_DENIED = 6  # how many times as likely records of elsewhere leave out pages whose bytes are not missing
_FALLS = 5e-4  # share of the weight under which a hypothesis falls
_LOG = math.log(MOST)
_SECTION_LEAST = 64  # bytes of a section with records
_RARE = 0.03  # how often a section without records is the same as the one before it
_RECORD_LEAST = 42  # bytes of a delta with its header


def is_foreign(choices: tuple[int, int, int, int]) -> bool:
    """Whether the sender's choices change at a point, from almost never to often, or back."""
    odd, total, odd_after, total_after = choices
    rises = total >= _LEAST and odd <= 0.02 * total and odd_after >= _SOME and odd_after >= 0.2 * total_after
    falls = total_after >= _LEAST and odd_after <= 0.02 * total_after and odd >= _SOME and odd >= 0.2 * total
    return rises or falls


def mass(case: Case) -> list[Candidate]:
    """Records of elsewhere from one point on: most deltas over bases from before it fail."""
    shift, walk = case.grid.shift, case.order
    first = case.sums.first
    if len(first) < 4 and shift is None and len(walk.holes) < _MANY:
        case.falls(CauseName.SPLICED, "deltas over bases from before any point hold")
        return []
    points = first[:1].tolist() + [int(case.chains.carriers[p]) for p, due in walk.holes[:1] if walk.pages[p] > due]
    if shift is not None and shift.after >= 0:
        points.append(shift.after + 1)
    row = min(points or [0])
    holds, fails = case.crossing(row, None if shift is None else shift.before)
    choices = case.foreign(row)
    said = f"{holds} deltas over bases from before it hold, {fails} fail"
    offset = int(case.read.rows.offset[row])
    if is_foreign(choices) and case.turns(row) and (holds < _SOME or fails > 4 * holds):
        why = f"from {offset:#x} on the sender chooses otherwise; {said}"
        missing = Candidate(CauseName.RECORDS_MISSING, 0.05, why, row, offset, onward=offset)
        return [Candidate(CauseName.SPLICED, 1, why, row, offset, onward=offset), missing]
    if fails >= _SOME and fails > 4 * holds:
        few = shift is not None and shift.low < 0 and -shift.low >= _RECORD_LEAST * fails
        weight = 0.93 if holds == 0 and fails >= _MANY and not few else 0.4 if few else 0.7
        return [
            Candidate(CauseName.SPLICED, weight, f"from {offset:#x} on {said}", row, offset, onward=offset),
            Candidate(CauseName.RECORDS_MISSING, 1 - weight, f"from {offset:#x} on {said}", row, offset, onward=offset),
        ]
    if len(walk.holes) >= _MANY and not case.swaps:
        why = f"{len(walk.holes)} first sends leave pages out"
        return [
            Candidate(CauseName.SPLICED, 0.92, why, row, offset, onward=offset),
            Candidate(CauseName.RECORDS_MISSING, 0.08, why, row, offset, onward=offset),
        ]
    case.falls(CauseName.SPLICED, f"deltas over bases from before the point hold: {said}")
    return []


def missing_first_sends(case: Case) -> list[Candidate]:
    """Records missing in the first sweep: first sends leave pages out, and the grid misses their bytes."""
    walk = case.order
    if not walk.holes:
        return []
    place, due = walk.holes[0]
    page = int(walk.pages[place])
    row = int(case.chains.carriers[place])
    offset = int(case.read.rows.offset[row])
    crossing = case.crossing(row)
    if page <= due:
        return []
    why = f"the first sends leave out {page - due} pages before {offset:#x}"
    if soon(walk, place, due, page):
        return [
            Candidate(CauseName.RECORDS_REORDERED, 0.8, f"{why}, most of which come soon after", row, offset),
            Candidate(CauseName.SPLICED, 0.2, why, row, offset, onward=offset),
        ]
    if len(walk.odd):
        return []
    if in_other_block(case, due, page, place):
        why += ", and records at their addresses in another block stand nearby"
        return [
            Candidate(CauseName.RECORDS_REORDERED, 0.8, why, row, offset),
            Candidate(CauseName.RECORDS_MISSING, 0.2, why, row, offset, onward=offset),
        ]
    missing = Candidate(CauseName.RECORDS_MISSING, 1, why, row, offset, onward=offset)
    fit = hole_fits(case, due, page, place)
    if fit == 0:
        why += ", and the grid does not miss their bytes"
        added = case.grid.added(row)
        names = [CauseName.BYTES_MISSING] * (added is not None and added[1] < 0)
        names += [CauseName.SPLICED] * (crossing[0] < _SOME) + [CauseName.RECORDS_REORDERED, CauseName.RECORDS_MISSING]
        weights = [_DENIED if name is CauseName.SPLICED else 1 for name in names]
        return [Candidate(n, w, why, row, offset, onward=offset) for n, w in zip(names, weights, strict=True)]
    more = [p for p, _ in walk.holes[1:] if not due <= walk.pages[p] < page]  # beside those that are sent later
    if more:
        why += f", and {len(more)} more holes follow"
        return [missing, Candidate(CauseName.SPLICED, 1.0 if fit is None else fit, why, row, offset, onward=offset)]
    if crossing[0] >= _SOME:
        case.falls(CauseName.SPLICED, f"{crossing[0]} deltas over bases from before the hole hold")
        return [missing]
    elsewhere = _ELSEWHERE / max(1, len(case.read.space))
    if fit is not None:
        elsewhere *= fit
    weight = 0.0 if fit == 0 else 1 / (page - due) / _LOG
    if elsewhere < _FALLS * weight:
        case.falls(CauseName.SPLICED, "the first sends go on right behind the hole")
        return [missing]
    return [replace(missing, weight=weight), Candidate(CauseName.SPLICED, elsewhere, why, row, offset, onward=offset)]


def shifted(case: Case) -> list[Candidate]:
    """The grid moves without a hole in the first sends: bytes of whole records are missing between two PARTs."""
    shift = case.grid.shift
    if shift is None:
        return []
    rows = case.read.rows
    low = int(rows.offset[shift.after]) if shift.after >= 0 else 0
    high = int(rows.offset[shift.before])
    holds, fails = case.crossing(max(shift.after, 0) + 1, shift.before)
    why = f"between {low:#x} and {high:#x} the grid of 32 KiB has moved by {shift.low} to {shift.high} bytes"
    row = max(shift.after, 0)
    missing = Candidate(CauseName.RECORDS_MISSING, 1, why, row, low, onward=low)
    twice = _section_twice(case, shift)
    if twice is not None:
        return twice
    case.falls(CauseName.RECORDS_REPEATED, "no span of records and no section is the same as the one before it")
    if holds >= _SOME:
        case.falls(CauseName.SPLICED, f"{holds} deltas over bases from before hold, {fails} fail")
        return [missing]
    said = f"{why}; only {holds} deltas over bases from before hold, {fails} fail"
    chance = _ELSEWHERE * min(1.0, (shift.high - shift.low + 1) / BUFFER)
    return [
        replace(missing, weight=lost(case.read, shift.low, shift.high), why=said),
        Candidate(CauseName.SPLICED, chance, said, row, low, onward=low),
    ]


def _section_twice(case: Case, shift: Shift) -> list[Candidate] | None:
    """A section that repeats the one right before it, of as many bytes as the grid has moved by. None for none."""
    read, rows = case.read, case.read.rows
    low, high = int(rows.offset[max(shift.after, 0)]), int(rows.offset[shift.before])
    for section in read.stream.sections:
        end = section.end
        size = 0 if end is None else end - section.offset
        if end is None or not low <= section.offset <= high or not fits(shift.low, shift.high, size):
            continue
        if not 0 < size <= section.offset or not np.array_equal(
            read.data[end - size : end], read.data[end - 2 * size : end - size]
        ):
            continue
        why = f"the {size} bytes from {section.offset:#x} on, a section, are the same as those before them"
        repair = Repair(section.offset, size, b"", f"{why}: left out")
        row = int(np.searchsorted(rows.offset.astype(np.int64), section.offset))
        there = Candidate(CauseName.RECORDS_REPEATED, 1, why, row, section.offset, None, repair)
        if size >= _SECTION_LEAST:
            return [there]
        why = f"{why}; a loss of records can move the grid by as much"
        return [replace(there, repair=None), replace(there, name=CauseName.RECORDS_MISSING, weight=_RARE, why=why)]
    return None
