"""Salvage: read on after damage, at the next place where records can be believed, and say what was skipped.

A strict scan: what an undamaged sender never writes ends a run of records, and the search for the next run looks for
chains of records that agree in their flags, addresses, block names, spacing and payloads. What is claimed, and what
cannot be seen: docs/salvage.md.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..codec import deltas
from ..codec.layout import dtype_of
from ..codec.verdict import Verdict
from ..container.boundary import by_header
from ..errors import XbrleError
from ..formats import block as block_format
from ..formats import qevm, ram
from ..formats.dialects import DIALECTS, Dialect
from ..formats.qevm import SectionType
from ..formats.ram import Flag, Kind
from ..model import ANY_BLOCK, Block, Certainty, Facts, Gap, Problem, Reading
from ..ram.detect import detect
from ..ram.walk import WORD
from ..source.sources import MappedSource
from ..table.columns import NO_BLOCK, Columns, join
from ..table.kinds import IS_PAGE
from ..table.sections import Boundary, Owner
from .strict import LOOK_AHEAD, Scanner, _Stop

ENOUGH = 10  # evidence at which a chain of records is not looked at further
BELIEVED = 6  # evidence that a resumption needs
CHAIN_RECORDS = 64
SEARCH = 1 << 20  # offsets that are sifted at a time
ADDRESS_MAX = 1 << 40  # more than any guest has, where the blocks are not known
SECTION_ID_MAX = 1 << 12
FRONTIER_BREAKS = 8  # more jumps of the first sweep than damage makes: this sender does not walk that way
NAMELESS = b"(unnamed)"
BUSY_PAGES = 8  # a run of records that names no block is told by this many pages, if
BUSY_MOST, BUSY_LEAST = 0.8, 0.2  # this share of them was sent again before in one block, and no more in any other
RECORD_MAX = 1 << 13  # bytes: more than a record of a 4 KiB page


@dataclass(frozen=True, slots=True)
class _Chain:
    """What came of reading records strictly from one offset: how much speaks for them, and where the first ends."""

    score: int
    records: int
    reading: Reading


class Salvager(Scanner):
    """A scan that reads on after damage. ``gaps`` is complete when it has been iterated.

    ``blocks`` are the RAM blocks where the user knows them, as (name, length in bytes).

    Raises:
        XbrleError: nothing in the source can be believed.
    """

    def __init__(
        self,
        source: MappedSource,
        dialect: str | None = None,
        endian: str | None = None,
        page_size: int | None = None,
        blocks: Sequence[tuple[bytes, int]] = (),
    ) -> None:
        super().__init__(source, dialect, endian, page_size)
        self.gaps: list[Gap] = []
        self.lost_names = 0
        self.has_start = False
        self._data_array: NDArray[np.uint8] = source.data
        self._all = source.view
        self._ended = False
        self._no_more_ram = False
        self._given = bool(blocks)
        self._declare([Block(name, length) for name, length in blocks], 0)

    @property
    def facts(self) -> Facts:
        """What was found by now, with what was skipped."""
        facts = super().facts
        return replace(facts, gaps=tuple(self.gaps), has_start=self.has_start, lost_names=self.lost_names)

    # -- strictness: what an undamaged sender never writes ----------------------------------------------------------

    def _header(self, at: int, kind: SectionType) -> tuple[Owner, int]:
        known = dict(self._by_id)
        owner, data = super()._header(at, kind)
        if kind in (SectionType.START, SectionType.FULL):
            believable = (
                len(owner.idstr) > 1 and all(0x20 <= c < 0x7F for c in owner.idstr) and owner.version_id < 1 << 16
            )
            again = kind is SectionType.START and owner.section_id in known
            early = kind is SectionType.FULL and not (self._ended or self._no_more_ram or self.footers)
            if not believable or again or early:
                self._by_id = known
                raise _Stop("bad-section-type", at, "no section of this kind can begin here")
        return owner, data

    def _guess(self, at: int, size: int, number: int) -> Owner:
        """A section whose START was lost is RAM or an idle block section, by its data."""
        if 0 < number < SECTION_ID_MAX and self._reach(at, size + WORD) == size + WORD:
            (word,) = struct.unpack(">Q", self._take(at + size, WORD))
            if word == block_format.Flag.EOS:
                return Owner(number, block_format.IDSTR, 0, block_format.VERSION)
            known = [o for o in self._by_id.values() if o.idstr == ram.IDSTR]
            if not known and self._allowed(word, self.reading):
                owner = Owner(number, ram.IDSTR, 0, self.ram_version or self.reading.version)
                self._by_id[number] = owner
                return owner
        raise _Stop("unknown-section", at, f"section id {number} was never announced")

    def _data(self, section: int, owner: Owner, kind: SectionType, at: int) -> Iterator[Columns]:
        yield from super()._data(section, owner, kind, at)
        if kind is SectionType.END and owner.idstr == ram.IDSTR:
            self._ended = True

    def _eof(self, at: int) -> None:
        if not self._ended and not self._no_more_ram:
            raise _Stop("bad-section-type", at, "the container ends before RAM does")
        super()._eof(at)

    def _configuration(self, at: int) -> int:
        if len(self.sections):
            raise _Stop("bad-section-type", at, "CONFIGURATION can only come first")
        return super()._configuration(at)

    def _command(self, at: int) -> int:
        head = self._take(at + 1, 2)
        if int.from_bytes(head) not in set(qevm.Command):
            raise _Stop("bad-section-type", at, "there is no such command")
        return super()._command(at)

    def _block_list(self, at: int, total: int) -> int:
        after = super()._block_list(at, total)
        self.has_start = True
        lengths = sum(b.length for b in self.blocks)
        if lengths != total or not all(_is_name(b.name) for b in self.blocks):
            if not self._given:
                self.blocks.clear()
                self._block_index.clear()
            raise _Stop("block-list", at, "the block list does not add up")
        return after

    def _flat(self, at: int, total: int) -> None:
        super()._flat(at, total)
        self.has_start = True

    def _block_named(self, name: bytes, at: int) -> int:
        declared = any(b.declared for b in self.blocks)
        if name not in self._block_index and (declared or not _is_name(name)):
            raise _Stop("bad-record", at, "this record names no block of the list")
        return super()._block_named(name, at)

    def _record(self, at: int, end: int) -> tuple[int, bool]:
        if self._page_size_known and at + WORD <= end:
            (word,) = struct.unpack_from(">Q", self._view, at - self._base)
            if not self._allowed(word, self.reading) and not (word & Flag.MEM_SIZE and self._may_list(word)):
                raise _Stop("bad-record", at, f"no record begins with the word {word:#018x}")
        return super()._record(at, end)

    def _settle_page_size(self, here: int) -> bool:
        """Not by the word that ends a run: pages that others follow have the size that led there."""
        if not (np.diff(self._pending.offsets(self._base)) == WORD + self.reading.page_size).any():
            return super()._settle_page_size(here)
        self._page_size_known = True
        return False

    def _may_list(self, word: int) -> bool:
        return word & (self.reading.page_size - 1) == Flag.MEM_SIZE and not self.has_start

    def _allowed(self, word: int, reading: Reading) -> bool:
        """Whether a sender can have written this word in mid-stream."""
        flags = word & (reading.page_size - 1)
        if flags in (Flag.EOS, Flag.MULTIFD_FLUSH, Flag.HOOK):
            return word == flags and (flags == Flag.EOS or bool(self.footers))
        return flags in _page_flags(reading.version, bool(self.footers)) and word - flags < self._longest()

    def _longest(self) -> int:
        return max((b.length for b in self.blocks if b.declared), default=ADDRESS_MAX)

    # -- the runs --------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Columns]:
        if not len(self._data_array):
            raise XbrleError(self.source.damage or f"{self.source.name}: is empty")
        pieces: list[Columns] = []
        rows = 0
        begun = searched = 0
        try:
            run = self._container(self._open())
        except XbrleError:
            run = self._nothing()
        while True:
            columns, problem = self._run(run)
            columns = self._believed(columns, begun)
            columns, problem = self._checked(columns, problem)
            columns = self._attributed(columns, pieces)
            if problem is None:
                pieces.append(columns)
                break
            kept, start = _without_last(columns, begun)
            pieces.append(kept)
            rows += len(kept)
            following = None if self._no_more_ram else self._find(max(start + (len(kept) < len(columns)), searched))
            self._truncate(start)
            gap, run_next = self._bridge(start, problem, following, rows, columns, kept)
            self.gaps.append(gap)
            last = columns.take(slice(len(kept), None))
            self._leave_out(list(zip(last.block.tolist(), last.address.tolist(), strict=True)))
            if run_next is None:
                break
            run, begun = run_next, gap.end
            searched = 1 + (gap.end if following is None else following)
        if not any(len(p) for p in pieces):
            raise XbrleError(f"{self.source.name}: nothing in it can be believed to be a migration stream")
        if self.source.damage:
            self.problems.append(Problem("truncated", len(self._data_array), self.source.damage, fatal=True))
        self._infer_lengths(pieces)
        columns = self._split_at_jumps(join(pieces))
        for gap in self.gaps:
            if gap.certainty is not Certainty.NONE:
                self.problems.append(Problem("skipped", gap.start, gap.told))
        yield columns

    def _nothing(self) -> Iterator[Columns]:
        raise _Stop("not-a-stream", 0, "the capture does not begin as a migration stream")
        yield  # pragma: no cover

    def _run(self, run: Iterator[Columns]) -> tuple[Columns, Problem | None]:
        """All records up to the next damage."""
        pieces: list[Columns] = []
        problem = None
        try:
            pieces.extend(run)
        except _Stop as stop:
            problem = stop.problem
        self._gather()
        pieces += self._ready
        self._ready = []
        return join(pieces), problem

    def _believed(self, columns: Columns, begun: int) -> Columns:
        """Without the first record after a gap, which ends at ``begun``: it may be spliced from two."""
        before = (columns.offset < np.uint64(begun)) & IS_PAGE[columns.kind]
        if before.any():
            self._leave_out([(ANY_BLOCK, a) for a in columns.address[before].tolist()])
        return columns.take(~before)

    def _swallowing(self, columns: Columns) -> NDArray[np.int64]:
        """The places after PAGE records that end in a dup record of a page between theirs and the next one's.

        Bytes were cut out of such a page, and what followed took their place.
        """
        size = WORD + ram.Fill.sizeof()
        places = np.flatnonzero((columns.kind[:-1] == Kind.PAGE) & IS_PAGE[columns.kind[1:]])
        end = columns.end(places)
        words = self._data_array[(end - size)[:, None] + np.arange(WORD)].copy().view(">u8")[:, 0].astype(np.uint64)
        keep = Flag.CONTINUE if self.reading.version != ram.VERSION_FLAT else Flag(0)
        address = words & ~np.uint64(self.reading.page_size - 1)
        found = (words ^ address == np.uint64(Flag.COMPRESS | keep)) & (address > columns.address[places])
        found &= address < columns.address[places + 1]
        swallowing: NDArray[np.int64] = places[found] + 1
        return swallowing

    def _checked(self, columns: Columns, problem: Problem | None) -> tuple[Columns, Problem | None]:
        """The records up to the first whose word no sender writes; the fast walk does not look at addresses."""
        lengths = np.array([b.length if b.declared else ADDRESS_MAX for b in self.blocks] or [0], np.uint64)
        block = np.minimum(columns.block, len(lengths) - 1)
        limit = np.where(columns.block == NO_BLOCK, np.uint64(self._longest()), lengths[block])
        flags = columns.flags
        pages = IS_PAGE[columns.kind]
        bad = pages & (columns.address >= limit)
        allowed = np.zeros(1 << 16, bool)
        allowed[list(_page_flags(self.reading.version, bool(self.footers)))] = True
        bad |= pages & ~allowed[flags]
        bad |= columns.kind == Kind.NOOP
        bad |= (columns.kind == Kind.EOS) & ((columns.address != 0) | (flags != Flag.EOS))
        if len(columns) > 1:
            bad[self._swallowing(columns)] = True
        found = np.flatnonzero(bad)
        if not len(found):
            return columns, problem
        first = int(found[0])
        at = int(columns.offset[first])
        return columns.take(slice(0, first)), Problem("bad-record", at, "no sender writes this here")

    def _attributed(self, columns: Columns, pieces: Sequence[Columns]) -> Columns:
        """Name the block of the records that come before the first name after a gap, where only one block fits."""
        orphans = np.flatnonzero(IS_PAGE[columns.kind] & (columns.block == NO_BLOCK))
        if not len(orphans) or self.reading.version == ram.VERSION_FLAT:
            if self.reading.version == ram.VERSION_FLAT and len(orphans):
                columns.block[orphans] = 0
            return columns
        if not self._has_list():
            return self._unnamed(columns, orphans)
        fitting = self._fitting(columns, orphans, pieces)
        if len(fitting) == 1:
            columns.block[orphans] = fitting[0]
            return columns
        if not any(len(p) for p in pieces):  # the head is missing: one run, whatever block it is of
            return self._unnamed(columns, orphans)
        self.lost_names += len(orphans)
        self._leave_out([(ANY_BLOCK, a) for a in columns.address[orphans].tolist()])
        return columns.take(np.setdiff1d(np.arange(len(columns)), orphans))

    def _unnamed(self, columns: Columns, orphans: NDArray[np.int64]) -> Columns:
        """Keep records whose block cannot be told in a block of their own."""
        index = self._block_index.setdefault(NAMELESS, len(self.blocks))
        if index == len(self.blocks):
            self.blocks.append(Block(NAMELESS, 0, declared=False))
        columns.block[orphans] = index
        return columns

    def _fitting(self, columns: Columns, orphans: NDArray[np.int64], pieces: Sequence[Columns]) -> list[int]:
        """The blocks that the records before the first name after a gap can be of, by what else is known of them."""
        addresses = np.unique(columns.address[orphans])
        fitting = [i for i, b in enumerate(self.blocks) if b.length > int(addresses[-1])]
        after = int(orphans[-1]) + 1 + np.flatnonzero(IS_PAGE[columns.kind[int(orphans[-1]) + 1 :]])
        if len(after):  # a name comes exactly where the block changes
            named = int(columns.block[after[0]])
            sent = {b for c in pieces for b in np.unique(c.block[IS_PAGE[c.kind]]).tolist()}
            fitting = [
                i  # blocks are sent for the first time in the order of the list
                for i in fitting
                if i != named and not (self.has_start and named < i and named not in sent and i not in sent)
            ]
        gap = self.gaps[-1] if self.gaps else None
        if len(fitting) > 1 and gap is not None and gap.in_place and gap.row:  # records without names were lost
            before = next((c.block[IS_PAGE[c.kind]] for c in reversed(pieces) if IS_PAGE[c.kind].any()), None)
            return fitting if before is None else [int(before[-1])]
        if len(fitting) > 1 and len(addresses) >= BUSY_PAGES:
            shares = [self._busy_share(i, addresses, pieces) for i in fitting]
            ending = [i for i in fitting if self.blocks[i].length == int(addresses[-1]) + self.reading.page_size]
            if len(ending) == 1 and len(after) and (np.diff(addresses[-BUSY_PAGES:]) == self.reading.page_size).all():
                return ending  # the run goes through to the block's last page, and then to another block
            if max(shares) >= BUSY_MOST and sorted(shares)[-2] <= BUSY_LEAST:
                return [fitting[shares.index(max(shares))]]
        return fitting

    def _busy_share(self, block: int, addresses: NDArray[np.uint64], pieces: Sequence[Columns]) -> float:
        """How many of these pages were sent more than once before, if they are of this block."""
        mine = [c.address[IS_PAGE[c.kind] & (c.block == block)] for c in pieces]
        pages, counts = np.unique(np.concatenate(mine), return_counts=True) if mine else (addresses[:0], [])
        return float(np.isin(addresses, pages[np.array(counts) > 1]).mean())

    def _leave_out(self, pages: list[tuple[int, int]]) -> None:
        """Records of these pages are not believed, on account of the last gap."""
        if self.gaps and pages:
            self.gaps[-1] = replace(self.gaps[-1], left_out=(*self.gaps[-1].left_out, *pages))

    def _truncate(self, offset: int) -> None:
        """Forget the sections that seemed to begin at or after ``offset``."""
        self.sections.truncate(offset)
        self.complete = False

    # -- the way across a gap --------------------------------------------------------------------------------------

    def _bridge(
        self,
        start: int,
        problem: Problem,
        following: int | None,
        row: int,
        parsed: Columns,
        kept: Columns,
    ) -> tuple[Gap, Iterator[Columns] | None]:
        """The gap that begins at ``start``, and the run that follows it; None where none does."""
        size = len(self._data_array)
        if following is None:
            tail = None if self._ended else self._find_tail(problem.offset)
            if tail is None:
                self.end = start
                self.problems.append(Problem(problem.rule, problem.offset, problem.message, fatal=True))
                simply_ends = problem.rule == "truncated" and size - start <= RECORD_MAX
                holds = not self._ended and not simply_ends
                return Gap(start, size, problem.message, Certainty.NONE, row, may_hold_records=holds), None
            self._no_more_ram = True
            gap = Gap(start, tail, problem.message, Certainty.LIKELY, row, evidence="a device section's header")
            return gap, self._resume(tail)
        chain = self._chain(following)
        self.reading = chain.reading
        self._layout = None
        end = following
        header = self._header_before(following, start)
        first_end = self._first_end(following)
        in_place, how = self._fills_place(start, following, parsed, kept)
        evidence = f"{chain.records} records in a row that agree" + (f"; {how}" if how else "")
        certainty = Certainty.NEAR_CERTAIN if chain.score >= ENOUGH else Certainty.LIKELY
        if header is None and first_end is not None:  # the first record may be spliced from two
            end = first_end
        gap = Gap(start, end, problem.message, certainty, row, in_place, evidence)
        return gap, self._resume(following if header is None else header, header is not None)

    def _resume(self, at: int, framed: bool = True) -> Iterator[Columns]:
        """The records from ``at`` on: a section's header stands there, or (not ``framed``) a record."""
        self._block = NO_BLOCK if self.reading.version != ram.VERSION_FLAT else 0
        self._pending = type(self._pending)()
        self._ready = []
        self._load(at, 0)
        if not framed:
            owner = next((o for o in self._by_id.values() if o.idstr == ram.IDSTR), None)
            if owner is None:
                owner = Owner(0, ram.IDSTR, 0, self.ram_version or self.reading.version)
            last = self.sections[-1].type if len(self.sections) else SectionType.PART
            kind = last if last in (SectionType.START, SectionType.PART, SectionType.END) else SectionType.PART
            section = self.sections.add(kind, owner, at, at)
            yield from self._ram(owner, at)
            self.sections.close(section, self.end, Boundary.PARSED)
            if kind is SectionType.END:
                self._ended = True
            at = self._footer_after(owner, self.end)
        yield from self._container(at)

    def _footer_after(self, owner: Owner, at: int) -> int:
        """Past the footer of a section whose header is lost; it says the section's id."""
        size = qevm.Footer.sizeof()
        if self.footers is not False and not any(o.idstr == ram.IDSTR for o in self._by_id.values()):
            found = bytes(self._data_array[at : at + size])
            if len(found) == size and found[0] == SectionType.FOOTER:
                number = int(qevm.Footer.parse(found).section_id)
                owner = self._by_id[number] = replace(owner, section_id=number)
        return self._footer(owner, at)

    def _find(self, start: int) -> int | None:
        """The first offset from ``start`` on at which a believable chain of records begins."""
        known = self.ram_version is not None
        versions = (self.reading.version,) if known else (ram.VERSION_NAMED, ram.VERSION_FLAT)
        if self._forced is not None:
            versions = (self._forced.ram_version,)
        best: int | None = None
        for version in versions:
            if not known:
                page_sum = self._forced.page_sum if self._forced is not None else False
                self.reading = replace(self.reading, version=version, page_sum=page_sum)
            for at in self._candidates(start, best):
                if self._chain(at).score >= BELIEVED:
                    best, chosen = at, version
                    break
        if best is not None and not known:
            self.reading = replace(self.reading, version=chosen)
        return best

    def _candidates(self, start: int, before: int | None) -> Iterator[int]:
        """The offsets at which a word stands that a sender can have written."""
        data = self._data_array
        stop = len(data) - WORD if before is None else min(before, len(data) - WORD)
        size = self.reading.page_size
        table = np.zeros(size, bool)
        table[[f for f in _page_flags(self.reading.version, bool(self.footers)) if f < size]] = True
        limit = np.uint64(self._longest())
        for first in range(start, max(start, stop + 1), SEARCH):
            count = min(SEARCH, stop + 1 - first)
            words = np.lib.stride_tricks.as_strided(data[first:], (count, WORD), (1, 1)).copy().view(">u8")[:, 0]
            flags = words & np.uint64(size - 1)
            fits = (table[flags.astype(np.int64)] & (words < limit)) | (words == np.uint64(Flag.EOS))
            yield from (first + np.flatnonzero(fits)).tolist()

    def _chain(self, at: int) -> _Chain:
        """Read records strictly from ``at``, and weigh what speaks for them."""
        reading = self.reading
        data, view = self._data_array, self._all
        named_version = reading.version != ram.VERSION_FLAT
        limit = self._longest()
        score = records = 0
        last = -1
        while records < CHAIN_RECORDS and score < ENOUGH and at + WORD <= len(data):
            (word,) = struct.unpack_from(">Q", view, at)
            if not self._allowed(word, reading):
                break
            flags = word & (reading.page_size - 1)
            kind = ram.kind_of(flags, reading.version)
            address = word - flags
            after = at + WORD
            if kind is Kind.EOS:
                following, framed = self._past_eos(after)
                if following is None:
                    score += framed
                    break
                score += 3
                last = -1
                at = following
                records += 1
                continue
            if kind in (Kind.FLUSH, Kind.HOOK):
                at = after
                continue
            if address >= limit or (last >= 0 and address <= last and not ram.is_named(flags, reading.version, kind)):
                if address >= limit or address == last or records < 3:
                    break
                score -= 2  # a sweep begins anew; few do
            if ram.is_named(flags, reading.version, kind):
                length = view[after] if after < len(view) else 0
                name = bytes(view[after + 1 : after + 1 + length])
                if not (name in self._block_index if self._has_list() else _is_name(name)):
                    break
                after += 1 + length
                score += 3
                last = -1
            score += 1 if last >= 0 and address == last + reading.page_size else 0
            if kind is Kind.DUP:
                after += ram.Fill.sizeof()
                score += 1
            elif kind is Kind.PAGE:
                after += reading.page_size + (4 if reading.page_sum else 0)
                score += 2
            elif kind is Kind.XBRLE:
                if reading.dialect is None:
                    found = self._detected(at, reading)
                    if found is None:
                        break
                    reading = found
                end = self._delta_end(after, reading)
                if end is None:
                    break
                after = end
                score += 4
            elif kind is Kind.COMPRESSED:
                (length,) = struct.unpack_from(">I", view, after) if after + 4 <= len(view) else (0,)
                if not 0 < length <= 2 * reading.page_size or view[after + 4] & 0x0F != ram.ZLIB_DEFLATE:
                    break
                after += 4 + length
                score += 2
            else:
                break
            if after > len(data):
                break
            if named_version or last < 0 or address > last:
                last = address
            records += 1
            at = after
        return _Chain(score, records, reading)

    def _has_list(self) -> bool:
        return any(b.declared for b in self.blocks)

    def _past_eos(self, at: int) -> tuple[int | None, int]:
        """Where the records of the next RAM section begin; else None, and how much speaks for what stands there."""
        data = self._data_array
        ids = {i for i, o in self._by_id.items() if o.idstr == ram.IDSTR}
        part = 1 + qevm.SectionPart.sizeof()
        for _ in range(4):
            if at >= len(data):
                break
            kind = data[at]
            if kind == SectionType.FOOTER and self.footers is not False:
                at += qevm.Footer.sizeof()
                continue
            if kind not in (SectionType.PART, SectionType.END) or at + part + WORD > len(data):
                head = bytes(data[at : at + 64])
                full = kind == SectionType.FULL and head[1:3] == b"\0\0" and len(head) > 6 and _is_name(head[6:8])
                return None, BELIEVED if full else 0
            number = int.from_bytes(bytes(data[at + 1 : at + part]))
            if int.from_bytes(bytes(data[at + part : at + part + WORD])) == block_format.Flag.EOS:
                at += part + WORD
                continue
            if number in ids if ids else number < SECTION_ID_MAX:
                return at + part, 0
            return None, 0
        return None, 0

    def _detected(self, at: int, reading: Reading) -> Reading | None:
        """The reading with the dialect that the delta at ``at`` shows."""
        view = self._all[at : at + LOOK_AHEAD]
        evidence = detect(view, 0, at, reading, self._forced, self._endian)
        if evidence.name is None:
            return None
        return replace(reading, dialect=DIALECTS[evidence.name], endian=evidence.endian or "little", evidence=evidence)

    def _delta_end(self, header: int, reading: Reading) -> int | None:
        """Where the delta whose header stands at ``header`` ends; None if it does not come to one page."""
        assert reading.dialect is not None
        span = delta_span(self._data_array, header, reading.dialect, reading.endian, reading.page_size)
        if span is None or not comes_to_a_page(self._data_array, *span, reading.dialect, reading.page_size):
            return None
        return span[1]

    def _first_end(self, at: int) -> int | None:
        """The offset after the believable record at ``at``, if that record carries a page."""
        view = self._all
        (word,) = struct.unpack_from(">Q", view, at)
        reading = self.reading
        flags = word & (reading.page_size - 1)
        kind = ram.kind_of(flags, reading.version)
        after = at + WORD
        if ram.is_named(flags, reading.version, kind):
            after += 1 + view[after]
        if kind is Kind.DUP:
            return after + ram.Fill.sizeof()
        if kind is Kind.PAGE:
            return after + reading.page_size + (4 if reading.page_sum else 0)
        if kind is Kind.XBRLE and reading.dialect is not None:
            return self._delta_end(after, reading)
        return at + WORD if kind is Kind.COMPRESSED else None

    def _header_before(self, at: int, start: int) -> int | None:
        """The offset of the RAM section header that stands right before the record at ``at``, if one does."""
        size = 1 + qevm.SectionPart.sizeof()
        head = at - size
        if head < start or self._data_array[head] not in (SectionType.PART, SectionType.END):
            return None
        number = int.from_bytes(bytes(self._data_array[head + 1 : at]))
        owner = self._by_id.get(number)
        if owner is not None:
            return head if owner.idstr == ram.IDSTR else None
        known = [o for o in self._by_id.values() if o.idstr == ram.IDSTR]
        if known or not 0 < number < SECTION_ID_MAX:
            return None
        self._by_id[number] = Owner(number, ram.IDSTR, 0, self.ram_version or self.reading.version)
        return head

    def _find_tail(self, start: int) -> int | None:
        """Where the device sections begin, when no more RAM follows."""
        number = max((i for i, o in self._by_id.items() if o.idstr == ram.IDSTR), default=0)
        found = by_header(self._all[start:], number)
        return None if found is None else start + found

    def _fills_place(self, start: int, end: int, parsed: Columns, kept: Columns) -> tuple[bool, str]:
        """Whether the bytes up to ``end`` are exactly one record's: nothing was cut out there or put in."""
        reading = self.reading
        starts = {start} if len(kept) == len(parsed) else {start, _end_of(parsed)}
        page = WORD + reading.page_size + (4 if reading.page_sum else 0)
        for at in starts:
            if end - at == page:
                return True, "the skipped bytes are exactly one page record's"
            if end - at == WORD + ram.Fill.sizeof():
                return True, "the skipped bytes are exactly one dup record's"
            if reading.dialect is not None:
                header = dtype_of(reading.dialect.header(reading.endian)).itemsize
                payload = at + WORD + header
                if payload < end <= payload + reading.dialect.page_limit * reading.page_size and comes_to_a_page(
                    self._data_array, payload, end, reading.dialect, reading.page_size
                ):
                    return True, "the skipped bytes are exactly one delta's"
        return False, ""

    # -- what the whole shows --------------------------------------------------------------------------------------

    def _infer_lengths(self, pieces: list[Columns]) -> None:
        """Without a block list, a block is as long as the highest address that was seen says."""
        if self.reading.version == ram.VERSION_FLAT and not self.blocks:
            self._declare([Block(ram.IDSTR, 0, declared=False)], 0)
        for i, block in enumerate(self.blocks):
            if block.declared:
                continue
            most = max(
                (int(c.address[mine].max()) for c in pieces if (mine := IS_PAGE[c.kind] & (c.block == i)).any()),
                default=-self.reading.page_size,
            )
            self.blocks[i] = Block(block.name, most + self.reading.page_size)

    def _split_at_jumps(self, columns: Columns) -> Columns:
        """Find where the first sweep over all pages jumps: every page is sent once, in the order of the blocks.

        Records are missing there though the framing is whole. The records on both sides of a jump are left out too:
        either can be spliced from two.
        """
        if not self.has_start:
            return columns
        pages = [-(-b.length // self.reading.page_size) for b in self.blocks]
        first = np.append(np.concatenate([[0], np.cumsum(pages)])[: len(pages)], 0).astype(np.int64)
        rows = np.flatnonzero(IS_PAGE[columns.kind] & (columns.block != NO_BLOCK))
        place = first[columns.block[rows]] + (columns.address[rows] // np.uint64(self.reading.page_size)).astype(
            np.int64
        )
        frontier = np.maximum.accumulate(np.append(-1, place))[:-1]
        advances = np.flatnonzero(place > frontier)
        jumps = advances[place[advances] > frontier[advances] + 1]
        before = rows[advances[np.maximum(np.searchsorted(advances, jumps) - 1, 0)]]
        known = np.array([g.row for g in self.gaps], np.int64)
        explained = np.searchsorted(known, rows[jumps], side="right") > np.searchsorted(known, before, side="right")
        jumps = jumps[~explained]
        if not 0 < len(jumps) <= FRONTIER_BREAKS:
            return columns
        keep = np.ones(len(columns), bool)
        added: list[Gap] = []
        for j in jumps.tolist():
            last, after = rows[max(0, j - 1)], rows[j]
            keep[last : after + 1] &= ~IS_PAGE[columns.kind[last : after + 1]]
            missing = int(place[j] - frontier[j] - 1)
            end = int(columns.offset[after + 1]) if after + 1 < len(columns) else int(columns.offset[after]) + WORD
            reason = f"{missing} pages are missing from the first sweep over memory"
            out = tuple((int(columns.block[r]), int(columns.address[r])) for r in (last, after))
            added.append(Gap(int(columns.offset[last]), end, reason, Certainty.NEAR_CERTAIN, int(after), left_out=out))
        shift = np.append(0, np.cumsum(keep))
        gaps = sorted([*self.gaps, *added], key=lambda g: (g.start, g.row))
        self.gaps = [replace(g, row=int(shift[g.row])) for g in gaps]
        return columns.take(keep)


def _is_name(name: bytes) -> bool:
    return len(name) > 1 and all(0x21 <= c < 0x7F for c in name)


def _page_flags(version: int, modern: bool) -> frozenset[int]:
    """The flags that a word of a record with a page can have: one kind, and CONTINUE or not."""
    kinds = [Flag.COMPRESS, Flag.PAGE, ram.delta_flag(version)]
    if modern:
        kinds.append(Flag.COMPRESS_PAGE)
    if version == ram.VERSION_FLAT:
        return frozenset(int(k) for k in kinds)
    return frozenset(int(k | c) for k in kinds for c in (Flag(0), Flag.CONTINUE))


def _end_of(columns: Columns) -> int:
    """The offset after the last record."""
    return int(columns.offset[-1]) + int(columns.head[-1]) + int(columns.length[-1])


def _without_last(columns: Columns, begun: int) -> tuple[Columns, int]:
    """The records but the last before damage, which may be what is damaged, and the offset where belief ends.

    ``begun`` is where reading began, for a run without records.
    """
    if not len(columns):
        return columns, begun
    if IS_PAGE[columns.kind[-1]]:
        return columns.take(slice(-1)), int(columns.offset[-1])
    return columns, _end_of(columns)


def delta_span(
    data: NDArray[np.uint8], header: int, dialect: Dialect, endian: str, page_size: int
) -> tuple[int, int] | None:
    """Where the payload of the delta whose header stands at ``header`` begins and ends; None if it cannot be one."""
    layout = dtype_of(dialect.header(endian))
    payload = header + layout.itemsize
    if payload > len(data):
        return None
    fields = data[header:payload].view(layout)[0]
    length = int(fields["length"]) - dialect.length_counts
    if not 0 < length <= dialect.page_limit * page_size or payload + length > len(data) or not fields["flags"] & 1:
        return None
    return payload, payload + length


def comes_to_a_page(data: NDArray[np.uint8], start: int, end: int, dialect: Dialect, page_size: int) -> bool:
    """Whether ``data[start:end]`` decodes to exactly one page."""
    blank = np.zeros((1, page_size), np.uint8)
    verdict = deltas.apply(dialect.encoding, data, np.array([start]), np.array([end - start]), blank)
    return bool(verdict[0] == Verdict.OK)
