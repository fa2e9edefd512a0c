"""`xbrle log`: the mig.log that either end would have written, and where a real one differs."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from ..analysis import miglog
from ..capture import Capture
from ..formats.ram import Kind
from ..memory.ramaddr import layout
from ..table.columns import PIECE
from ..text import counted, shown, some
from ..urls import without_secrets
from . import EXIT_FINDINGS, warn
from .guide import Page
from .options import before, examples, json_lines, ram_addresses, salvaging
from .output import report
from .writer import outlive_reader, say, say_object, write

LINE_SHOWN = 200  # bytes of a real line, which may be of any length


def _usage(end: str, check: str | None, bases: tuple[tuple[bytes, int], ...], salvage: bool) -> None:
    if check is not None and salvage:
        raise click.UsageError("--check and --salvage exclude each other: lost records cannot be compared")
    if bases and end == miglog.End.RECEIVER.value:
        raise click.UsageError("--base needs --end sender: the receiver logs offsets in a block")


@click.command(
    cls=Page,
    epilog=examples(
        "log samples/posted-8m.bin --end receiver", "log samples/posted-8m.bin --end sender --base pc.ram=0x0"
    ),
)
@before(_usage)
@salvaging
@click.option(
    "--end", type=click.Choice([e.value for e in miglog.End]), required=True, help="The end that writes the log."
)
@click.option("--check", metavar="FILE", help="Compare this real log, plain or compressed, instead of writing one.")
@ram_addresses
@json_lines
def command(opened: Capture, end: str, check: str | None, bases: tuple[tuple[bytes, int], ...], as_json: bool) -> int:
    """Write the mig.log that either end of a debug build would have written for S.

    A debug build of the posted patch writes a log, mig.log, at the sender and at the receiver. This command writes what
    either would contain: a line for each page, with its byte sum. The sender logs the page's ram_addr, its address
    among all RAM. The receiver logs the offset in the RAM block, and stops before the first record that a debug build
    rejects.

    With --salvage the log goes on to the end of S. Records whose page is uncertain are left out, and lines are numbered
    by the records that were read.
    """
    places = None
    if end == miglog.End.SENDER.value:
        places, source = layout(opened.blocks, opened.page_size, dict(bases))
        warn(f"block addresses from {source}")
    written = miglog.written(opened.stream, miglog.End(end), places)
    if written.stop is not None:
        warn(f"the log ends before record {written.stopped_at}: {written.stop.value}")
    status = report(opened.problems) if opened.salvaged else 0
    if written.left_out:
        warn(
            f"{some(written.left_out, 'record is', 'records are')} left out: the page is uncertain, "
            "or logs do not list such records"
        )
    if opened.damage is not None and not opened.salvaged:
        warn(f"{opened.damage.message} (at offset {opened.damage.offset:#x})")
    if check is not None:
        outlive_reader(True)  # the status is the verdict on the log
        return _check(written, check, as_json)
    if as_json:
        for about in _objects(written.log):
            say_object(about)
    else:
        for piece in miglog.text(written.log):
            write(piece.decode())
    whole = opened.damage is None and not written.left_out and (written.stop is None or written.refused)
    return max(status, 0 if whole else EXIT_FINDINGS)


def _objects(log: miglog.Log) -> Iterator[dict[str, Any]]:
    """An object for each line of a log."""
    kinds = {int(kind): kind.name.lower() for kind in Kind}
    for start in range(0, len(log), PIECE):
        part = log.take(slice(start, start + PIECE))
        columns = (c.tolist() for c in (part.seq, part.addr, part.cksum, part.kind, part.length))
        for line, address, total, kind, length in zip(*columns, strict=True):
            about = {"address": address, "sum": total, "kind": kinds[kind], "length": length}
            yield {"type": "line", "line": line, **about}


def _check(written: miglog.WrittenLog, path: str, as_json: bool) -> int:
    real = miglog.read(path)
    path = shown(os.fsencode(without_secrets(path)))
    if as_json:
        found = miglog.compare(written.log, real)
        agrees = found.agrees and (len(real) > 0 or not len(written.log))
        return _say_compared(path, len(written.log), replace(found, agrees=agrees))
    if not len(real) and len(written.log):
        say(f"{path}: the log is empty; {len(written.log)} lines were expected")
        return EXIT_FINDINGS
    found = miglog.compare(written.log, real)
    if found.agrees:
        if found.cut:
            say(f"{path}: {found.lines} lines agree, then the log is cut; {len(written.log)} were expected")
        else:
            say(f"{path}: all {counted(found.lines, 'line')} agree")
        return 0
    say(f"{path}: line {found.lines + 1} differs")
    say(f"expected: {_shown(found.expected, 'the end of the log')}")
    say(f"found:    {_shown(found.found, 'the end of the log')}")
    return EXIT_FINDINGS


def _say_compared(path: str, expected: int, found: miglog.Comparison) -> int:
    """Print how a real log compares, as an object. Returns the exit status."""
    say_object(
        {
            "type": "check",
            "log": path,
            "agrees": found.agrees,
            "lines": found.lines,
            "lines_expected": expected,
            "cut": found.cut,
            "expected": None if found.expected is None else _shown(found.expected, ""),
            "found": None if found.found is None else _shown(found.found, ""),
        }
    )
    return 0 if found.agrees else EXIT_FINDINGS


def _shown(line: bytes | None, missing: str) -> str:
    return f"({missing})" if line is None else shown(line[:LINE_SHOWN])
