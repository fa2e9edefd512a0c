"""The sidecar of an exported file: its capture, moment, view and map, and which of its bytes are unknown."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ..analysis import places
from ..memory.confirm import PLAIN_WORDS, WORDS, Trust
from ..memory.image import Image
from ..memory.moments import confirmed_of
from ..memory.replay import View
from ..model import Held, Stream
from ..outputs import MEMORY, protecting, replacing
from ..physical.layout import PhysicalMap
from ..ram.elsewhere import LEFT_OUT
from ..text import shown
from .digests import STEP, ZEROS_MAX, DataDigest
from .memory import Piece, Unknown, marked_bytes, mask_path, possible_ranges, unknown_ranges

HASHED = 1 << 24  # bytes that are hashed at once
_ZEROS = bytes(HASHED)


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the sidecar of an exported file goes."""
    return Path(f"{os.fspath(path)}.json")


@dataclass(frozen=True)
class Sidecar:
    """How the exported image was made: in which view, after which ``record`` (None: the end), and with what trust."""

    view: View = View.RECEIVER
    record: int | None = None
    trust: Trust = Trust.STREAM

    def write(
        self,
        stream: Stream,
        image: Image,
        path: str | os.PathLike[str],
        form: str,
        space: str,
        pieces: Sequence[Piece],
        where: PhysicalMap | None,
        unknown: Unknown,
        force: bool = False,
    ) -> None:
        """Write the sidecar of ``path``. Places are guest-physical addresses, or offsets in a block.

        Raises:
            XbrleError: it cannot be written.
        """
        ranges = list(unknown_ranges(image, pieces))
        length, unknown_bytes = sum(p.length for p in pieces), sum(end - start for start, end in ranges)
        confirmed = confirmed_of(stream, image, self.record, self.view)
        held_bytes = sum(marked_bytes(image, piece, confirmed) for piece in pieces)
        about: dict[str, Any] = {
            "file": Path(path).name,
            "format": form,
            "space": space,
            **source(stream),
            "view": self.view.value,
            "record": self.record,
            "map": [
                {
                    "start": p.place,
                    "length": p.length,
                    "block": shown(image.space.blocks[p.block].name),
                    "offset": p.offset,
                }
                for p in pieces
            ],
            "map_origin": where.origin if where is not None else "the block itself",
            "notes": list(where.notes) if where is not None else [],
            **(places.as_json(where) if where is not None else {}),
            "unknown_as": unknown.value,
            "mask": mask_path(path).name if unknown is Unknown.MASK_FILE else None,
            "trust": self.trust.value,
            "sum_holds_bytes": held_bytes,
            "unprotected_bytes": length - unknown_bytes - held_bytes,
            "unknown_bytes": unknown_bytes,
            "unknown": as_objects(ranges),
            "possible": as_objects(possible_ranges(image, pieces)),
        }
        with protecting([stream.name]), replacing(sidecar_path(path), force, MEMORY) as file:
            file.write(json.dumps(about, indent=1).encode() + b"\n")


def _is_complete(stream: Stream) -> bool:
    """Whether all of the migration is here, with every RAM block."""
    facts = stream.facts
    return facts.whole and not any(p.rule == LEFT_OUT for p in facts.problems)


def source(stream: Stream) -> dict[str, Any]:
    """What memory was made from: the capture, whether it is complete, and which ranges were skipped as damaged.

    ``channels`` are the other files that its pages came from. ``words`` says what the counts of bytes mean.
    """
    main, *channels = stream.files or (stream.source,)
    return {
        "source": _file(main),
        "channels": [_file(channel) for channel in channels],
        "complete": _is_complete(stream),
        "skipped": as_objects(stream.facts.skipped),
        "words": WORDS if stream.salvaged else PLAIN_WORDS,
    }


def _file(source: Held) -> dict[str, Any]:
    """A file that was read: its name, size in bytes and digests, after decompression."""
    source.check()
    return {"name": shown(os.fsencode(source.name)), "size": len(source.data), **digests(source)}


def as_objects(ranges: Iterable[tuple[int, int]]) -> list[dict[str, int]]:
    """Ranges [start, end) as JSON has them."""
    return [{"start": start, "length": end - start} for start, end in ranges]


def digests(source: Held) -> dict[str, str | None]:
    """A file's digests, in hexadecimal: ``sha256``, or where that would be mostly of holes ``data_sha256``."""
    size = len(source.data)
    if size - sum(stop - start for start, stop in source.extents(0, size)) <= ZEROS_MAX:
        return {"sha256": digest(source), "data_sha256": None}
    of_data, done = DataDigest(), 0
    for start, stop in source.extents(0, size):
        for at in range(max(done, start // STEP * STEP), stop, HASHED):
            done = min(at + HASHED, size if stop == size else -(-stop // STEP) * STEP)
            of_data.add(at, source.data[at:done])
    return {"sha256": None, "data_sha256": str(of_data)}


def digest(source: Held) -> str:
    """The SHA-256 of a file as it was read, after decompression, in hexadecimal."""
    data = memoryview(source.data)  # type: ignore[arg-type]  # an array is a buffer
    sha256, at = hashlib.sha256(), 0
    for start, stop in chain(source.extents(0, len(data)), [(len(data), len(data))]):
        for _ in range(at, start, HASHED):  # a hole, which is not read
            zeros = min(HASHED, start - at)
            sha256.update(memoryview(_ZEROS)[:zeros])
            at += zeros
        for at in range(start, stop, HASHED):
            sha256.update(data[at : min(at + HASHED, stop)])
        at = stop
    return sha256.hexdigest()
