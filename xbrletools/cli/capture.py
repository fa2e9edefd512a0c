"""`xbrle capture`: record a migration, as its destination or as a proxy between its two ends."""

import signal
import sys
import time
from pathlib import Path

import click

from . import EXIT_FINDINGS, warn
from .options import examples

MIB = 1 << 20


@click.command(
    epilog=examples("capture tcp:127.0.0.1:4444 -o S", "capture tcp::4444 --forward tcp:192.0.2.7:4444 -o S")
)
@click.argument("where", metavar="tcp:HOST:PORT|unix:PATH")
@click.option(
    "-o", "--output", required=True, metavar="S", help="File for the main connection; others go to S.1, S.2 ..."
)
@click.option(
    "--forward",
    metavar="tcp:HOST:PORT|unix:PATH",
    help="Be a proxy: pass everything on to the destination at this address.",
)
def command(where: str, output: str, forward: str | None) -> int:
    """Listen at an address and record the migration that arrives there. tcp::PORT listens on 127.0.0.1.

    Without --forward, xbrle is the destination: it accepts everything and answers nothing. With --forward, both
    directions pass through, and what the destination answers goes to S.reverse. The connections of a multifd migration
    go to S.1, S.2 and so on; give them to other commands with --channel.

    With --forward the disk never delays the migration: if it is full, or recording falls 256 MiB behind, recording
    stops, and the migration goes on.

    Recording ends when every connection is closed. Exit status: 0 all were closed in order, 1 one broke off or none
    carried a migration. What arrived is in the files in any case.
    """
    from ..net.tap import Recording, Tap, address
    from ..text import shown

    tap = Tap(address(where), Path(output), address(forward) if forward else None)
    warn(f"listening at {tap.address}")
    began = time.monotonic()
    live = sys.stderr.isatty()

    def counters(recordings: list[Recording]) -> None:
        if live:
            mebibytes = sum(r.size for r in recordings if not r.reverse) / MIB
            seconds = max(time.monotonic() - began, 1e-9)
            count = sum(not r.reverse for r in recordings)
            text = f"{count} connections, {mebibytes:.1f} MiB, {mebibytes / seconds:.1f} MiB/s"
            click.echo(f"\r{text:60}", err=True, nl=False)

    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        recordings = tap.run(counters)
    finally:
        signal.signal(signal.SIGTERM, before)
        if live:
            click.echo(err=True)
        for r in tap.recordings:
            way = "destination to source" if r.reverse else "source to destination"
            name = shown(bytes(r.path)) if r.path is not None else "nothing arrived"
            ending = f"; {r.error}" if r.error else ""
            if r.path is not None or r.error:
                warn(f"connection {r.connection}, {way}: {r.size} bytes, {name}{ending}")
    complete = any(r.main for r in recordings) and not any(r.error for r in recordings)
    return 0 if complete else EXIT_FINDINGS


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
