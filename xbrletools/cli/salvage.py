"""`xbrle salvage`: what can be had from a damaged capture, and a clean stream of it."""

import json
import textwrap
from typing import Any

import click
import numpy as np

from ..capture import Capture, open_capture
from ..export.memory import marked_bytes
from ..export.raw import unknown_bytes, whole
from ..memory.confirm import WORDS, Trust
from ..memory.doubt import Cause
from ..model import Certainty
from ..text import shown
from . import EXIT_FINDINGS, giving_blocks, reading
from .output import recovery


def report(capture: Capture, trust: Trust = Trust.STREAM) -> dict[str, Any]:
    """What was recovered of a capture read with salvage, what of that is known, and what was skipped: one JSON object.

    With trust in checksums alone, nothing else counts as recovered.
    """
    records = capture.records
    image = capture.memory(trust=trust)
    sure = capture.confirmed(image) if image.vouched is None else image.vouched
    length = sum(b.length for b in capture.blocks if b.declared)
    pieces = [whole(image, i) for i, b in enumerate(capture.blocks) if b.declared]
    unknown = sum(unknown_bytes(image, p.block) for p in pieces)
    known = sum(marked_bytes(image, p, sure) for p in pieces)
    return {
        "type": "salvage",
        "size": len(capture.data),
        "skipped_bytes": sum(end - start for start, end in capture.skipped),
        "records": int(records.is_page.sum()),
        "kinds": records.counts(),
        "complete": capture.facts.complete,
        "dialect": capture.dialect.name if capture.dialect else None,
        "blocks": [{"name": shown(b.name), "length": b.length} for b in capture.blocks],
        "blocks_from_stream": capture.facts.has_start,
        "records_without_block": capture.facts.lost_names,
        "gaps": [
            {
                "start": g.start,
                "end": g.end,
                "reason": g.reason,
                "certainty": g.certainty.value,
                "evidence": g.evidence,
                "before_record": _next_record(capture, g.row) if records.is_page[g.row :].any() else None,
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
        "words": WORDS,
        "pages": len(capture.space),
        "pages_recovered": image.recovered_count,
        "pages_partly_recovered": len(image.partly),
        "pages_known": int(np.count_nonzero(sure)),
        "bytes": length,
        "bytes_recovered": length - unknown,
        "bytes_known": known,
        "bytes_unprotected": length - unknown - known,
        "bytes_unknown": unknown,
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
    only_known = told["trust"] == Trust.CHECKSUM.value
    partly = f", {told['pages_partly_recovered']} in part" if told["pages_partly_recovered"] else ""
    recovered = f"recovered{partly}, {told['pages_known']} known"
    _line("pages", f"{told['pages_recovered']} of {told['pages']} {'known' if only_known else recovered}")
    _line("memory", recovery(told["bytes_recovered"], told["bytes"], told["bytes_known"], only_known))
    if told["bytes_unprotected"]:
        _line("", "Nothing speaks against what is unprotected, but a byte flipped in it would leave no trace.")
    _line(
        "skipped",
        f"{told['skipped_bytes']} of {told['size']} bytes in {len(told['gaps'])} range{'s' * (len(told['gaps']) != 1)}",
    )
    for gap in told["gaps"]:
        how = f" ({gap['evidence']})" if gap["evidence"] else ""
        _line(
            "",
            f"{gap['start']:#x} to {gap['end']:#x} ({gap['end'] - gap['start']} bytes): {gap['reason']}; "
            f"{_reading_on(gap)}{how}",
        )
    if told["records_without_block"]:
        _line("left out", f"{told['records_without_block']} records whose block cannot be told; --blocks may help")
    stale = [d for d in told["doubts"] if d["cause"] == Cause.STALE.value]
    if stale:
        _line("stale base", f"{len(stale)} deltas are against pages that the receiver had lost; see --view sender")
    for doubt in told["doubts"]:
        if doubt["cause"] != Cause.STALE.value:
            _line("in doubt", f"{_of_pages(doubt)}, {_when(doubt)}: {doubt['reason']}")


def _reading_on(gap: dict[str, Any]) -> str:
    if gap["certainty"] == Certainty.NONE.value:
        return "nothing that can be believed follows"
    if gap["before_record"] is None:
        return f"no record follows; reading on is {gap['certainty']}"
    return f"reading on at record {gap['before_record']} is {gap['certainty']}"


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
@giving_blocks("The RAM blocks, where the capture's own list is lost.")
@click.option(
    "--trust",
    type=click.Choice([t.value for t in Trust]),
    default=Trust.STREAM.value,
    help="Recover what stands in the stream (the default), or only what a checksum vouches for: what is known.",
)
@click.option("-o", "--output", metavar="T", help="Write the records that stand as a clean stream.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    capture: str,
    dialect: str | None,
    endian: str | None,
    page_size: int | None,
    blocks: tuple[tuple[bytes, int], ...] | None,
    trust: str,
    output: str | None,
    as_json: bool,
) -> int:
    """Read a damaged capture S: what was skipped, how sure each resumption is, and what is recovered.

    Recovered is what stands in S and nothing speaks against. Known is what of it a checksum vouches for; the rest is
    unprotected. With -o, all that is recovered is written; with --trust checksum, only what is known.

    Exits 0 where nothing is damaged, 1 where something is.
    """
    opened = open_capture(capture, dialect, endian, page_size, salvage=True, blocks=blocks or ())
    told = report(opened, Trust(trust))
    if output is not None:
        from ..export.clean import write_stream

        written = write_stream(opened.stream, output, Trust(trust))
        told["written"] = {"records": written.records, "left_out": written.left_out, "device_bytes": written.tail}
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print(told)
        if output is not None:
            _line("written", f"{told['written']['records']} records; {told['written']['left_out']} left out")
    damaged = [d for d in opened.doubts if d.cause is not Cause.STALE]
    return EXIT_FINDINGS if opened.gaps or damaged else 0
