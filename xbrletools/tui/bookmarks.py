"""Bookmarks and their notes: a file for each capture, named by its digest, in the user's state folder (XDG)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import XbrleError
from ..outputs import MEMORY, replacing
from .preferences import folder

_PIECE = 1 << 24


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A record worth coming back to. ``offset`` is that of its word in the file, ``record`` its number or None."""

    offset: int
    record: int | None
    note: str


def digest(data: Any) -> str:
    """The SHA-256 of a capture's bytes, (size,) uint8, in hexadecimal."""
    whole = hashlib.sha256()
    for start in range(0, len(data), _PIECE):
        whole.update(data[start : start + _PIECE])
    return whole.hexdigest()


def place(sha256: str) -> Path:
    """The file of a capture's bookmarks."""
    return folder() / "bookmarks" / f"{sha256}.json"


def load(file: Path) -> dict[int, Bookmark]:
    """The bookmarks in ``file``, by offset. Without such a file there are none.

    Raises:
        XbrleError: the file cannot be read.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        marks = [Bookmark(int(e["offset"]), e["record"], str(e["note"])) for e in entries]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise XbrleError(f"cannot read the bookmarks in {file}: {error}") from error
    return {m.offset: m for m in marks}


def save(file: Path, marks: dict[int, Bookmark]) -> None:
    """Write all bookmarks to ``file``, whole or not at all.

    Raises:
        XbrleError: they cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, force=True, mode=MEMORY) as new:
            new.write(json.dumps([asdict(marks[o]) for o in sorted(marks)], indent=1).encode())
    except (OSError, XbrleError) as error:
        raise XbrleError(f"cannot save the bookmarks: {error}") from error
