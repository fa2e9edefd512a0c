"""`xbrle page`: one page's history, its bytes after any record, and what a record did to them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ..capture import Capture
from ..errors import XbrleError
from ..formats.ram import DELTA_KINDS
from ..formats.times import NANOSECONDS
from ..memory.history import Content, PageHistory, Version
from ..memory.replay import View
from ..table.sections import Stage
from ..text import counted, shown, size, some
from . import EXIT_FINDINGS, hexview, warn
from .addresses import giving_cpu, located
from .guide import Page
from .hexview import Column
from .options import before, examples, json_lines, moment, salvaging, viewing
from .output import report
from .times import times_of
from .writer import say, say_object, write_bytes

if TYPE_CHECKING:
    from ..analysis.arrivals import Arrivals

_HEADER = " record pass stage kind   length    base changed check"


def _usage(
    raw: bool,
    as_delta: bool,
    pair: tuple[int, int] | None,
    inspect: str | None,
    at: int | None,
    at_pass: int | None,
    as_json: bool,
) -> None:
    if sum([raw, as_delta, pair is not None, inspect is not None]) > 1:
        raise click.UsageError("--raw, --delta, --diff and --inspect exclude each other")
    if as_delta and at is None:
        raise click.UsageError("--delta needs --at RECORD, a record of this page that is a delta")
    if pair is not None and (at, at_pass) != (None, None):
        raise click.UsageError("--diff excludes --at and --at-pass: it names two records itself")
    if raw and as_json:
        raise click.UsageError("--raw and --json exclude each other")


@click.command(
    cls=Page,
    epilog=examples(
        "page samples/posted-8m.bin pc.ram:0x20b000",
        "page samples/posted-8m.bin 0x20b000 --at 2099 --delta",
        "page samples/posted-8m.bin 0x20b000 --diff 526 2099",
    ),
)
@before(_usage)
@salvaging
@click.argument("address", metavar="ADDR")
@moment("Show the page's bytes just after this record.", "Show the page's bytes")
@click.option("--raw", is_flag=True, help="Write the bytes themselves, for other programs; without --at: at the end.")
@click.option(
    "--delta",
    "as_delta",
    is_flag=True,
    help="With --at: show the bytes before and after the delta of that record, and the delta.",
)
@click.option(
    "--diff",
    "pair",
    type=click.IntRange(0),
    nargs=2,
    metavar="N M",
    help="Show the bytes after two records side by side.",
)
@click.option(
    "--inspect",
    metavar="OFFSET",
    help="Show the bytes at this offset in the page as 8-, 16-, 32- and 64-bit numbers, and as text.",
)
@giving_cpu
@viewing
@json_lines
def command(
    opened: Capture,
    address: str,
    cpu: int | None,
    at: int | None,
    raw: bool,
    as_delta: bool,
    pair: tuple[int, int] | None,
    inspect: str | None,
    view: str,
    as_json: bool,
) -> int:
    """Show the history of the page of S that holds ADDR: every record that wrote it.

    ADDR may be guest-physical, phys:0x1000, or virtual, virt:0xffff800000001000.

    The column "base" is the record whose result a delta is applied to, "changed" counts the bytes that differ from the
    version before, and "check" says whether the page has the checksum that the record states, or why a delta cannot
    be decoded. In dumps, * marks changed bytes and ?? unknown ones.

    Only this page is replayed: what verify finds of the whole of S is not looked for. Exit status: 0, or 1 if the bytes
    differ (with --diff), bytes are unknown (with --raw), a record states another sum than the page has in the end or at
    RECORD, a delta shows that its sender had another page ("other base"), or parts of S were not read.
    """
    status = report(opened.problems)
    found = located(opened, address, cpu)
    if found is None:
        return EXIT_FINDINGS
    block, offset, status = found[0].block, found[0].offset, max(status, found[1])
    page = opened.page(opened.blocks[block].name, offset)
    for record in (at, *(pair or ())):
        if record is not None:
            opened.records.row(record)
    when, times_status = times_of(opened)
    status = max(status, times_status)
    shower = _Page(opened, page, View(view), as_json, when)
    if pair is not None:
        return shower.diff(*pair) or status
    if as_delta and at is not None:
        shower.delta(at)
        return status
    status = max(status, shower.doubt(at, is_shown=at is None and inspect is None and not raw))
    if inspect is not None:
        shower.inspect(inspect, at)
    elif raw:
        return shower.raw(at) or status
    elif at is not None:
        shower.dump(at)
    else:
        shower.story()
    return status


class _Page:
    """Shows one page, as text or JSON."""

    def __init__(self, capture: Capture, page: PageHistory, view: View, as_json: bool, when: "Arrivals | None") -> None:
        self.page = page
        self.when = when
        self.view = view
        self.as_json = as_json
        name = shown(capture.blocks[page.block].name)
        self.place = {"block": name, "page": page.address}
        self.name = f"{name}:{page.address:#x}"

    def story(self) -> None:
        """A line for each version, and how many bytes differ in the other view, if the views can differ."""
        other_view = View.SENDER if self.view is View.RECEIVER else View.RECEIVER
        others = self.page.versions(other_view) if self.page.forgets_dups else None
        if not self.as_json:
            count = counted(len(self.page), "record")
            zero = "; a page of zeros: its bit in the bitmap is clear" if self.page.is_zero else ""
            say(f"{self.name}, {self.view.value}'s view: {count}{zero}")
            if self.when is not None:
                say(f"times count from {self.when.clock(0)}")
            if len(self.page):
                say(_HEADER)
        lapses = [] if self.as_json else self.page.lapses(self.view).tolist()
        for version in self.page.versions(self.view):
            while lapses and lapses[0] <= version.record:
                say(_lapse(lapses.pop(0)))
            other = next(others) if others is not None else None
            differ = None if other is None else int(np.count_nonzero(version.content.differs(other.content)))
            if self.as_json:
                came = self._came(version)
                timed = {} if self.when is None else {"time": came and came[0], "clock": came and came[1]}
                say_object(self.place | {"view": self.view.value} | _as_object(version, differ) | timed)
                continue
            line = (
                f"{version.record:7} {version.pass_:4} {_stage(version.stage).upper():5} {version.kind.name.lower():6} "
                f"{version.length:6} {version.base or '-':>7} {version.changed:7} {_check(version)}"
            )
            came = self._came(version)
            notes = ", ".join([*([f"+{came[0]:.3f} s"] if came else []), *_notes(version, differ, other, other_view)])
            say(f"{line:<53}  {notes}" if notes else line)
        for record in lapses:
            say(_lapse(record))

    def _came(self, version: Version) -> tuple[float, str] | None:
        """When a version's record came: seconds after the first byte, and the clock's time. None: not known."""
        if self.when is None:
            return None
        elapsed = int(self.when.of(np.array([version.offset]))[0])
        return None if elapsed < 0 else (elapsed / NANOSECONDS, self.when.clock(elapsed))

    def dump(self, at: int) -> None:
        """The page's bytes just after a record."""
        content = self.page.at(at, self.view)
        if self.as_json:
            unknown = hexview.runs(~content.recovered)
            found = {"record": at, "view": self.view.value, "bytes": content.data.tobytes().hex(), "unknown": unknown}
            say_object(self.place | found)
            return
        say(f"{self.name}, {self.view.value}'s view, after record {at}")
        for line in hexview.dump(content.data, content.recovered, self.page.address):
            say(line)

    def raw(self, at: int | None) -> int:
        """The page's bytes for other programs. Unknown ones are zeros, with a warning. Returns the exit status."""
        content = self.page.at(at, self.view)
        write_bytes([content.data.tobytes()])
        unknown = int(np.count_nonzero(~content.recovered))
        if unknown:
            what = some(unknown, "byte of this page is", "bytes of this page are")
            warn(f"{what} unknown; they are written as zeros")
        return EXIT_FINDINGS if unknown else 0

    def doubt(self, at: int | None, is_shown: bool) -> int:
        """Say whether a record speaks against the page as it is just after a record. Returns the exit status.

        ``is_shown``: the story is printed, which shows it.
        """
        found = _refuted(self.page.versions(self.view), at)
        if found is None:
            return 0
        stale = self.view is View.RECEIVER and self.page.forgets_dups
        if stale and _refuted(self.page.versions(View.SENDER), at) is None:
            said = f"the receiver had lost the base of record {found.record}; to see the source's page: --view sender"
        elif found.other_base:
            said, stale = f"record {found.record} was made against another page: it states bytes that are there", False
        else:
            said, stale = f"the page does not have the sum that record {found.record} states", False
        if not is_shown:
            warn(said)
        return 0 if stale else EXIT_FINDINGS

    def diff(self, first: int, second: int) -> int:
        """Two versions side by side. Returns the exit status."""
        one, other = self.page.at(first, self.view), self.page.at(second, self.view)
        differs = one.differs(other)
        if self.as_json:
            ranges = _ranges({"old": one, "new": other}, differs)
            found = {"first": first, "second": second, "view": self.view.value, "ranges": ranges}
            say_object(self.place | found)
        else:
            count, parts = int(np.count_nonzero(differs)), counted(len(hexview.runs(differs)), "range")
            say(f"{self.name}, {self.view.value}'s view: after record {first} | after record {second}")
            for line in hexview.sides([_column(one, differs, True), _column(other, differs, True)], differs):
                say(line)
            say(f"{some(count, 'byte differs', 'bytes differ')}, in {parts}" if count else "no byte differs")
        return EXIT_FINDINGS if differs.any() else 0

    def delta(self, record: int) -> None:
        """What a delta was applied to, the delta, and the result."""
        data, where = self.page.delta(record)
        old, new = self.page.before(record, self.view), self.page.at(record, self.view)
        if self.as_json:
            contents = {"old": old, "delta": Content(data, where), "new": new}
            found = {"record": record, "view": self.view.value, "ranges": _ranges(contents, where)}
            say_object(self.place | found)
            return
        say(f"{self.name}, {self.view.value}'s view, record {record}: old | delta | new")
        middle = Column(hexview.cells(data, where, hexview.UNCHANGED), np.zeros(len(data), bool))
        nothing = np.zeros(len(data), bool)
        for line in hexview.sides([_column(old, nothing, False), middle, _column(new, where, False)], where):
            say(line)
        say(f"{counted(int(np.count_nonzero(where)), 'byte')}, in {counted(len(hexview.runs(where)), 'range')}")

    def inspect(self, text: str, at: int | None) -> None:
        """The values that the bytes at one place can have."""
        offset = size(text)
        if not 0 <= offset < self.page.page_size:
            raise XbrleError(f"offset {offset:#x} is outside the page: use 0 to {self.page.page_size - 1:#x}")
        content = self.page.at(at, self.view)
        meanings = hexview.meanings(content.data[offset:], content.recovered[offset:])
        if self.as_json:
            found = {name: {"little": _finite(little), "big": _finite(big)} for name, (little, big) in meanings.items()}
            place = {"offset": offset, "record": at, "view": self.view.value}
            say_object(self.place | place | {"values": found})
            return
        moment = "at the end" if at is None else f"after record {at}"
        say(f"{self.name} + {offset:#x}, {self.view.value}'s view, {moment}")
        row = slice(offset, offset + hexview.ROW)
        say(f"bytes   {' '.join(hexview.cells(content.data[row], content.recovered[row]))}")
        say(f"        {'little-endian':26} big-endian")
        for name, (little, big) in meanings.items():
            if name == "ascii":
                say(f"{name:7} {_value(little)}")
            elif name == "utf-16":
                say(f"{name:7} {_value(little):26} {_value(big)}")
            else:
                say(f"{name:7} {_value(little):26} {_value(big) if name[1:] != '8' else ''}".rstrip())


def _refuted(versions: Iterable[Version], at: int | None) -> Version | None:
    """The last version up to record ``at`` that its record speaks against, None where a later one gave the page anew.

    The record states a sum that the page does not have, or was made against another page.
    """
    found = None
    for version in versions:
        if at is not None and version.record > at:
            break
        if version.sum_holds is False or version.other_base:
            found = version
        elif version.sum_holds or version.kind not in DELTA_KINDS:
            found = None
    return found


def _lapse(record: int) -> str:
    return f"        unknown before record {record}: the page was discarded, or records of it may be lost"


def _stage(stage: int) -> str:
    return Stage(stage).name.lower() if stage else "-"


def _check(version: Version) -> str:
    if version.verdict:
        return version.verdict.name.lower()
    return {None: "-", True: "ok", False: "WRONG"}[version.sum_holds]


def _notes(version: Version, differ: int | None, other: Version | None, other_view: View) -> list[str]:
    """Remarks about a version: unknown bytes, and how it differs in the other view."""
    notes = []
    unknown = int(np.count_nonzero(~version.content.recovered))
    if unknown:
        notes.append(f"{unknown} unknown")
    if version.other_base:
        notes.append("other base")
    if differ and other is not None:
        holds = {None: "", True: ", ok", False: ", WRONG"}[other.sum_holds]
        notes.append(f"{other_view.value}: {differ} differ{holds}")
    return notes


def _as_object(version: Version, differ: int | None) -> dict[str, Any]:
    """A version as a JSON object."""
    return {
        "record": version.record,
        "pass": version.pass_,
        "stage": _stage(version.stage),
        "kind": version.kind.name.lower(),
        "offset": version.offset,
        "length": version.length,
        "base": version.base,
        "changed": version.changed,
        "verdict": version.verdict.name.lower() if version.verdict is not None else None,
        "stated_sum": version.stated,
        "computed_sum": version.computed,
        "sum_holds": version.sum_holds,
        "other_base": version.other_base,
        "unknown": int(np.count_nonzero(~version.content.recovered)),
        "differs_from_other_view": differ,
    }


def _column(content: Content, marked: hexview.Mask, with_text: bool) -> Column:
    text = hexview.characters(content.data, content.recovered) if with_text else ""
    return Column(hexview.cells(content.data, content.recovered), marked, text)


def _ranges(contents: dict[str, Content], where: hexview.Mask) -> list[dict[str, Any]]:
    """The runs of ``where``, split so that each content is either known or unknown in all of a run.

    It is null if unknown.
    """
    edges = where.astype(np.uint8)
    for i, content in enumerate(contents.values()):
        edges |= np.where(where & content.recovered, 2 << i, 0).astype(np.uint8)
    starts = np.flatnonzero(np.diff(edges, prepend=np.uint8(0)))
    ranges = []
    ends = np.append(starts[1:], len(where))[: len(starts)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if where[start]:
            found: dict[str, Any] = {"offset": start, "length": end - start}
            for name, content in contents.items():
                found[name] = content.data[start:end].tobytes().hex() if content.recovered[start] else None
            ranges.append(found)
    return ranges


def _value(value: hexview.Meaning) -> str:
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)


def _finite(value: hexview.Meaning) -> hexview.Meaning:
    """A value that JSON can hold: NaN and infinity as text."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
