"""The sender's fingerprint: which build and policy wrote a stream, how large its cache can have been, and whether a
model of it makes the same choices.

Facts: formats/README.md, "The sender's rules". A stream does not show the cache's size, only what the size's mask does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import ram
from ..formats.dialects import Checksum, Dialect, Encoding
from ..formats.xbrle import HeaderFlag
from ..memory.moments import space_of
from ..model import Stream
from ..progress import along
from ..table.kinds import IS_DELTA
from ..table.sections import Stage
from .addresses import PageAddresses, addresses_in_stream
from .cache import XBZRLE_BYTES, AgedCache, PageCache, buckets_of, held, reach
from .copies import Copies
from .fitting import CacheTrace, FittingMasks, fitting_masks
from .policy import Dups, Policy, Rules, Sender, rules_of, ways_of
from .sent import sent_pages
from .transcode import cache_of, choose


@dataclass(frozen=True, slots=True)
class CacheSize:
    """What QEMU with an XBZRLE cache of ``cache_bytes`` would have made of a capture's pages.

    ``predicted`` choices are as the capture has them. ``cache_miss`` and ``overflow`` count pages as QEMU does: those
    that the cache did not hold, and those whose delta would have been longer than a page.
    """

    cache_bytes: int
    predicted: int
    cache_miss: int
    overflow: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a stream tells of its sender.

    ``build`` is "debug", "default" or None where nothing shows it. ``cache_min`` and ``cache_max`` bound the cache's
    size in bytes. The mask's bits above the page numbers never show, so ``cache_max`` is None. ``power_of_two`` bounds
    the size if it is a power of two. ``masks`` is how many masks fit, and of how many. ``choices`` counts PAGE and
    delta records at stage 2, ``predicted`` those that the model makes the same way with a cache of ``cache_bytes``.
    ``first_miss`` is the number of the first record that it makes another way. ``layout`` tells a person what the
    blocks' ram_addrs were taken from. ``best`` is the cache size in bytes that fits best: the usual one, if that is
    among equals. ``sizes`` are XBZRLE's caches, those first that predict most. Of equals, the smallest come first.
    """

    dialect: str | None
    candidates: tuple[str, ...]
    build: str | None
    policy: Policy
    dups: Dups
    cache_min: int
    cache_max: int | None
    power_of_two: tuple[int, int | None] | None
    masks: tuple[int | None, int]
    choices: int
    predicted: int
    first_miss: int | None
    cache_bytes: int | None
    layout: str
    best: int | None
    sizes: tuple[CacheSize, ...] = ()


@dataclass(frozen=True, slots=True)
class _ModelRun:
    """One model's choices with a cache that forgets nothing.

    The columns have each record that enters the cache or is a choice, (n,): its page number in ram_addr space, its
    record number, the sweeps that were done before it, whether it enters, whether the cache is asked for it, whether it
    is a choice, whether the model can make a delta of it, whether its page did not change, and whether the capture has
    a delta. ``unknown`` counts choices whose page cannot be told.
    """

    rules: Rules
    ram_pages: NDArray[np.int64]
    numbers: NDArray[np.int64]
    sweeps: NDArray[np.int64]
    enters: NDArray[np.bool_]
    looks: NDArray[np.bool_]
    is_choice: NDArray[np.bool_]
    can_be_delta: NDArray[np.bool_]
    same: NDArray[np.bool_]
    is_delta: NDArray[np.bool_]
    unknown: int

    @property
    def impossible(self) -> NDArray[np.bool_]:
        """Deltas that the model cannot make whatever its cache holds."""
        impossible: NDArray[np.bool_] = self.is_choice & self.is_delta & ~self.can_be_delta
        return impossible

    def misses(self, hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where the model chooses otherwise with a cache that finds the pages of ``hits``, (n,) bool."""
        missed: NDArray[np.bool_] = self.is_choice & ((self.can_be_delta & hits) != self.is_delta)
        return missed

    def hits(self, mask: int) -> NDArray[np.bool_]:
        """Which records find their page in a cache with this mask, (n,) bool."""
        out = np.zeros(len(self.numbers), bool)
        if self.rules.policy is Policy.XBZRLE:
            asked = self.enters | self.looks
            cache = AgedCache(mask + 1, int(self.ram_pages.max(initial=0)) + 1, self.ram_pages)
            out[asked] = cache.look(self.ram_pages[asked], self.sweeps[asked], self.enters[asked])
        else:
            out[self.enters] = held(self.ram_pages[self.enters], mask, ways_of(self.rules.policy))
        return out

    def with_cache(self, mask: int, page_size: int) -> CacheSize:
        """What QEMU with a cache of this mask would have made of the pages."""
        hits = self.hits(mask)
        asked = self.is_choice & self.looks
        return CacheSize(
            (mask + 1) * page_size,
            int(np.count_nonzero(self.is_choice & ~self.misses(hits))),
            int(np.count_nonzero(asked & ~hits)),
            int(np.count_nonzero(asked & hits & ~self.can_be_delta & ~self.same)),
        )


def fingerprint(
    stream: Stream, cache_bytes: int | None = None, bases: Mapping[bytes, int] | None = None
) -> Fingerprint:
    """Take the sender's fingerprint. ``cache_bytes`` is the cache size to test (default: one that fits best).

    Raises:
        XbrleError: the bases do not fit the capture, or the cache is too small to be one.
    """
    addresses = addresses_in_stream(stream, stream.facts.ram_version or ram.VERSION_NAMED, bases)
    dialect = stream.dialect
    has_deltas = bool(IS_DELTA[stream.records.columns.kind].any())
    if dialect is None or not has_deltas:
        return _without_deltas(stream, addresses)
    if dialect.encoding is Encoding.ZRUN:
        return _xbzrle(stream, dialect, addresses, cache_bytes)
    run, trace, fitting = _best_model(stream, dialect, addresses)
    size = stream.page_size * trace.ways
    tested = _mask(cache_bytes, stream.page_size, trace, fitting)
    missed = run.misses(run.hits(tested))
    least = fitting.least if dialect.cache_known and fitting.least is not None else 0
    powers = fitting.powers if dialect.cache_known else None
    return Fingerprint(
        dialect=dialect.name,
        candidates=stream.reading.evidence.candidates,
        build=_build(stream, dialect),
        policy=run.rules.policy,
        dups=run.rules.dups,
        cache_min=(least + 1) * size,
        cache_max=None,
        power_of_two=_cache_bytes(powers, size, trace.bits) if powers else None,
        masks=(fitting.count, fitting.of),
        choices=int(np.count_nonzero(run.is_choice)) + run.unknown,
        predicted=int(np.count_nonzero(run.is_choice & ~missed)),
        first_miss=int(run.numbers[missed][0]) if missed.any() else None,
        cache_bytes=cache_bytes if cache_bytes is not None else (tested + 1) * size,
        layout=addresses.source,
        best=(_mask(None, stream.page_size, trace, fitting) + 1) * size,
    )


def _xbzrle(stream: Stream, dialect: Dialect, addresses: PageAddresses, cache_bytes: int | None) -> Fingerprint:
    """The fingerprint of QEMU since 2012, whose caches have a power of two of pages: which of them predicts most."""
    run = _run_model(stream, rules_of(dialect, Policy.XBZRLE, None, stream.page_size), addresses)
    bits, size = reach(addresses.ram_pages).bit_length(), stream.page_size
    sizes = sorted(
        (run.with_cache((1 << k) - 1, size) for k in along("trying sizes of the cache", range(bits + 1), "sizes")),
        key=lambda s: -s.predicted,
    )
    equals = [s.cache_bytes for s in sizes if s.predicted == sizes[0].predicted]
    beyond = equals[-1] == size << bits  # every greater cache is as good
    usual = XBZRLE_BYTES in equals or (beyond and equals[-1] < XBZRLE_BYTES)
    best = XBZRLE_BYTES if usual else equals[0]
    tested = best if cache_bytes is None else cache_bytes
    buckets = buckets_of(tested, size, ways_of(run.rules.policy))
    missed = run.misses(run.hits((1 << buckets.bit_length() - 1) - 1))
    return Fingerprint(
        dialect=dialect.name,
        candidates=stream.reading.evidence.candidates,
        build=_build(stream, dialect),
        policy=run.rules.policy,
        dups=run.rules.dups,
        cache_min=equals[0],
        cache_max=None if beyond else equals[-1],
        power_of_two=(equals[0], None if beyond else equals[-1]),
        masks=(None, 0),
        choices=int(np.count_nonzero(run.is_choice)) + run.unknown,
        predicted=int(np.count_nonzero(run.is_choice & ~missed)),
        first_miss=int(run.numbers[missed][0]) if missed.any() else None,
        cache_bytes=tested,
        layout=addresses.source,
        best=best,
        sizes=tuple(sizes),
    )


def _without_deltas(stream: Stream, addresses: PageAddresses) -> Fingerprint:
    """The fingerprint of a stream that its sender wrote without XBRLE, or that does not show a delta."""
    table = stream.records
    choices = int(np.count_nonzero((table.columns.kind == ram.Kind.PAGE) & (table.stage == Stage.PART)))
    return Fingerprint(
        dialect=None,
        candidates=stream.reading.evidence.candidates,
        build="debug" if stream.reading.page_sum else None,
        policy=Policy.NONE,
        dups=Dups.POSTED,
        cache_min=0,
        cache_max=None,
        power_of_two=None,
        masks=(None, 0),
        choices=choices,
        predicted=choices,
        first_miss=None,
        cache_bytes=None,
        layout=addresses.source,
        best=None,
    )


def _cache_bytes(powers: tuple[int, int], size: int, bits: int) -> tuple[int, int | None]:
    """Masks of the form 2^k - 1 as cache sizes. The one with all bits stands for all greater ones too."""
    least, greatest = powers
    return (least + 1) * size, None if greatest == (1 << bits) - 1 else (greatest + 1) * size


def _build(stream: Stream, dialect: Dialect) -> str:
    """The build: debug builds put checksums where others do not."""
    columns = stream.records.columns
    if dialect.checksum is Checksum.FLAGGED:
        is_debug = bool((columns.header_flags & int(HeaderFlag.CHECKSUM)).any())
    else:
        is_debug = dialect.debug_build
    return "debug" if is_debug else "default"


def _models(dialect: Dialect, page_size: int) -> list[Rules]:
    """The senders that may have written a dialect of XBRLE, the likeliest first."""
    return [
        rules_of(dialect, Policy.POSTED, None, page_size),
        rules_of(dialect, Policy.POSTED, Dups.SAFE, page_size),
        rules_of(dialect, Policy.V2, None, page_size),
        rules_of(dialect, Policy.V2, Dups.SAFE, page_size),
    ]


def _best_model(
    stream: Stream, dialect: Dialect, addresses: PageAddresses
) -> tuple[_ModelRun, CacheTrace, FittingMasks]:
    """The first model that fits some cache, else the one that misses least with a cache that forgets nothing."""
    tried: list[tuple[int, int, _ModelRun, CacheTrace]] = []
    for rules in _models(dialect, stream.page_size):
        run = _run_model(stream, rules, addresses)
        trace = _trace(run, addresses)
        if not run.impossible.any():
            fitting = fitting_masks(trace)
            if fitting.least is not None:
                return run, trace, fitting
        misses = int(np.count_nonzero(run.misses(run.hits(reach(addresses.ram_pages)))))
        tried.append((misses, len(tried), run, trace))
    _, _, run, trace = min(tried, key=lambda t: t[:2])
    return run, trace, FittingMasks(None, False, 0, 1 << trace.bits, None)


def _run_model(stream: Stream, rules: Rules, addresses: PageAddresses) -> _ModelRun:
    """Let a sender with an endless cache choose for the capture's own pages."""
    cache = cache_of(rules.policy, reach(addresses.ram_pages) + 1, addresses)
    sender = Sender(rules, cache, Copies(space_of(stream), addresses.sent))
    table = stream.records
    parts: list[tuple[NDArray[np.int64], ...]] = []
    unknown = 0
    for batch in sent_pages(stream):
        choices = choose(sender, batch, addresses)
        enters, looks = rules.enters(batch.is_dup, batch.stage, batch.sweep), rules.looks(batch.stage, batch.sweep)
        chosen = ~batch.is_dup & (looks | (batch.stage == Stage.PART))
        unknown += int(np.count_nonzero(chosen & ~batch.known))
        kept = enters | chosen
        is_delta = IS_DELTA[table.columns.kind[batch.rows]]
        flags = np.array([enters, looks, chosen & batch.known, choices.is_delta, choices.same, is_delta])
        numbers = table.numbers.of(batch.rows)
        parts.append(tuple(column[kept] for column in (addresses.ram_page(batch.pages), numbers, batch.sweep, *flags)))
    empty = (np.empty(0, np.int64),) * 3 + (np.empty(0, bool),) * 6
    ram_pages, record, sweeps, enters, looks, is_choice, can_be_delta, same, is_delta = (
        np.concatenate(c) for c in zip(empty, *parts, strict=True)
    )
    return _ModelRun(rules, ram_pages, record, sweeps, enters, looks, is_choice, can_be_delta, same, is_delta, unknown)


def _trace(run: _ModelRun, addresses: PageAddresses) -> CacheTrace:
    """What the run's choices say of the cache: where a delta was possible, its presence says whether it was held."""
    possible, is_delta = (run.is_choice & run.can_be_delta)[run.enters], run.is_delta[run.enters]
    held, missing = np.flatnonzero(possible & is_delta), np.flatnonzero(possible & ~is_delta)
    bits = reach(addresses.ram_pages).bit_length()
    return CacheTrace(run.ram_pages[run.enters], held, missing, bits, ways_of(run.rules.policy))


def _mask(cache_bytes: int | None, page_size: int, trace: CacheTrace, fitting: FittingMasks) -> int:
    """The mask to test: that of ``cache_bytes``. Else all bits, if that fits or nothing does. Else one that fits."""
    if cache_bytes is not None:
        return buckets_of(cache_bytes, page_size, trace.ways) - 1
    if fitting.full or fitting.least is None:
        return (1 << trace.bits) - 1
    return fitting.powers[1] if fitting.powers else fitting.least


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What the posted build's statistics say of its cache: deltas that the sample refused, slots, occupied slots."""

    aborted: int
    max_items: int
    items: int


def cache_counts(stream: Stream, cache_bytes: int, bases: Mapping[bytes, int] | None = None) -> CacheCounts:
    """Count what the sender of ``stream`` printed of a cache of this size.

    Raises:
        XbrleError: the capture shows no dialect, the bases do not fit it, or the cache is too small to be one.
    """
    dialect = stream.dialect
    if dialect is None:
        raise XbrleError("the capture does not have deltas, so its sender did not use a cache")
    addresses = addresses_in_stream(stream, dialect.ram_version, bases)
    buckets = buckets_of(cache_bytes, stream.page_size)
    cache = PageCache(buckets, addresses.ram_pages, asked=addresses.ram_sent)
    rules = rules_of(dialect, Policy.POSTED, None, stream.page_size)
    sender = Sender(rules, cache, Copies(space_of(stream), addresses.sent))
    aborted = 0
    for batch in sent_pages(stream):
        choices = choose(sender, batch, addresses)
        aborted += int(np.count_nonzero(choices.refused & batch.known))
    return CacheCounts(aborted, cache.max_items, cache.items)
