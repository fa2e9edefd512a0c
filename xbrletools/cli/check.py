"""`xbrle check`: whether a stream would load at a destination."""

from typing import TYPE_CHECKING, Any

import click

from . import EXIT_FINDINGS
from .describe import description_in
from .guide import Page
from .options import examples, json_object, reading
from .verify import RECEIVER_NAMES
from .writer import filled, say, say_object

if TYPE_CHECKING:
    from ..analysis.check import Answer
    from ..capture import Capture


@click.command(
    cls=Page,
    epilog=examples(
        "check samples/xbzrle-16m.bin --on samples/xbzrle-16m.bin",
        "check samples/posted-8m.bin --on samples/xbzrle-16m.bin --json",
    ),
)
@reading
@click.option(
    "--on",
    "destination",
    required=True,
    metavar="DESCRIPTION",
    help="What the destination has: a file of xbrle describe, of QEMU's -dump-vmstate, or a capture of a guest that is "
    "set up as the destination.",
)
@click.option(
    "--receiver",
    type=click.Choice(RECEIVER_NAMES),
    metavar="NAME",
    help="The destination's program (default: QEMU of the description's version, else the newest).",
)
@json_object
def command(opened: "Capture", destination: str, receiver: str | None, as_json: bool) -> int:
    """Say whether S would load at a destination: the first refusal in QEMU's words, then all others.

    Compared are the machine's name, the capabilities, RAM blocks and their lengths (blocks of fw_cfg may have others),
    and devices with their versions, fields and subsections. What a device's own code checks, such as values, cannot be
    told.

    Exit status: 0 it would load, 1 it would be refused or that cannot be told, 2 something cannot be read.
    """
    from ..analysis.check import check
    from ..verify.receivers import named

    answer = check(opened.stream, description_in(destination), None if receiver is None else named(receiver))
    if as_json:
        say_object(_as_object(answer))
    else:
        _print(answer)
    return 0 if answer.loads else EXIT_FINDINGS


def _as_object(answer: "Answer") -> dict[str, Any]:
    names = ("what", "stream", "here", "refuses", "change")
    return {
        "type": "check",
        "receiver": answer.receiver.name,
        **answer.outcome.as_object(),
        "loads": answer.loads if answer.outcome.loads is not None else None,
        "differences": [{name: getattr(d, name) for name in names} for d in answer.differences],
    }


def _print(answer: "Answer") -> None:
    outcome = answer.outcome
    if answer.loads:
        say(f"It would load: {answer.receiver.title} with this destination takes the stream to its end.")
    elif outcome.loads is None:
        say(f"Whether it would load cannot be told: {outcome.reason}.")
    elif outcome.goes_on:
        say(f"{answer.receiver.title} complains, and goes on all the same. It prints:")
    else:
        place = "" if outcome.offset is None else f" at {outcome.offset:#x}"
        say(f"It would be refused{place}. {answer.receiver.title} prints:")
    for line in outcome.said:
        say(f"    {line}")
    for refuses, title in ((True, "What refuses it, and what would have to change:"), (False, "Other differences:")):
        listed = [d for d in answer.differences if d.refuses is refuses]
        if listed:
            say(f"\n{title}")
        for d in listed:
            say(filled(f"    {d.what}: {d.stream} in the stream, {d.here} at the destination; {d.change}", " " * 8))
