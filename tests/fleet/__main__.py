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
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import xbrletools
from tests.conftest import CORPUS
from tests.fleet.looking import COMMAND, ENVIRONMENT, VARYING, scheduler
from xbrletools.formats.ram import Kind
from xbrletools.table.claims import stated

_OTHER = re.compile(
    r"\.(json|md|py|txt)(\.xz)?$|\.(ram|ramspace|truth|crc32|miglog|disk\.img)(\.xz)?$|others?blocks|mig"
)
PAGES = 50


def captures(only: str) -> list[Path]:
    """The files of the corpus that can be captures, or channels of one."""
    found = sorted(p for p in CORPUS.rglob("*") if p.is_file() and not _OTHER.search(str(p.relative_to(CORPUS))))
    return [p for p in found if only in str(p)]


def rows(out: Path, name: str, capture: str = "*") -> list[dict[str, Any]]:
    """The rows of a table, of all captures or of one."""
    from pyarrow import parquet

    kind = "source_id" if name in ("sources", "errors") else "capture"
    found: list[dict[str, Any]] = []
    for path in sorted(out.glob(f"{name}/{kind}={capture}/*.parquet")):
        found += parquet.ParquetFile(path).read().to_pylist()
    return found


# -- equal to the library ----------------------------------------------------------------------------------------------


def records_of(out: Path, capture: str) -> tuple[Counter[Any], Counter[Any]]:
    """How many records a table has by kind, block and pass, and how often each sum is stated."""
    from pyarrow import parquet

    counts, sums = Counter[Any](), Counter[Any]()
    for path in out.glob(f"records/capture={capture}/*.parquet"):
        for batch in parquet.ParquetFile(path).iter_batches(columns=["kind", "block", "pass", "checksum"]):
            kind, block, passed, checksum = (column.to_pylist() for column in batch.columns)
            counts.update(zip(kind, block, passed, strict=True))
            sums.update(checksum)
    return counts, sums


def library_records(capture: Any) -> tuple[Counter[Any], Counter[Any]]:
    """The same as the library says it."""
    table = capture.records
    columns, names = table.columns, [xbrletools.text.shown(b.name) for b in capture.blocks]
    states, sums = stated(columns, capture.dialect)
    of_row = zip(
        columns.kind.tolist(), columns.block.tolist(), table.is_page.tolist(), table.pass_.tolist(), strict=True
    )
    counts = Counter(
        (Kind(kind).name.lower(), names[block] if block < len(names) else None, passed if is_page else None)
        for kind, block, is_page, passed in of_row
    )
    given = sums.tolist()
    return counts, Counter(given[i] if states[i] else None for i in range(len(given)))


def differences(out: Path, about: dict[str, Any], source: str) -> Iterator[str]:
    """What of a capture's tables differs from the library."""
    own = about["capture"]
    with xbrletools.open(source, cache=False, beside=lambda _: None) as capture:
        for name, got, want in zip(("records", "sums"), records_of(out, own), library_records(capture), strict=True):
            if got != want:
                yield f"{name}: {list((got - want).items())[:3]} and not {list((want - got).items())[:3]}"
        keys = ("rule", "severity", "offset", "record", "page", "message")
        want_findings = [
            (f.rule, f.severity.value, f.offset, f.record, f.page, f.message, json.dumps(f.evidence))
            for f, _ in capture.verdict().shared or ()  # as xbrle verify lists them
        ]
        findings = [(*(r[k] for k in keys), r["evidence"]) for r in rows(out, "findings", own)]
        if findings != want_findings:
            yield f"findings: {len(findings)}, and not {len(want_findings)}"
        verdict = capture.verdict()
        severities = Counter(f[1] for f in findings)
        if (about["errors"], about["warnings"]) != (severities["error"], severities["warning"]):
            yield f"captures: {about['errors']} errors and {about['warnings']} warnings"
        told = about["status"], about["summary"], about["pages_wrong"], about["first_bad_record"]
        if told != (verdict.status.value, verdict.summary, verdict.pages_wrong, verdict.first_bad_record):
            yield f"verdict: {told}"
        yield from version_differences(out, about, capture)


def version_differences(out: Path, about: dict[str, Any], capture: Any) -> Iterator[str]:
    """What of table page_versions differs from the histories of some pages."""
    if not about["versions"]:
        yield f"page_versions: {about['missing']}"
        return
    by_page: dict[tuple[str, int], list[tuple[Any, ...]]] = defaultdict(list)
    for r in rows(out, "page_versions", about["capture"]):
        by_page[r["block"], r["page"]].append((r["record"], r["sum"], r["changed"]))
    inside = capture.space.pages_of(capture.records.columns.take(capture.records.by_number)) >= 0
    if sum(map(len, by_page.values())) != np.count_nonzero(inside):
        yield "page_versions: another number of rows than of records"
    for block, page in random.Random(19).sample(sorted(by_page), min(PAGES, len(by_page))):
        want = [(v.record, v.computed, v.changed) for v in capture.page(block, page).versions()]
        if sorted(by_page[block, page]) != want:
            yield f"page_versions: {block}:{page:#x}"


def equal(paths: list[Path], out: Path) -> int:
    """Compare the tables of captures with the library. Gives how many differ."""
    done = subprocess.run([*COMMAND, *map(str, paths), "-o", str(out), "--versions"], env=ENVIRONMENT, check=False)
    assert done.returncode in (0, 1)
    sources = {r["capture"]: r["source"] for r in rows(out, "sources") if r["channel"] is None}
    wrong = records = 0
    for about in sorted(rows(out, "captures"), key=lambda r: str(r["name"])):
        found = list(differences(out, about, sources[about["capture"]]))
        wrong += bool(found)
        records += about["records"]
        print(f"{'DIFFERS' if found else 'equal':8}{about['records']:9,} records  {about['name']}", *found, flush=True)
    failed = rows(out, "errors")
    print(f"{len(sources)} captures with {records:,} records: {wrong} differ; {len(failed)} could not be read:")
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
    parser.add_argument("--folder", type=Path, help="where the tables of --equal stay")
    chosen = parser.parse_args()
    paths = [p for p in captures(chosen.only) if chosen.without not in str(p)]
    print(f"{len(paths)} files")
    with tempfile.TemporaryDirectory() as temporary:
        wrong = equal(paths, chosen.folder or Path(temporary, "equal")) if chosen.equal else 0
        wrong += ways(paths, Path(temporary)) if chosen.ways else 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
