"""xz and zstd, undone part after part, so that all parts before a damaged one come out.

The container is read as far as it shows where each part ends. A library undoes the parts. Facts: formats/README.md,
"Compressions".
"""

import lzma
from collections.abc import Callable, Iterator

from ..formats import xz, zstd
from .ahead import PIECE, Ahead
from .damage import PackedDamage, begins

MEMORY_MAX = 1 << 30  # bytes that a decoder of xz may take: the greatest preset takes 65 MiB

_XZ_CHECKS = "xz checks a block only at its end, so some of what came before may be wrong as well"
_ZSTD_CHECKS = "zstd checks a frame only at its end, so some of what came before may be wrong as well"


def _take(raw: Ahead, count: int) -> bytes:
    """The next ``count`` bytes, all of which must be there."""
    piece = raw.read(count)
    if len(piece) < count:
        raise PackedDamage(raw.at)
    return piece


# -- xz ---------------------------------------------------------------------------------------------------------------


def xz_pieces(raw: Ahead) -> Iterator[bytes]:
    """The content of an xz file, chunk by chunk. A chunk holds at most 2 MiB.

    Raises:
        PackedDamage: what stands here is damaged, or the file ends.
    """
    while True:
        yield from _xz_stream(raw)
        while raw.head(xz.ALIGNMENT) == bytes(xz.ALIGNMENT):
            raw.read(xz.ALIGNMENT)
        if not raw.head(1):
            return


def _xz_stream(raw: Ahead) -> Iterator[bytes]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY_MAX)

    def undone(piece: bytes, checks: str = "") -> bytes:
        try:
            return decoder.decompress(piece)
        except lzma.LZMAError as error:
            raise PackedDamage(raw.at - len(piece), str(error).lower(), checks) from None

    begins(raw, xz.MAGIC, "stream of xz")
    head = _take(raw, xz.StreamHeader.sizeof())
    undone(head)
    check = xz.CHECK_SIZES[head[len(xz.MAGIC) + 1] % len(xz.CHECK_SIZES)]
    while (first := raw.head(1)) and first[0] != xz.INDEX:
        head = _take(raw, (first[0] + 1) * xz.ALIGNMENT)
        undone(head)
        alone = not xz.BlockHead.parse(head).flags & xz.FILTERS
        begun = raw.at
        while (first := raw.head(1)) and first[0] != xz.CHUNK_END:
            chunk, packed, size = _chunk(raw)
            content = undone(chunk)
            if len(chunk) < packed:  # the file ends inside it, and what the decoder gives is right
                yield content
                raise PackedDamage(raw.at)
            if alone and len(content) != size:
                raise PackedDamage(raw.at - len(chunk), "a chunk does not hold what its header says")
            yield content
        padding = -(raw.at + 1 - begun) % xz.ALIGNMENT
        yield undone(_take(raw, 1 + padding + check), _XZ_CHECKS)
    while not decoder.eof:
        piece = raw.read1(PIECE)
        if not piece:
            raise PackedDamage(raw.at)
        undone(piece)
    raw.unread(decoder.unused_data)


def _chunk(raw: Ahead) -> tuple[bytes, int, int]:
    """The next chunk of LZMA2 with its header, as far as it is there. Gives also its size and that of its content."""
    control = raw.head(1)[0]
    if control in xz.CHUNK_STORED:
        head = _take(raw, 1 + xz.StoredChunk.sizeof())
        size = int(xz.StoredChunk.parse(head[1:]).size) + 1
        return head + raw.read(size), len(head) + size, size
    if control < xz.CHUNK_PACKED:
        raise PackedDamage(raw.at, f"no chunk of LZMA2 begins with {control:#04x}")
    head = _take(raw, 1 + xz.PackedChunk.sizeof())
    sizes = xz.PackedChunk.parse(head[1:])
    packed = int(sizes.packed) + 1 + (control >= xz.CHUNK_NEW_PROPERTIES)
    size = ((control & xz.CHUNK_SIZE) << 16) + int(sizes.size) + 1
    return head + raw.read(packed), len(head) + packed, size


# -- zstd -------------------------------------------------------------------------------------------------------------


def zstd_pieces(raw: Ahead, decoder: Callable[[], Callable[[bytes], bytes]]) -> Iterator[bytes]:
    """The content of a zstd file, block by block. A block holds at most 128 KiB. ``decoder`` makes one for a frame.

    Raises:
        PackedDamage: what stands here is damaged, or the file ends.
    """
    while raw.head(1):
        if zstd.is_skippable(raw.head(len(zstd.MAGIC))):
            left = int(zstd.SkippableHead.parse(_take(raw, zstd.SkippableHead.sizeof())).size)
            while left:
                left -= len(_take(raw, min(left, PIECE)))
            continue
        begins(raw, zstd.MAGIC, "frame of zstd")
        yield from _frame(raw, decoder())


def _frame(raw: Ahead, decode: Callable[[bytes], bytes]) -> Iterator[bytes]:
    def undone(piece: bytes, checks: str = "") -> bytes:
        try:
            return decode(piece)
        except Exception as error:  # of two libraries, each with an error of its own
            if type(error).__name__ != "ZstdError":
                raise
            raise PackedDamage(raw.at - len(piece), str(error).rpartition(": ")[2].lower(), checks) from None

    head = _take(raw, zstd.FrameHead.sizeof())
    descriptor = head[-1]
    single = bool(descriptor & zstd.SINGLE_SEGMENT)
    content = zstd.CONTENT_SIZES[descriptor >> 6] or int(single)
    undone(head + _take(raw, (not single) + zstd.DICTIONARY_SIZES[descriptor & 3] + content))
    last = False
    while not last:
        head = _take(raw, zstd.BlockHead.sizeof())
        word = int(zstd.BlockHead.parse(head))
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if kind == zstd.RESERVED or size > zstd.BLOCK_MAX:
            raise PackedDamage(raw.at - len(head), "no block of zstd begins so")
        yield undone(head + _take(raw, 1 if kind == zstd.REPEATED else size))
    if descriptor & zstd.HAS_SUM:
        undone(_take(raw, zstd.SUM_SIZE), _ZSTD_CHECKS)
