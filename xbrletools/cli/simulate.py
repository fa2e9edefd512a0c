"""`xbrle simulate`: total time and downtime of a migration over a link, with and without deltas."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from ..text import size
from . import warn

if TYPE_CHECKING:
    from ..analysis.link import Outcome

GIGABIT = 117_000_000
CACHE = 0x8000000


@click.command()
@click.argument("workload", metavar="[WORKLOAD]", required=False)
@click.option("--capture", metavar="S", help="Send the pages of this capture, as they were recorded, instead.")
@click.option("--bandwidth", type=click.FloatRange(1), metavar="BYTES", help="Bytes a second.")
@click.option("--latency", type=click.FloatRange(0), metavar="SECONDS", help="One way.")
@click.option("--downtime", type=click.FloatRange(0), metavar="SECONDS", help="The sender's downtime limit.")
@click.option("--cache", type=size, metavar="BYTES", help="The sender's page cache.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="The same seed gives the same outcome.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    workload: str | None,
    capture: str | None,
    bandwidth: float | None,
    latency: float | None,
    downtime: float | None,
    cache: int | None,
    seed: int,
    as_json: bool,
) -> int:
    """Migrate a guest over a link: total time, passes, suspension, ping downtime and bytes, with and without deltas.

    WORKLOAD is a file that describes guest, sender and link; options override it. With --capture the guest's writes
    are those recorded, at the stages recorded: only times and bytes are simulated, by default over Gigabit Ethernet.
    """
    from dataclasses import replace

    from ..analysis.link import Link, read_workload, simulate
    from ..analysis.link import replay as replay_history
    from ..capture import open_capture

    if (workload is None) == (capture is None):
        raise click.UsageError("give a workload or --capture")
    published: dict[str, dict[str, float]] = {}
    if workload is not None:
        guest = read_workload(workload)
        link = Link(bandwidth or guest.link.bandwidth, guest.link.latency if latency is None else latency)
        limit = guest.downtime_limit if downtime is None else downtime
        guest = replace(guest, link=link, downtime_limit=limit, cache=guest.cache if cache is None else cache)
        found = {name: simulate(guest, name == "with", seed) for name in ("without", "with")}
        published = {key: dict(value) for key, value in guest.published.items()}
    else:
        if downtime is not None:
            raise click.UsageError("--downtime is for a workload: a capture has its own end")
        link = Link(bandwidth or GIGABIT, latency or 0.0)
        with open_capture(capture or "-") as source:
            if source.damage is not None:
                raise XbrleError(f"{source.name}: {source.damage.message}", source.damage.offset)
            size_ = CACHE if cache is None else cache
            found = {name: replay_history(source.stream, link, name == "with", size_) for name in ("without", "with")}
    if as_json:
        click.echo(json.dumps({name: asdict(outcome) for name, outcome in found.items()} | {"published": published}))
    else:
        _table(found, published)
    for name, outcome in found.items():
        if not outcome.converged:
            warn(f"{name} deltas it does not converge: the sender gives up after the time that the workload says")
    return 0


def _table(found: "dict[str, Outcome]", published: dict[str, dict[str, float]]) -> None:
    from rich.table import Table

    from .output import show

    table = Table(box=None)
    table.add_column("")
    for name in found:
        table.add_column(f"{name} deltas", justify="right", no_wrap=True)
        if name in published:
            table.add_column("published", justify="right", no_wrap=True)
    rows = {name: asdict(outcome) for name, outcome in found.items()}
    for key, (label, unit) in _ROWS.items():
        cells = []
        for name in found:
            cells.append(_cell(rows[name][key], unit))
            if name in published:
                cells.append(_cell(published[name][key], unit) if key in published[name] else "-")
        table.add_row(label, *cells)
    show(table)


_ROWS = {
    "total": ("total time", "s"),
    "suspension": ("suspension", "s"),
    "ping_downtime": ("ping downtime", "s"),
    "passes": ("passes", ""),
    "bytes": ("bytes", ""),
    "pages": ("full pages", ""),
    "deltas": ("deltas", ""),
    "dups": ("dup pages", ""),
}


def _cell(value: float, unit: str) -> str:
    return f"{value:.3f} {unit}" if unit else f"{value}"
