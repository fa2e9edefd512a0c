"""What `xbrle diff` does with a capture and a dump of memory: the conclusion first, then each page that differs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from ..analysis.against import Alone, Compared, Counterparts, Outcome, by_block, compare, counterparts
from ..analysis.blame import Writers
from ..analysis.diff import Change
from ..analysis.diffwords import sums
from ..capture import Capture
from ..memory.image import Image
from ..memory.replay import View
from ..physical.layout import PhysicalMap
from ..source.dumps import Dump, Form, Space, raw_at
from ..text import counted, label, shown
from . import EXIT_FINDINGS, hexview, warn
from .addresses import map_from
from .differences import BYTES, INDENT, lines_of, written
from .faults import say_verdict
from .output import progress, report
from .records import Writer, writers
from .sides import Side
from .writer import filled, say, say_object

ALONE_MAX = 20  # parts without counterpart that a person sees
PIECE = 1 << 10  # pages whose records are looked up together


@dataclass(frozen=True, slots=True)
class Given:
    """The dump that a user gives, and what he says of it: None where nothing.

    ``space`` and ``image_at`` say what the places in a raw dump are, and where it begins.
    """

    side: Side
    space: str | None
    image_at: int | None
    map_file: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is compared: the moment and view of the capture, one block or all. ``limit``: how many pages are shown."""

    at: int | None
    view: View
    block: str | None
    limit: int | None
    as_json: bool


def show(opened: Capture, given_dump: Given, wanted: Wanted) -> int:
    """Compare, and print what differs. Returns the exit status: 1 also where a part could not be compared."""
    status = max(report(opened.problems), say_verdict(opened, wanted.at, wanted.view))
    block = None if wanted.block is None else opened.space.index(wanted.block)
    dump = _placed(opened, given_dump, block)
    where = map_from(opened, given_dump.map_file) if dump.space is Space.PHYSICAL else None
    if where is None and given_dump.map_file is not None:
        raise click.UsageError(f"--map is for guest-physical addresses, and {dump.name} has offsets in RAM blocks")
    both = counterparts(opened.space, dump, where, block)
    image = opened.memory(wanted.at, wanted.view)
    with progress("comparing", sum(s.length for s in both.spans)) as on:
        outcome = compare(image, both.spans, dump.unknown, on)
    for note in (*dump.notes, *_of_map(where, both)):
        warn(note)
    found = _Found(opened, dump, image, both, outcome, wanted)
    if wanted.as_json:
        found.as_json()
    else:
        found.as_text()
    whole = outcome.is_whole and outcome.equal and not (both.alone or dump.missing or (where and where.assumed))
    return EXIT_FINDINGS if status or len(outcome.pages) or not whole else 0


def _placed(opened: Capture, given_dump: Given, block: int | None) -> Dump:
    """The dump, with its place where it is raw: as the user says, else as its sidecar does, else the main block."""
    dump, start = given_dump.side.dump(), given_dump.image_at or 0
    if dump.form is not Form.RAW:
        if given_dump.space is not None or start:
            raise click.UsageError(f"--space and --image-at are for raw images, and {dump.name} is not one")
        return dump
    space = Space(given_dump.space) if given_dump.space is not None else dump.space or Space.BLOCK
    if space is Space.PHYSICAL:
        return raw_at(dump, start, None)
    (part,) = dump.parts
    if block is None and part.block is not None:
        return raw_at(dump, start, part.block)
    if block is None:
        block = opened.space.main
        _hint(opened, dump, block)
    return raw_at(dump, start, opened.blocks[block].name)


def _hint(opened: Capture, dump: Dump, main: int) -> None:
    """Say what a raw image is taken for where it has another length."""
    length, block = dump.parts[0].length, opened.blocks[main]
    like = [shown(b.name) for b in opened.blocks if b.declared and b.length == length]
    if length != block.length:
        as_long = f", but it is as long as {like[0]}; to compare that: --block {like[0]}" if like else ""
        warn(f"{dump.name} is taken as a raw image of {shown(block.name)}, which has another length{as_long}")


def _of_map(where: PhysicalMap | None, both: Counterparts) -> Iterator[str]:
    """What is to be said of the map that a comparison by addresses went through."""
    if where is None:
        return
    yield f"guest-physical map from {where.origin}"
    yield from where.notes
    if where.assumed:
        yield "the map rests on a rule that may not hold for this guest"
    if both.hidden:
        yield f"{both.hidden:#x} bytes of the capture are not compared: the guest does not see them as memory"


@dataclass(frozen=True, slots=True)
class _Found:
    """What comparing gave, for a person or a script."""

    opened: Capture
    dump: Dump
    image: Image
    both: Counterparts
    outcome: Outcome
    wanted: Wanted

    def as_text(self) -> None:
        """Print the conclusion, what was not compared, and a line or two for each page."""
        for line in (self._conclusion(), *self._not_compared()):
            say(filled(label(line), INDENT))
        for page in self._pages():
            for line in page.lines():
                say(line)
        self._say_left_out()

    def as_json(self) -> None:
        """Print an object for each page, and for each part that was not compared. The conclusion is for a person."""
        warn(self._conclusion())
        for page in self._pages():
            say_object(page.as_object())
        for alone in self.both.alone:
            about = {"type": "uncompared", "where": alone.where, "length": alone.length, "reason": alone.reason}
            say_object(about)
        for missing in self.dump.missing:
            say_object({"type": "uncompared", "where": self.dump.name, "length": None, "reason": missing})
        self._say_left_out()

    def _say_left_out(self) -> None:
        left_out = len(self.outcome.pages) - (self.wanted.limit or len(self.outcome.pages))
        if left_out > 0:
            warn(f"{left_out} more pages differ (--limit)")

    def _conclusion(self) -> str:
        """One sentence: what differs, and how much of memory that says something about."""
        out = self.outcome
        blocks = Counter(self.both.spans[i].block for i in out.spans.tolist())
        names = [f"{counted(n, 'page')} of {shown(self.opened.blocks[b].name)}" for b, n in sorted(blocks.items())]
        if len(names) == 1:
            first = f"{names[0]} {'differs' if len(out.pages) == 1 else 'differ'}, by {counted(out.bytes, 'byte')}"
        elif names:
            first = f"{counted(len(out.pages), 'page')} differ, by {counted(out.bytes, 'byte')}: {', '.join(names)}"
        elif out.equal or out.partly:
            first = f"every page that is known is equal: {counted(out.equal, 'page')}"
        else:
            first = "nothing could be compared"
        more = [f"{counted(out.equal, 'page')} equal"] if names and out.equal else []
        if out.partly:
            more.append(f"{counted(out.partly, 'page')} equal as far as known")
        if out.unknown:
            more.append(f"{counted(out.unknown, 'page')} unknown in the capture")
        if out.unsaid:
            more.append(f"{counted(out.unsaid, 'page')} unknown in {self.dump.name}")
        alone = sum(a.length for a in self.both.alone)
        if alone:
            more.append(f"{alone:#x} bytes without counterpart")
        return f"{first}; {', '.join(more)}" if more else first

    def _not_compared(self) -> Iterator[str]:
        alone: Sequence[Alone] = self.both.alone
        yield from map(str, alone[:ALONE_MAX])
        if len(alone) > ALONE_MAX:
            rest = sum(a.length for a in alone[ALONE_MAX:])
            yield f"{len(alone) - ALONE_MAX} more parts, {rest:#x} bytes, are not compared (--json lists them)"
        for missing in self.dump.missing:
            yield f"{self.dump.name}: {missing}"

    def _pages(self) -> Iterator["_Page"]:
        """The pages that differ, as many as are wanted."""
        by = Writers(self.opened.stream, self.wanted.at)
        pages, spans = (c[: self.wanted.limit] for c in (self.outcome.pages, self.outcome.spans))
        last, compared, unknowns = -1, None, by_block(self.dump.unknown)
        for start in range(0, len(pages), PIECE):
            part = slice(start, start + PIECE)
            records = writers(self.opened, by.rows(pages[part]))
            for page, i, record in zip(pages[part].tolist(), spans[part].tolist(), records, strict=True):
                if compared is None or i != last:
                    last, compared = i, Compared(self.image, self.both.spans[i], unknowns)
                yield self._page(page, self.both.spans[i].block, compared, record)

    def _page(self, page: int, block: int, compared: Compared, record: Writer | None) -> "_Page":
        known, _ = compared.known(page)
        mine, theirs = self.image.pages[page], compared.theirs(np.array([page]))[0]
        differs = known & (mine != theirs)
        offset = (page - int(self.image.space.first[block])) * self.image.space.page_size
        first, length = hexview.runs(differs)[0]
        shown_bytes = slice(first, first + min(length, BYTES))
        return _Page(
            shown(self.opened.blocks[block].name),
            offset,
            compared.address(page),
            record,
            hexview.runs(differs),
            mine[shown_bytes].tobytes(),
            theirs[shown_bytes].tobytes(),
        )


@dataclass(frozen=True, slots=True)
class _Page:
    """A page that differs: its ranges as (offset in the page, length), and the first bytes of the first of them."""

    block: str
    page: int
    address: int | None
    record: Writer | None
    ranges: list[tuple[int, int]]
    mine: bytes
    theirs: bytes

    @property
    def count(self) -> int:
        """How many of its bytes differ."""
        return sum(length for _, length in self.ranges)

    def lines(self) -> Iterator[str]:
        """Where it is, how much of it differs, which record wrote it last, and the first bytes on both sides."""
        by = "no record: a page of zeros" if self.record is None else str(self.record)
        at = "" if self.address is None else f" at address {self.address:#x}"
        yield filled(f"{self.block}:{self.page:#x}{at}  {by}", INDENT)
        yield from lines_of(sums(Counter({Change.VALUE: self.count})), self.ranges, (self.mine, self.theirs))

    def as_object(self) -> dict[str, Any]:
        """The page as JSON has it."""
        about = {"type": "page", "block": self.block, "page": self.page}
        if self.address is not None:
            about["address"] = self.address
        ranges = [[start, length, Change.VALUE.value] for start, length in self.ranges]
        return about | written(self.record) | {"bytes": self.count, "ranges": ranges}
