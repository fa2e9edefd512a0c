"""The sender's fingerprint: which build and policy wrote a stream, how large its cache can have been, and whether a
model of it makes the same choices.

Facts: formats/README.md, "The sender's rules". Of the cache's size only the mask's effect shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import ram
from ..formats.dialects import Checksum, Dialect, Encoding
from ..formats.ram import DELTA_KINDS
from ..formats.xbrle import HeaderFlag
from ..memory.moments import space_of
from ..model import Stream
from ..table.kinds import IS_DELTA
from ..table.sections import Stage
from .cache import PageCache, buckets_of, reach
from .held import Copies
from .history import history
from .masks import Fitting, Trace, search
from .policy import Dups, Policy, Rules, Sender, rules_of, ways_of
from .transcode import Places, choose, places


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a stream tells of its sender.

    ``build`` is "debug", "default" or None where nothing shows it. ``cache_min``, ``cache_max`` bound the cache's size
    in bytes; the mask's bits above the page numbers never show, so an upper bound is None unless sizes are taken to be
    powers of two: ``power_of_two``. ``choices`` counts PAGE and delta records at stage 2, ``predicted`` those that the
    model makes the same way with ``cache_bytes``, ``first_miss`` is the first record that it does not.
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


@dataclass(frozen=True, slots=True)
class _Run:
    """One model's choices with a cache that forgets nothing.

    Of each record that enters the cache or is a choice, (n,): its page, its number, whether it enters, whether it is a
    choice, whether the model can make a delta of it, and whether the capture has one. ``unknown`` counts choices whose
    page cannot be told.
    """

    rules: Rules
    pages: NDArray[np.int64]
    number: NDArray[np.int64]
    enters: NDArray[np.bool_]
    is_choice: NDArray[np.bool_]
    can: NDArray[np.bool_]
    did: NDArray[np.bool_]
    unknown: int

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Deltas that the model cannot make whatever its cache holds."""
        wrong: NDArray[np.bool_] = self.is_choice & self.did & ~self.can
        return wrong

    def misses(self, hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where the model chooses otherwise with a cache that finds ``hits`` among those that enter."""
        found = self.can.copy()
        found[self.enters] &= hits
        missed: NDArray[np.bool_] = self.is_choice & (found != self.did)
        return missed


def fingerprint(
    stream: Stream, cache_bytes: int | None = None, bases: Mapping[bytes, int] | None = None
) -> Fingerprint:
    """Take the sender's fingerprint; ``cache_bytes`` is a cache size to test, by default one that fits best.

    Raises:
        XbrleError: the bases do not fit the capture, or the cache is too small to be one.
    """
    where = places(stream, stream.facts.ram_version or ram.VERSION_NAMED, bases)
    dialect = stream.dialect
    has_deltas = bool(IS_DELTA[stream.records.columns.kind].any())
    if dialect is None or not has_deltas:
        return _without_deltas(stream, where)
    run, trace, fitting = _best(stream, dialect, where)
    size = stream.page_size * trace.ways
    tested = _mask(cache_bytes, stream.page_size, trace, fitting)
    missed = run.misses(trace.hits(tested))
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
        power_of_two=_bytes(powers, size, trace.bits) if powers else None,
        masks=(fitting.count, fitting.of),
        choices=int(np.count_nonzero(run.is_choice)) + run.unknown,
        predicted=int(np.count_nonzero(run.is_choice & ~missed)),
        first_miss=int(run.number[missed][0]) if missed.any() else None,
        cache_bytes=cache_bytes if cache_bytes is not None else (tested + 1) * size,
        layout=where.source,
    )


def _without_deltas(stream: Stream, where: Places) -> Fingerprint:
    """A stream that its sender wrote without XBRLE, or one that shows no delta."""
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
        layout=where.source,
    )


def _bytes(powers: tuple[int, int], size: int, bits: int) -> tuple[int, int | None]:
    """Masks of the form 2^k - 1 as cache sizes; the one with all bits stands for all greater ones too."""
    least, greatest = powers
    return (least + 1) * size, None if greatest == (1 << bits) - 1 else (greatest + 1) * size


def _build(stream: Stream, dialect: Dialect) -> str:
    """Debug builds put checksums where others have none."""
    columns = stream.records.columns
    if dialect.checksum is Checksum.FLAGGED:
        is_debug = bool((columns.header_flags & int(HeaderFlag.CHECKSUM)).any())
    else:
        is_debug = dialect.debug_build
    return "debug" if is_debug else "default"


def _models(dialect: Dialect, page_size: int) -> list[Rules]:
    """The senders that may have written a dialect, the likeliest first."""
    if dialect.encoding is Encoding.ZRUN:
        return [rules_of(dialect, Policy.XBZRLE, None, page_size)]
    return [
        rules_of(dialect, Policy.POSTED, None, page_size),
        rules_of(dialect, Policy.POSTED, Dups.SAFE, page_size),
        rules_of(dialect, Policy.V2, None, page_size),
        rules_of(dialect, Policy.V2, Dups.SAFE, page_size),
    ]


def _best(stream: Stream, dialect: Dialect, where: Places) -> tuple[_Run, Trace, Fitting]:
    """The first model that fits some cache, else the one that misses least with a cache that forgets nothing."""
    tried: list[tuple[int, int, _Run, Trace]] = []
    for rules in _models(dialect, stream.page_size):
        run = _run(stream, rules, where)
        trace = _trace(run, where)
        if not run.wrong.any():
            fitting = search(trace)
            if fitting.least is not None:
                return run, trace, fitting
        misses = int(np.count_nonzero(run.misses(trace.hits(reach(where.pages)))))
        tried.append((misses, len(tried), run, trace))
    _, _, run, trace = min(tried, key=lambda t: t[:2])
    return run, trace, Fitting(None, False, 0, 1 << trace.bits, None)


def _run(stream: Stream, rules: Rules, where: Places) -> _Run:
    """Let a sender with an endless cache choose for the capture's own pages."""
    ways = ways_of(rules.policy)
    cache = PageCache(reach(where.pages) + 1, where.pages, ways)
    sender = Sender(rules, cache, Copies(space_of(stream)))
    table = stream.records
    numbers = table.number
    is_delta = np.zeros(256, bool)
    is_delta[list(DELTA_KINDS)] = True
    parts: list[tuple[NDArray[np.int64], ...]] = []
    unknown = 0
    for batch in history(stream):
        choices = choose(sender, batch, where)
        enters = rules.enters(batch.is_dup, batch.stage, batch.swept)
        chosen = ~batch.is_dup & (batch.stage == Stage.PART)
        unknown += int(np.count_nonzero(chosen & ~batch.known))
        kept = enters | chosen
        flags = np.array([enters, chosen & batch.known, choices.is_delta, is_delta[table.columns.kind[batch.at]]])
        parts.append((where.number[batch.rows][kept], numbers[batch.at][kept].astype(np.int64), *flags[:, kept]))
    none = (np.empty(0, np.int64),) * 2 + (np.empty(0, bool),) * 4
    pages, number, enters, is_choice, can, did = (np.concatenate(c) for c in zip(none, *parts, strict=True))
    return _Run(rules, pages, number, enters, is_choice, can, did, unknown)


def _trace(run: _Run, where: Places) -> Trace:
    told, did = (run.is_choice & run.can)[run.enters], run.did[run.enters]
    bits = reach(where.pages).bit_length()
    ways = ways_of(run.rules.policy)
    return Trace(run.pages[run.enters], np.flatnonzero(told & did), np.flatnonzero(told & ~did), bits, ways)


def _mask(cache_bytes: int | None, page_size: int, trace: Trace, fitting: Fitting) -> int:
    """The mask to test: that of a given size; else all bits, if that fits or nothing does; else one that fits."""
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
        raise XbrleError("the capture has no deltas, so its sender had no cache")
    where = places(stream, dialect.ram_version, bases)
    cache = PageCache(buckets_of(cache_bytes, stream.page_size), where.pages)
    sender = Sender(rules_of(dialect, Policy.POSTED, None, stream.page_size), cache, Copies(space_of(stream)))
    aborted = 0
    for batch in history(stream):
        choices = choose(sender, batch, where)
        aborted += int(np.count_nonzero(choices.refused & batch.known))
    return CacheCounts(aborted, cache.max_items, cache.items)
