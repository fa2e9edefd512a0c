"""Addresses that a user gives or asks for: guest-physical and virtual ones beside those in RAM blocks."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from ..analysis.cpus import cpus_of
from ..analysis.locate import Place, locate
from ..analysis.paging import NotMappedError, tables_of
from ..memory.replay import View
from ..physical import infer
from . import EXIT_FINDINGS, warn

if TYPE_CHECKING:
    from ..analysis.search import Hit
    from ..capture import Capture

TOGETHER = 4096  # matches whose virtual addresses are looked up together
SHOWN = 4  # virtual addresses of a match that are shown for a person

giving_cpu = click.option(
    "--cpu",
    type=click.IntRange(0),
    metavar="N",
    help="Look up virtual addresses in the page tables of CPU N (default: the first CPU that uses any).",
)


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
        warn("where memory lies is a rule of the board, and not shown by the stream (xbrle info)")
    return place, 0 if place.sure else EXIT_FINDINGS


class Virtual:
    """The virtual addresses of matches, by the page tables of one CPU at the end of the stream."""

    def __init__(self, opened: "Capture", cpu: int | None, view: str) -> None:
        from ..analysis.mappings import Walk

        stream = opened.stream
        where, tables = infer.map_of(stream), tables_of(cpus_of(stream), cpu)
        warn(f"virtual addresses are by the page tables of CPU {tables.cpu} at the end of the stream")
        self._walk = Walk(stream, where, tables, View(view))
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
        unknown = self._walk.unknown
        if len(unknown):
            warn(
                f"{len(unknown)} page tables are unknown or not in RAM, the first at guest-physical {unknown[0]:#x}: "
                "virtual addresses that they map are missing"
            )
        if self._cut:
            warn("there are too many virtual addresses: some are missing")
        if not self._sure:
            warn("where memory lies is a rule of the board, and not shown by the stream (xbrle info)")
        return EXIT_FINDINGS if len(unknown) or self._cut or not self._sure else 0


def virtual_words(found: list[int]) -> str:
    """The virtual addresses of a match as they can be given to other commands, or - where it has none."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (" ".join(f"virt:{address:#x}" for address in found[:SHOWN]) or "-") + more
