"""`xbrle salvage`: what is recovered of a damaged capture, and a clean stream of it."""

from typing import Any

import click
import numpy as np

from ..capture import Capture
from ..export.memory import marked_bytes
from ..export.raw import unknown_bytes, whole
from ..memory.confirm import WORDS, Trust
from ..memory.doubt import Cause
from ..memory.image import State
from ..memory.replay import View
from ..model import Certainty
from ..source.sources import MappedSource
from ..text import amount, counted, shown, some
from . import EXIT_FINDINGS
from .faults import say_verdict
from .guide import Page
from .options import giving_blocks, json_object, reading_with
from .output import recovery
from .output import report as say_problems
from .saving import Output, writing
from .writer import entry, say_object


def report(capture: Capture, trust: Trust = Trust.STREAM) -> dict[str, Any]:
    """A JSON object: what was recovered of a salvaged capture, of how much its byte sum holds, and what was skipped.

    With ``Trust.CHECKSUM`` only that counts as recovered.
    """
    records = capture.records
    image = capture.memory(trust=trust)
    confirmed = capture.confirmed(image) if image.sum_held is None else image.sum_held
    length = sum(b.length for b in capture.blocks if b.declared)
    pieces = [whole(image, i) for i, b in enumerate(capture.blocks) if b.declared]
    unknown = sum(unknown_bytes(image, p.block) for p in pieces)
    held = sum(marked_bytes(image, p, confirmed) for p in pieces)
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
        "pages_possible": image.count(State.POSSIBLE, slice(0, len(image.state))),
        "pages_sum_holds": int(np.count_nonzero(confirmed)),
        "bytes": length,
        "bytes_recovered": length - unknown,
        "bytes_sum_holds": held,
        "bytes_unprotected": length - unknown - held,
        "bytes_unknown": unknown,
    }


def _next_record(capture: Capture, row: int) -> int:
    """The number of the first record with a page from ``row`` on, or one more than the last if none follows."""
    return int(capture.records.is_page[:row].sum()) + 1


def _pages(capture: Capture, first: int, end: int) -> dict[str, Any]:
    """A range of pages: its block, its address there, and how many."""
    space = capture.space
    block = int(space.first[1:].searchsorted(first, side="right"))
    name = shown(space.blocks[block].name) if block < len(space.blocks) else ""
    return {"block": name, "address": (first - int(space.first[block])) * space.page_size, "pages": end - first}


def _print(summary: dict[str, Any], aside: bool = False) -> None:
    """Print the summary for people, with ``aside`` to standard error."""

    def _line(name: str, text: str) -> None:
        entry(name, text, 12, aside)

    end = "" if summary["complete"] else "; the capture does not have its end"
    _line("records", f"{summary['records']} recovered{end}")
    only_held = summary["trust"] == Trust.CHECKSUM.value
    partly = f", {summary['pages_partly_recovered']} in part" if summary["pages_partly_recovered"] else ""
    held = "their byte sum holds" if only_held else f"the byte sum of {summary['pages_sum_holds']} holds"
    _line("pages", f"{summary['pages_recovered']} of {summary['pages']} recovered{partly}; {held}")
    _line("memory", recovery(summary["bytes_recovered"], summary["bytes"], summary["bytes_sum_holds"], only_held))
    if summary["pages_possible"]:
        why = "The file holds their content, and nothing shows whether it was still theirs at the end."
        _line("possible", f"{summary['pages_possible']} of the unknown pages. {why} extract --salvage writes it.")
    if summary["bytes_unprotected"]:
        _line("", "Nothing contradicts unprotected bytes, but a flipped byte in them would not show.")
    if summary["bytes_sum_holds"]:
        _line("", "A byte sum is weak: about 2 of 100 flipped bits in a delta keep it.")
    gaps = summary["gaps"]
    ranges = f"{len(gaps)} range{'s' * (len(gaps) != 1)}"
    _line("skipped", f"{summary['skipped_bytes']:,} of {amount(summary['size'])} in {ranges}")
    for gap in gaps:
        how = f" ({gap['evidence']})" if gap["evidence"] else ""
        place = f"{gap['start']:#x} to {gap['end']:#x} ({amount(gap['end'] - gap['start'])})"
        _line("", f"{place}: {gap['reason']}; {_reading_on(gap)}{how}")
    if summary["records_without_block"]:
        records = counted(summary["records_without_block"], "record")
        _line("left out", f"{records} of an unknown RAM block; --blocks may help")
    stale = [d for d in summary["doubts"] if d["cause"] == Cause.STALE.value]
    if stale:
        deltas = some(len(stale), "delta needs a page", "deltas need pages")
        _line("stale base", f"{deltas} that the receiver had lost; see --view sender")
    for doubt in summary["doubts"]:
        if doubt["cause"] != Cause.STALE.value:
            _line("in doubt", f"{_of_pages(doubt)}, {_when(doubt)}: {doubt['reason']}")
    for repair in summary.get("repairs", ()):
        new = repair["data"][:32] or "nothing"
        of = "a byte" if repair["replaced"] == 1 else f"{repair['replaced']} bytes"
        _line("inferred", f"{of} at {repair['offset']:#x} read as {new} ({repair['cause']}): {repair['why']}")
    if summary.get("repairs"):
        _line("", "Repairs are inferred. They undo the one damage that fits, and prove nothing of memory.")
    for cause in summary.get("not_repaired", ()):
        names = " or ".join(cause["candidates"]) or cause["cause"]
        _line("no repair", f"{names} ({cause['certainty']}): {cause['why']}")
    if "written" in summary:
        written = summary["written"]
        _line("written", f"{counted(written['records'], 'record')}; {written['left_out']} left out")


def _reading_on(gap: dict[str, Any]) -> str:
    if gap["certainty"] == Certainty.NONE.value:
        return "no record after it can be believed"
    if gap["before_record"] is None:
        return f"no record follows; the resumption is {gap['certainty']}"
    return f"the resumption at record {gap['before_record']} is {gap['certainty']}"


def _of_pages(doubt: dict[str, Any]) -> str:
    if doubt["everything"]:
        return "every page"
    count = sum(p["pages"] for p in doubt["pages"])
    first = doubt["pages"][0]
    return f"{counted(count, 'page')} from {first['block']}:{first['address']:#x} on"


def _when(doubt: dict[str, Any]) -> str:
    if doubt["cause"] == Cause.RECORD.value and doubt["since_record"] < doubt["before_record"]:
        return f"from record {doubt['since_record']} to {doubt['before_record'] - 1}"
    return f"before record {doubt['before_record']}"


@click.command(
    cls=Page,
    epilog="\b\nExamples:\n"
    "  head -c 400000 samples/posted-8m.bin > /tmp/cut.bin\n"
    "  xbrle salvage /tmp/cut.bin\n"
    "  xbrle salvage /tmp/cut.bin -o /tmp/clean.bin --json",
)
@writing(metavar="T", help="Write the recovered records to T, as a stream without damage.", required=False)
@reading_with(salvage=True)
@giving_blocks("The RAM blocks of S, if its own list is lost.")
@click.option(
    "--trust",
    type=click.Choice([t.value for t in Trust]),
    default=Trust.STREAM.value,
    show_default=True,
    help="What counts as recovered: all that nothing contradicts, or only pages whose byte sum holds.",
)
@click.option("--repair", is_flag=True, help="Undo each damage that only one change of bytes explains.")
@json_object
def command(opened: Capture, trust: str, repair: bool, output: Output | None, as_json: bool) -> int:
    """Recover what a damaged capture S still holds, and list what was skipped.

    Damaged ranges are skipped, and reading goes on where records can be believed again. Each range is listed with how
    sure that is. Pages that lost records may have changed are unknown.

    Memory from intact records is recovered, unless something in S contradicts it. Of some pages a delta states the byte
    sum, and it holds. The others are unprotected: a flipped byte in them would not show. Nothing is proven: a byte sum
    is weak.

    With --repair each damage that has just one explanation in bytes is undone before that, in a copy: a flipped bit of
    a header, records that came twice or changed places. Each is listed as inferred. What rests on it is not known.

    Exit status: 0 nothing is damaged, 1 something is.
    """
    inferred: dict[str, Any] = {}
    if repair:
        opened, inferred = _repaired(opened)
    summary = report(opened, Trust(trust)) | inferred
    if output is not None:
        from ..export.clean import write_stream

        written = write_stream(opened.stream, output.target, Trust(trust), output.force)
        summary["written"] = {"records": written.records, "left_out": written.left_out, "device_bytes": written.tail}
    aside = output is not None and output.is_stdout
    if as_json:
        say_object(summary, err=aside)
    else:
        _print(summary, aside)
    damaged = [d for d in opened.doubts if d.cause is not Cause.STALE]
    beside = say_problems([p for p in opened.problems if p.rule != "skipped" and not p.fatal])
    if opened.gaps or damaged or any(inferred.values()) or beside:
        return EXIT_FINDINGS
    return say_verdict(opened, view=View.SENDER)


def _repaired(opened: Capture) -> tuple[Capture, dict[str, Any]]:
    """The capture with its unique repairs, and what is to be said of them."""
    from ..verify.causes.repairs import repaired

    assert isinstance(opened.source, MappedSource)
    copy, done, left = repaired(opened.source, lambda source: opened.of(source).stream)
    repairs = [
        {
            "offset": r.offset,
            "replaced": r.replaced,
            "data": r.data.hex(),
            "cause": c.name.value,
            "certainty": c.sure.value,
            "inferred": True,
            "why": r.why,
        }
        for c in done
        if (r := c.repair) is not None
    ]
    others = [
        {
            "cause": c.name.value,
            "certainty": c.sure.value,
            "candidates": [n.value for n in c.candidates],
            "why": c.sentence,
        }
        for c in left
    ]
    return (opened if copy is None else opened.of(copy)), {"repairs": repairs, "not_repaired": others}
