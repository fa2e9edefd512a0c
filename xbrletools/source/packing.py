"""Compressions that are undone on the way in. Each decoder is imported when it is first needed.

A decoder gives all that it can before damage, and nothing of a unit whose sum it checked and found wrong. The unit is a
block of bzip2 and lzop, a chunk of xz, a block of zstd, and a bit of gzip.
"""

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import Any, cast

from construct import ConstructError

from ..formats import bzip2, lzop, xz, zstd
from .ahead import CONTENT, PIECE, Ahead
from .damage import PackedDamage, begins

_GZIP = b"\x1f\x8b"


class Unpacked:
    """What ``pieces`` unpack of ``packed``, read once and in order.

    Raises:
        PackedDamage: all that stands before the damage was read. Every read from then on raises it again.
    """

    def __init__(self, packed: Ahead, wrapper: str, pieces: Iterator[bytes]) -> None:
        self._packed = packed
        self._wrapper = wrapper
        self._pieces = pieces
        self._held = b""
        self._given = 0
        self._damage: Exception | None = None

    def read1(self, count: int = CONTENT) -> bytes:
        """The next bytes, at most ``count``: what one step of the decoder gives. Empty at the end."""
        while not self._held and self._damage is None:
            try:
                self._held = next(self._pieces)
            except StopIteration:
                return b""
            except PackedDamage as damage:
                self._damage = EOFError(damage.said(self._wrapper, self._given))
            except Exception as error:  # the packed file itself cannot be read on
                self._damage = error
        if not self._held and self._damage is not None:
            raise self._damage
        piece, self._held = self._held[:count], self._held[count:]
        self._given += len(piece)
        return piece

    def fileno(self) -> int:
        """The descriptor to wait on. Raises OSError where nobody needs to wait."""
        if self._held:
            raise OSError("bytes are at hand")
        return self._packed.fileno()

    def close(self) -> None:
        """Close the packed file."""
        self._packed.close()


# -- gzip -------------------------------------------------------------------------------------------------------------

_GZIP_CHECKS = "gzip checks its content only at the end, so some of what came before may be wrong as well"


def _gzip(raw: Ahead) -> Iterator[bytes]:
    """Member after member. Between them and after the last one, zeros are passed over."""
    first = True
    while True:
        while not first and raw.head(1) == b"\0":
            raw.read(1)
        head = raw.head(len(_GZIP))
        if not head and not first:
            return
        begins(raw, _GZIP, "member of gzip")
        yield from _member(raw)
        first = False


def _member(raw: Ahead) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)  # 31: a gzip header and trailer
    data = b""
    while not decoder.eof:
        data = data or raw.read1(PIECE)
        kept = decoder.copy()
        try:
            piece = decoder.decompress(data, CONTENT)
        except zlib.error as error:
            yield from _to_the_last_byte(kept, data, raw.at - len(data), error)
        if not data and not piece:
            raise PackedDamage(raw.at)
        data = decoder.unconsumed_tail
        if piece:
            yield piece
    raw.unread(decoder.unused_data)


def _to_the_last_byte(decoder: Any, data: bytes, at: int, error: zlib.error) -> Iterator[bytes]:
    """What a decoder gives of ``data``, which stands at ``at``, up to the ``error`` in it. Raises PackedDamage."""
    size = len(data) // 2
    while size:
        trial = decoder.copy()
        try:
            piece = trial.decompress(data[:size])
        except zlib.error:
            size //= 2
            continue
        decoder, data, at = trial, data[size:], at + size
        yield piece
    try:
        while piece := decoder.decompress(data[:1], 1):  # this byte is wrong; what its first bits say may be right
            yield piece
            data = decoder.unconsumed_tail
    except zlib.error:
        pass
    why = str(error).rpartition(": ")[2]
    raise PackedDamage(at, why, _GZIP_CHECKS)


# -- the table --------------------------------------------------------------------------------------------------------


def _bzip2(raw: Ahead) -> Iterator[bytes]:
    from .blocks import bzip2_pieces

    return bzip2_pieces(raw)


def _xz(raw: Ahead) -> Iterator[bytes]:
    from .chunks import xz_pieces

    return xz_pieces(raw)


def _zstd(raw: Ahead) -> Iterator[bytes]:
    from .chunks import zstd_pieces

    return zstd_pieces(raw, zstd_decoder)


def _lzop(raw: Ahead) -> Iterator[bytes]:
    from .lzop import lzop_pieces

    return lzop_pieces(raw)


_DECODERS: dict[str, Callable[[Ahead], Iterator[bytes]]] = {
    "xz": _xz,
    "gzip": _gzip,
    "bzip2": _bzip2,
    "zstd": _zstd,
    "lzop": _lzop,
}

#: The command that undoes each compression of a file, and gives its content.
UNDOES = {"xz": "xzcat", "gzip": "zcat", "bzip2": "bzcat", "zstd": "zstdcat", "lzop": "lzop -dc"}

_MAGICS = {xz.MAGIC: "xz", _GZIP: "gzip", bzip2.MAGIC: "bzip2", zstd.MAGIC: "zstd", lzop.MAGIC: "lzop"}
_INDEX_MAX = 1 << 16  # bytes of an index of xz that are read: 10,000 blocks
MAGIC_MAX = max(map(len, _MAGICS))

_ERRORS = (EOFError, OSError, ValueError, zlib.error)
_OWN_ERRORS = frozenset(("LZMAError", "ZstdError"))  # of what the user unpacks


def packing_of(head: bytes) -> str | None:
    """The compression of a file that begins with ``head``, or None for a file that is not compressed."""
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)


def content_size(descriptor: int) -> int | None:
    """How many bytes a packed file says that it unpacks to, or None where that takes unpacking it.

    Only xz states it. A file of several streams has at least so many. The claim is for a warning, and sizes nothing.
    """
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or packing_of(os.pread(descriptor, MAGIC_MAX, 0)) != "xz":
            return None
        end = state.st_size - xz.StreamFooter.sizeof()
        footer = xz.StreamFooter.parse(os.pread(descriptor, xz.StreamFooter.sizeof(), end))
        size = xz.ALIGNMENT * (footer.backward + 1)
        if not size <= min(end, _INDEX_MAX):
            return None
        return sum(int(block.content) for block in xz.Index.parse(os.pread(descriptor, size, end - size)).blocks)
    except (OSError, ValueError, OverflowError, AttributeError, ConstructError):
        return None


def is_read(packing: str) -> bool:
    """Whether a compression of this name is undone."""
    return packing in _DECODERS


def unpacked(raw: Ahead, packing: str) -> Ahead:
    """What ``raw`` holds, which is packed so.

    Raises:
        XbrleError: a library that it takes is not installed.
    """
    return Ahead(Unpacked(raw, packing, _DECODERS[packing](raw)))


def is_damage(error: Exception) -> bool:
    """Whether reading says with this error that the input is damaged or ends early."""
    return isinstance(error, _ERRORS) or type(error).__name__ in _OWN_ERRORS


def zstd_decoder() -> Callable[[bytes], bytes]:
    """A function that takes a zstd frame, piece after piece, and gives its content."""
    try:
        import zstandard
    except ImportError:
        from compression import zstd as newer  # type: ignore[import-not-found]  # Python 3.14 and later

        return cast("Callable[[bytes], bytes]", newer.ZstdDecompressor().decompress)
    return zstandard.ZstdDecompressor().decompressobj().decompress
