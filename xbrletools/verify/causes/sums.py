"""The law of sums: a stated byte sum holds for the page as the sender had it.

A damage in a delta, or in its base, stays as one XOR mask until the page's next full record, so each later sum of the
chain is one equation on it.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from ...codec import xbzrle
from ...codec.checksum import byte_sum
from ...codec.verdict import Verdict
from ...formats.ram import Kind
from ...memory.image import Image, State
from ...memory.replay import CHUNK, Layer, apply
from ...table.kinds import IS_DELTA
from ..blanked import has_blanked
from ..ledger import chosen, filled, room
from .chains import Chains
from .reading import Ints, Mask


@dataclass(frozen=True, slots=True)
class Sums:
    """What the sums of a stream say.

    ``fails`` and ``holds`` (n,) bool are of the rows whose sum was compared. ``baseless`` are deltas before any full
    record of their page. ``idle`` are XBZRLE's deltas with a literal that its page holds already, which no sender
    writes. ``first`` has the first failing rows of each chain, in file order: from one full record to the next a chain
    fails once. ``pages`` are the PAGEs whose own sum fails.
    """

    fails: Mask
    holds: Mask
    baseless: Mask
    idle: Mask
    first: Ints
    pages: Ints

    @property
    def speaks(self) -> bool:
        """Whether any sum was compared."""
        return bool(self.fails.any() or self.holds.any())


def silent(count: int) -> Sums:
    """What sums say of ``count`` rows where none was compared."""
    none = np.zeros(count, bool)
    return Sums(none, none, none, none, np.empty(0, np.int64), np.empty(0, np.int64))


def weigh(chains: Chains) -> Sums:
    """Compare every stated sum with the page in the sender's view."""
    read, rows = chains.read, chains.read.rows
    count = len(rows)
    fails, holds, baseless, idle = (room(count, bool) for _ in range(4))
    if len(read.space):
        image = Image(read.space)
        matter = _that_matter(chains)
        kept = matter[:0]
        blanked = cache(partial(has_blanked, rows, read.data, read.grammar.reading.page_size))

        def observe(layer: Layer) -> None:
            of = kept[layer.places]
            delta = np.zeros(len(of), bool)
            delta[layer.deltas] = True
            sound = np.ones(len(of), bool)
            sound[layer.deltas] = layer.based & (layer.verdicts == Verdict.OK)
            baseless[of[layer.deltas]] = ~layer.based
            compared = np.flatnonzero(chains.states[of] & sound)
            own = byte_sum(image.pages, layer.pages[compared])
            wrong = own != chains.sums[of[compared]]
            fails[of[compared]], holds[of[compared]] = wrong, ~wrong

        def foresee(places: Ints, pages: Ints) -> None:
            of = kept[places]
            which = np.flatnonzero((rows.kind[of] == Kind.XBZRLE) & (image.state[pages] == State.RECOVERED))
            if len(which):
                start, length = read.payloads.spans(of[which])
                found = xbzrle.idle(read.data, start, length, image.pages, pages[which]) >= 0
                if found.any() and blanked():
                    found = xbzrle.idle(read.data, start, length, image.pages, pages[which], blanked=True) >= 0
                idle[of[which]] = found

        for start in range(0, len(matter), CHUNK):
            kept = matter[start : start + CHUNK]
            apply(image, read.payloads.take(kept), observe, foresee)
    pages = chosen(count, lambda part: fails[part] & (rows.kind[part] == Kind.PAGE))
    return Sums(fails, holds, baseless, idle, _firsts(chains, fails | baseless), pages)


def _that_matter(chains: Chains) -> Ints:
    """The rows of deltas, of what they rest on, and of what states a sum, rising. A page that is sent anew does not."""
    rows = chains.read.rows
    order, _, _ = chains.spans
    if chains.forgets:
        all_rows = order
        cached = chosen(len(all_rows), lambda part: rows.kind[all_rows[part]] != Kind.DUP)
        order = filled(len(cached), np.int64, lambda part: all_rows[cached[part]])

    def matters(part: slice) -> Mask:
        some = order[part.start : part.stop + 1]  # with the one after them
        delta, pages = IS_DELTA[rows.kind[some]], chains.read.page[some]
        count = part.stop - part.start
        before = np.zeros(count, bool)
        before[: len(some) - 1] = delta[1:] & (pages[1:] == pages[:-1])
        matter: Mask = delta[:count] | before | chains.states[some[:count]]
        return matter

    places = chosen(len(order), matters)
    found: Ints = filled(len(places), np.int64, lambda part: order[places[part]])
    found.sort()
    return found


def _firsts(chains: Chains, fails: Mask) -> Ints:
    """The failing deltas before which none failed since their page's last full record, rising."""
    if not fails.any():
        return np.empty(0, np.int64)
    order, first, _ = chains.spans
    rows = chains.read.rows
    starts = filled(len(order), bool, lambda part: _starts(rows.kind[order[part]], chains.forgets))
    starts[first] = True
    failing = chosen(len(order), lambda part: fails[order[part]] & IS_DELTA[rows.kind[order[part]]])
    begun = chosen(len(order), lambda part: starts[part])
    which = filled(len(failing), np.int64, lambda part: np.searchsorted(begun, failing[part], side="right"))
    new = chosen(len(which), lambda part: _differs(which[max(0, part.start - 1) : part.stop], part))
    return np.sort(order[failing[new]])


def _starts(kinds: NDArray[np.uint8], forgets: bool) -> Mask:
    """Which records of these kinds give a base to the deltas after them, (n,) bool."""
    full: Mask = ~IS_DELTA[kinds] & ~((kinds == Kind.DUP) & forgets)
    return full


def _differs(numbers: Ints, part: slice) -> Mask:
    """Which of these numbers differ from the one before them. ``numbers`` begins with that one, but at the start."""
    other: Mask = np.diff(numbers) != 0
    return other if part.start else np.append(True, other)
