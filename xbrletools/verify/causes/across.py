"""Neighbouring spans that changed places where the block changes.

A record that names no block is of the block of the record before it. So where one of two spans names a block, the
other, or what follows, is read as of another block once they have changed places, and the order of its pages does not
show it. The sums do: they hold in the other order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ...formats.ram import Flag
from ..cause import CauseName, Repair
from . import order
from .case import Candidate, Case
from .reading import Ints

SPAN_MAX = 128  # records of a span, at most
_BEFORE = 16  # records before the first that a sum speaks against, at which its span can begin
_LOOKED = 4096  # exchanges whose pages are looked at
_COMPARED = 64  # those of them whose sums are compared
_WALKED = 1 << 25  # records of walks that are looked at whole, at most
_LEAST = 2  # chains that fail, from which on their sums hold by no chance

Exchange = tuple[int, int, int]  # spans [low, middle) and [middle, high), as places in a `_Near`


@dataclass(frozen=True, slots=True)
class _Near:
    """Carriers near a sum that fails, from place ``first`` on.

    ``inside`` (n,) are their pages' places in a block, ``named`` (n,) the blocks that they name, or -1, ``begins`` the
    first page of each block, and ``block`` is the block before them. ``suspect`` is the place of the failing sum here.
    """

    first: int
    suspect: int
    inside: Ints
    named: Ints
    begins: Ints
    block: int

    def blocks(self, places: Ints, block: int) -> Ints:
        """The blocks of the carriers at ``places`` here, in that order, behind a record of ``block``."""
        named = self.named[places]
        last = np.maximum.accumulate(np.where(named >= 0, np.arange(len(places)), -1))
        return np.where(last >= 0, named[last], block)

    def pages(self, places: Ints) -> Ints:
        """The pages of the carriers at ``places`` here, in that order, from the first carrier on."""
        return np.asarray(self.begins[self.blocks(places, self.block)] + self.inside[places])


def exchanged(case: Case) -> list[Candidate]:
    """Two neighbouring spans of which one names a block, and with which in the other order every sum holds."""
    first = case.sums.first
    if len(first) < _LEAST or case.grid.shift is not None or case.read.grammar.flat:
        return []
    near = _near(case, case.place(int(first[0])))
    wrong = set(case.read.page[first].tolist())
    if len(wrong) > 2 * len(near.inside):
        return []
    fit: list[Exchange] = []
    compared, walked = 0, 0
    for exchange in islice(_exchanges(case, near), _LOOKED):
        places = _order(near, exchange)
        if not _rises(near, places):
            continue
        changes = _changes(case, near, places)
        if not wrong <= changes.keys():
            continue
        walked += len(case.order.pages)
        if _in_order(case, near, places):
            compared += 1
            fit += [exchange] * _holds(case, changes)
        if compared >= _COMPARED or walked >= _WALKED:
            return [replace(_candidate(case, near, fit), repair=None)] if fit else []  # others can fit as well
    return [_candidate(case, near, fit)] if fit else []


def can_be(case: Case, row: int) -> bool:
    """Whether a block is named near a row, so that records that changed places there can be read as of another."""
    if case.read.grammar.flat:
        return False
    near = _near(case, case.place(row))
    return bool((near.named[max(0, near.suspect - SPAN_MAX) : near.suspect + SPAN_MAX] >= 0).any())


def _near(case: Case, place: int) -> _Near:
    read, chains = case.read, case.chains
    first = max(1, place - SPAN_MAX - _BEFORE)
    rows = chains.carriers[first : place + 2 * SPAN_MAX]
    block = read.rows.block[rows].astype(np.int64)
    begins = read.space.first.astype(np.int64)
    is_named = (read.rows.flags[rows] & int(Flag.CONTINUE)) == 0
    before = int(read.rows.block[chains.carriers[first - 1]]) if place else 0
    return _Near(first, place - first, read.page[rows] - begins[block], np.where(is_named, block, -1), begins, before)


def _order(near: _Near, exchange: Exchange) -> Ints:
    """The places of all carriers in the order before the exchange."""
    low, middle, high = exchange
    count = np.arange(len(near.inside))
    return np.concatenate([count[:low], count[middle:high], count[low:middle], count[high:]])


def _exchanges(case: Case, near: _Near) -> Iterator[Exchange]:
    """Exchanges after which pages rise where spans meet, or the next sweep begins in a block before, and that can
    change the block of the suspect.
    """
    count = len(near.inside)
    blocks = near.blocks(np.arange(count), near.block)
    pages = near.begins[blocks] + near.inside
    begun = range(near.suspect - _BEFORE, near.suspect + 1)
    for low in range(1, count - 2):
        middles = np.arange(low + 1, min(low + SPAN_MAX, count - 1))
        meets = np.where(near.named[middles] >= 0, near.named[middles], blocks[low - 1])
        rises = near.begins[meets] + near.inside[middles] > pages[low - 1]
        rising = middles[rises | (meets < blocks[low - 1])]
        for middle in rising.tolist():
            both = near.named[low] >= 0 and near.named[middle] >= 0
            if low in begun or middle in begun or both:
                for high in _ends(near, low, middle, int(blocks[low - 1])):
                    yield low, middle, high


def _ends(near: _Near, low: int, middle: int, block: int) -> list[int]:
    """Where the second span can end, if the first goes behind it: pages rise there, or the block is one before."""
    second = np.arange(middle, min(middle + SPAN_MAX, len(near.inside) - 1))
    of_second = near.blocks(second, block)
    named = near.named[low:middle]
    named = named[named >= 0]
    begin = np.where(near.named[low] >= 0, near.named[low], of_second)
    end = np.full(len(second), named[-1]) if len(named) else of_second
    behind = np.where(near.named[second + 1] >= 0, near.named[second + 1], end)
    rises = near.begins[begin] + near.inside[low] > near.begins[of_second] + near.inside[second]
    rises |= begin < of_second
    goes_on = near.begins[behind] + near.inside[second + 1] > near.begins[end] + near.inside[middle - 1]
    rises &= goes_on | (behind < end)
    ends: list[int] = (second[rises] + 1).tolist()
    return ends


def _changes(case: Case, near: _Near, places: Ints) -> dict[int, tuple[list[int], list[int]]]:
    """The rows that leave each page and that come to it, in the order of ``places``. Empty where they do not end."""
    pages = near.pages(places)
    rows = case.chains.carriers[near.first + places]
    old = case.read.page[rows]
    changes: dict[int, tuple[list[int], list[int]]] = {}
    if pages[-1] != old[-1]:
        return changes
    for i in np.flatnonzero(pages != old).tolist():
        changes.setdefault(int(old[i]), ([], []))[0].append(int(rows[i]))
        changes.setdefault(int(pages[i]), ([], []))[1].append(int(rows[i]))
    return changes


def _rises(near: _Near, places: Ints) -> bool:
    """Whether the pages near fall no more often in the order of ``places`` than in the capture."""
    falls, before = (np.count_nonzero(np.diff(near.pages(p)) < 0) for p in (places, np.arange(len(places))))
    return bool(falls <= before)


def _in_order(case: Case, near: _Near, places: Ints) -> bool:
    """Whether the order of ``places`` breaks no more laws of the walk anywhere, first sends among them."""
    walk = case.order
    pages = walk.pages.copy()
    pages[near.first : near.first + len(places)] = near.pages(places)
    modern = case.read.grammar.modern
    return order.trouble(pages, walk.starts, modern) <= order.trouble(walk.pages, walk.starts, modern)


def _holds(case: Case, changes: dict[int, tuple[list[int], list[int]]]) -> bool:
    """Whether all sums of the pages hold once rows have left them and come to them."""
    chains = case.chains
    for page, (leaving, coming) in changes.items():
        rows = np.union1d(chains.of(page), np.array(coming, np.int64))
        around = [chains.around(rows, row) for row in leaving + coming]
        if chains.failing(np.setdiff1d(np.concatenate(around), np.array(leaving, np.int64))):
            return False
    return True


def _candidate(case: Case, near: _Near, fit: list[Exchange]) -> Candidate:
    low, middle, high = (near.first + p for p in fit[0])
    start, end = case.span(low, high)
    between = case.span(middle, high)[0]
    why = (
        f"the records at [{start:#x}, {between:#x}) and [{between:#x}, {end:#x}) in the other order, of which some are "
        "then of another block, make every sum hold"
    )
    data, repair = case.read.data, None
    if len(fit) == 1:
        swapped = bytes(data[between:end]) + bytes(data[start:between])
        repair = Repair(start, end - start, swapped, f"{why}: exchanged")
    explains = tuple(case.chains.carriers[low:high].tolist())
    row = int(case.chains.carriers[low])
    return Candidate(CauseName.RECORDS_REORDERED, 1, why, row, start, None, repair, explains)
