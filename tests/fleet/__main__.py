"""Holds the tables of every real capture against the library, and three ways of making them against each other.

    python -m tests.fleet --equal            # tables of the whole corpus against what the library says: half an hour
    python -m tests.fleet --ways             # serial, two processes, and a scheduler with two workers: an hour
    python -m tests.fleet --equal --only 2011 --folder DIR   # some of them; tables stay in DIR, and are not made again

``--equal`` compares the records by kind, block and pass, the sums that are stated, the findings, the verdict, and
table page_versions with the histories of 50 seeded pages. ``--ways`` adds ten bad files, interrupts one run by SIGINT,
and kills one of the two workers of another. A line says how each capture or way came out. Exit status 1: one differs.
"""

import argparse
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.conftest import CORPUS
from tests.fleet.equal import differences, rows
from tests.fleet.looking import COMMAND, ENVIRONMENT, VARYING, scheduler

_OTHER = re.compile(
    r"\.(json|md|py|txt)(\.xz)?$|\.(ram|ramspace|truth|crc32|miglog|disk\.img)(\.xz)?$|others?blocks|mig"
)

#: What one capture may take with --equal: some of the corpus claim far more than they hold.
LIMITS = ("--timeout", "300", "--memory", "6G")


def captures(only: str) -> list[Path]:
    """The files of the corpus that can be captures, or channels of one."""
    found = sorted(p for p in CORPUS.rglob("*") if p.is_file() and not _OTHER.search(str(p.relative_to(CORPUS))))
    return [p for p in found if only in str(p)]


# -- equal to the library ----------------------------------------------------------------------------------------------


def equal(paths: list[Path], out: Path, workers: int) -> int:
    """Make the tables of captures, compare them with the library, and say how each came out. Gives how many differ."""
    command = [*COMMAND, *map(str, paths), "-o", str(out), "--versions", "-j", str(workers), *LIMITS]
    done = subprocess.run(command, env=ENVIRONMENT, check=False)
    assert done.returncode in (0, 1)
    sources = {r["capture"]: r["source"] for r in rows(out, "sources") if r["channel"] is None}
    captures = sorted(rows(out, "captures"), key=lambda r: str(r["name"]))
    named = [sources[about["capture"]] for about in captures]
    wrong = 0
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        compared = pool.map(differences, repeat(out), captures, named)
        for about, found in zip(captures, compared, strict=True):
            wrong += bool(found)
            told = "DIFFERS" if found else "equal"
            print(f"{told:8}{about['records']:9,} records  {about['name']}", *found, flush=True)
    failed = rows(out, "errors")
    records = sum(about["records"] for about in captures)
    print(f"{len(captures)} captures with {records:,} records: {wrong} differ; {len(failed)} could not be read:")
    for row in failed:
        print(f"  {row['source']}: {row['error']}: {row['message']}")
    return wrong


# -- three ways --------------------------------------------------------------------------------------------------------


def everything(out: Path) -> dict[str, Counter[str]]:
    """All rows of all tables, without what varies from run to run."""
    names = ("sources", "captures", "blocks", "sections", "records", "findings", "devices", "errors")
    return {
        name: Counter(repr({k: v for k, v in row.items() if k not in VARYING}) for row in rows(out, name))
        for name in names
    }


def bad_files(folder: Path) -> list[Path]:
    """Ten files that are not captures, each in another way."""
    packed = lzma.compress(b"nothing of the kind" * 100)
    contents = [b"", b"QEVM", b"QFI\xfb" + bytes(60), b"\x7fELF" + bytes(5000), packed[:20], packed, b"MZ" + bytes(300)]
    contents += [bytes(4096), os.urandom(10_000), b"text\n" * 300]
    found = []
    for i, content in enumerate(contents):
        found.append(folder / f"bad{i}.bin")
        found[-1].write_bytes(content)
    return found


def made(sources: list[Path], out: Path, *words: str, after: int = 0, end: Any = None) -> dict[str, Any]:
    """Run `xbrle tables`, and call ``end`` after so many sources are done. Gives its last line, or its status."""
    command = [*COMMAND, *map(str, sources), "-o", str(out), "--json", *words]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        last: dict[str, Any] = {}
        for number, line in enumerate(run.stdout, 1):
            last = json.loads(line)
            if end is not None and number == after:
                end(run)
    return last if last.get("type") == "summary" else {"status": run.returncode}


def ways(paths: list[Path], folder: Path) -> int:
    """Make the tables by each way. Gives how many ways differ from the first."""
    (folder / "bad").mkdir()
    sources = [*paths, *bad_files(folder / "bad")]
    want: dict[str, Counter[str]] = {}
    wrong = 0

    def told(name: str, out: Path, summary: dict[str, Any]) -> None:
        nonlocal want, wrong
        got = everything(out)
        want = want or got
        counts = {k: summary[k] for k in ("made", "skipped", "errors")}
        left = [p.name for p in out.rglob("*") if p.is_file() and p.suffix != ".parquet"]
        same = got == want and not left
        differing = [n for n in got if got[n] != want[n]]
        wrong += not same
        print(
            f"{'same' if same else 'DIFFERS':8}{name}: {counts}, {sum(got['errors'].values())} errors",
            differing,
            left,
            flush=True,
        )

    told("serial", folder / "serial", made(sources, folder / "serial"))
    told("-j 2", folder / "dask", made(sources, folder / "dask", "-j", "2"))
    with scheduler(folder) as (address, workers):
        kill = workers[0].kill
        summary = made(sources, folder / "far", "--scheduler", address, after=len(sources) // 3, end=lambda _: kill())
        told("scheduler with two workers, of which one is killed", folder / "far", summary)
    for name, more in (("serial", ()), ("-j 2", ("-j", "2"))):
        out = folder / f"interrupted {name}"
        first = made(sources, out, *more, after=len(sources) // 3, end=lambda run: run.send_signal(signal.SIGINT))
        print(f"        {name} interrupted: status {first.get('status')}, {len(rows(out, 'captures'))} captures there")
        told(f"{name}, interrupted by SIGINT and started again", out, made(sources, out, *more))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--ways", action="store_true")
    parser.add_argument("--only", default="", help="captures whose path has this in it")
    parser.add_argument("--without", default="\0", help="and does not have this")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="processes of --equal (default: 2)")
    parser.add_argument("--folder", type=Path, help="where the tables of --equal stay")
    chosen = parser.parse_args()
    paths = [p for p in captures(chosen.only) if chosen.without not in str(p)]
    print(f"{len(paths)} files")
    with tempfile.TemporaryDirectory() as temporary:
        wrong = equal(paths, chosen.folder or Path(temporary, "equal"), chosen.j) if chosen.equal else 0
        wrong += ways(paths, Path(temporary)) if chosen.ways else 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
