"""Rules that need memory: whether deltas decode, whether sums hold, and why where they do not.

One replay gives what the receiver had. Where a delta follows a dup page that its sender did not cache, the sender's own
view of those pages is replayed too: a sum that holds there, and not at the receiver, shows a stale base; one that holds
in neither shows damage; one that holds in both is a collision, a byte sum being blind to permutations.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..codec import checksum, deltas
from ..codec.batches import overlapped
from ..codec.uniform import NOT_UNIFORM, fills
from ..codec.verdict import Verdict
from ..formats.dialects import Checksum, Dialect
from ..formats.ram import Kind
from ..formats.xbrle import HeaderFlag
from ..memory.doubt import Cause, as_lapses
from ..memory.image import Image, State
from ..memory.lapses import joined
from ..memory.moments import discards_of, doubts_of, space_of
from ..memory.replay import CHUNK, Layer, View, apply
from ..model import Stream
from ..table.columns import PIECE, Columns
from ..table.kinds import IS_DELTA, IS_PAGE
from . import rules
from .ledger import Ledger, Marks, in_order, pieces, room
from .marks import Ints, Mark, Numbers
from .rules import Proof
from .spans import Spans, dropped, replayed, replayed_marks

_SUM_BATCH = 1 << 20  # bytes of pages that are summed at once
AT_ONCE = 1 << 17  # records that are put in order by their pages at once
SURE = (
    "the sender's base is the page of record {base_record}; the receiver lost it to the dup page of record "
    "{dup_record}; healed by record: {healed_by_record}"
)
UNSURE = (
    "as the posted sender has it, the base is the page of record {base_record}, which the receiver lost to the dup "
    "page of record {dup_record}; no checksum shows it, and a sender changed to cache dup pages would be right; healed "
    "by record: {healed_by_record}"
)
_SEEN = ("undecoded", "baseless", "damaged", "blank", "wrong", "suspects")

_Found = dict[str, NDArray[Any]]


def memory_marks(stream: Stream) -> Iterator[Mark]:
    """Replay everything, and mark what deltas and checksums show."""
    yield from _page_sums(stream)
    numbers = Numbers(stream.records.columns.kind)
    twice = replayed(stream, numbers)
    receiver = _Replay(stream)
    receiver.run()
    found = receiver.found
    if rows := found["undecoded"]:
        yield from _undecoded(rows)
    if rows := found["baseless"]:
        yield Mark(rules.DELTA_WITHOUT_BASE, rows["rows"])
    if rows := found["damaged"]:
        yield from _compressed(stream, numbers, rows)
    if rows := found["blank"]:
        message = (
            "a delta to a page that was never sent in full; over blank memory its sum is {blank:#x}, not {stated:#x}"
        )
        yield Mark(
            rules.DELTA_WITHOUT_BASE, rows["rows"], message, {"stated": rows["stated"], "blank": rows["computed"]}
        )
    wrong = explained = np.empty(0, np.int64)
    if rows := found["wrong"]:
        wrong = rows["rows"]
        message = "the header states the sum {stated:#x}, the page has {computed:#x}"
        evidence = {"stated": rows["stated"], "computed": rows["computed"]}
        yield Mark(rules.CHECKSUM_MISMATCH, wrong, message, evidence)
    if rows := found["suspects"]:
        stale = _Stale(stream, receiver, rows)
        explained = stale.found["rows"]
        yield from stale.marks(numbers)
    unexplained = _without(wrong, explained)
    yield from replayed_marks(stream, twice, numbers, unexplained)
    yield from _corrupt(stream, receiver, numbers, unexplained, twice)


def _without(rows: Ints, others: Ints) -> Ints:
    """The first rows that are none of the others; both are rising."""
    ledger = Ledger()
    ledger.add({"rows": rows[:0]})
    for some in pieces(len(rows)):
        mine = rows[some]
        near = others[slice(*np.searchsorted(others, (mine[0], mine[-1] + 1)))]
        ledger.add({"rows": mine[~np.isin(mine, near, assume_unique=True)]})
    left: Ints = ledger.columns()["rows"]
    return left


def _undecoded(found: _Found) -> Iterator[Mark]:
    """Deltas that do not decode."""
    names, marks = np.array([v.name.lower() for v in Verdict]), Marks()
    message = "the delta does not come to exactly one page: {verdict}"
    for some in pieces(len(found["rows"])):
        marks.add(Mark(rules.DELTA_SIZE, found["rows"][some], message, {"verdict": names[found["verdicts"][some]]}))
    yield from marks.whole()


def _compressed(stream: Stream, numbers: Numbers, found: _Found) -> Iterator[Mark]:
    """Zlib streams that are damaged: old senders raced, wrote such, and sent the page again."""
    rows, marks = found["rows"], Marks()
    names = np.array([v.name.lower() for v in Verdict])
    superseding = _next_full(stream, rows, found["pages"])
    message = "the zlib stream does not come to exactly one page: {verdict}"
    again = message + "; record {superseded_by_record} gives the page again"
    for some in pieces(len(rows)):
        mine, verdict, later = rows[some], names[found["verdicts"][some]], superseding[some]
        lost = later < 0
        marks.add(Mark(rules.COMPRESSED_PAGE, mine[lost], message, {"verdict": verdict[lost]}))
        evidence = {"verdict": verdict[~lost], "superseded_by_record": numbers.of(later[~lost])}
        marks.add(Mark(rules.COMPRESSED_PAGE_SUPERSEDED, mine[~lost], again, evidence))
    yield from marks.whole()


class _Replay:
    """One replay, collecting what its deltas show; what it shows of a chunk is sorted by row when the chunk is done.

    ``found``, after `run`, has columns with ``rows`` and, where that is needed, ``pages`` and what was seen; empty
    where there is nothing. ``suspects`` are deltas whose page the receiver last got as a dup page, with the rows of
    that dup page and of what was sent before it, -1 for nothing. ``holds`` (rows of the table,) bool: a delta's stated
    sum is its page's.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.dialect = stream.dialect
        self.columns = stream.records.columns
        self.image = Image(space_of(stream))
        pages = len(space_of(stream))
        # Of each page the row, plus one, of its last full record, its last dup, and the last that was no dup.
        row = np.uint32 if len(self.columns) < np.iinfo(np.uint32).max else np.int64
        self.last_full = reserve((pages,), row)
        self.last_dup = reserve((pages,), row)
        self.last_sent = reserve((pages,), row)
        if any(g.row == 0 and g.may_hold_records for g in stream.facts.gaps):
            self.last_full += 1  # the records that are lost at the head may have given any page
        self.holds = room(len(self.columns), bool)
        self.uniform = room(len(self.columns), bool)
        self.found: dict[str, _Found] = {}
        self._where = np.empty(0, np.int64)
        self._chunk: dict[str, list[_Found]] = {name: [] for name in _SEEN}

    def run(self, wanted: NDArray[np.bool_] | None = None) -> None:
        """Apply all records, or those of ``wanted`` pages (pages + 1,) that are no dup pages."""
        ledgers = {name: Ledger() for name in _SEEN}
        columns, space = self.columns, space_of(self.stream)
        discards = discards_of(self.stream)
        lost = as_lapses(d for d in doubts_of(self.stream, View.RECEIVER) if d.cause is Cause.GAP)
        for start, end, forgotten in joined(discards, lost).pieces(len(columns), CHUNK):
            forgotten.forget(self.image)
            for _, _, first, stop in discards.take(discards.since == start):
                self.last_full[first:stop] = 0
            chunk = columns.take(slice(start, end))
            self._where = np.arange(start, end)
            if wanted is not None:
                mine = np.flatnonzero(wanted[space.rows(chunk)] & (chunk.kind != Kind.DUP))
                chunk, self._where = chunk.take(mine), mine + start
            apply(self.image, self.stream.data, chunk, self.dialect, self._observe)
            for name, seen in self._chunk.items():
                if seen:
                    order = np.argsort(np.concatenate([p["rows"] for p in seen]), kind="stable")
                    ledgers[name].add({n: np.concatenate([p[n] for p in seen])[order] for n in seen[0]})
                    seen.clear()
        self.found = {name: ledger.columns() for name, ledger in ledgers.items()}

    def _see(self, name: str, rows: Ints, **columns: NDArray[Any]) -> None:
        if len(rows):
            self._chunk[name].append({"rows": rows, **columns})

    def _observe(self, layer: Layer) -> None:
        """Look at a layer's deltas while the image is as they left it, and remember what each page held last."""
        where = self._where[layer.places]
        if len(layer.deltas) and self.dialect is not None:
            rows, pages = where[layer.deltas], layer.rows[layer.deltas]
            bad = layer.verdicts != Verdict.OK
            self._see("undecoded", rows[bad], verdicts=layer.verdicts[bad])
            baseless = ~layer.based & (self.last_full[pages] == 0)
            if baseless.any():
                blank = self._over_blank(rows[baseless & ~bad], pages[baseless & ~bad], self.dialect)
                self._see("baseless", rows[baseless & ~np.isin(rows, blank)])
            good = ~bad & (self.image.state[pages] == State.KNOWN)
            self._look(rows[good], pages[good], self.dialect)
        bad = layer.inflated != Verdict.OK
        if bad.any():
            mine = layer.compressed[bad]
            self._see("damaged", where[mine], pages=layer.rows[mine], verdicts=layer.inflated[bad])
        full = np.ones(len(where), bool)
        full[layer.deltas] = False
        dup = layer.kind == Kind.DUP
        self.last_full[layer.rows[full]] = where[full] + 1
        self.last_dup[layer.rows[dup]] = where[dup] + 1
        self.last_sent[layer.rows[~dup]] = where[~dup] + 1

    def _over_blank(self, rows: Ints, pages: Ints, dialect: Dialect) -> Ints:
        """Of deltas to pages that nothing was sent for, those whose sums do not hold over a fresh receiver's zeros."""
        first = _checked(self.columns, rows, dialect) & (self.last_sent[pages] == 0)
        rows = rows[first]
        computed = np.empty(len(rows), np.uint32)
        step = max(1, _SUM_BATCH // self.stream.page_size)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            fresh = np.zeros((len(some), self.stream.page_size), np.uint8)
            length = self.columns.length[some].astype(np.int64)
            deltas.apply(dialect.encoding, self.stream.data, self._payload(some), length, fresh)
            computed[start : start + len(some)] = checksum.byte_sum(fresh)
        if dialect.checksum is Checksum.COMPLEMENT:
            computed = ~computed
        stated = self.columns.checksum[rows]
        wrong = computed != stated
        self._see("blank", rows[wrong], stated=stated[wrong], computed=computed[wrong])
        found: Ints = rows[wrong]
        return found

    def _payload(self, rows: Ints) -> Ints:
        return self.columns.payload(rows)

    def _look(self, rows: Ints, pages: Ints, dialect: Dialect) -> None:
        """Compare the stated sums of decoded deltas with their pages; note those whose base may be stale."""
        checked = _checked(self.columns, rows, dialect)
        if checked.any():
            mine = rows[checked]
            stated = self.columns.checksum[mine]
            computed = checksum.byte_sum(self.image.pages, pages[checked])
            if dialect.checksum is Checksum.COMPLEMENT:
                computed = ~computed
            wrong = computed != stated
            self.holds[mine[~wrong]] = True
            self._see("wrong", mine[wrong], stated=stated[wrong], computed=computed[wrong])
        if not dialect.caches_dup:
            self.uniform[rows[~checked]] = fills(self.image.pages, pages[~checked]) != NOT_UNIFORM
            suspect = (self.last_dup[pages] > 0) & (self.last_dup[pages] == self.last_full[pages])
            p = pages[suspect]
            dups, bases = self.last_dup[p].astype(np.int64) - 1, self.last_sent[p].astype(np.int64) - 1
            self._see("suspects", rows[suspect], pages=p, dups=dups, bases=bases)


def _checked(columns: Columns, rows: Ints, dialect: Dialect) -> NDArray[np.bool_]:
    """Whether each delta states a sum."""
    if dialect.checksum is Checksum.FLAGGED:
        flagged: NDArray[np.bool_] = (columns.header_flags[rows] & HeaderFlag.CHECKSUM) != 0
        return flagged
    return np.full(len(rows), dialect.checksum is not Checksum.NONE)


class _Stale:
    """Which suspects were in truth sent against a base that the receiver had lost, and what became of their pages.

    ``found`` has them in order: their ``place`` among the suspects, their ``rows``, whether their sum holds in both
    views (``collides``), whether they state one (``checked``), whether a uniform page shows it (``proves``).
    """

    def __init__(self, stream: Stream, receiver: _Replay, suspects: _Found) -> None:
        self.stream = stream
        self.suspects = suspects
        sender = self._sender(suspects["pages"])
        caches = denied = proven = False
        for some in pieces(len(suspects["rows"])):
            checked, here, there, proves, denies = self._shown(receiver, sender, some)
            # A sum that holds at the receiver alone shows a sender that did put the dup page into its cache.
            caches |= bool((checked & here & ~there).any())
            denied |= bool(denies.any())
            proven |= bool(proves.any())
        caches |= denied and not proven
        ledger = Ledger()
        for some in pieces(len(suspects["rows"])):
            checked, here, there, proves, _ = self._shown(receiver, sender, some)
            stale = np.flatnonzero(np.where(checked, there & ~(here & caches), proves | (not caches)))
            told = {"collides": here & there & checked, "checked": checked, "proves": proves}
            which = {"place": stale + some.start, "rows": suspects["rows"][some][stale]}
            ledger.add(which | {name: column[stale] for name, column in told.items()})
        self.found = ledger.columns()

    def _shown(self, receiver: _Replay, sender: _Replay, some: slice) -> tuple[NDArray[np.bool_], ...]:
        """Of some suspects, (n,) bool each: whether they state a sum, whether it holds at the receiver and in the
        sender's view, and whether the page that comes of one without a sum proves a stale base, or denies it.

        What is one repeated byte goes as a dup page: if such a page comes of a delta at the receiver, the sender's base
        was another; if one comes of it in the sender's view, the sender did not forget the dup page.
        """
        rows, dialect = self.suspects["rows"][some], self.stream.dialect
        assert dialect is not None
        checked = _checked(self.stream.records.columns, rows, dialect)
        proves, denies = ~checked & receiver.uniform[rows], ~checked & sender.uniform[rows]
        return checked, receiver.holds[rows], sender.holds[rows], proves, denies

    def _sender(self, pages: Ints) -> _Replay:
        """The sender's view of these pages: their records but for the dup pages, which it did not cache."""
        wanted = reserve((len(space_of(self.stream)) + 1,), bool)
        for start in range(0, len(pages), PIECE):
            wanted[pages[start : start + PIECE]] = True
        wanted[-1] = False
        replay = _Replay(self.stream)
        replay.run(wanted)
        return replay

    def marks(self, numbers: Numbers) -> Iterator[Mark]:
        """The findings: each stale base, and the sums that hide one."""
        marks, found = Marks(), self.found
        healing = _next_full(self.stream, self.suspects["rows"], self.suspects["pages"])
        shown = bool(found["checked"].any() or found["proves"].any())
        for part in pieces(len(found["place"])):
            places, collides = found["place"][part], found["collides"][part]
            some = {name: column[places] for name, column in self.suspects.items()}
            healed = healing[places]
            certainty = np.select(
                [collides, found["checked"][part], found["proves"][part], np.full(len(places), shown)],
                [Proof.COLLISION, Proof.CHECKSUM, Proof.UNIFORM, Proof.BUILD],
                Proof.STRUCTURAL,
            ).astype("U10")
            evidence = {
                "dup_record": numbers.of(some["dups"]),
                "base_record": np.where(some["bases"] >= 0, numbers.of(np.maximum(some["bases"], 0)), 0),
                "healed_by_record": np.where(healed >= 0, numbers.of(np.maximum(healed, 0)), 0),
                "certainty": certainty,
            }
            for these, message in ((certainty != Proof.STRUCTURAL, SURE), (certainty == Proof.STRUCTURAL, UNSURE)):
                told = {name: column[these] for name, column in evidence.items()}
                marks.add(Mark(rules.STALE_BASE, some["rows"][these], message, told, healed[these] < 0))
            mine = some["rows"][collides]
            message = "the sum holds at the receiver, and for the page that the sender held, and the two pages differ"
            stated = {"stated": self.stream.records.columns.checksum[mine]}
            stated |= {name: evidence[name][collides] for name in ("base_record", "dup_record", "healed_by_record")}
            marks.add(Mark(rules.CHECKSUM_COLLISION, mine, message, stated, healed[collides] < 0))
        yield from marks.whole()


def _next_full(stream: Stream, rows: Ints, pages: Ints) -> Ints:
    """The row of the first full record of each page after each of these rising rows, (n,) int64; -1 for none.

    From the end of the table on, a piece at a time, remembering each page's first full record after it.
    """
    columns, space = stream.records.columns, space_of(stream)
    wanted = reserve((len(space) + 1,), bool)
    for start in range(0, len(pages), PIECE):
        wanted[pages[start : start + PIECE]] = True
    wanted[-1] = False
    following = reserve((len(space),), np.int64)  # the row, plus one
    found = room(len(rows), np.int64)
    stop = len(rows)
    for start in reversed(range(0, len(columns), PIECE)):
        piece = columns.take(slice(start, start + PIECE))
        of = space.rows(piece)
        full = np.flatnonzero(wanted[of] & IS_PAGE[piece.kind] & ~IS_DELTA[piece.kind])
        first = int(np.searchsorted(rows[:stop], start))
        if first < stop:
            asked, there = pages[first:stop], rows[first:stop] - start
            keys = np.sort(of[full] * PIECE + full)
            place = np.searchsorted(keys, asked * PIECE + there, side="right")
            near = np.append(keys, -1)[place]
            inside = near // PIECE == asked
            found[first:stop] = np.where(inside, near % PIECE + start, following[asked] - 1)
            stop = first
        following[of[full][::-1]] = full[::-1] + start + 1
    return found


def _corrupt(stream: Stream, receiver: _Replay, numbers: Numbers, wrong: Ints, twice: Spans) -> Iterator[Mark]:
    """Pages whose sums hold in no view: a mark for each chain of such deltas, with the earliest record to blame.

    A full record, or a delta whose sum holds, vouches for what came before it; so the first record after that one, or
    the full record itself, is the earliest that can be damaged. What came ``twice`` is no sign of a missing record.
    """
    if not len(wrong):
        return
    ledger = Ledger()
    lapses: list[tuple[Ints, Ints]] = []  # of a page each: where it was last right, and where it fails
    for rows, of in _by_page(stream, wrong):
        place = np.arange(len(rows))
        starts = np.append(True, of[1:] != of[:-1])
        full = ~IS_DELTA[stream.records.columns.kind[rows]]
        holds = receiver.holds[rows]
        anchor = np.maximum.accumulate(np.where(starts | full, place, 0))
        vouched = np.maximum.accumulate(np.where(holds, place + 1, 0))
        earliest = np.maximum(anchor, vouched)
        mine = np.flatnonzero(wrong.take(np.searchsorted(wrong, rows), mode="clip") == rows)
        chains = mine[np.append(True, (earliest[mine][1:] != earliest[mine][:-1]))]
        ends = np.append(np.flatnonzero(starts | full), len(rows))
        end = ends[np.searchsorted(ends, chains, side="right")]
        first = chains[np.append(True, of[chains][1:] != of[chains][:-1])]  # a page's first failure
        first = first[(first > anchor[first]) & ~twice.hold(numbers.of(rows[first]))]
        lapses.append((rows[np.maximum(earliest[first] - 1, anchor[first])], rows[first]))
        earliest_rows = rows[np.minimum(earliest[chains], chains)]
        ledger.add({"rows": rows[chains], "pages": of[chains], "earliest": earliest_rows, "tainted": end - chains})
    found = in_order(ledger.columns(), "rows")
    healing = _next_full(stream, found["rows"], found["pages"])
    message = (
        "the page has the stated sum in no view: damage between record {earliest_record} and this one; "
        "{tainted} records rest on it; healed by record: {healed_by_record}"
    )
    marks = Marks()
    for some in pieces(len(healing)):
        healed = healing[some]
        evidence = {
            "earliest_record": numbers.of(found["earliest"][some]),
            "tainted": found["tainted"][some],
            "healed_by_record": np.where(healed >= 0, numbers.of(np.maximum(healed, 0)), 0),
        }
        marks.add(Mark(rules.CORRUPT_PAGE, found["rows"][some], message, evidence, healed < 0))
    yield from marks.whole()
    after, at = (np.concatenate(column) for column in zip(*lapses, strict=True))
    yield from dropped(after, at, numbers)


def _by_page(stream: Stream, these: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All records of the pages of these rows, and their pages, rising by page and then by row; some pages at a time."""
    columns, space = stream.records.columns, space_of(stream)
    wanted = reserve((len(space) + 1,), bool)
    for some in pieces(len(these)):
        wanted[space.rows(columns.take(these[some]))] = True
    wanted[-1] = False
    bits = len(columns).bit_length()
    ledger = Ledger()
    for some in pieces(len(columns)):
        of = space.rows(columns.take(some))
        mine = np.flatnonzero(wanted[of])
        ledger.add({"keys": of[mine] << bits | (mine + some.start)})
    found = ledger.columns()["keys"]
    keys = room(len(found), np.int64)
    for some in pieces(len(found)):
        keys[some] = found[some]
    keys.sort()
    start = 0
    while start < len(keys):
        end = min(start + AT_ONCE, len(keys))
        if end < len(keys):  # all of a page at once
            page = keys[end] >> bits
            first = int(np.searchsorted(keys, page << bits))
            end = first if first > start else int(np.searchsorted(keys, (page + 1) << bits))
        yield keys[start:end] & ((1 << bits) - 1), keys[start:end] >> bits
        start = end


def _page_sums(stream: Stream) -> Iterator[Mark]:
    """PAGE records that carry a sum of their own, in the debug trees of November 2010."""
    if not stream.reading.page_sum:
        return
    columns, size = stream.records.columns, stream.page_size
    at_page, step = overlapped(stream.data, f"V{size}"), max(1, _SUM_BATCH // size)
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
