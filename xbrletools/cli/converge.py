"""`xbrle converge`: whether a migration would converge over a link, with which downtime, and what would make it."""

from typing import TYPE_CHECKING, Any

import click

from ..capture import Capture
from ..text import size, some
from . import EXIT_FINDINGS, warn
from .guide import Page
from .options import Finite, Rate, examples, json_object, reading
from .output import aligned, report
from .times import times_or_why_not
from .writer import filled, say, say_object

if TYPE_CHECKING:
    from ..analysis.converge import Convergence, Outcome
    from ..analysis.link import Link
    from ..analysis.prospects import Timing
    from ..analysis.writes import Writes

PASSES_SHOWN = 12


@click.command(
    cls=Page,
    epilog=examples(
        "converge samples/posted-8m.bin --link 1M",
        "converge samples/xbzrle-16m.bin --link 4MB --recorded 1MB --channels 4",
    ),
)
@reading
@click.option(
    "--link",
    "bandwidth",
    type=Rate(8),
    required=True,
    metavar="RATE",
    help="The link: 10G (bits/s) or 117MB (bytes/s).",
)
@click.option(
    "--downtime",
    type=Finite(0),
    metavar="SECONDS",
    help="The longest time that the guest may stand still (default: 0.3, as QEMU's downtime-limit).",
)
@click.option(
    "--cache",
    "caches",
    type=size,
    multiple=True,
    metavar="BYTES",
    help="Size of XBZRLE's page cache. Repeatable (default: 64M and 512M).",
)
@click.option("--channels", type=click.IntRange(1, 255), default=1, metavar="N", help="Also try multifd, N channels.")
@click.option(
    "--per-channel", type=Rate(8), metavar="RATE", help="The most that one connection carries (default: all)."
)
@click.option(
    "--recorded",
    type=Rate(8),
    metavar="RATE",
    help="The speed at which S was recorded, if no arrival times lie beside it (default: that of --link).",
)
@json_object
def command(
    opened: Capture,
    bandwidth: float,
    downtime: float | None,
    caches: tuple[int, ...],
    channels: int,
    per_channel: float | None,
    recorded: float | None,
    as_json: bool,
) -> int:
    """Say whether the migration of S would converge over another link, and with which downtime.

    A migration converges if the pages that the guest writes meanwhile can be sent within the downtime limit. How fast
    the guest writes which pages is taken from the passes of S: a page that comes again was written since. With arrival
    times beside S (xbrle capture) these rates are real. Without them, S is assumed to have come at --recorded.

    The senders: plain pages, XBZRLE by cache size, pages compressed with zlib or zstd, multifd with --channels, and
    auto-converge, which slows the guest down. The time that a sender needs to encode is not counted. "perhaps": it is
    near the limit, or depends on pages that the guest writes faster than the passes show.

    Exit status: 0 all of S was read, 1 S is damaged, or nothing shows how fast the guest writes: no page came twice, or
    neither arrival times nor --recorded say when pages came.
    """
    from ..analysis.converge import CACHES, converge
    from ..analysis.link import Link
    from ..analysis.prospects import DOWNTIME, Timing
    from ..analysis.writes import writes_of

    downtime = DOWNTIME if downtime is None else downtime
    link = Link(bandwidth, 0.0, channels, per_channel)
    status = report(opened.problems)
    when, times_status, refused = times_or_why_not(opened)
    if when is not None and not when.whole:
        refused, when = f"{when.path}: ends early", None
    timing = Timing() if when is not None else Timing(recorded or bandwidth, recorded is not None, refused)
    writes = writes_of(opened.stream, when, recorded or bandwidth)
    found = converge(opened.stream, writes, link, downtime, caches or CACHES)
    if when is not None and recorded is not None:
        warn("--recorded is not used: S has arrival times")
    if as_json:
        say_object(_object(found, link, downtime, timing))
    else:
        say(_text(found, link, downtime, timing))
    if refused:
        warn(f"{refused}; going on without times")
    if found.costs.skipped:
        left_out = some(found.costs.skipped, "record is", "records are")
        warn(f"{left_out} left out of the senders' costs: the page cannot be rebuilt")
    told = timing.known and len(writes.pages)
    return max(status, times_status, 0 if told else EXIT_FINDINGS)


# -- JSON --------------------------------------------------------------------------------------------------------------


def _object(found: "Convergence", link: "Link", downtime: float, timing: "Timing") -> dict[str, Any]:
    writes = found.writes
    return {
        "link_bytes_per_second": link.bandwidth,
        "downtime_limit": downtime,
        "measured": writes.measured,
        "recorded_bytes_per_second": timing.speed,
        "recorded_given": timing.given,
        "times_refused": timing.refused or None,
        "recorded_seconds": writes.end,
        "page_size": writes.page_size,
        "pages_sent": writes.sent,
        "dirty_bytes": {f"{s:g}": writes.dirty(s) * writes.page_size for s in (0.1, 1.0, 10.0)},
        "senders": [_outcome(o) for o in found.outcomes],
        "skipped": found.costs.skipped,
    }


def _outcome(one: "Outcome") -> dict[str, Any]:
    return {
        "sender": one.sender.name,
        "cache_bytes": one.sender.cache_bytes,
        "channels": one.sender.link.channels,
        "bytes_per_page": one.sender.again,
        "speed": one.sender.link.speed,
        "converges": {"yes": True, "no": False}.get(one.answer.value),
        "seconds": one.seconds,
        "downtime": one.downtime,
        "left_bytes": one.left,
        "fits_bytes": one.fits,
        "pass_dirty_bytes": one.pass_bytes,
        "pass_seconds": one.pass_seconds,
        "passes": one.looks,
        "throttle": one.throttle,
    }


# -- text --------------------------------------------------------------------------------------------------------------


def _text(found: "Convergence", link: "Link", downtime: float, timing: "Timing") -> str:
    from ..analysis.arrivals import rate
    from ..analysis.prospects import HEAD, answer, rows

    writes, plain = found.writes, found.outcomes[0]
    said = filter(None, (answer(found, link, downtime, timing), timing.words()))
    parts = ["\n".join(map(filled, said)), aligned([list(HEAD), *rows(found)])]
    dirty = ", ".join(f"{writes.dirty(s) * writes.page_size / 1e6:.2f} MB in {s:g} s" for s in (0.1, 1, 10))
    condition = "" if timing.speed is None else f", if S came at {rate(timing.speed)}"
    parts.append(filled(f"the guest writes {dirty}{condition}; the link carries {rate(plain.sender.link.speed)}"))
    parts.append(_passes(writes, found))
    return "\n\n".join(p for p in parts if p)


def _passes(writes: "Writes", found: "Convergence") -> str:
    """The passes of the block that came most often: what was written before each, against what the link carries."""
    counts: dict[int, int] = {}
    for one in writes.passes:
        counts[one.block] = counts.get(one.block, 0) + one.records
    if not counts:
        return ""
    main = max(counts, key=lambda block: counts[block])
    passes = [p for p in writes.passes if p.block == main]
    speed = found.outcomes[0].sender.link.speed
    rows = [["pass", "began s", "pages", "dirty MB", "sent MB", "link carried MB"]]
    for i, one in enumerate(passes):
        stop = passes[i + 1].start if i + 1 < len(passes) else writes.end
        carried = f"{(stop - one.start) * speed / 1e6:.2f}"
        dirty = "-" if i == 0 else f"{one.records * writes.page_size / 1e6:.2f}"
        rows.append([str(one.number), f"{one.start:.3f}", str(one.records), dirty, f"{one.bytes / 1e6:.2f}", carried])
    if len(rows) > PASSES_SHOWN + 1:
        left = len(rows) - 1 - PASSES_SHOWN
        return aligned(rows[: PASSES_SHOWN + 1]) + f"\n... {some(left, 'more pass', 'more passes')}"
    return aligned(rows)
