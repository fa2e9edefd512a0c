"""`xbrle salvage`: what can be had from a damaged capture, and a clean stream of it."""

import json
from typing import Any

import click

from ..capture import Capture, open_capture
from ..errors import XbrleError
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


def report(capture: Capture) -> dict[str, Any]:
    """What was recovered and what was not, as one JSON object."""
    records = capture.records
    image = capture.memory()
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
                "since_record": _next_record(capture, d.since),
                "before_record": _next_record(capture, d.until),
                "cause": d.cause.value,
                "pages": [_pages(capture, first, end) for first, end in d.ranges],
                "everything": d.whole,
                "reason": d.reason,
            }
            for d in capture.doubts
        ],
        "pages": len(capture.space),
        "pages_known": int(image.known.sum()),
        "pages_partly_known": len(image.partly),
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
    click.echo(f"records     {told['records']} recovered" + ("" if told["complete"] else "; the capture has no end"))
    click.echo(f"pages       {told['pages_known']} of {told['pages']} known, {told['pages_partly_known']} in part")
    click.echo(f"skipped     {told['skipped_bytes']} of {told['size']} bytes in {len(told['gaps'])} ranges")
    for gap in told["gaps"]:
        click.echo(
            f"  {gap['start']:#x} to {gap['end']:#x} ({gap['end'] - gap['start']} bytes): {gap['reason']}; reading on "
            f"at record {gap['before_record']} is {gap['certainty']}"
            + (f" ({gap['evidence']})" if gap["evidence"] else "")
        )
    if told["records_without_block"]:
        click.echo(f"left out    {told['records_without_block']} records whose block cannot be told; --blocks may help")
    for doubt in told["doubts"]:
        pages = "every page" if doubt["everything"] else f"{sum(p['pages'] for p in doubt['pages'])} pages"
        click.echo(f"in doubt    {pages} before record {doubt['before_record']}: {doubt['reason']}")


@click.command()
@reading
@click.option("--blocks", metavar="NAME=SIZE,...", help="The RAM blocks, where the capture's own list is lost.")
@click.option("-o", "--output", metavar="T", help="Write the records that stand as a clean stream.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    blocks: str | None,
    output: str | None,
    as_json: bool,
) -> int:
    """Read a damaged capture S: what was skipped, how sure each resumption is, and what is known.

    Exits 0 where nothing is damaged, 1 where something is.
    """
    opened = open_capture(capture, dialect, endian, page_size, salvage=True, blocks=block_sizes(blocks))
    told = report(opened)
    if output is not None:
        from ..export.clean import write_stream

        written = write_stream(opened, output)
        told["written"] = {"records": written.records, "left_out": written.left_out, "device_bytes": written.tail}
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print(told)
        if output is not None:
            click.echo(
                f"written     {told['written']['records']} records; {told['written']['left_out']} in doubt left out"
            )
    return EXIT_FINDINGS if opened.gaps or opened.doubts else 0
