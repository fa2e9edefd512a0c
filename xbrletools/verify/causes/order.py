"""The laws of the sender's walk: first sends come in the order of the pages, and within a sweep addresses rise.

Only the first record of a section may be of the page of the record before it: the sender resumes at the page that it
sent last. Facts: formats/README.md, "The RAM section".
"""

from dataclasses import dataclass

import numpy as np

from ...formats.ram import Kind
from ...ram.elsewhere import postcopy_run
from .chains import Chains
from .reading import Ints, Mask

SWAP_MAX = 320  # records of a span that changed places with its neighbour
SWEEPS_MAX = 20000  # sweeps whose ends are looked at one by one
PAIRS_MAX = 20000  # records that can repeat others, where more are no damage's work
REPEAT_MAX = 1 << 14  # records between a span and the one that repeats it
LEFT_OUT = 400  # pages that a hole of today's sender can have by damage: unplugged memory leaves larger ones
_LISTED = 64  # places that are looked at one by one


@dataclass(frozen=True, slots=True)
class Order:
    """What breaks the order. Places are among the carriers; ``pages`` (n,) are theirs.

    ``starts`` (n,) bool: a section begins there. ``odd`` are places whose page lies outside its neighbours', while
    these rise. ``twice`` are pages that come again amid a section. ``holes`` are first sends that leave pages out or go
    back, each with the page that was due. ``in_force``: this sender's first sends come in order.
    """

    pages: Ints
    starts: Mask
    odd: Ints
    twice: Ints
    holes: tuple[tuple[int, int], ...]
    firsts: Ints
    in_force: bool

    @property
    def broken(self) -> bool:
        """Whether any law of the walk is broken."""
        return bool(len(self.odd) or len(self.twice) or self.holes)


def begins(chains: Chains) -> Mask:
    """Where a section begins among the carriers, (n,) bool: other rows stand between."""
    starts = np.ones(len(chains.carriers), bool)
    starts[1:] = np.diff(chains.carriers) > 1
    return starts


def odd_and_holes(pages: Ints, starts: Mask) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Places that are odd, holes in the first sends, the pages due there, first sends, and pages that come twice."""
    same = np.zeros(len(pages), bool)
    same[1:] = pages[1:] == pages[:-1]
    kept = np.flatnonzero(~(same & starts))
    walk = pages[kept]
    up = walk[2:] > walk[:-2]
    odd = kept[1:-1][up & ((walk[1:-1] <= walk[:-2]) | (walk[1:-1] >= walk[2:]))]
    _, first = np.unique(pages, return_index=True)
    first.sort()
    due = np.append(0, pages[first[:-1]] + 1) if len(first) else first
    holes = first[pages[first] != due]
    return odd, holes, due[pages[first] != due], first, np.flatnonzero(same & ~starts)


def weigh(chains: Chains) -> Order:
    """Hold the records against the laws of the walk.

    Today's sender may start a sweep anew between two sections, and leaves blocks and parts of them out on purpose.
    Where pages come over channels, are asked for, or are compressed by threads, no order is to be seen.
    """
    pages, starts = chains.pages, begins(chains)
    odd, holes, due, firsts, twice = odd_and_holes(pages, starts)
    modern = chains.read.grammar.modern
    none = np.empty(0, np.int64)
    if modern and not _in_order(chains):
        return Order(pages, starts, none, none, (), firsts, False)
    if modern:
        odd = odd[~starts[odd] & ~starts[odd + 1]]
        left_out = pages[holes] - due
        small = (left_out <= LEFT_OUT) if len(holes) <= 2 else np.zeros(len(holes), bool)
        holes, due = holes[small], due[small]
    in_force = len(holes) <= max(_LISTED, len(firsts) // 8)
    listed = tuple(zip(holes[:_LISTED].tolist(), due[:_LISTED].tolist(), strict=True))
    return Order(pages, starts, odd, twice, listed, firsts, in_force)


def _in_order(chains: Chains) -> bool:
    """Whether a stream of today's QEMU sends its pages in the order of the walk."""
    facts, kinds = chains.read.stream.facts, chains.read.rows.kind
    moved = np.isin(kinds, (Kind.COMPRESSED, Kind.FLUSH)).any()
    return not moved and postcopy_run(facts) is None and not any(p.lost for p in facts.problems)


def trouble(pages: Ints, starts: Mask, modern: bool) -> int:
    """How many places break a law of the walk, for pages in another order. ``modern``: today's sender walks so."""
    odd, holes, due, _, twice = odd_and_holes(pages, starts)
    if modern:
        odd = odd[~starts[odd] & ~starts[odd + 1]]
        holes = holes[pages[holes] - due <= LEFT_OUT]
    return len(odd) + len(holes) + len(twice)


def swaps(order: Order) -> list[tuple[int, int, int]]:
    """Neighbouring spans [i, j) and [j, k) of carriers that in the other order would rise."""
    pages, starts = order.pages, order.starts
    if not order.in_force:
        return []
    same = np.zeros(len(pages), bool)
    same[1:] = pages[1:] == pages[:-1]
    kept = np.flatnonzero(~(same & starts))
    walk = pages[kept]
    found = []
    descents = np.flatnonzero(walk[1:] <= walk[:-1]) + 1
    for j in descents[:SWEEPS_MAX].tolist():
        rising = np.flatnonzero(walk[j + 1 : j + SWAP_MAX + 1] <= walk[j : j + SWAP_MAX][: len(walk) - j - 1])
        most = j + 1 + (int(rising[0]) if len(rising) else min(SWAP_MAX, len(walk) - j - 1))
        k = j + int(np.searchsorted(walk[j:most], walk[j - 1]))
        if k >= len(walk) or k - j > SWAP_MAX or k == j or walk[k] <= walk[j - 1]:
            continue
        back = walk[max(0, j - SWAP_MAX) : j] <= walk[k - 1]
        i = max(0, j - SWAP_MAX) + (int(np.flatnonzero(back)[-1]) + 1 if back.any() else 0)
        if i == 0 or i == j or not back.any():
            continue
        if walk[i - 1] < walk[j] and walk[k - 1] < walk[i]:
            found.append((int(kept[i]), int(kept[j]), int(kept[k])))
    return found


def repeats(chains: Chains, order: Order) -> list[tuple[int, int, int]]:
    """Spans of records that repeat the ones right before them to the byte: (first, again, count), in carriers.

    ``count`` records from ``again`` on repeat those from ``first`` on.
    """
    rows, pages = chains.read.rows, order.pages
    by_page = np.argsort(pages, kind="stable")
    again = np.flatnonzero((np.diff(pages[by_page]) == 0) & (np.diff(by_page) <= REPEAT_MAX))
    of, repeat = by_page[again], by_page[again + 1]
    a, b = chains.carriers[of], chains.carriers[repeat]
    alike = (rows.kind[a] == rows.kind[b]) & (rows.length[a] == rows.length[b]) & (rows.checksum[a] == rows.checksum[b])
    at = np.argsort(repeat[alike])
    of, repeat = _in_runs(of[alike][at], repeat[alike][at])
    if len(of) > PAIRS_MAX:
        return []
    found = []
    pairs = zip(repeat.tolist(), of.tolist(), strict=True)
    following = {i: j for i, j in pairs if _same(chains, int(chains.carriers[j]), int(chains.carriers[i]))}
    done: set[int] = set()
    for i, j in following.items():
        if i in done:
            continue
        count = 1
        while following.get(i + count) == j + count:
            done.add(i + count)
            count += 1
        if count >= i - j and not (i - j == 1 and order.starts[i]):
            found.append((j, i, i - j))
    return found


def _in_runs(of: Ints, repeat: Ints) -> tuple[Ints, Ints]:
    """Those pairs, rising by ``repeat``, that follow each other at one distance for at least as many as that."""
    begins = np.ones(len(of), bool)
    begins[1:] = (np.diff(of) != 1) | (np.diff(repeat) != 1)
    run = np.cumsum(begins) - 1
    kept = np.bincount(run)[run] >= repeat - of if len(of) else begins
    return of[kept], repeat[kept]


def _same(chains: Chains, a: int, b: int) -> bool:
    (start_a, end_a), (start_b, end_b) = chains.span(a), chains.span(b)
    data = chains.read.data
    return bool((data[start_a:end_a] == data[start_b:end_b]).all())
