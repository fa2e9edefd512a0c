"""Raw images of guest-physical memory: byte n of the file is the byte at address n."""

from ..memory.image import Image
from ..outputs import Target
from ..physical.layout import PhysicalMap
from .memory import Piece, Unknown, write_pieces


def pieces(image: Image, where: PhysicalMap) -> list[Piece]:
    """The ranges of a map as pieces of memory, each at its own address."""
    return [Piece(r.start, image.space.index(r.block), r.offset, r.length) for r in where.ranges]


def write_raw(
    image: Image, where: PhysicalMap, path: Target, unknown: Unknown = Unknown.ZERO, force: bool = False
) -> None:
    """Write guest-physical memory as one sparse file, whose byte n is the byte at address n.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    write_pieces(image, pieces(image, where), path, b"", where.end, unknown, force)
