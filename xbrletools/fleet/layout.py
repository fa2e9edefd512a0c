"""Where tables lie in a folder, what is there already, and how a capture's tables come to be there as a whole.

    DIR/TABLE/[KEY=VALUE/...]capture=ID/TABLE.parquet       the tables of a capture; sources, errors: source_id=ID

Each file is written under a temporary name. When all of a capture are whole, they get their names, that of `captures`
last. A run that is ended leaves nothing that counts, and what its processes left is removed by the next.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .. import outputs
from ..arrow.tables import ArrowTable
from ..arrow.values import TEXT, Field
from ..interrupts import uninterrupted
from ..tables import schema
from ..tables.schema import TABLES, of_rows
from . import compact, parquet
from .jobs import CannotWrite, Failure, Job

#: Tables that hold bytes of the guest, which only their owner reads.
PRIVATE = compact.PRIVATE
#: Tables whose files are named for the source, since two sources can have the same content.
BY_SOURCE = ("sources", "errors")


def folder(job: Job, table: str, id_: str) -> Path:
    """The folder of one capture's, or one source's, part of a table."""
    kind = "source_id" if table in BY_SOURCE else "capture"
    return _partition(job, table) / f"{kind}={id_}"


def file(job: Job, table: str, id_: str) -> Path:
    """The file of one capture's, or one source's, part of a table."""
    return folder(job, table, id_) / f"{table}.parquet"


#: What resuming asks table captures for.
_MARKER = ("versions", "rules", "holding", "status", "complete", "missing", "records", "channels")


def there(job: Job, capture: str) -> Mapping[str, Any] | None:
    """The row of a capture whose tables are there, by the marker that is written last. None where none are.

    `suffices` tells whether all are there that the job asks for.

    Raises:
        CannotWrite: they are in a file of many captures, and are to be made again.
    """
    row = next(iter(parquet.read(str(file(job, "captures", capture)), _MARKER)), None)
    if row is not None:
        return row
    row = _joined(job, "captures", capture)
    if row is not None and not suffices(job, row):
        raise CannotWrite(f"{job.out}: {job.source} is in compacted tables, which are not replaced: use another folder")
    return row


def suffices(job: Job, row: Mapping[str, Any] | None) -> bool:
    """Whether what is there of a capture, by its ``row`` of table captures, is all that the job asks for."""
    if row is None or job.again or (job.versions and not row["versions"]):
        return False
    return not job.rules or row.get("rules") == job.digest_of_rules


def known_source(job: Job) -> list[dict[str, Any]]:
    """What table sources says of a job's files: the rows with capture, source, size, mtime and etag."""
    rows = parquet.read(str(file(job, "sources", job.source_id)), ["capture", "source", "size", "mtime", "etag"])
    if not rows:
        of_many = compact.joined(_partition(job, "sources"))
        rows = [row for path in of_many for row in compact.rows_of(path) if row["id"] == job.source_id]
    return [dict(row) for row in rows]


def _joined(job: Job, table: str, id_: str) -> Mapping[str, Any] | None:
    """The row of an id in the files of many captures, or None."""
    of_many = compact.joined(_partition(job, table))
    return next((row for path in of_many for row in compact.rows_of(path) if row["id"] == id_), None)


def _partition(job: Job, table: str) -> Path:
    return Path(job.out, table, *(f"{key}={value}" for key, value in job.partition))


class Pending:
    """Files that are written and do not have their names yet."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._files: list[tuple[Path, Path, int]] = []
        self.bytes = 0

    def add(self, table: str, id_: str, capture: str | None, made: ArrowTable) -> None:
        """Write one part of a table. ``capture`` is the id that its rows get."""
        job = self._job
        constants = [(schema.SOURCE_ID, id_)] if table in BY_SOURCE else []
        constants += [] if capture is None else [(schema.CAPTURE, capture)]
        constants += [(_partition_field(key), value) for key, value in job.partition]
        final = file(job, table, id_)
        final.parent.mkdir(parents=True, exist_ok=True)
        with uninterrupted():
            descriptor, lying = outputs.temporary(final)
            self._files.append((lying, final, descriptor))
        try:
            with os.fdopen(os.dup(descriptor), "wb") as out:
                parquet.write(parquet.with_constants(made, constants), out)
                self.bytes += out.tell()
        except BaseException:
            self._drop()
            raise
        if table not in PRIVATE:
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(descriptor, 0o666 & ~mask)

    def _drop(self) -> None:
        """Remove the file that was added last: it is not whole."""
        with uninterrupted():
            lying, _, descriptor = self._files.pop()
            outputs.remove(lying)
            os.close(descriptor)

    def publish(self) -> None:
        """Give all files their names, in the order in which they were added."""
        with uninterrupted():
            for lying, final, _ in self._files:
                lying.replace(final)
                outputs.forget(lying)

    def close(self) -> None:
        """Remove what did not get its name."""
        with uninterrupted():
            for lying, _, descriptor in self._files:
                outputs.remove(lying)
                with suppress(OSError):
                    os.close(descriptor)


@contextmanager
def pending(job: Job) -> Iterator[Pending]:
    """Files to write. What did not get its name by the end of the block is removed."""
    files = Pending(job)
    try:
        yield files
    except OSError as error:
        raise CannotWrite(f"{error.filename or job.out}: {error.strerror or error}") from error
    finally:
        files.close()


def _partition_field(key: str) -> Field:
    return Field(key, TEXT, "a part of the folder's name")


def failed(job: Job, row: tuple[Any, ...]) -> None:
    """Write a source's row of table errors."""
    with pending(job) as files:
        files.add("errors", job.source_id, None, of_rows(TABLES["errors"], lambda: [row]))
        files.publish()


def failure_of(job: Job) -> dict[str, Any] | None:
    """The row of table errors that this run has written of a job, or None."""
    columns = ["error", "message", "seconds", "run"]
    for row in parquet.read(str(file(job, "errors", job.source_id)), columns):
        if row["run"] == job.run:
            return {**row, "error": Failure(row["error"])}
    return None


def succeeded(job: Job) -> None:
    """Take back what table errors says of a source: it was read after all."""
    path = file(job, "errors", job.source_id)
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()
