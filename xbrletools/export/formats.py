"""The formats in which memory is exported.

To add one, write its writer in a module of its own, add its line to `FORMATS`, and a test.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from ..memory.image import Image
from ..model import Stream
from ..physical.layout import PhysicalMap
from .elfcore import write_elf
from .lime import write_lime
from .memory import Unknown
from .physical import pieces, write_raw
from .sidecar import Sidecar

Path = str | os.PathLike[str]
Writer = Callable[[Image, PhysicalMap, Path, Unknown], None]


class Format(NamedTuple):
    """How memory becomes files.

    ``space`` is what an export has where the user does not say: RAM blocks ("block", which `export.raw` writes) or
    guest-physical memory ("physical"). ``write`` writes guest-physical memory.
    """

    space: str
    write: Writer


FORMATS = {
    "raw": Format("block", write_raw),
    "elf": Format("physical", write_elf),
    "lime": Format("physical", write_lime),
}


def write_physical(
    name: str, stream: Stream, image: Image, where: PhysicalMap, path: Path, sidecar: Sidecar, unknown: Unknown
) -> None:
    """Write guest-physical memory in the format called ``name``, and the sidecar of the file.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    FORMATS[name].write(image, where, path, unknown)
    sidecar.write(stream, image, path, name, "physical", pieces(image, where), where, unknown)
