"""`xbrle stats`: what a capture's records add up to, and the table that its sender would have printed."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ..analysis import printed, stats
from ..analysis.arrivals import as_json as arrival_json
from ..analysis.arrivals import rate, words
from ..analysis.stats import Stats, Tally
from ..capture import Capture
from ..formats import ram
from ..formats.ram import PAGE_KINDS, Kind
from ..formats.statistics import CacheLines
from ..formats.times import NANOSECONDS
from ..model import Facts
from ..ram import elsewhere
from ..table.columns import NO_BLOCK
from ..table.sections import STAGE_OF
from ..text import amount, counted, shown, size
from . import EXIT_FINDINGS, warn
from .filtering import FILTERING, filtering, say_strangers, wanted_of
from .guide import Page
from .options import before, examples, given, json_object, salvaging
from .output import aligned, report
from .times import times_of
from .writer import filled, say, say_object, write

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals
    from ..ram.packets import Channel
    from ..sender.fingerprint import CacheCounts


def _usage(cache: str | None, posted: bool, words: tuple[str, ...]) -> None:
    if posted and (words or given(*FILTERING)):
        raise click.UsageError("--posted is the table of all records, so it excludes a filter")
    if cache is not None and not posted:
        raise click.UsageError("--cache goes with --posted")


@click.command(
    cls=Page,
    epilog=examples(
        "stats samples/posted-8m.bin",
        "stats samples/posted-8m.bin kind:xbrle pass:2-",
        "stats samples/posted-8m.bin --posted --cache 64M",
    ),
)
@before(_usage)
@salvaging
@filtering
@click.option(
    "--posted",
    is_flag=True,
    help="Print the table of statistics that a debug build of the sender's patch prints, line for line.",
)
@click.option(
    "--cache",
    metavar="BYTES",
    help="With --posted: the size of the sender's cache. Without it, lines that depend on the cache are left out.",
)
@json_object
def command(
    opened: Capture,
    words: tuple[str, ...],
    posted: bool,
    cache: str | None,
    as_json: bool,
    **options: str | None,
) -> int:
    """Sum up the records of S by kind, block and pass, and show how many bytes deltas saved.

    A pass is one sweep of the sender over memory. A kind is how a page was sent: in full, as one repeated byte (dup) or
    as a delta, which holds only what changed.

    A FILTER selects the records that are counted, as in `xbrle dump`, for example pass:2- or block:pc.ram.

    Exit status: 0 all of S was read, 1 S is damaged.
    """
    wanted = wanted_of(words, options)
    findings = tuple(opened.verify()) if wanted is not None and "finding" in wanted.fields else ()
    counts = None
    if cache is not None:
        _ = opened.records  # the model reads pages again, so a pipe is kept
        from ..sender.fingerprint import cache_counts

        counts = cache_counts(opened.stream, size(cache))
    if opened.has_channels or opened.salvaged or findings:
        facts = opened.facts
        sums = stats.collect_table(opened.stream, wanted, findings)
    else:
        scan = opened.scan()
        sums = stats.collect(scan, wanted)
        facts = scan.facts
    channels = opened.channels.channels if opened.channels is not None else ()
    skipped = sum(end - start for start, end in opened.skipped) if opened.salvaged else 0
    when, times_status = (None, 0) if posted else times_of(opened)
    if posted:
        _posted(facts, sums, counts, as_json)
    elif as_json:
        about = {"skipped_bytes": skipped, "filtered": wanted is not None}
        say_object(_object(facts, sums, channels, when) | about)
    else:
        say(_text(facts, sums, channels, skipped, when, wanted is not None))
    say_strangers(wanted, facts.names)
    return max(times_status, _status(opened, facts, sums, wanted is not None))


def _status(opened: Capture, facts: Facts, sums: Stats, filtered: bool) -> int:
    """Say what was not read. Gives the exit status."""
    if opened.salvaged or opened.has_channels or filtered:
        return report(facts.problems)
    of_blocks = {i: int(sums.records[i]) for i in np.flatnonzero(sums.records).tolist()}
    missing = elsewhere.problems(facts, sums.total.records.tolist(), of_blocks)
    damage = next((p for p in facts.problems if p.fatal), None)
    if damage is None or any(p.lost for p in missing):
        return report((*facts.problems, *missing))
    warn(f"{damage.message} (at offset {damage.offset:#x}); the numbers are of what comes before")
    return EXIT_FINDINGS


def _posted(facts: Facts, sums: Stats, counts: "CacheCounts | None", as_json: bool) -> None:
    form, lines = printed.posted(sums, facts.reading.dialect, facts.ram_version or ram.VERSION_NAMED, counts)
    if as_json:
        say_object({line.label: {"value": line.value, "share": line.share} for line in lines})
    else:
        write(printed.table(form, lines))
    warn("Iterations are inferred: the number of records in START and PART, plus 2 if END is empty")
    if sums.total.deltas and counts is None:
        cache = " and about the cache" if form.cache is CacheLines.ITEMS else ""
        warn(f"lines about aborted pages{cache} are left out. The stream does not record the cache's size: use --cache")


# -- JSON -------------------------------------------------------------------------------------------------------


def _object(facts: Facts, sums: Stats, channels: "Sequence[Channel]", when: "Arrivals | None") -> dict[str, Any]:
    dialect, passes = facts.reading.dialect, sums.passes_of_blocks()
    return {
        "dialect": None if dialect is None else dialect.name,
        "page_size": sums.page_size,
        "bytes": sums.size,
        "truncated": any(p.fatal and p.rule == "truncated" for p in facts.problems),
        **_sums(sums, sums.total),
        "all_kinds": _kinds(sums.total, Kind),
        "stages": {k.name.lower(): int(sums.stages[stage]) for k, stage in STAGE_OF.items()},
        "deltas": {
            "records": sums.total.deltas,
            "header_bytes": sums.delta_header,
            "payload_bytes": sums.total.delta_payload,
            "shortest": sums.shortest,
            "longest": sums.longest,
        },
        "channels": [
            {
                "file": shown(os.fsencode(c.name)),
                "id": c.id,
                "bytes": c.size,
                "packets": len(c.packets),
                "pages": c.pages,
                "zero_pages": c.zeros,
                "packed": c.method,
                "packed_bytes": c.packed,
            }
            for c in channels
        ],
        "blocks": [
            {
                "name": None if block == NO_BLOCK else shown(facts.blocks[block].name),
                "length": None if block == NO_BLOCK else facts.blocks[block].length,
                **_sums(sums, tally),
                "passes": [
                    {"pass": number, **_sums(sums, of_pass), **_pass_times(sums, (block, number), when)}
                    for number, of_pass in passes[block]
                ],
            }
            for block, tally in sorted(sums.blocks().items())
        ],
        "blocks_left_out": sums.blocks_left_out,
        "passes_left_out": sums.passes_left_out,
        **({} if when is None else {"arrival": arrival_json(when)}),
    }


def _pass_times(sums: Stats, key: tuple[int, int], when: "Arrivals | None") -> dict[str, Any]:
    """When a pass began and ended, in seconds after the first byte of the capture. Nothing where that is not known."""
    if when is None:
        return {}
    first, last = when.of(np.array([sums.spans[key][0], sums.spans[key][1] - 1])).tolist()
    return {"began": _known(first), "ended": _known(last)}


def _known(elapsed: int) -> float | None:
    return elapsed / NANOSECONDS if elapsed >= 0 else None


def _sums(sums: Stats, tally: Tally) -> dict[str, Any]:
    return {
        "records": tally.pages,
        "record_bytes": tally.page_wire,
        "plain_bytes": sums.plain(tally),
        "saved_bytes": sums.saved(tally),
        "kinds": _kinds(tally, PAGE_KINDS),
    }


def _kinds(tally: Tally, kinds: Iterable[Kind]) -> dict[str, dict[str, int]]:
    return {
        kind.name.lower(): {
            "records": int(tally.records[kind]),
            "bytes": int(tally.wire[kind]),
            "payload_bytes": int(tally.payload[kind]),
        }
        for kind in kinds
        if tally.records[kind]
    }


# -- text -------------------------------------------------------------------------------------------------------


def _text(
    facts: Facts, sums: Stats, channels: "Sequence[Channel]", skipped: int, when: "Arrivals | None", filtered: bool
) -> str:
    parts = [
        _kind_table(sums),
        _summary(sums, channels, skipped, filtered),
        "" if when is None else filled(f"came {words(arrival_json(when))}"),
        _channel_table(sums, channels),
        _pass_table(facts, sums),
        "" if when is None else _pace_table(facts, sums, when),
        _left_out(sums),
    ]
    return "\n\n".join(part for part in parts if part)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _kind_table(sums: Stats) -> str:
    total = sums.total
    rows = [["kind", "records", "", "bytes", "", "bytes each"]]
    for kind in PAGE_KINDS:
        count, wire = int(total.records[kind]), int(total.wire[kind])
        if count:
            rows.append(
                [
                    kind.name.lower(),
                    str(count),
                    _share(count, total.pages),
                    str(wire),
                    _share(wire, total.page_wire),
                    f"{wire / count:.1f}",
                ]
            )
    rows.append(["all", str(total.pages), "", str(total.page_wire), "", ""])
    return aligned(rows)


#: Why the sender's counters differ from the numbers of records [C]: QEMU 7.2, on real captures.
_ATTEMPTS = (
    "query-migrate counts more xbzrle pages than there are records: it counts every lookup that hits the cache, also "
    "where the page is unchanged (nothing is sent) or its encoding too long (overflow: a full page is sent)"
)


def _summary(sums: Stats, channels: "Sequence[Channel]", skipped: int, filtered: bool) -> str:
    total = sums.total
    if filtered:
        lines = [f"only what the filter selects is counted, of {amount(sums.size)} scanned"]
    elif channels:
        others = sum(c.size for c in channels)
        lines = [
            f"{amount(sums.size)} scanned, and {amount(others)} of {counted(len(channels), 'channel')}; "
            "their pages are counted uncompressed"
        ]
    else:
        outside = sums.size - total.page_wire - skipped
        lines = [f"{amount(sums.size)} scanned, {outside:,} of them outside page records"]
    if skipped:
        lines.append(f"{amount(skipped)} skipped as damaged, and not counted elsewhere")
    if total.deltas:
        lines.append(
            f"delta payloads: {sums.shortest} to {sums.longest} bytes, {total.delta_payload / total.deltas:.1f} on "
            f"average, {_share(total.delta_payload, total.deltas * sums.page_size)} of their pages"
        )
        plain, saved = sums.plain(total), sums.saved(total)
        lines.append(
            f"without deltas records would take {amount(plain)}; deltas save {saved:,}, {_share(saved, plain)}"
        )
    if total.records[Kind.XBZRLE]:
        lines.append(_ATTEMPTS)
    return "\n".join(map(filled, lines))


def _channel_table(sums: Stats, channels: "Sequence[Channel]") -> str:
    if not channels:
        return ""
    rows = [["channel", "packets", "pages", "zero", "packed", "bytes", "of full pages"]]
    for c in channels:
        numbers = (len(c.packets), c.pages, c.zeros)
        share = _share(c.packed, c.pages * sums.page_size)
        rows.append([str(c.id), *map(str, numbers), c.method, str(c.packed), share])
    return aligned(rows)


def _names(facts: Facts) -> dict[int, str]:
    """The blocks' names by their index, with one for records that have none."""
    return {i: shown(block.name) for i, block in enumerate(facts.blocks)} | {NO_BLOCK: "(no block)"}


def _pass_table(facts: Facts, sums: Stats) -> str:
    if not sums.passes:
        return ""
    names, passes_of = _names(facts), sums.passes_of_blocks()
    rows = [["block", "pass", "page", "dup", "delta", "bytes", "saved"]]
    for block, tally in sorted(sums.blocks().items()):
        passes = passes_of[block]
        rows += [[names[block], str(number), *_numbers(sums, of_pass)] for number, of_pass in passes]
        rows += [[names[block], "all", *_numbers(sums, tally)]] if len(passes) > 1 else []
    return aligned(rows)


def _pace_table(facts: Facts, sums: Stats, when: "Arrivals") -> str:
    """When each pass began, how long it took, and its bytes a second. They are dashes where that is not known."""
    if not sums.passes:
        return ""
    names = _names(facts)
    rows = [["block", "pass", "began s", "took s", "bytes", "rate"]]
    for block, number in sorted(sums.passes):
        times, size = _pass_times(sums, (block, number), when), sums.passes[block, number].page_wire
        began, ended = times["began"], times["ended"]
        pace = ["-", "-", str(size), "-"]
        if began is not None and ended is not None:
            took = ended - began
            pace = [f"{began:.3f}", f"{took:.3f}", str(size), rate(size / took) if took else "-"]
        rows.append([names[block], str(number), *pace])
    return aligned(rows)


def _left_out(sums: Stats) -> str:
    """What the table of passes does not have."""
    blocks = f", {sums.blocks_left_out} blocks among them" if sums.blocks_left_out else ""
    return f"and {sums.passes_left_out} more passes{blocks}: the sums have them" if sums.passes_left_out else ""


def _numbers(sums: Stats, tally: Tally) -> list[str]:
    full = int(tally.records[Kind.PAGE] + tally.records[Kind.COMPRESSED])
    numbers = (full, tally.records[Kind.DUP], tally.deltas, tally.page_wire, sums.saved(tally))
    return [str(int(number)) for number in numbers]
