"""The front: `open` gives a Capture, which opens and scans, and hands its stream to the rest of the library."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from os import PathLike
from threading import RLock
from typing import TYPE_CHECKING

from .errors import XbrleError
from .formats.dialects import Dialect
from .model import Block, Evidence, Facts, Gap, Problem, Stream
from .questions import Questions
from .ram import elsewhere
from .ram.named import check_options
from .scan.notes import Scan
from .scan.strict import Scanner
from .source.beside import begins_row, channels_beside, is_multifd, whole_channel
from .source.opening import Openable, open_source
from .source.sources import MappedSource, PipeSource, Source
from .table.columns import Columns
from .table.filling import Filling
from .table.sections import Sections
from .table.table import RecordTable
from .text import bytes_of, counted, label
from .urls import is_url

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .ram.channels import Spool
    from .table.growing import GrowingTable

INDEXED = 64 << 20  # bytes of a file from which on what its scan found is kept
_ROOM = 1 << 31  # bytes that a capture which is still being written is taken to have at least


def _is_channel(source: Source) -> bool:
    """Whether a source is a channel by itself, and not a main channel: multifd's, or postcopy-preempt's."""
    if is_multifd(source) or not isinstance(source, MappedSource):
        return is_multifd(source)
    from .container.identify import HEAD, is_row

    head = bytes(source.view[:HEAD])
    return begins_row(head) and is_row(head)


class Capture(Questions):
    """A migration stream, scanned when something first asks for its records.

    ``dialect``, ``endian`` ("little" or "big") and ``page_size`` force what is otherwise found by trial. ``salvage``
    reads on after damage. ``blocks`` are then the RAM blocks where the user knows them, as (name, length in bytes).
    ``channels`` are the other channels beside the main one, then found in `channels`. Where none are given, and
    ``beside`` is, those that lie beside the file are taken. It is told which. ``snapshot`` names the internal snapshot
    of a disk image. ``cache``: what the scan of a large file finds may be kept in the user's cache folder.
    ``offset`` is where in the file the stream begins: None searches for it. ``name``: what a file object is called.
    ``stream``: which migration of a packet dump.

    Examples:
        >>> capture
        <Capture samples/posted-8m.bin: posted, 3 RAM blocks, 2557 records>
        >>> capture.records
        <RecordTable of 2594 rows: 1 mem_size, 237 page, 2092 dup, 228 xbrle, 36 eos>
        >>> capture.page_size, capture.dialect.name
        (4096, 'posted')
    """

    def __init__(
        self,
        what: Openable | MappedSource,
        dialect: str | None = None,
        endian: str | None = None,
        page_size: int | None = None,
        salvage: bool = False,
        blocks: Sequence[tuple[bytes, int]] = (),
        channels: Sequence[Openable | MappedSource] = (),
        snapshot: str | None = None,
        cache: bool = True,
        offset: int | None = None,
        beside: "Callable[[str], None] | None" = None,
        name: str | None = None,
        stream: int | None = None,
    ) -> None:
        self.channels: Spool | None = None
        self._channels: tuple[Openable | MappedSource, ...] = tuple(channels)
        self._tell_beside, self._given = beside, bool(channels)
        self._cache = cache
        self.source = whole_channel(open_source(what, snapshot, offset, name, cache, stream))
        self._is_channel = _is_channel(self.source)
        self._beside = () if beside is None or channels or self._is_channel else channels_beside(what)
        if isinstance(self.source, MappedSource) and self.source.rebuilt is not None:
            self._channels, self._beside = self._channels or self.source.rebuilt.channels, ()
        self._salvages = salvage
        self._stream: Stream | None = None
        self._filling: Filling | None = None
        self._options, self._blocks = (dialect, endian, page_size), tuple(blocks)
        self._scanning = RLock()  # one thread scans, and those that ask meanwhile wait for it
        if salvage:
            self.source = self.source.spool().read(salvage=True)
        self._scanner = self.scan()

    def __repr__(self) -> str:
        name = label(self.name)
        if self._stream is None:
            return f"<Capture {name}, not scanned yet>"
        dialect = "no dialect shown" if self.dialect is None else self.dialect.name
        blocks, count = counted(len(self.blocks), "RAM block"), counted(self.records.last_number, "record")
        damaged = "" if self.damage is None else ", damaged"
        return f"<Capture {name}: {dialect}, {blocks}, {count}{damaged}>"

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close a pipe or a packed file that was opened for it. What was scanned stays, as does a mapped file."""
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
        """Whether there are other channels beside the main one, given or found."""
        return bool(self._channels or self._beside or self._is_channel)

    # -- the scan ------------------------------------------------------------------------------------------------------

    def scan(self) -> Scan:
        """A scan of its own: iterating it gives the records, a window at a time, and at the end it knows the rest.

        A pipe is read in constant memory this way, and only once.
        """
        if isinstance(self.source, MappedSource) and self._is_channel:
            from .scan.channel import ChannelScan

            return ChannelScan(self.source, self._options[2])
        if self._salvages and isinstance(self.source, MappedSource):
            from .scan.salvage.run import Salvager

            return Salvager(self.source, *self._options, self._blocks)
        if not self._cache or self.source.origin is None or self.source.origin.size < INDEXED:
            return Scanner(self.source, *self._options)
        from .scan import cache

        assert isinstance(self.source, MappedSource)
        return cache.scanner(self.source, self.source.origin, *self._options)

    @property
    def stream(self) -> Stream:
        """The scanned capture. The first use scans it. A pipe is spooled to a temporary file for it.

        Threads may share it: one scans, the others wait.

        Raises:
            XbrleError: this is not a migration stream.
        """
        if self._stream is None:
            with self._scanning:
                if self._stream is None:
                    self._begin()
                    for _ in self._filled():
                        pass
                    self._stream = self._finished()
        return self._stream

    @property
    def found(self) -> Facts:
        """What the scan has found by now."""
        return self._scanner.facts if self._stream is None else self._stream.facts

    def _begin(self) -> None:
        """Settle which scan is to give the table: a pipe goes through a temporary file."""
        if not self._salvages:
            self.source = self.source.spool()
            self._scanner = self.scan()
        assert isinstance(self.source, MappedSource)
        self._filling = Filling(self.source.size) if self._scanner.columns is None else None

    def _filled(self) -> Iterator[Columns]:
        """Scan, and give the rows of each window as they stay in the table."""
        for columns in self._scanner:
            yield columns if self._filling is None else self._filling.add(columns)

    def _columns(self, rows: int | None = None) -> Columns:
        """The first ``rows`` rows that were scanned, by default all."""
        if self._scanner.columns is not None:
            return self._scanner.columns.take(slice(rows))
        assert self._filling is not None
        return self._filling.columns(rows)

    def _finished(self) -> Stream:
        """The stream of all records, those of the channels among them."""
        columns, facts, source = self._columns(), self._scanner.facts, self._scanner.source
        assert isinstance(self.source, MappedSource) and isinstance(source, MappedSource)
        if self._is_channel:
            from .ram.channels import alone

            stream, self.channels = alone(self.source, facts)
            return stream
        given = [open_source(o, keep=self._cache).spool() for o in self._channels]
        sources = given + self._taken_beside(columns, facts)
        if sources:
            from .ram.channels import combine

            opened = self._options[:2], self._salvages
            stream, self.channels = combine(source, sources, columns, facts, *opened, self._given)
        else:
            stream = self._streamed(columns, facts)
        stream = elsewhere.noted(stream)
        if elsewhere.postcopy_run(facts) is None:
            return stream
        from .memory.missing import with_pages_that_never_came

        return with_pages_that_never_came(stream)

    def _taken_beside(self, columns: Columns, facts: Facts) -> list[MappedSource]:
        """The channels that lie beside the file and are its own. From then on there are no others."""
        if not self._beside:
            return []
        from .ram.channels import wanted

        taken = wanted(self._beside, columns, facts, self._cache)
        if taken and self._tell_beside is not None:
            self._tell_beside(", ".join(s.name for s in taken))
        self._beside, self._channels = (), (*taken,)
        return taken

    def _streamed(self, columns: Columns, facts: Facts) -> Stream:
        source = self._scanner.source  # up to another stream, where one begins amid this one
        assert isinstance(source, MappedSource)
        table = RecordTable(columns, facts.sections, facts.names, facts.page_size, dialect=facts.reading.dialect)
        return Stream(source, facts, table, self._options[:2], self._salvages)

    def load(self, begin: "Callable[[GrowingTable], None]") -> Iterator[int]:
        """Scan as the first use of `stream` does, into a table that other threads may read meanwhile.

        ``begin`` gets that table, still empty. Gives the file offset reached after each window. Then `stream` is there.

        Raises:
            XbrleError: this is not a migration stream.
        """
        from .source import following
        from .table.growing import GrowingTable

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
        self._stream = self._finished()
        table.settle(self._stream.records)

    def so_far(self, table: "GrowingTable") -> "Capture":
        """The capture as far as `load` has come, to ask while it goes on. What `load` adds later is not in it."""
        part = copy(self)
        part._stream = self._streamed(self._columns(len(table)), self._scanner.facts)
        return part

    def of(self, source: MappedSource) -> "Capture":
        """A capture of other bytes, read with the same options. It does not have other channels."""
        return Capture(source, *self._options, salvage=self._salvages, blocks=self._blocks, cache=False)

    def again(self) -> "Capture":
        """The same capture, not scanned yet: what was written to it since is there then."""
        new = copy(self)
        new._scanning = RLock()
        new._stream, new._filling, new.channels = None, None, None
        new._scanner = new.scan()
        return new

    def reread(self, salvage: bool | None = None, channels: Sequence[Openable] | None = None) -> "Capture":
        """The same capture, not scanned yet: with or without salvage, or with these channels, where that is said."""
        new = copy(self)
        new._salvages = self._salvages if salvage is None else salvage
        new.source = self.source.spool().read(new._salvages)
        new._channels, new._beside = self._channels if channels is None else tuple(channels), ()
        return new.again()

    def coming(self) -> bool:
        """Whether more bytes may follow: it comes through a pipe, or is a file that grew a moment ago."""
        from .source.following import GrowingSource

        return isinstance(self.source, GrowingSource) and self.source.coming()

    def grown(self) -> bool:
        """Whether a capture that is followed has more bytes than when it was last looked at."""
        from .source.following import GrowingSource

        return isinstance(self.source, GrowingSource) and self.source.grown()

    # -- what the scan found -------------------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        """What the scan found beside the records."""
        return self.stream.facts

    @property
    def records(self) -> RecordTable:
        """All records, in their order.

        Raises:
            XbrleError: this is not a migration stream.
        """
        return self.stream.records

    @property
    def data(self) -> "NDArray[np.uint8]":
        """The capture's bytes, (size,) uint8, read-only. The pages of multifd channels lie behind the main channel.

        Raises:
            XbrleError: the file has shrunk meanwhile.
        """
        return self.stream.data

    @property
    def sections(self) -> Sections:
        """The sections, in file order."""
        return self.stream.sections

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The RAM blocks, in the order of the block list. Last come those that only records name."""
        return self.stream.blocks

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the scan met that should not be there."""
        return self.stream.facts.problems

    @property
    def damage(self) -> Problem | None:
        """Where and why the scan could not go on, or None if it came to the end."""
        return self.stream.facts.damage

    @property
    def skipped(self) -> list[tuple[int, int]]:
        """The bytes [start, end) that salvage skipped, in rising order. Where gaps overlap, they stand once."""
        return self.stream.facts.skipped

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What was skipped as damaged. It is empty unless the capture was opened to be salvaged."""
        return self.stream.facts.gaps

    @property
    def evidence(self) -> Evidence:
        """The dialect and what shows it."""
        return self.stream.reading.evidence

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the deltas, or None where no delta shows it."""
        return self.stream.dialect

    @property
    def page_size(self) -> int:
        """The target's page size in bytes."""
        return self.stream.page_size


def open_capture(
    what: Openable,
    dialect: str | None = None,
    endian: str | None = None,
    page_size: int | None = None,
    salvage: bool = False,
    blocks: Sequence[tuple[str | bytes, int]] = (),
    channels: Sequence[Openable] = (),
    snapshot: str | None = None,
    cache: bool = True,
    follow: bool = False,
    offset: int | None = None,
    beside: "Callable[[str], None] | None" = None,
    name: str | None = None,
    stream: int | None = None,
) -> Capture:
    """Open a capture: a path, a URL, a file object, bytes, or ``-`` for standard input.

    What is behind a URL is fetched into a cache folder (extra ``remote``). A file object needs nothing but ``read``;
    ``name`` is what messages call it.

    ``dialect`` (one of `xbrletools.formats.dialects.DIALECTS`), ``endian`` and ``page_size`` force what is otherwise
    found by trial. ``salvage`` reads on after damage, see `Capture.gaps`. ``blocks``, as (name, length in bytes), are
    then the RAM blocks where the list is lost. ``channels`` are the other connections of a multifd or preempt
    migration. Where none are given, and ``beside`` is, files beside ``what`` that are named as its channels are taken,
    and ``beside`` is called with their names.
    ``snapshot`` is the name or id of the internal snapshot whose VM state is meant, where a qcow2 image has several.
    ``cache``: what the scan of a large file finds may be kept in the user's cache folder. ``follow`` waits for what is
    still being written to the file ``what``, until it has stood still for a while. ``offset`` is where in the file the
    stream begins, by default where it is found. ``stream`` is which migration of a packet dump.

    Raises:
        XbrleError: it cannot be opened or read; a `TransportError` where trying again may help.
    """
    check_options(dialect, endian, page_size)
    if isinstance(channels, str | bytes | PathLike):
        raise TypeError("channels are several: give a list of them, also where there is only one")
    named = [(bytes_of(block) if isinstance(block, str) else block, length) for block, length in blocks]
    main: Openable | MappedSource = what
    if follow:
        if channels or salvage or not isinstance(main, str | PathLike) or is_url(main):
            raise XbrleError("only a file is followed, without channels and without salvage")
        from .source.following import follow as followed

        main, beside = followed(main, offset or 0), None
    return Capture(
        main, dialect, endian, page_size, salvage, named, channels, snapshot, cache, offset, beside, name, stream
    )
