"""A disk that block migration sent, as a raw image. What was not sent or is zeros is a hole in the file."""

from collections.abc import Callable
from dataclasses import dataclass

from ..container.disks import chunks
from ..errors import XbrleError
from ..formats import block
from ..model import Stream
from ..outputs import MEMORY, Target, protecting, replacing

DISK_MAX = 1 << 60  # bytes: more than any disk has


@dataclass(frozen=True, slots=True)
class Disk:
    """What was written: the ``length`` of the image, the number of ``chunks`` sent, and the bytes ``missing``."""

    length: int
    chunks: int
    missing: int


def write_disk(
    stream: Stream, name: bytes, path: Target, on: Callable[[int], None] | None = None, force: bool = False
) -> Disk:
    """Write the device called ``name`` as it is after the last chunk.

    ``on`` is called as the work goes on, with the number of bytes done since the last call.

    Raises:
        XbrleError: it cannot be written, or a chunk lies beyond any possible disk.
    """
    data, seen, count = stream.data, set[int](), 0
    with protecting([stream.name]), replacing(path, force, MEMORY) as file:
        for chunk in chunks(stream.sections.of_owner(block.IDSTR), data):
            if chunk.device != name:
                continue
            if chunk.at >= DISK_MAX:
                raise XbrleError(f"a chunk is for byte {chunk.at:#x}; a disk is not that large", chunk.offset)
            piece = bytes(block.CHUNK) if chunk.data is None else data[chunk.data : chunk.data + block.CHUNK].data
            if (
                chunk.data is not None or chunk.at in seen
            ):  # zeros stay a hole unless something was written there before
                file.seek(chunk.at)
                file.write(piece)
            seen.add(chunk.at)
            count += 1
            if on is not None:
                on(block.CHUNK)
        length = max(seen) + block.CHUNK if seen else 0
        file.truncate(length)
    return Disk(length, count, length - len(seen) * block.CHUNK)
