"""`xbrle diff`: what differs between the memories of two captures, or of one at two moments."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import click

import xbrletools

from ..analysis.diff import BlockDifference, Change, Difference, blocks_differ, differences, memory_of_pass
from ..errors import XbrleError
from ..memory.image import Image
from ..memory.replay import View
from ..source.opening import Input
from ..text import shown
from . import EXIT_FINDINGS, reading, salvaging, viewing
from .output import report

RANGES = 3  # ranges of a page that its line names

_MEANING = {
    Change.VALUE: "differ",
    Change.GAINED: "unknown in the first",
    Change.LOST: "unknown in the second",
}


@click.command()
@reading
@salvaging
@click.argument("other", metavar="[S2]", required=False)
@click.option("--at", type=int, metavar="RECORD", help="S just after this record, not at the end.")
@click.option("--to", type=int, metavar="RECORD", help="S2, or S without it, just after this record.")
@click.option("--pass", "passes", metavar="P[-Q]", help="What these passes of S changed.")
@viewing
@click.option(
    "--to-view",
    type=click.Choice(["receiver", "sender"]),
    help="The view of S2, or of S without it, where that is another than --view.",
)
@click.option("--to-channel", multiple=True, metavar="FILE", help="A multifd channel beside S2; --channel is of S.")
@click.option("--to-snapshot", metavar="NAME", help="Which internal snapshot of S2, a qcow2 image; --snapshot is of S.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def command(
    capture: str | Input,
    other: str | None,
    at: int | None,
    to: int | None,
    passes: str | None,
    view: str,
    to_view: str | None,
    to_channel: tuple[str, ...],
    to_snapshot: str | None,
    as_json: bool,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
) -> int:
    """What differs between the memories of S and S2, or of S at two moments: --at, --to, or --pass; or in two views.

    xbrle diff S --to-view sender is what the destination has otherwise than the source had it. Blocks are the same
    where their names are. A byte that is unknown in one memory only is a difference.

    Options that say how to read a capture are for S and S2 alike, but for --channel and --snapshot, which are of S: S2
    has --to-channel and --to-snapshot.

    Exits 0 where nothing differs, 1 where something does, 2 where one cannot be read. It says nothing of damage: with
    --salvage what is in doubt is unknown, and a byte that is unknown in both differs no more than one that is the same.
    """
    if passes is not None and (other, at, to, to_view) != (None, None, None, None):
        raise click.UsageError("--pass compares S with itself, and excludes S2, --at, --to and --to-view")
    if (other, at, to, passes, to_view) == (None, None, None, None, None):
        raise click.UsageError("S with what? Give S2, or --at, --to, --pass or --to-view")
    if other is None and (to_channel or to_snapshot is not None):
        raise click.UsageError("--to-channel and --to-snapshot are of S2, and there is none")
    named = capture if isinstance(capture, Input) else Input(capture)
    if named.main == other == "-":
        raise click.UsageError("only one of S and S2 can be -: standard input can be read once only")
    with ExitStack() as opened:
        first = opened.enter_context(xbrletools.open(capture, dialect, endian, page_size))
        report(first.problems)
        second = first
        if other is not None:
            like = replace(named, main=other, channels=to_channel, snapshot=to_snapshot)
            second = opened.enter_context(xbrletools.open(like, dialect, endian, page_size))
            report(second.problems)
        if passes is not None:
            begin, end = _passes(passes, int(first.records.pass_.max(initial=0)))
            one, two = (memory_of_pass(first.stream, number, View(view)) for number in (begin - 1, end))
        else:
            one, two = first.memory(at, View(view)), second.memory(to, View(to_view or view))
        found = _as_json(one, two) if as_json else _as_text(one, two)
        differ = False
        for line in found:
            differ = True
            click.echo(line)
        if not differ and not as_json:
            click.echo("nothing differs")
        return EXIT_FINDINGS if differ else 0


def _passes(text: str, last: int) -> tuple[int, int]:
    """``P`` or ``P-Q``."""
    begin, _, end = text.partition("-")
    try:
        numbers = int(begin), int(end or begin)
    except ValueError:
        raise XbrleError(f"{text!r} is no pass; write 3 or 3-5") from None
    if not 1 <= numbers[0] <= numbers[1] <= last:
        raise XbrleError(f"there is no pass {text}; this capture has 1 to {last}")
    return numbers


def _as_json(first: Image, second: Image) -> Iterator[str]:
    for block in blocks_differ(first, second):
        yield json.dumps(
            {"type": "block", "block": shown(block.block), "first_length": block.first, "second_length": block.second}
        )
    for found in differences(first, second):
        place: dict[str, Any] = {"type": "range", "block": shown(found.block), "offset": found.offset}
        yield json.dumps(place | {"length": found.length, "change": found.change.value})


def _as_text(first: Image, second: Image) -> Iterator[str]:
    """A line a page, or a run of pages that differ wholly and in one way; then what it comes to."""
    for block in blocks_differ(first, second):
        yield _block_line(block)
    pages, counts = 0, Counter[Change]()
    for some in _pages(differences(first, second), first.space.page_size):
        pages += some.pages
        counts.update(some.counts)
        yield some.line()
    if pages:
        sums = ", ".join(
            f"{n} bytes {_MEANING[change]}" for change, n in sorted(counts.items(), key=lambda c: c[0].value)
        )
        yield f"{pages} page{'s' if pages > 1 else ''}: {sums}"


def _block_line(block: BlockDifference) -> str:
    name = shown(block.block)
    if block.second is None:
        return f"{name}: in the first only, {block.first:#x} bytes"
    if block.first is None:
        return f"{name}: in the second only, {block.second:#x} bytes"
    return f"{name}: {block.first:#x} bytes in the first, {block.second:#x} in the second"


@dataclass(slots=True)
class _Pages:
    """A page that differs, or several that follow each other and differ wholly in one way."""

    block: bytes
    page: int
    pages: int = 1
    counts: Counter[Change] = field(default_factory=Counter)
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def line(self) -> str:
        place = f"{shown(self.block)}:{self.page:#x}"
        what = ", ".join(f"{n} bytes {_MEANING[change]}" for change, n in self.counts.items())
        if self.pages > 1:
            return f"{place}  {self.pages} pages: {what}"
        named = " ".join(f"{start:#x}+{length}" for start, length in self.ranges[:RANGES])
        more = f" and {len(self.ranges) - RANGES} more" if len(self.ranges) > RANGES else ""
        return f"{place}  {what}, at {named}{more}"


def _pages(found: Iterable[Difference], size: int) -> Iterator[_Pages]:
    """Differences, gathered by the pages that they are in."""
    now: _Pages | None = None
    for piece in _split(found, size):
        page = piece.offset // size * size
        if now is not None and (now.block, now.page, now.pages) == (piece.block, page, 1):
            now.counts[piece.change] += piece.length
            now.ranges.append((piece.offset - page, piece.length))
            continue
        whole = piece.length % size == 0
        if now is not None:
            yield now
        now = _Pages(piece.block, page, piece.length // size if whole else 1)
        now.counts[piece.change] += piece.length
        now.ranges.append((piece.offset - page, piece.length))
    if now is not None:
        yield now


def _split(found: Iterable[Difference], size: int) -> Iterator[Difference]:
    """Differences cut at the borders of pages; a run of whole pages stays one."""
    for one in found:
        at, end = one.offset, one.offset + one.length
        while at < end:
            border = end // size * size if at % size == 0 and end - at >= size else min(end, (at // size + 1) * size)
            yield Difference(one.block, at, border - at, one.change)
            at = border
