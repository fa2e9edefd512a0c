"""LiME images of guest-physical memory: a header before each range."""

import os

from ..formats import lime
from ..memory.image import Image
from ..model import Stream
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces
from .physical import pieces
from .sidecar import Sidecar


def write_lime(
    stream: Stream,
    image: Image,
    where: PhysicalMap,
    path: str | os.PathLike[str],
    sidecar: Sidecar,
    unknown: Unknown = Unknown.ZERO,
) -> None:
    """Write guest-physical memory as a LiME image, sparse, and its sidecar.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    heads, placed, at = [], [], 0
    for r, piece in zip(where.ranges, pieces(image, where), strict=True):
        heads.append((at, lime.Header.build({"start": r.start, "end": r.end - 1})))
        at += lime.Header.sizeof()
        placed.append(Piece(at, piece.block, piece.offset, piece.length))
        at += r.length
    write_pieces(image, placed, path, heads, at, unknown)
    sidecar.write(stream, image, path, "lime", "physical", pieces(image, where), where, unknown)
