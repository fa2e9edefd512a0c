"""Maps that a user gives. They override all evidence."""

from ..errors import XbrleError
from ..model import Stream
from . import infer
from .draft import other
from .layout import PhysicalMap, Unplaced, checked, left_of, ranges_of


def parse_map(text: str, stream: Stream, name: str = "the map") -> PhysicalMap:
    """A map from a user's text.

    The text has lines of START LENGTH BLOCK OFFSET (``#`` begins a comment), or is a JSON list of objects with
    ``start``, ``length``, ``block`` and ``offset``, or a sidecar. Numbers are decimal or 0x..., or have the suffix K, M
    or G. A block of the guest's memory that the text does not name is listed as not placed.

    Raises:
        XbrleError: it is not written that way, or does not fit the capture.
    """
    ranges = checked(ranges_of(text, name), stream)
    try:
        known = infer.map_of(stream)
    except XbrleError:
        known = PhysicalMap((), "")
    unplaced: list[Unplaced] = []
    hidden: list[Unplaced] = []
    for block in stream.blocks:
        why, named = other(stream, block), any(r.block == block.name for r in ranges)
        for offset, length in left_of(block.name, block.length, ranges):
            listed = hidden if named or why is not None else unplaced
            listed.append(Unplaced(block.name, offset, length, why or f"{name} leaves it out"))
    return PhysicalMap(
        ranges,
        f"given by the user: {name}",
        machine=known.machine,
        endian=known.endian,
        unplaced=tuple(unplaced),
        hidden=tuple(hidden),
    )
