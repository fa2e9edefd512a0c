"""`xbrle tui`: browse a capture on the terminal."""

import gc
import os
import sys

import click

from ..errors import XbrleError
from . import reading


@click.command()
@reading
@click.option("--follow", is_flag=True, help="Show a file that is still being written, or will be, as it grows.")
@click.option("--read-only", is_flag=True, help="Do not let the user export anything.")
def command(
    capture: str, dialect: str | None, endian: str | None, page_size: int | None, follow: bool, read_only: bool
) -> int:
    r"""Browse S on the terminal: overview, records, pages, a map, findings, fields. Press ? for the keys.

    With - for S, standard input is copied to a temporary file and shown as it comes.

    \b
    Examples:
      xbrle tui samples/posted-8m.bin
      xbrle tui --follow growing.bin
    """
    from ..capture import open_capture
    from ..tui.app import Browser

    from_pipe = str(capture) == "-"
    if from_pipe:
        _keep_pipe()
    follow = follow and not from_pipe
    opened = open_capture(capture, dialect, endian, page_size, follow=follow)
    if "TEXTUAL_DRIVER" not in os.environ and not (sys.__stdin__ and sys.__stdin__.isatty() and sys.stdout.isatty()):
        raise XbrleError("the browser needs a terminal. For plain text, use: xbrle info S, or xbrle dump S")
    browser = Browser(opened, read_only, follow)
    gc.freeze()  # the collector need not look through what was imported, which the user would see as a halt
    status = browser.run()
    if browser.failure is not None:
        raise XbrleError(browser.failure)
    return status if status is not None else browser.return_code or 0


def _keep_pipe() -> None:
    """Leave standard input to the capture, and make the terminal file descriptor 0, from which keys are read."""
    sys.stdin = os.fdopen(os.dup(0))
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as error:
        raise XbrleError(f"cannot read keys: there is no terminal ({error.strerror})") from error
    os.dup2(terminal, 0)
    os.close(terminal)
