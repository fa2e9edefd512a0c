"""The block list contradicts itself: the lengths of its blocks do not come to the total that it states.

One of these numbers was changed. How far the pages of each block go in the records can tell which: a first sweep sends
all of them. Where that does not tell it, it is one of several.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...formats import ram
from ...model import Block
from ...ram import blocklist
from ...ram.record import WORD
from ...table.columns import NO_BLOCK
from ...table.kinds import IS_PAGE
from ...text import shown
from ..cause import CauseName, Repair
from .case import Candidate, Case
from .reading import GOES_ON, is_whole
from .walker import NOTHING, Spot, State, Walk, Walker, columns_of

_ENTRIES_MAX = 64  # blocks of a list that are tried
_RECORDS_MAX = 1 << 16  # records over which the blocks' pages are looked for
_BURST = 0.05  # of one changed bit: bytes were written over the number
_OPEN = 0.5  # the same, where several numbers can be the wrong one


@dataclass(frozen=True, slots=True)
class _Mend:
    """One changed number of the list: what it ``was``, the ``offset`` of its be64, and the ``blocks`` with it right.

    ``end`` is the offset at which the list ends then. ``what`` says which number it is.
    """

    what: str
    was: int
    offset: int
    blocks: tuple[Block, ...]
    end: int


def candidates(case: Case) -> list[Candidate]:
    """The changed number that makes the list contradict itself. Empty where it does not, or no one bit mends it."""
    mends = _mends(case)
    if not mends:
        return []
    kept, told = _by_pages(case, mends)
    stated = "the lengths of the blocks do not come to the total that the block list states"
    if told:
        why = f"{stated}, and with one bit of {kept[0].what} flipped back they do, and the pages go to each block's end"
    else:
        why = f"{stated}: one number was changed, by one bit {' or '.join(m.what for m in kept)}, and no page tells it"
    first = kept[0]
    repair = Repair(first.offset, WORD, first.was.to_bytes(WORD), why) if told else None
    at = first.offset if told else min(m.offset for m in kept)
    there = Candidate(CauseName.LENGTH_FIELD, 1, why, None, at, None, repair, onward=at)
    over = Candidate(CauseName.BYTES_OVERWRITTEN, _BURST if told else _OPEN, why, None, at, onward=at)
    return [there, over]


def _mends(case: Case) -> list[_Mend]:
    """The single bits of the list's numbers that make them agree, and records follow it. Empty where they agree."""
    lists, view = case.read.lists, case.read.view
    if not len(lists) or case.read.grammar.flat:
        return []
    at = int(lists.offset[0])
    total = int.from_bytes(view[at : at + WORD]) & ~(case.read.page_size - 1)
    part = view[at + WORD : at + WORD + _ENTRIES_MAX * blocklist.ENTRY_MAX]
    for form in dict.fromkeys(((False, False), *blocklist.trials(case.read.stream.facts.capabilities))):
        found = blocklist.entries(part, 1 << 62, ram.block_entry(*form)).blocks
        out, end = list[_Mend](), at + WORD
        for count, entry in enumerate(found[:_ENTRIES_MAX], 1):
            if not entry.name or entry.name in {e.name for e in found[: count - 1]}:
                break
            end += 1 + len(entry.name) + WORD * (1 + (entry.address is not None) + (entry.page_size is not None))
            blocks = tuple(Block(e.name, e.length, True, e.address, e.page_size) for e in found[:count])
            if sum(b.length for b in blocks) == total and _goes_on(case, blocks, end):
                return []
            tried = _of_list(case, blocks, total, at, end)
            out += [mend for mend in tried if _goes_on(case, mend.blocks, mend.end)]
        if out:
            return out
    return []


def _of_list(case: Case, blocks: tuple[Block, ...], total: int, at: int, end: int) -> Iterator[_Mend]:
    """The single bits of numbers of a list at ``at`` that make these blocks come to its total."""
    listed, view = sum(b.length for b in blocks), case.read.view
    if _is_bit(listed, total, case.read.page_size):
        flags = int.from_bytes(view[at : at + WORD]) & (case.read.page_size - 1)
        yield _Mend(f"the total at {at:#x}", listed | flags, at, blocks, end)
    place = at + WORD
    for index, block in enumerate(blocks):
        was, place = block.length + total - listed, place + 1 + len(block.name)
        if was > 0 and _is_bit(was, block.length, case.read.page_size):
            mended = (*blocks[:index], replace(block, length=was), *blocks[index + 1 :])
            yield _Mend(f"the length of {shown(block.name)} at {place:#x}", was, place, mended, end)
        place += WORD * (1 + (block.address is not None) + (block.page_size is not None))


def _is_bit(one: int, other: int, page_size: int) -> bool:
    """Whether two lengths differ in one bit, and the first is one of whole pages."""
    return (one ^ other).bit_count() == 1 and one % page_size == 0


def _walk(case: Case, blocks: tuple[Block, ...], end: int, limit: int) -> Walk:
    """The walk from the end of the list, over records of these blocks.

    Sections can have footers that were not met: the first one stands behind the list.
    """
    grammar = replace(case.read.grammar, blocks=blocks)
    owners = [number for number, name in grammar.owners.items() if name == ram.IDSTR]
    for footers in dict.fromkeys((grammar.footers, True)):
        spot = Spot(end, State.RECORD, NOTHING, False, owners[0] if footers and owners else None)
        walk = Walker(case.read.view, replace(grammar, footers=footers), decodes=False).walk(spot, limit)
        if is_whole(walk, limit):
            break
    return walk


def _goes_on(case: Case, blocks: tuple[Block, ...], end: int) -> bool:
    return is_whole(_walk(case, blocks, end, GOES_ON), GOES_ON)


def _by_pages(case: Case, mends: list[_Mend]) -> tuple[list[_Mend], bool]:
    """The mends that the blocks' pages allow for, and whether they tell: with one alone they go to each block's end."""
    if len({(m.end, *(b.name for b in m.blocks)) for m in mends}) > 1:
        return mends, False
    lengths = np.array([[b.length for b in m.blocks] for m in mends], np.uint64)
    widest = tuple(replace(b, length=int(most)) for b, most in zip(mends[0].blocks, lengths.max(axis=0), strict=True))
    rows = columns_of(_walk(case, widest, mends[0].end, _RECORDS_MAX).rows)
    pages = IS_PAGE[rows.kind] & (rows.block != NO_BLOCK)
    reach = np.zeros(len(widest), np.uint64)
    np.maximum.at(reach, rows.block[pages].astype(np.int64), rows.address[pages] + np.uint64(case.read.page_size))
    exact = np.array((lengths == reach).all(axis=1))
    if exact.sum() == 1:
        return [mends[int(np.argmax(exact))]], True
    can_be = np.flatnonzero((lengths >= reach).all(axis=1))
    return [mends[i] for i in can_be.tolist()] or mends, False
