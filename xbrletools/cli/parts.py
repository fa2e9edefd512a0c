"""What `xbrle info` shows of a file that is only a part of a migration: a return path, the channel of cpr."""

from pathlib import Path
from typing import Any

from ..capture import Capture
from ..source.opening import open_source
from ..source.sources import MappedSource
from ..text import amount, bytes_of, shown
from ..urls import is_url
from . import EXIT_FINDINGS
from .writer import say, say_object

PART_MAX = 64 << 20  # bytes of such a file


def show_part(opened: Capture, as_json: bool) -> int | None:
    """Print what the file is and holds. Returns the exit status, or None where it is not such a part."""
    source = opened.source
    if not isinstance(source, MappedSource):
        if source.given is None or not can_be_read_again(opened):
            return None
        source = open_source(source.given).spool()
    if source.size > PART_MAX:
        return None
    data = bytes(source.view)
    about = _cpr(data) or _return_path(data)
    if about is None:
        return None
    about = {"name": opened.name, "size": source.size, **about}
    if as_json:
        say_object(about)
    else:
        say("\n".join(_lines(about)))
    return EXIT_FINDINGS if about["damage"] is not None or not about.get("version_known", True) else 0


def can_be_read_again(opened: Capture) -> bool:
    """Whether S is a file or a URL, and not a pipe, so that it can be read twice."""
    given = opened.source.given
    return given is not None and (is_url(given) or Path(given).is_file())


def _cpr(data: bytes) -> dict[str, Any] | None:
    from ..container import cpr
    from ..formats.cpr import VERSION

    found = cpr.read(data)
    if found is None:
        return None
    return {
        "container": "cpr",
        "version": found.version,
        "version_known": found.version == VERSION,
        "descriptors": [{"offset": d.offset, "name": shown(d.name), "id": d.id} for d in found.descriptors],
        "subsections": [
            {"offset": s.offset, "name": shown(s.name), "version": s.version, "bytes": s.end - s.data}
            for s in found.subsections
        ],
        "damage": found.damage,
    }


def _return_path(data: bytes) -> dict[str, Any] | None:
    from ..container import returnpath

    messages = returnpath.read(data)
    if messages is None:
        return None
    end = messages[-1].end
    return {
        "container": "return-path",
        "messages": [{"offset": m.offset, "type": m.type.name, "words": str(m)} for m in messages],
        "damage": end if end < len(data) else None,
    }


def _lines(about: dict[str, Any]) -> list[str]:
    """The same for a person."""
    name = f"{shown(bytes_of(about['name']))}, {amount(about['size'])}"
    if about["container"] == "cpr":
        lines = [
            f"{name}: the channel of cpr-transfer (QCPR, version {about['version']}). It holds no memory: the source "
            f"handed over {len(about['descriptors'])} file descriptors, one for each of these RAM blocks or devices.",
            *(f"  {d['offset']:#06x}  {d['name']}, id {d['id']}" for d in about["descriptors"]),
            *(f"  {s['offset']:#06x}  subsection {s['name']}, {s['bytes']} bytes" for s in about["subsections"]),
        ]
    else:
        count = len(about["messages"])
        lines = [
            f"{name}: the return path of a migration, what the destination sent back: {count} messages.",
            *(f"  {m['offset']:#06x}  {m['words']}" for m in about["messages"]),
        ]
    if not about.get("version_known", True):
        lines.append(f"  version {about['version']} is not known, and what is said above may be wrong")
    if about["damage"] is not None:
        lines.append(f"  {about['damage']:#06x}  cannot be read from here on")
    return lines
