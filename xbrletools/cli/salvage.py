"""`xbrle salvage`: what can be had from a damaged capture, and a clean stream of it."""

import json
import textwrap
from typing import Any

import click

from ..capture import Capture, open_capture
from ..errors import XbrleError
from ..export.memory import marked_bytes
from ..export.raw import unknown_bytes, whole
from ..memory.confirm import Trust
from ..memory.doubt import Cause
from ..text import shown, size
from . import EXIT_FINDINGS, reading


def block_sizes(text: str | None) -> list[tuple[bytes, int]]:
    """``NAME=SIZE,...`` as (name, length in bytes).

    Raises:
        XbrleError: it is not written that way.
    """
    blocks = []
    for part in (text or "").split(",") if text else []:
        name, equals, length = part.rpartition("=")
        if not name or not equals:
            raise XbrleError(f"{part!r} is no block; write pc.ram=8M,pc.bios=128K")
        blocks.append((name.encode("utf-8", "surrogateescape"), size(length)))
    return blocks


#: What the numbers claim; docs/salvage.md has the whole.
KNOWN_MEANS = (
    "Known: nothing in the capture says that it is not what was sent. A byte flipped inside a page's content leaves no "
    "trace unless a delta with a checksum follows; --trust checksum keeps what a checksum confirms, and no more."
)


def report(capture: Capture, trust: Trust = Trust.SENT) -> dict[str, Any]:
    """What was recovered and what was not, as one JSON object."""
    records = capture.records
    image = capture.memory(trust=trust)
    confirmed = capture.confirmed(image)
    length = sum(b.length for b in capture.blocks if b.declared)
    pieces = [whole(image, i) for i, b in enumerate(capture.blocks) if b.declared]
    known = length - sum(unknown_bytes(image, p.block) for p in pieces)
    sure = sum(marked_bytes(image, p, confirmed) for p in pieces)
    return {
        "type": "salvage",
        "size": len(capture.data),
        "skipped_bytes": sum(g.end - g.start for g in capture.gaps),
        "records": int(records.is_page.sum()),
        "kinds": records.counts(),
        "complete": capture.scanned.complete,
        "dialect": capture.dialect.name if capture.dialect else None,
        "blocks": [{"name": shown(b.name), "length": b.length} for b in capture.blocks],
        "blocks_from_stream": getattr(capture.scanned, "has_start", True),
        "records_without_block": getattr(capture.scanned, "lost_names", 0),
        "gaps": [
            {
                "start": g.start,
                "end": g.end,
                "reason": g.reason,
                "certainty": g.certainty.value,
                "evidence": g.evidence,
                "before_record": _next_record(capture, g.row),
                "in_place": g.in_place,
            }
            for g in capture.gaps
        ],
        "doubts": [
            {
                "offset": d.offset,
                "cause": d.cause.value,
                "since_record": _next_record(capture, d.since),
                "before_record": _next_record(capture, d.until),
                "pages": [_pages(capture, first, end) for first, end in d.ranges],
                "everything": d.whole,
                "reason": d.reason,
            }
            for d in capture.doubts
        ],
        "trust": trust.value,
        "known_means": KNOWN_MEANS,
        "pages": len(capture.space),
        "pages_known": image.known_count,
        "pages_partly_known": len(image.partly),
        "pages_confirmed": int(confirmed.sum()),
        "bytes": length,
        "bytes_known": known,
        "bytes_confirmed": sure,
        "bytes_unprotected": known - sure,
    }


def _next_record(capture: Capture, row: int) -> int:
    """The number of the first record with a page from ``row`` on; one more than the last where none follows."""
    return int(capture.records.is_page[:row].sum()) + 1


def _pages(capture: Capture, first: int, end: int) -> dict[str, Any]:
    """A range of pages as a person addresses it."""
    space = capture.space
    block = int(space.first[1:].searchsorted(first, side="right"))
    name = shown(space.blocks[block].name) if block < len(space.blocks) else ""
    return {"block": name, "address": (first - int(space.first[block])) * space.page_size, "pages": end - first}


def _print(told: dict[str, Any]) -> None:
    _line("records", f"{told['records']} recovered" + ("" if told["complete"] else "; the capture has no end"))
    _line("pages", f"{told['pages_known']} of {told['pages']} known, {told['pages_partly_known']} in part")
    _line(
        "bytes",
        f"{told['bytes_known']} of {told['bytes']} known: {told['bytes_confirmed']} confirmed by a checksum, "
        f"{told['bytes_unprotected']} as they stand, which nothing protects",
    )
    _line("", KNOWN_MEANS)
    _line("skipped", f"{told['skipped_bytes']} of {told['size']} bytes in {len(told['gaps'])} ranges")
    for gap in told["gaps"]:
        how = f" ({gap['evidence']})" if gap["evidence"] else ""
        _line(
            "",
            f"{gap['start']:#x} to {gap['end']:#x} ({gap['end'] - gap['start']} bytes): {gap['reason']}; reading on at "
            f"record {gap['before_record']} is {gap['certainty']}{how}",
        )
    if told["records_without_block"]:
        _line("left out", f"{told['records_without_block']} records whose block cannot be told; --blocks may help")
    stale = [d for d in told["doubts"] if d["cause"] == Cause.STALE.value]
    if stale:
        _line("stale base", f"{len(stale)} deltas are against pages that the receiver had lost; see --view sender")
    for doubt in told["doubts"]:
        if doubt["cause"] != Cause.STALE.value:
            _line("in doubt", f"{_of_pages(doubt)}, {_when(doubt)}: {doubt['reason']}")


def _line(name: str, text: str) -> None:
    """A name and what is said of it, no wider than a terminal of 80 columns."""
    click.echo(textwrap.fill(text, 79, initial_indent=f"{name:12}", subsequent_indent=" " * 12))


def _of_pages(doubt: dict[str, Any]) -> str:
    if doubt["everything"]:
        return "every page"
    count = sum(p["pages"] for p in doubt["pages"])
    first = doubt["pages"][0]
    return f"{count} page{'s' if count > 1 else ''} from {first['block']}:{first['address']:#x} on"


def _when(doubt: dict[str, Any]) -> str:
    if doubt["cause"] == Cause.RECORD.value and doubt["since_record"] < doubt["before_record"]:
        return f"from record {doubt['since_record']} to {doubt['before_record'] - 1}"
    return f"before record {doubt['before_record']}"


@click.command()
@reading
@click.option("--blocks", metavar="NAME=SIZE,...", help="The RAM blocks, where the capture's own list is lost.")
@click.option(
    "--trust",
    type=click.Choice([t.value for t in Trust]),
    default=Trust.SENT.value,
    help="Known is what was sent (the default), or only what a checksum in the stream vouches for.",
)
@click.option("-o", "--output", metavar="T", help="Write the records that stand as a clean stream.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    blocks: str | None,
    trust: str,
    output: str | None,
    as_json: bool,
) -> int:
    """Read a damaged capture S: what was skipped, how sure each resumption is, and what is known.

    Exits 0 where nothing is damaged, 1 where something is.
    """
    opened = open_capture(capture, dialect, endian, page_size, salvage=True, blocks=block_sizes(blocks))
    told = report(opened, Trust(trust))
    if output is not None:
        from ..export.clean import write_stream

        written = write_stream(opened, output, Trust(trust))
        told["written"] = {"records": written.records, "left_out": written.left_out, "device_bytes": written.tail}
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print(told)
        if output is not None:
            _line("written", f"{told['written']['records']} records; {told['written']['left_out']} left out")
    damaged = [d for d in opened.doubts if d.cause is not Cause.STALE]
    return EXIT_FINDINGS if opened.gaps or damaged else 0
