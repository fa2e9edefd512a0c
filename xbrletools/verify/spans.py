"""Records that came twice, and records that are missing: what shows that a span of a capture was replayed or dropped.

Both take deltas: a page that is sent again in full is as it should be, and a dropped one shows in nothing that follows.
No real capture has two equal deltas of one page in a row, other than those that change nothing [C].
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas
from ..stream.records import PIECE
from ..stream.reserve import reserve
from .marks import IS_DELTA, Ints, Mark, Numbers

if TYPE_CHECKING:
    from ..capture import Capture

BATCH = 256  # deltas that are decoded at once, to see which change something
MISSING_PAGES = 4  # pages whose deltas fail, all at once, that speak for records that are missing


def replayed(capture: "Capture", numbers: Numbers) -> list[tuple[int, int, int, int]]:
    """Spans of records that repeat earlier ones byte for byte, a delta that changes something among them.

    Each as the numbers of its first and last record, how many records before them they repeat, and how many such deltas
    there are.
    """
    if capture.dialect is None:
        return []
    spans: list[tuple[int, int, int, int]] = []
    for again, before in _repeats(capture):
        shifts = numbers.of(again) - numbers.of(before)
        for place, shift in zip((numbers.of(again) - 1).tolist(), shifts.tolist(), strict=True):
            if spans and spans[-1][1] >= place and spans[-1][2] == shift:
                first, last, _, count = spans[-1]
                spans[-1] = (first, last, shift, count + 1)
                continue
            first, last = (_extent(capture, capture.records.by_number, place, shift, step) for step in (-1, 1))
            spans.append((first, last, shift, 1))
    return [(first + 1, last + 1, shift, count) for first, last, shift, count in spans]


def _repeats(capture: "Capture") -> Iterator[tuple[Ints, Ints]]:
    """Rows of deltas that change something and are the same as the record of their page before them, and its rows; from
    a piece of the table at a time.
    """
    columns = capture.records.columns
    latest = reserve((len(capture.space),), np.int64)  # of each page the row, plus one, of its last record
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        pages = capture.space.rows(piece)
        rows = np.flatnonzero(pages >= 0)
        pages = pages[rows]
        order = np.argsort(pages, kind="stable")
        before = latest[pages] - 1
        same = pages[order][1:] == pages[order][:-1]
        before[order[1:][same]] = rows[order[:-1][same]] + start
        latest[pages] = rows + start + 1
        again = (before >= 0) & IS_DELTA[piece.kind[rows]]
        rows, before = rows[again] + start, before[again]
        equal = _equal(capture, rows, before)
        rows, before = rows[equal], before[equal]
        changes = _changes(capture, rows)
        yield rows[changes], before[changes]


def replayed_marks(capture: "Capture", spans: list[tuple[int, int, int, int]]) -> Iterator[Mark]:
    """The findings of spans that came twice."""
    if not spans:
        return
    found = np.array(sorted(spans), np.int64)
    first, last, shift, count = found.T
    message = (
        "records {first_record} to {last_record} repeat {of_first_record} to {of_last_record} byte for byte, {deltas} "
        "deltas that change something among them: a span was replayed"
    )
    evidence = {"first_record": first, "last_record": last, "deltas": count}
    evidence |= {"of_first_record": first - shift, "of_last_record": last - shift}
    yield Mark("replayed-span", capture.records.by_number[first - 1], message, evidence)


def _equal(capture: "Capture", rows: Ints, others: Ints) -> NDArray[np.bool_]:
    """Whether records are the same, their payloads too."""
    columns, data = capture.records.columns, capture.data
    equal = np.ones(len(rows), bool)
    for name in ("kind", "block", "address", "length", "checksum"):
        column = getattr(columns, name)
        equal &= column[rows] == column[others]
    for i in np.flatnonzero(equal).tolist():
        length = int(columns.length[rows[i]])
        one, other = (int(columns.offset[row]) + int(columns.head[row]) for row in (rows[i], others[i]))
        equal[i] = bool((data[one : one + length] == data[other : other + length]).all())
    return equal


def _changes(capture: "Capture", rows: Ints) -> NDArray[np.bool_]:
    """Whether each delta changes a byte, or states one."""
    assert capture.dialect is not None
    out = np.zeros(len(rows), bool)
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        columns = capture.records.columns.take(some)
        at, length = columns.offset.astype(np.int64) + columns.head, columns.length.astype(np.int64)
        where, _ = deltas.changed(capture.dialect.encoding, capture.data, at, length, capture.page_size)
        out[start : start + BATCH] = where.any(axis=1)
    return out


def _extent(capture: "Capture", carriers: Ints, place: int, shift: int, step: int) -> int:
    """How far from ``place`` on, by ``step``, records are as those ``shift`` before them."""
    end = place
    while end + step - shift >= 0 and end + step < len(carriers):
        there = carriers[[end + step]], carriers[[end + step - shift]]
        if not _equal(capture, *there)[0]:
            break
        end += step
    return end


def dropped(after: Ints, at: Ints, numbers: Numbers) -> Iterator[Mark]:
    """Points at which records are missing: deltas ``at`` fail, of pages that were last right at rows ``after``.

    Both (n,) int64, a page each; a point between them all explains pages that fail together.
    """
    order = np.argsort(at, kind="stable")
    groups: list[tuple[int, int, int]] = []
    for row, last in zip(at[order].tolist(), after[order].tolist(), strict=True):
        if groups and last < groups[-1][1]:
            low, high, count = groups[-1]
            groups[-1] = (max(low, last), high, count + 1)
        else:
            groups.append((last, row, 1))
    found = np.array([g for g in groups if g[2] >= MISSING_PAGES], np.int64).reshape(-1, 3)
    points, pages = found[:, :2], found[:, 2]
    message = (
        "the deltas of {pages} pages fail from here on; records of theirs that are missing between record "
        "{after_record} and this one would explain all of them"
    )
    evidence = {"pages": pages, "after_record": numbers.of(points[:, 0]), "certainty": np.full(len(pages), "likely")}
    yield Mark("dropped-span", points[:, 1], message, evidence)
