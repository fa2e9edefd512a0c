"""The laws of the sender's walk: first sends come in the order of the pages, and within a sweep addresses rise.

Only the first record of a section may be of the page of the record before it: the sender resumes at the page that it
sent last. Facts: formats/README.md, "The RAM section".
"""

from dataclasses import dataclass

import numpy as np

from ...formats.ram import Kind
from ...ram.elsewhere import postcopy_run
from ..ledger import chosen, filled, pieces, room
from .chains import Chains, following
from .reading import Ints, Mask

SWAP_MAX = 320  # records of a span that changed places with its neighbour
SWEEPS_MAX = 20000  # sweeps whose ends are looked at one by one
PAIRS_MAX = 20000  # records that can repeat others, where more are no damage's work
REPEAT_MAX = 1 << 14  # records between a span and the one that repeats it
LEFT_OUT = 400  # pages that a hole of today's sender can have by damage: unplugged memory leaves larger ones
_LOOKED_AT = 1 << 20  # records whose steps are counted
_STEP_MAX = 64  # pages of a step, up to which steps are told apart
_LISTED = 64  # places that are looked at one by one
_BROKEN_LEAST = 5  # places that break the laws, from which on it counts how many of all they are
_BROKEN_SHARE = 4  # of so many records one: where more break the laws, they are not this sender's


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
    kept: bool = True

    @property
    def broken(self) -> bool:
        """Whether any law of the walk is broken."""
        return bool(len(self.odd) or len(self.twice) or self.holes)

    def odds(self, step: int) -> float:
        """How often the walk goes on by just so many pages amid a section, by the first of its records."""
        steps = np.diff(self.pages[:_LOOKED_AT])[~self.starts[1:_LOOKED_AT]]
        steps = steps[steps > 0]
        far = step > _STEP_MAX
        found = np.count_nonzero(steps > _STEP_MAX) / len(self.pages) if far else np.count_nonzero(steps == step)
        return float(found + (0.5 / len(self.pages) if far else 0.5)) / (len(steps) + _STEP_MAX)


def begins(chains: Chains) -> Mask:
    """Where a section begins among the carriers, (n,) bool: other rows stand between."""
    carriers = chains.carriers
    starts: Mask = filled(len(carriers), bool, lambda part: _apart(carriers[max(0, part.start - 1) : part.stop], part))
    return starts


def _apart(rows: Ints, part: slice) -> Mask:
    apart: Mask = np.diff(rows) > 1
    return apart if part.start else np.append(True, apart)


def _walk(pages: Ints, starts: Mask) -> tuple[Mask, Ints, Ints]:
    """Which places have the page of the one before, (n,) bool; those where the walk goes on, and the pages there."""
    same = np.zeros(len(pages), bool)
    same[1:] = pages[1:] == pages[:-1]
    kept = chosen(len(pages), lambda part: ~(same[part] & starts[part]))
    return same, kept, filled(len(kept), np.int64, lambda part: pages[kept[part]])


def odd_and_holes(pages: Ints, starts: Mask, first: Ints | None = None) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Places that are odd, holes in the first sends, the pages due there, first sends, and pages that come twice.

    ``first`` are the places of the first sends, where they are known.
    """
    same, kept, walk = _walk(pages, starts)
    up = walk[2:] > walk[:-2]
    odd = kept[1:-1][up & ((walk[1:-1] <= walk[:-2]) | (walk[1:-1] >= walk[2:]))]
    if first is None:
        _, first = np.unique(pages, return_index=True)
        first.sort()
    due = np.append(0, pages[first[:-1]] + 1) if len(first) else first
    holes = first[pages[first] != due]
    return odd, holes, due[pages[first] != due], first, np.flatnonzero(same & ~starts)


def weigh(chains: Chains) -> Order:
    """Hold the records against the laws of the walk.

    Today's sender may start a sweep anew between two sections, and leaves blocks and parts of them out on purpose.
    Where pages come over channels, are asked for, or are compressed by threads, no order is to be seen. A damage
    breaks the laws in few places. A sender that breaks them everywhere is not QEMU, and has its own.
    """
    pages, starts = chains.pages, begins(chains)
    odd, holes, due, firsts, twice = odd_and_holes(pages, starts, chains.first_places)
    modern = chains.read.grammar.modern
    none = np.empty(0, np.int64)
    if modern and not _in_order(chains):
        return Order(pages, starts, none, none, (), firsts, False)
    if modern:
        odd = odd[~starts[odd] & ~starts[odd + 1]]
        left_out = pages[holes] - due
        small = (left_out <= LEFT_OUT) if len(holes) <= 2 else np.zeros(len(holes), bool)
        holes, due = holes[small], due[small]
    broken = len(odd) + len(holes) + len(twice)
    if broken >= _BROKEN_LEAST and broken * _BROKEN_SHARE > len(pages):
        return Order(pages, starts, none, none, (), firsts, False, False)
    in_force = len(holes) <= max(_LISTED, len(firsts) // 8)
    listed = tuple(zip(holes[:_LISTED].tolist(), due[:_LISTED].tolist(), strict=True))
    return Order(pages, starts, odd, twice, listed, firsts, in_force)


def _in_order(chains: Chains) -> bool:
    """Whether a stream of today's QEMU sends its pages in the order of the walk."""
    facts, kinds = chains.read.stream.facts, chains.read.rows.kind
    moved = any(np.isin(kinds[part], (Kind.COMPRESSED, Kind.FLUSH)).any() for part in pieces(len(kinds)))
    return not moved and postcopy_run(facts) is None and not any(p.lost for p in facts.problems)


def trouble(pages: Ints, starts: Mask, modern: bool) -> int:
    """How many places break a law of the walk, for pages in another order. ``modern``: today's sender walks so."""
    odd, holes, due, _, twice = odd_and_holes(pages, starts)
    if modern:
        odd = odd[~starts[odd] & ~starts[odd + 1]]
        holes = holes[pages[holes] - due <= LEFT_OUT]
    return len(odd) + len(holes) + len(twice)


def swaps(order: Order, modern: bool) -> list[tuple[int, int, int]]:
    """Neighbouring spans [i, j) and [j, k) of carriers that in the other order would rise.

    ``modern``: today's sender learns of dirty pages between two sections and then can begin a sweep anew. Two sweeps of
    a guest that writes its pages in turn fit into each other like this, and are left out.
    """
    pages, starts = order.pages, order.starts
    if not order.in_force:
        return []
    _, kept, walk = _walk(pages, starts)
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
        places = (int(kept[i]), int(kept[j]), int(kept[k]))
        if walk[i - 1] < walk[j] and walk[k - 1] < walk[i] and not (modern and _are_sweeps(starts, *places)):
            found.append(places)
    return found


def _are_sweeps(starts: Mask, i: int, j: int, k: int) -> bool:
    """Whether spans of carriers [i, j) and [j, k) can be of two sweeps.

    The sender passed over the second span's pages at ``i``, and over what stands at ``k`` before it went back at ``j``.
    So it must have learnt of both later, each time between sections.
    """
    return bool(starts[j] or (starts[i + 1 : j].any() and starts[j + 1 : k + 1].any()))


def repeats(chains: Chains, order: Order) -> list[tuple[int, int, int]]:
    """Spans of records that repeat the ones right before them to the byte: (first, again, count), in carriers.

    ``count`` records from ``again`` on repeat those from ``first`` on.
    """
    if not order.kept:
        return []
    of, repeat = _in_runs(*_alike(chains))
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


def _alike(chains: Chains) -> tuple[Ints, Ints]:
    """The places of records and of the next ones of their pages, where these look the same, rising by the latter."""
    rows, (by_page, _, _) = chains.read.rows, chains.spans

    def place(part: slice) -> Ints:
        return np.searchsorted(chains.carriers, by_page[part])

    def alike(part: slice) -> Mask:
        some = by_page[part.start : part.stop + 1]
        a, b, near = some[:-1], some[1:], np.diff(place(slice(part.start, part.stop + 1))) <= REPEAT_MAX
        near &= chains.read.page[a] == chains.read.page[b]
        near &= (rows.kind[a] == rows.kind[b]) & (rows.length[a] == rows.length[b])
        near &= rows.checksum[a] == rows.checksum[b]
        return near

    count = max(0, len(by_page) - 1)
    bits = count.bit_length()
    which = chosen(count, alike)
    keys = room(len(which), np.int64)  # the later places with the earlier ones
    for part in pieces(len(which)):
        of, repeat = (np.searchsorted(chains.carriers, by_page[which[part] + i]) for i in range(2))
        keys[part] = repeat << bits | of
    keys.sort()
    of = filled(len(keys), np.int64, lambda part: keys[part] & ((1 << bits) - 1))
    return of, filled(len(keys), np.int64, lambda part: keys[part] >> bits)


def _in_runs(of: Ints, repeat: Ints) -> tuple[Ints, Ints]:
    """Those pairs, rising by ``repeat``, that follow each other at one distance for at least as many as that.

    None where they are more than `PAIRS_MAX`.
    """

    def begins(part: slice) -> Mask:
        before = slice(max(0, part.start - 1), part.stop)
        other = (np.diff(of[before]) != 1) | (np.diff(repeat[before]) != 1)
        return other if part.start else np.append(True, other)

    first = chosen(len(of), begins)
    count = filled(len(first), np.int64, lambda part: following(first, part, len(of)) - first[part])
    long = chosen(len(first), lambda part: count[part] >= repeat[first[part]] - of[first[part]])
    if int(count[long].sum()) > PAIRS_MAX:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    kept = np.concatenate([np.empty(0, np.int64), *(np.arange(first[i], first[i] + count[i]) for i in long.tolist())])
    return of[kept], repeat[kept]


def _same(chains: Chains, a: int, b: int) -> bool:
    (start_a, end_a), (start_b, end_b) = chains.span(a), chains.span(b)
    data = chains.read.data
    return bool((data[start_a:end_a] == data[start_b:end_b]).all())
