"""A search of memory as a thread does it. What was found by now is given out from time to time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..analysis.blame import Writers
from ..analysis.lives import AllVersions
from ..analysis.pattern import Form, Pattern
from ..analysis.search import Hit, search_image
from ..errors import XbrleError
from ..memory.history import Content
from ..memory.moments import memory_of, page_of, space_of
from ..memory.replay import View
from ..model import Stream

HITS_MAX = 10_000  # hits that are listed
MATCHES_MAX = 1 << 18  # matches at which a search stops
_EVERY = 0.2  # seconds between two reports


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to search for, and where: in all versions of all pages, or in memory just after record ``at``.

    ``at`` is None for the end. ``block`` is the index of the only block that is searched, None for all.
    """

    form: Form
    text: str
    everything: bool
    ignore_case: bool
    block: int | None
    view: View
    at: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found by now: the first `HITS_MAX` of ``total`` hits, by address. ``gone`` of all were gone by now.

    ``upto`` is the last record that was searched, ``share`` how much of all that is. The search ``ended``, and is
    ``whole`` where it looked at everything. ``trouble`` says why not. ``rows`` (n,) are the rows of records by their
    numbers. ``writers`` (hits,) are the records that last wrote to the hits, 0 for none, where one moment was searched.
    ``patterns`` are the names of what YARA rules look for.
    """

    wanted: Wanted
    hits: tuple[Hit, ...]
    total: int
    gone: int
    upto: int
    share: float
    seconds: float
    rows: NDArray[np.int64]
    ended: bool = False
    whole: bool = False
    trouble: str = ""
    writers: NDArray[np.int64] | None = None
    patterns: tuple[str, ...] = ()

    def words(self, hit: Hit) -> str:
        """What the user searched for and was found there: the rule and its pattern, where rules were searched for."""
        return "" if hit.pattern is None else f"{self.patterns[hit.pattern]} "

    def came(self, place: int) -> int | None:
        """The record that brought a hit, or that last wrote there."""
        hit = self.hits[place]
        if hit.appeared is not None:
            return hit.appeared
        return int(self.writers[place]) or None if self.writers is not None else None

    def row_of(self, record: int) -> int:
        """The row of a record."""
        return int(self.rows[min(record, len(self.rows)) - 1]) if record and len(self.rows) else 0


class _Stopped(Exception):  # noqa: N818 - what the user wanted
    """The search was stopped."""


def search(stream: Stream, wanted: Wanted, stopped: Callable[[], bool]) -> Iterator[Found]:
    """Search, and give what was found by now from time to time. The last has ``ended``. Ends early where ``stopped``.

    Raises:
        XbrleError: this cannot be searched for.
    """
    pattern, names = pattern_of(wanted)
    if wanted.everything:
        found = AllVersions(stream, pattern, wanted.at, wanted.view, wanted.block, MATCHES_MAX)
        each = _versions(stream, wanted, found, stopped)
    else:
        each = _moment(stream, wanted, pattern, stopped)
    yield from (replace(found, patterns=names) for found in each)


def pattern_of(wanted: Wanted) -> tuple[Pattern, tuple[str, ...]]:
    """What to look for, and the names of the patterns where it is YARA rules.

    Raises:
        XbrleError: this cannot be searched for.
    """
    if wanted.form is not Form.YARA:
        return wanted.form.pattern(wanted.text, wanted.ignore_case), ()
    from ..analysis.yara import pattern_in

    pattern, names = pattern_in(wanted.text)
    return pattern, tuple(map(str, names))


def _versions(stream: Stream, wanted: Wanted, search: AllVersions, stopped: Callable[[], bool]) -> Iterator[Found]:
    begun = told = time.monotonic()
    searched, pause = 0, _EVERY

    def now(ended: bool = False, trouble: str = "") -> Found:
        whole = ended and not trouble
        share = 1.0 if whole else searched / max(1, search.total)
        hits, upto = tuple(search.hits(HITS_MAX)), search.number(searched)
        seconds, rows = time.monotonic() - begun, stream.records.by_number
        return Found(wanted, hits, len(search), search.gone, upto, share, seconds, rows, ended, whole, trouble)

    try:
        for step in search:
            searched += step
            if stopped():
                yield now(True, f"stopped at record {search.number(searched)}: what came later is missing")
                return
            if time.monotonic() - told > pause:
                at = time.monotonic()
                yield now()
                told = time.monotonic()
                pause = max(_EVERY, 10 * (told - at))
    except XbrleError as error:
        yield now(True, str(error))
        return
    yield now(True)


def _moment(stream: Stream, wanted: Wanted, pattern: Pattern, stopped: Callable[[], bool]) -> Iterator[Found]:
    begun = told = time.monotonic()
    hits, share, trouble = list[Hit](), 0.0, ""
    upto = stream.records.last_number if wanted.at is None else wanted.at

    def progress(done: int, total: int) -> None:
        nonlocal share
        share = done / max(1, total)
        if stopped():
            raise _Stopped

    def now(ended: bool = False, writers: NDArray[np.int64] | None = None) -> Found:
        seconds, rows = time.monotonic() - begun, stream.records.by_number
        whole = ended and not trouble
        return Found(wanted, tuple(hits), len(hits), 0, upto, share, seconds, rows, ended, whole, trouble, writers)

    try:
        image = memory_of(stream, wanted.at, wanted.view)
        for hit in search_image(stream, image, pattern, wanted.block, progress, MATCHES_MAX):
            if len(hits) == HITS_MAX:
                trouble = f"only the first {HITS_MAX} are listed"
                break
            hits.append(hit)
            if time.monotonic() - told > _EVERY:
                told = time.monotonic()
                yield now()
    except _Stopped:
        trouble = "stopped: what lies behind is missing"
    except XbrleError as error:
        trouble = str(error)
    yield now(True, _writers(stream, hits, wanted.at))


def _writers(stream: Stream, hits: list[Hit], at: int | None) -> NDArray[np.int64]:
    """The record that last wrote to the page of each hit's first byte, (n,), 0 for none."""
    space = space_of(stream)
    first = np.array([space.first[h.block] for h in hits], np.int64)
    pages = first + np.array([h.offset for h in hits], np.int64) // space.page_size
    rows = Writers(stream, at).rows(pages) if hits else np.zeros(0, np.int64)
    return stream.records.numbers.of(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The pages that a hit lies in, from address ``start`` of its block: as they were ``then``, and at the end."""

    hit: Hit
    start: int
    then: Content
    now: Content


def scene(stream: Stream, hit: Hit, at: int | None, view: View) -> Scene:
    """The pages of a hit, just after it came, or after record ``at`` where one moment was searched.

    Raises:
        XbrleError: they cannot be read.
    """
    size, space = stream.page_size, space_of(stream)
    first, last = hit.offset // size, (hit.offset + max(1, len(hit.content)) - 1) // size
    stories = [page_of(stream, space.blocks[hit.block].name, page * size) for page in range(first, last + 1)]
    moment = hit.appeared if hit.appeared is not None else at

    def joined(contents: list[Content]) -> Content:
        return Content(np.concatenate([c.data for c in contents]), np.concatenate([c.recovered for c in contents]))

    then = joined([story.at(moment, view) for story in stories])
    return Scene(hit, first * size, then, joined([story.at(None, view) for story in stories]))
