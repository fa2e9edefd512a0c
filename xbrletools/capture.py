"""The front: `open` gives a Capture, which offers the rest of the library and imports it when asked."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import XbrleError
from .formats.dialects import DIALECTS, Dialect
from .stream.dialect import Evidence
from .stream.filling import Filling
from .stream.records import Columns, RecordTable, join
from .stream.scan import PAGE_SIZES, Block, Problem, Scanner
from .stream.sections import Section, Sections
from .stream.source import Input, MappedSource, Openable, PipeSource, open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .memory.confirm import Trust
    from .memory.doubt import Doubt
    from .memory.history import PageHistory
    from .memory.image import Image, PageSpace
    from .memory.lapses import Lapses
    from .memory.replay import View
    from .stream.channels import Spool
    from .stream.devices import Description, Device
    from .stream.fields import Field
    from .stream.growing import GrowingTable
    from .stream.salvage import Gap
    from .verify.rules import Finding

INDEXED = 64 << 20  # bytes of a file from which on what its scan found is kept
_ROOM = 1 << 31  # bytes that a capture which is still being written is taken to have at least


class Capture:
    """A migration stream, scanned when something first asks for its records.

    ``dialect``, ``endian`` ("little" or "big") and ``page_size`` force what is otherwise found by trial. ``salvage``
    reads on after damage; ``blocks`` are then the RAM blocks where the user knows them, as (name, length in bytes).
    ``channels`` are the multifd channels beside the main one; what was found in them is then in `channels`.
    ``snapshot`` names the internal snapshot of a disk image. ``cache``: what the scan of a large file finds may be kept
    in, and taken from, the user's cache folder.
    """

    def __init__(
        self,
        what: Openable | MappedSource,
        dialect: str | None = None,
        endian: str | None = None,
        page_size: int | None = None,
        salvage: bool = False,
        blocks: Sequence[tuple[bytes, int]] = (),
        channels: Sequence[Openable] = (),
        snapshot: str | None = None,
        cache: bool = True,
    ) -> None:
        self.channels: Spool | None = None
        self._channels = tuple(channels)
        self._cache = cache
        self.source = open_source(what, snapshot)
        self._scanner: Scanner
        self._salvages = salvage
        if salvage:
            from .stream.salvage import Salvager

            self.source = self.source.spool()
            self._scanner = Salvager(self.source, dialect, endian, page_size, blocks)
        else:
            self._scanner = Scanner(self.source, dialect, endian, page_size)
        self._table: RecordTable | None = None
        self._filling: Filling | None = None
        self._options = (dialect, endian, page_size)
        self._blocks = tuple(blocks)

    def __enter__(self) -> "Capture":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    @property
    def name(self) -> str:
        """What was opened, for messages."""
        return self.source.name

    @property
    def salvaged(self) -> bool:
        """Whether it is read on after damage."""
        return self._salvages

    @property
    def has_channels(self) -> bool:
        """Whether multifd channels were given beside the main one."""
        return bool(self._channels)

    def scan(self) -> Scanner:
        """A scan of its own: iterating it gives the records, a window at a time, and at the end it knows the rest.

        A pipe is read in constant memory this way, and only once.
        """
        if self._salvages and isinstance(self.source, MappedSource):
            from .stream.salvage import Salvager

            return Salvager(self.source, *self._options, self._blocks)
        if not self._cache or self.source.origin is None or self.source.origin.size < INDEXED:
            return Scanner(self.source, *self._options)
        from .stream import index

        assert isinstance(self.source, MappedSource)
        return index.scanner(self.source, self.source.origin, *self._options)

    @property
    def records(self) -> RecordTable:
        """All records. The first use scans the capture; a pipe is spooled to a temporary file for it.

        Raises:
            XbrleError: this is no migration stream.
        """
        if self._table is None:
            self._begin()
            for _ in self._filled():
                pass
            self._table = self._finished(self._columns())
        return self._table

    def _begin(self) -> None:
        """Settle which scan is to give the table: a pipe goes through a temporary file."""
        if not self._salvages:
            self.source = self.source.spool()
            self._scanner = self.scan()
        assert isinstance(self.source, MappedSource)
        self._filling = Filling(self.source.size) if self._scanner.columns is None else None

    def _filled(self) -> Iterator[Columns]:
        """Scan; gives the rows of each window as they stay in the table."""
        for columns in self._scanner:
            yield columns if self._filling is None else self._filling.add(columns)

    def _columns(self, rows: int | None = None) -> Columns:
        """The first ``rows`` rows that were scanned, by default all."""
        if self._scanner.columns is not None:
            return self._scanner.columns.take(slice(rows))
        assert self._filling is not None
        return self._filling.columns(rows)

    def _finished(self, columns: Columns) -> RecordTable:
        """The table of all records, those of the channels among them."""
        main_size = None
        if self._channels:
            assert isinstance(self.source, MappedSource)
            columns = self._with_channels(self.source, columns)
            main_size = self.source.size
        return self._tabled(columns, main_size)

    def _with_channels(self, main: MappedSource, columns: Columns) -> Columns:
        """The main channel's records and those of the channels, in the order in which they count."""
        from .stream.channels import order, spool

        blocks = {b.name: i for i, b in enumerate(self._scanner.blocks)}
        self.channels = found = spool(main, self._channels, self._scanner.settings.page_size, blocks)
        self._scanner.problems += [Problem("multifd-channel", main.size, why) for why in found.complaints(columns)]
        return join([columns, found.columns]).take(order(columns, found))

    def _tabled(self, columns: Columns, main_size: int | None = None) -> RecordTable:
        names = [b.name for b in self._scanner.blocks]
        return RecordTable(columns, self._scanner.sections, names, self._scanner.settings.page_size, main_size)

    def load(self, begin: "Callable[[GrowingTable], None]") -> Iterator[int]:
        """Scan as the first use of `records` does, into a table that other threads may read meanwhile.

        ``begin`` gets that table, still empty. Gives the file offset reached, after each window; at the end `records`
        is there.

        Raises:
            XbrleError: this is no migration stream.
        """
        from .stream import following
        from .stream.growing import GrowingTable

        if isinstance(self.source, PipeSource):
            self.source = following.spooling(self.source)
        self._begin()
        if isinstance(self.source, following.GrowingSource):
            self._filling = Filling(max(self.source.size, _ROOM))
        table = GrowingTable(self._scanner)
        begin(table)
        for columns in self._filled():
            table.add(columns)
            if len(columns):
                yield int(columns.offset[-1])
        self._table = self._finished(self._columns())
        table.settle(self._table)

    def so_far(self, table: "GrowingTable") -> "Capture":
        """The capture as far as `load` has come, to ask while it goes on; what `load` adds later is not in it."""
        part = self._afresh()
        part._table = self._tabled(self._columns(len(table)))
        return part

    def again(self) -> "Capture":
        """The same capture, not scanned yet: what was written to it since is there then."""
        new = self._afresh()
        new._table, new._filling, new.channels = None, None, None
        new._scanner = new.scan()
        return new

    def _afresh(self) -> "Capture":
        """A copy that has worked out nothing yet."""
        new = copy(self)
        for name, value in vars(Capture).items():
            if isinstance(value, cached_property):
                new.__dict__.pop(name, None)
        return new

    def grown(self) -> bool:
        """Whether a capture that is followed has more bytes than when it was last looked at."""
        from .stream.following import GrowingSource

        return isinstance(self.source, GrowingSource) and self.source.grown()

    @property
    def scanned(self) -> Scanner:
        """The scan, done: what is known beside the records."""
        _ = self.records
        return self._scanner

    @property
    def data(self) -> "NDArray[np.uint8]":
        """The capture's bytes, (size,) uint8, read-only; the pages of multifd channels lie behind the main channel."""
        _ = self.records
        if self.channels is not None:
            return self.channels.source.data
        assert isinstance(self.source, MappedSource)
        self.source.check()
        return self.source.data

    @property
    def sections(self) -> Sections:
        """The sections, in file order."""
        return self.scanned.sections

    @property
    def blocks(self) -> list[Block]:
        """The RAM blocks, in the order of the block list; last those that only records name."""
        return self.scanned.blocks

    @property
    def problems(self) -> list[Problem]:
        """What the scan met that should not be there."""
        return self.scanned.problems

    @property
    def damage(self) -> Problem | None:
        """Where and why the scan could not go on; None if it came to the end."""
        return next((p for p in self.problems if p.fatal), None)

    @property
    def skipped(self) -> list[tuple[int, int]]:
        """The bytes [start, end) that salvage skipped, in rising order; where gaps overlap, once."""
        ranges: list[tuple[int, int]] = []
        for start, end in sorted((g.start, g.end) for g in self.gaps if g.start < g.end):
            if ranges and start <= ranges[-1][1]:
                ranges[-1] = ranges[-1][0], max(end, ranges[-1][1])
            else:
                ranges.append((start, end))
        return ranges

    @property
    def gaps(self) -> "list[Gap]":
        """What was skipped as damaged; empty unless the capture was opened to be salvaged."""
        gaps: list[Gap] = getattr(self.scanned, "gaps", [])
        if self.channels is None or not gaps:
            return gaps
        rows = [*self.records.main_rows.tolist(), len(self.records)]  # channels' records stand between
        return [replace(g, row=rows[g.row]) for g in gaps]

    @cached_property
    def doubts(self) -> "list[Doubt]":
        """Where on which pages are in doubt at the receiver: what the gaps and refuted records leave unknown."""
        from .memory.replay import View

        return self._doubts(View.RECEIVER)

    def _doubts(self, view: "View") -> "list[Doubt]":
        from .memory.doubt import find, find_among_channels

        if not self._salvages:
            return []
        columns = self.records.columns
        if self.channels is not None:
            return find_among_channels(self.space, columns, self.gaps, self.channels.broken(columns))
        return find(self.space, self.data, columns, self.dialect, self.gaps, view)

    @cached_property
    def _lapses(self) -> "dict[View, Lapses]":
        return {}

    def lapses(self, view: "View | None" = None) -> "Lapses":
        """Which pages are unknown again, and since when: those discarded and, after salvage, those in doubt."""
        from .memory.doubt import as_lapses
        from .memory.lapses import joined
        from .memory.replay import View

        view = view or View.RECEIVER
        if view not in self._lapses:
            doubts = self.doubts if view is View.RECEIVER else self._doubts(view)
            self._lapses[view] = joined(self.discards, as_lapses(doubts))
        return self._lapses[view]

    @property
    def forced(self) -> tuple[str | None, str | None]:
        """The dialect and the byte order that were given when it was opened."""
        return self._options[:2]

    @property
    def evidence(self) -> Evidence:
        """The dialect and what shows it."""
        return self.scanned.settings.evidence

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the deltas; None where no delta shows it."""
        return self.scanned.settings.dialect

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""
        return self.scanned.settings.page_size

    @cached_property
    def space(self) -> "PageSpace":
        """Where each block's pages lie among all pages."""
        from .memory.image import PageSpace

        return PageSpace(self.blocks, self.page_size)

    @cached_property
    def description(self) -> "Description | None":
        """The VM description after the stream's end; None where there is none.

        Raises:
            XbrleError: what stands there is none.
        """
        from .stream.devices import load

        if self.scanned.vmdesc is None:
            return None
        start, length = self.scanned.vmdesc
        return load(self.data[start : start + length].tobytes(), start)

    @cached_property
    def devices(self) -> "dict[int, Device]":
        """The entry of the VM description that each FULL section has, by the section's index."""
        from .stream.devices import match

        found = match(self.sections, self.description)
        return {section.index: device for section, device in found if device is not None}

    def fields(self, section: Section) -> "Field | None":
        """What a section that is not RAM or disk holds, field by field; None where nothing describes it.

        Raises:
            XbrleError: the VM description is damaged.
        """
        from .stream.devices import fields

        data = self.data[section.data : section.end].tobytes()
        return fields(section, data, self.devices.get(section.index))

    @cached_property
    def discards(self) -> "Lapses":
        """The pages that a postcopy destination was told to forget, and when."""
        from .memory.discards import place

        return place(self.scanned.discards, self.records, self.space)

    def row_of(self, record: int) -> int:
        """The table's row of record number ``record``.

        Raises:
            XbrleError: there is no such record.
        """
        row = self.records.row_of(record)
        if row is None:
            raise XbrleError(f"there is no record {record}; this capture has 1 to {self.records.last_number}")
        return row

    def memory(self, at: int | None = None, view: "View | None" = None, trust: "Trust | None" = None) -> "Image":
        """Memory just after record ``at``, by default at the end.

        By default it is what the stream gives; after salvage `Image.recovered` tells which of it stands, and
        `Image.known` which of that a checksum vouches for. With ``Trust.CHECKSUM`` all else is unknown.

        Raises:
            XbrleError: there is no such record.
        """
        from .memory.confirm import Trust
        from .memory.image import Image
        from .memory.replay import View, replay

        view = view or View.RECEIVER
        columns, lapses = self.records.columns, self.lapses(view)
        if at is not None:
            row = self.row_of(at)
            columns, lapses = columns.take(slice(0, row + 1)), lapses.upto(row)
        image = Image(self.space)
        replay(image, self.data, columns, self.dialect, view, lapses)
        if self.salvaged:
            image.vouched = self.confirmed(image, at, view)
        if trust is Trust.CHECKSUM:
            image.keep(self.confirmed(image, at, view) if image.vouched is None else image.vouched)
        return image

    def confirmed(self, image: "Image", at: int | None = None, view: "View | None" = None) -> "NDArray[np.bool_]":
        """Which pages of ``image``, which is memory at that moment in that view, a checksum vouches for, (pages,) bool.

        After salvage these are the pages that are known.

        Raises:
            XbrleError: there is no such record.
        """
        from .memory.confirm import confirmed
        from .memory.replay import View

        end = len(self.records) if at is None else self.row_of(at) + 1
        return confirmed(image, self.data, self.records.columns, end, self.dialect, view or View.RECEIVER)

    def page(self, block: str | bytes, address: int) -> "PageHistory":
        """The story of the page that holds ``address`` of ``block``, without replaying the rest.

        Raises:
            XbrleError: there is no such block, or no such page in it.
        """
        from .memory.history import PageHistory

        return PageHistory(self.records, self.data, self.space, self.dialect, block, address, self.lapses)

    def verify(self, destination: dict[bytes, int] | None = None) -> "Iterator[Finding]":
        """What is wrong with this capture, and what is merely odd, in the order of offsets.

        ``destination`` says which blocks, by name and length in bytes, the destination has.

        Raises:
            XbrleError: this is no migration stream.
            OSError: there are very many, and the temporary folder cannot take them.
        """
        from .verify.checker import verify

        return verify(self, destination)


def open_capture(
    what: Openable | Input,
    dialect: str | None = None,
    endian: str | None = None,
    page_size: int | None = None,
    salvage: bool = False,
    blocks: Sequence[tuple[bytes, int]] = (),
    channels: Sequence[Openable] = (),
    snapshot: str | None = None,
    cache: bool = True,
    follow: bool = False,
) -> Capture:
    """Open a capture: a path, a file object, bytes, or ``-`` for standard input.

    ``dialect`` (one of `xbrletools.formats.dialects.DIALECTS`), ``endian`` and ``page_size`` force what is otherwise
    found by trial. ``salvage`` reads on after damage, see `Capture.gaps`; ``blocks``, as (name, length in bytes), are
    then the RAM blocks where the capture's own list is lost.
    ``channels`` are the other connections of a multifd migration; ``snapshot`` is the name or id of the internal
    snapshot whose VM state is meant, where a qcow2 image has several. ``cache``: what the scan of a large file finds
    may be kept in the user's cache folder, where the next opening finds it. ``follow`` waits for what is
    still being written to the file ``what``, or will be, until it has stood still for a while.

    Raises:
        XbrleError: it cannot be opened or read.
    """
    if endian not in (None, "little", "big"):
        raise XbrleError(f"byte order {endian!r} is neither little nor big")
    if dialect is not None and dialect not in DIALECTS:
        raise XbrleError(f"no dialect is called {dialect!r}; there are {', '.join(DIALECTS)}")
    if page_size is not None and page_size not in PAGE_SIZES:
        raise XbrleError(
            f"no target has pages of {page_size} bytes; there are {', '.join(map(str, sorted(PAGE_SIZES)))}"
        )
    named = what if isinstance(what, Input) else Input(what)
    every, salvage = (*named.channels, *channels), named.salvage or salvage
    cache = cache and named.cache
    main: Openable | MappedSource = named.main
    if follow:
        if every or salvage or not isinstance(main, str | PathLike):
            raise XbrleError("only a file is followed, without channels and without salvage")
        from .stream.following import follow as followed

        main = followed(main)
    blocks = blocks or named.blocks
    return Capture(main, dialect, endian, page_size, salvage, blocks, every, named.snapshot or snapshot, cache)
