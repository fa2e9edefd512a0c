"""Records to memory: whole tables at a time, in layers.

Pages are independent of each other. So records are applied by their rank within their own page: first every page's
first record, then every page's second, and so on. That keeps each page's order, and a layer is a few array operations.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import Values
from ..codec import compressed, native
from ..codec.verdict import Verdict
from ..formats.dialects import Dialect, Encoding
from ..formats.ram import Kind
from ..progress import along
from ..table.columns import Columns
from ..table.kinds import IS_DELTA, IS_FULL
from ..table.payloads import Payloads
from . import bypage
from .image import Image, PageSpace, State
from .lapses import NONE, Lapses

CHUNK = 1 << 18  # records that are sorted into layers at once
GATHER = 1 << 17  # bytes of pages that are copied at once where they don't follow each other
SCRATCH = 1 << 20  # bytes of unknown pages whose deltas are decoded at once
RUN = 8  # pages in a row that are worth a strided copy


class View(Enum):
    """Whose memory: what the destination ended up with, or what the source really held."""

    RECEIVER = "receiver"
    SENDER = "sender"


def forgets_dups(dialect: Dialect | None, view: View = View.SENDER) -> bool:
    """Whether a dup page is not a base in this view: the sender did not cache it.

    The sender's next delta is then against what it sent before the dup page.
    """
    return view is View.SENDER and dialect is not None and not dialect.caches_dup


class Layer(NamedTuple):
    """Records that were just applied, each to a page of its own.

    ``places`` (k,) int64 are their places in the columns, ``pages`` (k,) theirs, ``kind`` (k,) their kinds.
    ``deltas`` (d,) says which of the k are deltas. For those, ``verdicts`` (d,) uint8 tells how they decoded and
    ``based`` (d,) bool whether their page was wholly recovered before. ``compressed`` (c,) says which of the k came as
    zlib streams, ``inflated`` (c,) uint8 how these decoded.
    """

    places: NDArray[np.int64]
    pages: NDArray[np.int64]
    kind: NDArray[np.uint8]
    deltas: NDArray[np.int64]
    verdicts: NDArray[np.uint8]
    based: NDArray[np.bool_]
    compressed: NDArray[np.int64]
    inflated: NDArray[np.uint8]


#: Called after each layer, while the image is as that layer left it.
Observer = Callable[[Layer], None]
#: Called before each layer with the places of its records and their pages, (k,) int64 each.
Foresight = Callable[[NDArray[np.int64], NDArray[np.int64]], None]


def _order(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order that sorts ``keys``, which are 0 or more. Equal ones stay as they stand."""
    if np.count_nonzero(keys[1:] < keys[:-1]) < len(keys) // 8:
        return np.argsort(keys, kind="stable")
    bits = len(keys).bit_length()  # keys with their places: a sort that need not be stable is faster
    packed = keys << bits
    packed |= np.arange(len(keys))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def ranks(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier entries of ``rows`` are equal to each, (n,) int64."""
    order = _order(rows)
    ordered = rows[order]
    first = np.empty(len(rows), bool)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    rank = np.arange(len(rows))
    rank -= np.repeat(starts, np.diff(starts, append=len(rows)))
    out = np.empty(len(rows), np.int64)
    out[order] = rank
    return out


def replay(image: Image, records: Payloads, view: View = View.RECEIVER, lapses: Lapses = NONE) -> None:
    """Bring ``image`` to what it is after ``records``, starting from what it holds.

    Only what the end depends on is decoded: for each page its last full record and the deltas after it. In the sender's
    view a dup page that the sender did not cache is not a base. ``lapses`` are those that came before the end of
    ``records``, by places in these.
    """
    lapses.forget(image)
    if not len(lapses) and not forgets_dups(records.dialect, view) and bypage.fits(records):
        _apply_by_page(image, records, end_only=True)
        return
    for keep in _needed(image.space, records, view, lapses):
        apply(image, records.take(keep))


def needed(space: PageSpace, records: Payloads, view: View = View.RECEIVER, lapses: Lapses = NONE) -> NDArray[np.int64]:
    """The places in ``records`` of those that memory after them depends on, in order, (m,) int64.

    For each page these are its last full record and the deltas after it. In the sender's view the dup pages are left
    out that the page's next delta was not against. What came before a page lapsed does not count. The rows of
    ``lapses`` are places in ``records``.
    """
    return np.concatenate([np.empty(0, np.int64), *_needed(space, records, view, lapses)])


def _needed(space: PageSpace, records: Payloads, view: View, lapses: Lapses) -> Iterator[NDArray[np.int64]]:
    """What `needed` gives, from a chunk of ``records`` at a time. What is remembered is kept by page, not by record."""
    columns, forgets = records.columns, forgets_dups(records.dialect, view)
    carriers = space.places(columns)
    whole = Values(carriers, np.int64)  # of each page the place, plus one, of its last record that gives it anew
    last = Values(carriers, np.int64)  # of its last record
    ends_in_dup = Values(carriers, bool)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(columns), CHUNK)]

    def carried(chunk: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        pages = space.pages_of(columns.take(chunk))
        places = np.flatnonzero(pages >= 0)
        pages, places = pages[places], places + chunk.start
        if len(lapses):
            counts = places >= lapses.sure_rows(pages)
            pages, places = pages[counts], places[counts]
        return pages, places

    pages, places = np.empty(0, np.int64), np.empty(0, np.int64)
    for chunk in along("looking for the records that count", chunks):
        pages, places = carried(chunk)
        counts = _is_whole(columns, places, space.page_size)
        if forgets:
            dup = columns.kind[places] == Kind.DUP
            counts &= ~dup
            last[pages], ends_in_dup[pages] = places + 1, dup
        whole[pages[counts]] = places[counts] + 1
    for chunk in along("replaying", chunks):
        if len(chunks) > 1:
            pages, places = carried(chunk)
        keep = places + 1 >= whole[pages]
        if forgets:  # a dup page counts where nothing comes after it
            dup = columns.kind[places] == Kind.DUP
            keep &= np.where(dup | ends_in_dup[pages], places + 1 == last[pages], True)
        yield places[keep]


def _is_whole(columns: Columns, keep: NDArray[np.int64], page_size: int) -> NDArray[np.bool_]:
    """Whether each record gives its page anew, whatever the page held: PAGE, dup and the like, and not cut short."""
    kind = columns.kind[keep]
    whole: NDArray[np.bool_] = IS_FULL[kind] & ((kind != Kind.PAGE) | (columns.length[keep] == page_size))
    return whole


def apply(image: Image, records: Payloads, observe: Observer | None = None, foresee: Foresight | None = None) -> None:
    """Apply every one of ``records`` to ``image``, each page's in their order.

    ``observe`` sees each layer after it was applied, ``foresee`` the places and pages of its records before. Where
    neither is given, the loops in C take what they can page by page.
    """
    if observe is None and foresee is None and bypage.fits(records):
        _apply_by_page(image, records)
    else:
        _apply_in_layers(image, records, observe, foresee)


def _apply_by_page(image: Image, records: Payloads, end_only: bool = False) -> None:
    """Apply records with the loops in C, and in layers what those leave."""
    for start in range(0, len(records), bypage.CHUNK):
        chunk = records.take(slice(start, start + bypage.CHUNK))
        rest = bypage.fill(image, chunk, end_only)
        for first in range(0, len(rest), CHUNK):
            _apply_in_layers(image, chunk.take(rest[first : first + CHUNK]))


def _apply_in_layers(
    image: Image, records: Payloads, observe: Observer | None = None, foresee: Foresight | None = None
) -> None:
    pages = image.space.pages_of(records.columns)
    places = np.flatnonzero(pages >= 0)
    rank = ranks(pages[places])
    if not len(places):
        return
    order = places[np.argsort(rank.astype(np.min_scalar_type(int(rank.max()))), kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rank))]).tolist()
    for start, end in pairwise(bounds):
        layer = order[start:end]
        if foresee is not None:
            foresee(layer, pages[layer])
        done = _apply_layer(image, records, layer, pages[layer])
        if observe is not None:
            observe(done)


def _apply_layer(image: Image, records: Payloads, layer: NDArray[np.int64], pages: NDArray[np.int64]) -> Layer:
    """Apply the records at places ``layer`` (k,), which touch distinct ``pages`` (k,)."""
    columns, data = records.columns, records.data
    kind = columns.kind[layer]
    given = np.flatnonzero(kind == Kind.PAGE)
    whole = columns.length[layer[given]] == image.space.page_size
    full = given[whole]
    if len(full):
        _put_pages(image.pages, data, columns.payload(layer[full]), pages[full])
        image.set_recovered(pages[full])
    dups = np.flatnonzero(kind == Kind.DUP)
    if len(dups):
        _put_fills(image, data[columns.payload(layer[dups])], pages[dups])
    for i in given[~whole].tolist():  # a cut page: at most one in a capture
        at, length = records.spans(layer[i : i + 1])
        _put_part(image, data[at[0] : at[0] + length[0]], int(pages[i]))
    packed = np.flatnonzero(kind == Kind.COMPRESSED)
    inflated = np.zeros(0, np.uint8)
    if len(packed):
        inflated = compressed.apply(data, *records.spans(layer[packed]), image.pages, pages[packed])
        image.set_recovered(pages[packed[inflated == Verdict.OK]])
        image.set_unknown(pages[packed[inflated != Verdict.OK]])
    of_delta = np.flatnonzero(IS_DELTA[kind])
    based = image.state[pages[of_delta]] == State.RECOVERED
    if records.dialect is not None:
        verdicts = _put_deltas(image, records, layer[of_delta], pages[of_delta], based)
    else:  # no delta showed one, and so these are cut
        verdicts = np.full(len(of_delta), Verdict.CUT, np.uint8)
        image.set_unknown(pages[of_delta])
    return Layer(layer, pages, kind, of_delta, verdicts, based, packed, inflated)


def _put_pages(pages: NDArray[np.uint8], data: NDArray[np.uint8], at: NDArray[np.int64], to: NDArray[np.int64]) -> None:
    """Copy whole pages from ``data``: equally spaced ones in one strided copy, others a batch at a time."""
    size = pages.shape[1]
    if native.loops is not None:
        native.apply(native.loops.copy_pages, (0, 0), data, at, np.full(len(at), size), pages, to)
        return
    if len(at) == 1:
        pages[to[0]] = data[at[0] : at[0] + size]
        return
    step = np.diff(at)
    joined = np.diff(to) == 1
    joined[1:] &= step[1:] == step[:-1]
    starts = np.concatenate([[0], np.flatnonzero(~joined) + 1])
    ends = np.append(starts[1:], len(at))
    long = ends - starts >= RUN
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        stride = int(at[start + 1] - at[start])
        first = int(to[start])
        pages[first : first + end - start] = np.ndarray(
            (end - start, size), np.uint8, data.data, at[start], (stride, 1)
        )
    rest = np.flatnonzero(np.repeat(~long, ends - starts))
    if not len(rest):
        return
    at, to = at[rest], to[rest]
    source = np.lib.stride_tricks.as_strided(data[:size].view(f"V{size}"), (len(data) - size + 1,), (1,))
    target = pages.reshape(-1).view(f"V{size}")
    batch = max(1, GATHER // size)
    for start in range(0, len(at), batch):
        target[to[start : start + batch]] = source[at[start : start + batch]]


def _put_fills(image: Image, fills: NDArray[np.uint8], pages: NDArray[np.int64]) -> None:
    """Fill pages with one byte each. A page that nothing was written to is zero already."""
    rest = image.touched[pages] | (fills != 0)
    image.set_zero(pages[~rest])
    pages, fills = pages[rest], fills[rest]
    zero = fills == 0
    image.pages[pages[zero]] = 0
    image.pages[pages[~zero]] = fills[~zero, None]
    image.set_recovered(pages)


def _put_part(image: Image, part: NDArray[np.uint8], page: int) -> None:
    """Copy the first bytes of a page, whose record is cut after them."""
    image.pages[page, : len(part)] = part
    recovered = np.zeros(image.space.page_size, bool)
    recovered[: len(part)] = True
    image.set_partly(page, recovered)


def _put_deltas(
    image: Image, records: Payloads, rows: NDArray[np.int64], pages: NDArray[np.int64], based: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Apply the deltas at ``rows`` of ``records`` and return their verdicts.

    One that does not decode leaves its page unknown. One over unknown bytes recovers only those that it states itself.
    """
    verdicts = np.zeros(len(pages), np.uint8)
    over = np.flatnonzero(based)
    if len(over):
        image.touched[pages[over]] = True
        verdicts[over] = records.apply(rows[over], image.pages, pages[over])
    baseless = np.flatnonzero(~based)
    step = max(1, SCRATCH // image.space.page_size)
    for start in range(0, len(baseless), step):
        batch = baseless[start : start + step]
        verdicts[batch] = _put_over_unknown(image, records, rows[batch], pages[batch])
    bad = pages[verdicts != Verdict.OK]
    if len(bad):
        image.set_unknown(bad)
    return verdicts


def _put_over_unknown(
    image: Image, records: Payloads, rows: NDArray[np.int64], pages: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Apply deltas to pages that are not wholly recovered, and return their verdicts.

    Old XOR new over an unknown byte gives an unknown byte. A literal is what it is, whatever the byte was.
    """
    scratch = image.pages[pages]
    verdicts = records.apply(rows, scratch)
    stated = None
    if records.dialect is not None and records.dialect.encoding is Encoding.ZRUN:
        stated = records.changed(rows, image.space.page_size)
    for i in np.flatnonzero((verdicts == Verdict.OK) & (image.state[pages] == State.PARTLY)).tolist():
        page = int(pages[i])  # a page recovered in part has a mask of its own, so these go one by one
        image.pages[page] = np.where(image.recovered_bytes(page), scratch[i], 0)
    if stated is not None:
        for i in np.flatnonzero((verdicts == Verdict.OK) & stated.any(axis=1)).tolist():
            image.pages[pages[i], stated[i]] = scratch[i, stated[i]]
            image.set_partly(int(pages[i]), stated[i])
    return verdicts
