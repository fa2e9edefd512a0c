"""`xbrle grep`: where a pattern is in memory, or where and when it ever was."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice, repeat
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ..analysis.blame import Writers
from ..analysis.context import Around, around, pages_of_image, pages_over_time
from ..analysis.lives import search_all
from ..analysis.pattern import Form, Pattern
from ..analysis.search import Hit, search_image
from ..capture import Capture
from ..export.raw import unknown_bytes
from ..filters import Filter
from ..formats.times import NANOSECONDS
from ..memory.image import Image
from ..memory.replay import View
from ..table.windows import slices
from ..text import shown, size, some
from . import EXIT_FINDINGS, hexview, warn
from .addresses import Virtual, giving_cpu, virtual_words
from .faults import say_verdict
from .filtering import filtering, say_strangers, wanted_of
from .guide import Page
from .options import before, examples, json_lines, limiting, moment, salvaging, viewing
from .output import WIDTH, progress, report
from .times import times_of
from .writer import painted, say, say_object

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals

SHOWN = 32  # bytes of a match, at most
LEAST = 4  # and at least, whatever fits into a line
CUT = "..."
INDENT = "    "
ROWS = 4096  # records whose rows are remembered: matches that lie together often came together
CONTEXT_MAX = 1 << 20  # bytes before and after a match that can be shown


def _usage(
    capture: str,
    pattern: str,
    is_hex: bool,
    utf16: bool,
    regex: bool,
    ignore_case: bool,
    only_count: bool,
    context: int | None,
    limit: int | None,
    virtual: bool,
) -> None:
    swapped = capture != "-" and "://" not in capture and not os.path.lexists(capture) and Path(pattern).is_file()
    if swapped:
        raise click.UsageError(
            f"{capture!r} is not a file, but {pattern!r} is: the capture comes before what to look for"
        )
    if is_hex + utf16 + regex > 1:
        raise click.UsageError("--hex, --utf16 and --regex exclude each other")
    if is_hex and ignore_case:
        raise click.UsageError("--hex and --ignore-case exclude each other")
    if context is not None and context > CONTEXT_MAX:
        raise click.UsageError(f"--context {context}: at most {CONTEXT_MAX} bytes can be shown")
    if only_count and (context is not None or limit is not None or virtual):
        raise click.UsageError("--count excludes --context, --limit and --virtual")


@click.command(
    cls=Page,
    epilog=examples(
        "grep samples/posted-8m.bin -i mig -C 16",
        "grep samples/posted-8m.bin --hex '55 aa' --at-pass 2 --count",
        "grep samples/posted-8m.bin --regex '[A-Za-z ]{12,}' --all --limit 5",
        "grep samples/posted-8m.bin -i mig kind:delta pass:2-",
    ),
)
@before(_usage)
@salvaging
@click.argument("pattern")
@partial(filtering, without="block")
@click.option("--hex", "is_hex", is_flag=True, help="PATTERN is bytes in hexadecimal, for example 'de ad be ef'.")
@click.option("--utf16", is_flag=True, help="PATTERN is text, stored as little-endian UTF-16.")
@click.option("--regex", is_flag=True, help="PATTERN is a regular expression over bytes (Python syntax).")
@click.option("--ignore-case", "-i", is_flag=True, help="Ignore the difference between upper and lower case.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Search every version of every page; show the records at which a match appeared and vanished.",
)
@moment(
    "Search memory just after this record (default: at the end). With --all: search all versions up to it.",
    "Search memory",
)
@click.option("--block", metavar="NAME", help="Search only this RAM block.")
@click.option("--virtual", is_flag=True, help="Show the virtual addresses of each match, too.")
@giving_cpu
@click.option(
    "--context",
    "-C",
    type=size,
    metavar="N",
    help="Show N bytes before and after each match too, in hexadecimal and as text; ?? are unknown bytes.",
)
@click.option("--count", "only_count", is_flag=True, help="Print only how many matches there are.")
@limiting("Stop after N matches.")
@viewing
@json_lines
def command(
    opened: Capture,
    pattern: str,
    words: tuple[str, ...],
    is_hex: bool,
    utf16: bool,
    regex: bool,
    ignore_case: bool,
    everything: bool,
    at: int | None,
    block: str | None,
    virtual: bool,
    cpu: int | None,
    context: int | None,
    only_count: bool,
    limit: int | None,
    view: str,
    as_json: bool,
    **options: str | None,
) -> int:
    """Search the memory that S carries for PATTERN.

    PATTERN is text unless an option says otherwise. A match may cross page borders, but never contains unknown bytes.
    With --regex, ^ and $ match at line breaks, and a match ends at most 4 KiB after the page that it begins in. An
    expression may take a second for a page. Where it takes more, the search ends with an error that names the page.

    The record and the pass beside a match are those of the last record that wrote a page of it. A delta counts, also
    where it left the match alone; xbrle blame goes by bytes. With --all, the pass is that of the record at which the
    match appeared.

    A FILTER selects matches by that record, as in `xbrle dump`: those that it selects are shown. With --all it is the
    record at which the match appeared.

    With --virtual, each match is followed by its virtual addresses in the page tables of a CPU at the end of S, or by -
    where these tables do not map it. A match that is too long for its line is cut; --json has it whole.

    Exit status: 0 something matched, 1 nothing matched or virtual addresses may be missing, 2 S cannot be read or the
    search ended early. A wrong page can hide a match: what verify finds is said, and does not change the status.
    """
    pages = wanted_of(words, options)
    wanted = _form(is_hex, utf16, regex).pattern(pattern, ignore_case)
    report(opened.problems)
    say_verdict(opened, at, View(view))
    chosen = None if block is None else opened.space.index(block)
    searched = (_Lives if everything else _Moment)(opened, wanted, at, View(view), chosen)
    if pages is not None:
        searched.hits = _selected(opened, searched, pages)
    if only_count:
        return _count(searched.hits, view, as_json)
    when, status = times_of(opened)
    shower = _Shower(searched, view, is_hex, context, [shown(b.name) for b in opened.blocks], when)
    looked_up = Virtual(opened, cpu, view) if virtual else None
    found = _show(shower, looked_up, limit or None, as_json)
    status = max(status, looked_up.report() if looked_up else 0)
    return status if found else EXIT_FINDINGS


def _selected(opened: Capture, searched: "_Moment | _Lives", pages: Filter) -> Iterator[Hit]:
    """The matches whose record a filter selects."""
    say_strangers(pages, opened.records.names)
    findings = tuple(opened.verify()) if "finding" in pages.fields else ()
    mask = np.concatenate([np.empty(0, bool), *(pages.mask(w, findings) for w in slices(opened.records))])
    return (hit for hit in searched.hits if (row := searched.row(hit)) >= 0 and mask[row])


def _show(shower: "_Shower", looked_up: Virtual | None, limit: int | None, as_json: bool) -> int:
    """Print the matches, at most ``limit`` of them. Returns how many."""
    every = shower.searched.hits
    hits, found = islice(every, limit), 0
    for found, (hit, addresses) in enumerate(looked_up.of(hits) if looked_up else zip(hits, repeat(None)), 1):
        if found == 1 and not as_json:
            say(shower.header)
        if as_json:
            say_object(shower.as_object(hit, addresses))
            continue
        for line in shower.lines(hit, addresses):
            say(line)
    if found == limit and next(every, None) is not None:
        warn(f"stopped after {some(found, 'match', 'matches')} (--limit), there are more")
    return found


def _say_unknown(image: Image, block: int | None) -> None:
    """Say how many bytes of what is searched are unknown."""
    blocks = range(len(image.space.blocks)) if block is None else [block]
    unknown = sum(unknown_bytes(image, b) for b in blocks if image.space.blocks[b].declared)
    if unknown:
        warn(f"{some(unknown, 'byte is', 'bytes are')} unknown, and no match has any of them")


def _form(is_hex: bool, utf16: bool, regex: bool) -> Form:
    return Form.BYTES if is_hex else Form.REGEX if regex else Form.UTF16 if utf16 else Form.TEXT


def _count(hits: Iterable[Hit], view: str, as_json: bool) -> int:
    """Print how many matches there are. Returns the exit status."""
    count = sum(1 for _ in hits)
    if as_json:
        say_object({"count": count, "view": view})
    else:
        say(str(count))
    return 0 if count else EXIT_FINDINGS


class _Moment:
    """What is found in memory at one moment."""

    columns = f"{'record':>8} {'pass':>4}"

    def __init__(self, opened: Capture, wanted: Pattern, at: int | None, view: View, block: int | None) -> None:
        self.opened = opened
        image = opened.memory(at, view)
        _say_unknown(image, block)
        self.hits = search_image(opened.stream, image, wanted, block)
        self._pages_at = pages_of_image(image)
        self._writers = Writers(opened.stream, at)

    def row(self, hit: Hit) -> int:
        """The row of the record that last wrote a page of a match, -1 for a page without a record."""
        space = self.opened.space
        first, size = int(space.first[hit.block]), space.page_size
        last = hit.offset + len(hit.content) - 1
        return int(self._writers.rows(np.arange(first + hit.offset // size, first + last // size + 1)).max())

    def written(self, hit: Hit) -> dict[str, Any]:
        """The record that last wrote a page of a match, and its pass. Both are None for a page without a record."""
        return _numbered(self.opened, self.row(hit))

    def cells(self, hit: Hit) -> str:
        """The columns of a match beside its address."""
        about = self.written(hit)
        return f"{about['record'] or '-':>8} {about['pass'] or '-':>4}"

    def around(self, hit: Hit, more: int) -> Around:
        """A match with ``more`` bytes on each side."""
        return around(self.opened.stream, self._pages_at, hit.block, hit.offset, len(hit.content), more)


class _Lives:
    """What is found in any version of memory."""

    columns = "appeared pass vanished"

    def __init__(self, opened: Capture, wanted: Pattern, at: int | None, view: View, block: int | None) -> None:
        self.opened = opened
        self.hits = _everything(opened, wanted, at, view, block)
        self._pages_at = pages_over_time(opened.stream, view)
        self._row_of = lru_cache(ROWS)(opened.records.row_of)
        self._numbered = lru_cache(ROWS)(partial(_numbered, opened))

    def row(self, hit: Hit) -> int:
        """The row of the record at which a match appeared, -1 where there is none."""
        row = None if hit.appeared is None else self._row_of(hit.appeared)
        return -1 if row is None else row

    def written(self, hit: Hit) -> dict[str, Any]:
        """The record at which a match appeared, its pass, and the record at which it vanished."""
        about = self._numbered(self.row(hit))
        return {"appeared": hit.appeared, "vanished": hit.vanished, **about}

    def cells(self, hit: Hit) -> str:
        """The columns of a match beside its address."""
        return f"{hit.appeared:8} {self.written(hit)['pass'] or '-':>4} {hit.vanished or '-':>8}"

    def around(self, hit: Hit, more: int) -> Around:
        """A match with ``more`` bytes on each side, as they were when it appeared."""
        page_at = self._pages_at(hit.appeared or 0)
        return around(self.opened.stream, page_at, hit.block, hit.offset, len(hit.content), more)


def _numbered(opened: Capture, row: int) -> dict[str, Any]:
    if row < 0:
        return {"record": None, "pass": None}
    return {"record": int(opened.records.number[row]), "pass": int(opened.records.pass_[row])}


@dataclass(frozen=True, slots=True)
class _Shower:
    """Shows matches, as text or JSON."""

    searched: _Moment | _Lives
    view: str
    is_hex: bool
    context: int | None
    names: list[str]
    when: "Arrivals | None"

    @property
    def _width(self) -> int:
        return max(map(len, self.names)) + 11

    @property
    def header(self) -> str:
        """The line above the matches."""
        timed = "" if self.when is None else f"  {'came s':>10}"
        return f"{'address':{self._width}}  {self.searched.columns}{timed}  match"

    def _came(self, number: int | None) -> tuple[float | None, str | None]:
        """When a record came: seconds after the first byte, and the clock's time, in UTC."""
        if self.when is None or number is None:
            return None, None
        records = self.searched.opened.records
        elapsed = int(self.when.of(records.columns.offset[[records.row(number)]])[0])
        return (elapsed / NANOSECONDS, self.when.clock(elapsed)) if elapsed >= 0 else (None, None)

    def lines(self, hit: Hit, virtual: list[int] | None) -> Iterator[str]:
        """A match, its virtual addresses and the bytes around it if they are wanted."""
        place = f"{self.names[hit.block]}:{hit.offset:#010x}"
        timed = ""
        if self.when is not None:
            came = self._came(self.searched.written(hit)["record"])[0]
            timed = f"  {'-' if came is None else f'{came:.3f}':>10}"
        line = f"{place:{self._width}}  {self.searched.cells(hit)}{timed}  "
        yield line + self._content(hit.content, WIDTH - len(line))
        if virtual is not None:
            yield from wrap(virtual_words(virtual), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
        if self.context is not None:
            found = self.searched.around(hit, self.context)
            first = hit.offset - found.offset
            for line in hexview.dump(found.data, found.recovered, found.offset, range(first, first + len(hit.content))):
                yield f"{INDENT}{line}"

    def _content(self, content: bytes, room: int) -> str:
        """The first bytes of a match, as many as fit into ``room`` characters."""
        fitting = (room + 1) // 3 if self.is_hex else room - 2  # a byte is two digits and a blank, or one character
        if len(content) > min(fitting, SHOWN):
            fitting = max(LEAST, min(SHOWN, fitting - (1 if self.is_hex else len(CUT))))
        start = content[:fitting]
        text = start.hex(" ") if self.is_hex else f"|{hexview.printable(start)}|"
        return painted(text, "match") + (CUT if len(content) > len(start) else "")

    def as_object(self, hit: Hit, virtual: list[int] | None) -> dict[str, Any]:
        """A match as JSON has it."""
        place = {"block": self.names[hit.block], "offset": hit.offset, "length": len(hit.content)}
        about = {"bytes": hit.content.hex(), **self.searched.written(hit), "view": self.view}
        if self.when is not None:
            about["time"], about["clock"] = self._came(about["record"])
        if virtual is not None:
            about["virtual"] = virtual
        if self.context is not None:
            found = self.searched.around(hit, self.context)
            unknown = hexview.runs(~found.recovered)
            about["context"] = {"offset": found.offset, "bytes": found.data.tobytes().hex(), "unknown": unknown}
        return place | about


def _everything(opened: Capture, wanted: Pattern, at: int | None, view: View, block: int | None) -> Iterator[Hit]:
    with progress("searching", len(opened.records.by_number)) as on:
        hits = search_all(opened.stream, wanted, at, view, block, on)
        first = next(hits, None)  # the whole search ends before the first hit comes
    if first is not None:
        yield first
        yield from hits
