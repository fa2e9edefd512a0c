"""One replay of the records, and what deltas and checksums show in it."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
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
from ..memory.lapses import joined
from ..memory.moments import discards_of, doubts_of, space_of
from ..memory.replay import CHUNK, Layer, View, apply, forgets_dups
from ..model import Stream
from ..progress import tell
from ..table.claims import field_of, stated
from ..table.columns import PIECE
from ..table.kinds import IS_DELTA, IS_PAGE
from ..table.payloads import Payloads
from .ledger import Ledger, pieces, room
from .marks import Ints

SUM_BATCH = 1 << 20  # bytes of pages that are summed at once

#: Columns beside each other, by name: ``rows`` and what was seen at each of them. Empty where nothing was.
Seen = dict[str, NDArray[Any]]

_KINDS = ("undecoded", "baseless", "damaged", "blank", "wrong", "suspects", "idle")


def pages_wanted(stream: Stream, parts: Iterable[Ints]) -> Values:
    """Which pages that records carry are in one of the parts, a bool each.

    It is false for page -1, which stands for none.
    """
    wanted = Values(space_of(stream).places(stream.records.columns), bool)
    for pages in parts:
        wanted[pages] = True
    wanted.array[-1] = False
    return wanted


class Replay:
    """One replay that collects what its deltas show. What a chunk of records shows is sorted by row.

    After `run`, ``seen`` has columns with ``rows`` and, where that is needed, ``pages`` and what was seen:
    ``undecoded`` deltas, ``baseless`` ones to pages that were never given in full, ``damaged`` zlib streams, deltas
    over ``blank`` memory whose sum fails, ``wrong`` sums, ``suspects``. A suspect is a delta whose page the receiver
    last got as a dup page. Beside it are the rows of that dup page (``dups``) and of what was sent before it
    (``bases``, -1 for nothing). ``idle`` are XBZRLE deltas that state what is there already, with the first such
    ``place`` in their page. ``holds`` (rows of the table,) bool says of deltas that their stated sum is their
    page's, ``uniform`` that their page comes to one repeated byte.
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
        self.holds = room(len(self.columns), bool)
        self.uniform = room(len(self.columns), bool)
        self.seen: dict[str, Seen] = {}
        self._chunk_rows = np.empty(0, np.int64)
        self._chunk_seen: dict[str, list[Seen]] = {kind: [] for kind in _KINDS}

    def run(self, wanted: Values | None = None) -> None:
        """Apply all records, or of the pages for which ``wanted`` is true those that are not dup pages."""
        ledgers = {kind: Ledger() for kind in _KINDS}
        columns, space = self.columns, space_of(self.stream)
        discards = discards_of(self.stream)
        lost = as_lapses(d for d in doubts_of(self.stream, View.RECEIVER) if d.cause is Cause.GAP)
        for start, end, forgotten in joined(discards, lost).pieces(len(columns), CHUNK):
            forgotten.forget(self.image)
            for _, _, first, stop in discards.take(discards.since == start):
                self.last_full.between(first, stop)[:] = 0
            tell("replaying", start, len(columns), "records")
            chunk = columns.take(slice(start, end))
            self._chunk_rows = np.arange(start, end)
            if wanted is not None:
                places = np.flatnonzero(wanted[space.pages_of(chunk)] & (chunk.kind != Kind.DUP))
                chunk, self._chunk_rows = chunk.take(places), places + start
            payloads = replace(self.stream.payloads, columns=chunk)
            runs = self.stream.dialect is not None and self.stream.dialect.encoding is Encoding.ZRUN
            apply(self.image, payloads, self._observe, partial(self._foresee, payloads) if runs else None)
            for kind, parts in self._chunk_seen.items():
                if parts:
                    order = np.argsort(np.concatenate([p["rows"] for p in parts]), kind="stable")
                    ledgers[kind].add({n: np.concatenate([p[n] for p in parts])[order] for n in parts[0]})
                    parts.clear()
        self.seen = {kind: ledger.columns() for kind, ledger in ledgers.items()}

    def _see(self, kind: str, rows: Ints, **columns: NDArray[Any]) -> None:
        if len(rows):
            self._chunk_seen[kind].append({"rows": rows, **columns})

    def _foresee(self, payloads: Payloads, places: Ints, pages: Ints) -> None:
        """Look at XBZRLE deltas before they are applied: whether a run begins or ends with what is there already."""
        columns, image = payloads.columns, self.image
        based = IS_DELTA[columns.kind[places]] & (image.state[pages] == State.RECOVERED)
        places, pages = places[based], pages[based]
        if not len(places):
            return
        found = xbzrle.idle(payloads.data, *payloads.spans(places), image.pages, pages)
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
            self.holds[checked[~wrong]] = True
            self._see_sums("wrong", checked[wrong], sums[wrong], computed[wrong], dialect)
        if forgets_dups(dialect, View.SENDER):
            self.uniform[rows[~states]] = fills(self.image.pages, pages[~states]) != NOT_UNIFORM
            suspect = (self.last_dup[pages] > 0) & (self.last_dup[pages] == self.last_full[pages])
            suspects = pages[suspect]
            dups, bases = self.last_dup[suspects].astype(np.int64) - 1, self.last_sent[suspects].astype(np.int64) - 1
            self._see("suspects", rows[suspect], pages=suspects, dups=dups, bases=bases)


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
