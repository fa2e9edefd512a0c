"""Memory as raw files: each block is a file, and a page that is zero or unknown is a hole in it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..memory.image import Image, State
from ..outputs import MEMORY, Target, filling, replacing
from ..text import shown
from .digests import ZEROS_MAX, DataDigest
from .memory import Piece, marked_bytes, parts, possible_ranges, unknown_ranges
from .sidecar import as_objects

MANIFEST = "manifest.json"
NAME_BYTES_MAX = 200  # of an escaped name, so that with a suffix it fits into the 255 bytes of a file system
ZEROS = bytes(1 << 20)
HASHED_UNKNOWN_MAX = ZEROS_MAX

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+@=,")

#: Called as the work goes on, with the number of bytes done since the last call.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One block on disk: its name as shown, its file and its length in bytes.

    ``unknown``, ``known`` and ``unprotected`` count bytes of it, in the words of `xbrletools.memory.confirm`. The last
    two are None where they were not asked for. ``sha256`` is None where too many bytes are unknown to be hashed. Then
    ``data_sha256`` is the digest of what is not zero, as `xbrletools.export.digests` says. ``unknown_ranges`` are as
    the manifest has them. So are ``possible_ranges``: those of the unknown bytes that are written as they may have
    been.
    """

    name: str
    file: str
    length: int
    sha256: str | None
    data_sha256: str | None
    unknown: int
    sum_holds: int | None
    unprotected: int | None
    unknown_ranges: list[dict[str, int]]
    possible_ranges: list[dict[str, int]]


def file_name(name: bytes, taken: set[str]) -> str:
    """A file name for a block's name that differs from all of ``taken``, even if case is ignored.

    The name is added to ``taken``.

    Bytes other than letters, digits and ``._-+@=,`` become ``%XX``, and so does a leading dot. A name that is too long
    or taken gets a suffix that begins with ``~``, which escaped names do not contain.
    """
    escaped = "".join(chr(b) if b in _SAFE and (i or b != ord(".")) else f"%{b:02X}" for i, b in enumerate(name))
    if not escaped or len(escaped) > NAME_BYTES_MAX:
        escaped = f"{escaped[:NAME_BYTES_MAX]}~{hashlib.sha256(name).hexdigest()[:16]}"
    chosen, count = escaped, 1
    while chosen.casefold() in taken:
        count += 1
        chosen = f"{escaped}~{count}"
    taken.add(chosen.casefold())
    return chosen


def unknown_bytes(image: Image, block: int) -> int:
    """The number of unknown bytes in a block."""
    return sum(end - start for start, end in unknown_ranges(image, [whole(image, block)]))


def whole(image: Image, block: int) -> Piece:
    """A block as one piece, at the start of its file."""
    return Piece(0, block, 0, image.block_bytes(block))


def write_block(image: Image, block: int, file: BinaryIO, progress: Progress | None = None) -> None:
    """Write a block to an empty file, sparsely."""
    done = 0
    for offset, data in parts(image, whole(image, block)):
        file.seek(offset)
        file.write(data.data)
        if progress:
            progress(offset + len(data) - done)
            done = offset + len(data)
    file.truncate(image.block_bytes(block))
    if progress:
        progress(image.block_bytes(block) - done)


def digest(
    image: Image, block: int, progress: Progress | None = None, unknown_most: int = HASHED_UNKNOWN_MAX
) -> str | None:
    """The SHA-256 of a block's bytes in hexadecimal, with unknown bytes as zeros.

    None where more than ``unknown_most`` bytes belong to pages that were not sent.
    """
    if _unsent(image, block) > unknown_most:
        return None
    out, at = hashlib.sha256(), 0

    def zeros(upto: int) -> None:
        nonlocal at
        while at < upto:
            step = min(len(ZEROS), upto - at)
            out.update(memoryview(ZEROS)[:step])
            at += step
            if progress:
                progress(step)

    for offset, data in parts(image, whole(image, block)):
        zeros(offset)
        out.update(data.data)
        at += len(data)
        if progress:
            progress(len(data))
    zeros(image.block_bytes(block))
    return out.hexdigest()


def data_digest(image: Image, block: int) -> str:
    """The digest of a block's bytes that are not zero: see `xbrletools.export.digests`."""
    out = DataDigest()
    for offset, data in parts(image, whole(image, block)):
        out.add(offset, data)
    return str(out)


def _unsent(image: Image, block: int) -> int:
    """The number of bytes in pages that are unknown as a whole."""
    return image.count(State.UNKNOWN, image.space.slice(block)) * image.space.page_size


def write_file(image: Image, block: int, target: Target, force: bool = False, progress: Progress | None = None) -> None:
    """Write one block to the file ``target``.

    Raises:
        XbrleError: ``force`` is not given and something other than an empty file has that name, or the file cannot be
            written.
    """
    with replacing(target, force, MEMORY) as file:
        write_block(image, block, file, progress)


def write_folder(
    image: Image,
    folder: Path,
    force: bool = False,
    progress: Progress | None = None,
    confirmed: NDArray[np.bool_] | None = None,
    hash_unknown: int = HASHED_UNKNOWN_MAX,
    **about: object,
) -> list[WrittenFile]:
    """Write every declared block to a file of its own in ``folder``, and describe the files in its manifest.json.

    ``confirmed`` (pages,) bool is what `Capture.confirmed` gives. ``about`` goes into the manifest beside ``blocks``.
    At most ``hash_unknown`` bytes that were not sent are hashed in all. A block that needs more does not get a digest.

    Raises:
        XbrleError: the folder exists and is not empty, and ``force``, which replaces files in it, is not given. It is
            not a folder. Something cannot be written.
    """
    taken = {MANIFEST}
    written = []
    with filling(folder, force, MANIFEST, MEMORY) as lying:
        for block, declared in enumerate(image.space.blocks):
            if not declared.declared:
                continue
            name = file_name(declared.name, taken)
            with (lying / name).open("wb") as file:
                write_block(image, block, file, progress)
            sha256 = digest(image, block, progress, hash_unknown)
            hash_unknown -= _unsent(image, block) if sha256 is not None else 0
            unknown = unknown_bytes(image, block)
            held = None if confirmed is None else marked_bytes(image, whole(image, block), confirmed)
            unprotected = None if held is None else declared.length - unknown - held
            ranges = as_objects(unknown_ranges(image, [whole(image, block)]))
            maybe = as_objects(possible_ranges(image, [whole(image, block)]))
            block_name, counts = shown(declared.name), (unknown, held, unprotected)
            of_data = data_digest(image, block) if sha256 is None else None
            written.append(WrittenFile(block_name, name, declared.length, sha256, of_data, *counts, ranges, maybe))
        manifest = {**about, "blocks": [asdict(w) for w in written]}
        (lying / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return written
