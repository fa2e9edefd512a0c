"""Whose records are they: the block of those that come before the first name after a gap."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...arrays import distinct
from ...formats import ram
from ...model import ANY_BLOCK, Block
from ...table.columns import NO_BLOCK, Columns
from ...table.kinds import IS_PAGE
from ..notes import Notes
from .gaps import leave_out

NAMELESS = b"(unnamed)"
BUSY_PAGES = 8  # a run of records that names no block is told by this many pages, if
BUSY_MOST, BUSY_LEAST = 0.8, 0.2  # this share of them was sent again before in one block, and no more in any other


def attributed(columns: Columns, pieces: Sequence[Columns], notes: Notes) -> Columns:
    """The records of a run with their block, where only one fits. The others are left out.

    ``pieces`` are the records before the gap that it comes after.
    """
    orphans = np.flatnonzero(IS_PAGE[columns.kind] & (columns.block == NO_BLOCK))
    if not len(orphans):
        return columns
    if notes.reading.version == ram.VERSION_FLAT:
        columns.block[orphans] = 0
        return columns
    if not notes.has_list:
        return _unnamed(columns, orphans, notes)
    fitting = _fitting(columns, orphans, pieces, notes)
    if len(fitting) == 1:
        columns.block[orphans] = fitting[0]
        return columns
    if not any(len(p) for p in pieces):  # the head is missing: one run, whatever block it is of
        return _unnamed(columns, orphans, notes)
    notes.lost_names += len(orphans)
    leave_out(notes.gaps, [(ANY_BLOCK, a) for a in columns.address[orphans].tolist()])
    return columns.take(np.delete(np.arange(len(columns)), orphans))


def _unnamed(columns: Columns, orphans: NDArray[np.int64], notes: Notes) -> Columns:
    """Keep records whose block cannot be told in a block of their own."""
    index = notes.block_index.setdefault(NAMELESS, len(notes.blocks))
    if index == len(notes.blocks):
        notes.blocks.append(Block(NAMELESS, 0, declared=False))
    columns.block[orphans] = index
    return columns


def _fitting(columns: Columns, orphans: NDArray[np.int64], pieces: Sequence[Columns], notes: Notes) -> list[int]:
    """The blocks that the records before the first name after a gap can be of, by what else is known of them."""
    addresses = distinct(columns.address[orphans])
    fitting = [i for i, b in enumerate(notes.blocks) if b.length > int(addresses[-1])]
    after = int(orphans[-1]) + 1 + np.flatnonzero(IS_PAGE[columns.kind[int(orphans[-1]) + 1 :]])
    if len(after):  # a name comes exactly where the block changes
        named = int(columns.block[after[0]])
        sent = {b for c in pieces for b in distinct(c.block[IS_PAGE[c.kind]]).tolist()}
        fitting = [
            i  # blocks are sent for the first time in the order of the list
            for i in fitting
            if i != named and not (notes.has_start and named < i and named not in sent and i not in sent)
        ]
    if len(fitting) < 2:
        return fitting
    gap = notes.gaps[-1] if notes.gaps else None
    if gap is not None and gap.in_place and gap.row:  # records without names were lost
        before = next((c.block[IS_PAGE[c.kind]] for c in reversed(pieces) if IS_PAGE[c.kind].any()), None)
        return fitting if before is None else [int(before[-1])]
    if len(addresses) < BUSY_PAGES:
        return fitting
    page_size = notes.page_size
    ending = [i for i in fitting if notes.blocks[i].length == int(addresses[-1]) + page_size]
    if len(ending) == 1 and len(after) and (np.diff(addresses[-BUSY_PAGES:]) == page_size).all():
        return ending  # the run goes through to the block's last page, and then to another block
    shares = [_busy_share(i, addresses, pieces) for i in fitting]
    if max(shares) >= BUSY_MOST and sorted(shares)[-2] <= BUSY_LEAST:
        return [fitting[shares.index(max(shares))]]
    return fitting


def _busy_share(block: int, addresses: NDArray[np.uint64], pieces: Sequence[Columns]) -> float:
    """How many of these pages were sent more than once before, if they are of this block."""
    sent = [c.address[IS_PAGE[c.kind] & (c.block == block)] for c in pieces]
    pages, counts = np.unique(np.concatenate(sent), return_counts=True) if sent else (addresses[:0], [])
    return float(np.isin(addresses, pages[np.array(counts) > 1]).mean())
