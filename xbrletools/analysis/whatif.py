"""What other senders would have sent for a capture's own page history, with each of several cache sizes.

Sections, stages and the order of pages stay those of the capture. What depends on pages is measured once: the size of
each delta over the content that the cache held last, and of each compressed page. What depends on the cache, which is
the set of pages that it holds, then takes a few array operations for each size.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from construct import Int32ub
from numpy.typing import NDArray

from ..codec import native
from ..codec.layout import dtype_of
from ..formats import ram
from ..formats.dialects import DIALECTS, Dialect, Encoding
from ..formats.ram import Kind
from ..memory.moments import space_of
from ..model import Stream
from ..progress import along
from ..sender.addresses import PageAddresses, addresses_in_stream
from ..sender.cache import buckets_of, reach
from ..sender.copies import Copies
from ..sender.policy import Dups, Policy, Rules, Sender, rules_of, ways_of
from ..sender.sent import SentPages, sent_pages
from ..sender.transcode import cache_of, choose
from ..table.kinds import IS_DELTA

_THREAD_PAGES = 64  # to compress, that are worth a thread
LEVEL = 1  # of zlib and zstd: QEMU's default
CACHES = tuple(1 << k for k in range(20, 30))  # 1 MiB to 512 MiB

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


class _Column:
    """A dataclass of columns that is gathered in batches."""

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """The batches one after the other."""
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@dataclass(frozen=True)
class _Records(_Column):
    """The capture's records as columns, (n,) each.

    ``words`` are the bytes of word and name, ``sizes`` all bytes, ``lengths`` the payload's bytes. ``pages`` are page
    numbers in ram_addr space.
    """

    words: Ints
    sizes: Ints
    lengths: Ints
    kinds: NDArray[np.uint8]
    pages: Ints

    @property
    def dups(self) -> Mask:
        """Which records are dup pages."""
        is_dup: Mask = self.kinds == Kind.DUP
        return is_dup

    @cached_property
    def again(self) -> Mask:
        """Which records are not the first of their page."""
        again = np.ones(len(self.pages), bool)
        again[np.unique(self.pages, return_index=True)[1]] = False
        return again

    def actual(self) -> Cost:
        """What the records cost as they are."""
        is_delta = IS_DELTA[self.kinds]
        counts = [int(np.count_nonzero(m)) for m in (~is_delta & ~self.dups, is_delta, self.dups)]
        delta_bytes, again = int(self.lengths[is_delta].sum()), self.sizes[self.again]
        sums = counts[0], counts[1], delta_bytes, counts[2], 0, len(again), int(again.sum())
        return Cost("actual", None, int(self.sizes.sum()), *sums)

    def cost(
        self, policy: str, cache: int | None, page: int, is_delta: Mask, payload: Ints, head: int, unsent: Mask
    ) -> Cost:
        """What the records would cost with other payloads.

        A full page takes ``page`` bytes, a delta ``head`` bytes before its payload.
        """
        body = np.where(self.dups, ram.Fill.sizeof(), np.where(is_delta, head + payload, page))
        masks = (~self.dups & ~is_delta & ~unsent, is_delta, self.dups, unsent)
        pages, deltas, dups, left = (int(np.count_nonzero(m)) for m in masks)
        sizes = np.where(unsent, 0, self.words + body)
        sums = pages, deltas, int(payload[is_delta].sum()), dups, left, int(np.count_nonzero(self.again))
        return Cost(policy, cache, int(sizes.sum()), *sums, int(sizes[self.again].sum()))


@dataclass(frozen=True)
class _Choices(_Column):
    """What a sender with an unlimited cache does with each record, (n,) each.

    ``asked``: the cache is asked for the page, in the ``sweeps`` (int64) that it comes in. ``enters``: the page enters
    the cache. ``can``: a delta can be made, of ``lengths`` payload bytes. ``same``: the page did not change, and is not
    sent.
    """

    asked: Mask
    sweeps: Ints
    enters: Mask
    can: Mask
    lengths: Ints
    same: Mask


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sender to compare, with an unlimited cache."""

    name: str
    dialect: Dialect
    rules: Rules
    sender: Sender

    def choices(self, batch: SentPages, where: PageAddresses) -> _Choices:
        """Measure a batch."""
        made = choose(self.sender, batch, where)
        enters = self.rules.enters(batch.is_dup, batch.stage, batch.sweep)
        asked = enters | self.rules.looks(batch.stage, batch.sweep)
        return _Choices(asked, batch.sweep, enters, made.is_delta, made.lengths, made.same)

    def cost(self, choices: _Choices, records: _Records, where: PageAddresses, cache_bytes: int) -> Cost:
        """What this sender costs with a cache of ``cache_bytes``."""
        page_size, asked = where.page_size, choices.asked
        cache = cache_of(self.rules.policy, buckets_of(cache_bytes, page_size, ways_of(self.rules.policy)), where)
        held = np.zeros(len(asked), bool)
        held[asked] = cache.look(records.pages[asked], choices.sweeps[asked], choices.enters[asked])
        is_delta, same = choices.can & held, choices.same & held
        page = page_size + (Int32ub.sizeof() if self.dialect.page_sum else 0)
        return records.cost(self.name, cache_bytes, page, is_delta, choices.lengths, _header(self.dialect), same)


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
    candidates = _candidates(stream, where)
    records = [_records(stream, where, np.empty(0, np.int64), np.empty(0, np.int64))]
    choices: list[list[_Choices]] = [[] for _ in candidates]
    packers = {"zlib": _zlib, "zstd": _zstd}
    packed: dict[str, list[Ints]] = {name: [np.empty(0, np.int64)] for name in packers}
    skipped = 0
    for batch in sent_pages(stream):
        skipped += int(np.count_nonzero(~batch.known))
        batch = batch.take(batch.known)
        records.append(_records(stream, where, batch.rows, batch.pages))
        for candidate, made in zip(candidates, choices, strict=True):
            made.append(candidate.choices(batch, where))
        for name, packer in packers.items():
            packed[name].append(_packed_sizes(packer, batch))
    table = _Records.joined(records)
    nothing = np.zeros(len(table.kinds), bool)
    costs = []
    for candidate, made in zip(candidates, choices, strict=True):
        if made:
            joined = _Choices.joined(made)
            costs += [
                candidate.cost(joined, table, where, cache_bytes)
                for cache_bytes in along("trying sizes of the cache", sizes, "sizes")
            ]
    for name, parts in packed.items():
        payload = np.concatenate(parts)
        smaller = ~table.dups & (payload < size)
        costs.append(table.cost(name, None, size, smaller, payload, Int32ub.sizeof(), nothing))
    plain = table.cost("plain", None, size, nothing, table.lengths, 0, nothing)
    return WhatIf(table.actual(), costs, skipped, where.source, plain)


def _records(stream: Stream, where: PageAddresses, rows: Ints, pages: Ints) -> _Records:
    columns, settings = stream.records.columns, stream.reading
    kinds, heads = columns.kind[rows], columns.head[rows].astype(np.int64)
    lengths = columns.length[rows].astype(np.int64)
    before = np.zeros(len(Kind), np.int64)  # what stands between a record's name and its payload
    before[list(ram.DELTA_KINDS)] = _header(stream.dialect) if stream.dialect is not None else 0
    before[Kind.PAGE] = Int32ub.sizeof() if settings.page_sum else 0
    before[Kind.COMPRESSED] = Int32ub.sizeof()
    return _Records(heads - before[kinds], heads + lengths, lengths, kinds, where.ram_page(pages))


def _header(dialect: Dialect) -> int:
    """The size of a delta's header in bytes, which is the same in both byte orders."""
    return dtype_of(dialect.header("little")).itemsize


def _candidates(stream: Stream, where: PageAddresses) -> list[_Candidate]:
    """The senders to compare. Those of XBRLE write the capture's own dialect where that is one."""
    size, own = stream.page_size, stream.dialect
    xbrle = own if own is not None and own.encoding is Encoding.RLE else DIALECTS["posted"]
    xbzrle = DIALECTS["xbzrle"]
    chosen = (
        ("posted", xbrle, rules_of(xbrle, Policy.POSTED, None, size)),
        ("v2", xbrle, rules_of(xbrle, Policy.V2, None, size)),
        ("fixed", xbrle, rules_of(xbrle, Policy.POSTED, Dups.FIXED, size)),
        ("xbzrle", xbzrle, rules_of(xbzrle, Policy.XBZRLE, None, size)),
    )
    out = []
    for name, dialect, rules in chosen:
        cache = cache_of(rules.policy, reach(where.ram_pages) + 1, where)
        out.append(_Candidate(name, dialect, rules, Sender(rules, cache, Copies(space_of(stream), where.sent))))
    return out


def _packed_sizes(packer: Callable[[], Callable[[bytes], bytes]], batch: SentPages) -> Ints:
    """The bytes of each page compressed by itself, (n,) int64. It is 0 for dup pages.

    All cores share the work, each with a function of its own that ``packer`` gives.
    """
    sizes = np.zeros(len(batch), np.int64)
    places = np.flatnonzero(~batch.is_dup)

    def part(first: int, end: int) -> None:
        pack = packer()
        for place in places[first:end].tolist():
            sizes[place] = len(pack(batch.contents[place].tobytes()))

    threads = max(1, min(native.THREADS, len(places) // _THREAD_PAGES))
    native.in_threads(part, [len(places) * k // threads for k in range(threads + 1)])
    return sizes


def _zlib() -> Callable[[bytes], bytes]:
    return lambda page: zlib.compress(page, LEVEL)


def _zstd() -> Callable[[bytes], bytes]:
    try:
        import zstandard
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14 and later

        return lambda page: bytes(zstd.compress(page, LEVEL))
    return zstandard.ZstdCompressor(level=LEVEL).compress
