"""`xbrle vectors`: write test cases with known answers, and check implementations against them."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import click

from ..errors import XbrleError
from ..text import label, some
from . import EXIT_FINDINGS, EXIT_UNREADABLE, warn
from .guide import Page
from .options import examples, refuse
from .writer import say

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
def write(folder: Path, seed: int, force: bool) -> int:
    """Write the vectors into DIR, with their JSON Schema and a README. The same seed gives the same bytes."""
    from ..vectors.write import write as write_set

    counts = write_set(folder, seed, force)
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
@click.option("--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="Time limit for one answer.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Failing cases to show of each operation; 0 for all.",
)
@click.option("--original", is_flag=True, help="Fail, too, where right answers are not those of the original programs.")
def check(folder: Path, program: str | None, timeout: float, limit: int, original: bool) -> int:
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
        for result in checked(cases, ask):
            op = result.case.op
            if result.unlike is not None and not result.wrong:
                alike[not result.unlike] += 1
                if result.unlike and (not limit or alike[False] <= limit):
                    say(f"UNLIKE {result.case.id} ({op}): {label(result.case.note)}")
                    for line in result.unlike:
                        say(f"     {label(line)}")
            if result.wrong is None:
                unanswered[op] += 1
            elif not result.wrong:
                passed[op] += 1
            else:
                failed[op] += 1
                if not limit or failed[op] <= limit:
                    say(f"FAIL {result.case.id} ({op}): {label(result.case.note)}")
                    for line in result.wrong:
                        say(f"     {label(line)}")
    for op in dict.fromkeys(case.op for case in cases):
        if failed[op] > limit > 0:
            say(f"{op}: {failed[op] - limit} more cases fail; --limit 0 shows them")
        if unanswered[op]:
            warn(f"{op}: not supported; {some(unanswered[op], 'case is', 'cases are')} left out")
    say(f"{passed.total()} passed, {failed.total()} failed, {unanswered.total()} not supported")
    if alike.total():
        others = f"; {alike[False]} are right, and others" if alike[False] else ""
        say(f"as the originals (bytes and reasons of QEMU and the patch): {alike[True]} of {alike.total()}{others}")
    if not passed and not failed:
        warn("the program does not answer any operation")
        return EXIT_UNREADABLE
    return EXIT_FINDINGS if failed or (original and alike[False]) else 0
