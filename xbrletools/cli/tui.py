"""`xbrle tui`: browse a capture on the terminal."""

import gc
import os
import sys
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from . import EXIT_INTERRUPTED, warn
from .options import before, examples, reading

if TYPE_CHECKING:
    from ..capture import Capture


def _keep_pipe(capture: str) -> None:
    """Leave standard input to the capture, and make the terminal file descriptor 0, from which keys are read."""
    if capture != "-":
        return
    sys.stdin = os.fdopen(os.dup(0))
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as error:
        raise XbrleError(f"cannot read keys: there is no terminal ({error.strerror})") from error
    os.dup2(terminal, 0)
    os.close(terminal)


@click.command(epilog=examples("tui samples/posted-8m.bin", "tui --follow growing.bin"))
@before(_keep_pipe)
@reading
@click.option(
    "--follow", is_flag=True, help="Show a file that is still being written, or does not exist yet, as it grows."
)
@click.option("--read-only", is_flag=True, help="Do not let the user export anything.")
def command(opened: "Capture", capture: str, follow: bool, read_only: bool) -> int:
    """Browse S on the terminal: overview, records, pages, a map, findings, fields. Press ? for the keys.

    With - for S, standard input is copied to a temporary file and shown as it comes.
    """
    from ..tui.app import Browser
    from ..tui.terminal import kept

    if "TEXTUAL_DRIVER" not in os.environ and not (sys.__stdin__ and sys.__stdin__.isatty() and sys.stdout.isatty()):
        raise XbrleError("the browser needs a terminal. For plain text, use: xbrle info S, or xbrle dump S")
    browser = Browser(opened, read_only, follow and capture != "-")
    gc.freeze()  # the collector need not look through what was imported, which the user would see as a halt
    with kept():
        status = browser.run()
    if browser.fault is not None:
        raise browser.fault
    if browser.failure is not None:
        raise XbrleError(browser.failure)
    if status == EXIT_INTERRUPTED:
        warn("interrupted")
    return status if status is not None else browser.return_code or 0
