"""Raw images of guest-physical memory: byte n of the file is that of address n."""

import os

from ..memory.image import Image
from ..model import Stream
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces
from .sidecar import Sidecar


def pieces(image: Image, where: PhysicalMap) -> list[Piece]:
    """The ranges of a map as pieces of memory, each at its own address."""
    return [Piece(r.start, image.space.index(r.block), r.offset, r.length) for r in where.ranges]


def write_raw(
    stream: Stream,
    image: Image,
    where: PhysicalMap,
    path: str | os.PathLike[str],
    sidecar: Sidecar,
    unknown: Unknown = Unknown.ZERO,
) -> None:
    """Write guest-physical memory as one sparse file, byte n being that of address n, and its sidecar.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    write_pieces(image, pieces(image, where), path, b"", where.end, unknown)
    sidecar.write(stream, image, path, "raw", "physical", pieces(image, where), where, unknown)
