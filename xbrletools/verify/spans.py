"""Records that came twice, and records that are missing: what shows that a span of a capture was replayed or dropped.

Both take deltas: a page that is sent again in full is as it should be, and a dropped one shows in nothing that follows.
No real capture has two equal deltas of one page in a row, other than those that change nothing [C]. A page that changes
and changes back has, where the deltas are XORs.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas
from ..formats.dialects import Encoding
from ..stream.records import PIECE
from ..stream.reserve import reserve
from .marks import IS_DELTA, Ints, Mark, Numbers

if TYPE_CHECKING:
    from ..capture import Capture

BATCH = 1 << 20  # bytes of pages whose deltas are decoded at once, to see which change something
MANY = 8  # deltas in a row, amid a sweep, that were hardly undone all by the guest itself
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


def replayed_marks(capture: "Capture", spans: list[tuple[int, int, int, int]], wrong: Ints) -> Iterator[Mark]:
    """The findings of spans that came twice; ``wrong`` (n,) int64, rising: numbers of records whose sum does not hold.

    A literal that its page holds already is nothing that a sender writes, and a sum that fails shows that a page is not
    what it was at the sender. An XOR delta that neither contradicts may as well be a page that changed back in the next
    sweep over memory; that one hardly begins and ends amid the sweep that it repeats.
    """
    if not spans:
        return
    assert capture.dialect is not None
    found = np.array(sorted(spans), np.int64)
    first, last, shift, count = found.T
    sure = np.searchsorted(wrong, first) < np.searchsorted(wrong, last, side="right")
    if capture.dialect.encoding is Encoding.ZRUN:
        sure[:] = True
    by_number = capture.records.by_number
    at = by_number[first - 1]
    likely = (count >= MANY) & _goes_on(capture, first - shift - 1, first - shift) & _goes_on(capture, last, last + 1)
    message = "records {first_record} to {last_record} repeat {of_first_record} to {of_last_record} byte for byte, "
    evidence = {"first_record": first, "last_record": last, "deltas": count}
    evidence |= {"of_first_record": first - shift, "of_last_record": last - shift}
    what = "{deltas} deltas that change something among them: "
    for rule, chosen, meaning in (
        ("replayed-span", sure, "a span was replayed"),
        ("replayed-span", ~sure & likely, "a span was replayed, or as many pages changed back"),
        ("delta-undone", ~sure & ~likely, "pages changed back, or a span was replayed"),
    ):
        if chosen.any():
            columns = {name: column[chosen] for name, column in evidence.items()}
            yield Mark(
                rule, at[chosen], message + what + meaning, columns, sure[chosen] if rule == "replayed-span" else None
            )


def _goes_on(capture: "Capture", numbers: Ints, following: Ints) -> NDArray[np.bool_]:
    """Whether the records of these numbers and the following ones, (n,) int64 each, are of one sweep over memory."""
    by_number = capture.records.by_number
    there = (numbers >= 1) & (following <= len(by_number))
    places = (np.where(there, n, 1) - 1 for n in (numbers, following))
    one, next_one = (capture.space.rows(capture.records.columns.take(by_number[p])) for p in places)
    return there & (one >= 0) & (one < next_one)


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
    step = max(1, BATCH // capture.page_size)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        columns = capture.records.columns.take(some)
        at, length = columns.offset.astype(np.int64) + columns.head, columns.length.astype(np.int64)
        where, _ = deltas.changed(capture.dialect.encoding, capture.data, at, length, capture.page_size)
        out[start : start + step] = where.any(axis=1)
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
