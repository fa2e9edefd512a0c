"""What the screens share: the capture, its table as far as it is read, the findings, and where the user is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..analysis.stats import Stats
from ..capture import Capture
from ..errors import XbrleError
from ..memory.history import Content
from ..memory.moments import page_of, space_of
from ..memory.replay import View
from ..model import Facts, Stream
from ..source.sources import MappedSource
from ..table.claims import stated_sum
from ..table.growing import GrowingTable
from ..table.kinds import IS_PAGE
from ..table.record import Record
from ..verify.rules import Finding
from . import bookmarks
from .bookmarks import Bookmark
from .rowfindings import RowFindings

if TYPE_CHECKING:  # what works these out is imported once something is on the screen
    from ..analysis.film import Film
    from ..analysis.top import Top
    from ..sender.fingerprint import Fingerprint
    from ..verify.verdict import Verdict
    from .findingtree import Branch
    from .thumbnail import Thumbnail

#: A page: the index of its block, and its address in there.
PagePlace = tuple[int, int]

TICK = 0.2  # seconds between two looks at what was added
_STALE = 1.25  # how many times longer the table may get until the stream that is asked is made anew


@dataclass(frozen=True, slots=True)
class Side:
    """A memory that is compared: just after record ``number``, 0 before the first, None at the end.

    ``row`` is that moment in the table. Of another capture, ``other``, it is always the end.
    """

    number: int | None
    row: int
    other: bool = False


@dataclass(slots=True, eq=False)
class Session:
    """One look at one capture. ``row`` is the chosen record, the moment that every screen shows.

    ``table``, ``facts`` and ``stats`` grow while the capture is read: up to the file offset ``reached``, and to the end
    once it is ``complete``.
    """

    capture: Capture
    table: GrowingTable | None = None
    facts: Facts | None = None
    reached: int = 0
    complete: bool = False
    row: int = 0
    moved: bool = False  # whether the user has chosen a moment
    page: PagePlace | None = None  # the page that the page screen holds on to
    view: View = View.RECEIVER
    sides: tuple[Side, Side] | None = None  # the moments A and B that are compared, None for the usual ones
    findings: RowFindings = field(default_factory=RowFindings)
    verified: bool = False
    verdict: "Verdict | None" = None
    branches: "list[Branch] | None" = None  # the findings as a tree
    film: "Film | None" = None  # once all was read
    hot: "Top | None" = None  # the pages by resends
    thumbnail: "Thumbnail | None" = None  # the main block as a small map
    level: NDArray[np.int64] | None = None  # pages wrong at once, along the stream
    wrong_in: Counter[tuple[int, int]] = field(default_factory=Counter)  # wrong records of each block and pass
    fingerprint: "Fingerprint | None" = None
    no_fingerprint: str = "not taken yet"
    about: list[tuple[str, str]] = field(default_factory=list)  # what `info` says, as labels and values
    steps: list[tuple[str, float, float | None]] = field(default_factory=list)  # what runs, since when, until when
    trouble: str | None = None  # why something could not be worked out
    look_at: tuple[int, bytes] | None = None  # a byte of the page that is opened next, and bytes to mark in it
    of_record: bool = False  # whether the fields of the chosen record are wanted next
    of_sides: bool = False  # whether the chosen page is wanted next at A and at B
    marks: set[int] = field(default_factory=set)
    bookmarks: dict[int, Bookmark] = field(default_factory=dict)
    bookmark_file: Path | None = None
    stats: Stats = field(default_factory=Stats)
    _sums: Stats = field(default_factory=Stats)  # as far as the thread that scans has come
    _summed: int = 0  # pieces of the table that are in them
    _part: Stream | None = None  # what was read when something last asked for it

    def __len__(self) -> int:
        return len(self.table) if self.table is not None else 0

    # -- reading -----------------------------------------------------------------------------------------------------

    def begin(self, table: GrowingTable) -> None:
        """Show ``table``, which the scan is about to fill."""
        self.facts = self.capture.found
        self.table = table

    def read(self) -> None:
        """Take in what the scan has added. Only the thread that scans calls this."""
        if self.table is None:
            return
        self.facts = self.capture.found
        for piece in range(self._summed, self.table.pieces):
            window = self.table.derive(piece)
            self._sums.add(window.columns, window.pass_, window.stage)
        self._sums.settle(self.facts)
        self._summed = self.table.pieces
        # the screens get dicts of their own, to which the thread that scans does not add
        self.stats = replace(self._sums, passes=dict(self._sums.passes), spans=dict(self._sums.spans))

    def finish(self) -> None:
        """Note that the scan is done."""
        if self.table is not None and len(self.table) != sum(self.stats.total.records):  # channels came in
            self._sums, self._summed = Stats(), 0
            self.read()
        self.complete = True
        self._part = None

    def begin_step(self, name: str) -> None:
        """Note what runs now."""
        self.end_steps()
        self.steps = [*self.steps, (name, monotonic(), None)]

    def end_steps(self) -> None:
        """Note that it is done."""
        self.steps = [(name, start, monotonic() if end is None else end) for name, start, end in self.steps]

    @property
    def running(self) -> str | None:
        """What runs now, and for how many seconds, None where nothing does."""
        if not self.steps or self.steps[-1][2] is not None:
            return None
        name, start, _ = self.steps[-1]
        seconds = int(monotonic() - start)
        return f"{name}, {seconds} s" if seconds else name

    def take_over(self, old: "Session") -> None:
        """Stand where the user stood in the same capture, when less of it was written."""
        self.row, self.page, self.view, self.moved = old.row, old.page, old.view, old.moved
        self.marks, self.bookmarks, self.sides = old.marks, old.bookmarks, old.sides

    def take_findings(self, found: Iterable[tuple[Finding, int]]) -> None:
        """Show findings, in the order of offsets, each with the index of its cause, -1 for none. A thread's work.

        Raises:
            OSError: they cannot all be read. Those that could are shown.
        """
        findings = RowFindings()
        try:
            for finding, cause in found:
                findings.add(finding, cause)
        finally:
            findings.place(self.rows_of(findings.listed))
            self.findings = findings  # once no more is added: the thread that draws looks at it meanwhile

    def stream(self) -> Stream:
        """The stream, or most of what was read of it by now, the chosen record included.

        Raises:
            XbrleError: nothing was read yet.
        """
        if self.complete:
            return self.capture.stream
        if self.table is None or not len(self.table):
            raise self.no_record()
        rows = len(self._part.records) if self._part is not None else 0
        if self._part is None or self.row >= rows or len(self.table) > _STALE * rows:
            self._part = self.capture.so_far(self.table).stream
        return self._part

    def reason(self, error: XbrleError) -> str:
        """What an error says, without the capture's name, which is long and on top already."""
        return str(error).removeprefix(f"{self.capture.name}: ")

    @property
    def data(self) -> NDArray[np.uint8]:
        """The capture's bytes, (size,) uint8, also while it is scanned."""
        if self.complete:
            return self.capture.data
        source = self.capture.source
        assert isinstance(source, MappedSource)
        source.check()
        return source.data

    def no_record(self) -> XbrleError:
        """What is said where there is no record: the capture has none, or none was read yet."""
        return XbrleError("this capture has no records · 6 shows its sections" if self.complete else "no record yet")

    @property
    def knows_wrong(self) -> bool:
        """Whether the verdict tells which pages are wrong at the end."""
        return self.verdict is not None and self.verdict.pages_wrong is not None

    # -- the moment --------------------------------------------------------------------------------------------------

    def record(self, row: int | None = None) -> Record | None:
        """A row, by default the chosen one. None where there is none."""
        row = self.row if row is None else row
        return self.table.record(row) if self.table is not None and 0 <= row < len(self.table) else None

    def moment(self) -> int | None:
        """The number of the last record up to the chosen row, 0 before the first, and None at the end of all rows."""
        if self.row >= len(self) - 1:
            return None
        chosen = self.record()
        if chosen is None or chosen.number is not None:
            return chosen.number if chosen is not None else None
        before = self.next_page(self.row, -1)
        record = self.record(before) if before is not None else None
        return record.number if record is not None else 0

    def content(self) -> Content:
        """The chosen page at the chosen moment, in the chosen view.

        Raises:
            XbrleError: no page is chosen.
        """
        stream, record, place = self.stream(), self.record(), self.page
        if place is None and record is not None and record.block is not None:
            place = (record.block, record.address)
        if record is None or place is None:
            raise XbrleError("the chosen record does not carry a page")
        history = page_of(stream, space_of(stream).blocks[place[0]].name, place[1])
        return history.at(self.moment(), self.view)

    def states_sum(self, record: Record) -> bool:
        """Whether a record states the sum of its page."""
        table = self.table
        if table is None or self.facts is None or record.number is None:
            return False
        piece = table.piece(record.row)
        place = record.row - table.first(piece)
        columns = table.window(piece).columns.take(slice(place, place + 1))
        return stated_sum(columns, self.facts.reading.dialect) is not None

    # -- from row to row ---------------------------------------------------------------------------------------------

    def row_of(self, finding: Finding) -> int | None:
        """The row that a finding is about, or None for one about the whole capture."""
        if self.table is None or not len(self.table):
            return None
        if finding.record is not None:
            return self.table.row_of(finding.record)
        return self.table.at(finding.offset) if finding.offset is not None else None

    def rows_of(self, findings: Sequence[Finding]) -> NDArray[np.int64]:
        """The row that each finding is about, (k,) int64, -1 for one about the whole capture. All must be read."""
        records = self.capture.stream.records
        numbers = np.array([f.record or 0 for f in findings], np.int64)
        rows = np.full(len(findings), -1, np.int64)
        numbered = (numbers >= 1) & (numbers <= records.numbers.last)
        if numbered.any():
            rows[numbered] = records.numbers.rows(numbers[numbered])
        for i in np.flatnonzero(numbers == 0).tolist():
            row = self.row_of(findings[i])
            rows[i] = -1 if row is None else row
        return rows

    def next_of_page(self, row: int, step: int) -> int | None:
        """The nearest row, after (``step`` 1) or before (-1) ``row``, with the page that ``row`` carries."""
        record = self.record(row)
        if record is None or record.block is None or self.table is None:
            return None
        block, address = record.block, np.uint64(record.address)
        return self.table.find(row, step, lambda c: (c.address == address) & (c.block == block) & IS_PAGE[c.kind])

    def next_kind(self, row: int, step: int) -> int | None:
        """The nearest row of another kind than ``row``."""
        record = self.record(row)
        if record is None or self.table is None:
            return None
        kind = int(record.kind)
        return self.table.find(row, step, lambda c: c.kind != kind)

    def next_page(self, row: int, step: int) -> int | None:
        """The nearest row that carries a page."""
        return None if self.table is None else self.table.find(row, step, lambda c: IS_PAGE[c.kind])

    def next_mark(self, row: int, step: int) -> int | None:
        """The nearest row that is marked or has a bookmark."""
        marked = self.marks | {r for o in self.bookmarks if (r := self._row_at(o)) is not None}
        onward = [r for r in marked if (r > row if step > 0 else r < row)]
        return (min if step > 0 else max)(onward) if onward else None

    def _row_at(self, offset: int) -> int | None:
        """The row that begins at exactly this file offset."""
        row = self.table.at(offset) if self.table is not None else None
        record = self.record(row) if row is not None else None
        return row if record is not None and record.offset == offset else None

    # -- bookmarks ---------------------------------------------------------------------------------------------------

    def open_bookmarks(self, sha256: str) -> None:
        """Read the bookmarks that were saved for this capture.

        Raises:
            XbrleError: they cannot be read. The file is then left alone, and bookmarks set from now on are not saved.
        """
        file = bookmarks.place(sha256)
        saved = bookmarks.load(file)
        self.bookmarks = saved | self.bookmarks
        self.bookmark_file = file
        if self.bookmarks != saved:
            bookmarks.save(file, self.bookmarks)

    def bookmark(self, record: Record, note: str | None) -> None:
        """Set a bookmark, or remove it where ``note`` is None, and save them all.

        Raises:
            XbrleError: they cannot be saved.
        """
        if note is None:
            self.bookmarks.pop(record.offset, None)
        else:
            self.bookmarks[record.offset] = Bookmark(record.offset, record.number, note)
        if self.bookmark_file is not None:
            bookmarks.save(self.bookmark_file, self.bookmarks)
