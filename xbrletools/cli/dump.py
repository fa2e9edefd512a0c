"""`xbrle dump`: every section and record, one line each, in the order of the file."""

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace

import click
import numpy as np
from numpy.typing import NDArray

from ..capture import Capture
from ..container.devices import is_device
from ..errors import XbrleError
from ..filters import Filter
from ..formats.ram import Kind
from ..memory.bases import Bases, standing_bases
from ..model import Found
from ..ram import elsewhere
from ..table.columns import DTYPES, Columns, Sweeps
from ..table.packets import Packets, joined
from ..table.sections import Sections
from ..table.table import Origins
from ..table.windows import Window, derived, slices, windows
from ..text import some
from . import EXIT_FINDINGS, warn
from .filtering import filtering, say_strangers, wanted_of
from .guide import Page
from .listing import JsonLister, Lister, TextLister
from .options import examples, json_lines, limiting, salvaging
from .output import report
from .writer import write

_PACKET_FIELDS = frozenset(("channel", "packet"))  # fields that a packet has as well as a record


@click.command(
    cls=Page,
    epilog=examples(
        'dump samples/posted-8m.bin "kind:xbrle pass:2-3 len>1000"',
        "dump samples/posted-8m.bin --record 525-526 --fields",
        "dump samples/posted-8m.bin --section 5 --limit 10 --json",
    ),
)
@salvaging
@filtering
@click.option("--devices", is_flag=True, help="List only the sections of devices.")
@click.option("--fields", is_flag=True, help="Also list the fields of each section and record, with offset and size.")
@click.option(
    "--runs", is_flag=True, help="With --fields: also list the stretches of changed and unchanged bytes of each delta."
)
@click.option("--hex", "hexadecimal", is_flag=True, help="Also print the bytes of each payload.")
@limiting("Stop after N lines of sections, records and packets.")
@json_lines
def command(
    opened: Capture,
    words: tuple[str, ...],
    devices: bool,
    fields: bool,
    runs: bool,
    hexadecimal: bool,
    limit: int | None,
    as_json: bool,
    **options: str | None,
) -> int:
    """List the sections and records of S, one a line.

    A section is a part of the stream with its own header. A record is one unit of a RAM section, usually one page: sent
    in full (page), as one repeated byte (dup) or as a delta (xbrle, xbzrle), which holds only what changed.

    A FILTER selects what is listed, for example kind:xbrle,xbzrle page:0x300000-0x33f000 len>1000. The fields are kind,
    page, len, block, pass, stage, record, section, offset, flags, checksum, channel, packet and finding. Join terms
    with and, or, not and parentheses. A blank means and. Sections have only the fields section, stage and offset,
    packets only channel and packet. A filter on any other field lists records only.

    Sections inside a package of postcopy (sections sent inside one command) are indented by two columns. The offset of
    a record or packet from another channel is the offset in that channel's file. A packet stands before its records.
    """
    wanted = wanted_of(words, options)
    looks_back = fields or runs or hexadecimal or (wanted is not None and "finding" in wanted.fields)
    looks_back = looks_back or opened.salvaged
    scan = None if looks_back or devices or opened.has_channels else opened.scan()
    found: Found = opened.facts if scan is None else scan
    kinds, of_blocks = np.zeros(len(Kind), np.int64), dict[int, int]()
    lister = (JsonLister if as_json else TextLister)(opened, found, fields or runs, runs, hexadecimal)
    if devices:
        pieces = _devices(found, wanted, lister)
    elif opened.has_channels:
        pieces = _pieces(opened, found, slices(opened.records), wanted, lister)
    else:
        columns = [opened.records.columns] if scan is None else scan
        pieces = _pieces(opened, found, _noting(windows(columns, found), kinds, of_blocks), wanted, lister)
    write(lister.head())
    if _print(pieces, limit or None):
        warn(f"stopped after {some(limit or 0, 'entry', 'entries')} (--limit): what follows was not read")
        return EXIT_FINDINGS if lister.damaged else report(found.problems)
    say_strangers(wanted, found.names)
    missing = [] if scan is None else elsewhere.problems(scan.facts, kinds.tolist(), of_blocks)
    status = report((*found.problems, *(p for p in missing if p.lost)))
    return EXIT_FINDINGS if lister.damaged else status


def _noting(
    pieces: Iterable[Window], kinds: NDArray[np.int64], of_blocks: MutableMapping[int, int]
) -> Iterator[Window]:
    """The windows. What they hold is added up by kind, and of records with a page by block."""
    for window in pieces:
        in_window, carried = elsewhere.counted(window.columns)
        kinds += in_window
        for index, number in carried.items():
            of_blocks[index] = of_blocks.get(index, 0) + number
        yield window


def _print(pieces: Iterable[list[str]], limit: int | None) -> bool:
    """Print the entries, ``limit`` of them at most. Returns whether there are more."""
    left = limit
    for entries in pieces:
        write("".join(entries[:left]))
        if left is not None:
            if len(entries) > left:
                return True
            left -= len(entries)
    return False


def _devices(scan: Found, wanted: Filter | None, lister: Lister) -> Iterator[list[str]]:
    """The sections of devices: those with an owner that is neither RAM nor disk."""
    for index in _chosen(scan.sections, wanted, 0, len(scan.sections)):
        if is_device(section := scan.sections[int(index)]):
            yield [lister.section(section)]


def _pieces(
    opened: Capture, scan: Found, pieces: Iterable[Window], wanted: Filter | None, lister: Lister
) -> Iterator[list[str]]:
    """The entries of the output, some at a time, so that a pipe is read in constant memory."""
    findings = tuple(opened.verify()) if wanted is not None and "finding" in wanted.fields else ()
    bases, standing = Bases(scan.blocks), _standing_bases(opened) if opened.salvaged else None
    packets = _packets(opened, wanted) if opened.has_channels else None
    listed = row = 0
    for window in pieces:
        known = bases.known(window) if standing is None else standing[row : row + len(window)]
        between = _between(packets, row, row + len(window))
        row += len(window)
        keep = np.arange(len(window)) if wanted is None else np.flatnonzero(wanted.mask(window, findings))
        upto = int(window.section[-1]) + 1
        listing = _chosen(window.sections, wanted, listed, upto)
        yield from _merged(window, keep, known, listing, between, lister)
        listed = max(listed, upto)
    yield [lister.packet(p, i) for p in [_between(packets, row, None)] for i in range(len(p))]
    sections = scan.sections
    for index in _chosen(sections, wanted, listed, len(sections)):
        yield [lister.section(sections[int(index)])]


def _standing_bases(opened: Capture) -> NDArray[np.int8] | None:
    """What is known of each record's base after salvage, or None if blocks claim more memory than a guest can have."""
    try:
        return standing_bases(opened.stream, opened.space, opened.lapses())
    except XbrleError:
        return None


def _chosen(sections: Sections, wanted: Filter | None, start: int, end: int) -> NDArray[np.int64]:
    """The indices of the sections from ``start`` up to ``end`` that are wanted. There may be millions."""
    indices = np.arange(start, end)
    return indices if wanted is None else indices[wanted.sections(sections, indices)]


def _merged(
    window: Window,
    keep: NDArray[np.int64],
    known: NDArray[np.int8],
    sections: NDArray[np.int64],
    packets: Packets,
    lister: Lister,
) -> Iterator[list[str]]:
    """The entries of a window: sections and packets before their records. Rows of packets count from its first."""
    lines = lister.records(window, keep, known)
    places = np.append(np.searchsorted(window.section[keep], sections), np.searchsorted(keep, packets.row))
    done = 0
    for i in np.argsort(places, kind="stable"):  # of one place, sections come before packets
        place, packet = int(places[i]), int(i) - len(sections)
        yield lines[done:place]
        yield [lister.packet(packets, packet) if packet >= 0 else lister.section(window.sections[int(sections[i])])]
        done = place
    yield lines[done:]


def _packets(opened: Capture, wanted: Filter | None) -> Packets | None:
    """The packets to list: all, or those that a filter on channel and packet alone chooses."""
    packets = opened.stream.packets
    if packets is None or wanted is None:
        return packets
    if not wanted.fields <= _PACKET_FIELDS:
        return packets.take(np.empty(0, np.int64))
    count = len(packets)
    columns = Columns(**{name: np.zeros(count, dtype) for name, dtype in DTYPES.items()})
    origins = Origins(packets.channel, packets.number, packets.offset)
    none = np.zeros(count, np.int64)
    as_records = derived(columns, opened.records, 0, Sweeps({}), none, origins)
    return packets.take(wanted.mask(as_records))


def _between(packets: Packets | None, row: int, stop: int | None) -> Packets:
    """The packets before the rows from ``row`` up to ``stop``, by default all later ones. Rows count from ``row``."""
    if packets is None:
        return joined([])
    chosen = packets.take((packets.row >= row) & ((packets.row < stop) if stop is not None else True))
    return replace(chosen, row=chosen.row - row)
