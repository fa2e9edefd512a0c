"""`xbrle tui`: browse a capture on the terminal."""

import gc
import os
import sys

import click

from ..errors import XbrleError
from . import reading


@click.command()
@reading
@click.option("--follow", is_flag=True, help="Show what is still being written to S, or will be, as it comes.")
@click.option("--read-only", is_flag=True, help="Export nothing.")
def command(
    capture: str, dialect: str | None, endian: str | None, page_size: int | None, follow: bool, read_only: bool
) -> int:
    """Browse S: overview, records, pages, a map, findings, fields. The key ? lists the keys.

    Standard input goes to a temporary file, and is shown as it comes; keys are then read from the terminal itself.
    """
    from ..capture import open_capture
    from ..tui.app import Browser

    from_pipe = str(capture) == "-"
    if from_pipe:
        _keep_pipe()
    follow = follow and not from_pipe
    opened = open_capture(capture, dialect, endian, page_size, follow=follow)
    if "TEXTUAL_DRIVER" not in os.environ and not (sys.__stdin__ and sys.__stdin__.isatty() and sys.stdout.isatty()):
        raise XbrleError("this needs a terminal; see `xbrle info` and `xbrle dump` for plain text")
    browser = Browser(opened, read_only, follow)
    gc.freeze()  # what was imported stays: no collection has to look through it, which the user would see as a halt
    status = browser.run()
    if browser.failure is not None:
        raise XbrleError(browser.failure)
    return status if status is not None else browser.return_code or 0


def _keep_pipe() -> None:
    """Leave standard input to the capture, and have file descriptor 0, where keys are read, be the terminal."""
    sys.stdin = os.fdopen(os.dup(0))
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as error:
        raise XbrleError(f"there is no terminal to read keys from: {error.strerror}") from error
    os.dup2(terminal, 0)
    os.close(terminal)
