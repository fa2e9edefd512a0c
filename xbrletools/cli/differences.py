"""What `xbrle diff` prints of the memories of two captures, or of one at two moments."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..analysis.blame import Writers
from ..analysis.diff import BlockDifference, Change, Difference, Tally, blocks_differ, differences, tally
from ..analysis.diffwords import MEANING, block_line, conclusion, sums
from ..capture import Capture
from ..memory.image import Image
from ..text import amount, called, shown
from . import warn
from .output import WIDTH
from .records import Writer, writers
from .writer import as_line, filled

RANGES = 3  # ranges of a page that a line lists
BYTES = 12  # of the first difference that are shown: both sides fit into a line
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Moment:
    """Memory of a capture at one moment, and who wrote it."""

    opened: Capture
    image: Image
    by: Writers

    def writer(self, block: bytes, offset: int) -> Writer | None:
        """The record that last wrote the page that holds ``offset`` of a block, None where none did."""
        space = self.image.space
        page = int(space.first[space.index(block)]) + offset // space.page_size
        return writers(self.opened, self.by.rows(np.array([page])))[0]

    def bytes(self, block: bytes, offset: int, length: int) -> bytes:
        """Some bytes of a block."""
        found: bytes = self.image[block].reshape(-1)[offset : offset + length].tobytes()
        return found


@dataclass(slots=True)
class _Page:
    """A page that differs, or a run of pages that one side does not know at all.

    ``ranges`` are (offset in the page, length, how they differ).
    """

    block: bytes
    page: int
    pages: int = 1
    ranges: list[tuple[int, int, Change]] = field(default_factory=list)

    def what(self) -> str:
        """How many bytes differ in which way."""
        counts = Counter[Change]()
        for _, length, change in self.ranges:
            counts[change] += length
        return sums(counts)


@dataclass(frozen=True)
class Sides:
    """Two memories that are compared. ``block`` is the only one that is looked at, ``limit`` how many pages are shown.

    None: all of them.
    """

    first: Moment
    second: Moment
    block: str | None
    limit: int | None

    @cached_property
    def _only(self) -> bytes | None:
        """The name of the block. It may be in one of the memories only."""
        if self.block is None:
            return None
        for space in (self.first.image.space, self.second.image.space):
            names = [b.name for b in space.blocks]
            for i in called(names, self.block)[:1]:
                return names[i]
        return names[self.first.image.space.index(self.block)]  # which says what blocks there are

    @cached_property
    def _tally(self) -> Tally:
        return tally(self.first.image, self.second.image, self._only)

    @cached_property
    def _blocks(self) -> list[BlockDifference]:
        return blocks_differ(self.first.image, self.second.image, self._only)

    @property
    def differ(self) -> bool:
        """Whether anything differs."""
        return bool(self._tally.bytes or self._blocks)

    def conclusion(self) -> str:
        """One sentence: how many pages differ, and how."""
        return filled(conclusion(self._tally))

    def as_text(self) -> Iterator[str]:
        """Lines for each block and page that differs. Pages of which one side knows nothing are taken together."""
        for block in self._blocks:
            yield block_line(block)
        for page in self._pages(together=True):
            yield from self._lines(page)

    def as_json(self) -> Iterator[str]:
        """An object for each block and page that differs."""
        for block in self._blocks:
            lengths = {"first_length": block.first, "second_length": block.second}
            yield as_line({"type": "block", "block": shown(block.block), **lengths})
        for page in self._pages(together=False):
            yield as_line(self._as_object(page))

    def say_left_out(self) -> None:
        """Say how many pages were not shown."""
        left_out = sum(self._tally.pages.values()) - (self.limit or sum(self._tally.pages.values()))
        if left_out > 0:
            warn(f"{left_out} more pages differ (--limit)")

    def _pages(self, together: bool) -> Iterator[_Page]:
        found = differences(self.first.image, self.second.image, self._only)
        left = self.limit
        for page in pages_of(found, self.first.image.space.page_size, together):
            if left is not None:
                page.pages = min(page.pages, left)
                left -= page.pages
            yield page
            if left == 0:
                return

    def _writers(self, page: _Page) -> tuple[Writer | None, Writer | None]:
        return self.first.writer(page.block, page.page), self.second.writer(page.block, page.page)

    def _lines(self, page: _Page) -> Iterator[str]:
        place = f"{shown(page.block)}:{page.page:#x}"
        if page.pages > 1:
            (_, length, change), *_ = page.ranges
            yield f"{place}  {page.pages} pages: {amount(page.pages * length)} {MEANING[change]}"
            return
        by = ["no record" if w is None else str(w) for w in self._writers(page)]
        line = f"{place}  {by[0]}" if by[0] == by[1] else f"{place}  {by[0]} | {by[1]}"
        yield from [line] if by[0] == by[1] or len(line) <= WIDTH else [f"{place}  {by[0]} |", f"{INDENT}{by[1]}"]
        sides = None
        value = next(((start, length) for start, length, change in page.ranges if change is Change.VALUE), None)
        if value is not None:
            offset, length = page.page + value[0], min(value[1], BYTES)
            sides = tuple(side.bytes(page.block, offset, length) for side in (self.first, self.second))
        yield from lines_of(page.what(), [(start, length) for start, length, _ in page.ranges], sides)

    def _as_object(self, page: _Page) -> dict[str, Any]:
        """A page as JSON has it. What begins with second is of the second memory, the rest of the first."""
        about: dict[str, Any] = {"type": "page", "block": shown(page.block), "page": page.page}
        for prefix, by in zip(("", "second_"), self._writers(page), strict=True):
            about |= written(by, prefix)
        ranges = [[start, length, change.value] for start, length, change in page.ranges]
        return about | {"bytes": sum(length for _, length, _ in page.ranges), "ranges": ranges}


def lines_of(what: str, ranges: Sequence[tuple[int, int]], sides: Iterable[bytes] | None) -> Iterator[str]:
    """How much of a page differs, where, (offset, length) each, and the first bytes of both sides, as far as known.

    The bytes stand in a line of their own where they do not fit into the first.
    """
    named = " ".join(f"{start:#x}+{length}" for start, length in ranges[:RANGES])
    more = f" and {len(ranges) - RANGES} more" if len(ranges) > RANGES else ""
    line = f"{INDENT}{what}, at {named}{more}"
    if sides is None:
        yield line
        return
    both = " | ".join(side.hex(" ") for side in sides)
    if len(line) + len(both) + 2 <= WIDTH:
        yield f"{line}: {both}"
    else:
        yield line
        yield f"{INDENT}{both}"


def written(by: Writer | None, prefix: str = "") -> dict[str, Any]:
    """A record as JSON has it, each key with a prefix. The values are None where there is no record."""
    about: dict[str, Any] = {
        "record": by and by.record,
        "pass": by and by.pass_,
        "stage": by and by.stage,
        "kind": by and by.kind,
        "offset": by and by.offset,
    }
    if by is not None and by.channel is not None:
        about["channel"] = by.channel
    return {prefix + key: value for key, value in about.items()}


def pages_of(found: Iterable[Difference], size: int, together: bool) -> Iterator[_Page]:
    """Differences by page. With ``together``, pages in a row of which one side knows nothing are one run."""
    now: _Page | None = None
    for piece in _split(found, size, together):
        page = piece.offset // size * size
        if now is not None and (now.block, now.page, now.pages) == (piece.block, page, 1):
            now.ranges.append((piece.offset - page, piece.length, piece.change))
            continue
        if now is not None:
            yield now
        whole = piece.length % size == 0
        now = _Page(piece.block, page, piece.length // size if whole else 1)
        now.ranges.append((piece.offset - page, min(piece.length, size), piece.change))
    if now is not None:
        yield now


def _split(found: Iterable[Difference], size: int, together: bool) -> Iterator[Difference]:
    """Differences, cut at the borders of pages. Pages of which one side knows nothing stay together if wanted."""
    for one in found:
        at, end = one.offset, one.offset + one.length
        keeps = together and one.change is not Change.VALUE
        while at < end:
            run = keeps and at % size == 0 and end - at >= size
            border = end // size * size if run else min(end, (at // size + 1) * size)
            yield Difference(one.block, at, border - at, one.change)
            at = border
