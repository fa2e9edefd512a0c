"""A stream as a receiver reads it: byte by byte from one place on, with zeros where the stream has ended [Q]."""

import struct
from typing import Any

from construct import Byte, FormatField

from ...model import Stream


class Tape:
    """The bytes of a stream from offset ``at`` on. ``ended``: more was asked for than there is.

    Numbers whose bytes are cut off have zeros for what is missing, as QEMU's reader gives them.
    """

    def __init__(self, stream: Stream, at: int, end: int | None = None) -> None:
        size = stream.records.main_size
        self.data = stream.data
        self.end = min(len(self.data), size if size is not None else len(self.data), end or len(self.data))
        self.at = at
        self.ended = False

    def take(self, count: int) -> bytes:
        """The next bytes, as many as there are of ``count``."""
        stop = min(self.at + count, self.end)
        taken = self.data[self.at : stop].tobytes() if stop > self.at else b""
        self.ended = self.ended or len(taken) < count
        self.at += len(taken)
        return taken

    def number(self, grammar: "FormatField[Any, Any]" = Byte) -> int:
        """The next number, of this grammar."""
        size = grammar.length  # what its `parse` does around this takes eight times as long
        return int(struct.unpack(grammar.fmtstr, self.take(size).ljust(size, b"\0"))[0])

    def peek(self) -> int:
        """The next byte, which stays there. 0 where the stream ends."""
        return int(self.data[self.at]) if self.at < self.end else 0

    def name(self) -> bytes:
        """A length byte and as many bytes, as far as they are there."""
        return self.take(self.number())

    def counted(self) -> bytes | None:
        """As `name`, but None where it is empty or cut."""
        length = self.number()
        found = self.take(length)
        return found if length and len(found) == length else None


def c_string(raw: bytes) -> str:
    """A name as C prints it: up to a zero byte."""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
