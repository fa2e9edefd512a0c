"""Would a migration converge over a link, and with which downtime: QEMU's own rule, applied to the guest's write rates.

QEMU sends dirty pages until fewer are left than fit into the downtime limit at the link's speed. Then it looks again at
what the guest has written since. If that still fits, it stops the guest. If not, it goes on. Facts: formats/README.md,
"When a sender stops the guest". Here the number of dirty pages is an expected value, so that what lies near the limit
can go either way. So can what depends on pages that came in nearly every pass: how much faster than the passes they are
written, no pass shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..model import Stream
from .link import Link
from .whatif import WhatIf, what_if
from .writes import Floats, Writes

WINDOW = 0.1  # seconds: QEMU sends as much as the link takes in such windows, and looks at the end of each
GIVE_UP = 24 * 3600.0  # simulated seconds
SYNCS_MAX = 20_000
STUCK = 300  # looks without a new least number of dirty pages, after which it does not converge
NEAR = 0.1  # of the limit: so near to it, it can go either way
CACHES = (64 << 20, 512 << 20)  # bytes of XBZRLE's cache: QEMU's default, and a large one

# auto-converge, as QEMU's parameters have them by default
_THROTTLE_FIRST, _THROTTLE_MORE, _THROTTLE_MAX = 0.20, 0.10, 0.99
_THROTTLE_AT = 0.5  # of the bytes sent in a period, that the guest wrote in it
_THROTTLE_EVERY = 1.0  # seconds of a period, at least
_THROTTLE_AFTER = 2  # such periods


class Answer(Enum):
    """Whether it converges."""

    YES = "yes"
    MAYBE = "perhaps"  # near the limit, or dependent on what the passes do not show
    NO = "no"


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender: what a page costs it in bytes, in the first pass and again, and over which link.

    ``cache_bytes`` is None without a cache. ``throttles``: it slows the guest down (auto-converge).
    """

    name: str
    first: float
    again: float
    link: Link
    cache_bytes: int | None = None
    throttles: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of it. ``seconds`` until the guest stops, ``downtime`` in seconds until the last byte is there.

    Both are None where it may not converge. ``left`` are the bytes of pages that are dirty at the end, or that it
    settles at. ``fits`` are those that fit into the downtime limit. ``pass_bytes`` are what the guest wrote before the
    last look, and ``pass_seconds`` how long that was. ``throttle`` is the share of time that the guest was held up.
    """

    sender: Sender
    answer: Answer
    seconds: float | None
    downtime: float | None
    left: float
    fits: float
    pass_bytes: float
    pass_seconds: float
    looks: int
    throttle: float


@dataclass(frozen=True, slots=True)
class Convergence:
    """Every sender's outcome, the plain one first, the guest's writes, and the bytes of devices at the end."""

    outcomes: tuple[Outcome, ...]
    writes: Writes
    costs: WhatIf
    devices: int


def converge(
    stream: Stream,
    writes: Writes,
    link: Link,
    limit: float,
    caches: Iterable[int] = CACHES,
    costs: WhatIf | None = None,
) -> Convergence:
    """What would become of the migration of a capture over ``link`` with a downtime limit of ``limit`` seconds.

    ``costs`` are what the senders cost, where that is known from another link. Then ``caches`` do not count.

    Raises:
        XbrleError: a cache is too small.
    """
    costs = costs or what_if(stream, caches)
    devices = sum(s.end - s.data for s in stream.sections if s.owner is not None and s.owner.idstr != b"ram")
    outcomes = [outcome(sender, writes, limit, devices) for sender in _senders(costs, writes, link)]
    return Convergence(tuple(outcomes), writes, costs, devices)


def _senders(costs: WhatIf, writes: Writes, link: Link) -> list[Sender]:
    """The senders to compare. One that has not sent a page again costs what a plain page does."""
    one = Link(link.bandwidth, link.latency, 1, link.per_channel)
    page = float(writes.page_size)

    def mean(total: int, count: int) -> float:
        return total / count if count else page

    sent = max(1, writes.sent)
    plain = costs.plain
    first, again = mean(plain.bytes - plain.resent_bytes, sent), mean(plain.resent_bytes, plain.resends)
    out = [Sender("plain", first, again, one)]
    for cost in costs.costs:
        if cost.policy in ("xbzrle", "zlib", "zstd"):
            lengths = mean(cost.bytes - cost.resent_bytes, sent), mean(cost.resent_bytes, cost.resends)
            out.append(Sender(cost.policy, *lengths, one, cost.cache_bytes))
    if link.channels > 1:
        out.append(Sender(f"multifd, {link.channels} channels", first, again, link))
    out.append(Sender("auto-converge", first, again, one, throttles=True))
    return out


def outcome(sender: Sender, writes: Writes, limit: float, devices: int = 0) -> Outcome:
    """What becomes of one sender's migration, where pages that are written fast are written as fast as may be.

    The answer is yes if it converges with a limit that is a tenth lower, and no if it does not with one that is a tenth
    higher, even if pages are written as slowly as may be. Then the numbers are of such pages. Where no page came twice,
    nothing shows how fast the guest writes, and there is no answer.
    """
    worst = _simulated(sender, writes, writes.fastest, limit * (1 - NEAR))
    best = _simulated(sender, writes, writes.rates, limit * (1 + NEAR))
    answer = Answer.YES if worst.left < worst.fits else Answer.MAYBE if best.left < best.fits else Answer.NO
    if not len(writes.pages):
        answer = Answer.MAYBE
    run = _simulated(sender, writes, writes.rates if answer is Answer.NO else writes.fastest, limit)
    fine = answer is Answer.YES
    rest = (run.left / writes.page_size * sender.again + devices) / sender.link.speed + sender.link.latency
    return Outcome(
        sender,
        answer,
        run.clock if fine else None,
        rest if fine else None,
        run.left,
        run.fits,
        run.written * writes.page_size,
        run.took,
        run.looks,
        run.throttle,
    )


@dataclass(slots=True)
class _Run:
    """A migration at work. Bytes are those of pages, moments are in seconds, ``written`` counts pages."""

    fits: float
    clock: float
    took: float
    written: float
    left: float = 0.0
    looks: int = 1
    throttle: float = 0.0


def _simulated(sender: Sender, writes: Writes, rates: Floats, limit: float) -> _Run:
    """Send, look at what was written since, and again, until what is left fits or does not get less."""
    speed, size, pages = sender.link.speed, writes.page_size, writes.pages
    first = writes.sent * sender.first
    dirty = pages * -np.expm1(-rates * first / speed)
    run = _Run(speed * limit, first / speed, first / speed, float(dirty.sum()))
    brake = _Brake(run.clock, first)
    least, stuck = np.inf, 0
    while True:
        run.left = float(dirty.sum()) * size
        if run.left < run.fits or run.looks >= SYNCS_MAX or stuck >= STUCK or run.clock >= GIVE_UP:
            return run
        if sender.throttles and brake.looked(run.written * size):
            run.throttle, least, stuck = brake.throttle, np.inf, 0
        stuck = 0 if run.left < least * 0.999 else stuck + 1
        least = min(least, run.left)
        a_window = speed * WINDOW / sender.again  # pages
        windows = max(1.0, (run.left - run.fits) // (a_window * size) + 1)
        sent = min(windows * a_window, run.left / size)
        run.took = windows * WINDOW if sent < run.left / size else sent / a_window * WINDOW
        share = -np.expm1(-rates * (1 - run.throttle) * run.took)
        kept = dirty * (1 - sent / (run.left / size))
        run.written = float((pages * share).sum())
        dirty = kept + (pages - kept) * share
        run.clock, run.looks = run.clock + run.took, run.looks + 1
        brake.sent(sent * sender.again, run.took)


@dataclass(slots=True)
class _Brake:
    """Auto-converge: slows the guest down where it writes too much of what is sent, in periods of a second or more."""

    seconds: float
    sent_bytes: float
    written_bytes: float = 0.0
    high: int = 0
    throttle: float = 0.0

    def sent(self, count: float, seconds: float) -> None:
        """So many bytes were sent in so many seconds."""
        self.sent_bytes += count
        self.seconds += seconds

    def looked(self, written: float) -> bool:
        """The guest wrote pages of so many bytes since the last look. Returns whether it is slowed down more."""
        self.written_bytes += written
        if self.seconds < _THROTTLE_EVERY:
            return False
        self.high += self.written_bytes > _THROTTLE_AT * self.sent_bytes
        self.seconds = self.sent_bytes = self.written_bytes = 0.0
        if self.high < _THROTTLE_AFTER or self.throttle == _THROTTLE_MAX:
            return False
        self.high = 0
        self.throttle = min(_THROTTLE_MAX, self.throttle + _THROTTLE_MORE if self.throttle else _THROTTLE_FIRST)
        return True
