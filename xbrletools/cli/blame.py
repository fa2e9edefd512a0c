"""`xbrle blame`: the record that last wrote each byte."""

from typing import Any

import click
import numpy as np

from ..analysis.blame import Span, blame
from ..capture import Capture
from ..memory.replay import View
from ..text import shown
from ..text import span as span_of
from . import EXIT_FINDINGS
from .addresses import giving_cpu, located
from .guide import Page
from .options import at_record, examples, json_lines, salvaging, viewing
from .output import report
from .records import writers
from .writer import say, say_object


@click.command(
    cls=Page,
    epilog=examples(
        "blame samples/posted-8m.bin pc.ram:0x20b000+64",
        "blame samples/posted-8m.bin 0x20b000+64 --at 2000 --json",
    ),
)
@salvaging
@click.argument("span", metavar="RANGE")
@at_record
@giving_cpu
@viewing
@json_lines
def command(opened: Capture, span: str, cpu: int | None, at: int | None, view: str, as_json: bool) -> int:
    """Show which record of S last wrote each byte of RANGE, for example pc.ram:0x315000+4K or 0x315000-0x315fff.

    The address may be guest-physical, phys:0x1000, or virtual, virt:0xffff800000001000.

    A full page or a dup page (one repeated byte) writes all bytes of its page. A delta writes only the bytes that it
    changes. A byte is unknown if the earlier content that its delta needs is missing, or if the delta cannot be
    decoded.
    """
    address, length = span_of(span)
    status = report(opened.problems)
    start = located(opened, address, cpu)
    if start is None:
        return EXIT_FINDINGS
    block, offset, status = start[0].block, start[0].offset, max(status, start[1])
    name = shown(opened.blocks[block].name)
    header = f"{'address':{len(name) + 11}} {'length':>8}  record pass stage kind"
    for found in blame(opened.stream, block, offset, length, at, View(view)):
        about = _about(opened, found)
        if as_json:
            place = {"block": name, "offset": found.offset, "length": found.length}
            say_object(place | about | {"unknown": found.unknown, "lapsed": found.lapsed, "view": view})
            continue
        if header:
            say(header)
            header = ""
        say(f"{name}:{found.offset:#010x} {found.length:8}{_writer(found, about)}")
    return status


def _about(opened: Capture, found: Span) -> dict[str, Any]:
    """The record that wrote a range, its pass, stage and kind. All are None if none did."""
    row = -1 if found.record is None else opened.records.row(found.record)
    (by,) = writers(opened, np.array([row]))
    if by is None:
        return {"record": None, "pass": None, "stage": None, "kind": None}
    return {"record": by.record, "pass": by.pass_, "stage": by.stage, "kind": by.kind}


def _writer(found: Span, about: dict[str, Any]) -> str:
    """The end of a line: who wrote the range."""
    if found.record is None:
        word = "unknown: what was written here is lost" if found.lapsed else "never written"
        return f"       -    - -     {word}"
    stage = str(about["stage"] or "-").upper()
    return f" {found.record:7} {about['pass']:4} {stage:5} {about['kind']}{'  unknown' if found.unknown else ''}"
