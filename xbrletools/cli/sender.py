"""`xbrle sender`: the fingerprint of the program that wrote a stream."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..text import size
from .guide import Page
from .options import examples, json_object, ram_addresses, reading
from .output import report
from .writer import say, say_object

if TYPE_CHECKING:
    from ..capture import Capture
    from ..sender.fingerprint import Fingerprint

RANKED = 5  # cache sizes that the text lists


@click.command(
    cls=Page, epilog=examples("sender samples/posted-8m.bin", "sender samples/xbzrle-16m.bin --cache 64M --json")
)
@reading
@click.option(
    "--cache", "cache_bytes", type=size, metavar="BYTES", help="Test this cache size (default: the one that fits best)."
)
@ram_addresses
@json_object
def command(opened: "Capture", cache_bytes: int | None, bases: tuple[tuple[bytes, int], ...], as_json: bool) -> int:
    """Identify the program that wrote S: dialect, build, policy and page cache.

    A sender keeps pages in a cache to compute deltas from, and decides by a policy when to send a delta. A model of the
    sender replays S. The output says how many of its choices are the same as in S, and names the first record that
    differs. For XBZRLE it ranks QEMU's cache sizes, which are powers of two, and counts cache misses and overflows as
    QEMU's query-migrate does.

    Exit status: 0 all of S was read, 1 S is damaged or incomplete: the output is about what was read.
    """
    from ..sender.fingerprint import fingerprint

    status = report(opened.problems)
    found = fingerprint(opened.stream, cache_bytes, dict(bases))
    if as_json:
        say_object(_object(found))
    else:
        say(_text(found))
    return status


def _object(found: "Fingerprint") -> dict[str, Any]:
    powers = found.power_of_two
    return {
        "dialect": found.dialect,
        "candidates": list(found.candidates),
        "build": found.build,
        "policy": found.policy.value,
        "dup_pages": found.dups.value,
        "cache_bytes": {"min": found.cache_min, "max": found.cache_max, "best": found.best},
        "power_of_two": None if powers is None else {"min": powers[0], "max": powers[1]},
        "masks": {"fit": found.masks[0], "of": found.masks[1]},
        "cache_tested": found.cache_bytes,
        "choices": found.choices,
        "predicted": found.predicted,
        "first_miss": found.first_miss,
        "ram_addr": found.layout,
        "sizes": [asdict(size) for size in found.sizes],
    }


def _text(found: "Fingerprint") -> str:
    lines = [
        f"dialect     {found.dialect or 'not shown; one of ' + ', '.join(found.candidates)}",
        f"build       {found.build or 'not shown'}",
        f"policy      {found.policy.value}, dup pages {found.dups.value}",
        f"ram_addr    {found.layout}",
    ]
    if found.cache_bytes is not None:
        lines += [f"cache       {line}" if not i else f"            {line}" for i, line in enumerate(_cache(found))]
        lines.append(
            f"choices     {found.predicted} of {found.choices} predicted with a cache of {_words(found.cache_bytes)}"
        )
    else:
        lines.append(f"choices     {found.choices}, all full pages")
    if found.first_miss is not None:
        lines.append(f"first miss  record {found.first_miss}")
    return "\n".join(lines)


def _sizes(found: "Fingerprint") -> list[str]:
    """XBZRLE's cache sizes: the ones that predict most, and what each comes to."""
    most = found.sizes[0].predicted
    equals = [s for s in found.sizes if s.predicted == most]
    if found.cache_max is None:
        lines = [f"{_words(found.cache_min)} or more"]
    elif len(equals) == 1:
        lines = [_words(found.cache_max)]
    else:
        lines = [f"one of {', '.join(_words(s.cache_bytes) for s in equals)}"]
    for s in found.sizes[:RANKED]:
        counts = f"{s.predicted} predicted, {s.cache_miss} cache misses, {s.overflow} overflows"
        lines.append(f"with {_words(s.cache_bytes)}: {counts}")
    return lines


def _words(count: int) -> str:
    """A cache's bytes for a person: by a unit where they are whole numbers of it."""
    if count % 1024:
        return f"{count:,} bytes"
    return f"{count >> 10:,} KiB" if count % (1 << 20) else f"{count >> 20:,} MiB"


def _cache(found: "Fingerprint") -> list[str]:
    if found.sizes:
        return _sizes(found)
    fit, of = found.masks
    lines = [f"{_words(found.cache_min)} or more"]
    if found.power_of_two is not None:
        least, most = found.power_of_two
        lines.append(
            f"if a power of two, {_words(least)} to {_words(most)}"
            if most
            else f"if a power of two, {_words(least)} or more"
        )
    if fit is not None:
        lines.append(f"of {of} sizes that can be told apart, {fit} fit")
    return lines
