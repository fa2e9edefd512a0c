"""Many small files of a table become one: 10,000 captures have some 70,000 files, and opening them takes long.

A file of many captures lies in the folder of its partition, TABLE-ID.parquet. What it holds is taken away only once it
has its name. Where the work is ended in between, `settle` takes it away at the next run.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from .. import outputs
from ..interrupts import uninterrupted
from ..tables.schema import TABLES
from . import parquet
from .jobs import CannotWrite

ORDER = ("page_versions", "records", "findings", "devices", "sections", "blocks", "captures", "sources")


def folders(out: Path, table: str) -> Iterator[Path]:
    """The folders of a table's partitions: those that have files of single captures, or of many, in them."""
    for folder, names, files in os.walk(out / table):
        single = [n for n in names if n.startswith(("capture=", "source_id="))]
        if single or any(f.endswith(".parquet") for f in files):
            yield Path(folder)
        names[:] = sorted(n for n in names if n not in single)


def singles(folder: Path) -> list[Path]:
    """The folders of single captures in the folder of a partition."""
    return sorted(p for p in folder.iterdir() if p.name.startswith(("capture=", "source_id=")))


def joined(folder: Path) -> list[Path]:
    """The files of many captures in the folder of a partition."""
    with suppress(OSError):
        return sorted(p for p in folder.iterdir() if p.suffix == ".parquet" and p.name[0] != ".")
    return []


def compact(out: str) -> int:
    """Join the small files of all tables. Returns how many there were.

    Raises:
        CannotWrite: a file cannot be written.
    """
    count = 0
    try:
        for table in ORDER:
            for folder in list(folders(Path(out), table)):
                count += _compact(folder, table)
    except OSError as error:
        raise CannotWrite(f"{error.filename or out}: {error.strerror or error}") from error
    return count


def _compact(folder: Path, table: str) -> int:
    parts = [p for p in singles(folder) if (p / f"{table}.parquet").exists()]
    if len(parts) + len(joined(folder)) < 2:
        return 0
    final = folder / f"{table}-{uuid4().hex[:12]}.parquet"
    before = joined(folder)
    with uninterrupted():
        descriptor, lying = outputs.temporary(final)
    try:
        with os.fdopen(descriptor, "wb") as file:
            parquet.join([str(p / f"{table}.parquet") for p in parts] + list(map(str, before)), TABLES[table], file)
            if table != "devices":
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(file.fileno(), 0o666 & ~mask)
            with uninterrupted():
                lying.replace(final)
                outputs.forget(lying)
    finally:
        outputs.remove(lying)
    for old in before:
        old.unlink()
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
    return len(parts)


def settle(out: str) -> None:
    """Take away what a newer file of many captures has as well: a run was ended after it had joined them."""
    for table in ORDER:
        for folder in folders(Path(out), table):
            of_many = sorted(joined(folder), key=lambda p: p.stat().st_mtime_ns, reverse=True)
            ids: set[str] = set()
            for path in of_many:
                own = ids_of(path)
                if own and own <= ids:
                    path.unlink()
                ids |= own
            newest = of_many[0].stat().st_mtime_ns if of_many else 0
            for part in singles(folder) if ids else ():
                file = part / f"{table}.parquet"
                if part.name.partition("=")[2] in ids and file.exists() and file.stat().st_mtime_ns < newest:
                    shutil.rmtree(part, ignore_errors=True)


def ids_of(path: Path) -> frozenset[str]:
    """The ids of the captures, or of the sources, that a file of many has."""
    return frozenset(row["id"] for row in rows_of(path))


def rows_of(path: Path) -> Sequence[dict[str, Any]]:
    """What a file of many captures has of each: ``id``, and of tables captures and sources what resuming asks for."""
    with suppress(OSError):
        state = path.stat()
        return _rows(str(path), state.st_mtime_ns, state.st_ino)
    return ()


@lru_cache(maxsize=64)
def _rows(path: str, _mtime: int, _inode: int) -> Sequence[dict[str, Any]]:
    return parquet.ids(path)
