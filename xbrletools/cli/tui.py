"""`xbrle tui`: browse a capture on the terminal."""

import gc
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from ..errors import XbrleError
from . import EXIT_INTERRUPTED, warn
from .guide import Screen
from .options import before, examples, opening, salvaging
from .writer import DIM_TERMINALS

if TYPE_CHECKING:
    from ..capture import Capture


FRAMES = "200"  # looks a second whether something is to be painted: a key waits for the next one
_SWITCH = 0.0002  # seconds after which the thread that reads lets the one that draws run: a key asks for it many times


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


def _usage(capture: str, other: str | None) -> None:
    if other == "-":
        raise click.UsageError("S2 cannot be -: standard input can only be S")


def _keep_garbage() -> None:
    """Look for no garbage until the browser runs: what is imported stays, and to look at it takes time."""
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)


def _need_terminal() -> None:
    """Refuse what nothing can be drawn on, unless it is shown elsewhere."""
    if "TEXTUAL_DRIVER" in os.environ:
        return
    plain = "For plain text, use: xbrle info S, or xbrle dump S"
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.stdout.isatty()):
        raise XbrleError(f"the browser needs a terminal. {plain}")
    if (kind := os.environ.get("TERM")) in DIM_TERMINALS:
        raise XbrleError(f"TERM is {kind}: such a terminal cannot move its cursor, so nothing can be drawn. {plain}")


@click.command(
    cls=Screen,
    epilog=examples(
        "tui samples/posted-8m.bin",
        "tui --follow growing.bin",
        "tui samples/posted-little-default.bin samples/posted-big-debug.bin",
    ),
)
@before(_usage)
@before(_keep_pipe)
@before(_keep_garbage)
@salvaging
@click.argument("other", metavar="[S2]", required=False)
@click.option(
    "--follow", is_flag=True, help="Show a file that is still being written, or does not exist yet, as it grows."
)
@click.option("--read-only", is_flag=True, help="Do not let the user export anything.")
def command(opened: "Capture", capture: str, other: str | None, follow: bool, read_only: bool) -> int:
    """Browse S on the terminal: overview, records, pages, a map, findings, fields. Press ? for the keys.

    With - for S, standard input is copied to a temporary file and shown as it comes. With S2, another capture, the
    screen Compare shows which pages of the two differ. The options for reading are for both, --channel and --snapshot
    for S alone.
    """
    os.environ.setdefault("TEXTUAL_FPS", FRAMES)  # Textual reads it when it is imported
    from ..codec import native
    from ..tui.app import Browser
    from ..tui.terminal import kept

    _need_terminal()
    with ExitStack() as stack:
        second = None
        if other is not None:
            like = {"capture": other, "channel": (), "snapshot": None, "blocks": None, "follow": False}
            second = stack.enter_context(opening(click.get_current_context().params | like))
        browser = Browser(opened, read_only, follow and capture != "-", second)
        sys.setswitchinterval(_SWITCH)
        native.leave_a_core()
        gc.enable()
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
