"""What the records show as a whole, once all were read: how long unlisted blocks are, and where a sweep has a hole."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...formats import ram
from ...model import Block, Certainty, Gap
from ...ram import elsewhere
from ...ram.record import WORD
from ...table.columns import NO_BLOCK, Columns
from ...table.kinds import IS_PAGE
from ..notes import Notes

FRONTIER_BREAKS = 8  # more jumps of the first sweep than damage makes: this sender does not walk that way


def infer_lengths(pieces: Sequence[Columns], notes: Notes) -> None:
    """Without a block list, a block is as long as the highest address that was seen says."""
    if notes.reading.version == ram.VERSION_FLAT and not notes.blocks:
        notes.declare([Block(ram.IDSTR, 0, declared=False)], 0)
    highest = np.full(len(notes.blocks), -notes.page_size, np.int64)
    for c in pieces:
        rows = np.flatnonzero(IS_PAGE[c.kind] & (c.block != NO_BLOCK))
        np.maximum.at(highest, c.block[rows], c.address[rows].astype(np.int64))
    for i, address in enumerate(highest.tolist()):
        if not notes.blocks[i].declared:
            notes.replace_block(i, Block(notes.blocks[i].name, address + notes.page_size))


def split_at_jumps(columns: Columns, notes: Notes) -> Columns:
    """Find where the first sweep over all pages jumps: every page is sent once, in the order of the blocks.

    Records are missing there though the framing is whole. Each jump becomes a gap. The records on both sides of it are
    left out too: either can be spliced from two.
    """
    if not notes.has_start or elsewhere.is_multifd(elsewhere.counted(columns)[0]):
        return columns  # what the sweep leaves out came on channels
    if elsewhere.postcopy_run(notes.facts) is not None:
        return columns  # pages were sent as they were asked for
    if notes.facts.mapped or (notes.reading.configured and not notes.gaps):
        return columns  # QEMU since 2.4 leaves pages out: shared, unplugged, free; mapped-ram pages of zeros
    size = notes.page_size
    pages = [-(-b.length // size) for b in notes.blocks]
    first = np.append(np.concatenate([[0], np.cumsum(pages)])[: len(pages)], 0).astype(np.int64)
    rows = np.flatnonzero(IS_PAGE[columns.kind] & (columns.block != NO_BLOCK))
    place = first[columns.block[rows]] + (columns.address[rows] // np.uint64(size)).astype(np.int64)
    frontier = np.maximum.accumulate(np.append(-1, place))[:-1]
    advances = np.flatnonzero(place > frontier)
    jumps = advances[place[advances] > frontier[advances] + 1]
    before = rows[advances[np.maximum(np.searchsorted(advances, jumps) - 1, 0)]]
    gap_rows = np.array([g.row for g in notes.gaps], np.int64)
    explained = np.searchsorted(gap_rows, rows[jumps], side="right") > np.searchsorted(gap_rows, before, side="right")
    jumps = jumps[~explained]
    if not 0 < len(jumps) <= FRONTIER_BREAKS:
        return columns
    keep = np.ones(len(columns), bool)
    added: list[Gap] = []
    for j in jumps.tolist():
        last, after = rows[max(0, j - 1)], rows[j]
        keep[last : after + 1] &= ~IS_PAGE[columns.kind[last : after + 1]]
        missing = int(place[j] - frontier[j] - 1)
        end = int(columns.offset[after + 1]) if after + 1 < len(columns) else int(columns.offset[after]) + WORD
        reason = f"{missing} pages are missing from the first sweep over memory"
        out = tuple((int(columns.block[r]), int(columns.address[r])) for r in (last, after))
        added.append(Gap(int(columns.offset[last]), end, reason, Certainty.NEAR_CERTAIN, int(after), left_out=out))
    shift = np.append(0, np.cumsum(keep))
    gaps = sorted([*notes.gaps, *added], key=lambda g: (g.start, g.row))
    notes.gaps[:] = [replace(g, row=int(shift[g.row])) for g in gaps]
    return columns.take(keep)
