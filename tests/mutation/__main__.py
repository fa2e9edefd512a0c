"""Runs the mutation tester and shows, by package, how many mutants the tests killed, and which lived.

    python -m tests.mutation --sample 30 --seed 1 memory verify     # 30 mutants of each package
    python -m tests.mutation codec                                  # all of one package: hours

mutmut does the work. pyproject.toml says what it mutates and which tests it runs. mutmut cannot draw a sample, and it
lists results without a table or line numbers. This adds them. The loops in C are off, since they hide mutants of what
NumPy does. So mutants of lines that call these loops live. So do mutants of what runs while a module is imported, such
as the tables of codec/xbzrle.py: mutmut imports everything before it breaks anything. What mutmut makes and remembers
is in ``mutants/``. Remove that folder to begin anew.
"""

import argparse
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.conftest import CORPUS

PACKAGES = ("codec", "ram", "memory", "verify")
KILLED = frozenset(("killed", "timeout", "segfault", "caught by type check"))
NO_MUTANT = "none"  # asked for this one, mutmut writes all mutants and finds out which test runs which function

_NAME = re.compile(r"xbrletools\.(?P<package>\w+)\.(?P<module>[\w.]+)\.(?P<function>[^.]+)__mutmut_\d+")
_METHOD = "\u01c1"  # what mutmut puts before a class and before its method


def mutmut(*words: str, shown: bool = False) -> str:
    """Run mutmut, without the loops in C. Returns what it printed, or shows it on stderr."""
    command = [sys.executable, "-m", "mutmut", *words]
    environment = os.environ | {"XBRLE_NATIVE": "0", "XBRLE_CORPUS": str(CORPUS)}
    output = sys.stderr if shown else subprocess.PIPE
    done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout or ""


def statuses() -> dict[str, str]:
    """The status of every mutant, by its name."""
    lines = (line.strip().rpartition(": ") for line in mutmut("results", "--all", "true").splitlines())
    return {name: status for name, colon, status in lines if colon and _NAME.fullmatch(name)}


def package_of(name: str) -> str:
    """The package that a mutant is of."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return match["package"]


def sampled(names: Iterable[str], packages: Iterable[str], count: int | None, seed: int) -> Iterator[str]:
    """So many mutants of each package, the same ones for the same seed. All of them where ``count`` is None."""
    names = sorted(names)
    for package in packages:
        of_package = [name for name in names if package_of(name) == package]
        few = count is not None and count < len(of_package)
        yield from random.Random(f"{seed} {package}").sample(of_package, count) if few else of_package


def place(name: str) -> tuple[str, list[str]]:
    """Where a mutant changes the source, FILE:LINE, and the lines before and after the change."""
    match = _NAME.fullmatch(name)
    assert match is not None
    path = Path("xbrletools", match["package"], *match["module"].split(".")).with_suffix(".py")
    changed = [line for line in mutmut("show", name).splitlines() if re.match(r"[-+](?![-+])", line)]
    source = path.read_text(encoding="utf-8").splitlines()
    function = match["function"].split(_METHOD)[-1].removeprefix("x_")
    start = next((i for i, line in enumerate(source) if re.match(rf"\s*(async )?def {function}\(", line)), 0)
    old = changed[0][1:].strip() if changed else ""
    line = next((i for i in range(start, len(source)) if source[i].strip() == old), start)
    return f"{path}:{line + 1}", [line[0] + " " + line[1:].strip() for line in changed]


def main() -> None:
    """Test the mutants that the command line chooses, then show what became of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Runs the mutation tester.")
    parser.add_argument("packages", nargs="*", default=PACKAGES, help=f"default: {' '.join(PACKAGES)}")
    parser.add_argument("--sample", type=int, metavar="N", help="mutants of each package (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="draws another sample (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at a time (default: one a core)")
    options = parser.parse_args()
    mutmut("run", NO_MUTANT, shown=True)
    names = list(sampled(statuses(), options.packages, options.sample, options.seed))
    if not names:
        sys.exit("mutmut made no mutants; what it printed above says why")
    mutmut("run", "--max-children", str(options.jobs), *names, shown=True)
    found = statuses()
    for package in options.packages:
        counts = Counter(found[name] in KILLED for name in names if package_of(name) == package)
        total = counts.total()
        if total:
            print(f"{package:8} {counts[True]:5} of {total:5} killed, {counts[True] / total:4.0%}")
    for name in names:
        if found[name] not in KILLED:
            where, changed = place(name)
            print(f"\n{where}  {found[name]}  {name}", *changed, sep="\n    ")


if __name__ == "__main__":
    main()
