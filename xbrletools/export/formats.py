"""The formats in which memory is exported.

To add one, write its writer in a module of its own, add its line to `FORMATS`, and a test.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..analysis.mappings import Span
from ..memory.image import Image
from ..model import Stream
from ..outputs import Target, protecting
from ..physical.layout import PhysicalMap
from .elfcore import write_elf
from .lime import write_lime
from .memory import Unknown
from .notes import Notes, notes_of
from .physical import pieces, write_raw
from .sidecar import Sidecar

Writer = Callable[[Image, PhysicalMap, Target, Unknown, bool], None]
NotedWriter = Callable[[Image, PhysicalMap, Target, Unknown, bool, Notes], None]


class Format(NamedTuple):
    """How memory becomes files.

    ``space`` is what an export has where the user does not say: RAM blocks ("block", which `export.raw` writes) or
    guest-physical memory ("physical"). ``write`` writes guest-physical memory. ``noted`` does so in a format that has
    room for registers, and is then called instead.
    """

    space: str
    write: Writer
    noted: NotedWriter | None = None


FORMATS = {
    "raw": Format("block", write_raw),
    "elf": Format("physical", write_elf, write_elf),
    "lime": Format("physical", write_lime),
}


def write_physical(
    name: str,
    stream: Stream,
    image: Image,
    where: PhysicalMap,
    path: Target,
    sidecar: Sidecar,
    unknown: Unknown,
    force: bool = False,
    virtual: Sequence[Span] = (),
) -> tuple[str, ...]:
    """Write guest-physical memory in the format called ``name``, and the sidecar of the file.

    A file object does not get one. ``virtual`` are ranges of virtual addresses for a format that has them. Returns
    what the file says beside memory, for a person.

    Raises:
        XbrleError: it cannot be written, or bytes are unknown and ``unknown`` is FAIL.
    """
    form = FORMATS[name]
    said: tuple[str, ...] = ()
    with protecting([stream.name]):
        if form.noted is not None:
            notes = notes_of(stream, image, where, sidecar.record, virtual)
            form.noted(image, where, path, unknown, force, notes)
            said = notes.said
        else:
            form.write(image, where, path, unknown, force)
        where = replace(where, notes=(*where.notes, *said))
        if isinstance(path, str | os.PathLike):
            sidecar.write(stream, image, path, name, "physical", pieces(image, where), where, unknown, force)
    return said
