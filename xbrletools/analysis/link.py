"""A simulated migration over a link: how long it takes and how long the guest stands still, with and without deltas.

It is simulated from a workload, whose guest writes pages at given rates while passes are sent, or from a capture, whose
records are sent as they were recorded. The sender's rules are in formats/README.md, "The sender's rules". It sends
deltas at stage 2 only, and what is left at the end as full pages. It stops the guest when the dirty pages, counted as
full pages, would take no longer than the downtime limit at the link's speed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..codec.layout import dtype_of
from ..errors import XbrleError, unopened
from ..formats import ram
from ..formats.dialects import DIALECTS
from ..memory.moments import space_of
from ..model import Stream
from ..sender.addresses import addresses_in_stream
from ..sender.cache import PageCache, buckets_of
from ..sender.copies import Copies
from ..sender.policy import Policy, Sender, rules_of
from ..sender.sent import sent_pages
from ..sender.transcode import cache_for, choose
from ..table.sections import Stage

WORD = ram.Word.sizeof()
PASSES_MAX = 100_000
PAGES_MAX = 1 << 28  # 1 TiB of 4 KiB pages
DRAWN = 1 << 20  # pages that are drawn at once
WRITES_MANY = 4  # writes to each page in a pass from which on each page is drawn by itself

#: The page cache's hits and the deltas' sizes are those of the posted patch.
DIALECT = DIALECTS["posted"]


@dataclass(frozen=True, slots=True)
class Link:
    """``bandwidth`` in bytes a second that the stream gets, ``latency`` in seconds one way.

    ``channels`` connections share it. ``per_channel`` is the most that one of them carries, in bytes a second, or None
    where one alone fills the link.
    """

    bandwidth: float
    latency: float = 0.0
    channels: int = 1
    per_channel: float | None = None

    @property
    def speed(self) -> float:
        """The bytes a second that all channels together carry."""
        return self.bandwidth if self.per_channel is None else min(self.bandwidth, self.channels * self.per_channel)


@dataclass(frozen=True, slots=True)
class Group:
    """Pages that the guest writes in the same way: ``writes`` a second, each to one of the ``pages`` at random.

    When a page is sent again and the cache holds it, it goes out as a delta with probability ``delta_share``. A delta
    takes ``delta_bytes`` on average.
    """

    name: str
    pages: int
    writes: float
    delta_share: float
    delta_bytes: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A guest and its sender. Times in seconds, sizes in bytes.

    ``dup_share`` of the pages are dup pages in the first pass. The sender suspends the guest at ``downtime_limit``, or
    after ``give_up`` seconds. It makes at most ``encodes`` deltas a second. ``resume`` is the time between the arrival
    of the last byte and the guest's first answer. One ping is sent every ``ping`` seconds.
    """

    name: str
    memory: int
    dup_share: float
    groups: tuple[Group, ...]
    link: Link
    downtime_limit: float
    give_up: float
    cache: int
    encodes: float
    resume: float
    ping: float
    published: Mapping[str, Mapping[str, float]]
    page_size: int = ram.PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a migration took.

    ``total`` ends with the guest's first answer. ``suspension`` lasts from the guest's stop to the arrival of the last
    byte. ``ping_downtime`` is the number of lost pings times their interval. ``converged`` is false where the sender
    gave up.
    """

    total: float
    suspension: float
    ping_downtime: float
    passes: int
    bytes: int
    pages: int
    deltas: int
    dups: int
    converged: bool


# -- a workload ------------------------------------------------------------------------------------------------------


def simulate(workload: Workload, deltas: bool, seed: int = 0) -> Transfer:
    """Migrate ``workload``, with or without deltas. The same seed gives the same outcome.

    Raises:
        XbrleError: the cache is too small.
    """
    random = np.random.default_rng(seed)
    size, link = workload.page_size, workload.link
    count = workload.memory // size
    cache = PageCache(buckets_of(workload.cache, size), count) if deltas else None
    first = np.cumsum([0, *(g.pages for g in workload.groups)])
    full, dup = WORD + size, WORD + ram.Fill.sizeof()

    dups = 0
    for start in range(0, count, DRAWN):
        is_dup = random.random(min(DRAWN, count - start)) < workload.dup_share
        dups += int(np.count_nonzero(is_dup))
        if cache is not None:
            cache.insert(start + np.flatnonzero(~is_dup))
    sent = dups * dup + (count - dups) * full
    pages, delta_count, passes = count - dups, 0, 1
    took = sent / link.speed
    clock = link.latency + took
    while True:
        dirty = _written(workload.groups, first, took, random)
        converged = len(dirty) * size <= workload.downtime_limit * link.speed
        if converged or clock >= workload.give_up or passes >= PASSES_MAX:
            break
        encoded, made, delta_bytes = _deltas(workload, cache, first, dirty, random)
        pass_bytes = (len(dirty) - made) * full + delta_bytes
        took = max(pass_bytes / link.speed, encoded / workload.encodes)
        clock += took
        sent += pass_bytes
        pages += len(dirty) - made
        delta_count += made
        passes += 1
    rest = len(dirty) * full
    suspension = rest / link.speed + link.latency
    outage = suspension + workload.resume
    return Transfer(
        total=clock + outage,
        suspension=suspension,
        ping_downtime=_pings(outage, workload.ping, random),
        passes=passes + 1,
        bytes=sent + rest,
        pages=pages + len(dirty),
        deltas=delta_count,
        dups=dups,
        converged=converged,
    )


def _deltas(
    workload: Workload,
    cache: PageCache | None,
    first: NDArray[np.int64],
    dirty: NDArray[np.int64],
    random: np.random.Generator,
) -> tuple[int, int, int]:
    """Of the pages ``dirty`` in a pass: how many are encoded, how many go out as deltas, and those records' bytes."""
    if cache is None:
        return 0, 0, 0
    share = np.array([g.delta_share for g in workload.groups])
    length = np.array([g.delta_bytes for g in workload.groups])
    head = WORD + dtype_of(DIALECT.header("little")).itemsize
    group = np.searchsorted(first, dirty, side="right") - 1
    held = cache.insert(dirty)
    is_delta = held & (random.random(len(dirty)) < share[group])
    made = int(np.count_nonzero(is_delta))
    return int(np.count_nonzero(held)), made, made * head + int(length[group[is_delta]].sum())


def _written(
    groups: tuple[Group, ...], first: NDArray[np.int64], seconds: float, random: np.random.Generator
) -> NDArray[np.int64]:
    """The pages that the guest writes in so many seconds, (n,) int64, in rising order."""
    out = [np.empty(0, np.int64)]
    for group, start in zip(groups, first.tolist(), strict=False):
        expected = group.writes * seconds
        if expected > WRITES_MANY * group.pages:
            share, drawn = -np.expm1(-expected / group.pages), range(0, group.pages, DRAWN)
            parts = (at + np.flatnonzero(random.random(min(DRAWN, group.pages - at)) < share) for at in drawn)
            hit = np.concatenate(list(parts))
        else:
            hit = distinct(random.integers(0, group.pages, random.poisson(expected)))
        out.append(hit + start)
    return np.concatenate(out)


def _pings(outage: float, interval: float, random: np.random.Generator) -> float:
    """The downtime that ping shows for an outage, in seconds. The first ping is sent at a random moment of it."""
    lost = np.floor((outage - random.random() * interval) / interval) + 1
    return max(0.0, float(lost)) * interval


# -- a recorded history ----------------------------------------------------------------------------------------------


def replay(stream: Stream, link: Link, deltas: bool, cache_bytes: int) -> Transfer:
    """Send the pages of ``stream``, in their order and stages, over ``link``, as the posted sender would.

    The capture does not record what the guest would have written in a longer or shorter time, so passes and stages stay
    as recorded. ``ping_downtime`` is the suspension. Frames of sections and block names are not counted.

    Raises:
        XbrleError: a page is not known, or the cache is too small.
    """
    size = stream.page_size
    where = addresses_in_stream(stream, stream.facts.ram_version or ram.VERSION_NAMED)
    policy = Policy.POSTED if deltas else Policy.NONE
    cache = cache_for(policy, cache_bytes, where)
    sender = Sender(rules_of(DIALECT, policy, None, size), cache, Copies(space_of(stream), where.sent))
    head = dtype_of(DIALECT.header("little")).itemsize
    sent = last = pages = made = dups = 0
    for batch in sent_pages(stream):
        if not batch.known.all():
            raise XbrleError("the capture has pages with unknown content, so their cost is not known either")
        choices = choose(sender, batch, where)
        body = np.where(batch.is_dup, ram.Fill.sizeof(), np.where(choices.is_delta, head + choices.lengths, size))
        sizes = WORD + body
        sent += int(sizes.sum())
        last += int(sizes[batch.stage == Stage.END].sum())
        made += int(np.count_nonzero(choices.is_delta))
        dups += int(np.count_nonzero(batch.is_dup))
        pages += int(np.count_nonzero(~batch.is_dup & ~choices.is_delta))
    passed = stream.records.pass_
    suspension = last / link.speed + link.latency
    total = sent / link.speed + 2 * link.latency
    return Transfer(
        total, suspension, suspension, int(passed.max()) if len(passed) else 0, sent, pages, made, dups, converged=True
    )


# -- the workload's file ---------------------------------------------------------------------------------------------


def read_workload(path: str) -> Workload:
    """Read a workload file: JSON, as docs/workloads.md describes it.

    Raises:
        XbrleError: it cannot be read, or a value is missing or cannot be.
    """
    try:
        loaded = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise unopened(path, error) from error
    except (ValueError, RecursionError) as error:
        raise XbrleError(f"{path}: is not JSON") from error
    try:
        return _workload(loaded)
    except XbrleError as error:
        raise XbrleError(f"{path}: {error}") from None


def _workload(loaded: Any) -> Workload:
    size = int(_number(loaded, "page_size", 1024, 1 << 20))
    groups = _get(loaded, "groups")
    if not isinstance(groups, list):
        raise XbrleError("groups must be a list")
    made = Workload(
        name=str(_get(loaded, "name")),
        memory=int(_number(loaded, "memory", size, PAGES_MAX * size)),
        dup_share=_number(loaded, "dup_share", 0, 1),
        groups=tuple(
            Group(
                str(_get(g, "name")),
                int(_number(g, "pages", 1, PAGES_MAX)),
                _number(g, "writes", 0, 1e9),
                _number(g, "delta_share", 0, 1),
                _number(g, "delta_bytes", 0, size),
            )
            for g in groups
        ),
        link=Link(_number(loaded, "bandwidth", 1, 1e15), _number(loaded, "latency", 0, 1e6)),
        downtime_limit=_number(loaded, "downtime_limit", 0, 1e6),
        give_up=_number(loaded, "give_up", 0, 1e9),
        cache=int(_number(loaded, "cache", 0, 1 << 50)),
        encodes=_number(loaded, "encodes", 1, 1e12),
        resume=_number(loaded, "resume", 0, 1e6),
        ping=_number(loaded, "ping", 1e-3, 1e6),
        published=_published(loaded.get("published", {})),
        page_size=size,
    )
    if sum(g.pages for g in made.groups) * size > made.memory:
        raise XbrleError("the groups have more pages than the memory")
    return made


def _published(loaded: Any) -> dict[str, dict[str, float]]:
    """Published numbers to compare the outcome with, by `without` and `with`. Other entries are for people."""
    names = {f.name for f in fields(Transfer)}
    if not isinstance(loaded, dict):
        raise XbrleError("published must be an object")
    return {
        key: {k: _number(value, k, 0, 1e12) for k in value if k in names}
        for key, value in loaded.items()
        if key in ("without", "with") and isinstance(value, dict)
    }


def _get(loaded: Any, key: str) -> Any:
    if not isinstance(loaded, dict) or key not in loaded:
        raise XbrleError(f"{key} is missing")
    return loaded[key]


def _number(loaded: Any, key: str, least: float, most: float) -> float:
    value = _get(loaded, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise XbrleError(f"{key} must be a number from {least:g} to {most:g}")
    return float(value)
