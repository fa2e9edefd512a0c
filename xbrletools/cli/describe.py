"""`xbrle describe`: what a destination has, as JSON for `xbrle check`."""

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import XbrleError
from ..urls import without_secrets
from . import warn
from .guide import Page
from .options import before, choosing_stream, examples, naming, refuse
from .saving import Output, writing

if TYPE_CHECKING:
    from ..analysis.destination import Description

_FILE_MAX = 1 << 26  # bytes of what -dump-vmstate writes


def _usage(capture: str | None, qmp: str | None, dump_vmstate: str | None) -> None:
    if not (capture or qmp or dump_vmstate):
        raise click.UsageError("give a capture, --qmp or --dump-vmstate")
    if not capture:
        refuse("needs S", "stream")


@click.command(
    cls=Page,
    epilog=examples("describe samples/xbzrle-16m.bin", "describe samples/xbzrle-16m.bin -o /tmp/destination.json"),
)
@writing(metavar="OUT", required=False, help="JSON file to write (default: standard output).")
@before(_usage)
@click.argument("capture", metavar="[S]", required=False)
@choosing_stream("S, a packet dump")
@click.option(
    "--qmp",
    metavar="SOCKET",
    help="QMP socket of a QEMU that was started as the destination will be, with -S. Without -incoming it is asked to "
    "save itself, which says most; its guest cannot start after that. With -incoming defer its object tree is asked.",
)
@click.option(
    "--dump-vmstate", metavar="FILE", help="What the destination's `qemu -machine M -dump-vmstate FILE` wrote."
)
def command(
    capture: str | None, stream: int | None, qmp: str | None, dump_vmstate: str | None, output: Output | None
) -> int:
    """Describe a destination: machine, RAM blocks, devices, capabilities. `xbrle check S --on OUT` reads this.

    The description comes from a running QEMU (--qmp), from S, a capture of a guest that is set up as the destination,
    or from QEMU's list of device states (--dump-vmstate). With several of them, what one does not know comes from the
    next, in this order.

    Exit status: 0 it is written, 1 only a part could be had, 2 nothing can be read.
    """
    from ..analysis.destination import Description

    about, status = Description(), 0
    parts: list[tuple[Callable[..., tuple[Description, int]], str | None]] = [
        (_of_qmp, qmp),
        (partial(_of_capture, stream=stream), capture),
        (_of_dump, dump_vmstate),
    ]
    for ask, where in parts:
        if where is not None:
            found, worse = ask(where)
            about, status = about.with_more(found), max(status, worse)
    text = json.dumps(about.as_object(), indent=1) + "\n"
    (output or Output("-")).save([text.encode("utf-8")], mode=None)
    return status


def _of_capture(path: str, stream: int | None = None) -> "tuple[Description, int]":
    from ..analysis.destination import of_capture
    from ..capture import open_capture

    with naming(path), open_capture(path, stream=stream) as opened:
        found = of_capture(opened.stream)
    if found.devices is None:
        warn(
            f"{without_secrets(path)}: it does not have a VM description that can be used, so its devices are not known"
        )
    return found, int(found.devices is None)


def _of_dump(path: str) -> "tuple[Description, int]":
    return _loaded(path), 0


def _loaded(path: str) -> "Description":
    """A description, or what -dump-vmstate wrote, from a file.

    Raises:
        XbrleError: it is neither, or cannot be read.
    """
    from ..analysis.destination import load
    from ..source.beside import at_hand

    try:
        with at_hand(path) as there, there.open("rb") as file:
            text = file.read(_FILE_MAX + 1)
    except OSError as error:
        raise XbrleError(f"{path}: {error.strerror or error}") from None
    if len(text) > _FILE_MAX:
        raise XbrleError(f"{path}: longer than {_FILE_MAX} bytes, so not a description of a destination")
    return load(text, path)


def _of_qmp(path: str) -> "tuple[Description, int]":
    from ..net import qmp

    try:
        with qmp.connected(path) as asked:
            found = qmp.described(asked, path)
            if not qmp.can_save_itself(asked):
                warn(f"{path}: it waits for a migration or runs, so which versions its devices have is not known")
                return found, 1
            with qmp.saved(asked) as stream:
                exact, status = _of_capture(str(stream))
            return qmp.with_devices(found, exact), status
    except qmp.QmpError as error:
        raise XbrleError(f"QMP: {error}") from None


def description_in(path: str) -> Any:
    """The description that ``--on`` names: one of `xbrle describe`, what -dump-vmstate wrote, or a capture.

    Raises:
        XbrleError: it is none of them, or cannot be read.
    """
    from ..source.beside import at_hand

    try:
        with at_hand(path) as there, there.open("rb") as file:
            is_text = file.read(64).lstrip()[:1] == b"{"
    except OSError as error:
        raise XbrleError(f"{path}: {error.strerror or error}") from None
    return _loaded(path) if is_text else _of_capture(path)[0]
