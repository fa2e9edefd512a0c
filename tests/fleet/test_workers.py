"""Many captures at a time: nothing lost, nothing twice, whatever ends a worker or the run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import xbrletools
from tests.conftest import SAMPLES
from tests.fleet.conftest import GOOD
from tests.fleet.looking import COMMAND, ENVIRONMENT, content, left_behind, scheduler, table
from tests.siege.bombs import dup, stream
from xbrletools.fleet.jobs import CannotWrite, Job
from xbrletools.fleet.work import process

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


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
    """The address of a scheduler, and its two workers."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    with scheduler(tmp_path) as found:
        yield found


def test_workers_of_another_version_are_refused_before_anything_is_read(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    code = (
        "import xbrletools.version; xbrletools.version.__version__ = '0.0.1'\n"
        "import sys; from xbrletools.__main__ import start; sys.exit(start())"
    )
    words = ["tables", str(SAMPLES / "stale-base.bin"), "-o", str(tmp_path / "out"), "--scheduler", cluster[0]]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"has xbrletools {xbrletools.__version__}, and this is 0.0.1: install the same on both" in done.stderr
    assert not list(tmp_path.glob("out/*"))


def test_a_job_of_another_version_is_refused_by_the_worker(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"and 0\.0\.1 asks: install the same"):
        process(Job(str(SAMPLES / "stale-base.bin"), str(tmp_path), version="0.0.1"))
    assert not list(tmp_path.iterdir())


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
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
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
