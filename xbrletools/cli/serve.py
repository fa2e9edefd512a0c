"""`xbrle serve`: the browser of `xbrle tui` in a web browser."""

import sys
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from ..urls import is_url, without_secrets
from . import warn
from .guide import HOW_TO_READ, Screen
from .options import before, examples, opening, reading
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


def _session(context: click.Context) -> list[str]:
    """The command of one session: the browser of this capture, read-only, with the options that say how to read it."""
    given = context.params
    words = [sys.executable, "-m", "xbrletools", "tui", "--read-only", _anywhere(given["capture"])]
    for option in context.command.params:
        value = given.get(option.name or "")
        if option.name not in HOW_TO_READ or value is None or value is False or value == ():
            continue
        name = max(option.opts, key=len)
        if value is True:
            words.append(name)
        for one in () if value is True else value if isinstance(value, tuple) else (value,):
            words += [name, _anywhere(one) if option.name == "channel" else str(one)]
    return words


def _see(opened: "Capture", follow: bool) -> None:
    """Look at what comes first in a capture, unless it may not be there yet.

    Raises:
        XbrleError: this is not a migration stream.
    """
    if not follow:
        next(iter(opened.scan()), None)


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
def command(opened: "Capture", capture: str, follow: bool, host: str, port: int, sessions: int) -> int:
    """Browse S in a web browser.

    Prints the address to open, which holds a secret that is new each time. Whoever has the address and reaches the port
    can read S. Nothing can be exported from there. Each browser tab is a session, a process of its own. It ends a
    minute after its page is closed, so that a page which is loaded anew finds it again. The page loads nothing from any
    other host. This needs xbrletools[web].

    Serves until SIGINT, SIGTERM or SIGHUP, and then exits 0.
    """
    from pathlib import Path

    from ..text import shown
    from ..tui.serve import serve
    from ..tui.served import Served

    context = click.get_current_context()
    _see(opened, follow)  # so that what is wrong is said here, and not in the browser alone

    def check() -> None:
        with opening(context.params, tell=lambda names: None) as again:
            _see(again, follow)

    def announce(address: str) -> None:
        say(address)
        flush()
        if host not in ("127.0.0.1", "::1", "localhost"):
            warn("others on the network can read along what passes, the secret in the address included")

    name = shown(bytes(Path(without_secrets(capture)).name, "utf-8", "surrogateescape"))
    serve(Served(_session(context), name, check, sessions), host, port, announce)
    return 0
