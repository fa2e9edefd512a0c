"""Reads an lzop file block by block, where a library that undoes LZO is installed.

Facts: formats/README.md, "lzop". A block that claims more than `lzop.BLOCK_MAX` bytes is refused before any are
allocated.
"""

import io
import zlib
from typing import BinaryIO

from construct import ConstructError

from ..errors import XbrleError
from ..formats import lzop
from ..formats.lzop import Flag


class LzopReader(io.RawIOBase):
    """The content of an lzop file, as a file.

    Raises:
        XbrleError: no library that undoes LZO is installed.
    """

    def __init__(self, raw: BinaryIO) -> None:
        try:
            from dissect.util.compression import lzo
        except ImportError:
            raise XbrleError(
                "is packed with lzop: unpack it with lzop, or install xbrletools[lzop], which reads it"
            ) from None
        self._undo = lzo.decompress
        self._raw = raw
        self._flags: int | None = None
        self._piece = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # io passes a memoryview, whatever its stub says
        """Fill ``buffer`` with the next bytes of the content. Returns how many they are: 0 at the end."""
        if not self._piece:
            self._piece = self._block()
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _take(self, count: int) -> bytes:
        data = self._raw.read(count)
        if len(data) < count:
            raise EOFError("the file ends inside a block")
        return data

    def _number(self) -> int:
        return int(lzop.Number.parse(self._take(lzop.Number.sizeof())))

    def _block(self) -> bytes:
        if self._flags is None:
            try:
                self._flags = int(lzop.Header.parse_stream(self._raw).flags)
            except ConstructError:
                raise EOFError("the file ends inside its header") from None
        size = self._number()
        if not size:
            return b""
        packed = self._number()
        if size > lzop.BLOCK_MAX or packed > size:
            raise ValueError(f"a block of {packed} bytes for {size}")
        stated = [self._number() for f in (Flag.ADLER32, Flag.CRC32) if self._flags & f]
        if packed < size:
            _ = [self._number() for f in (Flag.ADLER32_PACKED, Flag.CRC32_PACKED) if self._flags & f]
        data = self._take(packed)
        if packed < size:
            try:
                data = bytes(self._undo(data, False, size))
            except (KeyboardInterrupt, MemoryError):
                raise
            except BaseException as error:  # a panic in the library's native code is not an Exception
                raise ValueError(f"a block that is not LZO: {error}") from None
        sums = [f(data) for f, flag in ((zlib.adler32, Flag.ADLER32), (zlib.crc32, Flag.CRC32)) if self._flags & flag]
        if len(data) != size or sums != stated:
            raise ValueError("a block does not match its checksum")
        return data
