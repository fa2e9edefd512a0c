"""`xbrle capture`: record a migration, as its destination or between its two ends."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..interrupts import SIGNALS
from ..text import counted
from . import EXIT_FINDINGS, EXIT_INTERRUPTED, EXIT_UNREADABLE, warn
from .guide import Screen
from .options import choosing_stream, examples, json_lines, refuse
from .writer import end_status_line, say_object, status_line

if TYPE_CHECKING:
    from ..net.migration import Migration
    from ..net.recording import Recording

MIB = 1 << 20
ENDING = SIGNALS


@click.command(
    cls=Screen,
    epilog=examples(
        "capture tcp::4444 -o S",
        "capture tcp:0.0.0.0:4444 -o S --forward tcp:192.0.2.7:4444",
        "capture --from-pcap samples/migration.pcapng -o /tmp/S",
    ),
)
@click.argument("where", metavar="tcp:HOST:PORT|unix:PATH", required=False)
@click.option("-o", "--output", required=True, metavar="S", help="File for the main channel; others go to S.1, S.2 ...")
@click.option("--forward", metavar="tcp:HOST:PORT|unix:PATH", help="Pass everything on to the destination there.")
@click.option("--from-pcap", metavar="DUMP", help="Take the streams out of this packet dump instead of listening.")
@choosing_stream("DUMP")
@click.option("--force", is_flag=True, help="Replace an earlier recording with these names, once something comes.")
@json_lines
def command(
    where: str | None,
    output: str,
    forward: str | None,
    from_pcap: str | None,
    stream: int | None,
    force: bool,
    as_json: bool,
) -> int:
    """Listen at an address and record the migration that comes there.

    With --from-pcap nothing is listened to: the migration in a packet dump, as tcpdump records it, goes to the same
    files. Its channels come in the order in which they were opened. Where packets are missing, a file ends.

    Without --forward this is the destination, which accepts all bytes and sends none. With --forward it stands between
    the two ends, and what the destination answers goes to S.reverse. tcp::PORT listens on the loopback.

    S is the file to write. It is created before the first connection. The connection that begins as a migration stream
    goes to S, whoever connects first. Multifd channels and postcopy's preempt channel go to S.1, S.2 and so on, for
    --channel. Before the migration has come, connections that are not part of one are closed and not passed on. Later
    they go to S.foreign.1 and so on.

    The times at which the bytes came go to S.times, S.1.times and so on. Commands that read S show them.

    A full disk ends the recording, but not the forwarding. With --forward, if the disk falls 256 MiB behind, the
    recording ends too. What was written stays.

    Recording ends when every channel is closed. SIGINT, SIGTERM and SIGHUP end it too, and the forwarding with it. What
    came is kept. A second signal ends it at once. Then what is not yet on disk is lost.

    Exit status: 0 all channels were closed in order, 1 something was recorded but some of it is missing, 2 nothing was
    recorded, 130 ended by a signal.
    """
    if from_pcap is not None:
        refuse("cannot be used with --from-pcap", "where", "forward")
        from .saving import Output
        from .unpacking import unpack

        return unpack(from_pcap, stream, Output(output, force), as_json)
    refuse("needs --from-pcap", "stream")
    if where is None:
        raise click.UsageError("Missing argument 'tcp:HOST:PORT|unix:PATH', or --from-pcap DUMP.")
    return _record(where, output, forward, force, as_json)


def _record(where: str, output: str, forward: str | None, force: bool, as_json: bool) -> int:
    """Listen, and record what comes. Returns the exit status."""
    from ..net.address import address
    from ..net.tap import Tap

    stop: list[Callable[[], None]] = []
    asked: list[int] = []

    def ending(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        for one in stop:
            one()

    # What nohup or a shell's background has ignored stays ignored.
    before = {s: signal.signal(s, ending) for s in ENDING if signal.getsignal(s) is not signal.SIG_IGN}
    tap = None
    try:
        tap = Tap(address(where), Path(output), address(forward) if forward else None, force)
        stop.append(tap.stop)
        if asked:
            tap.stop()
        _say(f"listening at {tap.address}")
        tap.run(_Progress())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if tap is not None:
            _tell(tap.recordings)
            if as_json:
                _say_objects(tap.recordings)
    if asked:
        _say("interrupted: what came until then is kept" if _came(tap.recordings) else "interrupted")
    return EXIT_INTERRUPTED if asked else _status(tap.recordings)


class _Progress:
    """Says what happens while a recording runs: counters on a terminal, notes everywhere."""

    def __init__(self) -> None:
        self._live = _is_watched()
        self._began = time.monotonic()
        self._noted = 0

    def __call__(self, migration: "Migration") -> None:
        if self._live:
            _show_status("")
        for note in migration.notes[self._noted :]:
            _say(note)
            self._noted += 1
        if migration.left_out and self._noted < sys.maxsize:
            _say("further notes of this kind are left out")
            self._noted = sys.maxsize
        if self._live:
            forward = [r for r in migration.recordings if not r.reverse]
            size = sum(r.size for r in forward)
            rate = size / MIB / max(time.monotonic() - self._began, 1e-9)
            _show_status(f"{counted(len(forward), 'channel')}, {size / MIB:.1f} MiB, {rate:.1f} MiB/s")


def _tell(recordings: "list[Recording]") -> None:
    """Say of each direction what was recorded, and how it ended."""
    from ..text import shown

    if _is_watched():
        with suppress(OSError):
            end_status_line()
    for r in recordings:
        way = "destination to source" if r.reverse else "source to destination"
        what = r.kind.value if r.kind is not None else "unknown"
        name = shown(bytes(r.path)) if r.path is not None else "no file"
        ending = f"; {r.error}" if r.error else ""
        if r.size or r.error:
            _say(f"connection {r.connection}, {what}, {way}: {counted(r.size, 'byte')}, {name}{ending}")
    if not _came(recordings):
        _say("nothing was recorded")
    elif not any(r.main for r in recordings):
        _say("the migration's main channel never came: there are channels alone")


def _say_objects(recordings: "list[Recording]") -> None:
    """Print an object for each direction of each connection that brought something, or broke off."""
    from ..text import shown

    for r in recordings:
        if r.size or r.error:
            about = {
                "type": "recording",
                "connection": r.connection,
                "kind": None if r.kind is None else r.kind.value,
                "reverse": r.reverse,
                "file": None if r.path is None else shown(bytes(r.path)),
                "bytes": r.size,
                "error": r.error,
            }
            say_object(about)


def _status(recordings: "list[Recording]") -> int:
    from ..net.kinds import Kind

    if not _came(recordings):
        return EXIT_UNREADABLE
    migration = [r for r in recordings if r.kind is not Kind.FOREIGN]
    complete = any(r.main for r in migration) and not any(r.error for r in migration)
    return 0 if complete else EXIT_FINDINGS


def _came(recordings: "list[Recording]") -> bool:
    """Whether anything of a source was recorded."""
    return any(r.size for r in recordings if not r.reverse)


def _say(message: str) -> None:
    """Warn, if anyone listens. A recording does not end because nobody does."""
    with suppress(OSError):
        warn(message)


def _show_status(text: str) -> None:
    with suppress(OSError):
        status_line(text)


def _is_watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
