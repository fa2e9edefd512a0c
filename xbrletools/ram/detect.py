"""How a capture's RAM sections read, found by trial: the dialect and the byte order of its deltas, and the page size.

Facts: formats/README.md, "Dialects". A wrong layout fails at the first delta: its payload does not come to one page, or
no record stands where it ends. The evidence is kept.
"""

import struct
from dataclasses import dataclass, replace

import numpy as np

from ..codec import checksum, deltas
from ..formats import block as block_format
from ..formats import qevm, ram, xbrle
from ..formats.dialects import DIALECTS, Checksum, Dialect, Encoding
from ..formats.ram import Flag, Kind
from ..model import Evidence, Reading
from .record import ADDRESS_BITS, INT, WORD, Ending, Extent, extent

TRIAL_DELTAS = 16  # as many as any two dialects need to differ, with room for damaged ones
TRIAL_RECORDS = 8  # of one page size
PAGE_SIZES = (4096, 1024, 2048, 8192, 16384, 32768, 65536)  # the likeliest first
ORDERS = ("little", "big")
_PAGES = (Kind.DUP, Kind.PAGE)
_MEM_SIZE = int(Flag.MEM_SIZE)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of reading some deltas as one dialect in one byte order.

    ``offsets`` are those of the delta records that were met, ``decoded`` how many of them came to exactly one page with
    their header in order. ``failure`` says why the walk stopped early, if it did. ``ends``: nothing is there after the
    last delta.
    """

    dialect: Dialect
    endian: str
    offsets: tuple[int, ...]
    decoded: int
    flags: frozenset[int]
    checksums: tuple[int, ...]
    failure: str | None
    ends: bool = False


def candidates(reading: Reading) -> tuple[Dialect, ...]:
    """The dialects that a RAM section of this version can be in, given whether its PAGEs carry a sum."""
    version, page_sum = reading.version, reading.page_sum
    return tuple(
        d for d in DIALECTS.values() if d.ram_version == version and (page_sum is None or d.page_sum == page_sum)
    )


def likely(reading: Reading, footers: bool = False) -> tuple[str, ...]:
    """The names of the dialects that deltas which nobody has seen would be in: those of the sender's time.

    CONFIGURATION and section ``footers`` are both of QEMU 2.4 and later.
    Deltas that are there are tried in all, since a stream may have been written anew in another.
    """
    return tuple(d.name for d in candidates(reading) if d.configured or not (reading.configured or footers))


def pages_carry_sums(view: memoryview, at: int, page_size: int) -> bool:
    """Whether the v3 PAGE whose word stands at ``at`` has its byte sum before its data, as in nov09 and m115dbg."""
    start = at + WORD
    stop = start + INT + page_size
    if stop > len(view):
        return False
    (claimed,) = struct.unpack_from(">I", view, start)
    data = np.frombuffer(view[start + INT : stop], np.uint8).reshape(1, page_size)
    if checksum.byte_sum(data)[0] != claimed:
        return False
    # The sum of a blanked page is right at either place: then a record after a page without a sum decides.
    unsummed = start + page_size
    (following,) = struct.unpack_from(">Q", view, unsummed) if not claimed and unsummed + WORD <= len(view) else (0,)
    return ram.kind_of(following & (page_size - 1), ram.VERSION_FLAT) is Kind.NOOP


def detect_page_size(view: memoryview, at: int, stop: int, reading: Reading) -> int:
    """The likeliest page size with which the next records from ``view[at]`` on read, up to `TRIAL_RECORDS` of them.

    Where they read with none, it is the one with which most do, and that of ``reading`` if not even the first does. The
    bytes end at ``stop``.
    """
    page_sums = (False, True) if reading.page_sum is None else (False,)
    counts: dict[int, int] = {}
    for size in PAGE_SIZES:
        for page_sum in page_sums:
            count, good = _records_from(view, at, stop, replace(reading, page_size=size, page_sum=page_sum))
            if good:
                return size
            counts[size] = max(count, counts.get(size, 0))
    most = max(counts, key=lambda size: counts[size])
    return most if counts[most] else reading.page_size


def _records_from(view: memoryview, at: int, stop: int, reading: Reading) -> tuple[int, bool]:
    """How many records from ``view[at]`` on are pages and dup pages, and whether what follows them can be a record."""
    known = int(ram.known_flags(reading.version))
    for count in range(TRIAL_RECORDS):
        if at + WORD > stop:
            return count, True
        found = extent(view, at, reading, stop)
        if found.flags & ~known or found.address >> ADDRESS_BITS or found.kind is Kind.NOOP:
            return count, False
        if found.ending is Ending.CUT:  # the first page shows only that the size is not too large
            return count, count > 0 or reading.page_size == PAGE_SIZES[0]
        if found.kind not in _PAGES:
            return count, True
        if found.ending is Ending.UNREAD:  # a block list and a page in one record
            return count, False
        at = found.end
    return TRIAL_RECORDS, True


class _Walk:
    """The records that trials of different dialects meet. Those that are not deltas read the same in each of them."""

    def __init__(self, view: memoryview, base: int, reading: Reading) -> None:
        self.view = view
        self.base = base
        self.reading = reading
        self._known = int(ram.known_flags(reading.version))
        self._past: dict[tuple[int, bool], int] = {}

    def past_pages(self, at: int, reading: Reading) -> int:
        """The offset of the first record from ``at`` on that is neither a page nor a dup page."""
        key = at, bool(reading.page_sum)
        past = self._past.get(key)
        if past is None:
            past = at
            while past + WORD <= len(self.view):
                found = extent(self.view, past, reading)
                if found.kind not in _PAGES or not self.is_possible(found):
                    break
                past = found.end
            self._past[key] = past
        return past

    def is_possible(self, found: Extent) -> bool:
        """Whether a sender can have written this record's word behind the block list."""
        flags = found.flags
        lists = flags & _MEM_SIZE
        return not (flags & ~self._known or found.address >> ADDRESS_BITS or found.kind is Kind.NOOP or lists)


def _try(walk: _Walk, at: int, dialect: Dialect, endian: str) -> Trial:
    """Walk records from ``at`` reading deltas as ``dialect``, until `TRIAL_DELTAS` were met or a record is impossible.

    It runs over a few records, once a capture.
    """
    view, base = walk.view, walk.base
    reading = replace(walk.reading, dialect=dialect, endian=endian, page_sum=dialect.page_sum)
    offsets: list[int] = []
    whole: list[Extent] = []
    met: list[Extent] = []
    failure: str | None = None
    while len(offsets) < TRIAL_DELTAS:
        at = walk.past_pages(at, reading)
        if at + WORD > len(view):
            break
        found = extent(view, at, reading)
        if not walk.is_possible(found):
            # Literal runs may stop anywhere, so a delta of them that no record follows has shown nothing.
            if whole and at == whole[-1].end and dialect.encoding is Encoding.ZRUN:
                del whole[-1]
            failure = f"no record can stand at offset {base + at:#x}"
            break
        if found.kind is Kind.EOS:
            following = _past_eos(view, found.end)
            if following is None:
                break
            at = following
        elif found.kind not in ram.DELTA_KINDS or found.ending is Ending.CUT:
            break
        else:
            offsets.append(base + at)
            if found.ending is Ending.TOO_LONG:
                failure = f"the delta at offset {base + at:#x} claims {found.length} bytes"
                break
            met.append(found)
            whole.append(found)
            at = found.end
    return Trial(
        dialect,
        endian,
        tuple(offsets),
        _decoded(view, whole, dialect, reading.page_size),
        frozenset(d.header_flags for d in met),
        tuple(d.checksum for d in met if d.checksum is not None),
        failure,
        bool(whole) and at == whole[-1].end,
    )


def _decoded(view: memoryview, found: list[Extent], dialect: Dialect, page_size: int) -> int:
    """How many of these deltas come to exactly one page and have their header in order."""
    if not found:
        return 0
    payload, length = (
        np.array(values, np.int64) for values in zip(*((d.payload, d.length) for d in found), strict=True)
    )
    blank = np.zeros((len(found), page_size), np.uint8)
    verdicts = deltas.apply(dialect.encoding, np.frombuffer(view, np.uint8), payload, length, blank)
    in_order = np.array([bool(d.header_flags & xbrle.HeaderFlag.XBRLE) for d in found])
    return int(np.count_nonzero((verdicts == 0) & in_order))


def _past_eos(view: memoryview, at: int) -> int | None:
    """Where the records of the next RAM section begin, past a footer and an idle block section, or None."""
    part = 1 + qevm.SectionPart.sizeof()
    idle = struct.pack(">Q", block_format.Flag.EOS)
    while at + part <= len(view):
        if view[at] == qevm.SectionType.FOOTER:
            at += qevm.Footer.sizeof()
        elif view[at] in (qevm.SectionType.PART, qevm.SectionType.END):
            at += part
            if bytes(view[at : at + len(idle)]) != idle:
                return at
            at += len(idle)
        else:
            return None
    return None


def _page_sum_range(trial: Trial, page_size: int, complement: bool) -> bool:
    """Whether every checksum lies where a byte sum, or the complement of one, of a page can lie."""
    most = 0xFF * page_size
    return all((~c & 0xFFFFFFFF if complement else c) <= most for c in trial.checksums)


def _fits(trial: Trial, page_size: int) -> bool:
    """Whether the flags and checksums of a trial that decoded are such as this dialect writes."""
    kind = trial.dialect.checksum
    debug = xbrle.HeaderFlag.XBRLE | xbrle.HeaderFlag.CHECKSUM
    if kind is Checksum.FLAGGED:
        return debug in trial.flags or not any(trial.checksums)
    if trial.dialect.always_sums:
        return debug not in trial.flags and any(trial.checksums) and _page_sum_range(trial, page_size, False)
    if kind is Checksum.SUM:
        return _page_sum_range(trial, page_size, False)
    if kind is Checksum.COMPLEMENT:
        return _page_sum_range(trial, page_size, True)
    return True


def detect(
    view: memoryview,
    at: int,
    base: int,
    reading: Reading,
    dialect: Dialect | None,
    endian: str | None,
    footers: bool = False,
) -> Evidence:
    """The dialect and byte order of a capture, from the deltas that begin at ``view[at]``.

    ``base`` is the capture's offset of ``view[0]``. A forced ``dialect`` or ``endian`` leaves less to be found out.
    ``footers``: sections before it have footers, which leaves the dialects of a stream with CONFIGURATION.
    """
    walk = _Walk(view, base, reading)
    tried: list[Trial] = []
    for d in (dialect,) if dialect else candidates(reading):
        orders = ORDERS if d.host_endian else ("big",)
        if endian is not None and d.host_endian:
            orders = (endian,)
        tried += [_try(walk, at, d, order) for order in orders]
    cut = any(not t.offsets and t.failure is None for t in tried)
    if cut and dialect is None:  # one delta of literal runs at the very end is less than a longer one that is cut
        counted = [t for t in tried if not (t.dialect.encoding is Encoding.ZRUN and t.ends and len(t.offsets) == 1)]
    else:
        counted = tried
    best = max(t.decoded for t in counted)
    if not best and dialect is None:
        names = likely(reading, footers)
        reasons = tuple(
            f"as {t.dialect.name} ({t.endian}-endian): {t.failure or 'no delta comes to one page'}"
            for t in tried
            if not names or t.dialect.name in names
        )
        if not (reading.configured or footers) or len(names) != 1:
            return Evidence(None, None, names, base + at, cut=cut, reasons=reasons)
        what = "CONFIGURATION" if reading.configured else "section footers"
        only = (f"a stream with {what} is in no dialect but {names[0]}", *reasons)
        return Evidence(names[0], "big", names, base + at, reasons=only)
    good = [t for t in counted if t.decoded == best]
    fitting = [t for t in good if _fits(t, reading.page_size)] or good
    chosen = max(fitting, key=lambda t: (_least_failed(t), not t.dialect.last_choice))
    others = tuple(dict.fromkeys(t.dialect.name for t in fitting if _least_failed(t) == _least_failed(chosen)))
    return Evidence(
        chosen.dialect.name,
        chosen.endian,
        others,
        base + at,
        dialect is not None,
        reasons=tuple(_reasons(chosen, tried, reading)),
        decoded=best,
    )


def _least_failed(trial: Trial) -> bool:
    return trial.failure is None


def _reasons(chosen: Trial, tried: list[Trial], reading: Reading) -> list[str]:
    d = chosen.dialect
    reasons = [
        f"{chosen.decoded} of the first {len(chosen.offsets)} deltas, from offset {chosen.offsets[0]:#x}, come to "
        f"exactly one page"
        if chosen.offsets
        else "no delta could be read"
    ]
    if d.host_endian:
        reasons.append(f"length and checksum are {chosen.endian}-endian")
    if chosen.checksums:
        if d.checksum is Checksum.FLAGGED and not any(chosen.checksums):
            reasons.append("header flags 1 and checksums of 0: a build without checksums")
        elif d.checksum is Checksum.FLAGGED:
            reasons.append("header flags 3: a debug build, with checksums")
        else:
            reasons.append(f"checksums lie where the {d.checksum.value} can lie")
    if reading.page_sum:
        reasons.append("every PAGE carries its byte sum, which holds for the first")
    if d.encoding is Encoding.ZRUN:
        reasons.append("payloads are ULEB128 runs with literal bytes")
    failed = sorted({t.dialect.name for t in tried} - {d.name} - {t.dialect.name for t in tried if t.decoded})
    if failed:
        reasons.append("no delta reads as " + ", ".join(failed))
    return reasons
