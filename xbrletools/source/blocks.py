"""bzip2, undone block by block. The content of a block comes out only when its sum holds.

Facts: formats/README.md, "Compressions". Blocks are found by their magic. Each becomes a file of one block, which the
library undoes.
"""

import bz2
import zlib
from collections.abc import Iterator

from ..formats import bzip2
from .ahead import CONTENT, PIECE, Ahead
from .damage import PackedDamage, begins

_STREAM = "stream of bzip2"
_MAGICS = (bzip2.BLOCK, bzip2.END)
_MIRRORED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))  # each byte with its bits the other way round


class _Bits:
    """Bytes that are read as bits. ``at`` is the bit that comes next, counted from the file's beginning."""

    def __init__(self, raw: Ahead) -> None:
        self._raw = raw
        self._data = b""
        self._base = raw.at
        self.at = 8 * raw.at
        self.ended = False

    @property
    def place(self) -> int:
        """The offset of the byte that holds the next bit."""
        return self.at // 8

    @property
    def end(self) -> int:
        """The offset after the last byte that was taken: the file's end where it has ``ended``."""
        return self._base + len(self._data)

    def more(self) -> bool:
        """Take more bytes. Returns whether there were any."""
        piece = self._raw.read1(PIECE)
        self._data += piece
        self.ended = not piece
        return bool(piece)

    def rest(self) -> bytes:
        """The bytes that were taken and not passed. The next bit begins one of them."""
        return self._data[self.place - self._base :]

    @property
    def there(self) -> int:
        """The bits from the next one on, as far as they were taken."""
        return 8 * (self._base + len(self._data)) - self.at

    def peek(self, count: int, skip: int = 0) -> int | None:
        """The next ``count`` bits after ``skip`` as a number, or None where the file ends before them."""
        while self.there < skip + count:
            if not self.more():
                return None
        start = self.at + skip - 8 * self._base
        stop = start + count
        whole = int.from_bytes(self._data[start // 8 : -(-stop // 8)], "big")
        return whole >> -stop % 8 & (1 << count) - 1

    def go(self, count: int) -> None:
        """Pass over ``count`` bits."""
        self.at += count
        gone = self.at // 8 - self._base
        self._data = self._data[gone:]
        self._base += gone

    def next_magic(self, skip: int) -> int | None:
        """How many bits from the next one the first magic begins that lies ``skip`` bits on or later.

        None where none begins within the bytes that a block can have.
        """
        searched = skip
        while searched <= 8 * bzip2.BLOCK_MAX:
            found = self._find(searched)
            if found is not None:
                return found
            searched = max(skip, self.there - bzip2.MAGIC_BITS)
            if not self.more():
                return None
        return None

    def _find(self, skip: int) -> int | None:
        """As `next_magic`, in the bytes that were taken."""
        origin = self.at - 8 * self._base
        first = (origin + skip) // 8
        hits = []
        for magic in _MAGICS:
            for shift in range(8):  # the bit of its first byte at which it begins
                filled = (magic >> shift & (1 << 40) - 1).to_bytes(5, "big")  # the next five bytes, whole
                at = self._data.find(filled, first + 1)
                while at >= 0:
                    found = 8 * (at - 1) + shift - origin
                    if found >= skip and self.peek(bzip2.MAGIC_BITS, found) == magic:
                        hits.append(found)
                        break
                    at = self._data.find(filled, at + 1)
        return min(hits, default=None)


def bzip2_pieces(raw: Ahead) -> Iterator[bytes]:
    """The content of a bzip2 file, block by block. A block holds at most 900,000 bytes, in which runs are packed.

    Raises:
        PackedDamage: what stands here is damaged, or the file ends.
    """
    while True:
        begins(raw, bzip2.MAGIC, _STREAM)
        head = raw.read(bzip2.HEADER_SIZE)
        if len(head) < bzip2.HEADER_SIZE:
            raise PackedDamage(raw.at)
        if not b"1" <= head[-1:] <= b"9":
            raise PackedDamage(raw.at - len(head), f"no {_STREAM} begins here")
        bits = _Bits(raw)
        yield from _blocks(bits, head)
        raw.unread(bits.rest())
        if not raw.head(1):
            return


def _blocks(bits: _Bits, head: bytes) -> Iterator[bytes]:
    """The blocks of one stream, which begins with ``head``, and what ends it."""
    sums = 0
    while (magic := bits.peek(bzip2.MAGIC_BITS)) == bzip2.BLOCK:
        stated = bits.peek(bzip2.SUM_BITS, bzip2.MAGIC_BITS)
        content, size = _block(bits, head, stated)
        yield from content
        if isinstance(size, PackedDamage):
            raise size
        bits.go(size)
        sums = (sums << 1 & 0xFFFF_FFFF | sums >> 31) ^ (stated or 0)
    stated = bits.peek(bzip2.SUM_BITS, bzip2.MAGIC_BITS)
    if magic is None or stated is None:
        raise PackedDamage(bits.end)
    if magic != bzip2.END:
        raise PackedDamage(bits.place, "no block begins here")
    if stated != sums:
        raise PackedDamage(bits.place, "the sum of all blocks does not hold")
    bits.go(bzip2.MAGIC_BITS + bzip2.SUM_BITS)
    bits.go(-bits.at % 8)


def _block(bits: _Bits, head: bytes, stated: int | None) -> tuple[list[bytes], int | PackedDamage]:
    """The content of the block that begins at the next bit, and how many bits it has or what is wrong behind it."""
    if stated is None:
        raise PackedDamage(bits.end)
    first = None
    size = bzip2.MAGIC_BITS
    for _ in range(2):  # what looks like a magic can be a part of the block
        found = bits.next_magic(size)
        content = None if found is None else _undone(head, bits.peek(found) or 0, found, stated)
        if found is not None and content is not None:
            return content, found
        first = first or found
        size = size if found is None else found + 1
    whole = first or min(bits.there, 8 * bzip2.BLOCK_MAX)
    content = _alone(head, bits.peek(whole) or 0, whole, stated)
    if first is None and bits.ended:
        return content or [], PackedDamage(bits.end)
    if content is None:
        raise PackedDamage(bits.place, "a block's sum does not hold, or it cannot be read")
    return content, PackedDamage(bits.place, "nothing that is known follows the block that begins here")


def _packed(head: bytes, number: int, size: int) -> bytes:
    """The file that begins with ``head`` and goes on with the ``size`` bits of ``number``."""
    return head + (number << -size % 8).to_bytes(-(-size // 8), "big")


def _undone(head: bytes, number: int, size: int, stated: int) -> list[bytes] | None:
    """The content of the block of ``size`` bits, in pieces.

    Gives None where the block cannot be undone or its sum does not hold.
    """
    whole = ((number << bzip2.MAGIC_BITS | bzip2.END) << bzip2.SUM_BITS) | stated  # a sum of sums: of this one
    packed = _packed(head, whole, size + bzip2.MAGIC_BITS + bzip2.SUM_BITS)
    decoder, pieces = bz2.BZ2Decompressor(), []
    try:
        while not decoder.eof:
            piece = decoder.decompress(packed, CONTENT)
            if not piece and not decoder.eof:
                return None
            pieces.append(piece)
            packed = b""
    except OSError:
        return None
    return pieces


def _alone(head: bytes, number: int, size: int, stated: int) -> list[bytes] | None:
    """As `_undone`, for a block after which damage or the end of the file stands within ``size`` bits."""
    decoder, pieces, found = bz2.BZ2Decompressor(), [], 0
    packed = _packed(head, number, size)
    try:
        for at in range(len(packed)):  # with its last byte the block comes out, and what follows is not looked at
            piece = decoder.decompress(packed[at : at + 1], CONTENT)
            while piece:
                pieces.append(piece)
                found = zlib.crc32(piece.translate(_MIRRORED), found)
                piece = decoder.decompress(b"", CONTENT)
            if pieces:
                break
    except OSError:
        return None
    return pieces if int(f"{found:032b}"[::-1], 2) == stated and pieces else None
