"""Compressions that are undone on the way in. Each decoder is imported when it is first needed."""

import io
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

from ..formats import lzop
from .lzop import LzopReader


def _zstd(raw: BinaryIO) -> BinaryIO:
    try:
        import zstandard
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14 and later

        return cast("BinaryIO", zstd.open(raw))
    return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))


def zstd_decoder() -> Callable[[bytes], bytes]:
    """A function that takes a zstd frame, piece after piece, and gives its content."""
    try:
        import zstandard
    except ImportError:
        from compression import zstd

        return cast("Callable[[bytes], bytes]", zstd.ZstdDecompressor().decompress)
    return zstandard.ZstdDecompressor().decompressobj().decompress


def _xz(raw: BinaryIO) -> BinaryIO:
    import lzma

    return cast("BinaryIO", lzma.open(raw))


def _gzip(raw: BinaryIO) -> BinaryIO:
    import gzip

    return cast("BinaryIO", gzip.open(raw))


def _bzip2(raw: BinaryIO) -> BinaryIO:
    import bz2

    return cast("BinaryIO", bz2.open(raw))


def _lzop(raw: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(LzopReader(raw)))


#: What undoes each compression, by its name.
READERS: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    "xz": _xz,
    "gzip": _gzip,
    "bzip2": _bzip2,
    "zstd": _zstd,
    "lzop": _lzop,
}

_MAGICS = {
    b"\xfd7zXZ\x00": "xz",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    lzop.MAGIC: "lzop",
}
MAGIC_MAX = max(map(len, _MAGICS))

_ERRORS = (EOFError, OSError, ValueError, zlib.error)
_OWN_ERRORS = frozenset(("LZMAError", "ZstdError"))


def packing_of(head: bytes) -> str | None:
    """The compression of a file that begins with ``head``; None for a file that is not compressed."""
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)


def is_damage(error: Exception) -> bool:
    """Whether a decoder says with this error that its input is damaged or ends early."""
    return isinstance(error, _ERRORS) or type(error).__name__ in _OWN_ERRORS
