"""Two moments of the capture, or one of it and the end of another capture: which pages differ, and by how much."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.diff import PARTS, BlockDifference, PageChanges, blocks_differ, page_changes
from ..capture import Capture
from ..memory.history import Content
from ..memory.image import Image, PageSpace
from ..memory.moments import page_of, space_of
from ..memory.parts import memories_between, memories_of_two
from ..memory.replay import View
from ..text import bytes_of, shown
from .session import PagePlace, Session, Side

#: Called with what is being done, and how much of that is, from 0 to 1. It gives whether to go on.
Progress = Callable[[str, float], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The pages that differ, n of them, by block and then by address. Pages and blocks are those of the capture itself.

    ``block`` (n,) int64 is the block's index. The other columns are those of `PageChanges`. ``differ`` are the blocks
    that only one of two captures has, or that are longer in one. ``lacking`` says what of the other capture is missing.
    """

    space: PageSpace
    block: NDArray[np.int64]
    address: NDArray[np.int64]
    count: NDArray[np.int64]
    one_sided: NDArray[np.int64]
    parts: NDArray[np.uint16]
    differ: tuple[BlockDifference, ...] = ()
    lacking: str | None = None

    def __len__(self) -> int:
        return len(self.address)

    @property
    def main(self) -> int:
        """The block with most pages that differ, where none does the block that is the capture's main one."""
        return int(np.bincount(self.block).argmax()) if len(self) else self.space.main

    def of_block(self, block: int) -> slice:
        """The pages of a block."""
        return slice(*np.searchsorted(self.block, [block, block + 1]).tolist())

    def row_of(self, place: PagePlace) -> int | None:
        """Which of the pages that differ is this one, None where it does not differ."""
        pages = self.of_block(place[0])
        row = pages.start + int(np.searchsorted(self.address[pages], place[1]))
        return row if row < pages.stop and self.address[row] == place[1] else None

    def places(self, rows: NDArray[np.int64], cells: int) -> NDArray[np.float64]:
        """What share of each of ``cells`` equal parts of some pages differs, (rows, cells) from 0 to 1."""
        share = self.parts[rows] / max(1, self.space.page_size // PARTS)
        if cells >= PARTS:
            return np.asarray(share[:, np.arange(cells) * PARTS // cells])
        starts = np.arange(cells) * PARTS // cells
        return np.asarray(np.add.reduceat(share, starts, axis=1) / np.diff(starts, append=PARTS))


def usual_sides(session: Session, other: Capture | None) -> tuple[Side, Side]:
    """What is compared where nobody chose: the end of pass 1 with the end, or the ends of two captures."""
    end = Side(None, max(0, len(session) - 1))
    if other is not None:
        return end, Side(None, 0, other=True)
    passes = session.film.passes if session.film is not None else ()
    begins = [row for number, row in passes if number > 1]
    return (side_at(session, begins[0] - 1) if begins else Side(0, 0)), end


def side_at(session: Session, row: int) -> Side:
    """The memory of the capture itself just after a row."""
    record = session.record(row)
    if record is None or record.number is None:
        before = session.next_page(row, -1)
        record = session.record(before) if before is not None else None
    number = record.number if record is not None else 0
    last = session.table.records if session.table is not None else 0
    return Side(None if number == last and row >= len(session) - 1 else number, row)


def choose_side(session: Session, other: Capture | None, which: int) -> None:
    """Make the moment A (0), and the end B. Or make it B (1), and leave A. Another capture is always at its end."""
    here = side_at(session, session.row)
    first, end = usual_sides(session, other)[0], Side(None, max(0, len(session) - 1))
    if other is not None:
        first = end = Side(None, 0, other=True)
    elif session.sides is not None:
        first = session.sides[0]
    session.sides = (here, end) if which == 0 else (first, here)


def words_of(session: Session, side: Side, other: Capture | None) -> str:
    """What a side is, in words."""
    if side.other and other is not None:
        return f"the end of {shown(bytes_of(other.name.rpartition('/')[2]))}"
    last = session.table.records if session.table is not None else 0
    if side.number == 0:
        return "before the first record"
    record = session.record(side.row)
    following = session.next_page(side.row, 1)
    after = session.record(following) if following is not None else None
    if side.number is None or after is None:
        return f"record {last}, the end" if last else "the end"
    if record is None or record.number is None:
        before = session.next_page(side.row, -1)
        record = session.record(before) if before is not None else None
    passes = (record.pass_ if record is not None else None), after.pass_
    ends = "end of " if passes[0] != passes[1] else ""
    return f"record {side.number}, {ends}pass {passes[0]}"


def compared(
    session: Session, other: Capture | None, sides: tuple[Side, Side], view: View, progress: Progress
) -> Comparison | None:
    """Compare two memories: a thread's work. None where ``progress`` says that nobody waits for it any longer.

    Raises:
        XbrleError: a capture cannot be read.
    """
    stream = session.stream()
    differ: tuple[BlockDifference, ...] = ()
    lacking = None
    if not progress("rebuilding memory", 0):
        return None
    if other is not None and any(side.other for side in sides):
        own = next((side for side in sides if not side.other), sides[0])
        parts = memories_of_two(stream, own.number, other.stream, view)
        differ = tuple(blocks_differ(Image(space_of(stream)), Image(space_of(other.stream))))
        lost = [p.message for p in other.problems if p.lost]
        lacking = lost[0] if lost else other.damage.message if other.damage is not None else None
    else:
        parts = memories_between(stream, sides[0].number, sides[1].number, view)
    space, found, blocks = space_of(stream), list[PageChanges](), list[NDArray[np.int64]]()
    for first, second, share in parts:
        for piece in page_changes(first, second):
            if len(piece):
                found.append(piece)
                blocks.append(np.full(len(piece), space.index(piece.block)))
        if not progress("comparing memory", share):
            return None
    block_of = np.concatenate([np.zeros(0, np.int64), *blocks])
    order = np.argsort(block_of, kind="stable")
    zero = np.zeros(0, np.int64)
    none = PageChanges(b"", 0, zero, zero, zero, np.zeros((0, PARTS), np.uint16))

    def joined(name: str) -> Any:
        return np.concatenate([getattr(piece, name) for piece in (none, *found)])[order]

    return Comparison(
        space,
        block_of[order],
        joined("address"),
        joined("count"),
        joined("one_sided"),
        joined("parts"),
        differ,
        lacking,
    )


def side_words(session: Session, other: Capture | None) -> list[tuple[str, str]]:
    """What A and B are, on a line."""
    first, second = (words_of(session, side, other) for side in sides_of(session, other))
    return [(" A ", "strong"), (first, ""), ("  B ", "strong"), (second, "")]


def sides_of(session: Session, other: Capture | None) -> tuple[Side, Side]:
    """What is compared: what the user chose, else the usual."""
    return session.sides or usual_sides(session, other)


def contents(
    session: Session, other: Capture | None, sides: tuple[Side, Side], view: View, place: PagePlace
) -> tuple[Content | None, Content | None]:
    """One page as each side has it, None where it does not have such a page. This is a thread's work.

    Raises:
        XbrleError: a capture cannot be read.
    """
    stream = session.stream()
    name = space_of(stream).blocks[place[0]].name
    out: list[Content | None] = []
    for side in sides:
        of = other.stream if side.other and other is not None else stream
        space = space_of(of)
        block = next((b for b in space.blocks if b.name == name), None)
        if block is None or place[1] >= block.length or space.page_size != space_of(stream).page_size:
            out.append(None)
        else:
            out.append(page_of(of, name, place[1]).at(side.number, view))
    return out[0], out[1]
