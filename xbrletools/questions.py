"""What can be asked of a scanned capture: a method for each question, which hands the stream to the room that answers.

The rooms are imported when they are asked, so that a command imports only what it uses.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from operator import index
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import XbrleError
from .model import Stream
from .table.sections import Section
from .text import bytes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .analysis.blame import Span
    from .analysis.devices import DeviceDifference
    from .analysis.diff import BlockDifference, Difference
    from .analysis.search import Hit
    from .analysis.stats import Stats
    from .analysis.top import Top
    from .container.devices import Description, Device
    from .container.fields import Field
    from .filters import Filter
    from .filters.conditions import Located
    from .memory.confirm import Trust
    from .memory.doubt import Doubt
    from .memory.history import PageHistory
    from .memory.image import Image, PageSpace
    from .memory.lapses import Lapses
    from .memory.replay import View
    from .sender.fingerprint import Fingerprint
    from .table.record import Record
    from .verify.rules import Finding
    from .verify.verdict import Verdict

E = TypeVar("E", bound=Enum)


def _one_of(kind: type[E], value: "E | str | None", default: E) -> E:
    """The member of ``kind`` that is meant: given as it is, by its value, or not at all.

    Raises:
        XbrleError: there is no such member.
    """
    try:
        return default if value is None else kind(value)
    except ValueError:
        words = " or ".join(str(member.value) for member in kind)
        raise XbrleError(f"{kind.__name__.lower()} {value!r} does not exist: use {words}") from None


def _name(block: str | bytes) -> bytes:
    return bytes_of(block) if isinstance(block, str) else block


class Questions(ABC):
    """What a capture answers about its memory, its devices and its faults. `Capture` is one.

    Where a view is asked for, ``"receiver"`` is what the destination ended up with, ``"sender"`` what the source really
    held. Where a filter is, it is text as ``xbrle dump`` takes it, for example ``"kind:xbrle pass:2-3"``. An address is
    text as commands take it: ``"pc.ram:0x1000"``, or ``"0x1000"`` in the main RAM block, where a number is one too.
    """

    @property
    @abstractmethod
    def stream(self) -> Stream:
        """The scanned capture."""

    # -- devices -------------------------------------------------------------------------------------------------------

    @property
    def description(self) -> "Description | None":
        """The VM description after the stream's end, or None where there is none.

        Raises:
            XbrleError: what stands there is not a description.
        """
        from .container.devices import description

        return description(self.stream)

    @property
    def devices(self) -> "Mapping[int, Device]":
        """The entry of the VM description that each FULL section has, by the section's index."""
        from .container.devices import entries

        return entries(self.stream)

    def fields(self, section: Section) -> "Field | None":
        """What a section that is not RAM or disk holds, field by field, or None where nothing describes it.

        Raises:
            XbrleError: the VM description is damaged.
        """
        from .container.devices import fields

        data = self.stream.data[section.data : section.end].tobytes()
        return fields(section, data, self.devices.get(section.index))

    # -- memory --------------------------------------------------------------------------------------------------------

    @property
    def space(self) -> "PageSpace":
        """Where each block's pages lie among all pages."""
        from .memory.moments import space_of

        return space_of(self.stream)

    @property
    def doubts(self) -> "list[Doubt]":
        """Where on which pages are in doubt at the receiver: what the gaps and refuted records leave unknown."""
        from .memory.moments import doubts_of
        from .memory.replay import View

        return doubts_of(self.stream, View.RECEIVER)

    def lapses(self, view: "View | str | None" = None) -> "Lapses":
        """Which pages are unknown again, and since when: those discarded and, after salvage, those in doubt."""
        from .memory.moments import lapses_of
        from .memory.replay import View

        return lapses_of(self.stream, _one_of(View, view, View.RECEIVER))

    @property
    def discards(self) -> "Lapses":
        """The pages that a postcopy destination was told to forget, and when."""
        from .memory.moments import discards_of

        return discards_of(self.stream)

    def memory(
        self, at: int | None = None, view: "View | str | None" = None, trust: "Trust | str | None" = None
    ) -> "Image":
        """Memory just after record ``at``, by default at the end.

        By default it is what the stream gives. After salvage `Image.recovered` tells which of it stands, and
        `Image.sum_holds` for which of that a checksum holds. With the trust ``"checksum"`` all else is unknown.

        Examples:
            >>> image = capture.memory(at=2000)
            >>> image["pc.ram"].shape, image["pc.ram"].dtype
            ((2048, 4096), dtype('uint8'))
            >>> image["pc.ram"][0x20B, :4].tobytes().hex()
            '226ab046'
            >>> int(image.known_in("pc.ram").sum())
            8175616

        Raises:
            XbrleError: there is no such record.
        """
        from .memory.confirm import Trust
        from .memory.moments import memory_of
        from .memory.replay import View

        return memory_of(self.stream, at, _one_of(View, view, View.RECEIVER), _one_of(Trust, trust, Trust.STREAM))

    def confirmed(self, image: "Image", at: int | None = None, view: "View | str | None" = None) -> "NDArray[np.bool_]":
        """Which pages of ``image``, which is memory at that moment in that view, have the sum that a delta states.

        (pages,) bool. A byte sum is weak: see `Image.sum_holds`.

        Raises:
            XbrleError: there is no such record.
        """
        from .memory.moments import confirmed_of
        from .memory.replay import View

        return confirmed_of(self.stream, image, at, _one_of(View, view, View.RECEIVER))

    def page(self, block: str | bytes, address: int) -> "PageHistory":
        """The story of the page that holds ``address`` of ``block``, without replaying the rest.

        Examples:
            >>> story = capture.page("pc.ram", 0x20B000)
            >>> len(story)
            14

        Raises:
            XbrleError: there is no such block, or no such page in it.
        """
        from .memory.moments import page_of

        return page_of(self.stream, block, index(address))

    def verify(self, destination: "Mapping[bytes, int] | Mapping[str, int] | None" = None) -> "Iterator[Finding]":
        """What is wrong with this capture, and what is merely odd, in the order of offsets.

        ``destination`` says which blocks, by name and length in bytes, the destination has.

        Examples:
            >>> [finding.rule for finding in capture.verify()]
            ['device-tail-unchecked']

        Raises:
            XbrleError: this is not a migration stream.
            OSError: there are very many, and the temporary folder cannot take them.
        """
        from .verify.checker import verify

        return verify(self.stream, None if destination is None else {_name(b): n for b, n in destination.items()})

    def verdict(self) -> "Verdict":
        """The conclusion from all findings: what is wrong, why, since when, and who loads it. Raises as `verify`.

        Examples:
            >>> capture.verdict().status.value
            'no-fault'
        """
        from .verify.checker import found_in
        from .verify.verdict import verdict

        return verdict(found_in(self.stream))

    # -- records -------------------------------------------------------------------------------------------------------

    def record(self, number: int) -> "Record":
        """Record ``number``, as commands number the records that carry a page, from 1.

        Examples:
            >>> record = capture.record(2424)
            >>> record.kind.name, record.name, hex(record.address), record.length
            ('XBRLE', b'pc.ram', '0x20b000', 630)

        Raises:
            XbrleError: there is no such record.
        """
        records = self.stream.records
        return records[records.row(number)]

    def chosen(self, filter: str) -> "NDArray[np.int64]":
        """The rows of the record table that a filter selects, rising, (n,) int64.

        Examples:
            >>> len(capture.chosen("kind:xbrle pass:2-3"))
            42

        Raises:
            FilterError: the filter cannot be read.
        """
        import numpy as np

        from .table.windows import slices

        wanted, findings = self._filter(filter)
        masks = (wanted.mask(window, findings) for window in slices(self.stream.records))
        return np.flatnonzero(np.concatenate([np.empty(0, bool), *masks]))

    def _filter(self, text: str) -> "tuple[Filter, Sequence[Located]]":
        """A filter, and the findings that it looks at."""
        from . import filters
        from .verify.rules import RULES

        wanted = filters.parse(text, RULES)
        return wanted, tuple(self.verify()) if "finding" in wanted.fields else ()

    def stats(self, filter: str = "") -> "Stats":
        """What the records that a filter selects add up to, by default all: by kind, block and pass.

        Examples:
            >>> capture.stats().total.deltas
            228

        Raises:
            FilterError: the filter cannot be read.
        """
        from .analysis.stats import collect_table

        return collect_table(self.stream, *(self._filter(filter) if filter else ()))

    def top(self, filter: str = "", order: str = "resends") -> "Top":
        """Which pages were sent most often: a row a page, as columns. A filter selects the records that count.

        ``order`` is resends, bytes, resent, passes, delta or address.

        Examples:
            >>> top = capture.top()
            >>> hex(top.address[0]), int(top.resends[0])
            ('0x287000', 19)

        Raises:
            XbrleError: there is no such order, or the filter cannot be read.
        """
        from .analysis.top import Order, top

        wanted, findings = self._filter(filter)
        return top(self.stream, wanted, findings).sorted(_one_of(Order, order, Order.RESENDS))

    # -- contents ------------------------------------------------------------------------------------------------------

    def grep(
        self,
        pattern: str | bytes,
        form: str = "text",
        ignore_case: bool = False,
        at: int | None = None,
        view: "View | str | None" = None,
        block: str | bytes | None = None,
        everything: bool = False,
    ) -> "Iterator[Hit]":
        """Where a pattern is in memory just after record ``at``, by default at the end, in the order of addresses.

        ``pattern`` is bytes, or text in a ``form``: text, bytes (in hexadecimal), regex or utf-16. With ``everything``
        all versions of all pages are searched, and each `Hit` says when it appeared and vanished.

        Examples:
            >>> for hit in capture.grep("mig", ignore_case=True):
            ...     print(capture.blocks[hit.block].name, hex(hit.offset), hit.content)
            b'pc.ram' 0x38091d b'MIg'

        Raises:
            XbrleError: the pattern cannot be read, or there is no such record or block.
        """
        from .analysis.lives import search_all
        from .analysis.pattern import Form, Pattern
        from .analysis.search import search
        from .memory.replay import View

        if isinstance(pattern, bytes):
            wanted = Pattern.of_bytes(pattern)
        elif not isinstance(pattern, str):
            raise TypeError(f"a pattern is text, in a form such as 'regex', or bytes, not {type(pattern).__name__}")
        else:
            wanted = _one_of(Form, form, Form.TEXT).pattern(pattern, ignore_case)
        chosen = None if block is None else self.space.index(block)
        find = search_all if everything else search
        return find(self.stream, wanted, at, _one_of(View, view, View.RECEIVER), chosen)

    def blame(
        self, address: str | int, length: int, at: int | None = None, view: "View | str | None" = None
    ) -> "Iterator[Span]":
        """Which record last wrote each of ``length`` bytes from an address on, as memory is just after record ``at``.

        Examples:
            >>> for span in capture.blame("pc.ram:0x20b000", 8):
            ...     print(hex(span.offset), span.length, span.record)
            0x20b000 5 525
            0x20b005 1 2424
            0x20b006 1 525
            0x20b007 1 2099

        Raises:
            XbrleError: the bytes are not all in one block, or there is no such record.
        """
        from .analysis.blame import blame
        from .memory.replay import View

        where = address if isinstance(address, str) else f"{index(address):#x}"
        block, offset = self.space.locate(where)
        return blame(self.stream, block, offset, length, at, _one_of(View, view, View.RECEIVER))

    def diff(
        self,
        other: "Questions | None" = None,
        at: int | None = None,
        to: int | None = None,
        view: "View | str | None" = None,
        to_view: "View | str | None" = None,
        block: str | bytes | None = None,
    ) -> "Iterator[BlockDifference | Difference | DeviceDifference]":
        """What differs between this capture's memory after record ``at`` and another's after record ``to``.

        Without ``other``, both are this capture's. ``to_view`` is as ``view`` by default. Blocks that only one has come
        first, then bytes by block and offset. Devices of the two captures are compared where no record and no block is
        given. A byte that is unknown in only one is a difference.

        Examples:
            >>> for difference in capture.diff(at=2000, to=2010):
            ...     print(difference.block, hex(difference.offset), difference.length, difference.change.value)
            b'pc.ram' 0x7cc000 40960 gained

        Raises:
            XbrleError: there is no such record or block.
        """
        from .analysis.devices import device_differences
        from .analysis.diff import blocks_differ, differences
        from .memory.replay import View

        second = self if other is None else other
        if not isinstance(second, Questions):
            raise TypeError(f"the other is a capture, as xbrletools.open gives it, not {type(second).__name__}")
        only = None if block is None else self.space.blocks[self.space.index(block)].name
        first_view = _one_of(View, view, View.RECEIVER)
        images = self.memory(at, first_view), second.memory(to, _one_of(View, to_view, first_view))
        yield from blocks_differ(*images, only)
        yield from differences(*images, only)
        if other is not None and (at, to, block) == (None, None, None):
            yield from device_differences(self.stream, second.stream)

    # -- what it means, and what becomes of it -------------------------------------------------------------------------

    def sender(self, cache_bytes: int | None = None) -> "Fingerprint":
        """What the stream tells of the program that wrote it: dialect, build, policy and page cache.

        ``cache_bytes`` is the size of the cache to test, by default one that fits best.

        Examples:
            >>> capture.sender().build
            'debug'

        Raises:
            XbrleError: the cache is too small to be one.
        """
        from .sender.fingerprint import fingerprint

        return fingerprint(self.stream, cache_bytes)

    def extract(
        self,
        out: str | PathLike[str],
        form: str = "raw",
        at: int | None = None,
        view: "View | str | None" = None,
        block: str | bytes | None = None,
        force: bool = False,
    ) -> dict[str, Any]:
        """Write memory to files, and give what the manifest or the sidecar says: what is unknown, unplaced, incomplete.

        ``form`` raw writes a folder with a file for each RAM block and manifest.json, or with ``block`` one file.
        ``elf`` and ``lime`` write guest-physical memory. Beside a file lies ``OUT.json``. An existing file is replaced
        only with ``force``. A capture is never replaced.

        Examples:
            >>> manifest = capture.extract(folder / "posted")
            >>> [block["name"] for block in manifest["blocks"]], manifest["complete"]
            (['pc.ram', 'pc.bios', 'pc.rom'], True)

        Raises:
            XbrleError: it cannot be written, or there is no such record, block or form.
        """
        from .export.extract import write_memory
        from .export.formats import FORMATS
        from .export.sidecar import Sidecar
        from .memory.replay import View

        if form not in FORMATS:
            raise XbrleError(f"form {form!r} does not exist: use {', '.join(FORMATS)}")
        about = Sidecar(_one_of(View, view, View.RECEIVER), at)
        chosen = None if block is None else self.space.index(block)
        return write_memory(self.stream, Path(out), form, about, chosen, force)
