"""Pages blanked in a capture, for sharing it: contents go, the structure stays to the last byte.

Full pages become zeros, dup pages a fill of 0. Deltas keep their runs over zeros. Sums are those of the blanked page.

A run of XBZRLE that writes zeros over zeros looks as if its base were wrong. A page of zeros in full tells a reader
that pages were blanked. Where there is none, runs of XBZRLE count instead: each byte that they write becomes one more
than the byte before it, and 1 after 255.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from construct import ConstructError
from numpy.typing import NDArray

from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats.dialects import Checksum, Dialect, Encoding
from ..formats.ram import DELTA_KINDS, Kind, Word
from ..formats.xbrle import Pair
from ..formats.xbzrle import Runs
from ..memory.moments import space_of
from ..model import Stream
from ..table.claims import field_of
from ..text import address, span


def pages_to_blank(stream: Stream, choices: Sequence[str]) -> list[slice]:
    """The ranges of pages of the capture's space that ``block=NAME`` and ``page=RANGE`` mean.

    A range is an address, START-END with END's page included, or START+LENGTH. ``BLOCK:`` before it names the block.
    Without that it is the first block.

    Raises:
        XbrleError: a choice is neither of the two, or the block or page does not exist.
    """
    space = space_of(stream)
    blank: list[slice] = []
    for choice in choices:
        what, _, value = choice.partition("=")
        if what == "block":
            blank.append(space.slice(space.index(value)))
        elif what == "page":
            blank.append(_range(stream, value))
        else:
            raise XbrleError(f"{choice!r} is neither block=NAME nor page=RANGE")
    return blank


def _range(stream: Stream, text: str) -> slice:
    """The pages of the space that a range means."""
    start_text, length = span(text) if set("+-") & set(text.rpartition(":")[2]) else (text, 1)
    block, start = address(start_text)
    end = start + length - 1
    if not stream.blocks:
        raise XbrleError(f"{text!r} is not a range of pages: no RAM block is known")
    index = space_of(stream).index(block) if block is not None else 0
    pages, page_size = space_of(stream).slice(index), stream.page_size
    if not 0 <= start <= end or end // page_size >= pages.stop - pages.start:
        raise XbrleError(f"{text!r} is not a range of pages in the block")
    return slice(pages.start + start // page_size, pages.start + end // page_size + 1)


def redacted(stream: Stream, blank: Sequence[slice]) -> Iterator[memoryview]:
    """Give the capture's bytes with the pages of these ranges blanked, in pieces.

    Raises:
        XbrleError: a record of such a page cannot be blanked and keep its size.
    """
    columns = stream.records.columns
    if stream.channels:
        raise XbrleError("a capture with multifd channels cannot be blanked: its pages lie in several files")
    if stream.facts.mapped_ram:
        raise XbrleError("a mapped-ram file cannot be blanked: its pages are not records")
    pages = space_of(stream).pages_of(columns)
    chosen = np.zeros(len(pages), bool)
    for part in blank:
        chosen |= (pages >= part.start) & (pages < part.stop)
    blank_rows = np.flatnonzero(chosen)
    data, at, word = stream.data, stream.facts.start, Word.sizeof()
    counts = None if (columns.kind[blank_rows] == Kind.PAGE).any() else _Counts(stream.page_size)
    for row, page in zip(blank_rows.tolist(), pages[blank_rows].tolist(), strict=True):
        start = int(columns.offset[row]) + word
        stop = int(columns.offset[row]) + int(columns.head[row]) + int(columns.length[row])
        piece = data[start:stop].copy()
        _blank(stream, row, piece, int(columns.head[row]) - word, None if counts is None else counts.of(page))
        if counts is not None and columns.kind[row] == Kind.DUP:
            counts.forget(page)
        yield data.data[at:start]
        yield piece.data
        at = stop
    yield data.data[at:]


class _Counts:
    """The bytes of blanked pages that came only as dup pages and deltas, by the page's number in the space."""

    def __init__(self, page_size: int) -> None:
        self._pages: dict[int, NDArray[np.uint8]] = {}
        self._size = page_size

    def of(self, page: int) -> NDArray[np.uint8]:
        """A page's bytes as they are now, (page_size,) uint8, which the next delta changes."""
        return self._pages.setdefault(page, np.zeros(self._size, np.uint8))

    def forget(self, page: int) -> None:
        """A dup page came, which is blanked to zeros."""
        self._pages.pop(page, None)


def _blank(stream: Stream, row: int, piece: NDArray[np.uint8], head: int, page: NDArray[np.uint8] | None) -> None:
    """Blank one record in place. ``piece`` is what follows its word. Its payload begins at ``head``.

    ``page`` (page_size,) uint8 are the page's bytes before it, in which runs of XBZRLE count. None: they write zeros.
    """
    columns, dialect = stream.records.columns, stream.dialect
    kind = columns.kind[row]
    payload = piece[head:]
    if kind == Kind.PAGE and stream.reading.page_sum:
        piece[head - 4 : head] = 0
    if kind in (Kind.PAGE, Kind.DUP):
        payload[:] = 0
    elif kind in DELTA_KINDS and dialect is not None and dialect.encoding is Encoding.RLE:
        payload[1 :: Pair.sizeof()] = 0
        _blank_sum(dialect, stream.reading.endian, piece[:head])
    elif kind in DELTA_KINDS and dialect is not None and dialect.encoding is Encoding.ZRUN:
        _blank_literals(payload, page, int(columns.offset[row]))
    else:
        raise XbrleError(
            "a record of this kind cannot be blanked and keep its size; first write full pages with --policy none",
            int(columns.offset[row]),
        )


def _blank_sum(dialect: Dialect, endian: str, head: NDArray[np.uint8]) -> None:
    """Make the checksum in a delta's header, if any, that of a page of zeros."""
    if dialect.checksum is Checksum.NONE:
        return
    layout = dtype_of(dialect.header(endian))
    header = head[len(head) - layout.itemsize :].view(layout)
    header["checksum"] = field_of(np.zeros(1, np.uint32), dialect)


def _blank_literals(payload: NDArray[np.uint8], page: NDArray[np.uint8] | None, offset: int) -> None:
    """Make the new bytes of an XBZRLE payload zeros, or one more than ``page`` has there. Its runs stay."""
    try:
        runs = Runs.parse(payload.tobytes())
    except ConstructError:
        runs = []
    blanked, at = [], 0
    for run in runs:
        at += run.zrun
        data = np.zeros(len(run.data), np.uint8)
        if page is not None and at + len(data) <= len(page):
            data = page[at : at + len(data)] % 255 + 1
            page[at : at + len(data)] = data
        blanked.append({"zrun": run.zrun, "data": data.tobytes()})
        at += len(data)
    built = Runs.build(blanked)
    if len(built) != len(payload):
        raise XbrleError("the runs of this delta cannot be read, so it cannot be blanked", offset)
    payload[:] = np.frombuffer(built, np.uint8)
