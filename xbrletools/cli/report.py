"""`xbrle report`: one self-contained HTML page of what is known about a capture, or of what differs between two."""

import hashlib
import os
from typing import TYPE_CHECKING

import click

import xbrletools

from ..capture import Capture
from ..source.beside import at_hand, is_there
from ..text import shown
from . import EXIT_FINDINGS
from .guide import Page
from .options import before, examples, opening, salvaging
from .output import report as say
from .saving import Output, writing

if TYPE_CHECKING:
    from ..analysis.report import Report


def _usage(capture: str, other: str | None, to_channel: tuple[str, ...], to_snapshot: str | None) -> None:
    if other is None and (to_channel or to_snapshot is not None):
        raise click.UsageError("--to-channel and --to-snapshot need S2")
    if capture == other == "-":
        raise click.UsageError("only one of S and S2 can be -: standard input can be read only once")


@click.command(
    cls=Page,
    epilog=examples(
        "report samples/posted-8m.bin -o /tmp/report.html",
        "report samples/posted-8m.bin samples/xbzrle-16m.bin -o /tmp/both.html",
    ),
)
@before(_usage)
@writing(metavar="OUT", help="HTML file to write; - is standard output.")
@salvaging
@click.argument("other", metavar="[S2]", required=False)
@click.option("--to-channel", multiple=True, metavar="FILE", help="A channel of S2's migration. Repeatable.")
@click.option("--to-snapshot", metavar="NAME", help="Internal snapshot of S2, a qcow2 image (default: the last).")
def command(
    opened: Capture, output: Output, other: str | None, to_channel: tuple[str, ...], to_snapshot: str | None
) -> int:
    """Write one HTML page about S: the verdict and its causes, who loads it, its passes, pages, guest and devices.

    With S2 the page compares both: the verdicts side by side, and what differs in blocks, pages, devices and sections.
    The options for reading apply to S and S2. Only --channel and --snapshot are for S alone. For S2 use --to-channel
    and --to-snapshot.

    The page does not need scripts or the network. Of a damaged capture it shows what can be read.

    Exit status: 0 all is well, 1 S or S2 is damaged, a finding is an error, or S and S2 differ.
    """
    from ..analysis import report

    tool = f"xbrletools {xbrletools.__version__}"
    if other is None:
        gathered = _gathered(opened)
        _save(output, report.page(gathered, _digests(opened), tool))
        status = say(opened.problems)
        return EXIT_FINDINGS if gathered.is_bad else status
    like = {"capture": other, "channel": to_channel, "snapshot": to_snapshot}
    with opening(click.get_current_context().params | like) as second:
        compared = report.compare(_gathered(opened), _gathered(second))
        _save(output, report.compared_page(compared, (_digests(opened), _digests(second)), tool))
        status = max(say(opened.problems), say(second.problems))
    return EXIT_FINDINGS if compared.is_bad else status


def _gathered(opened: Capture) -> "Report":
    from ..analysis.report import gather

    stream = opened.stream
    return gather(stream, opened.source, opened.channels)


def _save(output: Output, page: str) -> None:
    output.save([page.encode("utf-8", "backslashreplace")], mode=None)


def _digests(opened: Capture) -> dict[str, str]:
    """The SHA-256 of what was read, and of the file around it, by what was digested."""
    from ..export.sidecar import digest

    source = opened.source.given
    stream = opened.stream
    main, *channels = stream.files or (stream.source,)
    digests = {"of the capture": digest(main)}
    digests |= {f"of the channel {shown(os.fsencode(channel.name))}": digest(channel) for channel in channels}
    if opened.source.wrapper is not None and source is not None and is_there(source):
        with at_hand(source) as path, path.open("rb") as file:
            digests[f"of its {opened.source.wrapper} file"] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
