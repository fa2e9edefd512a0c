"""`xbrle capture`: record a migration, as its destination or between its two ends."""

import signal
import sys
import time
from pathlib import Path

import click

from . import EXIT_FINDINGS, warn

MIB = 1 << 20


@click.command()
@click.argument("where", metavar="tcp:HOST:PORT|unix:PATH")
@click.option("-o", "--output", required=True, metavar="S", help="The main channel's file; others are S.1, S.2 ...")
@click.option("--forward", metavar="tcp:HOST:PORT|unix:PATH", help="Pass everything on to the destination there.")
def command(where: str, output: str, forward: str | None) -> int:
    """Listen at an address and record the migration that comes there.

    Without --forward this is the destination, and takes all without an answer. With it, both directions pass, the other
    way going to S.reverse. tcp::PORT listens on the loopback. Multifd's connections become S.1, S.2 and so on, for
    --channel. Ends when every connection is closed; exits 1 where one broke off, with what came in the files. With
    --forward no disk holds the migration up: on a full one, or 256 MiB behind, recording ends and passing on does not.
    """
    from ..net.tap import Recording, Tap, address
    from ..text import shown

    tap = Tap(address(where), Path(output), address(forward) if forward else None)
    warn(f"listening at {tap.address}")
    began = time.monotonic()
    live = sys.stderr.isatty()

    def counters(recordings: list[Recording]) -> None:
        if live:
            there = sum(r.size for r in recordings if not r.reverse)
            seconds = time.monotonic() - began
            count = sum(not r.reverse for r in recordings)
            text = f"{count} connections, {there / MIB:.1f} MiB, {there / MIB / max(seconds, 1e-9):.1f} MiB/s"
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
            name = shown(bytes(r.path)) if r.path is not None else "nothing came"
            ending = f"; {r.error}" if r.error else ""
            if r.path is not None or r.error:
                warn(f"connection {r.connection}, {way}: {r.size} bytes, {name}{ending}")
    complete = any(r.main for r in recordings) and not any(r.error for r in recordings)
    return 0 if complete else EXIT_FINDINGS


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
