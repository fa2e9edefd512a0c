"""`xbrle report`: one self-contained HTML page of what is known about a capture."""

import hashlib
from pathlib import Path

import click

import xbrletools

from ..capture import Capture
from . import EXIT_FINDINGS
from .options import examples, salvaging
from .output import report as say
from .saving import Output, writing


@click.command(epilog=examples("report samples/posted-8m.bin -o /tmp/report.html"))
@writing(metavar="OUT", help="HTML file to write; - is standard output.")
@salvaging
def command(opened: Capture, output: Output) -> int:
    """Write one HTML page with what info, stats, verify and sender say about S, with charts of its passes and pages.

    The page does not need scripts or the network. Of a damaged capture it shows what can be read.

    Exit status: 0 all is well, 1 S is damaged or a finding is an error.
    """
    from ..analysis import report
    from ..export.sidecar import digest

    source = Path(opened.name)
    gathered = report.gather(opened.stream)
    what = "of the capture" if opened.channels is None else "of the capture and its channels' pages"
    digests = {what: digest(opened.stream)}
    if opened.source.wrapper is not None and source.is_file():
        with source.open("rb") as file:
            digests[f"of its {opened.source.wrapper} file"] = hashlib.file_digest(file, "sha256").hexdigest()
    tool = f"xbrletools {xbrletools.__version__}"
    output.save([report.page(gathered, digests, tool).encode("utf-8", "backslashreplace")], mode=None)
    status = say(opened.problems)
    return EXIT_FINDINGS if gathered.is_bad else status
