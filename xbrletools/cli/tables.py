"""`xbrle tables`: many captures into tables in Parquet, here or on a cluster."""

import itertools
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import XbrleError
from ..text import counted, shown, size
from . import EXIT_FINDINGS, warn
from .guide import Page
from .options import Finite, before, choosing_stream, examples, json_lines, refuse
from .output import progress
from .saving import Output, writing
from .writer import say, say_object

if TYPE_CHECKING:
    from ..fleet.jobs import Job, Outcome


def _usage(
    sources: tuple[str, ...], manifests: tuple[str, ...], compact: bool, jobs: int | None, scheduler: str | None
) -> None:
    if not sources and not manifests and not compact:
        raise click.UsageError("give SOURCE..., --manifest FILE, or --compact alone")
    if jobs is not None and scheduler is not None:
        raise click.UsageError("-j and --scheduler exclude each other: the scheduler has its own workers")
    if not sources and not manifests:
        refuse("needs SOURCE or --manifest", "stream")


@click.command(
    cls=Page,
    epilog=examples(
        "tables samples/posted-8m.bin samples/stale-base.bin -o night",
        "tables samples/stale-base.bin -j 2 --versions -o hashed",
        "tables samples/stale-base.bin --partition night=1 -o lake --json",
        "tables samples/posted-8m.bin --yara samples/rules.yar -o matched",
    ),
)
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@before(_usage)
@writing("-o", "--output", metavar="DIR", help="Folder of the tables. What is in it already is kept.", folder=True)
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="FILE",
    help="Read sources from FILE too (- for standard input): a JSON object a line, with source and, where needed, "
    "channels, snapshot, dialect, endian, page_size, offset, stream, salvage, partition. Repeatable.",
)
@click.option(
    "--versions",
    is_flag=True,
    help="Also write table page_versions: byte sum, bytes changed and a hash of every version of every page.",
)
@click.option(
    "--yara",
    "more_rules",
    multiple=True,
    metavar="RULES",
    help="Also write table matches: every time that a pattern of these YARA rules, a file or a folder, was in memory. "
    "Table captures then tells which of the rules hold at the end. Repeatable.",
)
@click.option(
    "--partition",
    "partitions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Put the tables into folders KEY=VALUE, for example night=2026-11-25. Repeatable.",
)
@click.option("-j", "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Read N captures at a time (default: 1).")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Have the workers of this Dask scheduler read them, for example tcp://10.0.0.1:8786.",
)
@click.option(
    "--timeout",
    type=Finite(0.1),
    metavar="SECONDS",
    help="Give up on a capture that takes longer (default: never).",
)
@click.option(
    "--memory",
    type=size,
    metavar="BYTES",
    help="Give up on a capture that takes more memory, mapped files left out, for example 4G (default: no limit).",
)
@click.option("--no-beside", is_flag=True, help="Do not read channels that lie beside a source, such as S.1.")
@choosing_stream("every source, all of them packet dumps")
@click.option("--compact", is_flag=True, help="Then join the small files of each table. Without SOURCE do only that.")
@json_lines
def command(
    sources: tuple[str, ...],
    output: Output,
    manifests: tuple[str, ...],
    versions: bool,
    more_rules: tuple[str, ...],
    partitions: tuple[str, ...],
    jobs: int | None,
    scheduler: str | None,
    timeout: float | None,
    memory: int | None,
    no_beside: bool,
    stream: int | None,
    compact: bool,
    as_json: bool,
) -> int:
    """Write what many captures hold into tables in Parquet, which DuckDB, polars, pandas, Spark and others read.

    A SOURCE is a capture: a file or a URL. DIR/TABLE/ gets one small file for each capture, the file of table captures
    last. docs/tables.md describes the tables: sources, captures, blocks, sections, records, findings, devices,
    page_versions, matches and errors. To ask them something, use: xbrle query DIR SQL. This needs
    xbrletools[fleet].

    A source that is in DIR already is skipped: one of the same size and time, else one with the same content. So a run
    that was interrupted goes on where it was. With --force all are read again. A source that cannot be read is a row
    of table errors, and never ends the run.

    Exit status: 0 all sources were read, 1 some could not be read, or lack a part, 2 nothing can be written.
    """
    from ..fleet import compact as small_files
    from ..fleet import parquet
    from ..fleet.jobs import Job

    parquet.check()
    common = Job(
        "",
        str(output.path),
        beside=not no_beside,
        options=() if stream is None else (("stream", stream),),
        partition=_partition(partitions),
        versions=versions,
        rules=_rules(more_rules),
        again=output.force,
        timeout=timeout,
        memory=memory,
        run=uuid.uuid4().hex,
    )
    told = _Told(as_json)
    if Path(output.path).is_dir():
        small_files.settle(str(output.path))
    if sources or manifests:
        _read(_jobs(sources, manifests, common), jobs or 1, scheduler, told)
    joined = small_files.compact(str(output.path)) if compact else 0
    return told.finished(str(output.path), joined)


def _rules(paths: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The texts of YARA rules. They do not have errors."""
    if not paths:
        return ()
    from ..analysis.yara import check, compiled, texts_of

    check()
    texts = texts_of(paths)
    compiled(texts)
    return texts


def _partition(partitions: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    from ..fleet.jobs import partition_value
    from ..tables.schema import TABLES

    parts = {}
    for text in partitions:
        key, equals, value = text.partition("=")
        if not equals:
            raise XbrleError(f"--partition {text}: use KEY=VALUE, as in night=2026-11-25")
        parts[key] = partition_value(key, value)
        taken = {f.name for table in TABLES.values() for f in table.fields} | {"capture", "source_id"}
        if key in taken:
            raise XbrleError(f"--partition {text}: {key} is a column of a table; use another name")
    return tuple(parts.items())


def _jobs(sources: tuple[str, ...], manifests: tuple[str, ...], common: "Job") -> "list[Job]":
    from ..fleet.gather import absolute
    from ..fleet.jobs import from_manifest

    found = [replace(common, source=source) for source in sources]
    for path in manifests:
        if path == "-":
            found += from_manifest(sys.stdin, "standard input", common)
            continue
        try:
            with Path(path).open(encoding="utf-8", errors="surrogateescape") as file:
                found += from_manifest(file, path, common)
        except OSError as error:
            raise XbrleError(f"{path}: {error.strerror}") from error
    return [absolute(job) for job in found]


def _read(jobs: "list[Job]", workers: int, scheduler: str | None, told: "_Told") -> None:
    """Do the jobs, and tell of each. Channels that no other job read are captures of their own."""
    from ..fleet.gather import untaken, without_channels
    from ..fleet.run import run

    mains, held = without_channels(jobs)
    with progress("captures", len(jobs)) as advance:

        def follow(outcomes: "Iterator[Outcome]") -> "Iterator[Outcome]":
            for outcome in outcomes:
                if advance is not None:
                    advance(1)
                told.of(outcome)
                yield outcome

        done = list(follow(run(mains, workers, scheduler)))
        rest = list(untaken(held, done, mains))
        if advance is not None:
            advance(len(held) - len(rest))
        if rest:
            done += follow(run(rest, workers, scheduler))


class _Told:
    """Says what came of each source, and of all."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.lacking = 0

    def of(self, outcome: "Outcome") -> None:
        """One source."""
        self.counts[outcome.what.value] += 1
        if outcome.status is not None:
            self.statuses[outcome.status] += 1
        lacks = outcome.missing or ("" if outcome.whole else "a part of the stream is missing")
        self.lacking += bool(lacks)
        if self.as_json:
            say_object(_object(outcome))
        elif outcome.failure is not None:
            warn(f"{outcome.failure.value}: {_told(outcome)}")
        elif lacks:
            warn(f"{outcome.source}: {lacks}")
        for names in itertools.islice(outcome.taken, 1):
            more = f" and {len(outcome.taken) - 1} more" if len(outcome.taken) > 1 else ""
            warn(f"{outcome.source}: reading the channels {names}{more} too (--no-beside leaves them out)")

    def finished(self, folder: str, joined: int) -> int:
        """All sources. Gives the exit status."""
        counts = {"made": self.counts["made"], "skipped": self.counts["skipped"], "errors": self.counts["failed"]}
        if self.as_json:
            about = {"type": "summary", "output": shown(folder.encode("utf-8", "surrogateescape")), **counts}
            say_object(about | {"lacking": self.lacking, "statuses": dict(self.statuses), "joined": joined})
        else:
            text = f"{counted(counts['made'], 'capture')} read, {counts['skipped']} there already, "
            text += counted(counts["errors"], "error")
            statuses = ", ".join(f"{n} {status}" for status, n in sorted(self.statuses.items()))
            say(f"{text}{f'; verdicts: {statuses}' if statuses else ''}; tables in {folder}")
            if joined:
                say(f"{counted(joined, 'small file')} joined")
        return EXIT_FINDINGS if counts["errors"] or self.lacking else 0


def _told(outcome: "Outcome") -> str:
    """Why a source could not be read, with its name."""
    return outcome.message if outcome.source in outcome.message else f"{outcome.source}: {outcome.message}"


def _object(outcome: "Outcome") -> dict[str, Any]:
    return {
        "type": "source",
        "source": shown(outcome.source.encode("utf-8", "surrogateescape")),
        "what": outcome.what.value,
        "capture": outcome.capture,
        "error": None if outcome.failure is None else outcome.failure.value,
        "message": outcome.message or None,
        "status": outcome.status,
        "complete": outcome.whole,
        "missing": outcome.missing,
        "records": outcome.records,
        "bytes": outcome.bytes,
        "seconds": outcome.seconds,
        "memory_used": outcome.memory_used,
        "channels": [shown(name.encode("utf-8", "surrogateescape")) for name in outcome.taken],
    }
