"""The story of one page: every record that touched it, and its bytes after each, without replaying the stream.

The page is replayed alone, by `replay`, in an image that holds nothing else. What is unknown here is unknown
everywhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..codec import checksum, xbzrle
from ..codec.verdict import Verdict
from ..errors import XbrleError
from ..formats.dialects import Encoding
from ..formats.ram import DELTA_KINDS, Kind
from ..model import Block, Stream
from ..table.claims import stated_sum
from ..table.columns import Columns
from ..table.payloads import Payloads
from ..text import counted
from .image import Image, PageSpace
from .lapses import NONE, Lapses
from .mapped import is_zero
from .replay import Layer, View, apply, forgets_dups, replay

_NO_ROW = np.iinfo(np.int64).max  # after every row


def never(view: View) -> Lapses:
    """The lapses where no page ever lapses, in any view."""
    return NONE


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A page at one moment: ``data`` (page_size,) uint8, 0 where it is unknown, and ``recovered`` (page_size,) bool.

    Recovered are the bytes that the page's records give, as in `Image.recovered_bytes`. `Capture.confirmed` tells
    whether the page has the sum that a delta states.
    """

    data: NDArray[np.uint8]
    recovered: NDArray[np.bool_]

    def differs(self, other: "Content") -> NDArray[np.bool_]:
        """Which bytes are not the same in both, (page_size,) bool. One that only one of them has is a difference."""
        differs: NDArray[np.bool_] = self.recovered & (self.data != other.data)
        differs |= self.recovered != other.recovered
        return differs


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A page just after one of its records.

    ``row`` is the record's place in the table, ``offset`` where its word stands in the capture, ``length`` its payload
    in bytes. ``base`` is the record that left the bytes which a delta was applied to. It is None for other kinds, and
    where no record did. ``verdict`` tells how a delta decoded, None for other kinds. ``changed`` counts the bytes that
    differ from the version before, those that were unknown in it among them. ``stated`` is the byte sum that the record
    states, None where it states none. ``computed`` is the page's own, None where a byte is unknown. ``other_base``: the
    delta was made against another page, since a run of it begins or ends with what the page has there already.
    """

    record: int
    row: int
    kind: Kind
    pass_: int
    stage: int
    offset: int
    length: int
    base: int | None
    verdict: Verdict | None
    content: Content
    changed: int
    stated: int | None
    computed: int | None
    other_base: bool = False

    @property
    def sum_holds(self) -> bool | None:
        """Whether the stated sum is the page's, or None where either is missing."""
        return None if self.stated is None or self.computed is None else self.stated == self.computed


class PageHistory:
    """The page that holds ``address`` of ``block``. ``address`` is then where it begins, ``block`` the block's index.

    ``lapses`` gives the lapses of the whole space in a view. From a lapse on the page is unknown until it is given
    anew.

    Raises:
        XbrleError: there is no such block, or no such page in it.
    """

    def __init__(
        self,
        stream: Stream,
        space: PageSpace,
        block: str | bytes,
        address: int,
        lapses: Callable[[View], Lapses] = never,
    ) -> None:
        self.block = space.index(block)
        self.page_size = space.page_size
        place = address // self.page_size
        if not 0 <= place < space.pages[self.block]:
            raise XbrleError(f"{address:#x} is beyond this block, which has {int(space.pages[self.block])} pages")
        self.address = place * self.page_size
        self.rows: NDArray[np.int64] = stream.records.rows_of(self.block, self.address)
        self._stream = stream
        columns = stream.records.columns.take(self.rows)
        nowhere = np.zeros(len(self.rows), np.uint64)
        self._columns = replace(columns, address=nowhere, block=nowhere.astype(np.uint16))
        self._space = PageSpace([Block(b"", self.page_size)], self.page_size)
        self._page = int(space.first[self.block]) + place
        self._lapses = lapses
        #: Whether it is a page of zeros of a mapped-ram file, for which there is no record.
        self.is_zero = is_zero(stream, space, self._page)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<PageHistory of page {self.address:#x} of block {self.block}: {counted(len(self), 'record')}>"

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The number of each record that touched the page, (n,) int64."""
        return self._stream.records.numbers_of(self.rows)

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """What each record that touched the page is, (n,) uint8 of `Kind`."""
        return self._columns.kind

    @property
    def forgets_dups(self) -> bool:
        """Whether the sender's deltas are not against dup pages: then the two views can differ."""
        return forgets_dups(self._stream.dialect)

    def at(self, record: int | None = None, view: View = View.RECEIVER) -> Content:
        """The page just after ``record``, by default at the end. The record need not have touched the page."""
        if record is None or record > self._stream.records.last_number:
            row = _NO_ROW
        else:
            row_of = self._stream.records.row_of(record)
            row = -1 if row_of is None else row_of
        return self._content_of(slice(0, int(np.searchsorted(self.rows, row, side="right"))), row, view)

    def lapses(self, view: View = View.RECEIVER) -> NDArray[np.int64]:
        """The number of the first record after each moment from which on the page was unknown, (n,) int64, ascending.

        Where none follows, it is one more than the last record's.
        """
        since = distinct(self._lapses(view).of_page(self._page).since)
        return distinct(self._stream.records.numbers.before(since) + 1)

    def _payloads(self, columns: Columns) -> Payloads:
        """Some of the page's records, as they decode."""
        return Payloads(columns, self._stream.data, self._stream.dialect)

    def _content_of(self, places: slice, row: int, view: View, bases: NDArray[np.bool_] | None = None) -> Content:
        """The page as the records at ``places`` leave it, with what lapsed until ``row`` of the table.

        ``bases``, (records of the page,) bool, says which records count, where not all do.
        """
        columns, rows = self._columns.take(places), self.rows[places]
        if bases is not None:
            columns, rows = columns.take(bases[places]), rows[bases[places]]
        image = self._begun()
        lapses = self._lapses(view).of_page(self._page).upto(row).among(rows)
        replay(image, self._payloads(columns), view, lapses)
        return _content(image)

    def _begun(self) -> Image:
        """The page before its first record."""
        image = Image(self._space)
        if self.is_zero:
            image.set_zero(np.zeros(1, np.int64))
        return image

    def versions(self, view: View = View.RECEIVER) -> Iterator[Version]:
        """Every version of the page, in the order of its records."""
        forgets = forgets_dups(self._stream.dialect, view)
        image, shown_dup = self._begun(), Image(self._space)
        before = _content(image)
        base: int | None = None
        passes = self._stream.records.passes_of(self.rows).tolist()
        stages = self._stream.records.sections.stages(self._stream.records.sections.of(self._columns.offset)).tolist()
        lapses = self._lapses(view).of_page(self._page).among(self.rows)
        void = lapses.void(np.zeros(len(self.rows), np.int64)).tolist()
        lapsed = set(lapses.since.tolist())
        only = np.zeros(1, np.int64)
        for i, record in enumerate(self.numbers.tolist()):
            columns = self._columns.take(slice(i, i + 1))
            kind = Kind(int(columns.kind[0]))
            is_dup = kind is Kind.DUP
            layers: list[Layer] = []
            if i in lapsed:
                image.set_unknown(only)
                before, base = _content(image), None
            target = (
                shown_dup if forgets and is_dup else image
            )  # the sender forgot it: it is not a base for what follows
            other_base = image.recovered[0] and self._has_other_base(columns, image)
            apply(target, self._payloads(columns), layers.append)
            if void[i]:
                target.set_unknown(only)
            now = _content(target)
            yield Version(
                record=record,
                row=int(self.rows[i]),
                kind=kind,
                pass_=passes[i],
                stage=stages[i],
                offset=int(columns.offset[0]),
                length=int(columns.length[0]),
                base=base if kind in DELTA_KINDS else None,
                verdict=Verdict(int(layers[0].verdicts[0])) if len(layers[0].verdicts) else None,  # no dialect, none
                content=now,
                changed=int(np.count_nonzero(now.differs(before))),
                stated=stated_sum(columns, self._stream.dialect),
                computed=int(checksum.byte_sum(target.pages)[0]) if target.recovered[0] else None,
                other_base=bool(other_base),
            )
            before = now
            if target is image:
                base = record

    def _has_other_base(self, columns: Columns, image: Image) -> bool:
        """Whether a record is a delta whose runs show that its sender had another page than ``image``.

        Zeros over a page of zeros do not count: pages may have been blanked.
        """
        dialect, only = self._stream.dialect, np.zeros(1, np.int64)
        if dialect is None or dialect.encoding is not Encoding.ZRUN or Kind(int(columns.kind[0])) not in DELTA_KINDS:
            return False
        payloads = self._payloads(columns)
        return bool(xbzrle.idle(payloads.data, *payloads.spans(only), image.pages, only, blanked=True)[0] >= 0)

    def delta(self, record: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """What the delta of ``record`` says, (page_size,) uint8, and which bytes it says: old XOR new or, in XBZRLE,
        new.

        Raises:
            XbrleError: this record did not touch the page, is not a delta, or does not decode.
        """
        place = self._place(record)
        columns = self._columns.take(slice(place, place + 1))
        if Kind(int(columns.kind[0])) not in DELTA_KINDS or self._stream.dialect is None:
            raise XbrleError(f"record {record} is not a delta", int(columns.offset[0]))
        payloads, only = self._payloads(columns), np.zeros(1, np.int64)
        page = np.zeros((1, self.page_size), np.uint8)
        verdict = Verdict(int(payloads.apply(only, page)[0]))
        if verdict is not Verdict.OK:
            raise XbrleError(
                f"the delta of record {record} does not decode: {verdict.name.lower()}", int(columns.offset[0])
            )
        return page[0], payloads.changed(only, self.page_size)[0]

    def before(self, record: int, view: View = View.RECEIVER) -> Content:
        """What ``record``, a delta that touched the page, was applied to.

        Raises:
            XbrleError: this record did not touch the page.
        """
        place = self._place(record)
        bases = self._columns.kind != Kind.DUP if forgets_dups(self._stream.dialect, view) else None
        return self._content_of(slice(0, place), int(self.rows[place]), view, bases)

    def _place(self, record: int) -> int:
        places = np.flatnonzero(self.numbers == record)
        if not len(places):
            raise XbrleError(f"record {record} did not touch this page")
        return int(places[0])


def _content(image: Image) -> Content:
    """The one page of an image, copied."""
    return Content(image.pages[0].copy(), image.recovered_bytes(0).copy())
