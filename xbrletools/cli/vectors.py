"""`xbrle vectors`: write test cases with known answers, and check implementations against them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from ..progress import overall
from ..text import label, some
from . import EXIT_FINDINGS, EXIT_UNREADABLE, warn
from .guide import Page
from .options import Finite, examples, json_lines, json_object, refuse
from .writer import say, say_object

if TYPE_CHECKING:
    from ..vectors.cases import Case

TIMEOUT = 60.0  # seconds


@click.group()
def command() -> None:
    """Write test cases with known answers, or check an implementation against them.

    A case is called a vector: an input and the right answer. README.md in the written folder describes the files, and
    how a program gets its questions.
    """


@command.command(
    cls=Page,
    epilog=examples("vectors write /tmp/vectors", "vectors write /tmp/vectors --seed 3 --force"),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed for the pages.")
@click.option("--force", is_flag=True, help="Replace files that are in DIR already.")
@json_object
def write(folder: Path, seed: int, force: bool, as_json: bool) -> int:
    """Write the vectors into DIR, with their JSON Schema and a README. The same seed gives the same bytes."""
    from ..vectors.write import write as write_set

    counts = write_set(folder, seed, force)
    if as_json:
        say_object({"type": "written", "folder": label(str(folder)), "cases": dict(counts)})
        return 0
    for name, count in counts.items():
        say(f"{count:6} {name}")
    say(f"{sum(counts.values()):6} cases in {label(str(folder))}")
    return 0


@command.command(
    cls=Page, epilog=examples("vectors check /tmp/vectors", "vectors check /tmp/vectors --limit 3 --original")
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--command",
    "program",
    metavar="'PROG {op}'",
    help="Check this program, over its standard input and output (default: xbrletools). One starts for each operation.",
)
@click.option(
    "--timeout",
    type=Finite(0, min_open=True),
    default=TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for one answer.",
)
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Failing cases to show of each operation; 0 for all.",
)
@click.option("--original", is_flag=True, help="Fail, too, where right answers are not those of the original programs.")
@json_lines
def check(folder: Path, program: str | None, timeout: float, limit: int, original: bool, as_json: bool) -> int:
    """Check xbrletools, or another program, against the vectors in DIR.

    A delta can have several right encodings. One passes if it makes the new page of the old one and keeps to the limit.
    Whether its bytes are those that QEMU and the posted patch write is a group of its own, "as the originals", like the
    reasons for which a receiver refuses a delta.

    Exit status: 0 every answered case passes, 1 a case fails, 2 the vectors cannot be read, or the program cannot be
    run or does not answer any operation.
    """
    if program is None:
        refuse("needs --command", "timeout")
    from ..vectors.cases import read
    from ..vectors.check import Programs, own
    from ..vectors.check import check as checked

    cases = list(read(folder))
    if not cases:
        raise XbrleError(f"{folder}: does not contain test cases. To write them, use: xbrle vectors write {folder}")
    passed, failed, unanswered = Counter[str](), Counter[str](), Counter[str]()
    alike = Counter[bool]()
    with ExitStack() as stack:
        ask = own if program is None else stack.enter_context(Programs(program, timeout)).ask
        for result in checked(overall("asking", cases, len(cases), "cases"), ask):
            op = result.case.op
            if result.unlike is not None and not result.wrong:
                alike[not result.unlike] += 1
                if result.unlike and (not limit or alike[False] <= limit):
                    _say_case("unlike", result.case, result.unlike, as_json)
            if result.wrong is None:
                unanswered[op] += 1
            elif not result.wrong:
                passed[op] += 1
            else:
                failed[op] += 1
                if not limit or failed[op] <= limit:
                    _say_case("fail", result.case, result.wrong, as_json)
    tell = warn if as_json else say
    for op in dict.fromkeys(case.op for case in cases):
        if failed[op] > limit > 0:
            tell(f"{op}: {failed[op] - limit} more cases fail; --limit 0 shows them")
        if unanswered[op]:
            warn(f"{op}: not supported; {some(unanswered[op], 'case is', 'cases are')} left out")
    if as_json:
        counts = {"passed": passed.total(), "failed": failed.total(), "not_supported": unanswered.total()}
        alike_counts = {"as_the_originals": alike[True], "right_but_others": alike[False]}
        say_object({"type": "result", **counts, **alike_counts})
    else:
        _print_counts(passed.total(), failed.total(), unanswered.total(), alike)
    if not passed and not failed:
        warn("the program does not answer any operation")
        return EXIT_UNREADABLE
    return EXIT_FINDINGS if failed or (original and alike[False]) else 0


def _say_case(word: str, case: "Case", lines: "Sequence[str]", as_json: bool) -> None:
    """Print a case that fails, or is right with other bytes than the originals' (``word``), and why."""
    if as_json:
        about = {"id": case.id, "op": case.op, "note": label(case.note)}
        say_object({"type": word, **about, "reasons": [label(line) for line in lines]})
        return
    say(f"{word.upper()} {case.id} ({case.op}): {label(case.note)}")
    for line in lines:
        say(f"     {label(line)}")


def _print_counts(passed: int, failed: int, unanswered: int, alike: Mapping[bool, int]) -> None:
    say(f"{passed} passed, {failed} failed, {unanswered} not supported")
    if sum(alike.values()):
        others = f"; {alike[False]} are right, and others" if alike[False] else ""
        of = f"{alike[True]} of {sum(alike.values())}"
        say(f"as the originals (bytes and reasons of QEMU and the patch): {of}{others}")
