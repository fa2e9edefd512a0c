"""`xbrle diff`: what differs between the memories of two captures, or of one at two moments."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import click

from ..analysis.blame import Writers
from ..analysis.devices import DeviceDifference, What, device_differences
from ..analysis.diff import memory_of_pass
from ..analysis.diffwords import device_line
from ..capture import Capture
from ..errors import XbrleError
from ..memory.replay import View
from ..source.dumps import Form, Space
from ..text import label, shown, size
from . import EXIT_FINDINGS, warn
from .against import Given, Wanted, show
from .differences import Moment, Sides
from .faults import say_verdict
from .guide import Page
from .options import (
    before,
    examples,
    json_lines,
    limiting,
    moment,
    moment_options,
    opening,
    record_at,
    refuse,
    salvaging,
    viewing,
)
from .output import report
from .sides import look, of_two
from .writer import as_line, filled, say

VALUE_MAX = 1 << 16  # bytes of a value that JSON has
CHANGED = 1 << 10  # places that JSON lists


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
        refuse("cannot be used with --only devices", "view", "to_view", "block", "limit")
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


def _with_dump(function: Callable[..., Any]) -> Callable[..., Any]:
    """Find out which of S and S2 are captures, before they are opened. A dump is given on as ``dump``."""

    @functools.wraps(function)
    def decided(**options: Any) -> Any:
        of_dumps = {name: options.pop(name) for name in _OF_DUMPS}
        taken_as = options.pop("taken_as")
        if options["other"] is None:
            refuse("cannot be used without S2", *_OF_DUMPS, "taken_as")
            return function(**options, dump=None)
        raw = None if taken_as is None else taken_as == "raw"
        snapshots = (options["snapshot"], options["to_snapshot"])
        first, second = (
            look(options[name], options["offset"], snapshot, raw)
            for name, snapshot in zip(("capture", "other"), snapshots, strict=True)
        )
        if raw and Form.RAW not in (first.form, second.form):
            raise click.UsageError("--as raw is for a file whose first bytes do not show what it is")
        if raw is False and first.sure and second.sure:
            raise click.UsageError("--as capture is for a file whose first bytes do not show what it is")
        if not first.is_dump and not second.is_dump:
            refuse("cannot be used with two captures: an image of memory is needed", *_OF_DUMPS)
            return function(**options | {"capture": first.capture, "other": second.capture}, dump=None)
        refuse("cannot be used with an image of memory, which has one moment and no channels", *_OF_CAPTURES)
        if options["only"] == "devices":
            raise click.UsageError("--only devices cannot be used with an image of memory, which does not have devices")
        capture, dump = of_two(first, second, options["salvage"])
        return function(**options | {"capture": capture.capture, "other": None}, dump=Given(dump, **of_dumps))

    return decided


_OF_DUMPS = ("space", "image_at", "map_file")
_OF_CAPTURES = ("to", "to_pass", "to_view", "to_channel", "to_snapshot")


@click.command(
    cls=Page,
    epilog=examples(
        "diff samples/posted-8m.bin --at 2000 --to 2500",
        "diff samples/posted-8m.bin samples/posted-8m.truth.xz",
        "diff samples/posted-8m.bin --pass 2-3 --json",
        "diff samples/posted-8m.bin --to-view sender",
    ),
)
@before(_usage)
@before(_usage_of_second)
@_with_dump
@salvaging
@click.argument("other", metavar="[S2|IMAGE]", required=False)
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
@click.option("--pass", "passes", metavar="P[-Q|+N]", help="Show what these passes (sweeps over memory) of S changed.")
@viewing
@click.option(
    "--to-view",
    type=click.Choice(["receiver", "sender"]),
    help="Whose memory S2 shows, or the second S if S2 is not given (default: as --view).",
)
@click.option(
    "--block", metavar="NAME", help="Compare only this RAM block. A raw image is of it (default: the main block)."
)
@click.option(
    "--space",
    type=click.Choice([space.value for space in Space]),
    help="What byte N of a raw image is: offset N in the block, or guest-physical address N (default: block).",
)
@click.option(
    "--image-at", type=size, metavar="N", help="The offset or address at which a raw image begins (default: 0)."
)
@click.option(
    "--map",
    "map_file",
    metavar="FILE",
    help="Where RAM blocks lie, for images by address: as in xbrle extract (default: by evidence in the capture).",
)
@click.option(
    "--as",
    "taken_as",
    type=click.Choice(["capture", "raw"]),
    help="What a file is whose first bytes do not show it (default: a capture if a stream is found further on).",
)
@limiting("Show at most N pages.")
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
    block: str | None,
    limit: int | None,
    dump: Given | None,
    as_json: bool,
) -> int:
    """Compare memory and devices of S and S2, or memory of S at two moments, before and after passes, or in two views.

    S or S2 can be an image of memory: a raw file, an ELF core (of dump-guest-memory or virsh dump --memory-only), a
    LiME image, a compressed kdump, or a folder that xbrle extract wrote. Then each page that differs is shown with the
    record that last wrote it. An image by address goes through the map of guest-physical memory. Unknown pages are
    counted, and are neither equal nor different. --at, --view and the options for reading are for the capture.

    Of devices, it compares which sections there are, their versions and sizes, their subsections, and the fields that
    the VM description names.

    RAM blocks are matched by name. A byte that is unknown in only one of the two counts as a difference. A byte that
    is unknown in both does not. With --to-view sender, S is compared with what the source really held.

    The options for reading a capture apply to S and S2. Only --channel and --snapshot are for S alone. For S2 use
    --to-channel and --to-snapshot.

    Exit status: 0 the memories are equal, 1 they differ, or part of a capture is missing or damaged, 2 a capture cannot
    be read.
    """
    if dump is not None:
        return show(opened, dump, Wanted(at, View(view), block, limit or None, as_json))
    missing = report(opened.problems)
    with ExitStack() as stack:
        second = opened
        if other is not None:
            like = {"capture": other, "channel": to_channel, "snapshot": to_snapshot}
            second = stack.enter_context(opening(click.get_current_context().params | like))
            missing = max(missing, report(second.problems))
        to = record_at(second, to, to_pass)
        views = View(view), View(to_view or view)
        missing = max(missing, _verdicts((opened, at, views[0]), (second, to, views[1])))
        with_devices = only == "devices" or (only is None and other is not None and (at, to) == (None, None))
        devices = _devices(opened, second, as_json) if with_devices else iter(())
        if only == "devices":
            return _result(_said(devices), missing, as_json)
        if passes is not None:
            begin, end = _passes(passes, int(opened.records.pass_.max(initial=0)))
            one, two = (_after_pass(opened, number, View(view)) for number in (begin - 1, end))
        else:
            one, two = _moment(opened, at, views[0]), _moment(second, to, views[1])
        return _compared(Sides(one, two, block, limit or None), devices, missing, as_json)


def _verdicts(first: tuple[Capture, int | None, View], second: tuple[Capture, int | None, View]) -> int:
    """Say what is wrong with captures up to a record, each in a view. Returns the exit status."""
    (one, at, view), (other, to, to_view) = first, second
    if one is not other:
        return max(say_verdict(one, at, view), say_verdict(other, to, to_view, "S2"))
    last = None if at is None or to is None else max(at, to)
    return say_verdict(one, last, View.RECEIVER if View.RECEIVER in (view, to_view) else View.SENDER)


def _compared(sides: Sides, devices: Iterator[str], missing: int, as_json: bool) -> int:
    """Print what differs, devices before pages. Returns the exit status, at least ``missing``."""
    if sides.differ and not as_json:
        say(sides.conclusion())
    differ = _said(devices)
    differ = _said(sides.as_json() if as_json else sides.as_text()) or differ
    sides.say_left_out()
    if not differ and any(p.lost for side in (sides.first, sides.second) for p in side.opened.problems):
        warn("channels are missing: what is unknown in both was not compared")
        return EXIT_FINDINGS
    return _result(differ, missing, as_json)


def _moment(opened: Capture, at: int | None, view: View) -> Moment:
    """Memory just after a record."""
    return Moment(opened, opened.memory(at, view), Writers(opened.stream, at))


def _after_pass(opened: Capture, number: int, view: View) -> Moment:
    """Memory after a pass: each block after its own pass of that number."""
    return Moment(opened, memory_of_pass(opened.stream, number, view), Writers(opened.stream, None, number))


def _said(lines: Iterable[str]) -> bool:
    """Print lines. Returns whether there are any."""
    found = False
    for line in lines:
        found = True
        say(line)
    return found


def _result(differ: bool, missing: int, as_json: bool) -> int:
    """The exit status, at least ``missing``. A person is told where nothing differs."""
    if not differ and not as_json:
        say("nothing differs in what could be read" if missing else "nothing differs")
    return EXIT_FINDINGS if differ else missing


def _devices(first: Capture, second: Capture, as_json: bool) -> Iterator[str]:
    """A line for each difference between the devices of two captures."""
    for found in device_differences(first.stream, second.stream):
        yield as_line(_device_json(found)) if as_json else filled(device_line(found), "    ")


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


def _passes(text: str, last: int) -> tuple[int, int]:
    """The first and last pass of ``P`` or ``P-Q``, where ``last`` is the last that there is."""
    begin, plus, end = text.partition("+" if "+" in text else "-")
    try:
        numbers = int(begin), int(begin) + int(end) - 1 if plus == "+" else int(end or begin)
    except ValueError:
        raise XbrleError(f"invalid pass {text!r}: use a number or a range, for example 3 or 3-5") from None
    if not 1 <= numbers[0] <= numbers[1] <= last:
        raise XbrleError(f"pass {text} does not exist: this capture has passes 1 to {last}")
    return numbers
