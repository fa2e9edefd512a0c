"""What no undamaged sender writes: the judge of salvage, and the same questions to many records at once."""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ...container.boundary import is_version
from ...formats import block as block_format
from ...formats import qevm, ram
from ...formats.qevm import SectionType
from ...formats.ram import Flag, Kind
from ...model import Problem, Reading
from ...ram.record import FILL, WORD
from ...ram.walk import Pending
from ...table.columns import NO_BLOCK, Columns
from ...table.kinds import IS_PAGE
from ...table.sections import Owner
from ..buffer import Buffer, Stop
from ..notes import Notes

ADDRESS_MAX = 1 << 40  # more than any guest has, where the blocks are not known
SECTION_ID_MAX = 1 << 12
SEARCHES = 64  # of the whole capture, for what only its coming again makes believable
_EOS = bytes(ram.Word.build(int(Flag.EOS)))


def is_name(name: bytes) -> bool:
    """Whether a section or a RAM block can be called this."""
    return len(name) > 1 and all(0x21 <= c < 0x7F for c in name)


@lru_cache(8)
def page_flags(version: int, modern: bool) -> frozenset[int]:
    """The flags that a word of a record with a page can have: one kind, and CONTINUE or not."""
    kinds = [Flag.COMPRESS, Flag.PAGE, ram.delta_flag(version)]
    if modern:
        kinds.append(Flag.COMPRESS_PAGE)
    if version == ram.VERSION_FLAT:
        return frozenset(int(k) for k in kinds)
    return frozenset(int(k | c) for k in kinds for c in (Flag(0), Flag.CONTINUE))


def longest(notes: Notes) -> int:
    """The bytes of the longest block: no address is beyond."""
    return ADDRESS_MAX if notes.longest is None else notes.longest


def is_allowed(word: int, reading: Reading, notes: Notes) -> bool:
    """Whether a sender can have written this word in mid-stream."""
    flags = word & (reading.page_size - 1)
    if flags in (Flag.EOS, Flag.MULTIFD_FLUSH, Flag.HOOK):
        return word == flags and (flags == Flag.EOS or bool(notes.footers) or reading.configured)
    return flags in page_flags(reading.version, bool(notes.footers)) and word - flags < longest(notes)


class Skeptic:
    """The judge of salvage. ``given``: the user gave the blocks. ``no_more_ram``: no RAM section is looked for.

    ``view`` is the capture. An unusual name or id is believed where it comes again: damage does not come twice alike.
    """

    def __init__(self, notes: Notes, given: bool, view: memoryview) -> None:
        self._notes = notes
        self._given = given
        self._view = view
        self._searched: dict[bytes, bool] = {}
        self.no_more_ram = False

    def section_type(self, buffer: Buffer, at: int, kind: SectionType) -> None:
        """No EOF before RAM has ended or devices came, CONFIGURATION only first, and only commands that exist.

        A background snapshot does not have an END of RAM [C].
        """
        notes = self._notes
        after_devices = bool(notes.footers) and len(notes.sections) > 0 and notes.sections[-1].type is SectionType.FULL
        if kind is SectionType.EOF and not notes.ram_ended and not self.no_more_ram and not after_devices:
            raise Stop("bad-section-type", at, "the container ends before RAM does")
        if kind is SectionType.CONFIGURATION and len(notes.sections):
            raise Stop("bad-section-type", at, "CONFIGURATION can only come first")
        if kind is SectionType.COMMAND and int.from_bytes(buffer.take(at + 1, 2)) not in set(qevm.Command):
            raise Stop("bad-section-type", at, "there is no such command")

    def section(self, at: int, kind: SectionType, owner: Owner) -> None:
        """Only with a printable name, once for each id, and device state only after RAM."""
        notes = self._notes
        printable = len(owner.idstr) > 1 and all(0x20 <= c < 0x7F for c in owner.idstr)
        believable = printable and is_version(owner.version_id)
        again = kind is SectionType.START and owner.section_id in notes.owners
        early = kind is SectionType.FULL and not (notes.ram_ended or self.no_more_ram) and notes.footers is False
        if not believable or again or early:
            raise Stop("bad-section-type", at, "no section of this kind can begin here")

    def unannounced(self, at: int, number: int, word: int | None) -> Owner:
        """A section whose START was lost is RAM or an idle block section, by its data."""
        notes = self._notes
        if word is not None:
            if word == block_format.Flag.EOS and 0 < number < SECTION_ID_MAX:
                return Owner(number, block_format.IDSTR, 0, block_format.VERSION)
            if not ram_ids(notes) and is_allowed(word, notes.reading, notes) and self.is_ram_id(number):
                notes.owners[number] = owner = ram_owner(notes, number)
                return owner
        raise Stop("unknown-section", at, f"section id {number} was never announced")

    def word(self, at: int, word: int) -> None:
        """Only what a sender writes in mid-stream, and one block list."""
        notes = self._notes
        lists = word & (notes.page_size - 1) == Flag.MEM_SIZE and not notes.has_start
        if not lists and not is_allowed(word, notes.reading, notes):
            raise Stop("bad-record", at, f"no record begins with the word {word:#018x}")

    def may_try_page_size(self, pending: Pending, base: int) -> bool:
        """Not by the word that ends a run: pages that others follow have the size that led there."""
        return not (np.diff(pending.offsets(base)) == WORD + self._notes.page_size).any()

    def block_list(self, at: int, total: int) -> None:
        """Only one that adds up, of names."""
        notes = self._notes
        if sum(b.length for b in notes.blocks) != total or not all(map(self._is_block_name, notes.block_index)):
            if not self._given:
                notes.forget_blocks()
            raise Stop("block-list", at, "the block list does not add up")

    def block_name(self, at: int, name: bytes) -> None:
        """Only those of the list, where there is one."""
        if name not in self._notes.block_index and (self._notes.has_list or not is_name(name)):
            raise Stop("bad-record", at, "this record names no block of the list")

    def is_ram_id(self, number: int) -> bool:
        """Whether a RAM section whose START was lost can have this id: a usual one, or one that two PARTs have."""
        if 0 < number < SECTION_ID_MAX:
            return True
        head = bytes([SectionType.PART]) + qevm.SectionPart.build({"section_id": number})
        before = (_EOS, qevm.Footer.build({"section_id": number}))
        return self._comes(head, 2, lambda at: self._ends(at, before))

    def _is_block_name(self, name: bytes) -> bool:
        """Whether a RAM block can be called this: a usual name, or one that a record has."""
        flags = {f & 0xFF for f in page_flags(self._notes.reading.version, True) if not f & Flag.CONTINUE}
        return is_name(name) or self._comes(
            qevm.IdStr.build(name), 1, lambda at: at > 0 and self._view[at - 1] in flags
        )

    def _ends(self, at: int, with_any: tuple[bytes, ...]) -> bool:
        """Whether one of these stands right before offset ``at``."""
        return bytes(self._view[max(0, at - max(map(len, with_any))) : at]).endswith(with_any)

    def _comes(self, what: bytes, times: int, fits: Callable[[int], bool]) -> bool:
        """Whether these bytes come so many times, each at an offset that ``fits``."""
        if what not in self._searched and len(self._searched) < SEARCHES:
            found = (m.start() for m in re.finditer(re.escape(what), self._view))
            self._searched[what] = len(list(islice(filter(fits, found), times))) == times
        return self._searched.get(what, False)


def ram_ids(notes: Notes) -> set[int]:
    """The ids of the RAM sections that were announced."""
    return {i for i, o in notes.owners.items() if o.idstr == ram.IDSTR}


def ram_owner(notes: Notes, number: int) -> Owner:
    """The owner of a RAM section with this id whose START was lost."""
    return Owner(number, ram.IDSTR, 0, notes.ram_version or notes.reading.version)


def checked(
    columns: Columns, problem: Problem | None, data: NDArray[np.uint8], notes: Notes
) -> tuple[Columns, Problem | None]:
    """The records up to the first whose word no sender writes. The fast walk does not look at addresses.

    ``data`` is the capture, (size,) uint8. ``problem`` is why the run ended, which may be found to end earlier.
    """
    if not len(columns):
        return columns, problem
    lengths = np.array([b.length if b.declared else ADDRESS_MAX for b in notes.blocks] or [0], np.uint64)
    block = np.minimum(columns.block, len(lengths) - 1)
    limit = np.where(columns.block == NO_BLOCK, np.uint64(longest(notes)), lengths[block])
    flags = columns.flags
    pages = IS_PAGE[columns.kind]
    bad = pages & (columns.address >= limit)
    allowed = np.zeros(1 << 16, bool)
    allowed[list(page_flags(notes.reading.version, bool(notes.footers)))] = True
    bad |= pages & ~allowed[flags]
    bad |= columns.kind == Kind.NOOP
    bad |= (columns.kind == Kind.EOS) & ((columns.address != 0) | (flags != Flag.EOS))
    if len(columns) > 1:
        bad[_swallowing(columns, data, notes.reading)] = True
    bad_rows = np.flatnonzero(bad)
    if not len(bad_rows):
        return columns, problem
    first = int(bad_rows[0])
    at = int(columns.offset[first])
    return columns.take(slice(0, first)), Problem("bad-record", at, "no sender writes this here")


def _swallowing(columns: Columns, data: NDArray[np.uint8], reading: Reading) -> NDArray[np.int64]:
    """The rows after PAGE records that end in a dup record of a page between theirs and the next one's.

    Bytes were cut out of such a page, and what followed took their place.
    """
    size = WORD + FILL
    rows = np.flatnonzero((columns.kind[:-1] == Kind.PAGE) & IS_PAGE[columns.kind[1:]])
    end = columns.end(rows)
    words = data[(end - size)[:, None] + np.arange(WORD)].copy().view(">u8")[:, 0].astype(np.uint64)
    kept = Flag.CONTINUE if reading.version != ram.VERSION_FLAT else Flag(0)
    address = words & ~np.uint64(reading.page_size - 1)
    is_dup = words ^ address == np.uint64(Flag.COMPRESS | kept)
    between = (address > columns.address[rows]) & (address < columns.address[rows + 1])
    swallowing: NDArray[np.int64] = rows[is_dup & between] + 1
    return swallowing
