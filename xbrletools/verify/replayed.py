"""Rules that need memory: whether deltas decode, whether sums hold, and why where they do not.

One replay gives what the receiver had. A sum that fails there and holds in the sender's view shows a stale base
(`stale`). One that fails in both shows damage (`corrupt`).
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec import checksum
from ..codec.batches import overlapped
from ..codec.fault import fault
from ..codec.runs import runs_of_zruns
from ..codec.verdict import Verdict
from ..errors import XbrleError
from ..formats.ram import Kind
from ..model import Stream
from ..source.changed import WRITTEN_TO
from ..table.columns import PIECE
from . import rules
from .corrupt import corrupt_marks
from .ledger import Ledger, Marks, pieces
from .marks import Ints, Mark
from .observed import SUM_BATCH, Replay, Seen, next_full
from .spans import replayed, replayed_marks
from .stale import Stale


def memory_marks(stream: Stream) -> Iterator[Mark]:
    """Replay everything, and mark what deltas and checksums show."""
    yield from _page_sums(stream)
    twice = replayed(stream)
    receiver = Replay(stream)
    receiver.run()
    seen = receiver.seen
    if undecoded := seen["undecoded"]:
        yield from _undecoded(stream, undecoded)
    if baseless := seen["baseless"]:
        yield Mark(rules.DELTA_WITHOUT_BASE, baseless["rows"])
    if damaged := seen["damaged"]:
        yield from _compressed(stream, damaged)
    if blank := seen["blank"]:
        message = (
            "a delta to a page that was never sent in full; over blank memory its sum is {blank:#x}, not {stated:#x}"
        )
        evidence = {"stated": blank["stated"], "blank": blank["computed"]}
        yield Mark(rules.DELTA_WITHOUT_BASE, blank["rows"], message, evidence)
    wrong_rows = stale_rows = np.empty(0, np.int64)
    if wrong := seen["wrong"]:
        wrong_rows = wrong["rows"]
        message = "the header states the sum {stated:#x}, the page has {computed:#x}"
        evidence = {"stated": wrong["stated"], "computed": wrong["computed"]}
        yield Mark(rules.CHECKSUM_MISMATCH, wrong_rows, message, evidence)
    if seen["suspects"]:
        stale = Stale(receiver)
        stale_rows = stale.bases["rows"]
        yield from stale.marks()
    if idle := seen["idle"]:
        yield from _idle(stream, idle)
    unexplained = _without(wrong_rows, stale_rows)
    yield from replayed_marks(stream, twice, unexplained)
    yield from corrupt_marks(receiver, unexplained, twice)


def _without(rows: Ints, others: Ints) -> Ints:
    """The first rows that are not among the others. Both are rising."""
    ledger = Ledger()
    ledger.add({"rows": rows[:0]})
    for part in pieces(len(rows)):
        some = rows[part]
        near = others[slice(*np.searchsorted(others, (some[0], some[-1] + 1)))]
        ledger.add({"rows": some[~np.isin(some, near, assume_unique=True)]})
    left: Ints = ledger.columns()["rows"]
    return left


def _undecoded(stream: Stream, seen: Seen) -> Iterator[Mark]:
    """Deltas that do not decode, with the run that is wrong."""
    names, marks = np.array([v.name.lower() for v in Verdict]), Marks()
    message = (
        "the delta does not come to exactly one page: {verdict}; run {run}, at offset {payload_offset} of its payload "
        "({file_offset:#x}): {found}, expected {expected}"
    )
    whole = seen["rows"] != cut_row(stream)
    rows, verdicts = seen["rows"][whole], seen["verdicts"][whole]
    for part in pieces(len(rows)):
        marks.add(Mark(rules.DELTA_SIZE, rows[part], message, {"verdict": names[verdicts[part]]}))
    yield from (replace(mark, more=partial(_fault, stream)) for mark in marks.whole())


def cut_row(stream: Stream) -> int:
    """The row of the record inside which the capture ends, -1 where there is none: of that nothing can be asked."""
    damage, last = stream.facts.damage, len(stream.records) - 1
    if damage is None or damage.rule != rules.TRUNCATED.id or last < 0:
        return -1
    return last if damage.offset == int(stream.records.columns.offset[last]) else -1


def _fault(stream: Stream, row: int) -> dict[str, Any]:
    """The run that is wrong in the delta of a row, where it stands, and what should stand there."""
    start, payload = _payload(stream, row)
    assert stream.dialect is not None
    found = fault(stream.dialect.encoding, payload, stream.page_size)
    if found is None:
        raise XbrleError(f"the capture was {WRITTEN_TO}", start)
    return {
        "run": found.run,
        "payload_offset": found.at,
        "file_offset": start + found.at,
        "found": found.found,
        "expected": found.expected,
    }


def _idle(stream: Stream, seen: Seen) -> Iterator[Mark]:
    """XBZRLE deltas whose runs begin or end with what the page holds already: the sender's page was another."""
    marks, healing = Marks(), next_full(stream, seen["rows"], seen["pages"])
    message = (
        "run {run}, at offset {payload_offset} of the payload ({file_offset:#x}), begins or ends at {byte:#x} with the "
        "byte that the page has there already; {healed}"
    )
    for part in pieces(len(seen["rows"])):
        evidence = {"byte": seen["place"][part], "healed_by_record": stream.records.numbers.of(healing[part])}
        marks.add(Mark(rules.BASE_WRONG, seen["rows"][part], message, evidence, healing[part] < 0))
    for mark in marks.whole():
        yield replace(mark, more=partial(_idle_run, stream, mark.rows, mark.evidence["byte"]))


def _idle_run(stream: Stream, rows: Ints, places: Ints, row: int) -> dict[str, Any]:
    """The run of a row's delta that writes what is there already, and where it stands.

    ``places`` (n,) int64 has for each of ``rows``, which rise, the byte of the page.
    """
    start, payload = _payload(stream, row)
    place, found = int(places[np.searchsorted(rows, row)]), runs_of_zruns(payload.tobytes())
    run = next((i for i, (_, first, length) in enumerate(found) if first <= place < first + length), None)
    if run is None:
        raise XbrleError(f"the capture was {WRITTEN_TO}", start)
    return {"run": run, "payload_offset": found[run][0], "file_offset": start + found[run][0]}


def _payload(stream: Stream, row: int) -> tuple[int, NDArray[np.uint8]]:
    """Where the payload of a row's delta begins, and its bytes, (length,) uint8."""
    (start,), (length,) = (span.tolist() for span in stream.payloads.spans(np.array([row])))
    return start, stream.data[start : start + length]


def _compressed(stream: Stream, seen: Seen) -> Iterator[Mark]:
    """Zlib streams that are damaged: old senders raced, wrote such streams, and sent the page again."""
    names, marks = np.array([v.name.lower() for v in Verdict]), Marks()
    superseding = next_full(stream, seen["rows"], seen["pages"])
    message = "the zlib stream does not come to exactly one page: {verdict}"
    again = message + "; record {superseded_by_record} gives the page again"
    for part in pieces(len(seen["rows"])):
        rows, verdict, later = seen["rows"][part], names[seen["verdicts"][part]], superseding[part]
        lost = later < 0
        marks.add(Mark(rules.COMPRESSED_PAGE, rows[lost], message, {"verdict": verdict[lost]}))
        evidence = {"verdict": verdict[~lost], "superseded_by_record": stream.records.numbers.of(later[~lost])}
        marks.add(Mark(rules.COMPRESSED_PAGE_SUPERSEDED, rows[~lost], again, evidence))
    yield from marks.whole()


def _page_sums(stream: Stream) -> Iterator[Mark]:
    """PAGE records that carry a sum of their own, in the debug trees of November 2010."""
    if not stream.reading.page_sum:
        return
    columns, size = stream.records.columns, stream.page_size
    at_page, step = overlapped(stream.data, f"V{size}"), max(1, SUM_BATCH // size)
    marks = Marks()
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        rows = np.flatnonzero((piece.kind == Kind.PAGE) & (piece.length == size))
        payload = piece.payload(rows)
        computed = np.empty(len(rows), np.uint32)
        for first in range(0, len(rows), step):
            pages = at_page[payload[first : first + step]].view(np.uint8).reshape(-1, size)
            computed[first : first + len(pages)] = checksum.byte_sum(pages)
        stated = piece.checksum[rows]
        wrong = computed != stated
        message = "the record states the sum {stated:#x}, the page has {computed:#x}"
        evidence = {"stated": stated[wrong], "computed": computed[wrong]}
        marks.add(Mark(rules.CHECKSUM_MISMATCH, rows[wrong] + start, message, evidence))
    yield from marks.whole()
