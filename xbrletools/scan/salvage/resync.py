"""Where to read on after damage: the first offset at which a chain of records begins that can be believed."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...container.boundary import by_header
from ...formats import block as block_format
from ...formats import qevm, ram, xbrle
from ...formats.dialects import DIALECTS
from ...formats.qevm import SectionType
from ...formats.ram import Flag, Kind
from ...model import Reading
from ...ram.detect import detect
from ...ram.record import WORD, Ending, Extent, comes_to_a_page, extent, is_zlib
from ...source.sources import MappedSource
from ..notes import Notes
from ..ram_reader import LOOK_AHEAD
from .skeptic import Skeptic, is_allowed, is_name, longest, page_flags, ram_ids, ram_owner

ENOUGH = 10  # evidence at which a chain of records is not looked at further
BELIEVED = 6  # evidence that a resumption needs
CHAIN_RECORDS = 64
SEARCH = 1 << 20  # offsets that are sifted at a time, at most
SEARCH_FIRST = 1 << 12  # offsets that are sifted first: most damage is short, and there can be much
SECTIONS = 4  # headers, footers and idle block sections between the records of two RAM sections, at most
_PART = 1 + qevm.SectionPart.sizeof()
_HEAD = 64  # bytes in which a device section shows its name
#: How much a record speaks for the chain that it is in, by its kind.
_WEIGHTS = {Kind.DUP: 1, Kind.PAGE: 2, Kind.COMPRESSED: 2, Kind.XBRLE: 4, Kind.XBZRLE: 4}
_NAMED, _SECTION, _NEXT_PAGE, _NEW_SWEEP = 3, 3, 1, -2


@dataclass(frozen=True, slots=True)
class Chain:
    """What came of reading records strictly from one offset: how much speaks for them, and how they read."""

    score: int
    records: int
    reading: Reading


class Resync:
    """The search for a resumption in the bytes of ``source``, by what ``notes`` and ``judge`` know of the capture."""

    def __init__(self, source: MappedSource, notes: Notes, judge: Skeptic) -> None:
        self._data: NDArray[np.uint8] = source.data
        self._view = source.view
        self._notes = notes
        self._judge = judge

    def find(self, start: int) -> int | None:
        """The first offset from ``start`` on at which a believable chain of records begins.

        Where no RAM section was read before, the notes then have the version that the chain is of.
        """
        notes = self._notes
        known = notes.ram_version is not None
        versions = (notes.reading.version,) if known else (ram.VERSION_NAMED, ram.VERSION_FLAT)
        if notes.forced is not None:
            versions = (notes.forced.ram_version,)
        best: int | None = None
        for version in versions:
            if not known:
                page_sum = notes.forced.page_sum if notes.forced is not None else False
                notes.reading = replace(notes.reading, version=version, page_sum=page_sum)
            for at in self._candidates(start, best):
                if self.chain(at).score >= BELIEVED:
                    best, chosen = at, version
                    break
        if best is not None and not known:
            notes.reading = replace(notes.reading, version=chosen)
        return best

    def _candidates(self, start: int, before: int | None) -> Iterator[int]:
        """The offsets at which a word stands that a sender can have written."""
        data, reading = self._data, self._notes.reading
        stop = len(data) - WORD if before is None else min(before, len(data) - WORD)
        size = reading.page_size
        table = np.zeros(size, bool)
        table[[f for f in page_flags(reading.version, bool(self._notes.footers)) if f < size]] = True
        limit = np.uint64(longest(self._notes))
        first, piece = start, SEARCH_FIRST
        while first <= stop:
            count = min(piece, stop + 1 - first)
            words = np.lib.stride_tricks.as_strided(data[first:], (count, WORD), (1, 1)).copy().view(">u8")[:, 0]
            flags = words & np.uint64(size - 1)
            fits = (table[flags.astype(np.int64)] & (words < limit)) | (words == np.uint64(Flag.EOS))
            yield from (first + np.flatnonzero(fits)).tolist()
            first, piece = first + count, min(4 * piece, SEARCH)

    # -- a chain of records ------------------------------------------------------------------------------------------

    def chain(self, at: int) -> Chain:
        """Read records strictly from ``at``, and weigh what speaks for them."""
        reading, view = self._notes.reading, self._view
        score = records = 0
        last = -1  # the address of the record before, in the same block; -1 where none can be compared
        while records < CHAIN_RECORDS and score < ENOUGH and at + WORD <= len(view):
            found = extent(view, at, reading)
            if not is_allowed(found.address | found.flags, reading, self._notes):
                break
            if found.kind in (Kind.FLUSH, Kind.HOOK):
                at = found.end
                continue
            if found.kind is Kind.EOS:
                following, framed = self._past_eos(found.end)
                if following is None:
                    score += framed
                    break
                score += _SECTION
                last, at = -1, following
                records += 1
                continue
            order = self._order(found, last, records, reading)
            if order is None:
                break
            score += order
            if found.name is not None:
                last = -1
            if found.kind in ram.DELTA_KINDS and reading.dialect is None:
                reading = self._detected(at, reading) or reading
                found = extent(view, at, reading)
            if not self._reads(found, reading):
                break
            score += _WEIGHTS[found.kind]
            if found.ending is Ending.CUT:
                break
            if reading.version != ram.VERSION_FLAT or last < 0 or found.address > last:
                last = found.address
            records += 1
            at = found.end
        return Chain(score, records, reading)

    def _order(self, found: Extent, last: int, records: int, reading: Reading) -> int | None:
        """What the address and name of a record say, after one at address ``last``, or None where they do not fit."""
        notes = self._notes
        if found.address >= longest(notes):
            return None
        if found.name is not None:
            fits = found.name in notes.block_index if notes.has_list else is_name(found.name)
            return _NAMED if fits else None
        score = 0
        if last >= 0 and found.address <= last:
            if found.address == last or records < 3:
                return None
            score += _NEW_SWEEP  # few do
        return score + (_NEXT_PAGE if last >= 0 and found.address == last + reading.page_size else 0)

    def _reads(self, found: Extent, reading: Reading) -> bool:
        """Whether a record carries a page, as far as its payload tells."""
        if found.kind is Kind.COMPRESSED:
            return is_zlib(self._view, found, reading.page_size, len(self._view))
        return self._is_delta(found, reading) if found.kind in ram.DELTA_KINDS else found.kind in (Kind.DUP, Kind.PAGE)

    def _detected(self, at: int, reading: Reading) -> Reading | None:
        """The reading with the dialect that the delta at ``at`` shows."""
        view = self._view[at : at + LOOK_AHEAD]
        evidence = detect(view, 0, at, reading, self._notes.forced, self._notes.forced_endian)
        if evidence.name is None:
            return None
        return replace(reading, dialect=DIALECTS[evidence.name], endian=evidence.endian or "little", evidence=evidence)

    def _is_delta(self, found: Extent, reading: Reading) -> bool:
        """Whether a delta's header is in order and its payload comes to one page."""
        return (
            reading.dialect is not None
            and found.ending is Ending.WHOLE
            and found.length > 0
            and bool(found.header_flags & xbrle.HeaderFlag.XBRLE)
            and comes_to_a_page(self._data, found.payload, found.end, reading.dialect, reading.page_size)
        )

    def first_end(self, at: int) -> int | None:
        """The offset after the believable record at ``at``, if that record carries a page."""
        reading = self._notes.reading
        found = extent(self._view, at, reading)
        if found.kind in (Kind.DUP, Kind.PAGE):
            return found.end
        if found.kind in ram.DELTA_KINDS:
            return found.end if self._is_delta(found, reading) else None
        return at + WORD if found.kind is Kind.COMPRESSED else None

    # -- sections ----------------------------------------------------------------------------------------------------

    def _past_eos(self, at: int) -> tuple[int | None, int]:
        """Where the records of the next RAM section begin, or None, and how much speaks for what stands there."""
        view = self._view
        ids = ram_ids(self._notes)
        for _ in range(SECTIONS):
            if at >= len(view):
                break
            kind = view[at]
            if kind == SectionType.FOOTER and self._notes.footers is not False:
                at += qevm.Footer.sizeof()
                continue
            if kind not in (SectionType.PART, SectionType.END) or at + _PART + WORD > len(view):
                head = bytes(view[at : at + _HEAD])
                full = kind == SectionType.FULL and head[1:3] == b"\0\0" and len(head) > 6 and is_name(head[6:8])
                return None, BELIEVED if full else 0
            number = int.from_bytes(view[at + 1 : at + _PART])
            at += _PART
            if struct.unpack_from(">Q", view, at)[0] == block_format.Flag.EOS:
                at += WORD
                continue
            if number in ids if ids else self._judge.is_ram_id(number):
                return at, 0
            return None, 0
        return None, 0

    def header_before(self, at: int, start: int) -> int | None:
        """The offset of the RAM section header that stands right before the record at ``at``, if one does."""
        notes = self._notes
        head = at - _PART
        if head < start or self._view[head] not in (SectionType.PART, SectionType.END):
            return None
        number = int.from_bytes(self._view[head + 1 : at])
        owner = notes.owners.get(number)
        if owner is not None:
            return head if owner.idstr == ram.IDSTR else None
        if ram_ids(notes) or not self._judge.is_ram_id(number):
            return None
        notes.owners[number] = ram_owner(notes, number)
        return head

    def find_tail(self, start: int) -> int | None:
        """Where the device sections begin, when no more RAM follows."""
        ids = ram_ids(self._notes)
        found = by_header(self._view[start:], max(ids, default=0), min(ids, default=0))
        return None if found is None else start + found
