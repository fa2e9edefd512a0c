"""What is to be done for one capture, and what came of it. Both are plain values that travel between machines."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ..errors import XbrleError
from ..version import __version__

#: What a line of a manifest can say beside its source, with the type of each.
READING: Mapping[str, type] = {
    "dialect": str,
    "endian": str,
    "page_size": int,
    "snapshot": str,
    "offset": int,
    "stream": int,
    "salvage": bool,
}
_LINE_MAX = 1 << 20  # characters of a line of a manifest


@dataclass(frozen=True, slots=True)
class Job:
    """A capture and where its tables go.

    ``source`` is a path or a URL, ``channels`` are its other channels. ``beside``: channels that lie beside it are
    taken by themselves. ``options`` say how to read it, by the names in `READING`. ``out`` is the folder of tables, and
    ``partition`` the folders that stand between a table's name and the capture's, as names with values.
    ``versions``: page_versions is made too. ``rules``: so is matches, of these YARA rules, which are the names and the
    texts of files. ``again``: what is there already is made again. ``timeout`` is in seconds,
    ``memory`` in bytes. ``run`` names the run of `xbrle tables`, and ``version`` is that of the tool which asks.
    """

    source: str
    out: str
    channels: tuple[str, ...] = ()
    beside: bool = True
    options: tuple[tuple[str, Any], ...] = ()
    partition: tuple[tuple[str, str], ...] = ()
    versions: bool = False
    rules: tuple[tuple[str, str], ...] = ()
    again: bool = False
    timeout: float | None = None
    memory: int | None = None
    run: str = ""
    version: str = __version__

    @property
    def source_id(self) -> str:
        """32 hexadecimal digits for what is read and how, whatever stands in it."""
        what = [self.source, list(self.channels), sorted(self.options), sorted(self.partition)]
        return hashlib.sha256(json.dumps(what).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    @property
    def digest_of_rules(self) -> str | None:
        """32 hexadecimal digits for the YARA rules, None where there are none."""
        if not self.rules:
            return None
        return hashlib.sha256(json.dumps(self.rules).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    @property
    def is_limited(self) -> bool:
        """Whether it may take only so much time or memory. Then it runs in a process that can be ended."""
        return self.timeout is not None or self.memory is not None


class What(StrEnum):
    """What came of a job."""

    MADE = "made"
    SKIPPED = "skipped"  # it was there already
    FAILED = "failed"


class Failure(StrEnum):
    """Why a source could not be read, as table errors has it."""

    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    KILLED = "killed"  # the process that read it ended
    NETWORK = "network"
    INTERNAL = "internal"  # a fault of xbrletools


#: Failures after which another try may succeed.
RETRY = (Failure.TIMEOUT, Failure.MEMORY, Failure.KILLED, Failure.NETWORK)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: the id of the ``capture``, or why it failed.

    ``whole`` is false where a part of the capture is missing, and ``missing`` says which of its tables are. ``taken``
    are the channels beside it that were read. ``bytes`` is the size of its tables.
    """

    source: str
    what: What
    capture: str | None = None
    failure: Failure | None = None
    message: str = ""
    status: str | None = None
    whole: bool = True
    missing: str | None = None
    records: int = 0
    bytes: int = 0
    seconds: float = 0.0
    memory_used: int = 0
    taken: tuple[str, ...] = ()


class CannotWrite(XbrleError):  # noqa: N818 - what it says is what happened
    """The tables cannot be written. It is not the capture's fault, and ends the run."""


def from_manifest(lines: Iterable[str], name: str, common: Job) -> Iterator[Job]:
    """The jobs of a manifest: one JSON object a line, with ``source``, ``channels``, ``partition`` and `READING`.

    ``common`` is a job with what all have. ``name`` is the manifest's, for messages.

    Raises:
        XbrleError: a line is not such an object.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            about = json.loads(line) if len(line) <= _LINE_MAX else None
        except (ValueError, RecursionError):
            about = None
        where = f"{name}, line {number}"
        if not isinstance(about, dict) or not isinstance(about.get("source"), str):
            raise XbrleError(f"{where}: not a JSON object with a source")
        yield _job(about, where, common)


def _job(about: dict[str, Any], where: str, common: Job) -> Job:
    channels, partition = about.get("channels", []), about.get("partition", {})
    unknown = about.keys() - READING.keys() - {"source", "channels", "partition"}
    if unknown:
        keys = ", ".join(["source", "channels", "partition", *READING])
        raise XbrleError(f"{where}: unknown key {min(unknown)!r}; known are {keys}")
    if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
        raise XbrleError(f"{where}: channels is not a list of files")
    if not isinstance(partition, dict):
        raise XbrleError(f"{where}: partition is not an object")
    options = dict(common.options)
    for key, kind in READING.items():
        value = about.get(key)
        if value is None:
            continue
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise XbrleError(f"{where}: {key} is not {'a number' if kind is int else 'true or false or text'}")
        options[key] = value
    parts = dict(common.partition) | {k: partition_value(k, str(v), where) for k, v in partition.items()}
    return replace(
        common,
        source=about["source"],
        channels=tuple(channels),
        beside=common.beside and not channels,
        options=tuple(sorted(options.items())),
        partition=tuple(parts.items()),
    )


def partition_value(key: str, value: str, where: str = "--partition") -> str:
    """The value of a partition, which becomes the name of a folder.

    Raises:
        XbrleError: it, or its name, cannot be part of one.
    """
    for part in (key, value):
        if not part or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in part) or part[0] == ".":
            raise XbrleError(f"{where}: {part!r}: use letters, digits, - and _, as in night=2026-11-25")
    return value
