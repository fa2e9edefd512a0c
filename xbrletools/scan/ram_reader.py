"""The RAM sections: `walk` takes what is like what it knows, and here is read what it stops at, one record at a time.

These are names, block lists, the first delta, the first page of a v3 stream, and whatever may be damage.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import XbrleError
from ..formats import Grammar, ram
from ..formats.dialects import DIALECTS
from ..formats.mapped_ram import BITS, CAPABILITY
from ..formats.ram import FLAG_VALUES, Flag, Kind
from ..model import Block, Evidence, Mapped, Reading
from ..ram import blocklist, mapped_ram
from ..ram.blocklist import LIST_MAX
from ..ram.detect import detect, detect_page_size, likely, pages_carry_sums
from ..ram.record import ADDRESS_BITS, WORD, Ending, delta_kind, extent, is_zlib
from ..ram.walk import PENDING_MAX, Layout, Pending
from ..source.sources import MARGIN
from ..table.columns import DTYPES, NO_BLOCK, Columns
from ..table.sections import Owner
from ..text import shown
from .buffer import Buffer, Stop
from .judge import Judge
from .notes import BLOCKS_MAX, Notes

BITMAP_HELD = 1 << 22  # bytes of a bitmap of mapped-ram that are held in memory; a larger one waits in a file
LOOK_AHEAD = 1 << 18  # bytes that a trial of dialects may look at
STRAYS_MAX = 2048  # words without a page kind, one after the other, before framing counts as lost: four pages of them
_MEM_SIZE, _EOS = int(Flag.MEM_SIZE), int(Flag.EOS)  # as numbers: looked up much faster
_STRAYS = (Kind.NOOP, Kind.HOOK, Kind.FLUSH, Kind.COMPRESSED)
_DOUBTFUL = (Kind.NOOP, Kind.HOOK, Kind.COMPRESSED)  # not all receivers know these, or damage looks like them


def plausible(notes: Notes, word: int) -> bool:
    """Whether a word can begin a record of this capture: known flags, one kind, an address in some block."""
    version, page_size = notes.reading.version, notes.page_size
    flags = word & (page_size - 1)
    kinds = flags & ~int(Flag.CONTINUE) if version != ram.VERSION_FLAT else flags
    longest = notes.longest or 1 if notes.blocks else 1 << ADDRESS_BITS
    return not flags & ~int(ram.known_flags(version)) and kinds.bit_count() == 1 and word - flags < longest


class RamReader:
    """Reads the records of RAM sections. What has been walked over waits until `gather` makes columns of it.

    It settles how they read, as far as that is not known before.
    """

    def __init__(self, buffer: Buffer, notes: Notes, judge: Judge) -> None:
        self._buffer = buffer
        self._notes = notes
        self._judge = judge
        self._layout: Layout | None = None
        self._laid_out: tuple[Reading, Layout] | None = None  # the last one; each run after damage takes one
        self._kinds: tuple[Kind, ...] = ()
        self._entry: Grammar = ram.BlockEntry
        self._block = NO_BLOCK
        self._pending = Pending()
        self._ready: list[Columns] = []
        self._strays_end = 0
        self._last_list = b""  # the block list read last, with its word
        buffer.before_move = self.gather

    def read(self, owner: Owner, at: int) -> Iterator[Columns]:
        """Walk the records of one RAM section to its EOS. Its end is then ``end`` of the notes."""
        self._begin(owner, at)
        buffer = self._buffer
        while True:
            end = buffer.base + buffer.real
            if not buffer.padded and at >= end - MARGIN:
                self.gather()
                yield from self.drain()  # before more is waited for
                buffer.load(at, 0)
                end = buffer.base + buffer.real
            limit = buffer.real if buffer.padded else buffer.real - MARGIN
            layout = self._layout or self._settled()
            here = at - buffer.base
            at = buffer.base + layout.walk(buffer.view, buffer.base, here, limit, self._pending, self._block)
            if at > end:
                raise _cut(self._pending.last(buffer.base))
            if len(self._pending) >= PENDING_MAX:
                self.gather()
                yield from self.drain()
                continue
            if at >= buffer.base + limit:
                if buffer.padded:
                    raise Stop("truncated", at, "the capture ends inside a RAM section")
                continue
            if self._repeats_list(at):
                at += len(self._last_list)
                continue
            mapped = self._mapped_list(at)
            if mapped is not None:
                at = yield from self._mapped(at, *mapped)
                continue
            at, ended = self._record(at, end)
            if ended:
                self._notes.end = at
                yield from self.drain()
                return

    def gather(self) -> None:
        """Turn the records walked over so far into columns. The window may move after that."""
        if len(self._pending) and self._layout is not None:
            buffer = self._buffer
            columns, self._block = self._layout.gather(
                buffer.view, buffer.base, buffer.real, self._pending, self._block
            )
            self._ready.append(columns)
        self._pending = Pending()

    def drain(self) -> Iterator[Columns]:
        """The columns that are ready, each once."""
        ready, self._ready = self._ready, []
        yield from ready

    def ends(self, offsets: NDArray[np.uint64]) -> Iterator[Columns]:
        """The EOS records of empty sections, whose words stand at ``offsets``, (n,) uint64."""
        self.gather()
        columns = Columns(
            **{name: np.zeros(len(offsets), dtype) for name, dtype in DTYPES.items()} | {"offset": offsets}
        )
        columns.flags[:], columns.head[:], columns.kind[:] = _EOS, WORD, Kind.EOS
        columns.block[:] = NO_BLOCK
        self._ready.append(columns)
        yield from self.drain()

    def restart(self, block: int) -> None:
        """Forget what was walked over, and how it read. ``block`` is selected."""
        self._block = block
        self._layout = None
        self._pending = Pending()
        self._ready = []
        self._last_list = b""

    def _settled(self) -> Layout:
        """A layout of what is known now."""
        reading = self._notes.reading
        if self._laid_out is None or self._laid_out[0] != reading:
            self._laid_out = reading, Layout(reading)
        self._layout = self._laid_out[1]
        self._kinds = ram.kind_table(reading.version, delta_kind(reading.dialect))
        return self._layout

    def _resettle(self) -> None:
        """The reading changed: what was walked over is read as before, what follows in the new way."""
        self.gather()
        self._layout = None
        self._last_list = b""

    # -- one record --------------------------------------------------------------------------------------------------

    def _record(self, at: int, end: int) -> tuple[int, bool]:
        """Read the one record at ``at``. Returns where the next begins and whether the section has ended.

        ``end`` is the offset of the first byte that is not there. Where the record changes how records read, it is
        itself the next.
        """
        buffer, notes = self._buffer, self._notes
        if at + WORD > end:
            raise Stop("truncated", at, "the capture ends inside a record's word")
        word = buffer.word(at)
        if notes.page_size_known:
            self._judge.word(at, word)
        elif notes.reading.version != ram.VERSION_FLAT and self._settle_page_size(at, word):
            return at, False
        flags = word & (notes.reading.page_size - 1)
        kind = self._kinds[flags % FLAG_VALUES]
        if kind in _DOUBTFUL and not self._belongs(at, word, kind):
            raise Stop("bad-record", at, f"no record begins with the word {word:#018x}")
        if self._settle(at, kind):
            return at, False
        if flags & _MEM_SIZE:
            self._list(at, word - flags, kind)
        return self._walked(at), bool(flags & _EOS)

    def _settle(self, at: int, kind: Kind) -> bool:
        """Find out what a record of this kind, at ``at``, depends on. True if that was not known before."""
        notes = self._notes
        if kind is Kind.PAGE and notes.reading.page_sum is None:
            page_sum = pages_carry_sums(self._buffer.view, at - self._buffer.base, notes.page_size)
            notes.reading = replace(notes.reading, page_sum=page_sum)
            notes.reading = replace(notes.reading, evidence=self._open_evidence())
            self._resettle()
            return True
        if kind in ram.DELTA_KINDS and notes.reading.dialect is None:
            self._find_dialect(at)
            return True
        return False

    def _walked(self, at: int) -> int:
        """Add the record at ``at``, all that it depends on being known, to what was walked over. Returns its end."""
        buffer, reading = self._buffer, self._notes.reading
        here = at - buffer.base
        found = extent(buffer.view, here, reading, buffer.real, self._entry)
        end = found.end
        if found.kind is Kind.MEM_SIZE:
            self._pending.special[here] = (Kind.MEM_SIZE, found.length)
        elif found.kind is Kind.COMPRESSED and not is_zlib(buffer.view, found, reading.page_size, buffer.real):
            self._pending.special[here] = (Kind.NOOP, 0)
            end = here + WORD
        elif found.name is not None and found.payload <= buffer.real:
            self._pending.names.append((here, self._block_named(found.name, at)))
        if found.ending is Ending.TOO_LONG and reading.dialect is not None:
            most = reading.dialect.page_limit * reading.page_size
            message = f"a delta of {found.length:,} bytes, where {most:,} is the most that a receiver takes"
            raise Stop("delta-length", at, message)
        self._pending.at.append(here)
        if end > buffer.real:
            raise _cut(at)
        return buffer.base + end

    def _belongs(self, at: int, word: int, kind: Kind) -> bool:
        """Whether a word without a page kind is a record that receivers pass over, or the sign of lost framing.

        Receivers pass over any number of such words: after damage they go on where a word happens to be a record.
        """
        buffer, notes = self._buffer, self._notes
        if at < self._strays_end:
            return True
        if kind is Kind.COMPRESSED:
            found = extent(buffer.view, at - buffer.base, notes.reading, buffer.real, self._entry)
            if is_zlib(buffer.view, found, notes.page_size, buffer.real):
                return True
        stop = min(at + STRAYS_MAX * WORD, buffer.end - WORD + 1)
        for here in range(at + WORD, stop, WORD):
            following = buffer.word(here)
            if plausible(notes, following):
                self._strays_end = here
                return True
            if ram.kind_of(following & (notes.page_size - 1), notes.reading.version) not in _STRAYS:
                return False
        return stop <= at + WORD and not word >> ADDRESS_BITS

    # -- how records read --------------------------------------------------------------------------------------------

    def _begin(self, owner: Owner, at: int) -> None:
        """Settle what the section's version says, at the first RAM section."""
        notes = self._notes
        if notes.ram_version is not None:
            return
        notes.ram_version = owner.version_id
        named = owner.version_id != ram.VERSION_FLAT
        version = ram.VERSION_NAMED if named else ram.VERSION_FLAT
        notes.reading = replace(notes.reading, version=version, page_sum=False if named else None)
        if owner.version_id not in (ram.VERSION_FLAT, ram.VERSION_NAMED):
            message = f"RAM section version {owner.version_id}, known are 3 and 4; read as 4"
            notes.complain("ram-version", at, message)
        if notes.forced is not None and notes.forced.ram_version != version:
            raise XbrleError(
                f"dialect {notes.forced.name} is of RAM version {notes.forced.ram_version}, "
                f"this capture is version {owner.version_id}"
            )
        notes.reading = replace(notes.reading, evidence=self._open_evidence())

    def _open_evidence(self) -> Evidence:
        """What is known of the dialect before a delta was seen."""
        notes = self._notes
        if notes.forced is not None:
            return Evidence(None, notes.forced_endian, (notes.forced.name,), forced=True)
        return Evidence(None, notes.forced_endian, likely(notes.reading))

    def _find_dialect(self, at: int) -> None:
        """Settle the dialect and byte order at the first delta."""
        buffer, notes = self._buffer, self._notes
        if buffer.end < at + LOOK_AHEAD and not buffer.final:
            buffer.load(at, LOOK_AHEAD)
        view = buffer.view[: buffer.real]
        forced, endian, footers = notes.forced, notes.forced_endian, bool(notes.footers)
        evidence = detect(view, at - buffer.base, buffer.base, notes.reading, forced, endian, footers)
        notes.reading = replace(notes.reading, evidence=evidence)
        if evidence.name is None and evidence.cut:
            self._pending.at.append(at - buffer.base)
            raise _cut(at)
        if evidence.name is None:
            raise Stop("unreadable-delta", at, "this delta reads in no dialect: " + evidence.reasons[0])
        notes.reading = replace(notes.reading, dialect=DIALECTS[evidence.name], endian=evidence.endian or "little")
        self._resettle()

    def _settle_page_size(self, at: int, word: int) -> bool:
        """Find the target's page size at the first record that depends on it. True if it is not the one assumed."""
        buffer, notes = self._buffer, self._notes
        if not self._judge.may_try_page_size(self._pending, buffer.base):
            notes.page_size_known = True
            return False
        if word & (_MEM_SIZE | _EOS):
            return False
        notes.page_size_known = True
        size = detect_page_size(buffer.view, at - buffer.base, buffer.real, notes.reading)
        if size == notes.page_size:
            return False
        notes.reading = replace(notes.reading, page_size=size)
        self._resettle()
        return True

    # -- block lists -------------------------------------------------------------------------------------------------

    def _list(self, at: int, total: int, kind: Kind) -> None:
        """Note what a record of this kind with MEM_SIZE, at ``at``, says of the blocks."""
        if self._notes.reading.version == ram.VERSION_FLAT:
            self._flat(at, total)
        elif self._block_list(at, total) and kind is not Kind.MEM_SIZE:
            raise Stop("bad-record", at, "a block list and a page in one record")

    def _repeats_list(self, at: int) -> bool:
        """Whether the block list read last stands here again, to the byte. It is walked over: there can be millions.

        What is odd about it was said of the first of them.
        """
        size, buffer, notes = len(self._last_list), self._buffer, self._notes
        if not size or buffer.reach(at, size) < size or buffer.part(at, size) != self._last_list:
            return False
        if notes.page_size_known:
            self._judge.word(at, buffer.word(at))
        self._judge.block_list(at, buffer.word(at) & ~(notes.page_size - 1))
        self._pending.special[at - buffer.base] = (Kind.MEM_SIZE, size - WORD)
        self._pending.at.append(at - buffer.base)
        return True

    def _mapped_list(self, at: int) -> "tuple[mapped_ram.Entry, Grammar] | None":
        """The first block of the mapped-ram list after the word at ``at``, and its grammar, or None."""
        buffer, notes = self._buffer, self._notes
        word = buffer.word(at) if buffer.reach(at, WORD) == WORD else 0
        flags = word & (notes.page_size - 1)
        if flags != _MEM_SIZE or notes.reading.version == ram.VERSION_FLAT:
            return None
        found = self._entry_at(at + WORD, word - flags, mapped_ram.forms(notes.capabilities))
        if found is None or (notes.blocks and found[0].name not in notes.block_index):
            return None
        return found

    def _entry_at(self, at: int, total: int, grammars: Iterable[Grammar]) -> "tuple[mapped_ram.Entry, Grammar] | None":
        """The mapped-ram block at ``at``, or None where none stands there."""
        raw = bytes(self._buffer.part(at, mapped_ram.ENTRY_MAX))
        grammars = tuple(grammars)
        found = mapped_ram.entry(raw, at, total, grammars)
        if found is None and CAPABILITY in self._notes.capabilities:
            odd = mapped_ram.entry(raw, at, total, grammars, anywhere=True)
            if odd is not None:
                raise Stop("mapped-layout", odd[0].header, _misplaced(odd[0]))
        return found

    def _mapped(self, at: int, first: "mapped_ram.Entry", grammar: Grammar) -> Generator[Columns, None, int]:
        """Read the mapped-ram list after the word at ``at`` and give the pages that it marks. Return where it ends."""
        buffer, notes = self._buffer, self._notes
        start, total = at + WORD, buffer.word(at) & ~(notes.page_size - 1)
        if notes.page_size_known:
            self._judge.word(at, buffer.word(at))
        self._pending.special[at - buffer.base] = (Kind.MEM_SIZE, first.header - start)
        self._pending.at.append(at - buffer.base)
        notes.reading = replace(notes.reading, page_size=first.page_size)
        notes.page_size_known = True
        self._resettle()
        yield from self.drain()
        while total:
            found = self._entry_at(start, total, (grammar,))
            if found is None or found[0].page_size != first.page_size:
                rule = "mapped-layout" if self._buffer.part(start, 1) else "truncated"
                raise Stop(rule, start, "no entry of a mapped-ram block list stands here")
            yield from self._mapped_block(at, found[0])
            start, total = found[0].stop, total - found[0].length
        notes.has_start = True
        return start

    def _mapped_block(self, at: int, block: "mapped_ram.Entry") -> Iterator[Columns]:
        """Note a block of the mapped-ram list after the word at ``at``, and give the pages that its bitmap marks.

        A pipe shows only after the pages whether they are there, so the bitmap is put by until then.
        """
        buffer, notes = self._buffer, self._notes
        if block.name not in notes.block_index:
            if len(notes.blocks) >= BLOCKS_MAX:
                raise Stop("bad-record", at, "more blocks than any guest has")
            notes.declare([Block(block.name, block.length, True, block.address, block.own_page_size)], at)
        index = notes.block_index[block.name]
        if block.bitmap is None or block.pages is None:
            notes.mapped.append(Mapped(index, None, None, 0))
            return
        if not block.is_placed:
            notes.complain("mapped-layout", block.header, _misplaced(block))
        pages = -(-block.length // block.page_size)
        count = 0
        import tempfile

        with tempfile.SpooledTemporaryFile(BITMAP_HELD) as bitmap:
            for here in range(block.bitmap, block.bitmap + block.bitmap_size, mapped_ram.PIECE):
                piece = buffer.part(here, min(mapped_ram.PIECE, block.bitmap + block.bitmap_size - here))
                if not piece:
                    raise Stop("truncated", buffer.end, "the capture ends inside a bitmap of pages")
                bitmap.write(piece)
                count += len(mapped_ram.marked(piece, (here - block.bitmap) * BITS, pages))
            if bitmap.tell() < block.bitmap_size:
                raise Stop("truncated", buffer.end, "the capture ends inside a bitmap of pages")
            notes.mapped.append(Mapped(index, block.bitmap, block.pages, count))
            whole = buffer.holds(block.stop - 1)
            bitmap.seek(0)
            for first in range(0, pages, mapped_ram.PIECE * BITS):
                rows = mapped_ram.marked(bitmap.read(mapped_ram.PIECE), first, pages)
                if len(rows):
                    yield mapped_ram.records(block, index, rows, buffer.source.size)
        if not whole:
            assert buffer.source.size is not None
            raise Stop("truncated", buffer.source.size, "the capture ends inside the pages of mapped-ram")

    def _block_list(self, at: int, total: int) -> int:
        """Read the v4 block list after the word at ``at`` and return its bytes."""
        notes = self._notes
        for most in (MARGIN, LIST_MAX):  # a pipe that is slow need not bring more than the list
            part = self._buffer.part(at, WORD + most)[WORD:]
            found = blocklist.read(part, total, notes.capabilities)
            if not found.cut:
                break
        if found.cut and len(part) < LIST_MAX:
            raise Stop("truncated", at, "the capture ends inside the block list")
        if found.cut:
            raise Stop("bad-record", at, f"a block list of more than {LIST_MAX} bytes, which no guest has")
        self._entry = found.entry
        blocks = [Block(b.name, b.length, True, b.address, b.page_size) for b in found.blocks]
        if found.total > total:
            message = f"the blocks' lengths add up to {found.total:#x}, the list says {total:#x}"
            notes.complain("block-list", at, message)
        if not notes.blocks:
            notes.declare(blocks, at)
        elif total:
            self._compare(blocks, at)
        notes.has_start = True
        self._judge.block_list(at, total)
        is_plain = self._buffer.word(at) == total | _MEM_SIZE and total and not found.cut
        self._last_list = bytes(self._buffer.part(at, WORD + found.size)) if is_plain else b""
        return found.size

    def _compare(self, blocks: list[Block], at: int) -> None:
        """A block list after the first: receivers look each entry up, whatever their order and number."""
        notes = self._notes
        first = [b for b in notes.blocks if b.declared]
        if not set(blocks) <= set(first):
            notes.complain("block-list", at, "a second block list, with blocks that the first has not")
        elif blocks != first:
            fewer = len(blocks) < len(first)
            difference = "with not all blocks of the first" if fewer else "in another order"
            notes.complain("block-list-form", at, f"a second block list, {difference}")

    def _flat(self, at: int, total: int) -> None:
        """v3 has one block, the whole ram_addr space."""
        notes = self._notes
        if not notes.blocks:
            notes.declare([Block(ram.IDSTR, total)], at)
            self._block = 0
            self._pending.select(0)
        elif notes.blocks[0].length != total:
            notes.complain("block-list", at, "a second MEM_SIZE, and a different one")
        notes.has_start = True

    def _block_named(self, name: bytes, at: int) -> int:
        """The index of the block called ``name``. One that the list does not have is added, as undeclared."""
        notes = self._notes
        self._judge.block_name(at, name)
        index = notes.block_index.get(name)
        if index is None:
            if len(notes.blocks) >= BLOCKS_MAX:
                raise Stop("bad-record", at, "more blocks than any guest has")
            index = notes.block_index[name] = len(notes.blocks)
            notes.blocks.append(Block(name, 0, declared=False))
        return index


def _cut(at: int) -> Stop:
    """The capture ends inside the record at ``at``, which `Layout.gather` keeps with what is there of it."""
    return Stop("truncated", at, "the capture ends inside this record")


def _misplaced(block: "mapped_ram.Entry") -> str:
    """What is said of a block of mapped-ram whose header names other places than a sender chooses."""
    stated, usual = (block.bitmap, block.pages), block.usual
    wrong = [
        f"its {what} at {at:#x}, and a sender puts {them} at {place:#x}"
        for what, them, at, place in zip(("bitmap", "pages"), ("it", "them"), stated, usual, strict=True)
        if at != place
    ]
    return f"the header of {shown(block.name)} says {', '.join(wrong)}"
