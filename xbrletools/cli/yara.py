"""`xbrle yara`: which YARA rules hold in memory, or where and when their patterns ever were."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
import numpy as np

from ..analysis.blame import Writers
from ..analysis.lives import search_all
from ..analysis.search import Hit
from ..analysis.yara import LONGEST, MATCHES, SECONDS, Engine, Named, Rules, check, columns, pattern_of, read_rules
from ..capture import Capture
from ..errors import XbrleError
from ..export.judged import Judged, Place, Verdicts, judge, spaces_of
from ..formats.times import NANOSECONDS
from ..memory.image import Image
from ..memory.replay import View
from ..physical.infer import map_of
from ..physical.layout import PhysicalMap
from ..text import shown, some
from . import EXIT_FINDINGS, hexview, warn
from .faults import say_verdict
from .guide import Page
from .options import before, examples, json_lines, limiting, moment, salvaging, viewing
from .output import WIDTH, progress, report
from .times import times_of
from .writer import say, say_object

SHOWN = 32  # bytes of a match, at most
LEAST = 4  # and at least, whatever fits into a line


def _usage(everything: bool, space: str | None, block: str | None) -> None:
    check()
    if everything and space is not None:
        raise click.UsageError("--all and --space exclude each other: versions are of pages of blocks")
    if block is not None and space == "physical":
        raise click.UsageError("--block and --space physical exclude each other")


@click.command(
    cls=Page,
    epilog=examples(
        "yara samples/rules.yar samples/posted-8m.bin",
        "yara samples/rules.yar samples/posted-8m.bin --at-pass 1 --json",
        "yara samples/rules.yar samples/posted-8m.bin --all --limit 5",
    ),
)
@before(_usage)
@click.argument("rule_file", metavar="RULES")
@salvaging
@click.option(
    "--rules", "more_rules", multiple=True, metavar="FILE", help="More rules, a file or a folder. Repeatable."
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Follow every pattern, whatever the conditions, over all versions of all pages.",
)
@moment(
    "Judge memory just after this record (default: at the end). With --all: search all versions up to it.",
    "Judge memory",
)
@click.option(
    "--space",
    type=click.Choice(["physical", "block"]),
    help="Judge guest-physical memory, or each RAM block alone (default: physical where the place is known).",
)
@click.option("--block", metavar="NAME", help="Judge or search only this RAM block.")
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the rules may take for one piece of memory.",
)
@click.option(
    "--max-matches",
    type=click.IntRange(1, 1 << 40),
    default=MATCHES,
    show_default=True,
    metavar="N",
    help="Places of one pattern that are told in one piece of memory.",
)
@limiting("Show N matches.")
@viewing
@json_lines
def command(
    opened: Capture,
    rule_file: str,
    more_rules: tuple[str, ...],
    everything: bool,
    at: int | None,
    space: str | None,
    block: str | None,
    timeout: int,
    max_matches: int,
    limit: int | None,
    view: str,
    as_json: bool,
) -> int:
    """Judge the memory that S carries by YARA rules, with YARA-X (needs xbrletools[yara]).

    RULES is a file of rules, or a folder of such files (*.yar, *.yara, *.yr). Each file has its own names. What a file
    includes is not read.

    Each rule's own condition is judged on whole memory at one moment: on guest-physical memory as the guest has it, and
    on what of the RAM blocks is not there, each block alone. Unknown bytes are zeros for a condition, and never part of
    a match: a rule that counts on them is marked as not sure. With --all, conditions do not matter: every pattern that
    is not private is followed over all versions of all pages, with the records at which it appeared and vanished. A
    match then ends at most 4 KiB after the page that it begins in.

    Exit status: 0 a rule holds, or with --all a pattern was found, 1 none, or unknown bytes or a limit leave a doubt, 2
    S or RULES cannot be read, or the rules take too long.
    """
    rules = read_rules([rule_file, *more_rules])
    status = max(report(opened.problems), say_verdict(opened, at, View(view)))
    chosen = None if block is None else opened.space.index(block)
    if everything:
        found = _Lives(opened, rules, view, as_json)
        return max(status, found.show(at, chosen, timeout, max_matches, limit or None))
    image = opened.memory(at, View(view))
    where = None if space == "block" or block is not None else _map(opened, must=space == "physical")
    judged = _Moment(opened, image, where, at, view, as_json)
    return max(status, judged.show(rules, chosen, timeout, max_matches, limit or None))


def _map(opened: Capture, must: bool) -> PhysicalMap | None:
    """Where memory lies. What is assumed of it is said."""
    try:
        found = map_of(opened.stream)
    except XbrleError as error:
        if must:
            raise
        warn(f"{error}; each RAM block is judged alone")
        return None
    if found.assumed:
        warn(f"guest-physical addresses are assumed ({found.origin}); --space block does without them")
    return found


def _content(content: bytes, length: int, room: int) -> str:
    """The first bytes of a match, as many as fit into ``room`` characters."""
    fitting = max(LEAST, min(SHOWN, room - 5))
    return f"|{hexview.printable(content[:fitting])}|" + ("..." if length > fitting else "")


def _cut_words(count: int) -> str:
    """What to say of matches that end early."""
    return f"{some(count, 'match ends', 'matches end')} early: a pattern is followed over {LONGEST + 1:,} bytes at most"


class _Moment:
    """Shows which rules hold in memory at one moment, and where their patterns are."""

    def __init__(
        self, opened: Capture, image: Image, where: PhysicalMap | None, at: int | None, view: str, as_json: bool
    ) -> None:
        self._opened = opened
        self._image = image
        self._where = where
        self._writers = Writers(opened.stream, at)
        self._view = view
        self._as_json = as_json
        self._names = [shown(b.name) for b in opened.blocks]

    def show(self, rules: Rules, block: int | None, timeout: int, most: int, limit: int | None) -> int:
        """Print what holds. Returns the exit status."""
        spaces = spaces_of(self._image, self._where, block)
        holding = doubts = left = cut = 0
        room = [limit]
        for verdicts in judge(self._image, spaces, rules, timeout, most):
            for judged in verdicts.holding:
                left += self._show(judged, room)
                holding += 1
                doubts += not judged.sure
                cut += judged.cut
            doubts += self._say_doubts(verdicts, most)
            if self._as_json:
                say_object(_space_object(verdicts))
        if left:
            warn(f"{some(left, 'match is', 'matches are')} not shown (--limit)")
        if cut:
            warn(_cut_words(cut))
        if not holding and not self._as_json:
            say("no rule holds")
        return EXIT_FINDINGS if doubts or cut or not holding else 0

    def _say_doubts(self, verdicts: Verdicts, most: int) -> int:
        """Say what leaves a doubt about a space. Returns how many doubts there are."""
        name = verdicts.space.name
        if verdicts.unknown:
            warn(f"{name}: {verdicts.unknown:,} bytes are unknown. No match has any of them, and conditions see zeros")
        for pattern in verdicts.full:
            warn(f"{name}: {pattern} has more than {most:,} places; its rule may be judged wrongly (--max-matches)")
        return bool(verdicts.unknown) + len(verdicts.full)

    def _show(self, judged: Judged, room: list[int | None]) -> int:
        """Print a rule and its places. Returns how many were left out because of --limit."""
        shown_now = len(judged.places) if room[0] is None else min(room[0], len(judged.places))
        room[0] = None if room[0] is None else room[0] - shown_now
        if self._as_json:
            say_object(_rule_object(judged))
        else:
            tags = "".join(f" [{tag}]" for tag in judged.tags)
            sure = "" if judged.sure else f", not sure: {self._why(judged)}"
            count = some(len(judged.places), "place", "places")
            say(f"{judged.rule}{tags} holds in {judged.space.name}, {count}{sure}")
        for place in judged.places[:shown_now]:
            self._show_place(judged, place)
        return len(judged.places) - shown_now

    @staticmethod
    def _why(judged: Judged) -> str:
        if judged.full:
            return f"{judged.full[0].pattern} has more places than were told"
        return f"it also counts {some(judged.left_out, 'place', 'places')} in unknown bytes"

    def _show_place(self, judged: Judged, place: Place) -> None:
        row = self._written(place)
        records = self._opened.records
        number = int(records.number[row]) if row >= 0 else None
        passed = int(records.pass_[row]) if row >= 0 else None
        if self._as_json:
            say_object(
                {
                    "type": "match",
                    "rule": judged.rule,
                    "pattern": place.pattern.pattern,
                    "file": place.pattern.file,
                    "block": self._names[place.block],
                    "offset": place.offset,
                    "address": place.address if judged.space.block is None else None,
                    "length": place.length,
                    "bytes": place.content.hex(),
                    "record": number,
                    "pass": passed,
                    "view": self._view,
                }
            )
            return
        at = f"{place.address:#010x}  " if judged.space.block is None else ""
        line = f"  {at}{self._names[place.block]}:{place.offset:#010x}  {number or '-':>8} {passed or '-':>4}"
        line += f"  {place.pattern.pattern:8}  "
        say(line + _content(place.content, place.length, WIDTH - len(line)))

    def _written(self, place: Place) -> int:
        """The row of the record that last wrote a page of a place, -1 for none."""
        space = self._opened.space
        size, first = space.page_size, int(space.first[place.block])
        end = min(place.offset + place.length, space.blocks[place.block].length) - 1
        return int(self._writers.rows(np.arange(first + place.offset // size, first + end // size + 1)).max())


def _rule_object(judged: Judged) -> dict[str, Any]:
    return {
        "type": "rule",
        "rule": judged.rule,
        "file": judged.file,
        "tags": list(judged.tags),
        "space": judged.space.name,
        "sure": judged.sure,
        "matches": len(judged.places),
        "left_out": judged.left_out,
    }


def _space_object(verdicts: Verdicts) -> dict[str, Any]:
    return {
        "type": "space",
        "space": verdicts.space.name,
        "searched": verdicts.searched,
        "unknown": verdicts.unknown,
        "holding": len(verdicts.holding),
        "more_matches": [_pattern_object(p) for p in verdicts.full],
    }


def _pattern_object(pattern: Named) -> dict[str, Any]:
    return {"file": pattern.file, "rule": pattern.rule, "pattern": pattern.pattern}


class _Lives:
    """Shows where and when patterns were in any version of memory."""

    def __init__(self, opened: Capture, rules: Rules, view: str, as_json: bool) -> None:
        self._opened = opened
        self._rules = rules
        self._view = view
        self._as_json = as_json

    def show(self, at: int | None, block: int | None, timeout: int, most: int, limit: int | None) -> int:
        """Print the lives. Returns the exit status."""
        engine = Engine(self._rules, timeout, most)
        when, status = times_of(self._opened)
        stream, count = self._opened.stream, 0
        with progress("searching", len(stream.records.by_number)) as on:
            hits = search_all(stream, pattern_of(engine), at, View(self._view), block, on)
            first = next(hits, None)  # the whole search ends before the first hit comes
        rest = iter(()) if first is None else _chained(first, hits)
        while part := list(islice(rest, 4096 if limit is None else min(4096, limit - count))):
            if not count and not self._as_json:
                say(f"{'address':28}  appeared pass vanished pass  {'came s':>8}  match")
            told = columns(stream, part, self._rules.patterns, when)
            for i in range(len(part)):
                self._show({name: values[i] for name, values in told.items()})
            count += len(part)
        if limit is not None and next(rest, None) is not None:
            warn(f"stopped after {some(count, 'match', 'matches')} (--limit), there are more")
        if engine.cut:
            warn(_cut_words(engine.cut))
            status = EXIT_FINDINGS
        return status if count else EXIT_FINDINGS

    def _show(self, life: dict[str, Any]) -> None:
        if self._as_json:
            say_object(_life_object(life, self._view))
            return
        elapsed = int(life["elapsed"])
        came = f"{elapsed / NANOSECONDS:.3f}" if elapsed >= 0 else "-"
        place = f"{life['block']}:{life['offset']:#010x}"
        line = f"{place:28}  {life['appeared']:8} {life['pass'] or '-':>4} {life['vanished'] or '-':>8} "
        line += f"{life['vanished_pass'] or '-':>4}  {came:>8}  {life['rule']}:{life['pattern']} "
        say(line + _content(life["content"], life["length"], WIDTH - len(line)))


def _chained(first: Hit, rest: Iterator[Hit]) -> Iterator[Hit]:
    yield first
    yield from rest


def _life_object(life: dict[str, Any], view: str) -> dict[str, Any]:
    def seconds(elapsed: int) -> float | None:
        return int(elapsed) / NANOSECONDS if elapsed >= 0 else None

    return {
        "type": "life",
        "rule": life["rule"],
        "pattern": life["pattern"],
        "file": life["file"],
        "block": life["block"],
        "offset": int(life["offset"]),
        "length": int(life["length"]),
        "bytes": life["content"].hex(),
        "appeared": int(life["appeared"]),
        "pass": int(life["pass"]) or None,
        "time": seconds(life["elapsed"]),
        "vanished": int(life["vanished"]) or None,
        "vanished_pass": int(life["vanished_pass"]) or None,
        "vanished_time": seconds(life["vanished_elapsed"]),
        "view": view,
    }
