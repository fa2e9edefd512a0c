"""`xbrle grep`: where bytes are in memory, or where and when they ever were."""

import json
import re
from collections.abc import Iterator

import click

import xbrletools

from ..analysis.search import Hit, Pattern, search, search_all
from ..capture import Capture
from ..errors import XbrleError
from ..memory.replay import View
from ..text import shown
from . import EXIT_FINDINGS, hexview, reading, salvaging, viewing
from .output import progress, report

SHOWN = 32  # bytes of a match


@click.command()
@reading
@salvaging
@click.argument("pattern")
@click.option("--hex", "is_hex", is_flag=True, help="PATTERN is bytes: 'de ad be ef'.")
@click.option("--utf16", is_flag=True, help="PATTERN is text that stands in memory as UTF-16, little-endian.")
@click.option("--regex", is_flag=True, help="PATTERN is a regular expression over bytes, in Python's syntax.")
@click.option("--ignore-case", "-i", is_flag=True, help="Upper and lower case are the same.")
@click.option(
    "--all", "everything", is_flag=True, help="All versions of all pages: with which record it came and went."
)
@click.option("--at", type=int, metavar="RECORD", help="Memory just after this record; with --all, all up to it.")
@click.option("--block", metavar="NAME", help="This RAM block alone.")
@viewing
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def command(
    capture: str,
    pattern: str,
    is_hex: bool,
    utf16: bool,
    regex: bool,
    ignore_case: bool,
    everything: bool,
    at: int | None,
    block: str | None,
    view: str,
    as_json: bool,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
) -> int:
    """Find PATTERN in the memory that S carries: as text, unless an option says otherwise.

    Matches run across the borders of pages, never over unknown bytes. With a regular expression ^ and $ are
    those of lines, and a match is cut 4 KiB after the page that it begins in.

    Exits 0 where something matched, 1 where nothing did.
    """
    if is_hex + utf16 + regex > 1:
        raise click.UsageError("--hex, --utf16 and --regex exclude each other")
    if is_hex and ignore_case:
        raise click.UsageError("bytes have no case: --hex and --ignore-case exclude each other")
    wanted = _pattern(pattern, is_hex, utf16, regex, ignore_case)
    with xbrletools.open(capture, dialect, endian, page_size) as opened:
        report(opened.problems)
        chosen = None if block is None else opened.space.index(block)
        if everything:
            hits = _everything(opened, wanted, at, View(view), chosen)
        else:
            hits = search(opened.stream, wanted, at, View(view), chosen)
        names = [shown(b.name) for b in opened.blocks]
        found = False
        for hit in hits:
            if not found and not as_json:
                width = max(map(len, names)) + 11
                click.echo(
                    f"{'address':{width}}  appeared vanished  match" if everything else f"{'address':{width}}  match"
                )
            found = True
            click.echo(_object(hit, names, everything, view) if as_json else _line(hit, names, everything, is_hex))
        return 0 if found else EXIT_FINDINGS


def _pattern(pattern: str, is_hex: bool, utf16: bool, regex: bool, ignore_case: bool) -> Pattern:
    if is_hex:
        try:
            return Pattern.of_bytes(bytes.fromhex(re.sub(r"(?i)0x|[\s:,-]+", "", pattern)))
        except ValueError:
            raise XbrleError(f"{pattern!r} is not bytes; write 'de ad be ef'") from None
    if regex:
        return Pattern.of_regex(pattern, ignore_case)
    return Pattern.of_text(pattern, "utf-16-le" if utf16 else "utf-8", ignore_case)


def _everything(opened: Capture, wanted: Pattern, at: int | None, view: View, block: int | None) -> Iterator[Hit]:
    with progress("searching", len(opened.records.by_number)) as on:
        hits = search_all(opened.stream, wanted, at, view, block, on)
        first = next(hits, None)  # all is searched then
    if first is not None:
        yield first
        yield from hits


def _line(hit: Hit, names: list[str], everything: bool, is_hex: bool) -> str:
    width = max(map(len, names)) + 11
    start = hit.content[:SHOWN]
    content = start.hex(" ") if is_hex else f"|{hexview.printable(start)}|"
    content += "..." if len(hit.content) > SHOWN else ""
    place = f"{f'{names[hit.block]}:{hit.offset:#010x}':{width}}"
    if not everything:
        return f"{place}  {content}"
    return f"{place}  {hit.appeared:8} {hit.vanished or '-':>8}  {content}"


def _object(hit: Hit, names: list[str], everything: bool, view: str) -> str:
    found = {"block": names[hit.block], "offset": hit.offset, "length": len(hit.content), "bytes": hit.content.hex()}
    if everything:
        found |= {"appeared": hit.appeared, "vanished": hit.vanished}
    return json.dumps(found | {"view": view})
