"""The index: what the scan of a large capture found, kept in the user's cache folder, so that the next command does not
have to scan again.

An index belongs to one file in one state: its device, inode, size and both its times of change. It also belongs to
the bytes at both ends of the file and at places spread over it, to how the capture was to be read, and to the version
of this program. A copy of the file, or the file after any change, gets another index. What does not fit is ignored and
written anew. All of this is a convenience, so no failure of it is a failure of the command. The folder can be deleted
at any time.
"""

import os
import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..formats.ram import Kind
from ..model import Facts
from ..source.keeping import folder
from ..source.sources import MappedSource, Origin
from ..table.columns import DTYPES, NO_BLOCK, PIECE, Columns
from ..table.sections import Owner, Sections
from ..version import __version__
from .kept import facts_of, facts_to_keep, restored, to_keep
from .notes import Scan
from .strict import Scanner

VERSION = 4  # of the index file, raised with every change of what is kept
MOST = 4 << 30  # bytes of all indexes together; the ones unused for longest go
SHARE = 10  # an index may take this part of the room that the disk has
ENDS = 64 << 10  # bytes at either end of the capture that are looked at
PLACES, PLACE = 64, 4096  # places between them that are looked at as well, and bytes of each
SETTLED = 2  # seconds since the last change before a capture is taken to be done
WINDOW = 1 << 18  # rows that an index gives at once

_MAGIC = b"XBRLEIDX"
_HEAD = struct.Struct("<8sIIQ")  # magic, version, CRC-32 of the description, its length
_ALIGNED = 64
_ROW = 2 * sum(np.dtype(d).itemsize for d in DTYPES.values())  # bytes of a row, while it is copied
_SUFFIX = ".idx"
_PART = ".part"
_HALF_DONE = 24 * 3600  # seconds after which a file that was never finished is dropped


def scanner(
    source: MappedSource, origin: Origin, dialect: str | None, endian: str | None, page_size: int | None
) -> Scan:
    """A scan of ``source``: from its index where there is one, else one that keeps an index."""
    import hashlib

    try:
        key = _key(source, origin, dialect, endian, page_size)
        path = folder() / (hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest() + _SUFFIX)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return Scanner(source, dialect, endian, page_size)
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError, struct.error):
        columns, facts = read(path, key, source.size)
        return Indexed(source, columns, facts)
    return Keeping(Scanner(source, dialect, endian, page_size), origin, path, key)


def _key(source: MappedSource, origin: Origin, *options: str | int | None) -> list[Any]:
    """What tells this capture, read this way by this program, from every other."""
    import hashlib

    looked_at = hashlib.blake2b(source.view[:ENDS], digest_size=16)
    for place in range(1, PLACES + 1):
        at = place * source.size // (PLACES + 1)
        looked_at.update(source.view[at : at + PLACE])
    looked_at.update(source.view[-ENDS:])
    return [VERSION, __version__, sys.byteorder, *origin.identity, looked_at.hexdigest(), source.start, *options]


# -- reading ----------------------------------------------------------------------------------------------------------


class Indexed(Scan):
    """A scan that was done before. Everything is known at once. Iterating it gives the rows again."""

    columns: Columns

    def __init__(self, source: MappedSource, columns: Columns, facts: Facts) -> None:
        super().__init__(source, facts)
        self.columns = columns
        self._facts = facts

    @property
    def facts(self) -> Facts:
        """What the earlier scan found."""
        return self._facts

    def __iter__(self) -> Iterator[Columns]:
        for start in range(0, len(self.columns), WINDOW):
            yield self.columns.take(slice(start, start + WINDOW))


def read(path: Path, key: list[Any], size: int) -> tuple[Columns, Facts]:
    """All rows, mapped from the index at ``path``, and what was found of a capture of ``size`` bytes.

    Raises:
        OSError: there is no index there.
        ValueError: it is not one of what ``key`` says, or damaged. Other errors come of what no index can hold.
    """
    data = np.asarray(np.memmap(path, np.uint8, mode="r"))
    about, at = _description(data)
    if about["key"] != key:
        raise ValueError("an index of something else")
    found = {}
    for name, dtype, rows in (*_record_columns(about["records"]), *_section_columns(about["sections"])):
        column = data[at : at + rows * dtype.itemsize]
        if len(column) != rows * dtype.itemsize or zlib.crc32(column.data) != about["sums"][name]:
            raise ValueError(f"column {name} is damaged")
        found[name] = column.view(dtype)
        at += len(column) + -len(column) % _ALIGNED
    columns = Columns(**{name: found[name] for name in DTYPES})
    owners: list[Owner] = restored(about["owners"], list[Owner])
    stored = {name: found[name] for name in Sections.COLUMNS}
    _check_sections(stored, size)
    facts = facts_of(about["facts"], Sections.of_columns(owners, stored), size)
    _check_rows(columns, len(facts.blocks), size)
    with suppress(OSError):
        os.utime(path)  # in use, so not the first to go
    return columns, facts


def _check_rows(columns: Columns, blocks: int, size: int) -> None:
    """Raise ValueError where rows point at what is not there."""
    for start in range(0, len(columns), PIECE):
        c = columns.take(slice(start, start + PIECE))
        bad = (c.offset > size) | (c.offset + c.head + c.length > size) | (c.kind >= len(Kind))
        if bad.any() or ((c.block >= blocks) & (c.block != NO_BLOCK)).any():
            raise ValueError("a row of no record")


def _check_sections(sections: dict[str, NDArray[Any]], size: int) -> None:
    """Raise ValueError where one lies outside the capture."""
    offset, end = sections["section_offset"], sections["section_end"]
    data = offset + sections["section_head"]
    further = (sections["section_count"].astype(np.uint64) - 1) * sections["section_step"]
    if ((offset > data) | (data > end) | (end > size) | (further > size) | (end + further > size)).any():
        raise ValueError("a section outside the capture")


def _description(data: NDArray[np.uint8]) -> tuple[dict[str, Any], int]:
    """What an index says of itself, and where its first column begins."""
    import json

    magic, version, checksum, length = _HEAD.unpack(data[: _HEAD.size].tobytes())
    end = _HEAD.size + length
    if magic != _MAGIC or version != VERSION or end > len(data):
        raise ValueError("no index, or another version of it")
    text = data[_HEAD.size : end].tobytes()
    if zlib.crc32(text) != checksum:
        raise ValueError("the description is damaged")
    about: dict[str, Any] = json.loads(text)
    return about, end + -end % _ALIGNED


def _record_columns(rows: int) -> Iterator[tuple[str, np.dtype[Any], int]]:
    return ((name, np.dtype(dtype), rows) for name, dtype in DTYPES.items())


def _section_columns(rows: int) -> Iterator[tuple[str, np.dtype[Any], int]]:
    return ((name, np.dtype(dtype), rows) for name, dtype in Sections.COLUMNS.items())


# -- writing ----------------------------------------------------------------------------------------------------------


class Keeping(Scan):
    """A scan that leaves an index at ``path`` when it was iterated to its end."""

    def __init__(self, scanner: Scanner, origin: Origin, path: Path, key: list[Any]) -> None:
        super().__init__(scanner.source, scanner)
        self._scanner = scanner
        self._origin = origin
        self._path = path
        self._key = key

    @property
    def facts(self) -> Facts:
        """What was found by now, all of it when the scan has been iterated."""
        return self._scanner.facts

    def __iter__(self) -> Iterator[Columns]:
        with ExitStack() as files:
            draft: _Draft | None = None
            with suppress(OSError):
                draft = _Draft(self._path.parent, files)
            for columns in self._scanner:
                if draft is not None:
                    try:
                        draft.add(columns)
                    except OSError:
                        draft = None
                        files.close()
                yield columns
            cut = self._scanner.source is not self.source  # the index does not say where it ends before another stream
            self.source = self._scanner.source
            if draft is not None and not cut and self._origin.is_settled(SETTLED):
                with suppress(OSError, TypeError):
                    draft.finish(self.facts, self._path, self._key)
                    _trim(self._path.parent)


class _Draft:
    """Each column as far as it is known, in an unnamed file of its own."""

    def __init__(self, where: Path, files: ExitStack) -> None:
        import tempfile

        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files: dict[str, IO[bytes]] = {
            name: files.enter_context(tempfile.TemporaryFile(dir=where))  # noqa: SIM115 - closed with `files`
            for name in DTYPES
        }
        self._sums = dict.fromkeys(DTYPES, 0)
        self._rows = 0
        self._where = where

    def add(self, columns: Columns) -> None:
        """Append rows."""
        for name, file in self._files.items():
            column = np.ascontiguousarray(getattr(columns, name))
            file.write(column.data)
            self._sums[name] = zlib.crc32(column.data, self._sums[name])
        self._rows += len(columns)
        if self._rows * _ROW > _room(self._where):
            raise OSError("an index would take too much of the disk")

    def finish(self, facts: Facts, path: Path, key: list[Any]) -> None:
        """Make an index of it, all at once under its name."""
        import json
        import tempfile

        sections = facts.sections.columns()
        about = {
            "key": key,
            "records": self._rows,
            "sections": facts.sections.run_count,
            "sums": self._sums | {name: zlib.crc32(column) for name, column in sections.items()},
            "owners": to_keep(facts.sections.owners),
            "facts": facts_to_keep(facts),
        }
        text = json.dumps(about).encode()
        descriptor, name = tempfile.mkstemp(_PART, dir=path.parent)
        try:
            with open(descriptor, "wb") as out:  # noqa: PTH123 - it is open already
                out.write(_HEAD.pack(_MAGIC, VERSION, zlib.crc32(text), len(text)) + text)
                for file in self._files.values():
                    file.seek(0)
                    _append(out, iter(lambda f=file: f.read(1 << 20), b""))  # type: ignore[misc]
                for column in sections.values():
                    _append(out, [column])
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


def _append(out: IO[bytes], pieces: Iterable[bytes]) -> None:
    out.write(bytes(-out.tell() % _ALIGNED))
    for piece in pieces:
        out.write(piece)


def _room(where: Path) -> int:
    """Bytes that indexes may take."""
    disk = os.statvfs(where)
    return min(MOST, disk.f_bavail * disk.f_frsize // SHARE)


def _trim(where: Path) -> None:
    """Drop the indexes that were not used for longest, until the rest fits, and those that were never finished."""
    found = sorted(((p.stat(), p) for p in where.glob(f"*{_SUFFIX}")), key=lambda f: -f[0].st_mtime)
    total = 0
    for stat, path in found:
        total += stat.st_size
        if total > MOST:
            path.unlink(missing_ok=True)
    for path in where.glob(f"*{_PART}"):
        if path.stat().st_mtime < time.time() - _HALF_DONE:
            path.unlink(missing_ok=True)
