"""`xbrle dump`: every section and record, one line each, in the order of the file."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import xbrletools

from ..capture import Capture
from ..memory.bases import Bases
from ..stream import filters
from ..stream.filters import Filter
from ..stream.records import Columns
from ..stream.scan import Scanner
from ..stream.sections import Section, Sections
from ..stream.windows import Window, windows
from . import reading
from .listing import Json, Lister, Text
from .output import report

_OPTIONS = {
    "kind": "KIND,...",
    "block": "NAME",
    "page": "[BLOCK:]ADDR[-ADDR]",
    "section": "N[-M]|NAME",
    "pass": "N[-M]",
    "record": "N[-M]",
    "finding": "RULE",
}


def _filtering(function: Any) -> Any:
    """The options that are each one term of a filter."""
    for field, metavar in reversed(_OPTIONS.items()):
        option = click.option(f"--{field}", f"by_{field}", metavar=metavar, help=f"The same as {field}:...")
        function = option(function)
    return click.argument("words", nargs=-1, metavar="[FILTER]...")(function)


@click.command()
@reading
@_filtering
@click.option("--fields", is_flag=True, help="The fields of each, with their offsets and sizes.")
@click.option("--runs", is_flag=True, help="With --fields, also the runs of each delta.")
@click.option("--hex", "hexadecimal", is_flag=True, help="The bytes of each payload.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    words: tuple[str, ...],
    fields: bool,
    runs: bool,
    hexadecimal: bool,
    as_json: bool,
    **options: str | None,
) -> int:
    """List the sections and records of S, one a line.

    A FILTER chooses among them: kind:xbrle,xbzrle page:0x300000-0x33f000 len>1000 block:pc.ram pass:2-3 stage:end
    record:100-200 section:5 offset:0x1000- flags:continue checksum:0x8052d finding:stale-base; with not, or and
    parentheses. Sections are listed with their records where the filter looks at section, stage and offset alone.
    """
    chosen = [filters.parse(" ".join(words))]
    for name, value in options.items():
        if value is not None:
            chosen += [_option(name.removeprefix("by_"), value)]
    parts = [f for f in chosen if f.fields]
    wanted = filters.All(tuple(parts)) if parts else None
    with xbrletools.open(capture, dialect=dialect, endian=endian, page_size=page_size) as opened:
        looks_back = fields or runs or hexadecimal or (wanted is not None and "finding" in wanted.fields)
        scan = opened.scanned if looks_back else opened.scan()
        columns = [opened.records.columns] if looks_back else scan
        lister = (Json if as_json else Text)(opened, fields or runs, runs, hexadecimal)
        for piece in _pieces(opened, scan, columns, wanted, lister):
            sys.stdout.write(piece)
        return report(scan.problems)


def _option(field: str, value: str) -> Filter:
    """The filter of ``--field value``; kinds and rules may be several, divided by commas."""
    values = value.split(",") if field != "block" else [value]
    return filters.AnyOf(tuple(filters.term(field, v) for v in values))


def _pieces(
    opened: Capture, scan: Scanner, columns: Iterable[Columns], wanted: Filter | None, lister: Lister
) -> Iterator[str]:
    """The output, a window at a time: a pipe is read in constant memory."""
    findings = tuple(opened.verify()) if wanted is not None and "finding" in wanted.fields else ()
    bases = Bases(scan.blocks)
    yield lister.head()
    listed = 0
    for window in windows(columns, scan):
        known = bases.known(window)
        keep = np.arange(len(window)) if wanted is None else np.flatnonzero(wanted.mask(window, findings))
        upto = window.sections.at(int(window.columns.offset[-1])) + 1
        yield from _merged(window, keep, known, _chosen(window.sections, wanted, listed, upto), lister)
        listed = upto
    sections = scan.sections
    yield "".join(lister.section(s) for s in _chosen(sections, wanted, listed, len(sections)))


def _chosen(sections: Sections, wanted: Filter | None, start: int, end: int) -> list[Section]:
    indices = np.arange(start, end)
    if wanted is not None:
        indices = indices[wanted.sections(sections, indices)]
    return [sections[i] for i in indices.tolist()]


def _merged(
    window: Window, keep: NDArray[np.int64], known: NDArray[np.int8], sections: list[Section], lister: Lister
) -> Iterator[str]:
    """Sections and records in the order of their offsets."""
    lines = lister.records(window, keep, known)
    places = np.searchsorted(window.columns.offset[keep], np.array([s.offset for s in sections], np.uint64))
    done = 0
    for section, place in zip(sections, places.tolist(), strict=True):
        yield "".join(lines[done:place])
        yield lister.section(section)
        done = place
    yield "".join(lines[done:])
