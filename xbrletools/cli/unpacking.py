"""`xbrle capture --from-pcap`: the streams of a packet dump as files, named as those of a recording are."""

import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import XbrleError
from ..formats import times
from ..net.kinds import Kind, kind_of
from ..net.outputs import taken
from ..outputs import MEMORY, protecting, refuse, replacing
from ..source.beside import REVERSE
from ..source.opening import open_source
from ..source.sources import MappedSource
from ..text import counted, shown
from . import EXIT_FINDINGS, warn
from .output import PROBLEMS_MAX
from .saving import STDOUT, Output
from .writer import say_object


def unpack(dump: str, stream: int | None, output: Output, as_json: bool) -> int:
    """Write the streams of a packet dump. Returns the exit status.

    Raises:
        XbrleError: it is not a packet dump, it is not known which migration is meant, or a file cannot be written.
    """
    with protecting([] if dump == STDOUT else [dump]):
        source = open_source(dump, stream=stream)
        if not isinstance(source, MappedSource) or source.rebuilt is None:
            source.close()
            raise XbrleError(f"{source.name}: is not a packet dump")
        files = {"": source} | {f".{i}": c for i, c in enumerate(source.rebuilt.channels, 1)}
        if source.rebuilt.back is not None:
            files[REVERSE] = source.rebuilt.back
        left_out = 0
        if output.is_stdout:
            left_out = len(source.rebuilt.channels)
            output.save([source.view])
        else:
            _write(files, output)
    lost = _told(source, left_out)
    for ending, file in files.items():
        kind = Kind.MAIN if ending in ("", REVERSE) else kind_of(bytes(file.view[:64]), over=True)
        name = None if output.is_stdout and ending else shown(os.fsencode(output.path + ending))
        if name is not None:
            what = "return path" if ending == REVERSE else (kind or Kind.FOREIGN).value
            warn(f"{what}: {counted(file.size, 'byte')}, {name}")
        if as_json:
            about = {
                "type": "recording",
                "connection": 0 if ending in ("", REVERSE) else int(ending[1:]),
                "kind": None if kind is None else kind.value,
                "reverse": ending == REVERSE,
                "file": name,
                "bytes": file.size,
                "error": file.damage,
            }
            say_object(about, err=output.is_stdout)
    return EXIT_FINDINGS if lost else 0


def _told(source: MappedSource, left_out: int) -> bool:
    """Say what is missing and odd. Returns whether anything is missing."""
    assert source.rebuilt is not None
    oddities = source.rebuilt.oddities
    for oddity in oddities[:PROBLEMS_MAX]:
        warn(f"{oddity.rule} at offset {oddity.offset:#x}: {oddity.message}")
    if len(oddities) > PROBLEMS_MAX:
        warn(f"{len(oddities) - PROBLEMS_MAX} more of these; to list them all, use: xbrle verify DUMP")
    if len(source.rebuilt.holes):
        warn("written is what stands before the first bytes that are missing; for the rest, give DUMP with --salvage")
    if left_out:
        warn(f"{counted(left_out, 'channel')} left out: standard output takes the main channel alone")
    broken = any(s.damage for s in (source, *source.rebuilt.channels))
    return bool(left_out) or broken or any(o.lost for o in oddities)


def _write(files: dict[str, MappedSource], output: Output) -> None:
    """Write each of ``files``, by what its name ends in, and its times beside it. The main channel comes last."""
    out = Path(output.path)
    timed = {ending + times.SUFFIX: _times(source) for ending, source in files.items() if ending != REVERSE}
    written = {ending: data for ending, data in timed.items() if data}
    try:
        older = taken(out, output.force)
    except OSError as error:
        raise XbrleError(f"{output.path}: {error.strerror or error}") from error
    for name in (*map(str, older), *(output.path + ending for ending in (*files, *written))):
        refuse(name, output.force)
    for path in older:
        if path != out and path.name[len(out.name) :] not in (*files, *written):
            with suppress(FileNotFoundError):
                path.unlink()
    for ending, data in written.items():
        with replacing(output.path + ending, output.force, MEMORY) as file:
            file.write(data)
    for ending in reversed(files):
        Output(output.path + ending, output.force).save(_pieces(files[ending]))


def _pieces(source: MappedSource) -> list[memoryview]:
    return [source.view[at : at + (1 << 20)] for at in range(0, source.size, 1 << 20)]


def _times(source: MappedSource) -> bytes:
    """The file of arrival times of a stream. It is empty where its packets do not have any."""
    assert source.rebuilt is not None
    table = source.rebuilt.times
    table = table[: int(np.searchsorted(table[:, 0], source.size, side="right"))]
    if not len(table):
        return b""
    started = int(table[0, 1])
    out = [times.Header.build({"version": times.VERSION, "reserved": 0, "started": started})]
    for offset, moment in table.tolist():
        crc = zlib.crc32(source.view[max(0, offset - times.CHECKED) : offset])
        out.append(times.Entry.build({"offset": offset, "elapsed": moment - started, "crc": crc}))
    return b"".join(out)
