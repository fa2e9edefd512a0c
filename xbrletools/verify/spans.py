"""Records that came twice, and records that are missing: what shows that a span of a capture was replayed or dropped.

Only deltas show it. A page that is sent again in full is as it should be, and a dropped one shows in nothing that
follows. No real capture has two equal deltas of one page in a row that change something [C]. But a page that changes
and changes back has them, where the deltas are XORs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..arrays import Values
from ..codec.batches import positions
from ..formats.dialects import Encoding
from ..memory.moments import space_of
from ..model import Stream
from ..table.columns import PIECE
from ..table.kinds import IS_DELTA
from . import rules
from .ledger import Ledger, Marks, in_order, pieces
from .marks import Ints, Mark

BATCH = 1 << 20  # bytes of pages whose deltas are decoded at once, to see which change something
MANY = 8  # deltas in a row, amid a sweep, that were hardly undone all by the guest itself
VERY_MANY = 32  # and anywhere
MISSING_PAGES = 4  # pages whose deltas fail, all at once, that speak for records that are missing


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of records that repeat earlier ones, a delta that changes something among them.

    ``first`` and ``last`` (n,) int64 are the numbers of their first and last records. ``shift`` (n,) is how many
    records earlier the ones stand that they repeat, ``count`` (n,) how many such deltas they have.
    """

    first: Ints
    last: Ints
    shift: Ints
    count: Ints

    def __len__(self) -> int:
        return len(self.first)

    def take(self, which: Ints | slice) -> "Spans":
        """Some of them."""
        return Spans(self.first[which], self.last[which], self.shift[which], self.count[which])

    def hold(self, wanted: Ints) -> NDArray[np.bool_]:
        """Whether each record number lies in one of the spans, (n,) bool. The spans are in the order of ``first``."""
        if not len(self):
            return np.zeros(len(wanted), bool)
        reached = np.maximum.accumulate(self.last)
        before = np.searchsorted(self.first, wanted, side="right")
        return (before > 0) & (reached[before - 1] >= wanted)


def replayed(stream: Stream) -> Spans:
    """Spans of records that repeat earlier ones byte for byte, in the order of their first records.

    Each has a delta among them that changes something.
    """
    none = np.empty(0, np.int64)
    ledger, pending, before = Ledger(), Spans(none, none, none, none), none
    ledger.add(_columns(pending))
    for again, of in _repeats(stream) if stream.dialect is not None else ():
        if not len(again):
            continue
        place = stream.records.numbers.of(again)
        groups = _groups(stream, place, place - stream.records.numbers.of(of))
        if len(pending) and _is_one(stream, pending, groups):  # the last one goes on in this piece
            groups.first[0], groups.count[0] = pending.first[0], groups.count[0] + pending.count[0]
        elif len(pending):
            groups = Spans(*(np.append(p, g) for p, g in zip(_list(pending), _list(groups), strict=True)))
        ends = np.append(before if len(before) else 0, groups.last)  # the delta before each, and its own last
        last = len(groups) - 1
        ledger.add(_columns(_grown(stream, groups.take(np.arange(last)), ends[:last], groups.first[1:])))
        pending, before = groups.take(np.array([last])), ends[last : last + 1]
    ledger.add(_columns(_grown(stream, pending, before, np.full(len(pending), stream.records.numbers.last + 1))))
    return Spans(**in_order(ledger.columns(), "first"))


def _columns(spans: Spans) -> dict[str, Ints]:
    return {"first": spans.first, "last": spans.last, "shift": spans.shift, "count": spans.count}


def _list(spans: Spans) -> list[Ints]:
    return [spans.first, spans.last, spans.shift, spans.count]


def _groups(stream: Stream, place: Ints, shift: Ints) -> Spans:
    """These deltas, each of which repeats the one ``shift`` before it, together where the records between them do too:
    spans from delta to delta. n > 0 rising numbers from one piece of the table.
    """
    same = shift[1:] == shift[:-1]
    gaps = np.where(same, np.diff(place) - 1, 0)
    between = positions(place[:-1] + 1, gaps)
    differs = ~_repeat(stream, between, np.repeat(shift[1:], gaps))
    apart = np.bincount(np.repeat(np.arange(len(gaps)), gaps)[differs], minlength=len(gaps)) > 0
    begin = np.flatnonzero(np.append(True, ~same | apart))
    count = np.diff(begin, append=len(place))
    return Spans(place[begin], place[begin + count - 1], shift[begin], count)


def _is_one(stream: Stream, span: Spans, groups: Spans) -> bool:
    """Whether the first of ``groups`` goes on with ``span``, which comes before it."""
    if span.shift[0] != groups.shift[0]:
        return False
    return bool(_extent(stream, span.last, span.shift, groups.first[:1])[0] == groups.first[0])


def _grown(stream: Stream, spans: Spans, before: Ints, after: Ints) -> Spans:
    """Spans with the records around them that repeat earlier ones as well.

    They reach at most to the deltas ``before`` and ``after`` them, (n,) numbers each, which repeat others. So no record
    is looked at more than twice.
    """
    first = _extent(stream, spans.first, spans.shift, np.maximum(before + 1, spans.shift + 1))
    last = _extent(stream, spans.last, spans.shift, after - 1)
    return replace(spans, first=first, last=last)


def _repeats(stream: Stream) -> Iterator[tuple[Ints, Ints]]:
    """Rows of deltas that change something and equal the record before them of their page, and the rows of that record.

    From a piece of the table at a time.
    """
    columns = stream.records.columns
    latest = Values(space_of(stream).places(columns), np.int64)  # of each page the row, plus one, of its last record
    for start in range(0, len(columns), PIECE):
        piece = columns.take(slice(start, start + PIECE))
        pages = space_of(stream).pages_of(piece)
        rows = np.flatnonzero(pages >= 0)
        pages = pages[rows]
        order = np.argsort(pages, kind="stable")
        before = latest[pages] - 1
        same = pages[order][1:] == pages[order][:-1]
        before[order[1:][same]] = rows[order[:-1][same]] + start
        latest[pages] = rows + start + 1
        again = (before >= 0) & IS_DELTA[piece.kind[rows]]
        rows, before = rows[again] + start, before[again]
        equal = _equal(stream, rows, before)
        rows, before = rows[equal], before[equal]
        changes = _changes(stream, rows)
        yield rows[changes], before[changes]


def replayed_marks(stream: Stream, spans: Spans, wrong: Ints) -> Iterator[Mark]:
    """The findings of spans that came twice. ``wrong`` (n,) int64, rising, are rows of records whose sum does not hold.

    No sender writes a literal that its page holds already, and a sum that fails shows that a page is not what it was at
    the sender. An XOR delta that neither contradicts may as well be of a page that changed back in the next sweep over
    memory. Such deltas hardly begin and end amid the sweep that they repeat, nor are they of very many pages.
    """
    if not len(spans):
        return
    assert stream.dialect is not None
    marks = Marks()
    message = "records {first_record} to {last_record} repeat {of_first_record} to {of_last_record} byte for byte, "
    what = "{deltas} deltas that change something among them: "
    for part in pieces(len(spans)):
        taken = spans.take(part)
        first, last, shift = taken.first, taken.last, taken.shift
        at = stream.records.numbers.rows(first)
        sure = np.searchsorted(wrong, at) < np.searchsorted(wrong, stream.records.numbers.rows(last), side="right")
        if stream.dialect.encoding is Encoding.ZRUN:
            sure[:] = True
        goes_on = _goes_on(stream, first - shift - 1) & _goes_on(stream, last)
        likely = (taken.count >= VERY_MANY) | ((taken.count >= MANY) & goes_on)
        evidence = {"first_record": first, "last_record": last, "deltas": taken.count}
        evidence |= {"of_first_record": first - shift, "of_last_record": last - shift}
        for rule, chosen, meaning in (
            (rules.REPLAYED_SPAN, sure, "a span was replayed"),
            (rules.REPLAYED_SPAN, ~sure & likely, "a span was replayed, or as many pages changed back"),
            (rules.DELTA_UNDONE, ~sure & ~likely, "pages changed back, or a span was replayed"),
        ):
            columns = {name: column[chosen] for name, column in evidence.items()}
            errors = sure[chosen] if rule is rules.REPLAYED_SPAN else None
            marks.add(Mark(rule, at[chosen], message + what + meaning, columns, errors))
    yield from marks.whole()


def _goes_on(stream: Stream, place: Ints) -> NDArray[np.bool_]:
    """Whether each record, by its number (n,) int64, and the one after it are of one sweep over memory."""
    followed = (place >= 1) & (place < stream.records.numbers.last)
    rows = (stream.records.numbers.rows(np.where(followed, place + k, 1)) for k in (0, 1))
    page, next_page = (space_of(stream).pages_of(stream.records.columns.take(r)) for r in rows)
    return followed & (page >= 0) & (page < next_page)


def _repeat(stream: Stream, place: Ints, shift: Ints) -> NDArray[np.bool_]:
    """Whether each record, by its number (n,) int64, is the same as the one ``shift`` (n,) before it."""
    return _equal(stream, stream.records.numbers.rows(place), stream.records.numbers.rows(place - shift))


def _equal(stream: Stream, rows: Ints, others: Ints) -> NDArray[np.bool_]:
    """Whether records are the same, their payloads too."""
    columns, data = stream.records.columns, stream.data
    equal = np.ones(len(rows), bool)
    for name in ("kind", "block", "address", "length", "checksum"):
        column = getattr(columns, name)
        equal &= column[rows] == column[others]
    alike = np.flatnonzero(equal)
    one, other = (columns.payload(r[alike]) for r in (rows, others))
    equal[alike] = _hold_the_same(data, one, other, columns.length[rows[alike]].astype(np.int64))
    return equal


def _hold_the_same(data: NDArray[np.uint8], one: Ints, other: Ints, length: Ints) -> NDArray[np.bool_]:
    """Whether ``length`` bytes at two offsets are the same, (n,) each. Those of one length are compared together."""
    same = np.ones(len(length), bool)
    order = np.argsort(length, kind="stable")
    for of_length in np.split(order, np.flatnonzero(np.diff(length[order])) + 1):
        size = int(length[of_length[0]]) if len(of_length) else 0
        windows = sliding_window_view(data, size) if size else data
        step = max(1, BATCH // max(1, size))
        for start in range(0, len(of_length) if size else 0, step):
            some = of_length[start : start + step]
            same[some] = (windows[one[some]] == windows[other[some]]).all(axis=1)
    return same


def _changes(stream: Stream, rows: Ints) -> NDArray[np.bool_]:
    """Whether each delta changes a byte, or states one."""
    out = np.zeros(len(rows), bool)
    step = max(1, BATCH // stream.page_size)
    for start in range(0, len(rows), step):
        where = stream.payloads.changed(rows[start : start + step], stream.page_size)
        out[start : start + step] = where.any(axis=1)
    return out


def _extent(stream: Stream, place: Ints, shift: Ints, limit: Ints) -> Ints:
    """How far from each ``place`` on, to ``limit`` at most, records are as those ``shift`` before them, (n,) int64.

    All are record numbers. A limit below its place is looked for backwards. All places are followed together, a few
    records of each at a time, and more where few places are left.
    """
    end, going, reach, step = place.copy(), np.arange(len(place)), 1, np.sign(limit - place)
    while len(going):
        at, by, way = end[going], shift[going], step[going]
        ahead = np.minimum(reach, np.abs(limit[going] - at))
        which, away = np.repeat(np.arange(len(going)), ahead), positions(np.ones_like(ahead), ahead)
        differs = ~_repeat(stream, at[which] + way[which] * away, by[which])
        equal = ahead.copy()
        np.minimum.at(equal, which[differs], away[differs] - 1)
        end[going] += way * equal
        going = going[equal == reach]
        reach = max(1, min(2 * reach, PIECE // max(1, len(going))))
    return end


def dropped(stream: Stream, after: Ints, at: Ints) -> Iterator[Mark]:
    """Points at which records are missing: deltas ``at`` fail, of pages that were last right at rows ``after``.

    Both are (n,) int64, a page each. A point between all of them explains pages that fail together.
    """
    order = np.argsort(at, kind="stable")
    groups: list[tuple[int, int, int]] = []
    for row, last in zip(at[order].tolist(), after[order].tolist(), strict=True):
        if groups and last < groups[-1][1]:
            low, high, count = groups[-1]
            groups[-1] = (max(low, last), high, count + 1)
        else:
            groups.append((last, row, 1))
    together = np.array([g for g in groups if g[2] >= MISSING_PAGES], np.int64).reshape(-1, 3)
    points, pages = together[:, :2], together[:, 2]
    message = (
        "the deltas of {pages} pages fail from here on; records of theirs that are missing between record "
        "{after_record} and this one would explain all of them"
    )
    evidence = {
        "pages": pages,
        "after_record": stream.records.numbers.of(points[:, 0]),
        "certainty": np.full(len(pages), "likely"),
    }
    yield Mark(rules.DROPPED_SPAN, points[:, 1], message, evidence)
