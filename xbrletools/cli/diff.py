"""`xbrle diff`: what differs between the memories of two captures, or of one at two moments."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import click

from ..analysis.devices import DeviceDifference, What, device_differences
from ..analysis.diff import BlockDifference, Change, Difference, blocks_differ, differences, memory_of_pass
from ..capture import Capture
from ..errors import XbrleError
from ..memory.image import Image
from ..memory.replay import View
from ..text import label, shown
from . import EXIT_FINDINGS, warn
from .options import (
    before,
    examples,
    json_lines,
    moment,
    moment_options,
    opening,
    record_at,
    refuse,
    salvaging,
    viewing,
)
from .output import report
from .writer import say

RANGES = 3  # ranges that the line of a page lists
RAW_BYTES = 16  # bytes, or numbers of a row, that a line shows of a value
VALUE_MAX = 1 << 16  # bytes of a value that JSON has
CHANGED = 1 << 10  # places that JSON lists

_MEANING = {
    Change.VALUE: "differ",
    Change.GAINED: "unknown in the first",
    Change.LOST: "unknown in the second",
}


def _usage(
    other: str | None,
    at: int | None,
    at_pass: int | None,
    to: int | None,
    to_pass: int | None,
    passes: str | None,
    to_view: str | None,
    only: str | None,
) -> None:
    if only == "devices":
        moments = ("at", "at_pass", "to", "to_pass", "passes")
        refuse("cannot be used with --only devices, which are as they are at the end", *moments)
        refuse("cannot be used with --only devices", "view", "to_view")
        if other is None:
            raise click.UsageError("--only devices needs S2")
    given = any(v is not None for v in (other, at, at_pass, to, to_pass, to_view))
    if passes is not None and given:
        raise click.UsageError("--pass compares S with itself: it excludes S2, --at, --to and --to-view")
    if passes is None and not given:
        raise click.UsageError("nothing to compare S with: give S2, --at, --to, --pass or --to-view")


def _usage_of_second(capture: str, other: str | None, to_channel: tuple[str, ...], to_snapshot: str | None) -> None:
    if other is None and (to_channel or to_snapshot is not None):
        raise click.UsageError("--to-channel and --to-snapshot need S2")
    if capture == other == "-":
        raise click.UsageError("only one of S and S2 can be -: standard input can be read only once")


@click.command(
    epilog=examples(
        "diff samples/posted-8m.bin --at 2000 --to 2500",
        "diff samples/posted-8m.bin --pass 2-3 --json",
        "diff samples/posted-8m.bin --to-view sender",
    )
)
@before(_usage)
@before(_usage_of_second)
@salvaging
@click.argument("other", metavar="[S2]", required=False)
@moment("Take S just after this record (default: at the end).", "Take S")
@moment_options(
    "Take S2, or S if S2 is not given, just after this record (default: at the end).",
    "Take S2, or S if S2 is not given,",
    "to",
)
@click.option(
    "--only",
    type=click.Choice(["memory", "devices"]),
    help="Compare only memory, or only devices (default: both, where S2 is given without --at and --to).",
)
@click.option("--pass", "passes", metavar="P[-Q]", help="Show what these passes (sweeps over memory) of S changed.")
@viewing
@click.option(
    "--to-view",
    type=click.Choice(["receiver", "sender"]),
    help="Whose memory S2 shows, or the second S if S2 is not given (default: as --view).",
)
@click.option("--to-channel", multiple=True, metavar="FILE", help="A channel of S2's migration. Repeatable.")
@click.option("--to-snapshot", metavar="NAME", help="Internal snapshot of S2, a qcow2 image (default: the last).")
@json_lines
def command(
    opened: Capture,
    other: str | None,
    at: int | None,
    to: int | None,
    to_pass: int | None,
    only: str | None,
    passes: str | None,
    view: str,
    to_view: str | None,
    to_channel: tuple[str, ...],
    to_snapshot: str | None,
    as_json: bool,
) -> int:
    """Compare memory and devices of S and S2, or memory of S at two moments, before and after passes, or in two views.

    Of devices, it compares which sections there are, their versions and sizes, their subsections, and the fields that
    the VM description names.

    RAM blocks are matched by name. A byte that is unknown in only one of the two counts as a difference. A byte that
    is unknown in both does not. With --to-view sender, S is compared with what the source really held.

    The options for reading a capture apply to S and S2. Only --channel and --snapshot are for S alone. For S2 use
    --to-channel and --to-snapshot.

    Exit status: 0 the memories are equal, 1 they differ, or channels are missing and so most of memory, 2 a capture
    cannot be read. Damage does not change the exit status.
    """
    report(opened.problems)
    with ExitStack() as stack:
        second = opened
        if other is not None:
            like = {"capture": other, "channel": to_channel, "snapshot": to_snapshot}
            second = stack.enter_context(opening(click.get_current_context().params | like))
            report(second.problems)
        to = record_at(second, to, to_pass)
        with_devices = only == "devices" or (only is None and other is not None and (at, to) == (None, None))
        differ = False
        for line in _devices(opened, second, as_json) if with_devices else ():
            differ = True
            say(line)
        if only == "devices":
            return _result(differ, as_json)
        lost = any(p.lost for p in (*opened.problems, *second.problems))
        if passes is not None:
            begin, end = _passes(passes, int(opened.records.pass_.max(initial=0)))
            one, two = (memory_of_pass(opened.stream, number, View(view)) for number in (begin - 1, end))
        else:
            one, two = opened.memory(at, View(view)), second.memory(to, View(to_view or view))
        for line in _as_json(one, two) if as_json else _as_text(one, two):
            differ = True
            say(line)
        if lost and not differ:
            warn("channels are missing: what is unknown in both was not compared")
            return EXIT_FINDINGS
        return _result(differ, as_json)


def _result(differ: bool, as_json: bool) -> int:
    """The exit status. A person is told where nothing differs."""
    if not differ and not as_json:
        say("nothing differs")
    return EXIT_FINDINGS if differ else 0


def _devices(first: Capture, second: Capture, as_json: bool) -> Iterator[str]:
    """A line for each difference between the devices of two captures."""
    for found in device_differences(first.stream, second.stream):
        yield json.dumps(_device_json(found)) if as_json else _device_line(found)


def _device_json(found: DeviceDifference) -> dict[str, Any]:
    return {
        "type": "device",
        "what": found.what.value,
        "section": None if found.section is None else shown(found.section),
        "instance": found.instance,
        "field": None if found.field is None else label(found.field),
        "first": _plain(found.first, found.what),
        "second": _plain(found.second, found.what),
        "first_size": None if found.sizes is None else found.sizes[0],
        "second_size": None if found.sizes is None else found.sizes[1],
        "changed": list(found.changed[:CHANGED]),
    }


def _plain(value: Any, what: What) -> Any:
    """A value as JSON can hold it: names as text, other bytes as hexadecimal digits."""
    if isinstance(value, tuple):
        return [_plain(v, what) for v in value]
    if isinstance(value, bytes):
        return shown(value) if what in (What.MACHINE, What.CAPABILITIES) else value[:VALUE_MAX].hex()
    return value


def _device_line(found: DeviceDifference) -> str:
    words = [found.what.value] if found.section is None else [shown(found.section)]
    if found.instance:
        words.append(f"instance {found.instance}")
    if found.field is not None:
        words.append(label(found.field))
    elif found.section is not None:
        words.append(found.what.value)
    return f"{'  '.join(words)}: {_difference_words(found)}"


def _difference_words(found: DeviceDifference) -> str:
    if found.first is None or found.second is None:
        where, value, size = (
            ("second", found.second, found.sizes and found.sizes[1])
            if found.first is None
            else ("first", found.first, found.sizes and found.sizes[0])
        )
        if found.what is What.SECTION:
            return f"in the {where} only, {value} bytes"
        return f"in the {where} only, {size} bytes: {_value_words(value, found.what)}" if size else f"{where} only"
    sizes = "" if found.sizes is None else f"{found.sizes[0]} bytes and {found.sizes[1]} bytes: "
    if len(found.changed) and isinstance(found.first, tuple | bytes):
        at = found.changed[0]
        more = f"{len(found.changed)} of {len(found.first)} differ, first at {at:#x}: "
        return f"{more}{_value_words(found.first[at], found.what)} and {_value_words(found.second[at], found.what)}"
    return f"{sizes}{_value_words(found.first, found.what)} and {_value_words(found.second, found.what)}"


def _value_words(value: Any, what: What) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value} bytes" if what is What.SIZE else f"{value:#x}" if what is not What.VERSION else str(value)
    if isinstance(value, bytes):
        if what in (What.MACHINE, What.CAPABILITIES):
            return shown(value)
        return value[:RAW_BYTES].hex(" ") + (" ..." if len(value) > RAW_BYTES else "")
    more = " ..." if len(value) > RAW_BYTES else ""
    return ", ".join(_value_words(v, what) for v in value[:RAW_BYTES]) + more


def _passes(text: str, last: int) -> tuple[int, int]:
    """The first and last pass of ``P`` or ``P-Q``, where ``last`` is the last that there is."""
    begin, _, end = text.partition("-")
    try:
        numbers = int(begin), int(end or begin)
    except ValueError:
        raise XbrleError(f"invalid pass {text!r}: use a number or a range, for example 3 or 3-5") from None
    if not 1 <= numbers[0] <= numbers[1] <= last:
        raise XbrleError(f"pass {text} does not exist: this capture has passes 1 to {last}")
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
    """A line for each page, or for a run of pages that differ wholly and in one way. Then the sums."""
    for block in blocks_differ(first, second):
        yield _block_line(block)
    pages, counts = 0, Counter[Change]()
    for run in _pages(differences(first, second), first.space.page_size):
        pages += run.pages
        counts.update(run.counts)
        yield run.line()
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
    """A page that differs, or a run of pages that differ wholly in one way."""

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
    """Differences, gathered by page."""
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
    """Differences, cut at the borders of pages. A run of whole pages stays together."""
    for one in found:
        at, end = one.offset, one.offset + one.length
        while at < end:
            border = end // size * size if at % size == 0 and end - at >= size else min(end, (at // size + 1) * size)
            yield Difference(one.block, at, border - at, one.change)
            at = border
