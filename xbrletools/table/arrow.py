"""The records of a capture as a table in Arrow's form: what is stored, and what follows from it, by logical columns.

It is made a batch at a time. Offsets, lengths, heads, kinds and flags are the table's own memory, without a copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrow.tables import ArrowTable
from ..arrow.values import I64, U8, U16, U32, U64, WORDS8, WORDS16, Batch, Column, Field, Schema
from ..formats.dialects import Dialect
from ..formats.ram import Kind
from ..text import shown
from .claims import stated
from .columns import PIECE, Columns, Sweeps
from .kinds import IS_PAGE
from .numbers import numbered
from .sections import Sections, Stage

Ints = NDArray[np.int64]

KINDS = tuple(k.name.lower() for k in Kind)
STAGES = ("", *(s.name.lower() for s in Stage))  # by their number; 0 is null
BATCH = PIECE  # records of a batch

FIELDS = (
    Field("row", U64, "the row of the record table, from 0"),
    Field("record", U64, "the record's number, from 1; null where the record does not carry a page"),
    Field("kind", WORDS8, "what the record is, as xbrle dump names it"),
    Field("block", WORDS16, "the RAM block's name; null where the record does not name one"),
    Field("page", U64, "the address of the page in its block; null for no page", "bytes"),
    Field("pass", U32, "the sweep of the sender over the block, from 1: each block has its own count"),
    Field("stage", WORDS8, "start, part or end: the kind of the section that the record stands in"),
    Field("section", U32, "the index of the section, as in table sections"),
    Field(
        "offset", U64, "where the record begins in its file; of a page in a packet, where the packet begins", "bytes"
    ),
    Field("head", U16, "the size of what stands before the payload", "bytes"),
    Field("length", U32, "the size of the payload", "bytes"),
    Field("checksum", U32, "the byte sum of the page as the record states it; null where it states none"),
    Field("flags", U16, "the flags of the record's word, as a number"),
    Field("header_flags", U8, "the flags of a delta's header, as a number; 0 for other records"),
    Field("channel", I64, "the id of the channel that the record came on; null for the main channel"),
    Field("packet", I64, "the number of the packet that the record came in; null where it came in none"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where the records of a capture with several channels come from, (n,) int64 each.

    ``section`` is the index of the section that each belongs to, ``channel`` the channel's id and ``packet`` the
    packet's number, -1 for none. ``at`` is the offset in the channel's own file.
    """

    section: Ints
    channel: Ints
    packet: Ints
    at: Ints


def records(
    columns: Columns,
    sections: Sections,
    names: tuple[bytes, ...],
    dialect: Dialect | None,
    placed: Placed | None = None,
) -> ArrowTable:
    """All records as a table. ``placed`` says where they are where there is more than the main channel."""
    blocks = tuple(map(shown, names))

    def batches() -> Iterator[Batch]:
        sweeps, before = Sweeps({}), 0
        for start in range(0, len(columns), BATCH):
            rows = slice(start, start + BATCH)
            c = columns.take(rows)
            is_page = IS_PAGE[c.kind]
            section = sections.of(c.offset) if placed is None else placed.section[rows]
            yield _batch(c, start, before, sweeps, section, sections.stages(section), blocks, dialect, placed)
            before += int(np.count_nonzero(is_page))

    return ArrowTable(Schema(FIELDS), batches)


def _batch(
    c: Columns,
    start: int,
    before: int,
    sweeps: Sweeps,
    section: Ints,
    stage: NDArray[np.uint8],
    blocks: tuple[str, ...],
    dialect: Dialect | None,
    placed: Placed | None,
) -> Batch:
    count, is_page = len(c), IS_PAGE[c.kind]
    carries = None if is_page.all() else is_page
    in_block, states, sums = c.block < len(blocks), *stated(c, dialect)
    has_stage, rows = stage != 0, slice(start, start + count)
    if placed is None:
        nowhere = Column(np.full(count, -1), np.zeros(count, bool))
        offset, channel, packet = Column(c.offset), nowhere, nowhere
    else:
        offset = Column(placed.at[rows].astype(np.uint64))
        channel, packet = (Column(v[rows], v[rows] >= 0) for v in (placed.channel, placed.packet))
    return Batch(
        count,
        (
            Column(np.arange(start, start + count, dtype=np.uint64)),
            Column(numbered(is_page, before).astype(np.uint64), carries),
            Column(c.kind, None, KINDS),
            Column(c.block, None if in_block.all() else in_block, blocks),
            Column(c.address, carries),
            Column(sweeps.number(c), carries),
            Column(stage, None if has_stage.all() else has_stage, STAGES),
            Column(section.astype(np.uint32), None if (section >= 0).all() else section >= 0),
            offset,
            Column(c.head),
            Column(c.length),
            Column(sums, None if states.all() else states),
            Column(c.flags),
            Column(c.header_flags),
            channel,
            packet,
        ),
    )
