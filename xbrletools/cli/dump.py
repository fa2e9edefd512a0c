"""`xbrle dump`: every section and record, one line each, in the order of the file."""

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import xbrletools

from .. import filters
from ..capture import Capture
from ..errors import XbrleError
from ..filters import Filter
from ..formats import block, ram
from ..formats.qevm import SectionType
from ..memory.bases import Bases, standing_bases
from ..model import Found
from ..table.sections import Section, Sections
from ..table.windows import Window, slices, windows
from ..text import shown
from . import reading, salvaging, warn
from .listing import Json, Lister, Text
from .output import report

_BULK = (ram.IDSTR, block.IDSTR)
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
@salvaging
@_filtering
@click.option("--devices", is_flag=True, help="Only the sections of devices.")
@click.option("--fields", is_flag=True, help="The fields of each, with their offsets and sizes; a device's too.")
@click.option("--runs", is_flag=True, help="With --fields, also the runs of each delta.")
@click.option("--hex", "hexadecimal", is_flag=True, help="The bytes of each payload.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    words: tuple[str, ...],
    devices: bool,
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
    Sections in a package stand two columns further in. A channel's record has its packet's offset in that channel.
    """
    text = " ".join(words)
    chosen = [filters.parse(text, _rules("finding" in text))]
    for name, value in options.items():
        if value is not None:
            chosen += [_option(name.removeprefix("by_"), value)]
    parts = [f for f in chosen if f.fields]
    wanted = filters.All(tuple(parts)) if parts else None
    with xbrletools.open(capture, dialect=dialect, endian=endian, page_size=page_size) as opened:
        looks_back = fields or runs or hexadecimal or (wanted is not None and "finding" in wanted.fields)
        looks_back = looks_back or opened.salvaged
        scan = None if looks_back or devices or opened.has_channels else opened.scan()
        found: Found = opened.facts if scan is None else scan
        lister = (Json if as_json else Text)(opened, found, fields or runs, runs, hexadecimal)
        if devices:
            pieces = _devices(found, wanted, lister)
        elif opened.has_channels:
            pieces = _pieces(opened, found, slices(opened.records), wanted, lister)
        else:
            pieces = _pieces(
                opened, found, windows([opened.records.columns] if scan is None else scan, found), wanted, lister
            )
        for piece in pieces:
            sys.stdout.write(piece)
        names = list(found.names)
        for name in filters.strangers(wanted, names) if wanted is not None else ():
            there = ", ".join(map(shown, names)) or "none"
            warn(f"there is no RAM block {shown(os.fsencode(name))}; this capture has {there}")
        return report(found.problems)


def _option(field: str, value: str) -> Filter:
    """The filter of ``--field value``; kinds and rules may be several, divided by commas."""
    values = value.split(",") if field != "block" else [value]
    rules = _rules(field == "finding")
    return filters.AnyOf(tuple(filters.term(field, v, rules) for v in values))


def _rules(wanted: bool) -> Collection[str] | None:
    """The rules that a finding can have, if they are wanted."""
    if not wanted:
        return None
    from ..verify.rules import RULES

    return RULES


def _devices(scan: Found, wanted: Filter | None, lister: Lister) -> Iterator[str]:
    """The sections that are neither RAM nor disk, and no part of the container."""
    yield lister.head()
    for section in _chosen(scan.sections, wanted, 0, len(scan.sections)):
        if section.owner is not None and (section.type is SectionType.FULL or section.owner.idstr not in _BULK):
            yield lister.section(section)


def _pieces(
    opened: Capture, scan: Found, pieces: Iterable[Window], wanted: Filter | None, lister: Lister
) -> Iterator[str]:
    """The output, a window at a time: a pipe is read in constant memory."""
    findings = tuple(opened.verify()) if wanted is not None and "finding" in wanted.fields else ()
    bases, standing = Bases(scan.blocks), _standing_bases(opened) if opened.salvaged else None
    yield lister.head()
    listed = row = 0
    for window in pieces:
        known = bases.known(window) if standing is None else standing[row : row + len(window)]
        row += len(window)
        keep = np.arange(len(window)) if wanted is None else np.flatnonzero(wanted.mask(window, findings))
        upto = int(window.section[-1]) + 1
        yield from _merged(window, keep, known, _chosen(window.sections, wanted, listed, upto), lister)
        listed = max(listed, upto)
    sections = scan.sections
    yield "".join(lister.section(s) for s in _chosen(sections, wanted, listed, len(sections)))


def _standing_bases(opened: Capture) -> NDArray[np.int8] | None:
    """What is known of each record's base after salvage; None where the blocks claim to be larger than any guest."""
    try:
        return standing_bases(opened.stream, opened.space, opened.lapses())
    except XbrleError:
        return None


def _chosen(sections: Sections, wanted: Filter | None, start: int, end: int) -> list[Section]:
    indices = np.arange(start, end)
    if wanted is not None:
        indices = indices[wanted.sections(sections, indices)]
    return [sections[i] for i in indices.tolist()]


def _merged(
    window: Window, keep: NDArray[np.int64], known: NDArray[np.int8], sections: list[Section], lister: Lister
) -> Iterator[str]:
    """Sections, each before its records."""
    lines = lister.records(window, keep, known)
    places = np.searchsorted(window.section[keep], np.array([s.index for s in sections], np.int64))
    done = 0
    for section, place in zip(sections, places.tolist(), strict=True):
        yield "".join(lines[done:place])
        yield lister.section(section)
        done = place
    yield "".join(lines[done:])
