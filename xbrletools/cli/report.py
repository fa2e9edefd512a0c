"""`xbrle report`: one self-contained HTML page of what is known about a capture."""

import hashlib
from pathlib import Path

import click

import xbrletools

from ..capture import Capture
from ..errors import XbrleError
from . import EXIT_FINDINGS
from .options import salvaging
from .output import report as say
from .saving import save


@click.command()
@salvaging
@click.option("--output", "-o", metavar="OUT", required=True, help="The HTML file to write; - for standard output.")
def command(opened: Capture, output: str) -> int:
    """Write one HTML page of what info, stats, verify and sender say of S, with bars of passes and maps of pages.

    The page loads nothing and runs nothing. Exits 1 where S is damaged, of which the page then tells what can be had,
    or where a finding is an error.
    """
    from ..analysis import report
    from ..export.sidecar import digest

    source, target = Path(opened.name), Path(output)
    if source.exists() and target.exists() and target.samefile(source):
        raise XbrleError(f"{output}: is the capture itself")
    known = report.gather(opened.stream)
    what = "of the capture" if opened.channels is None else "of the capture and its channels' pages"
    digests = {what: digest(opened.stream)}
    if opened.source.wrapper is not None and source.is_file():
        with source.open("rb") as file:
            digests[f"of its {opened.source.wrapper} file"] = hashlib.file_digest(file, "sha256").hexdigest()
    tool = f"xbrletools {xbrletools.__version__}"
    save(output, [report.page(known, digests, tool).encode("utf-8", "backslashreplace")])
    status = say(opened.problems)
    return EXIT_FINDINGS if known.is_bad else status
