"""`xbrle extract`: memory as raw files, an ELF core or a LiME image, at the end or just after any record."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import click
import numpy as np

from ..arrays import Values
from ..capture import Capture
from ..errors import XbrleError
from ..export import extract, physical, raw
from ..export.disk import write_disk
from ..export.formats import FORMATS, write_physical
from ..export.memory import Piece, Unknown, marked_bytes, mask_path, possible_ranges, unknown_ranges, write_mask
from ..export.sidecar import Sidecar, sidecar_path
from ..memory.confirm import Trust
from ..memory.image import Image, State
from ..memory.replay import View
from ..outputs import Target, refuse_folder
from ..ram.elsewhere import LEFT_OUT
from ..table.columns import PIECE
from ..table.kinds import IS_PAGE
from ..text import shown, size, some
from ..verify.checker import found_in
from ..verify.receivers import stop_amid_records
from . import EXIT_FINDINGS, warn
from .addresses import giving_cpu, giving_map, kernel_spans, map_from
from .faults import say_verdict
from .guide import Page
from .options import before, examples, json_object, moment, refuse, salvaging, viewing
from .output import progress, recovery, report
from .saving import Output, writing
from .writer import write_bytes

COPIED = 1 << 20  # bytes that are copied to standard output at once


def _usage(
    disk: str | None,
    block: str | None,
    map_file: str | None,
    space: str | None,
    form: str,
    unknown: str,
    paging: bool,
) -> None:
    if paging and form != "elf":
        raise click.UsageError("--paging needs --format elf")
    if disk is not None:
        of_memory = ("block", "at", "at_pass", "view", "map_file", "space", "form", "unknown", "trust", "hash_unknown")
        refuse("cannot be used with --disk", *of_memory)
    if form != "raw" and space == "block":
        raise click.UsageError(f"--format {form} cannot be used with --space block")
    physical_space = _space(space, form) == "physical"
    if physical_space or block is not None:
        refuse("is for the manifest of a folder, with the digest of each block", "hash_unknown")
    if physical_space and block is not None:
        raise click.UsageError("--block cannot be used with --space physical, which takes all blocks")
    if map_file is not None and not physical_space:
        raise click.UsageError("--map needs --space physical")
    if unknown == "mask-file" and not physical_space and block is None:
        raise click.UsageError("--unknown mask-file needs --block or --space physical")


def _space(space: str | None, form: str) -> str:
    """The space to write: the one given, else what the format is made for."""
    return space or ("block" if form == "raw" else "physical")


@click.command(
    cls=Page,
    epilog=examples(
        "extract samples/posted-8m.bin -o /tmp/posted",
        "extract samples/posted-8m.bin -o /tmp/ram --block pc.ram --at-pass 2",
        "extract samples/posted-8m.bin -o /tmp/a.elf --format elf --view sender",
    ),
)
@before(_usage)
@writing(
    metavar="OUT",
    help="Folder to write, or file with --block, --disk or --space physical. There - is standard output.",
    folder=True,
)
@salvaging
@click.option("--block", metavar="NAME", help="Write only this RAM block.")
@click.option("--disk", metavar="DEVICE", help="Write this disk, sent by block migration, instead of memory.")
@moment("Write memory just after this record (default: at the end).", "Write memory")
@viewing
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="raw",
    show_default=True,
    help="Raw bytes, an ELF core or a LiME image. elf and lime mean --space physical.",
)
@click.option(
    "--space",
    type=click.Choice(["block", "physical"]),
    help="Addresses in the output: offsets in each RAM block, or guest-physical (default: block for raw).",
)
@giving_map
@click.option(
    "--paging",
    is_flag=True,
    help="With --format elf: give the core the kernel's virtual addresses, too, by the page tables of a CPU.",
)
@giving_cpu
@click.option(
    "--unknown",
    type=click.Choice([u.value for u in Unknown]),
    default=Unknown.ZERO.value,
    show_default=True,
    help="For unknown bytes: write zeros, write nothing and fail, or write zeros and a mask file that marks them.",
)
@click.option(
    "--trust",
    type=click.Choice([t.value for t in Trust]),
    default=Trust.STREAM.value,
    show_default=True,
    help="Write all that the stream gives, or only pages whose byte sum holds. Others are then unknown.",
)
@click.option(
    "--hash-unknown",
    type=size,
    default=str(raw.HASHED_UNKNOWN_MAX),
    metavar="BYTES",
    help="Where a digest would cover more unknown bytes than this, write data_sha256, a digest of what is not zero, "
    "instead of sha256 (default: 4G).",
)
@json_object
def command(
    opened: Capture,
    output: Output,
    block: str | None,
    disk: str | None,
    at: int | None,
    view: str,
    form: str,
    space: str | None,
    map_file: str | None,
    paging: bool,
    cpu: int | None,
    unknown: str,
    trust: str,
    hash_unknown: int,
    as_json: bool,
) -> int:
    """Write the memory that S carries to files for other tools.

    By default OUT becomes a folder with a raw file for each RAM block and a manifest.json. With --block or --space
    physical, OUT is one file, and OUT.json beside it lists the capture's SHA-256 digest, the address map and the
    unknown ranges. Standard output does not get an OUT.json.

    A byte is unknown if it was not sent, or only as a delta (a change to an earlier version of the page) whose base,
    that earlier version, is missing.

    Exit status: 0 all that was sent is written, 1 S is damaged, as verify finds it, sent pages are missing, a receiver
    would have stopped before it had all of them, or memory of the guest has no known place in physical space (OUT.json
    lists it under "unplaced"). A stale base, the sender's fault, is said and does not count.
    """
    _refuse(output, block, disk, _space(space, form), Unknown(unknown))
    told = _Told(output, "disk" if disk is not None else _space(space, form), block is not None, form, unknown, as_json)
    status = report(opened.problems)
    if disk is not None:
        return max(status, _disk(opened, disk, output, told), say_verdict(opened, view=View.SENDER))
    if not any(b.declared for b in opened.blocks):
        raise XbrleError(
            f"{opened.name}: the list of RAM blocks is missing, so memory cannot be written. "
            "To list the blocks yourself, use: --salvage --blocks NAME=SIZE,..."
        )
    chosen = None if block is None else _declared(opened, block)
    image = opened.memory(at, View(view), Trust(trust))
    about = Sidecar(View(view), at, Trust(trust))
    if _space(space, form) == "physical":
        how = (Unknown(unknown), paging, cpu, told)
        status = max(status, _physical(opened, image, output, form, about, map_file, *how))
    else:
        _by_block(opened, image, chosen, output, about, Unknown(unknown), hash_unknown, told)
    status = max(status, _lost(opened, image, at, Trust(trust)))
    del image  # verify replays memory into one of its own
    return max(status or _stopped(opened, at), say_verdict(opened, at, View(view)))


def _refuse(output: Output, block: str | None, disk: str | None, space: str, unknown: Unknown) -> None:
    """Look whether all that is to be written may be, the files beside OUT included."""
    if block is None and disk is None and space == "block":
        if output.is_stdout:
            raise click.UsageError("-o - needs --block, --disk or --space physical: a folder is not one file")
        refuse_folder(output.path, output.force)
    elif unknown is Unknown.MASK_FILE and output.is_stdout:
        raise click.UsageError("--unknown mask-file needs a file, and -o - is standard output")
    else:
        mask = [mask_path("").name] if unknown is Unknown.MASK_FILE else []
        output.refuse(*([sidecar_path("").name, *mask] if disk is None else []))


def _by_block(
    opened: Capture,
    image: Image,
    chosen: int | None,
    output: Output,
    about: Sidecar,
    unknown: Unknown,
    hash_unknown: int,
    told: "_Told",
) -> None:
    """Write one RAM block, or all of them to a folder, and say what is missing."""
    pieces = [raw.whole(image, i) for i, b in enumerate(opened.blocks) if b.declared and chosen in (None, i)]
    _say_what_holds(image, pieces, about.trust)
    missing, possible = _length(unknown_ranges(image, pieces)), _length(possible_ranges(image, pieces))
    if missing and unknown is Unknown.FAIL:
        raise XbrleError(
            f"{some(missing, 'byte is', 'bytes are')} unknown: nothing was written. "
            "To write zeros instead, leave out --unknown"
        )
    if chosen is not None:
        _one_block(opened, image, chosen, output, about, unknown)
    else:
        _folder(opened, image, output, about, hash_unknown)
    told.missing(missing, possible)


def _one_block(opened: Capture, image: Image, block: int, output: Output, about: Sidecar, unknown: Unknown) -> None:
    """Write one RAM block to a file, with its sidecar and, if wanted, a mask of what is known."""
    with progress("writing", image.block_bytes(block)) as on:
        raw.write_file(image, block, output.target, output.force, on)
    if output.is_stdout:
        return
    pieces = [raw.whole(image, block)]
    if unknown is Unknown.MASK_FILE:
        write_mask(image, pieces, output.path, image.block_bytes(block), output.force)
    about.write(opened.stream, image, output.path, "raw", "block", pieces, None, unknown, output.force)


def _folder(opened: Capture, image: Image, output: Output, about: Sidecar, hash_unknown: int) -> None:
    """Write every RAM block to a file of its own, and a manifest."""
    with progress("writing", 2 * sum(b.length for b in opened.blocks)) as on:
        written = extract.write_folder(opened.stream, image, Path(output.path), about, output.force, on, hash_unknown)
    left_out = [w for w in written if w.sha256 is None]
    if left_out:
        warn(
            f"{left_out[0].name}: too many bytes were not sent for a SHA-256 of all; the manifest has data_sha256, the "
            f"digest of what is not zero ({len(left_out)} of {len(written)} blocks; see --hash-unknown)"
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said when memory is written: what is missing of it, and with --json the object about the output."""

    output: Output
    space: str  # block, physical or disk
    one_block: bool
    form: str
    unknown: str
    as_json: bool

    def missing(self, count: int, possible: int) -> None:
        """Say how many bytes are unknown, and how many of them are written as they may have been."""
        unknown = some(count, "byte is unknown", "bytes are unknown")
        if possible:
            warn(f"{unknown}; {possible} of them are written as they may have been, the others as zeros")
        elif count:
            warn(f"{unknown}; they are written as zeros")
        self.written(count, possible)

    def written(self, count: int, possible: int) -> None:
        """Print the object about the output."""
        if not self.as_json:
            return
        path, beside, mask = Path(self.output.path), None, None
        if not self.output.is_stdout and self.space != "disk":
            folder = self.space == "block" and not self.one_block
            beside = path / raw.MANIFEST if folder else sidecar_path(path)
            mask = mask_path(path) if self.unknown == Unknown.MASK_FILE.value and not folder else None
        about = {
            "space": self.space,
            "form": self.form,
            "sidecar": None if beside is None else shown(bytes(beside)),
            "mask": None if mask is None else shown(bytes(mask)),
            "unknown_bytes": count,
            "possible_bytes": possible,
        }
        self.output.say_object({"type": "extract", **about})


def _length(ranges: Iterable[tuple[int, int]]) -> int:
    """The bytes in ranges [start, end)."""
    return sum(end - start for start, end in ranges)


def _disk(opened: Capture, name: str, output: Output, told: _Told) -> int:
    """Write the disk called ``name``. Returns the exit status."""
    disks = opened.facts.disks
    device = next((d for d in disks if d == os.fsencode(name) or shown(d) == name), None)
    if device is None:
        names = ", ".join(map(shown, disks)) or "none (it does not have block sections with data)"
        raise XbrleError(
            f"{opened.name}: disk {shown(os.fsencode(name))} was not found. Disks in this capture: {names}"
        )
    with progress("writing", disks[device]) as on, _seekable(output) as target:
        written = write_disk(opened.stream, device, target, on, output.force)
    warn(
        f"{written.chunks} chunks of 1 MiB written; the stream does not record the disk size, so the last one is whole"
    )
    if written.missing:
        warn(f"{some(written.missing, 'byte was', 'bytes were')} not sent; they are written as zeros")
    told.written(written.missing, 0)
    return 0


@contextmanager
def _seekable(output: Output) -> Iterator[Target]:
    """What can be written in any order. It goes to standard output, where that is asked for, when all is there."""
    if not output.is_stdout:
        yield output.path
        return
    with tempfile.TemporaryFile() as held:
        yield cast("BinaryIO", held)
        held.seek(0)
        write_bytes(iter(lambda: held.read(COPIED), b""))


def _physical(
    opened: Capture,
    image: Image,
    output: Output,
    form: str,
    sidecar: Sidecar,
    map_file: str | None,
    unknown: Unknown,
    paging: bool,
    cpu: int | None,
    told: _Told,
) -> int:
    """Write guest-physical memory, and say which map was used. Returns the exit status."""
    where = map_from(opened, map_file)
    spans, status = kernel_spans(opened, where, cpu, sidecar.view) if paging else ([], 0)
    said = write_physical(form, opened.stream, image, where, output.target, sidecar, unknown, output.force, spans)
    warn(f"guest-physical map from {where.origin}")
    for note in (*where.notes, *said, *map(str, where.unplaced)):
        warn(note)
    pieces = physical.pieces(image, where)
    _say_what_holds(image, pieces, sidecar.trust)
    told.missing(_length(unknown_ranges(image, pieces)), _length(possible_ranges(image, pieces)))
    return status if where.is_whole else EXIT_FINDINGS


def _say_what_holds(image: Image, pieces: Sequence[Piece], trust: Trust) -> None:
    """After salvage, say of how much of what is written a byte sum holds, and how much nothing protects."""
    if image.sum_held is None:
        return
    length = sum(p.length for p in pieces)
    recovered = length - sum(end - start for start, end in unknown_ranges(image, pieces))
    held = sum(marked_bytes(image, p, image.sum_held) for p in pieces)
    warn(recovery(recovered, length, held, trust is Trust.CHECKSUM))


def _declared(opened: Capture, name: str) -> int:
    """The index of the RAM block called ``name``, which the capture's block list must have."""
    block = opened.space.index(name)
    if not opened.blocks[block].declared:
        listed = ", ".join(shown(b.name) for b in opened.blocks if b.declared)
        raise XbrleError(f"RAM block {name!r} is not in the capture's block list: use one of {listed}")
    return block


def _lost(opened: Capture, image: Image, at: int | None, trust: Trust) -> int:
    """Say which pages were sent and are still not wholly known. Returns the exit status."""
    columns = opened.records.columns
    if at is not None:
        columns = columns.take(slice(0, opened.records.row(at) + 1))
    sent, astray = Values(opened.space.places(columns), bool), 0
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        rows = opened.space.pages_of(piece)
        astray += int(np.count_nonzero(IS_PAGE[piece.kind[rows < 0]]))
        sent[rows[rows >= 0]] = True
    if astray:
        carry = some(astray, "record carries a page", "records carry pages")
        warn(f"{carry} outside all listed RAM blocks; not written")
    pages = sent.nonzero()
    lost = pages[image.state[pages] != State.RECOVERED]
    if len(lost) and trust is Trust.CHECKSUM:
        warn(f"{len(lost)} of {len(pages)} sent pages are left out: no checksum confirms them")
    elif len(lost):
        block = int(np.searchsorted(opened.space.first, lost[0], side="right")) - 1
        address = (int(lost[0]) - int(opened.space.first[block])) * opened.page_size
        where = f"{shown(opened.blocks[block].name)}:{address:#x}"
        warn(
            f"{len(lost)} sent pages are not wholly given: cut off, or deltas without their base; the first is {where}"
        )
    broken = opened.stream.broken
    if broken is not None and at is None:
        stands = int(opened.records.numbers.before(np.array([broken]))[0])
        what = f"memory as of record {stands} stands: --at {stands}" if stands else "no page is known"
        warn(f"channels are missing, damaged or of another migration: {what}")
    left_out = any(p.rule == LEFT_OUT for p in opened.problems)
    return EXIT_FINDINGS if astray or left_out or len(lost) else 0


def _stopped(opened: Capture, at: int | None) -> int:
    """Say where a receiver would have stopped before it had all that is written. Returns the exit status."""
    found = stop_amid_records(opened.stream, found_in(opened.stream).first_of_each(), at)
    if found is None:
        return 0
    place = f"offset {found.offset:#x}" if found.record is None else f"record {found.record}"
    warn(f"a receiver stops at {place} ({found.rule}: {found.message}); what comes later is written all the same")
    return EXIT_FINDINGS
