"""`xbrle grep`: where a pattern is in memory, or where and when it ever was."""

import json
import re
from collections.abc import Iterator
from itertools import repeat

import click

from ..analysis.pattern import Pattern
from ..analysis.search import Hit, search, search_all
from ..capture import Capture
from ..errors import XbrleError
from ..memory.replay import View
from ..text import shown
from . import EXIT_FINDINGS, hexview
from .addresses import Virtual, giving_cpu, virtual_words
from .options import before, examples, json_lines, salvaging, viewing
from .output import progress, report
from .writer import say

SHOWN = 32  # bytes of a match


def _usage(is_hex: bool, utf16: bool, regex: bool, ignore_case: bool) -> None:
    if is_hex + utf16 + regex > 1:
        raise click.UsageError("--hex, --utf16 and --regex exclude each other")
    if is_hex and ignore_case:
        raise click.UsageError("--hex and --ignore-case exclude each other")


@click.command(
    epilog=examples(
        "grep samples/posted-8m.bin -i mig",
        "grep samples/posted-8m.bin --hex '55 aa' --at 2000",
        "grep samples/posted-8m.bin --regex '[A-Za-z ]{12,}' --all",
    )
)
@before(_usage)
@salvaging
@click.argument("pattern")
@click.option("--hex", "is_hex", is_flag=True, help="PATTERN is bytes in hexadecimal, for example 'de ad be ef'.")
@click.option("--utf16", is_flag=True, help="PATTERN is text, stored as little-endian UTF-16.")
@click.option("--regex", is_flag=True, help="PATTERN is a regular expression over bytes (Python syntax).")
@click.option("--ignore-case", "-i", is_flag=True, help="Ignore the difference between upper and lower case.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Search every version of every page; show the records at which a match appeared and vanished.",
)
@click.option(
    "--at",
    type=int,
    metavar="RECORD",
    help="Search memory just after this record (default: at the end). With --all: search all versions up to it.",
)
@click.option("--block", metavar="NAME", help="Search only this RAM block.")
@click.option("--virtual", is_flag=True, help="Show the virtual addresses of each match, too.")
@giving_cpu
@viewing
@json_lines
def command(
    opened: Capture,
    pattern: str,
    is_hex: bool,
    utf16: bool,
    regex: bool,
    ignore_case: bool,
    everything: bool,
    at: int | None,
    block: str | None,
    virtual: bool,
    cpu: int | None,
    view: str,
    as_json: bool,
) -> int:
    """Search the memory that S carries for PATTERN.

    PATTERN is text unless an option says otherwise. A match may cross page borders, but never contains unknown bytes.
    With --regex, ^ and $ match at line breaks, and a match ends at most 4 KiB after the page that it begins in. An
    expression may take a second for a page. Where it takes more, the search ends with an error that names the page.

    With --virtual, each match is followed by its virtual addresses in the page tables of a CPU at the end of S, or by -
    where these tables do not map it.

    Exit status: 0 something matched, 1 nothing matched or virtual addresses may be missing, 2 S cannot be read or the
    search ended early.
    """
    wanted = _pattern(pattern, is_hex, utf16, regex, ignore_case)
    report(opened.problems)
    chosen = None if block is None else opened.space.index(block)
    if everything:
        hits = _everything(opened, wanted, at, View(view), chosen)
    else:
        hits = search(opened.stream, wanted, at, View(view), chosen)
    names = [shown(b.name) for b in opened.blocks]
    found = False
    looked_up = Virtual(opened, cpu, view) if virtual else None
    for hit, addresses in looked_up.of(hits) if looked_up else zip(hits, repeat(None)):
        if not found and not as_json:
            moments = "  appeared vanished" if everything else ""
            say(f"{'address':{max(map(len, names)) + 11}}{moments}  match")
        found = True
        if as_json:
            say(_object(hit, names, everything, view, addresses))
        else:
            say(_line(hit, names, everything, is_hex) + ("" if addresses is None else f"  {virtual_words(addresses)}"))
    status = looked_up.report() if looked_up else 0
    return status if found else EXIT_FINDINGS


def _pattern(pattern: str, is_hex: bool, utf16: bool, regex: bool, ignore_case: bool) -> Pattern:
    if is_hex:
        try:
            return Pattern.of_bytes(bytes.fromhex(re.sub(r"(?i)0x|[\s:,-]+", "", pattern)))
        except ValueError:
            raise XbrleError(
                f"invalid bytes {pattern!r}: use pairs of hexadecimal digits, for example 'de ad be ef'"
            ) from None
    if regex:
        return Pattern.of_regex(pattern, ignore_case)
    return Pattern.of_text(pattern, "utf-16-le" if utf16 else "utf-8", ignore_case)


def _everything(opened: Capture, wanted: Pattern, at: int | None, view: View, block: int | None) -> Iterator[Hit]:
    with progress("searching", len(opened.records.by_number)) as on:
        hits = search_all(opened.stream, wanted, at, view, block, on)
        first = next(hits, None)  # the whole search ends before the first hit comes
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


def _object(hit: Hit, names: list[str], everything: bool, view: str, virtual: list[int] | None) -> str:
    found = {"block": names[hit.block], "offset": hit.offset, "length": len(hit.content), "bytes": hit.content.hex()}
    if everything:
        found |= {"appeared": hit.appeared, "vanished": hit.vanished}
    if virtual is not None:
        found |= {"virtual": virtual}
    return json.dumps(found | {"view": view})
