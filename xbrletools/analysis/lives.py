"""Where and when bytes were in memory: a search of all versions of all pages.

A record's page is searched again after the record, and its neighbours as far as the change reaches them. What is found
is followed from batch to batch, so that what was found by now can be asked for at any time.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..memory.image import State
from ..memory.moments import lapses_of, space_of
from ..memory.replay import View
from ..memory.versions import Batch, Versions
from ..model import Stream
from .pattern import Pattern
from .search import Finder, Hit, Ints

HITS = 4096  # matches that are given out together


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
        self._lives = _Lives(self._finder)
        numbers = table.number[rows]
        after = int(numbers[-1]) + 1 if len(rows) else 1  # for pages that lapse after the last record
        self._numbers = np.append(numbers, np.uint32(after))

    def __iter__(self) -> Iterator[int]:
        for batch in self._versions:
            self._finder.check(len(self))
            self._lives.go_on(batch)
            yield len(batch.versions)

    @property
    def gone(self) -> int:
        """How many hits were gone by now."""
        return self._lives.gone

    def number(self, searched: int) -> int:
        """The number of the last of the ``searched`` first records, 0 before the first."""
        return int(self._numbers[searched - 1]) if searched else 0

    def __len__(self) -> int:
        """How many hits there are by now."""
        return len(self._lives)

    def hits(self, limit: int | None = None) -> Iterator[Hit]:
        """What was found by now, by address and time. With a ``limit``, the first as many."""
        return self._lives.all(self._numbers, limit)


class _Lives:
    """Follows matches from batch to batch: which there are now and since when, and which are gone."""

    _COLUMNS = 4  # page, start, content, the place of the record after which it appeared

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._now = np.empty((self._COLUMNS, 0), np.int64)
        self._gone: list[Ints] = []

    def go_on(self, batch: Batch) -> None:
        """Search what the batch changed."""
        pages, moments = self._windows(batch)
        if not len(pages):
            return
        hits = [np.empty((self._COLUMNS, 0), np.int64)]
        first = np.flatnonzero(np.diff(pages, prepend=-1))  # where each page's windows begin
        turn = np.arange(len(pages)) - np.repeat(first, np.diff(first, append=len(pages)))
        for matches in self._finder.find(pages, moments, batch):
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
        self._now = np.concatenate([self._now[:, ~searched], lives[:, stays]], axis=1)

    def _windows(self, batch: Batch) -> tuple[Ints, Ints]:
        """Which pages to search, and at which of the batch's entries: by page, then by moment."""
        entries, finder = batch.entries, self._finder
        moments = batch.versions
        of = entries.pages[moments]
        before = batch.latest(of, moments - 1)
        words = entries.data.view(np.uint64)
        differs = np.empty(len(moments), bool)
        for start in range(0, len(moments), 64):
            part = slice(start, start + 64)
            differs[part] = (words[moments[part]] != words[before[part]]).any(axis=1)
        doubt = (entries.state[moments] != entries.state[before]) | (entries.state[moments] == State.PARTLY)
        pages, when = [of[differs | doubt]], [moments[differs | doubt]]
        for segment in finder.segments:
            if not segment.step:
                continue
            reached = doubt.copy()
            changed = np.flatnonzero(differs & ~doubt)
            seen = slice(segment.start, segment.stop)
            in_sight = entries.data[moments[changed], seen] != entries.data[before[changed], seen]
            reached[changed] = in_sight.any(axis=1)
            seen_from = of - segment.step
            reached &= finder.same_block(of, seen_from)
            pages.append(seen_from[reached])
            when.append(moments[reached])
        all_pages, all_when = np.concatenate(pages), np.concatenate(when)
        order = np.lexsort((all_when, all_pages))
        return all_pages[order], all_when[order]

    @property
    def gone(self) -> int:
        """How many matches were there and are not any more."""
        return sum(int(gone.shape[1]) for gone in self._gone)

    def __len__(self) -> int:
        """How many matches there are and were."""
        return int(self._now.shape[1]) + self.gone

    def all(self, numbers: NDArray[np.uint32], limit: int | None = None) -> Iterator[Hit]:
        """Every match, by address and time. ``numbers`` are the record numbers of the columns' places."""
        still = np.concatenate([self._now, np.full((1, self._now.shape[1]), -1)], axis=0)
        self._gone = [np.concatenate([np.empty((self._COLUMNS + 1, 0), np.int64), *self._gone], axis=1)]
        lives = np.concatenate([*self._gone, still], axis=1)
        order = np.lexsort((lives[2], lives[3], lives[1], lives[0]))[:limit]
        for start in range(0, len(order), HITS):
            pages, starts, contents, came, went = lives[:, order[start : start + HITS]]
            blocks, offsets = self._finder.places(pages, starts)
            since, until = numbers[came].tolist(), np.where(went < 0, 0, numbers[went]).tolist()
            for block, offset, content, first, last in zip(
                blocks, offsets, contents.tolist(), since, until, strict=True
            ):
                yield self._finder.hit(block, offset, content, first, last or None)
