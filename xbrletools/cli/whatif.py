"""xbrle whatif: what other encodings and cache sizes would have cost."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import XbrleError
from ..text import size
from . import EXIT_FINDINGS, reading, warn
from .saving import bases

if TYPE_CHECKING:
    from ..analysis.whatif import Cost, WhatIf

IMAGE_SUFFIXES = (".png", ".svg")

#: Lines are told apart without colours.
_MARKS = {"posted": "p", "v2": "v", "fixed": "f", "xbzrle": "x", "zlib": "z", "zstd": "s", "actual": "a"}


@click.command()
@reading
@click.option(
    "--cache", "caches", type=size, multiple=True, metavar="BYTES", help="A cache size; repeat it [1M to 512M]."
)
@bases
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--plot", is_flag=True, help="Plot bytes over cache sizes in the terminal (extra: plot).")
@click.option("--image", metavar="FILE", help="Write that plot as PNG or SVG (extra: plot).")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    caches: tuple[int, ...],
    bases: tuple[tuple[bytes, int], ...],
    as_json: bool,
    plot: bool,
    image: str | None,
) -> int:
    """Compare, for the pages of capture S in their order, the bytes that other senders would have sent: the posted
    patch, its v2, the posted patch with dup pages cached (fixed), XBZRLE, and pages compressed one by one with zlib and
    zstd. The cache's size is swept where there is a cache.
    """
    from ..analysis.whatif import CACHES, what_if
    from ..capture import open_capture

    if image is not None and Path(image).suffix.lower() not in IMAGE_SUFFIXES:
        raise XbrleError(f"{image}: a plot is written as .png or .svg")
    with open_capture(capture, dialect, endian, page_size) as source:
        found = what_if(source.stream, caches or CACHES, dict(bases))
        if as_json:
            click.echo(json.dumps(_object(found)))
        else:
            _table(found)
        if plot:
            click.echo(_plot(found), err=as_json)
        if image is not None:
            _draw(found, image)
        if found.skipped:
            warn(f"{found.skipped} records give pages that cannot be told; they are left out")
        if source.damage is not None:
            warn(f"{source.name}: {source.damage.message}")
            return EXIT_FINDINGS
    return 0


def _object(found: "WhatIf") -> dict[str, Any]:
    costs = [asdict(c) for c in found.costs]
    return {"actual": asdict(found.actual), "costs": costs, "skipped": found.skipped, "ram_addr": found.layout}


def _table(found: "WhatIf") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("sender", "cache", "bytes", "of actual", "pages", "deltas", "delta bytes", "dups", "unsent"):
        table.add_column(name, justify="left" if name == "sender" else "right", no_wrap=True)
    for cost in (found.actual, *found.costs):
        share = f"{100 * cost.bytes / found.actual.bytes:.1f} %" if found.actual.bytes else "-"
        numbers = (cost.pages, cost.deltas, cost.delta_bytes, cost.dups, cost.unsent)
        table.add_row(cost.policy, _cache(cost), f"{cost.bytes}", share, *map(str, numbers))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"ram_addr: {found.layout}")


def _cache(cost: "Cost") -> str:
    if cost.cache_bytes is None:
        return "-"
    return f"{cost.cache_bytes >> 20}M" if not cost.cache_bytes % (1 << 20) else str(cost.cache_bytes)


def _lines(found: "WhatIf") -> tuple[list[int], dict[str, list[float]]]:
    """The cache sizes in bytes, and each sender's MiB over them; those without a cache are level."""
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
        raise XbrleError("a plot in the terminal needs plotext: pip install 'xbrletools[plot]'") from None
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
    return str(plotext.build())


def _draw(found: "WhatIf", path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise XbrleError("a plot as an image needs matplotlib: pip install 'xbrletools[plot]'") from None
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
    figure.savefig(path)
