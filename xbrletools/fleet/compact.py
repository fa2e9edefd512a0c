"""Many small files of a table become one: 10,000 captures have some 70,000 files, and opening them takes long.

A file of many captures lies in the folder of its partition, TABLE-ID.parquet. What it holds is taken away only once it
has its name, and while nobody reads the folder. Where the work is ended in between, `settle` takes it away at the next
run.
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
from ..tables.folder import SINGLE, removing, superseded
from ..tables.schema import TABLES
from . import parquet
from .jobs import CannotWrite

PRIVATE = ("devices", "matches")
ORDER = ("page_versions", "matches", "records", "findings", "devices", "sections", "blocks", "captures", "sources")


def folders(out: Path, table: str) -> Iterator[Path]:
    """The folders of a table's partitions: those that have files of single captures, or of many, in them."""
    for folder, names, files in os.walk(out / table):
        single = [n for n in names if n.startswith(SINGLE)]
        if single or any(f.endswith(".parquet") for f in files):
            yield Path(folder)
        names[:] = sorted(n for n in names if n not in single)


def singles(folder: Path) -> list[Path]:
    """The folders of single captures in the folder of a partition."""
    return sorted(p for p in folder.iterdir() if p.name.startswith(SINGLE))


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
                count += _compact(out, folder, table)
    except OSError as error:
        raise CannotWrite(f"{error.filename or out}: {error.strerror or error}") from error
    return count


def _compact(out: str, folder: Path, table: str) -> int:
    parts = [p for p in singles(folder) if (p / f"{table}.parquet").exists()]
    if len(parts) + len(joined(folder)) < 2:
        return 0
    final = folder / f"{table}-{uuid4().hex[:12]}.parquet"
    before = joined(folder)
    with uninterrupted():
        descriptor, lying = outputs.temporary(final)
    try:
        with os.fdopen(descriptor, "wb") as file:
            paths = [p / f"{table}.parquet" for p in parts] + before
            ids = {p.name.partition("=")[2] for p in parts}.union(*map(ids_of, before))
            parquet.join([str(p) for p in paths], TABLES[table], sorted(ids), file)
            if table not in PRIVATE:
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(file.fileno(), 0o666 & ~mask)
            with uninterrupted():
                lying.replace(final)
                outputs.forget(lying)
    finally:
        outputs.remove(lying)
    with removing(out):
        for old in before:
            old.unlink()
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
    return len(parts)


def settle(out: str) -> None:
    """Take away what a newer file of many captures has as well: a run was ended after it had joined them.

    Where somebody reads the folder, that is left to the next run.
    """
    with removing(out, wait=False) as free:
        for table in ORDER if free else ():
            for folder in folders(Path(out), table):
                files = [p / f"{table}.parquet" for p in singles(folder)]
                for old in superseded(joined(folder), [f for f in files if f.exists()], ids_of):
                    if old.parent == folder:
                        old.unlink()
                    else:
                        shutil.rmtree(old.parent, ignore_errors=True)


def ids_of(path: str | Path) -> frozenset[str]:
    """The ids of the captures, or of the sources, that a file of many has."""
    return frozenset(row["id"] for row in rows_of(Path(path)))


def rows_of(path: Path) -> Sequence[dict[str, Any]]:
    """What a file of many captures has of each: ``id``, and of tables captures and sources what resuming asks for."""
    with suppress(OSError):
        state = path.stat()
        return _rows(str(path), state.st_mtime_ns, state.st_ino)
    return ()


@lru_cache(maxsize=64)
def _rows(path: str, _mtime: int, _inode: int) -> Sequence[dict[str, Any]]:
    return parquet.ids(path)
