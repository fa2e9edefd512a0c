"""What the screens share: the capture, the table as far as it is read, the findings, and where the user is."""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..analysis.stats import Stats
from ..capture import Capture
from ..errors import XbrleError
from ..memory.history import stated_sum
from ..memory.replay import View
from ..sender.fingerprint import Fingerprint
from ..source.sources import MappedSource
from ..table.columns import Columns
from ..table.growing import GrowingTable, Record
from ..table.kinds import IS_PAGE
from ..text import address, shown
from ..verify.rules import Finding, Severity
from . import bookmarks
from .bookmarks import Bookmark

_STALE = 1.25  # how far the table may grow until what was asked of all of it is asked anew
FINDINGS_MAX = 100_000  # findings that are listed; more are counted


_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(slots=True)
class Session:
    """One look at one capture. ``row`` is the chosen record, the moment that every screen shows."""

    capture: Capture
    table: GrowingTable | None = None
    reached: int = 0  # file offset that the scan has come to
    complete: bool = False
    row: int = 0
    page: tuple[int, int] | None = None  # block and address that the page screen holds on to
    view: View = View.RECEIVER
    findings: list[Finding] = field(default_factory=list)
    counts: dict[Severity, int] = field(default_factory=lambda: dict.fromkeys(Severity, 0))
    verified: bool = False
    fingerprint: Fingerprint | None = None
    no_fingerprint: str = "not taken yet"
    trouble: str | None = None  # why something could not be computed
    marks: set[int] = field(default_factory=set)
    bookmarks: dict[int, Bookmark] = field(default_factory=dict)
    bookmark_file: Path | None = None
    stats: Stats = field(default_factory=Stats)
    _rows: list[int] = field(default_factory=list)  # rows that findings are about, sorted
    _worst: dict[int, Finding] = field(default_factory=dict)  # of each of those rows
    _wrong_sums: set[int] = field(default_factory=set)
    _doubtful: dict[tuple[bytes | None, int], int] = field(default_factory=dict)  # pages and since which row
    _summed: int = 0
    _part: Capture | None = None

    def __len__(self) -> int:
        return len(self.table) if self.table is not None else 0

    def record(self, row: int | None = None) -> Record | None:
        """A row, by default the chosen one; None while there is none."""
        row = self.row if row is None else row
        return self.table.record(row) if self.table is not None and 0 <= row < len(self.table) else None

    def moment(self) -> int | None:
        """The number of the last record until the chosen row, 0 before the first; None at the end of all rows."""
        if self.row >= len(self) - 1:
            return None
        here = self.record()
        if here is None or here.number is not None:
            return here.number if here is not None else None
        before = self.next_page(self.row, -1)
        record = self.record(before) if before is not None else None
        return record.number if record is not None else 0

    def known(self) -> Capture:
        """The capture, or most of what was read of it by now, the chosen record included.

        Raises:
            XbrleError: nothing was read yet.
        """
        if self.complete:
            return self.capture
        if self.table is None or not len(self.table):
            raise XbrleError("no record was read yet")
        there = len(self._part.records) if self._part is not None else 0
        if self._part is None or self.row >= there or len(self.table) > _STALE * there:
            self._part = self.capture.so_far(self.table)
        return self._part

    def read(self) -> None:
        """Take in what the scan has added; called by the thread that scans."""
        if self.table is None:
            return
        for piece in range(self._summed, self.table.pieces):
            window = self.table.derive(piece)
            self.stats.add(window.columns, window.pass_, window.stage)
        self.stats.settle(self.capture.found)
        self._summed = self.table.pieces

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The capture's bytes, (size,) uint8: also while it is scanned."""
        if self.complete:
            return self.capture.data
        source = self.capture.source
        assert isinstance(source, MappedSource)
        return source.data

    def take_over(self, old: "Session") -> None:
        """Stand where the user stood in the same capture, when less of it was written."""
        self.row, self.page, self.view = old.row, old.page, old.view
        self.marks, self.bookmarks = old.marks, old.bookmarks

    def finish(self) -> None:
        """The scan is done."""
        if self.table is not None and len(self.table) != sum(self.stats.total.records):  # channels came in
            self.stats, self._summed = Stats(), 0
            self.read()
        self.complete = True
        self._part = None

    def add_finding(self, finding: Finding) -> None:
        """One more finding, in the order of offsets."""
        self.counts[finding.severity] += 1
        if len(self.findings) >= FINDINGS_MAX:
            return
        self.findings.append(finding)
        row = self.row_of(finding)
        if row is None:
            return
        if row not in self._worst:
            insort(self._rows, row)
            self._worst[row] = finding
        elif _RANK[finding.severity] < _RANK[self._worst[row].severity]:
            self._worst[row] = finding
        if finding.rule == "checksum-mismatch":
            self._wrong_sums.add(row)
        elif finding.severity is Severity.ERROR and finding.page is not None:
            self._doubtful.setdefault((finding.block, finding.page), row)

    def row_of(self, finding: Finding) -> int | None:
        """The row that a finding is about; None for one about the whole capture."""
        if self.table is None or not len(self.table):
            return None
        if finding.record is not None:
            return self.table.row_of(finding.record)
        return self.table.at(finding.offset) if finding.offset is not None else None

    def finding(self, row: int) -> Finding | None:
        """The worst finding about a row, of several such the first."""
        return self._worst.get(row)

    def severity(self, row: int) -> Severity | None:
        """How bad the worst finding about a row is."""
        worst = self._worst.get(row)
        return None if worst is None else worst.severity

    def states_sum(self, record: Record) -> bool:
        """Whether a record says what its page adds up to."""
        table = self.table
        if table is None or record.number is None:
            return False
        piece = table.piece(record.row)
        place = record.row - table.first(piece)
        columns = table.window(piece).columns.take(slice(place, place + 1))
        return stated_sum(columns, self.capture.found.reading.dialect) is not None

    def sum_is_wrong(self, row: int) -> bool:
        """Whether a finding says that this row's checksum is not its page's."""
        return row in self._wrong_sums

    def sum_was_checked(self, row: int, record: Record) -> bool:
        """Whether verification surely compared this row's sum: not where an earlier error may have kept it."""
        if sum(self.counts.values()) > len(self.findings):
            return False
        since = self._doubtful.get((record.name, record.address))
        return since is None or row < since

    def suspect_rows(self) -> list[int]:
        """The rows that errors and warnings are about, rising."""
        return [r for r in self._rows if self._worst[r].severity is not Severity.NOTE]

    def next_finding(self, row: int, step: int) -> int | None:
        """The nearest row with a finding, after (``step`` 1) or before (-1) ``row``."""
        if step > 0:
            place = bisect_right(self._rows, row)
            return self._rows[place] if place < len(self._rows) else None
        place = bisect_left(self._rows, row) - 1
        return self._rows[place] if place >= 0 else None

    def next_of_page(self, row: int, step: int) -> int | None:
        """The nearest row with the page that ``row`` carries."""
        here = self.record(row)
        if here is None or here.block is None or self.table is None:
            return None
        block, at = here.block, np.uint64(here.address)
        return self.table.find(row, step, lambda c: (c.address == at) & (c.block == block) & IS_PAGE[c.kind])

    def next_kind(self, row: int, step: int) -> int | None:
        """The nearest row of another kind than ``row``."""
        here = self.record(row)
        if here is None or self.table is None:
            return None
        kind = int(here.kind)
        return self.table.find(row, step, lambda c: c.kind != kind)

    def next_page(self, row: int, step: int) -> int | None:
        """The nearest row that carries a page."""
        return None if self.table is None else self.table.find(row, step, lambda c: IS_PAGE[c.kind])

    def next_mark(self, row: int, step: int) -> int | None:
        """The nearest row that is marked or has a bookmark."""
        rows = self.marks | {r for o in self.bookmarks if (r := self._row_at(o)) is not None}
        onward = [r for r in rows if (r > row if step > 0 else r < row)]
        return (min if step > 0 else max)(onward) if onward else None

    def _row_at(self, offset: int) -> int | None:
        row = self.table.at(offset) if self.table is not None else None
        there = self.record(row) if row is not None else None
        return row if there is not None and there.offset == offset else None

    def goto(self, text: str) -> tuple[int, tuple[int, int] | None]:
        """The row, and the page if one was meant, that ``text`` names: ``123``, ``@0x1f00`` or ``pc.ram:0x315000``.

        For a page, the row is its last record at or before the chosen one, or else its first.

        Raises:
            XbrleError: there is no such thing, or it is none of these.
        """
        text = text.strip()
        if self.table is None or not len(self.table):
            raise XbrleError("no record was read yet")
        if text.startswith("@"):
            _, offset = address(text[1:])
            row = self.table.at(offset)
            if row is None:
                raise XbrleError(f"no record stands at or before {offset:#x}")
            return row, None
        if text.isdecimal():
            row = self.table.row_of(int(text))
            if row is None:
                raise XbrleError(f"there is no record {text}; there are 1 to {self.table.records}")
            return row, None
        name, offset = address(text)
        block = self._block(name)
        page = offset // self.capture.found.reading.page_size * self.capture.found.reading.page_size

        def touches(c: Columns) -> NDArray[np.bool_]:
            mine: NDArray[np.bool_] = (c.address == np.uint64(page)) & (c.block == block) & IS_PAGE[c.kind]
            return mine

        row = self.table.find(self.row + 1, -1, touches)
        if row is None:
            row = self.table.find(-1, 1, touches)
        if row is None:
            raise XbrleError(f"no record gives the page at {page:#x}")
        return row, (block, page)

    def _block(self, name: str | None) -> int:
        """The index of the block called ``name``, as written or as shown; without one, the chosen record's."""
        assert self.table is not None
        names = self.table.names
        if name is None:
            here = self.record()
            return here.block if here is not None and here.block is not None else 0
        for i, have in enumerate(names):
            if have == name.encode("utf-8", "surrogateescape") or shown(have) == name:
                return i
        raise XbrleError(f"there is no RAM block {name!r}")

    def open_bookmarks(self, sha256: str) -> None:
        """Read the bookmarks that were kept for this capture.

        Raises:
            XbrleError: they cannot be read; they are then left alone, and what is marked now is not kept.
        """
        file = bookmarks.place(sha256)
        before = bookmarks.load(file)
        self.bookmarks = before | self.bookmarks
        self.bookmark_file = file
        if self.bookmarks != before:
            bookmarks.save(file, self.bookmarks)

    def bookmark(self, record: Record, note: str | None) -> None:
        """Set a bookmark, or take it away where ``note`` is None; keeps them all.

        Raises:
            XbrleError: they cannot be kept.
        """
        if note is None:
            self.bookmarks.pop(record.offset, None)
        else:
            self.bookmarks[record.offset] = Bookmark(record.offset, record.number, note)
        if self.bookmark_file is not None:
            bookmarks.save(self.bookmark_file, self.bookmarks)
