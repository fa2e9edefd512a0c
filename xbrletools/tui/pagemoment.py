"""One page at one moment: the version in force, its bytes before and after, its delta's runs, its sums."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..codec import checksum
from ..codec.runs import Run, runs
from ..errors import XbrleError
from ..formats.ram import DELTA_KINDS, Kind
from ..memory.history import Content, PageHistory
from ..memory.moments import page_of, space_of
from ..memory.replay import View
from ..model import Stream
from ..table.claims import stated_sum
from ..table.record import Record
from .session import PagePlace, Session

_VERSIONS_SEARCHED = 20_000


@dataclass(frozen=True, slots=True)
class PageMoment:
    """A page at a moment. ``version`` is the place of the version in force, -1 before the first.

    ``at`` is the number of the record just after which the page is looked at, None for the end: a page can be discarded
    after the last record that gave it.
    """

    stream: Stream
    history: PageHistory
    version: int
    at: int | None
    _made: dict[tuple[str, View], Content] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> PagePlace:
        """The page's block and address."""
        return self.history.block, self.history.address

    @property
    def name(self) -> bytes:
        """The name of the page's block."""
        return self.stream.blocks[self.history.block].name

    @property
    def row(self) -> int | None:
        """The row of the version's record, None before the first."""
        return int(self.history.rows[self.version]) if self.version >= 0 else None

    @property
    def is_delta(self) -> bool:
        """Whether the version came as a delta."""
        return self.row is not None and Kind(int(self.stream.records.columns.kind[self.row])) in DELTA_KINDS

    def content(self, view: View) -> Content:
        """The page at the moment."""
        return self._once("new", view, lambda: self.history.at(self.at, view))

    def old_content(self, view: View) -> Content:
        """The page before the version's record. For a delta that is what it was applied to."""
        return self._once("old", view, lambda: self._old(view))

    def _once(self, what: str, view: View, make: Callable[[], Content]) -> Content:
        """What is shown of the page, made once: a screen asks several times."""
        if (what, view) not in self._made:
            self._made[what, view] = make()
        return self._made[what, view]

    def _old(self, view: View) -> Content:
        if self.version < 0:
            return self.history.at(0, view)
        if self.is_delta:
            return self.history.before(int(self.history.numbers[self.version]), view)
        return self.history.at(int(self.history.numbers[self.version - 1]) if self.version else 0, view)

    def runs(self) -> list[Run]:
        """The runs of the version's delta, or none where the version did not come as one."""
        dialect, row = self.stream.dialect, self.row
        if dialect is None or row is None or not self.is_delta:
            return []
        columns = self.stream.records.columns
        start = int(columns.offset[row]) + int(columns.head[row])
        payload = self.stream.data[start : start + int(columns.length[row])]
        return runs(dialect.encoding, payload, self.history.page_size)

    def sums(self, content: Content) -> tuple[int | None, int | None]:
        """The sum that the version's record states, and that of ``content``. Each is None where there is none."""
        stated = None
        if self.row is not None:
            columns = self.stream.records.columns.take(slice(self.row, self.row + 1))
            stated = stated_sum(columns, self.stream.dialect)
        computed = int(checksum.byte_sum(content.data[None, :])[0]) if content.recovered.all() else None
        return stated, computed

    def matching_versions(self, needle: bytes, step: int, view: View) -> Iterator[tuple[int, list[int]]]:
        """The versions after this one (``step`` 1) or before it (-1) that hold ``needle``, and where they do."""
        end = len(self.history) if step > 0 else -1
        for version in list(range(self.version + step, end, step))[:_VERSIONS_SEARCHED]:
            places = places_of(needle, self.history.at(int(self.history.numbers[version]), view))
            if places:
                yield version, places

    @property
    def without(self) -> str:
        """What is said of the page at a moment before its first record."""
        return "zero by the bitmap, which has no record" if self.history.is_zero else "before its first record"


def chosen_moment(session: Session, last: PageMoment | None) -> PageMoment:
    """The page of the session's record, as of that record. ``last`` is what was shown before.

    Where the chosen record does not carry a page, the nearest that does is chosen instead.

    Raises:
        XbrleError: nothing carries a page.
    """
    stream = session.stream()
    if session.page is None:
        record = _record_with_page(session)
        if record.block is None:
            raise XbrleError("this record does not name a block")
        session.page = (record.block, record.address)
    block, address = session.page
    if last is not None and last.stream is stream and last.place == session.page:
        history = last.history
    else:
        history = page_of(stream, space_of(stream).blocks[block].name, address)
    version = int(np.searchsorted(history.rows, session.row, side="right")) - 1
    moment = PageMoment(stream, history, version, session.moment())
    is_same = last is not None and last.history is history and (last.version, last.at) == (version, moment.at)
    return last if last is not None and is_same else moment


def _record_with_page(session: Session) -> Record:
    """The chosen record, or the nearest that carries a page, which is then chosen."""
    record = session.record()
    if record is None:
        raise session.no_record()
    if record.number is not None:
        return record
    row = session.next_page(session.row, -1)
    row = session.next_page(session.row, 1) if row is None else row
    nearest = session.record(row) if row is not None else None
    if nearest is None:
        raise XbrleError("no record of this capture carries a page")
    session.row = nearest.row
    return nearest


def places_of(needle: bytes, content: Content) -> list[int]:
    """Where known bytes of a page are those of ``needle``."""
    data, places = content.data.tobytes(), []
    at = data.find(needle)
    while at >= 0:
        if content.recovered[at : at + len(needle)].all():
            places.append(at)
        at = data.find(needle, at + 1)
    return places
