"""Where and when bytes were in memory: a search of all versions of all pages.

A record's page is searched again after the record, and its borders as far as the change reaches them. What is found
is followed from batch to batch, so that what was found by now can be asked for at any time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..codec.batches import as_span
from ..memory.image import State
from ..memory.moments import lapses_of, space_of
from ..memory.replay import View
from ..memory.versions import Batch, Versions
from ..model import Stream
from .pattern import Pattern
from .search import Finder, Hit, Ints, Zone

HITS = 4096  # matches that are given out together
_COMPARED = 64  # pages that are compared at a time, so that they stay in the cache


def search_all(
    stream: Stream,
    pattern: Pattern,
    at: int | None = None,
    view: View = View.RECEIVER,
    block: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Hit]:
    """Where and when ``pattern`` was in memory up to record ``at``: a hit for each time that it was at a place.

    Hits come in the order of addresses, at one address in the order of records. ``progress`` is called with the number
    of records that were searched since the last call. The search needs the image, about 32 MiB, and 40 bytes a hit.

    Raises:
        XbrleError: there is no such record.
    """
    search = AllVersions(stream, pattern, at, view, block)
    for searched in search:
        if progress is not None:
            progress(searched)
    yield from search.hits()


class AllVersions:
    """A search of all versions of all pages up to record ``at``, a batch of records at a time.

    Iterate over it to search: each step gives the number of records that it searched. `hits` gives what was found by
    then. A hit without ``vanished`` is one that was there after the last record that was searched.

    Raises:
        XbrleError: there is no such record.
        TooManyError: there are more than ``most`` hits. `hits` still gives those of the steps before.
    """

    def __init__(
        self,
        stream: Stream,
        pattern: Pattern,
        at: int | None = None,
        view: View = View.RECEIVER,
        block: int | None = None,
        most: int | None = None,
    ) -> None:
        table = stream.records
        end = len(table) if at is None else stream.records.row(at) + 1
        rows = table.by_number[: np.searchsorted(table.by_number, end)]
        if block is not None:
            rows = rows[table.columns.block[rows] == block]
        lapses = lapses_of(stream, view).upto(end - 1 if at is not None else end).among(rows)
        self.total = len(rows)  # records to search
        self._versions = Versions(stream, space_of(stream), table.columns.take(rows), view, lapses)
        self._finder = Finder(space_of(stream), pattern, self._versions, most)
        self._lives = [_Lives(self._finder, zone) for zone in self._finder.zones]
        numbers = table.number[rows]
        after = int(numbers[-1]) + 1 if len(rows) else 1  # for pages that lapse after the last record
        self._numbers = np.append(numbers, np.uint32(after))

    def __iter__(self) -> Iterator[int]:
        for batch in self._versions:
            self._finder.check(len(self))
            changes = _Changes.in_batch(batch)
            for lives in self._lives:
                lives.go_on(batch, changes)
            yield len(batch.versions)

    @property
    def gone(self) -> int:
        """How many hits were gone by now."""
        return sum(lives.gone for lives in self._lives)

    def number(self, searched: int) -> int:
        """The number of the last of the ``searched`` first records, 0 before the first."""
        return int(self._numbers[searched - 1]) if searched else 0

    def __len__(self) -> int:
        """How many hits there are by now."""
        return sum(map(len, self._lives))

    def hits(self, limit: int | None = None) -> Iterator[Hit]:
        """What was found by now, by address and time. With a ``limit``, the first as many."""
        lives = np.concatenate([lives.all() for lives in self._lives], axis=1)
        order = np.lexsort((lives[2], lives[3], lives[1], lives[0]))[:limit]
        for start in range(0, len(order), HITS):
            pages, starts, contents, came, went = lives[:, order[start : start + HITS]]
            blocks, offsets = self._finder.places(pages, starts)
            since, until = self._numbers[came].tolist(), np.where(went < 0, 0, self._numbers[went]).tolist()
            for block, offset, content, first, last in zip(
                blocks, offsets, contents.tolist(), since, until, strict=True
            ):
                yield self._finder.hit(block, offset, content, first, last or None)


@dataclass(frozen=True, slots=True, eq=False)
class _Changes:
    """What a batch changed: of each version, its entry, its page, the entry before, and how it differs, (n,) each.

    ``doubt``: bytes may have become known or unknown. ``differs``: where that is not so, whether bytes changed.
    """

    moments: Ints
    pages: Ints
    before: Ints
    differs: NDArray[np.bool_]
    doubt: NDArray[np.bool_]

    @classmethod
    def in_batch(cls, batch: Batch) -> "_Changes":
        entries, moments = batch.entries, batch.versions
        pages = entries.pages[moments]
        before = batch.latest(pages, moments - 1)
        doubt = (entries.state[moments] != entries.state[before]) | (entries.state[moments] == State.PARTLY)
        words, sure = entries.data.view(np.uint64), np.flatnonzero(~doubt)
        differs = np.zeros(len(moments), bool)
        for start in range(0, len(sure), _COMPARED):
            part = sure[start : start + _COMPARED]
            new = words[as_span(moments[part])]
            differs[part] = (new != words[before[part]]).any(axis=1)
        return cls(moments, pages, before, differs, doubt)


class _Lives:
    """Follows matches in one zone from batch to batch: which there are now and since when, and which are gone."""

    _COLUMNS = 4  # page, start, content, the place of the record after which it appeared

    def __init__(self, finder: Finder, zone: Zone) -> None:
        self._finder = finder
        self._zone = zone
        self._now = np.empty((self._COLUMNS, 0), np.int64)
        self._gone: list[Ints] = []
        self.gone = 0  # matches that were there and are not any more

    def go_on(self, batch: Batch, changes: _Changes) -> None:
        """Search what the batch changed."""
        pages, moments = self._windows(batch, changes)
        if not len(pages):
            return
        hits = [np.empty((self._COLUMNS, 0), np.int64)]
        first = np.flatnonzero(np.diff(pages, prepend=-1))  # where each page's windows begin
        turn = np.arange(len(pages)) - np.repeat(first, np.diff(first, append=len(pages)))
        for matches in self._finder.find(self._zone, pages, moments, batch):
            w = matches.windows
            self._finder.check(sum(h.shape[1] for h in hits) + len(w))
            hits.append(np.stack((pages[w], matches.starts, matches.contents, turn[w])))
        searched = np.isin(self._now[0], pages[first])
        before = self._now[:, searched]
        keys = np.concatenate([before[:3], *(h[:3] for h in hits)], axis=1)
        turns = np.concatenate([np.full(before.shape[1], -1), *(h[3] for h in hits)])
        since = np.concatenate([before[3], np.full(len(turns) - before.shape[1], -1)])
        order = np.lexsort((turns, keys[2], keys[1], keys[0]))
        keys, turns, since = keys[:, order], turns[order], since[order]

        begins = np.ones(len(turns), bool)
        begins[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0) | (turns[1:] != turns[:-1] + 1)
        begin = np.flatnonzero(begins)
        end = np.append(begin[1:], len(turns))[: len(begin)] - 1
        at = np.searchsorted(pages[first], keys[0, begin])  # which page, among those searched
        places = batch.entries.places[moments]
        came_now = first[at] + np.maximum(turns[begin], 0)
        appeared = np.where(turns[begin] < 0, since[begin], places[came_now])
        last_turn = np.append(first[1:], len(pages))[at] - 1 - first[at]
        stays = turns[end] == last_turn
        lives = np.concatenate([keys[:, begin], appeared[None]], axis=0)
        went = places[np.minimum(first[at] + turns[end] + 1, len(pages) - 1)]
        self._gone.append(np.concatenate([lives[:, ~stays], went[None, ~stays]], axis=0))
        self.gone += int(self._gone[-1].shape[1])
        self._now = np.concatenate([self._now[:, ~searched], lives[:, stays]], axis=1)

    def _windows(self, batch: Batch, changes: _Changes) -> tuple[Ints, Ints]:
        """Which pages to search, and at which of the batch's entries: by page, then by moment."""
        data, finder = batch.entries.data, self._finder
        pages, when = [], []
        for segment in self._zone.segments:
            seen = slice(segment.start, segment.stop)
            seen_from = changes.pages - segment.step
            reached = (changes.doubt | changes.differs) & finder.has(self._zone, seen_from)
            if segment.step:
                reached &= finder.same_block(changes.pages, seen_from)
            if segment.stop - segment.start < data.shape[1]:
                changed = np.flatnonzero(reached & changes.differs)
                in_sight = data[changes.moments[changed], seen] != data[changes.before[changed], seen]
                reached[changed] = in_sight.any(axis=1)
            pages.append(seen_from[reached])
            when.append(changes.moments[reached])
        all_pages, all_when = np.concatenate(pages), np.concatenate(when)
        order = np.lexsort((all_when, all_pages))
        return all_pages[order], all_when[order]

    def __len__(self) -> int:
        """How many matches there are and were."""
        return int(self._now.shape[1]) + self.gone

    def all(self) -> Ints:
        """Every match, (5, n): page, start, content, and the places of the records after which it came and was gone.

        The last is -1 where it is still there.
        """
        still = np.concatenate([self._now, np.full((1, self._now.shape[1]), -1)], axis=0)
        self._gone = [np.concatenate([np.empty((self._COLUMNS + 1, 0), np.int64), *self._gone], axis=1)]
        return np.concatenate([*self._gone, still], axis=1)
