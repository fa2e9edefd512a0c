"""Bytes that are read once and in order, of which some may be looked at before they are read."""

from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

PIECE = 1 << 16  # packed bytes that are taken at once
CONTENT = 1 << 20  # bytes of content that are given at once, about


class Steps(Protocol):
    """What gives its bytes step by step."""

    def read1(self, count: int, /) -> bytes:
        """The next bytes, at most ``count``. There are none at the end."""

    def fileno(self) -> int:
        """The descriptor to wait on."""

    def close(self) -> None:
        """Close it."""


class Ahead:
    """``raw``, which gives its bytes in order. ``at`` is how many were read of it by now.

    An error of ``raw`` is raised when all bytes before it were read, and at every read from then on.
    """

    def __init__(self, raw: BinaryIO | Steps) -> None:
        self._raw = raw
        self._step = cast("Callable[[int], bytes | None]", raw.read1 if hasattr(raw, "read1") else raw.read)
        self._held = b""
        self._error: Exception | None = None
        self.at = 0

    def head(self, count: int) -> bytes:
        """The next ``count`` bytes, which stay unread. Waits until they are there. Gives fewer where the input ends."""
        pieces, there = [self._held], len(self._held)
        while there < count and self._error is None:
            try:
                piece = self._step(count - there)
            except Exception as error:  # whatever it is, the bytes before it come first
                self._error = error
                break
            if not piece:
                break
            pieces.append(piece)
            there += len(piece)
        self._held = b"".join(pieces)
        return self._held[:count]

    def read1(self, count: int = 1 << 16) -> bytes:
        """The next bytes, at most ``count``: those at hand, else what one read gives. Empty at the end."""
        if not self._held:
            if self._error is not None:
                raise self._error
            self._held = self._step(count) or b""
        piece, self._held = self._held[:count], self._held[count:]
        self.at += len(piece)
        return piece

    def read(self, count: int = -1) -> bytes:
        """The next ``count`` bytes. Gives fewer only where the input ends. A negative ``count`` reads to the end."""
        if count < 0:
            return b"".join(iter(self.read1, b""))
        piece = self.head(count)
        self._held = self._held[len(piece) :]
        self.at += len(piece)
        if len(piece) < count and self._error is not None and not piece:
            raise self._error
        return piece

    def unread(self, piece: bytes) -> None:
        """Put back the bytes that were read last."""
        self._held = piece + self._held
        self.at -= len(piece)

    def fileno(self) -> int:
        """The descriptor to wait on.

        Raises:
            OSError: bytes are at hand, so that nobody needs to wait, or there is no descriptor.
        """
        if self._held or self._error is not None:
            raise OSError("bytes are at hand")
        return self._raw.fileno()

    def close(self) -> None:
        """Close ``raw``."""
        self._raw.close()
