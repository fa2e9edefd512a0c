"""Addresses that a user gives or asks for: guest-physical and virtual ones beside those in RAM blocks."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..analysis.cpus import cpus_of
from ..analysis.locate import Place, locate
from ..analysis.paging import NotMappedError, tables_of
from ..errors import XbrleError
from ..memory.replay import View
from ..physical import given, infer
from ..physical.layout import PhysicalMap
from ..text import counted, some
from . import EXIT_FINDINGS, warn

if TYPE_CHECKING:
    from ..analysis.mappings import Span, Walk
    from ..analysis.search import Hit
    from ..capture import Capture

TOGETHER = 4096  # matches whose virtual addresses are looked up together
SHOWN = 4  # virtual addresses of a match that are shown for a person

ASSUMED = "where memory lies is a rule of the board, and not shown by the stream (xbrle info)"

giving_cpu = click.option(
    "--cpu",
    type=click.IntRange(0),
    metavar="N",
    help="Look up virtual addresses in the page tables of CPU N (default: the first CPU that uses any).",
)


giving_map = click.option(
    "--map",
    "map_file",
    metavar="FILE",
    help="Where RAM blocks lie: lines START LENGTH BLOCK OFFSET, or an edited OUT.json of extract (default: by "
    "evidence in S).",
)


def map_from(opened: "Capture", map_file: str | None) -> PhysicalMap:
    """Where the capture's blocks lie: by a file of the user, or by the evidence in the stream.

    Raises:
        XbrleError: the file cannot be read or does not fit, or the capture does not name its blocks.
    """
    if map_file is None:
        return infer.map_of(opened.stream)
    try:
        return given.parse_map(Path(map_file).read_text("utf-8"), opened.stream, map_file)
    except (OSError, UnicodeDecodeError) as error:
        raise XbrleError(f"{map_file}: {getattr(error, 'strerror', None) or 'is not a UTF-8 text file'}") from error


def located(opened: "Capture", address: str, cpu: int | None) -> tuple[Place, int] | None:
    """The byte at an address and the exit status so far, or None where nothing is mapped there, which is said."""
    try:
        place = locate(opened.stream, address, cpu)
    except NotMappedError as error:
        warn(str(error))
        return None
    if place.said:
        warn(place.said)
    if not place.sure:
        warn(ASSUMED)
    return place, 0 if place.sure else EXIT_FINDINGS


def kernel_spans(opened: "Capture", where: PhysicalMap, cpu: int | None, view: View) -> "tuple[list[Span], int]":
    """The kernel's memory by virtual address, in memory that lies as ``where`` says, and the exit status."""
    walk, number = _walk(opened, where, cpu, view)
    spans, whole = walk.kernel_spans()
    ranges = counted(len(spans), "range")
    warn(f"{ranges} of kernel addresses by the page tables of CPU {number} at the end of the stream")
    return spans, 0 if whole else _missing(walk, not len(walk.unknown))


def _walk(opened: "Capture", where: PhysicalMap, cpu: int | None, view: View) -> "tuple[Walk, int]":
    """The page tables of a CPU, and its number."""
    from ..analysis.mappings import Walk

    tables = tables_of(cpus_of(opened.stream), cpu)
    return Walk(opened.stream, where, tables, view), tables.cpu


def _missing(walk: "Walk", cut: bool) -> int:
    """Say which virtual addresses are missing. Returns the exit status."""
    if len(walk.unknown):
        warn(
            f"{some(len(walk.unknown), 'page table is', 'page tables are')} unknown or not in RAM, the first at "
            f"guest-physical {walk.unknown[0]:#x}: virtual addresses that they map are missing"
        )
    if cut:
        warn("there are too many virtual addresses: some are missing")
    return EXIT_FINDINGS if len(walk.unknown) or cut else 0


class Virtual:
    """The virtual addresses of matches, by the page tables of one CPU at the end of the stream."""

    def __init__(self, opened: "Capture", cpu: int | None, view: str) -> None:
        where = infer.map_of(opened.stream)
        self._walk, number = _walk(opened, where, cpu, View(view))
        warn(f"virtual addresses are by the page tables of CPU {number} at the end of the stream")
        self._sure = not where.assumed
        self._cut = False

    def of(self, hits: "Iterator[Hit]") -> "Iterator[tuple[Hit, list[int]]]":
        """Each match with its virtual addresses, which rise."""
        while some := list(islice(hits, TOGETHER)):
            found, cut = self._walk.virtual_of([h.block for h in some], [h.offset for h in some])
            self._cut |= cut
            yield from zip(some, found, strict=True)

    def report(self) -> int:
        """Say what is missing of the addresses. Returns the exit status."""
        status = _missing(self._walk, self._cut)
        if not self._sure:
            warn(ASSUMED)
        return status if self._sure else EXIT_FINDINGS


def virtual_words(found: list[int]) -> str:
    """The virtual addresses of a match as they can be given to other commands, or - where it has none."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (" ".join(f"virt:{address:#x}" for address in found[:SHOWN]) or "-") + more
