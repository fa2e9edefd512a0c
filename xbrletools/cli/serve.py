"""`xbrle serve`: the browser of `xbrle tui` in a web browser."""

import sys
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from ..urls import is_url, without_secrets
from . import warn
from .guide import Screen
from .options import before, examples, reading
from .writer import flush, say

if TYPE_CHECKING:
    from ..capture import Capture


def _refuse_pipe(capture: str) -> None:
    if capture == "-":
        raise XbrleError("standard input can be read only once: give a file")


def _need_web() -> None:
    from ..tui.serve import check_installed

    check_installed()


def _anywhere(path: str) -> str:
    """A path or URL as it is from any folder."""
    from pathlib import Path

    return path if is_url(path) else str(Path(path).resolve())


def _session(
    capture: str, options: "dict[str, str | int | None]", channels: tuple[str, ...], flags: list[str]
) -> list[str]:
    """The command of one session: the browser of this capture, read-only, with the options that were given."""
    words = [sys.executable, "-m", "xbrletools", "tui", "--read-only", _anywhere(capture), *flags]
    for path in channels:
        words += ["--channel", _anywhere(path)]
    for name, value in options.items():
        if value is not None:
            words += [name, str(value)]
    return words


@click.command(
    cls=Screen, epilog=examples("serve samples/posted-8m.bin", "serve samples/posted-8m.bin --port 0 --sessions 1")
)
@before(_refuse_pipe)
@before(_need_web)
@reading
@click.option(
    "--follow", is_flag=True, help="Show a file that is still being written, or does not exist yet, as it grows."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 0xFFFF),
    default=8000,
    show_default=True,
    metavar="PORT",
    help="The port. 0 takes a free one.",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    metavar="N",
    help="Browser tabs that may be open at once.",
)
def command(
    opened: "Capture",
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    channel: tuple[str, ...],
    snapshot: str | None,
    no_beside: bool,
    no_cache: bool,
    follow: bool,
    host: str,
    port: int,
    sessions: int,
) -> int:
    """Browse S in a web browser.

    Prints the address to open, which holds a secret that is new each time. Whoever has the address and reaches the port
    can read S. Nothing can be exported from there. Each browser tab is a session, a process of its own. It ends a
    minute after its page is closed, so that a page which is loaded anew finds it again. The page loads nothing from any
    other host. This needs xbrletools[web].

    Serves until SIGINT, SIGTERM or SIGHUP, and then exits 0.
    """
    from pathlib import Path

    from ..capture import open_capture
    from ..text import shown
    from ..tui.serve import serve
    from ..tui.served import Served

    del opened  # it was opened to say now what is wrong, and not to each browser

    def check() -> None:
        with open_capture(
            capture,
            dialect,
            endian,
            page_size,
            channels=channel,
            snapshot=snapshot,
            cache=not no_cache,
            follow=follow,
            beside=None if no_beside else lambda names: None,
        ):
            pass

    options = {"--snapshot": snapshot, "--dialect": dialect, "--endian": endian, "--page-size": page_size}
    flags = ["--no-cache"] * no_cache + ["--no-beside"] * no_beside + ["--follow"] * follow
    words = _session(capture, options, channel, flags)

    def announce(address: str) -> None:
        say(address)
        flush()
        if host not in ("127.0.0.1", "::1", "localhost"):
            warn("others on the network can read along what passes, the secret in the address included")

    name = shown(bytes(Path(without_secrets(capture)).name, "utf-8", "surrogateescape"))
    serve(Served(words, name, check, sessions), host, port, announce)
    return 0
