"""`xbrle whatif`: what other encodings and cache sizes would have cost."""

import io
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import XbrleError
from ..text import size, some
from . import warn
from .guide import Page
from .options import before, examples, json_object, ram_addresses, reading
from .output import report
from .saving import STDOUT, Output, writing
from .writer import say, say_object

if TYPE_CHECKING:
    from ..analysis.whatif import Cost, WhatIf
    from ..capture import Capture

IMAGE_SUFFIXES = (".png", ".svg")

#: The marks of the lines, which differ even without colours.
_MARKS = {"posted": "p", "v2": "v", "fixed": "f", "xbzrle": "x", "zlib": "z", "zstd": "s", "actual": "a"}


def _usage(output: str | None, plot: bool) -> None:
    """Refuse a wrong name, and what needs an extra that is not there, before the work."""
    for module, wanted in (("plotext", plot), ("matplotlib", output is not None)):
        if wanted and not _is_there(module):
            raise XbrleError(f"{module} is missing. For plots, use: pip install 'xbrletools[plot]'")
    if output not in (None, STDOUT) and Path(output).suffix.lower() not in IMAGE_SUFFIXES:
        raise XbrleError(f"{output}: plots are written as PNG or SVG. Use a name that ends in .png or .svg")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it was taken away
        return False


@click.command(
    cls=Page,
    epilog=examples("whatif samples/posted-8m.bin", "whatif samples/xbzrle-16m.bin --cache 1M --cache 64M --json"),
)
@before(_usage)
@writing(
    "--image",
    metavar="FILE",
    help="Write the plot to a PNG or SVG file, or with - as PNG to standard output (needs xbrletools[plot]).",
    required=False,
)
@reading
@click.option(
    "--cache",
    "caches",
    type=size,
    multiple=True,
    metavar="BYTES",
    help="Size of the sender's page cache. Repeatable (default: 1M, 2M, 4M ... 512M).",
)
@ram_addresses
@json_object
@click.option("--plot", is_flag=True, help="Plot bytes over cache sizes in the terminal (needs xbrletools[plot]).")
def command(
    opened: "Capture",
    caches: tuple[int, ...],
    bases: tuple[tuple[bytes, int], ...],
    as_json: bool,
    plot: bool,
    output: Output | None,
) -> int:
    """Compare the bytes that other senders would have sent for the pages of S.

    The senders: the posted patch, its second version (v2), the posted patch with dup pages cached as other pages are
    (fixed), XBZRLE as in QEMU since 2012, and pages compressed one by one with zlib or zstd. A dup page is one repeated
    byte. Senders with a page cache are tried with each cache size.
    """
    from ..analysis.whatif import CACHES, what_if

    found = what_if(opened.stream, caches or CACHES, dict(bases))
    aside = output is not None and output.is_stdout  # then the image alone goes to standard output
    if as_json:
        say_object(_object(found), err=aside)
    else:
        _table(found, aside)
    if plot:
        say(_plot(found), err=as_json or aside)
    if output is not None:
        _draw(found, output)
    if found.skipped:
        warn(f"{some(found.skipped, 'record is', 'records are')} left out: the page cannot be rebuilt")
    return report(opened.problems)


def _object(found: "WhatIf") -> dict[str, Any]:
    costs = [asdict(c) for c in found.costs]
    known = {"actual": asdict(found.actual), "plain": asdict(found.plain)}
    return known | {"costs": costs, "skipped": found.skipped, "ram_addr": found.layout}


def _table(found: "WhatIf", aside: bool) -> None:
    from rich.table import Table

    from .output import show

    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("sender", "cache", "bytes", "of actual", "pages", "deltas", "delta bytes", "dups", "unsent"):
        table.add_column(name, justify="left" if name == "sender" else "right", overflow="fold")
    for cost in (found.actual, *found.costs):
        share = f"{100 * cost.bytes / found.actual.bytes:.1f} %" if found.actual.bytes else "-"
        numbers = (cost.pages, cost.deltas, cost.delta_bytes, cost.dups, cost.unsent)
        table.add_row(cost.policy, _cache(cost), f"{cost.bytes}", share, *map(str, numbers))
    show(table, soft_wrap=True, err=aside)
    say(f"ram_addr: {found.layout}", err=aside)


def _cache(cost: "Cost") -> str:
    if cost.cache_bytes is None:
        return "-"
    return f"{cost.cache_bytes >> 20}M" if not cost.cache_bytes % (1 << 20) else str(cost.cache_bytes)


def _lines(found: "WhatIf") -> tuple[list[int], dict[str, list[float]]]:
    """The cache sizes in bytes, and each sender's MiB at each size.

    It is the same at all for a sender without a cache.
    """
    caches = sorted({c.cache_bytes for c in found.costs if c.cache_bytes is not None})
    lines: dict[str, list[float]] = {}
    for cost in (*found.costs, found.actual):
        values = lines.setdefault(cost.policy, [])
        values += [cost.bytes / (1 << 20)] * (1 if cost.cache_bytes is not None else len(caches))
    return caches, lines


def _plot(found: "WhatIf") -> str:
    try:
        import plotext
    except ImportError:
        raise XbrleError("plotext is missing. To plot in the terminal, use: pip install 'xbrletools[plot]'") from None
    caches, lines = _lines(found)
    places = list(range(len(caches)))
    plotext.clear_figure()
    for name, values in lines.items():
        plotext.plot(places, values, label=name, marker=_MARKS[name])
    plotext.xticks(places, [f"{c >> 20}M" if c >= 1 << 20 else f"{c >> 10}K" for c in caches])
    plotext.xlabel("page cache")
    plotext.ylabel("MiB sent")
    plotext.plotsize(100, 30)
    plotext.theme("clear")
    return str(plotext.build()).replace("\x1b[0m", "")


def _draw(found: "WhatIf", output: Output) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise XbrleError("matplotlib is missing. To write a plot, use: pip install 'xbrletools[plot]'") from None
    caches, lines = _lines(found)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, values in lines.items():
        axes.plot([c / (1 << 20) for c in caches], values, label=name, marker="." if len(caches) > 1 else "o")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("page cache, MiB")
    axes.set_ylabel("sent, MiB")
    axes.set_ylim(bottom=0)
    axes.legend()
    drawn = io.BytesIO()
    form = ".png" if output.is_stdout else Path(output.path).suffix
    figure.savefig(drawn, format=form.removeprefix(".").lower())
    output.save([drawn.getvalue()], mode=None)
