"""The command line of `python -m benchmarks`."""

import argparse
import compileall
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import xbrletools
from xbrletools.codec import native

from . import table
from .baseline import Baseline, compiler
from .paths import CASES, Case, Made
from .table import Row
from .threads import sharing
from .timing import Clock, copy_seconds, copying, interleaved


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks. Returns 0, or 1 where a path's result is not the baseline's, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time every path beside the original program's algorithm in C, in turns, and check that both give "
        "the same. Exit status 1 where they do not; times never change it.",
    )
    parser.add_argument("paths", nargs="*", help="only these: a name, or how it begins (decode, scan, whole-shuffled)")
    parser.add_argument("--list", action="store_true", help="print the names of the paths and end")
    parser.add_argument("--quick", action="store_true", help="small streams: seconds, and figures of little worth")
    parser.add_argument("--cpu", action="store_true", help="processor time, not wall time: for a busy machine")
    parser.add_argument("--rounds", type=int, help="how often each is run, by default 5 to 15 times")
    parser.add_argument("--json", action="store_true", help="print JSON, which --against reads")
    parser.add_argument("--against", type=Path, metavar="SAVED", help="compare with the JSON of an earlier run")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into docs/performance.md too")
    asked = parser.parse_args(words)
    cases = [c for c in CASES if not asked.paths or any(_begins(c.name, p) for p in asked.paths)]
    unknown = [p for p in asked.paths if not any(_begins(c.name, p) for c in CASES)]
    if unknown:
        parser.error(f"no path is called {unknown[0]}; --list names them")
    if asked.list:
        print("\n".join(case.name for case in cases))
        return 0
    compileall.compile_dir(str(Path(xbrletools.__file__).parent), quiet=2)  # or the first process of each path would
    before = table.saved(asked.against) if asked.against else None
    clock = _processor_time if asked.cpu else perf_counter
    cc = compiler()
    if cc is None:
        print(
            "no C compiler here (cc, or what CC names): there is no baseline, and nothing is checked", file=sys.stderr
        )
    with tempfile.TemporaryDirectory(prefix="xbrle-benchmarks-") as name:
        folder = Path(name)
        made = Made(folder, Baseline(cc, folder) if cc else None, asked.quick)
        rows: list[Row] = []
        for case in cases:
            if sys.stderr.isatty():
                print(f"\r\x1b[K{len(rows) + 1}/{len(cases)} {case.name}", end="", file=sys.stderr, flush=True)
            rows.append(_measured(case, made, asked.rounds, clock))
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    about = table.conditions(asked.quick, "processor time" if asked.cpu else "wall time", _version(cc))
    print(table.to_json(rows, about) if asked.json else table.plain(rows, before))
    if asked.write:
        table.write_into(asked.write, rows, about)
    wrong = [row.path for row in rows if row.right is False]
    if wrong:
        print(f"wrong results: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _begins(name: str, word: str) -> bool:
    return name == word or name.startswith(word + "-")


def _measured(case: Case, made: Made, rounds: int | None, clock: Clock) -> Row:
    trial = case.prepare(made)
    theirs = trial.theirs if made.baseline is not None or case.baseline != "C" else None
    by_loops = native.loops is not None and case.baseline == "C"
    alone = [_in_numpy(case.prepare(made).ours)] if theirs and by_loops else []
    one, two = _Shared(1, trial.ours), _Shared(2, trial.ours)
    functions = [one.run if case.baseline == "C" else trial.ours, copying(), *([theirs] if theirs else []), *alone]
    functions += [two.run] if by_loops else []
    least = rounds or (3 if made.quick else trial.rounds)
    timed = interleaved(functions, least, (lambda: clock() - two.beside) if clock is _processor_time else clock)
    took, in_two = timed.seconds[0], timed.seconds[-1] if by_loops else None
    compared = [0, *((3,) if alone else ()), *((-1,) if by_loops else ())]
    return Row(
        path=case.name,
        unit=case.unit,
        count=trial.count,
        ns=took * 1e9 / trial.count,
        to_baseline=took / timed.seconds[2] if theirs else None,
        numpy_to_baseline=timed.seconds[3] / timed.seconds[2] if alone else None,
        two_ns=in_two * 1e9 / trial.count if in_two else None,
        two_to_baseline=in_two / timed.seconds[2] if in_two and theirs else None,
        two_used=two.used if by_loops else None,
        to_memcpy=took / copy_seconds(trial.size, timed.seconds[1]) if trial.size else None,
        goal=case.goal,
        goal_two=case.goal_two,
        absolute=case.absolute,
        baseline=case.baseline,
        right=all(trial.same(timed.results[i], timed.results[2]) for i in compared) if theirs else None,
    )


class _Shared:
    """Work in so many threads. ``used`` and ``beside`` are those of `threads.Shared`, over all runs."""

    def __init__(self, threads: int, work: Callable[[], object]) -> None:
        self._threads, self._work = threads, work
        self.used, self.beside = 1, 0.0

    def run(self) -> object:
        """Do the work."""
        with sharing(self._threads) as shared:
            result = self._work()
        self.used, self.beside = max(self.used, shared.used), self.beside + shared.beside
        return result


def _in_numpy(work: Callable[[], object]) -> Callable[[], object]:
    """Time the same work without this project's own loops in C."""

    def run() -> object:
        kept, native.loops = native.loops, None
        try:
            return work()
        finally:
            native.loops = kept

    return run


def _processor_time() -> float:
    """Seconds that this process and its children have computed."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def _version(cc: str | None) -> str | None:
    """What the compiler calls itself."""
    if cc is None:
        return None
    return subprocess.run([cc, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
