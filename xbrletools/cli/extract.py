"""`xbrle extract`: memory as raw files, an ELF core or a LiME image, at the end or just after any record."""

import os
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

import xbrletools

from ..arrays import reserve
from ..capture import Capture
from ..errors import XbrleError
from ..export import physical, raw
from ..export.disk import write_disk
from ..export.elfcore import write_elf
from ..export.lime import write_lime
from ..export.memory import Piece, Unknown, marked_bytes, unknown_ranges, write_mask
from ..export.sidecar import Sidecar, sidecar_path, source
from ..memory.confirm import Trust
from ..memory.image import Image, State
from ..memory.replay import View
from ..physical import layout
from ..table.columns import PIECE
from ..table.kinds import IS_PAGE
from ..text import shown, size
from . import EXIT_FINDINGS, reading, salvaging, warn
from .output import progress, recovery, report


@click.command()
@reading
@salvaging
@click.option("--output", "-o", metavar="OUT", required=True, help="The folder, or with --block the file, to write.")
@click.option("--block", metavar="NAME", help="Write this RAM block alone.")
@click.option("--disk", metavar="DEVICE", help="Write this disk, of a block migration, and no memory.")
@click.option("--at", type=int, metavar="RECORD", help="Memory just after this record, not at the end.")
@click.option(
    "--view",
    type=click.Choice(["receiver", "sender"]),
    default="receiver",
    help="What the destination ended up with (the default), or what the source really held.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["raw", "elf", "lime"]),
    default="raw",
    help="Raw (the default), an ELF core or a LiME image; the last two are of physical space.",
)
@click.option(
    "--space",
    type=click.Choice(["block", "physical"]),
    help="Blocks as they are (the default of raw), or guest-physical addresses.",
)
@click.option("--map", "map_file", metavar="FILE", help="Where blocks lie: START LENGTH BLOCK OFFSET lines, or JSON.")
@click.option(
    "--unknown",
    type=click.Choice(["zero", "fail", "mask-file"]),
    default="zero",
    help="Bytes that nobody sent: zeros (the default), a refusal, or zeros and a mask beside the file.",
)
@click.option(
    "--trust",
    type=click.Choice([t.value for t in Trust]),
    default=Trust.STREAM.value,
    help="Give what stands in the stream (the default), or only what a checksum vouches for: the rest is unknown then.",
)
@click.option(
    "--hash-unknown",
    type=size,
    default=str(raw.HASHED_UNKNOWN_MAX),
    metavar="BYTES",
    help="How many bytes that nobody sent the manifest's digests may cover [4G]; beyond that they are left out.",
)
@click.option("--force", is_flag=True, help="Replace what is there already.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    output: str,
    block: str | None,
    disk: str | None,
    at: int | None,
    view: str,
    form: str,
    space: str | None,
    map_file: str | None,
    unknown: str,
    trust: str,
    hash_unknown: int,
    force: bool,
) -> int:
    """Write the memory that S carries to files that other tools open.

    OUT becomes a folder with a file for each RAM block and a manifest.json, or one file with --block or in physical
    space. A file has a sidecar OUT.json with the source's digest, the map and where it is from, and the unknown ranges.
    """
    if disk is not None and (block or at or map_file or space or (form, unknown, trust) != ("raw", "zero", "stream")):
        raise click.UsageError("--disk goes with --force alone")
    space = space or ("block" if form == "raw" else "physical")
    if form != "raw" and space == "block":
        raise click.UsageError(f"--format {form} is of physical space")
    if space == "physical" and block is not None:
        raise click.UsageError("--block is of block space")
    if map_file is not None and space == "block":
        raise click.UsageError("--map is of physical space")
    if unknown == "mask-file" and space == "block" and block is None:
        raise click.UsageError("--unknown mask-file goes with --block or --space physical")
    with xbrletools.open(capture, dialect=dialect, endian=endian, page_size=page_size) as opened:
        status = report(opened.problems)
        if disk is not None:
            return max(status, _disk(opened, disk, Path(output), force))
        if not any(b.declared for b in opened.blocks):
            raise XbrleError(f"{opened.name}: has no list of RAM blocks, so there is no memory to write")
        chosen = _find(opened, block) if block is not None else None
        image = opened.memory(at, View(view), Trust(trust))
        if space == "physical":
            sidecar = Sidecar(View(view), at, Trust(trust))
            _physical(opened, image, Path(output), form, sidecar, map_file, Unknown(unknown), force)
            return max(status, _lost(opened, image, at, Trust(trust)))
        blocks = range(len(opened.blocks)) if chosen is None else [chosen]
        _say_what_is_known(image, [raw.whole(image, b) for b in blocks if opened.blocks[b].declared], Trust(trust))
        missing = sum(raw.unknown_bytes(image, b) for b in blocks if opened.blocks[b].declared)
        if missing and unknown == Unknown.FAIL.value:
            raise XbrleError(f"{missing} bytes are unknown; nothing was written")
        if chosen is not None:
            _refuse(Path(output), force)
            with progress("writing", image.block_bytes(chosen)) as on:
                raw.write_file(image, chosen, Path(output), force, on)
            pieces = [raw.whole(image, chosen)]
            if unknown == Unknown.MASK_FILE.value:
                write_mask(image, pieces, output, image.block_bytes(chosen))
            about = Sidecar(View(view), at, Trust(trust))
            about.write(opened.stream, image, output, "raw", "block", pieces, None, Unknown(unknown))
        else:
            with progress("writing", 2 * sum(b.length for b in opened.blocks)) as on:
                told = {**source(opened.stream), "view": view, "at": at, "page_size": opened.page_size, "trust": trust}
                confirmed = opened.confirmed(image, at, View(view))
                raw.write_folder(image, Path(output), force, on, confirmed, hash_unknown, **told)
        if missing:
            warn(f"{missing} bytes are unknown, zeros stand in their place")
        return max(status, _lost(opened, image, at, Trust(trust)))


def _disk(opened: Capture, name: str, output: Path, force: bool) -> int:
    """Write the disk called ``name``; returns the exit status."""
    there = opened.facts.disks
    device = next((d for d in there if d == os.fsencode(name) or shown(d) == name), None)
    if device is None:
        names = ", ".join(map(shown, there)) or "none: it has no block sections with data"
        raise XbrleError(f"{opened.name}: carries no disk {shown(os.fsencode(name))}; there are {names}")
    raw.refuse_existing(output, force)
    with progress("writing", there[device]) as on:
        written = write_disk(opened.stream, device, output, on)
    warn(f"{written.chunks} chunks of 1 MiB; the stream does not say where the disk ends, the image ends with a chunk")
    if written.missing:
        warn(f"{written.missing} bytes came in no chunk, zeros stand in their place")
    return 0


def _physical(
    opened: Capture,
    image: Image,
    output: Path,
    form: str,
    sidecar: Sidecar,
    map_file: str | None,
    unknown: Unknown,
    force: bool,
) -> None:
    """Write guest-physical memory, and say which map was taken."""
    where = (
        layout.map_of(opened.stream) if map_file is None else layout.parse_map(_text(map_file), opened.stream, map_file)
    )
    _refuse(output, force)
    write = {"raw": physical.write_raw, "elf": write_elf, "lime": write_lime}[form]
    write(opened.stream, image, where, output, sidecar, unknown)
    warn(f"guest-physical map from {where.origin}")
    for note in where.notes:
        warn(note)
    pieces = physical.pieces(image, where)
    _say_what_is_known(image, pieces, sidecar.trust)
    missing = sum(end - start for start, end in unknown_ranges(image, pieces))
    if missing:
        warn(f"{missing} bytes are unknown, zeros stand in their place")


def _say_what_is_known(image: Image, pieces: Sequence[Piece], trust: Trust) -> None:
    """After salvage, say how much of what is written nothing vouches for."""
    if image.vouched is None:
        return
    length = sum(p.length for p in pieces)
    recovered = length - sum(end - start for start, end in unknown_ranges(image, pieces))
    known = sum(marked_bytes(image, p, image.vouched) for p in pieces)
    warn(recovery(recovered, length, known, trust is Trust.CHECKSUM))


def _refuse(output: Path, force: bool) -> None:
    """Raise where a file or its sidecar would replace something."""
    for path in (output, sidecar_path(output)):
        raw.refuse_existing(path, force)


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise XbrleError(f"{path}: {getattr(error, 'strerror', None) or 'is no text'}") from error


def _find(opened: Capture, name: str) -> int:
    """The declared block called ``name``, in bytes or as shown."""
    wanted = name.encode("utf-8", "surrogateescape")
    for i, block in enumerate(opened.blocks):
        if block.declared and (block.name == wanted or shown(block.name) == name):
            return i
    names = ", ".join(shown(b.name) for b in opened.blocks if b.declared)
    raise XbrleError(f"there is no RAM block {name!r}; there are {names}")


def _lost(opened: Capture, image: Image, at: int | None, trust: Trust) -> int:
    """Say which pages were sent, and are not wholly known all the same; returns the exit status."""
    columns = opened.records.columns
    if at is not None:
        columns = columns.take(slice(0, opened.records.row(at) + 1))
    sent, astray = reserve((len(opened.space),), bool), 0
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        rows = opened.space.rows(piece)
        astray += int(np.count_nonzero(IS_PAGE[piece.kind[rows < 0]]))
        sent[rows[rows >= 0]] = True
    if astray:
        warn(f"{astray} records carry pages that no listed block has; they are in no file")
    pages = np.flatnonzero(sent)
    lost = pages[image.state[pages] != State.RECOVERED]
    if len(lost) and trust is Trust.CHECKSUM:
        warn(f"{len(lost)} of {len(pages)} pages that were sent are left out: no checksum vouches for them")
    elif len(lost):
        block = int(np.searchsorted(opened.space.first, lost[0], side="right")) - 1
        address = (int(lost[0]) - int(opened.space.first[block])) * opened.page_size

        where = f"{shown(opened.blocks[block].name)}:{address:#x}"
        warn(f"{len(lost)} pages were sent but not in full, or as deltas that lack a base; the first is {where}")
    return EXIT_FINDINGS if astray or len(lost) else 0
