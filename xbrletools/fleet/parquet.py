"""Tables into Parquet: how each column is encoded, a group of rows at a time.

Numbers that rise or repeat are packed as differences, words and hashes as dictionaries, all of it with zstd.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..arrow.tables import ArrowTable
from ..arrow.values import BOOL, F64, HASH, TEXT, TIME, WORDS32, Batch, Column, Field, Schema
from ..tables.folder import IDS
from ..tables.schema import Table
from .jobs import CannotWrite

GROUP = 1 << 19  # rows of a group

#: Numbers of which few different ones occur.
_FEW = frozenset(("head", "flags", "header_flags", "page_size"))


def with_constants(made: ArrowTable, constants: Sequence[tuple[Field, str]]) -> ArrowTable:
    """A table with columns before its own that hold one text each."""

    def batches() -> Iterator[Batch]:
        for batch in made:
            zeros = np.zeros(batch.length, np.int32)  # as pyarrow reads the names of folders
            first = (Column(zeros, None, (text,)) for _, text in constants)
            yield Batch(batch.length, (*first, *batch.columns))

    fields = (*(Field(f.name, WORDS32, f.about) for f, _ in constants), *made.schema.fields)
    return ArrowTable(Schema(fields, made.schema.metadata), batches)


def _encodings(fields: Sequence[Field]) -> dict[str, Any]:
    """How pyarrow is to write each column."""
    packed = {
        f.name: "DELTA_BINARY_PACKED"
        for f in fields
        if f.type not in (BOOL, F64, HASH, TEXT, TIME)
        and f.type.dtype is not None
        and not f.type.words
        and f.name not in _FEW
    }
    return {"use_dictionary": [f.name for f in fields if f.name not in packed], "column_encoding": packed}


def write(made: ArrowTable, file: BinaryIO) -> None:
    """Write a table.

    Raises:
        CannotWrite: pyarrow is not installed.
        XbrleError: what the table is made of cannot be read.
        OSError: the file cannot be written.
    """
    pyarrow, parquet = _pyarrow()
    failed: list[BaseException] = []

    def batches() -> Iterator[Batch]:
        try:
            yield from made.batches()
        except BaseException as error:  # pyarrow would pass on its text alone
            failed.append(error)
            raise

    try:
        reader = pyarrow.RecordBatchReader.from_stream(ArrowTable(made.schema, batches))
        how = _encodings(made.schema.fields)
        with parquet.ParquetWriter(file, reader.schema, compression="zstd", compression_level=3, **how) as writer:
            for group in _groups(reader):
                writer.write_table(pyarrow.Table.from_batches(group, reader.schema), row_group_size=GROUP)
    except BaseException:
        if failed:
            raise failed[0] from None
        raise


def _groups(reader: Iterable[Any]) -> Iterator[list[Any]]:
    """The batches of a reader, those of a group of rows at a time."""
    group: list[Any] = []
    count = 0
    for batch in reader:
        group.append(batch)
        count += batch.num_rows
        if count >= GROUP:
            yield group
            group, count = [], 0
    if group:
        yield group


def read(path: str, columns: Sequence[str]) -> list[Mapping[str, Any]]:
    """The rows of a small Parquet file, some columns of them. A file that cannot be read has none."""
    pyarrow, parquet = _pyarrow()
    try:
        rows: list[Mapping[str, Any]] = parquet.ParquetFile(path).read(columns=list(columns)).to_pylist()
    except (OSError, pyarrow.ArrowException):
        return []
    return rows


def join(paths: Sequence[str], table: Table, ids: Sequence[str], file: BinaryIO) -> None:
    """Write the rows of several files of a table into one, whose metadata say the ``ids`` of what it has.

    Columns that an older one lacks are null in its rows.

    Raises:
        OSError: a file cannot be read or written.
    """
    pyarrow, parquet = _pyarrow()
    schemas = [parquet.read_schema(p) for p in paths]
    said = {**(schemas[0].metadata or {}), IDS.encode(): json.dumps(list(ids)).encode()}
    schema = pyarrow.unify_schemas(schemas, promote_options="permissive").with_metadata(said)
    own = {f.name: f for f in table.fields}
    how = _encodings([own.get(name, Field(name, WORDS32, "")) for name in schema.names])
    with parquet.ParquetWriter(file, schema, compression="zstd", compression_level=3, **how) as writer:
        for group in _groups(batch for p in paths for batch in parquet.ParquetFile(p).iter_batches(GROUP)):
            tables = [pyarrow.Table.from_batches([batch]) for batch in group]
            made = pyarrow.concat_tables(tables, promote_options="permissive")
            missing = [n for n in schema.names if n not in made.column_names]
            for name in missing:
                made = made.append_column(name, pyarrow.nulls(len(made), schema.field(name).type))
            made = made.select(schema.names).cast(schema).unify_dictionaries()
            writer.write_table(made, row_group_size=GROUP)


#: What resuming asks for of tables captures and sources.
_RESUMING = (
    *("source_id", "capture", "source", "size", "mtime", "etag"),
    *("versions", "rules", "holding", "status", "complete", "missing", "records", "channels"),
)


def ids(path: str) -> list[dict[str, Any]]:
    """What a file of many captures has of each: ``id``, and of tables captures and sources what resuming asks for."""
    _, parquet = _pyarrow()
    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    if "source_id" in names or "versions" in names:
        rows = file.read(columns=[n for n in _RESUMING if n in names]).to_pylist()
        return [{"id": row.get("source_id", row["capture"]), **row} for row in rows]
    if IDS.encode() in (file.schema_arrow.metadata or {}):
        return [{"id": one} for one in json.loads(file.schema_arrow.metadata[IDS.encode()])]
    found: set[str] = set()
    for batch in file.iter_batches(GROUP, columns=["capture"]):
        found.update(batch.column(0).unique().to_pylist())
    return [{"id": capture} for capture in sorted(found)]


def check() -> None:
    """Make sure that tables can be written.

    Raises:
        CannotWrite: pyarrow is not installed.
    """
    _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CannotWrite("pyarrow is not installed; install it with: pip install 'xbrletools[fleet]'") from error
    return pyarrow, parquet
