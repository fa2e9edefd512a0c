"""`xbrle simulate`: total time and downtime of a migration over a link, with and without deltas."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NamedTuple

import click

from ..errors import XbrleError
from ..text import size
from . import warn
from .guide import Page
from .options import Finite, Rate, choosing_stream, examples, json_object, naming, refuse, say_beside
from .writer import say_object

if TYPE_CHECKING:
    from ..analysis.link import Link, Transfer
    from ..capture import Capture

GIGABIT = 117_000_000  # bytes a second
CACHE = 0x8000000  # bytes


@click.command(
    cls=Page,
    epilog=examples(
        "simulate samples/sap-central-instance.json",
        "simulate --capture samples/posted-8m.bin --bandwidth 1e6 --latency .1",
        "simulate --capture samples/posted-8m.bin --channels 4 --per-channel 1M",
    ),
)
@click.argument("workload", metavar="[WORKLOAD]", required=False)
@click.option("--capture", metavar="S", help="Send the pages of this capture, instead of a workload's.")
@click.option(
    "--channel",
    multiple=True,
    metavar="FILE",
    help="With --capture: another channel of its migration (default: S.1, S.2 ... if S needs them).",
)
@click.option("--no-beside", is_flag=True, help="Do not read channels that lie beside the capture.")
@choosing_stream("the capture, a packet dump")
@click.option(
    "--bandwidth",
    type=Rate(1),
    metavar="RATE",
    help="The link: 10G (bits/s), 117MB or 117000000 (bytes/s) (default: the workload's, or 117MB, Gigabit Ethernet).",
)
@click.option("--channels", type=click.IntRange(1, 255), default=1, metavar="N", help="Send over N multifd channels.")
@click.option("--per-channel", type=Rate(1), metavar="RATE", help="The most that one channel carries (default: all).")
@click.option("--latency", type=Finite(0), metavar="SECONDS", help="One-way delay (default: the workload's, or 0).")
@click.option(
    "--downtime",
    type=Finite(0),
    metavar="SECONDS",
    help="Stop the guest once what is left can be sent in this time (default: the workload's).",
)
@click.option("--cache", type=size, metavar="BYTES", help="The sender's page cache (default: the workload's, or 128M).")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed for the guest's writes."
)
@json_object
def command(
    workload: str | None,
    capture: str | None,
    channel: tuple[str, ...],
    no_beside: bool,
    stream: int | None,
    bandwidth: float | None,
    channels: int,
    per_channel: float | None,
    latency: float | None,
    downtime: float | None,
    cache: int | None,
    seed: int,
    as_json: bool,
) -> int:
    """Simulate a migration over a link, with and without deltas: time, passes, downtime and bytes.

    WORKLOAD is a JSON file that describes guest, sender and link. docs/workloads.md explains its keys. Options
    override it. With --capture the pages and their order are those of S, and only the link is simulated.
    """
    if (workload is None) == (capture is None):
        raise click.UsageError("give either WORKLOAD or --capture S")
    if capture is None:
        refuse("needs --capture", "channel", "no_beside", "stream")
    else:
        refuse("needs WORKLOAD: the writes of a capture are fixed", "seed")
    published: dict[str, dict[str, float]] = {}
    shared = _Shared(channels, per_channel)
    if workload is not None:
        found, published = _of_workload(workload, bandwidth, latency, shared, downtime, cache, seed)
    elif downtime is not None:
        raise click.UsageError("--downtime needs WORKLOAD: the end of a capture is fixed")
    else:
        from ..analysis.link import Link
        from ..capture import open_capture

        link = Link(bandwidth or GIGABIT, latency or 0.0, channels, per_channel)
        with naming(capture or "-"):
            beside = None if no_beside else say_beside
            opened = open_capture(capture or "-", channels=channel, beside=beside, stream=stream)
            found = _of_capture(opened, link, CACHE if cache is None else cache)
    if as_json:
        say_object({name: asdict(outcome) for name, outcome in found.items()} | {"published": published})
    else:
        _table(found, published)
    for name, outcome in found.items():
        if not outcome.converged:
            warn(f"{name} deltas the migration does not converge: the sender gives up after the workload's time limit")
    return 0


class _Shared(NamedTuple):
    """How channels share the link: see `analysis.link.Link`."""

    channels: int
    per_channel: float | None


def _of_workload(
    path: str,
    bandwidth: float | None,
    latency: float | None,
    shared: _Shared,
    downtime: float | None,
    cache: int | None,
    seed: int,
) -> "tuple[dict[str, Transfer], dict[str, dict[str, float]]]":
    """The outcomes without and with deltas for a workload, and the published ones."""
    from ..analysis.link import Link, read_workload, simulate

    guest = read_workload(path)
    link = Link(bandwidth or guest.link.bandwidth, guest.link.latency if latency is None else latency, *shared)
    limit = guest.downtime_limit if downtime is None else downtime
    guest = replace(guest, link=link, downtime_limit=limit, cache=guest.cache if cache is None else cache)
    found = {name: simulate(guest, name == "with", seed) for name in ("without", "with")}
    return found, {key: dict(value) for key, value in guest.published.items()}


def _of_capture(opened: "Capture", link: "Link", cache: int) -> "dict[str, Transfer]":
    """The outcomes without and with deltas for the pages of a capture."""
    from ..analysis.link import replay

    with opened as source:
        lost = source.damage or next((p for p in source.problems if p.lost), None)
        if lost is not None:
            raise XbrleError(f"{source.name}: {lost.message}", lost.offset)
        return {name: replay(source.stream, link, name == "with", cache) for name in ("without", "with")}


def _table(found: "dict[str, Transfer]", published: dict[str, dict[str, float]]) -> None:
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
