"""What stands beside exported memory: a folder's manifest.json, and the sidecar FILE.json of a file.

`xbrletools.export` writes them. Here they are read, and nothing in them is believed that does not fit: they may be
from anyone. Blocks' names are as `text.shown` writes them.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import XbrleError, unopened
from .beside import at_hand, is_there

MANIFEST = "manifest.json"
BYTES_MAX = 8 << 20  # of a manifest or sidecar that is read: as Python's objects it takes some times as much
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(\\))")


@dataclass(frozen=True, slots=True)
class Entry:
    """A block that a manifest lists: its name, its file in the folder, and its length in bytes.

    ``unknown`` are the bytes [start, end) of it that are not known, and are zeros in the file, or possible content.
    """

    name: bytes
    file: str
    length: int
    unknown: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What FILE.json says of FILE: the ``block`` whose bytes it holds, or None where places in it are guest-physical.

    ``unknown`` are the places [start, end) that are not known. ``end`` is the place after the last byte.
    """

    form: str
    block: bytes | None
    end: int
    unknown: tuple[tuple[int, int], ...]


def named(text: str) -> bytes:
    """A block's name from its text, as `text.shown` writes it."""
    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_unescaped, raw)


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[4]:
        return b"\\"
    if match[1]:
        return bytes([int(match[1], 16)])
    code = int(match[2] or match[3], 16)
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else match[0]


def objects(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        XbrleError: it cannot be read, is too long, or is not a JSON object.
    """
    try:
        if not path.is_file() and path.exists():
            raise XbrleError(f"{path}: is not a file")
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
        if len(raw) > BYTES_MAX:
            raise XbrleError(f"{path}: has more than {BYTES_MAX >> 20} MiB and is not read")
        found = json.loads(raw.decode("utf-8"))
    except OSError as error:
        raise unopened(path, error) from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise XbrleError(f"{path}: is not a JSON object")
    return found


def entries(folder: Path) -> tuple[Entry, ...]:
    """The blocks that a folder's manifest lists.

    Raises:
        XbrleError: there is no manifest, it cannot be read, or it is not as `xbrle extract` writes it.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise XbrleError(f"{folder}: is a directory without {MANIFEST}; a folder that xbrle extract wrote has one")
    try:
        listed = objects(path)["blocks"]
        found = tuple(
            Entry(named(_text(e["name"])), _text(e["file"]), _number(e["length"]), _ranges(e.get("unknown_ranges", [])))
            for e in listed
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise XbrleError(f"{path}: not a list of blocks with names, files and lengths") from None
    if len({e.name for e in found}) < len(found):
        raise XbrleError(f"{path}: lists one block twice")
    for e in found:
        if Path(e.file).name != e.file or e.file in ("", ".", "..") or "\0" in e.file:
            raise XbrleError(f"{path}: names a file outside the folder: {e.file!r}")
    return found


def sidecar(given: str) -> Sidecar | None:
    """What FILE.json says of FILE, a path or a URL. None where there is none, or it is of something else.

    Raises:
        XbrleError: it is there and cannot be read.
    """
    beside = f"{given}.json"
    if not is_there(beside):
        return None
    try:
        with at_hand(beside) as there:
            about = objects(there)
        form, pieces = _text(about["format"]), about["map"]
        ends = [_number(p["start"]) + _number(p["length"]) for p in pieces]
        if about["file"] != given.rpartition("/")[2] or not ends or about["space"] not in ("block", "physical"):
            return None
        block = named(_text(pieces[0]["block"])) if about["space"] == "block" else None
        return Sidecar(form, block, max(ends), _ranges(about["unknown"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError
    return value


def _ranges(listed: Any) -> tuple[tuple[int, int], ...]:
    found = [(_number(r["start"]), _number(r["start"]) + _number(r["length"])) for r in listed]
    return tuple(sorted((_number(start), _number(end)) for start, end in found))
