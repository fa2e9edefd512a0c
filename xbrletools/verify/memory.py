"""Rules that need memory: whether deltas decode, whether sums hold, and why where they do not.

One replay gives what the receiver had. Where a delta follows a dup page that its sender did not cache, the sender's own
view of those pages is replayed too: a sum that holds there, and not at the receiver, shows a stale base; one that holds
in neither shows damage; one that holds in both is a collision, a byte sum being blind to permutations.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..codec import checksum, deltas
from ..codec.uniform import NOT_UNIFORM, fills
from ..codec.verdict import Verdict
from ..formats.dialects import Checksum, Dialect
from ..formats.ram import Kind
from ..formats.xbrle import HeaderFlag
from ..memory.doubt import Cause, as_lapses
from ..memory.image import Image, State
from ..memory.lapses import joined
from ..memory.replay import CHUNK, Layer, apply
from ..stream.records import Columns
from ..stream.reserve import reserve
from .marks import CARRIES, IS_DELTA, Ints, Mark
from .spans import dropped, replayed, replayed_marks

if TYPE_CHECKING:
    from ..capture import Capture

_SUM_BATCH = 256  # pages that are summed at once
SURE = (
    "the sender's base is the page of record {base_record}; the receiver lost it to the dup page of record "
    "{dup_record}; healed by record: {healed_by_record}"
)
UNSURE = (
    "as the posted sender has it, the base is the page of record {base_record}, which the receiver lost to the dup "
    "page of record {dup_record}; no checksum shows it, and a sender changed to cache dup pages would be right; healed "
    "by record: {healed_by_record}"
)


def memory_marks(capture: "Capture") -> Iterator[Mark]:
    """Replay everything, and mark what deltas and checksums show."""
    yield from _page_sums(capture)
    twice = replayed(capture)
    yield from replayed_marks(capture, twice)
    receiver = _Replay(capture)
    receiver.run(capture.records.columns, np.arange(len(capture.records)))
    if receiver.undecoded:
        rows = np.concatenate([r for r, _ in receiver.undecoded])
        verdicts = np.concatenate([v for _, v in receiver.undecoded])
        names = np.array([v.name.lower() for v in Verdict])[verdicts]
        yield Mark("delta-size", rows, "the delta does not come to exactly one page: {verdict}", {"verdict": names})
    if receiver.baseless:
        yield Mark("delta-without-base", np.concatenate(receiver.baseless))
    if receiver.damaged:
        yield from _compressed(capture, receiver)
    blank = _joined(receiver.blank)
    if len(blank.rows):
        message = (
            "a delta to a page that was never sent in full; over blank memory its sum is {blank:#x}, not {stated:#x}"
        )
        yield Mark("delta-without-base", blank.rows, message, {"stated": blank.stated, "blank": blank.computed})
    wrong = _joined(receiver.sums)
    wrong = wrong.take(~wrong.agrees)
    if len(wrong.rows):
        message = "the header states the sum {stated:#x}, the page has {computed:#x}"
        evidence = {"stated": wrong.stated, "computed": wrong.computed}
        yield Mark("checksum-mismatch", wrong.rows, message, evidence)
    explained = np.empty(0, np.int64)
    if receiver.suspects:
        stale = _Stale(capture, receiver)
        explained = stale.rows
        yield from stale.marks()
    number = capture.records.number.astype(np.int64)[wrong.rows]
    again = np.zeros(len(number), bool)
    for first, last, _, _ in twice:
        again |= (number >= first) & (number <= last)
    left = wrong.rows[~np.isin(wrong.rows, explained)]
    yield from _corrupt(capture, receiver, left, wrong.rows[again])


def _compressed(capture: "Capture", receiver: "_Replay") -> Iterator[Mark]:
    """Zlib streams that are damaged: old senders raced, wrote such, and sent the page again."""
    rows, pages, verdicts = (np.concatenate(c) for c in zip(*receiver.damaged, strict=True))
    names = np.array([v.name.lower() for v in Verdict])[verdicts]
    later = _next_full(capture, rows, pages)
    lost = later < 0
    message = "the zlib stream does not come to exactly one page: {verdict}"
    yield Mark("compressed-page", rows[lost], message, {"verdict": names[lost]})
    number = capture.records.number.astype(np.int64)
    evidence = {"verdict": names[~lost], "superseded_by_record": number[later[~lost]]}
    message += "; record {superseded_by_record} gives the page again"
    yield Mark("compressed-page-superseded", rows[~lost], message, evidence)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Deltas with a sum that their build checks: row, page, sum stated and computed, and whether they agree."""

    rows: Ints
    pages: Ints
    stated: NDArray[np.uint32]
    computed: NDArray[np.uint32]
    agrees: NDArray[np.bool_]

    def take(self, index: NDArray[np.bool_]) -> "_Sums":
        return _Sums(*(getattr(self, f.name)[index] for f in fields(self)))


def _joined(sums: list[_Sums]) -> _Sums:
    empty = _Sums(*(np.empty(0, t) for t in (np.int64, np.int64, np.uint32, np.uint32, bool)))
    return _Sums(
        *(np.concatenate([getattr(empty, f.name), *(getattr(s, f.name) for s in sums)]) for f in fields(_Sums))
    )


@dataclass(frozen=True, slots=True)
class _Suspects:
    """Deltas whose page the receiver last got as a dup page: row, page, and the rows of that dup page and of what was
    sent before it (-1 for nothing).
    """

    rows: Ints
    pages: Ints
    dups: Ints
    bases: Ints


class _Replay:
    """One replay, collecting what its deltas show."""

    def __init__(self, capture: "Capture") -> None:
        self.capture = capture
        self.dialect = capture.dialect
        self.columns = capture.records.columns
        self.image = Image(capture.space)
        pages = len(capture.space)
        # Of each page the row, plus one, of its last full record, its last dup, and the last that was no dup.
        self.last_full = reserve((pages,), np.int64)
        self.last_dup = reserve((pages,), np.int64)
        self.last_sent = reserve((pages,), np.int64)
        if any(g.row == 0 and g.may_hold_records for g in capture.gaps):
            self.last_full += 1  # the records that are lost at the head may have given any page
        self.where = np.empty(0, np.int64)
        self.undecoded: list[tuple[Ints, NDArray[np.uint8]]] = []
        self.baseless: list[Ints] = []
        self.damaged: list[tuple[Ints, Ints, NDArray[np.uint8]]] = []
        self.blank: list[_Sums] = []
        self.sums: list[_Sums] = []
        self.uniform: list[Ints] = []  # rows of deltas without a sum that leave a page of one repeated byte
        self.suspects: list[_Suspects] = []

    def run(self, columns: Columns, rows: Ints) -> None:
        """Apply ``columns``, which are those of ``rows``."""
        discards = self.capture.discards.among(rows)
        lost = as_lapses(d for d in self.capture.doubts if d.cause is Cause.GAP).among(rows)
        for start, end, forgotten in joined(discards, lost).pieces(len(columns), CHUNK):
            forgotten.forget(self.image)
            for _, _, first, stop in discards.take(discards.since == start):
                self.last_full[first:stop] = 0
            self.where = rows[start:end]
            apply(self.image, self.capture.data, columns.take(slice(start, end)), self.dialect, self._observe)

    def _observe(self, layer: Layer) -> None:
        """Look at a layer's deltas while the image is as they left it, and remember what each page held last."""
        where = self.where[layer.places]
        if len(layer.deltas) and self.dialect is not None:
            rows, pages = where[layer.deltas], layer.rows[layer.deltas]
            bad = layer.verdicts != Verdict.OK
            if bad.any():
                self.undecoded.append((rows[bad], layer.verdicts[bad]))
            baseless = ~layer.based & (self.last_full[pages] == 0)
            if baseless.any():
                blank = self._over_blank(rows[baseless & ~bad], pages[baseless & ~bad], self.dialect)
                self.blank.append(blank)
                self.baseless.append(rows[baseless & ~np.isin(rows, blank.rows)])
            good = ~bad & (self.image.state[pages] == State.KNOWN)
            self._look(rows[good], pages[good], self.dialect)
        bad = layer.inflated != Verdict.OK
        if bad.any():
            mine = layer.compressed[bad]
            self.damaged.append((where[mine], layer.rows[mine], layer.inflated[bad]))
        full = np.ones(len(where), bool)
        full[layer.deltas] = False
        dup = layer.kind == Kind.DUP
        self.last_full[layer.rows[full]] = where[full] + 1
        self.last_dup[layer.rows[dup]] = where[dup] + 1
        self.last_sent[layer.rows[~dup]] = where[~dup] + 1

    def _over_blank(self, rows: Ints, pages: Ints, dialect: Dialect) -> _Sums:
        """Of deltas to pages that nothing was sent for, those whose sums do not hold over a fresh receiver's zeros."""
        first = _checked(self.columns, rows, dialect) & (self.last_sent[pages] == 0)
        rows, pages = rows[first], pages[first]
        computed = np.empty(len(rows), np.uint32)
        for start in range(0, len(rows), _SUM_BATCH):
            some = rows[start : start + _SUM_BATCH]
            fresh = np.zeros((len(some), self.capture.page_size), np.uint8)
            length = self.columns.length[some].astype(np.int64)
            deltas.apply(dialect.encoding, self.capture.data, self._payload(some), length, fresh)
            computed[start : start + len(some)] = checksum.byte_sum(fresh)
        if dialect.checksum is Checksum.COMPLEMENT:
            computed = ~computed
        stated = self.columns.checksum[rows]
        sums = _Sums(rows, pages, stated, computed, computed == stated)
        return sums.take(~sums.agrees)

    def _payload(self, rows: Ints) -> Ints:
        return self.columns.offset[rows].astype(np.int64) + self.columns.head[rows]

    def _look(self, rows: Ints, pages: Ints, dialect: Dialect) -> None:
        """Compare the stated sums of decoded deltas with their pages; note those whose base may be stale."""
        checked = _checked(self.columns, rows, dialect)
        if checked.any():
            mine = pages[checked]
            stated = self.columns.checksum[rows[checked]]
            computed = checksum.byte_sum(self.image.pages, mine)
            if dialect.checksum is Checksum.COMPLEMENT:
                computed = ~computed
            self.sums.append(_Sums(rows[checked], mine, stated, computed, computed == stated))
        if not dialect.caches_dup:
            self.uniform.append(rows[~checked][fills(self.image.pages, pages[~checked]) != NOT_UNIFORM])
            suspect = (self.last_dup[pages] > 0) & (self.last_dup[pages] == self.last_full[pages])
            if suspect.any():
                p = pages[suspect]
                self.suspects.append(_Suspects(rows[suspect], p, self.last_dup[p] - 1, self.last_sent[p] - 1))


def _checked(columns: Columns, rows: Ints, dialect: Dialect) -> NDArray[np.bool_]:
    """Whether each delta states a sum."""
    if dialect.checksum is Checksum.FLAGGED:
        flagged: NDArray[np.bool_] = (columns.header_flags[rows] & HeaderFlag.CHECKSUM) != 0
        return flagged
    return np.full(len(rows), dialect.checksum is not Checksum.NONE)


class _Stale:
    """Which suspects were in truth sent against a base that the receiver had lost, and what became of their pages."""

    def __init__(self, capture: "Capture", receiver: _Replay) -> None:
        self.capture = capture
        every = _Suspects(*(np.concatenate([getattr(s, f.name) for s in receiver.suspects]) for f in fields(_Suspects)))
        dialect = capture.dialect
        assert dialect is not None
        checked = _checked(capture.records.columns, every.rows, dialect)
        here = np.isin(every.rows, _agreeing(receiver))
        sender = self._sender(every.pages)
        there = np.isin(every.rows, _agreeing(sender))
        # What is one repeated byte goes as a dup page: if such a page comes of a delta at the receiver, the sender's
        # base was another; if one comes of it in the sender's view, the sender did not forget the dup page.
        proves = ~checked & np.isin(every.rows, _rows(receiver.uniform))
        denies = ~checked & np.isin(every.rows, _rows(sender.uniform))
        # A sum that holds at the receiver alone shows a sender that did put the dup page into its cache.
        caches = bool((checked & here & ~there).any() or (denies.any() and not proves.any()))
        stale = np.where(checked, there & ~(here & caches), proves | (not caches))
        self.collides = (here & there & checked)[stale]
        self.checked, self.proves = checked[stale], proves[stale]
        self.rows, self.pages = every.rows[stale], every.pages[stale]
        self.dups, self.bases = every.dups[stale], every.bases[stale]

    def _sender(self, pages: Ints) -> _Replay:
        """The sender's view of these pages: their records but for the dup pages, which it did not cache."""
        columns = self.capture.records.columns
        wanted = reserve((len(self.capture.space) + 1,), bool)
        wanted[pages] = True
        wanted[-1] = False
        rows = np.flatnonzero(wanted[self.capture.space.rows(columns)] & (columns.kind != Kind.DUP))
        replay = _Replay(self.capture)
        replay.run(columns.take(rows), rows)
        return replay

    def marks(self) -> Iterator[Mark]:
        """The findings: each stale base, and the sums that hide one."""
        if not len(self.rows):
            return
        number = self.capture.records.number.astype(np.int64)
        healed = _next_full(self.capture, self.rows, self.pages)
        certainty = np.select(
            [
                self.collides,
                self.checked,
                self.proves,
                np.full(len(self.rows), bool((self.checked | self.proves).any())),
            ],
            ["collision", "checksum", "uniform", "build"],
            "structural",
        )
        evidence = {
            "dup_record": number[self.dups],
            "base_record": np.where(self.bases >= 0, number[np.maximum(self.bases, 0)], 0),
            "healed_by_record": np.where(healed >= 0, number[np.maximum(healed, 0)], 0),
            "certainty": certainty,
        }
        for some, message in ((certainty != "structural", SURE), (certainty == "structural", UNSURE)):
            told = {name: column[some] for name, column in evidence.items()}
            yield Mark("stale-base", self.rows[some], message, told, healed[some] < 0)
        if self.collides.any():
            mine = self.collides
            yield Mark(
                "checksum-collision",
                self.rows[mine],
                "the sum holds at the receiver, and for the page that the sender held, and the two pages differ",
                {"stated": self.capture.records.columns.checksum[self.rows[mine]]},
                healed[mine] < 0,
            )


def _rows(some: list[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *some])


def _agreeing(replay: _Replay) -> Ints:
    """The rows whose stated sum holds in this replay."""
    sums = _joined(replay.sums)
    return sums.rows[sums.agrees]


def _next_full(capture: "Capture", rows: Ints, pages: Ints) -> Ints:
    """The row of the first full record of each page after each row; -1 where there is none."""
    columns, space = capture.records.columns, capture.space
    wanted = reserve((len(space) + 1,), bool)
    wanted[pages] = True
    wanted[-1] = False
    of = space.rows(columns)
    full = np.flatnonzero(wanted[of] & CARRIES[columns.kind] & ~IS_DELTA[columns.kind])
    if not len(full):
        return np.full(len(rows), -1, np.int64)
    order = np.lexsort((full, of[full]))
    stride = len(columns) + 1
    key = of[full][order] * stride + full[order]
    place = np.searchsorted(key, pages * stride + rows, side="right")
    found = np.minimum(place, len(key) - 1)
    there = (place < len(key)) & (of[full][order][found] == pages)
    return np.where(there, full[order][found], -1)


def _corrupt(capture: "Capture", receiver: _Replay, wrong: Ints, again: Ints) -> Iterator[Mark]:
    """Pages whose sums hold in no view: a mark for each chain of such deltas, with the earliest record to blame.

    A full record, or a delta whose sum holds, vouches for what came before it; so the first record after that one, or
    the full record itself, is the earliest that can be damaged. ``again`` are rows that came twice.
    """
    if not len(wrong):
        return
    columns, space = capture.records.columns, capture.space
    of = space.rows(columns)
    wanted = reserve((len(space) + 1,), bool)
    wanted[of[wrong]] = True
    wanted[-1] = False
    rows = np.flatnonzero(wanted[of])
    rows = rows[np.lexsort((rows, of[rows]))]
    place = np.arange(len(rows))
    starts = np.append(True, of[rows][1:] != of[rows][:-1])
    full = ~IS_DELTA[columns.kind[rows]]
    holds = np.isin(rows, _agreeing(receiver))
    anchor = np.maximum.accumulate(np.where(starts | full, place, 0))
    vouched = np.maximum.accumulate(np.where(holds, place + 1, 0))
    earliest = np.maximum(anchor, vouched)
    mine = np.flatnonzero(np.isin(rows, wrong))
    chains = mine[np.append(True, (earliest[mine][1:] != earliest[mine][:-1]))]
    ends = np.append(np.flatnonzero(starts | full), len(rows))
    after = ends[np.searchsorted(ends, chains, side="right")]
    number = capture.records.number.astype(np.int64)
    healed = _next_full(capture, rows[chains], of[rows[chains]])
    message = (
        "the page has the stated sum in no view: damage between record {earliest_record} and this one; "
        "{tainted} records rest on it; healed by record: {healed_by_record}"
    )
    evidence = {
        "earliest_record": number[rows[np.minimum(earliest[chains], chains)]],
        "tainted": after - chains,
        "healed_by_record": np.where(healed >= 0, number[np.maximum(healed, 0)], 0),
    }
    yield Mark("corrupt-page", rows[chains], message, evidence, healed < 0)
    pages = of[rows[chains]]
    first = chains[np.append(True, pages[1:] != pages[:-1])]  # a page's first failure
    first = first[(first > anchor[first]) & ~np.isin(rows[first], again)]
    yield from dropped(rows[np.maximum(earliest[first] - 1, anchor[first])], rows[first], number)


def _page_sums(capture: "Capture") -> Iterator[Mark]:
    """PAGE records that carry a sum of their own, in the debug trees of November 2010."""
    if not capture.scanned.settings.page_sum:
        return
    table = capture.records
    size = capture.page_size
    rows = np.flatnonzero((table.columns.kind == Kind.PAGE) & (table.columns.length == size))
    computed = np.empty(len(rows), np.uint32)
    for start in range(0, len(rows), _SUM_BATCH):
        at = table.payload[rows[start : start + _SUM_BATCH]]
        computed[start : start + len(at)] = checksum.byte_sum(capture.data[at[:, None] + np.arange(size)])
    stated = table.columns.checksum[rows]
    wrong = computed != stated
    message = "the record states the sum {stated:#x}, the page has {computed:#x}"
    yield Mark("checksum-mismatch", rows[wrong], message, {"stated": stated[wrong], "computed": computed[wrong]})
