"""What other senders would have sent for a capture's own page history, with each of several cache sizes.

Sections, stages and the order of pages stay those of the capture. What depends on pages is measured once, in
`deltasizes`. What depends on the cache, which is the set of pages that it holds, then takes a few array operations for
each size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..formats import ram
from ..formats.dialects import DIALECTS, Dialect, Encoding
from ..formats.ram import Kind
from ..model import Stream
from ..progress import along
from ..sender.addresses import PageAddresses, addresses_in_stream
from ..sender.cache import buckets_of
from ..sender.policy import Dups, Policy, Rules, rules_of, ways_of
from ..sender.sent import SentRecords
from ..sender.transcode import cache_of
from ..table.columns import PIECE
from ..table.kinds import IS_DELTA
from .deltasizes import Measured

CACHES = tuple(1 << k for k in range(20, 30))  # 1 MiB to 512 MiB
_NUMBERS = 8  # of a `Cost`

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one sender with one cache size would have sent.

    ``bytes`` counts whole records: words, block names, headers and payloads, but not the frames of sections.
    ``cache_bytes`` is None for a sender without a cache. ``delta_bytes`` counts payloads alone. For zlib and zstd a
    delta is a compressed page. ``unsent`` pages did not change, and take no bytes. ``resends`` counts the records
    beyond the first of each page, ``resent_bytes`` their bytes.
    """

    policy: str
    cache_bytes: int | None
    bytes: int
    pages: int
    deltas: int
    delta_bytes: int
    dups: int
    unsent: int = 0
    resends: int = 0
    resent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The capture's own records, counted in the same way, and what other senders would have cost.

    ``skipped`` records give pages whose content is not known. They are left out everywhere. ``layout`` says where the
    blocks' ram_addrs come from. ``plain`` is a sender that writes neither deltas nor packed pages.
    """

    actual: Cost
    costs: list[Cost]
    skipped: int
    layout: str
    plain: Cost


@dataclass(frozen=True, eq=False)
class _Records:
    """The capture's records whose pages are known, in order, as columns, (n,) each.

    ``rows`` are their rows, ``pages`` their page numbers in ram_addr space. ``words`` are the bytes of word and name,
    ``again`` says which are not the first of their page.
    """

    stream: Stream
    rows: Ints
    pages: Ints
    stage: NDArray[np.uint8]
    sweep: Ints
    words: NDArray[np.uint16]
    is_dup: Mask
    again: Mask

    @classmethod
    def of(cls, sent: SentRecords, known: Mask, where: PageAddresses) -> "_Records":
        """Those of ``sent`` that are ``known`` (n,)."""
        rows, pages = sent.rows[known], sent.pages[known]
        again = np.ones(len(pages), bool)
        again[np.unique(pages, return_index=True)[1]] = False
        columns, before = sent.stream.records.columns, _before_payload(sent.stream)
        words = np.empty(len(rows), np.uint16)
        for piece in _pieces(len(rows)):
            words[piece] = columns.head[rows[piece]] - before[columns.kind[rows[piece]]]
        is_dup = columns.kind[rows] == Kind.DUP
        return cls(sent.stream, rows, where.ram_page(pages), sent.stage[known], sent.sweep[known], words, is_dup, again)

    def actual(self) -> Cost:
        """What the records cost as they are."""
        columns, sums = self.stream.records.columns, np.zeros(_NUMBERS, np.int64)
        for piece in _pieces(len(self.rows)):
            rows = self.rows[piece]
            is_delta, length = IS_DELTA[columns.kind[rows]], columns.length[rows].astype(np.int64)
            sizes = columns.head[rows] + length
            sums += self._sums(piece, sizes, is_delta, length, np.zeros_like(is_delta))
        return Cost("actual", None, *sums.tolist())

    def sums(self, piece: slice, page: int, is_delta: Mask, payload: Ints, head: int, unsent: Mask) -> Ints:
        """What a piece of the records costs with other payloads: the numbers of a `Cost`, (8,) int64.

        A full page takes ``page`` bytes, a delta ``head`` bytes before its payload.
        """
        body = np.where(self.is_dup[piece], ram.Fill.sizeof(), np.where(is_delta, head + payload, page))
        return self._sums(piece, np.where(unsent, 0, body + self.words[piece]), is_delta, payload, unsent)

    def _sums(self, piece: slice, sizes: Ints, is_delta: Mask, payload: Ints, unsent: Mask) -> Ints:
        is_dup, again = self.is_dup[piece], self.again[piece]
        masks = ~is_dup & ~is_delta & ~unsent, is_delta, is_dup, unsent, again
        pages, made, dups, left, resends = (np.count_nonzero(m) for m in masks)
        total, in_deltas, resent = sizes.sum(), payload[is_delta].sum(), sizes[again].sum()
        return np.array([total, pages, made, in_deltas, dups, left, resends, resent], np.int64)

    def packed(self, policy: str, page: int, lengths: NDArray[np.uint32] | None) -> Cost:
        """What a sender costs that packs a page into so many bytes where that takes less. None: it packs none."""
        sums = np.zeros(_NUMBERS, np.int64)
        for piece in _pieces(len(self.rows)):
            payload = np.full(len(self.rows[piece]), page) if lengths is None else lengths[piece].astype(np.int64)
            smaller = ~self.is_dup[piece] & (payload < page)
            sums += self.sums(piece, page, smaller, payload, Int32ub.sizeof(), np.zeros_like(smaller))
        return Cost(policy, None, *sums.tolist())


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sender to compare."""

    name: str
    dialect: Dialect
    rules: Rules

    def sums(self, records: _Records, piece: slice, page: int, length: Ints, keeps_byte_0: Mask, held: Mask) -> Ints:
        """What a piece of the records costs with a cache that holds these pages when they come: see `_Records.sums`.

        ``length`` (k,) are the bytes of each one's delta, -1 for none.
        """
        rules = self.rules
        can = held & (length >= 0) & rules.looks(records.stage[piece], records.sweep[piece])
        if rules.policy is Policy.POSTED and rules.samples:
            can &= keeps_byte_0
        if rules.limit is not None:
            can &= length <= rules.limit
        page += Int32ub.sizeof() if self.dialect.page_sum else 0
        unsent = can & (length == 0)
        return records.sums(piece, page, can & ~unsent, length, _header(self.dialect), unsent)


def what_if(stream: Stream, caches: Iterable[int] = CACHES, bases: Mapping[bytes, int] | None = None) -> WhatIf:
    """Count what posted, v2, fixed and XBZRLE would have sent with each of ``caches`` in bytes, and zlib and zstd.

    Raises:
        XbrleError: a cache is too small, or the bases do not fit the capture.
    """
    size = stream.page_size
    where = addresses_in_stream(stream, stream.facts.ram_version or ram.VERSION_NAMED, bases)
    sizes = sorted(set(caches))
    for cache_bytes in sizes:
        buckets_of(cache_bytes, size)
    candidates = _candidates(stream)
    sent = SentRecords.of(stream)
    limits = [c.rules.limit for c in candidates if c.rules.encoding is Encoding.RLE]
    measured = Measured(sent, None if None in limits else max(filter(None, limits)))
    records = _Records.of(sent, measured.known, where)
    found: dict[str, list[Cost]] = {c.name: [] for c in candidates}
    for cache_bytes in along("trying sizes of the cache", sizes if len(sent) else [], "sizes"):
        for group in _alike(candidates):
            for cost in _costs(group, records, measured, where, cache_bytes):
                found[cost.policy].append(cost)
    costs = [cost for of_one in found.values() for cost in of_one]
    costs += [records.packed(name, size, lengths) for name, lengths in measured.packed.items()]
    skipped = len(sent) - len(records.rows)
    return WhatIf(records.actual(), costs, skipped, where.source, records.packed("plain", size, None))


def _costs(
    group: list[_Candidate], records: _Records, measured: Measured, where: PageAddresses, cache_bytes: int
) -> list[Cost]:
    """What senders cost whose caches, of ``cache_bytes``, hold the same pages at all times."""
    rules, size = group[0].rules, where.page_size
    cache = cache_of(rules.policy, buckets_of(cache_bytes, size, ways_of(rules.policy)), where)
    made = measured.deltas(rules)
    sums = np.zeros((len(group), _NUMBERS), np.int64)
    for piece in _pieces(len(records.rows)):
        stage, sweep = records.stage[piece], records.sweep[piece]
        enters = rules.enters(records.is_dup[piece], stage, sweep)
        asked = enters | rules.looks(stage, sweep)
        held = ~records.is_dup[piece]
        held[asked] &= cache.look(records.pages[piece][asked], sweep[asked], enters[asked])
        held &= asked
        length = made.lengths[piece].astype(np.int64) - 1
        for candidate, of_one in zip(group, sums, strict=True):
            of_one += candidate.sums(records, piece, size, length, made.keeps_byte_0[piece], held)
    return [Cost(c.name, cache_bytes, *of_one.tolist()) for c, of_one in zip(group, sums, strict=True)]


def _alike(candidates: list[_Candidate]) -> list[list[_Candidate]]:
    """The candidates in groups whose caches hold the same pages, and whose deltas are over the same."""
    groups: dict[tuple[Encoding, Dups], list[_Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.rules.encoding, candidate.rules.dups), []).append(candidate)
    return list(groups.values())


def _pieces(count: int) -> list[slice]:
    return [slice(start, start + PIECE) for start in range(0, count, PIECE)]


def _before_payload(stream: Stream) -> NDArray[np.uint16]:
    """What stands between a record's name and its payload, in bytes, for each kind, (kinds,)."""
    before = np.zeros(len(Kind), np.uint16)
    before[list(ram.DELTA_KINDS)] = _header(stream.dialect) if stream.dialect is not None else 0
    before[Kind.PAGE] = Int32ub.sizeof() if stream.reading.page_sum else 0
    before[Kind.COMPRESSED] = Int32ub.sizeof()
    return before


def _header(dialect: Dialect) -> int:
    """The size of a delta's header in bytes, which is the same in both byte orders."""
    return dtype_of(dialect.header("little")).itemsize


def _candidates(stream: Stream) -> list[_Candidate]:
    """The senders to compare. Those of XBRLE write the capture's own dialect where that is one."""
    size, own = stream.page_size, stream.dialect
    xbrle = own if own is not None and own.encoding is Encoding.RLE else DIALECTS["posted"]
    xbzrle = DIALECTS["xbzrle"]
    return [
        _Candidate("posted", xbrle, rules_of(xbrle, Policy.POSTED, None, size)),
        _Candidate("v2", xbrle, rules_of(xbrle, Policy.V2, None, size)),
        _Candidate("fixed", xbrle, rules_of(xbrle, Policy.POSTED, Dups.FIXED, size)),
        _Candidate("xbzrle", xbzrle, rules_of(xbzrle, Policy.XBZRLE, None, size)),
    ]
