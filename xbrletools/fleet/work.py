"""The pure function of the fleet: one capture to its tables.

It stands alone: Dask, Spark, Ray or a batch system can call it. It reads what a `Job` names, and writes below its
folder. It raises only where tables cannot be written. A capture that cannot be read is a row of table
`errors`.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..analysis import arrivals, yara
from ..capture import Capture, open_capture
from ..errors import TransportError, XbrleError
from ..export import judged
from ..source import remote
from ..source.beside import channels_beside
from ..source.changed import WRITTEN_TO
from ..source.sources import MappedSource
from ..tables import captures, content, versions
from ..tables.captures import Work
from ..tables.matches import matches
from ..tables.schema import TABLES, of_rows
from ..text import some
from ..urls import is_url, without_secrets
from ..version import __version__
from . import layout, limits, parquet
from .jobs import RETRY, CannotWrite, Failure, Job, Outcome, What

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it lies there: its size in bytes, when it was changed, and what an object store says of its content."""

    name: str
    size: int | None
    mtime: datetime | None
    etag: str | None


def process(job: Job) -> Outcome:
    """Make the tables of one capture, unless they are there.

    Raises:
        CannotWrite: they cannot be written.
        KeyboardInterrupt: the work was interrupted.
    """
    begun = time.monotonic()
    if job.version != __version__:
        raise CannotWrite(f"this worker has xbrletools {__version__}, and {job.version} asks: install the same")
    parquet.check()
    if job.rules:
        _check_yara()
    before = layout.failure_of(job) if job.run else None
    if before is not None:  # it ended a process of this run, and would do so again
        return failed(job, before["error"], before["message"], before["seconds"], written=True)
    seen: list[Seen] = []
    digests: list[str] = []
    try:
        with limits.watching(job, lambda failure, why: _end(job, failure, why, begun)):
            return _made(job, seen, digests, begun)
    except CannotWrite:
        raise
    except MemoryError as error:
        failure, message = Failure.MEMORY, str(error) or "there is not enough memory"
    except XbrleError as error:
        failure = Failure.NETWORK if isinstance(error, TransportError) and not error.absent else Failure.UNREADABLE
        message = str(error)
    except OSError as error:
        failure, message = Failure.UNREADABLE, f"{error.filename or job.source}: {error.strerror or error}"
    except Exception as error:
        failure, message = Failure.INTERNAL, f"{type(error).__name__}: {error}"
    size = seen[0].size if seen else None
    return failed(job, failure, message, time.monotonic() - begun, size, digests[0] if digests else None)


def _end(job: Job, failure: Failure, why: str, begun: float) -> None:
    """Note why this process ends, and end it: nothing else stops what it is at."""
    try:
        failed(job, failure, why, time.monotonic() - begun)
    finally:
        os._exit(limits.EXIT)


def failed(
    job: Job,
    failure: Failure,
    message: str,
    seconds: float = 0.0,
    size: int | None = None,
    digest: str | None = None,
    written: bool = False,
) -> Outcome:
    """Note that a source could not be read. ``written``: that is in table errors already."""
    name = without_secrets(job.source)
    if not written:
        retry, now = failure in RETRY, _micros(datetime.now(UTC))
        row = (name, size, digest, failure.value, message, retry, seconds, now, job.run, __version__)
        layout.failed(job, row)
    return Outcome(name, What.FAILED, None, failure, message, seconds=seconds)


def _made(job: Job, seen: list[Seen], digests: list[str], begun: float) -> Outcome:
    beside = () if not job.beside or job.channels else channels_beside(job.source)
    paths = (job.source, *job.channels, *map(str, beside))
    seen += map(_seen, paths)
    known = _unchanged(job, seen)
    if known is not None and (row := layout.there(job, known)) is not None and layout.suffices(job, row):
        return _skipped(job, seen, known, row, begun)
    digests += [_digest(path) for path in paths]
    capture = _id(job, digests)
    row = layout.there(job, capture)
    if row is not None and layout.suffices(job, row):
        with layout.pending(job) as files:
            _add_sources(files, job, seen, digests, capture)
            files.publish()
        return _skipped(job, seen, capture, row, begun)
    return _written(job, seen, digests, capture, row, begun)


def _check_yara() -> None:
    """Make sure that rules can be judged.

    Raises:
        CannotWrite: YARA-X is not installed.
    """
    try:
        yara.check()
    except XbrleError as error:
        raise CannotWrite(str(error)) from error


def _skipped(job: Job, seen: list[Seen], capture: str, row: Mapping[str, Any], begun: float) -> Outcome:
    """The outcome of a job whose capture is there, as the ``row`` of it in table captures has it."""
    layout.succeeded(job)
    return Outcome(
        without_secrets(job.source),
        What.SKIPPED,
        capture,
        status=row["status"],
        whole=bool(row["complete"]),
        missing=row["missing"],
        records=int(row["records"]),
        seconds=time.monotonic() - begun,
        taken=_beside(job, seen) if row["channels"] else (),
    )


def _beside(job: Job, seen: list[Seen]) -> tuple[str, ...]:
    """The names of the channels that lie beside the job's source."""
    return tuple(s.name for s in seen[1 + len(job.channels) :])


def _written(
    job: Job, seen: list[Seen], digests: list[str], capture: str, before: Mapping[str, Any] | None, begun: float
) -> Outcome:
    """The outcome of a job whose tables are made. ``before`` is the capture's row where some were there already."""
    taken: list[str] = []
    options = dict(job.options)
    channels = list(job.channels)
    opened = open_capture(
        job.source, **options, channels=channels, cache=False, beside=taken.append if job.beside else None
    )
    with opened, layout.pending(job) as files:
        stream = opened.stream
        for name, make in content.MAKERS.items():
            files.add(name, capture, capture, make(stream))
        missing = [m for m in (content.device_damage(stream),) if m is not None]
        asked = _asked(job, opened, files, capture, before, missing)
        _add_sources(files, job, seen, digests, capture)
        size, seconds = seen[0].size or 0, time.monotonic() - begun
        work = Work(opened.name, size, seconds, _peak(), missing="; ".join(missing) or None, options=options)
        work = replace(work, versions=asked.versions, rules=asked.rules, holding=asked.holding)
        row = captures.capture_row(stream, opened.source, work)
        files.add("captures", capture, capture, of_rows(TABLES["captures"], lambda: [row]))
        _check_still(seen)
        files.publish()
        layout.succeeded(job)
        names = _beside(job, seen) if taken else ()
        return _outcome(job, opened, capture, work, files.bytes, names, begun)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which tables are there that are made on request, as table captures says it: see `captures.Work`."""

    versions: bool
    rules: str | None
    holding: str | None


def _asked(
    job: Job,
    opened: Capture,
    files: layout.Pending,
    capture: str,
    before: Mapping[str, Any] | None,
    missing: list[str],
) -> Asked:
    """Make the tables that are made on request, and note in ``missing`` why one cannot be made.

    What was there ``before`` stays, unless all is made again.
    """
    stream, kept = opened.stream, before or {}
    has_versions, rules, holding = bool(kept.get("versions")), kept.get("rules"), kept.get("holding")
    if job.versions or (job.again and has_versions):
        has_versions = False
        try:
            files.add("page_versions", capture, capture, versions.page_versions(stream))
            has_versions = True
        except XbrleError as error:
            missing.append(f"page_versions: {error}")
    if job.rules:
        compiled = yara.compiled(job.rules)
        rules, holding = job.digest_of_rules, None
        try:
            engine = yara.Engine(compiled)
            files.add("matches", capture, capture, matches(stream, engine, _times(opened)))
            if engine.cut:
                missing.append(f"matches: {some(engine.cut, 'match ends', 'matches end')} early")
        except XbrleError as error:
            missing.append(f"matches: {error}")
            rules = None
            files.add("matches", capture, capture, of_rows(TABLES["matches"], list))  # not those of other rules
        try:
            holding = json.dumps(judged.holding(stream, compiled))
        except XbrleError as error:
            missing.append(f"holding: {error}")
    return Asked(has_versions, rules, holding)


def _times(opened: Capture) -> arrivals.Arrivals | None:
    """When the bytes of a capture came, None where nothing says it, or where they came on several channels."""
    with suppress(XbrleError):
        source = opened.source if isinstance(opened.source, MappedSource) else opened.stream.source
        return arrivals.beside(source) if opened.channels is None else None
    return None


def _outcome(
    job: Job, opened: Capture, capture: str, work: Work, size: int, taken: tuple[str, ...], begun: float
) -> Outcome:
    stream = opened.stream
    return Outcome(
        without_secrets(job.source),
        What.MADE,
        capture,
        status=content.verdict_of(stream).status.value,
        whole=stream.facts.whole,
        missing=work.missing,
        records=stream.records.last_number,
        bytes=size,
        seconds=time.monotonic() - begun,
        memory_used=work.memory_used,
        taken=taken,
    )


# -- sources -----------------------------------------------------------------------------------------------------------


def _seen(path: str) -> Seen:
    if is_url(path):
        about = remote.state_of(path)
        marks = json.dumps(dict(about.marks)) if about.marks else None
        return Seen(without_secrets(path), about.size, None, marks)
    state = Path(path).stat()
    return Seen(path, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC), None)


def _check_still(seen: list[Seen]) -> None:
    """Make sure that what the tables hold is what lies there.

    Raises:
        XbrleError: a file was written to meanwhile.
    """
    for one in seen:
        if one.mtime is not None and _seen(one.name) != one:
            raise XbrleError(f"{one.name}: {WRITTEN_TO}")


def _digest(path: str) -> str:
    """The SHA-256 of a file. An object of a store is fetched for it, and read from there afterwards."""
    if is_url(path):
        with remote.at_hand(path) as fetched, fetched.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    with open(path, "rb") as file:  # noqa: PTH123 - a path as it was given
        return hashlib.file_digest(file, "sha256").hexdigest()


def _id(job: Job, digests: list[str]) -> str:
    """The id of a capture: of its file's digest alone where there is one file and all was detected."""
    if len(digests) == 1 and not job.options:
        return digests[0][:32]
    return hashlib.sha256(json.dumps([digests, sorted(job.options)]).encode()).hexdigest()[:32]


def _unchanged(job: Job, seen: list[Seen]) -> str | None:
    """The capture that these files were when they were read last, where size, time and etag say that they still are."""
    rows = layout.known_source(job)
    before = {(r["source"], r["size"], r["mtime"], r["etag"]) for r in rows}
    now = {(s.name, s.size, s.mtime, s.etag) for s in seen}
    dated = all(s.mtime is not None or s.etag is not None for s in seen)
    return str(rows[0]["capture"]) if rows and dated and before == now else None


def _add_sources(files: layout.Pending, job: Job, seen: list[Seen], digests: list[str], capture: str) -> None:
    now = _micros(datetime.now(UTC))

    def rows() -> Iterator[tuple[Any, ...]]:
        for i, (s, digest) in enumerate(zip(seen, digests, strict=True)):
            yield s.name, i or None, s.size, None if s.mtime is None else _micros(s.mtime), s.etag, digest, now

    files.add("sources", job.source_id, capture, of_rows(TABLES["sources"], rows))


def _micros(when: datetime) -> int:
    """Microseconds since 1970."""
    seconds = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (seconds.days * 86400 + seconds.seconds) * _MICRO + seconds.microseconds


def _peak() -> int:
    """The most bytes of memory that this process has had, 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)
