"""An engine for SQL, DuckDB, that sees some tables and nothing else: no other file, no network, no extension.

What it may see is settled before it is locked: tables of a capture in memory, or named files of a folder of tables.
Then access to all else is switched off, and the configuration cannot be changed any more. One statement is taken, a
SELECT.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.yara import Engine as Patterns
from ..analysis.yara import Rules
from ..arrow.tables import ArrowTable
from ..arrow.values import TEXT, Batch, Column, Field, Schema
from ..errors import XbrleError
from ..export.judged import holding
from ..model import Stream
from ..tables import captures, content, schema, versions
from ..tables.captures import Work
from ..tables.folder import IDS, counting, reading
from ..tables.matches import matches
from ..tables.schema import CAPTURE, SOURCE_ID, TABLES, of_rows
from ..text import label

_LOCKED = {  # before the lock, the last of all
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "temp_directory": "''",
    "enable_external_access": "false",
    "lock_configuration": "true",
}
_MESSAGE_MAX = 2000  # characters of what the engine says of a statement
_BY_SOURCE = ("sources", "errors")


class Refused(XbrleError):  # noqa: N818 - what it says is what happened
    """A statement is wrong, or asks for what the engine may not do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a statement may take: ``seconds``, and ``memory`` in bytes. None: DuckDB's own limit, four fifths of it."""

    seconds: float | None = None
    memory: int | None = None


class Engine:
    """A locked engine with its tables. Statements may take ``seconds`` each."""

    def __init__(self, connection: Any, seconds: float | None = None) -> None:
        self._connection, self._seconds = connection, seconds

    def run(self, sql: str) -> "Answer":
        """Run one SELECT.

        Raises:
            Refused: it is another statement, is wrong, or asks for what may not be done.
        """
        with _refusing():
            statements = self._connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != _duckdb().StatementType.SELECT:
            raise Refused("give one SELECT (or FROM, SHOW, DESCRIBE, SUMMARIZE): nothing else is run")
        return Answer(self._connection, sql, self._seconds)


class Answer:
    """What a statement gives, each time that it is asked for: the names of its columns, and its rows."""

    def __init__(self, connection: Any, sql: str, seconds: float | None = None) -> None:
        self._connection, self._sql, self._seconds = connection, sql, seconds

    def rows(self, at_once: int = 1024) -> Iterator[tuple[Any, ...]]:
        """The names of the columns, then the rows.

        Raises:
            Refused: the statement fails, at once or at one of them, or takes too long.
        """
        with self._limited(), _refusing():
            found = self._connection.execute(self._sql)
            yield tuple(str(column[0]) for column in found.description)
            while rows := found.fetchmany(at_once):
                yield from rows

    def save(self, path: str) -> None:
        """Write the rows into a new Parquet file.

        Raises:
            Refused: the statement fails or takes too long, or the file cannot be written.
        """
        with self._limited(), _refusing(), _duckdb().connect(":memory:") as writer:  # sees rows, and not the statement
            writer.register("answer", self)
            writer.execute(f"COPY answer TO {_quoted(path)} (FORMAT parquet, COMPRESSION zstd)")

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The rows, as a PyCapsule."""
        with _refusing():
            return self._connection.sql(self._sql).__arrow_c_stream__(requested_schema)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Interrupt what runs in the block where it takes too long."""
        if self._seconds is None:
            yield
            return
        late = threading.Event()

        def end() -> None:
            late.set()
            self._connection.interrupt()

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Refused:
            if late.is_set():
                raise Refused(f"the statement takes more than {self._seconds:g} s (--timeout)") from None
            raise
        finally:
            timer.cancel()


@contextmanager
def _refusing() -> Iterator[None]:
    """Have what the engine does not do raise `Refused`."""
    try:
        yield
    except _duckdb().Error as error:
        raise _refused(error) from error


def _refused(error: BaseException) -> Refused:
    """An error of the engine in one line that is safe to print."""
    text = " ".join(str(error).split())[:_MESSAGE_MAX]
    return Refused(label(text) or type(error).__name__)


def check_installed() -> None:
    """Look whether the engine is there, before any work.

    Raises:
        XbrleError: it is not installed.
    """
    _duckdb()


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise XbrleError("DuckDB is not installed; install it with: pip install 'xbrletools[query]'") from error
    return duckdb


# -- engines -----------------------------------------------------------------------------------------------------------


_UNLIMITED = Limits()


@contextmanager
def of_stream(
    stream: Stream, source: Any, files: Mapping[str, str], rules: Rules | None = None, limits: Limits = _UNLIMITED
) -> Iterator[Engine]:
    """An engine that sees the tables of one capture. Each is made when a statement first reads it.

    ``source`` is what was opened. ``files`` are further tables by name: Parquet files. Table matches is of ``rules``.

    Raises:
        XbrleError: DuckDB is not installed, or a file cannot be read.
    """
    made = {name: make(stream) for name, make in content.MAKERS.items()}
    made["captures"] = of_rows(
        TABLES["captures"],
        lambda: [captures.capture_row(stream, source, _work(stream, rules))],
    )
    made["page_versions"] = versions.page_versions(stream)
    made["matches"] = of_rows(TABLES["matches"], list) if rules is None else matches(stream, Patterns(rules))
    made["sources"] = of_rows(TABLES["sources"], lambda: [(stream.name, None, _size(stream.name), *(None,) * 4)])
    made["errors"] = of_rows(TABLES["errors"], list)
    with _connection(limits) as connection:
        for name, table in made.items():
            shown = table if name == "errors" else _named(table, label(stream.name))
            connection.register(f"{name}_of_capture", shown)
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {name}_of_capture")
        yield _locked(connection, list(made), files, limits)


def _work(stream: Stream, rules: Rules | None) -> Work:
    """What table captures says of how the tables of one capture were made."""
    held = None if rules is None else json.dumps(holding(stream, rules))
    return Work(stream.name, _size(stream.name), versions=True, holding=held)


@contextmanager
def of_folder(folder: str, files: Mapping[str, str], limits: Limits = _UNLIMITED) -> Iterator[Engine]:
    """An engine that sees the tables of a folder that xbrle tables wrote. ``files`` are as in `of_stream`.

    Rows of captures that are not there as a whole are left out, and so are small files that are being joined. While
    the engine is in use, what it reads is not taken away.

    Raises:
        XbrleError: it is not such a folder, or has tables of another schema.
    """
    with ExitStack() as stack:
        stack.enter_context(reading(folder))
        there = {name: _parquet(Path(folder, name)) for name in TABLES}
        if not there["captures"] and not there["errors"]:
            raise XbrleError(f"{folder}: no tables of xbrle tables are in this folder")
        connection = stack.enter_context(_connection(limits))
        there = {n: counting(paths, lambda path: _ids(connection, path)) for n, paths in there.items()}
        for name in ("captures", *(n for n in TABLES if n != "captures")):
            _view(connection, name, there[name], folder)
        allowed = {**files, **{f"{name} {i}": p for name, paths in there.items() for i, p in enumerate(paths)}}
        yield _locked(connection, list(TABLES), files, limits, list(allowed.values()))


def _size(name: str) -> int:
    with suppress(OSError):
        return os.stat(name).st_size  # noqa: PTH116 - a name, which need not be a path
    return 0


def _named(table: ArrowTable, name: str) -> ArrowTable:
    """A table with the capture's name as its id, as in tables of many."""

    def batches() -> Iterator[Batch]:
        for batch in table:
            yield Batch(batch.length, (Column([name] * batch.length), *batch.columns))

    return ArrowTable(Schema((Field(CAPTURE.name, TEXT, CAPTURE.about), *table.schema.fields)), batches)


def _parquet(folder: Path) -> list[str]:
    """The Parquet files of a table, and no link that could lead elsewhere."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        paths = (Path(where, n) for n in sorted(names) if n.endswith(".parquet") and not n.startswith("."))
        found += [str(p) for p in paths if p.is_file() and not p.is_symlink()]
    return found


def _view(connection: Any, name: str, files: Sequence[str], folder: str) -> None:
    """A table of a folder as a view. One that is not there has no rows."""
    fields = (*((SOURCE_ID,) if name in _BY_SOURCE else ()), CAPTURE, *TABLES[name].fields)
    empty = Schema(tuple(Field(f.name, TEXT, f.about) if f.type.words else f for f in fields))
    connection.register(f"no_{name}", ArrowTable(empty, lambda: iter(())))
    if not files:
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM no_{name}")
        return
    _check_schema(connection, files[0], folder)
    listed = ", ".join(map(_quoted, files))
    whole = "" if name in ("captures", *_BY_SOURCE) else " SEMI JOIN captures USING (capture)"
    read = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    columns = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()}
    own = [f for f in fields if name != "errors" or f is not CAPTURE]
    if any(f.name not in columns for f in own):  # an older version wrote it
        whole += f" UNION ALL BY NAME SELECT * FROM no_{name}"
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {read}{whole}")


def _ids(connection: Any, path: str) -> set[str]:
    """The ids of the captures, or of the sources, that a file of many has."""
    said = connection.execute(
        f"SELECT decode(value) FROM parquet_kv_metadata({_quoted(path)}) WHERE decode(key) = '{IDS}'"
    ).fetchall()
    if said:
        return set(map(str, json.loads(said[0][0])))
    read = f"read_parquet([{_quoted(path)}], hive_partitioning = false)"
    columns = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()}
    column = SOURCE_ID.name if SOURCE_ID.name in columns else CAPTURE.name
    return {str(row[0]) for row in connection.execute(f"SELECT DISTINCT {column} FROM {read}").fetchall()}


def _check_schema(connection: Any, path: str, folder: str) -> None:
    """Make sure that a file has a schema which is read here."""
    found = connection.execute(
        f"SELECT decode(value) FROM parquet_kv_metadata({_quoted(path)}) WHERE decode(key) = 'xbrletools.schema'"
    ).fetchall()
    major = schema.VERSION.partition(".")[0]
    if not found or str(found[0][0]).partition(".")[0] != major:
        said = label(str(found[0][0])) if found else "none"
        raise XbrleError(f"{folder}: its tables have schema {said}, and this xbrletools reads {major}.x")


@contextmanager
def _connection(limits: Limits) -> Iterator[Any]:
    with _refusing(), _duckdb().connect(":memory:") as connection:
        if limits.memory is not None:
            connection.execute(f"SET memory_limit = '{limits.memory}B'")
        yield connection


def _locked(
    connection: Any, names: list[str], files: Mapping[str, str], limits: Limits, allowed: Sequence[str] = ()
) -> Engine:
    """Add further files as tables, say what each column is, and lock the engine."""
    for name, path in files.items():
        if name in names or not name.isidentifier() or not name.isascii():
            raise XbrleError(f"{name!r} cannot be the name of a table here: use another word")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{_quoted(path)}])")
    for name in names:
        connection.execute(f"COMMENT ON VIEW {name} IS {_quoted(TABLES[name].about)}")
        for field in (CAPTURE, *TABLES[name].fields):
            if name != "errors" or field is not CAPTURE:
                connection.execute(f'COMMENT ON COLUMN {name}."{field.name}" IS {_quoted(field.about)}')
    paths = ", ".join(map(_quoted, {*allowed, *files.values()}))
    connection.execute(f"SET allowed_paths = [{paths}]")
    for setting, value in _LOCKED.items():
        with _optional(setting):
            connection.execute(f"SET {setting} = {value}")
    return Engine(connection, limits.seconds)


@contextmanager
def _optional(setting: str) -> Iterator[None]:
    """Pass over a setting that this version of DuckDB does not have, unless the lock depends on it."""
    try:
        yield
    except _duckdb().CatalogException:
        if setting in ("enable_external_access", "lock_configuration"):
            raise


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
