"""What the tests of many captures share: which files they read, and how a folder of tables is looked at."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from xbrletools.tables.schema import CONTENT

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

COMMAND = (sys.executable, "-m", "xbrletools", "tables")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
#: Columns that are another at each run.
VARYING = ("seconds", "memory_used", "seen", "run")


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
    return {
        name: Counter(repr({k: v for k, v in row.items() if k not in VARYING}) for row in table(out, name))
        for name in (*CONTENT, "captures", "errors", "page_versions")
    }


def left_behind(out: Path) -> list[Path]:
    return [p for p in out.rglob("*") if p.is_file() and p.suffix != ".parquet"]


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler on loopback and two workers, each a process of its own."""
    where = folder / "scheduler.json"
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT, "cwd": folder}
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where)]
    running = [subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *words], **quiet)]
    try:
        while not (where.exists() and where.stat().st_size):
            time.sleep(0.1)
        address = json.loads(where.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        running += [subprocess.Popen([*worker, "--no-nanny"], **quiet) for _ in range(2)]
        yield address, running[1:]
    finally:
        for one in running:
            one.kill()
            one.wait()
