"""`xbrle serve`: the browser of `xbrle tui` in a web browser."""

import sys
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from .options import before, examples, reading

if TYPE_CHECKING:
    from ..capture import Capture


def _refuse_pipe(capture: str) -> None:
    if capture == "-":
        raise XbrleError("standard input can be read only once; give a file")


@click.command(epilog=examples("serve samples/posted-8m.bin --port 8000"))
@before(_refuse_pipe)
@reading
@click.option("--follow", is_flag=True, help="Show a file that is still being written, or will be, as it grows.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
def command(
    opened: "Capture",
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    channel: tuple[str, ...],
    snapshot: str | None,
    no_cache: bool,
    follow: bool,
    host: str,
    port: int,
) -> int:
    """Browse S in a web browser, until interrupted.

    Whoever can reach the port can read S. Nothing can be exported from there.
    """
    from pathlib import Path

    from ..tui.serve import serve

    del opened  # it was opened to say now what is wrong, and not to each browser
    words = [sys.executable, "-m", "xbrletools", "tui", "--read-only", str(Path(capture).resolve())]
    words += ["--no-cache"] if no_cache else []
    for path in channel:
        words += ["--channel", str(Path(path).resolve())]
    words += ["--snapshot", snapshot] if snapshot is not None else []
    for name, value in (("--dialect", dialect), ("--endian", endian), ("--page-size", page_size)):
        if value is not None:
            words += [name, str(value)]
    if follow:
        words.append("--follow")
    serve(words, host, port)
    return 0
