"""`xbrle serve`: the same browser in a web browser."""

import sys
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from . import reading

if TYPE_CHECKING:
    from ..source.opening import Input


@click.command()
@reading
@click.option("--follow", is_flag=True, help="Show what is still being written to S, or will be, as it comes.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
def command(
    capture: "str | Input",
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    follow: bool,
    host: str,
    port: int,
) -> int:
    """Browse S in a web browser. Whoever reaches the port can read S; nothing can be exported from there."""
    from pathlib import Path

    from ..capture import open_capture
    from ..tui.serve import serve

    if str(capture) == "-":
        raise XbrleError("standard input can be read once only; give a file")
    open_capture(capture, dialect, endian, page_size, follow=follow)  # says now what is wrong, not to each browser
    words = [sys.executable, "-m", "xbrletools", "tui", "--read-only", str(Path(str(capture)).resolve())]
    words += [] if getattr(capture, "cache", True) else ["--no-cache"]
    for channel in getattr(capture, "channels", ()):
        words += ["--channel", str(Path(channel).resolve())]
    snapshot = getattr(capture, "snapshot", None)
    words += ["--snapshot", snapshot] if snapshot is not None else []
    for name, value in (("--dialect", dialect), ("--endian", endian), ("--page-size", page_size)):
        if value is not None:
            words += [name, str(value)]
    if follow:
        words.append("--follow")
    serve(words, host, port)
    return 0
