"""`xbrle extract`: memory as raw files, at the end or just after any record."""

from pathlib import Path

import click
import numpy as np

import xbrletools

from ..capture import Capture
from ..errors import XbrleError
from ..export import raw
from ..memory.image import Image, State
from ..memory.replay import View
from ..text import shown
from . import EXIT_FINDINGS, reading, warn
from .output import progress, report


@click.command()
@reading
@click.option("--output", "-o", metavar="OUT", required=True, help="The folder, or with --block the file, to write.")
@click.option("--block", metavar="NAME", help="Write this RAM block alone.")
@click.option("--at", type=int, metavar="RECORD", help="Memory just after this record, not at the end.")
@click.option(
    "--view",
    type=click.Choice(["receiver", "sender"]),
    default="receiver",
    help="What the destination ended up with (the default), or what the source really held.",
)
@click.option("--force", is_flag=True, help="Replace what is there already.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    output: str,
    block: str | None,
    at: int | None,
    view: str,
    force: bool,
) -> int:
    """Write the memory that S carries to raw files.

    OUT becomes a folder with a file for each RAM block and a manifest.json, or one file with --block. Bytes that no
    record determines are zeros in the files; the manifest counts them.
    """
    with xbrletools.open(capture, dialect=dialect, endian=endian, page_size=page_size) as opened:
        status = report(opened.problems)
        if not any(b.declared for b in opened.blocks):
            raise XbrleError(f"{opened.name}: has no list of RAM blocks, so there is no memory to write")
        chosen = _find(opened, block) if block is not None else None
        image = opened.memory(at, View(view))
        if chosen is not None:
            with progress("writing", image.block_bytes(chosen)) as on:
                raw.write_file(image, chosen, Path(output), force, on)
            unknown = raw.unknown_bytes(image, chosen)
        else:
            with progress("writing", 2 * sum(b.length for b in opened.blocks)) as on:
                written = raw.write_folder(image, Path(output), force, on, view=view, at=at, page_size=opened.page_size)
            unknown = sum(w.unknown for w in written)
        if unknown:
            warn(f"{unknown} bytes are unknown, zeros stand in their place")
        return max(status, _lost(opened, image, at))


def _find(opened: Capture, name: str) -> int:
    """The declared block called ``name``, in bytes or as shown."""
    wanted = name.encode("utf-8", "surrogateescape")
    for i, block in enumerate(opened.blocks):
        if block.declared and (block.name == wanted or shown(block.name) == name):
            return i
    names = ", ".join(shown(b.name) for b in opened.blocks if b.declared)
    raise XbrleError(f"there is no RAM block {name!r}; there are {names}")


def _lost(opened: Capture, image: Image, at: int | None) -> int:
    """Say which pages were sent, and are not wholly known all the same; returns the exit status."""
    columns = opened.records.columns
    if at is not None:
        columns = columns.take(slice(0, opened.row_of(at) + 1))
    rows = opened.space.rows(columns)
    astray = int(np.count_nonzero((rows < 0) & opened.records.is_page[: len(rows)]))
    if astray:
        warn(f"{astray} records carry pages that no listed block has; they are in no file")
    sent = rows[rows >= 0]
    lost = np.unique(sent[image.state[sent] != State.KNOWN])
    if len(lost):
        block = int(np.searchsorted(opened.space.first, lost[0], side="right")) - 1
        address = (int(lost[0]) - int(opened.space.first[block])) * opened.page_size

        where = f"{shown(opened.blocks[block].name)}:{address:#x}"
        warn(f"{len(lost)} pages were sent but not in full, or as deltas that lack a base; the first is {where}")
    return EXIT_FINDINGS if astray or len(lost) else 0
