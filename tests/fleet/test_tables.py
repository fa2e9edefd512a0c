"""Many captures into tables: nothing lost, nothing twice, whatever ends a worker or the run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xbrletools
from tests.cli.run import run
from tests.conftest import ROOT, SAMPLES
from tests.siege.bombs import dup, stream
from xbrletools.fleet.jobs import CannotWrite, Failure, Job, What, from_manifest, partition_value
from xbrletools.fleet.work import process
from xbrletools.tables.schema import CAPTURE, CONTENT, TABLES, VERSION

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

GOOD = ("posted-8m.bin", "stale-base.bin", "xbzrle-16m.bin", "truncated.bin", "xbzrle-wrong-base.bin")
COMMAND = (sys.executable, "-m", "xbrletools", "tables")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five captures and ten bad files."""
    folder = tmp_path_factory.mktemp("sources")
    found = []
    for name in GOOD:
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
        found.append(folder / name)
    for i in range(10):
        bad = folder / f"bad{i}.bin"
        bad.write_bytes(bytes([i]) * (100 + i))
        found.append(bad)
    return found


def table(out: Path, name: str) -> Any:
    """A table as DuckDB reads it, by its rows."""
    path = out / name / "**" / "*.parquet"
    if not list((out / name).rglob("*.parquet")):
        return []
    connection = duckdb.connect()
    found = connection.execute(f"SELECT * FROM read_parquet('{path}', union_by_name = true)")
    names = [c[0] for c in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def content(out: Path) -> dict[str, Counter[str]]:
    """What the tables of captures hold, whatever the order of rows."""
    varying = ("seconds", "memory_used", "seen", "run")
    return {
        name: Counter(repr({k: v for k, v in row.items() if k not in varying}) for row in table(out, name))
        for name in (*CONTENT, "captures", "errors", "page_versions")
    }


@pytest.fixture(scope="module")
def serial(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of all sources, made one after the other."""
    out = tmp_path_factory.mktemp("serial")
    outcomes = [process(Job(str(path), str(out), run="first")) for path in sources]
    assert Counter(o.what for o in outcomes) == {What.MADE: 5, What.FAILED: 10}
    return out


def left_behind(out: Path) -> list[Path]:
    return [p for p in out.rglob("*") if p.is_file() and p.suffix != ".parquet"]


# -- what is written ---------------------------------------------------------------------------------------------------


def test_the_tables_equal_the_library(serial: Path) -> None:
    rows = {name: table(serial, name) for name in TABLES}
    by_name = {Path(r["name"]).name: r for r in rows["captures"]}
    assert set(by_name) == set(GOOD) and len(rows["captures"]) == len(GOOD)
    for name, about in by_name.items():
        with xbrletools.open(SAMPLES / name) as capture:
            own = [r for r in rows["records"] if r["capture"] == about["capture"]]
            assert Counter(r["kind"] for r in own) == capture.records.counts()
            numbers = capture.records.number.tolist()
            assert [r["record"] or 0 for r in sorted(own, key=lambda r: r["row"])] == numbers
            found = [r for r in rows["findings"] if r["capture"] == about["capture"]]
            assert Counter(f["rule"] for f in found) == Counter(f.rule for f in capture.verify())
            assert about["status"] == capture.verdict().status.value
    assert {r["error"] for r in rows["errors"]} == {"unreadable"} and len(rows["errors"]) == 10
    assert len(rows["sources"]) == len(GOOD) and not left_behind(serial)


def test_every_file_states_the_schema_and_has_its_columns(serial: Path) -> None:
    for name in (*CONTENT, "captures", "sources", "errors"):
        for path in (serial / name).rglob("*.parquet"):
            schema = parquet.read_schema(path)
            assert schema.metadata[b"xbrletools.schema"].decode() == VERSION
            assert schema.metadata[b"xbrletools.table"].decode() == name
            own = [f.name for f in TABLES[name].fields]
            assert schema.names[-len(own) :] == own
            assert name == "errors" or CAPTURE.name in schema.names


def test_polars_and_pyarrow_read_the_folder(serial: Path) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    count = len(table(serial, "records"))
    assert parquet.read_table(serial / "records").num_rows == count
    assert polars.read_parquet(serial / "records" / "**" / "*.parquet").height == count


def test_versions_are_written_where_they_are_asked_for_and_made_later_where_they_lack(tmp_path: Path) -> None:
    source = str(SAMPLES / "stale-base.bin")
    first = process(Job(source, str(tmp_path)))
    assert first.what is What.MADE and not table(tmp_path, "page_versions")
    assert process(Job(source, str(tmp_path), versions=True)).what is What.MADE
    assert len(table(tmp_path, "page_versions")) == first.records
    assert process(Job(source, str(tmp_path))).what is What.SKIPPED


def test_what_is_there_is_skipped_by_its_time_and_by_its_content(tmp_path: Path) -> None:
    source, out = tmp_path / "S.bin", tmp_path / "out"
    source.write_bytes((SAMPLES / "stale-base.bin").read_bytes())
    made = process(Job(str(source), str(out)))
    assert process(Job(str(source), str(out))).what is What.SKIPPED
    os.utime(source, (1, 1))
    again = process(Job(str(source), str(out)))
    assert (again.what, again.capture) == (What.SKIPPED, made.capture)
    copy = tmp_path / "copy.bin"
    copy.write_bytes(source.read_bytes())
    assert process(Job(str(copy), str(out))).capture == made.capture
    assert sorted(Path(r["source"]).name for r in table(out, "sources")) == ["S.bin", "copy.bin"]
    source.write_bytes((SAMPLES / "posted-8m.bin").read_bytes())
    assert process(Job(str(source), str(out))).capture != made.capture
    assert len(table(out, "captures")) == 2


def test_a_source_that_is_mended_is_no_error_any_more(tmp_path: Path) -> None:
    source, out = tmp_path / "S.bin", tmp_path / "out"
    source.write_bytes(b"nothing of the kind")
    assert process(Job(str(source), str(out))).failure is Failure.UNREADABLE
    assert [r["source"] for r in table(out, "errors")] == [str(source)]
    source.write_bytes((SAMPLES / "stale-base.bin").read_bytes())
    assert process(Job(str(source), str(out))).what is What.MADE
    assert not table(out, "errors") and len(table(out, "captures")) == 1


def test_tables_that_cannot_be_written_end_the_run_and_are_no_fault_of_the_capture(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_bytes(b"a file where a folder should be")
    with pytest.raises(CannotWrite):
        process(Job(str(SAMPLES / "stale-base.bin"), str(tmp_path)))
    assert not (tmp_path / "captures").exists() and left_behind(tmp_path) == [tmp_path / "blocks"]


def test_small_files_are_joined_and_what_is_there_is_still_skipped(capsys: Any, tmp_path: Path) -> None:
    names = [str(SAMPLES / n) for n in GOOD]
    assert run(capsys, "tables", *names, "-o", tmp_path, "--versions")[0] == 1  # one is truncated
    before = content(tmp_path)
    assert run(capsys, "tables", "-o", tmp_path, "--compact")[0] == 0
    assert content(tmp_path) == before
    assert len(list((tmp_path / "records").rglob("*.parquet"))) == 1
    status, out, _ = run(capsys, "tables", *names, "-o", tmp_path, "--json")
    assert Counter(json.loads(line).get("what") for line in out.splitlines()) == {"skipped": 5, None: 1}
    assert status == 1  # it still is
    status, _, err = run(capsys, "tables", names[0], "-o", tmp_path, "--force")
    assert status == 2 and "compacted" in err
    more = str(SAMPLES / "lm2-small.bin") if (SAMPLES / "lm2-small.bin").exists() else str(SAMPLES / "multifd.bin")
    run(capsys, "tables", more, "-o", tmp_path, "--versions", "--compact")
    assert len(table(tmp_path, "captures")) == 6 and len(list((tmp_path / "captures").rglob("*.parquet"))) == 1


def test_what_was_joined_and_not_taken_away_yet_is_taken_away_at_the_next_run(capsys: Any, tmp_path: Path) -> None:
    import shutil

    names = [str(SAMPLES / n) for n in GOOD[:2]]
    out, copy = tmp_path / "out", tmp_path / "copy"
    run(capsys, "tables", *names, "-o", out)
    before = content(out)
    shutil.copytree(out, copy)
    run(capsys, "tables", "-o", out, "--compact")
    shutil.copytree(copy, out, dirs_exist_ok=True)
    assert content(out) != before
    run(capsys, "tables", *names, "-o", out)
    assert content(out) == before


def test_a_partition_is_a_folder_and_a_column(capsys: Any, tmp_path: Path) -> None:
    for night in ("2026-11-24", "2026-11-25"):
        run(capsys, "tables", SAMPLES / "stale-base.bin", "-o", tmp_path, "--partition", f"night={night}")
    assert sorted(str(r["night"]) for r in table(tmp_path, "captures")) == ["2026-11-24", "2026-11-25"]
    assert (tmp_path / "records" / "night=2026-11-24").is_dir()
    for wrong in ("night", "night=", "night=../x", "capture=x", "status=x", "a/b=c"):
        status, _, err = run(capsys, "tables", SAMPLES / "stale-base.bin", "-o", tmp_path, "--partition", wrong)
        assert status == 2 and "--partition" in err, wrong


# -- what is read ------------------------------------------------------------------------------------------------------


def test_a_manifest_says_how_to_read_each(capsys: Any, tmp_path: Path) -> None:
    padded = tmp_path / "padded.bin"
    padded.write_bytes(bytes(512) + (SAMPLES / "stale-base.bin").read_bytes())
    manifest = tmp_path / "night.jsonl"
    lines = [
        {"source": str(padded), "offset": 512, "partition": {"night": "1"}},
        {"source": str(SAMPLES / "posted-8m.bin"), "dialect": "posted", "salvage": True},
        {"source": str(SAMPLES / "multifd.bin"), "channels": [str(SAMPLES / f"multifd.bin.{i}") for i in (1, 2)]},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    out = tmp_path / "out"
    assert run(capsys, "tables", "--manifest", manifest, "-o", out, "--partition", "lab=a")[0] == 0
    rows = {Path(r["name"]).name: r for r in table(out, "captures")}
    assert rows["padded.bin"]["stream_offset"] == 512 and json.loads(rows["padded.bin"]["options"]) == {"offset": 512}
    assert rows["multifd.bin"]["channels"] == 2 and rows["multifd.bin"]["complete"]
    assert {str(r["lab"]) for r in rows.values()} == {"a"} and str(rows["padded.bin"]["night"]) == "1"
    assert sum(Path(r["source"]).name.startswith("multifd.bin") for r in table(out, "sources")) == 3


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        "[]",
        "{}",
        '{"source": 1}',
        '{"source": "S", "offset": "x"}',
        '{"source": "S", "offset": -1}',
        '{"source": "S", "offset": true}',
        '{"source": "S", "channels": "x"}',
        '{"source": "S", "colour": 1}',
        '{"source": "S", "partition": []}',
        '{"source": "S", "partition": {"a": "../b"}}',
        "[" * 100_000,
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(line: str) -> None:
    with pytest.raises(xbrletools.XbrleError, match="night, line 2"):
        list(from_manifest(["", line], "night", Job("", "out")))


def test_channels_beside_are_read_with_their_main_channel_and_not_once_more(capsys: Any, tmp_path: Path) -> None:
    names = [SAMPLES / "multifd.bin", SAMPLES / "multifd.bin.1", SAMPLES / "multifd.bin.2"]
    status, out, _ = run(capsys, "tables", *names, "-o", tmp_path / "a", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [t["type"] for t in told] == ["source", "summary"] and len(told[0]["channels"]) == 2
    run(capsys, "tables", *names, "-o", tmp_path / "b", "--no-beside", "--json")
    assert len(table(tmp_path / "b", "captures")) == 3


def test_a_name_that_is_hostile_is_escaped(capsys: Any, tmp_path: Path) -> None:
    evil = tmp_path / "a\x1b[31m\n\udcff.bin"
    evil.write_bytes(b"nothing")
    status, out, err = run(capsys, "tables", evil, "-o", tmp_path / "out", "--json")
    assert status == 1 and "\x1b" not in out + err
    assert len(table(tmp_path / "out", "errors")) == 1


def test_a_partition_value_is_one_plain_word() -> None:
    assert partition_value("night", "2026-11-25") == "2026-11-25"


# -- many at a time ----------------------------------------------------------------------------------------------------


def test_two_workers_make_the_same_tables(sources: list[Path], serial: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    done = subprocess.run(
        [*COMMAND, *map(str, sources), "-o", str(tmp_path), "-j", "2"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 1 and "10 errors" in done.stdout, done.stderr
    assert content(tmp_path) == content(serial) and not left_behind(tmp_path)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, each started by hand."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    where = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT, "cwd": tmp_path}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*start, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where)],
        **quiet,  # type: ignore[call-overload]
    )
    running = [scheduler]
    try:
        for _ in range(300):
            if where.exists() and where.stat().st_size:
                break
            time.sleep(0.1)
        address = json.loads(where.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        running += [subprocess.Popen([*worker, "--no-nanny"], **quiet) for _ in range(2)]  # type: ignore[call-overload]
        yield address, running[1:]
    finally:
        for one in running:
            one.kill()
            one.wait()


def test_a_scheduler_with_two_workers_of_which_one_is_killed_loses_nothing_and_does_nothing_twice(
    sources: list[Path], serial: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    address, workers = cluster
    out = tmp_path / "out"
    command = [*COMMAND, *map(str, sources), "-o", str(out), "--scheduler", address, "--json"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        first = done.stdout.readline()
        workers[0].send_signal(signal.SIGKILL)
        told = [json.loads(line) for line in (first, *done.stdout)]
    assert done.returncode == 1
    assert told[-1]["errors"] == 10 and told[-1]["made"] + told[-1]["skipped"] == len(GOOD)
    assert content(out) == content(serial) and not left_behind(out)


def test_an_interrupted_run_goes_on_where_it_was(sources: list[Path], serial: Path, tmp_path: Path) -> None:
    command = [*COMMAND, *map(str, sources), "-o", str(tmp_path), "--json"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        done.stdout.readline()
        done.send_signal(signal.SIGINT)
        done.stdout.read()
    assert done.returncode == 130 and not left_behind(tmp_path)
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    summary = json.loads(again.stdout.splitlines()[-1])
    assert summary["skipped"] >= 1 and summary["made"] + summary["skipped"] == len(GOOD)
    assert content(tmp_path) == content(serial)


def test_a_killed_run_leaves_nothing_that_counts_and_the_next_makes_all(
    sources: list[Path], serial: Path, tmp_path: Path
) -> None:
    command = [*COMMAND, *map(str, sources), "-o", str(tmp_path), "--json"]
    for wait in (0.3, 0.6, 0.9):
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as done:
            time.sleep(wait)
            done.kill()
    subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=120, check=False)
    assert content(tmp_path) == content(serial)
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("limit", "value", "error"), [("--timeout", "0.1", "timeout"), ("--memory", "1M", "memory")])
def test_a_capture_that_takes_too_much_costs_only_itself(
    tmp_path: Path, workers: str, limit: str, value: str, error: str
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    out, slow = tmp_path / "out", tmp_path / "slow.bin"
    slow.write_bytes(stream([(b"pc.ram", 1 << 20)], dup(0) * 50_000))  # seconds of work
    done = subprocess.run(
        [*COMMAND, slow, "-o", out, "-j", workers, limit, value, "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stderr
    assert told[0]["error"] == error and told[-1]["errors"] == 1
    assert [r["error"] for r in table(out, "errors")] == [error] and not table(out, "captures")


# -- behind URLs -------------------------------------------------------------------------------------------------------


def test_an_object_is_read_known_again_and_named_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    monkeypatch.setenv("XBRLE_REMOTE_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    store.pipe("/lab/S.bin", (SAMPLES / "stale-base.bin").read_bytes())
    out = tmp_path / "out"
    made = process(Job("memory://lab/S.bin", str(out)))
    assert made.what is What.MADE and made.capture == process(Job(str(SAMPLES / "stale-base.bin"), str(out))).capture
    assert process(Job("memory://lab/S.bin", str(out))).what is What.SKIPPED
    gone = process(Job("memory://lab/none.bin", str(out)))
    assert gone.failure in (Failure.UNREADABLE, Failure.NETWORK) and not gone.capture
    lost = process(Job("http://user:password@127.0.0.1:1/S.bin?sig=secret", str(out)))
    assert lost.failure in (Failure.NETWORK, Failure.UNREADABLE)
    told = repr(table(out, "errors")) + repr(lost) + repr(table(out, "sources"))
    assert "password" not in told and "secret" not in told
