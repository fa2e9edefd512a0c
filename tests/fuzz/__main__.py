"""Runs the fuzzer over the targets for a stated time: ``python -m tests.fuzz --seconds 600 --each 30 --jobs 2``.

Needs the extra ``fuzz`` (atheris). The targets take turns until the time is over. Corpora, what was found and the
counts are kept in ``--folder``, so that runs add up. The table that is printed at the end is of all of them. Exit
status 1 where something was found.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Lock

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent.parent
MEMORY = 2048  # MiB that a target may take
HANG = 60  # seconds for one input, on a machine that is busy with other things
_STARTS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def prepare(folder: Path, name: str) -> Path:
    """The folder of a target's corpus, with its seeds in it."""
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds.of(name)):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    (folder / "found" / name).mkdir(parents=True, exist_ok=True)
    if TARGETS[name].words:
        lines = ('"' + "".join(f"\\x{b:02x}" for b in word) + '"' for word in TARGETS[name].words)
        (folder / "corpus" / f"{name}.dict").write_text("\n".join(lines) + "\n")
    return corpus


def fuzz(folder: Path, name: str, seconds: int) -> dict[str, object]:
    """One turn of one target. Returns what is counted of it."""
    corpus = folder / "corpus" / name
    words = folder / "corpus" / f"{name}.dict"
    found = folder / "found" / name
    before = set(found.iterdir())
    begun = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.fuzz.one", name, str(corpus),
            f"-max_total_time={seconds}", f"-max_len={TARGETS[name].most}", f"-artifact_prefix={found}/",
            f"-rss_limit_mb={MEMORY}", f"-timeout={HANG}", "-print_final_stats=1", "-reload=0",
            *([f"-dict={words}"] if words.exists() else []),
        ],
        cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    counted, covered = _STARTS.findall(done.stderr), _COVERED.findall(done.stderr)
    new = sorted(p.name for p in set(found.iterdir()) - before)
    if done.returncode:
        with (folder / "found" / f"{name}.log").open("a") as log:
            log.write(f"-- {new}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n")
    return {
        "target": name,
        "executions": int(counted[-1]) if counted else 0,
        "coverage": int(covered[-1]) if covered else 0,
        "seconds": round(time.monotonic() - begun, 1),
        "found": new,
        "status": done.returncode,
    }


def table(folder: Path) -> Iterator[str]:
    """All counts of a folder, a line a target."""
    turns = [json.loads(line) for line in (folder / "counts.jsonl").read_text().splitlines()]
    yield f"{'target':18} {'executions':>12} {'a second':>9} {'edges':>6} {'found':>6}"
    for name in dict.fromkeys(t["target"] for t in turns):
        mine = [t for t in turns if t["target"] == name]
        count, spent = sum(t["executions"] for t in mine), sum(t["seconds"] for t in mine)
        found = sum(len(t["found"]) for t in mine)
        yield f"{name:18} {count:12,} {count / spent:9,.0f} {max(t['coverage'] for t in mine):6} {found:6}"
    yield f"{'all':18} {sum(t['executions'] for t in turns):12,}"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=int, default=600, help="how long in all [600]")
    parser.add_argument("--each", type=int, default=30, help="how long a turn of one target is, in seconds [30]")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once [1]")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-out"), help="where everything is kept [fuzz-out]")
    chosen = parser.parse_args()
    unknown = set(chosen.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    folder = chosen.folder.resolve()
    names = chosen.targets or list(TARGETS)
    for name in names:
        prepare(folder, name)
    end = time.monotonic() + chosen.seconds
    turns, lock, statuses = cycle(names), Lock(), []

    def work() -> None:
        while True:
            with lock:
                name = next(turns)
            left = min(chosen.each, int(end - time.monotonic()))
            if left <= 0:
                return
            result = fuzz(folder, name, left)
            with lock:
                statuses.append(result["status"])
                with (folder / "counts.jsonl").open("a") as counts:
                    counts.write(json.dumps(result) + "\n")

    with ThreadPoolExecutor(chosen.jobs) as pool:
        for done in [pool.submit(work) for _ in range(chosen.jobs)]:
            done.result()
    print("\n".join(table(folder)))
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
