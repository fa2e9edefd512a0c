"""LiME images of guest-physical memory: a header before each range."""

from ..formats import lime
from ..memory.image import Image
from ..outputs import Target
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces
from .physical import pieces


def write_lime(
    image: Image, where: PhysicalMap, path: Target, unknown: Unknown = Unknown.ZERO, force: bool = False
) -> None:
    """Write guest-physical memory as a sparse LiME image.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    heads, placed, at = [], [], 0
    for r, piece in zip(where.ranges, pieces(image, where), strict=True):
        heads.append((at, lime.Header.build({"start": r.start, "end": r.end - 1})))
        at += lime.Header.sizeof()
        placed.append(Piece(at, piece.block, piece.offset, piece.length))
        at += r.length
    write_pieces(image, placed, path, heads, at, unknown, force)
