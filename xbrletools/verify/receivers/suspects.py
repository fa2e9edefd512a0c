"""The records that some version of QEMU may refuse: of each kind of suspicion the first row, found over columns."""

from enum import Enum, auto

import numpy as np

from ...formats.dialects import Loader
from ...formats.ram import Flag, Kind
from ...formats.xbrle import HeaderFlag
from ...model import Stream, once
from ...table.columns import NO_BLOCK, PIECE
from ...table.kinds import IS_DELTA, IS_PAGE

LISTS_MAX = 1 << 10  # block lists that are looked at again
_PLAIN = (Flag.MEM_SIZE, Flag.COMPRESS, Flag.PAGE, Flag.EOS, Flag.XBRLE, Flag.HOOK, Flag.MULTIFD_FLUSH)


class Suspicion(Enum):
    """Why a record may be refused."""

    FLAGS = auto()  # not exactly one known flag beside CONTINUE
    HOOK = auto()
    FLUSH = auto()
    FILL = auto()  # a dup page that is not zero
    COMPRESSED = auto()
    NAMELESS = auto()  # CONTINUE, and no block was named yet
    BLOCK = auto()  # its block is not there
    BOUNDS = auto()  # its page lies beyond its block
    DELTA = auto()  # a delta of another dialect, or with another header


@once
def suspects(stream: Stream, blocks: tuple[tuple[bytes, int], ...] | None) -> dict[Suspicion, int]:
    """The first row of the main channel for each suspicion that there is.

    ``blocks`` are the destination's, by name and length in bytes. None: those of the stream's own list.
    """
    found: dict[Suspicion, int] = {}
    columns, data = stream.records.columns, stream.data
    lengths, there = _lengths(stream, blocks)
    size = stream.records.main_size
    foreign = stream.dialect is None or stream.dialect.loader is not Loader.QEMU
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        main = np.ones(len(piece), bool) if size is None else piece.offset < np.uint64(size)
        flags = piece.flags & np.uint16(~int(Flag.CONTINUE) & 0xFFFF)
        pages = IS_PAGE[piece.kind]
        named = pages & (piece.block != NO_BLOCK)
        block = np.minimum(piece.block, len(lengths) - 1).astype(np.int64)
        deltas = IS_DELTA[piece.kind]
        dups = np.flatnonzero(piece.kind == Kind.DUP)
        fill = np.zeros(len(piece), bool)
        fill[dups] = data[np.minimum(piece.payload(dups), len(data) - 1)] != 0
        marks = {
            Suspicion.FLAGS: ~np.isin(flags, [int(f) for f in (*_PLAIN, Flag.COMPRESS_PAGE)]),
            Suspicion.HOOK: (flags & np.uint16(Flag.HOOK)) != 0,
            Suspicion.FLUSH: flags == np.uint16(Flag.MULTIFD_FLUSH),
            Suspicion.FILL: fill,
            Suspicion.COMPRESSED: (flags & np.uint16(Flag.COMPRESS_PAGE)) != 0,
            Suspicion.NAMELESS: pages & ~named,
            Suspicion.BLOCK: named & ~there[block],
            Suspicion.BOUNDS: named & (piece.address >= lengths[block]),
            Suspicion.DELTA: deltas & (foreign | (piece.header_flags != HeaderFlag.XBRLE)),
        }
        for suspicion, rows in marks.items():
            if suspicion not in found and (rows & main).any():
                found[suspicion] = start + int(np.argmax(rows & main))
    return found


def _lengths(
    stream: Stream, blocks: tuple[tuple[bytes, int], ...] | None
) -> "tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], np.ndarray[tuple[int], np.dtype[np.bool_]]]":
    """By a block's index its length in bytes at the destination, (blocks + 1,) uint64, and whether it is there, bool.

    Blocks that fw_cfg made have the stream's own length, since they are resized.
    """
    own = {} if blocks is None else dict(blocks)
    lengths, there = np.zeros(len(stream.blocks) + 1, np.uint64), np.zeros(len(stream.blocks) + 1, bool)
    for i, block in enumerate(stream.blocks):
        has = block.declared if blocks is None else block.name in own
        resized = block.declared and block.name.startswith(b"/rom@")
        lengths[i] = block.length if blocks is None or resized else own.get(block.name, 0)
        there[i] = has
    return lengths, there


@once
def block_lists(stream: Stream) -> list[int]:
    """The rows of block lists, the first of them."""
    rows: list[int] = []
    columns = stream.records.columns
    for start in range(0, len(columns), PIECE):
        kinds = columns.kind[start : start + PIECE]
        rows += (np.flatnonzero(kinds == Kind.MEM_SIZE) + start).tolist()
        if len(rows) >= LISTS_MAX:
            break
    return rows[:LISTS_MAX]
