"""Records, sections and the container as bytes: what goes on the wire once the sender has chosen.

All layouts come from the grammars. Records are written a batch at a time, through dtypes derived from the grammars.
Only section frames and block lists, which are few, go through construct.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import distinct
from ..codec import checksum
from ..codec.layout import dtype_of
from ..errors import XbrleError
from ..formats import block as block_format
from ..formats import qevm, ram
from ..formats.dialects import Checksum, Dialect
from ..formats.qevm import SectionType
from ..formats.ram import Flag
from ..formats.xbrle import HeaderFlag
from ..model import Block
from ..table.claims import field_of
from .policy import Choices

WORD = ram.Word.sizeof()
_NO_BLOCK = -1


@dataclass(frozen=True, slots=True)
class RecordForm:
    """How a stream's RAM records are written.

    ``endian`` is the sending host's, "little" or "big". ``checksums`` matters where the dialect leaves the choice.
    """

    dialect: Dialect
    endian: str = "little"
    checksums: bool = False
    page_size: int = ram.PAGE_SIZE

    @property
    def version(self) -> int:
        """The RAM section's version."""
        return self.dialect.ram_version


@dataclass(frozen=True, slots=True)
class PageRecords:
    """What a batch of n records carries.

    ``block`` and ``address`` (n,) are the block's index and the address in it, ``contents`` (n, page_size) uint8 the
    pages. ``is_dup`` (n,) marks dup pages, ``named`` (n,) the records that name their block though CONTINUE would do.
    """

    block: NDArray[np.int64]
    address: NDArray[np.int64]
    contents: NDArray[np.uint8]
    is_dup: NDArray[np.bool_]
    named: NDArray[np.bool_]


class Writer:
    """Writes records. Between batches it remembers the block last named and the number of records."""

    def __init__(self, form: RecordForm, names: Sequence[bytes]) -> None:
        for name in names:
            if not 1 <= len(name) <= 255:
                raise XbrleError(f"a RAM block's name takes 1 to 255 bytes, not {len(name)}")
        if len(set(names)) < len(names):
            raise XbrleError("two blocks have the same name")
        self.form = form
        self._names = [bytes([len(n)]) + n for n in names]
        self._name_sizes = np.array([len(n) for n in self._names], np.int64)
        self._header = dtype_of(form.dialect.header(form.endian))
        self._page_head = np.dtype(">u4").itemsize if form.dialect.page_sum else 0
        self._delta_flag = int(ram.delta_flag(form.version))
        self._block = _NO_BLOCK
        self._number = 0

    def write(self, records: PageRecords, choices: Choices) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Give the batch's bytes, (total,) uint8, and where each record begins in them, (n + 1,) int64.

        A record whose page the choices call the same takes no bytes.
        """
        size, form = records.contents.shape[1], self.form
        sent = ~choices.same
        is_page = sent & ~records.is_dup & ~choices.is_delta
        named = self._named(records, sent)
        heads = np.full(len(sent), WORD, np.int64)
        heads[named] += self._name_sizes[records.block[named]]
        sizes = heads + records.is_dup * ram.Fill.sizeof() + is_page * (self._page_head + size)
        sizes += choices.is_delta * (self._header.itemsize + choices.lengths)
        sizes[~sent] = 0
        starts = np.zeros(len(sent) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        out = np.empty(int(starts[-1]), np.uint8)

        flags = np.where(records.is_dup, int(Flag.COMPRESS), int(Flag.PAGE))
        flags[choices.is_delta] = self._delta_flag
        if form.version != ram.VERSION_FLAT:
            flags[~named] |= int(Flag.CONTINUE)
        words = (records.address | flags).astype(">u8")
        _put(out, starts[:-1][sent], words[sent])
        for block in distinct(records.block[named]).tolist():
            named_block = np.flatnonzero(named & (records.block == block))
            name = np.frombuffer(self._names[block], np.uint8)
            out[starts[named_block][:, None] + WORD + np.arange(len(name))] = name
        after = starts[:-1] + heads
        dups = np.flatnonzero(records.is_dup & sent)
        out[after[dups]] = records.contents[dups, 0]
        self._pages(out, after, np.flatnonzero(is_page), records.contents)
        self._deltas(out, after, sent, choices, records.contents)
        self._number += int(np.count_nonzero(sent))
        return out, starts

    def _named(self, records: PageRecords, sent: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which records name their block: where it changes, and where they must."""
        named = np.zeros(len(sent), bool)
        if self.form.version == ram.VERSION_FLAT or not sent.any():
            return named
        block = records.block[sent]
        named[sent] = records.named[sent] | (block != np.concatenate([[self._block], block[:-1]]))
        self._block = int(block[-1])
        return named

    def _pages(
        self, out: NDArray[np.uint8], after: NDArray[np.int64], which: NDArray[np.int64], contents: NDArray[np.uint8]
    ) -> None:
        if self._page_head and len(which):
            _put(out, after[which], checksum.byte_sum(contents, which).astype(">u4"))
        size = contents.shape[1]
        for place, at in zip(which.tolist(), (after[which] + self._page_head).tolist(), strict=True):
            out[at : at + size] = contents[place]

    def _deltas(
        self,
        out: NDArray[np.uint8],
        after: NDArray[np.int64],
        sent: NDArray[np.bool_],
        choices: Choices,
        contents: NDArray[np.uint8],
    ) -> None:
        which = np.flatnonzero(choices.is_delta)
        if not len(which):
            return
        dialect, fields = self.form.dialect, self._header.names or ()
        header = np.zeros(len(which), self._header)
        header["flags"] = int(HeaderFlag.XBRLE)
        header["length"] = choices.lengths[which] + dialect.length_counts
        if dialect.checksum is Checksum.FLAGGED and self.form.checksums:
            header["flags"] |= int(HeaderFlag.CHECKSUM)
        if dialect.checksum is not Checksum.NONE and (dialect.checksum is not Checksum.FLAGGED or self.form.checksums):
            sums = checksum.byte_sum(contents, which)
            header["checksum"] = field_of(sums, dialect)
        if "sequence" in fields:  # the record's number - 1 [C]
            header["sequence"] = self._number + np.cumsum(sent)[which] - 1
        _put(out, after[which], header)
        lengths = choices.lengths[which]
        ends = np.cumsum(lengths)
        to = np.arange(len(choices.data))
        to += np.repeat(after[which] + self._header.itemsize - (ends - lengths), lengths)
        out[to] = choices.data


def _put(out: NDArray[np.uint8], at: NDArray[np.int64], values: NDArray[np.generic]) -> None:
    """Write values of one dtype, packed, at these offsets."""
    size = values.dtype.itemsize
    out[at[:, None] + np.arange(size)] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), size)


def end_of_section() -> bytes:
    """The EOS word that ends a RAM section."""
    return bytes(ram.Word.build(int(Flag.EOS)))


def memory_size(
    version: int, blocks: Sequence[Block], offsets: NDArray[np.int64], page_size: int, page_sizes: bool = False
) -> bytes:
    """The MEM_SIZE record: the block list in v4, the end of ram_addr space in v3.

    An entry has the block's address where that is known, and its own page size if ``page_sizes`` are asked for.

    Raises:
        XbrleError: the list's lengths do not fit a word.
    """
    if version == ram.VERSION_FLAT:
        total = max((int(o) + b.length for o, b in zip(offsets, blocks, strict=True)), default=0)
    else:
        total = sum(b.length for b in blocks)
    if total % page_size or total >> 63:
        raise XbrleError(f"blocks of {total:#x} bytes together cannot be announced, in pages of {page_size} bytes")
    out = bytes(ram.Word.build(total | int(Flag.MEM_SIZE)))
    if version != ram.VERSION_FLAT:
        out += b"".join(block_entry(b, page_sizes) for b in blocks)
    return out


def block_entry(block: Block, page_size: bool = False) -> bytes:
    """The entry of a v4 block list, with what `memory_size` says."""
    entry = ram.block_entry(block.address is not None, page_size and block.page_size is not None)
    fields = {"idstr": block.name, "length": block.length, "page_size": block.page_size, "address": block.address}
    return bytes(entry.build(fields))


@dataclass(frozen=True, slots=True)
class Frames:
    """Section frames of a stream as 2010 and 2011 wrote it: RAM alone, or after an idle block section each time."""

    version: int
    block_section: bool

    @property
    def ram_id(self) -> int:
        """The RAM section's id."""
        return 2 if self.block_section else 1

    def file_header(self) -> bytes:
        """What a stream begins with."""
        return bytes(qevm.FileHeader.build({"version": qevm.VERSION}))

    def section(self, kind: SectionType) -> bytes:
        """The bytes before the records of a RAM section of this type."""
        out = b""
        if self.block_section:
            out = _section(kind, 1, block_format.IDSTR, block_format.VERSION)
            out += bytes(ram.Word.build(int(block_format.Flag.EOS)))
        return out + _section(kind, self.ram_id, ram.IDSTR, self.version)

    def end(self, device_tail: bytes) -> bytes:
        """What follows the last RAM section: device sections as given, and the container's EOF."""
        return device_tail + bytes([SectionType.EOF])


def _section(kind: SectionType, section_id: int, idstr: bytes, version: int) -> bytes:
    start = {"section_id": section_id, "idstr": idstr, "instance_id": 0, "version_id": version}
    return bytes(qevm.SectionHeader.build({"type": int(kind), "start": start, "part": start}))
