"""Pages that a stream's main channel does not carry: on channels that are not here, or left where they are.

Facts: formats/README.md, "multifd", "Postcopy" and "cpr". What is weighed is how many records of each kind there are,
and how many carry a page of each block, so that a pipe need not be kept for it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..formats.qevm import Command as Number
from ..formats.qevm import SectionType
from ..formats.ram import IDSTR, PAGE_KINDS, Kind
from ..model import Facts, Problem, Stream
from ..table.columns import NO_BLOCK, PIECE, Columns
from ..table.kinds import IS_PAGE
from ..text import shown
from .blocklist import IGNORE_SHARED

_CONTENT = (Kind.PAGE, Kind.XBRLE, Kind.XBZRLE, Kind.COMPRESSED)
MISSING = "channel-missing"  # the rule that a missing channel breaks
LEFT_OUT = "ram-elsewhere"  # the rule of blocks that a stream leaves out
_NAMED = 4  # blocks that a message names
_TO_FIX = "give each channel with --channel FILE"


def counted(columns: Columns) -> tuple[list[int], dict[int, int]]:
    """How many records there are of each kind, and how many carry a page of each block, by its index."""
    kinds, of_blocks = np.zeros(len(Kind), np.int64), Counter[int]()
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        of_kinds = np.bincount(piece.kind, minlength=len(Kind))
        kinds += of_kinds
        has_others = of_kinds[~IS_PAGE[: len(Kind)]].any()
        counts = np.bincount(piece.block[IS_PAGE[piece.kind]] if has_others else piece.block)
        of_blocks.update({int(i): int(counts[i]) for i in np.flatnonzero(counts)})
    of_blocks.pop(NO_BLOCK, None)
    return kinds.tolist(), dict(of_blocks)


def is_multifd(kinds: Sequence[int]) -> bool:
    """Whether pages may have come on channels: MULTIFD_FLUSH says so, or there are no pages but those of zeros.

    Before 8.1 only pages of zeros came on the main channel of multifd [C].
    """
    return bool(kinds[Kind.FLUSH]) or not has_content(kinds)


def has_content(kinds: Sequence[int]) -> bool:
    """Whether some record has a page that is not of one byte. ``kinds`` counts the records by kind."""
    return any(kinds[k] for k in _CONTENT)


def postcopy_run(facts: Facts) -> int | None:
    """The offset of the command that let the guest go on at the destination, or None where it did not."""
    places = (i for i, number in enumerate(facts.commands.numbers) if number == Number.POSTCOPY_RUN)
    return next((facts.commands[i].offset for i in places), None)


def skips(columns: Columns, page_size: int, of_blocks: Mapping[int, int]) -> bool:
    """Whether the pages that came leave holes: the first sweep over a block sends every page up to where it is.

    ``of_blocks`` counts the records that carry a page of each block, by its index. Where a page has a higher number
    than that there are holes, so that no more than a byte a record is needed.
    """
    room = np.zeros(max(of_blocks, default=-1) + 1, np.int64)
    room[list(of_blocks)] = list(of_blocks.values())
    first = np.cumsum(room) - room
    came = np.zeros(int(room.sum()), bool)  # the first pages of each block, as many as it has records
    last = np.full(len(room), -1, np.int64)
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        rows = np.flatnonzero(IS_PAGE[piece.kind] & (piece.block != NO_BLOCK))
        block, pages = piece.block[rows], piece.address[rows] // np.uint64(page_size)
        if (pages >= room[block].astype(np.uint64)).any():
            return True
        came[first[block] + pages.astype(np.int64)] = True
        np.maximum.at(last, block, pages.astype(np.int64))
    return not all(came[at : at + end + 1].all() for at, end in zip(first.tolist(), last.tolist(), strict=True))


def problems(facts: Facts, kinds: Sequence[int], of_blocks: Mapping[int, int], holes: bool = False) -> list[Problem]:
    """What to say of a main channel without others: which channels must be missing, which blocks it leaves out.

    ``kinds`` counts the records by kind, ``of_blocks`` those that carry a page of a block, by its index. ``holes``:
    `skips` holds of them.
    """
    if facts.mapped_ram:
        return left_out(facts, of_blocks)
    if facts.ram_version is None:
        return []
    offset = _offset(facts)
    if kinds[Kind.FLUSH] and (not has_content(kinds) or postcopy_run(facts) is not None):
        message = f"MULTIFD_FLUSH records show a multifd migration, and none of its channels is here: {_TO_FIX}"
        return [Problem(MISSING, offset, message, lost=True)]
    if facts.gaps or not (facts.complete or holes):
        return []
    if facts.complete and not facts.ram_ended and not any(kinds[k] for k in PAGE_KINDS):
        return [Problem("truncated", facts.end, "the stream ends after RAM's START: RAM itself is missing", lost=True)]
    short = [
        i for i, b in enumerate(facts.blocks) if b.declared and of_blocks.get(i, 0) < -(-b.length // facts.page_size)
    ]
    empty = [i for i in short if not of_blocks.get(i, 0)]
    iterates = any(
        s.type is SectionType.PART and s.owner is not None and s.owner.idstr == IDSTR for s in facts.sections
    )
    if IGNORE_SHARED in facts.capabilities:
        # a block that is not shared is sent whole, and a sender does not iterate where all are shared
        sent = holes or len(empty) < len(short) if kinds[Kind.DUP] else iterates
        if has_content(kinds) or not sent:
            return left_out(facts, of_blocks)
    if not (empty or holes) or has_content(kinds) or not facts.reading.configured:
        return []
    if not kinds[Kind.DUP] and not iterates:
        why = "no RAM section holds a page, as when cpr-transfer hands memory over in place"
        return [_left_out(facts, empty, offset, why)]
    what = "only pages of zeros are here" if kinds[Kind.DUP] else "no RAM section holds a page"
    message = (
        f"{what}: the other pages of {_listed(facts, short)} came on channels (multifd) that are not here: {_TO_FIX}"
    )
    return [Problem(MISSING, offset, message, lost=True)]


def noted(stream: Stream) -> Stream:
    """The stream, with what its records say of channels that are missing and of blocks that it leaves out.

    Where multifd's channels are missing altogether nothing is known: every page could have come on them, whatever the
    main channel says of it.
    """
    facts, columns = stream.facts, stream.records.columns
    kinds, of_blocks = counted(columns)
    if stream.channels:
        found = left_out(facts, of_blocks)
    else:
        found = problems(
            facts, kinds, of_blocks, not has_content(kinds) and skips(columns, stream.page_size, of_blocks)
        )
    if not found:
        return stream
    broken = 0 if any(p.lost for p in found) else stream.broken
    return replace(stream, facts=replace(facts, problems=(*facts.problems, *found)), broken=broken)


def left_out(facts: Facts, of_blocks: Mapping[int, int]) -> list[Problem]:
    """The shared blocks that x-ignore-shared left out of a complete stream. ``of_blocks`` is as in `problems`.

    A block of mapped-ram may be all zero and have no record: its entry says whether it has pages.
    """
    if facts.mapped_ram:
        empty = [m.block for m in facts.mapped if m.pages is None]
    else:
        empty = [i for i, b in enumerate(facts.blocks) if b.declared and b.length and not of_blocks.get(i, 0)]
    if not facts.complete or IGNORE_SHARED not in facts.capabilities or not empty:
        return []
    return [_left_out(facts, empty, _offset(facts), "the capability x-ignore-shared leaves shared memory where it is")]


def _offset(facts: Facts) -> int:
    return next((s.offset for s in facts.sections if s.owner is not None and s.owner.idstr == IDSTR), 0)


def _left_out(facts: Facts, blocks: Sequence[int], offset: int, why: str) -> Problem:
    return Problem(LEFT_OUT, offset, f"not in this stream: {_listed(facts, blocks)}. {why[0].upper()}{why[1:]}")


def _listed(facts: Facts, blocks: Sequence[int]) -> str:
    names = ", ".join(shown(facts.blocks[i].name) for i in blocks[:_NAMED])
    return names + (f" and {len(blocks) - _NAMED} more blocks" if len(blocks) > _NAMED else "")
