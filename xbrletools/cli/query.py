"""`xbrle query`: a capture, or a folder of tables, asked in SQL."""

import csv
import io
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from typing import TYPE_CHECKING, Any

import click

from ..errors import XbrleError
from ..text import counted, label, size
from . import warn
from .guide import Page
from .options import READING, Finite, before, examples, limiting, naming, opening, refuse
from .output import report
from .saving import Output, writing
from .writer import say, write

if TYPE_CHECKING:
    from ..analysis.yara import Rules
    from ..query.engine import Answer, Engine

ROWS = 50  # that a person is shown where nothing else is asked for
CELL_MAX = 60  # characters of a cell that a person is shown
NAMES = (  # as `query.named.NAMED`, which the help does not import
    *("kinds", "passes", "hottest", "every-pass", "full-again", "large-deltas", "savings", "findings", "verdicts"),
    *("devices", "unchanged", "shared", "matches"),
)
_SUFFIXES = ("", ".parquet", ".arrow")


def _usage(sql: str | None, named: str | None, as_csv: bool, as_jsonl: bool, limit: int | None) -> None:
    if (sql is None) == (named is None):
        raise click.UsageError("give either SQL or --named NAME; --list lists the names")
    if as_csv and as_jsonl:
        raise click.UsageError("--csv and --jsonl exclude each other")


class _Command(Page):
    """A command that needs no capture to list the named queries."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--list" in args:
            _list()
            raise click.exceptions.Exit
        return super().parse_args(ctx, args)


@click.command(
    cls=_Command,
    epilog=examples(
        'query samples/posted-8m.bin "SELECT max(page) FROM records"',
        "query samples/stale-base.bin --named findings --csv",
        'query samples/xbzrle-16m.bin "DESCRIBE records"',
        "query --list",
    ),
)
@before(_usage)
@READING
@click.argument("sql", required=False)
@click.option(
    "--named",
    type=click.Choice(NAMES),
    metavar="NAME",
    help=f"Ask this instead of SQL: {', '.join(NAMES)}.",
)
@click.option("--list", "list_names", is_flag=True, help="List the named queries with the question of each, and exit.")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="NAME=FILE",
    help="Let SQL read this Parquet file too, as table NAME. Repeatable.",
)
@click.option(
    "--yara",
    "more_rules",
    multiple=True,
    metavar="RULES",
    help="Have table matches tell where and when the patterns of these YARA rules, a file or a folder, were in "
    "memory. Repeatable. A folder of tables has its own.",
)
@click.option(
    "--timeout",
    type=Finite(0.1),
    metavar="SECONDS",
    help="End a statement that takes longer (default: never).",
)
@click.option(
    "--memory",
    type=size,
    metavar="BYTES",
    help="Refuse a statement for which DuckDB needs more memory, for example 1G (default: four fifths of it).",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print rows as CSV.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print an object a row, with the names of the columns as keys.")
@limiting("Print N rows.", f"{ROWS} as text, else all")
@writing(metavar="FILE", help="Write the rows to FILE.parquet or FILE.arrow.", required=False)
def command(
    capture: str,
    sql: str | None,
    named: str | None,
    list_names: bool,
    others: tuple[str, ...],
    more_rules: tuple[str, ...],
    timeout: float | None,
    memory: int | None,
    as_csv: bool,
    as_jsonl: bool,
    limit: int | None,
    output: Output | None,
    **options: Any,
) -> int:
    """Ask S, a capture or a folder that xbrle tables wrote, in SQL: one SELECT, as DuckDB understands it.

    The tables are captures, blocks, sections, records, findings, devices, page_versions, matches, sources and errors.
    docs/tables.md lists their columns; "DESCRIBE records" does too. A pass is counted for each block alone: group by
    block and pass. Some names, such as pass and length, need quotes: "pass".

    The engine sees these tables and nothing else: no other file, no network, no extension, and no setting can be
    changed. So SQL from a stranger can be run; --timeout and --memory bound what it takes. This
    needs xbrletools[query].

    Exit status: 0 all is well, 1 a part of S is missing, 2 S cannot be read, or the statement is refused.
    """
    from ..query.engine import check_installed
    from ..query.named import NAMED

    statement = sql if sql is not None else NAMED[named or ""].sql
    if output is not None and Path(output.path).suffix not in _SUFFIXES:
        raise XbrleError(f"{output.path}: call it FILE.parquet or FILE.arrow")
    if output is not None and (as_csv or as_jsonl or limit is not None):
        raise click.UsageError("-o excludes --csv, --jsonl and --limit")
    check_installed()
    if output is not None and output.path.endswith(".arrow"):
        _pyarrow()
    bounds = timeout, memory
    with _engine(capture, _others(others), more_rules, bounds, options) as (engine, status):
        answer = engine.run(statement)
        if output is not None:
            _save(answer, output)
        elif as_csv:
            _print_csv(answer, limit or None)
        elif as_jsonl:
            _print_jsonl(answer, limit or None)
        else:
            _print_text(answer, ROWS if limit is None else limit or sys.maxsize - 2)
        return status


def _list() -> None:
    from ..query.named import NAMED

    for name, query in NAMED.items():
        more = " A folder needs xbrle tables --versions." if query.versions else ""
        more += " Needs --yara RULES, here or for xbrle tables." if query.rules else ""
        say(f"{name}\n  {query.question}{more}")


def _others(texts: tuple[str, ...]) -> dict[str, str]:
    """What ``--with`` names: files by the names of tables."""
    files = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not Path(path).is_file():
            raise XbrleError(f"--with {text}: use NAME=FILE with a Parquet file")
        files[name] = str(Path(path).resolve())
    return files


@contextmanager
def _engine(
    capture: str,
    files: dict[str, str],
    rules: tuple[str, ...],
    bounds: tuple[float | None, int | None],
    options: dict[str, Any],
) -> "Iterator[tuple[Engine, int]]":
    """The engine with the tables of a capture or of a folder, and the exit status that what was read is worth."""
    from ..query.engine import Limits, of_folder, of_stream

    limits = Limits(*bounds)
    if capture != "-" and Path(capture).is_dir():
        refuse("cannot be used with a folder of tables", *options, *(["more_rules"] if rules else []))
        with of_folder(capture, files, limits) as engine:
            yield engine, 0
        return
    compiled = _rules(rules)
    with naming(capture), opening({"capture": capture, **options}) as opened:
        stream = opened.stream
        status = report(opened.problems)
        with of_stream(stream, opened.source, files, compiled, limits) as engine:
            yield engine, status


def _rules(paths: tuple[str, ...]) -> "Rules | None":
    from ..analysis.yara import read_rules

    return read_rules(paths) if paths else None


# -- rows --------------------------------------------------------------------------------------------------------------


def _print_text(answer: "Answer", limit: int) -> None:
    """Columns of equal width: numbers to the right, all else to the left."""
    names, *rows = islice(answer.rows(), limit + 2)
    left_out = len(rows) > limit
    rows = rows[:limit]
    cells = [[_cell(value) for value in row] for row in rows]
    heads = [label(name) for name in names]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numeric = [
        all(isinstance(v, int | float | Decimal | None) and not isinstance(v, bool) for v in column)
        for column in (zip(*rows, strict=True) if rows else ((),) * len(heads))
    ]
    for line in (heads, *cells):
        parts = (
            cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(line, widths, numeric, strict=True)
        )
        say("  ".join(parts).rstrip())
    if left_out:
        warn(f"{counted(limit, 'row')} shown; for all, use --csv, --jsonl or --limit 0")


def _cell(value: Any) -> str:
    plain = _plain(value)
    text = "" if plain is None else plain if isinstance(plain, str) else json.dumps(plain)
    text = label(text)
    return text if len(text) <= CELL_MAX else f"{text[: CELL_MAX - 3]}..."


def _print_csv(answer: "Answer", limit: int | None) -> None:
    """Comma-separated values. Null is empty."""
    for values in islice(answer.rows(), None if limit is None else limit + 1):
        write(_line([_plain(v) for v in values]))


def _line(row: list[Any]) -> str:
    out = io.StringIO()
    texts = [v if isinstance(v, str | int | float) and not isinstance(v, bool) else _json_text(v) for v in row]
    csv.writer(out, lineterminator="\n").writerow(texts)
    return out.getvalue()


def _json_text(value: Any) -> str:
    return "" if value is None else json.dumps(value)


def _print_jsonl(answer: "Answer", limit: int | None) -> None:
    rows = answer.rows()
    names = next(rows)
    for values in islice(rows, limit):
        say(json.dumps(dict(zip(names, map(_plain, values), strict=True))))


def _plain(value: Any) -> Any:
    """A value as JSON has it: bytes as hexadecimal digits, times as in ISO 8601, and null for a number without one."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _save(answer: "Answer", output: Output) -> None:
    """Write all rows into a file, which appears when it is whole."""
    from ..outputs import replacing

    with replacing(output.target, output.force, None) as file:
        if output.path.endswith(".arrow"):
            _save_arrow(answer, file)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "answer.parquet")
            answer.save(str(path))
            with path.open("rb") as made:
                copyfileobj(made, file)


def _pyarrow() -> Any:
    """The package that writes .arrow files.

    Raises:
        XbrleError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise XbrleError("a .arrow file needs pyarrow; install it with: pip install 'xbrletools[fleet]'") from error
    return pyarrow


def _save_arrow(answer: "Answer", file: Any) -> None:
    pyarrow = _pyarrow()
    reader = pyarrow.RecordBatchReader.from_stream(answer)
    with pyarrow.ipc.new_file(file, reader.schema) as out:
        for batch in reader:
            out.write_batch(batch)
