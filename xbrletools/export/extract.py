"""Memory to files as `xbrle extract` and `Capture.extract` write it: with what lies beside it to say what it is."""

import json
from pathlib import Path
from typing import Any

from ..errors import XbrleError
from ..memory.image import Image
from ..memory.moments import confirmed_of, memory_of
from ..model import Stream
from ..outputs import protecting
from ..physical.infer import map_of
from . import raw
from .formats import FORMATS, write_physical
from .memory import Unknown
from .sidecar import Sidecar, sidecar_path, source


def head(stream: Stream, about: Sidecar) -> dict[str, Any]:
    """What a folder's manifest says beside its files."""
    return {
        **source(stream),
        "view": about.view.value,
        "at": about.record,
        "page_size": stream.page_size,
        "trust": about.trust.value,
    }


def write_folder(
    stream: Stream,
    image: Image,
    folder: Path,
    about: Sidecar,
    force: bool = False,
    progress: raw.Progress | None = None,
    hash_unknown: int = raw.HASHED_UNKNOWN_MAX,
) -> list[raw.WrittenFile]:
    """Write every declared RAM block to a file of its own, and a manifest. Raises as `raw.write_folder`."""
    confirmed = confirmed_of(stream, image, about.record, about.view)
    return raw.write_folder(image, folder, force, progress, confirmed, hash_unknown, **head(stream, about))


def write_memory(
    stream: Stream, out: Path, form: str, about: Sidecar, block: int | None = None, force: bool = False
) -> dict[str, Any]:
    """Write memory in ``form``, one of `FORMATS`: all RAM blocks, or with raw ``block``, by its index, alone.

    Returns what was written beside it: the folder's manifest, or the file's sidecar.

    Raises:
        XbrleError: it cannot be written, or only raw files are of one block.
    """
    if block is not None and FORMATS[form].space != "block":
        raise XbrleError(f"form {form} takes all RAM blocks, not one")
    if not any(b.declared for b in stream.blocks):
        raise XbrleError(f"{stream.name}: the list of RAM blocks is missing, so memory cannot be written")
    image = memory_of(stream, about.record, about.view, about.trust)
    with protecting([file.name for file in stream.files or (stream.source,)]):
        if FORMATS[form].space == "physical":
            write_physical(form, stream, image, map_of(stream), out, about, Unknown.ZERO, force)
        elif block is None:
            write_folder(stream, image, out, about, force)
            return _read(out / raw.MANIFEST)
        else:
            raw.write_file(image, block, out, force)
            about.write(stream, image, out, form, "block", [raw.whole(image, block)], None, Unknown.ZERO, force)
    return _read(sidecar_path(out))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
