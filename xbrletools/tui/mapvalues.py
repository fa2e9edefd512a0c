"""What a block's map shows of each page: the numbers that cells are drawn from, and what the numbers mean."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..arrays import reserve
from ..codec import uniform
from ..formats.ram import Kind
from ..memory.blockstate import NEVER, BlockRecords, Playhead, State
from ..memory.lapses import Lapses
from ..memory.mapped import zeros
from ..memory.moments import space_of
from ..model import Stream
from .palette import STEPS, Palette
from .waterfall import Waterfall, waterfall
from .widgets.heat import Scale

_ONCE = 1  # sent once, and that as one repeated byte
_FIRST = 2  # the lowest number of the ramp
_UNKNOWN = _FIRST + STEPS
_SHADES = "·:░▒▓"  # for the ramp where there is no colour
_KINDS = (Kind.DUP, Kind.PAGE, Kind.COMPRESSED, Kind.XBRLE, Kind.XBZRLE)  # from the one that tells least
_ZERO_WORDS = "zero by the bitmap, not in the file"
_TOGETHER = 1 << 18  # bytes of pages that are counted at once: other threads wait for that
_BITS = 8.0  # entropy of a byte at most


class Shows(Enum):
    """What a cell tells of its pages."""

    VERSIONS = "versions"
    KIND = "kind"
    AGE = "age"
    ENTROPY = "entropy"
    PASSES = "passes"  # versions, and below the map what each pass sent

    @property
    def cells(self) -> "Shows":
        """What the cells of the map show."""
        return Shows.VERSIONS if self is Shows.PASSES else self


@dataclass(frozen=True, slots=True, eq=False)
class BlockMap:
    """What a map is drawn from: a block's records and, after each, the `State` and the numbers to show, (n + 1,) uint8.

    ``block`` is its index and ``page_size`` the page size in bytes. ``rows`` is how many rows of the table were there
    when it was made, ``suspects`` how many of them were suspect. ``lapses`` say when pages are unknown again, and
    ``first`` is the block's first page among all. ``most`` is how often a page was sent at most, in the whole stream.
    ``ends`` are the last rows of the passes over the block, (passes,) int64.
    ``zero`` (pages,) bool are the pages that are zero by the bitmap of a mapped-ram file, None where there is none.
    ``open`` is whether such a file lacks RAM's END: pages without a record are unknown then.
    """

    block: int
    page_size: int
    rows: int
    suspects: int
    records: BlockRecords
    states: NDArray[np.uint8]
    lapses: Lapses
    first: int
    versions: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    most: int
    fall: Waterfall
    ends: NDArray[np.int64]
    zero: NDArray[np.bool_] | None = None
    open: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A map just after a ``row`` of the table, at which ``head`` stands."""

    what: BlockMap
    head: Playhead
    row: int

    @property
    def versions(self) -> NDArray[np.int32]:
        """How often each page was sent by now, (pages,)."""
        return np.asarray(self.what.records.versions[self.head.last])

    @property
    def states(self) -> NDArray[np.uint8]:
        """The `State` of each page, (pages,)."""
        return np.asarray(self.what.states[self.head.last])

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Whether a page was sent, or may have been, and yet cannot be recovered, (pages,)."""
        what, lapses = self.what, self.what.lapses.upto(self.row)
        sure = lapses.sure_rows(np.arange(what.records.pages) + what.first) if len(lapses) else None
        lost = (self.head.last != NEVER) & ~self.head.based(sure)
        return np.asarray(lost | (self.head.last == NEVER) if what.open else lost)


def levels(counts: NDArray[np.int64] | NDArray[np.int32], most: int) -> NDArray[np.uint8]:
    """The step of the ramp for each count from 1 on, by its logarithm. ``most`` has the last."""
    share = np.log2(np.maximum(counts, 1)) / np.log2(max(2, most))
    return np.asarray(np.minimum(STEPS - 1, np.floor(share * (STEPS - 1) + 0.5)), np.uint8)


def block_map(
    records: BlockRecords,
    block: int,
    page_size: int,
    rows: int,
    suspect: NDArray[np.int64],
    lapses: Lapses,
    first: int,
    passes: NDArray[np.uint32],
    zero: NDArray[np.bool_] | None = None,
    is_open: bool = False,
) -> BlockMap:
    """Work out what the map of a block shows after each record. ``suspect`` (k,) int64 are the rows called wrong.

    ``passes`` (n,) are the passes of the records.
    """
    states = records.states(suspect)
    most = int(records.versions.max())
    by_count = np.zeros(most + 1, np.uint8)
    by_count[1:] = _FIRST + levels(np.arange(1, most + 1), most)
    versions = by_count[records.versions]
    versions[(records.versions == 1) & (records.kind == Kind.DUP)] = _ONCE
    by_kind = np.zeros(256, np.uint8)
    for number, kind in enumerate(_KINDS, 1):
        by_kind[kind] = number
    kinds = by_kind[records.kind]
    lost = (records.full == NEVER) & (records.versions > 0)
    for values, trouble in ((versions, _UNKNOWN), (kinds, len(_KINDS) + 1)):
        values[lost] = trouble
        values[states == State.HEALED] = trouble + 1
        values[states == State.WRONG] = trouble + 2
    return BlockMap(
        block,
        page_size,
        rows,
        len(suspect),
        records,
        states,
        lapses,
        first,
        versions,
        kinds,
        most,
        waterfall(records, passes, states),
        records.rows[np.flatnonzero(np.diff(passes, append=passes[-1:] + 1))],
        zero,
        is_open,
    )


def is_open(stream: Stream, block: int) -> bool:
    """Whether a block's bitmap may be unfinished: the block is of a mapped-ram file without RAM's END."""
    return not stream.facts.ram_ended and any(m.block == block and m.bitmap is not None for m in stream.facts.mapped)


def zero_pages(stream: Stream, block: int) -> NDArray[np.bool_] | None:
    """Which pages of a block are zero by the bitmap of a mapped-ram file, (pages,) bool. None where none is."""
    pages = space_of(stream).slice(block)
    out: NDArray[np.bool_] | None = None
    for first, clear in zeros(stream, space_of(stream)):
        if pages.start <= first < pages.stop and clear.any():
            out = reserve((pages.stop - pages.start,), bool) if out is None else out
            out[first - pages.start : first - pages.start + len(clear)] = clear
    return out


def values(shows: Shows, moment: Moment, bits: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """The number of each page, (pages,). ``bits`` (pages,) is the entropy of a byte of each page."""
    what, head = moment.what, moment.head
    last = head.last
    if shows is Shows.VERSIONS:
        out = what.versions[last]
    elif shows is Shows.KIND:
        out = what.kinds[last]
    else:
        if shows is Shows.AGE:
            share = np.asarray((last + 1) / max(1, head.at), np.float64)
        else:
            share = np.zeros(len(last)) if bits is None else np.asarray(bits / _BITS, np.float64)
        step = np.minimum(STEPS - 1, (share * STEPS).astype(np.int64))
        out = np.where(last == NEVER, 0, _FIRST + step).astype(np.uint8)
        trouble = np.array([0, _UNKNOWN + 1, _UNKNOWN + 2], np.uint8)[what.states[last]]
        out = np.maximum(out, trouble)
    if len(what.lapses) or what.open:
        out[moment.unknown] = (len(_KINDS) + 1) if shows is Shows.KIND else _UNKNOWN
    if what.zero is not None:
        out[what.zero & (last == NEVER)] = _ONCE
    return np.asarray(out, np.uint8)


def scale(shows: Shows, colours: Palette, zero: bool = False) -> Scale:
    """What the numbers of `values` look like.

    With ``zero``, some pages are zero by a bitmap. Such a capture does not have dup pages.
    """
    trouble = (colours.unknown, colours.healed, colours.wrong)
    if shows is Shows.KIND:
        kinds = (colours.dup, colours.page, colours.page, colours.delta, colours.delta)
        kind_words = ("not sent", "dup", "page", "compressed", "xbrle", "xbzrle", "unknown", "healed", "wrong")
        if zero:
            kinds, kind_words = (colours.once, *kinds[1:]), (kind_words[0], _ZERO_WORDS, *kind_words[2:])
        return Scale((colours.never, *kinds, *trouble), ".0PCXZ?h!" if zero else ".DPCXZ?h!", kind_words)
    shades = "".join(_SHADES[min(len(_SHADES) - 1, i * len(_SHADES) // STEPS)] for i in range(STEPS))
    has_once = shows is Shows.VERSIONS or zero  # else no page shows it, and the legend does not name it
    once_word = _ZERO_WORDS if zero else "sent once, one repeated byte" if has_once else "not sent"
    words = ("not sent", once_word, *[""] * STEPS, "unknown", "healed", "wrong")
    once = colours.once if has_once else colours.never
    return Scale((colours.never, once, *colours.ramp, *trouble), f" .{shades}?h!", words)


def entropy(pages: NDArray[np.uint8], wanted: Callable[[], bool] = lambda: True) -> NDArray[np.float32]:
    """The entropy of each page's bytes in bits a byte, (n,). ``pages`` is (n, page size) uint8.

    It ends early, with zeros for the pages that are left, where it is not ``wanted`` any longer.
    """
    count, size = pages.shape
    out = np.zeros(count, np.float32)
    step = max(1, _TOGETHER // size)
    for start in range(0, count, step):
        if not wanted():
            break
        part = pages[start : start + step]
        mixed = np.flatnonzero(uniform.fills(part) == uniform.NOT_UNIFORM)  # that of one repeated byte is 0
        places = part[mixed].astype(np.int64) + (np.arange(len(mixed)) * 256)[:, None]
        share = np.bincount(places.ravel(), minlength=len(mixed) * 256).reshape(-1, 256) / size
        out[start + mixed] = -(share * np.log2(np.where(share, share, 1))).sum(1)
    return out
