"""One replay of the records, and what deltas and checksums show in it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import IntFlag
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values
from ..codec import checksum, xbzrle
from ..codec.uniform import NOT_UNIFORM, fills
from ..codec.verdict import Verdict
from ..formats.dialects import Dialect, Encoding
from ..formats.ram import Kind
from ..memory.doubt import Cause, as_lapses
from ..memory.image import Image, State
from ..memory.lapses import Lapses, joined
from ..memory.moments import discards_of, doubts_of, space_of
from ..memory.replay import CHUNK, Layer, View, apply, forgets_dups
from ..model import Stream
from ..progress import tell
from ..table.claims import field_of, stated
from ..table.columns import PIECE
from ..table.kinds import IS_DELTA, IS_PAGE
from ..table.payloads import Payloads
from . import bypage
from .blanked import has_blanked
from .ledger import Ledger, in_order, pieces, room
from .marks import Ints

SUM_BATCH = 1 << 20  # bytes of pages that are summed at once
PARTS = 1 << 10  # layers whose columns are kept apart: a page that comes often makes many of a row each

#: Columns beside each other, by name: ``rows`` and what was seen at each of them. Empty where nothing was.
Seen = dict[str, NDArray[Any]]

_KINDS = ("undecoded", "baseless", "damaged", "blank", "wrong", "suspects", "idle")


class Says(IntFlag):
    """What a delta shows, in the receiver's view and in the sender's: its stated sum is that of its page, or it states
    none and its page comes to one repeated byte. `_native.c` has the same numbers.
    """

    HOLDS = 1
    UNIFORM = 2
    SENDER_HOLDS = 4
    SENDER_UNIFORM = 8


_AT_SENDER = 2  # bits by which what is said in the sender's view stands above the receiver's


def pages_wanted(stream: Stream, parts: Iterable[Ints]) -> Values:
    """Which pages that records carry are in one of the parts, a bool each.

    It is false for page -1, which stands for none.
    """
    wanted = Values(space_of(stream).places(stream.records.columns), bool)
    for pages in parts:
        wanted[pages] = True
    wanted.array[-1] = False
    return wanted


def showing(stream: Stream) -> Values:
    """Which pages have a record that can show something, a bool each: a delta, or a zlib stream."""
    columns, space = stream.records.columns, space_of(stream)

    def shows(part: slice) -> Ints:
        kind = columns.kind[part]
        return space.pages_of(columns.take(np.flatnonzero(IS_DELTA[kind] | (kind == Kind.COMPRESSED)) + part.start))

    return pages_wanted(stream, map(shows, pieces(len(columns))))


class Replay:
    """One replay that collects what its deltas show. What a chunk of records shows is sorted by row.

    After `run`, ``seen`` has columns with ``rows`` and, where that is needed, ``pages`` and what was seen:
    ``undecoded`` deltas, ``baseless`` ones to pages that were never given in full, ``damaged`` zlib streams, deltas
    over ``blank`` memory whose sum fails, ``wrong`` sums, ``suspects``. A suspect is a delta whose page the receiver
    last got as a dup page. Beside it are the rows of that dup page (``dups``) and of what was sent before it
    (``bases``, -1 for nothing). ``idle`` are XBZRLE deltas that state what is there already, with the first such
    ``place`` in their page. ``said`` (rows of the table,) uint8 has what each delta `Says`.

    The loop in C looks at all pages that it can, with the sender's view beside the receiver's. Then ``left`` says which
    pages were left to the replay, whose memory holds these alone. It is None where all were that have what can show
    something.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.columns = stream.records.columns
        self.image = Image(space_of(stream))
        carriers = space_of(stream).places(self.columns)
        # Of each page the row, plus one, of its last full record, its last dup page, and the last that was not one.
        row = np.uint32 if len(self.columns) < np.iinfo(np.uint32).max else np.int64
        self.last_full = Values(carriers, row)
        self.last_dup = Values(carriers, row)
        self.last_sent = Values(carriers, row)
        if any(g.row == 0 and g.may_hold_records for g in stream.facts.gaps):
            self.last_full.array += 1  # the records that are lost at the head may have given any page
        self.said = room(len(self.columns), np.uint8)
        self.left: Values | None = None
        self.seen: dict[str, Seen] = {}
        self._chunk_rows = np.empty(0, np.int64)
        self._chunk_seen: dict[str, list[Seen]] = {kind: [] for kind in _KINDS}

    def says(self, what: Says, rows: Ints) -> NDArray[np.bool_]:
        """Whether each of these deltas says this, (n,) bool. Only suspects do in the sender's view: `view_sender`."""
        says: NDArray[np.bool_] = (self.said[rows] & np.uint8(what)) != 0
        return says

    def run(self) -> None:
        """Look at all records."""
        ledgers = {kind: Ledger() for kind in _KINDS}
        if not len(self._lapses()) and bypage.is_able(self.stream):
            self.left = bypage.look(self.stream, self.said, ledgers["wrong"], ledgers["suspects"])
        wanted = showing(self.stream) if self.left is None else self.left
        if wanted.array.any():
            self._replay(ledgers, wanted)
        self.seen = {kind: ledger.columns() for kind, ledger in ledgers.items()}
        if self.left is not None:
            self.seen |= {k: in_order(self.seen[k], "rows") for k in ("wrong", "suspects") if self.seen[k]}

    def view_sender(self) -> None:
        """See what the suspects say in the sender's view, too: without the dup pages, which their sender forgets."""
        suspects = self.seen["suspects"]
        rows, pages = suspects["rows"], suspects["pages"]
        wanted = pages_wanted(self.stream, (self._left_of(pages[part]) for part in pieces(len(pages))))
        if not wanted.array.any():
            return
        sender = Replay(self.stream)
        sender._replay({kind: Ledger() for kind in _KINDS}, wanted, dups=False)
        for part in pieces(len(rows)):
            some = rows[part][wanted[pages[part]]]
            self.said[some] |= sender.said[some] << _AT_SENDER

    def _left_of(self, pages: Ints) -> Ints:
        """Those of ``pages`` that were left to the replay."""
        if self.left is None:
            return pages
        left: Ints = pages[self.left[pages] != 0]
        return left

    def _lapses(self) -> Lapses:
        """Which pages the receiver did not have any more, and since when."""
        lost = as_lapses(d for d in doubts_of(self.stream, View.RECEIVER) if d.cause is Cause.GAP)
        return joined(discards_of(self.stream), lost)

    def _replay(self, ledgers: dict[str, Ledger], wanted: Values, dups: bool = True) -> None:
        """Apply all records of the pages for which ``wanted`` is true, without the dup pages if asked."""
        columns, space = self.columns, space_of(self.stream)
        discards = discards_of(self.stream)
        for start, end, forgotten in self._lapses().pieces(len(columns), CHUNK):
            forgotten.forget(self.image)
            for _, _, first, stop in discards.take(discards.since == start):
                self.last_full.between(first, stop)[:] = 0
            tell("replaying", start, len(columns), "records")
            chunk = columns.take(slice(start, end))
            of_wanted = wanted[space.pages_of(chunk)] != 0
            places = np.flatnonzero(of_wanted if dups else of_wanted & (chunk.kind != Kind.DUP))
            chunk, self._chunk_rows = chunk.take(places), places + start
            payloads = replace(self.stream.payloads, columns=chunk)
            runs = self.stream.dialect is not None and self.stream.dialect.encoding is Encoding.ZRUN
            apply(self.image, payloads, self._observe, partial(self._foresee, payloads) if runs else None)
            for kind, parts in self._chunk_seen.items():
                if parts:
                    whole = _joined(parts)
                    order = np.argsort(whole["rows"], kind="stable")
                    ledgers[kind].add({name: column[order] for name, column in whole.items()})
                    parts.clear()

    def _see(self, kind: str, rows: Ints, **columns: NDArray[Any]) -> None:
        if len(rows):
            parts = self._chunk_seen[kind]
            parts.append({"rows": rows, **columns})
            if len(parts) == PARTS:
                parts[:] = [_joined(parts)]

    @cached_property
    def _blanked(self) -> bool:
        """Whether pages were blanked. It is asked only where a delta states what is there already."""
        return has_blanked(self.columns, self.stream.payloads.data, self.stream.page_size)

    def _foresee(self, payloads: Payloads, places: Ints, pages: Ints) -> None:
        """Look at XBZRLE deltas before they are applied: whether a run begins or ends with what is there already."""
        columns, image = payloads.columns, self.image
        based = IS_DELTA[columns.kind[places]] & (image.state[pages] == State.RECOVERED)
        places, pages = places[based], pages[based]
        if not len(places):
            return
        found = xbzrle.idle(payloads.data, *payloads.spans(places), image.pages, pages)
        if (found >= 0).any() and self._blanked:
            found = xbzrle.idle(payloads.data, *payloads.spans(places), image.pages, pages, blanked=True)
        again = np.flatnonzero(found >= 0)
        self._see("idle", self._chunk_rows[places[again]], pages=pages[again], place=found[again])

    def _observe(self, layer: Layer) -> None:
        """Look at a layer's deltas while the image is as they left it. Remember what each page held last."""
        layer_rows = self._chunk_rows[layer.places]
        dialect = self.stream.dialect
        if len(layer.deltas) and dialect is not None:
            rows, pages = layer_rows[layer.deltas], layer.pages[layer.deltas]
            bad = layer.verdicts != Verdict.OK
            self._see("undecoded", rows[bad], verdicts=layer.verdicts[bad])
            baseless = ~layer.based & (self.last_full[pages] == 0)
            if baseless.any():
                over_blank = self._over_blank(rows[baseless & ~bad], pages[baseless & ~bad], dialect)
                self._see("baseless", rows[baseless & ~np.isin(rows, over_blank)])
            good = ~bad & (self.image.state[pages] == State.RECOVERED)
            self._compare(rows[good], pages[good], dialect)
        bad = layer.inflated != Verdict.OK
        if bad.any():
            places = layer.compressed[bad]
            self._see("damaged", layer_rows[places], pages=layer.pages[places], verdicts=layer.inflated[bad])
        full = np.ones(len(layer_rows), bool)
        full[layer.deltas] = False
        dup = layer.kind == Kind.DUP
        self.last_full[layer.pages[full]] = layer_rows[full] + 1
        self.last_dup[layer.pages[dup]] = layer_rows[dup] + 1
        self.last_sent[layer.pages[~dup]] = layer_rows[~dup] + 1

    def _over_blank(self, rows: Ints, pages: Ints, dialect: Dialect) -> Ints:
        """Of deltas to pages that nothing was sent for, those whose sums do not hold over a fresh receiver's zeros."""
        rows = rows[self.last_sent[pages] == 0]
        states, sums = stated(self.columns, dialect, rows)
        rows, sums = rows[states], sums[states]
        computed = np.empty(len(rows), np.uint32)
        step = max(1, SUM_BATCH // self.stream.page_size)
        for start in range(0, len(rows), step):
            batch = rows[start : start + step]
            fresh = np.zeros((len(batch), self.stream.page_size), np.uint8)
            self.stream.payloads.apply(batch, fresh)
            computed[start : start + len(batch)] = checksum.byte_sum(fresh)
        wrong = computed != sums
        self._see_sums("blank", rows[wrong], sums[wrong], computed[wrong], dialect)
        wrong_rows: Ints = rows[wrong]
        return wrong_rows

    def _see_sums(
        self, kind: str, rows: Ints, sums: NDArray[np.uint32], computed: NDArray[np.uint32], dialect: Dialect
    ) -> None:
        """Note sums that do not hold, as the header of each delta would have them."""
        self._see(kind, rows, stated=field_of(sums, dialect), computed=field_of(computed, dialect))

    def _compare(self, rows: Ints, pages: Ints, dialect: Dialect) -> None:
        """Compare the stated sums of decoded deltas with their pages. Note the deltas whose base may be stale."""
        states, sums = stated(self.columns, dialect, rows)
        if states.any():
            checked, sums = rows[states], sums[states]
            computed = checksum.byte_sum(self.image.pages, pages[states])
            wrong = computed != sums
            self.said[checked[~wrong]] |= np.uint8(Says.HOLDS)
            self._see_sums("wrong", checked[wrong], sums[wrong], computed[wrong], dialect)
        if forgets_dups(dialect, View.SENDER):
            unstated = rows[~states]
            is_uniform = fills(self.image.pages, pages[~states]) != NOT_UNIFORM
            self.said[unstated[is_uniform]] |= np.uint8(Says.UNIFORM)
            suspect = (self.last_dup[pages] > 0) & (self.last_dup[pages] == self.last_full[pages])
            suspects = pages[suspect]
            dups, bases = self.last_dup[suspects].astype(np.int64) - 1, self.last_sent[suspects].astype(np.int64) - 1
            self._see("suspects", rows[suspect], pages=suspects, dups=dups, bases=bases)


def _joined(parts: Sequence[Seen]) -> Seen:
    """Columns one after the other."""
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def next_full(stream: Stream, rows: Ints, pages: Ints) -> Ints:
    """The row of the first full record of each page after each of these rising rows, (n,) int64, or -1.

    From the end of the table on, a piece at a time, remembering each page's first full record after it.
    """
    columns, space = stream.records.columns, space_of(stream)
    wanted = pages_wanted(stream, (pages[part] for part in pieces(len(pages))))
    following = Values(space.places(columns), np.int64)  # the row, plus one
    next_rows = room(len(rows), np.int64)
    stop = len(rows)
    for start in reversed(range(0, len(columns), PIECE)):
        piece = columns.take(slice(start, start + PIECE))
        page_of = space.pages_of(piece)
        full = np.flatnonzero(wanted[page_of] & IS_PAGE[piece.kind] & ~IS_DELTA[piece.kind])
        first = int(np.searchsorted(rows[:stop], start))
        if first < stop:
            asked, places = pages[first:stop], rows[first:stop] - start
            keys = np.sort(page_of[full] * PIECE + full)
            after = np.searchsorted(keys, asked * PIECE + places, side="right")
            near = np.append(keys, -1)[after]
            inside = near // PIECE == asked
            next_rows[first:stop] = np.where(inside, near % PIECE + start, following[asked] - 1)
            stop = first
        following[page_of[full][::-1]] = full[::-1] + start + 1
    return next_rows
