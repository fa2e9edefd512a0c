"""What the commands share for talking to people: tables, progress, and problems of a capture."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..progress import tell
from ..text import amount
from . import EXIT_FINDINGS, grids, warn
from .grids import Grid
from .writer import is_coloured, is_terminal, say, width_of_errors, write

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..model import Problem

WIDTH = 80  # columns of what a person reads on standard output
_TAIL = 24  # characters at the end of a name that is cut: those that tell ranges apart
_NAME_LEAST = 12  # characters of a name that is cut, at least
_ANY_WIDTH = 1 << 16  # columns of a table that nothing wraps
PROBLEMS_MAX = 20  # lines on standard error; `verify` gives them all
#: Rules after which the scan went on, though a part is missing, or what it is or where it ends is only likely.
_MISSING = ("skipped", "unfinished-bitmap", "bad-footer", "block-list", "unknown-owner", "file-version")


def show(*tables: "RenderableType | Grid", soft_wrap: bool = False, err: bool = False) -> None:
    """Print tables with an empty line between them. Markup is not interpreted. A pipe gets no padding.

    With ``soft_wrap`` lines are as long as they are, and the terminal wraps them. ``err``: to standard error. Where
    that is not a terminal, tables are as wide as they need.
    """
    if not err and not is_terminal() and not is_coloured():
        plain = [table.plain(grids.width()) if isinstance(table, Grid) else None for table in tables]
        if None not in plain:
            write("\n".join("".join(line.rstrip() + "\n" for line in lines or ()) for lines in plain))
            return
    from rich.console import Console

    drawn = io.StringIO()
    console = Console(
        file=drawn,
        force_terminal=is_terminal() and not err,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=soft_wrap,
        width=(width_of_errors() or _ANY_WIDTH) if err else None,
        color_system="auto" if is_coloured() and not err else None,
    )
    for i, table in enumerate(tables):
        if i:
            console.print()
        console.print(table.rich() if isinstance(table, Grid) else table)
    text = drawn.getvalue()
    if err or not is_terminal():
        text = "".join(line.rstrip() + "\n" for line in text.removesuffix("\n").split("\n"))
    if err:
        say(text.removesuffix("\n"), err=True)
    else:
        write(text)


def aligned(rows: list[list[str]], left: int = 1) -> str:
    """Columns of equal width. The first ``left`` of them are aligned to the left, the others to the right.

    The first is cut where they are wider than `WIDTH` together.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = max(_NAME_LEAST, WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    if widths[0] > room:
        return aligned([[cut(row[0], room), *row[1:]] for row in rows], left)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def fitted(rows: list[list[str]], last_least: int) -> str:
    """Columns of equal width, in at most `WIDTH`: the first to the left, the others to the right, the last as it is.

    The first and the last are cut where they do not fit, the last to ``last_least`` characters at least.
    """
    last = len(rows[0]) - 1
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    middle = sum(widths[1:last]) + 2 * last
    widths[last] = min(widths[last], max(last_least, WIDTH - middle - widths[0]))
    widths[0] = min(widths[0], WIDTH - middle - widths[last])
    return "\n".join(
        "  ".join(
            cut(cell, widths[i]).ljust(widths[i]) if i in (0, last) else cell.rjust(widths[i])
            for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def cut(text: str, room: int) -> str:
    """``text`` in at most ``room`` characters. What is left out stands before its end, which tells it from others."""
    if len(text) <= room:
        return text
    end = min(_TAIL, room // 2)
    return text[: room - end - 3] + "..." + text[len(text) - end :]


def report(problems: "Sequence[Problem]") -> int:
    """Print a scan's problems to standard error.

    Returns the exit status: 1 if a part of the capture was not read.
    """
    for problem in problems[:PROBLEMS_MAX]:
        warn(f"{problem.rule} at offset {problem.offset:#x}: {problem.message}")
    if len(problems) > PROBLEMS_MAX:
        warn(f"{len(problems) - PROBLEMS_MAX} more problems; to list them all, use: xbrle verify S")
    if any(p.fatal and p.rule != "truncated" for p in problems):
        warn("what comes after the damage was not read; to see what still stands, use: xbrle salvage S")
    return EXIT_FINDINGS if any(map(is_loss, problems)) else 0


def is_loss(problem: "Problem") -> bool:
    """Whether a part of the capture was not read because of this, or what it is or where it ends is only likely."""
    return problem.fatal or problem.lost or problem.rule in _MISSING


def recovery(recovered: int, length: int, held: int, only_held: bool) -> str:
    """How many of ``length`` bytes were recovered after damage, and of how many a byte sum holds.

    ``only_held``: the others do not count as recovered.
    """
    if only_held:
        return f"of {held:,} of {amount(length)} the page's byte sum holds; the others are left out"
    sums = f"of {held:,} the page's byte sum holds" if held else "no byte sum holds for any"
    return f"{recovered:,} of {amount(length)} recovered: {sums}, {recovered - held:,} unprotected"


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that says how many bytes more are done of work that takes ``total``."""
    done = 0

    def on(count: int) -> None:
        nonlocal done
        done += count
        tell(what, done, total)

    yield on
